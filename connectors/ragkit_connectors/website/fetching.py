"""Fetching pages: within limits of time and size, redirects followed by hand, addresses checked."""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.formats import MAX_FILE_BYTES
from ragkit.loading.processes import BLOCK_BYTES
from ragkit.loading.reading import KEPT_BYTES
from ragkit_connectors.support.deadline import Deadline
from ragkit_connectors.support.packed import limited, unpacked_gzip
from ragkit_connectors.support.sockets import READ_BYTES, TimedSocket, connected_to
from ragkit_connectors.website.addresses import addresses_of
from ragkit_connectors.website.urls import check_same_site, host_and_port, normalised

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse
    from ssl import SSLContext

AGENT = "ragkit"
_HEADERS = {
    "User-Agent": f"{AGENT} (reads documents into an index)",
    "Accept": "*/*",
    "Accept-Encoding": "gzip",
    "Connection": "close",
}
MAX_REDIRECTS = 5
SECONDS = 30.0
"""Longest wait for the next bytes of a page."""

TOTAL_SECONDS = 180.0
"""Longest time for a page with its redirects."""

_MAX_SILENT = 3
"""A host that did not answer, or only that it has no time, so often in a row is not asked again."""

_MAX_WAIT_SECONDS = 60.0
_MAX_WAITS = 2
_NO_ENCODING = frozenset({"", "identity", "none", "utf-8", "utf8"})
"""Values of `Content-Encoding` of what is not packed; some servers name the charset there."""

_OVERLOADED = frozenset({429, 503})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_VALIDATOR_CHARACTERS = 300
_KIND = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}")


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server says that a version of a page is known by; empty where it says nothing."""

    etag: str = ""
    last_modified: str = ""

    def __bool__(self) -> bool:
        return bool(self.etag or self.last_modified)

    def headers(self) -> dict[str, str]:
        """Return the headers that ask for the page only if it is another version by now."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page; `url` is where it was found in the end; a text is empty where nobody said.

    `file_name` is that under which it is offered for download.
    """

    url: str
    content: Content
    content_type: str
    charset: str
    file_name: str
    validators: Validators


class StatusError(LoadError):
    """A server answered another status than was asked for."""

    def __init__(self, url: str, status: int) -> None:
        self.status = status
        super().__init__("unreadable", f"{url}: the server answered HTTP {status}", may_pass=True)


class Fetcher:
    """Asks for pages, one after the other.

    Args:
        allow_private: Whether addresses of this machine and of private networks may be asked.
        delay_seconds: Shortest time from one request to the next to the same host.
        seconds: Longest wait for the next bytes of a page.
        total_seconds: Longest time for a page.
        sleep: Waits; for tests.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        delay_seconds: float = 0.0,
        seconds: float = SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._allow_private = allow_private
        self.delay_seconds = delay_seconds
        self._seconds, self._total_seconds = seconds, total_seconds
        self._sleep = sleep
        self._asked: dict[str, float] = {}
        self._n_silent: dict[str, int] = {}

    def get(
        self,
        url: str,
        known: Validators | None = None,
        *,
        most_bytes: int = MAX_FILE_BYTES,
        check: Callable[[str], None] | None = None,
    ) -> Page | None:
        """Return a page; None if it is still the version that is `known`.

        Args:
            url: Its address, normalised.
            known: A version of it.
            most_bytes: Its most bytes, unpacked.
            check: Called with each address before it is asked; may raise `LoadError`.

        Raises:
            LoadError: `limit` if it is too large, else `unreadable`; `StatusError` for a status
                other than 200.
        """
        headers = {**_HEADERS, **(Validators() if known is None else known).headers()}
        deadline = Deadline(self._seconds, total_seconds=self._total_seconds)
        at = url
        for _ in range(MAX_REDIRECTS + 1):
            if check is not None:
                check(at)
            connection, response = self._answer(at, headers, deadline)
            with closing(connection), closing(response):
                if response.status in _REDIRECTS:
                    at = _redirected(response, at)
                    check_same_site(at, url)
                    continue
                if response.status == 304 and known:
                    return None
                if response.status != 200:
                    raise StatusError(at, response.status)
                return self._page(at, response, most_bytes, deadline)
        raise LoadError("unreadable", f"more than {MAX_REDIRECTS} redirects")

    def _answer(
        self, url: str, headers: dict[str, str], deadline: Deadline
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """Ask, and again where the server says when to come back."""
        connection, response = self._ask(url, headers, deadline)
        for _ in range(_MAX_WAITS):
            seconds = _asked_wait(response)
            if seconds is None or seconds > deadline.total_seconds_left:
                break
            connection.close()
            self._sleep(seconds)
            connection, response = self._ask(url, headers, deadline)
        return connection, response

    def _ask(
        self, url: str, headers: dict[str, str], deadline: Deadline
    ) -> tuple[HTTPConnection, HTTPResponse]:
        import http.client

        parts = urlsplit(url)
        host = parts.netloc
        if self._n_silent.get(host, 0) >= _MAX_SILENT:
            detail = f"{host} did not answer {_MAX_SILENT} times in a row, and is not asked again"
            raise LoadError("unreadable", detail, may_pass=True)
        self._sleep(max(0.0, self._asked.get(host, 0.0) + self.delay_seconds - time.monotonic()))
        self._asked[host] = time.monotonic()
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        try:
            deadline.renew()
            connection, timed = self._connected(url, deadline)
            try:
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
            except BaseException:
                connection.close()
                raise
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            self._n_silent[host] = self._n_silent.get(host, 0) + 1
            raise _broken(url, error, deadline) from error
        timed.end_of_head()
        is_silent = response.status in _OVERLOADED
        self._n_silent[host] = self._n_silent.get(host, 0) + 1 if is_silent else 0
        return connection, response

    def _connected(self, url: str, deadline: Deadline) -> tuple[HTTPConnection, TimedSocket]:
        import http.client

        parts = urlsplit(url)
        host, port = host_and_port(parts)
        addresses = addresses_of(host, port, deadline, allow_private=self._allow_private)
        if parts.scheme == "http":
            connection = http.client.HTTPConnection(host, port)
            timed = TimedSocket(connected_to(addresses, deadline), deadline)
        else:
            connection = http.client.HTTPSConnection(host, port, context=self._tls)
            plain = connected_to(addresses, deadline)
            try:
                plain.settimeout(deadline.check())
                timed = TimedSocket(self._tls.wrap_socket(plain, server_hostname=host), deadline)
            except BaseException:
                plain.close()
                raise
        connection.auto_open = 0  # nothing is ever asked of an address that was not checked
        connection.sock = timed
        return connection, timed

    @cached_property
    def _tls(self) -> SSLContext:
        """What certificates are verified with, for the name that was asked for."""
        import ssl

        return ssl.create_default_context()

    def _page(self, url: str, response: HTTPResponse, most_bytes: int, deadline: Deadline) -> Page:
        import http.client

        headers = response.headers
        try:
            spool = _Spool(deadline.each(_unpacked(response, most_bytes)))
        except (OSError, http.client.HTTPException) as error:
            raise _broken(url, error, deadline) from error
        has_type = "Content-Type" in headers
        return Page(
            url=url,
            content=Content(spool.n_bytes, spool.blocks),
            content_type=_type_of(headers.get("Content-Type", "")),
            charset=headers.get_content_charset("") if has_type else "",
            file_name=headers.get_filename(""),
            validators=Validators(
                _validator(headers.get("ETag")), _validator(headers.get("Last-Modified"))
            ),
        )


def _unpacked(response: HTTPResponse, most_bytes: int) -> Iterator[bytes]:
    """Yield the body as it comes, unpacked: at most one block more than is allowed."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"gzip", "x-gzip"}:
        yield from unpacked_gzip(_body(response), most_bytes)
    elif encoding in _NO_ENCODING:
        yield from limited(_body(response), most_bytes)
    else:
        detail = f"its content is encoded as {encoding[:40]!r}, which was not asked for"
        raise LoadError("unreadable", detail)


def _body(response: HTTPResponse) -> Iterator[bytes]:
    while not response.isclosed() and (block := response.read1(READ_BYTES)):
        yield block
    # http.client reports a body that is shorter than announced only by what it still expects.
    if response.length:
        raise LoadError("unreadable", "the answer broke off before its end", may_pass=True)


class _Spool:
    """What has come: a large file waits on the disk, as others are fetched meanwhile."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.n_bytes = 0
        self._kept = bytearray()
        self._file: IO[bytes] | None = None
        for block in blocks:
            self.n_bytes += len(block)
            self._kept += block
            if len(self._kept) > KEPT_BYTES:
                self._move()
        if self.n_bytes > len(self._kept):
            self._move()

    def _move(self) -> None:
        if self._file is None:
            import tempfile

            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            # It goes when nobody holds the content any more.
            weakref.finalize(self, self._file.close)
        self._file.write(self._kept)
        self._kept.clear()

    def blocks(self) -> Iterator[bytes]:
        """Yield it from its beginning."""
        if self._file is None:
            yield bytes(self._kept)
            return
        self._file.seek(0)
        while block := self._file.read(BLOCK_BYTES):
            yield block


def _type_of(header: str) -> str:
    """Return the kind of content, or nothing where a server names none; of several, the first."""
    found = _KIND.match(header.strip())
    return "" if found is None else found[0].lower()


def _validator(value: str | None) -> str:
    """Return what a server says of a version, or nothing where it cannot be kept."""
    text = (value or "").strip()
    is_plain = text.isascii() and text.isprintable()
    return text if is_plain and len(text) <= _MAX_VALIDATOR_CHARACTERS else ""


def _redirected(response: HTTPResponse, url: str) -> str:
    """Return where an answer leads to; servers also write addresses in UTF-8."""
    target = response.headers.get("Location", "")
    if not target.strip():
        raise LoadError("unreadable", f"{url}: it is redirected, but not to where")
    with suppress(ValueError):  # else it is Latin-1 indeed
        target = target.encode("latin-1").decode("utf-8")
    return normalised(target, url)


def _asked_wait(response: HTTPResponse) -> float | None:
    """Return the seconds that a server asks to wait; None where it does not, or too long."""
    value = response.headers.get("Retry-After", "").strip()
    if response.status not in _OVERLOADED or not value:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds <= _MAX_WAIT_SECONDS else None


def _broken(url: str, error: Exception, deadline: Deadline) -> LoadError:
    if isinstance(error, TimeoutError):
        _, seconds = deadline.limit
        return LoadError("unreadable", f"{url}: no answer within {seconds:g} s", may_pass=True)
    reason = getattr(error, "strerror", None) or getattr(error, "reason", type(error).__name__)
    return LoadError("unreadable", f"{url}: the connection failed: {reason}", may_pass=True)
