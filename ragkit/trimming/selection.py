"""Selecting the best units of a ranked pool, with what they need, within a policy's limits."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ragkit.trimming.atoms import unit_of
from ragkit.trimming.policy import BASELINE_HITS, TrimPolicy
from ragkit.trimming.ranking import RankedSentence, Ranking, rank, text_of
from ragkit.trimming.signals import PoolChunk
from ragkit.types import ContextItem, Hit, RefusalReason, ScoredSentence, Span, TokenCounter

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
                _sentence(span, text_of(chunk, span), unscored, None)
                if score is None
                else _sentence(span, text_of(chunk, span), score, count)
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


def _capped(
    kept: Sequence[RankedSentence], ranking: Ranking, count: _Count, cap: int
) -> tuple[ContextItem, ...]:
    """Return items of the atoms that fit under the cap, best first; else of the best that does."""
    fitting = _fitting(_by_atom(kept), count, cap)
    if not fitting:
        atoms = (_fitting([atom], count, cap) for atom in _by_atom(ranking.sentences))
        fitting = next((atom for atom in atoms if atom), [])
    # Sentences joined into a run may have more tokens than on their own, so runs are counted.
    while fitting:
        items = _items([piece for atom in fitting for piece in atom], ranking.pool, count)
        if sum(item.n_tokens for item in items) <= cap:
            return items
        fitting.pop()
    return ()


def _fitting(
    atoms: Iterable[list[RankedSentence]], count: _Count, cap: int
) -> list[list[RankedSentence]]:
    fitting: list[list[RankedSentence]] = []
    n_tokens = 0
    for atom in atoms:
        size = sum(count(piece.text) for piece in atom)
        if n_tokens + size <= cap:
            fitting.append(atom)
            n_tokens += size
    return fitting


def _items(
    kept: Sequence[RankedSentence], pool: Sequence[PoolChunk], count: _Count
) -> tuple[ContextItem, ...]:
    """Join kept units into maximal runs, in document order; a borrowed need is a run of its own."""
    order: dict[str, int] = {}
    for chunk in pool:
        order.setdefault(chunk.hit.chunk.document_id, len(order))
    runs: list[list[RankedSentence]] = []
    for piece in sorted(
        kept, key=lambda s: (order[s.hit.chunk.document_id], s.place.span, s.place.chunk)
    ):
        if runs and _continues(runs[-1][-1], piece):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    before: Sequence[RankedSentence | None] = [None, *(run[-1] for run in runs)]
    return tuple(_run(run, last, count) for run, last in zip(runs, before, strict=False))


def _continues(last: RankedSentence, piece: RankedSentence) -> bool:
    a, b = last.place, piece.place
    together = (a.chunk, a.position + 1) == (b.chunk, b.position)
    return together and not (last.is_borrowed or piece.is_borrowed)


def _run(run: Sequence[RankedSentence], last: RankedSentence | None, count: _Count) -> ContextItem:
    hit, span = run[0].hit, (run[0].place.span[0], run[-1].place.span[1])
    text = run[0].text if run[0].is_borrowed else text_of(hit.chunk, span)
    own = [piece for piece in run if piece.need is None]
    sentences = [_sentence(piece.place.span, piece.text, piece.score, count) for piece in run]
    item = _item(hit, span, text, sentences, count)
    need = run[0].need
    return replace(
        item,
        role="unit" if own or need is None else need.role,
        unit_kind=unit_of(hit.chunk, own[0].place.position).kind if own else None,
        gap_before=last is not None and last.hit.chunk.document_id == hit.chunk.document_id,
    )


def _item(
    hit: Hit, span: Span, text: str, sentences: Sequence[ScoredSentence], count: _Count
) -> ContextItem:
    n, scored = count(text), tuple(sentences)
    start, end = span
    return ContextItem(hit=hit, start=start, end=end, text=text, n_tokens=n, sentences=scored)


def _sentence(span: Span, text: str, score: float, count: _Count | None) -> ScoredSentence:
    n_tokens = 0 if count is None else count(text)
    return ScoredSentence(start=span[0], end=span[1], text=text, score=score, n_tokens=n_tokens)
