"""What the servers of tests are told to make a model say, and what they were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ragkit.types import Json, Message, Role, StopReason
from ragkit_connectors.support.json_values import records, text
from ragkit_connectors.testing import Reply, Script

CHAT_ENDINGS: Mapping[StopReason, str] = {
    "end": "stop", "length": "length", "filter": "content_filter",
}  # fmt: skip
"""Why models end, as OpenAI's interface says it."""


def reply(script: Script) -> Reply | None:
    """Return a script as the reply of a chat server; None where that has no word for its end."""
    if script.ending not in CHAT_ENDINGS:
        return None
    return Reply(
        text=script.text,
        thoughts=script.thoughts,
        in_parts=script.in_parts,
        finish_reason=CHAT_ENDINGS[script.ending],
        fault="broken_stream" if script.breaks_off else None,
    )


def sent_messages(body: Mapping[str, Json]) -> Sequence[Message]:
    """Return the messages of a request to a chat interface."""
    return [
        Message(role=cast("Role", message["role"]), content=text(message["content"]))
        for message in records(body["messages"])
    ]
