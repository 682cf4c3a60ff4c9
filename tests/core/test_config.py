"""Settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.cli.settings_file import COMMENTED
from ragkit.config import Settings, load_settings
from ragkit.errors import ConfigError


def test_later_places_win(tmp_path: Path) -> None:
    """A flag wins over the environment, which wins over the file, which wins over defaults."""
    file = tmp_path / "s.toml"
    file.write_text("k = 1\nchunk_tokens = 100\nmode = 'lexical'\n")
    settings = load_settings(
        file=file, environment={"RAGKIT_K": "2", "RAGKIT_MODE": "dense"}, flags={"k": 3}
    )
    assert (settings.k, settings.mode, settings.chunk_tokens) == (3, "dense", 100)


def test_generator_table_is_the_long_form(tmp_path: Path) -> None:
    """`[generator]` gives the shorthand and its settings."""
    file = tmp_path / "s.toml"
    file.write_text('[generator]\ntype = "openai"\nmodel = "m"\nbase_url = "http://h/v1"\n')
    settings = load_settings(file=file)
    assert (settings.generator, settings.base_url) == ("openai:m", "http://h/v1")


def test_a_table_passes_the_rest_to_the_connector(tmp_path: Path) -> None:
    """What is no setting of ragkit's own goes to the connector, and tables do not mix."""
    file = tmp_path / "s.toml"
    file.write_text(
        '[store]\ntype = "opensearch"\nname = "https://h/kb"\nengine = "lucene"\n'
        '[generator]\ntype = "ollama"\nmodel = "m"\nnum_ctx = 8192\ntemperature = 0\n'
        '[embedder]\ntype = "bedrock"\nmodel = "e"\nbase_url = "http://e"\n'
    )
    settings = load_settings(file=file)
    assert (settings.store, settings.store_options) == (
        "opensearch:https://h/kb",
        {"engine": "lucene"},
    )
    assert (settings.generator_options, settings.temperature) == ({"num_ctx": 8192}, 0.0)
    assert (settings.base_url, settings.embedder_options) == (None, {"base_url": "http://e"})


def test_options_of_a_connector_may_come_from_the_environment() -> None:
    """They are a JSON object there."""
    settings = load_settings(environment={"RAGKIT_GENERATOR_OPTIONS": '{"num_ctx": 4096}'})
    assert settings.generator_options == {"num_ctx": 4096}
    with pytest.raises(ConfigError, match="JSON object"):
        load_settings(environment={"RAGKIT_GENERATOR_OPTIONS": "num_ctx=4096"})


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"mode": "fuzzy"}, "'fuzzy'; allowed: dense lexical hybrid"),
        ({"k": 0}, "k 0; allowed: 1 to 1,000,000"),
        ({"trim_level": 1.5}, "trim_level 1.5; allowed: 0 to 1"),
        ({"refuse_below": "often"}, "refuse_below 'often'"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"timeout": 0.0}, "timeout"),
        ({"total_timeout": float("inf")}, "total_timeout"),
        ({"grid_g_per_kwh": [1.0]}, "low, mid, high"),
        ({"colour": "red"}, "unknown setting 'colour'"),
        ({"k": "7"}, "k '7'"),
        ({"k": True}, "k True"),
    ],
)
def test_wrong_values_are_named(flags: dict[str, object], fault: str) -> None:
    """A value that is not allowed is named together with what is."""
    with pytest.raises(ConfigError, match=fault):
        load_settings(flags=flags)


def test_wrong_environment_is_named() -> None:
    """A number that is none is refused, not ignored."""
    with pytest.raises(ConfigError, match="'many'"):
        load_settings(environment={"RAGKIT_K": "many"})


def test_the_commented_file_changes_nothing(tmp_path: Path) -> None:
    """`ragkit init` writes a file that is valid and, as written, means the defaults."""
    file = tmp_path / "s.toml"
    file.write_text(COMMENTED)
    assert load_settings(file=file) == Settings()


def test_every_line_of_the_commented_file_is_valid(tmp_path: Path) -> None:
    """Taking the comment signs away gives a file that loads."""
    lines = [line.removeprefix("# ") for line in COMMENTED.splitlines()]
    kept = [line for line in lines if "=" in line.split("#")[0] or line.startswith("[")]
    file = tmp_path / "s.toml"
    file.write_text("\n".join(line for line in kept if "RAGKIT" not in line))
    settings = load_settings(file=file)
    assert settings.generator == "openai:qwen3-8b"
    assert settings.chunk_tokens == 400
