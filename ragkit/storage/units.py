"""Structure as stored: a document's parts, and a chunk's units with their kinds and needs.

Both are JSON, so that every store, also a remote one, keeps them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from ragkit.narrowing import is_array
from ragkit.types import (
    PLACES,
    Chunk,
    Json,
    Location,
    Need,
    NeedRole,
    Part,
    PartKind,
    Span,
    Unit,
    UnitKind,
)

_PART_KINDS: frozenset[str] = frozenset(get_args(PartKind))
_KINDS: frozenset[str] = frozenset(get_args(UnitKind))
_ROLES: frozenset[str] = frozenset(get_args(NeedRole))


def packed_parts(parts: Sequence[Part]) -> list[Json]:
    """Return one list per part: start, end, kind, and its parent's index where it has one."""
    return [
        [part.start, part.end, part.kind, *([] if part.parent is None else [part.parent])]
        for part in parts
    ]


def unpacked_parts(rows: object) -> tuple[Part, ...]:
    """Return what `packed_parts` was given.

    Raises:
        TypeError: the rows make no sense.
        ValueError: the same.
    """
    parts: list[Part] = []
    for start, end, kind, *parent in _rows(rows):
        if kind not in _PART_KINDS or (parent and not 0 <= _number(parent[0]) < len(parts)):
            raise ValueError
        inside = parent[0] if parent else None
        parts.append(Part(start=_number(start), end=_number(end), kind=kind, parent=inside))
    return tuple(parts)


def location_of(place: Mapping[str, Any]) -> Location:
    """Return a location as `Location.to_dict` has it."""
    known = {name: place[name] for name in PLACES if name in place}
    return Location(heading=tuple(place.get("heading", ())), **known)


def packed_units(chunk: Chunk) -> list[Json]:
    """Return one list per unit: its span, then what is known of it.

    That is the kind, the needs and the span of the procedure, as far as there are any. A need is a
    span and a role, and its text only where it is borrowed.
    """
    if not chunk.units:
        return [[start, end] for start, end in chunk.sentences]
    return [_packed(unit, chunk) for unit in chunk.units]


def _packed(unit: Unit, chunk: Chunk) -> list[Json]:
    row: list[Json] = [unit.start, unit.end, unit.kind]
    if unit.needs or unit.procedure:
        row.append([_packed_need(need, chunk) for need in unit.needs])
    if unit.procedure:
        row.append(list(unit.procedure))
    return row


def _packed_need(need: Need, chunk: Chunk) -> list[Json]:
    is_inside = chunk.start <= need.start and need.end <= chunk.end
    return [need.start, need.end, need.role, *([] if is_inside else [need.text])]


def unpacked_units(
    rows: object, *, start: int, text: str
) -> tuple[tuple[Span, ...], tuple[Unit, ...]]:
    """Return spans and units of a chunk's row, where `text` starts at `start`.

    Raises:
        TypeError: the row makes no sense.
        ValueError: the same.
    """
    spans: list[Span] = []
    units: list[Unit] = []
    for first, last, *known in _rows(rows):
        spans.append((_number(first), _number(last)))
        if known:
            units.append(_unit(spans[-1], known, start, text))
    if units and len(units) != len(spans):
        raise ValueError
    return tuple(spans), tuple(units)


def _unit(span: Span, known: Sequence[Any], start: int, text: str) -> Unit:
    kind, needs, procedure = [*known, None, None][:3]
    if kind not in _KINDS:
        raise ValueError
    whole = None
    if procedure is not None:
        whole = _number(procedure[0]), _number(procedure[1])
    return Unit(
        start=span[0],
        end=span[1],
        kind=kind,
        needs=tuple(_need(need, start, text) for need in needs or ()),
        procedure=whole,
    )


def _need(row: Sequence[Any], start: int, text: str) -> Need:
    first, last, role, *borrowed = row
    a, b = _number(first), _number(last)
    if role not in _ROLES:
        raise ValueError
    words = borrowed[0] if borrowed else text[a - start : b - start]
    if not isinstance(words, str) or len(words) != b - a:
        raise ValueError
    return Need(start=a, end=b, role=role, text=words)


def _rows(value: object) -> list[list[Any]]:
    """Return what is read with unknown content; who reads a row checks what is in it."""
    if not is_array(value):
        raise TypeError
    rows: list[Any] = [*value]
    return rows


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value
