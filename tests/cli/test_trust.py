"""Commands in a folder whose settings file a stranger wrote."""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from ragkit import RAG
from ragkit.cli import main
from ragkit.cli.settings_file import COMMENTED
from ragkit_connectors.testing import OpenAIServer, OpenSearchServer

from .command import run as run_installed
from .command import valid

CANARY = "c4nary-0123456789"
QUESTION = "When does the ferry leave?"


class Run(Protocol):
    """A command run in this process, which saves its start."""

    def __call__(
        self, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """Check the exit code; return output and what is said."""
        ...


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command, and returns its output and what it says."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    def run_here(
        *arguments: str, code: int = 0, env: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        with monkeypatch.context() as own:
            for name, value in (env or {}).items():
                own.setenv(name, value)
            done = main(arguments)
        output, said = capsys.readouterr()
        assert done == code, said
        return output, said

    return run_here


@contextmanager
def listening() -> Generator[tuple[int, list[bytes]]]:
    """Give a port, and what was sent to it."""
    seen: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                seen.append(client.recv(4096))

    threading.Thread(target=accept, daemon=True).start()
    with server:
        yield server.getsockname()[1], seen


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with an awkward name, a document and a store in it."""
    place = tmp_path / "a stranger's $(folder)"
    place.mkdir()
    monkeypatch.chdir(place)
    Path("ferry.md").write_text("The ferry leaves at nine.", encoding="utf-8")
    with RAG("kb", embedder="none", ledger="off") as rag:
        rag.ingest("ferry.md")
    return place


def test_nothing_leaves_before_the_file_is_trusted(folder: Path, run: Run) -> None:
    """The command stops, names what is held back and the command that trusts it, which works."""
    error = ""
    with listening() as (port, seen):
        Path("ragkit.toml").write_text(
            f'ledger = "../outside.jsonl"\n[generator]\ntype = "openai"\nmodel = "m"\n'
            f'base_url = "http://127.0.0.1:{port}/v1"\napi_key_env = "CANARY"\n'
        )
        for command in (["ask", QUESTION], ["search", "ferry"], ["list"], ["show"], ["doctor"],
                        ["ledger", "report"], ["rm", "ferry.md"], ["rebuild"]):  # fmt: skip
            _, error = run(*command, code=2, env={"CANARY": CANARY})
            assert error.count("\n") == 1
            assert "api_key_env, base_url, generator, ledger" in error
        assert not seen
        assert not Path("../outside.jsonl").exists()
    _, _, arguments = shlex.split(error.split("or run: ")[1])
    assert Path(arguments) == folder / "ragkit.toml"
    with OpenAIServer(["At nine [1]."]) as server:
        text = Path("ragkit.toml").read_text().replace(f"127.0.0.1:{port}", server.base_url[7:-3])
        Path("ragkit.toml").write_text(text)
        shown = run_installed("trust", arguments).stdout
        assert 'api_key_env = "CANARY"' in shown
        assert f'ledger = "../outside.jsonl" -> {folder.parent / "outside.jsonl"}' in shown
        run_installed("ask", QUESTION, env={"CANARY": CANARY})
        assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
    assert Path("../outside.jsonl").exists()


@pytest.mark.usefixtures("folder")
def test_a_local_server_needs_no_trust_and_gets_no_key(run: Run) -> None:
    """The quick start of a local model works in a clone, and no default key goes along."""
    with OpenAIServer(["At nine [1]."]) as server:
        Path("ragkit.toml").write_text(
            f'[generator]\ntype = "openai"\nmodel = "m"\nbase_url = "{server.base_url}"\n'
        )
        assert "At nine" in run("ask", QUESTION, env={"OPENAI_API_KEY": CANARY})[0]
        assert "authorization" not in server.requests[0].headers
        # What the user names is the user's own.
        Path("ragkit.toml").unlink()
        flags = ("--generator", "openai:m", "--base-url", server.base_url)
        run("ask", QUESTION, *flags, env={"OPENAI_API_KEY": CANARY})
        assert server.requests[1].headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.usefixtures("folder")
def test_a_local_store_needs_no_trust_and_gets_no_password(run: Run) -> None:
    """Nor does a node on this machine see the password of another."""
    env = {"OPENSEARCH_USERNAME": "ada", "OPENSEARCH_PASSWORD": CANARY}
    with OpenSearchServer() as server:
        Path("ragkit.toml").write_text(f'[store]\ntype = "opensearch"\nname = "{server.url}/kb"\n')
        run("ingest", "ferry.md", "--embedder", "none", env=env)
        assert "ferry.md" in run("list", env=env)[0]
    with listening() as (port, seen):
        text = f'[store]\ntype = "opensearch"\nname = "http://127.0.0.1:{port}/kb"\n'
        Path("ragkit.toml").write_text(f"{text}retry_seconds = 0.2\n")
        run("list", env=env, code=7)
        assert seen
        assert not [head for head in seen if b"authorization" in head.lower()]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("home", ["", "ferry.md"])
def test_a_named_file_counts(home: str, run: Run) -> None:
    """`--config` and `RAGKIT_CONFIG` name it, even where there is no home to keep trust in."""
    Path("ragkit.toml").write_text('ledger = "../l.jsonl"\n')
    # No home at all; and one that cannot be written, for root neither.
    place = str(Path(home).absolute()) if home else ""
    homeless = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": place}
    _, error = run("trust", "ragkit.toml", code=2, env=homeless)
    assert "--config FILE, or RAGKIT_CONFIG=FILE" in error
    assert "ragkit trust" in run("list", code=2, env=homeless)[1]
    run("list", "--config", "ragkit.toml", env=homeless)
    run("list", env={**homeless, "RAGKIT_CONFIG": "ragkit.toml"})
    run("list", env={**homeless, "RAGKIT_LEDGER": "off"})
    _, said = run("init", "--force", env=homeless)
    assert "--config FILE, or RAGKIT_CONFIG=FILE" in said
    assert Path("ragkit.toml").read_text("utf-8") == COMMENTED
    run("list", env=homeless)


@pytest.mark.usefixtures("folder")
def test_commands_without_settings_do_not_mind(run: Run) -> None:
    """What neither opens a store nor a model works beside any file."""
    Path("ragkit.toml").write_text('store = "/etc"\n')
    assert run_installed("--version").stdout
    run("schema", "ask")
    run("template", "default")
    run("completion", "bash")
    run("trust", "--list")
    run("init", "--force")


def test_trust_is_listed_and_withdrawn(folder: Path, run: Run) -> None:
    """A record says whether its file is still what was trusted."""
    file = folder / "ragkit.toml"
    file.write_text('ledger = "../l.jsonl"\nbase_url = "https://h/\\u001b[31m\\u202e\\u007f"\n')
    shown, _ = run("trust", "ragkit.toml")
    assert r"\x1b[31m\u202e\x7f" in shown
    assert not [c for line in shown.splitlines() for c in line if not c.isprintable()]
    trusted = valid(run("trust", "ragkit.toml", "--json")[0], "trust")
    assert set(trusted["keys"]) == {"ledger", "base_url"}
    assert trusted["targets"] == {"ledger": str(folder.parent / "l.jsonl")}

    def listed() -> str:
        record = valid(run("trust", "--list", "--json")[0], "trust")
        assert record["file"] == str(file)
        return str(record["status"])

    assert listed() == "trusted"
    file.write_text('ledger = "../m.jsonl"\n')
    assert listed() == "changed"
    file.unlink()
    assert listed() == "missing"
    removed = valid(run("trust", str(file), "--remove", "--json")[0], "trust")
    assert removed["status"] == "removed"
    assert run("trust", "--list")[0] == ""
    assert "not trusted" in run("trust", str(file), "--remove", code=2)[1]
    assert "--list" in run("trust", code=2)[1]


def test_what_init_writes_is_trusted(folder: Path, run: Run) -> None:
    """It is recorded, and asks for trust when something is put in that needs it."""
    run("init")
    assert str(folder / "ragkit.toml") in run("trust", "--list")[0]
    with (folder / "ragkit.toml").open("a") as file:
        file.write("model_billions = 8.0\n")
    run("list")
    with (folder / "ragkit.toml").open("a") as file:
        file.write('[embedder]\ntype = "openai"\nmodel = "e"\n')
    assert "ragkit trust" in run("list", code=2)[1]
