"""Keeping the segment files in step with the chunks; the caller is the only writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import StoreDamagedError
from ragkit.storage.database import DERIVED_FOLDER, Database
from ragkit.storage.postings import make_postings
from ragkit.storage.rows import SegmentInfo, late_rows, segment_infos
from ragkit.storage.schema import FILLED, checksum, read_manifest
from ragkit.storage.searching import TOKENS, vector_batches
from ragkit.storage.segments import faiss_library, write_segment
from ragkit.storage.values import DerivedSizes
from ragkit.storage.writing import delete_segments

if TYPE_CHECKING:
    from ragkit.types import Vectors

_MAX_DEAD_SHARE = 0.25
_MAX_LATE_SHARE = 0.25
"""Of a file's chunks, those whose vectors are read from the store for each search."""


@dataclass(frozen=True, slots=True)
class _Range:
    """Rows after `first` up to `last` that are to be written, in place of old segments."""

    first: int
    last: int
    replaced: Sequence[SegmentInfo] = ()


def derive(
    database: Database,
    *,
    revision: int,
    fingerprint: str | None,
    sizes: DerivedSizes,
    full: bool = False,
    sweep: bool = False,
    damaged: frozenset[str] = frozenset(),
) -> None:
    """Write the segment files that are due, name them in the store, and delete the old ones.

    Args:
        database: The store's.
        revision: Number of its committed writes.
        fingerprint: Of its embedder.
        sizes: When there are segments, and how large.
        full: Include all additions and deletions, not only where there are many.
        sweep: Include all deletions.
        damaged: Names of segments to rewrite.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the store is as it was.
    """
    try:
        with database.reading() as connection:
            segment_infos(connection)
    except StoreDamagedError:
        with database.writing() as connection:
            delete_segments(connection)
    with database.reading() as connection:
        most_dead_share = 0.0 if sweep else _MAX_DEAD_SHARE
        ranges = _due(
            connection, sizes, full=full, most_dead_share=most_dead_share, damaged=damaged
        )
    for part in ranges:
        written: list[SegmentInfo] = []
        first = part.first
        while rows := _first_rows(database, first, part.last, sizes.file):
            info = _write(database, first, rows[-1], revision=revision, fingerprint=fingerprint)
            written.append(info)
            first = rows[-1]
        _name(database, part, written)
    delete_orphans(database)


def delete_orphans(database: Database) -> None:
    """Delete the files that the store does not name."""
    for name in orphaned_files(database):
        # Windows refuses to delete open files; the next writer will.
        with suppress(OSError):
            (database.path.parent / DERIVED_FOLDER / name).unlink()


def orphaned_files(database: Database) -> list[str]:
    """Return the names of files that the store does not name."""
    with database.reading() as connection:
        known = {info.name for info in segment_infos(connection)}
    return [
        path.name
        for path in _files(database.path.parent / DERIVED_FOLDER)
        if path.name not in known
    ]


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(folder.iterdir())


def _due(
    connection: sqlite3.Connection,
    sizes: DerivedSizes,
    *,
    full: bool,
    most_dead_share: float,
    damaged: frozenset[str],
) -> list[_Range]:
    infos = segment_infos(connection)
    last = infos[-1].last if infos else 0
    newest, n_new = connection.execute(
        "SELECT coalesce(max(row), 0), count(*) FROM chunk WHERE row > ?", (last,)
    ).fetchone()
    n_dead = {info.name: _n_dead(connection, info) for info in infos}
    late = late_rows(connection, read_manifest(connection).get(FILLED))
    n_late = {info.name: sum(info.first < row <= info.last for row in late) for info in infos}
    if full:
        touched = [
            info for info in infos if n_dead[info.name] or n_late[info.name] or info.name in damaged
        ]
        if not touched and not (n_new and infos) and n_new < sizes.first:
            return []
        first = touched[0].first if touched else last
        replaced = [info for info in infos if info.first >= first]
        return [_Range(first, max(newest, last), replaced)]
    due = [
        _Range(info.first, info.last, [info])
        for info in infos
        if info.name in damaged
        or n_dead[info.name] > most_dead_share * info.n
        or n_late[info.name] > _MAX_LATE_SHARE * info.n
    ]
    if n_new >= (sizes.more if infos else sizes.first):
        if infos and infos[-1].n < sizes.file and not (due and due[-1].last == last):
            due.append(_Range(infos[-1].first, newest, [infos[-1]]))
        else:
            due.append(_Range(last, newest))
    return due


def _n_dead(connection: sqlite3.Connection, info: SegmentInfo) -> int:
    found: int = connection.execute(
        "SELECT count(*) FROM tombstone WHERE row > ? AND row <= ?", (info.first, info.last)
    ).fetchone()[0]
    return found


def _first_rows(database: Database, first: int, last: int, n: int) -> list[int]:
    with database.reading() as connection:
        found = connection.execute(
            "SELECT row FROM chunk WHERE row > ? AND row <= ? ORDER BY row LIMIT ?",
            (first, last, n),
        )
        return [row for (row,) in found]


def _write(
    database: Database, first: int, last: int, *, revision: int, fingerprint: str | None
) -> SegmentInfo:
    with database.reading() as connection:
        with_vectors: list[int] = []
        if fingerprint is not None and faiss_library() is not None:
            found = connection.execute(
                "SELECT row FROM chunk WHERE row > ? AND row <= ? AND vector IS NOT NULL "
                "ORDER BY row",
                (first, last),
            )
            with_vectors = [row for (row,) in found]

        def batches() -> Iterator[Vectors]:
            for _, vectors in vector_batches(connection, first, last):
                yield vectors

        return write_segment(
            database.path.parent / DERIVED_FOLDER,
            rows=(first, last),
            postings=make_postings(connection.execute(TOKENS, (first, last))),
            with_vectors=with_vectors,
            batches=batches,
            generation=revision,
            fingerprint=fingerprint,
        )


def _name(database: Database, part: _Range, written: Sequence[SegmentInfo]) -> None:
    with database.writing() as connection:
        connection.executemany(
            "DELETE FROM segment WHERE name = ?", [(info.name,) for info in part.replaced]
        )
        connection.executemany(
            "INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?, ?, ?)",
            [(*astuple(info), checksum(*astuple(info))) for info in written],
        )
        for table in ("tombstone", "late_vector"):
            connection.execute(
                f"DELETE FROM {table} WHERE row > ? AND row <= ?",  # noqa: S608
                (part.first, part.last),
            )
