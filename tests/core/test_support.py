"""Support: how well a pool supports an answer, where tables stand in it."""

from __future__ import annotations

import dataclasses

import pytest

from ragkit.text.words import index_terms
from ragkit.trimming import BUILTIN_POLICY, PoolChunk, support_score

from .test_passages import pool_of

BERTHS = """Harbour
=======

Berths can be rented by the week.

===== ====== ===========
Berth Length Weekly rent
===== ====== ===========
K-17  9 m    140
K-18  12 m   190
L-02  15 m   260
===== ====== ===========

The harbour is old. Rain is common in spring.
"""


def support(question: str, *, text: str = BERTHS, cosine: float | None = None) -> float:
    """Return the support of a text for a question, every unit as near to it by vectors."""
    pool = pool_of(text) if cosine is None else [near(c, cosine) for c in pool_of(text)]
    found = support_score(index_terms(question, language="en"), pool)
    assert found is not None
    return found


def near(chunk: PoolChunk, cosine: float) -> PoolChunk:
    """Return the chunk with one cosine for all of its units."""
    cosines = [cosine] * len(chunk.terms)
    return dataclasses.replace(chunk, cosines=cosines, window_cosines=cosines)


@pytest.mark.parametrize("cosine", [None, 0.1])
def test_a_row_is_supported_by_its_header(cosine: float | None) -> None:
    """A row answers what it and the names of its columns are about, whatever vectors say."""
    refuse_below = BUILTIN_POLICY.refuse_below
    assert refuse_below is not None
    assert support("weekly rent K-17", cosine=cosine) > 0.5
    assert support("length L-02", cosine=cosine) > 0.5
    assert support("K-18 free", cosine=cosine) > refuse_below


@pytest.mark.parametrize("cosine", [None, 0.1])
def test_a_header_alone_supports_nothing(cosine: float | None) -> None:
    """A question about no row of a table is not answered by the names of its columns."""
    assert support("weekly rent Z-99", cosine=cosine) < support("weekly rent K-17", cosine=cosine)
    assert support("weekly length", cosine=cosine) == support("toronto runway", cosine=cosine)


def test_words_in_prose_are_no_row() -> None:
    """About prose, in which words may meet by chance, vectors have their say."""
    assert support("harbour spring", cosine=0.1) < 0.05 < support("harbour spring")
