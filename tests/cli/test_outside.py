"""The installed command with what strangers wrote: nothing steers the terminal, nothing crashes."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from ragkit import RAG, Document
from ragkit_connectors.testing import OpenAIServer, Reply

from .command import run, valid

STEERING = "\x1b]52;c;Y3Vyb\x07\x1b[2J\x9b2J\u202e" + "".join(chr(0xE0000 + ord(c)) for c in "hi")
RAW = set("\x1b\x07\x9b\u202e\U000e0068")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store whose document steers terminals by its id, title, text and metadata."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(
            Document(
                id=f"id{STEERING}\nforged",
                title=f"T{STEERING}\nforged",
                text=f"The ferry {STEERING} leaves at nine.",
                metadata={"m": STEERING},
            )
        )
    return str(tmp_path / "kb")


@pytest.mark.parametrize(
    "command",
    [
        ("search", "ferry"),
        ("ask", "When does the ferry leave?", "--show-prompt"),
        ("ask", "When does the ferry leave?", "--stream"),
        ("list",),
        ("show", "--all"),
    ],
    ids=" ".join,
)
def test_texts_ids_and_titles_never_reach_a_terminal_raw(
    store: str, command: tuple[str, ...]
) -> None:
    """In text they are escaped and end no line; in JSON they are escapes of the same values."""
    shown = run(*command, "--store", store).stdout
    assert not RAW & set(shown)
    assert "forged" not in {line.strip() for line in shown.splitlines()}
    printed = run(*command, "--json", "--store", store).stdout
    assert not RAW & set(printed)
    assert STEERING in json.dumps([json.loads(line) for line in printed.splitlines()],
                                  ensure_ascii=False).replace("\\u001b", "\x1b").replace(
                                      "\\u0007", "\x07")  # fmt: skip


def test_errors_progress_and_failures_are_escaped(store: str, tmp_path: Path) -> None:
    """What goes to stderr or into a report holds names of strangers too."""
    error = run("ask", "x", "--trim", f"no{STEERING}\nfile", "--store", store, code=2).stderr
    unknown = run("search", "x", f"--{STEERING}", "--store", store, code=2).stderr
    choice = run("search", "x", "--mode", STEERING, "--store", store, code=2).stderr
    name = tmp_path / "in" / f"a{STEERING}\nb.txt"
    name.parent.mkdir()
    name.write_text("")
    report = run("ingest", str(name.parent), "--store", store, "--progress", "json", code=1)
    for shown in (error, unknown, choice, report.stdout, report.stderr):
        assert shown
        assert not RAW & set(shown)
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("flag", ["--json", "--stream", "--show-prompt"])
def test_a_models_answer_is_escaped(tmp_path: Path, flag: str) -> None:
    """A model may be told by a document what to say; a stream is cut inside a sequence."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine."))
    with OpenAIServer([Reply(text=f"At nine {STEERING}.", packet_bytes=7)]) as server:
        shown = run(
            "ask", "When does the ferry leave?", flag, "--store", str(tmp_path / "kb"),
            "--generator", "openai:m", "--base-url", server.base_url,
        ).stdout  # fmt: skip
    assert "At nine " in shown
    assert not RAW & set(shown)


BAD_LINES = [
    (b'{"_id":"deep","text":' + b"[" * 100_000, None, "broken"),
    (b'{"_id":7,"text":"ferry","k":0}', "7", "not_allowed"),
    (b'{"_id":"k","text":"ferry","k":1000000000000000000000000}', "k", "not_allowed"),
    (b'{"_id":"nan","text":"ferry","filter":{"y":NaN}}', None, "broken"),
    (b'{"_id":"half","text":"ferry \\ud800"}', None, "broken"),
    (b'{"_id":"none"}', "none", "broken"),
    (b'{"_id":"op","text":"ferry","filter":{"y":{"$huh":1}}}', "op", "not_allowed"),
    (b'{"_id":"g","text":"ferry","groups":[1,null]}', "g", "not_allowed"),
    (b'{"_id":{"a":1},"text":"ferry"}', None, "broken"),
    (b'{"_id":"latin","text":"F\xe4hre"}', None, "broken"),
    (b"[]", None, "broken"),
]  # fmt: skip


@pytest.mark.parametrize("command", ["search", "ask"])
def test_a_bad_line_of_questions_costs_that_line(tmp_path: Path, command: str) -> None:
    """Each failure stands in its place, with its id where it could be read; others are answered."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine."))
    good = b'{"_id":"ok","text":"When does the ferry leave?"}'
    questions = tmp_path / "q.jsonl"
    questions.write_bytes(b"\n".join(part for bad, _, _ in BAD_LINES for part in (bad, good)))
    result = run(command, "--questions", str(questions), "--store", str(tmp_path / "kb"), code=1)
    lines = result.stdout.splitlines()
    assert [valid(line, command)["id"] for line in lines[1::2]] == ["ok"] * len(BAD_LINES)
    failed = [valid(line, "question_error") for line in lines[::2]]
    assert [(line["id"], line["error"]["code"]) for line in failed] == [
        (identity, code) for _, identity, code in BAD_LINES
    ]
    assert failed[1]["error"]["detail"] == "line 3: k 0; allowed: 1 to 1,000,000"


@pytest.mark.parametrize(
    "content", [None, '{"text":"a"}\n{"text":"b"}\n'.encode("utf-16"), b"\xe4\xf6\n\xfc\n"]
)
def test_a_file_of_questions_that_is_none_is_a_usage_error(
    store: str, tmp_path: Path, content: bytes | None
) -> None:
    """A file that is missing, or not UTF-8 at all, is exit 2 as a whole."""
    path = tmp_path / "q.jsonl"
    if content is not None:
        path.write_bytes(content)
    result = run("search", "--questions", str(path), "--store", store, code=2)
    assert not result.stdout
    assert "q.jsonl" in result.stderr


def test_a_server_that_fails_costs_the_questions_it_failed(tmp_path: Path) -> None:
    """A question whose model failed is reported in its place with exit 1, the next is answered."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine."))
    question = '{"text":"When does the ferry leave?"}\n'
    with OpenAIServer([Reply(status=500, text="oh"), Reply(text="At nine.")]) as server:
        result = run(
            "ask", "--questions", "-", "--store", str(tmp_path / "kb"), "--generator", "openai:m",
            "--base-url", server.base_url, stdin=question * 2, code=1,
        )  # fmt: skip
    first, second = result.stdout.splitlines()
    assert valid(first, "question_error")["error"]["code"] == "remote"
    assert valid(second, "ask")["text"] == "At nine."


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("-k", "0"),
        ("-k", str(2**63 - 1)),
        ("-k", str(10**30)),
        ("--mmr", "nan"),
        ("--filter", '{"a":' * 20_000 + "1" + "}" * 20_000),
        ("--filter", '{"a":1e999}'),
    ],
    ids=lambda text: str(text)[:20],
)
def test_a_number_out_of_range_is_named(store: str, option: str, value: str) -> None:
    """Exit 2, one line that names the value and what is allowed, no traceback."""
    error = run("search", "ferry", option, value, "--store", store, code=2).stderr
    assert value[:5] in error
    assert len(error.splitlines()[-1]) < 500


@pytest.mark.parametrize(
    "text",
    ['{"schema":99}', '{"pool":NaN}', '{"pool":1e400}', f'{{"pool":{10**400}}}',
     '{"keep_above":-Infinity}', "[" * 100_000, '{"pool":0}', '{"pool":1000000000000}'],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_a_policy_from_elsewhere_is_checked(store: str, tmp_path: Path, text: str) -> None:
    """Another schema, numbers that are not finite, absurd ones and deep files are exit 2."""
    path = tmp_path / "p.json"
    path.write_text(text)
    error = run("ask", "ferry", "--trim", str(path), "--store", store, code=2).stderr
    assert "trim policy" in error
    assert len(error.splitlines()) == 1


def test_an_old_store_with_an_infinite_number_still_answers(tmp_path: Path) -> None:
    """A number that JSON cannot hold is null where it is printed, and refused when it comes in."""
    store = tmp_path / "kb"
    records = tmp_path / "r.jsonl"
    records.write_text('{"_id":"bad","text":"x","metadata":{"p":1e999}}\n{"_id":"a","text":"ok"}\n')
    report = valid(
        run("ingest", str(records), "--store", str(store), "--embedder", "none", "--json", code=1)
        .stdout,
        "ingest",
    )  # fmt: skip
    assert (report["documents"]["added"], report["failures"][0]["code"]) == (1, "broken")
    assert "1e999" in report["failures"][0]["detail"]


def test_advice_may_be_pasted_into_a_shell(tmp_path: Path) -> None:
    """An id with shell text is quoted in the command that mends the store."""
    place = tmp_path / "kb"
    with RAG(place, embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="x; touch PWNED #", text="The ferry."))
    with sqlite3.connect(place / "store.sqlite") as connection:
        connection.execute("UPDATE document SET title = 'x'")
    connection.close()
    error = run("search", "ferry", "--store", str(place), code=6).stderr
    assert "ragkit rm 'x; touch PWNED #'" in error
    missing = run("list", "--store", str(tmp_path / "a b;c"), code=6).stderr
    assert f"--store '{tmp_path / 'a b;c'}'" in missing


@pytest.mark.skipif(sys.platform == "win32", reason="a command line of bytes")
def test_bytes_that_are_no_text_on_the_command_line_are_no_document(store: str) -> None:
    """An argument that is not UTF-8 names nothing that is stored."""
    name = os.fsdecode(b"a\xff")
    assert "there is no document" in run("show", name, "--store", store, code=2).stderr
    assert json.loads(run("rm", name, "--store", store, "--json", code=1).stdout)["removed"] == []
    assert "surrogate" in run(
        "search", "x", "--filter", f'{{"a":"{name}"}}', "--store", store, code=2
    ).stderr  # fmt: skip
