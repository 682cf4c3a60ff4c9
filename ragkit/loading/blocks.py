"""The blocks of an office document in the order of its text, and the parts that they make up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ragkit.loading.loaded import Headings, OpenPart, TextBuilder
from ragkit.loading.numbering import indentation
from ragkit.types import MarkKind, PartKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What stands before a list's item; `number_id` names the list, `level` counts from 0."""

    text: str
    is_number: bool
    number_id: str
    level: int


@dataclass(slots=True)
class _OpenList:
    marker: Marker
    part: OpenPart
    item: OpenPart | None = None


@dataclass(slots=True)
class Blocks:
    """Adds blocks to the text.

    Word knows no lists, only paragraphs with numbers: what stands between two items of a list
    belongs to the first if the numbers go on, and it ends the list if not. So it waits until that
    is known. A caption waits for its table, lines of code for the last of them. `slide` is the
    number of the slide whose text it is.
    """

    builder: TextBuilder
    slide: int | None = None
    _headings: Headings = field(default_factory=Headings)
    _lists: list[_OpenList] = field(default_factory=list[_OpenList])
    _waiting: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    _code: list[str] = field(default_factory=list[str])
    _caption: str = ""

    def add_heading(self, text: str, level: int) -> None:
        """Add a heading; it ends whatever is open."""
        self.finish()
        self._headings.enter(level, text)
        self._add(text, "heading", kind="heading")

    def add_paragraph(self, text: str, *, is_in_item: bool = False) -> None:
        """Add running text, of the item that is open if that is known."""
        self._end_code_and_caption()
        if is_in_item:
            self._let_in()
            self._add(text, "paragraph")
        else:
            self._place(partial(self._add, text, "paragraph"))

    def add_code(self, line: str) -> None:
        """Add a line of code; lines that follow each other are one block."""
        self._end_caption()
        if line.strip() or self._code:
            self._code.append(line.rstrip())

    def add_caption(self, text: str) -> None:
        """Add the caption of the table that follows; without one, it is running text."""
        self._end_code_and_caption()
        self._caption = text

    def add_table(self, rows: Sequence[tuple[str, bool]]) -> None:
        """Add a table of rows, each with whether it names the columns."""
        self._end_code()
        caption, self._caption = self._caption, ""
        self._place(partial(self._add_table, caption, rows))

    def add_item(self, text: str, marker: Marker) -> None:
        """Add an item of a list."""
        self._end_code_and_caption()
        if self._waiting and not self._goes_on(marker):
            self.finish()
        self._let_in()
        while self._lists and self._lists[-1].marker.level > marker.level:
            self.builder.close(self._lists.pop().part)
        inner = self._lists[-1] if self._lists else None
        if inner and inner.marker.level == marker.level and not _is_same(inner.marker, marker):
            self.builder.close(self._lists.pop().part)
            inner = None
        if inner is None or inner.marker.level < marker.level:
            part = self.builder.open("procedure" if marker.is_number else "list")
            inner = _OpenList(marker, part)
            self._lists.append(inner)
        self.builder.close(inner.item)
        inner.item = self.builder.open("step" if marker.is_number else "item")
        separator = "\n" + indentation(len(self._lists) - 1)
        self._add(marker.text + text, "paragraph", separator=separator)

    def finish(self) -> None:
        """Add what waits, and end what is open."""
        self._end_code_and_caption()
        if self._lists:
            self.builder.close(self._lists[0].part)
            self._lists.clear()
        self._let_in()

    def _goes_on(self, marker: Marker) -> bool:
        """Whether an item is the next step of an open list."""
        return marker.is_number and any(_is_same(inner.marker, marker) for inner in self._lists)

    def _place(self, block: Callable[[], None]) -> None:
        if self._lists:
            self._waiting.append(block)
        else:
            block()

    def _let_in(self) -> None:
        waiting, self._waiting = self._waiting, []
        for block in waiting:
            block()

    def _end_code_and_caption(self) -> None:
        self._end_code()
        self._end_caption()

    def _end_code(self) -> None:
        if self._code:
            text = "\n".join(self._code)
            self._code.clear()
            self._place(partial(self._add, text, "code", kind="code"))

    def _end_caption(self) -> None:
        if self._caption:
            caption, self._caption = self._caption, ""
            self._place(partial(self._add, caption, "paragraph"))

    def _add_table(self, caption: str, rows: Sequence[tuple[str, bool]]) -> None:
        table = self.builder.open("table")
        self._add(caption, "caption")
        for line, is_header in rows:
            part: PartKind = "header_row" if is_header else "row"
            self._add(line, part, kind="row", separator="\n")
        self.builder.close(table)

    def _add(
        self, text: str, part: PartKind, *, kind: MarkKind = "text", separator: str = "\n\n"
    ) -> None:
        location = self._headings.location
        if self.slide is not None:
            location = replace(location, slide=self.slide)
        self.builder.add(text, location=location, kind=kind, separator=separator, part=part)


def _is_same(first: Marker, second: Marker) -> bool:
    """Whether two items belong to the same list."""
    return first.number_id == second.number_id and first.level == second.level
