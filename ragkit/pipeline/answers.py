"""Answers: the text, its evidence, and its cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragkit.brief import brief, counted
from ragkit.types import (
    Citation,
    ContextItem,
    Generation,
    Json,
    Message,
    Reason,
    StopReason,
    Suggestion,
    Usage,
    token_count,
)

if TYPE_CHECKING:
    from ragkit.costs.receipt import Receipt
    from ragkit.pipeline.followups import Resolved

_STOP_REASONS: dict[str, StopReason] = {
    "end": "end",
    "end_turn": "end",
    "eos": "end",
    "eos_token": "end",
    "complete": "end",
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "filter": "filter",
    "content_filter": "filter",
    "content_filtered": "filter",
    "refusal": "filter",
    "safety": "filter",
    "guardrail": "guardrail",
    "guardrail_intervened": "guardrail",
    "timeout": "timeout",
    "abort": "cancelled",
    "cancelled": "cancelled",
    "error": "error",
    "insufficient_system_resource": "error",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
"""What servers say, as answers name it: OpenAI, vLLM, Mistral ("model_length"), DeepSeek
("insufficient_system_resource"), Ollama, Bedrock, Text Generation Inference and DJL LMI."""

REFUSED_BECAUSE: dict[str, str] = {
    "no_hits": "nothing in the store matches the question",
    "low_evidence": "the documents do not support an answer",
    "cap_too_small": "not one sentence fits under max_context_tokens",
    "model_abstained": "the model says that the documents do not answer",
    "guardrail": "a guardrail of the knowledge base blocked the question or what was found",
}
"""What people are told of a refusal, by its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How well the retrieved text supports an answer, in [0, 1], against the refusal threshold."""

    score: float | None
    threshold: float | None
    calibrated: bool = False

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {"score": self.score, "threshold": self.threshold, "calibrated": self.calibrated}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimUse:
    """Which trim policy was applied.

    `promise` says what holds where a policy is calibrated without a confidence: it is not
    `certified` then. `orphans` is the number of units of the context that lack something they need:
    none, unless a cap on the context leaves no room for it.
    """

    name: str
    sha256: str | None = None
    certified: bool = False
    stale: bool = False
    void_because: str | None = None
    orphans: int = 0
    promise: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "certified": self.certified,
            "stale": self.stale,
            "void_because": self.void_because,
            "orphans": self.orphans,
            "promise": self.promise,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer or a refusal; for a refusal, `text` is None and `reason` says why.

    In a dry run, `text` is None and `refused` is false. `messages` is exactly what is sent, and
    `prompt` their contents joined by a blank line; both are without content if nothing was sent.
    Where the model itself says that the text does not answer (`model_abstained`), it has been
    asked, and both are there. `reasoning` is what the model thought before it answered, which is
    never part of `text`. `stop_reason` says why the text ends; None means that the reason is
    unknown or that nothing was generated. `resolved` is what the question was taken to ask after
    earlier turns; a message about the conversation itself has the `reason` `conversation` and is
    answered without documents. A refusal has `suggestions`: where to look instead.
    """

    id: str | None
    question: str
    text: str | None
    refused: bool
    reason: Reason | None
    evidence: Evidence
    citations: tuple[Citation, ...]
    context: tuple[ContextItem, ...]
    usage: Usage
    prompt: str | None
    trim: TrimUse | None
    receipt: Receipt
    stop_reason: StopReason | None = None
    suggestions: tuple[Suggestion, ...] = ()
    messages: tuple[Message, ...] = ()
    reasoning: str | None = None
    resolved: Resolved | None = None

    def __repr__(self) -> str:
        """Return the answer in short, with its cost."""
        said = f"refused: {self.reason}" if self.refused else brief(self.text)
        if self.reason == "conversation":
            said += " (conversation)"
        return f"<Answer {said}, {counted(len(self.citations), 'citation')}, {self.receipt}>"

    def _repr_html_(self) -> str:
        """Return answer, citations and receipt, as notebooks show them."""
        from ragkit.pipeline.answer_html import answer_html

        return answer_html(self)

    def to_dict(self, *, with_prompt: bool = True) -> dict[str, Json]:
        """Return the JSON form of `ragkit ask`."""
        data: dict[str, Json] = {
            "schema": 1,
            "id": self.id,
            "question": self.question,
            "text": self.text,
            "reasoning": self.reasoning,
            "refused": self.refused,
            "reason": self.reason,
            "stop_reason": self.stop_reason,
            "resolved": None if self.resolved is None else self.resolved.to_dict(),
            "evidence": self.evidence.to_dict(),
            "citations": [citation.to_dict() for citation in self.citations],
            "suggestions": [suggestion.to_dict() for suggestion in self.suggestions],
            "context": [item.to_dict() for item in self.context],
            "usage": self.usage.to_dict(),
            "trim": None if self.trim is None else self.trim.to_dict(),
            "receipt": self.receipt.to_dict(),
        }
        if with_prompt:
            data["prompt"] = self.prompt
            data["messages"] = [message.to_dict() for message in self.messages]
        return data


def stop_reason(generation: Generation | None) -> StopReason | None:
    """Return why a text ends, in words that do not depend on the server; None: unknown."""
    return None if generation is None else _STOP_REASONS.get((generation.stop_reason or "").lower())


def sound_usage(usage: object) -> Usage:
    """Return what a generator says it used, each number that cannot be one as unknown."""
    if not isinstance(usage, Usage):
        return Usage()
    return replace(
        usage,
        input_tokens=token_count(usage.input_tokens),
        output_tokens=token_count(usage.output_tokens),
        cached_tokens=token_count(usage.cached_tokens),
        reasoning_tokens=token_count(usage.reasoning_tokens),
    )
