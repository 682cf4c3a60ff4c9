"""Rank fusion: combining two rankings into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FUSION_DEPTH = 100
"""How many hits of each ranking take part."""

RECIPROCAL_RANK_CONSTANT = 60
"""k of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""


def convex(
    dense: Mapping[int, float], lexical: Mapping[int, float], *, dense_weight: float = 0.5
) -> dict[int, float]:
    """Return a weighted mean of both scores, each scaled to [0, 1] over the union.

    Scaling is by minimum and maximum (Bruch, Gai and Ingber, TOIS 2023, "TM2C2" family). An item
    that one ranking lacks gets that ranking's lowest score.

    Args:
        dense: Score by item, any scale, higher is better.
        lexical: The same for keywords.
        dense_weight: In [0, 1]; the rest is the weight of keywords.
    """
    scaled = (_scaled(dense), _scaled(lexical))
    return {
        item: dense_weight * scaled[0].get(item, 0.0)
        + (1.0 - dense_weight) * scaled[1].get(item, 0.0)
        for item in dict.fromkeys((*dense, *lexical))
    }


def _scaled(scores: Mapping[int, float]) -> dict[int, float]:
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if high - low < 1e-9:
        return dict.fromkeys(scores, 1.0)
    return {item: (score - low) / (high - low) for item, score in scores.items()}


def reciprocal_rank(*rankings: Sequence[int]) -> dict[int, float]:
    """Return sum over the rankings of 1 / (60 + rank), rank from 1 (Cormack et al. 2009, eq. 1)."""
    fused: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            fused[item] = fused.get(item, 0.0) + 1.0 / (RECIPROCAL_RANK_CONSTANT + rank)
    return fused
