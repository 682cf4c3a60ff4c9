"""One object that ingests, searches and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Unpack
from weakref import WeakSet

from ragkit.config import Settings
from ragkit.pipeline.answers import Answer
from ragkit.pipeline.management import StoreMethods, counted
from ragkit.pipeline.options import (
    AskOptions,
    IngestOptions,
    PoolOptions,
    SearchOptions,
    StreamOptions,
    check_names,
)
from ragkit.pipeline.parts import Notify, Parts
from ragkit.storage.calls import CLOSE_SECONDS, Calls, preload
from ragkit.types import Generation, Hit, Json

if TYPE_CHECKING:
    import collections.abc

    from ragkit.costs.feedback import Feedback
    from ragkit.pipeline.report import IngestReport
    from ragkit.pipeline.streaming import AnswerStream, AsyncAnswerStream
    from ragkit.prompts import Template
    from ragkit.storage import Store
    from ragkit.trimming import PoolChunk, TrimPolicy
    from ragkit.types import (
        Chunker,
        Document,
        Embedder,
        Generator,
        Reranker,
        Retriever,
        Source,
    )
    from ragkit_eval.calibration.task import Calibration
    from ragkit_eval.data.datasets import Dataset

ASYNC_THREADS = 32
"""Calls of `asearch`, `aask`, `astream` and `aingest` that run at the same time."""


class RAG(StoreMethods):
    """A pipeline over a store.

    Args:
        store: A folder, the name of a remote store such as `opensearch:URL/INDEX`, or an open store
            or retriever.
        embedder: An embedder, or its name. None means the store's embedder; for a new store,
            `builtin`.
        generator: A generator, or its name. None means the one in the settings (by default
            `extractive`).
        trim: A trim policy, `bundled`, `tight`, the path of a policy file, or `off`.
        template: A template, the name of a bundled template, or the path of a template file.
        reranker: A reranker, or its name. It reorders hits before they are trimmed.
        chunker: A chunker. None makes one according to the settings.
        config: Settings. The arguments above take precedence over them.
        ledger: Path of the ledger, `off`, or None for `ledger.jsonl` in the store's folder.
        n_jobs: Processes that parse files, threads that load documents, and threads of the
            built-in embedder, 1 to 1,024 of each.
        async_threads: Calls of the asynchronous methods that run at the same time. None takes as
            many as the service profile of the settings says, or 32.
        max_waiting: Calls that may wait for such a thread; more raise `BusyError`. None for any
            number.
        notify: Called with each message that is meant for people. With None, a `UserWarning` is
            issued instead.
        on_record: Called with each line of the ledger as it is written, also where there is no
            ledger: counts and costs, no content. Must be quick.

    A RAG may be shared between threads. Use it as a context manager, or call `close` at the end.
    After that, every method raises `StoreClosedError`.
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
        async_threads: int | None = None,
        max_waiting: int | None = None,
        notify: Notify | None = None,
        on_record: Callable[[Mapping[str, Json]], None] | None = None,
    ) -> None:
        from ragkit.pipeline.workers import Workers

        self.settings = config or Settings()
        self._workers = Workers(
            _n_at_once(self.settings) if async_threads is None else async_threads, max_waiting
        )
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
        parts.on_record = on_record
        named = store if isinstance(store, str | Path) else type(store).__name__
        self._calls = Calls(f"the RAG over {named}")
        self._streams: WeakSet[collections.abc.Generator[str | Generation]] = WeakSet()
        self._use(parts)

    def _use(self, parts: Parts) -> None:
        preload("ragkit.pipeline.asking", "ragkit.pipeline.upkeep")
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
        """Close the store, and the generator if it was opened by name.

        This waits for calls that are running in other threads. After the given number of seconds, a
        local store interrupts the calls that still read or write it, and they raise
        `StoreClosedError`. Everything else that is in use is closed by the last call that ends.
        Calling `close` twice does no harm.
        """
        self._workers.close()
        self._calls.close(self._close_parts, seconds=seconds)
        self._parts.interrupt()

    def _close_parts(self) -> None:
        for stream in list(self._streams):
            stream.close()
        self._parts.close()

    @counted
    def ingest(
        self, *what: str | Path | Source | Document, **options: Unpack[IngestOptions]
    ) -> IngestReport:
        """Read documents into the store; unchanged or moved documents are not embedded again.

        Args:
            what: Files, folders, glob patterns, `-` for standard input, addresses (`https://…`,
                `s3://…`, `urls:FILE`), sources, or documents.
            options: See `IngestOptions`.

        Raises:
            ConfigError: settings differ from the store's, two inputs would share an id, or `prune`
                would remove more than half and `confirm` did not agree.
            StoreBusyError: another process is writing.
        """
        from ragkit.pipeline.upkeep import ingest

        check_names("ingest", IngestOptions, options)
        return ingest(self._parts, what, options)

    def calibrate(self, dataset: Dataset | str | Path, **options: object) -> Calibration:
        """Find the trim policy with the smallest context that labelled questions certify.

        Args:
            dataset: A `ragkit_eval.Dataset`, or a path that `ragkit_eval.load_dataset` can read.
            options: Keyword arguments of `ragkit_eval.calibrate`.
        """
        import importlib

        module = importlib.import_module("ragkit_eval")
        if isinstance(dataset, str | Path):
            dataset = module.load_dataset(dataset)
        found: Calibration = module.calibrate(self, dataset, **options)
        return found

    @counted
    def trimmed_by(self, policy: TrimPolicy | None) -> RAG:
        """Return this pipeline with another trim policy; None sends the untrimmed top 5.

        The returned pipeline shares the store and everything else with this one, and only this one
        closes them. It never refuses because of low support, and writes no ledger.
        """
        import copy

        other = copy.copy(self)
        other._use(self._parts.with_policy(policy))
        other.settings = other._parts.settings
        return other

    @counted
    def warm(self) -> None:
        """Load what the first answer would have to load: the store, the embedder and the model.

        Call it before a service takes questions. A remote model is not called.

        Raises:
            StoreMissingError: there is no store yet.
            RemoteError: a local model cannot be loaded.
        """
        from ragkit.pipeline.searching import warm

        warm(self._parts)

    # --- search and ask ------------------------------------------------------------------------

    @counted
    def search(self, question: str, **options: Unpack[SearchOptions]) -> Sequence[Hit]:
        """Return the best hits for a question.

        Args:
            question: Data, whatever characters it holds.
            options: See `SearchOptions`.

        Raises:
            ConfigError: a value is not allowed, or the store needs `groups`.
        """
        from ragkit.pipeline.searching import search

        check_names("search", SearchOptions, options)
        return search(self._parts, question, options)

    @counted
    def pool(
        self,
        question: str,
        *,
        k: int,
        drops_repeats: bool = True,
        **options: Unpack[PoolOptions],
    ) -> tuple[Sequence[str], Sequence[PoolChunk]]:
        """Return a question's index terms and its best k chunks, prepared for trimming.

        This is the pool that `ask` trims, unless `drops_repeats` is false: of near-identical chunks
        one; where several hold tables of numbers, in its second half those further behind with a
        row that the question names; and after the k chunks those that hold the rest of their
        procedures. `ragkit.trimming.rank` orders its sentences.
        """
        from ragkit.pipeline.searching import pool

        check_names("pool", PoolOptions, options)
        return pool(self._parts, question, k, options, drops_repeats=drops_repeats)

    @counted
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
        dry_run = options.get("dry_run", False)
        drafted = draft(self._parts, self._certification, question, options, dry_run=dry_run)
        generation = None if dry_run else generate(self._parts, drafted)
        return finish(self._parts, drafted, generation, dry_run=dry_run)

    @counted
    def stream(self, question: str, **options: Unpack[StreamOptions]) -> AnswerStream:
        """Answer a question in pieces; afterwards `.answer` of the result is the whole answer.

        The arguments and errors are the same as those of `ask`, except `dry_run`.
        """
        from ragkit.pipeline.asking import draft, finish, pieces
        from ragkit.pipeline.streaming import AnswerStream

        check_names("stream", StreamOptions, options)
        drafted = draft(self._parts, self._certification, question, options)
        stream = pieces(self._parts, drafted)
        next(stream)
        self._streams.add(stream)

        def done(generation: Generation | None) -> Answer:
            with drafted.attempt.losses(self._parts, drafted, generation), self._calls.one():
                return finish(self._parts, drafted, generation)

        return AnswerStream(_each_counted(self._calls, stream), done)

    @counted
    def feedback(self, answer_id: str, good: bool, note: str | None = None) -> Feedback:
        """Note in the ledger whether an answer was good; of several, the last word counts.

        Args:
            answer_id: `answer.receipt.answer_id`.
            good: Whether the answer was good.
            note: Why. The text is kept.

        Raises:
            ConfigError: the ledger is off, or it holds no such answer.
        """
        from ragkit.pipeline.judging import give_feedback

        return give_feedback(self._parts, answer_id, good=good, note=note)

    # --- the same for asyncio ------------------------------------------------------------------

    async def asearch(self, question: str, **options: Unpack[SearchOptions]) -> Sequence[Hit]:
        """Run `search` in a thread."""
        return await self._workers.run(lambda: self.search(question, **options))

    async def aask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Run `ask` in a thread."""
        return await self._workers.run(lambda: self.ask(question, **options))

    async def aingest(
        self, *what: str | Path | Source | Document, **options: Unpack[IngestOptions]
    ) -> IngestReport:
        """Run `ingest` in a thread."""
        return await self._workers.run(lambda: self.ingest(*what, **options))

    def astream(self, question: str, **options: Unpack[StreamOptions]) -> AsyncAnswerStream:
        """Run `stream` in threads; the pieces are awaited, and `.answer` is there afterwards.

        `async with rag.astream(…) as stream: async for piece in stream: …`. The arguments and
        errors are the same as those of `stream`.
        """
        from ragkit.pipeline.streaming import AsyncAnswerStream

        return AsyncAnswerStream(lambda: self.stream(question, **options), self._workers)


def _n_at_once(settings: Settings) -> int:
    if settings.profile is None:
        return ASYNC_THREADS
    from ragkit.profiles import PROFILES

    return PROFILES[settings.profile].n_at_once


def _each_counted(
    calls: Calls, pieces: collections.abc.Generator[str | Generation]
) -> collections.abc.Generator[str | Generation]:
    """Count each step as a call of its own, since the caller may never take another."""
    try:
        while True:
            with calls.one():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
    finally:
        pieces.close()
