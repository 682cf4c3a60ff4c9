"""Raised and lowered digits, which must not join the number that they stand at."""

from __future__ import annotations

import re
from dataclasses import dataclass

RAISED, LOWERED = "^", "_"

_BEFORE_NUMBERS = "-+\u2212\u2013\xb1("
_NOTE = re.compile(r"\s*\d{1,2}\s*$")
_BASE = re.compile(r"(?<![\d.,])(?:10|\d)$")
"""Of a power, mostly; a price or a count has a note instead."""


@dataclass(slots=True)
class Scripts:
    """Sets them apart from digits beside them: `10^12`, `10_2`, and `45 [2]` for a note.

    `sign` is that of the text that comes next, empty for text on the line.
    """

    sign: str = ""
    _sign_before: str = ""

    def apart(self, before: str, text: str, *, is_link: bool = False) -> str:
        """Return a piece of text as it stands after another one; a raised link is a note."""
        if not text.strip():
            return text
        changes, self._sign_before = self.sign != self._sign_before, self.sign
        if not changes or not before[-1:].isdigit():
            return text
        if not self.sign:
            return f" {text}" if text[0].isdigit() else text
        if not _is_number(text):
            return text
        is_note = is_link or (self.sign == RAISED and not _BASE.search(before[-4:]))
        if is_note and _NOTE.match(text):
            return f" [{text.strip()}]"
        return self.sign + text.lstrip()


def _is_number(text: str) -> bool:
    """Whether a text begins with a number, or is the sign of one."""
    text = text.lstrip()
    bare = text[1:] if text[:1] in _BEFORE_NUMBERS else text
    return bare[:1].isdecimal() or (bool(text) and not bare)
