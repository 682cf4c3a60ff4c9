"""Conversations as token ids, in which only the chat template's own text holds control tokens.

A template is filled with stand-ins for what the messages say, so that it is known of each character
whose it is. The whole text is then tokenised as the model's library does it, with one exception:
where a message says the text of a control token, the text is cut inside that token, and the pieces
are tokenised one by one. No tokenizer can find the token then, and the ids of all other texts are
the library's.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ragkit.errors import RemoteError
from ragkit.types import Message
from ragkit_connectors.support.messages import alternating, as_text, visible

# Templates strip what messages say, or not: the spaces around a stand-in tell.
_STAND_IN = "\u2003\ue000{}\ue001\u2003"
_FOUND = re.compile("(\u2003?)\ue000([0-9]+)\ue001(\u2003?)")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a prompt's text, and whether its control tokens are meant as such."""

    text: str
    is_control: bool


def laid_out(
    messages: Sequence[Message], fill: Callable[[list[dict[str, str]]], str]
) -> list[Part]:
    """Return the text of a prompt as a chat template writes it, in parts.

    Templates that take no system message, or only roles that alternate, raise an error or leave
    messages out: they get the same conversation in a form that they take.

    Args:
        messages: Those of a prompt.
        fill: Fills the template with messages; it may raise anything.

    Raises:
        RemoteError: the template takes no form of the conversation.
    """
    failure: Exception | None = None
    for form in _forms(messages):
        try:
            parts = _filled(form, fill)
        except Exception as error:  # a template is a program of the model's
            failure = failure or error
            continue
        if parts is not None:
            return parts
    why = "it leaves out what is asked" if failure is None else type(failure).__name__
    raise RemoteError(f"the chat template of the model cannot be filled ({why})") from failure


def _forms(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    yield visible(messages)
    yield alternating(messages)
    yield alternating(messages, system_role=False)
    yield [Message(role="user", content=as_text(messages))]


def _filled(
    messages: Sequence[Message], fill: Callable[[list[dict[str, str]]], str]
) -> list[Part] | None:
    """Return what a template makes of messages; None if it leaves one of them out."""
    stand_ins = [
        {"role": message.role, "content": _STAND_IN.format(n)} for n, message in enumerate(messages)
    ]
    text, parts, start, seen = fill(stand_ins), list[Part](), 0, set[int]()
    for found in _FOUND.finditer(text):
        n = int(found[2])
        seen.add(n)
        content = messages[n].content
        content = content if found[1] else content.lstrip()
        content = content if found[3] else content.rstrip()
        parts.append(Part(text[start : found.start()], is_control=True))
        parts.append(Part(content, is_control=messages[n].trusted))
        start = found.end()
    parts.append(Part(text[start:], is_control=True))
    return parts if len(seen) == len(messages) else None


def is_mark_of(template: str, token: str) -> bool:
    """Whether a template writes a token that is no word: some tokenizers call its marks text."""
    return token in template and not token.isalnum()


class ControlTokens:
    """The texts that a tokenizer reads as control tokens, wherever they stand."""

    def __init__(self, texts: Iterable[str]) -> None:
        # What has one character cannot be cut; white space is no mark of a template.
        self._texts = frozenset(text for text in texts if len(text) > 1 and not text.isspace())
        self._lengths = sorted({len(text) for text in self._texts})
        self._firsts = frozenset(text[0] for text in self._texts)

    def pieces(self, parts: Sequence[Part]) -> list[str]:
        """Return the text of a prompt, cut inside each control token that is not meant as one."""
        text = "".join(part.text for part in parts)
        meant, cuts = _Spans(parts), [0]
        for start, char in enumerate(text):
            if char not in self._firsts:
                continue
            ends = (start + n for n in self._lengths if text[start : start + n] in self._texts)
            if not all(meant.hold(start, end) for end in ends if end <= len(text)):
                cuts.append(start + 1)
        return [text[a:b] for a, b in zip(cuts, [*cuts[1:], len(text)], strict=True)]


class _Spans:
    """Where a text's control tokens are meant as such."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        at = 0
        for part in parts:
            end = at + len(part.text)
            if part.is_control and self._ends and self._ends[-1] == at:
                self._ends[-1] = end
            elif part.is_control:
                self._starts.append(at)
                self._ends.append(end)
            at = end

    def hold(self, start: int, end: int) -> bool:
        """Whether one of them holds all of a span."""
        i = bisect_right(self._starts, start) - 1
        return i >= 0 and end <= self._ends[i]


def joined_ids(
    pieces: Sequence[str],
    first: Callable[[str], Sequence[int]],
    further: Callable[[str], Sequence[int]],
) -> list[int]:
    """Return the ids of all pieces.

    Args:
        pieces: One or more.
        first: Tokenises the first piece, with what a text begins with.
        further: Tokenises a text without that.
    """
    ids = list(first(pieces[0]))
    # Some tokenizers put a space before any text, but not after a new line.
    before = list(further("\n")) if len(pieces) > 1 else []
    for piece in pieces[1:]:
        after = list(further(f"\n{piece}"))
        begins_alike = after[: len(before)] == before
        ids += after[len(before) :] if begins_alike else further(piece)
    return ids
