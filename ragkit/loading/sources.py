"""Where documents come from: files, folders, standard input, records."""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

from ragkit.errors import ConfigError, LoadError
from ragkit.loading.formats import LOADERS_VERSION, MAX_FILE_BYTES, find_loader, load_bytes
from ragkit.types import Document, Failure, Json, Metadata, PendingDocument, Source, SourceItem

IGNORE_FILE = ".ragkitignore"
RECORDS_FILE = "corpus.jsonl"
_RECORD_SUFFIXES = {".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a call adds to each of its documents."""

    groups: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict[str, Json])


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to read: `named` when it was given itself, not met while walking a folder."""

    path: Path
    id: str
    named: bool


class FileSource:
    """Files, folders and glob patterns, in a stable order.

    A folder is walked without following links and without hidden files; a `.ragkitignore` in it
    names more to leave out: a pattern a line, `*`, `?` and `**` as in .gitignore, a trailing `/`
    for folders only, a leading `/` for this folder only, `#` for comments. JSON Lines are read as
    records from a file given by name or called `corpus.jsonl`.

    Args:
        paths: What to read.
        root: What ids are relative to; None: the folder given, or a file's own folder.
        labels: Added to each document.
        password: Opens encrypted files.

    Raises:
        ConfigError: nothing is there under any of the paths.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        root: str | Path | None = None,
        labels: Labels | None = None,
        password: str | None = None,
    ) -> None:
        self._root = None if root is None else Path(root).absolute()
        self._labels = labels or Labels()
        self._password = password
        self._paths: list[Path] = []
        self._missing: list[Failure] = []
        for path in paths:
            self._paths += self._expand(str(path))
        if not self._paths:
            raise ConfigError(f"there is nothing at {', '.join(map(str, paths))}")

    @property
    def roots(self) -> tuple[str, ...]:
        """Absolute paths under which a document that is no longer met has vanished."""
        return tuple(str(path.absolute()) for path in self._paths)

    def documents(self) -> Iterator[SourceItem]:
        """Yield documents, failures and skipped files, ordered by path."""
        yield from self._missing
        seen: dict[str, Path] = {}
        for found in self._files():
            if found.path.is_symlink() and not found.named:
                continue
            records = found.path.suffix.lower() in _RECORD_SUFFIXES and (
                found.named or found.path.name == RECORDS_FILE
            )
            if records:
                yield from record_documents(_lines_of(found.path), found.path, self._labels)
                continue
            other = seen.setdefault(found.id, found.path)
            if other != found.path:
                raise ConfigError(
                    f"{other} and {found.path} would both have the id {found.id!r}; tell them "
                    "apart with --root DIR, a folder above both"
                )
            yield self._item(found)

    def _expand(self, pattern: str) -> list[Path]:
        path = Path(pattern)
        if path.exists() or path.is_symlink():
            return [path]
        matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
        if not matches:
            detail = "no file matches" if glob.has_magic(pattern) else "there is no such file"
            self._missing.append(
                Failure(source=str(path.absolute()), code="unreadable", detail=detail)
            )
        return [Path(match) for match in matches]

    def _files(self) -> Iterator[_Found]:
        given: set[Path] = set()
        for path in self._paths:
            for found in self._walk(path) if path.is_dir() else (self._named(path),):
                absolute = found.path.absolute()
                if absolute not in given:
                    given.add(absolute)
                    yield found

    def _named(self, path: Path) -> _Found:
        return _Found(path, self._id(path, path.absolute().parent), named=True)

    def _walk(self, folder: Path) -> Iterator[_Found]:
        base = folder.absolute()
        ignored = _Ignored(base)
        for parent, folders, names in os.walk(base):
            here = Path(parent)
            ignored.read(here)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and not ignored.matches(here / name, is_folder=True)
            )
            for name in sorted(names):
                path = here / name
                if not name.startswith(".") and not ignored.matches(path, is_folder=False):
                    yield _Found(path, self._id(path, base), named=False)

    def _id(self, path: Path, base: Path) -> str:
        root = self._root or base
        try:
            relative = path.absolute().relative_to(root)
        except ValueError:
            raise ConfigError(f"{path} is not under --root {root}") from None
        return relative.as_posix().encode("utf-8", "backslashreplace").decode()

    def _item(self, found: _Found) -> SourceItem:
        source = str(found.path.absolute())
        try:
            loader = find_loader(found.path.name)
            size = found.path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise LoadError("limit", f"{size:,} bytes; allowed: {MAX_FILE_BYTES:,}")
            data = found.path.read_bytes()
        except OSError as error:
            return Failure(source=source, code="unreadable", detail=str(error.strerror or error))
        except LoadError as error:
            skipped = error.code == "unsupported" and not found.named
            return Failure(source=source, code=error.code, detail=error.detail, skipped=skipped)
        return PendingDocument(
            id=found.id,
            source=source,
            fingerprint=_digest([loader.name, LOADERS_VERSION, self._password], self._labels, data),
            load=partial(self._load, found, source, data),
        )

    def _load(self, found: _Found, source: str, data: bytes) -> Document:
        loaded = load_bytes(data, name=found.path.name, password=self._password)
        return Document(
            id=found.id,
            source=source,
            text=loaded.text,
            title=loaded.title,
            metadata={**loaded.metadata, **self._labels.metadata},
            groups=self._labels.groups,
            marks=loaded.marks,
        )


class StdinSource:
    """Standard input: records when its first line is one, else one document called `stdin`."""

    roots: tuple[str, ...] = ()

    def __init__(self, *, labels: Labels | None = None) -> None:
        self._labels = labels or Labels()

    def documents(self) -> Iterator[SourceItem]:
        """Yield what standard input holds."""
        lines = iter(sys.stdin.buffer)
        first = next(lines, b"")
        if _is_record(first):
            yield from record_documents((line for part in ([first], lines) for line in part),
                                        Path("-"), self._labels)  # fmt: skip
            return
        data = first + b"".join(lines)
        try:
            loaded = load_bytes(data, name="stdin.txt")
        except LoadError as error:
            yield Failure(source="-", code=error.code, detail=error.detail)
            return
        yield Document(
            id="stdin",
            source="-",
            text=loaded.text,
            metadata=self._labels.metadata,
            groups=self._labels.groups,
        )


class Joined:
    """Several sources, one after the other; bare documents are a source of themselves."""

    def __init__(self, sources: Sequence[Source], documents: Sequence[Document]) -> None:
        self._sources = sources
        self._documents = documents

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots of all sources that have some."""
        return tuple(root for source in self._sources for root in getattr(source, "roots", ()))

    def documents(self) -> Iterator[SourceItem]:
        """Yield the documents of all sources."""
        yield from self._documents
        for source in self._sources:
            yield from source.documents()


def open_source(
    what: Sequence[str | Path | Source | Document],
    *,
    root: str | Path | None = None,
    groups: tuple[str, ...] = (),
    metadata: Metadata | None = None,
    password: str | None = None,
) -> Joined:
    """Return one source over paths, `-`, sources and documents."""
    labels = Labels(groups=groups, metadata=metadata or {})
    paths = [item for item in what if isinstance(item, str | Path) and str(item) != "-"]
    sources: list[Source] = []
    if paths:
        sources.append(FileSource(paths, root=root, labels=labels, password=password))
    if "-" in [item for item in what if isinstance(item, str)]:
        sources.append(StdinSource(labels=labels))
    documents = [item for item in what if isinstance(item, Document)]
    sources += [item for item in what if not isinstance(item, str | Path | Document)]
    return Joined(sources, documents)


def record_documents(lines: Iterable[bytes], path: Path, labels: Labels) -> Iterator[SourceItem]:
    """Yield the records of JSON Lines: `{"_id", "title"?, "text", "metadata"?, "groups"?}`.

    A line that is no record, or repeats an id, is a failure that names the line.
    """
    source = str(path) if str(path) == "-" else str(path.absolute())
    seen: set[str] = set()
    iterator = iter(lines)
    number = 0
    while True:
        number += 1
        try:
            line = next(iterator)
        except StopIteration:
            return
        except OSError as error:
            yield Failure(source=source, code="unreadable", detail=str(error))
            return
        if not line.strip():
            continue
        try:
            record = _record(line.removeprefix(b"\xef\xbb\xbf"), source, labels)
            if record.id in seen:
                raise LoadError("collision", f"id {record.id!r} stands on an earlier line too")
        except LoadError as error:
            yield Failure(source=source, code=error.code, detail=f"line {number}: {error.detail}")
            continue
        seen.add(record.id)
        yield PendingDocument(
            id=record.id,
            source=source,
            fingerprint=_digest(["record", LOADERS_VERSION], labels, line.strip()),
            load=_returning(record),
        )


def _returning(document: Document) -> Callable[[], Document]:
    def load() -> Document:
        if not document.text.strip():
            raise LoadError("no_text", f"the text of record {document.id!r} is empty")
        return document

    return load


def _record(line: bytes, source: str, labels: Labels) -> Document:
    try:
        data: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LoadError("broken", f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise LoadError("broken", "not a JSON object")
    record = cast("dict[str, object]", data)
    identity, text = record.get("_id"), record.get("text")
    if not isinstance(identity, str | int) or isinstance(identity, bool) or identity == "":
        raise LoadError("broken", "no _id")
    if not isinstance(text, str):
        raise LoadError("broken", f"record {identity!r} has no text")
    title, metadata, groups = record.get("title"), record.get("metadata"), record.get("groups")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise LoadError("broken", f"metadata of record {identity!r} is not an object")
    if groups is not None and not _is_names(groups):
        raise LoadError("broken", f"groups of record {identity!r} are not a list of names")
    return Document(
        id=_storable(str(identity)),
        source=source,
        text=text,
        title=_storable(title) if isinstance(title, str) else "",
        metadata={**cast("Metadata", metadata or {}), **labels.metadata},
        groups=tuple(cast("list[str]", groups)) if groups is not None else labels.groups,
    )


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(name, str) for name in cast("list[object]", value)
    )


def _storable(text: str) -> str:
    """Replace lone surrogates, which no text column can hold."""
    return text.encode("utf-8", "replace").decode()


def _is_record(line: bytes) -> bool:
    try:
        data: object = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and "_id" in data and "text" in data


def _lines_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from lines


def _digest(kind: Sequence[Json], labels: Labels, data: bytes) -> str:
    import hashlib

    header = json.dumps([list(kind), list(labels.groups), dict(labels.metadata)], sort_keys=True)
    return hashlib.sha256(header.encode() + b"\0" + data).hexdigest()


class _Ignored:
    """The patterns of the `.ragkitignore` files met so far."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._patterns: list[tuple[str, re.Pattern[str], bool]] = []

    def read(self, folder: Path) -> None:
        """Add the patterns of a folder's ignore file, where there is one."""
        try:
            lines = (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        prefix = folder.relative_to(self._base).as_posix()
        for line in lines:
            pattern = line.strip()
            if pattern and not pattern.startswith("#"):
                folders_only = pattern.endswith("/")
                self._patterns.append((prefix, _pattern(pattern.rstrip("/")), folders_only))

    def matches(self, path: Path, *, is_folder: bool) -> bool:
        """Whether a file or folder is to be left out."""
        relative = path.relative_to(self._base).as_posix()
        for prefix, pattern, folders_only in self._patterns:
            if folders_only and not is_folder:
                continue
            if prefix == ".":
                inside = relative
            elif relative.startswith(f"{prefix}/"):
                inside = relative[len(prefix) + 1 :]
            else:
                continue
            if pattern.fullmatch(inside):
                return True
        return False


def _pattern(text: str) -> re.Pattern[str]:
    anchored = "/" in text
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text.lstrip("/"))
    body = "".join(pieces.get(part, re.escape(part)) for part in parts)
    return re.compile(body if anchored else f"(?:.*/)?{body}")
