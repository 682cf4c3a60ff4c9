"""Selecting the best sentences of a ranked pool within a policy's limits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ragkit.trimming.policy import BASELINE_HITS, TrimPolicy
from ragkit.trimming.ranking import RankedSentence, Ranking, rank
from ragkit.trimming.signals import PoolChunk
from ragkit.types import ContextItem, Hit, RefusalReason, ScoredSentence, TokenCounter

_Count: TypeAlias = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What was kept. `support` in [0, 1] tells how well the pool supports an answer."""

    context: tuple[ContextItem, ...]
    support: float | None
    refusal: RefusalReason | None = None


def trim(
    question_terms: Sequence[str],
    pool: Sequence[PoolChunk],
    *,
    policy: TrimPolicy,
    counter: TokenCounter,
    level: float | None = None,
    max_context_tokens: int | None = None,
) -> Trimmed:
    """Rank the pool's sentences (`rank`) and keep the best of them (`select`)."""
    return select(
        rank(question_terms, pool, policy),
        policy=policy,
        counter=counter,
        level=level,
        max_context_tokens=max_context_tokens,
    )


def select(
    ranking: Ranking,
    *,
    policy: TrimPolicy,
    counter: TokenCounter,
    level: float | None = None,
    max_context_tokens: int | None = None,
) -> Trimmed:
    """Keep the best sentences of a ranking within the policy's limits and under the hard cap.

    Args:
        ranking: By this policy, or by one that differs from it only in its limits.
        policy: How much to keep.
        counter: Counts the tokens of what is kept.
        level: From 0 (the best sentence) to 1 (the whole pool); replaces the policy's limits.
        max_context_tokens: Never exceeded by the sum of the items' `n_tokens`.

    Returns:
        Items in document order, documents in order of their best chunk. Empty with `refusal` set
        to `no_hits`, or to `cap_too_small` when not even one sentence fits under the cap.
    """
    ranked = ranking.sentences
    if not ranked:
        return Trimmed(context=(), support=None, refusal="no_hits")
    # Counting costs more than ranking, and most of a pool is never kept: no text is counted twice.
    count = functools.cache(counter.count)
    if level is None:
        kept = _keep(ranked, count, _limit(policy, ranking.pool), above=policy.keep_above)
    else:
        kept = _keep(ranked, count, level * sum(count(s.text) for s in ranked))
    context = (
        _items(kept, ranking.pool, count)
        if max_context_tokens is None
        else _capped(kept, ranking, count, max_context_tokens)
    )
    refusal: RefusalReason | None = None if context else "cap_too_small"
    return Trimmed(context=context, support=ranking.support, refusal=refusal)


def untrimmed(
    hits: Sequence[Hit],
    *,
    counter: TokenCounter,
    max_context_tokens: int | None = None,
    ranking: Ranking | None = None,
) -> Trimmed:
    """Keep whole chunks, as retrieved; under a cap, those that fit, best first.

    With a `ranking` of these hits the sentences carry their scores, minus infinity where it leaves
    them out as repeats.
    """
    support = None if ranking is None else ranking.support
    if not hits:
        return Trimmed(context=(), support=support, refusal="no_hits")
    ranked = () if ranking is None else ranking.sentences
    scored = {(s.hit.chunk.id, s.place.span): _scored(s, counter.count) for s in ranked}
    unscored = 0.0 if ranking is None else -math.inf
    items: list[ContextItem] = []
    n_tokens = 0
    for hit in hits:
        chunk = hit.chunk
        n_chunk = counter.count(chunk.text)
        if max_context_tokens is not None and n_tokens + n_chunk > max_context_tokens:
            continue
        n_tokens += n_chunk
        sentences = tuple(
            scored.get((chunk.id, (start, end)))
            or ScoredSentence(
                start=start,
                end=end,
                text=chunk.text[start - chunk.start : end - chunk.start],
                score=unscored,
                n_tokens=0,
            )
            for start, end in chunk.sentences
        )
        items.append(
            ContextItem(
                hit=hit,
                start=chunk.start,
                end=chunk.end,
                text=chunk.text,
                n_tokens=n_chunk,
                sentences=sentences,
            )
        )
    refusal: RefusalReason | None = None if items else "cap_too_small"
    return Trimmed(context=tuple(items), support=support, refusal=refusal)


def _limit(policy: TrimPolicy, pool: Sequence[PoolChunk]) -> float:
    limits = [math.inf if policy.budget_tokens is None else policy.budget_tokens]
    if policy.budget_share is not None:
        untrimmed_tokens = sum(chunk.hit.chunk.n_tokens for chunk in pool[:BASELINE_HITS])
        limits.append(policy.budget_share * untrimmed_tokens)
    return min(limits)


def _keep(
    ranked: Sequence[RankedSentence], count: _Count, limit: float, *, above: float | None = None
) -> list[RankedSentence]:
    """Return the longest prefix within the limits; never empty."""
    kept = [ranked[0]]
    n_tokens = count(ranked[0].text)
    for sentence in ranked[1:]:
        if above is not None and sentence.relative_score < above:
            break
        n_tokens += count(sentence.text)
        if n_tokens > limit:
            break
        kept.append(sentence)
    return kept


def _capped(
    kept: Sequence[RankedSentence], ranking: Ranking, count: _Count, cap: int
) -> tuple[ContextItem, ...]:
    """Return items of what fits under the cap, best first; else of the best sentence that does."""
    fitting: list[RankedSentence] = []
    n_tokens = 0
    for sentence in kept:
        if n_tokens + count(sentence.text) <= cap:
            fitting.append(sentence)
            n_tokens += count(sentence.text)
    if not fitting:
        fitting = [s for s in ranking.sentences if count(s.text) <= cap][:1]
    # Sentences joined into a run may have more tokens than on their own, so runs are counted.
    while fitting:
        items = _items(fitting, ranking.pool, count)
        if sum(item.n_tokens for item in items) <= cap:
            return items
        fitting.pop()
    return ()


def _items(
    kept: Sequence[RankedSentence], pool: Sequence[PoolChunk], count: _Count
) -> tuple[ContextItem, ...]:
    """Join kept sentences into maximal runs, in document order."""
    order: dict[str, int] = {}
    for chunk in pool:
        order.setdefault(chunk.hit.chunk.document_id, len(order))
    runs: list[list[RankedSentence]] = []
    for sentence in sorted(
        kept, key=lambda s: (order[s.hit.chunk.document_id], s.place.span, s.place.chunk)
    ):
        place = sentence.place
        last = runs[-1][-1].place if runs else None
        if last and (last.chunk, last.position + 1) == (place.chunk, place.position):
            runs[-1].append(sentence)
        else:
            runs.append([sentence])
    return tuple(_item(run, count) for run in runs)


def _item(run: Sequence[RankedSentence], count: _Count) -> ContextItem:
    hit = run[0].hit
    start, end = run[0].place.span[0], run[-1].place.span[1]
    text = hit.chunk.text[start - hit.chunk.start : end - hit.chunk.start]
    return ContextItem(
        hit=hit,
        start=start,
        end=end,
        text=text,
        n_tokens=count(text),
        sentences=tuple(_scored(s, count) for s in run),
    )


def _scored(sentence: RankedSentence, count: _Count) -> ScoredSentence:
    start, end = sentence.place.span
    text = sentence.text
    return ScoredSentence(
        start=start, end=end, text=text, score=sentence.score, n_tokens=count(text)
    )
