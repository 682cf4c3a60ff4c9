"""What servers with OpenAI's chat interface answer, in the forms that they give it.

Names of fields: OpenAI API reference, "Create chat completion" (`refusal`, `service_tier`); vLLM,
"Reasoning Outputs" (`reasoning`, before 0.12 `reasoning_content`, as in DeepSeek's API and the
llama.cpp server, whose README documents `timings`); Mistral, "Reasoning" (`thinking` parts).
"""

from __future__ import annotations

from ragkit.errors import RemoteError
from ragkit.types import Usage
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.json_values import (
    Record,
    count,
    first_record,
    is_list,
    is_record,
    items,
    number,
    record,
    text,
    text_or_none,
)

_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Fields of thoughts; servers that give two of them say the same in both."""

_THOUGHT_PARTS = frozenset({"thinking", "reasoning"})
_REFUSAL = "refusal"
"""The stop reason of a model that says that it will not answer; servers end it like any other."""


def gather_whole(gathered: Gathered, body: Record) -> str | None:
    """Add a whole answer, and return its text; None where it has another schema.

    Raises:
        RemoteError: the content is neither text nor parts.
    """
    message = first_record(body.get("choices")).get("message")
    return _gather(gathered, body, message) if is_record(message) else None


def gather_event(gathered: Gathered, body: Record) -> str:
    """Add an event of a stream, and return its text.

    Raises:
        RemoteError: the content is neither text nor parts.
    """
    return _gather(gathered, body, first_record(body.get("choices")).get("delta"))


def _gather(gathered: Gathered, body: Record, message: object) -> str:
    reason = text_or_none(first_record(body.get("choices")).get("finish_reason"))
    if not (gathered.stop_reason == _REFUSAL and reason == "stop"):
        gathered.stop_reason = reason or gathered.stop_reason
    # The usage comes with the last event or, from some servers, with each so far.
    gathered.usage = usage_of(body) or gathered.usage
    gathered.told(
        model=body.get("model"), tier=body.get("service_tier"), seconds=_timed_seconds(body)
    )
    return _gather_message(gathered, record(message))


def _gather_message(gathered: Gathered, message: Record) -> str:
    content, refusal = message.get("content"), text(message.get("refusal"))
    if not (content is None or isinstance(content, str) or is_list(content)):
        raise RemoteError("the server's answer has a content that is not text")
    said, thoughts = [content] if isinstance(content, str) else [], ""
    for part in items(content):
        kind = text(record(part).get("type"))
        if kind in _THOUGHT_PARTS:
            thoughts += _plain(record(part).get(kind) or record(part).get("text"))
        elif kind == "refusal":
            refusal += text(record(part).get("refusal"))
        else:
            said.append(_plain([part]))
    fields = (_plain(message.get(name)) for name in _THOUGHT_FIELDS)
    if refusal:
        gathered.stop_reason = _REFUSAL
    return gathered.add("".join([*said, refusal]), thoughts + next(filter(None, fields), ""))


def _plain(value: object) -> str:
    """Return a text, or the joined texts of a list of parts."""
    if isinstance(value, str):
        return value
    return "".join(p if isinstance(p, str) else text(record(p).get("text")) for p in items(value))


def _timed_seconds(body: Record) -> float | None:
    timings = record(body.get("timings"))
    read, written = number(timings.get("prompt_ms")), number(timings.get("predicted_ms"))
    return None if read is None or written is None else (read + written) / 1000.0


def usage_of(body: Record) -> Usage | None:
    """Return the tokens that an answer counts; None where it counts none."""
    counts = record(body.get("usage"))
    input_tokens = count(counts.get("prompt_tokens"))
    output_tokens = count(counts.get("completion_tokens"))
    if input_tokens is None and output_tokens is None:
        return None
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=count(record(counts.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=count(
            record(counts.get("completion_tokens_details")).get("reasoning_tokens")
        ),
        exact=True,
        counter="server",
    )
