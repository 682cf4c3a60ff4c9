"""Rows of the store's tables as values: checked when read, sealed when written."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sqlite3
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, TypeVar

from ragkit.errors import StoreDamagedError
from ragkit.narrowing import is_object
from ragkit.storage.schema import checksum, schema_version, unsealed
from ragkit.storage.units import (
    location_of,
    packed_parts,
    packed_units,
    unpacked_parts,
    unpacked_units,
)
from ragkit.storage.values import StoredVectors, StoreSettings
from ragkit.trimming import PoolChunk
from ragkit.types import Chunk, Document, Hit, Json, Mark, MarkKind, Metadata, Part

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

_T = TypeVar("_T")

_compact = json.JSONEncoder(separators=(",", ":")).encode

_CHUNK = """chunk.row, chunk.id, chunk.document, start, end, n_tokens, chunk.sentences, chunk.marks,
  tokens, chunk.vector, substr(text, first_byte + 1, n_bytes)"""

CHUNK = f"{_CHUNK}, sentence_rows, chunk.checksum"
"""What `read_chunk` reads, of chunk and document joined."""

CHUNK_OF_2 = f"{_CHUNK}, NULL, chunk.checksum"
"""The same for a store of schema 2, whose sentence vectors are kept with those of chunks."""

N_CHUNK = 13

_SENTENCES = """
SELECT row, vector FROM sentence WHERE row IN (SELECT value FROM json_each(?))"""

MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)
"""What reading raises for a value whose checksum is right but which makes no sense: a checksum
detects corruption, not tampering."""

MOST_LISTED = 50_000
"""Marks and parts of a document that are stored as lists; more take too much memory for that."""

_SEGMENT_NAME = re.compile(r"[0-9]+-[0-9]+-[0-9]+\.segment")

DOCUMENT = """document.row, document.id, source, title, metadata, groups, sha256, fingerprint,
  language, document.marks, document.checksum"""
"""What `read_document` reads."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document's row without the text."""

    row: int
    id: str
    source: str
    title: str
    metadata: Metadata
    groups: tuple[str, ...]
    sha256: str
    marks: str

    def with_text(self, raw: object) -> Document:
        """Return the document.

        Raises:
            StoreDamagedError: the text is not the one that was stored.
        """
        import hashlib

        if not isinstance(raw, bytes) or hashlib.sha256(raw).hexdigest() != self.sha256:
            raise damaged_document(self.id)
        try:
            text, structure = decoded(raw), json.loads(self.marks)
            marks, parts = _structure(structure)
        except MALFORMED:
            raise damaged_document(self.id) from None
        return Document(
            id=self.id,
            source=self.source,
            title=self.title,
            text=text,
            metadata=self.metadata,
            groups=self.groups,
            marks=marks,
            parts=parts,
        )


def damaged_document(document_id: str) -> StoreDamagedError:
    """Return the error that names a document and the remedy, as a command that can be pasted."""
    dashes = "-- " if document_id.startswith("-") else ""
    return StoreDamagedError(
        f"document {document_id!r} is damaged. Remove it, then ingest it again: "
        f"ragkit rm {dashes}{shlex.quote(document_id)}"
    )


def damaged_chunk(chunk_id: object) -> StoreDamagedError:
    """Return the error that names a chunk and the remedy."""
    return StoreDamagedError(
        f"chunk {chunk_id} is damaged. Find what else is: ragkit doctor; then: ragkit rebuild"
    )


def read_document(fields: Sequence[object]) -> StoredDocument:
    """Return the document of a row of `DOCUMENT`.

    Raises:
        StoreDamagedError: it is not what was stored.
    """
    if checksum(*fields[:-1]) != fields[-1]:
        raise damaged_document(str(fields[1]))
    row, identity, source, title, metadata, groups, sha256, _, _, marks, _ = fields
    try:
        return StoredDocument(
            row=_of(int, row),
            id=_of(str, identity),
            source=_of(str, source),
            title=_of(str, title),
            metadata=_object(json.loads(_of(str, metadata))),
            groups=tuple(_of(str, name) for name in json.loads(_of(str, groups))),
            sha256=_of(str, sha256),
            marks=_of(str, marks),
        )
    except MALFORMED:
        raise damaged_document(str(identity)) from None


def chunk_columns(connection: sqlite3.Connection) -> str:
    """Return what `read_chunk` reads, as a store of this schema holds it."""
    return CHUNK_OF_2 if schema_version(connection) == 2 else CHUNK


def chunk_checksum(*fields: object) -> int:
    """Return the checksum of a chunk's row; without sentence vectors it is that of schema 2."""
    return checksum(*(fields[:-1] if fields[-1] is None else fields))


def read_chunk(document_id: str, fields: Sequence[object]) -> Chunk:
    """Return the chunk of a row of `CHUNK`.

    Raises:
        StoreDamagedError: it is not what was stored.
    """
    if chunk_checksum(*fields[:-1]) != fields[-1]:
        raise damaged_chunk(fields[1])
    _, identity, _, start, end, n_tokens, sentences, marks, _, _, text, _, _ = fields
    try:
        words, first = decoded(_of(bytes, text)), _of(int, start)
        spans, units = unpacked_units(json.loads(_of(str, sentences)), start=first, text=words)
        found = Chunk(
            id=_of(str, identity),
            document_id=document_id,
            start=first,
            end=_of(int, end),
            text=words,
            n_tokens=_of(int, n_tokens),
            sentences=spans,
            marks=_marks(json.loads(_of(str, marks))),
            units=units,
        )
    except MALFORMED:
        raise damaged_chunk(identity) from None
    if not all(found.start <= a <= b <= found.end for a, b in found.sentences):
        raise damaged_chunk(identity)
    return found


def _of(kind: type[_T], value: object) -> _T:
    """Return a value of exactly this type (`True` is not an int); else raise `TypeError`."""
    if type(value) is not kind:
        raise TypeError
    return value


def _object(value: object) -> dict[str, Json]:
    if not is_object(value):
        raise TypeError
    return value


def _are(kind: type, *values: object) -> bool:
    return all(type(value) is kind for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInfo:
    """A segment as the SQLite file names it: the rows after `first` up to `last`, of which n."""

    name: str
    first: int
    last: int
    n: int
    sha256: str


def segment_infos(connection: sqlite3.Connection) -> list[SegmentInfo]:
    """Return the segments that the store names, in order of their rows.

    Raises:
        StoreDamagedError: the list is not what was written; all segments must be rebuilt.
    """
    infos: list[SegmentInfo] = []
    for *values, check in connection.execute(
        "SELECT name, first, last, n, sha256, checksum FROM segment ORDER BY first"
    ):
        name, first, last, n, sha256 = values
        in_order = _are(int, first, last, n) and (infos[-1].last if infos else 0) <= first < last
        named = _are(str, name, sha256) and _SEGMENT_NAME.fullmatch(name)
        if checksum(*values) != check or not in_order or not named:
            raise StoreDamagedError("the list of derived files is damaged")
        infos.append(SegmentInfo(name=name, first=first, last=last, n=n, sha256=sha256))
    return infos


def late_rows(connection: sqlite3.Connection, filled: str | None) -> list[int]:
    """Return the chunks of derived files that got their vectors after their file was written.

    `filled` is what the manifest holds under `FILLED`: without it an older store may lack the
    table.
    """
    if filled is None:
        return []
    return [row for (row,) in connection.execute("SELECT row FROM late_vector ORDER BY row")]


def has_segments(connection: sqlite3.Connection) -> bool:
    """Whether there are segment files and numpy to read them."""
    found = connection.execute("SELECT 1 FROM segment LIMIT 1").fetchone()
    return found is not None and importlib.util.find_spec("numpy") is not None


def read_settings(text: str) -> StoreSettings:
    """Return the settings that a store was built with, from its manifest.

    Raises:
        StoreDamagedError: it makes no sense.
    """
    try:
        found = StoreSettings(**json.loads(text))
    except MALFORMED:
        raise StoreDamagedError("the store's settings are damaged: restore a backup") from None
    texts = (found.embedder, found.chunker, found.chunker_fingerprint,
             found.embedder_fingerprint or "")  # fmt: skip
    numbers = (found.chunk_tokens, found.chunk_overlap, 1 if found.dim is None else found.dim)
    flags = (found.embed_title, found.sentence_vectors)
    known = found.sentence_vector_kind in {None, "short", "full"}
    if not (known and _are(str, *texts) and _are(int, *numbers) and _are(bool, *flags)):
        raise StoreDamagedError("the store's settings are damaged: restore a backup")
    return found


def chunk_ids(connection: sqlite3.Connection, rows: Collection[int]) -> dict[int, str]:
    """Return the id of each of these rows."""
    found = connection.execute(
        "SELECT row, id FROM chunk WHERE row IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(rows)),),
    )
    return {row: str(chunk_id) for row, chunk_id in found}


def encoded(text: str) -> bytes:
    """Return text as stored: UTF-8, including lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def decoded(raw: bytes) -> str:
    """Return what `encoded` was given."""
    return raw.decode("utf-8", "surrogatepass")


def byte_offsets(
    text: str, chunks: Sequence[Chunk], known: tuple[int, int] = (0, 0)
) -> list[tuple[int, int]]:
    """Return (first byte, number of bytes) of each chunk, in one pass over the text.

    `known` are an offset before all of them and the number of bytes up to there.
    """
    edges = sorted({edge for chunk in chunks for edge in (chunk.start, chunk.end)})
    at = dict[int, int]()
    position, n_bytes = known
    for edge in edges:
        n_bytes += len(encoded(text[position:edge]))
        at[edge], position = n_bytes, edge
    return [(at[chunk.start], at[chunk.end] - at[chunk.start]) for chunk in chunks]


def marks_json(marks: Sequence[Mark]) -> str:
    """Return marks as stored."""
    return _compact(_packed_marks(marks)) if marks else "[]"


def structure_json(document: Document) -> str:
    """Return a document's marks and parts as stored."""
    if len(document.marks) + len(document.parts) > MOST_LISTED:
        from ragkit.storage.columns import packed_columns  # few documents are that large

        return _compact(packed_columns(document.marks, document.parts))
    if not document.parts:
        return marks_json(document.marks)
    parts = packed_parts(document.parts)
    return _compact({"marks": _packed_marks(document.marks), "parts": parts})


def units_json(chunk: Chunk) -> str:
    """Return the units of a chunk as stored."""
    if not chunk.units:
        return f"[{','.join([f'[{start},{end}]' for start, end in chunk.sentences])}]"
    return _compact(packed_units(chunk))


def _structure(stored: object) -> tuple[Sequence[Mark], Sequence[Part]]:
    if not is_object(stored):
        rows: Any = stored
        return _marks(rows), ()
    if "columns" in stored:
        from ragkit.storage.columns import unpacked_columns

        return unpacked_columns(stored)
    rows = stored["marks"]
    return _marks(rows), unpacked_parts(stored["parts"])


def _packed_marks(marks: Sequence[Mark]) -> list[Json]:
    return [[mark.start, mark.kind, mark.location.to_dict()] for mark in marks]


def _marks(rows: list[tuple[int, MarkKind, dict[str, Any]]]) -> tuple[Mark, ...]:
    if not all(_are(int, row[0]) and _are(str, *row[2].get("heading", ())) for row in rows):
        raise ValueError
    return tuple(
        Mark(
            start=start,
            kind=kind,
            location=location_of(place),
        )
        for start, kind, place in rows
    )


def join_vectors(parts: Sequence[Vectors]) -> Vectors:
    """Return the rows of all parts (at least one), in order."""
    import numpy as np

    joined: Vectors = np.concatenate(parts)
    return joined


def pack_vector(vector: Vector) -> bytes:
    """Return a chunk's vector as stored: float16, whose rounding error does not affect ranks."""
    import numpy as np

    packed: bytes = vector.astype(np.float16).tobytes()
    return packed


def unpack_vector(packed: bytes) -> Vector:
    """Return a stored vector as float32."""
    import numpy as np

    vector: Vector = np.frombuffer(packed, dtype=np.float16).astype(np.float32)
    return vector


def pack_sentences(vectors: Vectors) -> bytes:
    """Return sentences' vectors as stored: int8, each row scaled to its largest value.

    Only their direction matters, so the scale is not kept.
    """
    import numpy as np

    scale = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)
    packed: bytes = np.rint(vectors / scale * 127.0).astype(np.int8).tobytes()
    return packed


def as_sentence(packed: bytes) -> bytes:
    """Return a chunk's stored vector as that of a sentence of the same text is stored."""
    return pack_sentences(unpack_vector(packed)[None])


def joined_sentences(keys: Sequence[bytes], vectors: Mapping[bytes, StoredVectors]) -> bytes:
    """Return the vectors of a chunk's sentences, one after the other, as `pool_chunk` takes them.

    A sentence without a vector of its own takes that of a chunk of the same text.
    """
    parts: list[bytes] = []
    for stored in map(vectors.__getitem__, keys):
        if stored.sentence is not None:
            parts.append(stored.sentence)
        elif stored.chunk is not None:
            parts.append(as_sentence(stored.chunk))
    return b"".join(parts)


def text_key(fingerprint: str, text: str) -> bytes:
    """Return the key of a text's vectors: 16 bytes of a digest of the embedder and the text."""
    import hashlib  # loads OpenSSL, which is 4 MiB

    # As `json.dumps` writes the list of both.
    identity = f"[{encode_basestring_ascii(fingerprint)}, {encode_basestring_ascii(text)}]"
    return hashlib.sha256(identity.encode()).digest()[:16]


def pack_rows(rows: Sequence[int]) -> bytes:
    """Return the rows of a chunk's sentences as stored: 8 bytes each."""
    return struct.pack(f"<{len(rows)}q", *rows)


def unpack_rows(packed: object) -> tuple[int, ...]:
    """Return what `pack_rows` was given; nothing for what it cannot have made, such as None."""
    if not isinstance(packed, bytes) or len(packed) % 8:
        return ()
    return struct.unpack(f"<{len(packed) // 8}q", packed)


def sentence_vectors(
    connection: sqlite3.Connection, packed: Mapping[str, object]
) -> dict[str, bytes]:
    """Return the vectors of chunks' sentences, one after the other, where all are stored."""
    rows = {chunk_id: unpack_rows(value) for chunk_id, value in packed.items()}
    wanted = json.dumps([row for some in rows.values() for row in some])
    stored: dict[int, object] = dict(connection.execute(_SENTENCES, (wanted,)).fetchall())
    found: dict[str, bytes] = {}
    for chunk_id, some in rows.items():
        vectors = [stored[row] for row in some if row in stored]
        if len(vectors) == len(some) > 0:
            found[chunk_id] = b"".join([unsealed_vector(vector, chunk_id) for vector in vectors])
    return found


def unsealed_vector(vectors: object, chunk_id: str) -> bytes:
    """Return vectors of a chunk as they were sealed; the error names the chunk and the remedy."""
    try:
        return unsealed(vectors, "")
    except StoreDamagedError:
        raise StoreDamagedError(
            f"a vector of chunk {chunk_id} is damaged. Drop it, then make it again: "
            "ragkit doctor --repair; ragkit rebuild"
        ) from None


CHUNK_SHARE = 0.5
"""How much of its chunk's vector is added to a sentence's, which knows nothing of what it stands
in; chosen on calibration questions (benchmarks/vector_kinds.py). Stores of before there were kinds
go without, so that certificates made on them stay true."""


def pool_chunk(
    hit: Hit,
    terms: str,
    sentences: bytes | None,
    vector: Vector | None,
    *,
    of_chunk: bytes | None = None,
) -> PoolChunk:
    """Return a hit prepared for trimming.

    Args:
        hit: The hit.
        terms: Its index terms, one line per sentence.
        sentences: Its sentences' vectors, one after the other; None where any is missing.
        vector: The question's.
        of_chunk: The chunk's as stored, where it counts.
    """
    n_sentences = len(hit.chunk.sentences)
    if not _are(str, terms):
        raise damaged_chunk(hit.chunk.id)
    by_sentence = [line.split(" ") if line else [] for line in terms.split("\n")]
    by_sentence = (by_sentence + [[]] * n_sentences)[:n_sentences]
    if sentences is None or vector is None:
        return PoolChunk(hit=hit, terms=by_sentence)
    if len(sentences) % len(vector):
        raise damaged_chunk(hit.chunk.id)
    if len(sentences) // len(vector) != n_sentences:
        return PoolChunk(hit=hit, terms=by_sentence)
    whole = None if of_chunk is None else unpack_vector(of_chunk)
    return compared(hit, by_sentence, sentences, vector, of_chunk=whole)


def compared(
    hit: Hit,
    terms: Sequence[Sequence[str]],
    sentences: bytes,
    vector: Vector,
    *,
    of_chunk: Vector | None,
) -> PoolChunk:
    """Return a hit with the cosines of its sentences; arguments as of `pool_chunk`, unpacked."""
    rows = _unit_rows(sentences, len(vector))
    if of_chunk is not None:
        rows += CHUNK_SHARE * of_chunk
        _normalise(rows)
    near = rows.copy()
    near[1:] += rows[:-1]
    near[:-1] += rows[1:]
    _normalise(near)
    return PoolChunk(
        hit=hit,
        terms=terms,
        cosines=(rows @ vector).tolist(),
        window_cosines=(near @ vector).tolist(),
        with_chunk=of_chunk is not None,
    )


def mean_vector(sentences: bytes, lengths: Sequence[int], dim: int) -> Vector:
    """Return the direction of the mean of sentences' vectors, the longer ones weighing more."""
    import numpy as np

    mean: Vector = np.array(lengths, dtype=np.float32) @ _unit_rows(sentences, dim)
    mean /= max(float(np.linalg.norm(mean)), 1e-9)
    return mean


def _unit_rows(sentences: bytes, dim: int) -> Vectors:
    import numpy as np

    rows: Vectors = np.frombuffer(sentences, dtype=np.int8).reshape(-1, dim).astype(np.float32)
    _normalise(rows)
    return rows


def _normalise(rows: Vectors) -> None:
    import numpy as np

    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
