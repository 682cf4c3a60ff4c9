"""Answers that time cuts off, on the command line."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .command import run, valid

pytestmark = pytest.mark.slow  # Each test runs processes of its own.

DOCUMENT = "The badge is reset at the blue reader. Hold it there for ten seconds."
EVENT = {"choices": [{"delta": {"content": "Hold it there for ten seconds."}}]}


@contextmanager
def stalling(body: bytes) -> Generator[str]:
    """Serve a stream that begins with this, and never goes on."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                connection.sendall(body)
                stop.wait(60.0)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        stop.set()
        thread.join()


def test_a_stream_that_time_cuts_is_an_answer(tmp_path: Path) -> None:
    """The text so far is shown with its citation, and its ledger line says what happened."""
    (tmp_path / "a.txt").write_text(DOCUMENT, encoding="utf-8")
    store = str(tmp_path / "kb")
    run("ingest", str(tmp_path / "a.txt"), "--store", store, "--embedder", "none")
    question = ("ask", "How do I reset my badge?", "--store", store, "--stream")
    body = b"data: " + json.dumps(EVENT).encode() + b"\n\n"
    with stalling(body) as url:
        cut = run(*question, "--generator", "openai:m", "--base-url", url, "--total-timeout", "2")
    assert cut.stdout.startswith("Hold it there for ten seconds.\n  [1] a.txt")
    assert "the answer was cut where its time-out ended" in cut.stderr
    line = json.loads((tmp_path / "kb" / "ledger.jsonl").read_text("utf-8").splitlines()[-1])
    assert (line["kind"], line["stop_reason"], line["receipt"]["llm_calls"]) == (
        "ask",
        "timeout",
        1,
    )
    with stalling(b": alive\n\n") as url:
        late = run(
            *question, "--generator", "openai:m", "--base-url", url, "--timeout", "1", code=7
        )
    assert "did not answer within 1 seconds" in late.stderr


def test_why_an_answer_ends_is_told(tmp_path: Path) -> None:
    """The extractive answer has an end of its own; a refusal and a dry run have none."""
    (tmp_path / "a.txt").write_text(DOCUMENT, encoding="utf-8")
    store = str(tmp_path / "kb")
    run("ingest", str(tmp_path / "a.txt"), "--store", store, "--embedder", "none")
    question = ("ask", "How do I reset my badge?", "--store", store, "--json")
    assert valid(run(*question).stdout, "ask")["stop_reason"] == "end"
    assert valid(run(*question, "--dry-run").stdout, "ask")["stop_reason"] is None
    assert "total_timeout" in run(*question, "--total-timeout", "0", code=2).stderr
