"""Bringing a store's file from an older schema to the current one, in the caller's transaction.

Nothing is embedded: vectors get the keys of the texts that they were made from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ragkit.errors import StoreDamagedError
from ragkit.storage.rows import CHUNK_OF_2, N_CHUNK, chunk_checksum, read_chunk, read_settings
from ragkit.storage.schema import (
    CHUNK_TABLES,
    DERIVED,
    LATE_VECTORS,
    MANIFEST,
    SCHEMA_VERSION,
    SENTENCES,
    VECTOR,
    checksum,
    read_manifest,
    schema_version,
    sealed,
    unsealed,
)
from ragkit.storage.values import StoreSettings
from ragkit.storage.vectors import pack_rows, text_key
from ragkit.types import Chunk

_BATCH = 256

# The vectors are those of schema 2, so that what comes next is the same for both.
_FROM_1 = f"""
ALTER TABLE manifest RENAME TO old_manifest;
{MANIFEST}
INSERT INTO manifest SELECT key, value, checksum_of(key, value) FROM old_manifest;
DROP TABLE old_manifest;
ALTER TABLE document ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE document SET checksum = checksum_of(
  row, id, source, title, metadata, groups, sha256, fingerprint, language, marks);
ALTER TABLE chunk RENAME TO old_chunk;
ALTER TABLE vector RENAME TO old_vector;
DROP INDEX chunk_by_document;
DROP INDEX chunk_by_vector;
CREATE TABLE vector(
  row INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL, sentences BLOB
);
INSERT INTO vector(key, vector, sentences)
  SELECT key, sealed(vector), sealed(sentences) FROM old_vector;
{CHUNK_TABLES}
INSERT INTO chunk SELECT c.row, c.id, c.document, v.row, c.start, c.end, c.first_byte, c.n_bytes,
  c.n_tokens, checksum_of(c.row, c.id, c.document, c.start, c.end, c.n_tokens, c.sentences, c.marks,
    c.tokens, v.row, substr(d.text, c.first_byte + 1, c.n_bytes)), c.sentences, c.marks, c.tokens,
  NULL
  FROM old_chunk c JOIN document d ON d.row = c.document
  LEFT JOIN vector v ON v.key = c.vector_key;
DROP TABLE old_chunk;
DROP TABLE old_vector;
{DERIVED}"""  # noqa: S608

_WITH_VECTORS = f"""
SELECT {CHUNK_OF_2}, document.id, title, vector.key, vector.vector, vector.sentences FROM chunk
JOIN document ON document.row = chunk.document JOIN vector ON vector.row = chunk.vector
WHERE chunk.row > ? ORDER BY chunk.row LIMIT {_BATCH}"""  # noqa: S608 (names of columns)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a store to the current schema; the caller's connection overwrites what it deletes."""
    version = schema_version(connection)
    if version == 1:
        connection.create_function("checksum_of", -1, checksum, deterministic=True)
        connection.create_function("sealed", 1, sealed, deterministic=True)
        _run(connection, _FROM_1)
    elif version == 2:
        connection.execute("ALTER TABLE chunk ADD COLUMN sentence_rows BLOB")
    if version < SCHEMA_VERSION:
        _key_vectors_by_text(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _run(connection: sqlite3.Connection, statements: str) -> None:
    """Execute statements one by one: `executescript` would commit first."""
    for statement in statements.split(";"):
        connection.execute(statement)


@dataclass(frozen=True, slots=True)
class _Old:
    """A chunk of schema 2 with its vector and those of its sentences, all as stored."""

    fields: Sequence[object]
    document_id: str
    title: str
    key: bytes
    vector: bytes
    sentences: bytes | None

    @property
    def vector_row(self) -> object:
        return self.fields[9]

    def chunk(self) -> Chunk | None:
        """Return the chunk; None if it is damaged."""
        try:
            return read_chunk(self.document_id, self.fields)
        except StoreDamagedError:
            return None


def _key_vectors_by_text(connection: sqlite3.Connection) -> None:
    _run(connection, f"{VECTOR.format(name='new_vector')}{SENTENCES}{LATE_VECTORS}")
    settings = read_manifest(connection).get("settings")
    if settings is not None:
        for old in _with_vectors(connection):
            _move(connection, old, read_settings(settings))
    # In this order, the new table is the one that chunks refer to.
    connection.execute("DROP TABLE vector")
    connection.execute("ALTER TABLE new_vector RENAME TO vector")


def _with_vectors(connection: sqlite3.Connection) -> Iterator[_Old]:
    newest = 0
    while rows := connection.execute(_WITH_VECTORS, (newest,)).fetchall():
        newest = rows[-1][0]
        for row in rows:
            yield _Old(row[:N_CHUNK], *row[N_CHUNK:])


def _move(connection: sqlite3.Connection, old: _Old, settings: StoreSettings) -> None:
    """Give a chunk's vectors their keys.

    What is damaged stays so: its key is found by no text. The same holds for a second vector of
    one text, which bounds of sentences made differ.
    """
    chunk, fingerprint = old.chunk(), settings.embedder_fingerprint
    insert = "INSERT OR IGNORE INTO new_vector VALUES (?, ?, ?)"
    if chunk is not None and fingerprint is not None:
        text = f"{old.title} {chunk.text}" if settings.embed_title else chunk.text
        key = text_key(fingerprint, text)
        connection.execute(insert, (old.vector_row, key, old.vector))
        _move_sentences(connection, old, chunk, settings)
    connection.execute(insert, (old.vector_row, old.key, old.vector))


def _move_sentences(
    connection: sqlite3.Connection, old: _Old, chunk: Chunk, settings: StoreSettings
) -> None:
    texts = [chunk.text[a - chunk.start : b - chunk.start] for a, b in chunk.sentences]
    if len(texts) == 1 and not settings.embed_title and texts != [chunk.text]:
        return  # It was the vector of the chunk.
    vectors = _split(old.sentences, len(texts), settings.dim or 0)
    if not vectors:
        return
    rows: list[int] = []
    for text, vector in zip(texts, vectors, strict=True):
        key = text_key(settings.embedder_fingerprint or "", text)
        connection.execute(
            "INSERT OR IGNORE INTO sentence(key, vector) VALUES (?, ?)", (key, sealed(vector))
        )
        rows += connection.execute("SELECT row FROM sentence WHERE key = ?", (key,)).fetchone()
    packed = pack_rows(rows)
    connection.execute(
        "UPDATE chunk SET sentence_rows = ?, checksum = ? WHERE row = ?",
        (packed, chunk_checksum(*old.fields[:-2], packed), old.fields[0]),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO sentence_use VALUES (?, ?)", [(row, old.fields[0]) for row in rows]
    )


def _split(packed: bytes | None, n: int, dim: int) -> list[bytes]:
    """Return n vectors of a chunk's sentences; none where they are missing or damaged."""
    try:
        raw = unsealed(packed, "")
    except StoreDamagedError:
        return []
    if not n or len(raw) != n * dim:
        return []
    return [raw[i : i + dim] for i in range(0, len(raw), dim)]
