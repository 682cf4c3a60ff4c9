"""Searching all chunks of a store at one revision: by vector and by keyword."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ragkit.errors import StoreDamagedError
from ragkit.storage.database import DERIVED_FOLDER
from ragkit.storage.postings import (
    Part,
    Postings,
    best_by_terms,
    make_part,
    make_postings,
    members,
)
from ragkit.storage.rows import SegmentInfo, chunk_ids, late_rows, segment_infos
from ragkit.storage.schema import unsealed
from ragkit.storage.segments import Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ragkit.types import Vector, Vectors

    Integers = NDArray[np.int64]

_Search: TypeAlias = Callable[
    ["Vector", int, "NDArray[np.bool_] | None"], tuple["NDArray[np.float32]", "Integers"]
]

_MARGIN = 64
"""Candidates beyond k: more than rounding to 8 bits can reorder."""

_SAME_SCORE = 1e-6
_BATCH = 1024
_MOST_ROWS = 1 << 16
"""Rows per set of postings, whose positions have 16 bits."""

_MAX_FRESH = 32
"""Ranges of new rows kept apart, one per revision seen, before they are read again as one."""

_MAX_VISIBLE = 16
"""Sets of groups whose visible rows are kept, at one byte per row."""

_VECTORS = """
SELECT chunk.row, vector.vector FROM chunk JOIN vector ON vector.row = chunk.vector
WHERE chunk.row > ? AND chunk.row <= ? ORDER BY chunk.row"""
TOKENS = "SELECT row, tokens FROM chunk WHERE row > ? AND row <= ? ORDER BY row"
_VECTORS_OF = """
SELECT chunk.row, vector.vector FROM chunk JOIN vector ON vector.row = chunk.vector
WHERE chunk.row IN (SELECT value FROM json_each(?)) ORDER BY chunk.row"""


def read_vectors(rows: Iterable[tuple[int, bytes]]) -> tuple[list[int], Vectors]:
    """Return rows and their vectors: float32, shape (n, dim); (0, 0) if there are none."""
    numbers: list[int] = []
    raw = bytearray()
    n_bytes = 0
    for row, blob in rows:
        vector = unsealed(blob, f"the vector of chunk {row}")
        n_bytes = n_bytes or len(vector)
        if len(vector) != n_bytes or n_bytes % 2:
            raise StoreDamagedError(f"the vector of chunk {row} is damaged")
        numbers.append(row)
        raw += vector
    if not numbers:
        return [], np.empty((0, 0), dtype=np.float32)
    vectors = np.frombuffer(raw, dtype=np.float16).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise StoreDamagedError("a vector of the store is damaged. Find it with: ragkit doctor")
    return numbers, vectors.reshape(len(numbers), -1)


def vector_batches(
    connection: sqlite3.Connection, first: int, last: int
) -> Iterator[tuple[list[int], Vectors]]:
    """Yield the rows after `first` up to `last` that have vectors, with these."""
    cursor = connection.execute(_VECTORS, (first, last))
    while rows := cursor.fetchmany(_BATCH):
        yield read_vectors(rows)


class _Fresh:
    """Rows that no usable segment holds, read from the store on demand."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self._vectors: tuple[Integers, Vectors] | None = None
        self._postings: Postings | None = None

    def forget_vectors(self) -> None:
        """Read the vectors again: some rows have got theirs since."""
        self._vectors = None

    def vectors(self, connection: sqlite3.Connection) -> tuple[Integers, Vectors]:
        """Return the rows that have vectors, ascending, and the vectors."""
        if self._vectors is None:
            parts = list(vector_batches(connection, self.first, self.last))
            if len({some.shape[1] for _, some in parts}) > 1:
                raise StoreDamagedError("the store's vectors differ in length: ragkit doctor")
            rows = np.array([row for numbers, _ in parts for row in numbers], dtype=np.int64)
            vectors = [some for _, some in parts] or [np.empty((0, 1), dtype=np.float32)]
            self._vectors = (rows, np.concatenate(vectors))
        return self._vectors

    def postings(self, connection: sqlite3.Connection) -> Postings:
        """Return the terms of all rows."""
        if self._postings is None:
            rows = connection.execute(TOKENS, (self.first, self.last))
            self._postings = make_postings((row, str(tokens)) for row, tokens in rows)
        return self._postings


class _Late:
    """Rows of segments that got their vectors later: these are read from the store on demand."""

    def __init__(self, rows: Integers) -> None:
        self._rows = rows
        self._vectors: tuple[Integers, Vectors] | None = None

    def vectors(self, connection: sqlite3.Connection) -> tuple[Integers, Vectors]:
        """Return the rows that still exist, ascending, and their vectors."""
        if self._vectors is None:
            found = connection.execute(_VECTORS_OF, (json.dumps(self._rows.tolist()),))
            rows, vectors = read_vectors(found)
            self._vectors = (np.array(rows, dtype=np.int64), vectors)
        return self._vectors


def _check_length(vectors: Vectors, vector: Vector) -> None:
    if vectors.shape[1] != len(vector):
        raise StoreDamagedError(
            f"the store's vectors have length {vectors.shape[1]}, the embedder's {len(vector)}. "
            "Recompute them with: ragkit rebuild"
        )


def _nearest(
    rows: Integers, vectors: Vectors, vector: Vector, k: int, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], Integers]:
    _check_length(vectors, vector)
    scores = vectors @ vector
    if allowed is not None:
        scores[~allowed] = -np.inf
    best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
    best = best[scores[best] > -np.inf]
    return scores[best], rows[best]


class SearchIndex:
    """What a store's searches read, at one revision; safe to share between threads.

    Args:
        connection: In a transaction on that revision.
        folder: The store's.
        previous: The index of an earlier revision of the same file, whose loaded rows are reused.
        opened: An index of any revision, whose open files are reused: their checksums identify
            them.
        filled: What the manifest says of when stored chunks last got vectors.

    Attributes:
        segments: The segment files in use.
        damaged: What is wrong with those that cannot be used.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        folder: Path,
        previous: SearchIndex | None = None,
        opened: SearchIndex | None = None,
        *,
        filled: str | None = None,
    ) -> None:
        self.damaged: list[str] = []
        self.segments: list[Segment] = []
        self._fresh: list[_Fresh] = []
        infos: list[SegmentInfo] = []
        try:
            infos = segment_infos(connection)
        except StoreDamagedError as error:
            self.damaged.append(str(error))
        known = {} if opened is None else {segment.info: segment for segment in opened.segments}
        for info in infos:
            try:
                self.segments.append(
                    known.get(info) or Segment(folder / DERIVED_FOLDER / info.name, info)
                )
            except StoreDamagedError as error:
                self.damaged.append(str(error))
                self._fresh.append(_Fresh(info.first, info.last))
        dead = [row for (row,) in connection.execute("SELECT row FROM tombstone ORDER BY row")]
        self._dead = np.array(dead, dtype=np.int64)
        self._late = np.array(late_rows(connection, filled), dtype=np.int64)
        self._filled = filled
        self._add_newest(connection, infos[-1].last if infos else 0, previous)
        self._parts: list[Part] | None = None
        self._visible: dict[frozenset[str], list[Part]] = {}
        self._engine: tuple[Sequence[Segment], Sequence[_Fresh | _Late]] | None = None

    def _add_newest(
        self, connection: sqlite3.Connection, last: int, previous: SearchIndex | None
    ) -> None:
        """Cover the rows after the last segment, reusing what `previous` has read of them."""
        newest: int = connection.execute("SELECT coalesce(max(row), 0) FROM chunk").fetchone()[0]
        # Copies: what another thread loads later belongs to its own revision.
        known = [] if previous is None else [copy(f) for f in previous._fresh if f.first >= last]
        if previous is not None and previous._filled != self._filled:
            for part in known:
                part.forget_vectors()
        if known and len(known) < _MAX_FRESH:
            self._fresh += known
            rows = connection.execute("SELECT row FROM chunk WHERE row > ? ORDER BY row", (last,))
            still = np.array([row for (row,) in rows], dtype=np.int64)
            seen = np.arange(last + 1, max(newest, known[-1].last) + 1, dtype=np.int64)
            self._dead = np.concatenate([self._dead, seen[~members(seen, still)]])
            last = known[-1].last
        while newest > last:
            # Skip unused row numbers: there may be 2 to the 63rd of them.
            find = "SELECT min(row) - 1 FROM chunk WHERE row > ?"
            last = int(connection.execute(find, (last,)).fetchone()[0])
            self._fresh.append(_Fresh(last, min(newest, last + _MOST_ROWS)))
            last += _MOST_ROWS

    # --- by vector ---------------------------------------------------------------------------

    def by_vector(
        self,
        connection: sqlite3.Connection,
        vector: Vector,
        k: int,
        allowed: Sequence[int] | None = None,
    ) -> list[tuple[int, float]]:
        """Return (row, cosine) of the k best, best first, ties in order of chunk id.

        Candidates come from 8-bit codes and are rescored from the stored vectors.

        Args:
            connection: In a transaction on this revision.
            vector: The question's unit vector: float32, shape (dim,).
            k: 1 or more.
            allowed: The only rows that may be found; None allows all.
        """
        only = None if allowed is None else np.sort(np.array(allowed, dtype=np.int64))
        n = self._n_vectors(connection) if only is None else len(only)
        wanted = min(k + _MARGIN, n)
        while wanted:
            rows = self._candidates(connection, vector, wanted, only)
            scores = self.scores(connection, vector, rows.tolist())
            ranked = _ranked(connection, scores)
            enough = len(ranked) >= k and ranked[k - 1][1] - ranked[-1][1] >= _SAME_SCORE
            if enough or wanted == n:
                return ranked[:k]
            wanted = min(4 * wanted, n)
        return []

    def scores(
        self, connection: sqlite3.Connection, vector: Vector, rows: Collection[int]
    ) -> dict[int, float]:
        """Return the cosine of the question with each of these rows that has a vector."""
        found = connection.execute(_VECTORS_OF, (json.dumps(sorted(rows)),))
        numbers, vectors = read_vectors(found.fetchall())
        if not numbers:
            return {}
        _check_length(vectors, vector)
        products = vectors * vector
        cosines = products.sum(axis=1, dtype=np.float64).round(7)
        return dict(zip(numbers, cosines.tolist(), strict=True))

    def _n_vectors(self, connection: sqlite3.Connection) -> int:
        segments, fresh = self._by_engine()
        loaded = sum(len(part.vectors(connection)[0]) for part in fresh)
        return loaded + sum(len(segment.with_vectors) for segment in segments)

    def _candidates(
        self, connection: sqlite3.Connection, vector: Vector, k: int, allowed: Integers | None
    ) -> Integers:
        scores, rows = [np.empty(0, dtype=np.float32)], [np.empty(0, dtype=np.int64)]

        def collect(numbers: Integers, search: _Search) -> None:
            mask = self._mask(numbers, allowed)
            if len(numbers) and (mask is None or mask.any()):
                some_scores, some_rows = search(vector, k, mask)
                scores.append(some_scores)
                rows.append(some_rows)

        segments, fresh = self._by_engine()
        for segment in segments:
            collect(segment.with_vectors, segment.nearest)
        for part in fresh:
            numbers, vectors = part.vectors(connection)
            collect(numbers, partial(_nearest, numbers, vectors))
        all_scores, all_rows = np.concatenate(scores), np.concatenate(rows)
        if len(all_rows) > k:
            all_rows = all_rows[np.argpartition(-all_scores, k - 1)[:k]]
        return all_rows

    def _mask(self, rows: Integers, allowed: Integers | None) -> NDArray[np.bool_] | None:
        """Return which rows may be found: the allowed ones that are not deleted."""
        mask = None if allowed is None else members(rows, allowed)
        if len(self._dead):
            alive = ~members(rows, self._dead)
            mask = alive if mask is None else mask & alive
        return mask

    def _by_engine(self) -> tuple[Sequence[Segment], Sequence[_Fresh | _Late]]:
        """Return the segments that FAISS searches, and the rows that numpy does."""
        if self._engine is None:
            by_faiss = [segment for segment in self.segments if segment.open_vectors()]
            others = [segment.info for segment in self.segments if segment not in by_faiss]
            by_numpy: list[_Fresh | _Late] = list(self._fresh)
            by_numpy += [_Fresh(info.first, info.last) for info in others]
            for info in (segment.info for segment in by_faiss):
                late = self._late[(self._late > info.first) & (self._late <= info.last)]
                by_numpy += [_Late(late)] if len(late) else []
            self._engine = (by_faiss, by_numpy)
        return self._engine

    # --- by term -----------------------------------------------------------------------------

    def by_terms(
        self,
        connection: sqlite3.Connection,
        terms: Sequence[str],
        k: int,
        allowed: Sequence[int] | None = None,
        visible: tuple[frozenset[str], Callable[[], Sequence[int]]] | None = None,
    ) -> list[tuple[int, float]]:
        """Return (row, score) of the k best rows by BM25, best first.

        Args:
            connection: In a transaction on this revision.
            terms: Distinct index terms.
            k: 1 or more.
            allowed: The only rows that may be found; None allows all that are visible.
            visible: Groups, and a function that gives the rows that they may see: only these count
                in the statistics. None for all.
        """
        only = None if allowed is None else np.sort(np.array(allowed, dtype=np.int64))
        parts = self._all_parts(connection)
        if visible is not None:
            parts = self._visible_parts(parts, *visible)
        return best_by_terms(parts, terms, k, only)

    def _visible_parts(
        self, parts: Sequence[Part], groups: frozenset[str], rows: Callable[[], Sequence[int]]
    ) -> list[Part]:
        found = self._visible.get(groups)
        if found is None:
            seen = np.sort(np.array(rows(), dtype=np.int64))
            found = [make_part(p.postings, members(p.postings.rows, seen)) for p in parts]
            # Replaced, never changed: other threads may be reading it.
            kept = list(self._visible.items())[1 - _MAX_VISIBLE :]
            self._visible = dict([*kept, (groups, found)])
        return found

    def _all_parts(self, connection: sqlite3.Connection) -> list[Part]:
        if self._parts is None:
            postings = [segment.postings for segment in self.segments]
            postings += [part.postings(connection) for part in self._fresh]
            self._parts = [make_part(p, self._mask(p.rows, None)) for p in postings]
        return self._parts


def _ranked(connection: sqlite3.Connection, scores: dict[int, float]) -> list[tuple[int, float]]:
    ids = chunk_ids(connection, scores)
    return sorted(scores.items(), key=lambda pair: (-pair[1], ids[pair[0]]))
