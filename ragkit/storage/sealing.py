"""A checksum over the full-text index, compared before questions are answered from it.

FTS5 checks little of what it reads: a flipped bit in its pages gives other hits, not an error.
The seal names its revision, so every later write voids it.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping

from ragkit.errors import StoreDamagedError
from ragkit.storage.schema import read_manifest, write_manifest

_KEY = "words_seal"
_CONTENT = (
    "SELECT id, block FROM words_data ORDER BY id",
    "SELECT segid, term, pgno FROM words_idx ORDER BY segid, term",
    "SELECT id, sz FROM words_docsize ORDER BY id",
)
"""All that FTS5 keeps and reads when it ranks (SQLite documentation, "FTS5: shadow tables")."""


def seal_full_text(connection: sqlite3.Connection) -> None:
    """Record the checksum of the full-text index, as the last change of a write."""
    revision = int(read_manifest(connection)["generation"]) + 1
    write_manifest(connection, _KEY, f"{revision} {_checksum(connection)}")


def check_full_text(connection: sqlite3.Connection, manifest: Mapping[str, str]) -> None:
    """Compare the full-text index with its seal, if that is of this revision.

    Raises:
        StoreDamagedError: it has changed since.
    """
    revision, _, check = manifest.get(_KEY, "").partition(" ")
    if revision == manifest["generation"] and check != str(_checksum(connection)):
        raise StoreDamagedError(
            "the full-text index is damaged. Rebuild it with: ragkit doctor --repair"
        )


def _checksum(connection: sqlite3.Connection) -> int:
    crc = 0
    for query in _CONTENT:
        for row in connection.execute(query):
            for value in row:
                raw = value if isinstance(value, bytes) else str(value).encode()
                crc = zlib.crc32(raw, crc)
    return crc
