"""Writing documents and their chunks, and removing them, in the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence

from ragkit.storage.rows import byte_offsets, encoded, marks_json
from ragkit.storage.schema import UNSWEPT, checksum, sealed, write_manifest
from ragkit.storage.values import PreparedDocument, StoredVectors


def write_documents(
    connection: sqlite3.Connection,
    prepared: Sequence[PreparedDocument],
    vectors: Mapping[bytes, StoredVectors],
) -> bool:
    """Store documents with their chunks and return whether any replaced an older one."""
    connection.executemany(
        "INSERT OR IGNORE INTO vector VALUES (NULL, ?, ?, ?)",
        [(key, sealed(v.chunk), sealed(v.sentences)) for key, v in vectors.items()],
    )
    unused: set[int] = set()
    has_replaced = False
    for item in prepared:
        if item.document.groups:
            write_manifest(connection, "protected", "true")
        row = _row_of(connection, item.document.id)
        if row is None:
            (newest,) = connection.execute("SELECT coalesce(max(row), 0) FROM document").fetchone()
            row = newest + 1
        else:
            has_replaced = True
            unused |= _delete_document(connection, row)
        _insert_document(connection, row, item)
        _insert_chunks(connection, row, item)
    _delete_unused_vectors(connection, unused)
    return has_replaced


def delete_documents(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    """Delete documents with their chunks and return the ids that were there."""
    deleted: list[str] = []
    unused: set[int] = set()
    for document_id in ids:
        row = _row_of(connection, document_id)
        if row is not None:
            unused |= _delete_document(connection, row)
            deleted.append(document_id)
    _delete_unused_vectors(connection, unused)
    return deleted


def sweep_full_text(connection: sqlite3.Connection) -> None:
    """Merge the full-text index into one part: until then it holds words of deleted chunks."""
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")
    connection.execute("DELETE FROM manifest WHERE key = ?", (UNSWEPT,))


def delete_segments(connection: sqlite3.Connection) -> None:
    """Forget the derived files, and with them which of their chunks were removed."""
    connection.execute("DELETE FROM segment")
    connection.execute("DELETE FROM tombstone")


def _row_of(connection: sqlite3.Connection, document_id: str) -> int | None:
    found = connection.execute("SELECT row FROM document WHERE id = ?", (document_id,)).fetchone()
    return None if found is None else int(found[0])


def _insert_document(connection: sqlite3.Connection, row: int, item: PreparedDocument) -> None:
    document = item.document
    raw = encoded(document.text)
    import hashlib  # loads OpenSSL, which is 4 MiB

    fields = (
        row,
        document.id,
        document.source,
        document.title,
        json.dumps(document.metadata),
        json.dumps(document.groups),
        hashlib.sha256(raw).hexdigest(),
        item.fingerprint,
        item.language,
        marks_json(document.marks),
    )
    connection.execute(
        "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*fields[:4], raw, *fields[4:], checksum(*fields)),
    )


def _insert_chunks(connection: sqlite3.Connection, document: int, item: PreparedDocument) -> None:
    text = item.document.text
    newest: int = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'chunk'"
    ).fetchone()[0]
    offsets = byte_offsets(text, item.chunks)
    for row, (chunk, terms, key, (first_byte, n_bytes)) in enumerate(
        zip(item.chunks, item.terms, item.vector_keys, offsets, strict=True), start=newest + 1
    ):
        vector = None
        if key is not None:
            (vector,) = connection.execute(
                "SELECT row FROM vector WHERE key = ?", (key,)
            ).fetchone()
        sentences = json.dumps(chunk.sentences, separators=(",", ":"))
        long = (sentences, marks_json(chunk.marks), terms)
        whose, span, n_tokens = (row, chunk.id, document), (chunk.start, chunk.end), chunk.n_tokens
        raw = encoded(text[chunk.start : chunk.end])
        check = checksum(*whose, *span, n_tokens, *long, vector, raw)
        connection.execute(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*whose, vector, *span, first_byte, n_bytes, n_tokens, check, *long),
        )
        connection.execute("INSERT INTO words(rowid, tokens) VALUES (?, ?)", (row, terms))


def _delete_document(connection: sqlite3.Connection, document: int) -> set[int]:
    """Delete a document with its chunks and return the vectors that they used."""
    rows = connection.execute(
        "SELECT row, tokens, vector FROM chunk WHERE document = ?", (document,)
    ).fetchall()
    connection.executemany(
        "INSERT INTO words(words, rowid, tokens) VALUES ('delete', ?, ?)",
        [row[:2] for row in rows],
    )
    connection.execute(
        "INSERT INTO tombstone SELECT row FROM chunk WHERE document = ? "
        "AND row <= (SELECT max(last) FROM segment)",
        (document,),
    )
    connection.execute("DELETE FROM chunk WHERE document = ?", (document,))
    connection.execute("DELETE FROM document WHERE row = ?", (document,))
    write_manifest(connection, UNSWEPT, "true")
    return {row[2] for row in rows if row[2] is not None}


def _delete_unused_vectors(connection: sqlite3.Connection, rows: Collection[int]) -> None:
    connection.executemany(
        "DELETE FROM vector WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM chunk WHERE vector = ?1)",
        [(row,) for row in rows],
    )
