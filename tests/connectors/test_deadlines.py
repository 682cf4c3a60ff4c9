"""Servers that never come to an end: each wait is bounded, and what came is not lost.

The clock of these tests goes on only when the server sends something, so that no test waits.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from ragkit.errors import ConfigError, RateLimitedError, RemoteError, RemoteTimeoutError
from ragkit.types import Generation, GenerationOptions, Prompt, Usage
from ragkit_connectors.ollama import OllamaGenerator
from ragkit_connectors.openai import OpenAIGenerator
from ragkit_connectors.support.deadline import Deadline
from ragkit_connectors.support.events import events
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.web import Exchange, WebServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
CHUNKED = HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
LINES = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
ANSWER = b'{"choices":[{"message":{"content":"At nine."},"finish_reason":"stop"}]}'
EVENT = b'data: {"choices":[{"delta":{"content":"At nine. "}}]}\n\n'
DONE = b"data: [DONE]\n\n"
PROMPT = Prompt(text="When?", question="When?")
N_PARTS = 1_000


class Clock:
    """Goes on by `step_seconds` when it is looked at, and else by hand."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.now = 0.0
        self._step_seconds = step_seconds

    def __call__(self) -> float:
        """Return the seconds until now."""
        self.now += self._step_seconds
        return self.now


@contextmanager
def served(parts: Iterable[bytes]) -> Generator[str]:
    """Serve one connection with these parts, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                request = b""
                while b"}" not in request:
                    request += connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5.0)


def slowly(first: bytes, part: bytes, last: bytes, n_parts: int = N_PARTS) -> Iterator[bytes]:
    """Yield parts one by one, so that they are read in many; they do come to an end."""
    yield first
    for _ in range(n_parts):
        threading.Event().wait(0.001)
        yield part
    yield last


def post(url: str, *, seconds: float = 1.0) -> Exchange:
    """Ask for an answer; each look at the clock takes a tenth of a second."""
    return WebServer(url, timeout_seconds=seconds, clock=Clock(0.1)).post("/x", {"a": 1})


def body_of(url: str) -> bytes:
    """Return a whole answer."""
    with closing(post(url)) as exchange:
        return exchange.read()


def events_of(url: str, *, seconds: float = 1.0) -> list[str]:
    """Return the events of a stream."""
    with closing(post(url, seconds=seconds)) as exchange:
        return list(exchange.parts(events))


@pytest.mark.parametrize(
    ("first", "part", "last"),
    [
        (HEAD[:-2] + b"X: ", b"a" * 30, b"\r\n\r\n" + ANSWER),
        (b"", b"HTTP/1.1 100 Continue\r\nX: " + b"a" * 70 + b"\r\n\r\n", HEAD + ANSWER),
        (HEAD, b" " * 100, ANSWER),
        (CHUNKED, b"64\r\n" + b" " * 100 + b"\r\n", b"0\r\n\r\n"),
    ],
    ids=["head", "continue", "body", "chunks"],
)  # fmt: skip
def test_a_whole_answer_that_drips_is_left(first: bytes, part: bytes, last: bytes) -> None:
    """The time-out is for head and body together, however steadily they come."""
    with served(slowly(first, part, last)) as url:
        with pytest.raises(RemoteTimeoutError, match="within 1 seconds; not sent again"):
            body_of(url)


@pytest.mark.parametrize("part", [b": alive" + b"a" * 90 + b"\n\n", b"\n" * 100, b"a" * 100])
def test_what_is_no_part_of_a_stream_gives_no_time(part: bytes) -> None:
    """Comments, blank lines and a line that never ends are not what the wait is for."""
    with served(slowly(STREAM, part, b"\n" + EVENT + DONE)) as url:
        with pytest.raises(RemoteTimeoutError):
            events_of(url)


def test_a_long_stream_of_parts_is_read_to_its_end() -> None:
    """Each event restarts the time-out; only `total_timeout` would end them."""
    with served(slowly(STREAM, EVENT, DONE, 300)) as url:
        assert len(events_of(url, seconds=10.0)) == 301


def test_responses_before_the_one_that_counts_are_few() -> None:
    """Servers that send `100 Continue` fast and forever meet a limit of bytes."""
    again = b"HTTP/1.1 100 Continue\r\n\r\n"
    with served([again * 20_000, HEAD + ANSWER]) as url:
        with pytest.raises(RemoteError, match="the head of the answer is larger than"):
            post(url, seconds=60.0)


def test_a_wait_that_passes_the_total_is_not_made() -> None:
    """A server that asks to come back after all time is up has said no."""
    busy = b"HTTP/1.1 429 X\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n"
    with served([busy]) as url:
        server = WebServer(url, retry_seconds=20.0, total_timeout_seconds=5.0)
        with pytest.raises(RateLimitedError):
            server.post("/x", {"a": 1})


def test_the_whole_of_a_stream_has_its_time() -> None:
    """`total_timeout` ends a stream that goes on; the text until then comes out."""

    def parts() -> Iterator[bytes]:
        yield STREAM
        while True:
            yield EVENT
            threading.Event().wait(0.02)

    with served(parts()) as url:
        generator = OpenAIGenerator("m", base_url=url, total_timeout_seconds=0.4)
        *pieces, cut = generator.stream(PROMPT, GenerationOptions())
    assert isinstance(cut, Generation)
    assert (cut.text, cut.stop_reason) == ("At nine. " * len(pieces), "timeout")


def test_ollama_keeps_what_came() -> None:
    """Lines without anything in them are no parts."""
    line = b'{"message":{"content":"At nine."}}\n'

    def parts() -> Iterator[bytes]:
        yield LINES + line
        while True:
            yield b"\n"
            threading.Event().wait(0.02)

    with served(parts()) as url:
        generator = OllamaGenerator("m", base_url=url, timeout_seconds=0.4, num_ctx=4096)
        assert list(generator.stream(PROMPT, GenerationOptions())) == [
            "At nine.", Generation(text="At nine.", usage=Usage(), stop_reason="timeout"),
        ]  # fmt: skip


def test_time_runs_out_before_there_is_text() -> None:
    """White space is no answer: the error comes out."""
    gathered = Gathered()

    def pieces() -> Iterator[str | Generation]:
        yield gathered.add(" \n", "Hm.")
        raise RemoteTimeoutError("late")

    with pytest.raises(RemoteTimeoutError, match="late") as caught:
        list(gathered.streamed(pieces()))
    assert caught.value.generation is not None
    assert caught.value.generation.reasoning == "Hm."


def test_the_reader_of_a_stream_may_take_its_time() -> None:
    """Only waiting for the server counts, unless there is a limit for the whole."""
    clock = Clock()
    deadline = Deadline(1.0, clock=clock)
    for _ in deadline.each("abc"):
        clock.now += 100.0
    assert deadline.seconds_left == 1.0
    assert deadline.limit == ("timeout", 1.0)


def test_a_deadline_never_passes_the_whole() -> None:
    """Waits that were asked for make it later, up to `total_timeout`."""
    clock = Clock()
    deadline = Deadline(2.0, total_seconds=5.0, clock=clock)
    deadline.extend(1.0)
    assert (deadline.seconds_left, deadline.total_seconds_left) == (3.0, 5.0)
    clock.now = 4.0
    deadline.renew()
    assert (deadline.check(), deadline.limit) == (1.0, ("total_timeout", 5.0))
    clock.now = 6.0
    assert (deadline.seconds_left, deadline.total_seconds_left) == (0.0, 0.0)
    with pytest.raises(TimeoutError):
        deadline.check()


@pytest.mark.parametrize("total_seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_number_of_seconds(total_seconds: float) -> None:
    """Zero would let nothing through, and infinity is None."""
    with pytest.raises(ConfigError, match="total_timeout_seconds"):
        WebServer("http://localhost", total_timeout_seconds=total_seconds)
