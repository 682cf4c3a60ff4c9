"""Relevance signals for each candidate sentence: lexical, dense, windowed, chunk-level."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from ragkit.types import Hit, Span

BM25_K1 = 0.9
BM25_B = 0.4
"""Robertson and Zaragoza 2009, eq. 3.15, with the constants usual for short passages."""

_WORDS_TO_COSINE = 0.4
"""Slope of the regression of cosines on BM25 scores, both as z-scores over the pool: 0.44 for
sentences and 0.34 for windows on squad20."""

_NO_DEVIATION = 1e-9
"""Values closer together than this agree: dividing by less would make noise a signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChunk:
    """A retrieved chunk, prepared for trimming.

    `terms` holds the index terms of each sentence. `cosines` holds the cosine of the question with
    each sentence, `window_cosines` with each sentence and its neighbours; both are None where the
    store has no sentence vectors of the chunk, or not yet. `with_chunk` says that each sentence's
    vector has a part of its chunk's added to it, which makes cosines larger.

    One that `completes` others was not found itself: it comes after them, holds the rest of a
    procedure of theirs, and takes no other part.
    """

    hit: Hit
    terms: Sequence[Sequence[str]]
    cosines: Sequence[float] | None = None
    window_cosines: Sequence[float] | None = None
    with_chunk: bool = False
    completes: bool = False


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence: the index of its chunk in the pool, its own in the chunk, and its span."""

    chunk: int
    position: int
    span: Span
    n_terms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """The sentences of a pool with one column of numbers per signal.

    Columns have one value per sentence: `words`, `window_words` and `chunk_words` are BM25 scores,
    `covered`, `window_covered` and `supported` shares in [0, 1] of the question's term weight (the
    last one that of the window, or of the unit with its needs if that is more and the unit has a
    share itself), `chunk` the hit's own score; with vectors also `cosine`, `window_cosine`, and the
    largest (`chunk_cosine`) and the mean (`mean_cosine`) of the chunk's sentences. A window is a
    sentence with its neighbours.

    Where only a part of the pool has vectors, `estimated` holds the indices of the sentences whose
    cosines are estimated from words.
    """

    sentences: tuple[Sentence, ...]
    columns: Mapping[str, Sequence[float]]
    estimated: frozenset[int] = frozenset()

    @property
    def with_vectors(self) -> bool:
        """Whether the pool has sentence vectors, at least in part."""
        return "cosine" in self.columns

    def without_vectors(self) -> Signals:
        """Return the signals of a store that has no sentence vectors."""
        columns = {n: values for n, values in self.columns.items() if not n.endswith("cosine")}
        return Signals(sentences=self.sentences, columns=columns)


def measure(question_terms: Sequence[str], pool: Sequence[PoolChunk]) -> Signals:
    """Return the signals of a pool.

    Args:
        question_terms: Index terms of the question, without stop words.
        pool: Best chunk first.
    """
    pool = [chunk for chunk in pool if not chunk.completes]
    sentences = tuple(
        Sentence(i, j, span, len(chunk.terms[j]))
        for i, chunk in enumerate(pool)
        for j, span in enumerate(chunk.hit.chunk.sentences)
        if not chunk.hit.chunk.units or chunk.hit.chunk.units[j].is_kept_alone
    )
    if not sentences:
        return Signals(sentences=(), columns={})
    asked = frozenset(question_terms)
    # Only the question's terms and the lengths count, so all other terms are dropped early.
    found = [[_found(terms, asked) for terms in chunk.terms] for chunk in pool]
    own = [found[s.chunk][s.position] for s in sentences]
    windows = [_joined(found[s.chunk][max(0, s.position - 1) : s.position + 2]) for s in sentences]
    chunks = [_joined(parts) for parts in found]
    idf = inverse_frequencies(asked, [text.counts.keys() for text in own])
    total = math.fsum(idf.values()) or 1.0
    chunk_words = _bm25(idf, chunks)
    window_covered = [sum(idf[term] for term in text.counts) / total for text in windows]
    columns: dict[str, Sequence[float]] = {
        "words": _bm25(idf, own),
        "window_words": _bm25(idf, windows),
        "chunk_words": [chunk_words[s.chunk] for s in sentences],
        "chunk": [pool[s.chunk].hit.score for s in sentences],
        "covered": [sum(idf[term] for term in text.counts) / total for text in own],
        "window_covered": window_covered,
        "supported": window_covered,
    }
    if any(chunk.hit.chunk.units for chunk in pool):
        columns["supported"] = [
            max(covered, math.fsum(idf[term] for term in _with_needs(pool, s, text, asked)) / total)
            for covered, s, text in zip(window_covered, sentences, own, strict=True)
        ]
    estimated = frozenset(i for i, s in enumerate(sentences) if not _has_vectors(pool[s.chunk]))
    if len(estimated) == len(sentences):
        return Signals(sentences=sentences, columns=columns)
    columns.update(_cosines(pool, sentences, columns))
    return Signals(sentences=sentences, columns=columns, estimated=estimated)


def _has_vectors(chunk: PoolChunk) -> bool:
    return chunk.cosines is not None and chunk.window_cosines is not None


def _cosines(
    pool: Sequence[PoolChunk],
    sentences: Sequence[Sentence],
    columns: Mapping[str, Sequence[float]],
) -> dict[str, Sequence[float]]:
    """Return the dense columns of a pool that has sentence vectors, at least in part."""
    whole = [chunk if _has_vectors(chunk) else None for chunk in pool]
    own = [None if chunk is None else chunk.cosines for chunk in whole]
    windows = [None if chunk is None else chunk.window_cosines for chunk in whole]
    cosines = _completed(_by_sentence(own, sentences), columns["words"])
    by_chunk = [list[float]() for _ in pool]
    for sentence, cosine in zip(sentences, cosines, strict=True):
        by_chunk[sentence.chunk].append(cosine)
    best = [max(values, default=0.0) for values in by_chunk]
    mean = [math.fsum(values) / max(1, len(values)) for values in by_chunk]
    return {
        "cosine": cosines,
        "window_cosine": _completed(_by_sentence(windows, sentences), columns["window_words"]),
        "chunk_cosine": [best[s.chunk] for s in sentences],
        "mean_cosine": [mean[s.chunk] for s in sentences],
    }


def _by_sentence(
    by_chunk: Sequence[Sequence[float] | None], sentences: Sequence[Sentence]
) -> list[float | None]:
    chunks = [(by_chunk[sentence.chunk], sentence.position) for sentence in sentences]
    return [None if values is None else values[position] for values, position in chunks]


def _completed(cosines: Sequence[float | None], words: Sequence[float]) -> list[float]:
    """Return the cosines with estimates from the words, by linear regression, for unknown ones.

    This neither favours nor punishes a sentence without a vector: it is as far from the mean of the
    known cosines as its words make likely. Taking the words' own distance would count the words
    twice; the lowest cosine would hide the sentence.
    """
    known = [cosine for cosine in cosines if cosine is not None]
    if len(known) == len(cosines):
        return known
    mean = math.fsum(known) / len(known)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in known) / len(known))
    return [
        mean + _WORDS_TO_COSINE * deviation * z if cosine is None else cosine
        for cosine, z in zip(cosines, z_scores(words), strict=True)
    ]


class _Text(NamedTuple):
    """How often each of the question's terms stands in a text, and the text's length in terms."""

    counts: Mapping[str, int]
    n_terms: int


def _found(terms: Sequence[str], asked: frozenset[str]) -> _Text:
    counts: dict[str, int] = {}
    if not asked.isdisjoint(terms):  # as of most texts
        for term in terms:
            if term in asked:
                counts[term] = counts.get(term, 0) + 1
    return _Text(counts, len(terms))


def _with_needs(
    pool: Sequence[PoolChunk], place: Sentence, own: _Text, asked: AbstractSet[str]
) -> AbstractSet[str]:
    """Return the question's terms that a unit or its needs have; none where itself has none.

    Otherwise every row of a table would support whatever its header is about.
    """
    units = pool[place.chunk].hit.chunk.units
    if not units or not own.counts:
        return frozenset()
    return own.counts.keys() | asked_terms((n.text for n in units[place.position].needs), asked)


def asked_terms(texts: Iterable[str], asked: AbstractSet[str]) -> frozenset[str]:
    """Return which of the question's terms stand in headings or needs."""
    return frozenset(term for text in texts for term in _terms(text) if term in asked)


@lru_cache(maxsize=4096)
def _terms(text: str) -> Sequence[str]:
    from ragkit.text.words import index_terms  # only units with needs need it

    return index_terms(text, language=None)


def _joined(texts: Sequence[_Text]) -> _Text:
    counts: dict[str, int] = {}
    n_terms = 0
    for text in texts:
        n_terms += text.n_terms
        for term, n in text.counts.items():
            counts[term] = counts.get(term, 0) + n
    return _Text(counts, n_terms)


def inverse_frequencies(
    asked: AbstractSet[str], texts: Sequence[Iterable[str]]
) -> dict[str, float]:
    """Return Robertson-Sparck Jones weights of the question's terms over the pool's units.

    Args:
        asked: The question's terms.
        texts: Which of them stand in each unit, each term once.
    """
    found, n = Counter(chain.from_iterable(texts)), len(texts)
    return {term: math.log(1.0 + (n - found[term] + 0.5) / (found[term] + 0.5)) for term in asked}


def _bm25(idf: Mapping[str, float], texts: Sequence[_Text]) -> list[float]:
    mean = sum(text.n_terms for text in texts) / len(texts) or 1.0
    scores: list[float] = []
    for text in texts:
        if not text.counts:
            scores.append(0.0)
            continue
        norm = BM25_K1 * (1.0 - BM25_B + BM25_B * text.n_terms / mean)
        scores.append(sum(idf[term] * f / (f + norm) for term, f in text.counts.items()))
    return scores


def z_scores(values: Sequence[float]) -> list[float]:
    """Return each value's distance from the mean in standard deviations; 0 where all agree."""
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
    if deviation < _NO_DEVIATION:
        return [0.0] * len(values)
    return [(v - mean) / deviation for v in values]


def fused(signals: Signals, weights: Mapping[str, float]) -> list[float]:
    """Return the weighted sum of z-scores over the pool, one per sentence.

    A column that the pool lacks adds nothing.
    """
    scores = [0.0] * len(signals.sentences)
    for name, weight in weights.items():
        if name in signals.columns:
            for i, z in enumerate(z_scores(signals.columns[name])):
                scores[i] += weight * z
    return scores
