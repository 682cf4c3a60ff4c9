"""CSV and JSON: one line per row or value, with names, so that each can be read on its own."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ragkit.errors import LoadError
from ragkit.loading.loaded import MAX_NAME_CHARACTERS, LoadedText, TextBuilder, clean, decoded
from ragkit.loading.table_headers import HEAD_ROWS, column_letters, header_index
from ragkit.narrowing import is_array, is_object
from ragkit.text.columns import ROW
from ragkit.text.lines import raw_lines
from ragkit.types import Location

_JSON_SPACE = re.compile(r"[ \t\n\r]*+")

_DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'(?<![^,;\t|\n]) *+"(?:[^"]++|"")*+"(?= *+(?:[,;\t|\n]|\Z))')
"""A quoted cell of CSV (RFC 4180)."""

_CELL_WITH_QUOTES = {
    delimiter: re.compile(
        rf"(?<![^{delimiter}\n]) *+"
        rf'(?:"(?:[^"]++|"")*+"(?= *+(?:[{delimiter}\n]|\Z))|"(?:[^"\n]++|"")*+"'
        rf'|(?P<bare>"[^{delimiter}\n]*+))'
    )
    for delimiter in _DELIMITERS
}
"""A cell that begins with a quote: it ends with one, or the line does not hold another one."""

_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_NAMED_DELIMITER = re.compile(r'"?sep=([,;\t|])"?\n')
"""What Excel takes the delimiter from: no row."""

_BACKSLASHED = re.compile(r'\\"[^",;\t|\n]')
"""A quote inside of a quoted cell, as some databases write it."""

_ESCAPED = re.compile(r'\\(["\\])')
_ONE_COLUMN = "\x1f"

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
    first = list(itertools.islice(rows, HEAD_ROWS))
    head = header_index([row for _, row in first])
    names = (
        [] if head is None else [_one_line(cell)[:MAX_NAME_CHARACTERS] for cell in first[head][1]]
    )
    if {"_id", "groups"} <= set(names):
        raise _only_json_lines_keep_groups()
    builder = TextBuilder()
    for index, (number, row) in enumerate(itertools.chain(first, rows)):
        if index == head and len(first) > index + 1:
            continue
        is_title = head is not None and index < head
        is_below = head is not None and index > head
        builder.add(
            "; ".join(_named_cells(row, names if is_below else ())),
            location=Location(cells=f"A{ROW}:{column_letters(len(row))}{ROW}"),
            kind="row",
            separator="\n",
            part="paragraph" if is_title else "row",
            row=number,
        )
    title = "" if not head else _one_line(" ".join(first[0][1]))[:MAX_NAME_CHARACTERS]
    del text, rows, first  # which are not needed beside the text that is made now
    return builder.build(title=title, metadata=metadata, dropped=dropped)


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

    named = _NAMED_DELIMITER.match(text)
    text = text[named.end() :] if named else text
    if _BACKSLASHED.search(text):
        text = _ESCAPED.sub(lambda escaped: '""' if escaped[1] == '"' else "\\", text)
    delimiter = named[1] if named else _delimiter(text)
    if '"' in text and delimiter in _CELL_WITH_QUOTES:
        text = _CELL_WITH_QUOTES[delimiter].sub(_as_text, text)
    # A cell may be as long as the file; the limit is per process, so it is only ever increased.
    csv.field_size_limit(max(len(text), csv.field_size_limit()))
    lines = (line + "\n" for _, line in raw_lines(text))
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        for number, row in enumerate(reader, start=1):
            if any(cell.strip() for cell in row):
                yield number, row
    except csv.Error as error:
        raise LoadError("broken", f"not CSV: {error}") from error


def _as_text(cell: re.Match[str]) -> str:
    """Return a cell whose first quote is never closed in such a way that it is text."""
    bare = cell["bare"]
    if bare is None:
        return cell[0]
    doubled = bare.replace('"', '""')
    return f'"{doubled}"'


def _delimiter(text: str) -> str:
    """Guess the delimiter: the one that occurs in most of the first lines, and equally often.

    What stands in quotes does not count, nor do commas in numbers if another one is as frequent.
    One that the first line lacks, and the last of them, is none: there is one column.
    """
    bare = _QUOTED.sub("", text[:65_536])
    lines = [line for line in bare.split("\n")[:20] if line.strip()]

    def support(delimiter: str) -> tuple[int, int, int, int, bool]:
        counts = [line.count(delimiter) for line in lines]
        filled = Counter(n for n in counts if n)
        n_alike = max(filled.values(), default=0)
        is_comma = delimiter == ","
        n_plain = sum(delimiter in (_DECIMAL_COMMA.sub("", line) if is_comma else line)
                      for line in lines)  # fmt: skip
        return filled.total(), n_alike, min(counts, default=0), n_plain, is_comma

    best = max(_DELIMITERS, key=support)
    return best if any(best in line for line in (lines[:1] + lines[-1:])) else _ONE_COLUMN


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
