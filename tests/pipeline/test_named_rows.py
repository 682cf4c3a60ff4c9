"""A row that a question names is found, though its table comes far behind what says more words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit import RAG, Settings

QUESTION = "What was the cost of revenue in the first quarter of the fiscal year?"
N_HITS = 10


TRADES = {
    "bridges": "piers cables rivets cranes concrete girders surveyors decks bearings scaffolds",
    "bakeries": "ovens flour yeast crusts loaves rye apprentices counters sacks mills",
    "harbours": "pilots tugs berths quays ferries buoys customs anchors dredgers lighters",
    "orchards": "apples pears pruning frost bees grafts ladders crates cider hedges",
    "theatres": "stages lamps curtains actors balconies posters rehearsals costumes seats scripts",
    "foundries": "furnaces ingots moulds slag bellows castings alloys ladles sand chimneys",
    "vineyards": "grapes barrels cellars corks terraces vintages soils presses harvests labels",
    "printers": "inks rollers plates sheets bindings proofs fonts margins folders gloss",
    "dairies": "milk churns cheeses whey pastures rennet herds butter cream cows",
    "railways": "signals sleepers wagons platforms points tunnels timetables guards engines fares",
    "quarries": "granite blasts drills slabs lorries dust benches crushers marble gravel",
    "potteries": "kilns glazes clays wheels vases tiles stoneware firings slips handles",
}


def review(trade: str, things: str) -> str:
    """Return a page with the question's words again and again, and a table of other rows."""
    said = f"In the first quarter of the fiscal year there was more revenue from {trade}."
    spent = f"What was the cost? The fiscal year's first quarter told of {things}."
    rows = "".join(f"| {thing} | {i},{100 + i} |\n" for i, thing in enumerate(things.split()))
    return (
        f"# {trade.title()} in the first quarter\n\n{said} {spent}\n\n"
        f"| Thing | Amount |\n|---|---|\n{rows}"
    )


STATEMENT = """# Statements of income

| In millions | April 30 | May 1 |
|---|---|---|
| Net result | 2,043 | 1,618 |
| Cost of revenue | 2,544 | 2,857 |
| Gross profit | 4,648 | 5,431 |
| Research and development | 1,875 | 1,618 |
"""


@pytest.fixture
def rag(tmp_path: Path) -> RAG:
    """Return a store in which more pages than a pool holds come before the statement."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for trade, things in TRADES.items():
        (folder / f"{trade}.md").write_text(review(trade, things), encoding="utf-8")
    (folder / "statement.md").write_text(STATEMENT, encoding="utf-8")
    rag = RAG(tmp_path / "kb", config=Settings(embedder="none", ledger="off"))
    assert rag.ingest(folder).documents["added"] == 1 + len(TRADES)
    return rag


def documents(rag: RAG) -> list[str]:
    """Return the documents of the first hits, best first."""
    return [hit.chunk.document_id for hit in rag.search(QUESTION, k=N_HITS)]


def test_a_named_row_of_a_later_hit(rag: RAG) -> None:
    """Its table is no hit, but in the context, with the head of its column."""
    assert "statement.md" not in documents(rag)
    context = [item.text for item in rag.ask(QUESTION).context]
    assert any("Cost of revenue | 2,544" in text for text in context)
    assert any("April 30" in text for text in context)


def test_at_most_half_of_the_pool_is_replaced(rag: RAG) -> None:
    """The better half of the hits stays, in its order."""
    _, pool = rag.pool(QUESTION, k=N_HITS)
    pooled = [chunk.hit.chunk.document_id for chunk in pool]
    assert len(pooled) == N_HITS
    assert pooled[: N_HITS // 2] == documents(rag)[: N_HITS // 2]
    assert "statement.md" in pooled[N_HITS // 2 :]


def test_a_row_that_is_not_named(rag: RAG) -> None:
    """Half of a label's words are not the label."""
    _, pool = rag.pool("What was the revenue of the first quarter of the fiscal year?", k=N_HITS)
    assert "statement.md" not in [chunk.hit.chunk.document_id for chunk in pool]


def test_without_repeats_dropped_the_hits_stand_as_they_were_found(rag: RAG) -> None:
    """The untrimmed baseline is that of any other search."""
    _, pool = rag.pool(QUESTION, k=N_HITS, drops_repeats=False)
    assert [chunk.hit.chunk.document_id for chunk in pool] == documents(rag)
