"""A fake AWS on this machine: the real protocol, with scripted answers.

Requests are routed and checked by AWS' own service descriptions, limits and signature included;
so are the answers that a test scripts, so a test double that lies fails its test.

    with AwsServer() as server:
        server.answer("Converse", AwsFault("ThrottlingException"), {"output": ...})
        boto3.client("bedrock-runtime", endpoint_url=server.url)

What it cannot know is what a model would say, how it counts tokens, and which limits a model adds.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import re
import struct
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self, TypeAlias, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from ragkit_connectors.testing import Request
from ragkit_connectors.testing.serving import Answering, LoopbackServer

from .aws_model import (
    Members,
    Operation,
    Shape,
    decode,
    location,
    operation,
    operations,
    problems,
    to_json,
    wire_name,
)

if TYPE_CHECKING:
    from types import TracebackType

ACCESS_KEY = "AKIDRAGKITTEST"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYragkitTESTKEY"  # noqa: S105 - opens nothing
REGION = "eu-west-1"

_COMMON_STATUS = {
    "AccessDeniedException": 403, "ExpiredTokenException": 403, "IncompleteSignature": 403,
    "InvalidSignatureException": 403, "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403, "RequestExpired": 400, "ValidationException": 400,
    "ThrottlingException": 429, "InternalFailure": 500, "ServiceUnavailable": 503,
    "UnknownOperationException": 404,
}  # fmt: skip
"""Errors that every service can answer, whether its description names them or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsRequest:
    """What was asked; `parameters` are named as the client names them, header names lower case."""

    service: str
    operation: str
    parameters: Mapping[str, object]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AwsFault:
    """An error instead of an answer, or inside a stream.

    Attributes:
        code: Name of the error, one of the operation's or of those that all services have.
        status: HTTP status; None takes that of the service's description.
        message: What the service says.
        delay_seconds: Wait before the error.
        members: More members, for example `originalStatusCode`.
        headers: More headers, for example `Retry-After`.
    """

    code: str
    status: int | None = None
    message: str = ""
    delay_seconds: float = 0.0
    members: Members = field(default_factory=dict[str, object])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Stream:
    """An event stream: events of one member, errors, waits in seconds, or a broken connection.

    `"cut"` closes the connection in the middle of the frame that follows, or at once at the end.
    A stream that does not end so ends as it should. `members` are the output's other members.
    """

    events: Sequence[Members | AwsFault | float | Literal["cut"]]
    members: Members = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Slow:
    """An answer that comes late, or drips: its body byte by byte, so many seconds apart."""

    answer: Members
    delay_seconds: float = 0.0
    seconds_per_byte: float = 0.0


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that no service would send, as they come from a proxy; not checked.

    `length` is what `Content-Length` says; more than there is makes an answer that breaks off.
    """

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    length: int | None = None


Reply: TypeAlias = "Members | AwsFault | Stream | Slow | Raw"
Script: TypeAlias = "Reply | Callable[[Mapping[str, object]], Reply]"


def environment() -> dict[str, str]:
    """Return the variables that make a client use the test's identity, and no other."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
    }


class AwsServer(LoopbackServer):
    """A server that speaks as Bedrock, Kendra and SageMaker do; see the module.

    `requests` holds every request that reached it, refused ones too.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self) -> None:
        super().__init__()
        self._scripts: dict[str, list[Script]] = {}
        self._lock = threading.Lock()
        self._lies: list[str] = []
        self.requests: list[AwsRequest] = []

    def answer(self, name: str, *replies: Script) -> None:
        """Script an operation: replies in order, the last one repeated.

        Raises:
            AssertionError: there is no such operation, or it would never answer so.
        """
        op = operation(name)
        for reply in replies:
            if not callable(reply):
                _refuse_lie(op, reply)
        with self._lock:
            self._scripts[f"{op.service}.{op.name}"] = list(replies)

    def __enter__(self) -> Self:
        """Start to listen."""
        operations()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to listen; raises `AssertionError` where an answer was missing or impossible."""
        super().__exit__(kind, error, trace)
        if self._lies:
            raise AssertionError("; ".join(self._lies))

    def respond(self, request: Request, answer: Answering) -> None:
        """Refuse what the service would refuse, else say what is scripted."""
        route = _route(request.method, request.path, request.headers)
        if route is None:
            _fault(answer, None, AwsFault("UnknownOperationException", message=request.path))
            return
        op, labels = route
        parameters, wrong = _parameters(op, labels, request)
        asked = AwsRequest(
            service=op.service, operation=op.name, parameters=parameters, headers=request.headers
        )
        self.requests.append(asked)
        unsigned = signature_problem(op, request)
        if unsigned:
            _fault(answer, op, AwsFault("InvalidSignatureException", message=unsigned))
        elif wrong:
            count = f"{len(wrong)} validation errors detected: "
            _fault(answer, op, AwsFault("ValidationException", message=count + "; ".join(wrong)))
        else:
            _reply(answer, op, self._next_reply(op, asked))

    def _next_reply(self, op: Operation, request: AwsRequest) -> Reply:
        """Return what is said to a request; a lie is kept for the end and answered by 500."""
        with self._lock:
            replies = self._scripts.get(f"{op.service}.{op.name}", [])
            script = None if not replies else replies[0]
            if len(replies) > 1:
                del replies[0]
        try:
            if script is None:
                raise AssertionError(f"no answer to {op.service}.{op.name} was scripted")
            reply = script(request.parameters) if callable(script) else script
            _refuse_lie(op, reply)
        except Exception as error:  # whatever a test's function raises
            with self._lock:
                self._lies.append(f"{type(error).__name__}: {error}")
            return Raw(b"{}", status=500)
        return reply


def _refuse_lie(op: Operation, reply: Reply) -> None:
    """Raise `AssertionError` unless the service could answer so."""
    if isinstance(reply, Raw):
        return
    if isinstance(reply, AwsFault):
        _refuse_unknown_fault(op, reply)
        return
    if isinstance(reply, Stream) != (op.stream_member is not None):
        raise AssertionError(f"{op.name} answers {'a stream' if op.stream_member else 'at once'}")
    if isinstance(reply, Stream):
        _refuse_lying_stream(op, reply)
        return
    members = reply.answer if isinstance(reply, Slow) else reply
    if op.output_shape is not None:
        _refuse(op, problems(op.output_shape, members, op.name))
    elif members:
        raise AssertionError(f"{op.name} answers nothing")


def _refuse_unknown_fault(op: Operation, fault: AwsFault) -> None:
    shape = op.errors.get(fault.code)
    if shape is None and fault.code not in _COMMON_STATUS:
        raise AssertionError(f"{op.name} knows no error {fault.code}")
    unknown = set(fault.members) - set(shape.members if shape else ())
    if unknown:
        raise AssertionError(f"{fault.code} has no members {sorted(unknown)}")


def _refuse_lying_stream(op: Operation, stream: Stream) -> None:
    name = cast("str", op.stream_member)
    events = cast("Shape", op.output_shape).members[name]
    for event in stream.events:
        if isinstance(event, Mapping):
            _refuse(op, [*problems(events, event, name), *([] if len(event) == 1 else ["one"])])
        elif isinstance(event, AwsFault) and event.code not in events.members:
            raise AssertionError(f"a stream of {op.name} knows no error {event.code}")


def _refuse(op: Operation, found: object) -> None:
    lies = list(cast("list[str]", found))
    if lies:
        raise AssertionError(f"{op.service} would never answer so: {'; '.join(lies)}")


_REQUEST_ID = {"x-amzn-RequestId": "00000000-0000-0000-0000-000000000000"}


def _reply(answer: Answering, op: Operation, reply: Reply) -> None:
    if isinstance(reply, AwsFault):
        _fault(answer, op, reply)
    elif isinstance(reply, Stream):
        _stream(answer, op, reply)
    elif isinstance(reply, Raw):
        length = len(reply.body) if reply.length is None else reply.length
        headers = {"Content-Length": str(length), **_REQUEST_ID}
        answer.head(reply.status, reply.content_type, headers)
        answer.write(reply.body)
        if reply.length is not None:
            answer.close()
    else:
        slow = reply if isinstance(reply, Slow) else Slow(reply)
        if not answer.pause(slow.delay_seconds):
            headers, data = _output(op, slow.answer)
            _send(answer, 200, headers, data, seconds_per_byte=slow.seconds_per_byte)


def _fault(answer: Answering, op: Operation | None, fault: AwsFault) -> None:
    if answer.pause(fault.delay_seconds):
        return
    shape = op.errors.get(fault.code) if op else None
    error = cast("Mapping[str, int]", shape.metadata.get("error", {}) if shape else {})
    status = fault.status or error.get("httpStatusCode")
    # The JSON services answer 400 to everything that is the caller's fault.
    default = 400 if op and op.is_json_rpc and shape else _COMMON_STATUS.get(fault.code, 400)
    body = {"__type": fault.code, "message": fault.message, "Message": fault.message}
    data = json.dumps({**body, **fault.members}).encode()
    headers = {"Content-Type": "application/json", "x-amzn-errortype": fault.code}
    _send(answer, status or default, {**headers, **fault.headers}, data)


def _send(
    answer: Answering, status: int, headers: Mapping[str, str], data: bytes,
    *, seconds_per_byte: float = 0.0,
) -> None:  # fmt: skip
    others = {name: value for name, value in headers.items() if name != "Content-Type"}
    answer.whole(
        status, headers["Content-Type"], data, {**others, **_REQUEST_ID},
        seconds_per_byte=seconds_per_byte,
    )  # fmt: skip


def _stream(answer: Answering, op: Operation, stream: Stream) -> None:
    shape = cast("Shape", op.output_shape)
    events = shape.members[cast("str", op.stream_member)]
    headers = {**_headers(shape, stream.members), "Transfer-Encoding": "chunked", **_REQUEST_ID}
    answer.head(200, "application/vnd.amazon.eventstream", headers)
    cut = False
    for event in stream.events:
        if isinstance(event, float | int):
            if answer.pause(event):
                return
        elif event == "cut":
            cut = True
        else:
            data = _frame_of(events, event)
            data = data[: len(data) // 2] if cut else data
            answer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            if cut:
                break
    if cut:
        answer.close()
    else:
        answer.write(b"0\r\n\r\n")


def _route(
    method: str, path: str, headers: Mapping[str, str]
) -> tuple[Operation, dict[str, str]] | None:
    target = headers.get("x-amz-target", "")
    plain = urlsplit(path).path
    for op in operations():
        if target and op.target == target:
            return op, {}
        match = None if op.target or op.method != method else op.path.fullmatch(plain)
        if match:
            return op, {k: unquote(v) for k, v in match.groupdict().items()}
    return None


def _parameters(
    op: Operation, labels: Mapping[str, str], sent: Request
) -> tuple[dict[str, object], list[str]]:
    """Return what a client was called with, and what the service refuses of it."""
    shape = op.input_shape
    if shape is None:
        return {}, []
    query = dict(parse_qsl(urlsplit(sent.path).query, keep_blank_values=True))
    places = {"uri": labels, "querystring": query, "header": sent.headers}
    given: dict[str, object] = {}
    for name in shape.members:
        place = location(shape, name)
        key = wire_name(shape, name)
        found = places.get(place, {}).get(key.lower() if place == "header" else key)
        if found is not None:
            given[name] = _typed(shape.members[name], found)
    payload = cast("str | None", shape.serialization.get("payload"))
    try:
        if payload and shape.members[payload].type_name == "blob":
            given[payload] = sent.data
        elif payload:
            given[payload] = decode(shape.members[payload], json.loads(sent.data or b"{}"))
        else:
            given |= cast("dict[str, object]", decode(shape, json.loads(sent.data or b"{}")))
    except (ValueError, binascii.Error) as error:
        return given, [f"the body cannot be read: {error}"]
    return given, list(problems(shape, given, op.name))


def _typed(shape: Shape, text: str) -> object:
    if shape.type_name in {"integer", "long"}:
        return int(text)
    return text == "true" if shape.type_name == "boolean" else text


def _output(op: Operation, members: Members) -> tuple[dict[str, str], bytes]:
    shape = op.output_shape
    headers = {"Content-Type": "application/x-amz-json-1.1" if op.target else "application/json"}
    if shape is None:
        return headers, b"{}"
    headers |= _headers(shape, members)
    payload = cast("str | None", shape.serialization.get("payload"))
    if payload is None:
        return headers, to_json(shape, members)
    if shape.members[payload].type_name == "blob":
        return headers, cast("bytes", members.get(payload, b""))
    return headers, to_json(shape.members[payload], members.get(payload, {}))


def _headers(shape: Shape, members: Members) -> dict[str, str]:
    return {
        wire_name(shape, name): str(value)
        for name, value in members.items()
        if location(shape, name) == "header"
    }


def _frame_of(events: Shape, event: Members | AwsFault) -> bytes:
    if isinstance(event, AwsFault):
        body = {"message": event.message, **event.members}
        shape = events.members[event.code]
        data = json.dumps({wire_name(shape, k): v for k, v in body.items()}).encode()
        return frame(
            {
                ":message-type": "exception", ":exception-type": event.code,
                ":content-type": "application/json",
            },
            data,
        )  # fmt: skip
    ((name, members),) = event.items()
    shape = events.members[name]
    payload = next((k for k, m in shape.members.items() if m.serialization.get("eventpayload")), "")
    is_blob = bool(payload) and shape.members[payload].type_name == "blob"
    data = cast("dict[str, bytes]", members)[payload] if is_blob else to_json(shape, members)
    content_type = "application/octet-stream" if is_blob else "application/json"
    return frame(
        {":message-type": "event", ":event-type": name, ":content-type": content_type}, data
    )


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one message of an event stream (Amazon Transcribe guide, "Event stream encoding")."""
    head = b"".join(
        bytes([len(k)]) + k.encode() + b"\x07" + struct.pack("!H", len(v.encode())) + v.encode()
        for k, v in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


def signature_problem(op: Operation, sent: Request) -> str:
    """Return why a signature of version 4 does not hold; empty where it does.

    As in "Create a signed AWS API request" of the AWS IAM user guide.
    """
    match = _AUTHORIZATION.fullmatch(sent.headers.get("authorization", ""))
    if match is None:
        return "there is no signature of version 4"
    key_id, day, region, service, names, signature = match.groups()
    if (key_id, service) != (ACCESS_KEY, op.signing_name):
        return f"signed by {key_id} for {service}, not by {ACCESS_KEY} for {op.signing_name}"
    if not {"host", "x-amz-date"} <= set(names.split(";")):
        return f"only {names} are signed"
    url = urlsplit(sent.path)
    pairs = sorted(parse_qsl(url.query, keep_blank_values=True))
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in pairs)
    lines = [f"{n}:{' '.join(sent.headers.get(n, '').split())}\n" for n in names.split(";")]
    digest = hashlib.sha256(sent.data).hexdigest()
    # Other services encode a path a second time.
    path = url.path if op.service == "s3" else quote(url.path, safe="/-_.~")
    request = "\n".join([sent.method, path, query, "".join(lines), names, digest])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", sent.headers.get("x-amz-date", ""), scope,
         hashlib.sha256(request.encode()).hexdigest()]
    )  # fmt: skip
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return "" if hmac.compare_digest(key.hex(), signature) else "the signature does not match"
