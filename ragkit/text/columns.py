"""Marks and parts of a text as columns of numbers: 13 bytes each, a tenth of what objects take.

A text of eight megabytes may have a million of them.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar, cast, get_args, overload

from ragkit.types import Location, Mark, MarkKind, Part, PartKind

MARK_KINDS: tuple[MarkKind, ...] = get_args(MarkKind)
PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)
_MARK_NUMBERS = {kind: number for number, kind in enumerate(MARK_KINDS)}
_PART_NUMBERS = {kind: number for number, kind in enumerate(PART_KINDS)}
ROW = "#"
"""Stands for the number of a row in the cells of a location that many rows share."""

_T = TypeVar("_T")


class Columns(Sequence[_T]):
    """A sequence whose values are made when they are asked for; a tuple of them is equal to it."""

    @abstractmethod
    def value(self, index: int) -> _T:
        """Return the value at an index that is not negative."""

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | Sequence[_T]:
        """Return a value, or some of them."""
        found = range(len(self))[index]
        return self.value(found) if isinstance(found, int) else tuple(map(self.value, found))

    def __iter__(self) -> Iterator[_T]:
        """Yield the values."""
        return map(self.value, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether the values are the same."""
        if not isinstance(other, Sequence):
            return False
        return tuple(self) == tuple(cast("Sequence[object]", other))

    __hash__ = None  # type: ignore[assignment]


class MarkColumns(Columns[Mark]):
    """Marks; the locations that are alike are kept once."""

    def __init__(self) -> None:
        self.starts, self.places, self.rows = array("I"), array("I"), array("I")
        self.kinds = bytearray()
        self.locations: list[Location] = []
        self._known: dict[Location, int] = {}

    def append(self, start: int, kind: MarkKind, location: Location, row: int = 0) -> None:
        """Add a mark; `ROW` in the location's cells stands for the row, unless that is 0."""
        place = self._known.setdefault(location, len(self.locations))
        if place == len(self.locations):
            self.locations.append(location)
        self.starts.append(start)
        self.kinds.append(_MARK_NUMBERS[kind])
        self.places.append(place)
        self.rows.append(row)

    def cut(self, n: int) -> None:
        """Keep only the first n marks."""
        for column in (self.starts, self.places, self.rows, self.kinds):
            del column[n:]

    def __len__(self) -> int:
        """Return the number of marks."""
        return len(self.kinds)

    def value(self, index: int) -> Mark:
        """Return a mark."""
        location, row = self.locations[self.places[index]], self.rows[index]
        if row and location.cells:
            location = replace(location, cells=location.cells.replace(ROW, str(row)))
        return Mark(start=self.starts[index], location=location, kind=MARK_KINDS[self.kinds[index]])


class PartColumns(Columns[Part]):
    """Parts; what has been added can still be changed."""

    def __init__(self) -> None:
        self.starts, self.ends, self.parents = array("I"), array("I"), array("i")
        self.kinds = bytearray()

    def append(self, start: int, end: int, kind: PartKind, parent: int | None) -> int:
        """Add a part and return its index."""
        self.starts.append(start)
        self.ends.append(end)
        self.kinds.append(_PART_NUMBERS[kind])
        self.parents.append(-1 if parent is None else parent)
        return len(self.kinds) - 1

    def change(self, index: int, *, end: int | None = None, kind: PartKind | None = None) -> None:
        """Give a part another end or kind."""
        if end is not None:
            self.ends[index] = end
        if kind is not None:
            self.kinds[index] = _PART_NUMBERS[kind]

    def cut(self, n: int) -> None:
        """Keep only the first n parts."""
        for column in (self.starts, self.ends, self.parents, self.kinds):
            del column[n:]

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self.kinds)

    def of_kind(self, kind: PartKind) -> Iterator[Part]:
        """Yield the parts of a kind."""
        number = _PART_NUMBERS[kind]
        return (self.value(i) for i, other in enumerate(self.kinds) if other == number)

    def value(self, index: int) -> Part:
        """Return a part."""
        parent = self.parents[index]
        return Part(
            start=self.starts[index],
            end=self.ends[index],
            kind=PART_KINDS[self.kinds[index]],
            parent=None if parent < 0 else parent,
        )


def mark_columns(marks: Sequence[Mark]) -> MarkColumns:
    """Return marks as columns."""
    if isinstance(marks, MarkColumns):
        return marks
    columns = MarkColumns()
    for mark in marks:
        columns.append(mark.start, mark.kind, mark.location)
    return columns


def part_columns(parts: Sequence[Part]) -> PartColumns:
    """Return parts as columns."""
    if isinstance(parts, PartColumns):
        return parts
    columns = PartColumns()
    for part in parts:
        columns.append(part.start, part.end, part.kind, part.parent)
    return columns


def columns_of(marks: MarkColumns, parts: PartColumns) -> list[array[int] | bytearray]:
    """Return all columns of both: four of marks, four of parts."""
    return [
        marks.starts, marks.places, marks.rows, marks.kinds,
        parts.starts, parts.ends, parts.parents, parts.kinds,
    ]  # fmt: skip
