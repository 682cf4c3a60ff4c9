"""The messages of a prompt as Converse takes them.

It wants roles that alternate, the user's first, instructions apart from them in `system`, and
refuses text without a visible character.
"""

from __future__ import annotations

from ragkit.errors import ConfigError
from ragkit.types import Message, Prompt
from ragkit_connectors.support.messages import alternating

_CACHE_POINT = {"cachePoint": {"type": "default"}}


def conversation(
    prompt: Prompt, *, guards_question: bool = False, caches_system: bool = False
) -> dict[str, object]:
    """Return the parameters `messages` and, where there are instructions, `system`.

    Args:
        prompt: What is sent.
        guards_question: Whether the question is marked as what a guardrail is to assess.
        caches_system: Whether the end of the instructions is marked as a point to cache up to.

    Raises:
        ConfigError: a message is empty.
    """
    said = alternating(prompt.messages)
    if not all(message.content.strip() for message in said):
        raise ConfigError("the prompt is empty; Bedrock refuses messages without text")
    system = [{"text": message.content} for message in said if message.role == "system"]
    turns = [message for message in said if message.role != "system"]
    messages: list[dict[str, object]] = [
        {"role": turn.role, "content": [{"text": turn.content}]} for turn in turns
    ]
    if guards_question and turns and prompt.question.strip():
        messages[-1]["content"] = _guarded(turns[-1], prompt.question)
    parameters: dict[str, object] = {"messages": messages}
    if system:
        parameters["system"] = [*system, _CACHE_POINT] if caches_system else system
    return parameters


def _guarded(asked: Message, question: str) -> list[dict[str, object]]:
    before, found, after = asked.content.rpartition(question)
    if not found:
        return [{"text": asked.content}]
    blocks: list[dict[str, object]] = [
        {"text": before}, {"guardContent": {"text": {"text": question}}}, {"text": after},
    ]  # fmt: skip
    return [block for block in blocks if str(block.get("text", "x")).strip()]
