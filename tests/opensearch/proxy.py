"""A proxy in front of a server that makes trouble on the way."""

from __future__ import annotations

import http.client
import random
import threading
from urllib.parse import urlsplit

from ragkit_connectors.testing import Request
from ragkit_connectors.testing.serving import Answering, LoopbackServer


class Proxy(LoopbackServer):
    """Passes requests on, and answers a share of those to `_bulk` itself.

    Half of the trouble is 429, the rest is 502, 503, and an answer that is lost after the server
    has done the work. `n_records_sent` counts the records of all bulk requests that came in,
    `n_records_throttled` of those that were answered 429.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, upstream: str, *, share: float, seed: int = 7) -> None:
        super().__init__()
        self.share = share
        self.n_records_sent = 0
        self.n_records_throttled = 0
        self.n_troubles = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._upstream = urlsplit(upstream)

    def respond(self, request: Request, answer: Answering) -> None:
        """Pass on, or make trouble."""
        status = self._trouble(request)
        if status is None:
            answer.whole(*self._pass_on(request))
        elif status == 0:
            self._pass_on(request)
            answer.close()
        else:
            answer.json(status, {"error": {"type": "storm", "reason": "scripted"}})

    def _trouble(self, request: Request) -> int | None:
        """Return the status to answer, 0 for a lost answer, None for no trouble."""
        if not request.path.split("?", maxsplit=1)[0].endswith("/_bulk"):
            return None
        n_records = sum(
            line.startswith((b'{"index"', b'{"delete"')) for line in request.data.splitlines()
        )
        with self._lock:
            self.n_records_sent += n_records
            if self._random.random() >= self.share:
                return None
            self.n_troubles += 1
            status = self._random.choice((429, 429, 429, 503, 502, 0))
            self.n_records_throttled += n_records if status == 429 else 0
            return status

    def _pass_on(self, request: Request) -> tuple[int, str, bytes]:
        """Ask the server and return status, content type and body."""
        host, port = self._upstream.hostname or "", self._upstream.port
        connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            connection.request(
                request.method, request.path, request.data, {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type") or "", answer.read()
        finally:
            connection.close()
