"""`--jobs`, `--shard` and `--answered`: the same work by several threads or machines."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkit_connectors.testing import OpenAIServer, OpenSearchServer
from ragkit_connectors.testing.openai_server import Reply
from ragkit_connectors.testing.serving import Answering, Request
from tests.cli.command import RAGKIT, run, valid

N_QUESTIONS = 12


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a small store."""
    folder = tmp_path_factory.mktemp("jobs")
    for n in range(30):
        (folder / f"{n}.md").write_text(f"# Berth {n}\n\nBerth {n} takes {n + 3} boats.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    run("ingest", str(folder), "--store", str(folder / "kb"), "--jobs", "1", code=1)
    return str(folder / "kb")


@pytest.fixture
def questions(tmp_path: Path) -> str:
    """Return a file of questions, one of which is none."""
    lines = [json.dumps({"_id": f"q{n}", "text": f"How many boats does berth {n} take?"})
             for n in range(N_QUESTIONS)]  # fmt: skip
    lines[5] = "no question"
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """Return a server that takes its time."""
    with OpenAIServer([Reply(text="Some [1].", delay_seconds=0.05)]) as server:
        yield server


def asked(store: str, questions: str, server: OpenAIServer, *more: str) -> list[str]:
    """Return a command that asks a file of questions."""
    return [
        "ask", "--store", store, "--questions", questions, "--generator", "openai:m", "--base-url",
        server.base_url, "--refuse-below", "off", "--ledger", "off", *more,
    ]  # fmt: skip


def test_the_store_is_the_same_for_any_number(store: str, tmp_path: Path) -> None:
    """Documents, chunks and failures do not depend on how many processes parse."""
    folder, other = Path(store).parent, str(tmp_path / "kb")
    (Path(store).parent / "kb2").mkdir(exist_ok=True)
    told = run("ingest", str(folder), "--store", other, "--jobs", "3", "--exclude", "kb*/",
               "--json", code=1)  # fmt: skip
    report = valid(told.stdout, "ingest")
    assert report["jobs"] == 3
    assert report["shard"] is None
    assert report["documents"]["added"] == 30
    one, many = (run("show", "--all", "--json", "--store", kb).stdout for kb in (store, other))
    assert one == many


def test_answers_keep_the_order_of_the_questions(
    store: str, questions: str, server: OpenAIServer
) -> None:
    """Those that fail stand in their place."""
    told = run(*asked(store, questions, server, "--jobs", "4"), code=1)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["id"] for line in lines] == [
        None if n == 5 else f"q{n}" for n in range(N_QUESTIONS)
    ]
    assert [n for n, line in enumerate(lines) if "error" in line] == [5]
    assert all(line["text"] == "Some [1]." for n, line in enumerate(lines) if n != 5)


def test_several_questions_are_under_way_at_once(store: str, questions: str) -> None:
    """No more than asked for."""
    most, now, lock = 0, 0, threading.Lock()

    class Counting(OpenAIServer):
        def respond(self, request: Request, answer: Answering) -> None:
            nonlocal most, now
            with lock:
                now += 1
                most = max(most, now)
            super().respond(request, answer)
            with lock:
                now -= 1

    with Counting([Reply(text="Some.", delay_seconds=0.3)]) as server:
        run(*asked(store, questions, server, "--jobs", "3"), code=1)
    assert most == 3


def test_what_was_answered_is_not_asked_again(
    store: str, questions: str, server: OpenAIServer, tmp_path: Path
) -> None:
    """Only what failed is tried again; a file that was cut off is not appended to."""
    before = tmp_path / "answers.jsonl"
    lines = run(*asked(store, questions, server), code=1).stdout.splitlines(keepends=True)
    before.write_text("".join(lines[:8]))
    n = len(server.requests)
    rest = run(*asked(store, questions, server, "--answered", str(before)), code=1)
    assert [json.loads(line)["id"] for line in rest.stdout.splitlines()] == [
        None, *(f"q{n}" for n in range(8, N_QUESTIONS))
    ]  # fmt: skip
    assert len(server.requests) == n + 4
    before.write_text("".join(lines[:8])[:-5])
    cut = run(*asked(store, questions, server, "--answered", str(before)), code=2)
    assert "ends in the middle of a line" in cut.stderr
    before.write_text(f"{lines[0]}no JSON\n")
    broken = run(*asked(store, questions, server, "--answered", str(before)), code=2)
    assert f"{before}, line 2: " in broken.stderr


def test_options_of_many_questions_are_not_ignored(store: str) -> None:
    """With one question they would do nothing."""
    for option in (("--jobs", "2"), ("--answered", "a.jsonl")):
        said = run("ask", "When does it leave?", "--store", store, *option, code=2)
        assert "--questions" in said.stderr


def test_ctrl_c_prints_what_is_under_way(store: str, questions: str) -> None:
    """Each request that was sent has its line, and the exit code is 130."""
    with OpenAIServer([Reply(text="Some.", delay_seconds=0.5)]) as server:
        command = [RAGKIT, *asked(store, questions, server, "--jobs", "2")]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, told = process.stdout.read(), process.stderr.read()
        n_requests = len(server.requests)
    assert process.returncode == 130
    assert "Traceback" not in told
    lines = [json.loads(line) for line in [first, *rest.splitlines()]]
    assert n_requests == sum("error" not in line for line in lines) < N_QUESTIONS - 1


@pytest.mark.parametrize("n", ["0", "-1", "2000"])
def test_a_number_that_is_none_is_refused(
    store: str, questions: str, server: OpenAIServer, n: str
) -> None:
    """The message says what is allowed."""
    said = run(*asked(store, questions, server, "--jobs", n), code=2)
    assert "allowed: 1 to 1,024" in said.stderr


def test_shares_fill_one_index_at_the_same_time(store: str) -> None:
    """Processes that begin together, with nothing there yet, make what one would make."""
    folder = str(Path(store).parent)
    common = ["--exclude", "kb*/", "--exclude", "*.pdf", "--json", "--embedder", "none"]
    with OpenSearchServer() as server:
        one, many = (f"opensearch:{server.url}/{name}" for name in ("one", "many"))
        run("ingest", folder, "--store", one, *common)
        shares = [
            subprocess.Popen(
                [RAGKIT, "ingest", folder, "--store", many, "--shard", f"{i}/3", *common],
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(3)
        ]
        reports = [valid(share.communicate(timeout=120)[0], "ingest") for share in shares]
        assert [share.returncode for share in shares] == [0, 0, 0]
        assert [report["shard"] for report in reports] == [[0, 3], [1, 3], [2, 3]]
        assert sum(report["documents"]["added"] for report in reports) == 30
        expected, found = (run("show", "--all", "--json", "--store", kb).stdout
                           for kb in (one, many))  # fmt: skip
        assert found == expected
        again = run("ingest", folder, "--store", many, *common, "--shard", "2/3", "--prune")
        assert valid(again.stdout, "ingest")["documents"]["removed"] == 0


def test_a_share_that_is_none_is_refused(store: str, tmp_path: Path) -> None:
    """The message names what was given and what is allowed."""
    said = run("ingest", str(Path(store).parent), "--store", str(tmp_path / "kb"), "--shard", "5/4",
               code=2)  # fmt: skip
    assert "shard 5/4; allowed: I/N" in said.stderr
