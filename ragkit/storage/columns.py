"""Many marks and parts as they are stored: columns of numbers, deflated."""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

from ragkit.storage.units import location_of
from ragkit.text.columns import (
    MARK_KINDS,
    PART_KINDS,
    MarkColumns,
    PartColumns,
    columns_of,
    mark_columns,
    part_columns,
)
from ragkit.types import Json, Mark, Part

_MASK = 0xFFFFFFFF
"""Numbers of columns have 32 bits."""


def packed_columns(marks: Sequence[Mark], parts: Sequence[Part]) -> dict[str, Json]:
    """Return many marks and parts in a hundredth of what they take as lists: columns, deflated."""
    own, its = mark_columns(marks), part_columns(parts)
    columns: list[Json] = [_deflated(column) for column in columns_of(own, its)]
    return {"places": [place.to_dict() for place in own.locations], "columns": columns}


def unpacked_columns(packed: Mapping[str, Any]) -> tuple[MarkColumns, PartColumns]:
    """Return what `packed_columns` was given.

    Raises:
        ValueError: it makes no sense.
    """
    marks, parts = MarkColumns(), PartColumns()
    for column, text in zip(columns_of(marks, parts), packed["columns"], strict=True):
        _inflate(text, column)
    marks.locations = [location_of(place) for place in packed["places"]]
    lengths = [len(column) for column in columns_of(marks, parts)]
    if len(set(lengths[:4])) > 1 or len(set(lengths[4:])) > 1:
        raise ValueError
    is_known = max(marks.kinds, default=0) < len(MARK_KINDS)
    is_known &= max(parts.kinds, default=0) < len(PART_KINDS)
    is_known &= max(marks.places, default=-1) < len(marks.locations)
    if not is_known or any(parent >= i for i, parent in enumerate(parts.parents)):
        raise ValueError
    return marks, parts


def _deflated(column: array[int] | bytearray) -> str:
    raw = column
    if isinstance(column, array):
        # Of numbers in order mostly the same steps are left.
        pairs = zip(column, chain((0,), column), strict=False)
        raw = array("I", ((after - before) & _MASK for after, before in pairs))
        if sys.byteorder == "big":
            raw.byteswap()
    return base64.b64encode(zlib.compress(raw)).decode()


def _inflate(text: str, column: array[int] | bytearray) -> None:
    raw = zlib.decompress(base64.b64decode(text))
    if isinstance(column, bytearray):
        column.extend(raw)
        return
    steps = array("I")
    steps.frombytes(raw)
    if sys.byteorder == "big":
        steps.byteswap()
    values = array("I", (value & _MASK for value in accumulate(steps)))
    column.frombytes(values.tobytes())
