"""CSV and JSON: one line per row or value, with names, so that each can be read on its own."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence

from ragkit.errors import LoadError
from ragkit.loading.loaded import MAX_NAME_CHARACTERS, LoadedText, TextBuilder, clean, decoded
from ragkit.narrowing import is_array, is_object
from ragkit.text.columns import ROW
from ragkit.text.lines import raw_lines
from ragkit.types import Location

_JSON_SPACE = re.compile(r"[ \t\n\r]*+")

MAX_DEPTH = 200
"""Nesting depth of JSON; deeper is an attack or a mistake."""


def load_csv(data: bytes) -> LoadedText:
    """Load CSV or TSV: each row as `header: value; …`, located by its cells.

    The header is the first row with more than one cell filled, if most of its columns have names
    and these are words, or numbers in a sequence (years, say) behind words. Names may be repeated.
    Rows above it are titles. Without a header, rows are their values, joined by `; `.

    Raises:
        LoadError: `broken` when its quoting is invalid, `groups` when it holds records with groups.
    """
    text, metadata, dropped = decoded(data)
    rows = _rows(text)
    first = list(itertools.islice(rows, _HEAD_ROWS))
    header_index = _header_index([row for _, row in first])
    header = (
        []
        if header_index is None
        else [_one_line(cell)[:MAX_NAME_CHARACTERS] for cell in first[header_index][1]]
    )
    if {"_id", "groups"} <= set(header):
        raise _only_json_lines_keep_groups()
    builder = TextBuilder()
    for index, (number, row) in enumerate(itertools.chain(first, rows)):
        if index == header_index and len(first) > index + 1:
            continue
        names = header if header_index is not None and index > header_index else []
        builder.add(
            "; ".join(_named_cells(row, names)),
            location=Location(cells=f"A{ROW}:{_column(len(row))}{ROW}"),
            kind="row",
            separator="\n",
            part="paragraph" if header_index is not None and index < header_index else "row",
            row=number,
        )
    del text, rows, first  # which are not needed beside the text that is made now
    return builder.build(metadata=metadata, dropped=dropped)


def _named_cells(row: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    for i, cell in enumerate(row):
        value = _one_line(cell)
        if value:
            yield f"{names[i]}: {value}" if i < len(names) and names[i] else value


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number from 1, cells) of each row that is not empty."""
    import csv

    # A cell may be as long as the file; the limit is per process, so it is only ever increased.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    lines = (line + "\n" for _, line in raw_lines(text))
    reader = csv.reader(lines, delimiter=_delimiter(text))
    try:
        for number, row in enumerate(reader, start=1):
            if any(cell.strip() for cell in row):
                yield number, row
    except csv.Error as error:
        raise LoadError("broken", f"not CSV: {error}") from error


def _delimiter(text: str) -> str:
    """Guess the delimiter: the one that occurs in most of the first lines, and most often."""
    lines = [line for line in text[:65_536].split("\n")[:20] if line.strip()]

    def support(delimiter: str) -> tuple[int, int, bool]:
        counts = [line.count(delimiter) for line in lines]
        return sum(n > 0 for n in counts), min(counts, default=0), delimiter == ","

    return max(",;\t|", key=support)


_MAX_TITLE_ROWS = 3
_HEAD_ROWS = 100
"""Rows that decide on the header."""


def _header_index(rows: Sequence[Sequence[str]]) -> int | None:
    width = max(map(len, rows), default=0)
    for index, row in enumerate(rows[: _MAX_TITLE_ROWS + 1]):
        filled = [cell.strip() for cell in row if cell.strip()]
        if len(filled) > 1 or width <= 1:
            is_full = 2 * len(filled) > len(row) and (index == 0 or len(row) == width)
            is_header = (
                is_full and _are_names(filled) and not _recur(row, rows[index + 1 : index + 21])
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


def _are_names(cells: Sequence[str]) -> bool:
    """Whether cells are words, or words and then numbers with the same step from each to the next.

    Two numbers have to be years: a row of values, too, may hold two.
    """
    numbers = [cell for cell in cells if _is_number(cell)]
    if not numbers:
        return True
    if _is_number(cells[0]) or not all(cell.isascii() and cell.isdecimal() for cell in numbers):
        return False
    values = [int(cell[:9]) for cell in numbers]
    steps = {after - before for before, after in itertools.pairwise(values)}
    are_years = all(1800 <= value < 2200 for value in values)
    return len(steps) == 1 and steps != {0} and (are_years or len(values) > 2)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _column(number: int) -> str:
    """Return a column's letters, 1 for A."""
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters or "A"


def load_json(data: bytes) -> LoadedText:
    """Load JSON: one line per value or flat object; a list's items are paragraphs.

    Raises:
        LoadError: `broken` when it is not JSON, `limit` when it is nested too deeply, `groups`
            when it holds a record with groups.
    """
    text, metadata, dropped = decoded(data)
    builder, title = TextBuilder(), ""
    try:
        for value in _values(text):
            title = "" if _is_list(text) else _title(value)
            _add_value(builder, value)
    except RecursionError as error:
        raise LoadError("limit", f"JSON nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:
        raise LoadError("broken", f"not JSON: {error}") from error
    return builder.build(title=title, metadata=metadata, dropped=dropped)


def _is_list(text: str) -> bool:
    return text.startswith("[", _behind_space(text, 0))


def _behind_space(text: str, at: int) -> int:
    space = _JSON_SPACE.match(text, at)
    return space.end() if space else at


def _values(text: str) -> Iterator[object]:
    """Yield a list's values, one at a time, since all would take many times the file's size.

    Anything else is the one value.
    """
    if not _is_list(text):
        yield json.loads(text)
        return
    decoder = json.JSONDecoder()
    at = _behind_space(text, _behind_space(text, 0) + 1)
    if not text.startswith("]", at):
        at -= 1
        while at < len(text):
            value, at = decoder.raw_decode(text, _behind_space(text, at + 1))
            yield value
            at = _behind_space(text, at)
            if not text.startswith(",", at):
                break
    if not text.startswith("]", at):
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if _behind_space(text, at + 1) < len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)


def load_json_lines(data: bytes) -> LoadedText:
    """Load JSON Lines as text: one paragraph per line, written as `load_json` does.

    A line that is not JSON is kept as it is.

    Raises:
        LoadError: `groups` when a line is a record with groups: everyone could see it as text.
    """
    text, metadata, dropped = decoded(data)
    builder = TextBuilder()
    for number, (_, line) in enumerate(raw_lines(text), start=1):
        if is_guarded(line):
            raise LoadError("groups", f"line {number} is a record with groups")
        try:
            _add_value(builder, json.loads(line))
        except (ValueError, RecursionError, LoadError) as error:
            if isinstance(error, LoadError) and error.code == "groups":
                raise
            builder.add(line, part="paragraph")
    return builder.build(metadata=metadata, dropped=dropped)


def is_guarded(line: str) -> bool:
    """Whether a line of JSON Lines is a record with groups, or may have been meant as one."""
    if "groups" not in line and "\\u" not in line:
        return False
    try:
        return _has_groups(json.loads(line.removeprefix("\ufeff")))
    except (ValueError, RecursionError):
        return '"groups"' in line and '"_id"' in line


def _has_groups(value: object) -> bool:
    return is_object(value) and "_id" in value and bool(value.get("groups"))


def _only_json_lines_keep_groups() -> LoadError:
    return LoadError(
        "groups",
        "it holds records with groups, which only JSON Lines keep: write a record a line, then: "
        "ragkit ingest FILE.jsonl",
    )


def _add_value(builder: TextBuilder, value: object) -> None:
    """Add a paragraph, one row per line: what belongs together stays in one chunk."""
    for i, line in enumerate(_lines(value, "", 0)):
        builder.add(clean(line), kind="row", separator="\n" if i else "\n\n", part="row")


def _title(value: object) -> str:
    if not is_object(value):
        return ""
    titles = (value.get(key) for key in ("title", "name"))
    return next((clean(title) for title in titles if isinstance(title, str)), "")


def _lines(value: object, path: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise LoadError("limit", f"JSON nested deeper than {MAX_DEPTH}")
    if is_object(value):
        if _has_groups(value):
            raise _only_json_lines_keep_groups()
        if depth and not any(isinstance(inner, list | dict) for inner in value.values()):
            shown = "; ".join(f"{key}: {_shown(v)}" for key, v in value.items() if v not in _EMPTY)
            yield f"{path}: {shown}" if path else shown
            return
        for key, inner in value.items():
            below = f"{path}.{key}" if path else str(key)
            yield from _lines(inner, below[-MAX_NAME_CHARACTERS:], depth + 1)
    elif is_array(value):
        for inner in value:
            yield from _lines(inner, path, depth + 1)
    elif value not in _EMPTY:
        yield f"{path}: {_shown(value)}" if path else _shown(value)


_EMPTY = (None, "")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
