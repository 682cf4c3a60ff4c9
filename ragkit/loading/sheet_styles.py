"""Styles and shared strings of a workbook (.xlsx)."""

from __future__ import annotations

import re

from ragkit.loading.loaded import clean, whole_characters
from ragkit.loading.numbers import BUILT_IN, Format, format_of
from ragkit.loading.scripts import LOWERED, RAISED, Scripts
from ragkit.loading.xml_parts import XmlPart

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_OFF = frozenset({"0", "false", "off"})
_SCRIPTS = {"superscript": RAISED, "subscript": LOWERED}
_PLAIN = Format()


def cell_text(text: str) -> str:
    """Return the text of a cell, in which `_x000D_` stands for a character (`ST_Xstring`)."""
    if "_x" in text:
        text = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), text)
        text = whole_characters(text)
    return clean(text).strip()


class Runs:
    """A cell's text, in runs of which some may be raised, or struck out and left out."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._scripts = Scripts()
        self._is_shown = True

    @property
    def text(self) -> str:
        """What was read."""
        return cell_text("".join(self._pieces))

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take the start of an element around text."""
        if name in {"r", "is", "si"}:
            self._scripts.sign, self._is_shown = "", True
        elif name == "vertAlign":
            self._scripts.sign = _SCRIPTS.get(attributes.get("val", ""), "")
        elif name == "rPh" or (name == "strike" and attributes.get("val", "1").lower() not in _OFF):
            self._is_shown = False

    def add(self, text: str) -> None:
        """Take characters."""
        if self._is_shown:
            before = self._pieces[-1] if self._pieces else ""
            self._pieces.append(self._scripts.apart(before, text))


class RichTexts(XmlPart):
    """Reads the texts of all elements of a name."""

    element: str

    def __init__(self) -> None:
        super().__init__()
        self._runs = Runs()
        self._in_text = False

    def begun(self, attributes: dict[str, str]) -> None:
        """Take the attributes of such an element."""

    def ended(self, text: str) -> None:
        """Take the text of one."""
        raise NotImplementedError

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        if name == self.element:
            self._runs = Runs()
            self.begun(attributes)
        elif name == "t":
            self._in_text = True
        else:
            self._runs.enter(name, attributes)

    def leave(self, name: str) -> None:
        """Take an element's end."""
        if name == "t":
            self._in_text = False
        elif name == self.element:
            self.ended(self._runs.text)

    def data(self, text: str) -> None:
        """Take characters."""
        if self._in_text:
            self._runs.add(text)


class Strings(RichTexts):
    """The texts that cells refer to by number."""

    element = "si"

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def ended(self, text: str) -> None:
        """Keep it under its number."""
        self.texts.append(text)


class CellStyles(XmlPart):
    """How cells of a style show numbers, and whether they strike them out."""

    def __init__(self) -> None:
        super().__init__()
        self._codes: dict[str, str] = {str(number): code for number, code in BUILT_IN.items()}
        self._struck_fonts: list[bool] = []
        self._styles: list[tuple[str, str]] = []
        self._formats: dict[str, Format] = {}
        self._struck: set[str] = set()
        self._inside = ""

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        if name in {"numFmts", "fonts", "cellXfs"}:
            self._inside = name
        elif name == "numFmt" and self._inside == "numFmts":
            self._codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif name == "font" and self._inside == "fonts":
            self._struck_fonts.append(False)
        elif name == "strike" and self._inside == "fonts" and self._struck_fonts:
            self._struck_fonts[-1] = attributes.get("val", "1").lower() not in _OFF
        elif name == "xf" and self._inside == "cellXfs":
            self._styles.append((attributes.get("numFmtId", ""), attributes.get("fontId", "")))

    def leave(self, name: str) -> None:
        """Take an element's end."""
        if name == self._inside:
            self._inside = ""

    def close(self) -> None:
        """Resolve the styles: there are few of them, and many cells."""
        struck = {str(i) for i, is_struck in enumerate(self._struck_fonts) if is_struck}
        for index, (number, font) in enumerate(self._styles):
            form = format_of(self._codes.get(number, ""))
            if form != _PLAIN:
                self._formats[str(index)] = form
            if font in struck:
                self._struck.add(str(index))

    def format(self, style: str) -> Format | None:
        """Return how a style shows numbers; None for as they are."""
        return self._formats.get(style)

    def is_struck(self, style: str) -> bool:
        """Whether a style strikes its cells out."""
        return style in self._struck
