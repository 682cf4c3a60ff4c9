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
