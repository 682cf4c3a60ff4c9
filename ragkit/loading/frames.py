"""What goes between the process that opens files and the one that parses them.

A frame is two lengths, a JSON object and bytes: a request holds a file, an answer its text, and
where its marks and parts are. Nothing in an answer is trusted: a hostile file may have taken over
the process that wrote it.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import BinaryIO, TypeAlias, get_args

from ragkit.loading.loaded import LoadedText
from ragkit.loading.members import Member, member_name
from ragkit.narrowing import is_array, is_object
from ragkit.text.columns import (
    MARK_KINDS,
    PART_KINDS,
    MarkColumns,
    PartColumns,
    columns_of,
    mark_columns,
    part_columns,
)
from ragkit.types import Dropped, Json, Location

LENGTHS = struct.Struct("!IQ")
"""The lengths of a frame's JSON and of its bytes."""

PIECE_CHARACTERS = 2**20

Take: TypeAlias = Callable[[int], bytearray]
"""Returns the next n bytes of a frame; raises `FrameError` if it has fewer."""

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_PLACES: Mapping[str, type] = {
    "page": int, "slide": int, "sheet": str, "cells": str, "anchor": str, "message": int,
    "cell": int, "time": str,
}  # fmt: skip


class FrameError(ValueError):
    """A frame that is not what it has to be."""


def frame_head(header: Mapping[str, Json], n_bytes: int) -> bytes:
    """Return a frame up to its bytes."""
    text = _ENCODER.encode(header).encode()
    return LENGTHS.pack(len(text), n_bytes) + text


def read_frame(stream: BinaryIO) -> tuple[dict[str, Json], bytes] | None:
    """Return the next frame; None where the stream ends."""
    head = stream.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        return None
    n_text, n_bytes = LENGTHS.unpack(head)
    text, data = stream.read(n_text), stream.read(n_bytes)
    return header_of(text), data


def header_of(text: bytes | bytearray) -> dict[str, Json]:
    """Return a frame's JSON object; raises `FrameError` if it is none."""
    try:
        header: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(str(error)) from None
    if not is_object(header):
        raise FrameError("no object")
    return header


def packed(loaded: LoadedText) -> tuple[dict[str, Json], Iterator[bytes | memoryview], int]:
    """Return an answer's JSON object, and its bytes in pieces with their number.

    The bytes are the columns of the marks and parts, then the text.
    """
    marks, parts = mark_columns(loaded.marks), part_columns(loaded.parts)
    columns = [memoryview(column).cast("B") for column in columns_of(marks, parts)]
    text = loaded.text
    pieces = range(0, len(text), PIECE_CHARACTERS)
    n_text = sum(len(text[at : at + PIECE_CHARACTERS].encode()) for at in pieces)
    header: dict[str, Json] = {
        "title": loaded.title,
        "metadata": loaded.metadata,
        "dropped": {str(why): n for why, n in loaded.dropped.items()},
        "places": [place.to_dict() for place in marks.locations],
        "marks": len(marks),
        "parts": len(parts),
    }
    encoded = (text[at : at + PIECE_CHARACTERS].encode() for at in pieces)
    return header, chain(columns, encoded), n_text + sum(map(len, columns))


def unpacked(header: Mapping[str, Json], n_bytes: int, take: Take) -> LoadedText:
    """Return the loaded file that an answer holds: a JSON object and n bytes.

    Raises:
        FrameError: the answer does not hold one whose marks and parts are in order and inside it.
    """
    title, metadata, places = (header.get(name) for name in ("title", "metadata", "places"))
    n_marks, n_parts = _count(header, "marks"), _count(header, "parts")
    if not (isinstance(title, str) and is_object(metadata) and is_array(places)):
        raise FrameError("no title, metadata or places")
    marks, parts, n_left = MarkColumns(), PartColumns(), n_bytes
    for column, n in zip(columns_of(marks, parts), [n_marks] * 4 + [n_parts] * 4, strict=True):
        n_left -= n * memoryview(column).itemsize
        if n_left < 0:
            raise FrameError("fewer marks and parts than it says")
        # One after the other: a million of each are not to be held twice.
        data = take(n * memoryview(column).itemsize)
        if isinstance(column, array):
            column.frombytes(data)
        else:
            column.extend(data)
    try:
        text = str(take(n_left), "utf-8")
    except UnicodeError:
        raise FrameError("no text") from None
    marks.locations = [_location(place) for place in places]
    _check_marks(marks, len(text))
    _check_parts(parts, len(text))
    return LoadedText(
        text=text,
        title=title,
        marks=marks,
        parts=parts,
        metadata=metadata,
        dropped=_dropped(header.get("dropped")),
    )


def packed_members(members: Sequence[Member]) -> tuple[dict[str, Json], Iterator[bytes], int]:
    """Return an answer that holds files, as `packed` does one that holds a text."""
    named: list[Json] = [[member.name, len(member.data)] for member in members]
    n_bytes = sum(len(member.data) for member in members)
    return {"members": named}, (member.data for member in members), n_bytes


def unpacked_members(header: Mapping[str, Json], n_bytes: int, take: Take) -> list[Member]:
    """Return the files that an answer holds; raises `FrameError` if it holds none such."""
    named, members = header.get("members"), list[Member]()
    taken = dict[str, int]()
    for entry in named if is_array(named) else [None]:
        name, size = entry if is_array(entry) and len(entry) == 2 else (None, None)
        if not isinstance(name, str) or type(size) is not int or not 0 <= size <= n_bytes:
            raise FrameError("no files")
        members.append(Member(member_name(name, taken), bytes(take(size))))
        n_bytes -= size
    return members


def _dropped(counts: object) -> dict[Dropped, int]:
    if not is_object(counts) or not counts.keys() <= set(get_args(Dropped)):
        raise FrameError("no counts of what was dropped")
    return {why: _count(counts, why) for why in get_args(Dropped) if why in counts}


def _count(header: Mapping[str, Json], name: str) -> int:
    n = header.get(name)
    if type(n) is not int or n < 0:
        raise FrameError(f"no number of {name}")
    return n


def _location(place: Json) -> Location:
    if not is_object(place) or not place.keys() <= {*_PLACES, "heading"}:
        raise FrameError("no place")
    heading = place.pop("heading", [])
    names = [name for name in heading if isinstance(name, str)] if is_array(heading) else None
    wrong = [name for name, value in place.items() if type(value) is not _PLACES[name]]
    if wrong or names is None or names != heading:
        raise FrameError("no place")
    return Location(**place, heading=tuple(names))  # type: ignore[arg-type]


def _check_marks(marks: MarkColumns, n_characters: int) -> None:
    starts = marks.starts
    in_order = all(a <= b for a, b in pairwise(starts)) and (
        not starts or starts[-1] < n_characters
    )
    is_known = max(marks.kinds, default=0) < len(MARK_KINDS)
    if not in_order or not is_known or max(marks.places, default=-1) >= len(marks.locations):
        raise FrameError("marks out of order")


def _check_parts(parts: PartColumns, n_characters: int) -> None:
    starts, ends = parts.starts, parts.ends
    if max(parts.kinds, default=0) >= len(PART_KINDS):
        raise FrameError("a part of no kind")
    behind = array("I", bytes(4 * (len(starts) + 1)))  # by parent; the last is that of none
    last = 0
    for index, (start, end, parent) in enumerate(zip(starts, ends, parts.parents, strict=True)):
        if not (-1 <= parent < index and start >= last):
            raise FrameError("parts out of order")
        least, most = (starts[parent], ends[parent]) if parent >= 0 else (0, n_characters)
        if not max(least, behind[parent]) <= start < end <= most:
            raise FrameError("parts that overlap")
        behind[parent], last = end, start
