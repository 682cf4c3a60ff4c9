"""Identifiers are told apart by every kind of store, and by the trimmer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.pipeline.identified import exact_first
from ragkit.text.identifiers import asked_identifiers
from ragkit.trimming import BUILTIN_POLICY, rank
from ragkit.types import Chunk, Hit, Query
from ragkit_connectors.testing import OpenSearchServer

from ..opensearch.opening import opened

QUIET = Settings(ledger="off")
WORDS = Settings(ledger="off", embedder="none")
ORDERS = ("4.5.6", "4.6.5", "5.4.6", "5.6.4", "6.4.5", "6.5.4")
NOTES = [
    Document(id=f"{order}.md", text=f"Notes of v{order}\n\nIt mends the {what} of the crane.")
    for order, what in zip(ORDERS, ("hook", "rope", "drum", "motor", "brake", "cabin"), strict=True)
]
ADDRESSES = Document(
    id="addresses.md",
    text="172.16.0.4 is the scale at the gate.\n\n172.0.16.4 is the camera on the quay.\n\n"
    "172.4.0.16 is the clock in the hall.",
)


def _hit(number: int, text: str, score: float, title: str = "") -> Hit:
    chunk = Chunk(
        id=f"c{number}", document_id=f"d{number}", start=0, end=len(text), text=text, n_tokens=9,
        sentences=((0, len(text)),),
    )  # fmt: skip
    return Hit(rank=number, score=score, chunk=chunk, title=title)


@pytest.mark.parametrize("settings", [QUIET, WORDS])
def test_the_version_asked_for_is_first(tmp_path: Path, settings: Settings) -> None:
    """Though the same numbers stand in each document."""
    with RAG(tmp_path / "kb", config=settings) as rag:
        rag.ingest(*NOTES)
        for order in ORDERS:
            for asked in (f"What does v{order} mend?", f"news of release {order}?"):
                assert rag.search(asked, k=1)[0].chunk.document_id == f"{order}.md"
        assert len(rag.search("6 of the 5 or 4", mode="lexical")) == len(ORDERS)


def test_the_version_asked_for_is_first_in_opensearch() -> None:
    """On a server's ranking, too."""
    with OpenSearchServer() as server, RAG(opened(f"{server.url}/kb"), config=WORDS) as rag:
        rag.ingest(*NOTES)
        for order in ORDERS:
            hits = rag.search(f"What does v{order} mend?", k=2)
            assert hits[0].chunk.document_id == f"{order}.md"
            assert hits[0].score >= hits[1].score


@pytest.mark.parametrize("settings", [QUIET, WORDS])
def test_the_sentence_with_the_whole_is_the_answer(tmp_path: Path, settings: Settings) -> None:
    """It ranks before those with its numbers in another order, which count for nothing."""
    with RAG(tmp_path / "kb", config=settings) as rag:
        rag.ingest(ADDRESSES)
        answer = rag.ask("What is 172.0.16.4?")
        assert answer.text == "172.0.16.4 is the camera on the quay."
        ranking = rank(*rag.pool("What is 172.0.16.4?", k=5), BUILTIN_POLICY)
        assert ranking.sentences[0].text == answer.text
        two = rag.pool("What are 172.0.16.4 and 172.4.0.16?", k=5)
        best = rank(*two, BUILTIN_POLICY).sentences[:2]
        assert {sentence.text[:10] for sentence in best} == {"172.0.16.4", "172.4.0.16"}


def test_parts_still_find_what_the_whole_does_not(tmp_path: Path) -> None:
    """A setting is found by its words, and a number that no document holds by its parts."""
    texts = ("Set `max_open_files` in server.toml.", "The open files of the archive.")
    with RAG(tmp_path / "kb", config=WORDS) as rag:
        rag.ingest(*(Document(id=str(i), text=text) for i, text in enumerate(texts)))
        assert rag.search("max_open_files")[0].chunk.document_id == "0"
        assert {hit.chunk.document_id for hit in rag.search("open files")} == {"0", "1"}
        assert rag.search("the server")[0].chunk.document_id == "0"


def test_languages_are_told_apart(tmp_path: Path) -> None:
    """By the sign behind the letter."""
    with RAG(tmp_path / "kb", config=WORDS) as rag:
        for name in ("C", "C++", "C#"):
            rag.ingest(Document(id=name, text=f"Our rules for {name} are on the board."))
        for name in ("C++", "C#"):
            assert rag.search(f"Where are the rules for {name}?")[0].chunk.document_id == name


@pytest.mark.filterwarnings("ignore:the store keeps no lists")  # the store is of before
def test_a_store_of_before_finds_identifiers(tmp_path: Path) -> None:
    """Its index has none of their terms: its best hits are read for them. It stays sound."""
    fixture = Path(__file__).parents[1] / "fixtures" / "store_schema_2"
    shutil.copytree(fixture, tmp_path / "kb")
    with RAG(tmp_path / "kb", config=QUIET) as rag:
        for mode in ("lexical", "hybrid"):
            first, second = rag.search("Are passengers told the speed_knots?", k=2, mode=mode)
            assert "speed_knots" in first.chunk.text
            assert first.score > second.score
        terms, pool = rag.pool("the fleet of speed_knots", k=3)
        assert any(terms[-1] in sentence for chunk in pool for sentence in chunk.terms)
        rag.ingest(NOTES[0])
        assert rag.search("What does v4.5.6 mend?", k=1)[0].chunk.document_id == "4.5.6.md"
        assert not rag.doctor()


@dataclass
class _Given:
    """A retriever that finds what it was given, and notes how much it was asked for."""

    hits: Sequence[Hit]
    asked: list[int] = field(default_factory=list[int])

    def search(self, query: Query) -> Sequence[Hit]:
        self.asked.append(query.k)
        return self.hits[: query.k]


def test_a_retriever_is_asked_for_no_more_than_the_call_asks_for() -> None:
    """It may be paid for by the hit; what it returns is put in order."""
    given = _Given([_hit(1, "On v9.8.7.", 3.0), _hit(2, "On v7.8.9.", 2.0), _hit(3, "No.", 1.0)])
    with RAG(given, config=QUIET) as rag:
        hits = rag.search("What is in v7.8.9?", k=2)
    assert given.asked == [2]
    assert [(hit.rank, hit.chunk.id) for hit in hits] == [(1, "c2"), (2, "c1")]


def test_an_identifier_that_many_hits_hold_says_little() -> None:
    """What is asked of it decides then, and not whether it is named again."""
    texts = [f"Line {i} of app.ini." for i in range(2, 50)]
    hits = [_hit(1, "The colour is set by tint.", 9.0)]
    hits += [_hit(i, text, 5.0 - i / 20) for i, text in enumerate(texts, start=2)]
    asked = asked_identifiers("How is the colour set in app.ini?")
    assert exact_first(hits, asked)[0].chunk.id == "c1"
    only = [_hit(i, "The colour.", 9.0 - i) for i in range(1, 9)]
    only.append(_hit(99, "Tint it.", 0.1, title="app.ini"))
    raised = exact_first(only, asked)
    assert raised[0].chunk.id == "c99"
    assert [hit.rank for hit in raised] == list(range(1, 10))
    scores = [hit.score for hit in raised]
    assert scores == sorted(scores, reverse=True)
    assert exact_first(only, ["none"]) == only
    assert json.dumps([hit.to_dict() for hit in raised])
