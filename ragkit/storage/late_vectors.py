"""Chunks that are stored without a vector, and giving them theirs; the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from ragkit.storage.rows import CHUNK, chunk_checksum, chunk_columns, read_chunk
from ragkit.storage.schema import FILLED, read_manifest, write_manifest
from ragkit.storage.values import FilledChunk, StoredVectors, WaitingChunk
from ragkit.storage.writing import store_vectors, use_sentences, vector_row

# From the newest row down, so that a caller who passes the last row reads none twice.
_WAITING = """
document.id, title FROM chunk JOIN document ON document.row = chunk.document
WHERE chunk.vector IS NULL AND chunk.row < ? ORDER BY chunk.row DESC LIMIT ?"""
_CHUNK = f"""
SELECT {CHUNK} FROM chunk JOIN document ON document.row = chunk.document
WHERE chunk.row = ?"""  # noqa: S608
_MOST_ROWS = 2**63 - 1


def waiting_chunks(
    connection: sqlite3.Connection, n: int, before: int | None
) -> list[WaitingChunk]:
    """Return the n newest chunks without a vector, or the n newest before a row, newest first."""
    found = connection.execute(
        f"SELECT {chunk_columns(connection)}, {_WAITING}",
        (_MOST_ROWS if before is None else before, n),
    )
    return [
        WaitingChunk(row=fields[0], title=title, chunk=read_chunk(document_id, fields))
        for *fields, document_id, title in found
    ]


def fill_vectors(
    connection: sqlite3.Connection,
    filled: Sequence[FilledChunk],
    vectors: Mapping[bytes, StoredVectors],
) -> None:
    """Give stored chunks their vectors, and note what readers have to read again."""
    store_vectors(connection, vectors)
    for chunk in filled:
        row = vector_row(connection, chunk.key)
        sentence_rows = use_sentences(connection, chunk.row, chunk.sentence_keys)
        fields = connection.execute(_CHUNK, (chunk.row,)).fetchone()
        *given, _, text, _, _ = fields
        check = chunk_checksum(*given, row, text, sentence_rows)
        connection.execute(
            "UPDATE chunk SET vector = ?, sentence_rows = ?, checksum = ? WHERE row = ?",
            (row, sentence_rows, check, chunk.row),
        )
    connection.executemany(
        "INSERT OR IGNORE INTO late_vector SELECT ?1 WHERE ?1 <= (SELECT max(last) FROM segment)",
        [(chunk.row,) for chunk in filled],
    )
    # A committed write adds 1 to the revision.
    revision = int(read_manifest(connection)["generation"]) + 1
    write_manifest(connection, FILLED, str(revision))
