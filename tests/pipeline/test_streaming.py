"""Answers in pieces: stopped from anywhere, they leave no thread, lock or connection behind."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ragkit import RAG, Document
from ragkit.costs.ledger import read_ledger
from ragkit.errors import BusyError, ConfigError, StreamClosedError
from ragkit.types import Generation, GenerationOptions, Prompt, TokenCounter, Usage
from ragkit_connectors.openai import OpenAIGenerator
from ragkit_connectors.testing import OpenAIServer, Reply

QUESTION = "When does the ferry leave?"


class Slow:
    """A language model that counts the streams that it has open."""

    name = "slow:model"
    calls_llm = True
    counter: TokenCounter | None = None

    def __init__(self, n_pieces: int = 50, seconds: float = 0.0) -> None:
        self.n_open = self.n_opened = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.waits = threading.Event()
        self._n_pieces, self._seconds = n_pieces, seconds
        self._lock = threading.Lock()

    def _opened(self, n: int) -> None:
        with self._lock:
            self.n_open += n
            self.n_opened += n > 0

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer."""
        *_, last = self.stream(prompt, options)
        return cast("Generation", last)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield a word at a time."""
        del prompt, options
        self._opened(1)
        try:
            for _ in range(self._n_pieces):
                if not self.may_go_on.is_set():
                    self.waits.set()
                self.may_go_on.wait()
                time.sleep(self._seconds)
                yield "nine "
            yield Generation(text="nine " * self._n_pieces, usage=Usage(), stop_reason="stop")
        finally:
            self._opened(-1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of one document."""
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine. The quay is closed."))
    return tmp_path / "kb"


def outcomes(store: Path) -> list[str]:
    """Return what the ledger says became of each attempt."""
    return [cast("Any", r["receipt"])["outcome"] for r in read_ledger(store / "ledger.jsonl")]


def test_closing_stops_the_model(store: Path) -> None:
    """A stream left half-way is closed upstream at once and leaves a receipt that says so."""
    model = Slow()
    with RAG(store, generator=model) as rag:
        with rag.stream(QUESTION) as stream:
            assert next(stream) == "nine "
            assert model.n_open == 1
        assert model.n_open == 0
        stream.close()
        assert list(stream) == []
        with pytest.raises(StreamClosedError, match="no answer"):
            _ = stream.answer
        dropped = rag.stream(QUESTION)
        next(dropped)
        del dropped
        assert model.n_open == 0
        with rag.stream(QUESTION) as whole:
            assert whole.answer.text
        assert whole.answer.text
    assert outcomes(store) == ["abandoned", "abandoned", "answered"]


def test_another_thread_may_close(store: Path) -> None:
    """While a piece is awaited, closing does not wait; the stream ends with that piece."""
    model = Slow()
    with RAG(store, generator=model) as rag:
        stream = rag.stream(QUESTION)
        next(stream)
        model.may_go_on.clear()
        rest: list[str] = []
        reader = threading.Thread(target=lambda: rest.extend(stream))
        reader.start()
        assert model.waits.wait(10)
        stream.close()
        model.may_go_on.set()
        reader.join(10)
        assert not reader.is_alive()
        assert len(rest) <= 1
        assert model.n_open == 0
    assert outcomes(store) == ["abandoned"]


def test_an_asynchronous_stream_has_an_answer(store: Path) -> None:
    """With a block or without, pieces are awaited and the answer is there afterwards."""

    async def run(rag: RAG) -> None:
        async with rag.astream(QUESTION) as stream:
            pieces = [piece async for piece in stream]
        assert "".join(pieces) == stream.answer.text
        assert len([piece async for piece in rag.astream(QUESTION)]) == len(pieces) == 3
        async with rag.astream(QUESTION) as half:
            async for _ in half:
                break
        await half.aclose()
        assert [piece async for piece in half] == []
        with pytest.raises(StreamClosedError):
            _ = half.answer
        never = rag.astream(QUESTION)
        await never.aclose()
        assert [piece async for piece in never] == []

    with RAG(store, generator=Slow(n_pieces=3)) as rag:
        asyncio.run(run(rag))
    assert outcomes(store) == ["answered", "answered", "abandoned"]


@pytest.mark.parametrize("n_cancelled", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_cancelled_at_any_point_nothing_leaks(store: Path, n_cancelled: int) -> None:
    """Tasks that are cancelled at random points leave no stream open and no thread waiting."""
    model, rng = Slow(n_pieces=20, seconds=0.0002), random.Random(21)

    async def read(rag: RAG) -> None:
        async with rag.astream(QUESTION) as stream:
            async for _ in stream:
                pass

    async def run(rag: RAG) -> None:
        for _ in range(0, n_cancelled, 20):
            tasks = [asyncio.create_task(read(rag)) for _ in range(20)]
            for task in tasks:
                await asyncio.sleep(rng.random() * 0.001)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    n_threads = threading.active_count()
    with RAG(store, generator=model, async_threads=8) as rag:
        asyncio.run(run(rag))
        # What was cancelled while it ran ends with its piece; an answer after it finds all free.
        assert rag.ask(QUESTION).text
        for _ in range(1000):
            if not model.n_open:
                break
            time.sleep(0.01)
        assert model.n_open == 0
    for _ in range(1000):
        if threading.active_count() <= n_threads:
            break
        time.sleep(0.01)
    assert threading.active_count() <= n_threads
    # What was cancelled before the model was asked has its line too.
    receipts = [cast("Any", r["receipt"]) for r in read_ledger(store / "ledger.jsonl")]
    assert sum(receipt["llm_calls"] for receipt in receipts) == model.n_opened
    assert set(outcomes(store)) <= {"abandoned", "answered"}


def test_a_service_that_is_full_says_so(store: Path) -> None:
    """Beyond the calls that may wait, a call is refused at once, and the others are answered."""
    model = Slow(n_pieces=1)
    model.may_go_on.clear()

    async def run(rag: RAG) -> None:
        tasks = [asyncio.create_task(rag.aask(QUESTION)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="3 calls run or wait"):
            await rag.aask(QUESTION)
        model.may_go_on.set()
        assert all(answer.text for answer in await asyncio.gather(*tasks))
        assert (await rag.aask(QUESTION)).text

    with RAG(store, generator=model, async_threads=2, max_waiting=1) as rag:
        asyncio.run(run(rag))
    with pytest.raises(ConfigError, match="at least 1"):
        RAG(store, async_threads=0)


def test_a_stream_is_closed_however_full_the_service_is(store: Path) -> None:
    """Closing needs no thread, so that it is never refused."""
    model = Slow()

    async def run(rag: RAG) -> None:
        stream = rag.astream(QUESTION)
        await anext(stream)
        model.may_go_on.clear()
        other = asyncio.create_task(rag.aask(QUESTION))
        while not model.waits.is_set():
            await asyncio.sleep(0)
        await stream.aclose()
        assert model.n_open == 1
        model.may_go_on.set()
        assert (await other).text

    with RAG(store, generator=model, async_threads=1, max_waiting=0) as rag:
        asyncio.run(run(rag))
    assert outcomes(store) == ["abandoned", "answered"]


def test_a_stream_that_has_started_is_not_refused(store: Path) -> None:
    """What stands in the way is known before the model is asked; the pieces then come all."""
    model = Slow(n_pieces=3)

    async def run(rag: RAG) -> None:
        stream = rag.astream(QUESTION)
        await stream.start()
        await stream.start()
        assert model.n_opened == 0
        model.may_go_on.clear()
        other = asyncio.create_task(rag.aask(QUESTION))
        while not model.waits.is_set():
            await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await rag.astream(QUESTION).start()
        pieces = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        model.may_go_on.set()
        assert (await pieces, (await other).text) == ("nine ", "nine nine nine ")
        assert len([piece async for piece in stream]) == 2
        left = rag.astream(QUESTION)
        await left.start()
        await left.aclose()
        await left.start()
        assert [piece async for piece in left] == []
        with pytest.raises(ConfigError):
            await rag.astream(QUESTION, k=0).start()

    with RAG(store, generator=model, async_threads=1, max_waiting=0) as rag:
        asyncio.run(run(rag))
    assert outcomes(store) == ["answered", "answered", "abandoned"]


@pytest.mark.parametrize("text", ["", "At nine"], ids=["the head", "a piece"])
def test_what_a_server_does_not_send_is_not_waited_for(store: Path, text: str) -> None:
    """Closing and cancelling hang up on a server that is silent; its thread is free at once."""
    silent = Reply(text=text, delay_seconds=0 if text else 100, is_silent=bool(text))
    with OpenAIServer([silent, silent, Reply(text="At ten.")]) as server:
        model = OpenAIGenerator("any", base_url=server.base_url)
        with RAG(store, generator=model, async_threads=1) as rag:
            stream = rag.stream(QUESTION)
            read: list[str] = []
            reader = threading.Thread(target=lambda: read.extend(stream))
            reader.start()
            _wait_until(lambda: len(server.requests) == 1 and len(read) == (2 if text else 0))
            stream.close()
            reader.join(30)
            assert not reader.is_alive()

            async def leave() -> None:
                async def reads() -> None:
                    async with rag.astream(QUESTION) as pieces:
                        async for piece in pieces:
                            read.append(piece)  # noqa: PERF401 - what came before counts

                task = asyncio.create_task(reads())
                while len(server.requests) < 2 or len(read) < (4 if text else 0):
                    await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert (await asyncio.wait_for(rag.aask(QUESTION), 30)).text == "At ten."

            asyncio.run(leave())
    assert outcomes(store) == ["abandoned", "abandoned", "answered"]


def _wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it never held")


def test_an_answer_that_nobody_read_is_whole(store: Path) -> None:
    """Its pieces are read to the end, however slowly they come."""
    text = " ".join(["The ferry leaves at nine, and again at noon."] * 5)
    slow = Reply(text=text, delay_seconds=0.02, packet_bytes=400)
    with OpenAIServer([slow]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with RAG(store, generator=generator) as rag:
            answer = rag.stream("When does the ferry leave?").answer
    assert answer.text == text
    assert answer.receipt.outcome == "answered"
