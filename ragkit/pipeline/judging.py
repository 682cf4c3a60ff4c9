"""Feedback on answers."""

from __future__ import annotations

from pathlib import Path

from ragkit.costs.feedback import KIND, Feedback, answer_id_of, readable
from ragkit.costs.ledger_files import ledger_lines
from ragkit.errors import ConfigError
from ragkit.narrowing import is_object
from ragkit.pipeline.parts import Parts
from ragkit.text.jsontext import read_json


def give_feedback(parts: Parts, answer_id: str, *, good: bool, note: str | None) -> Feedback:
    """Write feedback to the ledger; see `RAG.feedback`."""
    parts.store()  # whose folder the ledger is in, unless it is named
    ledger = parts.ledger()
    if ledger is None:
        raise ConfigError("the ledger is off, so that it holds no answers; name one: --ledger FILE")
    _check_answered(ledger.path, answer_id)
    note = None if note is None else readable(note)
    given = Feedback(answer_id=answer_id, good=good, note=note)
    ledger.write({"kind": KIND, "answer_id": answer_id, "good": good, "note": note})
    if ledger.disabled_reason is not None:
        raise ConfigError(f"the ledger is off: {ledger.disabled_reason}")
    return given


def _check_answered(path: Path, answer_id: str) -> None:
    """Raise `ConfigError` unless a ledger holds an answer of this id."""
    wanted = answer_id.encode("utf-8", "surrogatepass")
    try:
        # Few lines are parsed: a ledger may be long, and an id is in hardly any.
        found = any(_is_answer(line, answer_id) for line in ledger_lines(path) if wanted in line)
    except FileNotFoundError:
        raise ConfigError(f"there is no ledger at {path}; name it: --ledger FILE") from None
    except OSError as error:
        raise ConfigError(f"ledger {path} cannot be read: {error}") from error
    if not found:
        raise ConfigError(
            f"there is no answer {answer_id!r} in {path}; receipts name it: answer_id"
        )


def _is_answer(line: bytes, answer_id: str) -> bool:
    try:
        record = read_json(line)
    except ValueError:
        return False
    return is_object(record) and record.get("kind") == "ask" and answer_id_of(record) == answer_id
