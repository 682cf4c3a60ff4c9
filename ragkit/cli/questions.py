"""The lines of `--questions`: reading them, and reporting those that cannot be answered."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    LoadError,
    PromptTooLongError,
    RagkitError,
    RateLimitedError,
    RemoteTimeoutError,
)
from ragkit.loading.records import MAX_RECORD_BYTES, record_lines
from ragkit.narrowing import is_object
from ragkit.text.jsontext import read_json
from ragkit.types import Json

_CODES: tuple[tuple[type[RagkitError], str], ...] = (
    (ConfigError, "not_allowed"),
    (RemoteTimeoutError, "timeout"),
    (RateLimitedError, "rate_limited"),
    (AccessDeniedError, "access_denied"),
    (PromptTooLongError, "prompt_too_long"),
)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def question_lines(place: str) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) for each non-blank line of a file; `-` is standard input.

    Raises:
        ConfigError: the file cannot be read, or none of its lines is UTF-8.
    """
    if place == "-":
        yield from _lines("standard input", sys.stdin.buffer)
        return
    try:
        with Path(place).open("rb") as stream:
            yield from _lines(place, stream)
    except OSError as error:
        raise ConfigError(f"questions {place} cannot be read: {error}") from error


def _lines(name: str, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines, holding back those before the first that is UTF-8."""
    waiting: list[tuple[int, bytes]] = []
    seen_text = False
    for number, line in enumerate(record_lines(stream), start=1):
        if number == 1 and line.startswith(_UTF_16):
            raise ConfigError(f"questions {name} cannot be read: it is UTF-16, not UTF-8")
        if not line.strip():
            continue
        waiting.append((number, line))
        seen_text = seen_text or _is_text(line)
        if seen_text:
            yield from waiting
            waiting.clear()
    if waiting:
        raise ConfigError(f"questions {name} cannot be read: it is not UTF-8")


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_question(line: bytes) -> tuple[Mapping[str, Json], LoadError | None]:
    """Return a line's object, empty if unreadable, and what is wrong with it, if anything."""
    if len(line) > MAX_RECORD_BYTES:
        return {}, LoadError("limit", f"longer than {MAX_RECORD_BYTES >> 20} MiB")
    try:
        data = read_json(line)
    except ValueError as error:
        return {}, LoadError("broken", f"not JSON: {error}")
    if not is_object(data):
        return {}, LoadError("broken", "not a JSON object")
    if not isinstance(data.get("text"), str):
        return data, LoadError("broken", "no text")
    if data.get("_id") is not None and identity(data) is None:
        return data, LoadError("broken", "_id is neither text nor a whole number")
    return data, None


def identity(question: Mapping[str, Json]) -> str | None:
    """Return a question's id as text, or None."""
    value = question.get("_id")
    is_id = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_id else None


def failed_line(number: int, question: Mapping[str, Json], problem: RagkitError) -> dict[str, Json]:
    """Return the record of a line that failed, which takes the place of its answer.

    Its code is `broken` (no JSON object with a text), `limit` (the line is too long), `not_allowed`
    (a value in it, or a setting), or how a remote or a model failed: `timeout`, `rate_limited`,
    `access_denied`, `prompt_too_long`, `remote`.
    """
    detail = str(problem)
    if isinstance(problem, LoadError):
        code, detail = problem.code, problem.detail
    else:
        code = next((word for kind, word in _CODES if isinstance(problem, kind)), "remote")
    error: dict[str, Json] = {"code": code, "detail": f"line {number}: {detail}"}
    return {"schema": 1, "id": identity(question), "error": error}
