"""Making the vectors of chunks that were stored without: what `ragkit embed` does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ragkit.costs.stopwatch import Stopwatch
from ragkit.errors import ConfigError
from ragkit.pipeline.chunk_vectors import ChunkVectors, Texts
from ragkit.pipeline.report import EmbedProgress, EmbedReport, IngestReport
from ragkit.pipeline.spending import Spending
from ragkit.pipeline.upkeep import n_waiting
from ragkit.pipeline.wanted import difference, embedder_name
from ragkit.storage import FilledChunk, Maintained, Store, StoreSettings, WaitingChunk
from ragkit.types import embeds_like, sentence_embedder

if TYPE_CHECKING:
    from ragkit.pipeline.parts import Parts
    from ragkit.types import Embedder

BATCH_CHUNKS = 32
"""Chunks per commit: what an interruption can lose, a second or two of work."""


def embed(
    parts: Parts,
    *,
    max_seconds: float | None,
    on_progress: Callable[[EmbedProgress], None] | None,
) -> EmbedReport:
    """Do what `RAG.embed` does."""
    if max_seconds is not None and not 0.0 < max_seconds < math.inf:
        raise ConfigError(f"max_seconds {max_seconds}; allowed: more than 0")
    files, store = parts.maintained(), parts.writable()
    with store.exclusive(), Spending(parts) as spending:
        settings, embedder = _settings_and_embedder(parts, store)
        watch, counted, report = Stopwatch(), IngestReport(), EmbedReport()

        def so_far() -> EmbedReport:
            report.embedded, report.truncated = counted.embedded, counted.truncated
            report.seconds, report.cpu_seconds = watch.seconds, watch.cpu_seconds
            return report

        spending.expect(so_far)
        makes = ChunkVectors(embedder, settings=settings, report=counted)
        report.remaining = n_waiting(store) or 0
        with files.settling(parts.notice):
            underived, oldest = 0, None
            while batch := files.waiting(BATCH_CHUNKS, before=oldest):
                oldest = batch[-1].row
                _fill(files, store, makes, batch)
                report.chunks += len(batch)
                report.remaining -= len(batch)
                if on_progress is not None:
                    on_progress(EmbedProgress(chunks=len(batch), remaining=report.remaining))
                if max_seconds is not None and watch.seconds >= max_seconds:
                    break
                underived += len(batch)
                if underived >= files.sizes.file:
                    files.derive()
                    underived = 0
    spending.record(so_far())
    return report


def _settings_and_embedder(parts: Parts, store: Store) -> tuple[StoreSettings, Embedder]:
    """Return the store's settings and its embedder.

    Raises:
        ConfigError: it has none, or another one is asked for.
    """
    stored = store.manifest().settings
    if stored is None:
        raise ConfigError(f"store {store.name} holds nothing yet; run: ragkit ingest PATH")
    if stored.embedder_fingerprint is None:
        raise ConfigError(
            f"store {store.name} was built with embedder {stored.embedder!r}, so there are no "
            "vectors to make; change it with: ragkit rebuild --embedder builtin"
        )
    embedder = parts.embedder()
    wanted = replace(stored, embedder=embedder_name(parts, stored))
    if embedder is None or not embeds_like(embedder, stored.embedder_fingerprint):
        fingerprint = None if embedder is None else embedder.fingerprint
        wanted = replace(wanted, embedder_fingerprint=fingerprint)
    if stored.sentence_vector_kind == "short" and sentence_embedder(embedder) is None:
        wanted = replace(wanted, sentence_vector_kind="full")
    if embedder is None or wanted != stored:
        raise ConfigError(difference(stored, wanted))
    return stored, embedder


def _fill(
    files: Maintained, store: Store, makes: ChunkVectors, batch: Sequence[WaitingChunk]
) -> None:
    """Give some chunks their vectors; what is stored under the same text is not made again."""
    texts, filled = Texts(), list[FilledChunk]()
    for_sentences = makes.sentence_keys([waiting.chunk for waiting in batch])
    for i, waiting in enumerate(batch):
        keys = None if for_sentences is None else for_sentences[i]
        key = makes.key(waiting.title, waiting.chunk)
        makes.add(texts, waiting.title, waiting.chunk, key, keys)
        filled.append(FilledChunk(row=waiting.row, key=key, sentence_keys=keys))
    files.fill(filled, makes.make(texts.not_in(store)))
