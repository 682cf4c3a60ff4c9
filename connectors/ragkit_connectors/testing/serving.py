"""The HTTP server that all servers for tests are made of: on this machine, in a thread."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self, cast

from ragkit.types import Json
from ragkit_connectors.support.json_values import json_record, records

if TYPE_CHECKING:
    from types import TracebackType


def chatml(messages: Sequence[Mapping[str, Json]]) -> str:
    """Return messages in the template that many models use."""
    said = (f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return "".join(said) + "<|im_start|>assistant\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """What a server needs to know of a model to count as a real one does.

    Attributes:
        encode: Returns the tokens of a text, special ones understood.
        window: Tokens of prompt and answer together.
        template: Puts messages into the form that the model reads.
    """

    encode: Callable[[str], Sequence[int]]
    window: int = 2048
    template: Callable[[Sequence[Mapping[str, Json]]], str] = chatml

    def count(self, messages: Json) -> int:
        """Return the tokens of a prompt as the model reads it."""
        return len(self.encode(self.rendered(messages)))

    def rendered(self, messages: Json) -> str:
        """Return messages as the model reads them."""
        return self.template([json_record(message) for message in records(messages)])


def hash_vector(text: str, dim: int) -> bytes:
    """Return float32 numbers, little-endian, that depend on the text and on nothing else."""
    drawn = random.Random(text)  # noqa: S311 - no secret
    return struct.pack(f"<{dim}f", *(drawn.gauss(0.0, 1.0) for _ in range(dim)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a server was sent; `path` includes the query, header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    data: bytes

    @property
    def body(self) -> Mapping[str, Json]:
        """The JSON object that was sent; empty where nothing was."""
        return json_record(json.loads(self.data)) if self.data else {}


def unused_url() -> str:
    """Return an address of this machine where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


class LoopbackServer:
    """A server on a free port of this machine; subclasses answer in `respond`.

    Attributes:
        protocol_version: `HTTP/1.1` keeps connections open between requests.
        n_connections: Connections that were made so far.
        client_left: Set once a client has closed its connection while it was being answered.
    """

    protocol_version = "HTTP/1.0"

    def __init__(self) -> None:
        self.n_connections = 0
        self.client_left = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True
        )

    @property
    def n_open(self) -> int:
        """Connections that are open now."""
        return self._server.n_open

    @property
    def url(self) -> str:
        """Scheme, host and port, to give to a client."""
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
        self._server.stop()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    # Closing waits for the handlers, which end because their connections are shut down.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer) -> None:
        self.owner = owner
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def n_open(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def process_request(self, request: object, client_address: object) -> None:
        """Keep the connection at hand for `stop`."""
        self._open.add(cast("socket.socket", request))
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: object) -> None:
        """Forget the connection."""
        self._open.discard(cast("socket.socket", request))
        super().shutdown_request(request)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Stop to listen and break off what is under way."""
        self.stopping.set()
        self.shutdown()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that give up early, which are part of the tests."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Answering:
    """How a server answers the request that it was given."""

    def __init__(self, handler: BaseHTTPRequestHandler, server: _Server) -> None:
        self._handler = handler
        self._stopping = server.stopping
        self._client_left = server.owner.client_left

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

    def write(self, data: bytes, *, seconds_per_byte: float = 0.0) -> None:
        """Send a part of the body, byte by byte where each is to take some time."""
        if not seconds_per_byte:
            self._write(data)
            return
        for i in range(len(data)):
            self._write(data[i : i + 1])
            if self.pause(seconds_per_byte):
                return

    def _write(self, data: bytes) -> None:
        try:
            self._handler.wfile.write(data)
        except OSError:
            self._client_left.set()
            raise

    def whole(
        self, status: int, content_type: str, data: bytes,
        headers: Mapping[str, str] | None = None, *, seconds_per_byte: float = 0.0,
    ) -> None:  # fmt: skip
        """Send a whole answer."""
        length = {"Content-Length": str(len(data))}
        self.head(status, content_type, {**length, **(headers or {})})
        self.write(data, seconds_per_byte=seconds_per_byte)

    def json(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer of JSON."""
        self.whole(status, "application/json", json.dumps(body).encode(), headers)

    def close(self) -> None:
        """Close the connection once the handler returns."""
        self._handler.close_connection = True


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        owner = self._served().owner
        self.protocol_version = owner.protocol_version
        owner.n_connections += 1

    def do_GET(self) -> None:
        request = Request(
            method=self.command,
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            data=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        server = self._served()
        server.owner.respond(request, Answering(self, server))

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Stay quiet."""

    def _served(self) -> _Server:
        return cast("_Server", self.server)
