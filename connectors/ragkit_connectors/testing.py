"""What tests of generators and embedders need: contracts to inherit, and a server to talk to.

A contract is a class of pytest tests. A subclass says how to make the thing:

    class TestMyEmbedder(EmbedderContract):
        def make(self):
            return MyEmbedder()
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from ragkit.errors import RemoteError
from ragkit.types import (
    Chunk,
    ContextItem,
    Embedder,
    Generation,
    GenerationOptions,
    Generator,
    Hit,
    Json,
    Prompt,
    ScoredSentence,
)

if TYPE_CHECKING:
    from types import TracebackType

    from ragkit.types import Vectors

Fault: TypeAlias = Literal["truncated", "not_json", "wrong_type", "broken_stream"]

_TEXTS = (
    "The badge is reset at the front desk.",
    "Water boils at 100 degrees Celsius at sea level.",
    "Ein Satz in einer anderen Sprache, mit Umlauten: äöü.",
    "reset badge",
)


def sample_prompt() -> Prompt:
    """Return a prompt with a context of one passage and a question that it answers."""
    passage = "The badge is reset at the front desk. Bring your passport."
    first_end = passage.index(".") + 1
    spans = ((0, first_end), (first_end + 1, len(passage)))
    chunk = Chunk(
        id="c1", document_id="d1", start=0, end=len(passage), text=passage, n_tokens=13,
        sentences=spans,
    )  # fmt: skip
    sentences = tuple(
        ScoredSentence(start=start, end=end, text=passage[start:end], score=score, n_tokens=7)
        for (start, end), score in zip(spans, (0.9, 0.2), strict=True)
    )
    item = ContextItem(
        hit=Hit(rank=1, score=0.9, chunk=chunk), start=0, end=len(passage), text=passage,
        n_tokens=13, sentences=sentences,
    )  # fmt: skip
    question = "Where is the badge reset?"
    return Prompt(
        text=f"Answer from the context.\n\n{passage}\n\n{question}",
        question=question,
        context=(item,),
    )


class EmbedderContract:
    """What every embedder must do. `make` is called once a test."""

    batch_tolerance = 1e-3
    """Largest difference of a vector's elements between a text alone and the same text in a batch;
    more for run times that quantise a batch as a whole."""

    def make(self) -> Embedder:
        """Return the embedder under test."""
        raise NotImplementedError

    def test_vectors_have_the_stated_shape(self) -> None:
        """Documents give (n, dim), a question gives (dim,), all float32."""
        import numpy as np

        embedder = self.make()
        vectors, vector = embedder.embed_documents(_TEXTS), embedder.embed_query(_TEXTS[0])
        _expect(vectors.shape == (len(_TEXTS), embedder.dim), f"shape {vectors.shape}")
        _expect(vector.shape == (embedder.dim,), f"shape {vector.shape}")
        _expect(vectors.dtype == vector.dtype == np.float32, f"{vectors.dtype}, {vector.dtype}")

    def test_vectors_have_length_one(self) -> None:
        """Each row has length 1, that of an empty text too."""
        embedder = self.make()
        vectors = embedder.embed_documents([*_TEXTS, "", " ", "\n\n"])
        _expect_units(vectors)
        _expect_units(embedder.embed_query("")[None, :])

    def test_no_texts_give_no_vectors(self) -> None:
        """An empty list gives shape (0, dim)."""
        embedder = self.make()
        _expect(embedder.embed_documents([]).shape == (0, embedder.dim), "not (0, dim)")

    def test_vectors_come_in_the_order_of_the_texts(self) -> None:
        """Reversed texts give reversed vectors, however the embedder groups them by length."""
        embedder = self.make()
        texts = [text * n for n, text in enumerate(_TEXTS, start=1)]
        forth, back = embedder.embed_documents(texts), embedder.embed_documents(texts[::-1])
        _expect_close(forth, back[::-1], self.batch_tolerance)

    def test_a_batch_changes_nothing(self) -> None:
        """A text alone gives the same vector as in a batch."""
        embedder = self.make()
        together = embedder.embed_documents(_TEXTS)
        for i, text in enumerate(_TEXTS):
            _expect_close(together[i : i + 1], embedder.embed_documents([text]),
                          self.batch_tolerance)  # fmt: skip

    def test_vectors_are_reproducible(self) -> None:
        """The same texts give the same vectors, from another instance too."""
        first, again = self.make(), self.make()
        vectors = first.embed_documents(_TEXTS)
        _expect_close(vectors, first.embed_documents(_TEXTS), 0.0)
        _expect_close(vectors, again.embed_documents(_TEXTS), 0.0)

    def test_different_texts_give_different_vectors(self) -> None:
        """Vectors depend on the text."""
        vectors = self.make().embed_documents(_TEXTS[:2])
        _expect(bool(abs(vectors[0] - vectors[1]).max() > 1e-3), "two texts, one vector")

    def test_the_fingerprint_stays(self) -> None:
        """Two instances made alike have the same fingerprint, and it says something."""
        first, again = self.make(), self.make()
        _expect(bool(first.fingerprint.strip()), "the fingerprint is empty")
        _expect(first.fingerprint == again.fingerprint, "the fingerprint changed")


class GeneratorContract:
    """What every generator must do, given the same prompt twice.

    `make` is called once a test. Models that sample should be made, or scripted, to repeat
    themselves.
    """

    def make(self) -> Generator:
        """Return the generator under test."""
        raise NotImplementedError

    def make_unreachable(self) -> Generator | None:
        """Return one whose server is down; None for generators without a server."""
        return None

    def prompt(self) -> Prompt:
        """Return a prompt that the generator answers."""
        return sample_prompt()

    def test_it_answers_with_text(self) -> None:
        """An answer is not empty, and the generator has a name."""
        generator = self.make()
        generation = generator.generate(self.prompt(), GenerationOptions())
        _expect(bool(generation.text.strip()), "the answer is empty")
        _expect(bool(generator.name), "the name is empty")

    def test_stream_and_generate_agree(self) -> None:
        """A stream gives pieces of text that make up the whole answer, which comes last."""
        whole = self.make().generate(self.prompt(), GenerationOptions())
        *pieces, last = self.make().stream(self.prompt(), GenerationOptions())
        _expect(isinstance(last, Generation), "the last item is no Generation")
        texts = [piece for piece in pieces if isinstance(piece, str)]
        _expect(len(texts) == len(pieces), "a Generation came before the end")
        _expect("".join(texts) == cast("Generation", last).text, "pieces and whole differ")
        _expect(cast("Generation", last).text == whole.text, "stream and generate differ")

    def test_usage_is_known_or_none(self) -> None:
        """Token counts are not negative; an exact count says who counted."""
        generator = self.make()
        usage = generator.generate(self.prompt(), GenerationOptions()).usage
        for count in (usage.input_tokens, usage.output_tokens, usage.cached_tokens):
            _expect(count is None or count >= 0, f"count {count}")
        _expect(not usage.exact or usage.counter != "unknown", "exact, but nobody counted")
        if usage.exact and usage.cached_tokens is not None and usage.input_tokens is not None:
            _expect(usage.cached_tokens <= usage.input_tokens, "more cached than sent")

    def test_every_option_is_accepted(self) -> None:
        """All options together, 0 among them, still give an answer."""
        options = GenerationOptions(
            max_tokens=64, temperature=0.0, top_p=1.0, top_k=1, stop=("\n\n\n",), seed=0
        )
        generation = self.make().generate(self.prompt(), options)
        _expect(bool(generation.text.strip()), "the answer is empty")

    def test_the_counter_counts(self) -> None:
        """A counter, where there is one, counts more tokens in a longer text."""
        counter = self.make().counter
        if counter is not None:
            _expect(counter.count("") == 0, "an empty text has tokens")
            _expect(counter.count("one two three") > counter.count("one"), "it does not count")

    def test_a_server_that_is_down_is_a_remote_error(self) -> None:
        """Both ways to generate raise `RemoteError`."""
        generator = self.make_unreachable()
        if generator is None:
            return
        _expect_remote_error(lambda: generator.generate(self.prompt(), GenerationOptions()))
        _expect_remote_error(lambda: list(generator.stream(self.prompt(), GenerationOptions())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of an `OpenAIServer`.

    Attributes:
        text: What the model says.
        usage: The `usage` object; None leaves it out; `words` counts words as tokens.
        finish_reason: Why the model stopped.
        status: HTTP status; any but 200 gives an error object with `text` as its message.
        headers: More headers, for example `Retry-After`.
        delay_seconds: Wait before the answer, and before each packet of a stream.
        packet_bytes: Size of the packets that a stream is cut into, across events and characters.
        line_end: What ends a line of a stream.
        keep_alive: Whether comments stand between the events of a stream.
        fault: `truncated` breaks off in the middle, `not_json` sends half an object, `wrong_type`
            sends HTML, `broken_stream` reports an error after the first piece.
    """

    text: str = "The front desk."
    usage: Mapping[str, Json] | Literal["words"] | None = "words"
    finish_reason: str | None = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay_seconds: float = 0.0
    packet_bytes: int = 65536
    line_end: str = "\n"
    keep_alive: bool = False
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an `OpenAIServer` was sent; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Json]


class OpenAIServer:
    """A server on this machine that speaks the chat interface of OpenAI and says what it is told.

    Replies are given in order, the last one again and again. `requests` holds what was asked.

        with OpenAIServer([Reply(text="The front desk.")]) as server:
            OpenAIGenerator("any", base_url=server.base_url)
    """

    def __init__(self, replies: Sequence[Reply | str] = (Reply(),)) -> None:
        self._replies = [Reply(text=r) if isinstance(r, str) else r for r in replies]
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.next_reply = self._next_reply
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True
        )

    @property
    def base_url(self) -> str:
        """Address to give to a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> OpenAIServer:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to listen; answers that are under way break off."""
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next_reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            return self._replies[min(len(self.requests), len(self._replies)) - 1]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Handlers look at `stopping`, so closing does not wait for a slow answer.
    block_on_close = True
    next_reply: Callable[[Request], Reply]

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.stopping = threading.Event()
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: clients that give up early are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    @property
    def _owner(self) -> _Server:
        return cast("_Server", self.server)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = cast("dict[str, Json]", json.loads(self.rfile.read(length)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self._owner.next_reply(Request(path=self.path, headers=headers, body=body))
        if self._owner.stopping.wait(reply.delay_seconds):
            return
        if self.path != "/v1/chat/completions":
            self._answer(404, "application/json", _error("no such path"), reply)
        elif reply.status != 200:
            self._answer(reply.status, "application/json", _error(reply.text), reply)
        elif reply.fault == "wrong_type":
            self._answer(200, "text/html", b"<html>hello</html>", reply)
        elif body.get("stream"):
            self._stream(body, reply)
        else:
            data = json.dumps(_completion(body, reply)).encode()
            data = data[: len(data) // 2] if reply.fault == "not_json" else data
            self._answer(200, "application/json", data, reply)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Stay quiet."""

    def _answer(self, status: int, content_type: str, data: bytes, reply: Reply) -> None:
        self._head(status, content_type, reply, length=len(data))
        self.wfile.write(data[: len(data) // 2] if reply.fault == "truncated" else data)

    def _head(
        self, status: int, content_type: str, reply: Reply, *, length: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, body: Mapping[str, Json], reply: Reply) -> None:
        self._head(200, "text/event-stream; charset=utf-8", reply)
        data = "".join(_event_lines(body, reply)).replace("\n", reply.line_end).encode()
        data = data[: len(data) // 2] if reply.fault == "truncated" else data
        for start in range(0, len(data), reply.packet_bytes):
            if start and self._owner.stopping.wait(reply.delay_seconds):
                return
            self.wfile.write(data[start : start + reply.packet_bytes])
            if start and not reply.delay_seconds:
                # Without a pause the kernel joins packets, and a client never sees them cut.
                time.sleep(0.0002)


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "scripted"}}).encode()


def _usage(body: Mapping[str, Json], reply: Reply) -> Json:
    if reply.usage != "words":
        return reply.usage
    messages = cast("Sequence[Mapping[str, Json]]", body["messages"])
    n_input = sum(len(str(message["content"]).split()) for message in messages)
    n_output = len(reply.text.split())
    return {
        "prompt_tokens": n_input,
        "completion_tokens": n_output,
        "total_tokens": n_input + n_output,
    }


def _completion(body: Mapping[str, Json], reply: Reply) -> Mapping[str, Json]:
    message: Json = {"role": "assistant", "content": reply.text}
    choice: Json = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    usage = _usage(body, reply)
    return {"choices": [choice], **({} if usage is None else {"usage": usage})}


def _event_lines(body: Mapping[str, Json], reply: Reply) -> Iterable[str]:
    def event(**content: Json) -> str:
        comment = ": keep-alive\n\n" if reply.keep_alive else ""
        # Data of several lines is as valid as data of one.
        data = json.dumps(content, ensure_ascii=False, indent=1 if reply.keep_alive else None)
        return comment + "".join(f"data: {line}\n" for line in data.split("\n")) + "\n"

    words = reply.text.split(" ")
    for i, word in enumerate(words):
        piece = word if i == 0 else f" {word}"
        yield event(choices=[{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
        if reply.fault == "broken_stream":
            yield event(error={"message": "the model crashed"})
            return
    if reply.finish_reason is not None:
        yield event(choices=[{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}])
    wanted = cast("Mapping[str, Json]", body.get("stream_options") or {})
    usage = _usage(body, reply)
    if usage is not None and wanted.get("include_usage"):
        yield event(choices=[], usage=usage)
    yield "data: [DONE]\n\n"


def _expect(condition: bool, message: str) -> None:
    # An assert statement here would vanish under `python -O`, and pytest does not explain it.
    if not condition:
        raise AssertionError(message)


def _expect_units(vectors: Vectors) -> None:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1)
    _expect(bool(np.allclose(lengths, 1.0, atol=1e-5)), f"lengths {lengths}")


def _expect_close(one: Vectors, other: Vectors, tolerance: float) -> None:
    difference = float(abs(one - other).max())
    _expect(difference <= tolerance, f"vectors differ by {difference}, allowed {tolerance}")


def _expect_remote_error(call: Callable[[], object]) -> None:
    try:
        call()
    except RemoteError:
        return
    raise AssertionError("no RemoteError")
