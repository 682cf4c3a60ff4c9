"""A fake S3 on this machine: buckets of objects, listed and fetched as AWS' own model has it.

Requests are checked by the service's description and signature, and answers are made by its
shapes, so that the client parses what it would parse of the service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from ragkit_connectors.testing import Request
from ragkit_connectors.testing.serving import Answering, LoopbackServer

from .aws_model import (
    Members,
    Operation,
    Shape,
    location,
    operations_of,
    problems,
    wire_name,
)
from .aws_server import signature_problem

_STATUS = {
    "NoSuchBucket": 404, "NoSuchKey": 404, "AccessDenied": 403, "PreconditionFailed": 412,
    "InvalidArgument": 400, "SignatureDoesNotMatch": 403, "SlowDown": 503,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """An object."""

    body: bytes
    modified: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    version: str = ""
    encoding: str = ""

    @property
    def etag(self) -> str:
        """As S3 makes it of what was put at once."""
        return f'"{hashlib.md5(self.body, usedforsecurity=False).hexdigest()}"'


@dataclass(slots=True)
class Bucket:
    """Objects by their keys; `page` is how many are listed at a time."""

    objects: dict[str, Stored] = field(default_factory=dict[str, Stored])
    page: int = 1_000


class S3Server(LoopbackServer):
    """Serves buckets; see the module.

    Attributes:
        buckets: By name.
        faults: Codes of errors that the next requests are answered with, by operation.
        asked: What was asked for: the operation, and its parameters.
        longer: Bytes that each body has more than was listed.
        cut: Whether bodies break off.
        repeats: Whether a list answers the same page again and again.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self) -> None:
        super().__init__()
        self.buckets: dict[str, Bucket] = {}
        self.faults: dict[str, list[str]] = {}
        self.asked: list[tuple[str, Mapping[str, object]]] = []
        self.longer = 0
        self.cut = False
        self.repeats = False
        models = {op.name: op for op in operations_of("s3")}
        self._list, self._get = models["ListObjectsV2"], models["GetObject"]

    def respond(self, request: Request, answer: Answering) -> None:
        """Refuse what the service would refuse, else answer as it would."""
        url = urlsplit(request.path)
        bucket, _, key = url.path.lstrip("/").partition("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        op = self._get if key else self._list
        parameters = _parameters(op, {"Bucket": bucket, "Key": unquote(key)}, query, request)
        self.asked.append((op.name, parameters))
        faults = self.faults.get(op.name, [])
        if unsigned := signature_problem(op, request):
            _fault(answer, "SignatureDoesNotMatch", unsigned)
        elif wrong := list(problems(cast("Shape", op.input_shape), parameters)):
            _fault(answer, "InvalidArgument", "; ".join(wrong))
        elif faults:
            _fault(answer, faults.pop(0), "as the test wants it")
        elif bucket not in self.buckets:
            _fault(answer, "NoSuchBucket", bucket)
        elif op is self._list:
            self._answer_list(answer, self.buckets[bucket], parameters)
        else:
            self._answer_object(answer, self.buckets[bucket], parameters)

    def _answer_list(self, answer: Answering, bucket: Bucket, parameters: Members) -> None:
        prefix = str(parameters.get("Prefix", ""))
        after = "" if self.repeats else str(parameters.get("ContinuationToken", ""))
        most = min(bucket.page, int(str(parameters.get("MaxKeys", 1_000))))
        keys = sorted(k for k in bucket.objects if k.startswith(prefix) and k > after)
        shown = keys[:most]
        members: dict[str, object] = {
            "IsTruncated": len(keys) > most,
            "KeyCount": len(shown),
            "EncodingType": "url",
            "Contents": [_listed(key, bucket.objects[key]) for key in shown],
        }
        if len(keys) > most:
            members["NextContinuationToken"] = shown[-1]
        shape = cast("Shape", self._list.output_shape)
        lies = list(problems(shape, members))
        assert not lies, lies
        body = f"<ListBucketResult>{''.join(_xml(shape, members))}</ListBucketResult>"
        answer.whole(200, "application/xml", body.encode())

    def _answer_object(self, answer: Answering, bucket: Bucket, parameters: Members) -> None:
        found = bucket.objects.get(str(parameters["Key"]))
        if found is None:
            _fault(answer, "NoSuchKey", str(parameters["Key"]))
        elif parameters.get("IfMatch", found.etag) != found.etag:
            _fault(answer, "PreconditionFailed", "at least one condition does not hold")
        else:
            headers = {"ETag": found.etag}
            headers |= {"x-amz-version-id": found.version} if found.version else {}
            headers |= {"Content-Encoding": found.encoding} if found.encoding else {}
            body = found.body + bytes(self.longer)
            answer.head(200, "text/plain", {**headers, "Content-Length": str(len(body))})
            answer.write(body[: len(body) // 2] if self.cut else body)
            if self.cut:
                answer.close()


def _listed(key: str, stored: Stored) -> dict[str, object]:
    return {
        "Key": quote(key, safe="/"),
        "ETag": stored.etag,
        "Size": len(stored.body),
        "LastModified": stored.modified,
    }


def _parameters(
    op: Operation, labels: Mapping[str, str], query: Mapping[str, str], sent: Request
) -> dict[str, object]:
    shape = cast("Shape", op.input_shape)
    places = {"uri": labels, "querystring": query, "header": sent.headers}
    given: dict[str, object] = {}
    for name in shape.members:
        place = location(shape, name)
        wire = wire_name(shape, name)
        found = places.get(place, {}).get(wire.lower() if place == "header" else wire)
        if found is not None:
            is_number = shape.members[name].type_name == "integer"
            given[name] = int(found) if is_number else found
    return given


def _xml(shape: Shape, members: Members) -> Iterator[str]:
    for name, value in members.items():
        inner, wire = shape.members[name], wire_name(shape, name)
        if inner.type_name == "list":
            for item in cast("list[Members]", value):
                yield f"<{wire}>{''.join(_xml(inner.member, item))}</{wire}>"
        else:
            yield f"<{wire}>{_value(value)}</{wire}>"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else escape(str(value))


def _fault(answer: Answering, code: str, message: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    answer.whole(_STATUS[code], "application/xml", body.encode())
