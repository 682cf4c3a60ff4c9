"""The score of units in documents with structure."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

import ragkit
from ragkit.chunking import SpanChunker
from ragkit.loading import load_bytes
from ragkit.text.wordpiece import load_wordpiece
from ragkit.text.words import index_terms, query_terms
from ragkit.trimming import BUILTIN_POLICY, PoolChunk, TrimPolicy, measure, rank, select
from ragkit.trimming.atoms import Atoms, is_structured
from ragkit.trimming.unit_scorer import unit_features
from ragkit.types import Document, Hit

MANUAL = """# Pump

## Cleaning

Clean it once a week. Wear gloves while you clean the pump.

## Emptying the tank

Before winter, run:

```
pumpctl drain --all
```

## Messages

| code | meaning |
|---|---|
| E17 | the filter is blocked |
| E20 | the tank is empty |
"""
PROSE = "The tank is emptied before winter. It holds nine litres. The filter is blue."


def pool_of(*texts: str) -> list[PoolChunk]:
    """Return Markdown texts as a pool, each cut into chunks of at most 400 tokens."""
    chunker = SpanChunker(name="recursive", counter=load_wordpiece())
    pool: list[PoolChunk] = []
    for n, text in enumerate(texts):
        loaded = load_bytes(text.encode(), name="page.md")
        document = Document(
            id=f"page{n}", text=loaded.text, marks=tuple(loaded.marks), parts=tuple(loaded.parts)
        )
        for chunk in chunker.split(document):
            terms = [
                index_terms(chunk.text[a - chunk.start : b - chunk.start], language="en")
                for a, b in chunk.sentences
            ]
            hit = Hit(rank=len(pool) + 1, score=1.0 / (1 + len(pool)), chunk=chunk)
            pool.append(PoolChunk(hit=hit, terms=terms))
    return pool


def kept(question: str, pool: list[PoolChunk]) -> list[str]:
    """Return what a cut keeps that keeps only the best unit."""
    policy = replace(BUILTIN_POLICY, keep_above=None, budget_tokens=1)
    ranking = rank(query_terms(question, language="en"), pool, policy)
    return [i.text for i in select(ranking, policy=policy, counter=load_wordpiece()).context]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "How do I empty the tank before winter?",
            ["Before winter, run:\n\n```\npumpctl drain --all\n```"],
        ),
        (
            "What does code E17 mean?",
            ["## Messages\n\n| code | meaning |\n|---|---|\n| E17 | the filter is blocked |"],
        ),
    ],
)
def test_code_and_rows_win_by_what_is_kept_with_them(question: str, expected: list[str]) -> None:
    """By themselves they share no word, or few, with the question."""
    assert kept(question, pool_of(MANUAL)) == expected


def test_prose_is_scored_as_before() -> None:
    """Headings alone make no structure, and a policy without the scorer of units ranks alike."""
    pool = pool_of(f"# Tanks\n\n{PROSE}")
    assert not is_structured(pool)
    assert is_structured(pool_of(MANUAL))
    terms = query_terms("When is the tank emptied?", language="en")
    without = replace(BUILTIN_POLICY, units=False)
    scores = [s.score for s in rank(terms, pool, BUILTIN_POLICY).sentences]
    assert scores == [s.score for s in rank(terms, pool, without).sentences]


def test_half_of_the_pool_decides() -> None:
    """Of two pages one is enough, of three it is not."""
    assert is_structured(pool_of(MANUAL, PROSE))
    assert not is_structured(pool_of(MANUAL, PROSE, PROSE))


def test_there_is_one_weight_per_feature() -> None:
    """For pools with vectors and without."""
    data = Path(ragkit.__file__).parent / "data" / "unit_scorer.json"
    weights = json.loads(data.read_text(encoding="utf-8"))
    pool = pool_of(MANUAL)
    with_vectors = [
        replace(chunk, cosines=[0.1] * len(chunk.terms), window_cosines=[0.1] * len(chunk.terms))
        for chunk in pool
    ]
    for name, given in (("by_words", pool), ("with_vectors", with_vectors)):
        signals = measure(["tank"], given)
        columns = unit_features(["tank"], given, signals, Atoms(given, BUILTIN_POLICY))
        assert set(weights[name]) == {"offset", *columns}
        assert {len(values) for values in columns.values()} == {len(signals.sentences)}


def test_the_relative_score_falls_as_the_context_grows() -> None:
    """Also where many units have one score: no question gets all of a pool."""
    items = "\n".join(f"- valve {n} of the tank" for n in range(200))
    pool = pool_of(f"The tank has these valves:\n\n{items}")
    ranking = rank(["valv", "tank"], pool, BUILTIN_POLICY)
    items_only = [s for s in ranking.sentences if s.need is None and s.score > -math.inf]
    relative = [s.relative_score for s in items_only]
    assert relative == sorted(relative, reverse=True)
    assert relative[0] - relative[-1] > items_only[0].score - items_only[-1].score + 1.0


def test_pools_with_structure_may_have_a_cut_of_their_own() -> None:
    """It takes the place of the other one there, and nowhere else; a file keeps it."""
    counter, terms = load_wordpiece(), query_terms("How is the tank emptied?", language="en")
    all_of_it = replace(BUILTIN_POLICY, keep_above=-99.0, structured_above=None, budget_share=None)
    for pool, changes in ((pool_of(MANUAL), True), (pool_of(PROSE), False)):
        ranking = rank(terms, pool, all_of_it)
        assert ranking.by_units == changes
        whole = select(ranking, policy=all_of_it, counter=counter).context
        narrow = replace(all_of_it, structured_above=99.0)
        assert (select(ranking, policy=narrow, counter=counter).context != whole) == changes
        assert TrimPolicy.from_dict(narrow.to_dict(), path="a.json") == narrow
    assert "structured_above" not in all_of_it.to_dict()
