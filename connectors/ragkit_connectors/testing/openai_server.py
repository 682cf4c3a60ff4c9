"""A server on this machine that speaks the chat interface of OpenAI, for tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from ragkit.types import Json

if TYPE_CHECKING:
    from types import TracebackType

Fault: TypeAlias = Literal["truncated", "not_json", "wrong_type", "broken_stream"]


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
