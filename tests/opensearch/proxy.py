"""A proxy in front of a server that makes trouble on the way."""

from __future__ import annotations

import http.client
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import cast
from urllib.parse import urlsplit


class Proxy:
    """Passes requests on, and answers a share of those to `_bulk` itself.

    Half of the trouble is 429, the rest is 502, 503, and an answer that is lost after the server
    has done the work. `n_records_sent` counts the records of all bulk requests that came in,
    `n_records_throttled` of those that were answered 429.
    """

    def __init__(self, upstream: str, *, share: float, seed: int = 7) -> None:
        self.share = share
        self.n_records_sent = 0
        self.n_records_throttled = 0
        self.n_troubles = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._upstream = urlsplit(upstream)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True
        )

    @property
    def url(self) -> str:
        """Address to give to a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def trouble(self, path: str, body: bytes) -> int | None:
        """Return the status to answer, 0 for a lost answer, None for no trouble."""
        if not path.split("?", maxsplit=1)[0].endswith("/_bulk"):
            return None
        n_records = sum(line.startswith((b'{"index"', b'{"delete"')) for line in body.splitlines())
        with self._lock:
            self.n_records_sent += n_records
            if self._random.random() >= self.share:
                return None
            self.n_troubles += 1
            status = self._random.choice((429, 429, 429, 503, 502, 0))
            self.n_records_throttled += n_records if status == 429 else 0
            return status

    def pass_on(self, method: str, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Ask the server and return status, content type and body."""
        host, port = cast("str", self._upstream.hostname), self._upstream.port
        connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type") or "", answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Pass on, or make trouble."""
        owner = cast("_Server", self.server).owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = owner.trouble(self.path, body)
        if status is None:
            self._reply(*owner.pass_on(self.command, self.path, body))
        elif status == 0:
            owner.pass_on(self.command, self.path, body)
            self.close_connection = True
        else:
            error = json.dumps({"error": {"type": "storm", "reason": "scripted"}}).encode()
            self._reply(status, "application/json", error)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (name of http.server)
        """Be quiet."""

    def _reply(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
