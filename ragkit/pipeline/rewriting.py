"""A question that goes on from earlier turns, rewritten by the model so that it stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragkit.pipeline.answers import sound_usage
from ragkit.pipeline.followups import Resolved
from ragkit.text.thoughts import without_thoughts
from ragkit.types import GenerationOptions, Generator, Message, Prompt, Turn, Usage

_INSTRUCTION = (
    "Rewrite the user's last question so that it can be understood without the conversation. "
    "Write only the question, in its language."
)
_MOST_TOKENS = 200
_MOST_CHARACTERS = 1000
_TURNS = 6
"""The newest turns, of which a question may speak."""


def rewritten(
    generator: Generator, resolved: Resolved, question: str, history: Sequence[Turn]
) -> tuple[Resolved, Usage | None]:
    """Return what a model takes a question to ask, and what that cost; None without a model.

    An empty or overlong rewriting is left out: what the rule has found stays.

    Raises:
        RemoteError: the model failed.
    """
    if not generator.calls_llm:
        return resolved, None
    messages = (
        Message(role="system", content=_INSTRUCTION, trusted=True),
        *(Message(role=turn.role, content=turn.content) for turn in history[-_TURNS:]),
        Message(role="user", content=f"{_INSTRUCTION}\n\nQuestion: {question}\nRewritten:"),
    )
    prompt = Prompt(messages=messages, question=question)
    generation = generator.generate(
        prompt, GenerationOptions(max_tokens=_MOST_TOKENS, temperature=0.0)
    )
    text = " ".join(without_thoughts(generation.text)[0].split()).strip("\"'“”")
    usage = sound_usage(generation.usage)
    if not text or len(text) > _MOST_CHARACTERS:
        return resolved, usage
    return replace(
        resolved, question=text, topic="", own="", meant=(), also=(), by="generator"
    ), usage


def added(usage: Usage, more: Usage) -> Usage:
    """Return what two calls used; unknown where either is."""

    def total(one: int | None, other: int | None) -> int | None:
        return None if one is None or other is None else one + other

    return replace(
        usage,
        input_tokens=total(usage.input_tokens, more.input_tokens),
        output_tokens=total(usage.output_tokens, more.output_tokens),
        cached_tokens=total(usage.cached_tokens, more.cached_tokens),
        reasoning_tokens=total(usage.reasoning_tokens, more.reasoning_tokens),
        exact=usage.exact and more.exact,
    )
