"""Rows and cells of tables, spans included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ragkit.loading.loaded import MAX_REPEATED_CHARACTERS, Allowance, OpenPart

_MAX_COLUMNS, _MAX_ROWS = 1_000, 65_534
"""What a cell may span, as the HTML standard has it."""


@dataclass(slots=True)
class Cell:
    """A cell, and how many columns and rows it spans; `pieces` are its texts while it is read."""

    text: str = ""
    is_header: bool = False
    n_columns: int = 1
    n_rows: int = 1
    pieces: list[str] = field(default_factory=list[str])

    def close(self) -> None:
        """Join its pieces."""
        self.text = " ".join(self.pieces)


@dataclass(slots=True)
class Row:
    """A row; `open_cell` is the one that is being read."""

    in_head: bool = False
    cells: list[Cell] = field(default_factory=list[Cell])
    open_cell: Cell | None = None

    @property
    def is_header(self) -> bool:
        """Whether it names the columns."""
        return bool(self.cells) and (self.in_head or all(cell.is_header for cell in self.cells))

    @property
    def n_filled(self) -> int:
        """How many of its own cells have text."""
        return sum(bool(cell.text) for cell in self.cells)


@dataclass(slots=True)
class Table:
    """A table while it is read.

    `part` is opened with the first row that is one: other tables are layout. `spans` has, by
    column, the texts of cells that span rows to come, and how many.
    """

    part: OpenPart | None = None
    in_head: bool = False
    spans: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])

    def start_rows(self, *, in_head: bool) -> None:
        """Start a group of rows: spans end at its border."""
        self.in_head = in_head
        self.spans.clear()

    def columns(self, row: Row, allowance: Allowance) -> list[str]:
        """Return a row's texts by column: that of a spanned cell is repeated for each."""
        texts: list[str] = []
        cells = iter(row.cells)
        cell = next(cells, None)
        last = max(self.spans, default=-1)
        while cell is not None or len(texts) <= last:
            if len(texts) in self.spans:
                text = self._repeated(len(texts))
            elif cell is not None:
                self._place(cell, texts, allowance)
                cell = next(cells, None)
                continue
            else:
                text = ""
            if allowance.take(text):
                texts.append(text)
            else:
                self.spans.clear()
                last = -1
        return texts

    def _repeated(self, column: int) -> str:
        text, n_rows = self.spans.pop(column)
        if n_rows > 1:
            self.spans[column] = text, n_rows - 1
        return text

    def _place(self, cell: Cell, texts: list[str], allowance: Allowance) -> None:
        text = " ".join(cell.text.split())
        repeated = text if len(text) <= MAX_REPEATED_CHARACTERS else ""
        for i in range(cell.n_columns):
            if i and not allowance.take(repeated):
                break
            if cell.n_rows > 1:
                self.spans[len(texts)] = repeated, cell.n_rows - 1
            texts.append(repeated if i else text)


def cell_of(tag: str, attributes: Mapping[str, str]) -> Cell:
    """Return the empty cell that a `td` or `th` opens."""
    n_columns = _span(attributes.get("colspan", ""), _MAX_COLUMNS)
    n_rows = _span(attributes.get("rowspan", ""), _MAX_ROWS)
    return Cell(is_header=tag == "th", n_columns=max(1, n_columns), n_rows=n_rows or _MAX_ROWS)


def _span(value: str, most: int) -> int:
    """Return a span; 0, which means as far as there are rows, only if it says so."""
    value = value.strip()
    return min(int(value), most) if value.isascii() and value.isdecimal() and len(value) < 9 else 1
