"""Files that the command line reads: documented exit codes, and JSON that every reader can read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document
from ragkit.cli import main
from ragkit.loading import Labels, record_documents
from ragkit.types import Failure, Json, PendingDocument

from .lane import FEWER, FUZZ, no_hang
from .mutating import HOSTILE_NUMBERS, altered, as_json, json_lines, json_values, mutated

FOUND = Path(__file__).parent / "found" / "command_line"
EXIT_CODES = {0, 1, 2, 3, 6, 7}
QUESTIONS: tuple[Json, ...] = (
    {
        "_id": "q1",
        "text": "When does the ferry leave?",
        "k": 3,
        "filter": {"year": {"$gt": 2000}},
        "groups": ["a"],
    },
    {"text": "Who takes the ferry?"},
)
HISTORY: Json = [
    {"role": "user", "content": "Is there a ferry?"},
    {"role": "assistant", "content": "Yes, at nine."},
]
RECORDS: tuple[Json, ...] = (
    {
        "_id": "d1",
        "title": "Ferry",
        "text": "The ferry leaves at nine.",
        "metadata": {"year": 2024, "x": [1]},
        "groups": ["a"],
    },
    {"_id": 7, "text": "Nobody else."},
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a store of two documents."""
    place = str(tmp_path_factory.mktemp("fuzz") / "kb")
    with RAG(place, embedder="none", ledger="off") as rag:
        rag.ingest(
            Document(id="a", text="The ferry leaves the quay at nine.", metadata={"year": 2024}),
            Document(id="b", text="Ida takes the ferry on Sunday.", metadata={"year": [1999, "x"]}),
        )
    return place


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Json]:
    """Run a command: a documented exit code, JSON that every reader can read, one line an error."""
    with no_hang():
        code = main([*arguments, "--json"])
    printed = capsys.readouterr()
    assert code in EXIT_CODES
    lines: list[Json] = [
        json.loads(line, parse_constant=_no_number) for line in printed.out.splitlines()
    ]
    for line in printed.err.splitlines():
        assert re.match(r"ragkit: ", line), printed.err
    assert code == 0 or printed.err or code in {1, 3}
    return lines


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} was printed: this is no JSON")


@pytest.mark.parametrize("verb", ["ask", "search"])
@FEWER
@given(data=st.data())
def test_any_questions(
    verb: str, store: str, data: st.DataObject, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any file of questions is answered line by line, or refused with a documented code."""
    Path("q.jsonl").write_bytes(data.draw(json_lines(QUESTIONS)))
    off = ("--ledger", "off") if verb == "ask" else ()
    command(capsys, verb, "--questions", "q.jsonl", "--store", store, *off)


@FEWER
@given(data=st.data())
def test_any_history(store: str, data: st.DataObject, capsys: pytest.CaptureFixture[str]) -> None:
    """Any file of a history is understood, or refused with a documented code."""
    turns = data.draw(
        st.one_of(
            altered([HISTORY]).map(as_json).map(str.encode),
            mutated([as_json(HISTORY).encode()], [b"[" * 2000, b'"role"', b'"system"']),
        )
    )
    Path("h.json").write_bytes(turns)
    command(
        capsys,
        "ask",
        "When?",
        "--history",
        "h.json",
        "--dry-run",
        "--store",
        store,
        "--ledger",
        "off",
    )


@FEWER
@given(data=st.data())
def test_any_filter(store: str, data: st.DataObject, capsys: pytest.CaptureFixture[str]) -> None:
    """Any JSON as a filter is understood, or refused with a documented code."""
    found = data.draw(
        st.one_of(
            json_values,
            st.dictionaries(
                st.sampled_from(["year", "x", ""]),
                st.one_of(
                    json_values,
                    st.dictionaries(
                        st.sampled_from(["$eq", "$in", "$gt", "$exists"]),
                        st.one_of(json_values, st.sampled_from(HOSTILE_NUMBERS)),
                    ),
                ),
            ),
        )
    )
    command(capsys, "search", "ferry", f"--filter={as_json(found)}", "--store", store)


@FUZZ
@given(json_lines(RECORDS))
def test_any_records(data: bytes) -> None:
    """Any JSON Lines are records that a store can hold, or failures with a code that name the line."""
    ids: set[str] = set()
    with no_hang():
        for item in record_documents(data.split(b"\n"), "corpus.jsonl", Labels()):
            if isinstance(item, Failure):
                assert item.code in {"broken", "limit"}
                assert item.detail.startswith("line ")
                continue
            assert isinstance(item, PendingDocument)
            assert item.id
            assert item.id not in ids
            ids.add(item.id)
            item.id.encode()
            try:
                document = item.load()
            except Exception as error:
                assert "no_text" in str(error)
                continue
            shown = json.dumps(
                [document.text, document.title, dict(document.metadata), document.groups],
                allow_nan=False,
                ensure_ascii=False,
            )
            assert shown.encode()


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_found(path: Path, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found stays mended; the name begins with what the file is."""
    if path.name.startswith("history_"):
        command(
            capsys,
            "ask",
            "When?",
            "--history",
            str(path),
            "--dry-run",
            "--store",
            store,
            "--ledger",
            "off",
        )
    else:
        command(capsys, "ask", "--questions", str(path), "--store", store, "--ledger", "off")
