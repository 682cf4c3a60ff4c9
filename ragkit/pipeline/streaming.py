"""Answers that arrive in pieces, for threads and for asyncio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

from ragkit.errors import RemoteError, StreamClosedError
from ragkit.hanging_up import HangUp
from ragkit.types import Generation

if TYPE_CHECKING:
    from types import TracebackType

    from ragkit.pipeline.answers import Answer
    from ragkit.pipeline.workers import Workers

_T = TypeVar("_T")


class AnswerStream:
    """The pieces of an answer as they arrive; `answer` is the whole answer afterwards.

    Used as a context manager, it is closed at the end. Closing it before its end stops the model
    and closes its connection; the ledger then says that the answer was abandoned.

    Args:
        pieces: Pieces of text, the generation last.
        finish: Makes the answer of the generation.
    """

    def __init__(
        self,
        pieces: Generator[str | Generation],
        finish: Callable[[Generation | None], Answer],
    ) -> None:
        self._pieces = pieces
        self._finish = finish
        self._generation: Generation | None = None
        self._answer: Answer | None = None
        self._advancing = threading.Lock()
        self._is_closing = False
        self._hang_up = HangUp()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            with self._advancing, self._hang_up.waiting():
                return self._next()
        except RemoteError:
            if self._is_closing:  # by another thread, which has hung up
                raise StopIteration from None
            raise
        finally:
            if self._is_closing:  # by another thread, which could not wait for this one
                self.close()

    def _next(self) -> str:
        if self._is_closing:
            raise StopIteration
        for piece in self._pieces:
            if isinstance(piece, str):
                return piece
            self._generation = piece
        if self._answer is None:
            self._answer = self._finish(self._generation)
        raise StopIteration

    @property
    def has_ended(self) -> bool:
        """Whether the answer is whole."""
        return self._answer is not None

    @property
    def answer(self) -> Answer:
        """The whole answer; pieces not yet read are read first.

        Raises:
            StreamClosedError: the stream was closed before its end.
        """
        for _ in self:
            pass
        if self._answer is None:
            raise StreamClosedError("the stream was closed before its end: there is no answer")
        return self._answer

    def close(self) -> None:
        """Stop the answer; closing twice, or at the end, does no harm.

        Any thread may call this. While another thread waits for a piece, the connection to an
        OpenAI-compatible server or Ollama is closed at once; with other generators, the stream is
        closed as soon as that piece arrives.
        """
        self._is_closing = True
        if self._advancing.acquire(blocking=False):
            try:
                self._pieces.close()
            finally:
                self._advancing.release()
        else:
            self._hang_up.now()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncAnswerStream:
    """The pieces of an answer for asyncio; `answer` is the whole answer afterwards.

        async with rag.astream("question") as stream:
            async for piece in stream:
                ...
        stream.answer

    Leaving the block, or cancelling the task that waits for a piece, stops the model.

    Args:
        start: Starts the stream, in a thread.
        workers: The threads.
    """

    def __init__(self, start: Callable[[], AnswerStream], workers: Workers) -> None:
        self._start = start
        self._workers = workers
        self._stream: AnswerStream | None = None
        self._is_closed = False

    def __aiter__(self) -> AsyncAnswerStream:
        return self

    async def start(self) -> None:
        """Search for the question, before any piece: the model is not asked yet.

        A service awaits this before it begins to respond: what stands in the way is raised here,
        and can still be its status. Without it, the first piece does the same.

        Raises:
            BusyError: too many calls wait already; a stream that has started is not refused again.
            ConfigError: a value is not allowed, or the store needs `groups`.
        """
        if self._stream is None and not self._is_closed:
            await self._run(self._begun)

    async def __anext__(self) -> str:
        if self._is_closed and self._stream is None:
            raise StopAsyncIteration
        piece = await self._run(lambda: next(self._begun(), None))
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def _run(self, call: Callable[[], _T]) -> _T:
        try:
            return await self._workers.run(call, goes_on=self._stream is not None)
        except BaseException:  # a cancellation, too
            self._stop()
            raise

    def _begun(self) -> AnswerStream:
        if self._stream is None:
            self._stream = self._start()
            if self._is_closed:
                self._stream.close()
        return self._stream

    @property
    def answer(self) -> Answer:
        """The whole answer, once all pieces have been read.

        Raises:
            StreamClosedError: the stream was closed, or not read to its end.
        """
        if self._stream is None or not self._stream.has_ended:
            raise StreamClosedError("the stream has not been read to its end: there is no answer")
        return self._stream.answer

    def _stop(self) -> None:
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()

    async def aclose(self) -> None:
        """Stop the answer; closing twice, or at the end, does no harm."""
        # Never through the workers: they may be busy, and the task may be cancelled again.
        self._stop()

    async def __aenter__(self) -> AsyncAnswerStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
