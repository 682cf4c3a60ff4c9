"""Contracts that every connector must pass, and a server to test with.

A connector's author inherits a contract and says how to make the thing:

    class TestMine(EmbedderContract):
        @abstractmethod
    def make(self) -> Embedder:
            return MyEmbedder()
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TypeAlias, cast

from ragkit.types import Embedder, Generation, GenerationOptions, Generator, Prompt

__all__ = ["EmbedderContract", "GeneratorContract", "OpenAIServer", "Reply"]

_TEXTS = (
    "The ferry leaves at nine.",
    "",
    "Tickets cost four euros, children travel free.",
    "The ferry leaves at nine.",
    "x" * 5000,
    "Öffnungszeiten: 9–17 Uhr \0 \ud800 ✈",
)


class EmbedderContract(ABC):
    """What every embedder promises."""

    @abstractmethod
    def make(self) -> Embedder:
        """Return the embedder under test."""

    def test_vectors_have_the_promised_shape(self) -> None:
        """Documents give float32 rows of length `dim` and of unit norm, empty texts too."""
        import numpy as np

        embedder = self.make()
        vectors = embedder.embed_documents(_TEXTS)
        assert vectors.shape == (len(_TEXTS), embedder.dim)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
        assert embedder.embed_query("When?").shape == (embedder.dim,)

    def test_order_and_company_do_not_matter(self) -> None:
        """A text's vector is the same wherever it stands and whatever it is embedded with."""
        import numpy as np

        embedder = self.make()
        together = embedder.embed_documents(_TEXTS)
        turned = embedder.embed_documents(_TEXTS[::-1])[::-1]
        assert np.allclose(together, turned, atol=0.02)
        assert np.allclose(together[0], together[3], atol=0.02)
        alone = embedder.embed_documents(_TEXTS[2:3])[0]
        assert float(alone @ together[2]) > 0.99

    def test_no_texts_give_no_vectors(self) -> None:
        """An empty list is answered with an empty array."""
        assert self.make().embed_documents([]).shape[0] == 0

    def test_fingerprint_is_stable(self) -> None:
        """Two embedders made alike have the same fingerprint, and it says something."""
        assert self.make().fingerprint == self.make().fingerprint != ""

    def test_meaning_shows(self) -> None:
        """A question lies nearer to its answer than to another text."""
        embedder = self.make()
        question = embedder.embed_query("What is the price of a ticket?")
        scores = embedder.embed_documents([_TEXTS[2], _TEXTS[0]]) @ question
        assert scores[0] > scores[1]


class GeneratorContract(ABC):
    """What every generator promises."""

    @abstractmethod
    def make(self) -> Generator:
        """Return the generator under test; it must be able to answer the contract's prompt."""

    def prompt(self) -> Prompt:
        """Return a prompt that the generator can answer."""
        return Prompt(text="Say hello.", question="Say hello.")

    def test_it_answers(self) -> None:
        """An answer is text; what is not known of its tokens is None."""
        generation = self.make().generate(self.prompt(), GenerationOptions())
        assert generation.text
        for count in (generation.usage.input_tokens, generation.usage.output_tokens):
            assert count is None or count > 0

    def test_a_stream_is_the_same_answer_in_pieces(self) -> None:
        """The pieces of a stream join to the generation that comes last."""
        generator = self.make()
        *pieces, last = generator.stream(self.prompt(), GenerationOptions(temperature=0.0))
        assert isinstance(last, Generation)
        assert "".join(cast("list[str]", pieces)) == last.text
        assert last.text

    def test_every_option_is_taken(self) -> None:
        """All generation options are accepted, 0 being a value."""
        options = GenerationOptions(
            max_tokens=5, temperature=0.0, top_p=1.0, top_k=1, stop=("\n\n\n",), seed=0
        )
        assert self.make().generate(self.prompt(), options).text


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer of the server.

    `text` is sent in `pieces` when streamed. A `status` other than 200 sends an error instead.
    `raw` replaces the whole body. `seconds` is a delay before anything is sent. `drop_after` ends
    a stream after so many pieces. `with_usage` tells whether tokens are reported.
    """

    text: str = "Hello there."
    pieces: Sequence[str] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw: bytes | None = None
    seconds: float = 0.0
    drop_after: int | None = None
    with_usage: bool = True
    line_end: str = "\n"


_Body: TypeAlias = dict[str, object]


class OpenAIServer:
    """An OpenAI-compatible server on this machine, which gives scripted replies.

    Use it as a context manager; `base_url` goes to the generator, `requests` holds the bodies and
    `headers` the headers that came. The last reply is given again and again.
    """

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[_Body] = []
        self.headers: list[Mapping[str, str]] = []
        self._replies = list(replies) or [Reply()]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Answer one request."""
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                server.requests.append(cast("_Body", json.loads(body)))
                server.headers.append(dict(self.headers.items()))
                try:
                    server._reply(self, self.path)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _reply(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        n = min(len(self.requests), len(self._replies))
        reply, request = self._replies[n - 1], self.requests[-1]
        time.sleep(reply.seconds)
        if path != "/v1/chat/completions":
            reply = Reply(status=404)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        if reply.status != 200:
            _send(handler, json.dumps({"error": {"message": "refused on purpose"}}).encode())
        elif reply.raw is not None:
            _send(handler, reply.raw)
        elif request.get("stream"):
            _send_stream(handler, reply)
        else:
            _send(handler, json.dumps(_completion(reply)).encode())


def _send(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _send_stream(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    pieces = reply.pieces or reply.text.split(" ")
    joined = pieces if reply.pieces else [p if i == 0 else f" {p}" for i, p in enumerate(pieces)]
    events: list[object] = [{"choices": [{"delta": {"content": piece}}]} for piece in joined]
    if reply.drop_after is not None:
        events = events[: reply.drop_after]
    else:
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        if reply.with_usage:
            events.append({"choices": [], "usage": _USAGE})
    end = reply.line_end
    raw = f": a comment{end}{end}" + "".join(
        f"data: {json.dumps(event, ensure_ascii=False)}{end}{end}" for event in events
    )
    if reply.drop_after is None:
        raw += f"data: [DONE]{end}{end}"
    encoded = raw.encode()
    for i in range(0, len(encoded), 7):  # cuts characters of several bytes on purpose
        handler.wfile.write(encoded[i : i + 7])
        handler.wfile.flush()


_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 4},
}


def _completion(reply: Reply) -> _Body:
    body: _Body = {
        "choices": [{"message": {"content": reply.text}, "finish_reason": "stop"}],
    }
    return {**body, "usage": _USAGE} if reply.with_usage else body
