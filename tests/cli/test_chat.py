"""`ragkit chat`, as a person types to it, and as a program writes to it."""

from __future__ import annotations

import json
import stat
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

from ragkit import RAG, Document
from ragkit.costs.ledger import read_ledger
from ragkit_connectors.testing import OpenAIServer, Reply

from .command import run, valid

pytestmark = pytest.mark.slow  # Each test runs commands in processes of their own.

FERRY = "When does the Gannet leave?"
GUIDE = """# Ferries

The Gannet leaves at nine. It carries 299 passengers.

The Puffin leaves at ten. It carries 120 passengers.
"""


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store of one document."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="guide.md", text=GUIDE))
    return str(tmp_path / "kb")


def outcomes(store: str) -> list[str]:
    """Return what the ledger says became of each attempt."""
    return [cast("Any", r["receipt"])["outcome"] for r in read_ledger(Path(store, "ledger.jsonl"))]


def test_a_program_writes_a_line_a_turn(store: str) -> None:
    """Answers and sources go to stdout; all else, commands among it, to stderr; no prompt."""
    lines = [
        FERRY, "/sources", "/why", "/cost", "And the Puffin?", "/why", "", "Thanks!", "/why",
        "Who bakes bread in Paris?", "/no", "/help", "/quit", "never read",
    ]  # fmt: skip
    result = run("chat", "--store", store, stdin="\n".join(lines))
    out, told = result.stdout, result.stderr
    assert out.startswith("The Gannet leaves at nine.\n  [1] guide.md, ")
    assert "The Puffin leaves at ten." in out
    assert "No answer: " in out
    assert "> " not in out.replace(" > ", "")
    assert "searched for: When does the Puffin leave?" in told
    assert "found and left out" in told or "kept " in told
    assert "evidence " in told
    assert "no documents were searched" in told
    assert "answers                     1" in told
    assert "there is no command /no" in told
    assert "/sources" in told
    assert outcomes(store) == ["answered", "answered", "answered", "refused"]


def test_commands_before_the_first_answer(store: str) -> None:
    """There is nothing to say yet, and no error; an empty input ends at once."""
    told = run("chat", "--store", store, stdin="/sources\n/why\n/cost\n/new\n").stderr
    assert told.count("nothing has been answered yet") == 3
    assert run("chat", "--store", store, stdin="").stdout == ""
    missing = run("chat", "--store", f"{store}-none", stdin="", code=6)
    assert "no store" in missing.stderr


def test_json_is_an_object_a_turn(store: str) -> None:
    """Each has the schema of `ask`; one that fails that of a failed question."""
    replies = [
        Reply(text="At nine [1]."),
        Reply(text="down", status=500),
        Reply(text="At ten [1]."),
    ]
    with OpenAIServer(replies) as server:
        options = ["--generator", "openai:scripted", "--base-url", server.base_url, "--json"]
        asked = f"{FERRY}\nAnd the Puffin?\n/sources\nWhen does the Puffin leave?\n"
        result = run("chat", "--store", store, *options, stdin=asked, code=1)
    first, second, third = result.stdout.splitlines()
    assert valid(first, "ask")["citations"][0]["document_id"] == "guide.md"
    assert valid(second, "question_error")["error"]["code"] == "remote"
    assert valid(third, "ask")["resolved"]["standalone"] is True
    assert "JSON" in result.stderr
    said = [m["content"] for m in cast("Any", server.requests[2].body["messages"])]
    assert FERRY in said[1]
    assert not any("And the Puffin?" in text for text in said)
    assert outcomes(store) == ["answered", "failed", "answered"]


def test_history_is_kept_where_it_is_asked_for(store: str, tmp_path: Path) -> None:
    """A private file that `ask` reads, too; the next chat goes on from it, `/new` begins anew."""
    path = tmp_path / "talk.json"
    history = ["--history", str(path)]
    run("chat", "--store", store, stdin=f"{FERRY}\n")
    assert not list(tmp_path.glob("*.json*"))
    run("chat", "--store", store, *history, stdin=f"Who bakes bread in Paris?\n{FERRY}\n")
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    turns = json.loads(path.read_text("utf-8"))
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
    assert turns[3]["content"] == "The Gannet leaves at nine."
    told = run("chat", "--store", store, *history, stdin="And the Puffin?\n/why\n").stderr
    assert "searched for:" in told
    assert len(json.loads(path.read_text("utf-8"))) == 6
    asked = run("ask", "And its passengers?", "--store", store, *history, "--json").stdout
    assert valid(asked, "ask")["resolved"]["standalone"] is False
    run("chat", "--store", store, *history, stdin=f"/new\n{FERRY}\n")
    assert len(json.loads(path.read_text("utf-8"))) == 2
    assert not list(tmp_path.glob(".talk*"))


def test_a_history_that_cannot_be_kept_is_known_at_once(store: str, tmp_path: Path) -> None:
    """A file that is no conversation stays as it is, and so does a folder."""
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "roles.json").write_text('[{"role": "king", "content": "x"}]')
    for name in ("other.json", "roles.json", "", "none/talk.json"):
        history = str(tmp_path / name)
        run("chat", "--store", store, "--history", history, stdin=f"{FERRY}\n", code=2)
    assert (tmp_path / "other.json").read_text() == '{"a": 1}'


def test_nothing_that_is_said_steers_the_terminal(store: str) -> None:
    """Control characters of models and questions are shown, not obeyed."""
    with OpenAIServer([Reply(text="At \x1b[2Jnine \u202e [1].")]) as server:
        options = ["--generator", "openai:scripted", "--base-url", server.base_url]
        result = run(
            "chat", "--store", store, *options, stdin=f"{FERRY} \x1b[31m\n/sources\n/why\n"
        )
    assert r"At \x1b[2Jnine \u202e [1]." in result.stdout
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of POSIX")
def test_a_person_talks(store: str) -> None:
    """Prompt, answer, sources; Ctrl-C throws a half-typed line away, Ctrl-D ends the chat."""
    from .terminal import Terminal

    with Terminal("chat", "--store", store) as terminal:
        terminal.shows("/help lists the commands")
        terminal.shows("> ")
        terminal.types(f"{FERRY}\n")
        terminal.shows("The Gannet leaves at nine.\r\n")
        terminal.shows("> ")
        terminal.types("/sources\n")
        terminal.shows("[1] guide.md, ")
        terminal.shows("> ")
        terminal.types("And the Puf")
        terminal.shows("And the Puf")
        terminal.interrupts()
        terminal.shows("> ")
        terminal.types("When does the Puffin leave?\n")
        terminal.shows("The Puffin leaves at ten.")
        terminal.shows("> ")
        terminal.types("\x04")
        assert terminal.ends() == 0
    assert outcomes(store) == ["answered", "answered"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of POSIX")
def test_ctrl_c_stops_the_answer_and_not_the_chat(store: str, tmp_path: Path) -> None:
    """While it is awaited and while it comes; the server is left at once, the receipt says so."""
    from .terminal import Terminal

    path = tmp_path / "talk.json"
    replies = [
        Reply(delay_seconds=50), Reply(text="At nine", is_endless=True), Reply(text="At ten [1]."),
    ]  # fmt: skip
    with OpenAIServer(replies) as server:
        options = ["--generator", "openai:scripted", "--base-url", server.base_url]
        with Terminal("chat", "--store", store, "--history", str(path), *options) as terminal:
            terminal.shows("> ")
            terminal.types(f"{FERRY}\n")
            while not server.requests:
                time.sleep(0.01)
            terminal.interrupts()
            terminal.shows("stopped; ")
            terminal.shows("> ")
            terminal.types(f"{FERRY}\n")
            terminal.shows("At nine on on")
            terminal.types("\x03")
            terminal.shows("stopped; ")
            assert server.client_left.wait(30)
            terminal.shows("> ")
            terminal.types("When does the Puffin leave?\n")
            terminal.shows("At ten [1].")
            terminal.shows("> ")
            terminal.types("/cost\n")
            terminal.shows("stopped answers")
            terminal.shows("> ")
            terminal.interrupts()
            assert terminal.ends() == 0
    assert outcomes(store) == ["abandoned", "abandoned", "answered"]
    turns = [turn["content"] for turn in json.loads(path.read_text("utf-8"))]
    assert len(turns) == 4
    assert turns[1].startswith("At nine on on")
    assert turns[3] == "At ten [1]."
