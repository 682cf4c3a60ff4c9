"""Where documents come from: files, folders, records."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

from ragkit.errors import ConfigError, LoadError
from ragkit.ingest_rules import IngestRule, RuledFile
from ragkit.loading.content import Content
from ragkit.loading.converting import loader_for
from ragkit.loading.formats import (
    LOADERS,
    LOADERS_VERSION,
    Loader,
    archive_loader,
    usable,
)
from ragkit.loading.inside import Place, mailbox_documents, member_documents
from ragkit.loading.isolation import Parser, Worker
from ragkit.loading.payloads import why_for_programs
from ragkit.loading.reading import read_content
from ragkit.loading.records import Labels, record_documents, record_lines, record_values
from ragkit.loading.rules import Ruled, Rules
from ragkit.loading.sharding import Shard
from ragkit.loading.sizes import FileSize
from ragkit.loading.walking import Selection, Walk, shown
from ragkit.types import Document, Failure, Json, PendingDocument, SourceItem

RECORDS_FILE = "corpus.jsonl"
_RECORD_SUFFIXES = {".jsonl", ".ndjson"}
_MAILBOX = ".mbox"


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

    A folder is walked in order of names (see `ragkit.loading.walking`); what is given by name is
    read whatever the rules of a walk say.
    JSON Lines are read as records if the file is given by name or called `corpus.jsonl`, else as
    text; a file whose records have groups then fails, since everyone could see it as text. Files
    that no loader reads, and those that only programs write and read, are failures if given by
    name, else skipped. The messages of a mailbox are documents `path#1` and so on, and what is
    attached to a mail is a document `path#name`.

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
        selection: Which files of the folders given are read.
        archives: Whether the files in archives are documents, `path#name`.
        shard: The share of the documents to read; None for all. A file is not opened if all that
            it can hold is one document of another share.

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
        selection: Selection | None = None,
        archives: bool = False,
        shard: Shard | None = None,
    ) -> None:
        self._parser = parser or Worker()
        self._shard = shard or Shard(1, 1)
        self._archives = archives
        self._selection = selection or Selection()
        self._left_out: dict[str, None] = {}
        self._root = None if root is None else _absolute(root)
        self._rules = Rules(rules, labels or Labels())
        self._password = password
        self._given: list[_Given] = []
        self._missing: list[Failure] = []
        for path in paths:
            if not str(path):  # mostly a variable that is not set
                raise ConfigError("an empty path; name a file or a folder (. is this one)")
            self._given += self._expand(str(path))
        if not self._given:
            raise ConfigError(f"there is nothing at {', '.join(map(str, paths))}")

    @property
    def roots(self) -> tuple[str, ...]:
        """Absolute paths under which a stored document that is no longer found has vanished."""
        return tuple(shown(given.path) for given in self._given)

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
                    f"{shown(other)} and {shown(file.path)} would both have the id {file.id!r}; "
                    "tell them apart with --root DIR, a folder above both"
                )
        for file, found in ruled:
            if found.skip:
                source, detail = shown(file.path), f"{found.where} leaves it out"
                problems.append(Failure(source=source, code="rule", detail=detail, skipped=True))
        yield from filter(self._shard.takes, problems)
        seen: set[str] = set()
        for file, found in files:
            if self._may_hold_several(file, found):
                yield from filter(self._shard.takes, self._several(file, found, seen))
            elif self._shard.owns(file.id):
                seen.add(file.id)
                yield from self._items(file, found)

    def left_out(self) -> tuple[str, ...]:
        """Return absolute paths of what is there, but was left out of the last walk."""
        return tuple(self._left_out)

    def ruled(self) -> list[RuledFile]:
        """Return how the rules apply to each file; empty if there are none."""
        if not self._rules:
            return []
        return [self._rules.find(f.id).shown(shown(f.path)) for f in self._files([])]

    def sizes(self) -> list[FileSize]:
        """Return the size of each file that is to be read; none is read."""
        found: list[FileSize] = []
        for file in self._files([]):
            rule = self._rules.find(file.id)
            is_read = file.suffix in LOADERS and (file.named or not why_for_programs(file.name))
            is_ours = not rule.skip and (
                self._shard.owns(file.id) or self._may_hold_several(file, rule)
            )
            if is_ours and (rule.loader or is_read):
                holds_records = not rule.loader and (
                    _holds_records(file) or file.suffix == _MAILBOX
                )
                with suppress(OSError):
                    n_bytes = os.stat(file.path).st_size
                    found.append(
                        FileSize(shown(file.path), Path(file.path), n_bytes, holds_records)
                    )
        return found

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Return size, in bytes, and time of change, in nanoseconds, of each file by its path."""
        found: dict[str, tuple[int, int]] = {}
        for file in self._files([]):
            with suppress(OSError):
                status = os.stat(file.path)
                found[file.path] = status.st_size, status.st_mtime_ns
        return found

    def listed(self) -> tuple[set[str], set[str]]:
        """Return the ids to come, and the paths that cannot be read; reads records only."""
        problems = list(self._missing)
        ids: set[str] = set()
        for file in self._files(problems):
            found = self._rules.find(file.id)
            if found.skip:
                continue
            if not self._may_hold_several(file, found):
                ids.add(file.id)
                continue
            for item in self._several(file, found, set()):
                if isinstance(item, Failure):
                    problems.append(item)
                else:
                    ids.add(item.id)
        return ids, {problem.source for problem in problems if problem.code != "ignored"}

    def _may_hold_several(self, file: _Found, found: Ruled) -> bool:
        return _holds_several(file, found) or self._archive_of(file) is not None

    def _several(self, file: _Found, found: Ruled, seen: set[str]) -> Iterator[SourceItem]:
        """Yield the documents of a file that may hold more than one.

        Args:
            file: The file.
            found: The rules that apply to it.
            seen: Ids that no record may have; its own are added.
        """
        if found.loader is None and _holds_records(file):
            yield from self._records(file, found.record_labels, seen)
        elif found.loader is None and file.suffix == _MAILBOX:
            yield from self._messages(file, found)
        else:
            seen.add(file.id)
            yield from self._items(file, found)

    def _expand(self, pattern: str) -> list[_Given]:
        path = _absolute(pattern)
        if os.path.exists(path):  # unlike Path.exists, false where a folder cannot be entered
            return [_Given(path, path if path.is_dir() else path.parent, named=True)]
        if not glob.has_magic(pattern):
            detail = "a broken link" if path.is_symlink() else "there is no such file"
            self._missing.append(Failure(source=shown(path), code="unreadable", detail=detail))
            return []
        matches = sorted(_absolute(match) for match in glob.glob(pattern, recursive=True))
        if not matches:
            detail = "no file matches"
            self._missing.append(Failure(source=shown(path), code="unreadable", detail=detail))
        base = _before_wildcard(path)
        return [_Given(match, base, named=False) for match in matches]

    def _files(self, problems: list[Failure]) -> Iterator[_Found]:
        """Yield each file once, those given by name first: being named takes precedence."""
        met: set[str] = set()
        for given in sorted(self._given, key=lambda given: given.path.is_dir()):
            walked = given.path.is_dir()
            for path in self._walked(given, problems) if walked else [str(given.path)]:
                if path not in met:
                    met.add(path)
                    named = given.named and not walked
                    yield _Found(path, self._id(path, given.base), named=named)

    def _walked(self, given: _Given, problems: list[Failure]) -> Iterator[str]:
        """Yield the paths of the files in a folder, and note what is left out of it."""
        walk = Walk(given.path, self._selection)
        yield from walk.files()
        problems += walk.problems
        self._left_out.update((place, None) for place in walk.left_out)

    def _id(self, path: str, base: Path) -> str:
        root = self._root or base
        above = os.path.join(root, "")
        if os.sep == "/" and path.startswith(above):
            return shown(path[len(above) :])
        try:
            relative = Path(path).relative_to(root)
        except ValueError:
            raise ConfigError(f"{shown(path)} is not under --root {shown(root)}") from None
        return shown(relative.as_posix())

    def _records(self, file: _Found, labels: Labels, seen: set[str]) -> Iterator[SourceItem]:
        source = shown(file.path)
        try:
            with open(file.path, "rb") as stream:
                lines = record_lines(stream)
                yield from record_documents(lines, source, labels, seen=seen)
        except OSError as error:
            yield Failure(source=source, code="unreadable", detail=str(error.strerror or error))

    def _messages(self, file: _Found, found: Ruled) -> Iterator[SourceItem]:
        yield from mailbox_documents(
            file.path, file.id, found.labels, self._parser, archives=self._archives
        )

    def _archive_of(self, file: _Found) -> Loader | None:
        return archive_loader(file.name) if self._archives else None

    def _items(self, file: _Found, ruled: Ruled) -> Iterator[SourceItem]:
        """Yield the document of a file, and those that are attached to it."""
        source, labels = shown(file.path), ruled.labels
        try:
            archive = None if ruled.loader else self._archive_of(file)
            named = usable(ruled.loader) if ruled.loader else None
            loader = archive or named or _loader_of(file, self._parser)
            kind: list[Json] = [loader.name, LOADERS_VERSION, file.name]
            fingerprint, content = read_content(file.path, kind, labels)
        except OSError as error:
            detail = str(error.strerror or error)
            yield Failure(source=source, code="unreadable", detail=detail)
            return
        except LoadError as error:
            failure = Failure(source=source, code=error.code, detail=error.detail)
            if error.code == "limit":  # It names the size: until that changes, it is too large.
                failure = replace(failure, fingerprint=f"{source}: {error.detail}")
            is_skipped = error.code in {"unsupported", "payload"} and not file.named
            yield replace(failure, skipped=is_skipped)
            return
        if archive is None:
            yield PendingDocument(
                id=file.id,
                source=source,
                fingerprint=fingerprint,
                load=partial(self._load, file, source, labels, loader, content),
                groups=labels.groups,
                begin=self._begin(file, loader, content),
            )
        if loader.members is not None:
            place = Place(file.id, source, labels, self._parser, archives=self._archives)
            yield from member_documents(place, content, loader)

    def _begin(self, file: _Found, loader: Loader, content: Content) -> Callable[[], None] | None:
        if not isinstance(self._parser, Worker):
            return None
        return partial(
            self._parser.begin, content, name=file.name, loader=loader, password=self._password
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


def _before_wildcard(pattern: Path) -> Path:
    parts = pattern.parts
    n_fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[: min(n_fixed, len(parts) - 1)])


def _loader_of(file: _Found, parser: Parser) -> Loader:
    """Return the loader of a file; raises `LoadError` as `find_loader` does."""
    if not file.named and (why := why_for_programs(file.name)):
        raise LoadError("payload", why)
    return loader_for(file.name, parser)


def _holds_several(file: _Found, found: Ruled) -> bool:
    if found.loader is not None:
        return found.loader.members is not None
    loader = LOADERS.get(file.suffix)
    return _holds_records(file) or file.suffix == _MAILBOX or bool(loader and loader.members)


def _holds_records(file: _Found) -> bool:
    named = file.named or file.name == RECORDS_FILE
    return named and file.suffix in _RECORD_SUFFIXES


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
