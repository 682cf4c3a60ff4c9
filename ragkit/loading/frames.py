"""What goes between the process that opens files and the one that parses them.

A frame is a length, a JSON object and bytes: a request holds a file, an answer its text. Nothing
in an answer is trusted: a hostile file may have taken over the process that wrote it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import BinaryIO, get_args

from ragkit.loading.loaded import LoadedText
from ragkit.narrowing import is_array, is_object
from ragkit.types import Json, Location, Mark, MarkKind, Part, PartKind

LENGTHS = struct.Struct("!IQ")
"""The lengths of a frame's JSON and of its bytes."""

_MARK_KINDS: tuple[MarkKind, ...] = get_args(MarkKind)
_PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)
_PLACES: Mapping[str, type] = {
    "page": int, "slide": int, "sheet": str, "cells": str, "anchor": str,
}  # fmt: skip


class FrameError(ValueError):
    """A frame that is not what it has to be."""


def frame_head(header: Mapping[str, Json], n_bytes: int) -> bytes:
    """Return a frame up to its bytes."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return LENGTHS.pack(len(text), n_bytes) + text


def read_frame(stream: BinaryIO) -> tuple[dict[str, Json], bytes] | None:
    """Return the next frame; None where the stream ends."""
    head = stream.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        return None
    n_text, n_bytes = LENGTHS.unpack(head)
    text, data = stream.read(n_text), stream.read(n_bytes)
    return header_of(text), data


def header_of(text: bytes) -> dict[str, Json]:
    """Return a frame's JSON object; raises `FrameError` if it is none."""
    try:
        header: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(str(error)) from None
    if not is_object(header):
        raise FrameError("no object")
    return header


def packed(loaded: LoadedText) -> dict[str, Json]:
    """Return all of a loaded file but its text, as columns of numbers where there is much."""
    places: dict[Location, int] = {}
    marks, parts = loaded.marks, loaded.parts
    return {
        "title": loaded.title,
        "metadata": loaded.metadata,
        "marks": {
            "start": [mark.start for mark in marks],
            "kind": [_MARK_KINDS.index(mark.kind) for mark in marks],
            "place": [places.setdefault(mark.location, len(places)) for mark in marks],
        },
        "places": [place.to_dict() for place in places],
        "parts": {
            "start": [part.start for part in parts],
            "end": [part.end for part in parts],
            "kind": [_PART_KINDS.index(part.kind) for part in parts],
            "parent": [-1 if part.parent is None else part.parent for part in parts],
        },
    }


def unpacked(header: Mapping[str, Json], data: bytes) -> LoadedText:
    """Return the loaded file that an answer holds.

    Raises:
        FrameError: the answer does not hold one whose marks and parts are in order and inside it.
    """
    try:
        text = data.decode()
    except UnicodeError:
        raise FrameError("no text") from None
    title, metadata = header.get("title"), header.get("metadata")
    if not isinstance(title, str) or not is_object(metadata):
        raise FrameError("no title or metadata")
    return LoadedText(
        text=text,
        title=title,
        marks=_marks(header, len(text)),
        parts=tuple(_parts(header, len(text))),
        metadata=metadata,
    )


def _columns(header: Mapping[str, Json], name: str, *names: str) -> list[list[int]]:
    """Return columns of whole numbers, all of one length."""
    table = header.get(name)
    columns = [table.get(column) if is_object(table) else None for column in names]
    whole = [[n for n in column if type(n) is int] for column in columns if is_array(column)]
    lengths = {len(column) for column in columns if is_array(column)}
    if len(whole) < len(names) or len(lengths) > 1 or {len(column) for column in whole} != lengths:
        raise FrameError(f"no {name}")
    return whole


def _within(numbers: Sequence[int], least: int, below: int) -> bool:
    return not numbers or (least <= min(numbers) and max(numbers) < below)


def _marks(header: Mapping[str, Json], n_characters: int) -> tuple[Mark, ...]:
    starts, kinds, at = _columns(header, "marks", "start", "kind", "place")
    places = header.get("places")
    if not is_array(places):
        raise FrameError("no places")
    locations = [_location(place) for place in places]
    in_order = all(a <= b for a, b in pairwise(starts)) and _within(starts, 0, n_characters)
    known = _within(kinds, 0, len(_MARK_KINDS)) and _within(at, 0, len(locations))
    if not (in_order and known):
        raise FrameError("marks out of order")
    return tuple(
        Mark(start=start, location=locations[place], kind=_MARK_KINDS[kind])
        for start, kind, place in zip(starts, kinds, at, strict=True)
    )


def _location(place: Json) -> Location:
    if not is_object(place) or not place.keys() <= {*_PLACES, "heading"}:
        raise FrameError("no place")
    heading = place.pop("heading", [])
    names = [name for name in heading if isinstance(name, str)] if is_array(heading) else None
    wrong = [name for name, value in place.items() if type(value) is not _PLACES[name]]
    if wrong or names is None or names != heading:
        raise FrameError("no place")
    return Location(**place, heading=tuple(names))  # type: ignore[arg-type]


def _parts(header: Mapping[str, Json], n_characters: int) -> Iterator[Part]:
    columns = _columns(header, "parts", "start", "end", "kind", "parent")
    starts, ends, kinds, _ = columns
    if not (_within(kinds, 0, len(_PART_KINDS)) and all(a <= b for a, b in pairwise(starts))):
        raise FrameError("parts out of order")
    behind: dict[int, int] = {}
    for index, (start, end, kind, parent) in enumerate(zip(*columns, strict=True)):
        if not -1 <= parent < index:
            raise FrameError("a part without its parent")
        least, most = (starts[parent], ends[parent]) if parent >= 0 else (0, n_characters)
        if not max(least, behind.get(parent, 0)) <= start < end <= most:
            raise FrameError("parts that overlap")
        behind[parent] = end
        outer = parent if parent >= 0 else None
        yield Part(start=start, end=end, kind=_PART_KINDS[kind], parent=outer)
