"""Tables' rows that a question names, looked for deeper than the first hits.

A table of numbers has few words. "What was the cost of revenue in the first quarter?" finds what is
said of revenue and of quarters first, and the table far behind, though one of its rows is called
just that. So where the first hits hold tables of numbers, later hits with rows that the question
names take the places of the last of them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache

from ragkit.text.words import query_terms
from ragkit.types import Hit

_LABEL = re.compile(r"[^\d$€£(|\t]*")

_FEWEST_TABLES = 2
"""Of the first hits must hold rows of numbers: one may be there by chance."""


def has_tables(hits: Iterable[Hit]) -> bool:
    """Whether several hits hold rows of numbers."""
    return sum(any(True for _ in _labels(hit)) for hit in hits) >= _FEWEST_TABLES


def with_named_rows(
    first: Sequence[Hit],
    deeper: Sequence[Hit],
    asked: Collection[str],
    language: str | None,
) -> Sequence[Hit]:
    """Return as many hits as there are first ones, of which at most half are replaced.

    Args:
        first: Best first.
        deeper: The same and more.
        asked: The question's index terms, without stop words.
        language: The documents'.
    """

    @cache
    def named(label: str) -> int:
        """Return how many terms a label has, if the question holds them all."""
        terms = set(query_terms(label, language=language))
        return len(terms) if terms.issubset(asked) else 0

    labels = {hit.chunk.id: {label for label in _labels(hit) if named(label)} for hit in deeper}
    n_holding = Counter(label.casefold() for some in labels.values() for label in some)

    def weight(hit: Hit) -> float:
        """Return how much the best label says: more words, and on fewer hits, say more."""
        return max(
            (
                named(label) * math.log((1 + len(deeper)) / n_holding[label.casefold()])
                for label in labels[hit.chunk.id]
            ),
            default=0.0,
        )

    n_kept = len(first) - len(first) // 2
    place = {hit.chunk.id: i for i, hit in enumerate(deeper)}
    better, rest = first[:n_kept], first[n_kept:]
    ids = {hit.chunk.id for hit in better}
    others = [hit for hit in deeper if labels[hit.chunk.id] and hit.chunk.id not in ids]
    named_best = sorted(others, key=weight, reverse=True)[: len(rest)]
    ids |= {hit.chunk.id for hit in named_best}
    left = [hit for hit in rest if hit.chunk.id not in ids][: len(rest) - len(named_best)]
    # What answers from afar may have lost one of the first hits between two searches.
    last = len(deeper)
    return [*better, *sorted([*named_best, *left], key=lambda hit: place.get(hit.chunk.id, last))]


def _labels(hit: Hit) -> Iterable[str]:
    """Yield what stands before the numbers in each row of numbers."""
    from ragkit.text.numbers import AMOUNT  # loaded with the first question

    chunk = hit.chunk
    # Running text has no units.
    for unit, (start, end) in zip(chunk.units, chunk.sentences, strict=False):
        if unit.kind == "row":
            row = chunk.text[start - chunk.start : end - chunk.start].lstrip("| \t")
            if AMOUNT.search(row) and (label := _LABEL.match(row)) and label[0].strip():
                yield label[0].strip()
