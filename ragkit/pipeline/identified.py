"""Identifiers of a question, found in what was retrieved for it.

An index made since identifiers have terms finds them by these. One made before, a remote one and
vectors tell `v1.2.3` from `v3.1.2` badly or not at all, so the best hits are read for identifiers
whatever the store; only questions that hold any pay for it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from ragkit.text.identifiers import holds, identifiers, words_of
from ragkit.trimming import PoolChunk
from ragkit.types import Hit


def exact_first(hits: Sequence[Hit], asked: Sequence[str]) -> Sequence[Hit]:
    """Raise the hits whose text or title holds identifiers, the more the fewer hits hold them.

    One that alone holds all of them comes before all others.

    Args:
        hits: Best first.
        asked: The question's identifiers, as `asked_identifiers` returns them.
    """
    texts = [f"{hit.title}\n{hit.chunk.text}" for hit in hits]
    holding = [[holds(text, term) for text in texts] for term in asked]
    if not any(map(any, holding)):
        return hits
    high, low = hits[0].score, hits[-1].score
    # Scores may be all alike.
    spread = max(high - low, abs(high) / 2)
    scores = [hit.score for hit in hits]
    for held in holding:
        gain = spread * _rarity(sum(held), len(hits)) / len(asked)
        scores = [score + gain * is_held for score, is_held in zip(scores, held, strict=True)]
    n_held = [sum(held) for held in zip(*holding, strict=True)]
    order = sorted(range(len(hits)), key=lambda i: (-round(scores[i], 9), -n_held[i]))
    return [replace(hits[i], rank=n, score=scores[i]) for n, i in enumerate(order, start=1)]


def _rarity(n_holding: int, n: int) -> float:
    """Return 1 for what one of the hits holds, and less for what more do: 0 for all."""
    return math.log(n / n_holding) / math.log(n) if n > 1 and n_holding else 0.0


def with_identifiers(pool: Sequence[PoolChunk], asked: Sequence[str]) -> Sequence[PoolChunk]:
    """Prepare a pool for a question with identifiers.

    Sentences that were indexed without the terms of identifiers get them. Where an identifier is in
    the pool, sentences that have its words in another order instead are as far from the question as
    the farthest: their vectors cannot tell.
    """
    held = [_by_sentence(chunk) for chunk in pool]
    everything = {term for sentences in held for sentence in sentences for term in sentence}
    wanted = {words_of(term) for term in asked if term in everything}
    lowest = _lowest([chunk.cosines for chunk in pool])
    lowest_of_windows = _lowest([chunk.window_cosines for chunk in pool])
    prepared: list[PoolChunk] = []
    for chunk, sentences in zip(pool, held, strict=True):
        others = [
            sentence.isdisjoint(asked) and any(words_of(term) in wanted for term in sentence)
            for sentence in sentences
        ]
        prepared.append(
            replace(
                chunk,
                terms=[
                    [*terms, *(sentence.intersection(asked).difference(terms))]
                    for terms, sentence in zip(chunk.terms, sentences, strict=True)
                ],
                cosines=_lowered(chunk.cosines, others, lowest),
                window_cosines=_lowered(chunk.window_cosines, others, lowest_of_windows),
            )
        )
    return prepared


def _by_sentence(chunk: PoolChunk) -> list[set[str]]:
    text, start = chunk.hit.chunk.text, chunk.hit.chunk.start
    return [{*identifiers(text[a - start : b - start])} for a, b in chunk.hit.chunk.sentences]


def _lowest(columns: Sequence[Sequence[float] | None]) -> float:
    return min((value for column in columns for value in column or ()), default=0.0)


def _lowered(
    values: Sequence[float] | None, others: Sequence[bool], lowest: float
) -> Sequence[float] | None:
    if values is None:
        return None
    return [lowest if is_other else value for value, is_other in zip(values, others, strict=True)]


def telling(
    terms: Sequence[str],
    pool: Sequence[PoolChunk],
    *,
    numbers: Collection[str],
    others: Collection[str],
) -> Sequence[str]:
    """Return the terms by which sentences are to be told apart.

    Where the pool holds all of the question's versions, addresses and dates, their single numbers
    say nothing any more: a sentence that has them in another order is about another thing.

    Args:
        terms: The question's.
        pool: What was found.
        numbers: The identifiers of the question that consist of numbers.
        others: Its terms without these.
    """
    held = {term for chunk in pool for sentence in chunk.terms for term in sentence}
    if not numbers or not held.issuperset(numbers):
        return terms
    return [term for term in terms if term in numbers or term in others]
