"""A fake AWS on this machine: the real wire, and what it is told to say.

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal, TypeAlias, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

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
    import socket
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


class AwsServer:
    """A server that speaks as Bedrock, Kendra and SageMaker do; see the module.

    `requests` holds every request that reached it, refused ones too.
    """

    def __init__(self) -> None:
        self._scripts: dict[str, list[Script]] = {}
        self._lock = threading.Lock()
        self._lies: list[str] = []
        self.requests: list[AwsRequest] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True
        )

    @property
    def url(self) -> str:
        """Address to give to a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
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

    def answer(self, name: str, *replies: Script) -> None:
        """Script an operation: replies in order, the last one again and again.

        Raises:
            AssertionError: there is no such operation, or it would never answer so.
        """
        op = operation(name)
        for reply in replies:
            if not callable(reply):
                _refuse_lie(op, reply)
        with self._lock:
            self._scripts[f"{op.service}.{op.name}"] = list(replies)

    def __enter__(self) -> AwsServer:
        """Start to listen."""
        operations()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to listen; raises `AssertionError` where an answer was missing or impossible."""
        self._server.stop()
        self._thread.join()
        if self._lies:
            raise AssertionError("; ".join(self._lies))

    def next_reply(self, op: Operation, request: AwsRequest) -> Reply:
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


class _Server(ThreadingHTTPServer):
    # Closing waits for the handlers, which end because their connections are shut down.
    daemon_threads = False
    owner: AwsServer

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: object, client_address: object) -> None:
        """Keep the connection at hand for `stop`."""
        self._open.add(cast("socket.socket", request))
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: object) -> None:
        """Forget the connection."""
        self._open.discard(cast("socket.socket", request))
        super().shutdown_request(request)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Stop to listen and break off what is under way."""
        import contextlib
        import socket

        self.stopping.set()
        self.shutdown()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: clients that give up early are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _owner(self) -> _Server:
        return cast("_Server", self.server)

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Stay quiet."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        route = _route(self.command, self.path, headers)
        if route is None:
            self._fault(None, AwsFault("UnknownOperationException", message=self.path))
            return
        op, labels = route
        parameters, wrong = _parameters(op, labels, self.path, headers, body)
        request = AwsRequest(
            service=op.service, operation=op.name, parameters=parameters, headers=headers
        )
        self._owner.owner.requests.append(request)
        unsigned = _signature_problem(op, self.command, self.path, headers, body)
        if unsigned:
            self._fault(op, AwsFault("InvalidSignatureException", message=unsigned))
        elif wrong:
            count = f"{len(wrong)} validation errors detected: "
            self._fault(op, AwsFault("ValidationException", message=count + "; ".join(wrong)))
        else:
            self._reply(op, self._owner.owner.next_reply(op, request))

    def _reply(self, op: Operation, reply: Reply) -> None:
        if isinstance(reply, AwsFault):
            self._fault(op, reply)
        elif isinstance(reply, Stream):
            self._stream(op, reply)
        elif isinstance(reply, Raw):
            length = len(reply.body) if reply.length is None else reply.length
            self._head(reply.status, {"Content-Type": reply.content_type}, length)
            self.wfile.write(reply.body)
            self.close_connection = reply.length is not None
        else:
            slow = reply if isinstance(reply, Slow) else Slow(reply)
            self._answer(op, slow)

    def _answer(self, op: Operation, reply: Slow) -> None:
        if self._owner.stopping.wait(reply.delay_seconds):
            return
        headers, data = _output(op, reply.answer)
        self._head(200, headers, len(data))
        if not reply.seconds_per_byte:
            self.wfile.write(data)
            return
        for i in range(len(data)):
            self.wfile.write(data[i : i + 1])
            if self._owner.stopping.wait(reply.seconds_per_byte):
                return

    def _fault(self, op: Operation | None, fault: AwsFault) -> None:
        if self._owner.stopping.wait(fault.delay_seconds):
            return
        shape = op.errors.get(fault.code) if op else None
        error = cast("Mapping[str, int]", shape.metadata.get("error", {}) if shape else {})
        status = fault.status or error.get("httpStatusCode")
        # The JSON services answer 400 to everything that is the caller's fault.
        default = 400 if op and op.is_json_rpc and shape else _COMMON_STATUS.get(fault.code, 400)
        body = {"__type": fault.code, "message": fault.message, "Message": fault.message}
        data = json.dumps({**body, **fault.members}).encode()
        headers = {"Content-Type": "application/json", "x-amzn-errortype": fault.code}
        self._head(status or default, {**headers, **fault.headers}, len(data))
        self.wfile.write(data)

    def _stream(self, op: Operation, stream: Stream) -> None:
        shape = cast("Shape", op.output_shape)
        events = shape.members[cast("str", op.stream_member)]
        headers = _headers(shape, stream.members)
        headers |= {"Content-Type": "application/vnd.amazon.eventstream"}
        self._head(200, {**headers, "Transfer-Encoding": "chunked"}, None)
        cut = False
        for event in stream.events:
            if isinstance(event, float | int):
                self.wfile.flush()
                if self._owner.stopping.wait(event):
                    return
            elif event == "cut":
                cut = True
            else:
                data = _frame_of(events, event)
                self._chunk(data[: len(data) // 2] if cut else data)
                if cut:
                    break
        if cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _head(self, status: int, headers: Mapping[str, str], length: int | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("x-amzn-RequestId", "00000000-0000-0000-0000-000000000000")
        self.end_headers()


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
    op: Operation, labels: Mapping[str, str], path: str, headers: Mapping[str, str], body: bytes
) -> tuple[dict[str, object], list[str]]:
    """Return what a client was called with, and what the service refuses of it."""
    shape = op.input_shape
    if shape is None:
        return {}, []
    query = dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))
    places = {"uri": labels, "querystring": query, "header": headers}
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
            given[payload] = body
        elif payload:
            given[payload] = decode(shape.members[payload], json.loads(body or b"{}"))
        else:
            given |= cast("dict[str, object]", decode(shape, json.loads(body or b"{}")))
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


def _signature_problem(
    op: Operation, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> str:
    """Return why a signature of version 4 does not hold; empty where it does.

    As in "Create a signed AWS API request" of the AWS IAM user guide.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        return "there is no signature of version 4"
    key_id, day, region, service, names, signature = match.groups()
    if (key_id, service) != (ACCESS_KEY, op.signing_name):
        return f"signed by {key_id} for {service}, not by {ACCESS_KEY} for {op.signing_name}"
    if not {"host", "x-amz-date"} <= set(names.split(";")):
        return f"only {names} are signed"
    url = urlsplit(path)
    pairs = sorted(parse_qsl(url.query, keep_blank_values=True))
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in pairs)
    lines = [f"{n}:{' '.join(headers.get(n, '').split())}\n" for n in names.split(";")]
    digest = hashlib.sha256(body).hexdigest()
    request = "\n".join(
        [method, quote(url.path, safe="/-_.~"), query, "".join(lines), names, digest]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(
        ["AWS4-HMAC-SHA256", headers.get("x-amz-date", ""), scope,
         hashlib.sha256(request.encode()).hexdigest()]
    )  # fmt: skip
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return "" if hmac.compare_digest(key.hex(), signature) else "the signature does not match"
