"""Characters that nobody sees, whatever the format, but a model may read or obey.

Unicode's tag characters spell any ASCII text without a trace; embeddings, overrides and isolates of
direction (Unicode Standard Annex #9, section 2) show a text in another order than it has. The marks
of direction (U+200E, U+200F, U+061C) stay: right-to-left texts need them.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


def without_unseen(text: str) -> tuple[str, int]:
    """Return a text without such characters, and how many they were."""
    if text.isascii():
        return text, 0
    short = _UNSEEN.sub("", text)
    return short, len(text) - len(short)
