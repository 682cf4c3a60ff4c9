"""Editions of a page: the untrimmed baseline holds them all, the pool that is trimmed one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.trimming import BASELINE_HITS, TrimPolicy
from ragkit_eval.calibration.needs import measure_needs
from ragkit_eval.calibration.sweep import Grid, sweep
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.measuring.pools import retrieve
from ragkit_eval.measuring.quality import quality_measure
from ragkit_eval.running.cache import Cache

WORDS = Settings(embedder="none", refuse_below="off")
EDITIONS = [
    Document(
        id=f"{year}.txt",
        text="A berth in the old harbour is let by the harbour master for one season. Who wants a "
        "berth writes to her before March. Boats longer than twelve metres lie at the outer pier. "
        f"Printed in {year}.",
    )
    for year in range(2001, 2011)
]
PRICES = Document(id="prices.txt", text="A season in the old harbour is 300 crowns for a boat.")
QUESTION = "What does a berth in the old harbour cost?"


@pytest.fixture
def rag(tmp_path: Path) -> Iterator[RAG]:
    """Return a pipeline over ten editions and the page that answers."""
    with RAG(tmp_path / "kb", config=WORDS, ledger="off") as rag:
        rag.ingest(*EDITIONS, PRICES)
        yield rag


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Return the question with what it needs, and the documents beside it."""
    folder = tmp_path / "data"
    (folder / "docs").mkdir(parents=True)
    for document in (*EDITIONS, PRICES):
        (folder / "docs" / document.id).write_text(document.text, encoding="utf-8")
    row = {"_id": "q", "text": QUESTION, "needs": [["300 crowns"]], "docs": [PRICES.id]}
    (folder / "questions.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    return load_dataset(folder)


def test_the_hits_are_those_of_a_search(rag: RAG) -> None:
    """And each pool is the one that `ask` trims."""
    found = retrieve(rag, QUESTION, k=BASELINE_HITS, pools=(2, 10))
    assert list(found.hits) == list(rag.search(QUESTION, k=BASELINE_HITS))
    for size, pool in found.pools.items():
        assert (found.terms, pool) == rag.pool(QUESTION, k=size)
        assert [chunk.hit.chunk.document_id for chunk in pool][1:] == [PRICES.id]


def test_a_calibration_compares_with_the_plain_hits(rag: RAG, dataset: Dataset) -> None:
    """The five editions that come first do not answer; the trimmed pool does."""
    _, quality = quality_measure("NeedsHeld")
    (need,) = measure_needs(rag, dataset.questions, quality=quality, policy=TrimPolicy(name="test"))
    hits = rag.search(QUESTION, k=BASELINE_HITS)
    assert PRICES.id not in {hit.chunk.document_id for hit in hits}
    assert (need.full, need.full_tokens) == (0.0, sum(hit.chunk.n_tokens for hit in hits))
    assert need.quality[0] == 1.0


def test_a_sweep_compares_with_the_plain_hits(dataset: Dataset, tmp_path: Path) -> None:
    """Its untrimmed curve grows by one edition after the other, its trimmed pools skip them."""
    grid = Grid(chunk_tokens=(400,), depths=(1, 5), pools=(5,), keep_above=(-20.0,))
    with Cache(tmp_path / "cache") as cache:
        found = sweep(dataset, WORDS, cache, grid, target=1.0)
    untrimmed, trimmed, _ = found.series
    assert [point.quality for point in untrimmed.points] == [0.0, 0.0]
    assert untrimmed.points[1].tokens > 4 * untrimmed.points[0].tokens
    assert [point.quality for point in trimmed.points] == [1.0]
