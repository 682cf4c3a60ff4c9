"""Calls to AWS: opening a client, deadlines, retries and errors.

boto3 is imported when a client is opened. Its own retries are switched off: they would send a
generation that timed out again, up to five times, and each may be billed.

A call is given up `timeout_seconds` after it was sent, however its bytes arrive: it runs in a
thread of its own, which is abandoned if a server sends too slowly. The same holds for each event
of a stream: bytes that do not complete one give the server no more time.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeGuard, cast

from ragkit.costs.metering import meter
from ragkit.errors import (
    ConfigError,
    LoadError,
    MissingExtraError,
    RagkitError,
    RateLimitedError,
)
from ragkit_connectors.support.aws_failures import AwsCall, Failure, class_names, failure_of
from ragkit_connectors.support.aws_traffic import count_traffic
from ragkit_connectors.support.deadline import Deadline, call_within, check_limits
from ragkit_connectors.support.json_values import Record
from ragkit_connectors.support.refusals import is_private, read_url
from ragkit_connectors.support.retrying import Backoff

__all__ = ["AwsCall", "AwsClient"]

_CONNECT_SECONDS = 10.0
_READ_BYTES = 2**20
_GRACE_SECONDS = 0.25
"""How much longer than the library's own timeout a call is waited for, so that in most cases the
library ends the call itself and closes its connection."""


class EventStream(Protocol):
    """What is used of `botocore.eventstream.EventStream`."""

    def __iter__(self) -> Iterator[Mapping[str, Record]]: ...

    def close(self) -> None:
        """End the connection."""
        ...


class _Closable(Protocol):
    def close(self) -> None: ...


class _Body(_Closable, Protocol):
    def read(self, amt: int | None = None, /) -> bytes: ...


class _Events(Protocol):
    def register(self, event_name: str, handler: Callable[..., None]) -> None: ...


class _Meta(Protocol):
    events: _Events


class _Client(Protocol):
    meta: _Meta


class _Session(Protocol):
    region_name: str | None

    def client(
        self, service: str, *, region_name: str, endpoint_url: str | None, config: object
    ) -> _Client: ...


class AwsClient:
    """A client of one AWS service; safe to share between threads.

    Credentials are those that the AWS command line uses: environment, profile, role. A call ends
    at most `retry_seconds + timeout_seconds` after it began, and at most 1 second later than that.

    Args:
        service: Name in boto3, for example `bedrock-runtime`.
        region: AWS region; None takes `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's.
        base_url: Address instead of the service's public one, for example of a VPC endpoint;
            http is allowed to this machine only.
        timeout_seconds: Longest wait for an answer, and for each part of a stream.
        retry_seconds: Time after its start in which a call may be sent again.
        n_threads: Calls at once, fewer while the service throttles; None: no limit.
        total_timeout_seconds: Longest time for a call, attempts and stream included; None: no
            limit.
        sleep: Waits between attempts; for tests.
        is_json: Whether the service answers JSON, so that anything else is no whole answer.

    Raises:
        ConfigError: a value cannot be used as given, or no region is known.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(
        self,
        service: str,
        *,
        region: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 60.0,
        retry_seconds: float = 20.0,
        n_threads: int | None = None,
        total_timeout_seconds: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        is_json: bool = True,
    ) -> None:
        check_limits(timeout_seconds, total_timeout_seconds)
        if not 0.0 <= retry_seconds < float("inf"):
            raise ConfigError(f"retry_seconds {retry_seconds}; allowed: 0 or more")
        if n_threads is not None and not 1 <= n_threads <= 256:
            raise ConfigError(f"n_threads {n_threads}; allowed: 1 to 256")
        _check_url(base_url)
        self._session = _session()
        self.region = _region(region, self._session)
        self._service = service
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._total_timeout_seconds = total_timeout_seconds
        self._sleep = sleep
        self._is_json = is_json
        self._retry_seconds = retry_seconds
        self._n_connections = n_threads or 10
        self._gate = None if n_threads is None else _Gate(n_threads)
        self._lock = threading.Lock()
        self._opened: _Client | None = None

    def deadline(self) -> Deadline:
        """Return the limits of one call that begins now."""
        return Deadline(self._timeout_seconds, total_seconds=self._total_timeout_seconds)

    def call(self, call: AwsCall, parameters: Record, deadline: Deadline | None = None) -> Record:
        """Return the answer; a body of bytes is read already.

        Raises:
            ConfigError: credentials are missing, or the call cannot be made as given.
            RemoteError: the service failed, refused or was too slow.
        """
        method = self._method(call.method)
        deadline = deadline or self.deadline()
        retry_seconds = min(self._retry_seconds, deadline.total_seconds_left)
        backoff = Backoff(time.monotonic() + retry_seconds, sleep=self._sleep)
        for n_attempts in itertools.count(1):
            meter().sent(0, generates=call.may_be_billed)
            outcome = self._attempt(method, call, parameters, deadline)
            if not isinstance(outcome, Failure):
                return outcome
            may_repeat = outcome.may_repeat(call, n_attempts)
            if not may_repeat or not backoff.wait(outcome.wait_seconds):
                raise outcome.error(call, n_attempts) from outcome.cause
        raise AssertionError  # pragma: no cover - the count has no end

    def events(
        self, call: AwsCall, parameters: Record, *, member: str, deadline: Deadline
    ) -> Generator[Mapping[str, Record], None, None]:
        """Yield the events of the answer's stream; leaving early closes its connection.

        Once the stream is open nothing is sent again. `deadline` ends the wait for an event; the
        caller renews it, since several events may make up one part.

        Raises:
            ConfigError: credentials are missing, or the call cannot be made as given.
            RemoteError: the service failed, refused or was too slow; events may have come.
        """
        stream = cast("EventStream", self.call(call, parameters, deadline)[member])
        received = iter(stream)
        is_waiting = False
        try:
            while True:
                seconds = deadline.check() + _GRACE_SECONDS
                is_waiting = True
                event = call_within(
                    seconds,
                    lambda: next(received, None),
                    drop=lambda _: stream.close(),
                )
                is_waiting = False
                if event is None:
                    return
                yield event
        except TimeoutError as error:
            raise self._broken_off(error, call, deadline) from error
        except Exception as error:
            is_waiting = False
            raise self._broken_off(error, call, deadline) from error
        finally:
            # A connection cannot be closed while a thread still reads from it.
            if not is_waiting:
                stream.close()

    def _failure(self, error: Exception, call: AwsCall, deadline: Deadline) -> Failure:
        where = self._base_url or f"{self._service} in {self.region}"
        advice = "is the address right?" if self._base_url else "is it offered in this region?"
        unsent = f"no connection to {where}; {advice}"
        return failure_of(error, call, deadline, service=self._service, unsent=unsent)

    def _broken_off(self, error: Exception, call: AwsCall, deadline: Deadline) -> RagkitError:
        failure = self._failure(error, call, deadline)
        message = f"the stream broke off: {failure.message}"
        return failure.kind(f"{call.about}: {message}. Not sent again")

    def _attempt(
        self,
        method: Callable[..., Record],
        call: AwsCall,
        parameters: Record,
        deadline: Deadline,
    ) -> Record | Failure:
        gate: AbstractContextManager[object] = self._gate or nullcontext()
        with gate:
            deadline.renew()
            try:
                answer = call_within(
                    deadline.seconds_left + _GRACE_SECONDS,
                    lambda: _read(method(**parameters), call.most_bytes),
                    drop=_close,
                )
            except Exception as error:
                failure = self._failure(error, call, deadline)
                if self._gate and failure.kind is RateLimitedError:
                    self._gate.shrink()
                return failure
            if self._gate:
                self._gate.grow()
            return answer

    def _method(self, name: str) -> Callable[..., Record]:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
        method: Callable[..., Record] | None = getattr(self._opened, name, None)
        if method is None:
            raise ConfigError(
                f"the installed boto3 does not know {self._service}.{name}; run: "
                "pip install --upgrade boto3"
            )
        return method

    def _open(self) -> _Client:
        make: Callable[..., object] = importlib.import_module("botocore.config").Config
        config = make(
            connect_timeout=min(_CONNECT_SECONDS, self._timeout_seconds),
            read_timeout=self._timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=self._n_connections,
            tcp_keepalive=True,
            user_agent_extra="ragkit",
        )
        try:
            client = self._session.client(
                self._service, region_name=self.region, endpoint_url=self._base_url, config=config
            )
        except Exception as error:
            if not class_names(error) & {"BotoCoreError", "ValueError"}:
                raise
            raise ConfigError(f"{self._service} cannot be opened: {error}") from error
        if self._is_json:
            client.meta.events.register("before-parse", _refuse_broken)
        count_traffic(client.meta.events)
        return client


def _refuse_broken(response_dict: Mapping[str, object], **_: object) -> None:
    """Raise `OSError` for a body that is no whole JSON object.

    botocore reads one that broke off, or a page of a proxy, as an answer without members.
    """
    body = response_dict.get("body")
    status = response_dict.get("status_code")
    if not isinstance(body, bytes) or status != 200:
        return
    text = body.strip()
    headers = cast("Mapping[str, str]", response_dict.get("headers", {}))
    if headers.get("content-type", "").startswith(("application/cbor", "text/xml")):
        return  # CloudWatch's, by newer and older versions; their parsers find what breaks off
    length = None if headers.get("content-encoding") else headers.get("content-length")
    is_short = length is not None and length != str(len(body))
    is_empty = not text and length == "0"
    if is_short or (not is_empty and (text[:1], text[-1:]) != (b"{", b"}")):
        raise OSError("no whole JSON object")


class _Gate:
    """Limits the calls at once: half as many after a throttled one, then slowly more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._n_inside = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._n_inside < max(1, int(self._limit)))
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._n_inside -= 1
            self._changed.notify_all()

    def shrink(self) -> None:
        with self._changed:
            self._limit = max(1.0, self._limit / 2)

    def grow(self) -> None:
        with self._changed:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)


def _read(answer: Record, most_bytes: int | None) -> Record:
    """Return an answer with the bytes of its body instead of a file."""
    whole = dict(answer)
    for name, value in answer.items():
        if _is_body(value):
            try:
                data = value.read() if most_bytes is None else _bytes(value, most_bytes)
                meter().received(len(data))
                whole[name] = data
            finally:
                value.close()
    return whole


def _bytes(body: _Body, most_bytes: int) -> bytes:
    """Return a body, or raise `LoadError` once it is too large."""
    data = bytearray()
    while block := body.read(_READ_BYTES):
        data += block
        if len(data) > most_bytes:
            raise LoadError("limit", f"more than {most_bytes:,} bytes")
    return bytes(data)


def _close(answer: Record) -> None:
    for value in answer.values():
        if _is_closable(value):
            value.close()


def _is_body(value: object) -> TypeGuard[_Body]:
    return hasattr(value, "read") and hasattr(value, "close")


def _is_closable(value: object) -> TypeGuard[_Closable]:
    return hasattr(value, "close")


def _check_url(base_url: str | None) -> None:
    if base_url is None:
        return
    allowed = "allowed: https://HOST, or http:// to this machine"
    holds_user = f"base_url holds a user or a password; {allowed}"
    url = read_url(base_url, name="base_url", allowed=allowed, holds_user=holds_user)
    host = url.hostname
    if not host or not is_private(url.scheme, host) or url.query or url.fragment:
        raise ConfigError(f"base_url {base_url!r}; {allowed}")


def _session() -> _Session:
    if importlib.util.find_spec("boto3") is None:
        raise MissingExtraError("boto3", extra="aws")
    # Not the library's shared session, which is not thread-safe and remembers the first identity
    # that it saw.
    make: Callable[[], _Session] = importlib.import_module("boto3").Session
    try:
        return make()
    except Exception as error:
        if "BotoCoreError" not in class_names(error):
            raise
        raise ConfigError(f"the AWS configuration cannot be used: {error}") from error


def _region(region: str | None, session: _Session) -> str:
    found = region or os.environ.get("AWS_REGION") or session.region_name
    if not found:
        raise ConfigError(
            "no AWS region is known; set region, the variable AWS_REGION, or the profile's region"
        )
    if not re.fullmatch(r"[a-z0-9-]+", found):
        raise ConfigError(f"region {found!r}; allowed: a name such as eu-west-1")
    return found
