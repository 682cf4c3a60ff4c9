"""Selecting the best units of a ranked pool, with what they need, within a policy's limits."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ragkit.text.passages import context_tokens
from ragkit.trimming.policy import BASELINE_HITS, TrimPolicy
from ragkit.trimming.ranking import RankedSentence, Ranking, rank, text_of
from ragkit.trimming.runs import item_of, items_of, with_gaps
from ragkit.trimming.signals import PoolChunk
from ragkit.types import ContextItem, Hit, Placement, RefusalReason, ScoredSentence, TokenCounter

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
    placement: Placement = "document",
) -> Trimmed:
    """Keep the best sentences of a ranking within the policy's limits and under the hard cap.

    Args:
        ranking: By this policy, or by one that differs from it only in its limits.
        policy: How much to keep.
        counter: Counts the tokens of what is kept.
        level: From 0 (the best sentence) to 1 (the whole pool); replaces the policy's limits.
        max_context_tokens: Never exceeded by the tokens of the items and of the marks between them.
        placement: `document` for document order, documents in order of their best chunk; otherwise
            what is kept of the place with the best unit comes last or first.

    Returns:
        Items in this order. Empty with `refusal` set to `no_hits`, or to `cap_too_small` when not
        even one sentence fits under the cap.
    """
    ranked = ranking.sentences
    if not ranked:
        return Trimmed(context=(), support=None, refusal="no_hits")
    # Counting costs more than ranking, and most of a pool is never kept: no text is counted twice.
    count = functools.cache(counter.count)
    if level is None:
        is_other = ranking.by_units and policy.structured_above is not None
        above = policy.structured_above if is_other else policy.keep_above
        kept = _keep(ranked, count, _limit(policy, ranking.pool), above=above)
    else:
        kept = _keep(ranked, count, level * sum(count(s.text) for s in ranked))
    if max_context_tokens is None:
        context = items_of(kept, ranking.pool, count, placement)
    else:
        from ragkit.trimming.capping import Capping

        capping = Capping(ranking, policy, count, max_context_tokens, placement)
        one_by_one = (capping.items([atom]) for atom in _by_atom(ranked))
        context = capping.items(_by_atom(kept)) or next(filter(None, one_by_one), ())
    refusal: RefusalReason | None = None if context else "cap_too_small"
    return Trimmed(context=context, support=ranking.support, refusal=refusal)


def untrimmed(
    hits: Sequence[Hit],
    *,
    counter: TokenCounter,
    max_context_tokens: int | None = None,
    ranking: Ranking | None = None,
    placement: Placement = "document",
) -> Trimmed:
    """Keep whole chunks, best first or best last; under a cap, those that fit, from the best on.

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
        sentences = [
            ScoredSentence(
                start=span[0],
                end=span[1],
                text=text_of(chunk, span),
                score=scores.get((chunk.id, span[0]), unscored),
                n_tokens=count(text_of(chunk, span)) if (chunk.id, span[0]) in scores else 0,
            )
            for span in chunk.sentences
        ]
        item = item_of(hit, (chunk.start, chunk.end), chunk.text, sentences, count(chunk.text))
        beside = items[:1] if placement == "best_last" else items[-1:]
        pair = with_gaps([item, *beside] if placement == "best_last" else [*beside, item])
        more = context_tokens(pair, count) - context_tokens(beside, count)
        if max_context_tokens is None or n_tokens + more <= max_context_tokens:
            n_tokens += more
            if placement == "best_last":
                items[:1] = pair
            else:
                items[-1:] = pair
    refusal: RefusalReason | None = None if items else "cap_too_small"
    return Trimmed(context=tuple(items), support=support, refusal=refusal)


def _limit(policy: TrimPolicy, pool: Sequence[PoolChunk]) -> float:
    limits = [math.inf if policy.budget_tokens is None else policy.budget_tokens]
    if policy.budget_share is not None:
        untrimmed_tokens = sum(chunk.hit.chunk.n_tokens for chunk in pool[:BASELINE_HITS])
        limits.append(policy.budget_share * untrimmed_tokens)
    return min(limits)


def _by_atom(ranked: Sequence[RankedSentence]) -> Iterator[list[RankedSentence]]:
    """Yield what is kept or left together, in the order of keeping."""
    for _, pieces in itertools.groupby(ranked, key=lambda piece: piece.atom):
        yield list(pieces)


def _keep(
    ranked: Sequence[RankedSentence], count: _Count, limit: float, *, above: float | None = None
) -> list[RankedSentence]:
    """Return the longest prefix of whole atoms within the limits; never empty."""
    kept: list[RankedSentence] = []
    n_tokens = 0
    for atom in _by_atom(ranked):
        n_tokens += sum(count(piece.text) for piece in atom)
        is_low = above is not None and atom[0].relative_score < above
        if kept and (is_low or n_tokens > limit):
            break
        kept += atom
    return kept
