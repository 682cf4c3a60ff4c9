"""The lines of `--questions`: reading and answering them, and reporting those that fail."""

from __future__ import annotations

import codecs
import shlex
import signal
import sys
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ragkit.cli import output
from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    LoadError,
    PromptTooLongError,
    RagkitError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.loading.records import MAX_RECORD_BYTES, record_lines
from ragkit.narrowing import is_object
from ragkit.text.jsontext import read_answer_json, read_json
from ragkit.types import Json

if TYPE_CHECKING:
    from concurrent.futures import Future

Line = tuple[int, bytes]
"""A line of a file of questions, with its number."""

Record = dict[str, Json]
Answer = Callable[[Mapping[str, Json]], Record]

MOST_JOBS = 1_024

_CODES: tuple[tuple[type[RagkitError], str], ...] = (
    (ConfigError, "not_allowed"),
    (RemoteTimeoutError, "timeout"),
    (RateLimitedError, "rate_limited"),
    (AccessDeniedError, "access_denied"),
    (PromptTooLongError, "prompt_too_long"),
)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def unanswered(lines: Iterable[Line], known: Collection[str]) -> Iterator[Line]:
    """Yield the lines but those of questions whose ids are known."""
    for number, line in lines:
        question, problem = read_question(line)
        if problem is not None or identity(question) not in known:
            yield number, line


def answered_lines(lines: Iterable[Line], answer: Answer, *, n_jobs: int = 1) -> Iterator[Record]:
    """Yield the record of each question, in order: its answer, or why it failed.

    Args:
        lines: Of a file of questions.
        answer: Returns the record of a question.
        n_jobs: Questions that are answered at the same time, 1 to 1,024. With several, Ctrl-C
            lets those that are under way end, since they have cost something; a second one drops
            them.

    Raises:
        KeyboardInterrupt: after a Ctrl-C, when the answers that were under way have been yielded.
    """
    if not 1 <= n_jobs <= MOST_JOBS:
        raise ConfigError(f"jobs {n_jobs}; allowed: 1 to {MOST_JOBS:,}")
    if n_jobs == 1:
        for line in lines:
            yield _answered(answer, line)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(n_jobs, thread_name_prefix="ask")
    waiting: deque[Future[Record]] = deque()
    try:
        with _interruption() as is_interrupted:
            for line in lines:
                waiting.append(pool.submit(_answered, answer, line))
                while len(waiting) >= 2 * n_jobs and not is_interrupted():
                    yield waiting.popleft().result()
                if is_interrupted():
                    break
            for future in waiting:
                if not (is_interrupted() and future.cancel()):
                    yield future.result()
            if is_interrupted():
                raise KeyboardInterrupt
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _interruption() -> Generator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C was pressed; pressed twice, it interrupts."""
    pressed = list[int]()

    def press(number: int, frame: object) -> None:  # noqa: ARG001 (a handler of signals)
        pressed.append(number)
        if len(pressed) > 1:
            raise KeyboardInterrupt
        output.tell("waiting for the answers that are under way; Ctrl-C again drops them")

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _answered(answer: Answer, line: Line) -> Record:
    number, text = line
    problem: RagkitError | None
    question, problem = read_question(text)
    if problem is None:
        try:
            return answer(question)
        except (ConfigError, RemoteError) as error:
            problem = error
    return failed_line(number, question, problem)


def answered_ids(path: str | None) -> set[str]:
    """Return the ids of the questions that an earlier call has answered; empty without a file.

    Raises:
        ConfigError: the file cannot be read, a line is no JSON, or the last one is not whole.
    """
    if path is None:
        return set()
    found = set[str]()
    try:
        with Path(path).open("rb") as stream:
            for number, line in enumerate(record_lines(stream), start=1):
                if not line.endswith(b"\n"):
                    raise ConfigError(
                        f"answered {path} ends in the middle of a line, and what is appended "
                        f"would be part of it; remove that line: sed -i '$d' {shlex.quote(path)}"
                    )
                if not line.strip():
                    continue
                try:
                    data = read_answer_json(line)
                except ValueError as error:
                    raise ConfigError(f"answered {path}, line {number}: {error}") from error
                if is_object(data) and isinstance(data.get("id"), str) and "error" not in data:
                    found.add(str(data["id"]))
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise ConfigError(f"answered {path} cannot be read: {error}") from error
    return found


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
