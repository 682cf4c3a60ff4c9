"""A server on this machine with OpenAI's API, for tests."""

from __future__ import annotations

import base64
import json
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ragkit.types import Json
from ragkit_connectors.support.json_values import count, items, record, records
from ragkit_connectors.testing.serving import (
    Answering,
    LoopbackServer,
    Request,
    ServedModel,
    hash_vector,
)

Fault: TypeAlias = Literal["truncated", "not_json", "wrong_type", "broken_stream"]
Software: TypeAlias = Literal["vllm", "llamacpp", "llamacpp-python"]

_SILENT_SECONDS = 600.0


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
        thoughts: What the model thought before, kept apart from the text.
        thoughts_field: Where servers put thoughts: `reasoning_content`, `reasoning`, `thinking`.
        in_parts: Whether the content, thoughts included, is a list of parts.
        more: Further fields of a whole answer and of each event, for example `service_tier`.
        is_endless: Whether a stream goes on until the client leaves.
        is_silent: Whether a stream says nothing more after its text, and does not end.
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
    thoughts: str = ""
    thoughts_field: str = "reasoning_content"
    in_parts: bool = False
    more: Mapping[str, Json] = field(default_factory=dict[str, Json])
    is_endless: bool = False
    is_silent: bool = False
    fault: Fault | None = None


class OpenAIServer(LoopbackServer):
    """A server on this machine with OpenAI's API that gives scripted replies.

    Replies are given in order, the last one repeatedly. `requests` holds what was sent to the
    model, `side_requests` all else: counts, templates and the window.

        with OpenAIServer([Reply(text="The front desk.")]) as server:
            OpenAIGenerator("any", base_url=server.base_url)

    Args:
        replies: What the model says.
        model: Counts tokens, and refuses what is beyond its window; None: words are tokens.
        software: Adds the endpoints of this server beyond OpenAI's API; needs `model`.
    """

    def __init__(
        self,
        replies: Sequence[Reply | str] = (Reply(),),
        *,
        model: ServedModel | None = None,
        software: Software | None = None,
    ) -> None:
        super().__init__()
        self._replies = [Reply(text=r) if isinstance(r, str) else r for r in replies]
        self._model = model
        self._software: Software | None = software
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        self.side_requests: list[Request] = []

    @property
    def base_url(self) -> str:
        """Address to give to a client."""
        return f"{self.url}/v1"

    def respond(self, request: Request, answer: Answering) -> None:
        """Answer as the next reply says, or as the software does."""
        if request.path not in {"/v1/chat/completions", "/v1/embeddings"}:
            self._respond_beside(request, answer)
            return
        reply = self._next_reply(request)
        if answer.pause(reply.delay_seconds):
            return
        too_long = self._too_long(request.body)
        if reply.status != 200:
            answer.json(reply.status, _error(reply.text), reply.headers)
        elif reply.fault == "wrong_type":
            _send(answer, "text/html", b"<html>hello</html>", reply)
        elif too_long is not None:
            answer.json(400, too_long)
        elif request.path == "/v1/embeddings":
            _send(answer, "application/json", json.dumps(_embeddings(request.body, reply)), reply)
        elif request.body.get("stream"):
            _stream(request.body, reply, answer, self._model)
        else:
            data = json.dumps(_completion(request.body, reply, self._model))
            data = data[: len(data) // 2] if reply.fault == "not_json" else data
            _send(answer, "application/json", data, reply)

    def _next_reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            return self._replies[min(len(self.requests), len(self._replies)) - 1]

    def _respond_beside(self, request: Request, answer: Answering) -> None:
        with self._lock:
            self.side_requests.append(request)
        said = None
        if self._model is not None and self._software is not None:
            said = _beside(self._software, self._model, request)
        if said is None:
            answer.json(404, _error("no such path"))
        else:
            answer.json(200, said)

    def _too_long(self, body: Mapping[str, Json]) -> Json:
        """Return the error of a prompt that does not fit, in the words of the software."""
        if self._model is None:
            return None
        n_tokens = 1 + (
            self._model.count(body["messages"])
            if "messages" in body
            else max(len(self._model.encode(t)) for t in map(str, items(body["input"])))
        )
        if n_tokens <= self._model.window:
            return None
        window = self._model.window
        if self._software == "llamacpp":
            message = "the request exceeds the available context size, try increasing it"
            return {"error": {"code": 400, "message": message, "type": "exceed_context_size_error"}}
        message = f"This model's maximum context length is {window} tokens, not {n_tokens}"
        return {"error": {"message": message, "code": "context_length_exceeded"}}


def _beside(software: Software, model: ServedModel, request: Request) -> Json:
    """Return the answer of an endpoint beyond OpenAI's API; None where there is none.

    Shapes: vLLM `entrypoints/serve/tokenize/protocol.py`; llama.cpp `tools/server/README.md`;
    llama-cpp-python `server/app.py`.
    """
    path, body = request.path, request.body
    if software == "vllm" and path == "/tokenize":
        tokens = model.encode(model.rendered(body["messages"]))
        return {"count": len(tokens), "max_model_len": model.window, "tokens": list(tokens)}
    if software == "llamacpp" and path == "/props":
        return {"default_generation_settings": {"n_ctx": model.window}}
    if software == "llamacpp" and path == "/apply-template":
        return {"prompt": model.rendered(body["messages"])}
    if software == "llamacpp" and path == "/tokenize":
        return {"tokens": list(model.encode(str(body["content"])))}
    if software == "llamacpp-python" and path == "/extras/tokenize/count":
        # It adds the begin-of-text token and knows no template.
        return {"count": 1 + len(model.encode(str(body["input"])))}
    return None


def _send(answer: Answering, content_type: str, body: str | bytes, reply: Reply) -> None:
    data = body.encode() if isinstance(body, str) else body
    answer.head(200, content_type, {"Content-Length": str(len(data)), **reply.headers})
    answer.write(data[: len(data) // 2] if reply.fault == "truncated" else data)


def _stream(
    body: Mapping[str, Json], reply: Reply, answer: Answering, model: ServedModel | None
) -> None:
    answer.head(200, "text/event-stream; charset=utf-8", reply.headers)
    data = "".join(_event_lines(body, reply, model)).replace("\n", reply.line_end).encode()
    data = data[: len(data) // 2] if reply.fault == "truncated" else data
    for start in range(0, len(data), reply.packet_bytes):
        if start and answer.pause(reply.delay_seconds):
            return
        answer.write(data[start : start + reply.packet_bytes])
        if start and not reply.delay_seconds:
            # Without a pause the kernel merges packets, and a client never sees them split.
            time.sleep(0.0002)
    if reply.is_silent:
        answer.pause(_SILENT_SECONDS)
    while reply.is_endless and not answer.pause(0.005):
        answer.write(_event(reply, choices=[{"index": 0, "delta": {"content": " on"}}]).encode())


def _embeddings(body: Mapping[str, Json], reply: Reply) -> Json:
    """Return one vector per text, drawn from a hash of it, the last one first."""
    texts = [str(text) for text in items(body["input"])]
    dimensions = count(body.get("dimensions")) or 8
    data: list[Json] = []
    for index, text in enumerate(texts):
        packed = hash_vector(text, dimensions)
        numbers: Json = list(struct.unpack(f"<{dimensions}f", packed))
        if body.get("encoding_format") == "base64":
            numbers = base64.b64encode(packed).decode()
        data.append({"index": index, "embedding": numbers})
    n_tokens = sum(len(text.split()) for text in texts)
    usage: Json = {"prompt_tokens": n_tokens} if reply.usage == "words" else reply.usage
    return {"data": data[::-1], "model": body["model"], "usage": usage}


def _error(message: str) -> Json:
    return {"error": {"message": message, "type": "scripted"}}


def _usage(body: Mapping[str, Json], reply: Reply, model: ServedModel | None) -> Json:
    if reply.usage != "words":
        return reply.usage
    messages = records(body["messages"])
    if model is None:
        n_input = sum(len(str(message["content"]).split()) for message in messages)
        n_output = len(reply.text.split())
    else:
        n_input, n_output = model.count(body["messages"]), len(model.encode(reply.text))
    return {
        "prompt_tokens": n_input,
        "completion_tokens": n_output,
        "total_tokens": n_input + n_output,
    }


def _completion(
    body: Mapping[str, Json], reply: Reply, model: ServedModel | None
) -> Mapping[str, Json]:
    said = {name: value for delta in _said(reply, [reply.text]) for name, value in delta.items()}
    if reply.in_parts:
        said = {"content": [part for delta in _said(reply, [reply.text]) for part in _parts(delta)]}
    message: Json = {"role": "assistant", "content": None, **said}
    choice: Json = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    usage = _usage(body, reply, model)
    return {"choices": [choice], **({} if usage is None else {"usage": usage}), **reply.more}


def _said(reply: Reply, texts: Sequence[str]) -> Iterable[dict[str, Json]]:
    """Yield what a model said, in the fields of a message, or of its pieces."""
    if reply.thoughts and reply.in_parts:
        # As Mistral's interface does.
        thinking: Json = [{"type": "text", "text": reply.thoughts}]
        yield {"content": [{"type": "thinking", "thinking": thinking}]}
    elif reply.thoughts:
        yield {reply.thoughts_field: reply.thoughts}
    for text in texts:
        yield {"content": [{"type": "text", "text": text}] if reply.in_parts else text}


def _parts(delta: Mapping[str, Json]) -> Sequence[Json]:
    parts = delta["content"]
    return parts if isinstance(parts, list) else []


def _event(reply: Reply, **content: Json) -> str:
    comment = ": keep-alive\n\n" if reply.keep_alive else ""
    # Data of several lines is as valid as data of one.
    indent = 1 if reply.keep_alive else None
    data = json.dumps({**content, **reply.more}, ensure_ascii=False, indent=indent)
    return comment + "".join(f"data: {line}\n" for line in data.split("\n")) + "\n"


def _event_lines(
    body: Mapping[str, Json], reply: Reply, model: ServedModel | None
) -> Iterable[str]:
    words = [word if i == 0 else f" {word}" for i, word in enumerate(reply.text.split(" "))]
    for delta in _said(reply, words):
        yield _event(reply, choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        if reply.fault == "broken_stream":
            yield _event(reply, error={"message": "the model crashed"})
            return
    if reply.is_endless or reply.is_silent:
        return
    if reply.finish_reason is not None:
        end: Json = {"index": 0, "delta": {}, "finish_reason": reply.finish_reason}
        yield _event(reply, choices=[end])
    wanted = record(body.get("stream_options"))
    usage = _usage(body, reply, model)
    if usage is not None and wanted.get("include_usage"):
        yield _event(reply, choices=[], usage=usage)
    yield "data: [DONE]\n\n"
