"""From sources to the store: load, chunk, embed, write, acknowledge."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from ragkit.costs.stopwatch import Stopwatch
from ragkit.errors import ConfigError, LoadError
from ragkit.groups import group_names
from ragkit.pipeline.chunk_vectors import ChunkVectors, Texts
from ragkit.pipeline.pruning import is_gone, text_sha256
from ragkit.pipeline.report import IngestReport, Progress, Status
from ragkit.storage import (
    PreparedDocument,
    Store,
    StoredVectors,
    StoreSettings,
    as_maintained,
)
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
    from concurrent.futures import Future, ThreadPoolExecutor

    from ragkit.pipeline.estimating import Forecaster


BATCH_CHUNKS = 64
"""New chunks per transaction: what an interruption can lose, and what is held in memory."""

BATCH_CHUNKS_WITHOUT_VECTORS = 512
"""The same where nothing is embedded: reading again is cheap, a transaction is not."""

BATCH_CHARACTERS = 4_000_000
"""Characters per transaction: a few long documents must not fill the memory."""

BATCHES_WAITING = 2
"""Batches being embedded or waiting for it; with the one being read, all that is in memory."""

ITEMS_AHEAD = 64
"""Documents whose fingerprints are looked up in one request, since a remote store is slow."""

_Vectors: TypeAlias = dict[bytes, StoredVectors]


@dataclass(slots=True)
class _Batch:
    """Documents that are written together."""

    items: list[tuple[PreparedDocument, Status]] = field(
        default_factory=list[tuple[PreparedDocument, Status]]
    )
    n_chunks: int = 0
    n_characters: int = 0

    def add(self, item: PreparedDocument, status: Status) -> None:
        self.items.append((item, status))
        self.n_chunks += len(item.chunks)
        self.n_characters += len(item.document.text)

    @property
    def documents(self) -> list[PreparedDocument]:
        return [item for item, _ in self.items]

    def leave_for_later(self, missing: Texts) -> None:
        """Let chunks go without vectors that would need any of these."""
        self.items = [(_without_keys(item, missing), status) for item, status in self.items]

    @property
    def n_sentence_keys(self) -> int:
        return sum(len(keys or ()) for item, _ in self.items for keys in item.sentence_keys or ())


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch, the texts that are embedded for it, and their vectors, which are being made."""

    batch: _Batch
    texts: Texts = field(default_factory=Texts)
    vectors: Future[_Vectors] | None = None


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
        on_progress: Called once per document, after its commit.
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
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.report = IngestReport()
        self.watch = Stopwatch(time.thread_time)
        self._began_thread_seconds = time.thread_time()
        self._store = store
        self._chunker = chunker
        self._vectors: ChunkVectors | None = None
        if embedder is not None:
            self._vectors = ChunkVectors(embedder, settings=settings, report=self.report)
        self._vectors_later = vectors_later
        embeds = embedder is not None and not vectors_later
        self._batch_chunks = BATCH_CHUNKS if embeds else BATCH_CHUNKS_WITHOUT_VECTORS
        self._dry_run = dry_run
        self._force = force
        self._looks_for_moves = looks_for_moves
        self._require_groups = require_groups
        self._on_progress = on_progress
        self.forecaster: Forecaster | None = None
        self._batch = _Batch()
        self._waiting: deque[_Sent] = deque()
        self._worker: ThreadPoolExecutor | None = None
        self._underived = 0
        self.n_grouped = 0
        self.seen: set[str] = set()
        self.failed_sources: set[str] = set()
        self.added_texts: Counter[str] = Counter()
        self.n_moved_here = 0

    def add(self, items: Iterable[SourceItem]) -> None:
        """Store all items; a failure is reported and does not stop the others."""
        try:
            for ahead in _batched(map(_storable, items), ITEMS_AHEAD):
                stored = self._stored(ahead)
                for item in ahead:
                    if isinstance(item, Failure):
                        self._fail(item)
                    else:
                        self._add(item, stored.get(item.id))
            self.flush()
        finally:
            if self._worker is not None and self._vectors is not None:
                self._vectors.stopped = True
                self._worker.shutdown(cancel_futures=True)
                self._worker, self._vectors.stopped = None, False

    def finish(self, *, parsing_cpu_seconds: float = 0.0) -> IngestReport:
        """Return the report, with the time that everything took.

        Args:
            parsing_cpu_seconds: What processes that parse have used.
        """
        if parsing_cpu_seconds:
            self.watch.add("load", 0.0, parsing_cpu_seconds)
        self.report.seconds = self.watch.seconds
        self.report.cpu_seconds = self.watch.cpu_seconds + parsing_cpu_seconds
        # All that other threads do is embedding.
        others = self.watch.cpu_seconds - (time.thread_time() - self._began_thread_seconds)
        self.report.stages = tuple(
            replace(stage, cpu_seconds=max(0.0, others)) if stage.name == "embed" else stage
            for stage in self.watch.stages
        )
        return self.report

    def flush(self) -> None:
        """Embed and commit what is waiting."""
        self._send()
        while self._waiting:
            self._commit_oldest()

    def _send(self) -> None:
        """Embed the batch in another thread, while the next is read and the last one written."""
        if not self._batch.items:
            return
        sent = _Sent(self._batch)
        makes = None if self._vectors_later else self._vectors
        if self._store is not None and not self._dry_run and makes is not None:
            if self._worker is None:
                from concurrent.futures import ThreadPoolExecutor

                self._worker = ThreadPoolExecutor(1, thread_name_prefix="embed")
            texts = makes.texts(self._batch.documents).not_in(self._store)
            for earlier in self._waiting:
                texts = texts.without(earlier.texts)
            future = self._worker.submit(self._embed, makes, texts)
            sent = _Sent(self._batch, texts, future)
        self._waiting.append(sent)
        self._batch = _Batch()
        while len(self._waiting) > (0 if sent.vectors is None else BATCHES_WAITING):
            self._commit_oldest()

    def _commit_oldest(self) -> None:
        sent = self._waiting.popleft()
        batch = sent.batch
        refused: Mapping[str, str] = {}
        if self._store is not None and not self._dry_run:
            vectors = {} if sent.vectors is None else sent.vectors.result()
            with self.watch.stage("store"):
                if self._vectors is not None:
                    # A vector that was stored when this batch was sent may have gone since.
                    texts = self._vectors.texts(batch.documents)
                    lost = texts.without(sent.texts).not_in(self._store)
                    if self._vectors_later:
                        batch.leave_for_later(lost)
                    else:
                        vectors |= self._vectors.make(lost)
                refused = self._store.write(batch.documents, vectors)
                self.report.sentences += batch.n_sentence_keys
                self._derive(batch.n_chunks)
        for item, status in batch.items:
            document = item.document
            if document.id in refused:
                reason = refused[document.id]
                self._fail(Failure(source=document.source, code="rejected", detail=reason))
            else:
                if status == "added" and self._looks_for_moves:
                    self.added_texts[text_sha256(document.text)] += 1
                self.n_grouped += bool(document.groups)
                self._done(document.id, status)

    def _derive(self, n_chunks: int) -> None:
        store = as_maintained(self._store)
        if store is None:
            return
        self._underived += n_chunks
        if self._underived >= store.sizes.file and not self._force:
            # A failure now is told at the end, when it is tried again.
            store.derive()
            self._underived = 0

    def remove(self, ids: Sequence[str]) -> None:
        """Remove documents from the store."""
        if self._store is not None and ids and not self._dry_run:
            with self.watch.stage("store"):
                self._store.delete(ids)
        for document_id in ids:
            self._done(document_id, "removed")

    def _stored(self, items: Iterable[SourceItem]) -> Mapping[str, tuple[str, str]]:
        if self._store is None:
            return {}
        return self._store.stored([item.id for item in items if not isinstance(item, Failure)])

    def _add(self, item: Document | PendingDocument, stored: tuple[str, str] | None) -> None:
        fingerprint = _fingerprint(item)
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
            self._done(item.id, "unchanged")
            return
        try:
            with self.watch.stage("load"):
                document = item if isinstance(item, Document) else item.load()
                self._check_groups(document)
            if is_unchanged:
                self._done(item.id, "unchanged")
                return
            with self.watch.stage("chunk"):
                prepared = self._prepare(document, fingerprint)
        except LoadError as error:
            detail = error.detail
            if error.code == "groups" and stored is not None:
                detail += f"; what is stored of it stays: ragkit rm {shlex.quote(item.id)}"
            self._fail(Failure(source=item.source, code=error.code, detail=detail))
            return
        self.report.chunks += len(prepared.chunks)
        if (language := prepared.language) is not None:
            self.report.languages[language] = self.report.languages.get(language, 0) + 1
        self._batch.add(prepared, "added" if stored is None else "changed")
        full = self._batch.n_chunks >= self._batch_chunks
        if full or self._batch.n_characters >= BATCH_CHARACTERS:
            self._send()

    def _check_groups(self, document: Document) -> None:
        if self._require_groups and not document.groups:
            raise LoadError("groups", f"document {document.id!r} has no groups")
        if self._force:
            return  # An earlier ragkit may have stored names that are too long today.
        try:
            group_names(document.groups)
        except ConfigError as error:
            raise LoadError("groups", str(error)) from None

    def rehearse(self, document: Document) -> Sequence[Chunk]:
        """Do what is done with a document before its vectors are made, and drop it."""
        return self._prepare(document, "").chunks

    def rehearse_vectors(self, texts: Sequence[str]) -> None:
        """Embed a chunk's text and those of its sentences as is done for a store, and drop them."""
        if self._vectors is not None:
            self._vectors.rehearse(texts)

    def _prepare(self, document: Document, fingerprint: str) -> PreparedDocument:
        chunks = self._chunker.split(document)
        if not chunks:
            raise LoadError("no_text", "there is no text in it")
        language = detect_language(document.text)
        vectors = self._vectors
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

    def _embed(self, makes: ChunkVectors, texts: Texts) -> _Vectors:
        """Return the vectors of texts; runs in a thread of its own."""
        began = time.perf_counter()
        vectors = makes.make(texts)
        self.watch.add("embed", time.perf_counter() - began, 0.0)
        return vectors

    def _fail(self, failure: Failure) -> None:
        if failure.code != "rule":  # What a rule leaves out is to be pruned, as if it were gone.
            self.failed_sources.add(failure.source)
        if failure.skipped:
            self.report.skips.append(failure)
        else:
            self.report.failures.append(failure)
        self._done(failure.source, "skipped" if failure.skipped else "failed")

    def _done(self, document_id: str, status: Status) -> None:
        self.report.documents[status] += 1
        if self._on_progress is None:
            return
        forecast = None
        if self.forecaster is not None:
            self.forecaster.note(document_id, status)
            forecast = self.forecaster.forecast()
        self._on_progress(Progress(document_id=document_id, status=status, forecast=forecast))


def _without_keys(item: PreparedDocument, missing: Texts) -> PreparedDocument:
    """Return a document in which no chunk names a vector that is missing."""
    of_sentences = item.sentence_keys or [None] * len(item.chunks)
    keys = [
        (key, own)
        if key not in missing.chunks and missing.sentences.keys().isdisjoint(own or ())
        else (None, None)
        for key, own in zip(item.vector_keys, of_sentences, strict=True)
    ]
    return replace(
        item,
        vector_keys=[key for key, _ in keys],
        sentence_keys=None if item.sentence_keys is None else [own for _, own in keys],
    )


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


def difference(stored: StoreSettings, wanted: StoreSettings) -> str:
    """Return the message that names the first setting in which two differ."""
    names = ("embedder", "chunker", "chunk_tokens", "chunk_overlap", "embed_title",
             "sentence_vectors", "sentence_vector_kind", "embedder_fingerprint",
             "chunker_fingerprint")  # fmt: skip
    name = next(n for n in names if getattr(stored, n) != getattr(wanted, n))
    ours, asked = (
        settings.kind_of_sentence_vectors
        if name == "sentence_vector_kind"
        else getattr(settings, name)
        for settings in (stored, wanted)
    )
    return (
        f"the store was built with {name} {ours!r}, this call asks for {asked!r}. "
        "Change the store with: ragkit rebuild"
    )


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
