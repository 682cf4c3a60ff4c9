"""The second hop: sentences that are needed because of what other sentences say.

A question may name one document, whose sentences name the next ("the director of the film that …
was born in …"). Where documents have titles, those names are the bridge; the words of the best
sentences are the other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from ragkit.text.words import detect_language, index_terms
from ragkit.trimming.signals import PoolChunk, Signals, z_scores

_BEST_SENTENCES = 3
_RARE = 8
"""A word bridges two sentences where fewer than one in so many sentences of the pool hold it."""

_PART_OF_TITLE = 0.7
_BRIDGE_WEIGHT = 0.5
_LOWEST, _RANGE = -3.0, 6.0
"""A sum of z-scores from -3 to 3 becomes a share from 0 to 1."""


def second_hop(
    question_terms: Sequence[str],
    pool: Sequence[PoolChunk],
    signals: Signals,
    scores: Sequence[float],
) -> list[float]:
    """Return what each sentence gains by the second hop, about 0 to 3.

    One for opening its document, where encyclopedias say what they are about; up to one for the
    share of its document's title in the question; up to one for the score of the best sentence of
    another document that names this title; half a z-score of the rare words that it shares with
    the three best sentences and not with the question.

    Args:
        question_terms: Index words of the question.
        pool: Best chunk first.
        signals: Of the pool.
        scores: The training-free score of each sentence.
    """
    titles = _titles(pool)
    words = [pool[s.chunk].words[s.position] for s in signals.sentences]
    documents = [pool[s.chunk].hit.chunk.document_id for s in signals.sentences]
    named = _named(titles, words, documents, scores)
    asked = {name: _share(title, question_terms) for name, title in titles.items()}
    bridges = z_scores(_bridges(set(question_terms), words, scores))
    return [
        float(sentence.span[0] == 0) + asked[name] + named[name] + _BRIDGE_WEIGHT * bridge
        for sentence, name, bridge in zip(signals.sentences, documents, bridges, strict=True)
    ]


def _titles(pool: Sequence[PoolChunk]) -> dict[str, tuple[str, ...]]:
    """Return the index words of each document's title, without what stands in brackets."""
    titles: dict[str, tuple[str, ...]] = {}
    for chunk in pool:
        hit = chunk.hit
        if hit.chunk.document_id not in titles:
            title = _without_brackets(hit.title)
            language = detect_language(hit.chunk.text) if title else None
            titles[hit.chunk.document_id] = tuple(index_terms(title, language=language))
    return titles


def _without_brackets(text: str) -> str:
    """Return a text without what stands between a bracket and the next that closes one."""
    kept: list[str] = []
    position = 0
    # Brackets that nothing closes are looked at once, and not again from each of them.
    while (opened := text.find("(", position)) >= 0 and (closed := text.find(")", opened)) >= 0:
        kept.append(text[position:opened])
        position = closed + 1
    return "".join([*kept, text[position:]])


def _share(title: Sequence[str], question_terms: Sequence[str]) -> float:
    """Return 1 where the question names the title, else 0.7 x the share of its words."""
    if not title:
        return 0.0
    if _holds(question_terms, title):
        return 1.0
    return _PART_OF_TITLE * len(set(title).intersection(question_terms)) / len(set(title))


def _named(
    titles: Mapping[str, Sequence[str]],
    words: Sequence[Sequence[str]],
    documents: Sequence[str],
    scores: Sequence[float],
) -> dict[str, float]:
    """Return, a document, how good the best sentence of another one is that names its title."""
    found: dict[str, float] = {}
    for name, title in titles.items():
        naming = [
            score
            for text, document, score in zip(words, documents, scores, strict=True)
            if title and document != name and _holds(text, title)
        ]
        best = max(naming, default=_LOWEST)
        found[name] = min(1.0, max(0.0, (best - _LOWEST) / _RANGE))
    return found


def _holds(text: Sequence[str], title: Sequence[str]) -> bool:
    """Whether the title's words stand in the text one after the other."""
    # Words hold no white space. Python searches texts in time that grows with their lengths.
    return f" {' '.join(title)} " in f" {' '.join(text)} "


def _bridges(
    asked: set[str], words: Sequence[Sequence[str]], scores: Sequence[float]
) -> list[float]:
    """Return the weight of the rare words shared with the best other sentences."""
    n = len(words)
    sets = [set(text) for text in words]
    frequency = Counter(word for text in sets for word in text)
    weight = {
        word: math.log(1.0 + (n - f + 0.5) / (f + 0.5))
        for word, f in frequency.items()
        if _RARE * f < n and word not in asked
    }
    best = sorted(range(n), key=lambda i: -scores[i])[:_BEST_SENTENCES]
    shared: list[float] = []
    for i, own in enumerate(sets):
        others = set[str]().union(*(sets[j] for j in best if j != i))
        shared.append(math.fsum(weight[word] for word in own & others if word in weight))
    return shared
