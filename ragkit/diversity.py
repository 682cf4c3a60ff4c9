"""Fewer redundant hits: near-duplicate removal and maximal marginal relevance.

Similarity is the share of common three-word sequences, so it works with and without vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragkit.errors import ConfigError
from ragkit.text.words import index_terms, query_terms
from ragkit.types import Hit

NEAR_DUPLICATE = 0.9
"""Jaccard index from which on a hit repeats a better one: of three-word sequences in a search, of
words in a pool."""

_SEQUENCE_WORDS = 3


def drop_near_duplicates(hits: Sequence[Hit]) -> list[Hit]:
    """Drop hits whose text is nearly that of a better one; ranks are renumbered."""
    kept: list[tuple[Hit, frozenset[str]]] = []
    for hit in hits:
        features = _sequences(hit)
        if all(_jaccard(features, other) < NEAR_DUPLICATE for _, other in kept):
            kept.append((hit, features))
    return _ranked([hit for hit, _ in kept])


def one_of_each(hits: Sequence[Hit], question: str, n: int) -> list[Hit]:
    """Return one of each group of near-identical hits, for the first n groups.

    Editions of a page differ in few words, and these stand in many sequences of a short text, so
    words are compared here. Of a group the hit stays that holds most of the question's words, which
    is the edition that the question names, or else the first.

    Args:
        hits: Best first.
        question: What is asked.
        n: 1 or more.
    """
    groups: list[tuple[frozenset[str], list[Hit]]] = []
    for hit in hits:
        words = frozenset(index_terms(hit.chunk.text, language=None))
        group = next((g for w, g in groups if _jaccard(words, w) >= NEAR_DUPLICATE), None)
        if group is not None:
            group.append(hit)
        elif len(groups) < n:
            groups.append((words, [hit]))
    if all(len(group) == 1 for _, group in groups):
        return [hit for _, (hit,) in groups]
    asked = frozenset(query_terms(question, language=None))
    return [max(group, key=lambda hit: _n_held(hit, asked)) for _, group in groups]


def _n_held(hit: Hit, asked: frozenset[str]) -> int:
    return len(asked.intersection(index_terms(f"{hit.title}\n{hit.chunk.text}", language=None)))


def marginal_relevance(hits: Sequence[Hit], *, relevance: float) -> list[Hit]:
    """Reorder hits by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    Args:
        hits: Best first.
        relevance: Lambda in [0, 1]: 1 keeps the order, 0 only looks for novelty.

    Raises:
        ConfigError: `relevance` is out of range.
    """
    if not 0.0 <= relevance <= 1.0:
        raise ConfigError(f"mmr {relevance}; allowed: 0 to 1")
    if not hits:
        return []
    low, high = hits[-1].score, hits[0].score
    scale = (high - low) or 1.0
    features = [_sequences(hit) for hit in hits]
    nearest = [0.0] * len(hits)
    waiting = list(range(len(hits)))
    chosen: list[int] = []
    while waiting:
        best = max(
            waiting,
            key=lambda i: (
                relevance * (hits[i].score - low) / scale - (1.0 - relevance) * nearest[i],
                -i,
            ),
        )
        waiting.remove(best)
        chosen.append(best)
        for i in waiting:
            nearest[i] = max(nearest[i], _jaccard(features[i], features[best]))
    return _ranked([hits[i] for i in chosen])


def distinct_documents(hits: Sequence[Hit]) -> list[Hit]:
    """Keep each document's best hit; ranks are renumbered."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.chunk.document_id, hit)
    return _ranked(list(best.values()))


def _ranked(hits: Sequence[Hit]) -> list[Hit]:
    return [replace(hit, rank=rank) for rank, hit in enumerate(hits, start=1)]


def _sequences(hit: Hit) -> frozenset[str]:
    words = index_terms(hit.chunk.text, language=None)
    n = max(1, len(words) - _SEQUENCE_WORDS + 1)
    return frozenset(" ".join(words[i : i + _SEQUENCE_WORDS]) for i in range(n))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    union = len(a | b)
    return len(a & b) / union if union else 1.0
