"""The files of a run's folder: written whole or appended to, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from ragkit import private
from ragkit.errors import ConfigError
from ragkit.text.jsontext import as_object, read_answer_json
from ragkit.types import Json
from ragkit_eval.data.rows import Row, read_row


def write_json(path: Path, data: Mapping[str, Json]) -> None:
    """Write a JSON file for its owner alone, whole or not at all."""
    write_text(path, json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str, *, for_all: bool = False) -> None:
    """Write a file, whole or not at all; for its owner alone unless it is for all."""
    private.replace_file(path, text.encode("utf-8", "surrogatepass"), private=not for_all)


def read_object(data: bytes) -> Mapping[str, Json]:
    """Return the JSON object of a file, or of a line; raises `ValueError`."""
    return as_object(read_answer_json(data))


def append_row(file: BinaryIO, row: Row) -> None:
    """Append a row and flush it, so that it survives the process."""
    line = json.dumps(row.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"
    file.write(line.encode("utf-8", "surrogatepass"))
    file.flush()


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that a crash left incomplete."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        data = file.read()
        if data and not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)


def read_rows(path: Path) -> dict[str, Row]:
    """Return the last row of each question."""
    rows: dict[str, Row] = {}
    if not path.exists():
        return rows
    try:
        with path.open("rb") as lines:
            for line in lines:
                row = read_row(read_object(line))
                rows[row.id] = row
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: {error}; start over with --restart") from error
    return rows
