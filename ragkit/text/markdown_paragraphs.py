"""What a paragraph or an item of Markdown turns out to be once all of it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragkit.text.raw_html import raw_html_spans
from ragkit.types import PartKind, Span

_LINE = re.compile(r"[^\n]++")
_BAR = re.compile(r"\\.|\|")
_LINK_DEFINITION = re.compile(
    r"[\s>]*+\[(?!\^)(?:[^\[\]\\]|\\.)++\]:\s*+(?:<[^<>\n]*+>|[^\s<]\S*+)"
    r"(?:\s++(?:\"[^\"]*+\"|'[^']*+'|\([^()]*+\))(?=[ \t]*+(?:\n|\Z)))?+[ \t]*+(?:\n|\Z)"
)
_CONTENTS = re.compile(r"[\s>]*+(?:\[\[?+_?+TOC_?+\]\]?+|\{:toc\})", re.IGNORECASE)
_BADGES = re.compile(
    r"[\s>]*+(?:\[!\[[^\[\]]*+\](?:\([^()]*+\)|\[[^\[\]]*+\])\](?:\([^()]*+\)|\[[^\[\]]*+\])\s*+)++"
)
_ROWS = re.compile(r"(?:[ \t>]*+\|(?:[^|\n]*+\|)++[ \t]*+(?:\n|\Z))++")
_TERM = r"\[?+(?:`[^`\n]++`|--?+\w[\w=-]*+)(?:\]\(#[^()\s]*+\))?+"
_SETTING = (
    rf"(?:\*\*)?+{_TERM}(?:,?+[ ](?:or[ ])?+{_TERM})*+(?:\*\*)?+(?:[ ]\([^()\n]*+\))?+(?:\*\*)?+"
)
_OPTION_TERM = re.compile(_SETTING)
_OPTION_ITEM = re.compile(rf"[-+*]\s++(?:\[[ xX]\]\s++)?+{_SETTING}(?::|[ ][-–—])(?:\*\*)?+\s")
_LINK_ITEM = re.compile(r"[\s>]*+(?:[-+*]|\d++[.)])\s++\[")


def paragraph_spans(text: str, start: int, end: int) -> Iterator[tuple[Span, PartKind]]:
    """Yield what a paragraph without definitions of links consists of, a table before its rows.

    White space at the ends of spans is left to the caller.
    """
    if text.startswith("<", start, end):
        yield from raw_html_spans(text, start, end)
    elif _CONTENTS.fullmatch(text, start, end):
        yield (start, end), "nav"
    elif _BADGES.fullmatch(text, start, end):
        yield (start, end), "markup"
    elif _ROWS.fullmatch(text, start, end):
        yield (start, end), "table"
        for line in _LINE.finditer(text, start, end):
            yield line.span(), "row"
    else:
        yield (start, end), "paragraph"


def link_definitions(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the definitions of links at the head of a paragraph."""
    while found := _LINK_DEFINITION.match(text, start, end):
        yield found.span()
        start = found.end()


def is_option_term(text: str, start: int, end: int) -> bool:
    """Whether a term of a definition list is a flag, or in code."""
    return _OPTION_TERM.fullmatch(text, start, end) is not None


def is_option_item(text: str, start: int, end: int) -> bool:
    """Whether an item explains a flag, or what is in code: ``- `port`: text``."""
    return _OPTION_ITEM.match(text, start, end) is not None


def is_inner_link(text: str, start: int, end: int) -> bool:
    """Whether an item is nothing but a link to a place in the same document."""
    if not _LINK_ITEM.match(text, start, end):
        return False
    title, link, target = text[start:end].rstrip().partition("](#")
    is_one = "](" not in title and target.find(")") == len(target) - 1
    return link != "" and is_one and len(target.split()) == 1


def bar_lines(text: str, start: int, end: int) -> list[Span]:
    """Return the lines of words at the end of a paragraph that begin with a bar, unindented."""
    spans: list[Span] = []
    for line in _LINE.finditer(text, start, end):
        words = line[0].lstrip(" ")
        if words.startswith("|") and words.strip("|:- "):
            spans.append((line.end() - len(words), line.end()))
        else:
            spans.clear()
    return spans


def n_cells(row: str) -> int:
    """Return the number of cells of a row, 0 without a bar."""
    bars = [bar.start() for bar in _BAR.finditer(row) if bar[0] == "|"]
    outer = (bars[0] == 0) + (bars[-1] == len(row) - 1) if bars else 0
    return len(bars) + 1 - outer if "|" in row else 0
