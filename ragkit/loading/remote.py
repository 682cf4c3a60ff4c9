"""Files that are not on this machine: how what a connector lists and fetches becomes documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath
from typing import Protocol, TypeAlias, runtime_checkable

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.converting import loader_for
from ragkit.loading.formats import (
    ARCHIVES,
    LOADERS,
    LOADERS_VERSION,
    Loader,
    archive_loader,
    usable,
)
from ragkit.loading.inside import Place, member_documents
from ragkit.loading.isolation import Parser
from ragkit.loading.payloads import why_for_programs
from ragkit.loading.records import Digest, Labels, digest
from ragkit.loading.rules import Rules
from ragkit.loading.sharding import Shard
from ragkit.loading.walking import Selection
from ragkit.types import Document, Failure, Metadata, PendingDocument, SourceItem

Fetched: TypeAlias = tuple[Content, Metadata]
"""A file's bytes, and what is known of it besides."""

Stored: TypeAlias = Callable[[Sequence[str]], Mapping[str, tuple[str, str]]]
"""Returns fingerprint and source of the stored ones among some documents, by their ids."""


@runtime_checkable
class Remembering(Protocol):
    """A source that asks a server only for what has changed since a document was stored."""

    def remember(self, stored: Stored) -> None:
        """Take what tells which documents are stored."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file elsewhere.

    Attributes:
        id: Its address; also the document's source.
        path: What rules and patterns are matched with, without a slash at an end.
        name: Its suffix decides on the loader.
        named: Whether it was given itself, so that patterns do not leave it out.
    """

    id: str
    path: str
    name: str
    named: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What holds for all files of a call, wherever they are.

    Attributes:
        parser: Turns them into text.
        rules: What applies to which files, by their paths.
        password: Opens encrypted files.
        selection: Which of the files that were not named are read.
        archives: Whether the files in archives are documents, `id#name`.
        allow_private: Whether addresses of this machine and of private networks may be asked.
        delay_seconds: Shortest time between two requests to a host.
        shard: The share of the documents that is read; what belongs to another is not fetched.
    """

    parser: Parser
    rules: Rules = field(default_factory=lambda: Rules((), Labels()))
    password: str | None = None
    selection: Selection = field(default_factory=Selection)
    archives: bool = False
    allow_private: bool = False
    delay_seconds: float = 0.0
    shard: Shard = field(default_factory=lambda: Shard(1, 1))

    def is_elsewhere(self, file: RemoteFile) -> bool:
        """Whether all that a file can hold is one document of another share."""
        if self.shard.owns(file.id):
            return False
        loader = LOADERS.get(PurePath(file.name).suffix.lower())
        may_hold_several = loader is not None and loader.members is not None
        return not (may_hold_several or (self.archives and archive_loader(file.name)))

    def left_out(self, file: RemoteFile) -> Failure | None:
        """Return why a file is not to be read, as rules and patterns have it; None if it is."""
        if (rule := self.rules.find(file.path)).skip:
            return _skipped(file, "rule", f"{rule.where} leaves it out")
        why = None if file.named else self.selection.why_not(tuple(file.path.split("/")))
        return None if why is None else _skipped(file, "ignored", why)

    def fingerprint(self, file: RemoteFile) -> Digest:
        """Begin a fingerprint with everything that is known without the file itself."""
        found = self.rules.find(file.path)
        loader = "" if found.loader is None else found.loader.name
        return digest(["remote", LOADERS_VERSION, loader, file.name], found.labels)

    def documents(
        self, file: RemoteFile, fingerprint: str, fetch: Callable[[], Fetched]
    ) -> Iterator[SourceItem]:
        """Yield the document of a file, and those that are attached to it or in it.

        Args:
            file: The file, which is not left out.
            fingerprint: Changes whenever its document could.
            fetch: Returns the file; may raise `LoadError`.
        """
        found = self.rules.find(file.path)
        try:
            archive = archive_loader(file.name) if self.archives and not found.loader else None
            loader = archive or (usable(found.loader) if found.loader else self._loader(file))
            if loader.members is not None:
                fetched = fetch()
                fetch = partial(_given, fetched)
        except LoadError as error:
            is_skipped = error.code in {"unsupported", "payload"} and not file.named
            yield Failure(source=file.id, code=error.code, detail=error.detail, skipped=is_skipped)
            return
        labels = found.labels
        if loader not in ARCHIVES.values():
            yield PendingDocument(
                id=file.id,
                source=file.id,
                fingerprint=fingerprint,
                load=partial(self._load, file, labels, loader, fetch),
                groups=labels.groups,
            )
        if loader.members is not None:
            place = Place(file.id, file.id, labels, self.parser, archives=self.archives)
            yield from member_documents(place, fetch()[0], loader)

    def _loader(self, file: RemoteFile) -> Loader:
        if not file.named and (why := why_for_programs(file.name)):
            raise LoadError("payload", why)
        return loader_for(file.name, self.parser)

    def _load(
        self, file: RemoteFile, labels: Labels, loader: Loader, fetch: Callable[[], Fetched]
    ) -> Document:
        content, metadata = fetch()
        loaded = self.parser.load(content, name=file.name, loader=loader, password=self.password)
        loaded = replace(loaded, metadata={**loaded.metadata, **metadata})
        return labels.document(file.id, file.id, loaded)


def _given(fetched: Fetched) -> Fetched:
    return fetched


def _skipped(file: RemoteFile, code: str, detail: str) -> Failure:
    return Failure(source=file.id, code=code, detail=detail, skipped=True)
