"""The structure of HTML that stands raw in Markdown, told line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ragkit.types import PartKind, Span

_START = re.compile(
    r"<(?:(?P<literal>(?:script|pre|style|textarea)(?=[\s>]|$))|(?P<comment>!--)|(?P<program>\?)"
    r"|(?P<data>!\[CDATA\[)|(?P<declaration>![a-z])"
    r"|(?P<block>/?+(?:address|article|aside|base|basefont|blockquote|body|caption|center|colgroup"
    r"|col|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frameset|frame"
    r"|h[1-6]|header|head|hr|html|iframe|legend|link|li|main|menuitem|menu|nav|noframes|ol"
    r"|optgroup|option|param|p|search|section|summary|table|tbody|td|tfoot|thead|th|title|track"
    r"|tr|ul)(?=\s|/?+>|$))"
    r"|(?P<tag>(?:/[a-z][a-z0-9-]*+\s*+|[a-z][a-z0-9-]*+(?:\s++[a-z_:][\w.:-]*+(?:\s*+=\s*+"
    r"(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'=<>`]++))?+)*+\s*+/?+)>$))",
    re.IGNORECASE,
)
_ENDS = {
    "literal": re.compile(r"</(?:script|pre|style|textarea)>", re.IGNORECASE),
    "comment": re.compile("-->"),
    "program": re.compile(r"\?>"),
    "data": re.compile(r"\]\]>"),
    "declaration": re.compile(">"),
}
_RAW_TAG = re.compile(r"<!--[^-]*+(?:-(?!->)[^-]*+)*+(?:-->)?+|<[^<>]*+>")
_INSIDE = re.compile(r"[^\n]")
_LINE = re.compile(r"[^\n]+")
_TITLE = re.compile(r"[\s>]*+<h[1-6]\b", re.IGNORECASE)
_CODE = re.compile(r"<pre\b", re.IGNORECASE)
_PROGRAM = re.compile(r"[\s>]*+<(?:script|style|[?]|!\[CDATA\[)", re.IGNORECASE)
_RAW_ROW = re.compile(
    r"<(?:tr|caption)\b[^<]*+(?:<(?!/?tr\b|/caption\b)[^<]*+)*+(?:</(?:tr|caption)>)?+",
    re.IGNORECASE,
)
_HEADER_CELL = re.compile(r"<th\b", re.IGNORECASE)
_DATA_CELL = re.compile(r"<td\b", re.IGNORECASE)
_MARGIN = " \t\n>"
"""What is no text of a line: white space, and the signs of the quote that it stands in."""


@dataclass(frozen=True, slots=True)
class RawStart:
    """How a block begins: only a blank line ends it where `closing` is None.

    `is_any_tag`: a line of one tag of no special name, which cannot end a paragraph.
    """

    closing: re.Pattern[str] | None
    is_any_tag: bool


def raw_html_start(text: str, start: int, end: int) -> RawStart | None:
    """Return how raw HTML begins with this line, given without white space at its ends, if so."""
    found = _START.match(text, start, end)
    if found is None:
        return None
    name = found.lastgroup or ""
    return RawStart(_ENDS.get(name), name == "tag")


def raw_html_spans(text: str, start: int, end: int) -> Iterator[tuple[Span, PartKind]]:
    """Yield the spans of a block and their kinds, in order; a table comes before its rows.

    Lines without text are markup. White space at the ends of spans is left to the caller.
    """
    block = text[start:end]
    if _CODE.search(block):
        yield (start, end), "code"
        return
    if _PROGRAM.match(block):
        yield (start, end), "markup"
        return
    seen = _RAW_TAG.sub(lambda tag: _INSIDE.sub(" ", tag[0]), block)
    rows = [row.span() for row in _RAW_ROW.finditer(block)]
    if rows:
        yield (start, end), "table"
    position = 0
    for a, b in rows:
        yield from _lines(block, seen, position, a, start)
        yield (start + a, start + b), _kind_of_row(block[a:b], seen[a:b])
        position = b
    yield from _lines(block, seen, position, len(block), start)


def _kind_of_row(row: str, seen: str) -> PartKind:
    if not seen.strip(_MARGIN):
        return "markup"
    if row[1:3].lower() != "tr":
        return "caption"
    return "header_row" if _HEADER_CELL.search(row) and not _DATA_CELL.search(row) else "row"


def _lines(
    block: str, seen: str, first: int, last: int, offset: int
) -> Iterator[tuple[Span, PartKind]]:
    """Yield runs of lines with text, and runs of lines without."""
    run: tuple[int, int, PartKind] | None = None
    for line in _LINE.finditer(block, first, last):
        a, b = line.span()
        kind: PartKind = "paragraph" if seen[a:b].strip(_MARGIN) else "markup"
        if kind == "paragraph" and _TITLE.match(block, a, b):
            kind = "heading"
        if run and run[2] == kind:
            run = run[0], b, kind
            continue
        if run:
            yield (offset + run[0], offset + run[1]), run[2]
        run = a, b, kind
    if run:
        yield (offset + run[0], offset + run[1]), run[2]
