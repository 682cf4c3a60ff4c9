"""Sentence bounds in any language, in time linear in the length of the text.

A sentence ends at closing punctuation, at a blank line, at a structural line (heading, list item,
table row, code) and at a short line; a hard-wrapped line does not end one. Scripts that write no
full stop (Thai, Lao, Khmer, Myanmar) are cut at spaces once a piece is long enough.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ragkit.types import Span

MAX_CHARACTERS = 1000
"""A longer sentence is cut: at a clause, else at a space, else anywhere."""

WRAPPED_LINE_CHARACTERS = 50
"""A line at least this long, without closing punctuation, may go on in the next line."""

UNSPACED_CHARACTERS = 80
"""Length from which a space ends a piece of text in a script without full stops."""

_CLOSERS = "\"'”’»«)\\]}›」』）】》〉*_"
_STOPS = re.compile(
    rf"(?P<wide>[。！？｡．]+[{_CLOSERS}]*)"
    rf"|(?P<spaced>[.!?…؟۔।॥։።᠃။៕‼⁇⁈⁉]+[{_CLOSERS}]*)(?=\s|$)"
)
_LINE = re.compile(r"[^\n]*\n?")
_STRUCTURE = re.compile(
    r"\s*(?:[-*+•‣◦–—]\s|\d{1,3}[.)]\s|[A-Za-z][.)]\s|#{1,6}\s|\||>|```|~~~|\.\.\s|={3,}|-{3,}|~{3,})"
)
_ITEM_NUMBER = re.compile(r"\s*\(?(?:\d{1,3}|[A-Za-z]|[ivxlc]{1,5})[.)]$")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_CLAUSE = re.compile(r"[,;:，；：、،؛]")
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]*$")

_ABBREVIATIONS = frozenset(
    # English and German words that are written with a full stop inside a sentence.
    "mr mrs ms dr prof st sr jr rev gen col maj capt lt sgt hon gov sen rep pres "
    "vs etc eg ie cf al approx no nos vol pp ca est dept univ inc ltd co corp bros "
    "fig figs eq eqs sec ch ed eds jan feb mar apr jun jul aug sep sept oct nov dec "
    "mt ft av ave blvd rd bzw usw ggf vgl evtl inkl zzgl nr str abs abb hr fr "
    "ph.d m.sc b.sc".split()
)
_ALWAYS_INSIDE = frozenset("mr mrs ms dr prof st rev gen col maj capt lt sgt gov sen rep vs eg ie "
                           "cf bzw vgl fig figs eq eqs nr mt bros v".split())  # fmt: skip


def sentence_spans(text: str, *, start: int = 0, end: int | None = None) -> list[Span]:
    """Return the bounds of the sentences of `text[start:end]`.

    Returns:
        Spans in code points of `text`, in order, not overlapping, without white space at either
        end; together they hold everything but white space.
    """
    end = len(text) if end is None else end
    spans: list[Span] = []
    for first, last in _blocks(text, start, end):
        for a, b in _sentences(text, first, last):
            spans.extend(_bounded(text, a, b))
    return spans


def _blocks(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield runs of lines that belong together: paragraphs, and structural lines alone."""
    first: int | None = None
    previous = ""
    fenced = False
    position = start
    while position < end:
        match = _LINE.match(text, position, end)
        stop = match.end() if match and match.end() > position else end
        line = text[position:stop]
        blank = not line.strip()
        fence = line.lstrip().startswith(("```", "~~~"))
        joins = (
            first is not None and not blank and not fenced and not fence and _wraps(previous, line)
        )
        if first is not None and not joins:
            yield first, position
            first = None
        if not blank and first is None:
            first = position
        fenced ^= fence
        previous, position = line, stop
    if first is not None:
        yield first, end


def _wraps(previous: str, line: str) -> bool:
    """Whether a line goes on in the next one."""
    before = previous.strip()
    if _STRUCTURE.match(line) or before.startswith(("#", "|", "```", "~~~")):
        return False
    if len(before) < WRAPPED_LINE_CHARACTERS:
        # A short line ends here, unless what follows plainly continues it.
        return bool(_STRUCTURE.match(previous)) is False and line.lstrip()[:1].islower()
    return not before.endswith((":", "："))


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut a run of lines at closing punctuation."""
    unspaced = _UNSPACED.search(text, start, end) is not None
    first = start
    for match in _STOPS.finditer(text, start, end):
        stop = match.end()
        if match.start() < first or (match["wide"] is None and _inside(text, first, match, end)):
            continue
        yield from _pieces(text, first, stop, unspaced=unspaced)
        first = stop
    yield from _pieces(text, first, end, unspaced=unspaced)


def _inside(text: str, first: int, match: re.Match[str], end: int) -> bool:
    """Whether a full stop does not end the sentence."""
    if match["spaced"] != ".":
        return match["spaced"].startswith("...") and _next_character(text, match, end).islower()
    following = _next_character(text, match, end)
    if following.islower():
        return True
    word = _LAST_WORD.search(text, max(first, match.start() - 24), match.start())
    last = word[0] if word else ""
    bare = last.lower().rstrip(".")
    if (
        _DOTTED.fullmatch(bare)
        or bare in _ALWAYS_INSIDE
        or (bare in _ABBREVIATIONS and following.isdigit())
    ):
        return True
    if len(last) == 1 and last.isalpha() and last.isupper():
        return following.isupper() or following == "("
    before = text[max(first, match.start() - 24) : match.start() + 1]
    if _ITEM_NUMBER.fullmatch(text, first, match.end()) if match.end() - first < 12 else False:
        return True
    return bool(re.search(r"(?:^|\s)\d{1,2}\.$", before)) and _is_month(text, match.end(), end)


_MONTHS = ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September",
           "Oktober", "November", "Dezember", "Jahrhundert")  # fmt: skip


def _is_month(text: str, position: int, end: int) -> bool:
    return text[position : min(end, position + 20)].lstrip().startswith(_MONTHS)


def _next_character(text: str, match: re.Match[str], end: int) -> str:
    position = match.end()
    while position < end and position < match.end() + 40:
        if not text[position].isspace() and text[position] not in "\"'“‘«([":
            return text[position]
        position += 1
    return ""


def _pieces(text: str, start: int, end: int, *, unspaced: bool) -> Iterator[Span]:
    """Trim white space, and cut scripts without full stops at spaces."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end:
        return
    if unspaced:
        first = start
        for i in range(start, end):
            if text[i] == " " and i - first >= UNSPACED_CHARACTERS and _near_unspaced(text, i):
                yield first, i
                first = i + 1
                while first < end and text[first].isspace():
                    first += 1
        if first < end:
            yield first, end
        return
    yield start, end


def _near_unspaced(text: str, position: int) -> bool:
    return _UNSPACED.match(text, position - 1) is not None


def _bounded(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut a sentence that is too long."""
    while end - start > MAX_CHARACTERS:
        cut = _cut(text, start, start + MAX_CHARACTERS)
        stop = cut
        while stop > start and text[stop - 1].isspace():
            stop -= 1
        if stop > start:
            yield start, stop
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end


def _cut(text: str, start: int, limit: int) -> int:
    middle = start + (limit - start) // 2
    for i in range(limit - 1, middle, -1):
        if text[i].isspace() and _CLAUSE.match(text[i - 1]):
            return i
    for i in range(limit - 1, middle, -1):
        if text[i].isspace():
            return i
    cut = limit
    while cut > middle and unicodedata.category(text[cut]).startswith("M"):
        cut -= 1
    return cut
