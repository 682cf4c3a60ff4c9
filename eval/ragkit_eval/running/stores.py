"""Stores of a dataset's documents, one for every way of ingesting them, made once and kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ragkit.chunking import DEFAULT_CHUNK_TOKENS
from ragkit.config import Settings
from ragkit.errors import ConfigError, StoreBusyError
from ragkit.pipeline import RAG, IngestReport, Progress
from ragkit.pipeline.opening import (
    default_embedder_name,
    has_numpy,
    open_embedder,
    open_generator,
)
from ragkit.storage.database import FILE_NAME as STORE_FILE
from ragkit.types import Document, Embedder, Generator, fingerprint_of
from ragkit_eval.data.datasets import Dataset
from ragkit_eval.running.cache import Cache, CachingEmbedder, CachingGenerator

_WAIT_SECONDS, _POLL_SECONDS = 3600.0, 0.5

_INGEST = {
    "embedder": None,
    "chunker": "recursive",
    "chunk_tokens": DEFAULT_CHUNK_TOKENS,
    "chunk_overlap": 0,
    "embed_title": False,
    "sentence_vectors": True,
    "sentence_vector_kind": None,
}
"""Settings that decide what a store holds, with their defaults."""


class OpenedRag:
    """A `RAG` over a dataset's documents whose vectors and generations are cached.

    Args:
        dataset: The dataset whose documents are ingested.
        settings: Settings of ingest, retrieval and answers.
        cache: The cache of vectors and generations; stores are created next to it.
        store: A folder to use for the store instead. If it already contains a store, that is used
            unchanged.
        generator: Takes the place of that of the settings.
        notify: Called with each notice for people.
        on_progress: Called once per document.

    Raises:
        ConfigError: the dataset has no documents, and `store` names no store.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings,
        cache: Cache,
        *,
        store: str | Path | None = None,
        generator: Generator | None = None,
        notify: Callable[[str], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.caches: dict[str, CachingEmbedder | CachingGenerator] = {}
        given = None if store is None else Path(store)
        ready = given is not None and (given / STORE_FILE).exists()
        name = settings.embedder or (stored_embedder(given) if given and ready else None)
        name = name or default_embedder_name()
        # Without numpy a store with vectors is opened by name, and only keyword search answers.
        embedder: str | Embedder | None = None if ready else name
        opened = None
        if has_numpy() or name != "builtin":
            opened = open_embedder(name, options=settings.embedder_options)
        folder = given or cache.path.parent / "stores" / _digest(dataset, settings, opened)
        if opened is not None:
            embedder = CachingEmbedder(opened, cache, name=name)
            self.caches["embed"] = embedder
        generator = generator or open_generator(settings)
        if generator.calls_llm:
            generator = CachingGenerator(generator, cache, scope=_opened_with(settings))
            self.caches["generate"] = generator
        self.rag = RAG(
            folder,
            embedder=embedder,
            generator=generator,
            config=replace(settings, store=str(folder)),
            ledger="off",
            notify=notify,
        )
        if not ready:
            self._ingest(dataset, on_progress, notify or (lambda _: None))

    def __enter__(self) -> OpenedRag:
        return self

    def __exit__(self, *_: object) -> None:
        self.rag.close()

    def _ingest(
        self,
        dataset: Dataset,
        on_progress: Callable[[Progress], None] | None,
        notify: Callable[[str], None],
    ) -> None:
        if dataset.corpus is None and not dataset.documents:
            raise ConfigError(
                f"dataset {dataset.name!r} has no documents; name a store that holds them: "
                "--store NAME"
            )
        what = [dataset.corpus] if dataset.corpus is not None else dataset.documents
        report = self._when_free(
            lambda: self.rag.ingest(*what, on_progress=on_progress, retry_failed=True), notify
        )
        if report.documents["failed"]:
            failures = [failure for failure in report.failures if failure.code != "no_text"]
            if failures:
                first = failures[0]
                raise ConfigError(
                    f"{len(failures)} documents of {dataset.name} cannot be read; the first: "
                    f"{first.source}: {first.detail}"
                )

    def _when_free(
        self, ingest: Callable[[], IngestReport], notify: Callable[[str], None]
    ) -> IngestReport:
        """Ingest, once another evaluation that makes the same store is done with it."""
        deadline = time.monotonic() + _WAIT_SECONDS
        told = False
        while True:
            try:
                return ingest()
            except StoreBusyError as error:
                if time.monotonic() > deadline:
                    raise
                if not told:
                    notify(f"waiting: {error}")
                told = True
                time.sleep(_POLL_SECONDS)


def stored_embedder(folder: Path) -> str | None:
    """Return the name of the embedder that a store's vectors were made with."""
    from ragkit.storage import LocalStore

    store = LocalStore(folder)
    try:
        settings = store.manifest().settings
        return None if settings is None else settings.embedder
    finally:
        store.close()


def _opened_with(settings: Settings) -> str:
    """Return what tells a generator without a fingerprint from others of its name."""
    return json.dumps([settings.base_url, settings.generator_options], sort_keys=True, default=str)


def _digest(dataset: Dataset, settings: Settings, embedder: Embedder | None) -> str:
    """Return a name for the documents as they are ingested."""
    digest = hashlib.sha256()
    if dataset.corpus is not None:
        digest.update(_corpus_digest(dataset.corpus))
    for document in dataset.documents:
        digest.update(f"{document.id}\n{document.text}\n".encode())
    given: dict[str, object] = {name: getattr(settings, name) for name in _INGEST}
    defaults = {**_INGEST, "embedder": default_embedder_name()}
    asked = {name: defaults[name] if value is None else value for name, value in given.items()}
    if embedder is not None and asked["embedder"] != "builtin":
        asked["embedder_fingerprint"] = fingerprint_of(embedder)
    digest.update(json.dumps(asked, sort_keys=True).encode())
    return f"{dataset.name}-{digest.hexdigest()[:12]}"


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _corpus_digest(path: Path) -> bytes:
    """Return a digest of a file, or of the names and contents of a folder's files."""
    if path.is_file():
        return _file_digest(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix().encode("utf-8", "surrogateescape")
        digest.update(hashlib.sha256(name).digest() + _file_digest(file))
    return digest.digest()


def stored_documents(folder: str | Path) -> tuple[Document, ...]:
    """Return the documents of a store, to be ingested in other ways.

    Raises:
        ConfigError: there is no store, or it is protected: only its readers may see them.
    """
    from ragkit.storage import LocalStore

    if not (Path(folder) / STORE_FILE).exists():
        raise ConfigError(f"there is no store at {folder}")
    store = LocalStore(Path(folder))
    try:
        rows = [store.document(row.document_id) for row in list(store.documents())]
    finally:
        store.close()
    return tuple(row[0] for row in rows if row is not None)


def missing_documents(rag: RAG, dataset: Dataset, groups: Sequence[str] | None = None) -> int:
    """Return how many documents that the labels name are not in the store.

    Raises:
        ConfigError: none of them is there, so the labels cannot be meant for it.
    """
    named = {span.document_id for q in dataset.questions for e in q.evidence for span in e}
    named |= {d for q in dataset.questions for d, grade in q.relevance.items() if grade > 0}
    stored = {row.document_id for row in rag.list(groups=groups)}
    missing = named - stored
    if named and missing == named:
        raise ConfigError(
            f"no document that {dataset.name} names is in the store: it names {min(named)!r}, the "
            f"store holds {min(stored, default='nothing')!r}"
        )
    return len(missing)
