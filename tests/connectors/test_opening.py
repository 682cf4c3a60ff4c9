"""Opening connectors by name."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit import RAG, Document
from ragkit.errors import ConfigError, MissingExtraError
from ragkit_connectors import open_embedder, open_generator, open_store, split_name
from ragkit_connectors.testing import OpenAIServer


def test_a_generator_is_opened_with_its_settings() -> None:
    """The kind chooses the class, the rest is the model, settings are passed on."""
    generator = open_generator("openai:qwen3:8b", base_url="http://localhost:1/v1")
    assert generator.name == "openai:qwen3:8b"
    assert "http://localhost:1/v1" in repr(generator)


@pytest.mark.parametrize(
    "name", ["opnai:x", "openai", "openai:", "", ":x", "C:\\kb", "./kb", "o:x"]
)
def test_an_unknown_generator_names_value_and_choice(name: str) -> None:
    """The error shows what was given and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        open_generator(name)
    assert repr(name) in str(caught.value)
    assert "openai:MODEL" in str(caught.value)


def test_an_unknown_embedder_or_store_names_the_choice() -> None:
    """Embedders and stores of an unknown kind are configuration errors too."""
    with pytest.raises(
        ConfigError, match=r"'glove:x'.*builtin.*sentence-transformers:NAME-OR-PATH"
    ):
        open_embedder("glove:x")
    with pytest.raises(ConfigError, match=r"'redis:x'.*folder"):
        open_store("redis:x")


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is not None,
    reason="sentence-transformers is installed",
)
def test_a_missing_extra_says_how_to_install_it() -> None:
    """The error holds the line that installs the library."""
    with pytest.raises(MissingExtraError, match=r"pip install '.*\[sentence-transformers\]'"):
        open_embedder("sentence-transformers:all-MiniLM-L6-v2")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai:m", ("openai", "m")),
        ("openai:a:b", ("openai", "a:b")),
        ("C:\\kb", ("", "C:\\kb")),
        ("c:kb", ("", "c:kb")),
        ("./a:b", ("", "./a:b")),
        ("kb", ("", "kb")),
    ],
)
def test_a_drive_is_not_a_kind(name: str, expected: tuple[str, str]) -> None:
    """One letter before a colon is a drive, a slash before it makes a path."""
    assert split_name(name) == expected


def test_third_parties_add_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution adds a kind by an entry point, which gets rest and settings."""
    _install(tmp_path, monkeypatch, "parrot_plugin:make")
    (tmp_path / "parrot_plugin.py").write_text(
        "def make(rest, **settings):\n    return (rest, settings)\n"
    )
    opened: object = open_generator("parrot:grey", timeout_seconds=3)
    assert opened == ("grey", {"timeout_seconds": 3})
    with pytest.raises(ConfigError, match="parrot:"):
        open_generator("unknown:x")


def test_a_broken_third_party_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that cannot be imported is a configuration error that names it."""
    _install(tmp_path, monkeypatch, "no_such_parrot:make")
    with pytest.raises(ConfigError, match="no_such_parrot:make"):
        open_generator("parrot:grey")


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    info = folder / "parrot-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ragkit.generators]\nparrot = {value}\n")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    importlib.invalidate_caches()


def test_opening_stays_cheap() -> None:
    """Opening a generator by name loads neither the HTTP client nor package metadata."""
    code = (
        "import sys; from ragkit_connectors import open_generator; open_generator('openai:m');"
        "print([m for m in ('http.client', 'importlib.metadata', 'ssl', 'asyncio', 'hashlib')"
        " if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_a_setting_of_the_wrong_kind_is_a_configuration_error() -> None:
    """Text where a number belongs is named, though the settings file was well formed."""
    with pytest.raises(ConfigError, match="generator openai: a setting is of the wrong kind"):
        open_generator("openai:m", timeout_seconds="5")
    with pytest.raises(ConfigError, match=r"colour.*its settings: base_url"):
        open_generator("openai:m", colour="red")


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_a_prompt_is_measured_without_asking_anybody(kind: str, tmp_path: Path) -> None:
    """Trimming and counting load no tokenizer from a hub and send nothing to the model's server."""
    with OpenAIServer() as server:
        base_url = server.base_url.removesuffix("/v1") if kind == "ollama" else server.base_url
        generator = open_generator(f"{kind}:any", base_url=base_url)
        with RAG(tmp_path / "kb", generator=generator, embedder="none", ledger="off") as rag:
            rag.ingest(Document(id="a", text="The badge is reset at the front desk."))
            answer = rag.ask("Where is the badge reset?", dry_run=True)
        assert server.requests == []
    assert answer.prompt is not None
    assert (answer.usage.exact, answer.usage.counter) == (False, "wordpiece:all-MiniLM-L6-v2")
    assert (answer.usage.input_tokens or 0) > 10
