"""Tables among the lines of a page of a PDF: lines with numbers in cells of their own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ragkit.loading.pdf_lines import NUMBER, Line, Word

MIN_ROWS = 2
INDENT = 1.5
"""In points."""
_MOST_STACKED = 4
"""Words of a head that is one column's."""
_MOST_HEADERS = 8
"""Lines above the first row with a number."""
_MOST_LABELS = 4
"""Lines in sequence that have no number."""
_MOST_WIDE = 2
"""Lines of a label that reach below the numbers; more are a paragraph."""
_MOST_CAPTIONS = 4
_FARTHEST = 3.2
"""Times the height of a line: how far below another one it still belongs to the same table."""
_YEARS = re.compile(r"(?:(?:19|20)\d\d|(?:FY|Q[1-4]|[1-4]Q|H[12])\W?(?:\d\d){0,2})[),*†‡]{0,3}")
_MONTH = re.compile(
    r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.?", re.IGNORECASE
)
_DATES = re.compile(
    r"\d{1,2},?|ended|ending|months|weeks|as|of|and|to|%|change|vs\.?|[$€£(]+[a-z]*\)?|[-–—]"
    r"|(?:millions|billions|thousands)\)?",
    re.IGNORECASE,
)


@dataclass(slots=True, eq=False)
class TableLines:
    """The lines of a table; a row is several of them where its label is wrapped."""

    captions: list[Line] = field(default_factory=list[Line])
    headers: list[Line] = field(default_factory=list[Line])
    rows: list[list[Line]] = field(default_factory=list[list[Line]])
    has_numbers: list[bool] = field(default_factory=list[bool])

    @property
    def head(self) -> str:
        """The lines of the heads; those of one column are one."""
        pieces = [line.text for line in self.headers[:1]]
        for above, line in itertools.pairwise(self.headers):
            is_column = len(above.words) < _MOST_STACKED and line.left < above.right < line.right
            is_column |= len(line.words) < _MOST_STACKED and above.left < line.right < above.right
            is_beside = line.base > above.base or line.left > above.right
            pieces.append(f" {line.text}" if is_column or is_beside else f"\n{line.text}")
        return "".join(pieces)

    def is_label(self, row: int) -> bool:
        """Whether a row has no numbers, and the one below it stands further in."""
        if row + 1 >= len(self.rows) or self.has_numbers[row]:
            return False
        line, below = self.rows[row][-1], self.rows[row + 1][0]
        return below.left > line.left + INDENT


def with_tables(lines: Sequence[Line]) -> Iterator[Line | TableLines]:
    """Yield the lines of a page in order, those of tables together."""
    last: TableLines | None = None
    for item in _tables(lines):
        if isinstance(item, TableLines) and last and not item.captions and len(item.headers) < 2:
            # A label between the rows that is as wide as they are.
            last.rows += [*([line] for line in item.headers), *item.rows]
            last.has_numbers += [*(False for _ in item.headers), *item.has_numbers]
            continue
        if last:
            yield last
        last = None
        if isinstance(item, TableLines):
            last = item
        else:
            yield item
    if last:
        yield last


def _tables(lines: Sequence[Line]) -> Iterator[Line | TableLines]:
    position, i = 0, 0
    found = [_numbers_left(line) for line in lines]
    while i < len(lines):
        if found[i] is None:
            i += 1
            continue
        end, left = _end(lines, found, i)
        if sum(x is not None for x in found[i:end]) < MIN_ROWS:
            i = end
            continue
        table, start = _table(lines, found, (position, i, end), left)
        yield from lines[position:start]
        yield table
        position = i = end
    yield from lines[position:]


def _cells(line: Line) -> list[list[Word]]:
    """Return the words of a line by cells: further apart than those of a sentence."""
    cells, right = list[list[Word]](), 0.0
    for word in line.words:
        if cells and word.left - right <= line.size:
            cells[-1].append(word)
        else:
            cells.append([word])
        right = word.right
    return cells


def _numbers_left(line: Line) -> float | None:
    """Return where the numbers of a row begin; None for what is no row of a table.

    A row has a number behind its label, apart from it or together with another number; a line of
    years and dates alone is a head.
    """
    words = line.words
    k = len(words)
    while k and NUMBER.fullmatch(words[k - 1].text):
        k -= 1
    numbers = [word for word in words[k:] if any(c.isdigit() or c in "-–—" for c in word.text)]
    if not numbers or _is_head(words):
        return None
    if k == 0:
        cells = _cells(line)
        return cells[1][0].left if len(numbers) > 1 and len(cells) > 1 else None
    is_apart = words[k].left - words[k - 1].right > line.size
    if is_apart or (len(numbers) > 1 and len(_cells(line)) > 1):
        return next(w.left for w in words[k:] if w in numbers)
    return None


def _is_head(words: Sequence[Word]) -> bool:
    """Whether a line ends in dates, or has nothing but years."""
    k, has_year, has_month = len(words), False, False
    while k:
        text = words[k - 1].text
        is_year, is_month = _YEARS.fullmatch(text), _MONTH.fullmatch(text)
        if not (is_year or is_month or _DATES.fullmatch(text)):
            break
        has_year |= is_year is not None
        has_month |= is_month is not None
        k -= 1
    return has_year and (has_month or k == 0)


def _end(lines: Sequence[Line], found: Sequence[float | None], first: int) -> tuple[int, float]:
    """Return where the run of rows ends that begins with one, and where its numbers begin.

    A label may be as wide as the table if a row comes soon that ends where the others do.
    """
    left = found[first] or 0.0
    end, n_labels, n_wide = first + 1, 0, 0
    for k in range(first + 1, len(lines)):
        line = lines[k]
        if not _follows(lines[k - 1], line) or n_labels > _MOST_LABELS:
            break
        own = found[k]
        if own is not None:
            if n_wide and abs(line.right - lines[first].right) > 2 * line.size:
                break
            left, end, n_labels, n_wide = min(left, own), k + 1, 0, 0
            continue
        n_labels += 1
        is_head = _is_head(line.words)
        n_wide += line.right > left and not is_head
        if n_wide > _MOST_WIDE or (n_wide and (is_head or line.text.endswith("."))):
            break
    return end, left


def _follows(before: Line, line: Line) -> bool:
    """Whether a line stands below another one, near enough for the same table."""
    down = before.base - line.base
    return before.turn == line.turn and 0 < down <= _FARTHEST * max(before.size, line.size)


def _near(before: Line, line: Line) -> bool:
    """Whether a line of a head stands near the next one: heads of two columns also go up again."""
    down = before.base - line.base
    height = max(before.size, line.size)
    return before.turn == line.turn and -1.5 * height <= down <= _FARTHEST * height


def _table(
    lines: Sequence[Line],
    found: Sequence[float | None],
    span: tuple[int, int, int],
    left: float,
) -> tuple[TableLines, int]:
    """Return the table whose rows are `span[1:]`, and where its captions begin, from `span[0]`."""
    least, first, end = span
    table, start = TableLines(), first
    right = max(line.right for line in lines[first:end])
    outer = min(line.left for line in lines[first:end])
    n_headers = 0
    for k in range(first - 1, max(least, first - _MOST_HEADERS - _MOST_LABELS) - 1, -1):
        line = lines[k]
        if not _near(line, lines[k + 1]) or line.right > right + line.size * 2:
            break
        if _is_header(line, left):
            n_headers, start = n_headers + (start - k), k
        elif line.right > left or start - k > 2:
            break
    # Labels between the heads and the first number are rows.
    split = start
    while split < first and _is_header(lines[split], left):
        split += 1
    table.headers = list(lines[start:split])
    _add_rows(table, lines[split:end], found[split:end])
    captions = start
    while captions > max(least, start - _MOST_CAPTIONS) and _is_caption(
        lines[captions - 1], lines[captions], (outer, right)
    ):
        captions -= 1
    table.captions = list(lines[captions:start])
    return table, captions


def _is_header(line: Line, left: float) -> bool:
    """Whether a line above the rows stands over their numbers, or says in which units they are."""
    if line.left >= left - 6 * line.size or _is_head(line.words):
        return True
    cells = _cells(line)
    if len(cells) > 1 and cells[-1][-1].right > left:
        return True
    return line.words[0].text.startswith("(") and line.words[-1].text.endswith(")")


def _is_caption(line: Line, below: Line, table: tuple[float, float]) -> bool:
    """Whether a line stands over the middle of a table."""
    middle = (table[0] + table[1]) / 2
    is_central = abs((line.left + line.right) / 2 - middle) < 2 * line.size
    is_narrow = line.right - line.left < 0.8 * (table[1] - table[0])
    return _near(line, below) and is_central and is_narrow


def _add_rows(table: TableLines, lines: Sequence[Line], found: Sequence[float | None]) -> None:
    """Add rows: a label that goes on in the next line is one with it."""
    rows, may_go_on = table.rows, False
    for line, left in zip(lines, found, strict=True):
        first = line.words[0].text
        is_small = first[:1].islower() or (may_go_on and NUMBER.fullmatch(first) is not None)
        if rows and is_small and (may_go_on or left is None):
            rows[-1].append(line)
            table.has_numbers[-1] |= left is not None
        else:
            rows.append([line])
            table.has_numbers.append(left is not None)
        may_go_on = left is None and not line.words[-1].text.endswith(":")
