"""The questions that are to be labelled: of a sheet, JSON Lines, a chat export, or feedback."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ragkit.costs.feedback import judged_questions
from ragkit.costs.ledger import read_ledger
from ragkit.errors import ConfigError
from ragkit.narrowing import is_array, is_object
from ragkit.pipeline.followups import is_remark, resolve
from ragkit.pipeline.understanding import asks
from ragkit.text.jsontext import as_object, read_json
from ragkit.types import Json, Turn
from ragkit_eval.data.datasets import Question, json_lines, question_of

COLUMNS = ("question", "text", "query", "prompt")
"""Columns of a sheet that may hold the questions, the first that is there."""

_MOST_TURNS = 8
"""Earlier turns that a follow-up of a chat export is kept with."""

_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Questions to label, in the order in which they are asked.

    `sample` says in words how they were chosen; `n_left_out` counts a chat's user turns that ask
    nothing.
    """

    questions: tuple[Question, ...]
    sample: str
    n_left_out: int = 0

    def sampled(self, n: int | None, seed: int) -> Batch:
        """Return n of the questions: those with the lowest SHA-256 of seed and id, in this order.

        So any first part of them is a random sample too, and more may be asked for later. None
        returns all, in the order of the file.

        Raises:
            ConfigError: n is less than 1.
        """
        if n is None:
            return self
        if n < 1:
            raise ConfigError(f"sample {n}; allowed: 1 or more")
        chosen = sorted(self.questions, key=lambda question: _rank(question.id, seed))[:n]
        return replace(
            self,
            questions=tuple(chosen),
            sample=f"{len(chosen)} of {self.sample}, by the lowest SHA-256 of seed {seed} and id",
        )


def _rank(identity: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {identity}".encode("utf-8", "surrogatepass")).hexdigest()


def read_questions(path: Path) -> Batch:
    """Read the questions of a file, each once.

    A sheet (`.csv`, `.tsv`) has them in a column of `COLUMNS`, or in its only one. JSON Lines have
    objects with `text` or `question`. A chat export, as JSON or JSON Lines, has messages with
    `role` and `content`, in one list, or in conversations with `messages`. Any other file has one
    question a line.

    Raises:
        ConfigError: the file cannot be read, or holds no question.
    """
    n_left_out = 0
    if path.suffix in {".csv", ".tsv"}:
        rows = list(_sheet_rows(path))
    elif path.suffix in {".json", ".jsonl"}:
        values = [row for _, row in json_lines(path)] if path.suffix == ".jsonl" else _json(path)
        conversations = _conversations(values)
        if conversations is None:
            rows = [_as_row(path, value) for value in values]
        else:
            rows, n_left_out = _asked(conversations)
    else:
        rows = [{"text": line} for line in _text(path).splitlines() if line.strip()]
    return _batch(rows, str(path), path.name, n_left_out)


def feedback_questions(ledger: Path) -> Batch:
    """Return the questions with feedback whose text the ledger has kept.

    Raises:
        ConfigError: there is no ledger, or it has kept no such question.
    """
    if not ledger.exists():
        raise ConfigError(f"there is no ledger at {ledger}; name it: --ledger FILE")
    judged = {one.question: one.feedback for one in judged_questions(read_ledger(ledger))}
    if not judged:
        raise ConfigError(
            f"{ledger} holds no question with feedback; ask with --keep-question, then: "
            "ragkit feedback ANSWER_ID good|bad"
        )
    rows: list[Mapping[str, Json]] = [
        {
            "text": text,
            "metadata": {
                "feedback": "good" if said.good else "bad",
                **({} if said.note is None else {"note": said.note}),
            },
        }
        for text, said in judged.items()
    ]
    return _batch(rows, str(ledger), "the feedback in the ledger", 0)


def _as_row(path: Path, value: object) -> Mapping[str, Json]:
    """Return a question that is an object, or just its text; raises `ConfigError`."""
    if isinstance(value, str):
        return {"text": value}
    try:
        return as_object(value)
    except ValueError:
        raise ConfigError(f"{path}: a question is a text or an object, not {value!r}") from None


def _batch(rows: Iterable[Mapping[str, Json]], place: str, name: str, n_left_out: int) -> Batch:
    found: dict[str, Question] = {}
    for number, row in enumerate(rows, start=1):
        question = question_of(f"{place}, question {number}", row)
        found.setdefault(question.id, question)
    if not found:
        raise ConfigError(f"{place} holds no question")
    return Batch(
        questions=tuple(found.values()),
        sample=f"all {len(found)} of {name}",
        n_left_out=n_left_out,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"questions {path} cannot be read: {error}") from error


def _json(path: Path) -> Sequence[object]:
    try:
        value = read_json(_text(path))
    except ValueError as error:
        raise ConfigError(f"questions {path} cannot be read: {error}") from error
    return value if is_array(value) else [value]


def _sheet_rows(path: Path) -> Iterator[Mapping[str, Json]]:
    """Yield rows with the question as `text`.

    A sheet of one column needs no header, nor quotes around commas.
    """
    lines = _text(path).splitlines(keepends=True)
    first = lines[0] if lines else ""
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise ConfigError(f"questions {path} cannot be read: {error}") from error
    if not rows:
        return
    names = [name.strip().lower() for name in rows[0]]
    column = next((name for name in COLUMNS if name in names), None)
    if len(names) == 1:
        texts = (delimiter.join(row) for row in rows)
        yield from ({"text": text} for text in texts if text.strip().lower() not in COLUMNS)
        return
    if column is None:
        allowed = ", ".join(COLUMNS)
        raise ConfigError(f"{path} has the columns {names}; one must have a name of: {allowed}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) > len(names):
            raise ConfigError(f"{path}, row {number}: {len(row)} cells under {len(names)} names; "
                              "put quotes around a text with a comma")  # fmt: skip
        cells: dict[str, Json] = {
            name: cell for name, cell in zip(names, row, strict=False) if cell.strip()
        }
        text = cells.pop(column, None)
        if text is not None:
            yield {**cells, "text": text}


def _conversations(values: Sequence[object]) -> list[Sequence[object]] | None:
    """Return the conversations of a chat export; None if it is none."""
    if values and all(is_object(value) and "role" in value for value in values):
        return [values]
    found: list[Sequence[object]] = []
    for value in values:
        messages = value.get("messages") if is_object(value) else value
        if not is_array(messages):
            return None
        found.append(messages)
    return found


def _asked(conversations: Iterable[Sequence[object]]) -> tuple[list[Mapping[str, Json]], int]:
    """Return the user turns that ask something, follow-ups with their history; and the others."""
    rows: list[Mapping[str, Json]] = []
    n_left_out = 0
    for messages in conversations:
        turns: list[Turn] = []
        for message in messages:
            turn = _turn(message)
            if turn is None:
                continue
            if turn.role == "user":
                if asks(turn.content) and not is_remark(turn.content):
                    rows.append(_row(turn.content, turns[-_MOST_TURNS:]))
                else:
                    n_left_out += 1
            turns.append(turn)
    return rows, n_left_out


def _row(text: str, history: Sequence[Turn]) -> Mapping[str, Json]:
    if resolve(text, history).standalone:
        return {"text": text}
    return {"text": text, "history": [{"role": t.role, "content": t.content} for t in history]}


def _turn(message: object) -> Turn | None:
    """Return a turn of the user or the assistant, whose content may be in parts; else None."""
    if not is_object(message):
        return None
    role, content = message.get("role"), message.get("content")
    if is_array(content):
        texts = (part.get("text") for part in content if is_object(part))
        content = "\n".join(text for text in texts if isinstance(text, str))
    if role not in {"user", "assistant"} or not isinstance(content, str) or not content.strip():
        return None
    return Turn(role="user" if role == "user" else "assistant", content=content.strip())
