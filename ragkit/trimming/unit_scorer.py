"""The score of units in documents with structure, where sentences' scores alone mislead.

A line of code or a table's cell shares few words with a question; what introduces it, the headings
above it and its section do. A logistic regression over relative features weighs them. Its numbers
are a data file, made by `tools/fit_unit_scorer.py` from questions about manuals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, takewhile
from pathlib import Path
from typing import TypeVar

from ragkit.text.languages import STOP_WORDS
from ragkit.text.numbers import AMOUNT
from ragkit.text.words import index_terms
from ragkit.trimming.atoms import STRUCTURED_KINDS, Atoms, Piece, unit_of
from ragkit.trimming.scorer import FUSION_WEIGHTS, gaps
from ragkit.trimming.signals import (
    PoolChunk,
    Sentence,
    Signals,
    asked_terms,
    fused,
    inverse_frequencies,
)

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")
_Result = TypeVar("_Result")

_FUSION = {**FUSION_WEIGHTS, "chunk": 1.0}
_NAMED_ROW = 4.0
"""What is added to the logarithm of the odds of a row that a question names: its words, few as they
are, say which of many alike is meant."""

_CHARACTERS_PER_TOKEN = 4.0
"""By which lengths are estimated: counting tokens would cost more than all else."""


def unit_scores(
    question_terms: Sequence[str], pool: Sequence[PoolChunk], signals: Signals, atoms: Atoms
) -> list[float]:
    """Return ln(probability of being needed) of each unit, less half the logarithm of its length.

    Its length is that of all that it is kept with.
    """
    columns = unit_features(question_terms, pool, signals, atoms)
    model = _weights()["with_vectors" if signals.with_vectors else "by_words"]
    named = _named_rows(question_terms, pool, signals)
    scores: list[float] = []
    for i in range(len(signals.sentences)):
        log_odds = model["offset"] + sum(model[name] * columns[name][i] for name in columns)
        log_odds += _NAMED_ROW * named[i]
        size = math.expm1(columns["length"][i]) + math.expm1(columns["needs_length"][i])
        scores.append(-math.log1p(math.exp(-log_odds)) - 0.5 * math.log(3.0 + size))
    return scores


def unit_features(
    question_terms: Sequence[str], pool: Sequence[PoolChunk], signals: Signals, atoms: Atoms
) -> dict[str, list[float]]:
    """Return one column per feature, one value per unit of `signals`.

    Scores and shares are distances from the pool's best (0 or less), lengths ln(1 + tokens), the
    tokens estimated from characters.
    """
    sentences = signals.sentences
    asked = frozenset(question_terms)
    own = [_found(pool[s.chunk].terms[s.position], asked) for s in sentences]
    share = _shares(own, asked)
    starts = [(pool[s.chunk].hit.chunk, s.span[0]) for s in sentences]
    paths = [chunk.location(start, start).heading for chunk, start in starts]
    titled = [(pool[s.chunk].hit.title, *path) for s, path in zip(sentences, paths, strict=True)]
    of_titles = {titles: asked_terms(titles, asked) for titles in set(titled)}
    above = [of_titles[titles] for titles in titled]
    pieces = [list(atoms.of(s.chunk, s.position, whole=False)) for s in sentences]
    of_procedure = _procedure_sizes(sentences, atoms)
    needed = [[p.need.text for p in some if p.need is not None] for some in pieces]
    with_needs = [o | asked_terms(texts, asked) for o, texts in zip(own, needed, strict=True)]
    lengths = [(s.span[1] - s.span[0]) / _CHARACTERS_PER_TOKEN for s in sentences]
    spans = [{atoms.span(piece) for piece in some} for some in pieces]
    sizes = [
        (n + sum(b - a for _, a, b in some)) / _CHARACTERS_PER_TOKEN
        for some, n in zip(spans, of_procedure, strict=True)
    ]
    fusion = fused(signals, _FUSION)
    documents = [pool[s.chunk].hit.chunk.document_id for s in sentences]
    section = list(zip(documents, paths, strict=True))
    chunk = [s.chunk for s in sentences]
    in_section = _together(section, own, lambda sets: frozenset[str]().union(*sets))
    columns = {
        "fused": gaps(fusion),
        "near": gaps(_lent(fusion, section)),
        "words": gaps(signals.columns["words"]),
        "rank": [math.log1p(s.chunk) for s in sentences],
        "hit": gaps(signals.columns["chunk"]),
        "length": [math.log1p(n) for n in lengths],
        "needs_length": [math.log1p(max(0.0, a - b)) for a, b in zip(sizes, lengths, strict=True)],
        "covered": gaps([share(words) for words in own]),
        "covered_titled": gaps([share(o | t) for o, t in zip(own, above, strict=True)]),
        "covered_needs": gaps([share(words) for words in with_needs]),
        "chunk": gaps(_together(chunk, fusion, max)),
        "section": gaps(_together(section, fusion, max)),
        "section_covered": gaps([share(o | t) for o, t in zip(in_section, above, strict=True)]),
        "in_section": [math.log1p(n) for n in _positions(section)],
        "section_length": [math.log1p(n) for n in _together(section, lengths, math.fsum)],
    }
    kinds = [unit_of(pool[s.chunk].hit.chunk, s.position).kind for s in sentences]
    columns |= {kind: [float(of == kind) for of in kinds] for kind in STRUCTURED_KINDS}
    if signals.with_vectors:
        cosines = signals.columns["cosine"]
        columns["cosine"] = gaps(cosines)
        columns["window_cosine"] = gaps(signals.columns["window_cosine"])
        columns["chunk_cosine"] = gaps(_together(chunk, cosines, max))
    return columns


def _named_rows(
    question_terms: Sequence[str], pool: Sequence[PoolChunk], signals: Signals
) -> list[float]:
    """Return how well a question names each row of numbers, from 0 to 1.

    It names one if it holds all words that stand before the numbers; of several it names best the
    one with most words: "cost of revenue", not "revenue".
    """
    asked = frozenset(question_terms)
    n_words: list[int] = []
    for s in signals.sentences:
        chunk, label = pool[s.chunk].hit.chunk, list[str]()
        if unit_of(chunk, s.position).kind == "row":
            terms = pool[s.chunk].terms[s.position]
            label = [*takewhile(lambda term: not any(map(str.isdecimal, term)), terms)]
            label = [term for term in label if term not in _stop_words()]
        is_named = len(label) > 0 and asked.issuperset(label)
        text = chunk.text[s.span[0] - chunk.start : s.span[1] - chunk.start] if is_named else ""
        n_words.append(len(label) if AMOUNT.search(text) else 0)
    most = max(n_words, default=0) or 1
    return [n / most for n in n_words]


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    """Return the stop words of all languages as terms; a question's terms hold none."""
    terms = (index_terms(" ".join(words), language=name) for name, words in STOP_WORDS.items())
    return frozenset(chain.from_iterable(terms))


def relative_unit_scores(scores: Sequence[float]) -> Callable[[int, int], float]:
    """Return what gives the number that a cut is compared with, on the scale of sentences' scores.

    It takes a unit's index and how many characters are kept with it and all better ones: scores of
    different questions are only partly comparable here, so that the size of the context counts as
    well, and each doubling lowers the score by the same amount. The numbers were chosen on
    calibration questions about manuals, each folder left out in turn; the last one makes the
    bundled cut keep about 800 tokens there.
    """
    best = max(scores)

    def relative(index: int, n_characters: int) -> float:
        n_tokens = max(n_characters / _CHARACTERS_PER_TOKEN, 50.0)
        return scores[index] - 0.7 * best - 2.0 * math.log(n_tokens / 300.0) + 1.5

    return relative


def _procedure_sizes(sentences: Sequence[Sentence], atoms: Atoms) -> list[int]:
    """Return how many characters the procedure has that is kept with each unit; 0 without one."""
    sizes: dict[tuple[int, int], int] = {}
    found: list[int] = []
    for s in sentences:
        places = atoms.procedure(s.chunk, s.position)
        if places and places[0] not in sizes:
            spans = (atoms.span(Piece(*place)) for place in places)
            sizes[places[0]] = sum(end - start for _, start, end in spans)
        found.append(sizes[places[0]] - (s.span[1] - s.span[0]) if places else 0)
    return [max(0, n) for n in found]


def _found(terms: Iterable[str], asked: frozenset[str]) -> frozenset[str]:
    return asked.intersection(terms)


def _shares(
    own: Sequence[frozenset[str]], asked: frozenset[str]
) -> Callable[[frozenset[str]], float]:
    """Return what gives the share of the question's term weight that some terms have."""
    idf = inverse_frequencies(asked, own)
    total = math.fsum(idf.values()) or 1.0
    return lambda terms: math.fsum(idf[term] for term in terms) / total


def _together(
    keys: Sequence[_Key], values: Sequence[_Value], combine: Callable[[Sequence[_Value]], _Result]
) -> list[_Result]:
    """Return for each value what it and those of the same key give together."""
    groups: dict[_Key, list[_Value]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(key, []).append(value)
    combined = {key: combine(group) for key, group in groups.items()}
    return [combined[key] for key in keys]


def _positions(keys: Sequence[Hashable]) -> list[int]:
    """Return how far each place is from the first one of the same key."""
    first: dict[Hashable, int] = {}
    return [i - first.setdefault(key, i) for i, key in enumerate(keys)]


def _lent(scores: Sequence[float], section: Sequence[Hashable]) -> list[float]:
    """Return scores that a neighbour in the same section has raised to the mean of both."""
    lent = list(scores)
    for i, key in enumerate(section):
        for k in (i - 1, i + 1):
            if 0 <= k < len(lent) and section[k] == key:
                lent[i] = max(lent[i], 0.5 * (scores[i] + scores[k]))
    return lent


@lru_cache(maxsize=1)
def _weights() -> Mapping[str, Mapping[str, float]]:
    """Return the numbers that `tools/fit_unit_scorer.py` wrote."""
    raw = (Path(__file__).parents[1] / "data" / "unit_scorer.json").read_bytes()
    weights: Mapping[str, Mapping[str, float]] = json.loads(raw)
    return weights
