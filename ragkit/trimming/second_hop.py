"""The second hop: sentences that are needed because of what other sentences say.

A question may name one document whose sentences name the next ("the director of the film that …
was born in …"). Titles of documents bridge the two, and so do rare terms of the best sentences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from ragkit.text.words import detect_language, index_terms
from ragkit.trimming.signals import PoolChunk, Signals, z_scores

_BEST_SENTENCES = 3
"""So many sentences lead on: the first hop is seldom elsewhere."""

_RARE = 8
"""A term bridges two sentences where fewer than one sentence in so many holds it."""

_PART_OF_TITLE = 0.7
"""All of a title's terms out of order count less than the title itself, which counts 1."""

_BRIDGE_WEIGHT = 0.5
"""Rare terms are the weaker hint: half a z-score beside up to 1 from each of the others."""

_LOWEST, _RANGE = -3.0, 6.0
"""A score, a sum of z-scores, from -3 to 3 becomes a share from 0 to 1."""


def second_hop(
    question_terms: Sequence[str],
    pool: Sequence[PoolChunk],
    signals: Signals,
    scores: Sequence[float],
) -> list[float]:
    """Return what the second hop adds to each sentence's score, about 0 to 3.

    A sentence gains 1 for opening its document, where encyclopedias say what they are about; up to
    1 for the share of its document's title that the question holds; up to 1 for the score of the
    best sentence of another document that names this title; and half the z-score of the rare terms
    that it shares with the three best sentences but not with the question.

    Args:
        question_terms: Index terms of the question.
        pool: Best chunk first.
        signals: Of the pool.
        scores: The training-free score of each sentence.
    """
    titles = _titles(pool)
    terms = [pool[s.chunk].terms[s.position] for s in signals.sentences]
    documents = [pool[s.chunk].hit.chunk.document_id for s in signals.sentences]
    named = _named(titles, terms, documents, scores)
    asked = {name: _share(title, question_terms) for name, title in titles.items()}
    bridges = z_scores(_bridges(set(question_terms), terms, scores))
    return [
        float(sentence.span[0] == 0) + asked[name] + named[name] + _BRIDGE_WEIGHT * bridge
        for sentence, name, bridge in zip(signals.sentences, documents, bridges, strict=True)
    ]


def _titles(pool: Sequence[PoolChunk]) -> dict[str, tuple[str, ...]]:
    """Return the index terms of each document's title, bracketed text left out."""
    titles: dict[str, tuple[str, ...]] = {}
    for chunk in pool:
        hit = chunk.hit
        if hit.chunk.document_id not in titles:
            title = _without_brackets(hit.title)
            language = detect_language(hit.chunk.text) if title else None
            titles[hit.chunk.document_id] = tuple(index_terms(title, language=language))
    return titles


def _without_brackets(text: str) -> str:
    """Drop each opening bracket with all up to the next closing one."""
    kept: list[str] = []
    position = 0
    # Nothing after an opening bracket that is never closed is searched again, so this is linear.
    while (opened := text.find("(", position)) >= 0 and (closed := text.find(")", opened)) >= 0:
        kept.append(text[position:opened])
        position = closed + 1
    return "".join([*kept, text[position:]])


def _share(title: Sequence[str], question_terms: Sequence[str]) -> float:
    """Return 1 where the question names the title, else 0.7 times the share of its terms."""
    if not title:
        return 0.0
    if _names(question_terms, title):
        return 1.0
    return _PART_OF_TITLE * len(set(title).intersection(question_terms)) / len(set(title))


def _named(
    titles: Mapping[str, Sequence[str]],
    terms: Sequence[Sequence[str]],
    documents: Sequence[str],
    scores: Sequence[float],
) -> dict[str, float]:
    """Return per document how good the best sentence is that names its title from elsewhere."""
    found: dict[str, float] = {}
    for name, title in titles.items():
        naming = [
            score
            for text, document, score in zip(terms, documents, scores, strict=True)
            if title and document != name and _names(text, title)
        ]
        best = max(naming, default=_LOWEST)
        found[name] = min(1.0, max(0.0, (best - _LOWEST) / _RANGE))
    return found


def _names(text: Sequence[str], title: Sequence[str]) -> bool:
    """Whether the title's terms stand in the text one after the other."""
    # Terms hold no white space, and Python searches text in linear time.
    return f" {' '.join(title)} " in f" {' '.join(text)} "


def _bridges(
    asked: set[str], terms: Sequence[Sequence[str]], scores: Sequence[float]
) -> list[float]:
    """Return the weight of the rare terms that each sentence shares with the best other ones."""
    n = len(terms)
    sets = [set(text) for text in terms]
    frequency = Counter(term for text in sets for term in text)
    weight = {
        term: math.log(1.0 + (n - f + 0.5) / (f + 0.5))
        for term, f in frequency.items()
        if _RARE * f < n and term not in asked
    }
    best = sorted(range(n), key=lambda i: -scores[i])[:_BEST_SENTENCES]
    shared: list[float] = []
    for i, own in enumerate(sets):
        others = set[str]().union(*(sets[j] for j in best if j != i))
        shared.append(math.fsum(weight[term] for term in own & others if term in weight))
    return shared
