"""Keeping the best sentences of a pool within a policy's limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ragkit.trimming.policy import BASELINE_HITS, TrimPolicy
from ragkit.trimming.second_hop import second_hop
from ragkit.trimming.signals import PoolChunk, fused, measure
from ragkit.types import ContextItem, Hit, RefusalReason, ScoredSentence, Span, TokenCounter

_SHORT_WORDS = 3
"""Words below which a sentence's length hardly counts: headings must not win by brevity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What was kept. `evidence` in [0, 1] tells how well the pool supports an answer."""

    context: tuple[ContextItem, ...]
    evidence: float | None
    refusal: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A sentence of the pool with its rank, by which `TrimPolicy.keep_above` cuts."""

    hit: Hit
    sentence: ScoredSentence
    rank: float


@dataclass(slots=True)
class _Sentence:
    chunk: int
    position: int
    span: Span
    score: float
    rank: float
    n_tokens: int | None = None


_Count: TypeAlias = Callable[[_Sentence], int]


@dataclass(slots=True)
class _Scores:
    ranked: list[_Sentence] = field(default_factory=list["_Sentence"])
    evidence: float | None = None


def trim(
    question_words: Sequence[str],
    pool: Sequence[PoolChunk],
    *,
    policy: TrimPolicy,
    counter: TokenCounter,
    level: float | None = None,
    max_context_tokens: int | None = None,
) -> Trimmed:
    """Keep the best sentences of the pool within the policy's limit and under the hard cap.

    Args:
        question_words: Index words of the question, without stop words.
        pool: Best chunk first.
        policy: How much to keep.
        counter: Counts the tokens of what is kept.
        level: From 0 (the best sentence) to 1 (the whole pool); replaces the policy's limit.
        max_context_tokens: Never exceeded by the sum of the items' `n_tokens`.

    Returns:
        Items in document order, documents in order of their best chunk. Empty with `refusal` set
        to `no_hits`, or to `cap_too_small` when not even one sentence fits under the cap.
    """
    scores = _score(question_words, pool, policy)
    if not scores.ranked:
        return Trimmed(context=(), evidence=None, refusal="no_hits")
    ranked = _in_order_of_keeping(scores.ranked, pool, policy)

    def count(sentence: _Sentence) -> int:
        # Counting costs more than ranking, and most of a pool is never kept.
        if sentence.n_tokens is None:
            sentence.n_tokens = counter.count(_text(sentence, pool))
        return sentence.n_tokens

    if level is None:
        kept = _keep(ranked, count, _limit(policy, pool), above=policy.keep_above)
    else:
        kept = _keep(ranked, count, level * sum(map(count, ranked)))
    context = _capped(kept, ranked, count, pool, counter=counter, cap=max_context_tokens)
    if not context:
        return Trimmed(context=(), evidence=scores.evidence, refusal="cap_too_small")
    return Trimmed(context=context, evidence=scores.evidence)


def untrimmed(
    hits: Sequence[Hit], *, counter: TokenCounter, max_context_tokens: int | None = None
) -> Trimmed:
    """Keep whole chunks, as retrieved; under a cap, those that fit, best first."""
    if not hits:
        return Trimmed(context=(), evidence=None, refusal="no_hits")
    items: list[ContextItem] = []
    n_tokens = 0
    for hit in hits:
        chunk = hit.chunk
        n_chunk = counter.count(chunk.text)
        if max_context_tokens is not None and n_tokens + n_chunk > max_context_tokens:
            continue
        n_tokens += n_chunk
        sentences = tuple(
            ScoredSentence(
                start=a,
                end=b,
                text=chunk.text[a - chunk.start : b - chunk.start],
                score=0.0,
                n_tokens=0,
            )
            for a, b in chunk.sentences
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
    if not items:
        return Trimmed(context=(), evidence=None, refusal="cap_too_small")
    return Trimmed(context=tuple(items), evidence=None)


def rank_sentences(
    question_words: Sequence[str],
    pool: Sequence[PoolChunk],
    *,
    policy: TrimPolicy,
    counter: TokenCounter,
) -> list[Ranked]:
    """Return the pool's sentences in the order in which `trim` keeps them, repeats left out.

    For one pool every limit keeps a prefix of this list.
    """
    ranked = _in_order_of_keeping(_score(question_words, pool, policy).ranked, pool, policy)
    return [
        Ranked(
            pool[sentence.chunk].hit,
            ScoredSentence(
                start=sentence.span[0],
                end=sentence.span[1],
                text=(text := _text(sentence, pool)),
                score=sentence.score,
                n_tokens=counter.count(text),
            ),
            sentence.rank,
        )
        for sentence in ranked
    ]


def evidence_score(question_words: Sequence[str], pool: Sequence[PoolChunk]) -> float | None:
    """Return how well the pool supports an answer, in [0, 1]; None for an empty pool."""
    signals = measure(question_words, pool)
    return _evidence(signals.columns) if signals.sentences else None


def _score(question_words: Sequence[str], pool: Sequence[PoolChunk], policy: TrimPolicy) -> _Scores:
    signals = measure(question_words, pool)
    if not signals.sentences:
        return _Scores()
    scorer = policy.scorer
    fusion = fused(signals, policy.weights)
    values = fusion if scorer is None else scorer.score(signals)
    if policy.second_hop:
        weight = policy.second_hop * (1.0 if scorer is None else scorer.fused_weight)
        gains = second_hop(question_words, pool, signals, fusion)
        values = [value + weight * gain for value, gain in zip(values, gains, strict=True)]
    length_weight = policy.length_weight if scorer is None else scorer.length_weight
    sentences = [
        _Sentence(
            chunk=s.chunk,
            position=s.position,
            span=s.span,
            score=value,
            rank=value - length_weight * math.log(_SHORT_WORDS + s.n_words),
        )
        for s, value in zip(signals.sentences, values, strict=True)
    ]
    best = max(s.rank for s in sentences)
    for s in sentences:
        s.rank -= policy.best_weight * best
    sentences.sort(key=lambda s: (-s.rank, s.chunk, s.position))
    return _Scores(ranked=sentences, evidence=_evidence(signals.columns))


# Logistic regression of "is the question answered here" on the calibration halves of squad20 and
# hotpotqa_100, against questions of other collections (weight 1) and squad20's unanswerable ones
# (weight 1/2). It orders evidence; it is not yet a calibrated probability.
_EVIDENCE_WORDS, _EVIDENCE_COSINE, _EVIDENCE_OFFSET = 2.1, 10.2, -7.1
_EVIDENCE_WORDS_ALONE, _EVIDENCE_WORDS_ALONE_OFFSET = 4.6, -3.05


def _evidence(columns: Mapping[str, Sequence[float]]) -> float:
    coverage = max(columns["window_covered"])
    if "window_cosine" not in columns:
        logit = _EVIDENCE_WORDS_ALONE * coverage + _EVIDENCE_WORDS_ALONE_OFFSET
    else:
        cosine = max(columns["window_cosine"])
        logit = _EVIDENCE_WORDS * coverage + _EVIDENCE_COSINE * cosine + _EVIDENCE_OFFSET
    return 1.0 / (1.0 + math.exp(-logit))


def _in_order_of_keeping(
    ranked: Sequence[_Sentence], pool: Sequence[PoolChunk], policy: TrimPolicy
) -> list[_Sentence]:
    """Return the sentences without repeats, each followed by the company that it is kept with."""
    if not policy.neighbours and not policy.headings:
        return _without_repeats(ranked, pool)
    by_place = {(s.chunk, s.position): s for s in ranked}
    order: dict[tuple[int, int], _Sentence] = {}
    for sentence in ranked:
        order.setdefault((sentence.chunk, sentence.position), sentence)
        for position in _company(sentence, pool, policy):
            place = (sentence.chunk, position)
            if place not in order:
                # Kept as soon as the sentence is, whatever its own rank.
                order[place] = replace(by_place[place], rank=sentence.rank)
    return _without_repeats(list(order.values()), pool)


def _company(sentence: _Sentence, pool: Sequence[PoolChunk], policy: TrimPolicy) -> list[int]:
    """Return the positions in its chunk of a sentence's neighbours and of the heading above it."""
    chunk = pool[sentence.chunk].hit.chunk
    first = max(0, sentence.position - policy.neighbours)
    last = min(len(chunk.sentences), sentence.position + policy.neighbours + 1)
    found = list(range(first, last))
    if policy.headings:
        above = range(sentence.position, -1, -1)
        found += [i for i in above if chunk.is_heading(chunk.sentences[i][0])][:1]
    return found


def _without_repeats(ranked: Sequence[_Sentence], pool: Sequence[PoolChunk]) -> list[_Sentence]:
    """Drop a sentence whose words repeat a better one's, or whose span it overlaps."""
    seen_texts: set[str] = set()
    seen_spans: set[tuple[str, int, int]] = set()
    kept: list[_Sentence] = []
    for sentence in ranked:
        text = " ".join(_text(sentence, pool).casefold().split())
        span = (pool[sentence.chunk].hit.chunk.document_id, *sentence.span)
        if text in seen_texts or span in seen_spans:
            continue
        seen_texts.add(text)
        seen_spans.add(span)
        kept.append(sentence)
    return kept


def _text(sentence: _Sentence, pool: Sequence[PoolChunk]) -> str:
    chunk = pool[sentence.chunk].hit.chunk
    return chunk.text[sentence.span[0] - chunk.start : sentence.span[1] - chunk.start]


def _limit(policy: TrimPolicy, pool: Sequence[PoolChunk]) -> float:
    limits = [math.inf if policy.budget_tokens is None else policy.budget_tokens]
    if policy.budget_share is not None:
        untrimmed_tokens = sum(chunk.hit.chunk.n_tokens for chunk in pool[:BASELINE_HITS])
        limits.append(policy.budget_share * untrimmed_tokens)
    return min(limits)


def _keep(
    ranked: Sequence[_Sentence], count: _Count, limit: float, *, above: float | None = None
) -> list[_Sentence]:
    """Return the longest prefix within the limits; never empty."""
    kept = [ranked[0]]
    n_tokens = count(ranked[0])
    for sentence in ranked[1:]:
        if above is not None and sentence.rank < above:
            break
        n_tokens += count(sentence)
        if n_tokens > limit:
            break
        kept.append(sentence)
    return kept


def _capped(
    kept: Sequence[_Sentence],
    ranked: Sequence[_Sentence],
    count: _Count,
    pool: Sequence[PoolChunk],
    *,
    counter: TokenCounter,
    cap: int | None,
) -> tuple[ContextItem, ...]:
    if cap is None:
        return _items(kept, pool, counter)
    fitting: list[_Sentence] = []
    n_tokens = 0
    for sentence in kept:
        if n_tokens + count(sentence) <= cap:
            fitting.append(sentence)
            n_tokens += count(sentence)
    if not fitting:
        fitting = [s for s in ranked if count(s) <= cap][:1]
    # Tokens of joined sentences may exceed the sum of their tokens, so the joined text is counted.
    while fitting:
        items = _items(fitting, pool, counter)
        if sum(item.n_tokens for item in items) <= cap:
            return items
        fitting.pop()
    return ()


def _items(
    kept: Sequence[_Sentence], pool: Sequence[PoolChunk], counter: TokenCounter
) -> tuple[ContextItem, ...]:
    """Join kept sentences into maximal runs, in document order."""
    order: dict[str, int] = {}
    for chunk in pool:
        order.setdefault(chunk.hit.chunk.document_id, len(order))
    ordered = sorted(
        kept, key=lambda s: (order[pool[s.chunk].hit.chunk.document_id], s.span, s.chunk)
    )
    runs: list[list[_Sentence]] = []
    for sentence in ordered:
        last = runs[-1][-1] if runs else None
        if (
            last is not None
            and last.chunk == sentence.chunk
            and last.position + 1 == sentence.position
        ):
            runs[-1].append(sentence)
        else:
            runs.append([sentence])
    return tuple(_item(run, pool, counter) for run in runs)


def _item(
    run: Sequence[_Sentence], pool: Sequence[PoolChunk], counter: TokenCounter
) -> ContextItem:
    hit = pool[run[0].chunk].hit
    start, end = run[0].span[0], run[-1].span[1]
    text = hit.chunk.text[start - hit.chunk.start : end - hit.chunk.start]
    return ContextItem(
        hit=hit,
        start=start,
        end=end,
        text=text,
        n_tokens=counter.count(text),
        sentences=tuple(
            ScoredSentence(
                start=s.span[0],
                end=s.span[1],
                text=_text(s, pool),
                score=s.score,
                n_tokens=s.n_tokens or 0,
            )
            for s in run
        ),
    )
