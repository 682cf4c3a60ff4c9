"""Sentences that name nothing themselves: what they are about stands in the sentence before."""

from __future__ import annotations

import re

_OPENING_PRONOUN = re.compile(
    r"[\s\"'“‘(*_]*(?:It|Its|They|Their|He|She|His|Her|This|These|Those|Such|That)\b"
)


def refers_back(sentence: str) -> bool:
    """Whether a sentence opens with an English pronoun; in other languages none is known.

    Connectives such as "However" do not count: what follows them mostly names its subject.
    """
    return _OPENING_PRONOUN.match(sentence) is not None
