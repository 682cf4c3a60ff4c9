"""The generator and the embedder for Ollama, against a real server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytest

from ragkit.errors import ConfigError, PromptTooLongError, RemoteError, RemoteTimeoutError
from ragkit.types import Generation, GenerationOptions, Json, Message, Prompt, Usage
from ragkit_connectors import open_embedder, open_generator
from ragkit_connectors.ollama import OllamaEmbedder, OllamaGenerator
from ragkit_connectors.testing import (
    EmbedderContract,
    GeneratorContract,
    OllamaServer,
    Reply,
    Script,
    ServedModel,
    sample_prompt,
)

from . import scripted

NO_OPTIONS = GenerationOptions()
PROMPT = sample_prompt()


@pytest.fixture(name="model")
def wide_model(model: ServedModel) -> ServedModel:
    """Return the shared model, here with a declared window of 32,768 tokens."""
    return replace(model, window=32_768)


def _streamed(generator: OllamaGenerator) -> tuple[list[str], Generation]:
    *pieces, last = generator.stream(PROMPT, NO_OPTIONS)
    assert isinstance(last, Generation)
    return [str(piece) for piece in pieces], last


def _options(server: OllamaServer) -> list[Json]:
    return [request.body["options"] for request in server.requests]


class TestOllamaGenerator(GeneratorContract):
    """The contract of generators."""

    @pytest.fixture(autouse=True)
    def _servers(self, model: ServedModel) -> Iterator[None]:
        self._model = model
        with ExitStack() as self._open:
            yield

    def _serve(self, reply: Reply) -> OllamaServer:
        self._server = self._open.enter_context(OllamaServer([reply], model=self._model))
        return self._server

    def make(self) -> OllamaGenerator:
        """Return a client of a scripted server."""
        return OllamaGenerator("m", base_url=self._serve(Reply()).base_url)

    def make_with_window(self, n_tokens: int) -> OllamaGenerator:
        """Return a client that loads the model with a window of its own."""
        return OllamaGenerator("m", base_url=self._serve(Reply()).base_url, num_ctx=n_tokens)

    def make_unreachable(self) -> OllamaGenerator:
        """Return a client of a port where nothing listens."""
        return OllamaGenerator("m", base_url="http://127.0.0.1:9", num_ctx=4096)

    def make_saying(self, script: Script) -> OllamaGenerator | None:
        """Return a client of a server that says this; Ollama knows neither parts nor filters."""
        reply = None if script.in_parts or script.ending == "filter" else scripted.reply(script)
        return None if reply is None else OllamaGenerator("m", base_url=self._serve(reply).base_url)

    def make_endless(self) -> tuple[OllamaGenerator, threading.Event]:
        """Return a client of a server that never ends."""
        server = self._serve(Reply(is_endless=True))
        return OllamaGenerator("m", base_url=server.base_url), server.client_left

    def sent_messages(self) -> Sequence[Message]:
        """Return what the server was sent."""
        return scripted.sent_messages(self._server.requests[-1].body)


class TestOllamaEmbedder(EmbedderContract):
    """The contract of embedders."""

    @pytest.fixture(autouse=True)
    def _server(self, model: ServedModel) -> Iterator[None]:
        with OllamaServer(model=model) as server:
            self._url = server.base_url
            yield

    def make(self) -> OllamaEmbedder:
        """Return a client of a server that draws vectors from a hash of the text."""
        return OllamaEmbedder("m", base_url=self._url)


def test_the_request_holds_the_prompt_and_the_options_asked_for(model: ServedModel) -> None:
    """Options have Ollama's names; only given ones are sent, 0 among them."""
    options = GenerationOptions(
        max_tokens=9, temperature=0.0, top_p=0.5, top_k=3, stop=("X",), seed=0
    )
    with OllamaServer(model=model) as server:
        client = open_generator(
            "ollama:qwen3:8b", base_url=server.base_url, num_ctx=512, keep_alive="10m", think=False
        )
        client.generate(PROMPT, options)
    assert server.requests[0].path == "/api/chat"
    assert server.requests[0].body == {
        "model": "qwen3:8b", "messages": [{"role": "user", "content": PROMPT.text}],
        "options": {"num_ctx": 512, "num_predict": 9, "temperature": 0.0, "top_p": 0.5,
                    "top_k": 3, "stop": ["X"], "seed": 0},
        "stream": False, "truncate": False, "shift": False, "keep_alive": "10m", "think": False,
    }  # fmt: skip


def test_every_request_sets_the_window_and_forbids_cutting(model: ServedModel) -> None:
    """Streamed or not, asked for or not: the small default window is never used."""
    with OllamaServer(model=model) as server:
        generator = OllamaGenerator("m", base_url=server.base_url)
        generator.generate(PROMPT, NO_OPTIONS)
        _streamed(generator)
    for request in server.requests:
        assert request.body["options"] == {"num_ctx": 4096}
        assert (request.body["truncate"], request.body["shift"]) == (False, False)


def test_the_window_grows_with_the_prompt_in_steps(model: ServedModel) -> None:
    """A window is a power of two that the prompt and its answer fit into, and is not exceeded."""
    long = Prompt(text="word " * 2000, question="q")
    with OllamaServer(model=model) as server:
        generator = OllamaGenerator("m", base_url=server.base_url)
        generator.generate(long, NO_OPTIONS)
        generator.generate(long, GenerationOptions(max_tokens=9000))
        OllamaGenerator("m", base_url=server.base_url, context_window=5000).generate(
            long, NO_OPTIONS
        )
    assert _options(server) == [
        {"num_ctx": 8192}, {"num_ctx": 16384, "num_predict": 9000}, {"num_ctx": 5000}
    ]  # fmt: skip
    assert [request.path for request in server.side_requests] == ["/api/show"]


def test_the_window_is_never_above_the_declared_one(model: ServedModel) -> None:
    """A prompt of more words than the model can read is refused before it is sent."""
    long = Prompt(text="word " * 3000, question="q")
    with OllamaServer(model=replace(model, window=3000)) as server:
        generator = OllamaGenerator("m", base_url=server.base_url)
        with pytest.raises(PromptTooLongError, match="window holds 3,000"):
            generator.generate(long, NO_OPTIONS)
        assert not server.requests
        generator.generate(PROMPT, NO_OPTIONS)
        assert _options(server) == [{"num_ctx": 3000}]


def test_a_prompt_that_the_server_refuses_is_too_long(model: ServedModel) -> None:
    """More tokens than the window, though fewer words: Ollama's refusal is typed."""
    dense = Prompt(text="äöü€" * 200, question="q")
    with OllamaServer(model=model) as server:
        generator = OllamaGenerator("m", base_url=server.base_url, num_ctx=256)
        with pytest.raises(PromptTooLongError, match=r"256 tokens.*raise num_ctx"):
            generator.generate(dense, NO_OPTIONS)
        with pytest.raises(PromptTooLongError):
            list(generator.stream(dense, NO_OPTIONS))


def test_a_prompt_that_an_old_server_cuts_in_silence_is_an_error(model: ServedModel) -> None:
    """Status 200 and half a prompt: what was read is held against what was sent."""
    words = Prompt(text="badge " * 250, question="q")
    with OllamaServer(model=model, knows_truncate=False) as server:
        generator = OllamaGenerator("m", base_url=server.base_url, num_ctx=256)
        with pytest.raises(PromptTooLongError, match=r"130 tokens of a prompt of 250 words"):
            generator.generate(words, NO_OPTIONS)
        with pytest.raises(PromptTooLongError, match="cut the prompt"):
            list(generator.stream(words, NO_OPTIONS))


def test_usage_is_the_servers(model: ServedModel) -> None:
    """Both counts come from the end of the answer, and are what the tokenizer gives."""
    with OllamaServer([Reply(text="At the desk.")], model=model) as server:
        generator = OllamaGenerator("m", base_url=server.base_url)
        whole, (_, streamed) = generator.generate(PROMPT, NO_OPTIONS), _streamed(generator)
    assert whole.usage == streamed.usage == Usage(
        input_tokens=model.count([{"role": "user", "content": PROMPT.text}]),
        output_tokens=len(model.encode("At the desk.")), exact=True, counter="ollama",
    )  # fmt: skip


def test_what_the_server_tells_of_itself_is_kept(model: ServedModel) -> None:
    """The model that answered, and the nanoseconds that it took, loading included."""
    with OllamaServer(model=model) as server:
        generator = OllamaGenerator("m:8b", base_url=server.base_url)
        for generation in (generator.generate(PROMPT, NO_OPTIONS), _streamed(generator)[1]):
            assert (generation.served_model, generation.server_seconds) == ("m:8b", 1.5)


def test_fields_of_ollamas_own_are_sent(model: ServedModel) -> None:
    """They join the options that are there; none of them replaces one."""
    fields: dict[str, Json] = {"options": {"num_gpu": 0}, "think": "low"}
    with OllamaServer(model=model) as server:
        OllamaGenerator("m", base_url=server.base_url, request_fields=fields).generate(
            PROMPT, NO_OPTIONS
        )
        twice = OllamaGenerator(
            "m", base_url=server.base_url, request_fields={"options": {"num_ctx": 9}}
        )
        with pytest.raises(ConfigError, match="options sets num_ctx"):
            twice.generate(PROMPT, NO_OPTIONS)
    assert server.requests[0].body["options"] == {"num_ctx": 4096, "num_gpu": 0}
    assert server.requests[0].body["think"] == "low"


def test_a_model_without_a_system_role_is_told_by_the_user(model: ServedModel) -> None:
    """The instructions stand before the first question."""
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="Why?"))
    with OllamaServer(model=model) as server:
        OllamaGenerator("m", base_url=server.base_url, system_role="fold").generate(
            Prompt(question="Why?", messages=messages), NO_OPTIONS
        )
        with pytest.raises(ConfigError, match="system_role 'none'; allowed: system fold"):
            open_generator("ollama:m", base_url=server.base_url, system_role="none")
    assert server.requests[0].body["messages"] == [{"role": "user", "content": "Be brief.\n\nWhy?"}]


def test_unknown_usage_stays_unknown(model: ServedModel) -> None:
    """A server that counts nothing gives None, never 0."""
    nothing = Reply(usage={"prompt_eval_count": None, "eval_count": "x"})
    with OllamaServer([nothing], model=model) as server:
        generator = OllamaGenerator("m", base_url=server.base_url)
        assert generator.generate(PROMPT, NO_OPTIONS).usage == Usage()


@pytest.mark.parametrize("packet_bytes", [1, 7, 65536])
def test_a_stream_is_read_however_it_is_cut(model: ServedModel, packet_bytes: int) -> None:
    """Packets may cut lines and characters."""
    reply = Reply(text="Grüße 🙂 vom Empfang", packet_bytes=packet_bytes, finish_reason="length")
    with OllamaServer([reply], model=model) as server:
        pieces, whole = _streamed(OllamaGenerator("m", base_url=server.base_url))
    assert "".join(pieces) == whole.text == reply.text
    assert whole.stop_reason == "length"
    assert len(pieces) == 4


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(status=404, text="model 'm' not found"), "ollama pull m"),
        (Reply(status=503, text="server busy"), "HTTP 503: server busy"),
        (Reply(status=500, text="boom"), "HTTP 500: boom.*may be billed"),
        (Reply(fault="wrong_type"), "text/html"),
        (Reply(text=" ", finish_reason=None), "no reason"),
        (Reply(fault="truncated"), "broke off"),
        (Reply(status=400, text=PROMPT.text), "left out"),
    ],
)
def test_a_failure_says_what_to_do(model: ServedModel, reply: Reply, expected: str) -> None:
    """Both ways to generate fail alike, after one request, and repeat nothing of the prompt."""
    with OllamaServer([reply], model=model) as server:
        generator = OllamaGenerator("m", base_url=server.base_url, num_ctx=4096)
        with pytest.raises(RemoteError, match=expected) as caught:
            generator.generate(PROMPT, NO_OPTIONS)
        with pytest.raises(RemoteError, match=expected):
            list(generator.stream(PROMPT, NO_OPTIONS))
        assert len(server.requests) == 2
    assert PROMPT.question not in str(caught.value)


def test_an_error_in_the_middle_of_a_stream_is_an_error(model: ServedModel) -> None:
    """Text that came is no whole answer."""
    with OllamaServer([Reply(text="one two", fault="broken_stream")], model=model) as server:
        stream = OllamaGenerator("m", base_url=server.base_url).stream(PROMPT, NO_OPTIONS)
        assert next(stream) == "one"
        with pytest.raises(RemoteError, match="the model crashed"):
            next(stream)


def test_a_slow_server_is_left_in_time_and_never_asked_again(model: ServedModel) -> None:
    """A generation that timed out is sent once."""
    with OllamaServer([Reply(delay_seconds=30.0)], model=model) as server:
        generator = OllamaGenerator(
            "m", base_url=server.base_url, timeout_seconds=0.2, num_ctx=4096
        )
        with pytest.raises(RemoteTimeoutError):
            generator.generate(PROMPT, NO_OPTIONS)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "values", [{"num_ctx": 0}, {"context_window": 0}, {"timeout_seconds": 0.0}, {"base_url": "x"}]
)
def test_a_setting_that_cannot_be_used_is_refused(values: dict[str, object]) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ConfigError, match="allowed"):
        open_generator("ollama:m", **values)


def test_embeddings_are_asked_for_whole(model: ServedModel) -> None:
    """Prompts are put before texts, and cutting is forbidden."""
    with OllamaServer(model=model) as server:
        embedder = open_embedder(
            "ollama:m", base_url=server.base_url, document_prompt="d: ", query_prompt="q: ",
            keep_alive=0,
        )  # fmt: skip
        embedder.embed_documents(["a", "b"])
        embedder.embed_query("c")
    bodies = [request.body for request in server.requests]
    assert [body["input"] for body in bodies] == [["d: a", "d: b"], ["q: c"]]
    assert all(body["truncate"] is False and body["keep_alive"] == 0 for body in bodies)


def test_a_text_that_is_too_long_is_not_cut(model: ServedModel) -> None:
    """A text that does not fit is an error, refused by the server or cut by it in silence."""
    with OllamaServer(model=replace(model, window=64)) as server:
        embedder = OllamaEmbedder("m", base_url=server.base_url)
        with pytest.raises(PromptTooLongError, match="lower chunk_tokens"):
            embedder.embed_documents(["short", "word " * 100])
    with OllamaServer([Reply(usage={"prompt_eval_count": 64})], model=model) as server:
        embedder = OllamaEmbedder("m", base_url=server.base_url)
        with pytest.raises(PromptTooLongError, match="64 tokens"):
            embedder.embed_documents(["word " * 100])


@pytest.mark.parametrize("rows", [None, [], [[1.0], [2.0]], {"a": 1}, [["x"]]])
def test_something_that_is_no_vector_is_a_remote_error(model: ServedModel, rows: Json) -> None:
    """An answer without a vector for each text never raises anything else."""
    with OllamaServer([Reply(usage={"embeddings": rows})], model=model) as server:
        embedder = OllamaEmbedder("m", base_url=server.base_url)
        with pytest.raises(RemoteError, match="vector"):
            embedder.embed_query("a")
