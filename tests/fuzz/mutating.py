"""Strategies: valid things, damaged in the ways in which files and answers are damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

from hypothesis import strategies as st

from ragkit.types import Json

MAX_BYTES = 20_000
_Mutation: TypeAlias = Callable[[st.DrawFn, bytes, Sequence[bytes], Sequence[bytes]], bytes]


def _span(draw: st.DrawFn, data: bytes) -> tuple[int, int]:
    start = draw(st.integers(0, len(data)))
    return start, min(len(data), start + draw(st.integers(0, 40)))


def _flip(draw: st.DrawFn, data: bytes, _s: Sequence[bytes], _w: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = draw(st.integers(0, len(data) - 1))
    return data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]


def _cut_out(draw: st.DrawFn, data: bytes, _s: Sequence[bytes], _w: Sequence[bytes]) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[end:]


def _cut_off(draw: st.DrawFn, data: bytes, _s: Sequence[bytes], _w: Sequence[bytes]) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _repeat(draw: st.DrawFn, data: bytes, _s: Sequence[bytes], _w: Sequence[bytes]) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[start:end] * draw(st.integers(2, 300)) + data[end:]


def _splice(draw: st.DrawFn, data: bytes, seeds: Sequence[bytes], _w: Sequence[bytes]) -> bytes:
    other = draw(st.sampled_from(seeds))
    head = data[: draw(st.integers(0, len(data)))]
    return head + other[draw(st.integers(0, len(other))) :]


def _insert(draw: st.DrawFn, data: bytes, _s: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = draw(st.integers(0, len(data)))
    piece = draw(st.one_of(st.sampled_from(words), st.binary(min_size=1, max_size=6)))
    return data[:at] + piece + data[at:]


_MUTATIONS: tuple[_Mutation, ...] = (_flip, _cut_out, _cut_off, _repeat, _splice, _insert)
_ANYWHERE = (
    b"\0", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1b$B", b"\xed\xa0\x80", b"\xe2\x80\xa8",
    b"\xc2\x85", b"\x0c", b"\x1c", b"\xf0\x9f\x98\x80", b"\xcc\x81", b'"', b"'", b"<", b"{", b"[", b"\\",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """Return one of the seeds with up to six changes, at most 20,000 bytes.

    Args:
        draw: Given by Hypothesis.
        seeds: Valid files.
        words: What means something in them, and may stand anywhere.
    """
    data = draw(st.sampled_from(seeds))
    for mutate in draw(st.lists(st.sampled_from(_MUTATIONS), max_size=6)):
        data = mutate(draw, data, seeds, (*words, *_ANYWHERE))
    return data[:MAX_BYTES]


HOSTILE_NUMBERS: tuple[Json, ...] = (
    0, -1, 1, 7, 0.5, -0.0, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
HOSTILE_TEXTS = (
    "",
    " ",
    "a",
    "\0",
    "\ud800",
    "\x1b[31m",
    "é",
    "\u2028",
    "x" * 3000,
    "1",
    "true",
    "../x",
)
json_scalars: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(HOSTILE_NUMBERS),
    st.sampled_from([float("inf"), float("nan"), 10**400]),
    st.integers(),
    st.floats(),
    st.sampled_from(HOSTILE_TEXTS),
    st.text(max_size=8),
)
json_values: st.SearchStrategy[Json] = st.recursive(
    json_scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


@st.composite
def altered(draw: st.DrawFn, seeds: Sequence[Json]) -> Json:
    """Return one of the values with up to four of its parts replaced, removed or added."""
    value = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        value = _altered(draw, value)
    return value


def _altered(draw: st.DrawFn, value: Json) -> Json:
    if isinstance(value, Mapping) and value:
        key = draw(st.sampled_from(sorted(value)))
        entries = dict(value)
        step = draw(st.integers(0, 5))
        if step == 0:
            del entries[key]
        elif step == 1:
            entries[draw(st.text(max_size=6))] = draw(json_values)
        else:
            entries[key] = _altered(draw, entries[key])
        return entries
    if isinstance(value, list | tuple) and value:
        items = list(cast("Sequence[Json]", value))
        at = draw(st.integers(0, len(items) - 1))
        step = draw(st.integers(0, 4))
        if step == 0:
            del items[at]
        elif step == 1:
            items.insert(at, draw(json_values))
        else:
            items[at] = _altered(draw, items[at])
        return items
    return draw(json_values)


def as_json(value: Json) -> str:
    """Return JSON as other programs may write it: NaN, infinities and half surrogates included."""
    return json.dumps(value)


@st.composite
def json_lines(draw: st.DrawFn, seeds: Sequence[Json]) -> bytes:
    """Return JSON Lines of altered values, their bytes damaged in one case of two."""
    values = draw(st.lists(altered(seeds), max_size=5))
    data = "\n".join(as_json(value) for value in values).encode()
    return draw(mutated([data])) if draw(st.booleans()) else data
