"""CSV and JSON: one line a row or a value, with its name, so that each stands on its own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from ragkit.errors import LoadError
from ragkit.loading.loaded import LoadedText, TextBuilder, decoded
from ragkit.types import Location

MAX_DEPTH = 200
"""Nesting of JSON; deeper is an attack or a mistake."""


def load_csv(data: bytes) -> LoadedText:
    """Load CSV or TSV: each row as `header: value; …` with its cells as location."""
    text = decoded(data)
    rows = list(_rows(text))
    builder = TextBuilder()
    if not rows:
        return builder.build()
    header, body = _split_header(rows)
    for number, row in body:
        pairs = (
            f"{header[i]}: {cell.strip()}" if i < len(header) and header[i] else cell.strip()
            for i, cell in enumerate(row)
            if cell.strip()
        )
        cells = f"A{number}:{_column(len(row))}{number}"
        builder.add(
            "; ".join(" ".join(pair.split()) for pair in pairs),
            location=Location(cells=cells),
            kind="row",
            separator="\n",
        )
    return builder.build()


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number from 1, cells) of each row that is not empty."""
    csv.field_size_limit(max(len(text), 131_072))
    dialect = _dialect(text)
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), dialect), start=1):
            if any(cell.strip() for cell in row):
                yield number, row
    except csv.Error as error:
        raise LoadError("broken", f"not CSV: {error}") from error


def _dialect(text: str) -> type[csv.Dialect]:
    """Guess the delimiter by the first lines; quotes and doubling are as in RFC 4180."""
    lines = text.split("\n", 20)[:20]
    delimiter = max(
        ",;\t|", key=lambda d: (min((line.count(d) for line in lines if line.strip()), default=0),
                                lines[0].count(d), d == ",")
    )  # fmt: skip
    return cast("type[csv.Dialect]", type("Guessed", (csv.excel,), {"delimiter": delimiter}))


def _split_header(
    rows: Sequence[tuple[int, list[str]]],
) -> tuple[list[str], Sequence[tuple[int, list[str]]]]:
    first = [cell.strip() for cell in rows[0][1]]
    names = all(first) and not any(_is_number(cell) for cell in first)
    if names and len(set(first)) == len(first) and len(rows) > 1:
        return first, rows[1:]
    return [], rows


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
    """Load JSON: a line a value as `path.to.key: value`, a line an object of plain values."""
    text = decoded(data)
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError("broken", f"not JSON: {error}") from error
    builder = TextBuilder()
    title = ""
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        title = next(
            (str(named[k]) for k in ("title", "name") if isinstance(named.get(k), str)), ""
        )
    for line in _lines(value, "", 0):
        builder.add(line, kind="row", separator="\n")
    return builder.build(title=title)


def _lines(value: object, path: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise LoadError("limit", f"JSON nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, object]", value)
        if depth and not any(isinstance(inner, list | Mapping) for inner in entries.values()):
            shown = "; ".join(
                f"{key}: {_shown(v)}" for key, v in entries.items() if v not in _EMPTY
            )
            yield f"{path}: {shown}" if path else shown
            return
        for key, inner in entries.items():
            yield from _lines(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _lines(inner, path, depth + 1)
    elif value not in _EMPTY:
        yield f"{path}: {_shown(value)}" if path else _shown(value)


_EMPTY = (None, "")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
