"""Where documents come from: files, folders, standard input, records."""

from __future__ import annotations

import glob
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath
from typing import BinaryIO

from ragkit.errors import ConfigError, LoadError
from ragkit.ingest_rules import IngestRule, RuledFile
from ragkit.loading.formats import (
    LOADERS,
    LOADERS_VERSION,
    MAX_FILE_BYTES,
    Loader,
    find_loader,
    usable,
)
from ragkit.loading.ignoring import IGNORE_FILE, IgnoreRules
from ragkit.loading.isolation import Content, InProcess, Parser, Worker
from ragkit.loading.reading import read_content
from ragkit.loading.records import (
    Labels,
    is_record_line,
    record_documents,
    record_lines,
    record_values,
)
from ragkit.loading.rules import Ruled, Rules
from ragkit.loading.sizes import FileSize
from ragkit.loading.tables import is_guarded
from ragkit.types import Document, Failure, Json, Metadata, PendingDocument, Source, SourceItem

RECORDS_FILE = "corpus.jsonl"
_RECORD_SUFFIXES = {".jsonl", ".ndjson"}
_STORE_FILE = "store.sqlite"
"""A folder with this file is a store, not a source of documents."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to read: `named` if it was given itself, not found in a folder or by a pattern."""

    path: str
    id: str
    named: bool

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def suffix(self) -> str:
        return PurePath(self.name).suffix.lower()


class FileSource:
    """Files, folders and glob patterns, in a stable order.

    A folder is walked in order of names, without hidden files and folders, stores, and what a
    `.ragkitignore` in it or below excludes (see `ragkit.loading.ignoring`). Links to folders are
    not followed, links to files only if they lead to files under the folder given.
    JSON Lines are read as records if the file is given by name or called `corpus.jsonl`, else as
    text; a file whose records have groups then fails, since everyone could see it as text. Files
    that no loader reads are failures if given by name, else skipped.

    An id is the path relative to the folder given, or to the part of a pattern before its first
    wildcard; that of a file given by name is its name. A missing path is a failure, so that the
    others are still read.

    Args:
        paths: What to read.
        root: Ids are relative to this folder instead.
        labels: Added to each document.
        password: Opens encrypted files.
        rules: What applies to which files, by their ids.
        parser: Turns files into text; by default in a process of its own.

    Raises:
        ConfigError: none of the paths exists, or a rule names an unknown loader.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        root: str | Path | None = None,
        labels: Labels | None = None,
        password: str | None = None,
        rules: Sequence[IngestRule] = (),
        parser: Parser | None = None,
    ) -> None:
        self._parser = parser or Worker()
        self._root = None if root is None else _absolute(root)
        self._rules = Rules(rules, labels or Labels())
        self._password = password
        self._given: list[_Given] = []
        self._missing: list[Failure] = []
        for path in paths:
            self._given += self._expand(str(path))
        if not self._given:
            raise ConfigError(f"there is nothing at {', '.join(map(str, paths))}")

    @property
    def roots(self) -> tuple[str, ...]:
        """Absolute paths under which a stored document that is no longer found has vanished."""
        return tuple(_shown(given.path) for given in self._given)

    def documents(self) -> Iterator[SourceItem]:
        """Yield failures to find or follow a path, then documents and other failures.

        Files given by name or pattern come before those of folders, each in the order given.

        Raises:
            ConfigError: before anything is yielded, when two files would have the same id or a
                file is not under `root`.
        """
        problems = list(self._missing)
        ruled = [(file, self._rules.find(file.id)) for file in self._files(problems)]
        files = [(file, found) for file, found in ruled if not found.skip]
        ids: dict[str, str] = {}
        for file, _ in files:
            other = ids.setdefault(file.id, file.path)
            if other != file.path:
                raise ConfigError(
                    f"{_shown(other)} and {_shown(file.path)} would both have the id {file.id!r}; "
                    "tell them apart with --root DIR, a folder above both"
                )
        yield from problems
        for file, found in ruled:
            if found.skip:
                source, detail = _shown(file.path), f"{found.where} leaves it out"
                yield Failure(source=source, code="rule", detail=detail, skipped=True)
        seen: set[str] = set()
        for file, found in files:
            if found.loader is None and _holds_records(file):
                yield from self._records(file, found.record_labels, seen)
            else:
                seen.add(file.id)
                yield self._item(file, found)

    def ruled(self) -> list[RuledFile]:
        """Return how the rules apply to each file; empty if there are none."""
        if not self._rules:
            return []
        return [self._rules.find(f.id).shown(_shown(f.path)) for f in self._files([])]

    def sizes(self) -> list[FileSize]:
        """Return the size of each file that is to be read; none is read."""
        found: list[FileSize] = []
        for file in self._files([]):
            rule = self._rules.find(file.id)
            if not rule.skip and (rule.loader or file.suffix in LOADERS):
                holds_records = not rule.loader and _holds_records(file)
                with suppress(OSError):
                    n_bytes = os.stat(file.path).st_size
                    found.append(
                        FileSize(_shown(file.path), Path(file.path), n_bytes, holds_records)
                    )
        return found

    def listed(self) -> tuple[set[str], set[str]]:
        """Return the ids to come, and the paths that cannot be read; reads records only."""
        problems = list(self._missing)
        ids: set[str] = set()
        for file in self._files(problems):
            found = self._rules.find(file.id)
            if found.skip:
                continue
            if found.loader is not None or not _holds_records(file):
                ids.add(file.id)
                continue
            for item in self._records(file, found.record_labels, set()):
                if isinstance(item, Failure):
                    problems.append(item)
                else:
                    ids.add(item.id)
        return ids, {problem.source for problem in problems}

    def _expand(self, pattern: str) -> list[_Given]:
        path = _absolute(pattern)
        if os.path.exists(path):  # unlike Path.exists, false where a folder cannot be entered
            return [_Given(path, path if path.is_dir() else path.parent, named=True)]
        if not glob.has_magic(pattern):
            detail = "a broken link" if path.is_symlink() else "there is no such file"
            self._missing.append(Failure(source=_shown(path), code="unreadable", detail=detail))
            return []
        matches = sorted(_absolute(match) for match in glob.glob(pattern, recursive=True))
        if not matches:
            detail = "no file matches"
            self._missing.append(Failure(source=_shown(path), code="unreadable", detail=detail))
        base = _before_wildcard(path)
        return [_Given(match, base, named=False) for match in matches]

    def _files(self, problems: list[Failure]) -> Iterator[_Found]:
        """Yield each file once, those given by name first: being named takes precedence."""
        met: set[str] = set()
        for given in sorted(self._given, key=lambda given: given.path.is_dir()):
            walked = given.path.is_dir()
            for path in self._walk(given.path, problems) if walked else [str(given.path)]:
                if path not in met:
                    met.add(path)
                    named = given.named and not walked
                    yield _Found(path, self._id(path, given.base), named=named)

    def _walk(self, base: Path, problems: list[Failure]) -> Iterator[str]:
        """Yield the paths of files as texts: a folder may hold very many."""

        def note(error: OSError) -> None:
            source, detail = _shown(Path(error.filename)), str(error.strerror)
            problems.append(Failure(source=source, code="unreadable", detail=detail))

        ignored = IgnoreRules()
        real_base = base.resolve()
        for parent, folders, names in os.walk(base, onerror=note):
            here = Path(parent)
            inside = here.relative_to(base).parts
            if _STORE_FILE in names and inside:
                folders.clear()
                continue
            if IGNORE_FILE in names:
                ignored.read(here / IGNORE_FILE, inside)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".") and not ignored.match((*inside, name), is_folder=True)
            )
            for name in sorted(names):
                hidden = name.startswith(".") or ignored.match((*inside, name), is_folder=False)
                path = os.path.join(parent, name)
                if not hidden and self._stays_inside(path, real_base, problems):
                    yield path

    def _stays_inside(self, path: str, base: Path, problems: list[Failure]) -> bool:
        if not os.path.islink(path):
            return True
        try:
            inside = Path(path).resolve(strict=True).is_relative_to(base)
            detail = "a link that leads out of the folder"
        except (OSError, RuntimeError):
            inside, detail = False, "a broken link"
        if not inside:
            problems.append(
                Failure(source=_shown(path), code="unreadable", detail=detail, skipped=True)
            )
        return inside

    def _id(self, path: str, base: Path) -> str:
        root = self._root or base
        above = os.path.join(root, "")
        if os.sep == "/" and path.startswith(above):
            return _shown(path[len(above) :])
        try:
            relative = Path(path).relative_to(root)
        except ValueError:
            raise ConfigError(f"{_shown(path)} is not under --root {_shown(root)}") from None
        return _shown(relative.as_posix())

    def _records(self, file: _Found, labels: Labels, seen: set[str]) -> Iterator[SourceItem]:
        source = _shown(file.path)
        try:
            with open(file.path, "rb") as stream:
                lines = record_lines(stream)
                yield from record_documents(lines, source, labels, seen=seen)
        except OSError as error:
            yield Failure(source=source, code="unreadable", detail=str(error.strerror or error))

    def _item(self, file: _Found, ruled: Ruled) -> SourceItem:
        source, labels = _shown(file.path), ruled.labels
        try:
            loader = usable(ruled.loader) if ruled.loader else find_loader(file.name)
            kind: list[Json] = [loader.name, LOADERS_VERSION, file.name]
            fingerprint, content = read_content(file.path, kind, labels)
        except OSError as error:
            return Failure(source=source, code="unreadable", detail=str(error.strerror or error))
        except LoadError as error:
            failure = Failure(source=source, code=error.code, detail=error.detail)
            if error.code == "limit":  # It names the size: until that changes, it is too large.
                return replace(failure, fingerprint=f"{source}: {error.detail}")
            return replace(failure, skipped=error.code == "unsupported" and not file.named)
        return PendingDocument(
            id=file.id,
            source=source,
            fingerprint=fingerprint,
            load=partial(self._load, file, source, labels, loader, content),
            groups=labels.groups,
        )

    def _load(
        self, file: _Found, source: str, labels: Labels, loader: Loader, content: Content
    ) -> Document:
        try:
            loaded = self._parser.load(
                content, name=file.name, loader=loader, password=self._password
            )
        except OSError as error:
            raise LoadError("unreadable", str(error.strerror or error)) from error
        except LoadError as error:
            if error.code != "groups" or file.suffix not in _RECORD_SUFFIXES:
                raise
            way_out = f"read by name it keeps them: ragkit ingest {shlex.quote(source)}"
            raise LoadError("groups", f"{error.detail}; {way_out}") from error
        return labels.document(file.id, source, loaded)


@dataclass(frozen=True, slots=True)
class _Given:
    """A path that was given, and what the ids of its files are relative to."""

    path: Path
    base: Path
    named: bool


def _absolute(path: str | Path) -> Path:
    """Return an absolute path without `..`, links left as they are."""
    return Path(os.path.abspath(path))


def _shown(path: str | Path) -> str:
    """Return a path as text; bytes that are not UTF-8 are escaped."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def _before_wildcard(pattern: Path) -> Path:
    parts = pattern.parts
    n_fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[: min(n_fixed, len(parts) - 1)])


def _holds_records(file: _Found) -> bool:
    named = file.named or file.name == RECORDS_FILE
    return named and file.suffix in _RECORD_SUFFIXES


class StdinSource:
    """Standard input: records if its first line is one, else one document called `stdin`.

    Args:
        labels: Added to each document.
        stream: Read instead of standard input.
        parser: Turns what it holds into text; by default in a process of its own.
    """

    roots: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        labels: Labels | None = None,
        stream: BinaryIO | None = None,
        parser: Parser | None = None,
    ) -> None:
        self._parser = parser or Worker()
        self._labels = labels or Labels()
        self._stream = stream

    def documents(self) -> Iterator[SourceItem]:
        """Yield what standard input holds."""
        stream = self._stream or sys.stdin.buffer
        before = b""
        for line in record_lines(stream):
            before += line
            if line.strip() or len(before) > MAX_FILE_BYTES:
                break
        first = before.lstrip()
        if is_record_line(first):
            blank = [b""] * before[: len(before) - len(first)].count(b"\n")
            lines = (line for part in (blank, [first], record_lines(stream)) for line in part)
            yield from record_documents(lines, "-", self._labels)
            return
        try:
            content = Content.of(before + stream.read(MAX_FILE_BYTES + 1))
            loaded = self._parser.load(content, name="stdin.txt", loader=find_loader("stdin.txt"))
            if any(map(is_guarded, loaded.text.split("\n"))):
                raise LoadError(
                    "groups",
                    "a line is a record with groups, but the first line is none, so that all "
                    "would be read as text: write it to a file, then: ragkit ingest FILE.jsonl",
                )
            yield self._labels.document("stdin", "-", loaded)
        except LoadError as error:
            yield Failure(source="-", code=error.code, detail=error.detail)


class RecordSource:
    """Records in memory: `{"_id", "title"?, "text", "metadata"?, "groups"?}`.

    Args:
        records: Iterated once per call of `documents`.
        name: Where they come from, as their documents' `source`.
        labels: Added to each document.
    """

    def __init__(
        self,
        records: Iterable[Mapping[str, object]],
        *,
        name: str = "records",
        labels: Labels | None = None,
    ) -> None:
        self._records = records
        self._name = name
        self._labels = labels or Labels()

    def documents(self) -> Iterator[SourceItem]:
        """Yield one document per record; anything else is a failure that names its number."""
        yield from record_values(self._records, self._name, self._labels)


class Joined:
    """Several sources, one after the other, and documents given directly.

    Attributes:
        parser: Turns their files into text.
    """

    def __init__(
        self, sources: Sequence[Source], documents: Sequence[Document], parser: Parser
    ) -> None:
        self._sources = sources
        self._documents = documents
        self.parser = parser

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots of all sources that have any."""
        return tuple(root for source in self._sources for root in getattr(source, "roots", ()))

    def listed(self) -> tuple[set[str], set[str]] | None:
        """Return the ids to come, and the paths that cannot be read.

        None if a source has roots but does not know its ids before it is read.
        """
        ids, unread = {document.id for document in self._documents}, set[str]()
        for source in self._sources:
            if isinstance(source, FileSource):
                listed = source.listed()
                ids |= listed[0]
                unread |= listed[1]
            elif getattr(source, "roots", ()):
                return None
        return ids, unread

    def sizes(self) -> list[FileSize]:
        """Return the sizes of the files of all sources."""
        files = (source for source in self._sources if isinstance(source, FileSource))
        return [file for source in files for file in source.sizes()]

    def ruled(self) -> list[RuledFile]:
        """Return how the rules of the settings apply to each file."""
        files = (source for source in self._sources if isinstance(source, FileSource))
        return [ruled for source in files for ruled in source.ruled()]

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
    rules: Sequence[IngestRule] = (),
    isolate: bool = True,
) -> Joined:
    """Return one source for paths, `-`, sources and documents.

    Unless `isolate`, files are parsed in this process.
    """
    parser = Worker() if isolate else InProcess()
    labels = Labels(groups=groups, metadata=metadata or {})
    paths = [item for item in what if isinstance(item, str | Path) and str(item) != "-"]
    sources: list[Source] = []
    if paths:
        sources.append(
            FileSource(
                paths, root=root, labels=labels, password=password, rules=rules, parser=parser
            )
        )
    if "-" in [item for item in what if isinstance(item, str)]:
        sources.append(StdinSource(labels=labels, parser=parser))
    documents = [item for item in what if isinstance(item, Document)]
    sources += [item for item in what if not isinstance(item, str | Path | Document)]
    return Joined(sources, documents, parser)
