"""The one scoring pass: a pool's sentences in the order of keeping, and the pool's support."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ragkit.trimming.atoms import Atoms, Piece, unit_of
from ragkit.trimming.policy import TrimPolicy
from ragkit.trimming.signals import PoolChunk, Sentence, Signals, fused, measure
from ragkit.trimming.unit_scorer import (
    CHARACTERS_PER_TOKEN,
    is_structured,
    relative_unit_score,
    unit_scores,
)
from ragkit.types import Chunk, Hit, Need, Span

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
    """A unit of the pool, or a span that one needs, with its scores; higher is better.

    `relative_score`, the score less penalties for its length and for the pool's best unit, is what
    `TrimPolicy.keep_above` is compared with. What is kept together with a unit has that unit's
    `relative_score` and `atom`, the number of what is kept or left as a whole. `need` is what it is
    needed for; a need that is borrowed has the position -1 in its chunk.
    """

    hit: Hit
    place: Sentence
    score: float
    relative_score: float
    atom: int = 0
    need: Need | None = None

    @property
    def is_borrowed(self) -> bool:
        """Whether it stands in no chunk of the pool."""
        return self.place.position < 0

    @property
    def text(self) -> str:
        """Return the document's text at its span."""
        if self.is_borrowed and self.need is not None:
            return self.need.text
        return text_of(self.hit.chunk, self.place.span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A pool's units in the order of keeping, without repeats: every limit keeps a prefix of atoms.

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
    atoms = Atoms(pool, policy)
    if policy.units and policy.scorer is None and is_structured(pool):
        scores = unit_scores(question_terms, pool, signals, atoms)
        kept = _kept_order(sentences, scores, scores, pool, atoms, by_size=True)
    else:
        scores = _scores(question_terms, pool, signals, policy)
        relative = _relative_scores(scores, sentences, policy)
        kept = _kept_order(sentences, scores, relative, pool, atoms)
    return Ranking(pool=pool, sentences=kept, support=_support(signals, pool))


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
    fusion = fused(signals, _weights(policy, len(pool)) if policy.units else policy.weights)
    scores = fusion if scorer is None else scorer.score(signals)
    if not policy.second_hop:
        return scores
    # Few policies ask for it, so the others do not load it.
    from ragkit.trimming.second_hop import second_hop

    weight = policy.second_hop * (1.0 if scorer is None else scorer.fused_weight)
    gains = second_hop(question_terms, pool, signals, fusion)
    return [score + weight * gain for score, gain in zip(scores, gains, strict=True)]


def _weights(policy: TrimPolicy, n_chunks: int) -> Mapping[str, float]:
    """Return the policy's weights, less for the chunk's score where all of a store was found.

    The last of two hits is as far from the mean as can be, even if it is nearly as good.
    """
    weight = policy.weights.get("chunk", 0.0) * min(1.0, n_chunks / policy.pool)
    return {**policy.weights, "chunk": weight}


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
    Rows of tables are in both: the vector of a few names and numbers says little.
    """
    covered = signals.columns["supported"]
    indices = range(len(covered))
    by_vectors = [i for i in indices if signals.with_vectors and i not in signals.estimated]
    rows = (i for i in by_vectors if _is_row(pool, signals.sentences[i]))
    by_words = [*(i for i in indices if not signals.with_vectors or i in signals.estimated), *rows]
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


def _is_row(pool: Sequence[PoolChunk], place: Sentence) -> bool:
    return unit_of(pool[place.chunk].hit.chunk, place.position).kind == "row"


def _kept_order(
    sentences: Sequence[Sentence],
    scores: Sequence[float],
    relative: Sequence[float],
    pool: Sequence[PoolChunk],
    atoms: Atoms,
    *,
    by_size: bool = False,
) -> tuple[RankedSentence, ...]:
    """Return all units from the best down, each with what it needs and is not there yet.

    A unit that has the words of a better one, and the same needs, is dropped. With `by_size`,
    relative scores depend on what is kept before as well.
    """
    index = {(s.chunk, s.position): k for k, s in enumerate(sentences)}
    seen, n_tokens, lowest, best = _Seen(), 0.0, math.inf, max(relative)
    kept: list[RankedSentence] = []
    for atom, k in enumerate(sorted(range(len(relative)), key=lambda k: -relative[k])):
        main = sentences[k]
        if seen.is_repeat(pool[main.chunk].hit.chunk, main):
            continue
        # Most units are sentences that need nothing.
        places: list[tuple[Need | None, Sentence]] = [(None, main)]
        if not atoms.is_alone(main.chunk, main.position):
            places = [
                (piece.need, _place(piece, pool[piece.chunk].hit.chunk, sentences, index))
                for piece in atoms.of(main.chunk, main.position)
            ]
        new = [(n, at) for n, at in places if seen.is_new(pool[at.chunk].hit.chunk, at)]
        effective = relative[k]
        if by_size:
            n_tokens += sum(at.span[1] - at.span[0] for _, at in new) / CHARACTERS_PER_TOKEN
            effective = relative_unit_score(relative[k], best=best, n_tokens=n_tokens)
        lowest = min(lowest, effective)
        for need, at in new:
            own = index.get((at.chunk, at.position))
            score = -math.inf if own is None else scores[own]
            kept.append(RankedSentence(pool[at.chunk].hit, at, score, lowest, atom, need))
    return tuple(kept)


def _place(
    piece: Piece,
    chunk: Chunk,
    sentences: Sequence[Sentence],
    index: Mapping[tuple[int, int], int],
) -> Sentence:
    """Return where a piece stands; a borrowed need is at position -1 of what needs it."""
    if piece.position is not None:
        known = index.get((piece.chunk, piece.position))
        span = chunk.sentences[piece.position]
        return Sentence(piece.chunk, piece.position, span, 0) if known is None else sentences[known]
    need = piece.need
    assert need is not None  # noqa: S101 (a piece without a position is a need)
    return Sentence(piece.chunk, -1, (need.start, need.end), 0)


class _Seen:
    """What stands before in the order of keeping."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._spans: set[tuple[str, int, int]] = set()

    def is_repeat(self, chunk: Chunk, sentence: Sentence) -> bool:
        """Whether a unit's words, with those of all its needs, were kept for their own sake."""
        needs = unit_of(chunk, sentence.position).needs
        key = "\n".join(
            " ".join(text.casefold().split())
            for text in (text_of(chunk, sentence.span), *(need.text for need in needs))
        )
        if key in self._texts:
            return True
        self._texts.add(key)
        return False

    def is_new(self, chunk: Chunk, place: Sentence) -> bool:
        """Whether a span was not kept before; notes it."""
        key = (chunk.document_id, *place.span)
        if key in self._spans:
            return False
        self._spans.add(key)
        return True
