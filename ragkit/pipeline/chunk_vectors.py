"""Vectors of chunks and of their sentences: what is embedded, under which keys."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from ragkit.costs.metering import meter
from ragkit.storage import (
    PreparedDocument,
    Store,
    StoredVectors,
    StoreSettings,
    as_maintained,
    pack_sentences,
    pack_vector,
    text_key,
)
from ragkit.types import sentence_embedder

if TYPE_CHECKING:
    from ragkit.pipeline.report import IngestReport
    from ragkit.types import Chunk, Embedder, Vectors

TEXTS_AT_ONCE = 64
"""Texts per call of the embedder: an interruption waits for one call at most."""

SENTENCES_AT_ONCE = 512
"""The same for sentences, which are short: those of one length are embedded in one pass."""


@dataclass(slots=True)
class Texts:
    """Texts to embed, by key: those of chunks and those of sentences; some may be both."""

    chunks: dict[bytes, str] = field(default_factory=dict[bytes, str])
    sentences: dict[bytes, str] = field(default_factory=dict[bytes, str])

    def without(self, others: Texts) -> Texts:
        """Return those that are not among the others; a sentence may be a chunk there."""
        return self.of(
            self.chunks.keys() - others.chunks.keys(),
            self.sentences.keys() - others.sentences.keys() - others.chunks.keys(),
        )

    def of(self, chunks: Collection[bytes], sentences: Collection[bytes]) -> Texts:
        """Return those of these keys, in this order."""
        return Texts(
            {key: text for key, text in self.chunks.items() if key in chunks},
            {key: text for key, text in self.sentences.items() if key in sentences},
        )

    def not_in(self, store: Store) -> Texts:
        """Return those whose vectors a store does not hold."""
        local = as_maintained(store)
        known = set[bytes]() if local is None else local.known_sentences(self.sentences.keys())
        return self.of(
            self.chunks.keys() - store.known_vectors(self.chunks.keys()),
            self.sentences.keys() - known,
        )


class ChunkVectors:
    """Makes the vectors of an ingest.

    Args:
        embedder: What embeds.
        settings: The store's: whether a title is embedded before a chunk's text, and which
            vectors of sentences are made.
        report: Where what was embedded is counted.

    Attributes:
        stopped: Set by another thread to stop before the next call of the embedder.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        settings: StoreSettings,
        report: IngestReport,
    ) -> None:
        self.stopped = False
        self._embedder = embedder
        # Of the store, whose vectors may be of weights that these are compatible with.
        self._fingerprint = settings.embedder_fingerprint or embedder.fingerprint
        self._embed_title = settings.embed_title
        self._sentence_vectors = settings.sentence_vectors
        self._short = (
            sentence_embedder(embedder) if settings.sentence_vector_kind == "short" else None
        )
        self._report = report

    def key(self, title: str, chunk: Chunk) -> bytes:
        """Return the key of the vector of a chunk: a digest of what it is computed from."""
        return text_key(self._fingerprint, self._text(title, chunk))

    def sentence_keys(self, chunks: Sequence[Chunk]) -> Sequence[Sequence[bytes]] | None:
        """Return the keys of the vectors of each chunk's sentences; None where there are none."""
        if not self._sentence_vectors:
            return None
        fingerprint = self._fingerprint
        if self._short is not None:
            fingerprint += f" {self._short.sentence_fingerprint}"
        return [[text_key(fingerprint, text) for text in sentence_texts(c)] for c in chunks]

    def texts(self, items: Iterable[PreparedDocument]) -> Texts:
        """Return what is embedded of documents, each text once."""
        texts = Texts()
        for item in chain.from_iterable(whole.portions() for whole in items):
            for_sentences = item.sentence_keys or [None] * len(item.chunks)
            for key, keys, chunk in zip(item.vector_keys, for_sentences, item.chunks, strict=True):
                self.add(texts, item.document.title, chunk, key, keys)
        return texts

    def add(
        self,
        texts: Texts,
        title: str,
        chunk: Chunk,
        key: bytes | None,
        sentence_keys: Sequence[bytes] | None,
    ) -> None:
        """Add what is embedded of a chunk, under these keys."""
        if key is not None:
            texts.chunks.setdefault(key, self._text(title, chunk))
        if sentence_keys is not None:
            texts.sentences.update(zip(sentence_keys, sentence_texts(chunk), strict=True))

    def make(self, wanted: Texts) -> dict[bytes, StoredVectors]:
        """Embed texts and count them in the report; one that is both is embedded once."""
        chunks, sentences = list(wanted.chunks.values()), wanted.sentences
        blocks = list(self._embedded(chunks))
        self._report.embedded += len(chunks)
        count_truncated = getattr(self._embedder, "count_truncated", None)
        if callable(count_truncated) and chunks:
            self._report.truncated += int(str(count_truncated(chunks)))
        of_chunks = [pack_vector(vector) for block in blocks for vector in block]
        shared = (packed for block in blocks for packed in _of_sentences(block))
        made = {
            key: StoredVectors(chunk=chunk, sentence=sentence if key in sentences else None)
            for key, chunk, sentence in zip(wanted.chunks, of_chunks, shared, strict=True)
        }
        began = time.perf_counter()
        own = {key: text for key, text in sentences.items() if key not in made}
        of_sentences = (
            packed
            for block in self._embedded(list(own.values()), sentences=True)
            for packed in _of_sentences(block)
        )
        for key, packed in zip(own, of_sentences, strict=True):
            made[key] = StoredVectors(sentence=packed)
        self._report.sentences_embedded += len(own)
        self._report.sentence_seconds += time.perf_counter() - began
        self._report.sentence_bytes += sum(len(made[key].sentence or b"") for key in sentences)
        return made

    def rehearse(self, texts: Sequence[str]) -> None:
        """Embed a chunk's text, the first of these, and those of its sentences; count nothing."""
        self._embedder.embed_documents(texts[:1])
        if self._sentence_vectors:
            for _ in self._embedded(texts[1:], sentences=True):
                pass

    def _text(self, title: str, chunk: Chunk) -> str:
        return f"{title} {chunk.text}" if self._embed_title else chunk.text

    def _embedded(self, texts: Sequence[str], *, sentences: bool = False) -> Iterator[Vectors]:
        """Embed texts, some at a time, so that an interruption need not wait for all of them."""
        at_once = SENTENCES_AT_ONCE if sentences else TEXTS_AT_ONCE
        embed = self._embedder.embed_documents
        if sentences and self._short is not None:
            embed = self._short.embed_sentences
        for first in range(0, len(texts), at_once):
            if self.stopped:
                raise KeyboardInterrupt
            with meter().embedding():
                vectors = embed(texts[first : first + at_once])
            yield vectors


def sentence_texts(chunk: Chunk) -> list[str]:
    """Return the texts of a chunk's sentences."""
    return [chunk.text[a - chunk.start : b - chunk.start] for a, b in chunk.sentences]


def _of_sentences(vectors: Vectors) -> list[bytes]:
    """Return each vector as that of a sentence is stored."""
    packed, n_bytes = pack_sentences(vectors), vectors.shape[1]
    return [packed[i : i + n_bytes] for i in range(0, len(packed), n_bytes)]
