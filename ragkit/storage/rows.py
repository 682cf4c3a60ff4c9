"""Rows of the store's tables as values: checked when read, sealed when written."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ragkit.errors import StoreDamagedError
from ragkit.narrowing import is_object
from ragkit.storage.schema import checksum, schema_version
from ragkit.storage.units import (
    location_of,
    packed_parts,
    packed_units,
    unpacked_parts,
    unpacked_units,
)
from ragkit.storage.values import StoreSettings
from ragkit.types import Chunk, Document, Json, Mark, MarkKind, Metadata, Part

if TYPE_CHECKING:
    pass

_T = TypeVar("_T")

_compact = json.JSONEncoder(separators=(",", ":")).encode

_CHUNK = """chunk.row, chunk.id, chunk.document, start, end, n_tokens, chunk.sentences, chunk.marks,
  tokens, chunk.vector, substr(text, first_byte + 1, n_bytes)"""

CHUNK = f"{_CHUNK}, sentence_rows, chunk.checksum"
"""What `read_chunk` reads, of chunk and document joined."""

CHUNK_OF_2 = f"{_CHUNK}, NULL, chunk.checksum"
"""The same for a store of schema 2, whose sentence vectors are kept with those of chunks."""

N_CHUNK = 13

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
