"""Scores computed only from what a reader may see, for protected stores.

FTS5's own ranking counts all rows, so a score would reveal how many hidden chunks hold a word. Here
the same formula (`ragkit.storage.postings`) is applied to the visible chunks alone, using what FTS5
keeps: which rows hold a word, and how long each row is.
"""

from __future__ import annotations

import json
import math
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

K1, B = 1.2, 0.75
LEAST_IDF = 1e-6
"""SQLite documentation, "The bm25() function": Okapi BM25 with its smallest inverse frequency."""

_SAME_SCORE = 1e-8

_MAX_READERS = 16
"""Sets of groups whose visible documents are kept."""

MAX_COUNT = 255
"""Maximum count of a word per row, as in postings."""

_WORDS = """
CREATE VIRTUAL TABLE IF NOT EXISTS temp.visible_word USING fts5vocab(main, words, instance)"""
_OF_WORD = "SELECT doc FROM temp.visible_word WHERE term = ?"
_OF_BEGINNING = "SELECT doc FROM temp.visible_word WHERE term >= ?1 AND term < ?1 || ?2"
_LAST_CHARACTER = "\U0010ffff"
_MATCHING = """
SELECT words.rowid, chunk.tokens FROM words JOIN chunk ON chunk.row = words.rowid
WHERE words MATCH ?"""
_SIZES = """
SELECT chunk.row, words_docsize.sz
FROM chunk JOIN words_docsize ON words_docsize.id = chunk.row
WHERE chunk.document IN (SELECT value FROM json_each(?)) ORDER BY chunk.row"""
_LANGUAGE = """
SELECT language FROM document
WHERE language IS NOT NULL AND row IN (SELECT value FROM json_each(?))
GROUP BY language ORDER BY count(*) DESC, language LIMIT 1"""


@dataclass(frozen=True, slots=True)
class VisibleWords:
    """The lengths of the chunks that a reader may see.

    Attributes:
        lengths: By row: its number of words, 0 if it is hidden.
        n_rows: Chunks that are visible.
        n_words: Words of these.
    """

    lengths: array[int]
    n_rows: int
    n_words: int


@dataclass(slots=True)
class Reader:
    """What a reader in some groups may see: rows of documents, their language and words."""

    groups: frozenset[str]
    documents: set[int]
    language: str | None
    words: VisibleWords | None = None


class Readers:
    """The most recent readers of one state of the store."""

    def __init__(self) -> None:
        self._known: dict[frozenset[str], Reader] = {}

    def get(self, groups: frozenset[str], make: Callable[[frozenset[str]], Reader]) -> Reader:
        """Return the reader of these groups."""
        reader = self._known.get(groups)
        if reader is None:
            reader = make(groups)
            # Replaced, never mutated: other threads may be reading it.
            kept = list(self._known.items())[1 - _MAX_READERS :]
            self._known = dict([*kept, (groups, reader)])
        return reader


def idf(n_rows: int, n_holding: int) -> float:
    """Return a word's inverse document frequency."""
    return max(math.log((n_rows - n_holding + 0.5) / (n_holding + 0.5)), LEAST_IDF)


def visible_language(connection: sqlite3.Connection, documents: Collection[int]) -> str | None:
    """Return the language of most of these documents."""
    row = connection.execute(_LANGUAGE, (json.dumps(sorted(documents)),)).fetchone()
    return None if row is None else str(row[0])


def words_of(connection: sqlite3.Connection, reader: Reader) -> VisibleWords:
    """Return the lengths of the chunks that a reader may see, read once a reader."""
    if reader.words is None:
        reader.words = visible_words(connection, reader.documents)
    return reader.words


def visible_words(connection: sqlite3.Connection, documents: Collection[int]) -> VisibleWords:
    """Read how long the chunks of these documents are."""
    lengths, n_rows = array("I"), 0
    for row, size in connection.execute(_SIZES, (json.dumps(sorted(documents)),)):
        lengths.extend([0] * (row - len(lengths)))
        lengths.append(_n_words(size))
        n_rows += 1
    return VisibleWords(lengths, n_rows, sum(lengths))


def best_visible(
    connection: sqlite3.Connection,
    terms: Sequence[tuple[str, bool]],
    k: int,
    *,
    words: VisibleWords,
    allowed: Collection[int] | None,
) -> list[tuple[int, float]]:
    """Return (row, score) of the k best chunks that hold any of the words, with their ties.

    In no order.

    Args:
        connection: In a transaction.
        terms: Words, and whether each is the beginning of one.
        k: 1 or more.
        words: Of what the reader may see: the statistics are taken over it.
        allowed: Rows that may be found; None allows all that are visible.
    """
    connection.execute(_WORDS)
    lengths = words.lengths
    shortest, longer = K1 * (1 - B), K1 * B * words.n_rows / max(words.n_words, 1)
    scores: dict[int, float] = {}
    for term in dict.fromkeys(terms):
        counts = _counts(connection, *term)
        visible = [(row, n) for row, n in counts.items() if row < len(lengths) and lengths[row]]
        weight = idf(words.n_rows, len(visible)) * (K1 + 1)
        for row, count in visible:
            n = min(count, MAX_COUNT)
            score = weight * n / (n + shortest + longer * lengths[row])
            scores[row] = scores.get(row, 0.0) + score
    if allowed is not None:
        scores = {row: scores[row] for row in scores.keys() & allowed}
    least = min(nlargest(k, scores.values()), default=0.0) - _SAME_SCORE
    return [(row, score) for row, score in scores.items() if score >= least]


def _counts(connection: sqlite3.Connection, term: str, is_beginning: bool) -> Mapping[int, int]:
    """Return how often each row holds a word."""
    if is_beginning:
        found = connection.execute(_OF_BEGINNING, (term, _LAST_CHARACTER))
        return Counter(row for (row,) in found)
    counts = Counter(row for (row,) in connection.execute(_OF_WORD, (term,)))
    if counts or term.isascii():
        return counts
    # FTS5 may split a word if its Unicode tables are older than ours; then it matches a phrase.
    rows = connection.execute(_MATCHING, (f'"{term}"',)).fetchall()
    return {row: max(tokens.split().count(term), 1) for row, tokens in rows}


def _n_words(size: object) -> int:
    """Read a row's length: one variable-length integer (SQLite documentation, "File Format")."""
    n = 0
    for byte in size if isinstance(size, bytes) else b"":
        n = n << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return n
