"""One object that ingests, searches and answers."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, Unpack
from weakref import WeakSet

from ragkit.config import Settings
from ragkit.groups import group_names
from ragkit.pipeline.answers import Answer, AnswerStream
from ragkit.pipeline.options import (
    AskOptions,
    IngestOptions,
    PoolOptions,
    SearchOptions,
    StreamOptions,
    check_names,
)
from ragkit.pipeline.parts import Notify, Parts
from ragkit.storage.calls import CLOSE_SECONDS, Calls
from ragkit.types import Generation, Hit

if TYPE_CHECKING:
    import collections.abc

    from ragkit.pipeline.report import IngestReport, Progress
    from ragkit.prompts import Template
    from ragkit.storage import DocumentRow, Finding, Store
    from ragkit.storage.backup import BackupReport
    from ragkit.trimming import PoolChunk, TrimPolicy
    from ragkit.types import (
        Chunker,
        Document,
        Embedder,
        Generator,
        Json,
        Reranker,
        Retriever,
        Source,
        TokenCounter,
    )
    from ragkit_eval.calibration.calibrate import Calibration
    from ragkit_eval.data.datasets import Dataset

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _call(
    method: Callable[Concatenate[RAG, _P], _R],
) -> Callable[Concatenate[RAG, _P], _R]:
    """Make a method one that `close` waits for, and that raises an error after it."""

    @functools.wraps(method)
    def run(self: RAG, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._calls.one():  # pyright: ignore[reportPrivateUsage] (its own decorator)
            return method(self, *args, **kwargs)

    return run


class RAG:
    """A pipeline over a store.

    Args:
        store: A folder, the name of a remote store such as `opensearch:URL/INDEX`, or an open store
            or retriever.
        embedder: By name or an object; None takes the store's, or `builtin` for a new store.
        generator: By name or an object; None takes the settings' (`extractive`).
        trim: A trim policy, the path of one, or `off`.
        template: The name of a bundled template, the path of one, or a template.
        reranker: Reorders hits before trimming; by name or an object.
        chunker: A chunker; None makes one from the settings.
        config: Settings; the arguments above win over them.
        ledger: Path of the ledger, `off`, or None for `ledger.jsonl` in the store's folder.
        n_jobs: Threads that the built-in embedder may use, 1 to 1,024.
        notify: Called with each notice for people; None raises a `UserWarning` instead.

    A RAG may be shared between threads. Use it as a context manager, or call `close`: every method
    then raises `StoreClosedError`.
    """

    def __init__(
        self,
        store: str | Path | Store | Retriever = "./kb",
        *,
        embedder: str | Embedder | None = None,
        generator: str | Generator | None = None,
        trim: str | Path | TrimPolicy | None = None,
        template: str | Path | Template | None = None,
        reranker: str | Reranker | None = None,
        chunker: Chunker | None = None,
        config: Settings | None = None,
        ledger: str | Path | None = None,
        n_jobs: int = 1,
        notify: Notify | None = None,
    ) -> None:
        self.settings = config or Settings()
        parts = Parts(
            store,
            embedder=embedder,
            generator=generator,
            trim=trim,
            template=template,
            reranker=reranker,
            chunker=chunker,
            settings=self.settings,
            ledger=ledger,
            n_jobs=n_jobs,
            notify=notify,
        )
        named = store if isinstance(store, str | Path) else type(store).__name__
        self._calls = Calls(f"the RAG over {named}")
        self._streams: WeakSet[collections.abc.Generator[str | Generation]] = WeakSet()
        self._use(parts)

    def _use(self, parts: Parts) -> None:
        from ragkit.pipeline.certification import Certification

        self._parts, self._certification = parts, Certification(parts)

    def __enter__(self) -> RAG:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Close the store, and the generator where it was opened by name; once is enough.

        Calls under way in other threads end first. After so many seconds a local store interrupts
        those that read or write it, which raise `StoreClosedError`; what else is in use is closed
        by the last call that ends.
        """
        self._calls.close(self._close_parts, seconds=seconds)
        self._parts.interrupt()

    def _close_parts(self) -> None:
        for stream in list(self._streams):
            stream.close()
        self._parts.close()

    # --- documents ---------------------------------------------------------------------------

    @_call
    def ingest(
        self, *what: str | Path | Source | Document, **options: Unpack[IngestOptions]
    ) -> IngestReport:
        """Read documents into the store; what is unchanged, or only moved, is not embedded again.

        Args:
            what: Files, folders, glob patterns, `-` for standard input, sources, or documents.
            options: See `IngestOptions`.

        Raises:
            ConfigError: settings differ from the store's, two inputs would share an id, or `prune`
                would remove more than half and `confirm` did not agree.
            StoreBusyError: another process is writing.
        """
        from ragkit.pipeline.upkeep import ingest

        check_names("ingest", IngestOptions, options)
        return ingest(self._parts, what, options)

    @_call
    def rebuild(self, *, on_progress: Callable[[Progress], None] | None = None) -> IngestReport:
        """Re-chunk and re-embed all stored documents with this pipeline's settings, atomically.

        Readers see the old content until the last document is done.
        """
        from ragkit.pipeline.upkeep import rebuild

        return rebuild(self._parts, on_progress)

    @_call
    def delete(self, *ids: str, secure: bool = False) -> Sequence[str]:
        """Remove documents for good and return the ids that were there.

        Args:
            ids: Of documents.
            secure: As in `IngestOptions`.
        """
        from ragkit.pipeline.upkeep import delete

        return delete(self._parts, ids, secure=secure)

    @_call
    def documents(self, *, groups: Sequence[str] | None = None) -> Iterator[DocumentRow]:
        """Yield the stored documents that these groups may see."""
        readers = None if groups is None else group_names(groups)
        return self._parts.writable().documents(groups=readers)

    @_call
    def document(
        self, document_id: str, *, groups: Sequence[str] | None = None
    ) -> dict[str, Json] | None:
        """Return a document with its chunks as `ragkit show ID --json` prints it, or None."""
        from ragkit.pipeline.upkeep import document

        return document(self._parts, document_id, groups)

    rm, list, show = delete, documents, document

    # --- the store and what is applied to it ---------------------------------------------------

    @_call
    def describe(self) -> dict[str, Json]:
        """Return counts, sizes, fingerprints and configuration as `ragkit show` prints them."""
        from ragkit.pipeline.upkeep import describe

        return describe(self._parts)

    @_call
    def configuration(self) -> dict[str, Json]:
        """Return what decides answers: the store's content and settings, and all that is applied.

        Two pipelines of equal configuration give the same contexts; with a deterministic generator
        the same answers. A `…_fingerprint` of None is that of a part which has none: its settings
        are not known then, its name alone is. Nothing here names a time, or a machine other than
        the server of a model. Reads the ids of all chunks.
        """
        from ragkit.pipeline.certification import configuration

        return configuration(self._parts)

    @_call
    def corpus_sketch(self) -> dict[str, Json]:
        """Return the number of chunks and the smallest of their ids, to tell change by later."""
        from ragkit.pipeline.certification import corpus_sketch

        return corpus_sketch(self._parts)

    @property
    @_call
    def counter(self) -> TokenCounter:
        """Counts the generator's tokens where that is possible, else the built-in vocabulary's."""
        return self._parts.counter

    @_call
    def doctor(self, *, repair: bool = False) -> Sequence[Finding]:
        """Check the store; with `repair`, rebuild what is derived and update an older store."""
        from ragkit.pipeline.upkeep import doctor

        return doctor(self._parts, repair=repair)

    @_call
    def compact(self) -> int:
        """Give free space back and return the bytes saved."""
        store = self._parts.maintained()
        with store.exclusive():
            return store.compact()

    @_call
    def backup(self, destination: str | Path, *, replace: bool = False) -> BackupReport:
        """Copy one state of the store to a folder, which is a store then; readers and writer go on.

        Args:
            destination: A folder that is not there yet.
            replace: Take the place of a store that is there.

        Raises:
            ConfigError: there is something at the destination, or the store is not a folder.
            StoreDamagedError: the store is not sound; nothing is left at the destination.
        """
        from ragkit.storage.backup import back_up

        return back_up(self._parts.maintained(), Path(destination), replace=replace)

    @_call
    def restore(self, source: str | Path) -> BackupReport:
        """Put a backup in the place of the store, or where there is none yet.

        Readers see the old content or the new one, never some of both.

        Raises:
            StoreMissingError: there is no backup.
            StoreDamagedError: it is not sound; nothing was changed.
            StoreBusyError: another process is writing.
        """
        from ragkit.storage.backup import restore

        report = restore(self._parts.folder(), Path(source))
        self._parts.forget_embedder()
        return report

    @_call
    def copies(self) -> Sequence[str]:
        """Return where this pipeline knows that copies of documents stand, which `rm` leaves."""
        from ragkit.storage.backup import copies

        return copies(self._parts.folder()) if self._parts.is_local else ()

    def calibrate(self, dataset: Dataset | str | Path, **options: object) -> Calibration:
        """Find the smallest trim policy that labelled questions certify for this pipeline.

        Args:
            dataset: A `ragkit_eval.Dataset`, or what `ragkit_eval.load_dataset` reads.
            options: As `ragkit_eval.calibrate` takes them.
        """
        import importlib

        module = importlib.import_module("ragkit_eval")
        if isinstance(dataset, str | Path):
            dataset = module.load_dataset(dataset)
        found: Calibration = module.calibrate(self, dataset, **options)
        return found

    @_call
    def trimmed_by(self, policy: TrimPolicy | None) -> RAG:
        """Return this pipeline with another trim policy; None sends the untrimmed top 5.

        It shares the store and everything else, which only this one closes; it never refuses for
        lack of evidence and writes no ledger.
        """
        import copy

        other = copy.copy(self)
        other._use(self._parts.with_policy(policy))
        other.settings = other._parts.settings
        return other

    # --- search and ask ------------------------------------------------------------------------

    @_call
    def search(self, question: str, **options: Unpack[SearchOptions]) -> Sequence[Hit]:
        """Return the best hits for a question.

        Args:
            question: Data, whatever characters it holds.
            options: See `SearchOptions`.

        Raises:
            ConfigError: a value is not allowed, or the store needs `groups`.
        """
        from ragkit.pipeline.retrieval import search

        check_names("search", SearchOptions, options)
        return search(self._parts, question, options)

    @_call
    def pool(
        self, question: str, *, k: int, **options: Unpack[PoolOptions]
    ) -> tuple[Sequence[str], Sequence[PoolChunk]]:
        """Return a question's index terms and its best k chunks, prepared for trimming.

        What `ask` trims is this pool; `ragkit.trimming.rank` orders its sentences.
        """
        from ragkit.pipeline.retrieval import pool

        check_names("pool", PoolOptions, options)
        return pool(self._parts, question, k, options)

    @_call
    def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Answer a question from the store, or refuse.

        Args:
            question: Data, whatever characters it holds.
            options: See `AskOptions`.

        Raises:
            ConfigError: a value is not allowed, or the store needs `groups`.
            RemoteError: the generator failed.
        """
        from ragkit.pipeline.asking import draft, finish, generate

        check_names("ask", AskOptions, options)
        drafted = draft(self._parts, self._certification, question, options)
        dry_run = options.get("dry_run", False)
        generation = None if dry_run else generate(self._parts, drafted)
        return finish(self._parts, drafted, generation, dry_run=dry_run)

    @_call
    def stream(self, question: str, **options: Unpack[StreamOptions]) -> AnswerStream:
        """Answer in pieces; when they are used up, `.answer` of the result is the whole.

        The arguments and errors are those of `ask`, but for `dry_run`.
        """
        from ragkit.pipeline.asking import draft, finish, pieces

        check_names("stream", StreamOptions, options)
        drafted = draft(self._parts, self._certification, question, options)
        stream = pieces(self._parts, drafted)
        self._streams.add(stream)

        def done(generation: Generation | None) -> Answer:
            with self._calls.one():
                return finish(self._parts, drafted, generation)

        return AnswerStream(self._counted(stream), done)

    def _counted(self, pieces: Iterator[str | Generation]) -> Iterator[str | Generation]:
        """Make each step a call of its own: nobody knows whether there will be another."""
        while True:
            with self._calls.one():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    # --- the same for asyncio ------------------------------------------------------------------

    async def asearch(self, question: str, **options: Unpack[SearchOptions]) -> Sequence[Hit]:
        """Run `search` in a thread."""
        return await _in_thread(lambda: self.search(question, **options))

    async def aask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Run `ask` in a thread."""
        return await _in_thread(lambda: self.ask(question, **options))

    async def aingest(
        self, *what: str | Path | Source | Document, **options: Unpack[IngestOptions]
    ) -> IngestReport:
        """Run `ingest` in a thread."""
        return await _in_thread(lambda: self.ingest(*what, **options))

    async def astream(self, question: str, **options: Unpack[StreamOptions]) -> AsyncIterator[str]:
        """Run `stream` in a thread and yield its pieces."""
        stream = await _in_thread(lambda: self.stream(question, **options))
        while (piece := await _in_thread(lambda: next(stream, None))) is not None:
            yield piece


async def _in_thread(call: Callable[[], _R]) -> _R:
    import asyncio

    return await asyncio.to_thread(call)
