"""Vectors committed before the document that uses them, so that no interruption loses them.

They are rows of the store's tables of vectors that no chunk uses yet. The manifest says after which
rows they begin, and from which sources they come; all others that no chunk uses are left over.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from ragkit.errors import StoreDamagedError
from ragkit.storage.schema import read_manifest, write_manifest
from ragkit.storage.values import StoredVectors
from ragkit.storage.writing import store_vectors

_KEY = "ahead"

UNUSED = {
    "vector": "NOT EXISTS (SELECT 1 FROM chunk WHERE chunk.vector = vector.row)",
    "sentence": "NOT EXISTS (SELECT 1 FROM sentence_use WHERE sentence = sentence.row)",
}
"""Which rows of these tables no chunk uses."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The rows after which vectors committed ahead are found, and their documents' sources."""

    vector: int
    sentence: int
    sources: tuple[str, ...] = ()

    @property
    def rows(self) -> Mapping[str, int]:
        """Return the last row before them, by table."""
        return {"vector": self.vector, "sentence": self.sentence}


def read_ahead(connection: sqlite3.Connection) -> Ahead | None:
    """Return where vectors committed ahead are; None if there are none."""
    stored = read_manifest(connection).get(_KEY)
    if stored is None:
        return None
    try:
        values = json.loads(stored)
        sources = tuple(map(str, values["sources"]))
        return Ahead(int(values["vector"]), int(values["sentence"]), sources)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreDamagedError(f"the store's entry {_KEY!r} is damaged: {error}") from error


def commit_ahead(
    connection: sqlite3.Connection, vectors: Mapping[bytes, StoredVectors], source: str
) -> None:
    """Store vectors of a document that is to follow, in the caller's transaction."""
    ahead = read_ahead(connection) or Ahead(
        _newest(connection, "vector"), _newest(connection, "sentence")
    )
    if source not in ahead.sources:
        ahead = Ahead(ahead.vector, ahead.sentence, (*ahead.sources, source))
        write_manifest(connection, _KEY, json.dumps(asdict(ahead)))
    store_vectors(connection, vectors)


def drop_ahead(connection: sqlite3.Connection, is_due: Callable[[str], bool]) -> None:
    """Delete the vectors committed ahead that no chunk uses, if all their sources are due."""
    ahead = read_ahead(connection)
    if ahead is None:
        return
    left = tuple(source for source in ahead.sources if not is_due(source))
    if left:
        kept = Ahead(ahead.vector, ahead.sentence, left)
        write_manifest(connection, _KEY, json.dumps(asdict(kept)))
        return
    for table, row in ahead.rows.items():
        connection.execute(f"DELETE FROM {table} WHERE row > ? AND {UNUSED[table]}", (row,))  # noqa: S608
    connection.execute("DELETE FROM manifest WHERE key = ?", (_KEY,))


def _newest(connection: sqlite3.Connection, table: str) -> int:
    (row,) = connection.execute(f"SELECT coalesce(max(row), 0) FROM {table}").fetchone()  # noqa: S608
    return int(row)
