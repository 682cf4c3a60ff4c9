"""Text that is safe to print to a terminal: all of its characters are visible.

A document, an id, a file name or a model's answer may hold characters that control the terminal
(ECMA-48 control sequences), that reorder text (Unicode Standard Annex #9, section 2) or that are
invisible (tag characters). They are shown as escapes; all other text stays as it is.
"""

from __future__ import annotations

import re

_OBEYED = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, delete, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional marks, embeddings, isolates
    "\u2028\u2029"  # line and paragraph separators
    "\u180e\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # format controls that no script needs
    "\ud800-\udfff"  # halves of surrogate pairs
    "\ufffe\uffff\U000e0000-\U000e007f"  # noncharacters, tags
)
# Zero-width spaces and soft hyphens have a use in running text, and fillers in Korean; in a name
# they would make two names look alike. Joiners and variation selectors stay: scripts need them.
_IN_NAMES = "\t\n\u00ad\u034f\u115f\u1160\u17b4\u17b5\u200b\u3164\uffa0"

_TEXT = re.compile(f"[{_OBEYED}]")
_NAME = re.compile(f"[{_OBEYED}{_IN_NAMES}]")


def printable(text: str) -> str:
    r"""Return text for a terminal: lines and tabs stay, other control characters are escaped.

    Escapes are Python's (`\x1b`, `\u202e`, `\U000e0069`). Each character is escaped by itself, so
    text that arrives in pieces is as safe as whole text. Applying it twice changes nothing more.
    """
    return _TEXT.sub(_escape, text.replace("\r\n", "\n"))


def printable_line(text: str) -> str:
    """Return text for one line of a terminal, such as a name: nothing in it ends the line.

    In addition to what `printable` escapes, line ends, tabs and zero-width characters are escaped.
    """
    return _NAME.sub(_escape, text)


def escape_in_json(text: str) -> str:
    r"""Return JSON text with the same characters as `\uXXXX`; it stands for the same values."""
    return _TEXT.sub(_json_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
