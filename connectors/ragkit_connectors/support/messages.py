"""The messages of a prompt in the forms that models take them in; nothing is lost on the way.

Some models take no system message, some only roles that alternate, the user's first, and some
nothing but text. No message without a visible character is sent, since many servers refuse it; only
a prompt's last one stays whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal, TypeAlias, get_args

from ragkit.errors import ConfigError
from ragkit.types import Json, Message

SystemRole: TypeAlias = Literal["system", "fold"]
"""Whether a system message is sent as such, or folded into what the user says first."""


def check_system_role(system_role: SystemRole) -> SystemRole:
    """Return the setting `system_role`; raises `ConfigError` where it is none."""
    if system_role not in get_args(SystemRole):
        raise ConfigError(f"system_role {system_role!r}; allowed: {' '.join(get_args(SystemRole))}")
    return system_role


def as_records(messages: Sequence[Message], system_role: SystemRole) -> list[Json]:
    """Return messages as the objects that chat interfaces take."""
    folds = system_role == "fold"
    said = alternating(messages, system_role=False) if folds else visible(messages)
    return [message.to_dict() for message in said]


def visible(messages: Sequence[Message]) -> list[Message]:
    """Return the messages that say something, and the last one."""
    return [m for m in messages[:-1] if m.content.strip()] + list(messages[-1:])


def alternating(messages: Sequence[Message], *, system_role: bool = True) -> list[Message]:
    """Return at most one system message, then messages of user and assistant in turn.

    Neighbours of a role are joined by a blank line. An answer that no question stands before is
    told to the model as text, since a conversation begins with the user.

    Args:
        messages: Those of a prompt.
        system_role: Whether the model takes a system message; else the user says it first.
    """
    said = visible(messages)
    system = [message for message in said if message.role == "system"]
    turns = [message for message in said if message.role != "system"]
    n_leading = next((i for i, m in enumerate(turns) if m.role == "user"), len(turns))
    turns[:n_leading] = [Message(role="user", content=_told(m)) for m in turns[:n_leading]]
    if not system_role:
        turns[:0] = [replace(message, role="user") for message in system]
        system = []
    return _joined([*system, *turns])


def as_text(messages: Sequence[Message]) -> str:
    """Return a conversation as one text: instructions, earlier turns by name, what the user asks.

    The lines of a turn after its first are indented, so that none of them passes for another turn.
    A prompt of one message is that message.
    """
    said = visible(messages)
    system = [message.content for message in said if message.role == "system"]
    turns = [message for message in said if message.role != "system"]
    asked = [turns.pop().content] if turns and turns[-1].role == "user" else []
    earlier = ["\n".join(map(_told, turns))] if turns else []
    return "\n\n".join([*system, *earlier, *asked])


def _told(turn: Message) -> str:
    content = "\n  ".join(turn.content.strip().splitlines())
    return f"{turn.role}: {content}"


def _joined(messages: Iterable[Message]) -> list[Message]:
    runs = groupby(messages, key=lambda message: message.role)
    return [_merged(list(run)) for _, run in runs]


def _merged(run: Sequence[Message]) -> Message:
    return Message(
        role=run[0].role,
        content="\n\n".join(message.content for message in run),
        trusted=all(message.trusted for message in run),
    )
