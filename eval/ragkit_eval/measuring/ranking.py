"""Rank measures as trec_eval computes them, without trec_eval.

A run gives each document a score. Documents are ranked by score, highest first, and documents of
equal score by id, bytewise descending (`form_res_rels.c`); the order of the input counts for
nothing, so a scorer that gives every document the same score earns nothing from it. Unjudged
documents are not relevant. A relevance of 1 or more counts as relevant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from struct import pack, unpack

from ragkit.errors import ConfigError

Scores = Mapping[str, float]
Judgements = Mapping[str, int]


def ranked(scores: Scores, *, single_precision: bool = False) -> list[str]:
    """Return documents, best first.

    Args:
        scores: Finite; a document's score.
        single_precision: Compare scores as float32, as trec_eval 9 does: 1.0 and 1.0 + 1e-9 tie.

    Raises:
        ConfigError: a score is not a finite number.
    """
    for document, score in scores.items():
        if not math.isfinite(score):
            raise ConfigError(f"score {score} of document {document!r}; allowed: finite numbers")
    if single_precision:
        scores = {document: unpack("f", pack("f", s))[0] for document, s in scores.items()}
    by_id = sorted(scores, key=lambda document: document.encode(), reverse=True)
    return sorted(by_id, key=lambda document: -scores[document])


def ndcg(order: Sequence[str], judged: Judgements, k: int | None = None) -> float | None:
    """Return the normalised discounted cumulative gain, linear gain (`m_ndcg_cut.c`)."""
    ideal = sorted((gain for gain in judged.values() if gain > 0), reverse=True)
    if not ideal:
        return None
    gains = (max(0, judged.get(document, 0)) for document in order[:k])
    return _discounted(gains) / _discounted(ideal[:k])


def recall(order: Sequence[str], judged: Judgements, k: int | None = None) -> float | None:
    """Return the share of the relevant documents among the first k (`m_recall.c`)."""
    n_relevant = _n_relevant(judged)
    return _n_found(order[:k], judged) / n_relevant if n_relevant else None


def precision(order: Sequence[str], judged: Judgements, k: int) -> float | None:
    """Return the share of relevant documents among k places, filled or not (`m_P.c`)."""
    return _n_found(order[:k], judged) / k if _n_relevant(judged) else None


def average_precision(
    order: Sequence[str], judged: Judgements, k: int | None = None
) -> float | None:
    """Return precision at each relevant document, over all that are relevant (`m_map.c`)."""
    n_relevant = _n_relevant(judged)
    if not n_relevant:
        return None
    found, total = 0, 0.0
    for rank, document in enumerate(order[:k], start=1):
        if judged.get(document, 0) > 0:
            found += 1
            total += found / rank
    return total / n_relevant


def reciprocal_rank(order: Sequence[str], judged: Judgements, k: int | None = None) -> float | None:
    """Return 1 over the rank of the first relevant document, 0 without (`m_recip_rank.c`)."""
    if not _n_relevant(judged):
        return None
    ranks = (r for r, document in enumerate(order[:k], start=1) if judged.get(document, 0) > 0)
    first = next(ranks, None)
    return 1.0 / first if first else 0.0


def success(order: Sequence[str], judged: Judgements, k: int | None = None) -> float | None:
    """Return 1 when a relevant document is among the first k, else 0 (`m_success.c`)."""
    return float(_n_found(order[:k], judged) > 0) if _n_relevant(judged) else None


def judged_share(order: Sequence[str], judged: Judgements, k: int | None = None) -> float | None:
    """Return the share of the first k documents that were judged: the rest may be relevant too."""
    first = order[:k]
    if not first or not _n_relevant(judged):
        return None
    return sum(document in judged for document in first) / len(first)


def _discounted(gains: Iterable[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1) if gain)


def _n_relevant(judged: Judgements) -> int:
    return sum(relevance > 0 for relevance in judged.values())


def _n_found(order: Iterable[str], judged: Judgements) -> int:
    return sum(judged.get(document, 0) > 0 for document in order)
