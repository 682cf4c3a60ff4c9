"""Standard input, and several sources as one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from ragkit.errors import LoadError
from ragkit.ingest_rules import IngestRule, RuledFile
from ragkit.loading.content import Content
from ragkit.loading.converting import Converting
from ragkit.loading.formats import MAX_FILE_BYTES, find_loader
from ragkit.loading.isolation import InProcess, Parser, Worker
from ragkit.loading.parsers import Parsers
from ragkit.loading.recognizing import Recognizing
from ragkit.loading.records import Labels, is_record_line, record_documents, record_lines
from ragkit.loading.remote import Reading, Remembering, Stored
from ragkit.loading.rules import Rules
from ragkit.loading.sharding import Shard
from ragkit.loading.sizes import FileSize
from ragkit.loading.sources import FileSource
from ragkit.loading.tables import is_guarded
from ragkit.loading.walking import Selection
from ragkit.types import Document, Failure, Metadata, Source, SourceItem


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


@runtime_checkable
class _Choosing(Protocol):
    """A source that leaves out some of what is there."""

    def left_out(self) -> tuple[str, ...]: ...


class Joined:
    """Several sources, one after the other, and documents given directly.

    Attributes:
        parser: Turns their files into text.
        shard: The share of the documents that is yielded.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        documents: Sequence[Document],
        parser: Parser,
        shard: Shard | None = None,
    ) -> None:
        self._sources = sources
        self._documents = documents
        self.parser = parser
        self.shard = shard or Shard(1, 1)

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

    def left_out(self) -> tuple[str, ...]:
        """Return the places that are there, but are not read: see `FileSource.left_out`."""
        choosing = (source for source in self._sources if isinstance(source, _Choosing))
        return tuple(place for source in choosing for place in source.left_out())

    def remember(self, stored: Stored) -> None:
        """Let the sources know which documents are stored."""
        for source in self._sources:
            if isinstance(source, Remembering):
                source.remember(stored)

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
        yield from filter(self.shard.takes, self._documents)
        for source in self._sources:
            items = source.documents()
            # A source of files opens none of another share.
            yield from items if isinstance(source, FileSource) else filter(self.shard.takes, items)


def open_source(
    what: Sequence[str | Path | Source | Document],
    *,
    root: str | Path | None = None,
    groups: tuple[str, ...] = (),
    metadata: Metadata | None = None,
    password: str | None = None,
    rules: Sequence[IngestRule] = (),
    isolate: bool = True,
    convert: bool = False,
    ocr: bool = False,
    selection: Selection | None = None,
    archives: bool = False,
    shard: Shard | None = None,
    n_jobs: int = 1,
    allow_private: bool = False,
    delay_seconds: float = 0.0,
    open_named: Callable[[str, Reading], Source | None] | None = None,
) -> Joined:
    """Return one source for paths, `-`, sources and documents.

    Unless `isolate`, files are parsed in this process; else in `n_jobs` others at most. With
    `convert`, those of old office programs are converted; with `ocr`, what is written in pictures
    is read. `open_named` opens what is elsewhere by its name; None if it is a path.
    """
    parser: Parser = (Worker() if n_jobs == 1 else Parsers(n_jobs)) if isolate else InProcess()
    if ocr:
        parser = Recognizing(parser)
    if convert:
        parser = Converting(parser)
    labels = Labels(groups=groups, metadata=metadata or {})
    reading = Reading(
        parser=parser,
        rules=Rules(rules, labels),
        password=password,
        selection=selection or Selection(),
        archives=archives,
        allow_private=allow_private,
        delay_seconds=delay_seconds,
        shard=shard or Shard(1, 1),
    )
    named: list[Source] = []
    paths: list[str | Path] = []
    for item in what:
        found = open_named(item, reading) if isinstance(item, str) and open_named else None
        if found is not None:
            named.append(found)
        elif isinstance(item, str | Path) and str(item) != "-":
            paths.append(item)
    sources: list[Source] = []
    if paths:
        sources.append(
            FileSource(
                paths,
                root=root,
                labels=labels,
                password=password,
                rules=rules,
                parser=parser,
                selection=selection,
                archives=archives,
                shard=shard,
            )
        )
    if "-" in [item for item in what if isinstance(item, str)]:
        sources.append(StdinSource(labels=labels, parser=parser))
    sources += named
    documents = [item for item in what if isinstance(item, Document)]
    sources += [item for item in what if not isinstance(item, str | Path | Document)]
    return Joined(sources, documents, parser, shard)
