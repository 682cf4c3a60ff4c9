"""Workbooks (.xlsx; ECMA-376): the cells of each sheet as a reader sees them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ragkit.loading.loaded import MAX_REPEATED_CHARACTERS, Allowance, LoadedText, TextBuilder, clean
from ragkit.loading.numbers import shown, shown_number
from ragkit.loading.packages import MAX_UNPACKED_BYTES, Package, opened
from ragkit.loading.sheet_styles import CellStyles, RichTexts, Runs, Strings, cell_text
from ragkit.loading.sheets import MAX_COLUMNS, MAX_ROWS, SheetRow, SheetText
from ragkit.loading.xml_parts import XmlPart
from ragkit.types import Dropped

_MAIN = "xl/workbook.xml"
_CELL = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})")
_MERGED = re.compile(rb"<(?:\w{1,20}:)?mergeCell\b[^<>]{0,200}?\bref=[\"']([A-Z0-9:]{1,30})[\"']")
_FILTERED = re.compile(rb"<(?:\w{1,20}:)?autoFilter\b[^<>]{0,200}?\bref=[\"']([A-Z0-9:$]{1,40})")
_OVERLAP = 1_000
"""Bytes of a block that are looked at again with the next one: more than a match has."""
_MAX_MERGED = 100_000
_THREADED = "[Threaded comment]"


def load_xlsx(data: bytes) -> LoadedText:
    """Load a workbook: a line `a | b | c` a row, located by sheet and cells.

    Numbers, dates and percentages are those that their format shows, digits not rounded; formulas
    are the values that were stored. What merged cells hold is repeated, and an empty cell keeps its
    place. Comments follow below a sheet. Left out and counted: hidden sheets; left out: struck-out
    text.

    Raises:
        LoadError: `password` when it is encrypted, `unsupported` for the format before 2007,
            `limit` when it unpacks to too much, `broken` when it is malformed.
    """
    old = "Excel's format before 2007; save it as .xlsx"
    with opened(data, kind="a workbook", old=old) as package:
        return _read(package)


def _read(package: Package) -> LoadedText:
    book = _Book()
    main = package.main(_MAIN)
    package.parse(main, book)
    relations = package.relations(main)
    parts = {relation.kind: relation.target for relation in relations.values()}
    strings, styles = Strings(), CellStyles()
    if parts.get("sharedStrings", "") in package:
        package.parse(parts["sharedStrings"], strings)
    if parts.get("styles", "") in package:
        package.parse(parts["styles"], styles)
    builder, n_hidden = TextBuilder(), 0
    for sheet in book.sheets:
        relation = relations.get(sheet.id)
        if relation is None or relation.kind != "worksheet" or relation.target not in package:
            continue
        name = relation.target
        found = _References.of(package, name)
        allowance = Allowance(min(package.n_bytes(name), MAX_UNPACKED_BYTES))
        text = None if sheet.is_hidden else SheetText(builder, sheet.name, allowance, found.headers)
        cells = _Cells(strings.texts, styles, found.merged, text, is_1904=book.is_1904)
        package.parse(name, cells, most_bytes=MAX_UNPACKED_BYTES)
        n_hidden += cells.n_characters if sheet.is_hidden else 0
        if text:
            for cell, comment in found.comments:
                text.add_comment(cell, comment)
            text.finish()
    dropped: dict[Dropped, int] = {"hidden": n_hidden} if n_hidden else {}
    return builder.build(title=package.title(), dropped=dropped)


@dataclass(frozen=True, slots=True)
class _Sheet:
    name: str
    id: str
    is_hidden: bool


class _Book(XmlPart):
    def __init__(self) -> None:
        super().__init__()
        self.sheets: list[_Sheet] = []
        self.is_1904 = False

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            is_hidden = attributes.get("state", "visible") != "visible"
            title = clean(attributes.get("name", ""))
            self.sheets.append(_Sheet(title, attributes.get("r:id", ""), is_hidden))
        elif name == "workbookPr":
            self.is_1904 = attributes.get("date1904", "0").lower() not in {"0", "false"}


@dataclass(slots=True)
class _References:
    """What stands behind the cells of a sheet, or beside it: merged cells, headers, comments."""

    merged: _Merged
    headers: set[int]
    comments: list[tuple[str, str]]

    @classmethod
    def of(cls, package: Package, name: str) -> _References:
        """Look through a sheet and what it refers to."""
        found = cls(_Merged(), set(), [])
        rest = b""
        for block in package.blocks(name, most_bytes=MAX_UNPACKED_BYTES):
            for match in _MERGED.finditer(rest + block):
                found.merged.add(match[1].decode())
            for match in _FILTERED.finditer(rest + block):
                found.headers.add(_area(match[1].decode())[1])
            rest = block[-_OVERLAP:]
        for relation in package.relations(name).values():
            if relation.kind == "table" and relation.target in package:
                table = _TablePart()
                package.parse(relation.target, table)
                found.headers |= table.headers
            elif relation.kind == "comments" and relation.target in package:
                comments = _Comments()
                package.parse(relation.target, comments)
                found.comments += comments.found
        return found


class _Merged:
    """The areas of merged cells that are still to come, or that rows are in."""

    def __init__(self) -> None:
        self._areas: dict[int, list[tuple[int, int, int]]] = {}
        self._open: dict[int, tuple[int, int, str]] = {}
        self._n = 0

    def add(self, reference: str) -> None:
        """Add an area such as `A1:C2`."""
        left, top, right, bottom = _area(reference)
        if self._n < _MAX_MERGED and (right > left or bottom > top):
            self._n += 1
            self._areas.setdefault(top, []).append((left, right, bottom))

    def fill(self, number: int, texts: dict[int, str], allowance: Allowance) -> None:
        """Repeat in a row what merged cells hold; a long text is not repeated."""
        for left, right, bottom in self._areas.pop(number, ()):
            text = texts.get(left, "")
            if text and len(text) <= MAX_REPEATED_CHARACTERS:
                self._open[left] = right, bottom, text
        for left, (right, bottom, text) in list(self._open.items()):
            if number > bottom:
                del self._open[left]
                continue
            for column in range(left, right + 1):
                if not allowance.take("" if column in texts else text):
                    self._open.clear()
                    return
                texts.setdefault(column, text)


def _area(reference: str) -> tuple[int, int, int, int]:
    """Return the first column and row and the last ones of an area; zeros for none."""
    first, _, last = reference.partition(":")
    left, top = place_of(first)
    right, bottom = place_of(last or first)
    return left, top, right, bottom


def place_of(reference: str) -> tuple[int, int]:
    """Return column and row from 1 of a cell such as `B3`; zeros for what is none."""
    match = _CELL.fullmatch(reference)
    if match is None:
        return 0, 0
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    row = int(match[2])
    return (column, row) if column <= MAX_COLUMNS and row <= MAX_ROWS else (0, 0)


class _TablePart(XmlPart):
    """The header rows of a table that was defined as one."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: set[int] = set()

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table" and attributes.get("headerRowCount", "1") != "0":
            self.headers.add(_area(attributes.get("ref", ""))[1])


class _Comments(RichTexts):
    """The comments on cells, each without what stands for a thread in old programs."""

    element = "comment"

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._cell = ""

    def begun(self, attributes: dict[str, str]) -> None:
        self._cell = attributes.get("ref", "")

    def ended(self, text: str) -> None:
        if place_of(self._cell) == (0, 0):
            return
        if text.startswith(_THREADED):
            text = text.partition("Comment:")[2]
        self.found.append((self._cell, text))


class _Cells(XmlPart):
    """Passes the rows of a sheet on, or counts their characters."""

    def __init__(
        self,
        strings: list[str],
        styles: CellStyles,
        merged: _Merged,
        text: SheetText | None,
        *,
        is_1904: bool,
    ) -> None:
        super().__init__()
        self.n_characters = 0
        self._strings = strings
        self._styles = styles
        self._merged = merged
        self._text = text
        self._is_1904 = is_1904
        self._row = 0
        self._column = 0
        self._columns: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._kind = self._style = ""
        self._value: list[str] = []
        self._runs = Runs()
        self._inside = ""

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            letters = attributes.get("r", "").rstrip("0123456789")
            column = self._columns.get(letters)
            if column is None:
                column = self._columns[letters] = place_of(f"{letters}1")[0]
            self._column = column or self._column + 1
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "")
            self._value, self._inside = [], ""
            if self._kind == "inlineStr":
                self._runs = Runs()
        elif name in {"v", "t"}:
            self._inside = name
        elif name == "row":
            number = attributes.get("r", "")
            is_number = number.isascii() and number.isdecimal() and len(number) < 8
            self._row = int(number) if is_number else self._row + 1
            self._column, self._texts = 0, {}
        elif self._kind == "inlineStr":
            self._runs.enter(name, attributes)

    def leave(self, name: str) -> None:
        if name == "c":
            text = self._shown()
            if text and self._column <= MAX_COLUMNS:
                self._texts[self._column] = text
        elif name in {"v", "t"}:
            self._inside = ""
        elif name == "row":
            self._end_row()

    def data(self, text: str) -> None:
        if self._inside == "v":
            self._value.append(text)
        elif self._inside and self._kind == "inlineStr":
            self._runs.add(text)

    def _end_row(self) -> None:
        texts, self._texts = self._texts, {}
        n_own = len(texts)
        self.n_characters += sum(map(len, texts.values()))
        if self._text and self._row <= MAX_ROWS:
            self._merged.fill(self._row, texts, self._text.allowance)
            self._text.add_row(SheetRow(self._row, texts, n_own))

    def _shown(self) -> str:
        """Return what a cell shows."""
        text = "".join(self._value)
        if self._styles.is_struck(self._style):
            return ""
        if self._kind == "n":
            form = self._styles.format(self._style)
            return shown(text, form, is_1904=self._is_1904) if form else shown_number(text)
        if self._kind == "s":
            is_index = text.isascii() and text.isdecimal() and int(text[:9]) < len(self._strings)
            return self._strings[int(text[:9])] if is_index else ""
        if self._kind == "inlineStr":
            return self._runs.text
        if self._kind == "b":
            text = {"1": "TRUE", "0": "FALSE"}.get(text, text)
        elif self._kind == "d":
            text = text.replace("T", " ").removesuffix(" 00:00:00")
        return cell_text(text)
