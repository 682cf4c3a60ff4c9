"""Vectors of chunks and of their sentences: their keys, and how they are made."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ragkit.storage import StoredVectors, join_vectors, pack_sentences, pack_vector

if TYPE_CHECKING:
    from ragkit.pipeline.report import IngestReport
    from ragkit.types import Chunk, Document, Embedder, Vectors

TEXTS_AT_ONCE = 64
"""Texts per call of the embedder: an interruption waits for one call at most."""


class ChunkVectors:
    """Makes the vectors of an ingest.

    Args:
        embedder: What embeds.
        embed_title: Whether a document's title is embedded before the chunk's text.
        sentence_vectors: Whether to make a vector per sentence as well.
        report: Where what was embedded is counted.

    Attributes:
        stopped: Set by another thread to stop before the next call of the embedder.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        embed_title: bool,
        sentence_vectors: bool,
        report: IngestReport,
    ) -> None:
        self.stopped = False
        self._embedder = embedder
        self._embed_title = embed_title
        self._sentence_vectors = sentence_vectors
        self._report = report

    def key(self, document: Document, chunk: Chunk) -> bytes:
        """Return a digest of everything that this chunk's vectors are computed from."""
        import hashlib

        spans = [(a - chunk.start, b - chunk.start) for a, b in chunk.sentences]
        identity = json.dumps(
            [
                self._embedder.fingerprint,
                document.title if self._embed_title else "",
                chunk.text,
                spans if self._sentence_vectors else None,
            ]
        )
        return hashlib.sha256(identity.encode()).digest()

    def make(self, wanted: Mapping[bytes, tuple[Document, Chunk]]) -> dict[bytes, StoredVectors]:
        """Embed chunks, and their sentences if the store keeps those; count them in the report."""
        if not wanted:
            return {}
        chunks = [chunk for _, chunk in wanted.values()]
        texts = [
            f"{document.title} {chunk.text}" if self._embed_title else chunk.text
            for document, chunk in wanted.values()
        ]
        vectors = self._embedded(texts)
        self._report.embedded += len(texts)
        count_truncated = getattr(self._embedder, "count_truncated", None)
        if callable(count_truncated):
            self._report.truncated += int(str(count_truncated(texts)))
        sentences: Sequence[bytes | None] = [None] * len(chunks)
        if self._sentence_vectors:
            sentences = self._sentence_rows(chunks, vectors)
        return {
            key: StoredVectors(chunk=pack_vector(vectors[i]), sentences=sentences[i])
            for i, key in enumerate(wanted)
        }

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, some at a time, so that an interruption need not wait for all of them."""
        parts: list[Vectors] = []
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            if self.stopped:
                raise KeyboardInterrupt
            parts.append(self._embedder.embed_documents(texts[first : first + TEXTS_AT_ONCE]))
        return join_vectors(parts)

    def _sentence_rows(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[bytes]:
        """Embed all sentences; a chunk of one sentence lends it its own vector."""
        began = time.perf_counter()
        own = [len(chunk.sentences) > 1 or self._embed_title for chunk in chunks]
        texts = [
            chunk.text[a - chunk.start : b - chunk.start]
            for chunk, has_own in zip(chunks, own, strict=True)
            if has_own
            for a, b in chunk.sentences
        ]
        embedded = self._embedded(texts) if texts else vectors[:0]
        rows: list[bytes] = []
        position = 0
        for i, (chunk, has_own) in enumerate(zip(chunks, own, strict=True)):
            n_own = len(chunk.sentences) if has_own else 0
            part = embedded[position : position + n_own] if has_own else vectors[i : i + 1]
            position += n_own
            rows.append(pack_sentences(part))
        self._report.sentence_seconds += time.perf_counter() - began
        self._report.sentence_bytes += sum(map(len, rows))
        return rows
