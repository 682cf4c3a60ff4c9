"""A text's lines, and its parts while a reader of lines puts them together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ragkit.types import Part, PartKind

MAX_DEPTH = 40
"""Of open parts. No author nests deeper; without a limit a hostile text makes whoever follows a
part's parents take quadratic time."""


class Line(NamedTuple):
    """A line without the white space around it; a blank one has no length.

    `column` is that of its first character, tabs being eight wide.
    """

    start: int
    end: int
    column: int

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing on it."""
        return self.start == self.end


def raw_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the start of each line, and the line without its end.

    All at once, the lines of a large text would take many times its size.
    """
    position = 0
    while position <= len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        yield position, text[position:end]
        position = end + 1


def lines_of(text: str) -> Iterator[Line]:
    """Yield the lines of a text."""
    for position, line in raw_lines(text):
        rest = line.lstrip()
        indent = line[: len(line) - len(rest)]
        start = position + len(indent)
        yield Line(start, start + len(rest.rstrip()), len(indent.expandtabs()))


@dataclass(slots=True)
class OpenPart:
    """A part that the following lines stand in as far as they start at `column` or right of it.

    `awaits_text`: the next paragraph is its own text. `style` is what continues a list, and
    `ordinal` is the number of its last step.
    """

    part: int
    kind: PartKind
    column: int
    awaits_text: bool = False
    style: str = ""
    ordinal: int = 0


class PartBuilder:
    """Puts the parts of a text together in the order of their starts."""

    def __init__(self) -> None:
        self.open: list[OpenPart] = []
        self.kinds: set[PartKind] = set()
        self._parts: list[tuple[int, int, PartKind, int | None]] = []
        self._end = 0

    @property
    def innermost(self) -> OpenPart | None:
        """The part that the next one will stand in."""
        return self.open[-1] if self.open else None

    def add(self, start: int, end: int, kind: PartKind) -> None:
        """Add a part that holds no others."""
        self._append(start, kind)
        self.reach(end)
        self._finish(len(self._parts) - 1)

    def enter(self, start: int, kind: PartKind, column: int, style: str = "") -> OpenPart:
        """Open a part."""
        opened = OpenPart(self._append(start, kind), kind, column, style=style)
        self.open.append(opened)
        return opened

    def leave(self, column: int = -1) -> None:
        """Close the parts that a line starting at this column does not stand in."""
        while self.open and self.open[-1].column > column:
            self.leave_innermost()

    def leave_innermost(self) -> None:
        """Close one part; it ends where the last text that was added ends."""
        self._finish(self.open.pop().part)

    def reach(self, end: int) -> None:
        """Note that the open parts hold the text up to here."""
        self._end = end

    def build(self) -> tuple[Part, ...]:
        """Close all parts and return them."""
        self.leave()
        return tuple(
            Part(start=start, end=end, kind=kind, parent=parent)
            for start, end, kind, parent in self._parts
        )

    def _append(self, start: int, kind: PartKind) -> int:
        self.kinds.add(kind)
        parent = None
        if self.open:
            parent = self.open[-1].part
            self.open[-1].awaits_text = False
        self._parts.append((start, start, kind, parent))
        return len(self._parts) - 1

    def _finish(self, part: int) -> None:
        start, _, kind, parent = self._parts[part]
        self._parts[part] = (start, max(start, self._end), kind, parent)
