"""What a chunker has to know of a document: its units, and where it may be cut.

A document may have millions of units, marks and parts, so each is told of a stretch at a time.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence

from ragkit.text.columns import MARK_KINDS, PART_KINDS, mark_columns, part_columns
from ragkit.text.sentences import APART, PARAGRAPH, SECTION, each_sentence, trimmed
from ragkit.types import Document, Mark, Span, Unit

_LONGEST_ROW = 1000
"""Characters; what is longer is cut as running text."""

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_CUT_BEFORE = {MARK_KINDS.index("heading"), MARK_KINDS.index("page")}
_ROW, _NAV = MARK_KINDS.index("row"), PART_KINDS.index("nav")


class Outline:
    """A document's units, marks and boundaries.

    Args:
        document: Any.
        with_parts: Whether its parts, if there are any, decide what a unit is; else all is cut as
            running text.

    Attributes:
        text: The document's.
        has_parts: Whether there are such parts.
    """

    def __init__(self, document: Document, *, with_parts: bool) -> None:
        self.text = document.text
        self.has_parts = with_parts and len(document.parts) > 0
        self._marks = mark_columns(document.marks)
        self._parts = part_columns(document.parts if self.has_parts else ())
        starts, ends, kinds = self._parts.starts, self._parts.ends, self._parts.kinds
        nav = [i for i, kind in enumerate(kinds) if kind == _NAV]
        self._around_nav = array("I", sorted([starts[i] for i in nav] + [ends[i] for i in nav]))

    def units(self) -> Iterator[Unit]:
        """Yield the units in order; without parts they are rows and sentences of running text."""
        if self.has_parts:
            from ragkit.text.units import document_units  # only ingesting needs it

            return document_units(self.text, self._parts)
        return (Unit(start=start, end=end) for start, end in self._sentences())

    def _sentences(self) -> Iterator[Span]:
        """Yield sentences that never cross a mark; a table row is one."""
        at, kind, end = 0, -1, len(self.text)
        for start, its_kind in zip(self._marks.starts, self._marks.kinds, strict=True):
            if at < start < end:
                yield from self._between(at, start, kind)
                at = start
            if start == at:
                kind = its_kind
        yield from self._between(at, end, kind)

    def _between(self, start: int, end: int, kind: int) -> Iterable[Span]:
        if kind != _ROW or end - start > _LONGEST_ROW:
            return each_sentence(self.text, start, end)
        first, last = trimmed(self.text, start, end)
        return [(first, last)] if first < last else []

    def marks_of(self, start: int, end: int) -> Sequence[Mark]:
        """Return the marks inside of a span, preceded by the one that applies at its start."""
        first = bisect_right(self._marks.starts, start)
        return self._marks[max(0, first - 1) : bisect_left(self._marks.starts, end, first)]

    def boundaries(
        self, start: int, end: int, introduced: Collection[int]
    ) -> list[tuple[int, int]]:
        """Return offset and strength of the boundaries from `start` to `end`, in order.

        With parts they are those between parts of the outermost level, and around navigation.
        `introduced` is where units start that need the one before them: what a unit needs should
        stand in its chunk, so there is none after it.
        """
        starts, kinds = self._marks.starts, self._marks.kinds
        marks = range(*_stretch(starts, start, end))
        cut_before = [(starts[i], SECTION) for i in marks if kinds[i] in _CUT_BEFORE]
        if not self.has_parts:
            blank = _BLANK_LINE.finditer(self.text, start, end)
            between = [match.end() for match in blank]
            between += [starts[i] for i in marks if kinds[i] not in _CUT_BEFORE]
            return sorted([*cut_before, *((at, PARAGRAPH) for at in between)])
        starts, parents = self._parts.starts, self._parts.parents
        outermost = (starts[i] for i in range(*_stretch(starts, start, end)) if parents[i] < 0)
        nav = self._around_nav[slice(*_stretch(self._around_nav, start, end))]
        between = [at for at in outermost if at not in introduced]
        return sorted(
            [*cut_before, *((at, APART) for at in nav), *((at, PARAGRAPH) for at in between)]
        )


def _stretch(offsets: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """Return which of sorted offsets are those from `start` to `end`."""
    return bisect_left(offsets, start), bisect_right(offsets, end)
