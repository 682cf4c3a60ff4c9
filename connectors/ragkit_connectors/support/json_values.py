"""JSON as servers send it, narrowed to what a connector expects: the only reader of it.

A reader of an optional value returns an empty one for anything else; one of a required value
raises `RemoteError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeGuard, cast

from ragkit.errors import RemoteError
from ragkit.text.jsontext import read_answer_json
from ragkit.types import Json, token_count

Record: TypeAlias = Mapping[str, object]

_MESSAGE_CHARACTERS = 200


def is_record(value: object) -> TypeGuard[Record]:
    """Whether a value is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether a value is a JSON list."""
    return isinstance(value, list)


def record(value: object) -> Record:
    """Return a JSON object as it is, and anything else as an empty one."""
    return value if is_record(value) else {}


def items(value: object) -> Sequence[object]:
    """Return a JSON list as it is, and anything else as an empty one."""
    return value if is_list(value) else ()


def records(value: object) -> list[Record]:
    """Return the items of a JSON list as objects."""
    return [record(item) for item in items(value)]


def first_record(value: object) -> Record:
    """Return the first item of a JSON list as an object; empty where there is none."""
    return record(next(iter(items(value)), None))


def text(value: object) -> str:
    """Return a string as it is, and anything else as an empty one."""
    return value if isinstance(value, str) else ""


def text_or_none(value: object) -> str | None:
    """Return a string as it is; None for anything else."""
    return value if isinstance(value, str) else None


def count(value: object) -> int | None:
    """Return a number of something, 0 to 2**53; None for anything else."""
    return token_count(value)


def required_count(values: Record, name: str) -> int:
    """Return a number of something; raises `RemoteError` where it is missing or no count."""
    found = count(values.get(name))
    if found is None:
        raise RemoteError(f"the server's answer has no count {name!r}")
    return found


def number(value: object) -> float | None:
    """Return a number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def required_number(values: Record, name: str) -> float:
    """Return a number as a float; raises `RemoteError` where it is missing or no number."""
    found = number(values.get(name))
    if found is None:
        raise RemoteError(f"the server's answer has no number {name!r}")
    return found


def json_value(value: object) -> Json:
    """Return a part of decoded JSON, typed as such."""
    return cast("Json", value)


def json_record(value: object) -> dict[str, Json]:
    """Return a copy of a JSON object, empty for anything else, its values typed as JSON."""
    return {name: json_value(inner) for name, inner in record(value).items()}


def decode_value(data: object, answer: str = "the server's answer") -> object:
    """Return the value of an answer's JSON; raises `RemoteError`, which names the answer so."""
    try:
        return read_answer_json(data if isinstance(data, bytes | str) else "")
    except ValueError as error:
        raise RemoteError(f"{answer} is not JSON, or it broke off") from error


def decode(data: object) -> Record:
    """Return the JSON object that an answer holds; raises `RemoteError` where it holds none."""
    value = decode_value(data)
    if not is_record(value):
        raise RemoteError("the server's answer is not a JSON object")
    return value


def error_text(body: Record) -> str:
    """Return a server's own words on an error, one short line; empty where it has none."""
    # OpenAI nests the message; vLLM and others have it at the top.
    error = body.get("error", body)
    message = error if isinstance(error, str) else record(error).get("message")
    code = record(error).get("code")
    parts = (part for part in (code, message) if isinstance(part, str) and part)
    return one_line(" ".join(parts), _MESSAGE_CHARACTERS)


def one_line(message: str, most_characters: int) -> str:
    """Return the beginning of a message, with spaces for what cannot be printed."""
    return "".join(c if c.isprintable() else " " for c in message)[:most_characters]
