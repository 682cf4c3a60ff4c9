"""From sources to the store: load, chunk, embed, write, acknowledge."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ragkit.costs.stopwatch import Stopwatch
from ragkit.errors import ConfigError, LoadError
from ragkit.groups import group_names
from ragkit.pipeline.chunk_vectors import ChunkVectors
from ragkit.pipeline.committing import BATCH_CHARACTERS, Committer
from ragkit.pipeline.heap import give_back
from ragkit.pipeline.loading_ahead import LoadingAhead
from ragkit.pipeline.pruning import is_gone, text_sha256
from ragkit.pipeline.remembering import FailureMemory
from ragkit.pipeline.report import FoundFile, IngestReport, Progress, Status
from ragkit.storage import PreparedDocument, Store, StoreSettings, as_maintained
from ragkit.text.jsontext import check_json
from ragkit.text.printable import printable_line
from ragkit.text.words import detect_language, index_lines, index_terms
from ragkit.types import (
    Chunk,
    Chunker,
    Document,
    Embedder,
    Failure,
    PendingDocument,
    SourceItem,
)

if TYPE_CHECKING:
    from ragkit.pipeline.estimating import Forecast, Forecaster


ITEMS_AHEAD = 64
"""Documents whose fingerprints are looked up in one request, since a remote store is slow."""

LARGE_CHARACTERS = 1_000_000
LARGE_OBJECTS = 50_000
"""Of a text, and of its marks and parts: what is chunked of more takes a hundred bytes for each
character, and some hundred for each mark or part."""

PORTION_CHUNKS = 16
"""Chunks of such a document that are held at a time."""

_PASSING = {"unreadable"}
"""Codes of failures that may pass although the input does not change."""


@runtime_checkable
class _Streaming(Protocol):
    """A chunker that yields what `split` returns, without holding all of it."""

    def stream(self, document: Document) -> Iterator[Chunk]: ...


class Ingester:
    """Writes documents into a store, one batch per transaction.

    Args:
        store: Where to; the caller holds its writer's lock unless `dry_run`. None: no store yet.
        chunker: Splits documents.
        embedder: Makes vectors; None stores none.
        settings: The store's.
        vectors_later: Embed nothing; chunks whose vectors are not stored yet go without.
        dry_run: Read and chunk, but write nothing.
        force: Write unchanged documents too.
        looks_for_moves: Whether to keep a digest of each added document's text, to recognise moves.
        require_groups: Fail documents without groups.
        n_jobs: Documents that are loaded at the same time; one, with `force`.
        memory: What is known of inputs that failed before.
        on_progress: Called once per document, after its commit.
        on_step: Called when a document is begun, and as parts of a large one are committed.
    """

    def __init__(
        self,
        store: Store | None,
        *,
        chunker: Chunker,
        embedder: Embedder | None,
        settings: StoreSettings,
        vectors_later: bool = False,
        dry_run: bool = False,
        force: bool = False,
        looks_for_moves: bool = False,
        require_groups: bool = False,
        n_jobs: int = 1,
        memory: FailureMemory | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_step: Callable[[Forecast], None] | None = None,
    ) -> None:
        self.report = IngestReport(jobs=n_jobs)
        self.watch = Stopwatch(time.thread_time)
        self._began_thread_seconds = time.thread_time()
        self._ahead = LoadingAhead(1 if force else n_jobs, self.watch)
        self._store = store
        self._chunker = chunker
        self._vectors: ChunkVectors | None = None
        if embedder is not None:
            self._vectors = ChunkVectors(embedder, settings=settings, report=self.report)
        self._committer = Committer(
            None if dry_run else store,
            self._vectors,
            later=vectors_later,
            in_one=force,
            watch=self.watch,
            listener=self,
        )
        self._dry_run = dry_run
        self._force = force
        self._looks_for_moves = looks_for_moves
        self._require_groups = require_groups
        self.memory = memory or FailureMemory()
        self._on_progress = on_progress
        self._on_step = on_step
        self.forecaster: Forecaster | None = None
        self._n_bytes: dict[str, int] = {}
        self.n_grouped = 0
        self.seen: set[str] = set()
        self.failed_sources: set[str] = set()
        self.added_texts: Counter[str] = Counter()
        self.n_moved_here = 0
        self._was_large = False

    def add(self, items: Iterable[SourceItem]) -> None:
        """Store all items; a failure is reported and does not stop the others."""
        try:
            for ahead in _batched(map(_storable, items), ITEMS_AHEAD):
                stored = self._stored(ahead)
                self._ahead.expect(self._to_load(ahead, stored))
                for item in ahead:
                    if isinstance(item, Failure):
                        self._fail(item)
                    else:
                        self._add(item, stored.get(item.id))
                        if self._was_large:
                            self._committer.flush()  # The next may be as large.
                            give_back()
                            self._was_large = False
            self._committer.flush()
        finally:
            self._committer.close()
            self._ahead.close()

    def _to_load(
        self, items: Iterable[SourceItem], stored: Mapping[str, tuple[str, str]]
    ) -> Iterator[PendingDocument]:
        """Yield the documents that are going to be read, as far as can be said before."""
        for item in items:
            if isinstance(item, PendingDocument):
                is_same = stored.get(item.id, ("",))[0] == item.fingerprint
                known = self.memory.before(item.source, item.fingerprint)
                if self._force or not (is_same or known):
                    yield item

    def finish(self, *, parsing_cpu_seconds: float = 0.0) -> IngestReport:
        """Return the report, with the time that everything took.

        Args:
            parsing_cpu_seconds: What processes that parse have used.
        """
        if parsing_cpu_seconds:
            self.watch.add("load", 0.0, parsing_cpu_seconds)
        if self.forecaster is not None:
            self.forecaster.finish()
            self._step()
        self.report.chunks += self._committer.n_chunks
        self.report.sentences = self._committer.n_sentences
        self.report.seconds = self.watch.seconds
        self.report.cpu_seconds = self.watch.cpu_seconds + parsing_cpu_seconds
        # All else that other threads do is embedding.
        own = time.thread_time() - self._began_thread_seconds
        others = self.watch.cpu_seconds - own - self._ahead.cpu_seconds
        self.report.stages = tuple(
            replace(stage, cpu_seconds=max(0.0, others)) if stage.name == "embed" else stage
            for stage in self.watch.stages
        )
        return self.report

    def remove(self, ids: Sequence[str]) -> None:
        """Remove documents from the store."""
        if self._store is not None and ids and not self._dry_run:
            with self.watch.stage("store"):
                self._store.delete(ids)
        for document_id in ids:
            self._done(document_id, "removed")

    def written(self, item: PreparedDocument, status: Status, refused: str | None) -> None:
        """Acknowledge a document that has been committed, or report that the store refused it."""
        document = item.document
        if refused is not None:
            self._fail(Failure(source=document.source, code="rejected", detail=refused))
            return
        if status == "added" and self._looks_for_moves:
            self.added_texts[text_sha256(document.text)] += 1
        self.n_grouped += bool(document.groups)
        self._done(document.id, status, document.source)

    def advanced(self, item: PreparedDocument, share: float) -> None:
        """Tell that the vectors of a share of a large document have been committed."""
        if self.forecaster is not None:
            self.forecaster.advance(item.document.source, share)
            self._step()

    def _begin(self, item: Document | PendingDocument) -> None:
        if self.forecaster is not None:
            self.forecaster.begin(item.source)
            self._step()

    def _step(self) -> None:
        if self._on_step is not None and self.forecaster is not None:
            self._on_step(self.forecaster.forecast())

    def _stored(self, items: Iterable[SourceItem]) -> Mapping[str, tuple[str, str]]:
        if self._store is None:
            return {}
        return self._store.stored([item.id for item in items if not isinstance(item, Failure)])

    def _add(self, item: Document | PendingDocument, stored: tuple[str, str] | None) -> None:
        fingerprint = _fingerprint(item)
        before = self.memory.before(item.source, fingerprint)
        if item.id in self.seen:
            self._fail(
                Failure(
                    source=item.source,
                    code="collision",
                    detail=f"id {item.id!r} was already read in this call",
                )
            )
            return
        self.seen.add(item.id)
        if isinstance(item, PendingDocument) and item.n_bytes is not None:
            self._n_bytes[item.id] = item.n_bytes
        is_same = stored is not None and stored[0] == fingerprint
        is_unchanged = is_same and not self._force
        if stored is not None and stored[1] != item.source:
            # The same file in another place, for example of a folder that moved with its store.
            if not (is_same and is_gone(stored[1])):
                self._fail(_taken(item, stored[1]))
                return
            self.n_moved_here += 1
            is_unchanged = False
        # Unchanged documents without groups are to fail too.
        if is_unchanged and (item.groups or not self._require_groups):
            self._done(item.id, "unchanged", item.source)
            return
        if before is not None:
            self._fail(before)
            return
        self._read(item, fingerprint, stored, is_unchanged=is_unchanged)

    def _read(
        self,
        item: Document | PendingDocument,
        fingerprint: str,
        stored: tuple[str, str] | None,
        *,
        is_unchanged: bool,
    ) -> None:
        self._begin(item)
        try:
            with self.watch.stage("load"):
                document = item if isinstance(item, Document) else self._ahead.load(item)
            if (problem := self._problem_with_groups(document)) is not None:
                self._fail_to_load(item, problem, stored)
                return
            if is_unchanged:
                self._done(item.id, "unchanged", item.source)
                return
            with self.watch.stage("chunk"):
                prepared = self._prepare(document, fingerprint)
        except LoadError as error:
            self._fail_to_load(item, error, stored, fingerprint)
            return
        for why, n in document.dropped.items():
            self.report.dropped[why] += n
        if (language := prepared.language) is not None:
            self.report.languages[language] = self.report.languages.get(language, 0) + 1
        self._committer.add(prepared, "added" if stored is None else "changed")

    def _problem_with_groups(self, document: Document) -> LoadError | None:
        """Return what this call, rather than the document, finds wrong with its groups."""
        if self._require_groups and not document.groups:
            return LoadError("groups", f"document {document.id!r} has no groups")
        if self._force:
            return None  # An earlier ragkit may have stored names that are too long today.
        try:
            group_names(document.groups)
        except ConfigError as error:
            return LoadError("groups", str(error))
        return None

    def _fail_to_load(
        self,
        item: Document | PendingDocument,
        error: LoadError,
        stored: tuple[str, str] | None,
        fingerprint: str | None = None,
    ) -> None:
        detail = error.detail
        if error.code == "groups" and stored is not None:
            detail += f"; what is stored of it stays: ragkit rm {shlex.quote(item.id)}"
        if error.may_pass or error.code in _PASSING:
            fingerprint = None
        self._fail(
            Failure(source=item.source, code=error.code, detail=detail, fingerprint=fingerprint)
        )

    def rehearse(self, document: Document) -> Sequence[Chunk]:
        """Do what is done with a document before its vectors are made, and drop it."""
        return self._prepare(document, "", whole=True).chunks

    def rehearse_vectors(self, texts: Sequence[str]) -> None:
        """Embed a chunk's text and those of its sentences as is done for a store, and drop them."""
        if self._vectors is not None:
            self._vectors.rehearse(texts)

    def _prepare(
        self, document: Document, fingerprint: str, *, whole: bool = False
    ) -> PreparedDocument:
        chunker = self._chunker
        can_wait = self._store is None or as_maintained(self._store) is not None
        may_be_part = not whole and can_wait and _is_large(document)
        if may_be_part and isinstance(chunker, _Streaming):
            self._was_large = True
            prepared = self._prepared(document, fingerprint, ())
            make = partial(self._portions, prepared, chunker.stream)
            return replace(prepared, make_portions=make)
        chunks = self._chunker.split(document)
        if not chunks:
            raise LoadError("no_text", "there is no text in it")
        return self._prepared(document, fingerprint, chunks)

    def _portions(
        self, large: PreparedDocument, stream: Callable[[Document], Iterator[Chunk]]
    ) -> Iterator[PreparedDocument]:
        """Yield a large document with some of its chunks at a time: all would fill the memory."""
        chunks = stream(large.document)
        while True:
            with self.watch.stage("chunk"):
                some = list(islice(chunks, PORTION_CHUNKS))
                portion = self._prepared(large.document, large.fingerprint, some)
            if not some:
                return
            yield portion

    def _prepared(
        self, document: Document, fingerprint: str, chunks: Sequence[Chunk]
    ) -> PreparedDocument:
        language, vectors = detect_language(document.text), self._vectors
        return PreparedDocument(
            document=document,
            fingerprint=fingerprint,
            language=language,
            chunks=chunks,
            terms=[index_words(chunk, document.title, language) for chunk in chunks],
            vector_keys=[
                None if vectors is None else vectors.key(document.title, chunk) for chunk in chunks
            ],
            sentence_keys=None if vectors is None else vectors.sentence_keys(chunks),
        )

    def _fail(self, failure: Failure) -> None:
        # What a rule leaves out is to be pruned, as if it were gone; what is ignored, if agreed to.
        if failure.code not in {"rule", "ignored"}:
            self.failed_sources.add(failure.source)
        failure = self.memory.note(failure)
        if failure.skipped:
            self.report.skips.append(failure)
        else:
            self.report.failures.append(failure)
        status: Status = "skipped" if failure.skipped else "failed"
        self._done(failure.source, status, failure.source, f"{failure.code}: {failure.detail}")

    def _done(self, document_id: str, status: Status, source: str = "", detail: str = "") -> None:
        self.report.note(document_id, status)
        if self._dry_run:
            self.report.files.append(
                FoundFile(document_id=document_id, source=source, status=status, detail=detail)
            )
        forecast, n_bytes = None, self._n_bytes.pop(document_id, None)
        if self.forecaster is not None:
            self.forecaster.note(source, status, n_bytes)
            forecast = self.forecaster.forecast()
        if self._on_progress is not None:
            self._on_progress(Progress(document_id=document_id, status=status, forecast=forecast))


def _is_large(document: Document) -> bool:
    """Whether a document is chunked while it is written, some chunks at a time."""
    n_objects = len(document.marks) + len(document.parts)
    is_long = len(document.text) > LARGE_CHARACTERS or n_objects > LARGE_OBJECTS
    return is_long and not document.text.isspace()


def _batched(items: Iterable[SourceItem], n: int) -> Iterator[list[SourceItem]]:
    """Yield n items at a time; fewer if their text is long, or at the end."""
    batch: list[SourceItem] = []
    n_characters = 0
    for item in items:
        batch.append(item)
        n_characters += len(item.text) if isinstance(item, Document) else 0
        if len(batch) >= n or n_characters >= BATCH_CHARACTERS:
            yield batch
            batch, n_characters = [], 0
    if batch:
        yield batch


def index_words(chunk: Chunk, title: str, language: str | None) -> str:
    """Return a chunk's index terms, one line per unit, then those of its titles.

    They are the document's title and the headings above the chunk's start: what a chunk is about
    often stands there alone.
    """
    # Loads all loaders, which asking does not need.
    from ragkit.loading.loaded import MAX_NAME_CHARACTERS

    spans = [(a - chunk.start, b - chunk.start) for a, b in chunk.sentences if a < b]
    lines = index_lines(chunk.text, spans, language=language)
    headings = chunk.location().heading if chunk.units else ()
    titles = dict.fromkeys(name[:MAX_NAME_CHARACTERS] for name in (title, *headings) if name)
    if titles:
        lines.append(" ".join(index_terms(" ".join(titles), language=language)))
    return "\n".join(lines)


def _taken(item: Document | PendingDocument, stored_from: str) -> Failure:
    detail = f"id {item.id!r} is already stored from {stored_from}"
    if is_gone(stored_from):
        detail += (
            ", which is gone, with another content. Where this file took its place: ragkit rm "
            f"{shlex.quote(item.id)}; then ingest again"
        )
    else:
        detail += "; tell the two apart with --root, or remove one: ragkit rm ID"
    return Failure(source=item.source, code="collision", detail=detail)


def _storable(item: SourceItem) -> SourceItem:
    """Return the item, or a failure if no store can hold the document's labels."""
    if isinstance(item, Failure):
        return item
    own = [item.title, item.metadata] if isinstance(item, Document) else []
    if not own and item.id.isascii() and item.source.isascii():
        return item
    try:
        check_json([item.id, item.source, *own])
    except ValueError as error:
        detail = f"id, title, metadata or groups cannot be stored: {error}"
        return Failure(source=printable_line(item.source), code="broken", detail=detail)
    return item


def _fingerprint(item: Document | PendingDocument) -> str:
    if isinstance(item, PendingDocument):
        return item.fingerprint
    import hashlib

    identity = json.dumps([item.text, item.title, item.metadata, item.groups])
    return hashlib.sha256(identity.encode()).hexdigest()


def stored_document(
    store: Store, document_id: str, read_again: Callable[[Document], Document] | None = None
) -> SourceItem:
    """Return a stored document for a rebuild; it keeps its fingerprint, so that ingests skip it.

    `read_again` adds what the store does not hold.
    """
    fingerprint, source = store.stored([document_id])[document_id]

    def load() -> Document:
        found = store.document(document_id, ignore_groups=True)
        assert found is not None  # noqa: S101 (the writer's lock is held)
        document = replace(found[0], source=source)
        return document if read_again is None else read_again(document)

    return PendingDocument(id=document_id, source=source, fingerprint=fingerprint, load=load)
