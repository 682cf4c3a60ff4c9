"""Reading JSON and TOML from outside within bounds, and writing JSON that is safe to print.

Some values that Python's own readers accept would fail later and are rejected: numbers that are not
finite (RFC 8259, section 6, has none), nesting that exhausts the stack, halves of surrogate pairs,
which UTF-8 cannot encode. Each is a `ValueError` whose message names the value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Never, cast

from ragkit.narrowing import is_array, is_object
from ragkit.text.printable import escape_in_json

if TYPE_CHECKING:
    from ragkit.types import Json

MAX_DEPTH = 200
"""Nesting depth of objects and lists; deeper is an attack or a mistake."""

_SHOWN_CHARACTERS = 40
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NOT_FINITE = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|-?Infinity|NaN')


class TooDeepError(ValueError):
    """Data is nested deeper than `MAX_DEPTH`."""

    def __init__(self) -> None:
        super().__init__(f"nested deeper than {MAX_DEPTH}")


def read_json(data: str | bytes) -> object:
    """Return the value of JSON text.

    Raises:
        ValueError: it is not JSON, or holds a number that is not finite or has more than 4,300
            digits, half of a surrogate pair, or nesting deeper than `MAX_DEPTH` (`TooDeepError`).
    """
    text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
    _check_unicode(text)
    value = _decoded(_DECODER, text.removeprefix("\ufeff"))
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if _SURROGATE_ESCAPE.search(text) is not None:
        # A pair of escapes is one character; half of a pair shows only after decoding.
        _check_unicode(json.dumps(value, ensure_ascii=False))
    return value


def check_json(value: object) -> None:
    """Raise `ValueError` for a value that `read_json` would not return as it is."""
    try:
        text = json.dumps(value)
    except RecursionError:
        raise TooDeepError from None
    except TypeError as error:
        raise ValueError(str(error)) from error
    read_json(text)


def read_answer_json(data: str | bytes) -> object:
    """Return the value of a server's JSON, so that no paid answer is lost to an odd number.

    Numbers of more than 4,300 digits become None; numbers that are not finite, and halves of
    surrogate pairs, stay as Python reads them.

    Raises:
        ValueError: it is not JSON, or is nested deeper than Python reads (`TooDeepError`).
    """
    if isinstance(data, bytes):
        data = data.decode(json.detect_encoding(data), "surrogatepass")
    return _decoded(_ANSWER_DECODER, data)


def read_toml(data: str | bytes) -> dict[str, object]:
    """Return the tables of TOML text.

    Raises:
        ValueError: it is not TOML, or holds a number that is not finite or beyond 64 bits, or
            nesting deeper than `MAX_DEPTH` (`TooDeepError`).
    """
    import tomllib

    try:
        tables = tomllib.loads(data if isinstance(data, str) else data.decode("utf-8"))
    except RecursionError:
        raise TooDeepError from None
    except ValueError as error:
        if isinstance(error, tomllib.TOMLDecodeError | UnicodeDecodeError):
            raise
        raise ValueError("a number has more than 4,300 digits") from None
    _check_depth(tables)
    for level in _levels(tables):
        for value in level:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{value} is not a finite number")
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"{_shortened(hex(value))} is beyond 64 bits")
    return tables


def as_object(value: object) -> Mapping[str, Json]:
    """Return a JSON object; raises `ValueError` for anything else, as its siblings do."""
    if not isinstance(value, Mapping):
        raise _not_a("object", value)
    return cast("Mapping[str, Json]", value)


def as_list(value: object) -> Sequence[Json]:
    """Return a JSON list."""
    if not isinstance(value, list | tuple):
        raise _not_a("list", value)
    return cast("Sequence[Json]", value)


def as_objects(value: object) -> list[Mapping[str, Json]]:
    """Return a JSON list of objects."""
    return [as_object(item) for item in as_list(value)]


def as_number(value: object) -> float:
    """Return a JSON number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _not_a("number", value)
    return value


def as_whole(value: object) -> int:
    """Return a JSON number that is whole."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _not_a("whole number", value)
    return value


def number_or_none(value: object) -> float | None:
    """Return a JSON number, or None for null."""
    return None if value is None else as_number(value)


def _not_a(kind: str, value: object) -> ValueError:
    return ValueError(f"{_shortened(repr(value))} is not a JSON {kind}")


def json_line(data: object) -> str:
    r"""Return JSON on one line that is safe to print: no character in it controls a terminal.

    Such characters are `\uXXXX` escapes, other Unicode stays readable. Numbers that are not finite,
    which an old store may hold, are null.
    """
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(data, ensure_ascii=False)
        text = _NOT_FINITE.sub(lambda match: match[1] or "null", text)
    return escape_in_json(text)


def _decoded(decoder: json.JSONDecoder, text: str) -> object:
    try:
        value: object = decoder.decode(text)
    except RecursionError:
        raise TooDeepError from None
    return value


def _finite(literal: str) -> float:
    number = float(literal)
    return number if math.isfinite(number) else _refuse(literal)


def _refuse(literal: str) -> Never:
    raise ValueError(f"{_shortened(literal)} is not a finite number")


def _whole(literal: str) -> int:
    try:
        return int(literal)
    except ValueError:
        raise ValueError(f"{_shortened(literal)} has {len(literal):,} digits") from None


def _whole_or_none(literal: str) -> int | None:
    try:
        return int(literal)
    except ValueError:
        return None


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse, parse_int=_whole)
# The declared type of `parse_int` is narrower than what the decoder accepts.
_ANSWER_DECODER = json.JSONDecoder(parse_int=cast("type[int]", _whole_or_none))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair, which is no character") from None


def _check_depth(value: object) -> None:
    if any(depth > MAX_DEPTH for depth, _ in enumerate(_levels(value))):
        raise TooDeepError


def _levels(value: object) -> Iterator[list[object]]:
    """Yield the values at each nesting depth, from the outermost inwards."""
    level = [value]
    while level:
        yield level
        level = [inner for outer in level for inner in _inside(outer)]


def _inside(value: object) -> Iterator[object]:
    if is_object(value):
        yield from value.values()
    elif is_array(value):
        yield from value
