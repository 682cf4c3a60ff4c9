"""A connection to an OpenSearch index: credentials, deadlines, and errors that say what to do."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args
from urllib.parse import quote, urlsplit

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    DimensionMismatchError,
    MissingExtraError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit_connectors.opensearch.traffic import counting_connection
from ragkit_connectors.support.deadline import call_within
from ragkit_connectors.support.json_values import Record, is_record, record, records
from ragkit_connectors.support.refusals import is_private, read_url
from ragkit_connectors.support.retrying import Backoff

AwsService: TypeAlias = Literal["es", "aoss"]

AOSS_SUFFIX = ".aoss.amazonaws.com"
DOMAIN_SUFFIX = ".es.amazonaws.com"
TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
POOL_SIZE = 8
"""Connections kept open; urllib3 keeps one by default and opens all others again each time."""

_NO_LIMIT_OF_ITS_OWN_SECONDS = 1.0
_REASON_CHARACTERS = 300
_FORBIDDEN_IN_NAMES = frozenset('\\/*?"<>| ,#:')


class _Transport(Protocol):
    def perform_request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
    ) -> object: ...

    def close(self) -> None: ...


class _Client(Protocol):
    transport: _Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAddress:
    """Where an index is: the server's URL and the index' name."""

    url: str
    index: str

    @property
    def host(self) -> str:
        """Name of the server."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_overheard(self) -> bool:
        """Whether others can read what is sent on its way."""
        return not is_private(urlsplit(self.url).scheme, self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to get in: names of environment variables, never the secrets themselves.

    Attributes:
        username_env: Environment variable that holds the user.
        password_env: Environment variable that holds the password.
        aws_service: `es` (a domain of Amazon OpenSearch Service) or `aoss` (Serverless): requests
            are signed (Signature Version 4) with the credentials that boto3 finds; None: the
            host's name tells.
        region: For signing; None takes it from the host's name or the environment.
        ca_certs: File of certificates to trust, for a server with an authority of its own.
    """

    username_env: str = "OPENSEARCH_USERNAME"
    password_env: str = "OPENSEARCH_PASSWORD"  # noqa: S105 (a variable's name)
    aws_service: AwsService | None = None
    region: str | None = None
    ca_certs: str | None = None

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a service that there is not."""
        if self.aws_service is not None and self.aws_service not in get_args(AwsService):
            raise ConfigError(f"aws_service {self.aws_service!r}; allowed: es aoss")


def parse_address(rest: str) -> IndexAddress:
    """Read `https://HOST[:PORT]/INDEX`; raises `ConfigError`."""
    allowed = "allowed: opensearch:https://HOST[:PORT]/INDEX"
    url = read_url(
        rest,
        name=f"store 'opensearch:{rest}'",
        allowed=allowed,
        holds_user="the store's name holds a user or a password; set OPENSEARCH_USERNAME and "
        "OPENSEARCH_PASSWORD instead",
    )
    index = url.path.strip("/")
    if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
        raise ConfigError(f"store 'opensearch:{rest}'; {allowed}")
    check_index_name(index)
    default = 443 if url.scheme == "https" else 9200
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return IndexAddress(url=f"{url.scheme}://{host}:{url.port or default}", index=index)


def check_index_name(name: str) -> None:
    """Raise `ConfigError` for what OpenSearch allows no index to be called.

    Rules: OpenSearch documentation, "Create index", "Index naming restrictions".
    """
    wrong = (
        not name
        or name != name.lower()
        or name[0] in "_-+"
        or name in {".", ".."}
        or len(name.encode()) > 200
        or set(name) & _FORBIDDEN_IN_NAMES
    )
    if wrong:
        raise ConfigError(
            f"index {name!r}; allowed: 1 to 200 bytes in lower case, not beginning with _ - or +, "
            'without \\ / * ? " < > | , # : and spaces'
        )


class Connection:
    """Requests to one server; safe to share between threads.

    Args:
        address: The server and the index.
        access: How to get in.
        timeout_seconds: Longest time of one request; more than 0.
        retry_seconds: Longest time of a call, retries included; more than 0.

    Raises:
        ConfigError: a time is not more than 0.
    """

    def __init__(
        self, address: IndexAddress, access: Access, *, timeout_seconds: float, retry_seconds: float
    ) -> None:
        for name, value in (("timeout_seconds", timeout_seconds), ("retry_seconds", retry_seconds)):
            if not 0.0 < value < float("inf"):
                raise ConfigError(f"{name} {value}; allowed: more than 0")
        self.address = address
        self.access = access
        self.timeout_seconds = timeout_seconds
        self.retry_seconds = retry_seconds
        self._opened: _Transport | None = None
        self._version: tuple[int, ...] | None = None

    @property
    def is_serverless(self) -> bool:
        """Whether this is OpenSearch Serverless; the address tells, the server is not asked."""
        return self.access.aws_service == "aoss" or self.address.host.endswith(AOSS_SUFFIX)

    @property
    def version(self) -> tuple[int, ...]:
        """Version of the server; Serverless, which has none, counts as the newest.

        Raises:
            RemoteError: it is no OpenSearch.
        """
        if self.is_serverless:
            return (99,)
        if self._version is None:
            told = record(self.call("GET", "/").get("version"))
            if told.get("distribution") != "opensearch":
                raise RemoteError(
                    f"{self.address.url} is not OpenSearch (distribution "
                    f"{told.get('distribution')!r}); Elasticsearch is not supported"
                )
            numbers = str(told.get("number", "")).split("-")[0].split(".")
            self._version = tuple(int(n) for n in numbers if n.isdigit())
        return self._version

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        ignore: Collection[int] = (),
    ) -> Record:
        """Send a request, repeatedly if necessary, until it succeeds or its time is up.

        The answer of a status in `ignore` is returned like a success, with `status` in it.
        """
        backoff = Backoff(time.monotonic() + self.retry_seconds)
        while True:
            seconds = min(self.timeout_seconds, max(0.05, backoff.seconds_left))
            try:
                return self.once(method, path, body, params=params, ignore=ignore, seconds=seconds)
            except RemoteFault as fault:
                if not (fault.is_transient and backoff.wait()):
                    raise fault.error(backoff.n_waits) from fault

    def once(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        ignore: Collection[int] = (),
        seconds: float,
    ) -> Record:
        """Send a request once; raises `RemoteFault`."""
        transport = self._transport()

        def send() -> object:
            return transport.perform_request(
                method, path, params=params, body=body, timeout=seconds, ignore=ignore
            )

        try:
            # The client's own time-out usually comes first; the other ends answers that trickle in.
            answer = call_within(seconds + _NO_LIMIT_OF_ITS_OWN_SECONDS / 2, send)
        except (TimeoutError, _client_error()) as error:
            raise RemoteFault(error, self) from error
        return answer if is_record(answer) else {"found": answer}

    def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _transport(self) -> _Transport:
        if self._opened is None:
            self._opened = _open_transport(self.address, self.access, self.is_serverless)
        return self._opened


class RemoteFault(Exception):
    """A request that failed once: the client library's exception, classified."""

    def __init__(self, cause: Exception, connection: Connection) -> None:
        super().__init__(type(cause).__name__)
        self._connection = connection
        status: object = getattr(cause, "status_code", None)
        self.status = status if isinstance(status, int) else None
        info: object = getattr(cause, "info", None)
        self.kind, self.reason = _reason(record(info))
        name = type(cause).__name__
        self.is_timeout = isinstance(cause, TimeoutError) or name == "ConnectionTimeout"
        self.is_connection = name in {"ConnectionError", "ConnectionTimeout", "SSLError"}
        self.is_certificate = name == "SSLError"
        if self.is_connection and not self.reason:
            self.reason = str(getattr(cause, "error", ""))[:_REASON_CHARACTERS]

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        if self.status is not None:
            return self.status in TRANSIENT_STATUSES
        return (self.is_timeout or self.is_connection) and not self.is_certificate

    @property
    def is_throttled(self) -> bool:
        """Whether the server throttled the request (HTTP 429), so that nothing was done."""
        return self.status == 429

    def error(self, n_retries: int = 0) -> RemoteError:
        """Return the error for people."""
        where = self._connection.address.url
        after = f" after {n_retries + 1} attempts" if n_retries else ""
        if self.is_timeout:
            return RemoteTimeoutError(
                f"{where} did not answer in time{after} "
                f"({self._connection.timeout_seconds:g} s a request, "
                f"{self._connection.retry_seconds:g} s in all); raise timeout_seconds or "
                "retry_seconds of the store"
            )
        if self.status is None:
            return RemoteError(
                f"the connection to {where} failed{after}: {self.reason or 'refused'}. Is the "
                "server running, and is the address right?"
            )
        said = f"{where} answered HTTP {self.status}{after}: {self.kind} {self.reason}".rstrip()
        return self._typed(said)

    def _typed(self, said: str) -> RemoteError:
        if self.status in {401, 403}:
            return AccessDeniedError(f"{said}. {self._access_advice()}")
        if self.status == 429:
            return RateLimitedError(f"{said}. The server is overloaded: write with fewer processes")
        if "dimension" in self.reason.lower():
            return DimensionMismatchError(
                f"{said}. The index was made for vectors of another length; change it with: "
                "ragkit rebuild"
            )
        return RemoteError(said)

    def _access_advice(self) -> str:
        connection = self._connection
        if connection.is_serverless:
            return (
                "Serverless needs a data access policy of the collection that names this role and "
                "index, and the IAM action aoss:APIAccessAll"
            )
        if connection.access.aws_service == "es" or connection.address.host.endswith(DOMAIN_SUFFIX):
            return "Check the domain's access policy (es:ESHttp*) and its role mapping"
        access = connection.access
        if not access.username_env:
            return (
                "No user was sent, since username_env is empty; where the address comes from a "
                "settings file that was found, first run: ragkit trust FILE"
            )
        return f"Check the environment variables {access.username_env} and {access.password_env}"


def path_of(*parts: str) -> str:
    """Return a path of these parts, each percent-encoded."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def lines(items: Collection[object]) -> bytes:
    """Return objects as JSON Lines in UTF-8."""
    return "".join(f"{json.dumps(item, separators=(',', ':'))}\n" for item in items).encode()


def _reason(info: Record) -> tuple[str, str]:
    """Return kind and reason of an error; the innermost reason says most."""
    error = info.get("error", info)
    if isinstance(error, str):
        return "", error[:_REASON_CHARACTERS]
    found = record(error)
    kind = str(found.get("type", ""))
    roots = [cause for cause in records(found.get("root_cause")) if cause.get("reason")]
    reason = str((roots[0] if roots else found).get("reason", ""))
    cause = record(found.get("caused_by"))
    while cause:
        reason = f"{reason}; {cause.get('reason', '')}" if cause.get("reason") else reason
        cause = record(cause.get("caused_by"))
    return kind, reason[:_REASON_CHARACTERS]


def _client_error() -> type[Exception]:
    """Return the base of the client library's exceptions."""
    kind: type[Exception] = importlib.import_module("opensearchpy.exceptions").OpenSearchException
    return kind


def _open_transport(address: IndexAddress, access: Access, is_serverless: bool) -> _Transport:
    if importlib.util.find_spec("opensearchpy") is None:
        raise MissingExtraError("opensearch-py", extra="opensearch")
    library = importlib.import_module("opensearchpy")
    settings: dict[str, object] = {
        "hosts": [address.url],
        "connection_class": counting_connection(library.Urllib3HttpConnection),
        "pool_maxsize": POOL_SIZE,
        # Retries are counted and limited here, not by the client.
        "max_retries": 0,
        "retry_on_status": (),
        "ssl_show_warn": False,
    }
    if access.ca_certs is not None:
        settings["ca_certs"] = access.ca_certs
    settings["http_auth"] = _credentials(address, access, is_serverless)
    make: Callable[..., _Client] = library.OpenSearch
    return make(**settings).transport


def _credentials(address: IndexAddress, access: Access, is_serverless: bool) -> object:
    username = os.environ.get(access.username_env, "")
    service = access.aws_service or ("aoss" if is_serverless else None)
    if service is None and not username and address.host.endswith(DOMAIN_SUFFIX):
        service = "es"
    if (service or username) and address.is_overheard:
        raise ConfigError(
            f"credentials would go to {address.url} for everybody on the way to read; use https, "
            f"or a tunnel to http://localhost, or leave {access.username_env} unset"
        )
    if service is None:
        return (username, os.environ.get(access.password_env, "")) if username else None
    return _signer(service, access.region or _region_of(address.host))


def _region_of(host: str) -> str | None:
    """Return the region in the name of an AWS endpoint, else the environment's."""
    for suffix in (AOSS_SUFFIX, DOMAIN_SUFFIX):
        if host.endswith(suffix):
            return host.removesuffix(suffix).rsplit(".", 1)[-1]
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def _signer(service: str, region: str | None) -> object:
    if region is None:
        raise ConfigError("a signed request needs a region: set region of the store, or AWS_REGION")
    if importlib.util.find_spec("boto3") is None:
        raise MissingExtraError("boto3", extra="aws")
    session = importlib.import_module("boto3").Session()
    # The object itself: it renews what expires, a frozen copy would not.
    credentials: object = session.get_credentials()
    if credentials is None:
        raise ConfigError("no AWS credentials were found; set AWS_PROFILE or give the role some")
    library = importlib.import_module("opensearchpy")
    make: Callable[..., object] = library.Urllib3AWSV4SignerAuth
    return make(credentials, region, service)
