"""What a model said: its answer, apart from its thoughts and from its verdict on the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ragkit.errors import NoAnswerError
from ragkit.pipeline.answers import stop_reason
from ragkit.prompts import is_abstention, may_become_abstention
from ragkit.text.thoughts import Thoughts, without_thoughts
from ragkit.types import Generation, StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer, what the model thought before it, and whether the answer is that it has none."""

    text: str
    reasoning: str | None = None
    abstained: bool = False


def said(generation: Generation, *, asked_to_abstain: bool) -> Said:
    """Return what a language model said.

    Raises:
        NoAnswerError: it used up its tokens, or ended, without a word beside its thoughts. A model
            that ends without any word or thought has answered, with an empty text.
    """
    text, thoughts = without_thoughts(generation.text)
    reasoning = "\n\n".join(filter(None, (generation.reasoning, thoughts))) or None
    reason = stop_reason(generation)
    if not text.strip():
        text = ""
        if reason == "length" or (reasoning is not None and reason in {"end", "stop", None}):
            raise NoAnswerError(_nothing(reasoning, reason), reasoning=reasoning)
    abstained = asked_to_abstain and is_abstention(text)
    return Said(text=text, reasoning=reasoning, abstained=abstained)


def _nothing(reasoning: str | None, reason: StopReason | None) -> str:
    if reasoning is None:
        return (
            "the model used up its tokens without a word of an answer; allow it more (max_tokens, "
            "--max-tokens)"
        )
    spent = "used up its tokens thinking" if reason == "length" else "ended with its thoughts"
    return (
        f"the model {spent} and wrote no answer; allow it more tokens (max_tokens, --max-tokens), "
        "or switch its thinking off (docs/local-llms.md)"
    )


def as_said(
    stream: Iterator[str | Generation], *, asked_to_abstain: bool
) -> Iterator[str | Generation]:
    """Yield the pieces of an answer without thoughts, and none of an answer that there is none."""
    thoughts, held, is_holding = Thoughts(), "", asked_to_abstain
    for piece in stream:
        is_last = isinstance(piece, Generation)
        held += thoughts.close() if is_last else thoughts.feed(str(piece))
        if is_holding and may_become_abstention(held):
            if not is_last:
                continue
            held = "" if is_abstention(held) else held
        is_holding = False
        if held:
            yield held
            held = ""
        if is_last:
            yield piece
