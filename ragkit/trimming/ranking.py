"""The one scoring pass: a pool's sentences in the order of keeping, and the pool's support."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ragkit.trimming.atoms import Atoms, Piece, is_structured, unit_of
from ragkit.trimming.certificate import has_refusal
from ragkit.trimming.policy import BUILTIN_POLICY, TrimPolicy
from ragkit.trimming.signals import PoolChunk, Sentence, Signals, asked_terms, fused, measure
from ragkit.types import Chunk, Hit, Need, Span

_SHORT_TERMS = 3
"""Added to every length, so that a heading cannot win merely by being short."""

_AHEAD = 1e-6
"""By so much the unit that `keeps_first` keeps is ahead."""

# The support of policies of before (`fitted_support` is false): logistic regressions of "is the
# question answered here" on the calibration halves of squad20 and hotpotqa_100, against questions
# of other collections (weight 1) and squad20's unanswerable ones (weight 1/2).
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

    `support` in [0, 1] is how well the pool supports an answer; None for an empty pool. `by_units`
    says whether the scorer of units has scored it.
    """

    pool: Sequence[PoolChunk]
    sentences: tuple[RankedSentence, ...]
    support: float | None
    by_units: bool = False


def rank(question_terms: Sequence[str], pool: Sequence[PoolChunk], policy: TrimPolicy) -> Ranking:
    """Score the pool's sentences against the question, once for all limits.

    Args:
        question_terms: Index terms of the question, without stop words.
        pool: Best chunk first.
        policy: How to score, and which neighbours and headings to keep; its limits play no part.
    """
    return rank_together([(question_terms, pool)], policy)


def rank_together(
    readings: Sequence[tuple[Sequence[str], Sequence[PoolChunk]]], policy: TrimPolicy
) -> Ranking:
    """Score a pool's sentences by the mean over readings of one question, as `rank` does for one.

    What several readings find good comes before what one of them does. The support is that of the
    first.

    Args:
        readings: Of each its index terms, and the pool as it was prepared for it: all hold the same
            chunks in the same order.
        policy: As in `rank`.
    """
    measured = [measure(terms, pool) for terms, pool in readings]
    question_terms, pool = readings[0]
    signals = measured[0]
    sentences = signals.sentences
    if not sentences:
        return Ranking(pool=pool, sentences=(), support=None)
    each = [(*reading, of) for reading, of in zip(readings, measured, strict=True)]
    atoms = Atoms(pool, policy)
    by_units = policy.units and policy.scorer is None and is_structured(pool)
    if by_units:
        # Only pools with structure load it.
        from ragkit.trimming.unit_scorer import relative_unit_scores, unit_scores

        scores = _mean([unit_scores(*reading, atoms) for reading in each])
        order = _best_first(scores)
        relative_of: Callable[[int, int], float] = relative_unit_scores(scores)
    else:
        scored = [_scores(*reading, policy) for reading in each]
        scores = _mean([scores for scores, _ in scored])
        relative = _mean([_relative_scores(hop, sentences, policy) for _, hop in scored])
        order = _best_first(relative)
        relative_of = lambda k, _: relative[k]  # noqa: E731 (its type is stated above)
    kept = _kept_order(sentences, scores, pool, atoms, order=order, relative_of=relative_of)
    support = _support(question_terms, pool, signals, policy)
    return Ranking(pool=pool, sentences=kept, support=support, by_units=by_units)


def _mean(readings: Sequence[Sequence[float]]) -> Sequence[float]:
    """Return the means of units' scores, moved so that the best is as good as the readings' are.

    Where these find different units best, the best mean is lower, and a limit would keep less.
    """
    if len(readings) == 1:
        return readings[0]
    means = [math.fsum(scores) / len(readings) for scores in zip(*readings, strict=True)]
    best = math.fsum(map(max, readings)) / len(readings)
    move = best - max(means)
    return [mean + move for mean in means]


def support_score(
    question_terms: Sequence[str], pool: Sequence[PoolChunk], policy: TrimPolicy = BUILTIN_POLICY
) -> float | None:
    """Return how well the pool supports an answer, in [0, 1]; None for an empty pool."""
    signals = measure(question_terms, pool)
    return _support(question_terms, pool, signals, policy) if signals.sentences else None


def refusal_threshold(
    policy: TrimPolicy,
    question: str,
    pool: Sequence[PoolChunk],
    *,
    embedder: str | None,
    n_chunks: int | None = None,
) -> float | None:
    """Return the support below which there is no answer; None where its effect is not known.

    Args:
        policy: Its threshold counts as it is if it is certified, or of the formula of before.
        question: As it was asked.
        pool: What was found.
        embedder: The name of what made the pool's vectors, if it has any.
        n_chunks: Of the collection that was searched; None if that is not known.
    """
    if not policy.fitted_support or has_refusal(policy.certificate):
        return policy.refuse_below
    from ragkit.trimming.support import (  # as `_support` does
        has_measured_threshold,
        in_a_collection_of,
    )

    # Cosines of other embedders are on other scales.
    if embedder != "builtin" and any(chunk.cosines is not None for chunk in pool):
        return None
    if not has_measured_threshold(pool, question):
        return None
    return in_a_collection_of(policy.refuse_below, pool, n_chunks)


def largest_share(terms: Sequence[str], pool: Sequence[PoolChunk]) -> float:
    """Return the largest share of some terms that a chunk of a pool has, from 0 to 1."""
    wanted = frozenset(terms)
    held = (
        wanted.intersection(asked_terms((chunk.hit.title,), wanted).union(*chunk.terms))
        for chunk in pool
    )
    return max(map(len, held), default=0) / max(1, len(wanted))


def _support(
    question_terms: Sequence[str],
    pool: Sequence[PoolChunk],
    signals: Signals,
    policy: TrimPolicy,
) -> float:
    if policy.fitted_support:
        # Loaded by the first question, not with the library.
        from ragkit.trimming.support import fitted_support

        return fitted_support(question_terms, pool, signals)
    return _support_of_before(signals, pool)


def _scores(
    question_terms: Sequence[str],
    pool: Sequence[PoolChunk],
    signals: Signals,
    policy: TrimPolicy,
) -> tuple[list[float], list[float]]:
    """Return the units' scores, and those that decide on what is kept, with the second hop."""
    scorer = policy.scorer
    fusion = fused(signals, _weights(policy, len(pool)) if policy.units else policy.weights)
    scores = fusion if scorer is None else scorer.score(signals)
    if not policy.second_hop:
        return scores, scores
    # Few policies ask for it, so the others do not load it.
    from ragkit.trimming.second_hop import second_hop

    weight = policy.second_hop * (1.0 if scorer is None else scorer.fused_weight)
    gains = second_hop(question_terms, pool, signals, fusion)
    added = [score + weight * gain for score, gain in zip(scores, gains, strict=True)]
    if not policy.keeps_first:
        return added, added
    first = _best_first(_priorities(scores, signals.sentences, policy))[0]
    priorities = _priorities(added, signals.sentences, policy)
    added[first] += max(priorities) - priorities[first] + _AHEAD
    return scores, added


def _weights(policy: TrimPolicy, n_chunks: int) -> Mapping[str, float]:
    """Return the policy's weights, less for the chunk's score where all of a store was found.

    The last of two hits is as far from the mean as can be, even if it is nearly as good.
    """
    weight = policy.weights.get("chunk", 0.0) * min(1.0, n_chunks / policy.pool)
    return {**policy.weights, "chunk": weight}


def _relative_scores(
    scores: Sequence[float], sentences: Sequence[Sentence], policy: TrimPolicy
) -> list[float]:
    priorities = _priorities(scores, sentences, policy)
    best = max(priorities)
    return [priority - policy.best_weight * best for priority in priorities]


def _priorities(
    scores: Sequence[float], sentences: Sequence[Sentence], policy: TrimPolicy
) -> list[float]:
    scorer = policy.scorer
    length_weight = policy.length_weight if scorer is None else scorer.length_weight
    return [
        score - length_weight * math.log(_SHORT_TERMS + sentence.n_terms)
        for sentence, score in zip(sentences, scores, strict=True)
    ]


def _support_of_before(signals: Signals, pool: Sequence[PoolChunk]) -> float:
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


def _best_first(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda k: -scores[k])


def _is_row(pool: Sequence[PoolChunk], place: Sentence) -> bool:
    return unit_of(pool[place.chunk].hit.chunk, place.position).kind == "row"


def _kept_order(
    sentences: Sequence[Sentence],
    scores: Sequence[float],
    pool: Sequence[PoolChunk],
    atoms: Atoms,
    *,
    order: Sequence[int],
    relative_of: Callable[[int, int], float],
) -> tuple[RankedSentence, ...]:
    """Return all units in this order, each with what it needs and is not there yet.

    A unit that has the words of a better one, and the same needs, is dropped. `relative_of` takes a
    unit's index and how many characters are kept with it and all before; its running minimum is
    the relative score, so that every cut keeps a prefix.
    """
    growing, n_characters, lowest, n_atoms = _Order(sentences, pool, atoms), 0, math.inf, 0
    kept: list[RankedSentence] = []
    for k in order:
        new = growing.new(sentences[k])
        n_characters += sum(at.span[1] - at.span[0] for _, at in new)
        lowest = min(lowest, relative_of(k, n_characters))
        for n, (need, at) in enumerate(new):
            hit = pool[at.chunk].hit
            # A limit may come between a sentence and its neighbours, which it does not need.
            n_atoms += n == 0 or _is_neighbour(need, hit.chunk)
            own = growing.index.get((at.chunk, at.position))
            score = -math.inf if own is None else scores[own]
            kept.append(RankedSentence(hit, at, score, lowest, n_atoms, need))
    return tuple(kept)


class _Order:
    """What stands in the order of keeping already, and what a further unit adds to it."""

    def __init__(
        self, sentences: Sequence[Sentence], pool: Sequence[PoolChunk], atoms: Atoms
    ) -> None:
        self.index = {(s.chunk, s.position): k for k, s in enumerate(sentences)}
        self._sentences = sentences
        self._chunks = [chunk.hit.chunk for chunk in pool]
        self._atoms = atoms
        self._procedures: set[tuple[int, int]] = set()
        self._texts: set[str] = set()
        self._spans: set[tuple[str, int, int]] = set()

    def new(self, main: Sentence) -> list[tuple[Need | None, Sentence]]:
        """Return a unit and what it is kept with, of that what is not there yet; note it."""
        if self._is_repeat(main):
            return []
        if self._atoms.is_alone(main.chunk, main.position):
            together: Iterable[tuple[Need | None, Sentence]] = [(None, main)]
        else:
            together = self._together(main)
        return [(need, at) for need, at in together if self._is_new(need, at, main)]

    def _together(self, main: Sentence) -> Iterator[tuple[Need | None, Sentence]]:
        # A procedure comes with the first of its units: at each, the work would be quadratic.
        first = self._atoms.procedure(main.chunk, main.position)[:1]
        whole = not self._procedures.issuperset(first)
        self._procedures.update(first)
        for piece in self._atoms.of(main.chunk, main.position, whole=whole):
            yield piece.need, self._place(piece)

    def _place(self, piece: Piece) -> Sentence:
        """Return where a piece stands; a borrowed need is at position -1 of what needs it."""
        if piece.position is None:
            _, start, end = self._atoms.span(piece)
            return Sentence(piece.chunk, -1, (start, end), 0)
        known = self.index.get((piece.chunk, piece.position))
        if known is not None:
            return self._sentences[known]
        span = self._chunks[piece.chunk].sentences[piece.position]
        return Sentence(piece.chunk, piece.position, span, 0)

    def _is_repeat(self, sentence: Sentence) -> bool:
        """Whether a unit's words, with those of all its needs, were kept for their own sake."""
        chunk = self._chunks[sentence.chunk]
        needs = unit_of(chunk, sentence.position).needs
        texts = [text_of(chunk, sentence.span), *[need.text for need in needs]]
        key = "\n".join([" ".join(text.casefold().split()) for text in texts])
        if key in self._texts:
            return True
        self._texts.add(key)
        return False

    def _is_new(self, need: Need | None, place: Sentence, main: Sentence) -> bool:
        """Whether a span was not kept before, nor its words if it is a neighbour; notes it."""
        chunk = self._chunks[place.chunk]
        if place is not main and _is_neighbour(need, chunk) and self._is_repeat(place):
            return False
        key = (chunk.document_id, *place.span)
        if key in self._spans:
            return False
        self._spans.add(key)
        return True


def _is_neighbour(need: Need | None, chunk: Chunk) -> bool:
    """Whether a sentence of running text is kept beside another one that does not need it."""
    return need is None and not chunk.units
