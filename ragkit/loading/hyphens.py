"""Words that were broken at the end of a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BREAK = re.compile("(?<=[^\\W\\d_])([-\u2010\u00ad])\n[ \t]{0,40}(?=[^\\W\\d_])")
_HYPHENATED = re.compile(r"(?<!\w)[^\W\d_]{1,40}-[^\W\d_]{1,40}(?!\w)")
_LAST_WORD = re.compile(r"[^\W\d_]{1,40}\Z")
_FIRST_WORD = re.compile(r"[^\W\d_]{1,40}")
_LONGEST = 40
_FIRST_OF_COMPOUNDS = frozenset(
    "all cross double ex four full half high ill long low multi non one part quasi self semi short "
    "so three two well".split()
)


def without_breaks(texts: Sequence[str]) -> list[str]:
    """Join words broken at the ends of lines, in texts of one document.

    The hyphen goes, unless the document has the word with it within a line too, or its first part
    is one that compounds begin with (`well-known`). A part that begins with a capital keeps it.
    """
    if not any("\n" in text and _BREAK.search(text) for text in texts):
        return list(texts)
    known = {word.lower() for text in texts for word in _HYPHENATED.findall(text)}

    def joined(found: re.Match[str]) -> str:
        text, start, end = found.string, found.start(), found.end()
        left = _LAST_WORD.search(text[max(0, start - _LONGEST) : start])
        right = _FIRST_WORD.match(text, end)
        if left is None or right is None:
            return found[0]
        first, second = left[0].lower(), right[0]
        is_compound = first in _FIRST_OF_COMPOUNDS or f"{first}-{second.lower()}" in known
        return "-" if found[1] != "\u00ad" and (is_compound or not second[0].islower()) else ""

    return [_BREAK.sub(joined, text) if "\n" in text else text for text in texts]
