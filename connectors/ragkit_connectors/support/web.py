"""Requests to one server over HTTP: addresses, true deadlines, and errors that echo nothing.

Only the standard library is used. Proxy variables of the environment are not read and redirects
are not followed: a prompt and a key go to the address that was named, or nowhere.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragkit.costs.metering import meter
from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    PromptTooLongError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.trust import LOOPBACK_HOSTS
from ragkit.types import Json
from ragkit_connectors.support.deadline import Deadline, check_limits
from ragkit_connectors.support.json_values import Record, decode, decode_value, error_text, record
from ragkit_connectors.support.refusals import is_private, read_url, says_too_long, without_echo
from ragkit_connectors.support.sockets import READ_BYTES, TimedSocket, connected

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

_REFUSED_PAUSES_SECONDS = (0.1, 0.4)
_MOST_ATTEMPTS = 5

_NOT_AGAIN = "Not sent again, because the generation may be billed"
_ADVICE = {
    404: "Check the model and base_url",
    408: _NOT_AGAIN,
    429: "The server limits requests or the account is used up: try again later",
    503: "The server is overloaded or still loading the model: try again later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where a server listens."""

    secure: bool
    host: str
    port: int | None
    path: str
    is_private: bool
    """Whether nobody on the way can read what is sent."""

    @property
    def runs_on(self) -> Literal["machine"] | None:
        """Where a model behind it runs, as receipts ask: on this machine, or elsewhere."""
        return "machine" if self.host in LOOPBACK_HOSTS else None


class WebServer:
    """A server and how to talk to it; safe to share between threads.

    A request is sent again only when the server cannot have worked on it: the connection was
    refused (twice, within half a second), or it said 429 or 503 and when to come back. A request
    that timed out is never sent again, since it may be billed.

    Args:
        base_url: Address with the path that all requests share, http or https.
        api_key_env: Environment variable that holds the key; empty, or without a value: none.
        default_key_env: A variable that is not read for a plain http address elsewhere than on
            this machine.
        timeout_seconds: Longest time for connection, request and head of an answer together, and
            for a whole answer that is no stream; of a stream, for each part after the one before.
            Waits that the server asks for come on top, as does the look-up of a host's name, which
            no program can end. More than 0.
        retry_seconds: Longest sum of the waits that a server may ask for; 0 or more.
        max_response_bytes: Size of a response above which it is given up; 1 or more.
        total_timeout_seconds: Longest time for all of it, waits and streams included; more than 0,
            None: no limit.
        advice: What to do about a status, where there is better advice than the common one.
        too_long: What to do when what was sent is too long for the model.
        clock: Seconds that never go back; for tests.

    Raises:
        ConfigError: a value cannot be used as given.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key_env: str = "",
        default_key_env: str = "",
        timeout_seconds: float = 60.0,
        retry_seconds: float = 20.0,
        max_response_bytes: int = 8 * 1024 * 1024,
        total_timeout_seconds: float | None = None,
        advice: Mapping[int, str] | None = None,
        too_long: str = "The prompt is too long for the model: lower max_context_tokens",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_limits(timeout_seconds, total_timeout_seconds)
        if not 0.0 <= retry_seconds < float("inf"):
            raise ConfigError(f"retry_seconds {retry_seconds}; allowed: 0 or more")
        if max_response_bytes < 1:
            raise ConfigError(f"max_response_bytes {max_response_bytes}; allowed: 1 or more")
        self.base_url = base_url.rstrip("/")
        self.address = parse_base_url(self.base_url)
        self._api_key_env = api_key_env
        self._default_key_env = default_key_env
        self._timeout_seconds = timeout_seconds
        self._total_timeout_seconds = total_timeout_seconds
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._max_response_bytes = max_response_bytes
        self._advice = {**_ADVICE, **(advice or {})}
        self._too_long = too_long

    def at(self, base_url: str) -> WebServer:
        """Return the same settings for another address."""
        import copy

        other = copy.copy(self)
        other.base_url = base_url
        other.address = parse_base_url(base_url)
        return other

    def get(self, path: str) -> Exchange:
        """Send GET for `path`, which is appended to that of the address.

        Raises:
            ConfigError: the key cannot be sent.
            RemoteError: there is no answer of status 200; `AccessDeniedError` and so on where the
                status says so.
        """
        return self._send("GET", path, None, ())

    def post(
        self,
        path: str,
        body: dict[str, Json],
        *,
        sent: Sequence[str] = (),
        droppable: str = "",
        generates: bool = False,
    ) -> Exchange:
        """Post `body` as JSON until there is an answer of status 200.

        Args:
            path: Path after that of the address.
            body: What is sent.
            sent: Texts in it that no error message may repeat.
            droppable: A field that is left out when the server refuses it with status 400.
            generates: Whether each request counts as an attempt to generate.

        Raises:
            ConfigError: the key or the body cannot be sent.
            RemoteError: as `get`.
        """
        return self._send("POST", path, body, sent, droppable, generates=generates)

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Json] | None,
        sent: Sequence[str],
        droppable: str = "",
        *,
        generates: bool = False,
    ) -> Exchange:
        key = self._key()
        deadline = Deadline(
            self._timeout_seconds, total_seconds=self._total_timeout_seconds, clock=self._clock
        )
        waits_left_seconds = min(self._retry_seconds, deadline.total_seconds_left)
        for attempts_left in reversed(range(_MOST_ATTEMPTS)):
            exchange = self._ask(method, path, body, key, deadline, generates=generates)
            exchange.sent = sent
            if exchange.status == 200:
                return exchange
            with closing(exchange):
                wait_seconds = exchange.retry_after_seconds
                if wait_seconds is None or wait_seconds > waits_left_seconds or not attempts_left:
                    message = _server_message(exchange)
                    refused = droppable and exchange.status == 400 and droppable in message
                    if not (refused and body and body.pop(droppable, None)):
                        raise self._failure(exchange, message)
                    wait_seconds = 0.0
            waits_left_seconds -= wait_seconds
            deadline.extend(wait_seconds)
            time.sleep(wait_seconds)
        raise RemoteError(f"{self.base_url} did not answer")

    def _key(self) -> str:
        is_private = self.address.is_private
        is_default = self._api_key_env == self._default_key_env
        if not self._api_key_env or (is_default and not is_private):
            return ""
        key = os.environ.get(self._api_key_env, "").strip()
        if key and not is_private:
            raise ConfigError(
                f"the key in {self._api_key_env} would go to {self.base_url} for everybody on the "
                "way to read; use https, or a tunnel to http://localhost, or no api_key_env"
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"the key in {self._api_key_env} holds characters that no key has")
        return key

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Json] | None,
        key: str,
        deadline: Deadline,
        *,
        generates: bool,
    ) -> Exchange:
        import http.client

        try:
            data = None if body is None else json.dumps(body, allow_nan=False).encode()
        except ValueError as error:
            raise ConfigError(f"a generation option is not a finite number: {error}") from error
        connection, timed = self._connect(deadline)
        meter().sent(len(data or b""), generates=generates)
        try:
            connection.request(method, f"{self.address.path}{path}", data, _headers(key))
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._broken(error, deadline) from error
        except BaseException:  # Ctrl-C: the server is not to go on for nobody
            connection.close()
            raise
        timed.end_of_head()
        return Exchange(
            connection=connection,
            response=response,
            key=key,
            deadline=deadline,
            max_bytes=self._max_response_bytes,
            broken=lambda error: self._broken(error, deadline),
        )

    def _connect(self, deadline: Deadline) -> tuple[HTTPConnection, TimedSocket]:
        """Connect; a refused connection is tried again, since nothing was sent yet."""
        pauses_seconds = iter(_REFUSED_PAUSES_SECONDS)
        while True:
            try:
                return self._new_connection(deadline)
            except ConnectionRefusedError as error:
                pause_seconds = next(pauses_seconds, None)
                if pause_seconds is None:
                    raise RemoteError(
                        f"nothing listens at {self.base_url}: is the server running, and is "
                        "base_url right?"
                    ) from error
                time.sleep(pause_seconds)
            # A host name that cannot be one is a UnicodeError.
            except (OSError, UnicodeError) as error:
                raise self._broken(error, deadline) from error

    def _new_connection(self, deadline: Deadline) -> tuple[HTTPConnection, TimedSocket]:
        import http.client

        host, port = self.address.host, self.address.port
        if not self.address.secure:
            connection = http.client.HTTPConnection(host, port)
            timed = TimedSocket(connected(host, connection.port, deadline), deadline)
        else:
            import ssl

            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, context=context)
            plain = connected(host, connection.port, deadline)
            try:
                plain.settimeout(deadline.check())
                secure = context.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise
            timed = TimedSocket(secure, deadline)
        connection.sock = timed
        return connection, timed

    def _broken(self, error: Exception, deadline: Deadline) -> RemoteError:
        """Say what happened to a connection; never what went over it."""
        if isinstance(error, TimeoutError):
            limit, seconds = deadline.limit
            return RemoteTimeoutError(
                f"{self.base_url} did not answer within {seconds:g} seconds; not sent again, "
                f"because a generation that timed out may be billed. Raise {limit}, or lower "
                "max_tokens"
            )
        reason = getattr(error, "strerror", None) or type(error).__name__
        return RemoteError(f"the connection to {self.base_url} failed: {reason}")

    def _failure(self, exchange: Exchange, message: str) -> RemoteError:
        status = exchange.status
        # What servers say of a wrong key shows parts of it.
        said = "" if status in {401, 403} else exchange.without_echo(message)
        kind, advice = self._kind_and_advice(status, message)
        return kind(f"{self.base_url} answered HTTP {status}{said}. {advice}")

    def _kind_and_advice(self, status: int, message: str) -> tuple[type[RemoteError], str]:
        if status in {401, 403}:
            where = f"the environment variable {self._api_key_env or '(none)'}"
            return AccessDeniedError, f"Check the key in {where}"
        if says_too_long(status, message):
            return PromptTooLongError, self._too_long
        kind = {408: RemoteTimeoutError, 429: RateLimitedError, 504: RemoteTimeoutError}
        return kind.get(status, RemoteError), self._advice_for(status)

    def _advice_for(self, status: int) -> str:
        if 300 <= status < 400:
            return "Redirects are not followed: name the final address as base_url"
        other = _NOT_AGAIN if status >= 500 else "Check the model and the generation options"
        return self._advice.get(status, other)


class Exchange:
    """A response whose head has come."""

    def __init__(
        self,
        *,
        connection: HTTPConnection,
        response: HTTPResponse,
        key: str,
        deadline: Deadline,
        max_bytes: int,
        broken: Callable[[Exception], RemoteError],
    ) -> None:
        self._connection = connection
        self._response = response
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._broken = broken
        self._key = key
        self._meter = meter()
        self.sent: Sequence[str] = ()
        self.status = response.status
        self.content_type = response.headers.get_content_type()

    @property
    def retry_after_seconds(self) -> float | None:
        """Seconds that the server asks to wait; None where it does not, or must not be asked."""
        value = self._response.headers.get("Retry-After")
        if value is None or self.status not in {429, 503}:
            return None
        return _seconds_until(value.strip())

    @property
    def server_seconds(self) -> float | None:
        """How long the server says to have taken until the head of its answer; None: unknown.

        OpenAI API reference, "Debugging requests"; Envoy, "HTTP header manipulation" of a router.
        """
        for name in ("openai-processing-ms", "x-envoy-upstream-service-time"):
            value = self._response.headers.get(name, "").strip()
            if value.isascii() and value.isdigit() and len(value) < 16:
                return int(value) / 1000.0
        return None

    def require(self, content_type: str) -> None:
        """Raise `RemoteError` unless the answer is of this kind."""
        if self.content_type != content_type:
            raise RemoteError(
                f"the server answered {self.content_type}, not {content_type}: is base_url right?"
            )

    def read(self) -> bytes:
        """Return the whole body, which must come within the timeout of the request."""
        return b"".join(self._chunks())

    def read_record(self) -> Record:
        """Return the whole body, which must be a JSON object, and close."""
        with closing(self):
            self.require("application/json")
            return decode(self.read())

    def parts(self, split: Callable[[Iterator[bytes]], Iterable[str]]) -> Iterator[str]:
        """Yield the parts of a stream, each within the timeout after the one before was taken.

        What `split` makes of the bytes is a part: a whole event, a whole line with something in
        it. Bytes that do not make one, such as comments that keep a connection alive, give a
        server no more time.
        """
        return self._deadline.each(split(self._chunks()))

    def _chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        import http.client

        n_bytes = 0
        try:
            while not self._response.isclosed() and (chunk := self._response.read1(READ_BYTES)):
                n_bytes += len(chunk)
                self._meter.received(len(chunk))
                if n_bytes > self._max_bytes:
                    raise RemoteError(f"the response is larger than {self._max_bytes:,} bytes")
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error
        # http.client reports a body that is shorter than announced only by what it still expects.
        if self._response.length:
            raise RemoteError("the response broke off before its end")

    def without_echo(self, message: str) -> str:
        """Return a server's message for an error, or a note where it repeats what it was sent."""
        return without_echo(message, self.sent, key=self._key, sent="the prompt or the key")

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._connection.close()


def parse_base_url(base_url: str) -> ServerAddress:
    """Read an address; raises `ConfigError`, which shows no password, for one that is none."""
    allowed = "allowed: http:// or https://, a host, a path such as /v1"
    url = read_url(
        base_url,
        name="base_url",
        allowed=allowed,
        holds_user="base_url holds a user or a password; keys come from api_key_env",
    )
    host = url.hostname
    is_plain = base_url.isascii() and base_url.isprintable() and " " not in base_url
    if url.scheme not in {"http", "https"} or not host or url.query or url.fragment or not is_plain:
        raise ConfigError(f"base_url {base_url!r}; {allowed}")
    return ServerAddress(
        secure=url.scheme == "https",
        host=host,
        port=url.port,
        path=url.path,
        is_private=is_private(url.scheme, host),
    )


def _seconds_until(retry_after: str) -> float | None:
    """Read `Retry-After`: seconds or a date (RFC 9110, section 10.2.3); None if it is neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    import email.utils

    try:
        moment = email.utils.parsedate_to_datetime(retry_after).timestamp()
    # A date of a far year, or an absurd time zone, overflows.
    except (ValueError, OverflowError, OSError):
        return None
    return max(0.0, moment - time.time())


def _server_message(exchange: Exchange) -> str:
    try:
        body = decode_value(exchange.read())
    except RemoteError:
        return ""
    return error_text(record(body))


def _headers(key: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "User-Agent": "ragkit",
        "Connection": "close",
    }
    return {**headers, "Authorization": f"Bearer {key}"} if key else headers
