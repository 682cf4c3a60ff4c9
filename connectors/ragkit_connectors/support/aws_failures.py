"""What a failed call to AWS means: the error to raise, and when the same may be sent again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    PromptTooLongError,
    RagkitError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit_connectors.support.deadline import Deadline
from ragkit_connectors.support.json_values import Record, one_line, record, text
from ragkit_connectors.support.refusals import aws_says_too_long, without_echo

_MOST_REFUSED = 3
"""Attempts while nothing listens; a service that is there accepts connections."""

_WARM_UP_SECONDS = 2.0
_MESSAGE_CHARACTERS = 300

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

_ON_DEMAND = re.compile(r"on-demand throughput isn.t supported", re.IGNORECASE)


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
        most_bytes: Most bytes of a body in the answer; None: no limit.
    """

    method: str
    action: str
    about: str
    may_be_billed: bool = False
    texts: Sequence[str] = ()
    shorten: str = "lower max_context_tokens or max_tokens"
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt: what to raise, and when the same may be sent again."""

    kind: type[RagkitError]
    message: str
    repeat: Literal["always", "unbilled", "unsent", "never"] = "never"
    wait_seconds: float = 0.0
    cause: BaseException

    def may_repeat(self, call: AwsCall, n_attempts: int) -> bool:
        """Whether the call may be sent again after so many attempts."""
        if self.repeat == "unsent":
            return n_attempts < _MOST_REFUSED
        return self.repeat == "always" or (self.repeat == "unbilled" and not call.may_be_billed)

    def error(self, call: AwsCall, n_attempts: int) -> RagkitError:
        """Return the error to raise."""
        message = self.message
        if self.repeat == "unbilled" and call.may_be_billed:
            message += ". Not sent again, because the call may be billed"
        tried = f" ({n_attempts} attempts)" if n_attempts > 1 else ""
        return self.kind(f"{call.about}: {message}{tried}")


def failure_of(
    error: Exception, call: AwsCall, deadline: Deadline, *, service: str, unsent: str
) -> Failure:
    """Say what an exception of botocore or urllib3 means; others are passed on.

    Args:
        error: What was raised.
        call: What was called.
        deadline: The limits that the call had.
        service: Name of the service, for messages.
        unsent: The message where there was no connection.
    """
    names = class_names(error)
    if "ClientError" in names:
        return _refusal(error, call)
    if names & {"ReadTimeoutError", "TimeoutError"}:
        limit, seconds = deadline.limit
        what = f"{service} did not answer within {seconds:g} seconds"
        advice = f"raise {limit}_seconds, or ask for less" + (" (max_tokens)" * call.may_be_billed)
        return Failure(
            kind=RemoteTimeoutError, message=f"{what}; {advice}", repeat="unbilled", cause=error
        )
    if names & _UNSENT:
        return Failure(kind=RemoteError, message=unsent, repeat="unsent", cause=error)
    return _local_failure(error, names)


def class_names(error: BaseException) -> set[str]:
    """Return the names of an exception's classes; naming them needs no import of botocore."""
    return {kind.__name__ for kind in type(error).__mro__}


def _local_failure(error: Exception, names: set[str]) -> Failure:
    """Say what went wrong on this side, or on the way."""
    if names & _NO_CREDENTIALS:
        return Failure(
            kind=ConfigError,
            message="there are no AWS credentials; run `aws configure` or `aws sso login`, set "
            "AWS_PROFILE, or give this machine a role",
            cause=error,
        )
    if names & _OLD_CREDENTIALS:
        return Failure(
            kind=AccessDeniedError,
            message="the AWS credentials cannot be renewed; run `aws sso login`, or check the role",
            cause=error,
        )
    if names & _MISUSED:
        return Failure(kind=ConfigError, message=f"{error}", cause=error)
    if names & {"BotoCoreError", "HTTPError", "OSError", "ResponseParserError", "ParserError"}:
        return Failure(
            kind=RemoteError,
            message=f"the answer broke off or cannot be read ({type(error).__name__})",
            repeat="unbilled",
            cause=error,
        )
    raise error


def _refusal(error: Exception, call: AwsCall) -> Failure:
    """Say what an error that the service answered means."""
    response = record(getattr(error, "response", None))
    answered = record(response.get("Error"))
    meta = record(response.get("ResponseMetadata"))
    # Inside a stream the same errors begin with a small letter.
    code = str(answered.get("Code", ""))
    code = code[:1].upper() + code[1:]
    status = meta.get("HTTPStatusCode")
    status = status if isinstance(status, int) else 0
    message = str(response.get("OriginalMessage") or answered.get("Message", ""))
    # What is said of a signature or a key may show parts of it.
    line = one_line(message, _MESSAGE_CHARACTERS)
    said = "" if code in _UNACCEPTED else without_echo(line, call.texts)
    what = f"{code or 'error'} (HTTP {status}){said}"
    wait_seconds = _asked_wait(record(meta.get("HTTPHeaders")))

    def failure(
        kind: type[RagkitError], advice: str,
        repeat: Literal["always", "unbilled", "never"] = "never", wait: float = wait_seconds,
    ) -> Failure:  # fmt: skip
        return Failure(
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
        (aws_says_too_long(message), PromptTooLongError, f"Too long: {call.shorten}"),
        (
            code.startswith("ResourceNotFound"), RemoteError,
            "Check the name, and that it exists in this region",
        ),
        (
            code == "PreconditionFailed", RemoteError,
            "It has changed while it was read; ingest it again",
        ),
        (
            code.startswith("ServiceQuotaExceeded"), RemoteError,
            "Raise the quota in Service Quotas",
        ),
        (True, RemoteError, "Check the name and the options"),
    )  # fmt: skip
    return next((kind, advice) for applies, kind, advice in cases if applies)


def _asked_wait(headers: Record) -> float:
    """Return the seconds that a service asks to wait; 0 where it does not ask."""
    for name, unit_seconds in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        value = text(headers.get(name)).strip()
        if value.isascii() and value.isdigit():
            return float(value) * unit_seconds
    return 0.0
