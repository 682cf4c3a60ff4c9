"""What servers send: read alike however it is cut, an answer or a `RemoteError`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import RemoteError
from ragkit.types import Generation, GenerationOptions, Generator, Json
from ragkit_connectors import open_embedder, open_generator
from ragkit_connectors.support.events import events, lines
from ragkit_connectors.testing import Request, sample_prompt
from ragkit_connectors.testing.serving import Answering, LoopbackServer

from .lane import FEWER, FUZZ, no_hang
from .mutating import altered, as_json, mutated

FOUND = Path(__file__).parent / "found" / "streams"
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"The ferry "}}]}\n\n: alive\n\ndata: {"choices":[{"delta":'
    b'{"content":"leaves at nine."},"finish_reason":"stop"}],"usage":{"prompt_tokens":60,"completion_tokens":6}}'
    b"\n\ndata: [DONE]\n\n",
    b"\xef\xbb\xbfdata:a\r\ndata: b\r\n\r\nid: 1\revent: x\rdata:  c\r\r\ndata\n\nretry: 5\n\ndata: \xe6\x9d\xb1\n\n",
    b"data: one\n\ndata: two",
)
LINES = (
    b'{"response":"The ferry ","done":false}\n{"response":"leaves.","done":false}\n{"response":"","done":true,'
    b'"done_reason":"stop","prompt_eval_count":60,"eval_count":4}\n',
    b"\xef\xbb\xbf{}\r\n\r\n[]\n\xff\xfe\n\xf0\x9f\x98\x80\r",
)
STREAM_WORDS = (
    b"data:", b"\n\n", b"\r\n", b"\r", b"[DONE]", b":", b'{"error":{"message":"x"}}', b"null", b"\x1b[31m", b"\xe2\x80\xa8",
    b"event: error\n", b"[" * 2000, b"1e999", b"9" * 5000, b'"\\ud800"',
)  # fmt: skip
CHAT: Json = {
    "choices": [{"message": {"content": "The ferry leaves."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 60,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 3},
    },
}
OLLAMA: Json = {
    "response": "The ferry leaves.", "message": {"content": "The ferry leaves."}, "done": True, "done_reason": "stop",
    "prompt_eval_count": 60, "eval_count": 4,
}  # fmt: skip
VECTORS: tuple[Json, ...] = (
    {"data": [{"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [0.0, 1.0]}], "usage": {"prompt_tokens": 9}},
    {"data": [{"index": 1, "embedding": "AACAPwAAAEA="}, {"index": 0, "embedding": "AACAPwAAAEA="}]},
    {"embeddings": [[1.0, 2.0], [0.5, 0.5]], "prompt_eval_count": 4},
)  # fmt: skip
FAILURES: tuple[Json, ...] = (
    {"error": {"message": "bad", "code": "x"}}, {"message": "no"}, {"error": "no model"}, {"detail": [{"msg": "x"}]},
)  # fmt: skip


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut bytes at these places."""
    edges = [0, *sorted(place for place in places if place <= len(data)), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@FUZZ
@given(mutated((*EVENTS, *LINES), STREAM_WORDS), st.lists(st.integers(0, 400), max_size=12))
def test_the_same_however_it_is_cut(data: bytes, places: Sequence[int]) -> None:
    """Events and lines do not depend on where the network cuts them."""
    singly = [data[i : i + 1] for i in range(len(data))] if len(data) < 2_000 else [data]
    for read in (events, lines):
        with no_hang():
            whole = list(read([data]))
            assert whole == list(read(cut(data, places)))
            assert whole == list(read(singly))
            assert whole == list(read([b"", data, b""]))


class Served(LoopbackServer):
    """A server on loopback that answers every request with the same bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.status, self.kind, self.body, self.head = (
            200,
            "application/json",
            b"",
            dict[str, str](),
        )

    def respond(self, request: Request, answer: Answering) -> None:  # noqa: ARG002
        """Answer as the example says."""
        answer.whole(self.status, self.kind, self.body, self.head)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Return a server whose answer each example sets."""
    with Served() as server:
        yield server


def opened(name: str, server: Served) -> Generator:
    """Return a generator that asks this server."""
    url = f"{server.url}/v1" if name == "openai" else server.url
    return open_generator(f"{name}:m", base_url=url, timeout_seconds=20.0, retry_seconds=0.0)


def check_generation(generation: Generation) -> None:
    """Hold a server's answer against what a generation promises."""
    assert isinstance(generation.text, str)
    assert generation.text.strip() or generation.stop_reason != "length"
    usage = generation.usage
    for count in (usage.input_tokens, usage.output_tokens, usage.cached_tokens):
        assert count is None or (isinstance(count, int) and count >= 0)
    json.dumps(usage.to_dict(), allow_nan=False)
    assert generation.stop_reason is None or isinstance(generation.stop_reason, str)


def ask(generator: Generator, *, stream: bool) -> None:
    """Ask for an answer, whole or in pieces: it is one, or a `RemoteError` of one line."""
    with no_hang():
        try:
            if stream:
                *pieces, last = generator.stream(sample_prompt(), GenerationOptions())
                assert isinstance(last, Generation)
                assert "".join(cast("list[str]", pieces)) == last.text
            else:
                last = generator.generate(sample_prompt(), GenerationOptions())
        except RemoteError as error:
            assert len(str(error).splitlines()) == 1, error
            assert str(error).isprintable(), error
            return
    check_generation(last)


def answers(values: Sequence[Json]) -> st.SearchStrategy[bytes]:
    """Return JSON bodies: altered values, and damaged bytes of them."""
    return st.one_of(
        altered(values).map(as_json).map(str.encode),
        mutated([as_json(value).encode() for value in values], STREAM_WORDS),
    )


@pytest.mark.parametrize("name", ["openai", "ollama"])
@FEWER
@given(data=st.data())
def test_any_whole_answer(name: str, served: Served, data: st.DataObject) -> None:
    """Whatever a server answers at once, the generation keeps its promises or a `RemoteError` says why."""
    served.status, served.kind, served.head = 200, "application/json", {}
    served.body = data.draw(answers([CHAT if name == "openai" else OLLAMA, *FAILURES]))
    ask(opened(name, served), stream=data.draw(st.booleans()))


@pytest.mark.parametrize("name", ["openai", "ollama"])
@FEWER
@given(data=st.data())
def test_any_stream(name: str, served: Served, data: st.DataObject) -> None:
    """Whatever a server streams, the pieces are the text of the last, or a `RemoteError` says why."""
    served.status, served.head = 200, {}
    served.kind = "text/event-stream" if name == "openai" else "application/x-ndjson"
    served.body = data.draw(mutated(EVENTS if name == "openai" else LINES, STREAM_WORDS))
    ask(opened(name, served), stream=True)


@pytest.mark.parametrize("name", ["openai", "ollama"])
@FEWER
@given(data=st.data())
def test_any_failure(name: str, served: Served, data: st.DataObject) -> None:
    """Whatever status and message a server fails with, the error is one printable line."""
    served.status = data.draw(
        st.sampled_from([400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 599])
    )
    served.kind = data.draw(st.sampled_from(["application/json", "text/html", "x", ""]))
    wait = st.one_of(
        st.sampled_from(["0", "1", "-1", "nan", "1e999", "9" * 400, "Mon, 01 Jan 2024 00:00:00 +9999", "²"]),
        st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,9} \d{2}:\d{2}:\d{2} [+-]?\d{1,20}", fullmatch=True),
        st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20),
    )  # fmt: skip
    served.head = {"Retry-After": data.draw(wait).encode("latin-1", "ignore").decode("latin-1")}
    served.body = data.draw(answers(FAILURES))
    with pytest.raises(RemoteError):
        opened(name, served).generate(sample_prompt(), GenerationOptions())


@pytest.mark.parametrize("name", ["openai", "ollama"])
@FEWER
@given(data=st.data())
def test_any_vectors(name: str, served: Served, data: st.DataObject) -> None:
    """Whatever a server answers for vectors, they have length 1 or a `RemoteError` says why."""
    embed(name, served, data.draw(answers(VECTORS)))


def embed(name: str, served: Served, body: bytes) -> None:
    """Ask for vectors: they have length 1, or a `RemoteError` of one line says why."""
    numpy = pytest.importorskip("numpy")
    served.status, served.kind, served.head, served.body = 200, "application/json", {}, body
    url = f"{served.url}/v1" if name == "openai" else served.url
    embedder = open_embedder(f"{name}:m", base_url=url, timeout_seconds=20.0, retry_seconds=0.0)
    with no_hang():
        try:
            rows = embedder.embed_documents(["The ferry", "leaves"])
        except RemoteError as error:
            assert str(error).isprintable(), error
            return
    assert rows.shape[0] == 2
    assert rows.dtype == numpy.float32
    assert numpy.allclose(numpy.linalg.norm(rows, axis=1), 1.0, atol=1e-3)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_found(path: Path, served: Served) -> None:
    """What was found stays mended; the name tells how it was sent."""
    name, how, _ = path.name.split("_", 2)
    if how == "vectors":
        embed(name, served, path.read_bytes())
        return
    served.status, served.head, served.body = 200, {}, path.read_bytes()
    streams = {"openai": "text/event-stream", "ollama": "application/x-ndjson"}
    served.kind = streams[name] if how == "stream" else "application/json"
    ask(opened(name, served), stream=how == "stream")
