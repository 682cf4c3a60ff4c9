"""The tables of a store's SQLite file."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection

from ragkit.errors import StoreDamagedError

SCHEMA_VERSION = 3
OLDEST_READ = 2
"""Stores of this schema are read as they are; the first write migrates them."""

APPLICATION_ID = 0x7261676B
"""`ragk`, in SQLite's header: distinguishes a store from any other SQLite file."""

RESTORED = "restored"
"""Manifest key: the revision since which a chunk's row has meant the same chunk."""

FILLED = "filled"
"""Manifest key: the revision at which stored chunks last got vectors; absent if none ever did."""

_CRC_OF_SEALED = 0x2144DF1C
"""The CRC-32 of any bytes followed by their own CRC-32 is this number."""

_KEYS_AT_ONCE = 500
"""Keys per statement; SQLite takes 999 at least."""

UNSWEPT = "unswept"
"""Manifest key, present while the full-text index still holds words of removed chunks."""

WORDS_TABLE = """
CREATE VIRTUAL TABLE words USING fts5(
  tokens, content='chunk', content_rowid='row',
  tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* Co'"
);"""

# `text` is a BLOB: SQLite's text functions stop at a NUL, and lone surrogates are not valid text.
# Long columns come last: SQLite walks through a row to reach a column.
# AUTOINCREMENT: a chunk's row number is never reused, so derived files may refer to it.
CHUNK_TABLES = """
CREATE TABLE chunk(
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  document INTEGER NOT NULL REFERENCES document(row),
  vector INTEGER REFERENCES vector(row),
  start INTEGER NOT NULL,
  end INTEGER NOT NULL,
  first_byte INTEGER NOT NULL,
  n_bytes INTEGER NOT NULL,
  n_tokens INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  sentences TEXT NOT NULL,
  marks TEXT NOT NULL,
  tokens TEXT NOT NULL,
  sentence_rows BLOB
);
CREATE INDEX chunk_by_document ON chunk(document, start);
CREATE INDEX chunk_by_vector ON chunk(vector) WHERE vector IS NOT NULL;
CREATE INDEX document_by_language ON document(language);"""
MANIFEST = """
CREATE TABLE manifest(
  key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;"""
# Vectors of chunks and of distinct sentences, by the digest of what was embedded. AUTOINCREMENT: a
# chunk may name a vector that was damaged and has been deleted; no other may take its number.
VECTOR = """
CREATE TABLE {name}(
  row INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL
);"""
SENTENCES = f"""
{VECTOR.format(name="sentence")}
CREATE TABLE sentence_use(
  sentence INTEGER NOT NULL REFERENCES sentence(row),
  chunk INTEGER NOT NULL REFERENCES chunk(row),
  PRIMARY KEY (sentence, chunk)
) WITHOUT ROWID;"""
# Chunks of derived files that got their vectors after their file was written.
LATE_VECTORS = """
CREATE TABLE late_vector(row INTEGER PRIMARY KEY);"""
DERIVED = """
CREATE TABLE segment(
  name TEXT PRIMARY KEY,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  n INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE tombstone(row INTEGER PRIMARY KEY);"""

SCHEMA = f"""
{MANIFEST}
CREATE TABLE document(
  row INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL,
  title TEXT NOT NULL,
  text BLOB NOT NULL,
  metadata TEXT NOT NULL,
  groups TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  language TEXT,
  marks TEXT NOT NULL,
  checksum INTEGER NOT NULL
);
{CHUNK_TABLES}{VECTOR.format(name="vector")}{SENTENCES}{LATE_VECTORS}{DERIVED}{WORDS_TABLE}"""


def checksum(*values: object) -> int:
    """Return the CRC-32 of a row's values; it detects corruption, not tampering."""
    crc = 0
    for value in values:
        raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        crc = zlib.crc32(b"%s %d " % (type(value).__name__.encode(), len(raw)), crc)
        crc = zlib.crc32(raw, crc)
    return crc


def sealed(raw: bytes | None) -> bytes | None:
    """Return bytes followed by their CRC-32."""
    return None if raw is None else raw + zlib.crc32(raw).to_bytes(4, "little")


def unsealed(raw: object, what: str) -> bytes:
    """Return what `sealed` was given.

    Raises:
        StoreDamagedError: it has changed since.
    """
    if not isinstance(raw, bytes) or zlib.crc32(raw) != _CRC_OF_SEALED:
        raise StoreDamagedError(f"{what} is damaged")
    return raw[:-4]


def read_manifest(connection: sqlite3.Connection) -> dict[str, str]:
    """Return what the store says of itself.

    Raises:
        StoreDamagedError: it is not what was written.
    """
    values: dict[str, str] = {}
    for key, value, check in connection.execute("SELECT key, value, checksum FROM manifest"):
        if checksum(key, value) != check:
            raise StoreDamagedError("the store's manifest is damaged: restore it from a copy")
        values[key] = value
    number, protected = values.get("generation", ""), values.get("protected")
    if not (number.isascii() and number.isdigit()) or protected not in {"true", "false"}:
        raise StoreDamagedError("the store's manifest is cut short: restore it from a copy")
    return values


def write_manifest(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Set a key of the manifest, in the caller's transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO manifest VALUES (?, ?, ?)", (key, value, checksum(key, value))
    )


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the schema of the file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def stored_keys(connection: sqlite3.Connection, table: str, keys: Collection[bytes]) -> set[bytes]:
    """Return those of the keys that a table of vectors holds."""
    left, found = list(keys), set[bytes]()
    while left:
        some = left[-_KEYS_AT_ONCE:]
        del left[-_KEYS_AT_ONCE:]
        find = f"SELECT key FROM {table} WHERE key IN ({','.join('?' * len(some))})"  # noqa: S608
        found.update(key for (key,) in connection.execute(find, some))
    return found
