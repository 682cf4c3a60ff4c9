"""Support: how well a pool of chunks supports an answer, whatever its documents' language.

A question on something else finds chunks, too. They have fewer of its words, scattered over their
units, and their vectors are farther from it. A logistic regression weighs this. Its numbers are a
data file, made by `tools/fit_support.py`: with the sentence vectors of the built-in embedder for
English, by words alone for other languages and for stores without such vectors.

How many of a question's words an answer repeats differs between languages, so the score is moved,
by language, to where the bundled threshold refuses few answerable questions. For a language of
which nothing is known, it is not moved, and the bundled threshold does not apply.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import normalize

from ragkit.text.languages import SAMPLE_CHARACTERS, detect_language
from ragkit.trimming.atoms import is_structured, unit_of
from ragkit.trimming.signals import PoolChunk, Sentence, Signals, asked_terms, inverse_frequencies

_SHORTEST_ALIKE = 4
"""Characters of a word that can resemble another one."""

_LEAST_ALIKE = 0.6
"""Of the letter pairs of two words, the share in common."""

_ASKING_WORDS = {
    "pairs": "什么时候 为什么 什么 多少 哪 谁 如何 怎 何时 何 几 是 的 了 在 和 与 及 或 也 都 "
    "吗 呢 吧 啊 这 那 有 叫 个 年 被",
    "threes": "อะไร ใคร เท่าไหร่ เท่าไร ที่ไหน เมื่อไหร่ เมื่อใด เมื่อไร อย่างไร ทำไม กี่ ใด ไหน คือ ที่ "
    "มี เป็น ชื่อ ของ ใน และ หรือ จาก ได้ ให้ ว่า การ ความ ถูก สิ่ง",
}
"""What a question says beside its subject, in scripts whose terms are pieces and not words."""

_ASKING = {
    name: re.compile("|".join(sorted(normalize("NFKC", words).split(), key=len, reverse=True)))
    for name, words in _ASKING_WORDS.items()
}

_PIECES = {
    "pairs": re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"),
    "threes": re.compile("[\u0e01-\u0e4e]"),
}
_TOUCHING = {"pairs": 1, "threes": 2}
"""So many characters of such a word make a piece say nothing of the subject."""


def fitted_support(
    question_terms: Sequence[str], pool: Sequence[PoolChunk], signals: Signals
) -> float:
    """Return how well a pool supports an answer, in [0, 1].

    Where only a part of the pool has vectors, or the unit with most of the question's words is a
    row of a table, whose vector says little, it is the support by words if that is greater.
    """
    language = pool_language(pool)
    by_words = by_vectors = -math.inf
    measured = support_features(question_terms, pool, signals)
    if signals.with_vectors and language == "en":
        by_vectors = _moved("with_vectors", measured, pool, language)
    if by_vectors == -math.inf or signals.estimated or measured["is_row"]:
        by_words = _moved("by_words", measured, pool, language)
    return 1.0 / (1.0 + math.exp(-max(by_words, by_vectors)))


def has_measured_threshold(pool: Sequence[PoolChunk], question: str) -> bool:
    """Whether it is known how many answerable questions the bundled threshold refuses.

    It is not in a language of which nothing was measured, nor where question and documents are in
    different languages, so that they share few words.
    """
    language = pool_language(pool)
    return language in _numbers()["moves"]["by_words"] and (
        _language_of(question) in {None, language}
    )


def in_a_collection_of(threshold: float, pool: Sequence[PoolChunk], n_chunks: int | None) -> float:
    """Return a threshold in (0, 1) for a collection of this size, lower in a small one.

    Of fewer chunks, those that a question on something else finds best support it less, and those
    that answer one support it no less. So the log odds that suffice fall with the logarithm of the
    size, below that of the collections by which the threshold was set. None is of unknown size.
    """
    sizes, kind = _numbers()["sizes"], kind_of(pool, pool_language(pool))
    if kind == "en" and all(chunk.cosines is None for chunk in pool):
        kind = "other"
    set_by = sizes.get(kind, sizes["other"])
    if n_chunks is None or not 0 < n_chunks < set_by or not 0.0 < threshold < 1.0:
        return threshold
    fall = sizes["fall"] * math.log(set_by / n_chunks)
    return 1.0 / (1.0 + (1.0 - threshold) / threshold * math.exp(fall))


def kind_of(pool: Sequence[PoolChunk], language: str) -> str:
    """Return what decides where a pool's threshold lies: `structured` documents, or a language."""
    return "structured" if language == "en" and is_structured(pool) else language


def pool_language(pool: Sequence[PoolChunk]) -> str:
    """Return the language of a pool's best chunks; where it cannot be told, English.

    Index terms take undecided text for English, too.
    """
    sample = ""
    for chunk in pool:
        if len(sample) >= SAMPLE_CHARACTERS:
            break
        sample += f"{chunk.hit.chunk.text[:SAMPLE_CHARACTERS]}\n"
    return _language_of(sample) or "en"


_language_of = lru_cache(maxsize=64)(detect_language)
"""Kept, as the support and its threshold both ask for it."""


def support_features(
    question_terms: Sequence[str], pool: Sequence[PoolChunk], signals: Signals
) -> dict[str, float]:
    """Return what both regressions weigh, from 0 to about 1; the higher, the more support.

    `unit` is the largest share of the question's term weight that a unit has, with its neighbours,
    needs and headings. `first` is that of the best chunk, `words` the largest plain share of words
    that a chunk has. `agreeing`, the
    one with vectors, is the largest mean of a unit's share, its chunk's, and its cosine. `is_row`,
    which they do not weigh, is 1 where the unit with the largest share is a row.
    """
    table = _Table.of(frozenset(telling_terms(question_terms)), pool, signals)
    in_chunks = [table.share(terms) for terms in table.chunks]
    units = [table.share(terms) for terms in table.units]
    found = {
        "unit": max(units),
        "first": in_chunks[0],
        "words": max(map(len, table.chunks)) / max(1, len(table.weights)),
        "is_row": float(_is_row(pool, signals.sentences[units.index(max(units))])),
    }
    if signals.with_vectors:
        scale = _numbers()["cosine_scale"]
        cosines = [cosine / scale for cosine in signals.columns["window_cosine"]]
        found["agreeing"] = max(
            (unit + in_chunks[sentence.chunk] + 2.0 * cosine) / 4.0
            for unit, sentence, cosine in zip(units, signals.sentences, cosines, strict=True)
        )
    return found


def _is_row(pool: Sequence[PoolChunk], place: Sentence) -> bool:
    return unit_of(pool[place.chunk].hit.chunk, place.position).kind == "row"


def telling_terms(terms: Sequence[str]) -> list[str]:
    """Return a question's terms without pieces of what it says beside its subject.

    Words are as they were: stop words are no terms. Pieces of a script without spaces overlap, and
    those that touch an asking word stand in no answer. All, if nothing else is left.
    """
    told: list[str] = []
    for run in _runs(terms):
        size = next((name for name, one in _PIECES.items() if one.match(run[0])), None)
        if size is None:
            told += run
            continue
        text = run[0] + "".join(piece[-1] for piece in run[1:])
        asking = _ASKING[size]
        taken = [False] * len(text)
        for match in asking.finditer(text):
            taken[match.start() : match.end()] = [True] * (match.end() - match.start())
        told += [
            piece for i, piece in enumerate(run) if sum(taken[i : i + len(piece)]) < _TOUCHING[size]
        ]
    return told or list(terms)


def _runs(terms: Sequence[str]) -> Iterator[list[str]]:
    """Yield pieces that overlap together, and words one by one."""
    run: list[str] = []
    for term in terms:
        is_next = run and len(term) > 1 and run[-1][1:] == term[:-1] and not term.isascii()
        if not is_next and run:
            yield run
            run = []
        run.append(term)
    if run:
        yield run


@dataclass(frozen=True, slots=True)
class _Table:
    """Which of the question's terms stand where, and their weights, which sum to 1."""

    weights: Mapping[str, float]
    units: Sequence[frozenset[str]]
    chunks: Sequence[frozenset[str]]

    def share(self, terms: Collection[str]) -> float:
        return math.fsum(self.weights[term] for term in terms)

    @classmethod
    def of(cls, asked: frozenset[str], pool: Sequence[PoolChunk], signals: Signals) -> _Table:
        meant = _meant(asked, pool)
        wanted = asked.union(meant)
        by_unit = [[_as_asked(wanted.intersection(t), meant) for t in c.terms] for c in pool]
        own = [by_unit[s.chunk][s.position] for s in signals.sentences]
        # The square root, as most words that stand nowhere are not the question's subject.
        raw = {term: math.sqrt(idf) for term, idf in inverse_frequencies(asked, own).items()}
        total = math.fsum(raw.values()) or 1.0
        chunks = [
            asked_terms((chunk.hit.title,), asked).union(*units)
            for chunk, units in zip(pool, by_unit, strict=True)
        ]
        units: list[frozenset[str]] = []
        of_titles: dict[tuple[str, ...], frozenset[str]] = {}
        for s in signals.sentences:
            chunk = pool[s.chunk].hit.chunk
            above = (pool[s.chunk].hit.title, *chunk.location(s.span[0], s.span[0]).heading)
            if above not in of_titles:
                of_titles[above] = asked_terms(above, asked)
            titled = of_titles[above]
            # Otherwise every row of a table would support whatever its header is about.
            has_needs = chunk.units and by_unit[s.chunk][s.position]
            needs = chunk.units[s.position].needs if has_needs else ()
            beside = by_unit[s.chunk][max(0, s.position - 1) : s.position + 2]
            needed = asked_terms((need.text for need in needs), asked) if needs else ()
            units.append(titled.union(*beside, needed))
            chunks[s.chunk] |= titled
        return cls({term: w / total for term, w in raw.items()}, units, chunks)


def _as_asked(terms: frozenset[str], meant: Mapping[str, str]) -> frozenset[str]:
    """Return terms as the question has them."""
    return frozenset(meant.get(t, t) for t in terms) if meant and terms else terms


def _meant(asked: frozenset[str], pool: Sequence[PoolChunk]) -> dict[str, str]:
    """Return the words of a pool by which one of the question's may be meant that it lacks.

    They begin like it and share most of its letter pairs, one is the beginning of the other, or
    they differ by one letter or the order of two: by endings and by typing errors.
    """
    words = set(chain.from_iterable(terms for chunk in pool for terms in chunk.terms))
    missing: dict[str, list[str]] = {}
    for word in asked - words:
        if len(word) >= _SHORTEST_ALIKE and word[0].isalpha():
            missing.setdefault(word[0], []).append(word)
    meant: dict[str, str] = {}
    for other in words if missing else ():
        if len(other) >= _SHORTEST_ALIKE:
            for word in missing.get(other[0], ()):
                if _are_alike(word, other):
                    meant[other] = word
    return meant


def _are_alike(word: str, other: str) -> bool:
    shorter = min(len(word), len(other))
    if shorter > _SHORTEST_ALIKE and word[:shorter] == other[:shorter]:
        return True
    if abs(len(word) - len(other)) > shorter:
        return False
    letters, others = Counter(word), Counter(other)
    if max((letters - others).total(), (others - letters).total()) <= 1:
        return True
    own, pairs = _pairs(word), _pairs(other)
    return word[:2] == other[:2] and len(own & pairs) >= _LEAST_ALIKE * (len(own) + len(pairs)) / 2


@lru_cache(maxsize=8192)
def _pairs(word: str) -> frozenset[str]:
    framed = f"^{word}$"
    return frozenset(framed[i : i + 2] for i in range(len(framed) - 1))


def _moved(
    model: str, measured: Mapping[str, float], pool: Sequence[PoolChunk], language: str
) -> float:
    """Return log odds, moved so that the threshold lies where it refuses few."""
    numbers = _numbers()
    weights = numbers["weights"][model]
    log_odds = weights["offset"] + sum(
        weight * measured[name] for name, weight in weights.items() if name != "offset"
    )
    moves: Mapping[str, float] = numbers["moves"][model]
    key = kind_of(pool, language)
    return float(log_odds + moves.get(key, moves["other"]))


@lru_cache(maxsize=1)
def _numbers() -> Mapping[str, Any]:
    """Return the numbers that `tools/fit_support.py` wrote."""
    raw = (Path(__file__).parents[1] / "data" / "support.json").read_bytes()
    numbers: Mapping[str, Any] = json.loads(raw)
    return numbers
