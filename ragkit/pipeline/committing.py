"""Embedding prepared documents and committing them, in order, while the next ones are read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ragkit.pipeline.chunk_vectors import ChunkVectors, Texts
from ragkit.storage import PreparedDocument, Store, StoredVectors, as_maintained

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from ragkit.costs.stopwatch import Stopwatch
    from ragkit.pipeline.report import Status

BATCH_CHUNKS = 64
"""New chunks per transaction: what an interruption can lose, and what is held in memory."""

BATCH_CHUNKS_WITHOUT_VECTORS = 512
"""The same where nothing is embedded: reading again is cheap, a transaction is not."""

BATCH_CHARACTERS = 4_000_000
"""Characters per transaction: a few long documents must not fill the memory."""

AHEAD_CHUNKS = 16
"""Chunks of a larger document whose vectors are committed ahead at a time: a second of work."""

BATCHES_WAITING = 2
"""Batches being embedded or waiting for it; with the one being read, all that is in memory."""

_Vectors: TypeAlias = dict[bytes, StoredVectors]


class Listener(Protocol):
    """Who is told what has been committed, in the thread that adds documents."""

    def written(self, item: PreparedDocument, status: Status, refused: str | None) -> None:
        """A document is stored, or the store refused it for this reason."""
        ...

    def advanced(self, item: PreparedDocument, share: float) -> None:
        """The vectors of this share of a large document are stored."""
        ...


@dataclass(slots=True)
class _Batch:
    """Documents that are written together."""

    items: list[tuple[PreparedDocument, Status]] = field(
        default_factory=list[tuple[PreparedDocument, "Status"]]
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

    @property
    def large(self) -> PreparedDocument | None:
        """The one whose chunks are made as they are written; it stands alone."""
        item = self.items[0][0] if self.items else None
        return None if item is None or item.make_portions is None else item

    def change(self, change: Callable[[PreparedDocument], PreparedDocument]) -> None:
        """Change each document; of a large one each portion, when it is made."""
        self.items = [(_changed(item, change), status) for item, status in self.items]


@dataclass(frozen=True, slots=True)
class _Portion:
    """Chunks of a large document whose vectors are committed ahead; with them, this share is."""

    item: PreparedDocument
    share: float


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is to be committed, the texts that are embedded for it, and their vectors to come."""

    what: _Batch | _Portion
    texts: Texts = field(default_factory=Texts)
    vectors: Future[_Vectors] | None = None


class Committer:
    """Embeds documents in another thread and commits them, one batch per transaction.

    A document of more chunks than a batch is committed whole, too; but its vectors are committed
    ahead, some at a time, so that an interruption does not lose them. In a store that is no folder
    of this machine, and where everything is one transaction, they are not.

    Args:
        store: Where to; None writes nothing.
        vectors: Makes vectors; None stores none.
        later: Embed nothing; chunks whose vectors are not stored yet go without.
        in_one: Whether everything is one transaction of the caller's.
        watch: Measures the stages `embed` and `store`.
        listener: Is told what has been committed.

    Attributes:
        n_chunks: Number of chunks of the documents written.
        n_sentences: Number of their sentences with vectors.
    """

    def __init__(
        self,
        store: Store | None,
        vectors: ChunkVectors | None,
        *,
        later: bool,
        in_one: bool,
        watch: Stopwatch,
        listener: Listener,
    ) -> None:
        self._store = store
        self._vectors = vectors
        self._makes = None if later or store is None else vectors
        self._in_one = in_one
        self._journal = None
        if (local := as_maintained(store)) is not None and not in_one:
            self._journal = local.journal
        self._watch = watch
        self._listener = listener
        embeds = vectors is not None and not later
        self._batch_chunks = BATCH_CHUNKS if embeds else BATCH_CHUNKS_WITHOUT_VECTORS
        self._batch = _Batch()
        self._waiting: deque[_Sent] = deque()
        self._worker: ThreadPoolExecutor | None = None
        self._n_underived = 0
        self.n_chunks = 0
        self.n_sentences = 0

    def add(self, item: PreparedDocument, status: Status) -> None:
        """Take a document; it is committed with others, or when what waits is flushed."""
        is_large = item.make_portions is not None
        if is_large or len(item.chunks) > self._batch_chunks:
            self._send()  # What is complete need not wait for it.
        self._batch.add(item, status)
        full = is_large or self._batch.n_chunks >= self._batch_chunks
        if full or self._batch.n_characters >= BATCH_CHARACTERS:
            self._send()

    def flush(self) -> None:
        """Embed and commit what is waiting."""
        self._send()
        while self._waiting:
            self._commit_oldest()

    def close(self) -> None:
        """Stop the other thread; what is waiting is not committed."""
        if self._worker is not None and self._vectors is not None:
            self._vectors.stopped = True
            self._worker.shutdown(cancel_futures=True)
            self._worker, self._vectors.stopped = None, False

    def _send(self) -> None:
        """Embed the batch in another thread, while the next is read and the last one written."""
        batch, self._batch = self._batch, _Batch()
        if not batch.items:
            return
        if self._makes is None or self._store is None:
            self._waiting.append(_Sent(batch))
            self._commit_oldest()
            return
        documents = batch.documents
        if self._journal is not None and len(documents) == 1:
            for portion, following in pairwise(chain(_portions(documents[0]), (None,))):
                assert portion is not None  # noqa: S101 (only the last is)
                documents = [portion.item]
                if following is not None:
                    self._submit(portion, documents, self._makes, self._store)
        self._submit(batch, documents, self._makes, self._store)

    def _submit(
        self,
        what: _Batch | _Portion,
        documents: Sequence[PreparedDocument],
        makes: ChunkVectors,
        store: Store,
    ) -> None:
        if self._worker is None:
            from concurrent.futures import ThreadPoolExecutor

            self._worker = ThreadPoolExecutor(1, thread_name_prefix="embed")
        texts = makes.texts(documents).not_in(store)
        for earlier in self._waiting:
            texts = texts.without(earlier.texts)
        from contextvars import copy_context

        # What counts for this thread counts in the other one, too.
        future = self._worker.submit(copy_context().run, self._embed, makes, texts)
        self._waiting.append(_Sent(what, texts, future))
        while len(self._waiting) > BATCHES_WAITING:
            self._commit_oldest()

    def _embed(self, makes: ChunkVectors, texts: Texts) -> _Vectors:
        """Return the vectors of texts; runs in a thread of its own."""
        began = time.perf_counter()
        vectors = makes.make(texts)
        self._watch.add("embed", time.perf_counter() - began, 0.0)
        return vectors

    def _commit_oldest(self) -> None:
        sent = self._waiting.popleft()
        vectors = {} if sent.vectors is None else sent.vectors.result()
        if isinstance(sent.what, _Portion):
            self._commit_ahead(sent.what, vectors)
            return
        refused: Mapping[str, str] = {}
        if self._store is not None:
            with self._watch.stage("store"):
                refused = self._write(self._store, sent.what, sent.texts, vectors)
        else:
            for item in sent.what.documents:
                deque(map(self._counted, item.portions()), maxlen=0)
        for item, status in sent.what.items:
            self._listener.written(item, status, refused.get(item.document.id))

    def _commit_ahead(self, portion: _Portion, vectors: _Vectors) -> None:
        if vectors and self._journal is not None:
            with self._watch.stage("store"):
                self._journal.commit_ahead(vectors, portion.item.document.source)
        self._listener.advanced(portion.item, portion.share)

    def _write(
        self, store: Store, batch: _Batch, embedded: Texts, vectors: _Vectors
    ) -> Mapping[str, str]:
        """Write a batch and return the ids that the store refused, and why."""
        if (makes := self._vectors) is not None:

            def lost(documents: Iterable[PreparedDocument]) -> Texts:
                # A vector that was stored when this batch was sent may have gone since.
                return makes.texts(documents).without(embedded).not_in(store)

            large = batch.large
            if self._makes is not None:
                for some in [batch.documents] if large is None else map(_alone, large.portions()):
                    vectors |= makes.make(lost(some))
            elif large is not None:
                batch.change(lambda portion: _without_keys(portion, lost((portion,))))
            else:
                missing = lost(batch.documents)
                batch.change(lambda item: _without_keys(item, missing))
        n_before = self.n_chunks
        batch.change(self._counted)
        refused = store.write(batch.documents, vectors)
        self._derive(store, self.n_chunks - n_before)
        return refused

    def _counted(self, item: PreparedDocument) -> PreparedDocument:
        """Count what is written, or would be."""
        self.n_chunks += len(item.chunks)
        self.n_sentences += sum(len(keys or ()) for keys in item.sentence_keys or ())
        return item

    def _derive(self, store: Store, n_chunks: int) -> None:
        local = as_maintained(store)
        if local is None:
            return
        self._n_underived += n_chunks
        if self._n_underived >= local.sizes.file and not self._in_one:
            # A failure now is told at the end, when it is tried again.
            local.derive()
            self._n_underived = 0


def _portions(item: PreparedDocument) -> Iterator[_Portion]:
    """Yield the chunks of a document, some at a time; all at once if they are a batch at most."""
    for portion in item.portions():
        n, keys = len(portion.chunks), portion.sentence_keys
        n_at_once = AHEAD_CHUNKS if n > BATCH_CHUNKS else BATCH_CHUNKS
        for first in range(0, n, n_at_once):
            some = slice(first, min(n, first + n_at_once))
            part = replace(
                portion,
                chunks=portion.chunks[some],
                terms=portion.terms[some],
                vector_keys=portion.vector_keys[some],
                sentence_keys=None if keys is None else keys[some],
            )
            yield _Portion(part, part.chunks[-1].end / len(item.document.text))


def _alone(item: PreparedDocument) -> Sequence[PreparedDocument]:
    return (item,)


def _changed(
    item: PreparedDocument, change: Callable[[PreparedDocument], PreparedDocument]
) -> PreparedDocument:
    if item.make_portions is None:
        return change(item)
    return replace(item, make_portions=lambda: map(change, item.portions()))


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
