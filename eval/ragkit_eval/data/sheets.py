"""Sheets of numbers by question: what people, or a judge, say of each."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit_eval.data.datasets import json_lines

_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_BLANK = ("", "none", "null")


def read_numbers(path: Path, column: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return a column by question, and the documents where the sheet names them.

    A sheet is CSV, TSV or JSON Lines with `id`, the column, and maybe `document`. `yes`, `true`,
    `no` and `false` are 1 and 0; rows whose cell is blank are left out.

    Raises:
        ConfigError: it cannot be read, an id stands twice, or a cell is no number.
    """
    numbers: dict[str, float] = {}
    documents: dict[str, str] = {}
    for where, row in _rows(path):
        if "id" not in row or column not in row:
            raise ConfigError(f"{where}: id and {column} are needed, found {' '.join(row)}")
        name, cell = str(row["id"]), str(row[column]).strip().lower()
        if cell in _BLANK:
            continue
        if name in numbers:
            raise ConfigError(f"{where}: the id {name!r} stands twice")
        numbers[name] = _number(where, column, cell)
        document = row.get("document")
        if document not in {None, ""}:
            documents[name] = str(document)
    if documents and len(documents) < len(numbers):
        raise ConfigError(f"{path}: {len(numbers) - len(documents)} rows name no document")
    return numbers, documents


def _number(where: str, column: str, cell: str) -> float:
    if cell in _WORDS:
        return _WORDS[cell]
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{where}: {column} {cell[:40]!r}; allowed: a number, yes or no")
    return number


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    if path.suffix in {".csv", ".tsv"}:
        yield from _cells(path)
        return
    yield from json_lines(path)


def _cells(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
            for number, row in enumerate(rows, start=2):
                cells = {key: value for key, value in row.items() if isinstance(value, str)}
                yield f"{path}, line {number}", cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
