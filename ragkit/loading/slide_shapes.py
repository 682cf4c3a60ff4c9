"""The shapes of a slide (.pptx), as its part has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ragkit.loading.cells import Cell, Row
from ragkit.loading.formulas import Formula
from ragkit.loading.loaded import clean
from ragkit.loading.numbering import Numerals
from ragkit.loading.scripts import LOWERED, RAISED, Scripts
from ragkit.loading.xml_parts import XmlPart

_OFF = frozenset({"0", "false", "off"})
_MAX_SPAN = 1_000
_SHAPES = frozenset({"sp", "graphicFrame", "cxnSp", "pic"})
_NUMERALS: Mapping[str, Numerals] = {
    "alphaLc": "a", "alphaUc": "A", "romanLc": "i", "romanUc": "I",
}  # fmt: skip


@dataclass(slots=True)
class Paragraph:
    """A paragraph in pieces, how deep it stands, and its bullet.

    `bullet` is None where the slide's layout decides. `number` says how a numbered one begins to
    count, and `signs` what stands around its number.
    """

    pieces: list[str] = field(default_factory=list[str])
    level: int = 0
    bullet: Literal["none", "sign", "number"] | None = None
    number: int = 1
    numerals: Numerals = "1"
    signs: tuple[str, str] = ("", ".")
    scripts: Scripts = field(default_factory=Scripts)

    @property
    def text(self) -> str:
        """Its characters."""
        return clean("".join(self.pieces)).strip()


@dataclass(slots=True)
class SlideTable:
    """A table, and whether its first row names the columns."""

    rows: list[Row] = field(default_factory=list[Row])
    has_header: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A part that is shown in a shape, by the id of its relation."""

    kind: Literal["chart", "diagram"]
    id: str


Block: TypeAlias = Paragraph | SlideTable | Reference


@dataclass(slots=True)
class Shape:
    """A shape with what it holds; `placeholder` is what it stands for, empty for nothing."""

    placeholder: str = ""
    is_hidden: bool = False
    blocks: list[Block] = field(default_factory=list[Block])
    n_characters: int = 0

    @property
    def text(self) -> str:
        """The text of its paragraphs."""
        paragraphs = (block.text for block in self.blocks if isinstance(block, Paragraph))
        return "\n".join(text for text in paragraphs if text)


class SlidePart(XmlPart):
    """Collects the shapes of a slide, or of its notes, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[Shape] = []
        self.is_hidden = False
        self._tables: list[SlideTable] = []
        self._paragraph: Paragraph | None = None
        self._n_fallback = 0
        self._in_text = False
        self._is_struck = False
        self._formula = Formula()

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        if self._n_fallback or name == "Fallback":
            self._n_fallback += name == "Fallback"
        elif name == "sld":
            self.is_hidden = attributes.get("show", "1").lower() in _OFF
        elif name in _SHAPES:
            self.shapes.append(Shape())
        elif self.shapes and not self._enter_text(name, attributes):
            self._enter_shape(self.shapes[-1], name, attributes)

    def _enter_shape(self, shape: Shape, name: str, attributes: dict[str, str]) -> None:
        if name == "cNvPr":
            shape.is_hidden = attributes.get("hidden", "0").lower() not in _OFF
        elif name == "ph":
            shape.placeholder = attributes.get("type", "obj")
        elif name == "chart" and "r:id" in attributes:
            shape.blocks.append(Reference("chart", attributes["r:id"]))
        elif name == "relIds" and "r:dm" in attributes:
            shape.blocks.append(Reference("diagram", attributes["r:dm"]))
        elif name == "tbl":
            self._tables.append(SlideTable())
            shape.blocks.append(self._tables[-1])
        elif self._tables:
            self._enter_table(self._tables[-1], name, attributes)

    def _enter_table(self, table: SlideTable, name: str, attributes: dict[str, str]) -> None:
        if name == "tblPr":
            table.has_header = attributes.get("firstRow", "0").lower() not in _OFF
        elif name == "tr":
            table.rows.append(Row())
        elif name == "tc" and table.rows:
            cell = Cell(
                n_columns=_span(attributes.get("gridSpan", "")),
                n_rows=_span(attributes.get("rowSpan", "")),
            )
            row = table.rows[-1]
            row.open_cell = cell
            covered = (attributes.get(merge, "0").lower() for merge in ("hMerge", "vMerge"))
            if all(value in _OFF for value in covered):
                row.cells.append(cell)

    def _enter_text(self, name: str, attributes: dict[str, str]) -> bool:
        """Take the start of an element of a paragraph, or return False."""
        paragraph = self._paragraph
        if name == "p":
            self._paragraph = Paragraph()
        elif paragraph is None:
            return False
        elif name == "t":
            self._in_text = True
        elif name == "br":
            paragraph.pieces.append("\n")
        elif name in {"r", "fld"}:
            paragraph.scripts.sign, self._is_struck = "", False
        elif name == "rPr":
            paragraph.scripts.sign = _sign(attributes.get("baseline", "0"))
            self._is_struck = attributes.get("strike", "noStrike") != "noStrike"
        else:
            self._formula.enter(name, attributes.get("val"), paragraph.pieces)
            _take_property(paragraph, name, attributes)
        return True

    def leave(self, name: str) -> None:
        """Take an element's end."""
        if self._n_fallback:
            self._n_fallback -= name == "Fallback"
        elif name == "t":
            self._in_text = False
        elif name == "p" and self._paragraph:
            self._end_paragraph(self._paragraph)
            self._paragraph = None
        elif name == "tc" and self._tables and self._tables[-1].rows:
            row = self._tables[-1].rows[-1]
            if row.open_cell:
                row.open_cell.close()
            row.open_cell = None
        elif name == "tbl" and self._tables:
            self._tables.pop()
        elif self._paragraph:
            self._formula.leave(name, self._paragraph.pieces)

    def data(self, text: str) -> None:
        """Take characters."""
        paragraph = self._paragraph
        if self._in_text and paragraph and not self._is_struck:
            before = paragraph.pieces[-1] if paragraph.pieces else ""
            paragraph.pieces.append(paragraph.scripts.apart(before, text))

    def _end_paragraph(self, paragraph: Paragraph) -> None:
        if not self.shapes:
            return
        text = paragraph.text
        self.shapes[-1].n_characters += len(text)
        rows = self._tables[-1].rows if self._tables else []
        cell = rows[-1].open_cell if rows else None
        if cell is not None:
            cell.pieces.append(text)
        else:
            self.shapes[-1].blocks.append(paragraph)


def _take_property(paragraph: Paragraph, name: str, attributes: dict[str, str]) -> None:
    if name == "pPr":
        level = attributes.get("lvl", "")
        paragraph.level = int(level) if re.fullmatch("[0-8]", level) else 0
    elif name == "buNone":
        paragraph.bullet = "none"
    elif name in {"buChar", "buBlip"}:
        paragraph.bullet = "sign"
    elif name == "buAutoNum":
        _take_numbers(paragraph, attributes)


def _sign(baseline: str) -> str:
    if not baseline.lstrip("-").rstrip("%").isdecimal():
        return ""
    return LOWERED if baseline.startswith("-") else RAISED if baseline.strip("0%") else ""


def _take_numbers(paragraph: Paragraph, attributes: dict[str, str]) -> None:
    kind, start = attributes.get("type", ""), attributes.get("startAt", "")
    paragraph.bullet = "number"
    if start.isascii() and start.isdecimal() and len(start) < 6:
        paragraph.number = int(start)
    paragraph.numerals = _NUMERALS.get(kind.partition("P")[0], "1")
    if kind.endswith("ParenBoth"):
        paragraph.signs = "(", ")"
    elif kind.endswith("ParenR"):
        paragraph.signs = "", ")"


def _span(value: str) -> int:
    is_count = value.isascii() and value.isdecimal() and len(value) < 9
    return min(max(int(value), 1), _MAX_SPAN) if is_count else 1
