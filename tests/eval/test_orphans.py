"""Orphans: kept units without what they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.pipeline import Answer
from ragkit.types import Chunk, ContextItem, Hit, Need, ScoredSentence, Span, Unit
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.rows import Row
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.measures import default_measures, parse_measure
from ragkit_eval.measuring.orphans import count_orphans

LINES = ("Install it like this:", "pip install x", "Colours:", "red", "green", "Do so.", "Then so.")
TEXT = "\n".join(LINES)


def span(line: int) -> Span:
    """Return the span of a line."""
    start = sum(len(text) + 1 for text in LINES[:line])
    return start, start + len(LINES[line])


def need(line: int) -> Need:
    """Return the need of a line."""
    return Need(start=span(line)[0], end=span(line)[1], role="lead_in", text=LINES[line])


PROCEDURE = (span(5)[0], span(6)[1])
UNITS = (
    Unit(start=span(0)[0], end=span(0)[1]),
    Unit(start=span(1)[0], end=span(1)[1], kind="code", needs=(need(0),)),
    Unit(start=span(2)[0], end=span(2)[1]),
    Unit(start=span(3)[0], end=span(3)[1], kind="item", needs=(need(2),)),
    Unit(start=span(4)[0], end=span(4)[1], kind="item", needs=(need(2),)),
    Unit(start=span(5)[0], end=span(5)[1], kind="step", procedure=PROCEDURE),
    Unit(start=span(6)[0], end=span(6)[1], kind="step", procedure=PROCEDURE),
)
CHUNK = Chunk(
    id="c", document_id="d", start=0, end=len(TEXT), text=TEXT, n_tokens=20,
    sentences=tuple((unit.start, unit.end) for unit in UNITS), units=UNITS,
)  # fmt: skip


class GoldOfChunk(Gold):
    """Units of the one document, as a store that knows its structure would give them."""

    def units(self, document_id: str) -> tuple[str, Sequence[Unit]]:
        """Return the text and its units."""
        assert document_id == "d"
        return TEXT, UNITS


def items(*kept: int, borrowed: Sequence[int] = (), chunk: Chunk = CHUNK) -> list[ContextItem]:
    """Return each kept line as an item, and each borrowed one as an item without sentences."""
    made: list[ContextItem] = []
    for line in (*kept, *borrowed):
        start, end = span(line)
        scored = ScoredSentence(start=start, end=end, text=LINES[line], score=1.0, n_tokens=3)
        made.append(
            ContextItem(
                hit=Hit(rank=1, score=1.0, chunk=chunk), start=start, end=end, text=LINES[line],
                n_tokens=3, sentences=(scored,) if line in kept else (),
            )
        )  # fmt: skip
    return made


@pytest.fixture
def gold(tmp_path: Path) -> Gold:
    """Return where units are looked up."""
    with RAG(tmp_path / "kb", config=Settings(embedder="none"), ledger="off") as rag:
        return GoldOfChunk(rag)


@pytest.mark.parametrize(
    ("kept", "borrowed", "n_orphans"),
    [
        ([1], [], 1),
        ([0, 1], [], 0),
        ([1], [0], 0),
        ([3, 4], [], 2),
        ([2, 3], [], 0),
        ([3, 4], [2], 0),
        ([5], [], 1),
        ([5, 6], [], 0),
        ([1, 3, 6], [2], 2),
        ([0], [3], 0),
    ],
)
def test_a_kept_unit_without_what_it_needs_is_an_orphan(
    gold: Gold, kept: list[int], borrowed: list[int], n_orphans: int
) -> None:
    """Code without its introduction, items without their lead-in, one step of a procedure."""
    assert count_orphans(items(*kept, borrowed=borrowed), gold) == n_orphans


def test_part_of_a_need_is_not_enough(gold: Gold) -> None:
    """All of the words that are needed must be there, in that document."""
    code, lead_in = items(1, borrowed=[0])
    cut = replace(lead_in, start=lead_in.start + 8, text=lead_in.text[8:])
    elsewhere = replace(lead_in, hit=replace(lead_in.hit, chunk=replace(CHUNK, document_id="e")))
    assert count_orphans([code, lead_in], gold) == 0
    assert count_orphans([code, cut], gold) == 1
    assert count_orphans([code, elsewhere], gold) == 1


def test_of_unknown_structure_nothing_is_said(gold: Gold) -> None:
    """Without units, or without a context, the number is unknown and not 0."""
    assert count_orphans(items(1, chunk=replace(CHUNK, units=())), gold) is None
    assert count_orphans([], gold) is None
    measure = parse_measure("Orphans")
    question = Question(id="q", text="?")
    assert measure.value(question, Row(id="q", status="ok")) is None
    assert measure.value(question, Row(id="q", status="ok", orphans=2)) == 2.0
    assert measure.direction == "lower"
    assert "Orphans" in map(str, default_measures([question]))


def test_units_of_a_store_are_those_of_its_chunks(tmp_path: Path) -> None:
    """A real answer's orphans are counted on what the store holds."""
    with RAG(tmp_path / "kb", config=Settings(embedder="none"), ledger="off") as rag:
        rag.ingest(Document(id="d", text="The ferry leaves at nine. Dogs travel free."))
        answer: Answer = rag.ask("When does the ferry leave?")
        text, units = Gold(rag).units("d")
        found = rag.stored("d")
        assert found is not None
        assert (text, list(units)) == (found[0].text, [u for c in found[2] for u in c.units])
        assert count_orphans(answer.context, Gold(rag)) in {None, 0}
