"""A web site on this machine, with what real ones and hostile ones answer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest

from ragkit_connectors.testing import Request
from ragkit_connectors.testing.serving import Answering, LoopbackServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a site answers for a path."""

    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds_per_byte: float = 0.0


Script: TypeAlias = "Answer | str | Callable[[Request], Answer]"


class Site(LoopbackServer):
    """Answers by path: a text is the body of a page; anything else is not found.

    Attributes:
        pages: What is answered, by path.
        asked: The paths that were asked for, in order; without `robots.txt`.
        requests: All requests.
    """

    def __init__(self, pages: Mapping[str, Script] | None = None) -> None:
        super().__init__()
        self.pages: dict[str, Script] = dict(pages or {})
        self.requests: list[Request] = []

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for since the last time, without `robots.txt`."""
        paths = [r.path for r in self.requests if r.path != "/robots.txt"]
        self.requests.clear()
        return paths

    def respond(self, request: Request, answer: Answering) -> None:
        """Answer one request, with 304 where its version is known."""
        self.requests.append(request)
        found = self.pages.get(request.path, Answer(status=404))
        if isinstance(found, str):
            found = page(found)
        if not isinstance(found, Answer):
            found = found(request)
        etag = found.headers.get("ETag")
        if etag is not None and request.headers.get("if-none-match") == etag:
            found = Answer(status=304, headers=found.headers)
        answer.whole(
            found.status, found.kind, found.body, found.headers,
            seconds_per_byte=found.seconds_per_byte,
        )  # fmt: skip


def page(text: str, **headers: str) -> Answer:
    """Return a page of one paragraph."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body=f"<title>A page</title><p>{text}</p>".encode(), headers=named)


def sitemap(*addresses: str, root: str = "urlset", entry: str = "url") -> Answer:
    """Return a sitemap."""
    entries = "".join(f"<{entry}><loc>{address}</loc></{entry}>" for address in addresses)
    space = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root} {space}>{entries}</{root}>'
    return Answer(body=text.encode(), kind="application/xml")


class Network:
    """Stands between sockets and the world: names and addresses of the test lead to its server.

    Attributes:
        names: What each name stands for: each look-up takes the next address, the last one stays.
        connected: The addresses that were connected to.
    """

    def __init__(self, site: Site) -> None:
        self.names: dict[str, list[str]] = {}
        self.connected: list[str] = []
        self._port = int(site.url.rpartition(":")[2])

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of look-ups and connections of this process."""
        connect = socket.socket.connect

        def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
            found = self.names[host]
            address = found.pop(0) if len(found) > 1 else found[0]
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

        def connect_here(self_: socket.socket, address: tuple[str, int]) -> None:
            self.connected.append(address[0])
            connect(self_, ("127.0.0.1", self._port))

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(socket.socket, "connect", connect_here)
