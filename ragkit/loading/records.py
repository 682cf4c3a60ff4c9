"""Records: documents given as values, `{"_id", "title"?, "text", "metadata"?, "groups"?}`.

The keys are those of BEIR's corpora. Lines are read one at a time, so a file may be larger than
memory; only the ids of earlier lines are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, Protocol

from ragkit.errors import ConfigError, LoadError
from ragkit.groups import group_names
from ragkit.loading.formats import LOADERS_VERSION
from ragkit.loading.loaded import LoadedText
from ragkit.loading.unseen import without_unseen
from ragkit.narrowing import is_object
from ragkit.text.jsontext import read_answer_json, read_json
from ragkit.types import Document, Failure, Json, Metadata, PendingDocument, SourceItem

MAX_RECORD_BYTES = 64 * 2**20
"""A longer line is a failure of its own; the lines after it are still read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a call adds to each of its documents.

    `metadata` takes precedence over a document's own; `groups` apply to documents that name none.
    Raises `ConfigError` for groups that are not a sequence of names.
    """

    groups: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict[str, Json])

    def __post_init__(self) -> None:
        """Check the groups; a list becomes a tuple."""
        object.__setattr__(self, "groups", group_names(self.groups))

    def document(self, identity: str, source: str, loaded: LoadedText) -> Document:
        """Return what was loaded as a document with these labels."""
        return Document(
            id=identity,
            source=source,
            text=loaded.text,
            title=loaded.title,
            metadata={**loaded.metadata, **self.metadata},
            groups=self.groups,
            marks=loaded.marks,
            parts=loaded.parts,
            dropped=loaded.dropped,
        )


def record_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of a line that exceeds the limit only its start, which exceeds it too."""
    while line := stream.readline(MAX_RECORD_BYTES + 1):
        yield line
        while len(line) > MAX_RECORD_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_RECORD_BYTES + 1)
            if not line:
                return


def is_record_line(line: bytes) -> bool:
    """Whether a line of JSON Lines is a record."""
    try:
        data = read_answer_json(line)
    except ValueError:
        return False
    return isinstance(data, dict) and "_id" in data and "text" in data


def record_documents(
    lines: Iterable[bytes], source: str, labels: Labels, *, seen: set[str] | None = None
) -> Iterator[SourceItem]:
    """Yield the records of JSON Lines.

    A line that is not a record, or repeats an id, is a failure that names the line.

    Args:
        lines: Blank ones are counted but ignored.
        source: The documents' source.
        labels: Added to each document.
        seen: Ids that are already taken; those of these records are added.
    """

    def parsed() -> Iterator[tuple[int, bytes, Callable[[], object]]]:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line.strip(), partial(_json, line)

    yield from _documents(parsed(), "line", source, labels, seen)


def record_values(
    records: Iterable[Mapping[str, object]], source: str, labels: Labels
) -> Iterator[SourceItem]:
    """Yield documents from records in memory, as `record_documents` does from JSON Lines."""

    def written() -> Iterator[tuple[int, bytes, Callable[[], object]]]:
        for number, record in enumerate(records, start=1):
            raw = json.dumps(record, sort_keys=True, default=str).encode()
            yield number, raw, partial(_value, raw)

    yield from _documents(written(), "record", source, labels, None)


def _documents(
    records: Iterable[tuple[int, bytes, Callable[[], object]]],
    unit: str,
    source: str,
    labels: Labels,
    seen: set[str] | None,
) -> Iterator[SourceItem]:
    taken = set[str]() if seen is None else seen
    for number, raw, parse in records:
        try:
            document = _document(parse(), source, labels)
            if document.id in taken:
                raise LoadError("broken", f"the id {document.id!r} is already taken")
        except LoadError as error:
            detail = f"{unit} {number}: {error.detail}"
            fingerprint = _digest_of(["record", LOADERS_VERSION], labels, raw)
            yield Failure(source=source, code=error.code, detail=detail, fingerprint=fingerprint)
            continue
        taken.add(document.id)
        yield PendingDocument(
            id=document.id,
            source=source,
            fingerprint=_digest_of(["record", LOADERS_VERSION], labels, raw),
            load=partial(_with_text, document, f"{unit} {number}"),
            groups=document.groups,
            n_bytes=len(raw) + 1,
        )


def _with_text(document: Document, place: str) -> Document:
    if not document.text.strip():
        raise LoadError("no_text", f"{place}: the text of record {document.id!r} is empty")
    return document


def _json(line: bytes) -> object:
    if len(line) > MAX_RECORD_BYTES:
        raise LoadError("limit", f"longer than {MAX_RECORD_BYTES >> 20} MiB")
    return _value(line)


def _value(raw: bytes) -> object:
    try:
        return read_json(raw)
    except ValueError as error:
        raise LoadError("broken", f"not JSON: {error}") from error


def _document(value: object, source: str, labels: Labels) -> Document:
    if not is_object(value):
        raise LoadError("broken", "not a JSON object")
    identity, text = value.get("_id"), value.get("text")
    if not isinstance(identity, str | int) or isinstance(identity, bool) or identity == "":
        raise LoadError(
            "broken",
            "no _id: records have _id and text; JSON Lines of another form are read as text where "
            "their folder is ingested",
        )
    if not isinstance(text, str):
        raise LoadError("broken", f"record {identity!r} has no text")
    title, metadata = value.get("title"), value.get("metadata")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise LoadError("broken", f"metadata of record {identity!r} is not an object")
    text, n_unseen = without_unseen(text)
    return Document(
        id=str(identity),
        source=source,
        text=text,
        title=without_unseen(title)[0] if isinstance(title, str) else "",
        dropped={"hidden": n_unseen} if n_unseen else {},
        metadata={**(metadata or {}), **labels.metadata},
        groups=_groups(value.get("groups"), identity) or labels.groups,
    )


def _groups(value: object, identity: str | int) -> tuple[str, ...]:
    try:
        return () if value is None else group_names(value, f"groups of record {identity!r}")
    except ConfigError as error:
        # If it were ignored, a mistake here would open the record to everyone.
        raise LoadError("broken", str(error)) from None


class Digest(Protocol):
    """What `hashlib` gives."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        ...


def digest(kind: Sequence[Json], labels: Labels) -> Digest:
    """Begin a document's fingerprint: SHA-256 of its loader and its labels, then of its bytes."""
    import hashlib

    header = json.dumps([list(kind), list(labels.groups), dict(labels.metadata)], sort_keys=True)
    return hashlib.sha256(header.encode() + b"\0")


def _digest_of(kind: Sequence[Json], labels: Labels, data: bytes) -> str:
    found = digest(kind, labels)
    found.update(data)
    return found.hexdigest()
