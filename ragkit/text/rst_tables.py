"""The rows of reStructuredText's tables: grid, simple, list and CSV tables.

Each function takes lines from a table's first to its last and yields the table's parts in order;
borders are markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ragkit.text.lines import Line
from ragkit.types import PartKind, Span

Row: TypeAlias = tuple[int, int, PartKind]
_GRID_TOP = re.compile(r"\+-[-+]+-\+")
_GRID_BORDER = re.compile(r"\+[-=+]*\+")
_SIMPLE_TOP = re.compile(r"=+(?: +=+)++")
_SIMPLE_BORDER = re.compile(r"=[= ]*+")
_SPANNING = re.compile(r"-[- ]*+")


def table_end(text: str, lines: Sequence[Line], at: int) -> int:
    """Return the index after the last line of the grid or simple table that starts here, or `at`.

    A simple table ends at its second border, or at its first one that a blank line follows.
    """
    top = lines[at]
    if text.startswith("+", top.start):
        return _grid_end(text, lines, at)
    if not _SIMPLE_TOP.fullmatch(text, *_span(top)):
        return at
    n_borders = 0
    for i in range(at + 1, len(lines)):
        line = lines[i]
        if line.is_blank:
            continue
        if line.column < top.column:
            break
        if _is_simple_border(text, line):
            n_borders += 1
            if n_borders == 2 or i + 1 == len(lines) or lines[i + 1].is_blank:
                return i + 1
    return at


def _grid_end(text: str, lines: Sequence[Line], at: int) -> int:
    if not _GRID_TOP.fullmatch(text, *_span(lines[at])):
        return at
    end = at + 1
    while end < len(lines) and text.startswith(("+", "|"), lines[end].start, lines[end].end):
        end += 1
    return end


def drawn_rows(text: str, lines: Sequence[Line]) -> Iterator[Row]:
    """Yield the parts of a grid or simple table.

    Rows of a grid that share a cell are one row: without the cell the others say too little.
    """
    is_grid = text.startswith("+", lines[0].start)
    borders = [i for i, line in enumerate(lines) if _is_border(text, line, is_grid=is_grid)]
    if is_grid:
        heads = [i for i in borders if "=" in text[lines[i].start : lines[i].end]]
    else:
        heads = [borders[1]] if len(borders) == 3 else []
    kind: PartKind = "header_row" if heads else "row"
    for i, following in zip(borders, [*borders[1:], len(lines)], strict=True):
        if heads and i == heads[0]:
            kind = "row"
        yield lines[i].start, lines[i].end, "markup"
        inside = lines[i + 1 : following]
        if is_grid:
            yield from _joined(inside, kind)
        else:
            yield from _simple_rows(text, inside, lines[0], kind)


def _is_border(text: str, line: Line, *, is_grid: bool) -> bool:
    if is_grid:
        return _GRID_BORDER.fullmatch(text, *_span(line)) is not None
    return _is_simple_border(text, line)


def _is_simple_border(text: str, line: Line) -> bool:
    return _SIMPLE_BORDER.fullmatch(text, *_span(line)) is not None


def _simple_rows(text: str, lines: Sequence[Line], top: Line, kind: PartKind) -> Iterator[Row]:
    """Yield rows: one starts where the first column is not blank, or after a line of dashes."""
    width = text.find(" ", top.start) - top.start
    row: list[Line] = []
    for line in lines:
        is_spanning = _SPANNING.fullmatch(text, *_span(line))
        if is_spanning or (not line.is_blank and line.column < top.column + width):
            yield from _joined(row, kind)
            row = []
        if is_spanning:
            yield line.start, line.end, "markup"
        elif row or not line.is_blank:
            row.append(line)
    yield from _joined(row, kind)


def _joined(lines: Sequence[Line], kind: PartKind) -> Iterator[Row]:
    filled = [line for line in lines if not line.is_blank]
    if filled:
        yield filled[0].start, filled[-1].end, kind


def list_rows(text: str, lines: Sequence[Line], n_headers: int) -> Iterator[Row]:
    """Yield the rows of a list table: the items of its outermost bullet list."""
    rows: list[list[Line]] = []
    column = min((line.column for line in lines if not line.is_blank), default=0)
    for line in lines:
        is_bullet = text.startswith(("*", "-", "+"), line.start, line.end)
        if (is_bullet and line.column == column) or not (rows or line.is_blank):
            rows.append([])
        if rows:
            rows[-1].append(line)
    for n, row in enumerate(rows):
        yield from _joined(row, "header_row" if n < n_headers else "row")


def csv_rows(text: str, lines: Sequence[Line], n_headers: int) -> Iterator[Row]:
    """Yield the rows of a CSV table; one goes on to the next line while a quote is open."""
    row: list[Line] = []
    n_rows, is_quoted = 0, False
    for line in lines:
        row.append(line)
        is_quoted ^= text.count('"', line.start, line.end) % 2 == 1
        if not is_quoted:
            n_rows += any(not line.is_blank for line in row)
            yield from _joined(row, "header_row" if n_rows <= n_headers else "row")
            row = []
    yield from _joined(row, "row")


def _span(line: Line) -> Span:
    return line.start, line.end
