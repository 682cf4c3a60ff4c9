"""Feedback on answers."""

from __future__ import annotations

from ragkit.costs.feedback import KIND, Feedback, check_answered
from ragkit.errors import ConfigError
from ragkit.pipeline.parts import Parts


def give_feedback(parts: Parts, answer_id: str, *, good: bool, note: str | None) -> Feedback:
    """Write feedback to the ledger; see `RAG.feedback`."""
    parts.store()  # whose folder the ledger is in, unless it is named
    ledger = parts.ledger()
    if ledger is None:
        raise ConfigError("the ledger is off, so that it holds no answers; name one: --ledger FILE")
    check_answered(ledger.path, answer_id)
    given = Feedback(answer_id=answer_id, good=good, note=note)
    ledger.write({"kind": KIND, "answer_id": answer_id, "good": good, "note": note})
    if ledger.disabled_reason is not None:
        raise ConfigError(f"the ledger is off: {ledger.disabled_reason}")
    return given
