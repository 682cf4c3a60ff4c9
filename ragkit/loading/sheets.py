"""The text of a sheet of cells: its tables with the rows that name their columns."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from ragkit.loading.loaded import MAX_NAME_CHARACTERS, Allowance, OpenPart, TextBuilder
from ragkit.loading.table_headers import (
    HEAD_ROWS,
    are_names,
    column_letters,
    header_index,
    is_value,
)
from ragkit.text.columns import ROW
from ragkit.types import Location, MarkKind, PartKind

MAX_COLUMNS, MAX_ROWS = 16_384, 2**20
"""Of a sheet, as spreadsheets have them."""
_ROWS_BELOW = 20
_MAX_TITLES = 3


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row: its number from 1, its texts by column from 1, and how many cells are its own.

    The others repeat what merged cells hold.
    """

    number: int
    texts: Mapping[int, str]
    n_own: int

    @property
    def is_alone(self) -> bool:
        """Whether one text is all that it has, across merged cells or not."""
        return self.n_own == 1 and len(set(self.texts.values())) == 1

    @property
    def first(self) -> int:
        """The first column with a text."""
        return min(self.texts)

    @property
    def last(self) -> int:
        """The last column with a text."""
        return max(self.texts)


class SheetText:
    """Adds a sheet, row by row, to the text of its workbook.

    Rows up to the next empty one are a block. What stands alone in rows at its start, or in up to
    three rows of a block before it, is a title. What follows is a table, if there is more than one
    column; a block without names of columns that lies below a table goes on with it.
    """

    def __init__(
        self,
        builder: TextBuilder,
        name: str,
        allowance: Allowance,
        header_rows: Container[int] = (),
    ) -> None:
        self._builder = builder
        self._name = " ".join(name.split())[:MAX_NAME_CHARACTERS]
        self.allowance = allowance
        self._header_rows = header_rows
        self._titles: list[SheetRow] = []
        self._head: list[SheetRow] = []
        self._is_head = True
        self._table: OpenPart | None = None
        self._columns = (1, 0)
        self._n_padded = 0
        self._n_rows = 0
        self._last_number = 0
        self._is_named = False

    def add_row(self, row: SheetRow) -> None:
        """Add the next row; one without text counts as empty."""
        if not row.texts:
            return
        if row.number > self._last_number + 1:
            self._end_block()
        self._last_number = row.number
        if not row.n_own:
            return  # It repeats the row above.
        if not self._is_head:
            self._add_row(row, "row" if self._table else "paragraph")
            return
        self._head.append(row)
        if len(self._head) == HEAD_ROWS:
            self._begin_block()

    def add_comment(self, cell: str, text: str) -> None:
        """Add a comment on a cell, such as `B3`, below the rows."""
        self.finish()
        text = " ".join(text.split())
        if text:
            self._add(f"Comment on {cell}: {text}", "paragraph", cells=cell, separator="\n\n")

    def finish(self) -> None:
        """Add what waits, and end what is open."""
        self._end_block()
        self._add_titles("paragraph")
        self._builder.close(self._table)
        self._table = None

    def _end_block(self) -> None:
        if self._is_head:
            self._begin_block()
        self._is_head = True

    def _begin_block(self) -> None:
        rows, self._head, self._is_head = self._head, [], False
        if not rows:
            return
        n_alone = next((i for i, row in enumerate(rows) if not row.is_alone), len(rows))
        body = rows[n_alone:]
        if not body and n_alone > _MAX_TITLES:
            self._add_titles("paragraph")
        self._titles += rows[:n_alone]
        if body:
            self._begin_table(body)
        elif len(self._titles) > _MAX_TITLES:
            self._add_titles("paragraph")

    def _begin_table(self, rows: Sequence[SheetRow]) -> None:
        left, right = min(row.first for row in rows), max(row.last for row in rows)
        header = self._header(rows)
        goes_on = self._table is not None and header is None and not self._titles
        if not goes_on or left < self._columns[0] or right > self._columns[1]:
            self._name_sheet()
            self._builder.close(self._table)
            self._table = self._builder.open("table")
            self._columns, self._n_padded, self._n_rows = (left, right), 0, 0
            self._add_titles("caption")
        for row in rows:
            if row is header:
                self._n_padded = row.last
                self._add_row(row, "header_row")
            else:
                self._add_row(row, "row")

    def _add_titles(self, part: PartKind) -> None:
        titles, self._titles = self._titles, []
        if part == "paragraph" and titles:
            self._name_sheet()
            self._builder.close(self._table)
            self._table, self._n_rows = None, 0
        for row in titles:
            self._add_row(row, part)

    def _header(self, rows: Sequence[SheetRow]) -> SheetRow | None:
        """Return the row that names the columns of a block."""
        if len(rows) < 2:
            return None
        for row in rows:
            if row.number in self._header_rows:
                return row
        seen = rows[: _ROWS_BELOW + 1]
        columns = sorted({column for row in seen for column in row.texts})
        cells = [[row.texts.get(column, "") for column in columns] for row in seen]
        if header_index(cells) != 0:
            return None
        # Further blocks have names only where values of another kind stand below them.
        return rows[0] if self._table is None or _differ(cells[0], cells[1:]) else None

    def _add_row(self, row: SheetRow, part: PartKind) -> None:
        first = row.first
        if row.is_alone and (part != "row" or len(row.texts) > 1 or first <= self._columns[0]):
            self._add(row.texts[first], part, cells=f"{column_letters(first)}{ROW}", row=row.number)
            return
        first, last = min(self._columns[0], first), max(self._columns[1], row.last)
        cells = f"{column_letters(first)}{ROW}:{column_letters(last)}{ROW}"
        self._add(self._line(row, first), part, cells=cells, row=row.number)

    def _line(self, row: SheetRow, first: int) -> str:
        """Return a row's cells; an empty one keeps its place as long as places are not too many."""
        cells: list[str] = []
        column = first
        for at in sorted(row.texts):
            cells += [""] * self._padding(at - column)
            cells.append(row.texts[at])
            column = at + 1
        cells += [""] * self._padding(self._n_padded + 1 - column)
        return " ".join(" | ".join(cells).split())

    def _padding(self, n_cells: int) -> int:
        n_taken = 0
        while n_taken < n_cells and self.allowance.take(""):
            n_taken += 1
        return n_taken

    def _add(
        self, text: str, part: PartKind, *, cells: str, row: int = 0, separator: str = "\n"
    ) -> None:
        self._name_sheet()
        is_first, self._n_rows = self._n_rows == 0, self._n_rows + 1
        kind: MarkKind = "text" if part == "paragraph" and not row else "row"
        self._builder.add(
            text,
            location=Location(sheet=self._name, cells=cells),
            kind=kind,
            separator="\n\n" if is_first else separator,
            part=part,
            row=row,
        )

    def _name_sheet(self) -> None:
        """Add the name of the sheet, before the first text of it."""
        if not self._is_named:
            self._is_named = True
            place = Location(sheet=self._name)
            self._builder.add(self._name, location=place, kind="heading", part="heading")


def _differ(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether words stand above values in a column."""
    return any(
        name.strip() and are_names([name.strip()]) and i < len(row) and is_value(row[i].strip())
        for row in rows
        for i, name in enumerate(names)
    )
