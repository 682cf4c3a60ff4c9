"""Feedback on answers, and what the ledger keeps of their questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ragkit import RAG
from ragkit.config import Settings
from ragkit.costs.feedback import judged_questions
from ragkit.costs.ledger import read_ledger, summarise
from ragkit.errors import ConfigError
from ragkit.types import Document

from ..cli.command import run, valid

QUESTION = "When does the ferry leave?"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of one document."""
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(Document(id="ferry.txt", text="The ferry leaves at nine. It is red."))
    return tmp_path / "kb"


def lines(store: Path) -> Sequence[str]:
    """Return the lines of a store's ledger, without those of ingests."""
    found = (store / "ledger.jsonl").read_text().splitlines()
    return [line for line in found if '"kind": "ingest"' not in line]


def test_every_answer_and_refusal_has_an_id_of_its_own(store: Path) -> None:
    """It stands in the receipt and in the ledger; a dry run, which answers nothing, has none."""
    with RAG(store) as rag:
        answers = [rag.ask(QUESTION), rag.ask(QUESTION), rag.ask("Who rules over France?")]
        assert answers[2].refused
        assert rag.ask(QUESTION, dry_run=True).receipt.answer_id is None
    ids = [answer.receipt.answer_id for answer in answers]
    assert len({i for i in ids if i is not None and len(i) == 16}) == 3
    written = [json.loads(line)["receipt"]["answer_id"] for line in lines(store)]
    assert written == [*ids, None]


def test_the_last_word_on_an_answer_counts(store: Path) -> None:
    """A user may think again; the report counts answers, not clicks."""
    with RAG(store) as rag:
        first, second = (str(rag.ask(QUESTION).receipt.answer_id) for _ in range(2))
        rag.feedback(first, True)
        rag.feedback(first, False, note="Sundays?")
        given = rag.feedback(second, True)
    assert given.to_dict() == {"schema": 1, "answer_id": second, "good": True, "note": None}
    summary = summarise(read_ledger(store / "ledger.jsonl"))
    assert summary.to_dict()["feedback"] == {"good": 1, "bad": 1}
    assert summary.unreadable_lines == 0
    assert summary.answers == 2


def test_content_is_kept_on_request_only(store: Path) -> None:
    """Without the setting no line holds the question; with it the judged ones can be labelled."""
    with RAG(store) as rag:
        rag.feedback(str(rag.ask(QUESTION).receipt.answer_id), False)
    assert "ferry" not in "".join(lines(store))
    with RAG(store, config=Settings(keep_question=True)) as rag:
        rag.ask("What colour is it?")
        asked = [{"role": "user", "content": QUESTION}]
        answer = rag.ask("And on Sundays?", history=asked)
        rag.feedback(str(answer.receipt.answer_id), False, note="wrong boat")
    (judged,) = judged_questions(read_ledger(store / "ledger.jsonl"))
    assert judged.question == f"{QUESTION} And on Sundays?"
    assert judged.feedback.note == "wrong boat"
    assert "nine" not in "".join(lines(store))


@pytest.mark.parametrize("answer_id", ["", "feedback", "0123456789abcdef", "\udc80", "ask"])
def test_an_unknown_answer_is_an_error(store: Path, answer_id: str) -> None:
    """Nothing is written for an id that no answer has, whatever else holds these letters."""
    with RAG(store) as rag:
        rag.ask(QUESTION)
        before = lines(store)
        with pytest.raises(ConfigError, match="no answer"):
            rag.feedback(answer_id, True)
    assert lines(store) == before


def test_without_a_ledger_feedback_says_so(store: Path) -> None:
    """The error names the ledger: off, or not there yet."""
    with RAG(store, ledger="off") as rag:
        answer_id = str(rag.ask(QUESTION).receipt.answer_id)
        with pytest.raises(ConfigError, match="ledger is off"):
            rag.feedback(answer_id, True)
    with RAG(store, ledger=store / "other.jsonl") as rag, pytest.raises(ConfigError, match="other"):
        rag.feedback(answer_id, True)


def test_broken_lines_are_passed_over(store: Path) -> None:
    """A line that a crash cut short, even one that holds the id, neither counts nor hurts."""
    with RAG(store) as rag:
        answer_id = str(rag.ask(QUESTION).receipt.answer_id)
        path = store / "ledger.jsonl"
        path.write_text(f'{{"kind": "ask", "x": "{answer_id}\n[1]\n{path.read_text()}')
        rag.feedback(answer_id, True)
    assert summarise(read_ledger(path)).feedback == {answer_id: True}


def test_feedback_by_command(store: Path) -> None:
    """Ask, judge, report: as JSON and as text."""
    place = ("--store", str(store))
    asked = valid(run("ask", QUESTION, *place, "--json", "--keep-question").stdout, "ask")
    answer_id = asked["receipt"]["answer_id"]
    said = run("feedback", answer_id, "bad", "--note", "too late", *place, "--json").stdout
    assert valid(said, "feedback")["note"] == "too late"
    assert "good" in run("feedback", answer_id, "good", *place).stdout
    assert "no answer" in run("feedback", "no-such-answer", "good", *place, code=2).stderr
    report = valid(run("ledger", "report", *place, "--json").stdout, "ledger")
    assert report["feedback"] == {"good": 1, "bad": 0}
    assert "good answers" in run("ledger", "report", *place).stdout
    assert [j.question for j in judged_questions(read_ledger(store / "ledger.jsonl"))] == [QUESTION]
