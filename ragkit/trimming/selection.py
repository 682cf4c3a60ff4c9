"""Selecting the best sentences of a ranked pool within a policy's limits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ragkit.trimming.policy import BASELINE_HITS, TrimPolicy
from ragkit.trimming.ranking import RankedSentence, Ranking, rank, text_of
from ragkit.trimming.signals import PoolChunk
from ragkit.types import Chunk, ContextItem, Hit, RefusalReason, ScoredSentence, Span, TokenCounter

_Count: TypeAlias = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What was kept. `support` in [0, 1] is how well the pool supports an answer."""

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

    With a `ranking` of these hits each sentence carries its score; a repeat, which the ranking
    leaves out, carries minus infinity.
    """
    support = None if ranking is None else ranking.support
    if not hits:
        return Trimmed(context=(), support=support, refusal="no_hits")
    count = functools.cache(counter.count)
    ranked = () if ranking is None else ranking.sentences
    scores = {(s.hit.chunk.id, s.place.span[0]): s.score for s in ranked}
    unscored = 0.0 if ranking is None else -math.inf
    items: list[ContextItem] = []
    n_tokens = 0
    for hit in hits:
        chunk = hit.chunk
        if max_context_tokens is not None and n_tokens + count(chunk.text) > max_context_tokens:
            continue
        n_tokens += count(chunk.text)
        sentences: list[ScoredSentence] = []
        for span in chunk.sentences:
            score = scores.get((chunk.id, span[0]))
            sentences.append(
                _sentence(chunk, span, unscored, None)
                if score is None
                else _sentence(chunk, span, score, count)
            )
        items.append(_item(hit, (chunk.start, chunk.end), chunk.text, sentences, count))
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
    return tuple(_run(run, count) for run in runs)


def _run(run: Sequence[RankedSentence], count: _Count) -> ContextItem:
    hit, span = run[0].hit, (run[0].place.span[0], run[-1].place.span[1])
    sentences = [_sentence(hit.chunk, s.place.span, s.score, count) for s in run]
    return _item(hit, span, text_of(hit.chunk, span), sentences, count)


def _item(
    hit: Hit, span: Span, text: str, sentences: Sequence[ScoredSentence], count: _Count
) -> ContextItem:
    n, scored = count(text), tuple(sentences)
    start, end = span
    return ContextItem(hit=hit, start=start, end=end, text=text, n_tokens=n, sentences=scored)


def _sentence(chunk: Chunk, span: Span, score: float, count: _Count | None) -> ScoredSentence:
    start, end = span
    text = text_of(chunk, span)
    n_tokens = 0 if count is None else count(text)
    return ScoredSentence(start=start, end=end, text=text, score=score, n_tokens=n_tokens)
