"""Rows of the store's tables as values: checked when read, sealed when written."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ragkit.errors import StoreDamagedError
from ragkit.storage.schema import checksum, unsealed
from ragkit.storage.values import StoreSettings
from ragkit.trimming import PoolChunk
from ragkit.types import Chunk, Document, Hit, Location, Mark, MarkKind, Metadata, Span

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

CHUNK = """chunk.row, chunk.id, chunk.document, start, end, n_tokens, sentences, chunk.marks,
  tokens, chunk.vector, substr(text, first_byte + 1, n_bytes), chunk.checksum"""
"""What `read_chunk` reads, of chunk and document joined."""

N_CHUNK = 12

MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)
"""What reading a value raises that has a sound checksum and makes no sense: a checksum tells a
flipped bit, not whoever made the store."""

_SEGMENT_NAME = re.compile(r"[0-9]+-[0-9]+-[0-9]+\.segment")

DOCUMENT = """document.row, document.id, source, title, metadata, groups, sha256, fingerprint,
  language, document.marks, document.checksum"""
"""What `read_document` reads."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document's row without its text."""

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
            text, marks = decoded(raw), _marks(self.marks)
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
        )


def damaged_document(document_id: str) -> StoreDamagedError:
    """Return the error that names a document and the way out, which may be pasted as it is."""
    dashes = "-- " if document_id.startswith("-") else ""
    return StoreDamagedError(
        f"document {document_id!r} is damaged. Remove it, then ingest it again: "
        f"ragkit rm {dashes}{shlex.quote(document_id)}"
    )


def damaged_chunk(chunk_id: object) -> StoreDamagedError:
    """Return the error that names a chunk and the way out."""
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
    row, id_, source, title, metadata, groups, sha256, _, _, marks = cast(
        "tuple[int, str, str, str, str, str, str, str, str | None, str]", tuple(fields[:-1])
    )
    try:
        names: list[str] = json.loads(groups)
        found = StoredDocument(
            row=row,
            id=id_,
            source=source,
            title=title,
            metadata=json.loads(metadata),
            groups=tuple(names),
            sha256=sha256,
            marks=marks,
        )
    except MALFORMED:
        raise damaged_document(str(id_)) from None
    if not _are(str, id_, source, title, sha256, marks, *names) or not _are(dict, found.metadata):
        raise damaged_document(str(id_))
    return found


def read_chunk(document_id: str, fields: Sequence[object]) -> Chunk:
    """Return the chunk of a row of `CHUNK`.

    Raises:
        StoreDamagedError: it is not what was stored.
    """
    if checksum(*fields[:-1]) != fields[-1]:
        raise damaged_chunk(fields[1])
    _, chunk_id, _, start, end, n_tokens, sentences, marks, _, _, text = cast(
        "tuple[int, str, int, int, int, int, str, str, str, int | None, bytes]", tuple(fields[:-1])
    )
    try:
        spans: list[Span] = [(a, b) for a, b in json.loads(sentences)]
        found = Chunk(
            id=chunk_id,
            document_id=document_id,
            start=start,
            end=end,
            text=decoded(text),
            n_tokens=n_tokens,
            sentences=tuple(spans),
            marks=_marks(marks),
        )
    except MALFORMED:
        raise damaged_chunk(chunk_id) from None
    edges = [edge for span in spans for edge in span]
    if not _are(str, chunk_id) or not _are(int, start, end, n_tokens, *edges):
        raise damaged_chunk(chunk_id)
    if not all(start <= a <= b <= end for a, b in spans):
        raise damaged_chunk(chunk_id)
    return found


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
        StoreDamagedError: these names are not what was written; all segments are to be made anew.
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


def read_settings(text: str) -> StoreSettings:
    """Return what the manifest says that the store was built with.

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
    if not (_are(str, *texts) and _are(int, *numbers) and _are(bool, *flags)):
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
    """Return text as stored: UTF-8, lone surrogates and all."""
    return text.encode("utf-8", "surrogatepass")


def decoded(raw: bytes) -> str:
    """Return what `encoded` was given."""
    return raw.decode("utf-8", "surrogatepass")


def byte_offsets(text: str, chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    """Return (first byte, number of bytes) of each chunk, in one pass over the text."""
    edges = sorted({edge for chunk in chunks for edge in (chunk.start, chunk.end)})
    at, position, n_bytes = dict[int, int](), 0, 0
    for edge in edges:
        n_bytes += len(encoded(text[position:edge]))
        at[edge], position = n_bytes, edge
    return [(at[chunk.start], at[chunk.end] - at[chunk.start]) for chunk in chunks]


def marks_json(marks: Sequence[Mark]) -> str:
    """Return marks as stored."""
    rows = [[mark.start, mark.kind, mark.location.to_dict()] for mark in marks]
    return json.dumps(rows, separators=(",", ":"))


def _marks(text: str) -> tuple[Mark, ...]:
    rows: list[tuple[int, MarkKind, dict[str, Any]]] = json.loads(text)
    if not all(_are(int, row[0]) and _are(str, *row[2].get("heading", ())) for row in rows):
        raise ValueError
    return tuple(
        Mark(
            start=start,
            kind=kind,
            location=Location(
                page=place.get("page"),
                slide=place.get("slide"),
                sheet=place.get("sheet"),
                cells=place.get("cells"),
                heading=tuple(place.get("heading", ())),
            ),
        )
        for start, kind, place in rows
    )


def join_vectors(parts: Sequence[Vectors]) -> Vectors:
    """Return the rows of all parts, one part at least, in order."""
    import numpy as np

    joined: Vectors = np.concatenate(parts)
    return joined


def pack_vector(vector: Vector) -> bytes:
    """Return a chunk's vector as stored: float16, its rounding error far below a rank's worth."""
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

    Only their direction counts, so the scale is not kept.
    """
    import numpy as np

    scale = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)
    packed: bytes = np.rint(vectors / scale * 127.0).astype(np.int8).tobytes()
    return packed


def pool_chunk(hit: Hit, tokens: str, sentences: bytes | None, vector: Vector | None) -> PoolChunk:
    """Return a hit prepared for trimming.

    Args:
        hit: The hit.
        tokens: Its index words, a line a sentence.
        sentences: Its sentences' vectors as stored.
        vector: The question's.
    """
    n_sentences = len(hit.chunk.sentences)
    if not _are(str, tokens):
        raise damaged_chunk(hit.chunk.id)
    words = [line.split(" ") if line else [] for line in tokens.split("\n")]
    words = (words + [[]] * n_sentences)[:n_sentences]
    if sentences is None or vector is None:
        return PoolChunk(hit=hit, terms=words)
    import numpy as np

    raw = unsealed(sentences, f"the sentence vectors of chunk {hit.chunk.id}")
    if len(raw) % len(vector):
        raise damaged_chunk(hit.chunk.id)
    rows = np.frombuffer(raw, dtype=np.int8).reshape(-1, len(vector)).astype(np.float32)
    if len(rows) != n_sentences:
        return PoolChunk(hit=hit, terms=words)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    near = rows.copy()
    near[1:] += rows[:-1]
    near[:-1] += rows[1:]
    near /= np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-9)
    return PoolChunk(
        hit=hit,
        terms=words,
        cosines=(rows @ vector).tolist(),
        window_cosines=(near @ vector).tolist(),
    )
