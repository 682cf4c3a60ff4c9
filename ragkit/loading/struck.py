"""Struck-out text of Markdown (GitHub Flavored Markdown, section 6.5): no longer what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragkit.types import Part

_STRUCK = re.compile(
    r"(?P<code>`[^`\n]++`)"
    r"|(?<![~\\])~~(?![~\s])(?:[^~\n]|~(?!~)){1,1000}+(?<![\s\\])~~(?!~)(?P<space> ?)"
)


def without_struck(text: str, parts: Sequence[Part], body: int = 0) -> str:
    """Return a text without what is struck out between two tildes on either side.

    Args:
        text: The whole text.
        parts: Its parts, by which code is known: there, tildes are tildes.
        body: Where front matter ends.
    """
    pieces = [text[:body]]
    at = body
    for part in parts:
        if part.kind == "code" and part.start >= at:
            pieces += [_STRUCK.sub(_kept, text[at : part.start]), text[part.start : part.end]]
            at = part.end
    return "".join([*pieces, _STRUCK.sub(_kept, text[at:])])


def _kept(match: re.Match[str]) -> str:
    """Return code as it is, and of what is struck out the space, unless another one is before."""
    if match["code"]:
        return match["code"]
    start = match.start()
    return "" if start == 0 or match.string[start - 1].isspace() else match["space"]
