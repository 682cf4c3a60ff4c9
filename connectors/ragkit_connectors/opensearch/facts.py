"""Metadata as terms of one field, so that filters work for keys and values of any kind."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence

from ragkit.types import Metadata

_COMPARED_CHARACTERS = 1_000
_KIND_TEXT, _KIND_NUMBER, _KIND_BOOLEAN, _KIND_NULL = "s", "n", "b", "z"
_SEPARATOR = "\x00"


def facts(metadata: Metadata, prefix: str = "") -> Iterator[str]:
    """Yield a document's metadata as terms that filters match.

    One field of terms instead of one field per key: the number of keys has no limit, and the same
    key may hold text in one document and a number in the next, which a mapping refuses. Terms sort
    as their values do, so that ranges work.
    """
    for key, value in metadata.items():
        name = f"{prefix}{key}"
        yield fact_prefix(name)
        if isinstance(value, Mapping):
            yield from facts(value, f"{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from (f for v in value if (f := fact(name, v)) is not None)
        elif (single := fact(name, value)) is not None:
            yield single


def fact_prefix(name: str) -> str:
    """Return the term that says that a field exists."""
    return f"{_short(name)}{_SEPARATOR}"


def fact(name: str, value: object) -> str | None:
    """Return the term of a field's value; None for a value that no filter compares."""
    kind = kind_of(value)
    if kind is None:
        return None
    if kind == _KIND_TEXT:
        return f"{fact_prefix(name)}{kind}{_short(str(value))}"
    if isinstance(value, int | float) and kind == _KIND_NUMBER:
        return f"{fact_prefix(name)}{kind}{_sortable(value)}"
    return f"{fact_prefix(name)}{kind}{value}"


def kind_of(value: object) -> str | None:
    """Return the letter of a value's kind; values of different kinds are never equal."""
    if isinstance(value, bool):
        return _KIND_BOOLEAN
    if isinstance(value, int | float):
        return _KIND_NUMBER
    if isinstance(value, str):
        return _KIND_TEXT
    return _KIND_NULL if value is None else None


def fact_bounds(name: str, kind: str) -> tuple[str, str]:
    """Return the smallest term of a field and a kind, and the first one past all of them."""
    return f"{fact_prefix(name)}{kind}", f"{fact_prefix(name)}{chr(ord(kind) + 1)}"


def _short(text: str) -> str:
    """Shorten a text that is too long for a term; a digest keeps different texts apart."""
    if len(text) <= _COMPARED_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_COMPARED_CHARACTERS]}{digest}"


def _sortable(number: float) -> str:
    """Return a number as 16 hexadecimal digits in the order of numbers.

    The bits of an IEEE 754 number are in order once the sign is flipped, for negative numbers all.
    """
    try:
        # Adding zero turns a negative zero into a positive one.
        number = float(number) + 0.0
    except OverflowError:
        number = float("inf") if number > 0 else float("-inf")
    (bits,) = struct.unpack(">Q", struct.pack(">d", number))
    bits = bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63
    return f"{bits:016x}"
