"""Of near-identical passages one is prepared for trimming, and later hits take the free places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.types import Hit

YEARS = range(2001, 2021)
EDITIONS = [
    Document(
        id=f"{year}.md",
        text=f"Berths in the old harbour, {year}\n\nA berth in the old harbour is let by the "
        "harbour master for one season. Who wants a berth writes to her before March. Boats longer "
        f"than twelve metres lie at the outer pier. Printed in {year}.",
    )
    for year in YEARS
]
PRICES = Document(id="prices.md", text="A season in the old harbour is 300 crowns for a boat.")
QUESTION = "What does a berth in the old harbour cost?"


class Backwards:
    """A reranker that turns the hits round."""

    def rerank(self, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
        """Return the last first."""
        del question
        return hits[::-1]


@pytest.fixture(params=["none", "builtin"])
def rag(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RAG]:
    """Return a pipeline over twenty editions and a page of another kind."""
    settings = Settings(ledger="off", embedder=request.param, refuse_below="off")
    with RAG(tmp_path / "kb", config=settings) as rag:
        rag.ingest(*EDITIONS, PRICES)
        yield rag


def _pool(rag: RAG, question: str, k: int = 10) -> list[str]:
    return [chunk.hit.chunk.document_id for chunk in rag.pool(question, k=k)[1]]


def test_one_edition_stays_and_the_pool_is_filled(rag: RAG) -> None:
    """What the editions kept out is there, and their heading stands there once."""
    first, second = _pool(rag, QUESTION)
    assert first in {document.id for document in EDITIONS}
    assert second == "prices.md"
    context = "\n".join(item.text for item in rag.ask(QUESTION).context)
    assert context.count("Berths in the old harbour") <= 1
    assert "300 crowns" in context
    assert _pool(rag, QUESTION, k=1) == [first]


def test_the_edition_that_is_named_stays(rag: RAG) -> None:
    """Wherever it stands among the hits."""
    for year in (2003, 2020):
        assert _pool(rag, f"How were berths let in {year}?")[0] == f"{year}.md"


def test_a_search_and_the_untrimmed_baseline_keep_all(rag: RAG) -> None:
    """Only trimming takes one of them."""
    hits = rag.search(QUESTION, k=10)
    assert len({hit.chunk.document_id for hit in hits} - {"prices.md"}) >= 9
    answer = rag.ask(QUESTION)
    # Five chunks of a leaflet.
    assert (answer.receipt.baseline_tokens or 0) > 5 * 50


def test_without_trimming_the_context_is_what_was_found(tmp_path: Path) -> None:
    """The pool of `ask` with trimming off holds the first hits."""
    settings = Settings(ledger="off", embedder="none", trim="off", refuse_below="off")
    with RAG(tmp_path / "kb", config=settings) as rag:
        rag.ingest(*EDITIONS, PRICES)
        found = [hit.chunk.id for hit in rag.search(QUESTION, k=5)]
        assert [item.hit.chunk.id for item in rag.ask(QUESTION).context] == found


def test_a_reranker_decides_which_is_the_first(tmp_path: Path) -> None:
    """Repeats are dropped from what it returns."""
    settings = Settings(ledger="off", embedder="none")
    with RAG(tmp_path / "kb", config=settings, reranker=Backwards()) as rag:
        rag.ingest(*EDITIONS, PRICES)
        last = rag.search(QUESTION, k=10, mode="lexical")[0].chunk.document_id
        assert _pool(rag, QUESTION) == [last]


def test_passages_that_differ_in_what_they_say_stay(tmp_path: Path) -> None:
    """A page of one form about several things is several pages."""
    texts = [
        f"{name}. The {name} leaves from pier {pier}. It takes {cars} cars and runs to {place}."
        for name, pier, cars, place in (
            ("Tern", 1, 20, "Hoyle"), ("Gannet", 4, 44, "Skarv"), ("Puffin", 7, 12, "Lunde"),
        )
    ]  # fmt: skip
    with RAG(tmp_path / "kb", config=Settings(ledger="off", embedder="none")) as rag:
        rag.ingest(*(Document(id=str(i), text=text) for i, text in enumerate(texts)))
        assert len(_pool(rag, "How many cars from the pier?")) == 3
