"""Which row of a table names its columns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

_MAX_TITLE_ROWS = 3
_DATE = re.compile(r"\d{4}-\d\d(?:-\d\d)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_AMOUNT = re.compile(r"[-+]?[$€£¥]? ?-?\d[\d.,'\u2019 ]{0,30}(?: ?[%$€£¥]|)|\d{1,2}:\d\d(?::\d\d)?")
HEAD_ROWS = 100
"""Rows that decide on the header."""


def header_index(rows: Sequence[Sequence[str]]) -> int | None:
    """Return the index of the row that names the columns, None if none does.

    It is the first row with more than one cell filled, if most of its columns have names and these
    are words, or years or dates in order behind words. Names may be repeated.
    """
    width = max(map(len, rows), default=0)
    for index, row in enumerate(rows[: _MAX_TITLE_ROWS + 1]):
        filled = [cell.strip() for cell in row if cell.strip()]
        if len(filled) > 1 or width <= 1:
            is_full = 2 * len(filled) > len(row) and (index == 0 or len(row) == width)
            is_header = (
                is_full and are_names(filled) and not _recur(row, rows[index + 1 : index + 21])
            )
            return index if is_header else None
    return None


def _recur(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether names that are repeated are values, which come again in a column."""
    if len(set(names)) == len(names):
        return False
    return any(
        name.strip() and i < len(row) and row[i].strip() == name.strip()
        for row in rows
        for i, name in enumerate(names)
    )


def are_names(cells: Sequence[str]) -> bool:
    """Whether cells are words, or words and then numbers with the same step from each to the next.

    Two numbers have to be years: a row of values, too, may hold two. So may several dates in order
    follow words.
    """
    numbers = [cell for cell in cells if is_value(cell)]
    if not numbers:
        return True
    if is_value(cells[0]):
        return False
    if all(map(_DATE.fullmatch, numbers)):
        return len(numbers) > 1 and numbers == sorted(set(numbers))
    if not all(cell.isascii() and cell.isdecimal() for cell in numbers):
        return False
    values = [int(cell[:9]) for cell in numbers]
    steps = {after - before for before, after in itertools.pairwise(values)}
    are_years = all(1800 <= value < 2200 for value in values)
    return len(steps) == 1 and steps != {0} and (are_years or len(values) > 2)


def is_value(text: str) -> bool:
    """Whether a cell is a number, a date, a time or an amount."""
    if _DATE.fullmatch(text) or _AMOUNT.fullmatch(text):
        return True
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def column_letters(number: int) -> str:
    """Return a column's letters, 1 for A."""
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters or "A"
