"""What users say of answers: lines of the ledger, tied to an answer by its id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.narrowing import is_object
from ragkit.text.jsontext import read_json
from ragkit.types import Json

KIND = "feedback"
"""Kind of such a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Whether an answer was good, and the note that was given, if any."""

    answer_id: str
    good: bool
    note: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit feedback`."""
        return {"schema": 1, "answer_id": self.answer_id, "good": self.good, "note": self.note}


def answer_id_of(record: Mapping[str, Json]) -> str | None:
    """Return the id of the answer that a line of a ledger is about; None for other lines."""
    receipt = record.get("receipt")
    holder = receipt if record.get("kind") == "ask" and is_object(receipt) else record
    found = holder.get("answer_id")
    return found if isinstance(found, str) else None


def check_answered(path: Path, answer_id: str) -> None:
    """Raise `ConfigError` unless a ledger holds an answer of this id."""
    wanted = answer_id.encode("utf-8", "surrogatepass")
    try:
        with path.open("rb") as lines:
            # Few lines are parsed: a ledger may be long, and an id is in hardly any.
            found = any(_is_answer(line, answer_id) for line in lines if wanted in line)
    except FileNotFoundError:
        raise ConfigError(f"there is no ledger at {path}; name it: --ledger FILE") from None
    except OSError as error:
        raise ConfigError(f"ledger {path} cannot be read: {error}") from error
    if not wanted or not found:
        raise ConfigError(
            f"there is no answer {answer_id!r} in {path}; receipts name it: answer_id"
        )


def _is_answer(line: bytes, answer_id: str) -> bool:
    try:
        record = read_json(line)
    except ValueError:
        return False
    return is_object(record) and record.get("kind") == "ask" and answer_id_of(record) == answer_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A question that was kept in the ledger, and what was last said of its answer."""

    question: str
    feedback: Feedback


def judged_questions(records: Iterable[Mapping[str, Json]]) -> Iterator[Judged]:
    """Yield the questions of answers with feedback, of those whose text was kept, in order."""
    questions: dict[str, str] = {}
    said: dict[str, Feedback] = {}
    for record in records:
        answer_id, kept = answer_id_of(record), record.get("kept")
        if answer_id is None:
            continue
        if record.get("kind") == KIND:
            note = record.get("note")
            said[answer_id] = Feedback(
                answer_id=answer_id,
                good=record.get("good") is True,
                note=note if isinstance(note, str) else None,
            )
        elif is_object(kept) and isinstance(question := kept.get("question"), str):
            questions[answer_id] = question
    for answer_id, question in questions.items():
        if answer_id in said:
            yield Judged(question=question, feedback=said[answer_id])
