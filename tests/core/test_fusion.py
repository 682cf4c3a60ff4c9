"""Fusion of rankings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.fusion import convex, reciprocal_rank


def test_convex_scales_both_rankings_before_it_adds_them() -> None:
    """The best of both rankings has score 1, what one ranking lacks has its lowest score."""
    fused = convex({1: 0.9, 2: 0.5, 3: 0.1}, {1: 20.0, 4: 10.0})
    assert fused == pytest.approx({1: 1.0, 2: 0.25, 3: 0.0, 4: 0.0})


def test_a_single_hit_counts_in_full() -> None:
    """A ranking of one hit, or of equal hits, does not vanish by scaling."""
    assert convex({}, {7: 3.0}) == {7: 0.5}


def test_reciprocal_rank_matches_the_published_formula() -> None:
    """Each ranking gives 1 / (60 + rank)."""
    fused = reciprocal_rank([5, 6], [6])
    assert fused == pytest.approx({5: 1 / 61, 6: 1 / 62 + 1 / 61})


_scores = st.dictionaries(st.integers(0, 20), st.floats(-5, 5), max_size=10)


@given(_scores, _scores, st.floats(0.1, 9), st.floats(-9, 9))
def test_convex_ignores_scale_and_offset(
    dense: dict[int, float], lexical: dict[int, float], scale: float, offset: float
) -> None:
    """Only a ranking's shape matters, not the unit of its scores."""
    spread = max(dense.values(), default=0.0) - min(dense.values(), default=0.0)
    if 0.0 < spread < 1e-3:
        return
    moved = {item: score * scale + offset for item, score in dense.items()}
    assert convex(moved, lexical) == pytest.approx(convex(dense, lexical), abs=1e-6)


def test_an_item_without_a_vector_is_ranked_by_its_keywords_alone() -> None:
    """It is neither last, as if its vector were the worst, nor above what both rankings favour."""
    dense, lexical = {1: 0.9, 2: 0.1}, {1: 20.0, 3: 15.0, 2: 10.0}
    assert convex(dense, lexical, bare={3}) == pytest.approx({1: 1.0, 3: 0.5, 2: 0.0})
    assert convex(dense, lexical)[3] == pytest.approx(0.25)
    ranks = reciprocal_rank([1, 2], [3, 1, 2], bare={3})
    assert ranks == pytest.approx({1: 1 / 61 + 1 / 62, 2: 1 / 62 + 1 / 63, 3: 2 / 61})


@given(_scores)
def test_without_any_vector_the_order_is_that_of_keywords(lexical: dict[int, float]) -> None:
    """Where nothing has a vector, fusing changes no order."""
    best_first = sorted(lexical, key=lambda item: -lexical[item])
    spread = max(lexical.values(), default=0.0) - min(lexical.values(), default=0.0)
    fused = convex({}, lexical, bare=lexical)
    if spread > 1e-3:
        assert [fused[item] for item in best_first] == sorted(fused.values(), reverse=True)
    ranks = reciprocal_rank([], best_first, bare=best_first)
    assert sorted(ranks, key=lambda item: -ranks[item]) == best_first
