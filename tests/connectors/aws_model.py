"""AWS' own description of its interfaces, as botocore ships it: routes, shapes and their limits.

botocore's client checks what is required, types, lower bounds and unions; it lets upper bounds,
patterns and enumerations pass. Here all of them are checked, as the service would.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Protocol, cast

SERVICES = ("bedrock-runtime", "bedrock-agent-runtime", "bedrock", "kendra", "sagemaker-runtime",
            "cloudwatch", "sustainability")  # fmt: skip

Members = Mapping[str, object]


class Shape(Protocol):
    """What is used of a botocore shape; which members there are depends on `type_name`."""

    name: str
    type_name: str
    metadata: Mapping[str, object]
    serialization: Mapping[str, object]
    required_members: Sequence[str]
    members: Mapping[str, Shape]
    member: Shape
    key: Shape
    value: Shape


class _OperationModel(Protocol):
    name: str
    http: Mapping[str, str]
    input_shape: Shape | None
    output_shape: Shape | None
    error_shapes: Sequence[Shape]


class _ServiceModel(Protocol):
    metadata: Mapping[str, str]
    signing_name: str
    operation_names: Sequence[str]

    def operation_model(self, name: str) -> _OperationModel: ...


class _Loader(Protocol):
    def load_service_model(self, service_name: str, type_name: str) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a service."""

    service: str
    signing_name: str
    name: str
    method: str
    path: re.Pattern[str]
    target: str
    input_shape: Shape | None
    output_shape: Shape | None
    errors: Mapping[str, Shape]

    @property
    def is_json_rpc(self) -> bool:
        """Whether the operation is named by a header, and not by the path."""
        return bool(self.target)

    @property
    def stream_member(self) -> str | None:
        """Name of the output's event stream; None for an output that comes at once."""
        if self.output_shape is None:
            return None
        members = self.output_shape.members
        return next((k for k, s in members.items() if s.serialization.get("eventstream")), None)


@cache
def operations() -> tuple[Operation, ...]:
    """Return the operations of all services that answer JSON."""
    return tuple(op for service in SERVICES for op in operations_of(service))


@cache
def operations_of(service: str) -> tuple[Operation, ...]:
    """Return the operations of a service."""
    get_session = importlib.import_module("botocore.session").get_session
    loader = cast("_Loader", get_session().get_component("data_loader"))
    make = cast(
        "Callable[[object, str], _ServiceModel]",
        importlib.import_module("botocore.model").ServiceModel,
    )
    model = make(loader.load_service_model(service, "service-2"), service)
    return tuple(_operation(service, model, name) for name in model.operation_names)


def operation(name: str) -> Operation:
    """Return the operation called `Operation`, or `service.Operation` where several have it."""
    service, _, plain = name.rpartition(".")
    found = [o for o in operations() if o.name == plain and service in {"", o.service}]
    if len(found) != 1:
        services = [f"{o.service}.{o.name}" for o in found]
        raise AssertionError(f"operation {name!r}: there are {services or 'none'}")
    return found[0]


def _operation(service: str, model: _ServiceModel, name: str) -> Operation:
    op = model.operation_model(name)
    prefix = model.metadata.get("targetPrefix", "")
    uri = re.sub(r"\\\{([A-Za-z]+)\\\}", r"(?P<\1>[^/]+)", re.escape(op.http["requestUri"]))
    return Operation(
        service=service,
        signing_name=model.signing_name,
        name=name,
        method=op.http["method"],
        path=re.compile(uri),
        target=f"{prefix}.{name}" if prefix else "",
        input_shape=op.input_shape,
        output_shape=op.output_shape,
        errors={shape.name: shape for shape in op.error_shapes},
    )


def wire_name(shape: Shape, member: str) -> str:
    """Return what a member is called in JSON or as a header."""
    return str(shape.members[member].serialization.get("name", member))


def location(shape: Shape, member: str) -> str:
    """Return where a member travels: `uri`, `querystring`, `header`, `statusCode` or `body`."""
    return str(shape.members[member].serialization.get("location", "body"))


def problems(shape: Shape, value: object, path: str = "") -> Iterator[str]:
    """Yield what the service would refuse in a value."""
    if shape.metadata.get("document"):
        return
    check = {
        "structure": _structure, "list": _list, "map": _map, "string": _string, "blob": _blob,
        "integer": _number, "long": _number, "float": _number, "double": _number,
    }.get(shape.type_name)  # fmt: skip
    if check is not None:
        yield from check(shape, value, path)
    elif shape.type_name == "boolean" and not isinstance(value, bool):
        yield f"{path}: {type(value).__name__} is no boolean"
    elif shape.type_name == "timestamp" and not isinstance(value, int | float | datetime):
        yield f"{path}: {type(value).__name__} is no time"


def _structure(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path}: {type(value).__name__} is no structure"
        return
    given = cast("Members", value)
    if shape.metadata.get("union") and len(given) != 1:
        yield f"{path}: a union has one member, not {sorted(given)}"
    yield from (f"{path}.{name}: required" for name in shape.required_members if name not in given)
    for name, member in given.items():
        if name not in shape.members:
            yield f"{path}.{name}: unknown member"
        else:
            yield from problems(shape.members[name], member, f"{path}.{name}")


def _list(shape: Shape, value: object, path: str) -> Iterator[str]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        yield f"{path}: {type(value).__name__} is no list"
        return
    items = cast("Sequence[object]", value)
    yield from _bounds(shape, len(items), f"{path}: number of items")
    for i, item in enumerate(items):
        yield from problems(shape.member, item, f"{path}[{i}]")


def _map(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path}: {type(value).__name__} is no map"
        return
    pairs = cast("Mapping[object, object]", value)
    yield from _bounds(shape, len(pairs), f"{path}: number of items")
    for key, item in pairs.items():
        yield from problems(shape.key, key, f"{path} key")
        yield from problems(shape.value, item, f"{path}[{key!r}]")


def _string(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path}: {type(value).__name__} is no string"
        return
    yield from _bounds(shape, len(value), f"{path}: length")
    enum = cast("Sequence[str]", shape.metadata.get("enum", ()))
    if enum and value not in enum:
        yield f"{path}: {value!r} is none of {list(enum)}"
    pattern = _pattern(str(shape.metadata.get("pattern", "")))
    if pattern is not None and not pattern.fullmatch(value):
        yield f"{path}: does not match {pattern.pattern[:60]}"


def _blob(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, bytes):
        yield f"{path}: {type(value).__name__} are no bytes"
        return
    yield from _bounds(shape, len(value), f"{path}: length")


def _number(shape: Shape, value: object, path: str) -> Iterator[str]:
    allowed = int if shape.type_name in {"integer", "long"} else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        yield f"{path}: {type(value).__name__} is no {shape.type_name}"
        return
    yield from _bounds(shape, cast("float", value), path)


def _bounds(shape: Shape, value: float, what: str) -> Iterator[str]:
    low, high = (cast("float | None", shape.metadata.get(name)) for name in ("min", "max"))
    if (low is not None and value < low) or (high is not None and value > high):
        yield f"{what} {value}; allowed: {low} to {high}"


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    """Compile a pattern; None without one, or with classes that only Java knows."""
    return None if not text or "\\p" in text or "\\P" in text else re.compile(text)


def decode(shape: Shape, value: object) -> object:
    """Return JSON as a client would have given it: names of members, blobs as bytes."""
    if isinstance(value, dict):
        return _decode_pairs(shape, cast("dict[str, object]", value))
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [decode(shape.member, x) for x in items] if shape.type_name == "list" else items
    if isinstance(value, str) and shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    if isinstance(value, str) and _is_iso_time(shape):
        return datetime.fromisoformat(value)
    return value


def _is_iso_time(shape: Shape) -> bool:
    form = shape.serialization.get("timestampFormat")
    return shape.type_name == "timestamp" and form == "iso8601"


def _decode_pairs(shape: Shape, given: dict[str, object]) -> object:
    if shape.type_name == "map":
        return {k: decode(shape.value, item) for k, item in given.items()}
    if shape.type_name != "structure" or _is_document(shape):
        return given
    names = {wire_name(shape, member): member for member in shape.members}
    return {
        names.get(k, k): decode(shape.members[names[k]], v) if k in names else v
        for k, v in given.items()
    }


def encode(shape: Shape, value: object) -> object:
    """Return a checked value as JSON can hold it."""
    if shape.type_name == "structure" and not _is_document(shape):
        given = cast("Members", value)
        return {
            wire_name(shape, name): encode(shape.members[name], v)
            for name, v in given.items()
            if location(shape, name) == "body"
        }
    if shape.type_name == "list":
        return [encode(shape.member, item) for item in cast("Sequence[object]", value)]
    if shape.type_name == "map":
        pairs = cast("Members", value)
        return {k: encode(shape.value, item) for k, item in pairs.items()}
    if shape.type_name == "blob":
        return base64.b64encode(cast("bytes", value)).decode()
    if isinstance(value, datetime):
        return value.isoformat() if _is_iso_time(shape) else value.timestamp()
    return value


def _is_document(shape: Shape) -> bool:
    return bool(shape.metadata.get("document"))


def to_json(shape: Shape | None, value: object) -> bytes:
    """Return a checked value as the body of a message."""
    return b"{}" if shape is None else json.dumps(encode(shape, value)).encode()
