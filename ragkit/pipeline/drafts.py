"""An answer before it is generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragkit.pipeline.answers import Evidence, TrimUse
from ragkit.pipeline.followups import Resolved
from ragkit.pipeline.history import newest_turns
from ragkit.prompts import turns_text
from ragkit.trimming import Trimmed, untrimmed
from ragkit.types import ContextItem, Hit, Message, Prompt, RefusalReason, Turn

if TYPE_CHECKING:
    from ragkit.pipeline.options import StreamOptions
    from ragkit.pipeline.parts import Parts
    from ragkit.pipeline.receipts import Attempt


@dataclass(slots=True, kw_only=True)
class Draft:
    """An answer before generation; without a prompt, a refusal."""

    id: str | None
    question: str
    trimmed: Trimmed
    context_tokens: int
    prompt: Prompt | None
    refusal: RefusalReason | None
    hits: Sequence[Hit]
    near: Sequence[ContextItem]
    resolved: Resolved
    evidence: Evidence
    trim: TrimUse | None
    baseline_tokens: int | None
    baseline_comparable: bool
    template_tokens: int | None
    input_tokens: int | None
    attempt: Attempt
    is_sent: bool = False
    """Whether the prompt has been given to the generator."""


def remark(
    parts: Parts,
    resolved: Resolved,
    history: Sequence[Turn],
    options: StreamOptions,
    attempt: Attempt,
) -> Draft:
    """Return a draft without documents: the turns, and what is said about them."""
    counter, question = parts.counter, resolved.question
    turns = newest_turns(history, parts.settings.max_history_tokens, counter, turns_text)
    messages = [Message(role=turn.role, content=turn.content) for turn in turns]
    prompt = Prompt(
        messages=(*messages, Message(role="user", content=question)),
        question=question,
        history=tuple(turns),
    )
    return Draft(
        id=options.get("id"),
        question=question,
        trimmed=untrimmed([], counter=counter),
        context_tokens=0,
        prompt=prompt,
        refusal=None,
        hits=(),
        near=(),
        resolved=resolved,
        evidence=Evidence(score=None, threshold=None),
        trim=None,
        baseline_tokens=None,
        baseline_comparable=False,
        template_tokens=0,
        input_tokens=counter.count(prompt.text),
        attempt=attempt,
    )
