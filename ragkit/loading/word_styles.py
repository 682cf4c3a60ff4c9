"""What the styles and the numbering of a Word document say about its paragraphs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from ragkit.loading.numbering import Numerals, numeral
from ragkit.loading.xml_parts import XmlPart

Role: TypeAlias = Literal["code", "caption"]
_V = TypeVar("_V")

MAX_LEVELS = 9
"""Of lists and of headings."""

_HEADING_STYLE = re.compile(r"heading ([1-9])$", re.IGNORECASE)
_HEADING_ID = re.compile(r"heading([1-9])$", re.IGNORECASE)
_CODE_STYLE = re.compile(r"\b(?:code|preformatted|source|listing)", re.IGNORECASE)
_MAX_EXTENDED = 20
"""How many styles one may extend, each the next."""
_MAX_MARKER_CHARACTERS = 50
_NUMERALS: Mapping[str, Numerals] = {
    "lowerLetter": "a", "upperLetter": "A", "lowerRoman": "i", "upperRoman": "I",
}  # fmt: skip


def level_of(value: str) -> int | None:
    """Return a level from 0, None if it is none."""
    return int(value) if re.fullmatch("[0-8]", value) else None


class Styles(XmlPart):
    """Which styles are headings, code, captions or lists: by name, or by the style they extend."""

    def __init__(self) -> None:
        super().__init__()
        self._levels: dict[str, int] = {}
        self._extends: dict[str, str] = {}
        self._roles: dict[str, Role] = {}
        self._lists: dict[str, str] = {}
        self._list_levels: dict[str, int] = {}
        self._style = ""

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        value = attributes.get("val", "")
        level = level_of(value)
        if name == "style":
            self._style = attributes.get("styleId", "")
        elif name == "basedOn":
            self._extends[self._style] = value
        elif name == "outlineLvl" and level is not None:
            self._levels[self._style] = level + 1
        elif name == "numId":
            self._lists[self._style] = value
        elif name == "ilvl" and level is not None:
            self._list_levels[self._style] = level
        elif name == "name":
            self._take_name(value)

    def _take_name(self, name: str) -> None:
        match = _HEADING_STYLE.match(name)
        if match:
            self._levels[self._style] = int(match[1])
        elif name.lower() == "title":
            self._levels[self._style] = 0
        elif name.lower() == "caption":
            self._roles[self._style] = "caption"
        elif _CODE_STYLE.search(name):
            self._roles[self._style] = "code"

    def heading_level(self, style: str) -> int | None:
        """Return a style's heading level, 0 for the document's title, None for body text."""
        match = _HEADING_ID.match(style)
        level = self._inherited(style, self._levels)
        return level if level is not None else int(match[1]) if match else None

    def role(self, style: str) -> Role | None:
        """Return what a style's paragraphs are, None for running text."""
        return self._inherited(style, self._roles)

    def numbering(self, style: str) -> tuple[str, int]:
        """Return the number of a style's list, empty for none, and the level in it."""
        return self._inherited(style, self._lists) or "", self._list_levels.get(style, 0)

    def _inherited(self, style: str, values: Mapping[str, _V]) -> _V | None:
        for _ in range(_MAX_EXTENDED):
            if style in values:
                return values[style]
            style = self._extends.get(style, "")
        return None


@dataclass(slots=True)
class _Level:
    start: int = 1
    format: str = "bullet"
    text: str = ""


class Numbering(XmlPart):
    """Counts the items of lists, and writes their numbers as Word shows them.

    Lists of one definition go on counting where the last one stopped, unless they override the
    start.
    """

    def __init__(self) -> None:
        super().__init__()
        self._levels: dict[tuple[str, str, int], _Level] = {}
        self._definitions: dict[str, str] = {}
        self._starts: dict[tuple[str, int], int] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._owner = ("", "")
        self._level = 0

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        value = attributes.get("val", "")
        if name == "abstractNum":
            self._owner = name, attributes.get("abstractNumId", "")
        elif name == "num":
            self._owner = name, attributes.get("numId", "")
        elif name == "abstractNumId":
            self._definitions[self._owner[1]] = value
        elif name in {"lvl", "lvlOverride"}:
            self._level = level_of(attributes.get("ilvl", "")) or 0
            if name == "lvl":
                self._levels[self._owner[0], self._owner[1], self._level] = _Level()
        elif name == "startOverride" and _is_count(value):
            self._starts[self._owner[1], self._level] = int(value)
        else:
            self._take_property(name, value)

    def _take_property(self, name: str, value: str) -> None:
        level = self._levels.get((self._owner[0], self._owner[1], self._level))
        if level is None:
            return
        if name == "start" and _is_count(value):
            level.start = int(value)
        elif name == "numFmt":
            level.format = value
        elif name == "lvlText":
            level.text = value[:_MAX_MARKER_CHARACTERS]

    def next_marker(self, number_id: str, at: int) -> tuple[str, bool]:
        """Count an item of a list at a level, and return what stands before it.

        Returns:
            The number, or `- ` for a bullet, and whether it is a number.
        """
        level = self._level_of(number_id, at)
        if level is None or level.format in {"bullet", "none"} or "%" not in level.text:
            return "- ", False
        counts = self._counts.setdefault(self._definitions.get(number_id, ""), {})
        start = self._starts.pop((number_id, at), None)
        counts[at] = start if start is not None else counts.get(at, level.start - 1) + 1
        for deeper in range(at + 1, MAX_LEVELS):
            counts.pop(deeper, None)
        shown = re.sub(r"%([1-9])", lambda m: self._number(number_id, int(m[1]) - 1), level.text)
        return f"{' '.join(shown.split())} ", True

    def _level_of(self, number_id: str, at: int) -> _Level | None:
        own = self._levels.get(("num", number_id, at))
        return own or self._levels.get(("abstractNum", self._definitions.get(number_id, ""), at))

    def _number(self, number_id: str, at: int) -> str:
        level = self._level_of(number_id, at) or _Level()
        counts = self._counts[self._definitions.get(number_id, "")]
        return numeral(counts.get(at, level.start), _NUMERALS.get(level.format, "1"))


def _is_count(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 9
