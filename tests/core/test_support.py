"""Support: how well a pool supports an answer, in running text and in tables."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.words import index_terms, query_terms
from ragkit.trimming import BUILTIN_POLICY, PoolChunk, TrimPolicy, rank, support_score
from ragkit.trimming.support import telling_terms

from ..strategies import TEXTS
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
    assert support("weekly rent K-17", cosine=cosine) > 0.5
    assert support("length L-02", cosine=cosine) > 0.5
    assert support("K-18 free", cosine=cosine) > refuse_below


@pytest.mark.parametrize("cosine", [None, 0.1])
def test_a_header_alone_supports_nothing(cosine: float | None) -> None:
    """A question about no row of a table is not answered by the names of its columns."""
    assert support("weekly rent Z-99", cosine=cosine) < support("weekly rent K-17", cosine=cosine)
    assert support("weekly length", cosine=cosine) < support("weekly length K-17", cosine=cosine)


def test_words_in_prose_are_no_row() -> None:
    """About prose, in which words may meet by chance, vectors have their say."""
    refuse_below = BUILTIN_POLICY.refuse_below
    assert support("harbour spring", cosine=0.1) < refuse_below < support("harbour spring")


@given(question=TEXTS, texts=st.lists(TEXTS, min_size=1, max_size=3))
def test_support_is_a_share_whatever_the_texts(question: str, texts: list[str]) -> None:
    """It is from 0 to 1, the ranking's is the same, and nearer vectors never lower it."""
    terms, pool = query_terms(question, language=None), pool_of(*texts)
    found = support_score(terms, pool)
    assert found == rank(terms, pool, BUILTIN_POLICY).support
    far, near_by = (support_score(terms, [near(c, x) for c in pool]) for x in (0.1, 0.6))
    assert (found is None) == (far is None) == (near_by is None)
    if found is not None and far is not None and near_by is not None:
        assert 0.0 <= found <= 1.0
        assert 0.0 <= far <= near_by <= 1.0


def test_a_policy_of_before_has_the_support_of_before() -> None:
    """Its numbers are those of the version that wrote it."""
    policy = TrimPolicy.from_dict({"name": "of before"}, path="p.json")
    terms = index_terms("harbour spring", language="en")
    assert support_score(terms, pool_of(BERTHS), policy) == pytest.approx(0.8249, abs=1e-4)
    assert support_score(terms, pool_of(BERTHS)) != support_score(terms, pool_of(BERTHS), policy)


def test_what_a_question_asks_with_is_not_what_it_is_about() -> None:
    """Where words are not divided, pieces that touch an asking word stand in no answer."""
    terms = query_terms("一日票的价格是多少？", language="zh")
    assert {"一日", "日票", "价格"} == set(telling_terms(terms)) < set(terms)
    terms = query_terms("ตั๋วรายวันราคาเท่าไร", language="th")
    assert "ราค" in telling_terms(terms)
    assert len(telling_terms(terms)) < len(terms)
    words = query_terms("What does a day pass cost?", language="en")
    assert telling_terms(words) == words
    only_asking = query_terms("什么？", language="zh")
    assert telling_terms(only_asking) == only_asking


def test_words_that_stand_together_support_more_than_scattered_ones() -> None:
    """The same words in one sentence, and over the sentences of a chunk."""
    together = "The ferry to Norsk carries bicycles. It is red. Rain falls. Bread is sold."
    scattered = "The ferry is red. Rain falls on Norsk. Bread is sold. Nobody rides bicycles."
    question = "ferry Norsk bicycles"
    assert support(question, text=together) > support(question, text=scattered)
