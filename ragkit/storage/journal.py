"""What ingests keep in a store beside documents: inputs that failed, vectors committed ahead."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping

from ragkit.storage.ahead import commit_ahead, drop_ahead, read_ahead
from ragkit.storage.database import Database
from ragkit.storage.schema import checksum
from ragkit.storage.values import StoredVectors
from ragkit.types import Failure

# Made by the first failure; nothing else in a store, of any version, refers to it.
_FAILURES = """
CREATE TABLE IF NOT EXISTS failure(
  source TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  code TEXT NOT NULL,
  detail TEXT NOT NULL,
  checksum INTEGER NOT NULL,
  PRIMARY KEY (source, fingerprint)
) WITHOUT ROWID"""


class IngestJournal:
    """The journal of a store in a folder; who writes to it is the store's only writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def failures(self) -> list[Failure]:
        """Return the inputs that failed; a damaged entry is left out, so that it is tried again."""

        def read() -> list[Failure]:
            with self._database.reading() as connection:
                return _failures(connection)

        return self._database.in_one_state(read)

    def note_failures(self, new: Iterable[Failure], *, forgotten: Iterable[Failure]) -> None:
        """Remember failures, which have fingerprints, and forget others."""
        rows = [(f.source, f.fingerprint, f.code, f.detail) for f in new]
        with self._database.writing() as connection:
            connection.execute(_FAILURES)
            connection.executemany(
                "DELETE FROM failure WHERE source = ? AND fingerprint = ?",
                [(failure.source, failure.fingerprint) for failure in forgotten],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO failure VALUES (?, ?, ?, ?, ?)",
                [(*row, checksum(*row)) for row in rows],
            )

    def commit_ahead(self, vectors: Mapping[bytes, StoredVectors], source: str) -> None:
        """Commit vectors of a document of this source, which is to be written when all are made."""
        with self._database.writing() as connection:
            commit_ahead(connection, vectors, source)

    def drop_ahead(self, is_due: Callable[[str], bool]) -> None:
        """Delete the vectors committed ahead that no chunk uses, if all their sources are due."""
        with self._database.reading() as connection:
            if read_ahead(connection) is None:
                return
        with self._database.writing() as connection:
            drop_ahead(connection, is_due)


def _failures(connection: sqlite3.Connection) -> list[Failure]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'failure'").fetchone():
        return []
    return [
        Failure(source=source, fingerprint=fingerprint, code=code, detail=detail)
        for source, fingerprint, code, detail, check in connection.execute(
            "SELECT source, fingerprint, code, detail, checksum FROM failure"
        )
        if checksum(source, fingerprint, code, detail) == check
    ]
