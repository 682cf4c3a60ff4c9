"""Lists in text without markup: numbered steps, and bullets that a colon introduces.

Only what hardly anybody writes by chance counts: numbers or letters in sequence from the first one,
at the left edge of lines of the same indentation. Numbered sections, which have running text
between them, are none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ragkit.text.lines import raw_lines
from ragkit.types import Part, PartKind

MAX_STEPS = 40
"""A longer enumeration is a text with numbered paragraphs, which nobody needs as a whole."""

_MAX_LEVELS = 10
_TAB_WIDTH = 4
_MARKER = re.compile(r"[ \t]*(?:([0-9]{1,3}|[A-Za-z])([.)])|([-*•·–]))[ \t]+(?=\S)")
_FIRST = frozenset({"1", "a", "A"})
_COLONS = (":", "：")

_Kind: TypeAlias = Literal["list", "procedure", "item", "step", "paragraph"]


def plain_list_parts(text: str) -> tuple[Part, ...]:
    """Return the lists of a text without markup, with their items and the items' paragraphs."""
    reader = _Reader()
    for position, line in raw_lines(text):
        if line.strip():
            reader.read(position, line)
        else:
            reader.is_after_blank = True
    return tuple(_parts(reader.drafts))


def _parts(drafts: list[_Draft]) -> Iterator[Part]:
    """Yield what belongs to real lists: of two items or more, of which not too many are steps."""
    index: dict[int, int] = {}
    for draft in drafts:
        parent = draft.parent
        if draft.kind in {"list", "procedure"}:
            if not 1 < draft.n_items <= (MAX_STEPS if draft.kind == "procedure" else math.inf):
                continue
            # A list in an item that is none stands in what that one stands in.
            while parent is not None and id(parent) not in index:
                parent = parent.parent
        elif id(parent) not in index:
            continue
        kind: PartKind = draft.kind
        outer = None if parent is None else index[id(parent)]
        index[id(draft)] = len(index)
        yield Part(start=draft.start, end=draft.end, kind=kind, parent=outer)


@dataclass(slots=True)
class _Draft:
    start: int
    end: int
    kind: _Kind
    parent: _Draft | None
    n_items: int = 0


@dataclass(slots=True)
class _Open:
    """An open list with its last item, and the item's last paragraph if it is not its own text."""

    list: _Draft
    item: _Draft
    indent: int
    style: str
    value: str
    paragraph: _Draft | None = None


@dataclass(slots=True)
class _Reader:
    drafts: list[_Draft] = field(default_factory=list[_Draft])
    open: list[_Open] = field(default_factory=list[_Open])
    is_after_blank: bool = True
    is_introduced: bool = False

    def read(self, start: int, line: str) -> None:
        """Take a line with words."""
        marker = _MARKER.match(line)
        indent = _width(line)
        if not (marker and self._take_item(start, indent, marker)):
            self._take_text(start + len(line) - len(line.lstrip()), indent)
        end = start + len(line.rstrip())
        for inner in self.open:
            inner.list.end = inner.item.end = end
        if self.open and self.open[-1].paragraph:
            self.open[-1].paragraph.end = end
        self.is_after_blank, self.is_introduced = False, line.rstrip().endswith(_COLONS)

    def _take_item(self, start: int, indent: int, marker: re.Match[str]) -> bool:
        value, sign, bullet = marker.groups()
        style = bullet or f"{'1' if value.isdecimal() else 'a'}{sign}"
        start += len(marker[0]) - len(marker[0].lstrip())
        depth = sum(inner.indent < indent for inner in self.open)
        same = self.open[depth] if depth < len(self.open) else None
        if same and same.indent == indent and same.style == style and _follows(value, same.value):
            del self.open[depth + 1 :]
            same.item = self._draft(start, "step" if value else "item", same.list)
            same.list.n_items += 1
            same.value, same.paragraph = value or "", None
            return True
        if not self._may_start(value, depth):
            return False
        del self.open[depth:]
        outer = self.open[-1].item if self.open else None
        new = self._draft(start, "procedure" if value else "list", outer)
        new.n_items = 1
        item = self._draft(start, "step" if value else "item", new)
        self.open.append(_Open(new, item, indent, style, value or ""))
        return True

    def _may_start(self, value: str | None, depth: int) -> bool:
        """Whether a list begins at a line: below a colon, a blank line, or inside another list."""
        if depth or self.is_introduced:
            return depth < _MAX_LEVELS and (value is None or value in _FIRST)
        return self.is_after_blank and value in _FIRST

    def _take_text(self, start: int, indent: int) -> None:
        if not self.is_after_blank:
            return  # It goes on with what the line above belongs to.
        while self.open and self.open[-1].indent >= indent:
            self.open.pop()
        if self.open:
            inner = self.open[-1]
            inner.paragraph = self._draft(start, "paragraph", inner.item)

    def _draft(self, start: int, kind: _Kind, parent: _Draft | None) -> _Draft:
        draft = _Draft(start, start, kind, parent)
        self.drafts.append(draft)
        return draft


def _follows(value: str | None, before: str) -> bool:
    """Whether a number or letter is the next one; bullets follow one another."""
    if value is None:
        return True
    if value.isdecimal():
        return int(value) == int(before) + 1
    return ord(value) == ord(before) + 1


def _width(line: str) -> int:
    before = line[: len(line) - len(line.lstrip())]
    return len(before) + before.count("\t") * (_TAB_WIDTH - 1)
