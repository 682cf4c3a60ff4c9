"""The generator for OpenAI-compatible servers, against a real server on loopback."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    DimensionMismatchError,
    PromptTooLongError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.types import Generation, GenerationOptions, Json, Message, Prompt, Usage
from ragkit_connectors import open_embedder, open_generator
from ragkit_connectors.openai import Encoding, OpenAIEmbedder, OpenAIGenerator
from ragkit_connectors.testing import (
    EmbedderContract,
    GeneratorContract,
    OpenAIServer,
    Reply,
    Script,
    ServedModel,
    Software,
    sample_prompt,
)
from ragkit_connectors.testing.serving import unused_url

from . import scripted

NO_OPTIONS = GenerationOptions()
PROMPT = sample_prompt()
KEY = "sk-very-secret-0123456789"


def _client(
    server: OpenAIServer, *, retry_seconds: float = 5.0, max_response_bytes: int = 100_000
) -> OpenAIGenerator:
    return OpenAIGenerator(
        "m",
        base_url=server.base_url,
        timeout_seconds=5.0,
        retry_seconds=retry_seconds,
        max_response_bytes=max_response_bytes,
    )


def _streamed(generator: OpenAIGenerator, prompt: Prompt = PROMPT) -> tuple[list[str], Generation]:
    *pieces, last = generator.stream(prompt, NO_OPTIONS)
    assert isinstance(last, Generation)
    return [str(piece) for piece in pieces], last


def _dead_url() -> str:
    return f"{unused_url()}/v1"


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@contextmanager
def _raw_server(*answers: bytes, until: bytes = b"messages", stall: bool = False) -> Generator[str]:
    """Send each connection the next of `answers` as it is; `stall` leaves it open then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while until not in request:  # head and body may come apart
                        request += connection.recv(65536)
                    connection.sendall(answer)
                    # Closing before the client has read all of it would reset the connection.
                    if not stall:
                        connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(5.0)
                    with suppress(OSError):
                        connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join(5.0)


class TestOpenAIGenerator(GeneratorContract):
    """The contract of generators."""

    @pytest.fixture(autouse=True)
    def _servers(self) -> Iterator[None]:
        with ExitStack() as self._open:
            self._server = self._serve(Reply(text="At the front desk, with a passport."))
            yield

    def _serve(self, reply: Reply) -> OpenAIServer:
        return self._open.enter_context(OpenAIServer([reply]))

    def make(self) -> OpenAIGenerator:
        """Return a client of the scripted server."""
        return _client(self._server)

    def make_unreachable(self) -> OpenAIGenerator:
        """Return a client of a port where nothing listens."""
        return OpenAIGenerator("m", base_url=_dead_url())

    def make_saying(self, script: Script) -> OpenAIGenerator | None:
        """Return a client of a server that says this."""
        reply = scripted.reply(script)
        return None if reply is None else _client(self._serve(reply))

    def make_endless(self) -> tuple[OpenAIGenerator, threading.Event]:
        """Return a client of a server that never ends."""
        server = self._serve(Reply(is_endless=True))
        return _client(server), server.client_left

    def sent_messages(self) -> Sequence[Message]:
        """Return what the server was sent."""
        return scripted.sent_messages(self._server.requests[-1].body)


def test_the_request_holds_the_prompt_and_the_options_asked_for() -> None:
    """One user message holds the whole prompt; only given options are sent, 0 among them."""
    options = GenerationOptions(max_tokens=9, temperature=0.0, top_p=0.5, stop=("X",), seed=0)
    with OpenAIServer() as server:
        _client(server).generate(PROMPT, NO_OPTIONS)
        _client(server).generate(PROMPT, options)
    bare, full = (request.body for request in server.requests)
    assert bare == {"model": "m", "messages": [{"role": "user", "content": PROMPT.text}]}
    assert full == {
        **bare, "max_tokens": 9, "temperature": 0.0, "top_p": 0.5, "stop": ["X"], "seed": 0,
    }  # fmt: skip
    assert server.requests[0].path == "/v1/chat/completions"


def test_top_k_is_sent_only_when_asked_for() -> None:
    """OpenAI knows no `top_k`; servers that do get it on request."""
    with OpenAIServer() as server:
        _client(server).generate(PROMPT, GenerationOptions(top_k=5))
    assert server.requests[0].body["top_k"] == 5


def test_the_key_is_sent_only_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's value becomes a bearer token; without one there is no header."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with OpenAIServer() as server:
        _client(server).generate(PROMPT, NO_OPTIONS)
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
        _client(server).generate(PROMPT, NO_OPTIONS)
    assert "authorization" not in server.requests[0].headers
    assert server.requests[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_a_key_is_never_shown(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an error, nor the representation, nor a log holds the key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with OpenAIServer([Reply(status=status, text=f"bad key {KEY}")]) as server:
        generator = _client(server)
        with pytest.raises(RemoteError) as caught:
            generator.generate(PROMPT, NO_OPTIONS)
    assert KEY not in f"{caught.value} {caught.value.__cause__!r} {generator!r} {caplog.text}"


def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a line break inside is refused by name of its variable."""
    monkeypatch.setenv("MY_KEY", f"{KEY}\r\nX-Injected: 1")
    generator = OpenAIGenerator("m", base_url=_dead_url(), api_key_env="MY_KEY")
    with pytest.raises(ConfigError, match="MY_KEY") as caught:
        generator.generate(PROMPT, NO_OPTIONS)
    assert KEY not in str(caught.value)


def test_no_key_is_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http to an address that is not known as local gets no key, named or not.

    A named variable without a value is no key, and the request goes out.
    """
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_KEY", KEY)
    with OpenAIServer() as server:
        # A spelling of this machine that is not on the list, so it stands for any other.
        url = server.base_url.replace("127.0.0.1", "127.1")
        with pytest.raises(ConfigError, match="MY_KEY would go to") as caught:
            OpenAIGenerator("m", base_url=url, api_key_env="MY_KEY").generate(PROMPT, NO_OPTIONS)
        with pytest.raises(ConfigError, match="MY_KEY"):
            OpenAIEmbedder("m", base_url=url, api_key_env="MY_KEY").embed_query("q")
        with pytest.raises(ConfigError, match="MY_KEY"):
            open_generator(
                "ollama:m", base_url=url, api_key_env="MY_KEY", num_ctx=4096
            ).generate(PROMPT, NO_OPTIONS)  # fmt: skip
        assert KEY not in str(caught.value)
        assert not server.requests
        OpenAIGenerator("m", base_url=url).generate(PROMPT, NO_OPTIONS)
        OpenAIGenerator("m", base_url=url, api_key_env="NONE").generate(PROMPT, NO_OPTIONS)
    assert [request.headers.get("authorization") for request in server.requests] == [None, None]


def test_an_error_in_a_stream_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that comes inside a stream is searched for the key too."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    event = f'data: {{"error": "bad key {KEY[:12]}***"}}\n\n'.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    with _raw_server(head + event) as url, pytest.raises(RemoteError, match="left out") as caught:
        list(OpenAIGenerator("m", base_url=url).stream(PROMPT, NO_OPTIONS))
    assert KEY[:12] not in str(caught.value)


def test_usage_comes_from_the_server() -> None:
    """Counts and the cached share are the server's, and exact."""
    counts: dict[str, Json] = {
        "prompt_tokens": 40, "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 32},
    }  # fmt: skip
    with OpenAIServer([Reply(usage=counts)]) as server:
        whole = _client(server).generate(PROMPT, NO_OPTIONS)
        _, streamed = _streamed(_client(server))
    assert (
        whole.usage
        == streamed.usage
        == Usage(input_tokens=40, output_tokens=4, cached_tokens=32, exact=True, counter="server")
    )
    assert server.requests[1].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("counts", [None, {}, {"prompt_tokens": None, "completion_tokens": "x"}])
def test_unknown_usage_stays_unknown(counts: dict[str, str | None] | None) -> None:
    """A server that counts nothing gives None, never 0."""
    with OpenAIServer([Reply(usage=counts)]) as server:
        assert _client(server).generate(PROMPT, NO_OPTIONS).usage == Usage()
        assert _streamed(_client(server))[1].usage == Usage()


def test_a_prompt_that_the_server_cut_is_an_error() -> None:
    """Fewer tokens read than words sent means a silent cut."""
    long = Prompt(text="word " * 5000, question="q")
    cut = Reply(usage={"prompt_tokens": 2050, "completion_tokens": 3})
    with OpenAIServer([cut]) as server:
        with pytest.raises(RemoteError, match=r"2,050 tokens of a prompt of 5,000 words"):
            _client(server).generate(long, NO_OPTIONS)
        with pytest.raises(RemoteError, match="cut the prompt"):
            _streamed(_client(server), long)


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_the_stop_reason_is_kept(reason: str) -> None:
    """Why the model stopped is passed on as the server says it."""
    with OpenAIServer([Reply(finish_reason=reason)]) as server:
        assert _client(server).generate(PROMPT, NO_OPTIONS).stop_reason == reason
        assert _streamed(_client(server))[1].stop_reason == reason


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip())),
    packet_bytes=st.integers(1, 50),
    line_end=st.sampled_from(["\n", "\r\n"]),
    keep_alive=st.booleans(),
)
def test_a_stream_is_read_however_it_is_cut(
    text: str, packet_bytes: int, line_end: str, *, keep_alive: bool
) -> None:
    """Packets may cut events, line ends and characters; comments and several data lines pass."""
    reply = Reply(text=text, packet_bytes=packet_bytes, line_end=line_end, keep_alive=keep_alive)
    with OpenAIServer([reply]) as server:
        pieces, whole = _streamed(_client(server))
    assert "".join(pieces) == whole.text == text
    assert whole.usage.output_tokens == len(text.split())


def test_pieces_come_before_the_end() -> None:
    """A stream is passed on as it comes, not gathered first."""
    event = b'data: {"choices":[{"delta":{"content":"At nine."}}]}\n\n'
    with _raw_server(STREAM_HEAD + event, stall=True) as url:
        pieces, cut = _streamed(OpenAIGenerator("m", base_url=url, timeout_seconds=1.0))
    # It is paid for, so what came until the time was up comes out.
    assert pieces == ["At nine."]
    assert (cut.text, cut.stop_reason, cut.usage) == ("At nine.", "timeout", Usage())


def test_a_stream_may_be_left() -> None:
    """Leaving a stream closes its connection, and the next request works."""
    with OpenAIServer([Reply(text="word " * 2000, packet_bytes=100)]) as server:
        generator = _client(server)
        stream = generator.stream(PROMPT, NO_OPTIONS)
        assert next(stream) == "word"
        stream.close()  # type: ignore[attr-defined]
        assert generator.generate(PROMPT, NO_OPTIONS).text.startswith("word")


def test_a_server_that_cannot_stream_is_read_at_once() -> None:
    """A JSON answer to a request for a stream gives one piece and the whole."""
    body = b'{"choices":[{"message":{"content":"Yes."},"finish_reason":"stop"}]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with _raw_server(head + body) as url:
        assert _streamed(OpenAIGenerator("m", base_url=url))[0] == ["Yes."]


def test_a_server_that_knows_no_stream_options_is_asked_without() -> None:
    """A refusal of `stream_options` is answered by a request without them."""
    with OpenAIServer([Reply(status=400, text="unknown field stream_options"), Reply()]) as server:
        assert _streamed(_client(server))[1].usage == Usage()
    assert "stream_options" not in server.requests[1].body


@pytest.mark.parametrize("end", [b"data: [DONE]", b"", b"data: [DONE]\n\nnever read {"])
def test_a_stream_may_end_without_a_blank_line(end: bytes) -> None:
    """A stop reason or `[DONE]` is the end, with or without what the standard asks for."""
    event = b'\xef\xbb\xbfdata:{"choices":[{"delta":{"content":"Yes"},"finish_reason":"stop"}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    with _raw_server(head + event + end) as url:
        assert _streamed(OpenAIGenerator("m", base_url=url))[1].text == "Yes"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(fault="truncated"), "the response broke off before its end"),
        (Reply(fault="not_json"), "not JSON"),
        (Reply(fault="wrong_type"), "text/html"),
        (Reply(text=" ", finish_reason=None), "no reason|broke off"),
        (Reply(status=404, text="no such model"), "no such model.*ends in /v1"),
        (Reply(status=401), "environment variable OPENAI_API_KEY"),
        (Reply(status=400, text="maximum context length is 512"), "lower max_context_tokens"),
        (Reply(status=500, text="boom"), "HTTP 500: boom.*may be billed"),
        (Reply(status=307, headers={"Location": "/v2"}), "Redirects are not followed"),
        (Reply(status=429), "HTTP 429"),
        (Reply(status=503, headers={"Retry-After": "9999"}), "HTTP 503"),
        (Reply(status=503, headers={"Retry-After": "soon"}), "HTTP 503"),
    ],
)
def test_a_failure_is_a_remote_error_that_says_what_to_do(reply: Reply, expected: str) -> None:
    """Both ways to generate fail alike, after one request."""
    with OpenAIServer([reply]) as server:
        with pytest.raises(RemoteError, match=expected):
            _client(server).generate(PROMPT, NO_OPTIONS)
        assert len(server.requests) == 1
        if reply.fault not in {"truncated", "not_json"}:
            with pytest.raises(RemoteError, match=expected):
                list(_client(server).stream(PROMPT, NO_OPTIONS))
            assert len(server.requests) == 2


def test_a_stream_that_breaks_off_is_a_remote_error() -> None:
    """Text that came is no whole answer: without an end there is an error, not a `Generation`."""
    long = Reply(text="word " * 50, finish_reason=None)
    with OpenAIServer([replace(long, fault="truncated")]) as server, pytest.raises(RemoteError):
        list(_client(server).stream(PROMPT, NO_OPTIONS))
    event = b'data: {"choices":[{"delta":{"content":"Yes, but"},"finish_reason":null}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    with _raw_server(head + event) as url, pytest.raises(RemoteError, match="stream broke off"):
        list(OpenAIGenerator("m", base_url=url).stream(PROMPT, NO_OPTIONS))
    with (
        OpenAIServer([replace(long, fault="broken_stream")]) as server,
        pytest.raises(RemoteError, match="the model crashed"),
    ):
        list(_client(server).stream(PROMPT, NO_OPTIONS))


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"{}", b'{"choices":[]}', b'{"choices":[null]}', b'{"choices":{"a":1}}',
        b'{"choices":[{"message":null}]}', b'{"choices":[{"message":{"content":null}}]}',
        b'{"choices":[{"message":{"content":[1]}}]}', b"[" * 100_000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_an_answer_of_another_shape_is_a_remote_error(body: bytes) -> None:
    """JSON that is no completion never raises anything else."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with _raw_server(head + body) as url, pytest.raises(RemoteError):
        OpenAIGenerator("m", base_url=url).generate(PROMPT, NO_OPTIONS)


def test_something_that_is_no_web_server_is_a_remote_error() -> None:
    """An answer that is not HTTP, or none at all, names the address."""
    with _raw_server(b"SSH-2.0-hello\r\n", b"") as url:
        for _ in range(2):
            with pytest.raises(RemoteError, match=r"127\.0\.0\.1"):
                OpenAIGenerator("m", base_url=url).generate(PROMPT, NO_OPTIONS)


def test_an_error_does_not_repeat_the_prompt() -> None:
    """A server that quotes the prompt in its error is not quoted."""
    quote = f"invalid input: {PROMPT.text[10:60]}"
    with (
        OpenAIServer([Reply(status=422, text=quote)]) as server,
        pytest.raises(RemoteError, match="left out") as caught,
    ):
        _client(server).generate(PROMPT, NO_OPTIONS)
    assert PROMPT.text[10:60] not in str(caught.value)


def test_a_refused_connection_names_the_address() -> None:
    """Nothing listens: the error names base_url, within a second or two."""
    url = _dead_url()
    with pytest.raises(RemoteError, match=url):
        OpenAIGenerator("m", base_url=url).generate(PROMPT, NO_OPTIONS)


def test_a_slow_server_is_left_in_time_and_never_asked_again() -> None:
    """A request that timed out may be billed, so it is sent once."""
    with OpenAIServer([Reply(delay_seconds=30.0)]) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url, timeout_seconds=0.2)
        with pytest.raises(RemoteError, match=r"0\.2 seconds; not sent again"):
            generator.generate(PROMPT, NO_OPTIONS)
        with pytest.raises(RemoteError, match="not sent again"):
            list(generator.stream(PROMPT, NO_OPTIONS))
        assert len(server.requests) == 2


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    """429 and 503 with `Retry-After`, in seconds or as a date, are followed."""
    replies = [
        Reply(status=429, headers={"Retry-After": "0"}),
        Reply(status=503, headers={"Retry-After": formatdate(time.time(), usegmt=True)}),
        Reply(text="Now."),
    ]
    with OpenAIServer(replies) as server:
        assert _client(server).generate(PROMPT, NO_OPTIONS).text == "Now."
    assert len(server.requests) == 3


def test_a_server_that_is_always_busy_is_given_up() -> None:
    """The number of requests is bounded, even where each asks for no wait."""
    with OpenAIServer([Reply(status=429, headers={"Retry-After": "0"})]) as server:
        with pytest.raises(RemoteError, match="429"):
            _client(server).generate(PROMPT, NO_OPTIONS)
        assert len(server.requests) == 5


def test_no_wait_is_longer_than_allowed() -> None:
    """A server that asks for more than `retry_seconds` is not asked again."""
    with OpenAIServer([Reply(status=429, headers={"Retry-After": "1"})]) as server:
        with pytest.raises(RemoteError, match="429"):
            _client(server, retry_seconds=0.0).generate(PROMPT, NO_OPTIONS)
        assert len(server.requests) == 1


def test_a_response_that_is_too_large_is_given_up() -> None:
    """The size is bounded, streamed or not."""
    with OpenAIServer([Reply(text="word " * 2000)]) as server:
        generator = _client(server, max_response_bytes=1000)
        with pytest.raises(RemoteError, match="larger than 1,000 bytes"):
            generator.generate(PROMPT, NO_OPTIONS)
        with pytest.raises(RemoteError, match="larger than 1,000 bytes"):
            list(generator.stream(PROMPT, NO_OPTIONS))


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8000/v1", "ftp://h/v1", "http:///v1", "http://h:99999/v1", "http://[::1/v1",
        "http://user:pw@h/v1", "http://h/v1?key=1", "http://h/v 1", "http://h/v1\r\nX: 1",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    """A wrong base_url fails before anything is sent, and shows no password."""
    with pytest.raises(ConfigError, match="base_url") as caught:
        OpenAIGenerator("m", base_url=url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_that_is_none_is_refused(seconds: float) -> None:
    """A timeout is finite and more than 0."""
    with pytest.raises(ConfigError, match="timeout"):
        OpenAIGenerator("m", timeout_seconds=seconds)


def test_an_option_that_is_no_number_is_refused() -> None:
    """A temperature that JSON cannot hold is a configuration error."""
    with pytest.raises(ConfigError, match="finite"):
        OpenAIGenerator("m", base_url=_dead_url()).generate(
            PROMPT, GenerationOptions(temperature=float("nan"))
        )


class TestOpenAIEmbedder(EmbedderContract):
    """The contract of embedders."""

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with OpenAIServer() as server:
            self._url = server.base_url
            yield

    def make(self) -> OpenAIEmbedder:
        """Return a client of a server that draws vectors from a hash of the text."""
        return OpenAIEmbedder("m", base_url=self._url, batch_size=2)


class CountingContract(GeneratorContract):
    """The contract of generators for one kind of server that counts."""

    software: Software = "vllm"

    @pytest.fixture(autouse=True)
    def _servers(self, model: ServedModel) -> Iterator[None]:
        self._model = model
        with ExitStack() as self._open:
            yield

    def make(self) -> OpenAIGenerator:
        """Return a client of a server that counts with a real tokenizer."""
        return self.make_with_window(2048)

    def make_with_window(self, n_tokens: int) -> OpenAIGenerator:
        """Return a client that asks the server for its window."""
        served = OpenAIServer(model=replace(self._model, window=n_tokens), software=self.software)
        self.server = self._open.enter_context(served)
        return OpenAIGenerator("m", base_url=self.server.base_url, count_with=self.software)


class TestCountsOfVllm(CountingContract):
    """The contract, counts asked of vLLM."""


class TestCountsOfLlamaCpp(CountingContract):
    """The contract, counts asked of the llama.cpp server."""

    software: Software = "llamacpp"


class TestCountsOfLlamaCppPython(CountingContract):
    """The contract, counts asked of the llama-cpp-python server, which has no window to ask."""

    software: Software = "llamacpp-python"


@pytest.mark.parametrize(
    ("software", "exact", "n_besides"), [("vllm", True, 0), ("llamacpp", True, 0),
                                         ("llamacpp-python", False, 1)],
)  # fmt: skip
def test_a_count_says_whether_it_holds_the_chat_template(
    model: ServedModel, software: Software, *, exact: bool, n_besides: int
) -> None:
    """Exact counts hold the chat template; the server that leaves it out does not pass as exact."""
    with OpenAIServer(model=model, software=software) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url, count_with=software)
        counted = generator.count_prompt(PROMPT)
    rendered = model.count([{"role": "user", "content": PROMPT.text}])
    bare = len(model.encode(PROMPT.text)) + n_besides
    assert (counted.n_tokens, counted.exact) == (rendered if exact else bare, exact)
    assert counted.counter == software
    assert rendered > bare


def test_a_prompt_that_was_counted_is_not_counted_again(model: ServedModel) -> None:
    """Counting, then generating asks the server once for a count and once for an answer."""
    with OpenAIServer(model=model, software="vllm") as server:
        generator = OpenAIGenerator("m", base_url=server.base_url, count_with="vllm")
        generator.count_prompt(PROMPT)
        generator.generate(PROMPT, NO_OPTIONS)
        assert [r.path for r in server.side_requests] == ["/tokenize"]
        assert len(server.requests) == 1
        assert generator.context_window == 2048


def test_a_prompt_that_is_too_long_is_never_sent(model: ServedModel) -> None:
    """What the server counts to be beyond its window does not reach the model."""
    with OpenAIServer(model=replace(model, window=64), software="llamacpp") as server:
        generator = OpenAIGenerator("m", base_url=server.base_url, count_with="llamacpp")
        with pytest.raises(PromptTooLongError, match=r"tokens \(llamacpp\).*window holds 64"):
            generator.generate(PROMPT, GenerationOptions(max_tokens=64))
        assert not server.requests


def test_a_window_that_is_set_counts_words_at_least() -> None:
    """Without a count of the server's a prompt of more words than the window is refused."""
    with OpenAIServer() as server:
        generator = OpenAIGenerator("m", base_url=server.base_url, context_window=100)
        long = Prompt(text="word " * 100, question="q")
        with pytest.raises(PromptTooLongError, match="at least 100 tokens"):
            generator.generate(long, NO_OPTIONS)
        assert not server.requests
        assert generator.generate(PROMPT, NO_OPTIONS).text
        assert not server.side_requests
    assert not generator.count_prompt(PROMPT).exact


def test_a_server_that_does_not_count_is_named() -> None:
    """`count_with` for another server is an error that says so."""
    with OpenAIServer() as server:
        generator = OpenAIGenerator("m", base_url=server.base_url, count_with="vllm")
        with pytest.raises(RemoteError, match="404"):
            generator.count_prompt(PROMPT)


@pytest.mark.parametrize("answer", [b"{}", b'{"count": "9"}', b'{"count": -1}', b"[]"])
def test_a_count_that_is_none_is_a_remote_error(answer: bytes) -> None:
    """A server that answers something else is not believed."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with _raw_server(head + answer) as url, pytest.raises(RemoteError):
        OpenAIGenerator("m", base_url=url, count_with="vllm").count_prompt(PROMPT)


@pytest.mark.parametrize("software", ["vllm", "llamacpp"])
def test_the_servers_own_refusal_of_a_long_prompt_is_typed(
    model: ServedModel, software: Software
) -> None:
    """Each server says in its own words that a prompt is too long; the error is the same."""
    with OpenAIServer(model=replace(model, window=64), software=software) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        with pytest.raises(PromptTooLongError, match="lower max_context_tokens"):
            generator.generate(Prompt(text="a" * 900, question="q"), NO_OPTIONS)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=400, text="maximum context length is 512"), PromptTooLongError),
        (Reply(status=413), PromptTooLongError),
        (Reply(status=429), RateLimitedError),
        (Reply(status=401), AccessDeniedError),
        (Reply(status=403), AccessDeniedError),
        (Reply(status=408), RemoteTimeoutError),
        (Reply(status=504), RemoteTimeoutError),
    ],
)
def test_a_failure_has_the_class_of_its_cause(reply: Reply, kind: type[RemoteError]) -> None:
    """Callers can tell too long, too many, not allowed and too slow apart."""
    with OpenAIServer([reply]) as server, pytest.raises(kind):
        _client(server).generate(PROMPT, NO_OPTIONS)


@pytest.mark.parametrize(
    ("settings_", "expected"),
    [({"context_window": 0}, "context_window 0"), ({"count_with": "tgi"}, "vllm llamacpp")],
)
def test_a_setting_of_counting_is_checked(settings_: dict[str, object], expected: str) -> None:
    """What no window or no server can be is refused at once."""
    with pytest.raises(ConfigError, match=expected):
        open_generator("openai:m", **settings_)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vectors_are_the_same_however_they_travel(encoding: Encoding) -> None:
    """Order comes from the index, and base64 holds the same numbers."""
    with OpenAIServer() as server:
        plain = OpenAIEmbedder("m", base_url=server.base_url)
        other = OpenAIEmbedder("m", base_url=server.base_url, encoding=encoding, batch_size=1)
        texts = ["one", "two", "three"]
        difference = abs(plain.embed_documents(texts) - other.embed_documents(texts)).max()
    assert float(difference) < 1e-6
    assert server.requests[-1].body["encoding_format"] == encoding
    assert [r.body["input"] for r in server.requests[-3:]] == [["one"], ["two"], ["three"]]


def test_prompts_and_dimensions_are_sent() -> None:
    """Questions and documents get their own prompt, and the fingerprint knows."""
    with OpenAIServer() as server:
        embedder = open_embedder(
            "openai:m", base_url=server.base_url, dimensions=4, document_prompt="passage: ",
            query_prompt="query: ",
        )  # fmt: skip
        assert (embedder.dim, server.requests) == (4, [])
        assert embedder.embed_documents(["a", " "]).shape == (2, 4)
        assert embedder.embed_query("b").shape == (4,)
    bodies = [request.body for request in server.requests]
    assert [body["input"] for body in bodies] == [["passage: a", "passage:  "], ["query: b"]]
    assert [body["dimensions"] for body in bodies] == [4, 4]
    prints = {
        OpenAIEmbedder(name, dimensions=dim, query_prompt=prompt).fingerprint
        for name in ("a", "b") for dim in (None, 4) for prompt in ("", "q")
    }  # fmt: skip
    assert len(prints) == 8


def test_blank_texts_are_not_sent() -> None:
    """A server that refuses empty input is not given any, and each text still has its row."""
    with OpenAIServer() as server:
        vectors = OpenAIEmbedder("m", base_url=server.base_url).embed_documents(["", "a", " \n"])
    assert server.requests[0].body["input"] == ["a"]
    assert vectors[0].tolist() == vectors[2].tolist() == [1.0, *[0.0] * 7]


def test_a_text_that_is_too_long_is_not_cut(model: ServedModel) -> None:
    """Refused by the server, or cut by it in silence: both are errors."""
    long = "word " * 3000
    with OpenAIServer(model=model) as server:
        embedder = OpenAIEmbedder("m", base_url=server.base_url)
        with pytest.raises(PromptTooLongError, match="lower chunk_tokens"):
            embedder.embed_documents(["short", long])
    with OpenAIServer([Reply(usage={"prompt_tokens": 512})]) as server:
        embedder = OpenAIEmbedder("m", base_url=server.base_url)
        with pytest.raises(PromptTooLongError, match=r"512 tokens of .* 3,000 words"):
            embedder.embed_documents([long])


def test_a_batch_is_cut_by_size_too() -> None:
    """Texts of 200,000 bytes go one by one, since a request may hold 300,000 tokens."""
    with OpenAIServer([Reply(usage=None)]) as server:
        OpenAIEmbedder("m", base_url=server.base_url).embed_documents(["a" * 200_000] * 2)
    assert len(server.requests) == 2


def test_vectors_of_another_length_are_refused() -> None:
    """A server that ignores `dimensions`, or changes its mind, is named."""
    body = b'{"data":[{"index":0,"embedding":[1.0,2.0]}]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with _raw_server(head + body, until=b"input") as url:
        embedder = OpenAIEmbedder("m", base_url=url, dimensions=3)
        with pytest.raises(DimensionMismatchError, match="2 numbers, not 3"):
            embedder.embed_query("a")


@pytest.mark.parametrize(
    "body",
    [
        b"{}", b'{"data":[]}', b'{"data":{}}', b'{"data":[{"index":1,"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":"?"}]}', b'{"data":[{"index":0,"embedding":"AAA="}]}',
        b'{"data":[{"index":0,"embedding":[]}]}', b'{"data":[{"index":0,"embedding":[NaN]}]}',
        b'{"data":[{"index":0,"embedding":null}]}', b'{"data":[{"index":0,"embedding":[[1]]}]}',
    ],
)  # fmt: skip
def test_something_that_is_no_vector_is_a_remote_error(body: bytes) -> None:
    """JSON that holds no vectors never raises anything else."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with _raw_server(head + body, until=b"input") as url, pytest.raises(RemoteError):
        OpenAIEmbedder("m", base_url=url).embed_query("a")


@pytest.mark.parametrize(
    "values", [{"batch_size": 0}, {"batch_size": 2049}, {"dimensions": 0}, {"encoding": "int8"}]
)
def test_a_setting_of_an_embedder_is_checked(values: dict[str, object]) -> None:
    """The error names the setting and what is allowed."""
    with pytest.raises(ConfigError, match=f"{next(iter(values))}.*allowed"):
        open_embedder("openai:m", **values)
