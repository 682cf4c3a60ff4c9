"""Lists in OpenDocument files, and what stands before their items."""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.loading.blocks import Marker
from ragkit.loading.numbering import numeral
from ragkit.loading.odf_styles import Styles

_MAX_KNOWN = 10_000


@dataclass(slots=True)
class _List:
    id: str
    style: str
    takes_marker: bool = False
    in_item: bool = False


class Lists:
    """Tracks the open lists, and counts their items."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._open: list[_List] = []
        self._counts: dict[tuple[str, int], int] = {}
        self._ids: dict[str, str] = {}
        self._last_of: dict[str, str] = {}
        self._n_lists = 0

    @property
    def in_item(self) -> bool:
        """Whether an item is open."""
        return bool(self._open) and self._open[-1].in_item

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take the start of a list or an item."""
        if name == "list":
            self._enter_list(attributes)
        elif self._open:
            inner = self._open[-1]
            inner.in_item = True
            inner.takes_marker = name == "list-item"
            start = attributes.get("start-value", "")
            if start.isascii() and start.isdecimal() and len(start) < 9:
                self._counts[inner.id, len(self._open) - 1] = int(start) - 1

    def _enter_list(self, attributes: dict[str, str]) -> None:
        level, outer = len(self._open), self._open[-1] if self._open else None
        style = attributes.get("style-name", "") or (outer.style if outer else "")
        goes_on = attributes.get("continue-numbering", "") == "true"
        known = self._ids.get(attributes.get("continue-list", ""))
        if outer:
            list_id = outer.id
        elif known or (goes_on and style in self._last_of):
            list_id, goes_on = known or self._last_of[style], True
        else:
            self._n_lists += 1
            list_id = str(self._n_lists)
        if not goes_on:
            self._counts[list_id, level] = self._styles.level(style, level).start - 1
        if not outer and len(self._ids) < _MAX_KNOWN:
            self._last_of[style] = list_id
            if "id" in attributes:
                self._ids[attributes["id"]] = list_id
        self._open.append(_List(list_id, style))

    def leave(self, name: str) -> None:
        """Take the end of a list or an item."""
        if not self._open:
            return
        if name == "list":
            self._open.pop()
        else:
            self._open[-1].in_item = self._open[-1].takes_marker = False

    def marker(self) -> Marker | None:
        """Return what stands before a paragraph, None for one that begins no item."""
        if not self._open or not self._open[-1].takes_marker:
            return None
        inner, at = self._open[-1], len(self._open) - 1
        inner.takes_marker = False
        level = self._styles.level(inner.style, at)
        if level.numerals is None:
            return Marker(text="- ", is_number=False, number_id=inner.id, level=at)
        key = inner.id, at
        self._counts[key] = self._counts.get(key, level.start - 1) + 1
        first = max(0, at + 1 - level.n_shown)
        numbers = ".".join(self._number(inner, above) for above in range(first, at + 1))
        text = f"{level.before}{numbers}{level.behind}".strip()
        return Marker(text=f"{text} ", is_number=True, number_id=inner.id, level=at)

    def _number(self, inner: _List, at: int) -> str:
        level = self._styles.level(inner.style, at)
        return numeral(self._counts.get((inner.id, at), level.start), level.numerals or "1")
