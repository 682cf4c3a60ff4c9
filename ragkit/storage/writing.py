"""Writing documents and their chunks, and removing them, in the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ragkit.storage.rows import (
    byte_offsets,
    chunk_checksum,
    encoded,
    marks_json,
    structure_json,
    units_json,
)
from ragkit.storage.schema import UNSWEPT, checksum, sealed, unsealed, write_manifest
from ragkit.storage.values import PreparedDocument, StoredVectors
from ragkit.storage.vectors import as_sentence, pack_rows, unpack_rows

PIECE_CHARACTERS = 2**20


@dataclass(slots=True)
class _Left:
    """Rows of vectors and sentences that deleted chunks used."""

    vectors: set[int] = field(default_factory=set[int])
    sentences: set[int] = field(default_factory=set[int])


def write_documents(
    connection: sqlite3.Connection,
    prepared: Sequence[PreparedDocument],
    vectors: Mapping[bytes, StoredVectors],
) -> bool:
    """Store documents with their chunks and return whether any replaced an older one."""
    store_vectors(connection, vectors)
    left = _Left()
    has_replaced = False
    (newest,) = connection.execute("SELECT coalesce(max(row), 0) FROM document").fetchone()
    for item in prepared:
        if item.document.groups:
            write_manifest(connection, "protected", "true")
        row = _row_of(connection, item.document.id)
        if row is None:
            row = newest = newest + 1
        else:
            has_replaced = True
            _delete_document(connection, row, left)
        _insert_document(connection, row, item)
        known = 0, 0
        for portion in item.portions():
            known = _insert_chunks(connection, row, portion, known)
    _delete_unused(connection, left)
    return has_replaced


def delete_documents(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    """Delete documents with their chunks and return the ids that were there."""
    deleted: list[str] = []
    left = _Left()
    for document_id in ids:
        row = _row_of(connection, document_id)
        if row is not None:
            _delete_document(connection, row, left)
            deleted.append(document_id)
    _delete_unused(connection, left)
    return deleted


def store_vectors(connection: sqlite3.Connection, vectors: Mapping[bytes, StoredVectors]) -> None:
    """Store vectors by key, those that are not there yet; chunks are to name them."""
    connection.executemany(
        "INSERT OR IGNORE INTO vector(key, vector) VALUES (?, ?)",
        [(key, sealed(v.chunk)) for key, v in vectors.items() if v.chunk is not None],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO sentence(key, vector) VALUES (?, ?)",
        [(key, sealed(v.sentence)) for key, v in vectors.items() if v.sentence is not None],
    )


def vector_row(connection: sqlite3.Connection, key: bytes | None) -> int | None:
    """Return the row of a chunk's vector, which is stored; None without a key."""
    if key is None:
        return None
    (row,) = connection.execute("SELECT row FROM vector WHERE key = ?", (key,)).fetchone()
    return int(row)


def use_sentences(
    connection: sqlite3.Connection, chunk: int, keys: Sequence[bytes] | None
) -> bytes | None:
    """Note which vectors of sentences a chunk uses, and return their rows as stored.

    A sentence without a vector of its own takes that of a chunk of the same text.
    """
    if keys is None:
        return None
    rows: list[int] = []
    for key in keys:
        found = connection.execute("SELECT row FROM sentence WHERE key = ?", (key,)).fetchone()
        rows.append(_from_chunk(connection, key) if found is None else found[0])
    connection.executemany(
        "INSERT OR IGNORE INTO sentence_use VALUES (?, ?)", [(row, chunk) for row in rows]
    )
    return pack_rows(rows)


def _from_chunk(connection: sqlite3.Connection, key: bytes) -> int:
    (stored,) = connection.execute("SELECT vector FROM vector WHERE key = ?", (key,)).fetchone()
    what = "a vector that is needed (drop it: ragkit doctor --repair)"
    packed = as_sentence(unsealed(stored, what))
    cursor = connection.execute(
        "INSERT INTO sentence(key, vector) VALUES (?, ?)", (key, sealed(packed))
    )
    return int(cursor.lastrowid or 0)


def sweep_full_text(connection: sqlite3.Connection) -> None:
    """Merge the full-text index into one part: until then it holds words of deleted chunks."""
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")
    connection.execute("DELETE FROM manifest WHERE key = ?", (UNSWEPT,))


def delete_segments(connection: sqlite3.Connection) -> None:
    """Forget the derived files, and with them which of their chunks were removed."""
    connection.execute("DELETE FROM segment")
    connection.execute("DELETE FROM tombstone")
    connection.execute("DELETE FROM late_vector")


def _row_of(connection: sqlite3.Connection, document_id: str) -> int | None:
    found = connection.execute("SELECT row FROM document WHERE id = ?", (document_id,)).fetchone()
    return None if found is None else int(found[0])


def _insert_document(connection: sqlite3.Connection, row: int, item: PreparedDocument) -> None:
    document = item.document
    import hashlib  # loads OpenSSL, which is 4 MiB

    pieces = range(0, len(document.text), PIECE_CHARACTERS)
    digest, n_bytes = hashlib.sha256(), 0
    for at in pieces:
        raw = encoded(document.text[at : at + PIECE_CHARACTERS])
        digest.update(raw)
        n_bytes += len(raw)
    fields = (
        row,
        document.id,
        document.source,
        document.title,
        json.dumps(document.metadata),
        json.dumps(document.groups),
        digest.hexdigest(),
        item.fingerprint,
        item.language,
        structure_json(document),
    )
    connection.execute(
        "INSERT INTO document VALUES (?, ?, ?, ?, zeroblob(?), ?, ?, ?, ?, ?, ?, ?)",
        (*fields[:4], n_bytes, *fields[4:], checksum(*fields)),
    )
    # At once it would be held four times.
    with connection.blobopen("document", "text", row) as blob:
        for at in pieces:
            blob.write(encoded(document.text[at : at + PIECE_CHARACTERS]))


def _insert_chunks(
    connection: sqlite3.Connection, document: int, item: PreparedDocument, known: tuple[int, int]
) -> tuple[int, int]:
    """Store the chunks of a portion; `known` is as `byte_offsets` has it, also that of the next."""
    text = item.document.text
    newest: int = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'chunk'"
    ).fetchone()[0]
    offsets = byte_offsets(text, item.chunks, known)
    keys: Sequence[Sequence[bytes] | None] = item.sentence_keys or [None] * len(item.chunks)
    for row, (chunk, terms, key, of_sentences, (first_byte, n_bytes)) in enumerate(
        zip(item.chunks, item.terms, item.vector_keys, keys, offsets, strict=True),
        start=newest + 1,
    ):
        vector = vector_row(connection, key)
        sentence_rows = use_sentences(connection, row, of_sentences)
        long = (units_json(chunk), marks_json(chunk.marks), terms)
        whose, span, n_tokens = (row, chunk.id, document), (chunk.start, chunk.end), chunk.n_tokens
        raw = encoded(text[chunk.start : chunk.end])
        check = chunk_checksum(*whose, *span, n_tokens, *long, vector, raw, sentence_rows)
        connection.execute(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*whose, vector, *span, first_byte, n_bytes, n_tokens, check, *long, sentence_rows),
        )
        connection.execute("INSERT INTO words(rowid, tokens) VALUES (?, ?)", (row, terms))
    return (item.chunks[-1].start, offsets[-1][0]) if item.chunks else known


def _delete_document(connection: sqlite3.Connection, document: int, left: _Left) -> None:
    """Delete a document with its chunks and note the vectors that they used."""
    rows = connection.execute(
        "SELECT row, tokens, vector, sentence_rows FROM chunk WHERE document = ?", (document,)
    )
    for chunk, tokens, vector, packed in rows:
        connection.execute(
            "INSERT INTO words(words, rowid, tokens) VALUES ('delete', ?, ?)", (chunk, tokens)
        )
        sentences = unpack_rows(packed)
        connection.executemany(
            "DELETE FROM sentence_use WHERE sentence = ? AND chunk = ?",
            [(sentence, chunk) for sentence in sentences],
        )
        left.sentences.update(sentences)
        if vector is not None:
            left.vectors.add(vector)
    connection.execute(
        "INSERT INTO tombstone SELECT row FROM chunk WHERE document = ? "
        "AND row <= (SELECT max(last) FROM segment)",
        (document,),
    )
    connection.execute("DELETE FROM chunk WHERE document = ?", (document,))
    connection.execute("DELETE FROM document WHERE row = ?", (document,))
    write_manifest(connection, UNSWEPT, "true")


def _delete_unused(connection: sqlite3.Connection, left: _Left) -> None:
    connection.executemany(
        "DELETE FROM vector WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM chunk WHERE vector = ?1)",
        [(row,) for row in left.vectors],
    )
    connection.executemany(
        "DELETE FROM sentence WHERE row = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM sentence_use WHERE sentence = ?1)",
        [(row,) for row in left.sentences],
    )
