"""Inverted lists as arrays: FTS5's ranking without reading all of its index.

Scores are FTS5's own (SQLite documentation, "The bm25() function": Okapi BM25, k1 = 1.2, b = 0.75,
no inverse document frequency below 1e-6), so both give the same answer.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ragkit.storage.visible import K1, MAX_COUNT, B, idf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]


def term_key(term: str) -> int:
    """Return a 64-bit hash of a term: two of a million terms collide once in 10^7."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Postings:
    """The terms of some rows.

    Attributes:
        rows: int64, shape (n,), ascending.
        lengths: int32, shape (n,): number of terms of each row.
        terms: uint64, shape (m,), ascending: `term_key` of each term.
        first: int64, shape (m + 1,): where each term's entries begin in the next two.
        positions: uint16: which row, as its place in `rows`.
        counts: uint8: how often the term occurs there, 255 at most.
    """

    rows: Integers
    lengths: NDArray[np.int32]
    terms: NDArray[np.uint64]
    first: Integers
    positions: NDArray[np.uint16]
    counts: NDArray[np.uint8]

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Return the arrays by name, as a file keeps them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def is_sound(self, first: int, last: int) -> bool:
        """Return whether the arrays fit each other and all rows are in (first, last]."""
        n, m, edges, n_entries = len(self.rows), len(self.terms), self.first, len(self.counts)
        kinds = {name: array.dtype for name, array in self.arrays().items()}
        if kinds != _KINDS or len(self.lengths) != n or len(edges) != m + 1:
            return False
        if len(self.positions) != n_entries or edges[0] != 0 or edges[-1] != n_entries:
            return False
        return bool(
            (self.rows[1:] > self.rows[:-1]).all()
            and (not n or (self.rows[0] > first and self.rows[-1] <= last))
            and (self.lengths >= 0).all()
            and (self.terms[1:] > self.terms[:-1]).all()
            and (edges[1:] >= edges[:-1]).all()
            and (not n_entries or int(self.positions.max()) < n)
        )

    def entries(self, keys: NDArray[np.uint64]) -> list[slice]:
        """Return where each term's entries are; an empty slice if no row holds it."""
        if not len(self.terms):
            return [slice(0, 0)] * len(keys)
        at = np.minimum(np.searchsorted(self.terms, keys), len(self.terms) - 1)
        first, last = self.first[at], self.first[at + 1]
        known = self.terms[at] == keys
        return [
            slice(a, b) if is_known else slice(0, 0)
            for a, b, is_known in zip(first.tolist(), last.tolist(), known.tolist(), strict=True)
        ]


_KINDS = {
    "rows": np.dtype(np.int64),
    "lengths": np.dtype(np.int32),
    "terms": np.dtype(np.uint64),
    "first": np.dtype(np.int64),
    "positions": np.dtype(np.uint16),
    "counts": np.dtype(np.uint8),
}


def make_postings(rows: Iterable[tuple[int, str]]) -> Postings:
    """Collect the terms of rows in ascending order; white space separates the terms of each."""
    numbers: dict[str, int] = {}
    row_ids, lengths = array("q"), array("i")
    terms, positions, counts = array("i"), array("H"), array("B")
    for position, (row, text) in enumerate(rows):
        words = text.split()
        found = Counter(words)
        row_ids.append(row)
        lengths.append(len(words))
        terms.extend([numbers.setdefault(word, len(numbers)) for word in found])
        positions.extend([position] * len(found))
        counts.extend([min(n, MAX_COUNT) for n in found.values()])
    keys = np.array([term_key(word) for word in numbers], dtype=np.uint64)
    order = np.argsort(keys)
    rank = np.empty(len(keys), dtype=np.int32)
    rank[order] = np.arange(len(keys), dtype=np.int32)
    ranks = rank[np.frombuffer(terms, dtype=np.int32)]
    by_term = np.argsort(ranks, kind="stable")
    first = np.zeros(len(keys) + 1, dtype=np.int64)
    np.cumsum(np.bincount(ranks, minlength=len(keys)), out=first[1:])
    return Postings(
        rows=np.array(row_ids, dtype=np.int64),
        lengths=np.array(lengths, dtype=np.int32),
        terms=keys[order],
        first=first,
        positions=np.frombuffer(positions, dtype=np.uint16)[by_term],
        counts=np.frombuffer(counts, dtype=np.uint8)[by_term],
    )


@dataclass(frozen=True, slots=True)
class Part:
    """Postings of which some rows count.

    Attributes:
        postings: Of all rows.
        alive: Which rows count: bool, shape (n,); None for all.
        n_rows: Rows that count.
        n_words: Words of these.
    """

    postings: Postings
    alive: NDArray[np.bool_] | None
    n_rows: int
    n_words: int


def make_part(postings: Postings, alive: NDArray[np.bool_] | None) -> Part:
    """Sum up the rows that count, and their terms."""
    counted = postings.lengths if alive is None else postings.lengths[alive]
    return Part(postings, alive, len(counted), int(counted.sum(dtype=np.int64)))


def best_by_terms(
    parts: Sequence[Part], terms: Sequence[str], k: int, allowed: Integers | None
) -> list[tuple[int, float]]:
    """Return (row, score) of the k best rows that hold any of the words, best first.

    Args:
        parts: All rows of the store; the statistics of BM25 are taken over those that count.
        terms: Distinct words.
        k: 1 or more.
        allowed: The only rows that may be found, ascending; None allows all.
    """
    keys = np.array([term_key(term) for term in terms], dtype=np.uint64)
    found = [part.postings.entries(keys) for part in parts]
    n_rows, n_words = sum(p.n_rows for p in parts), sum(p.n_words for p in parts)
    weights = _weights(parts, found, n_rows, len(terms))
    mean_length = n_words / max(n_rows, 1)
    best_rows = np.empty(0, dtype=np.int64)
    best = np.empty(0)
    for part, entries in zip(parts, found, strict=True):
        scores = _scores(part, entries, weights, mean_length, allowed)
        if scores is None:
            continue
        least = best[k - 1] if len(best) >= k else 0.0
        above = np.flatnonzero(scores > least)
        if not len(above):
            continue
        best_rows = np.concatenate([best_rows, part.postings.rows[above]])
        best = np.concatenate([best, scores[above]])
        order = np.argsort(-best, kind="stable")[:k]
        best_rows, best = best_rows[order], best[order]
    return list(zip(best_rows.tolist(), best.tolist(), strict=True))


def _weights(
    parts: Sequence[Part], found: Sequence[Sequence[slice]], n_rows: int, n_terms: int
) -> list[float]:
    values: list[float] = []
    for i in range(n_terms):
        n_holding = 0
        for part, entries in zip(parts, found, strict=True):
            entry = entries[i]
            if part.alive is None:
                n_holding += entry.stop - entry.start
            else:
                n_holding += int(part.alive[part.postings.positions[entry]].sum())
        values.append(idf(n_rows, n_holding))
    return values


def _scores(
    part: Part,
    entries: Sequence[slice],
    weights: Sequence[float],
    mean_length: float,
    allowed: Integers | None,
) -> NDArray[np.float64] | None:
    """Return the score of each row; None if no row matches."""
    postings = part.postings
    inside = None if allowed is None else members(postings.rows, allowed)
    if inside is not None and not inside.any():
        return None
    if all(entry.start == entry.stop for entry in entries):
        return None
    norm = postings.lengths * (K1 * B / mean_length)
    norm += K1 * (1 - B)
    scores = np.zeros(len(postings.rows))
    for entry, weight in zip(entries, weights, strict=True):
        positions = postings.positions[entry]
        counts = postings.counts[entry].astype(np.float64)
        scores[positions] += weight * (K1 + 1) * counts / (counts + norm[positions])
    for kept in (part.alive, inside):
        if kept is not None:
            scores *= kept
    return scores


def members(rows: Integers, allowed: Integers) -> NDArray[np.bool_]:
    """Return which of some rows are allowed, both ascending: bool, shape (n,)."""
    mask = np.zeros(len(rows), dtype=np.bool_)
    if len(rows):
        low, high = np.searchsorted(allowed, rows[[0, -1]])
        part = allowed[low : high + 1]
        at = np.searchsorted(rows, part)
        at[at == len(rows)] = 0
        mask[at[rows[at] == part]] = True
    return mask
