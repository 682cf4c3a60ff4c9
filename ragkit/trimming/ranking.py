"""The one scoring pass: a pool's sentences in the order of keeping, and the pool's support."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ragkit.trimming.policy import TrimPolicy
from ragkit.trimming.signals import PoolChunk, Sentence, Signals, fused, measure
from ragkit.types import Chunk, Hit, Span

_SHORT_TERMS = 3
"""Added to every length, so that a heading cannot win merely by being short."""

# Logistic regressions of "is the question answered here" on the calibration halves of squad20 and
# hotpotqa_100, against questions of other collections (weight 1) and squad20's unanswerable ones
# (weight 1/2). They order pools by their support; it is not yet a calibrated probability.
# Weights of coverage and cosine, and the offset. That of `_WITH_CHUNK` (benchmarks/support.py, on
# vectors of the kind `short`) is raised so that no more answerable questions are refused.
_OF_SENTENCE = (2.1, 10.2, -7.1)
_WITH_CHUNK = (3.7, 13.8, -9.1)
_WITHOUT_VECTORS = (4.6, -3.05)


def text_of(chunk: Chunk, span: Span) -> str:
    """Return the document's text at a span of the chunk."""
    return chunk.text[span[0] - chunk.start : span[1] - chunk.start]


@dataclass(frozen=True, slots=True)
class RankedSentence:
    """A sentence of the pool with its scores; higher is better.

    `relative_score`, the score less penalties for its length and for the pool's best sentence, is
    what `TrimPolicy.keep_above` is compared with. A neighbour or heading has that of the sentence
    that it is kept with.
    """

    hit: Hit
    place: Sentence
    score: float
    relative_score: float

    @property
    def text(self) -> str:
        """Return the document's text at its span."""
        return text_of(self.hit.chunk, self.place.span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A pool's sentences in the order of keeping, without repeats: every limit keeps a prefix.

    `support` in [0, 1] is how well the pool supports an answer; None for an empty pool.
    """

    pool: Sequence[PoolChunk]
    sentences: tuple[RankedSentence, ...]
    support: float | None


def rank(question_terms: Sequence[str], pool: Sequence[PoolChunk], policy: TrimPolicy) -> Ranking:
    """Score the pool's sentences against the question, once for all limits.

    Args:
        question_terms: Index terms of the question, without stop words.
        pool: Best chunk first.
        policy: How to score, and which neighbours and headings to keep; its limits play no part.
    """
    signals = measure(question_terms, pool)
    sentences = signals.sentences
    if not sentences:
        return Ranking(pool=pool, sentences=(), support=None)
    scores = _scores(question_terms, pool, signals, policy)
    relative = _relative_scores(scores, sentences, policy)
    best_first = sorted(range(len(relative)), key=lambda i: -relative[i])
    ordered = (
        RankedSentence(pool[sentences[i].chunk].hit, sentences[i], scores[i], relative[kept_with])
        for i, kept_with in _with_neighbours(best_first, sentences, pool, policy)
    )
    support = _support(signals, pool)
    return Ranking(pool=pool, sentences=_without_repeats(ordered), support=support)


def support_score(question_terms: Sequence[str], pool: Sequence[PoolChunk]) -> float | None:
    """Return how well the pool supports an answer, in [0, 1]; None for an empty pool."""
    signals = measure(question_terms, pool)
    return _support(signals, pool) if signals.sentences else None


def _scores(
    question_terms: Sequence[str],
    pool: Sequence[PoolChunk],
    signals: Signals,
    policy: TrimPolicy,
) -> list[float]:
    scorer = policy.scorer
    fusion = fused(signals, policy.weights)
    scores = fusion if scorer is None else scorer.score(signals)
    if not policy.second_hop:
        return scores
    # Few policies ask for it, so the others do not load it.
    from ragkit.trimming.second_hop import second_hop

    weight = policy.second_hop * (1.0 if scorer is None else scorer.fused_weight)
    gains = second_hop(question_terms, pool, signals, fusion)
    return [score + weight * gain for score, gain in zip(scores, gains, strict=True)]


def _relative_scores(
    scores: Sequence[float], sentences: Sequence[Sentence], policy: TrimPolicy
) -> list[float]:
    scorer = policy.scorer
    length_weight = policy.length_weight if scorer is None else scorer.length_weight
    priorities = [
        score - length_weight * math.log(_SHORT_TERMS + sentence.n_terms)
        for sentence, score in zip(sentences, scores, strict=True)
    ]
    best = max(priorities)
    return [priority - policy.best_weight * best for priority in priorities]


def _support(signals: Signals, pool: Sequence[PoolChunk]) -> float:
    """Return the support of the part with vectors, or of the part without if that is greater.

    Each part is judged by what is known of it: the pool supports an answer where either part does.
    """
    covered = signals.columns["window_covered"]
    indices = range(len(covered))
    by_words = [i for i in indices if not signals.with_vectors or i in signals.estimated]
    by_vectors = [i for i in indices if signals.with_vectors and i not in signals.estimated]
    logits: list[float] = []
    if by_words:
        coverage = max(covered[i] for i in by_words)
        of_coverage, offset = _WITHOUT_VECTORS
        logits.append(of_coverage * coverage + offset)
    if by_vectors:
        coverage = max(covered[i] for i in by_vectors)
        cosine = max(signals.columns["window_cosine"][i] for i in by_vectors)
        with_chunk = any(chunk.with_chunk for chunk in pool)
        of_coverage, of_cosine, offset = _WITH_CHUNK if with_chunk else _OF_SENTENCE
        logits.append(of_coverage * coverage + of_cosine * cosine + offset)
    return 1.0 / (1.0 + math.exp(-max(logits)))


def _with_neighbours(
    best_first: Sequence[int],
    sentences: Sequence[Sentence],
    pool: Sequence[PoolChunk],
    policy: TrimPolicy,
) -> Iterable[tuple[int, int]]:
    """Return each sentence in the order of keeping, with the sentence that it is kept with."""
    if not policy.neighbours and not policy.headings:
        return zip(best_first, best_first, strict=True)
    kept_with: dict[int, int] = {}
    for i in best_first:
        kept_with.setdefault(i, i)
        sentence = sentences[i]
        for position in _neighbours_and_heading(sentence, pool[sentence.chunk].hit.chunk, policy):
            # A chunk's sentences stand together, so indices differ as positions do.
            kept_with.setdefault(i + position - sentence.position, i)
    return kept_with.items()


def _neighbours_and_heading(sentence: Sentence, chunk: Chunk, policy: TrimPolicy) -> list[int]:
    """Return the positions, in the chunk, of a sentence's neighbours and the heading above it."""
    first = max(0, sentence.position - policy.neighbours)
    last = min(len(chunk.sentences), sentence.position + policy.neighbours + 1)
    found = list(range(first, last))
    if policy.headings:
        above = range(sentence.position, -1, -1)
        found += [i for i in above if chunk.is_heading(chunk.sentences[i][0])][:1]
    return found


def _without_repeats(ranked: Iterable[RankedSentence]) -> tuple[RankedSentence, ...]:
    """Drop each sentence that has the words, or the span, of a better one."""
    seen_texts: set[str] = set()
    seen_spans: set[tuple[str, int, int]] = set()
    kept: list[RankedSentence] = []
    for sentence in ranked:
        text = " ".join(sentence.text.casefold().split())
        span = (sentence.hit.chunk.document_id, *sentence.place.span)
        if text in seen_texts or span in seen_spans:
            continue
        seen_texts.add(text)
        seen_spans.add(span)
        kept.append(sentence)
    return tuple(kept)
