"""HTTP servers on this machine that run in a thread of the test."""

from __future__ import annotations

import json
import random
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self, cast

from ragkit.types import Json

if TYPE_CHECKING:
    from types import TracebackType


def chatml(content: str) -> str:
    """Return one user message in the template that many models use."""
    return f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What a server needs to know of a model to count as a real one does.

    Attributes:
        encode: Returns the tokens of a text, special ones understood.
        window: Tokens of prompt and answer together.
        template: Puts a user's message into the form that the model reads.
    """

    encode: Callable[[str], Sequence[int]]
    window: int = 2048
    template: Callable[[str], str] = chatml

    def count(self, messages: Json) -> int:
        """Return the tokens of a prompt as the model reads it."""
        return len(self.encode(self.rendered(messages)))

    def rendered(self, messages: Json) -> str:
        """Return messages as the model reads them."""
        listed = cast("Sequence[Mapping[str, Json]]", messages)
        return self.template("".join(str(message["content"]) for message in listed))


def hash_vector(text: str, dim: int) -> bytes:
    """Return float32 numbers, little-endian, that depend on the text and on nothing else."""
    drawn = random.Random(text)  # noqa: S311 - no secret
    return struct.pack(f"<{dim}f", *(drawn.gauss(0.0, 1.0) for _ in range(dim)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a server was sent; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Json]


class LoopbackServer:
    """A server on a free port of this machine; subclasses answer in `respond`."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.respond = self.respond
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True
        )

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def respond(self, request: Request, answer: Answering) -> None:
        """Answer one request."""
        raise NotImplementedError

    def __enter__(self) -> Self:
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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Handlers look at `stopping`, so closing does not wait for a slow answer.
    block_on_close = True
    respond: Callable[[Request, Answering], None]

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.stopping = threading.Event()
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: clients that give up early are part of the tests."""


class Answering:
    """How a server answers the request that it was given."""

    def __init__(self, handler: BaseHTTPRequestHandler, stopping: threading.Event) -> None:
        self._handler = handler
        self._stopping = stopping

    def pause(self, seconds: float) -> bool:
        """Wait; true when the server stops meanwhile."""
        return self._stopping.wait(seconds)

    def head(
        self, status: int, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send status and headers."""
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", content_type)
        for name, value in (headers or {}).items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        self._handler.wfile.write(data)

    def json(self, status: int, body: Json, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer."""
        data = json.dumps(body).encode()
        length = {"Content-Length": str(len(data))}
        self.head(status, "application/json", {**length, **(headers or {})})
        self.write(data)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        self._respond(cast("dict[str, Json]", json.loads(self.rfile.read(length))))

    def do_GET(self) -> None:
        self._respond({})

    def _respond(self, body: Mapping[str, Json]) -> None:
        server = cast("_Server", self.server)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(path=self.path, headers=headers, body=body)
        server.respond(request, Answering(self, server.stopping))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Stay quiet."""
