"""Calls to AWS: one way to open a client, to wait, to repeat, and to say what went wrong.

boto3 is imported when a client is opened. Its own retries are switched off: they would send a
generation that timed out again, up to five times, and each may be billed.

A call is given up `timeout_seconds` after it was sent, however its bytes arrive: it runs in a
thread of its own, which is left behind where a server drips. So does the wait for each event of a
stream: bytes that never finish one give a server no more time.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    MissingExtraError,
    PromptTooLongError,
    RagkitError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.trust import LOOPBACK_HOSTS
from ragkit_connectors.support.deadline import Deadline, call_within, check_limits
from ragkit_connectors.support.retrying import Backoff

_CONNECT_SECONDS = 10.0
_GRACE_SECONDS = 0.25
"""How much longer than the library's own timeout a call is waited for, so that in most cases the
library ends the call itself and closes its connection."""

_MOST_REFUSED = 3
"""Attempts while nothing listens; a service that is there accepts connections."""

_WARM_UP_SECONDS = 2.0
_MESSAGE_CHARACTERS = 300
_ECHO_CHARACTERS = 24

_THROTTLED = frozenset(
    "ThrottlingException Throttling ThrottledException TooManyRequestsException SlowDown "
    "RequestLimitExceeded RequestThrottled RequestThrottledException BandwidthLimitExceeded "
    "ProvisionedThroughputExceededException".split()
)
_UNAVAILABLE = frozenset({"ServiceUnavailable", "ServiceUnavailableException"})
_UNACCEPTED = frozenset(
    "UnrecognizedClientException InvalidClientTokenId InvalidSignatureException "
    "IncompleteSignature IncompleteSignatureException SignatureDoesNotMatch "
    "MissingAuthenticationToken MissingAuthenticationTokenException".split()
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"})
_OLD_CREDENTIALS = frozenset(
    {"CredentialRetrievalError", "TokenRetrievalError", "SSOError", "LoginError"}
)
_UNSENT = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "SSLError"}
)
_MISUSED = frozenset(
    {"ParamValidationError", "InvalidEndpointConfigurationError", "BaseEndpointResolverError",
     "EndpointProviderError", "InvalidConfigError", "ConfigNotFound", "ConfigParseError"}
)  # fmt: skip

_TOO_LONG = re.compile(
    r"input is too long|prompt is too long|too many input tokens|context (length|window)"
    r"|input tokens exceed|exceeds? the (maximum|max|model's) (number of )?(allowed |input )*token"
    r"|maximum (input )?(context|tokens|token)"
    r"|`inputs` (tokens \+|must have less than)",
    re.IGNORECASE,
)
_ON_DEMAND = re.compile(r"on-demand throughput isn.t supported", re.IGNORECASE)

Members: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCall:
    """What is called, for errors and for the decision to send it again.

    Attributes:
        method: Method of the boto3 client, for example `converse`.
        action: IAM action that the caller needs, for example `bedrock:InvokeModel`.
        about: What it is about, for messages, for example `model 'm'`.
        may_be_billed: Whether an attempt of unknown outcome must not be repeated.
        texts: What was sent; an error message of the service that repeats it is left out.
        shorten: What to do where that is too long.
    """

    method: str
    action: str
    about: str
    may_be_billed: bool = False
    texts: Sequence[str] = ()
    shorten: str = "lower max_context_tokens or max_tokens"


class EventStream(Protocol):
    """What is used of `botocore.eventstream.EventStream`."""

    def __iter__(self) -> Iterator[Mapping[str, Members]]: ...

    def close(self) -> None:
        """End the connection."""
        ...


class _Body(Protocol):
    def read(self) -> bytes: ...

    def close(self) -> None: ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """A failed attempt: what to raise, and when the same may be sent again."""

    kind: type[RagkitError]
    message: str
    repeat: Literal["always", "unbilled", "unsent", "never"] = "never"
    wait_seconds: float = 0.0
    cause: BaseException

    def may_repeat(self, call: AwsCall, n_attempts: int) -> bool:
        if self.repeat == "unsent":
            return n_attempts < _MOST_REFUSED
        return self.repeat == "always" or (self.repeat == "unbilled" and not call.may_be_billed)

    def error(self, call: AwsCall, n_attempts: int) -> RagkitError:
        message = self.message
        if self.repeat == "unbilled" and call.may_be_billed:
            message += ". Not sent again, because the call may be billed"
        tried = f" ({n_attempts} attempts)" if n_attempts > 1 else ""
        return self.kind(f"{call.about}: {message}{tried}")


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
        retry_seconds: How long after its begin a call may be sent again.
        n_threads: Calls at once, fewer while the service throttles; None: no limit.
        total_timeout_seconds: Longest time for a call, attempts and stream together; None: no
            limit.
        sleep: Waits between attempts; for tests.

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
        self._retry_seconds = retry_seconds
        self._n_connections = n_threads or 10
        self._gate = None if n_threads is None else _Gate(n_threads)
        self._lock = threading.Lock()
        self._opened: _Client | None = None

    def deadline(self) -> Deadline:
        """Return the limits of one call that begins now."""
        return Deadline(self._timeout_seconds, total_seconds=self._total_timeout_seconds)

    def call(self, call: AwsCall, parameters: Members, deadline: Deadline | None = None) -> Members:
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
            outcome = self._attempt(method, call, parameters, deadline)
            if not isinstance(outcome, _Failure):
                return outcome
            may_repeat = outcome.may_repeat(call, n_attempts)
            if not may_repeat or not backoff.wait(outcome.wait_seconds):
                raise outcome.error(call, n_attempts) from outcome.cause
        raise AssertionError  # pragma: no cover - the count has no end

    def events(
        self, call: AwsCall, parameters: Members, *, member: str, deadline: Deadline
    ) -> Generator[Mapping[str, Members], None, None]:
        """Yield the events of the answer's stream; leaving early closes its connection.

        Once the stream is open nothing is sent again. `deadline` ends the wait for an event; who
        takes them renews it, since what they make of several may be one part.

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
            # A connection that a thread still reads from cannot be closed before it has read.
            if not is_waiting:
                stream.close()

    def _broken_off(self, error: Exception, call: AwsCall, deadline: Deadline) -> RagkitError:
        failure = self._failure(error, call, deadline)
        message = f"the stream broke off: {failure.message}"
        return failure.kind(f"{call.about}: {message}. Not sent again")

    def _attempt(
        self,
        method: Callable[..., object],
        call: AwsCall,
        parameters: Members,
        deadline: Deadline,
    ) -> Members | _Failure:
        gate: AbstractContextManager[object] = self._gate or nullcontext()
        with gate:
            deadline.renew()
            try:
                answer = call_within(
                    deadline.seconds_left + _GRACE_SECONDS,
                    lambda: _read(cast("Members", method(**parameters))),
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

    def _method(self, name: str) -> Callable[..., object]:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
        method = getattr(self._opened, name, None)
        if method is None:
            raise ConfigError(
                f"the installed boto3 does not know {self._service}.{name}; run: "
                "pip install --upgrade boto3"
            )
        return cast("Callable[..., object]", method)

    def _open(self) -> _Client:
        make = cast("Callable[..., object]", importlib.import_module("botocore.config").Config)
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
            if not _names(error) & {"BotoCoreError", "ValueError"}:
                raise
            raise ConfigError(f"{self._service} cannot be opened: {error}") from error
        client.meta.events.register("before-parse", _refuse_broken)
        return client

    def _failure(self, error: Exception, call: AwsCall, deadline: Deadline) -> _Failure:
        """Say what an exception of botocore or urllib3 means; others are passed on."""
        names = _names(error)
        if "ClientError" in names:
            return _refusal(error, call)
        if names & {"ReadTimeoutError", "TimeoutError"}:
            limit, seconds = deadline.limit
            what = f"{self._service} did not answer within {seconds:g} seconds"
            advice = f"raise {limit}_seconds, or ask for less" + (
                " (max_tokens)" * call.may_be_billed
            )
            return _Failure(
                kind=RemoteTimeoutError, message=f"{what}; {advice}", repeat="unbilled", cause=error
            )
        if names & _UNSENT:
            where = self._base_url or f"{self._service} in {self.region}"
            advice = "is the address right?" if self._base_url else "is it offered in this region?"
            return _Failure(
                kind=RemoteError, message=f"no connection to {where}; {advice}", repeat="unsent",
                cause=error,
            )  # fmt: skip
        return _local_failure(error, names)


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
    length = None if headers.get("content-encoding") else headers.get("content-length")
    is_short = length is not None and length != str(len(body))
    is_empty = not text and length == "0"
    if is_short or (not is_empty and (text[:1], text[-1:]) != (b"{", b"}")):
        raise OSError("no whole JSON object")


class _Gate:
    """Lets few calls through at once: half as many after a throttled one, then slowly more."""

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


def _read(answer: Members) -> Members:
    """Return an answer with the bytes of its body instead of a file."""
    whole = dict(answer)
    for name, value in answer.items():
        if hasattr(value, "read") and hasattr(value, "close"):
            body = cast("_Body", value)
            try:
                whole[name] = body.read()
            finally:
                body.close()
    return whole


def _close(answer: Members) -> None:
    for value in answer.values():
        if hasattr(value, "close"):
            cast("_Body", value).close()


def _names(error: BaseException) -> set[str]:
    """Return the names of an exception's classes; naming them needs no import of botocore."""
    return {kind.__name__ for kind in type(error).__mro__}


def _local_failure(error: Exception, names: set[str]) -> _Failure:
    """Say what went wrong on this side, or on the way."""
    if names & _NO_CREDENTIALS:
        return _Failure(
            kind=ConfigError,
            message="there are no AWS credentials; run `aws configure` or `aws sso login`, set "
            "AWS_PROFILE, or give this machine a role",
            cause=error,
        )
    if names & _OLD_CREDENTIALS:
        return _Failure(
            kind=AccessDeniedError,
            message="the AWS credentials cannot be renewed; run `aws sso login`, or check the role",
            cause=error,
        )
    if names & _MISUSED:
        return _Failure(kind=ConfigError, message=f"{error}", cause=error)
    if names & {"BotoCoreError", "HTTPError", "OSError", "ResponseParserError", "ParserError"}:
        return _Failure(
            kind=RemoteError,
            message=f"the answer broke off or cannot be read ({type(error).__name__})",
            repeat="unbilled",
            cause=error,
        )
    raise error


def _refusal(error: Exception, call: AwsCall) -> _Failure:
    """Say what an error that the service answered means."""
    response = cast("Mapping[str, Members]", getattr(error, "response", {}))
    answered = response.get("Error", {})
    meta = response.get("ResponseMetadata", {})
    # Inside a stream the same errors begin with a small letter.
    code = str(answered.get("Code", ""))
    code = code[:1].upper() + code[1:]
    status = meta.get("HTTPStatusCode")
    status = status if isinstance(status, int) else 0
    message = str(response.get("OriginalMessage") or answered.get("Message", ""))
    # What is said of a signature or a key may show parts of it.
    said = "" if code in _UNACCEPTED else without_echo(message, call.texts)
    what = f"{code or 'error'} (HTTP {status}){said}"
    wait_seconds = _asked_wait(cast("Mapping[str, str]", meta.get("HTTPHeaders", {})))

    def failure(
        kind: type[RagkitError], advice: str,
        repeat: Literal["always", "unbilled", "never"] = "never", wait: float = wait_seconds,
    ) -> _Failure:  # fmt: skip
        return _Failure(
            kind=kind, message=f"{what}. {advice}", repeat=repeat, wait_seconds=wait, cause=error
        )

    if code == "ModelNotReadyException":
        advice = "The model is being started, which takes minutes: raise retry_seconds"
        return failure(RemoteError, advice, "always", max(_WARM_UP_SECONDS, wait_seconds))
    if code in _THROTTLED or status == 429:
        advice = "Ask less often, lower max_tokens, or raise the quota in Service Quotas"
        return failure(RateLimitedError, advice, "always")
    if code in _UNAVAILABLE or status == 503:
        return failure(RemoteError, "The service is overloaded: try again later", "always")
    if code == "ModelTimeoutException":
        return failure(RemoteTimeoutError, "The model was too slow: ask for less", "unbilled")
    if status >= 500:
        return failure(RemoteError, "The service failed", "unbilled")
    kind, advice = _permanent(code, status, message, call)
    return failure(kind, advice)


def _permanent(
    code: str, status: int, message: str, call: AwsCall
) -> tuple[type[RagkitError], str]:
    """Return error and advice for what another attempt would not change."""
    cases: tuple[tuple[object, type[RagkitError], str], ...] = (
        (
            code in _EXPIRED, AccessDeniedError,
            "The credentials have expired: renew them (`aws sso login`)",
        ),
        (
            code in _UNACCEPTED, AccessDeniedError,
            "AWS does not accept the credentials: check them, and this machine's clock",
        ),
        (
            code.startswith("AccessDenied") or status in {401, 403}, AccessDeniedError,
            f"Allow the IAM action {call.action}, and check that the account has access to it",
        ),
        (
            _ON_DEMAND.search(message), RemoteError,
            "Name an inference profile of the model instead, for example with the prefix eu., us. "
            "or global.",
        ),
        (_TOO_LONG.search(message), PromptTooLongError, f"Too long: {call.shorten}"),
        (
            code.startswith("ResourceNotFound"), RemoteError,
            "Check the name, and that it exists in this region",
        ),
        (
            code.startswith("ServiceQuotaExceeded"), RemoteError,
            "Raise the quota in Service Quotas",
        ),
        (True, RemoteError, "Check the name and the options"),
    )  # fmt: skip
    return next((kind, advice) for applies, kind, advice in cases if applies)


def _asked_wait(headers: Mapping[str, str]) -> float:
    """Return the seconds that a service asks to wait; 0 without a word of it."""
    for name, unit_seconds in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.isascii() and value.isdigit():
            return float(value) * unit_seconds
    return 0.0


def without_echo(message: str, texts: Sequence[str]) -> str:
    """Return a service's message for an error, or a note where it repeats what it was sent."""
    plain = "".join(c if c.isprintable() else " " for c in message)[:_MESSAGE_CHARACTERS]
    if not plain:
        return ""
    for text in texts:
        size = min(_ECHO_CHARACTERS, len(text), len(plain))
        starts = range(len(plain) - size + 1)
        if size and any(plain[i : i + size] in text for i in starts):
            return " (its message repeats what was sent and is left out)"
    return f": {plain}"


def _check_url(base_url: str | None) -> None:
    if base_url is None:
        return
    from urllib.parse import urlsplit

    allowed = "allowed: https://HOST, or http:// to this machine"
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise ConfigError(f"base_url cannot be read ({error}); {allowed}") from error
    if url.username is not None or url.password is not None:
        raise ConfigError(f"base_url holds a user or a password; {allowed}")
    is_safe = url.scheme == "https" or (url.scheme == "http" and host in LOOPBACK_HOSTS)
    if not host or not is_safe or url.query or url.fragment:
        raise ConfigError(f"base_url {base_url!r}; {allowed}")


def _session() -> _Session:
    if importlib.util.find_spec("boto3") is None:
        raise MissingExtraError("boto3", extra="aws")
    # A session of its own: the library's shared one is not safe to use from several threads, and
    # remembers the first identity that it saw.
    make = cast("Callable[[], _Session]", importlib.import_module("boto3").Session)
    try:
        return make()
    except Exception as error:
        if "BotoCoreError" not in _names(error):
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
