"""The content of a spreadsheet in an OpenDocument file."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragkit.loading.loaded import MAX_REPEATED_CHARACTERS, Allowance, TextBuilder, clean
from ragkit.loading.numbers import Format, shown, shown_number
from ragkit.loading.odf_styles import Looks, Styles, folded
from ragkit.loading.scripts import Scripts
from ragkit.loading.sheets import MAX_COLUMNS, MAX_ROWS, SheetRow, SheetText
from ragkit.loading.table_headers import column_letters, is_value
from ragkit.loading.xml_parts import XmlPart
from ragkit.types import Dropped

_PERCENT = Format(is_percent=True)
_OF_TEXT = frozenset({"p", "span", "s", "tab", "line-break"})
_CELLS = frozenset({"table-cell", "covered-table-cell"})


@dataclass(slots=True)
class _Cell:
    kind: str
    value: str
    n_repeated: int
    n_columns: int
    n_rows: int
    pieces: list[str] = field(default_factory=list[str])
    scripts: Scripts = field(default_factory=Scripts)

    @property
    def shown(self) -> str:
        """What a reader sees, a date as ISO 8601 has it and digits not rounded."""
        text = " ".join(clean("".join(self.pieces)).split())
        if self.kind == "date" and self.value:
            return self.value.replace("T", " ").removesuffix(":00").removesuffix(" 00:00")
        if self.kind == "percentage" and self.value:
            return shown(self.value, _PERCENT)
        if self.kind == "float" and self.value and (not text or is_value(text)):
            return shown_number(self.value)
        return text


class SheetsPart(XmlPart):
    """Adds the sheets to a text, row by row."""

    def __init__(self, builder: TextBuilder, styles: Styles, allowance: Allowance) -> None:
        super().__init__()
        self.dropped: dict[Dropped, int] = {}
        self._builder = builder
        self._styles = styles
        self._allowance = allowance
        self._looks = Looks(styles)
        self._n_paragraphs = 0
        self._in_body = False
        self._sheet: SheetText | None = None
        self._n_tables = 0
        self._row = 0
        self._n_repeated = 1
        self._column = 0
        self._texts: dict[int, str] = {}
        self._n_own = 0
        self._cell: _Cell | None = None
        self._spans: dict[int, tuple[int, str]] = {}
        self._comment: list[str] | None = None
        self._comments: list[tuple[str, str]] = []

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        if name == "spreadsheet":
            self._in_body = True
        elif not self._in_body:
            self._styles.enter(name, attributes)
        elif name == "table":
            self._n_tables += 1
            if self._n_tables == 1:
                self._start_sheet(attributes)
        elif name == "annotation":
            self._comment = []
        elif name in _OF_TEXT:
            self._enter_text(name, attributes)
        elif name == "table-row":
            self._n_repeated = _count(attributes, "number-rows-repeated", MAX_ROWS)
            self._column, self._texts, self._n_own = 0, {}, 0
        elif name in _CELLS:
            self._cell = _cell_of(attributes)
            self._looks.enter("table-cell", attributes.get("style-name", ""))

    def _enter_text(self, name: str, attributes: dict[str, str]) -> None:
        self._n_paragraphs += name == "p"
        if name == "span":
            self._looks.enter("text", attributes.get("style-name", ""))
        else:
            self.data(" ")

    def leave(self, name: str) -> None:
        """Take an element's end."""
        if not self._in_body:
            self._styles.leave(name)
        elif name == "table":
            self._n_tables -= 1
            if self._n_tables == 0:
                self._end_sheet()
        elif name == "annotation" and self._comment is not None:
            place = f"{column_letters(self._column + 1)}{self._row + 1}"
            self._comments.append((place, "".join(self._comment)))
            self._comment = None
        elif name in _CELLS and self._cell:
            self._looks.leave()
            self._end_cell(self._cell, is_covered=name != "table-cell")
            self._cell = None
        elif name == "span":
            self._looks.leave()
        elif name == "p":
            self._n_paragraphs -= 1
        elif name == "table-row":
            self._end_row()

    def data(self, text: str) -> None:
        """Take characters."""
        if not self._n_paragraphs:
            return
        if self._comment is not None:
            self._comment.append(text)
        elif self._cell and not self._looks.current.is_struck:
            pieces, scripts = self._cell.pieces, self._cell.scripts
            scripts.sign = self._looks.current.sign
            pieces.append(scripts.apart(pieces[-1] if pieces else "", folded(text)))

    def _start_sheet(self, attributes: dict[str, str]) -> None:
        is_hidden = self._styles.is_hidden("table", attributes.get("style-name", ""))
        name = clean(attributes.get("name", ""))
        self._sheet = None if is_hidden else SheetText(self._builder, name, self._allowance)
        self._row = 0
        self._spans.clear()

    def _end_sheet(self) -> None:
        comments, self._comments = self._comments, []
        if self._sheet:
            for place, text in comments:
                self._sheet.add_comment(place, text)
            self._sheet.finish()
        self._sheet = None

    def _end_cell(self, cell: _Cell, *, is_covered: bool) -> None:
        text = "" if is_covered else cell.shown
        first, self._column = self._column + 1, self._column + cell.n_repeated
        for column in range(first, self._column + 1) if text or is_covered else ():
            if column > MAX_COLUMNS or (column > first and not self._allowance.take(text)):
                break
            if is_covered:
                self._cover(column)
            else:
                self._place(column, text, cell)

    def _cover(self, column: int) -> None:
        """Repeat what the merged cell above holds."""
        until, text = self._spans.get(column, (0, ""))
        if self._row < until and column not in self._texts and self._allowance.take(text):
            self._texts[column] = text

    def _place(self, column: int, text: str, cell: _Cell) -> None:
        self._texts[column] = text
        self._n_own += 1
        if len(text) > MAX_REPEATED_CHARACTERS:
            return
        for beside in range(column, min(column + cell.n_columns, MAX_COLUMNS + 1)):
            if beside > column and not self._allowance.take(text):
                break
            self._texts.setdefault(beside, text)
            if cell.n_rows > 1:
                self._spans[beside] = self._row + cell.n_rows, text

    def _end_row(self) -> None:
        first, self._row = self._row, self._row + self._n_repeated
        texts = self._texts
        if not texts or first >= MAX_ROWS:
            return
        if self._sheet is None:
            self.dropped["hidden"] = self.dropped.get("hidden", 0) + sum(map(len, texts.values()))
            return
        n_characters = " " * min(sum(map(len, texts.values())), 2**16)
        for i in range(self._n_repeated):
            if i and not self._allowance.take(n_characters):
                break
            self._sheet.add_row(SheetRow(first + i + 1, texts, self._n_own))


def _cell_of(attributes: dict[str, str]) -> _Cell:
    kind = attributes.get("value-type", "")
    return _Cell(
        kind,
        attributes.get("date-value" if kind == "date" else "value", ""),
        _count(attributes, "number-columns-repeated", MAX_COLUMNS),
        _count(attributes, "number-columns-spanned", MAX_COLUMNS),
        _count(attributes, "number-rows-spanned", MAX_ROWS),
    )


def _count(attributes: dict[str, str], name: str, most: int) -> int:
    value = attributes.get(name, "")
    is_count = value.isascii() and value.isdecimal() and len(value) < 9
    return min(max(int(value), 1), most) if is_count else 1
