"""A server on this machine with Ollama's API, for tests."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Mapping, Sequence

from ragkit.types import Json
from ragkit_connectors.support.json_values import count, items, record
from ragkit_connectors.testing.openai_server import Reply
from ragkit_connectors.testing.serving import (
    Answering,
    LoopbackServer,
    Request,
    ServedModel,
    hash_vector,
)

_DEFAULT_WINDOW = 4096
_DIM = 8


class OllamaServer(LoopbackServer):
    """A server that gives scripted replies and treats windows as Ollama does.

    A prompt that does not fit into `num_ctx` is cut to half the window and answered with status
    200, unless `truncate` is false and the server is new enough to know that.

    Args:
        replies: What the model says, in order, the last one repeatedly.
        model: Counts tokens; its window is the one that the model declares.
        knows_truncate: Whether the server obeys `truncate`; older ones do not.
    """

    def __init__(
        self,
        replies: Sequence[Reply | str] = (Reply(),),
        *,
        model: ServedModel,
        knows_truncate: bool = True,
    ) -> None:
        super().__init__()
        self._replies = [Reply(text=r) if isinstance(r, str) else r for r in replies]
        self._model = model
        self._knows_truncate = knows_truncate
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        self.side_requests: list[Request] = []

    @property
    def base_url(self) -> str:
        """Address to give to a client."""
        return self.url

    def respond(self, request: Request, answer: Answering) -> None:
        """Answer as the next reply says, or with the declared window."""
        if request.path == "/api/show":
            with self._lock:
                self.side_requests.append(request)
            answer.json(200, {"model_info": {"llama.context_length": self._model.window}})
            return
        reply = self._next_reply(request)
        if answer.pause(reply.delay_seconds):
            return
        if reply.status != 200:
            answer.json(reply.status, {"error": reply.text}, reply.headers)
        elif reply.fault == "wrong_type":
            answer.head(200, "text/html")
        elif request.path == "/api/embed":
            self._embed(request.body, reply, answer)
        elif request.path == "/api/chat":
            self._chat(request.body, reply, answer)
        else:
            answer.json(404, {"error": "no such path"})

    def _next_reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            return self._replies[min(len(self.requests), len(self._replies)) - 1]

    def _chat(self, body: Mapping[str, Json], reply: Reply, answer: Answering) -> None:
        asked = count(record(body.get("options")).get("num_ctx"))
        window = min(_DEFAULT_WINDOW if asked is None else asked, self._model.window)
        n_prompt = self._model.count(body["messages"])
        if n_prompt >= window:
            if self._knows_truncate and body.get("truncate") is False:
                answer.json(400, {"error": _refusal(n_prompt, window)})
                return
            n_prompt = window // 2 + 2
        end: dict[str, Json] = {
            "model": body.get("model"),
            "done": True,
            "done_reason": reply.finish_reason,
            "total_duration": 1_500_000_000,
            "prompt_eval_count": n_prompt,
            "eval_count": len(self._model.encode(reply.text)),
        }
        if isinstance(reply.usage, Mapping):
            end.update(reply.usage)
        if body.get("stream", True):
            _stream(reply, end, answer)
        else:
            message = _message(reply.text, reply.thoughts)
            data = json.dumps({"message": message, **end}).encode()
            data = data[: len(data) // 2] if reply.fault else data
            answer.head(200, "application/json; charset=utf-8")
            answer.write(data)

    def _embed(self, body: Mapping[str, Json], reply: Reply, answer: Answering) -> None:
        texts = [str(text) for text in items(body["input"])]
        sizes = [len(self._model.encode(text)) for text in texts]
        if max(sizes) > self._model.window:
            if body.get("truncate") is False:
                answer.json(400, {"error": "the input length exceeds the context length"})
                return
            sizes = [min(size, self._model.window) for size in sizes]
        rows: Json = [list(struct.unpack(f"<{_DIM}f", hash_vector(t, _DIM))) for t in texts]
        said: dict[str, Json] = {"embeddings": rows, "prompt_eval_count": sum(sizes)}
        if isinstance(reply.usage, Mapping):
            said.update(reply.usage)
        answer.json(200, said)


def _refusal(n_prompt: int, window: int) -> str:
    """Return what Ollama passes on of the server that it runs: JSON as a string."""
    message = f"request ({n_prompt} tokens) exceeds the available context size ({window} tokens)"
    error: Json = {"code": 400, "message": message, "type": "exceed_context_size_error"}
    return json.dumps({"error": error})


def _stream(reply: Reply, end: Mapping[str, Json], answer: Answering) -> None:
    answer.head(200, "application/x-ndjson", reply.headers)
    pieces = [(" " if i else "") + word for i, word in enumerate(reply.text.split(" "))]
    items: list[Json] = [{"message": _message(piece), "done": False} for piece in pieces]
    if reply.thoughts:
        items.insert(0, {"message": _message("", reply.thoughts), "done": False})
    last: Json = {"message": _message(""), **end}
    if reply.fault == "broken_stream":
        items, last = items[:1], {"error": "the model crashed"}
    while reply.is_endless and not answer.pause(0.005):
        answer.write(json.dumps(items[0]).encode() + b"\n")
    data = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in [*items, last]).encode()
    data = data[: len(data) // 2] if reply.fault == "truncated" else data
    for start in range(0, len(data), reply.packet_bytes):
        if start and answer.pause(reply.delay_seconds):
            return
        answer.write(data[start : start + reply.packet_bytes])
        if start and not reply.delay_seconds:
            time.sleep(0.0002)


def _message(text: str, thoughts: str = "") -> dict[str, Json]:
    message: dict[str, Json] = {"role": "assistant", "content": text}
    return {**message, "thinking": thoughts} if thoughts else message
