"""Sentence bounds in any language, in time linear in the length of the text.

A sentence ends at closing punctuation, at a blank line, at a structural line (heading, list item,
table row, code) and at a short line; a hard-wrapped line does not end one. Headings, rows of
Markdown tables and lines of code are one sentence each. Scripts without full stops (Thai, Lao,
Khmer, Myanmar) are cut at spaces once a piece is long enough. If a full stop is ambiguous the text
is not cut: half a sentence loses its meaning, two sentences only cost more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ragkit.types import Span

MAX_CHARACTERS = 1000
"""A longer sentence is cut: at a clause, else at a space, else anywhere."""

WRAPPED_LINE_COLUMNS = 50
"""A line at least this wide, without closing punctuation, may continue in the next line."""

UNSPACED_CHARACTERS = 100
"""Minimum length at which a space ends a piece of text in a script without full stops."""

LOOK_BACK_CHARACTERS = 32
"""How far back from a full stop its word and the one before are searched."""

_CLOSERS = "\"'”’»«)\\]}›」』）】》〉*_"
_OPENERS = "\"'“‘«(\\[{*_"
# Signs with no other meaning end a sentence anywhere; the others need white space after them. A run
# is examined once, from its start: any other way is quadratic in its length.
_WIDE = "。！？｡؟۔।॥։።᠃།။៕។"
_SPACED = ".!?…‼⁇⁈⁉"
_STOPS = re.compile(
    rf"(?P<wide>(?:[{_WIDE}]|．(?!\d))++[{_CLOSERS}]*+)"
    rf"|(?<![{_SPACED}])(?P<spaced>[{_SPACED}]++[{_CLOSERS}]*+)(?=\s|$)"
)
_LINE = re.compile(r"[^\n\r\f\u2028\u2029]*+(?:\r\n|[\n\r\f\u2028\u2029])?")
_STRUCTURE = re.compile(
    r"\s*(?:[-*+•‣◦–—]\s|\d{1,3}[.)]\s|[A-Za-z][.)]\s|#{1,6}\s|\||>|\.\.\s|={3,}|-{3,}|~{3,}|```)"
)
_FENCE = re.compile(r"\s*(?:```|~~~)")
_WHOLE_LINE = re.compile(r"\s*(?:#{1,6}\s|\||```|~~~)")
_ROW = re.compile(r"\s*+[^\t|]*+(?:\t|(?<=\s)\|\s)\s*+\S")
_WIDE_LETTER = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60]")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_GAP = re.compile(rf"(?<={_UNSPACED.pattern})[^\S\n]++(?={_UNSPACED.pattern})")
_CLAUSE_END = re.compile(r"[,;:，；：、،؛]\s?|\s")
_NEXT = re.compile(rf"[\s{_OPENERS}]{{0,40}}+(\S)")
_WORD_BREAK = re.compile(rf"[\s{_OPENERS}/–—-]+")
_ITEM_NUMBER = re.compile(r"\s*\(?(?:(?:\d{1,3}\.){0,4}\d{1,3}|[A-Za-z]|[ivxlc]{1,5})\.")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
_GERMAN_ORDINAL = re.compile(
    r"\b(?:am|de[rmns]|die|das|im|zu[mr]|vom|beim|bis|seit|ab|jede[rnsm]?|eine?[rnms]?)\s+\d{1,2}$",
    re.IGNORECASE,
)
_MONTH_OR_CENTURY = re.compile(
    r"\s+(?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
    r"|Jahrhundert)"
)
# After a capitalised word the number belongs to that word (World War II).
_ROMAN_ORDINAL = re.compile(r"(?:^|(?<!\w)[^\W\dA-Z_]\w*,?\s)\s*[IVX]{2,}$")
# English words that open a sentence far more often than they continue a name or abbreviation.
_OPENING_WORD = re.compile(
    r"\s+[\"“‘(]*(?:The|It|Its|In|On|At|As|He|She|They|We|You|This|These|That|Those|There|Then"
    r"|However|But|And|If|When|While|After|Before|For|From|By|With|To|His|Her|Their|Some|Many)\b"
)

_ABBREVIATIONS = frozenset(
    # Followed by a number they never end a sentence; followed by a word they may.
    "etc approx no nos vol pp p ca est art par sec ch ed eds ps jan feb mar apr jun jul aug sep "
    "sept oct nov dec str abs abb ziff bd kap cap núm nº стр рис".split()
)
_ALWAYS_INSIDE = frozenset(
    # Titles and words that belong to what follows them.
    "mr mrs ms dr prof st rev gen col maj capt lt sgt gov sen rep hon messrs mt ft vs v e.g i.e "
    "eg ie cf viz al fig figs eq eqs bros bzw vgl evtl ggf inkl zzgl nr hr fr mio mrd tsd z.b d.h "
    "u.a sr sra srta mme mlle ee им ул просп проф акад".split()
)


def sentence_spans(text: str, *, start: int = 0, end: int | None = None) -> list[Span]:
    """Return the bounds of the sentences of `text[start:end]`.

    Returns:
        Spans in code points of `text`, in order, not overlapping, without white space at either
        end, each of at most 1,000 characters; together they hold everything but white space.
    """
    end = len(text) if end is None else min(end, len(text))
    spans: list[Span] = []
    for first, last, whole in _blocks(text, start, end):
        sentences = iter([(first, last)]) if whole else _sentences(text, first, last)
        for a, b in sentences:
            spans.extend(_bounded(text, *_trimmed(text, a, b)))
    return spans


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Yield runs of lines that belong together, and whether each is exactly one sentence."""
    first: int | None = None
    previous = ""
    fenced = whole = False
    for position, stop in _lines(text, start, end):
        line = text[position:stop]
        blank = not line.strip()
        fence = _FENCE.match(line) is not None
        if first is not None and (blank or fenced or fence or not _wraps(previous, line)):
            yield first, position, whole
            first = None
        if first is None and not blank:
            first = position
            whole = fenced or _WHOLE_LINE.match(line) is not None
        fenced ^= fence
        previous = line
    if first is not None:
        yield first, end, whole


def _lines(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end:
        match = _LINE.match(text, start, end)
        stop = match.end() if match else end
        yield start, stop
        start = stop


def _wraps(previous: str, line: str) -> bool:
    """Whether a line continues in the next one."""
    before = previous.strip()
    if _STRUCTURE.match(line) or _WHOLE_LINE.match(previous) or before.endswith((":", "：")):
        return False
    if _ROW.match(line) or _ROW.match(previous):
        return False
    columns = len(before) * (2 if _WIDE_LETTER.match(before[-1]) else 1)
    if columns >= WRAPPED_LINE_COLUMNS:
        return True
    # A short line ends here, unless what follows plainly continues it.
    return line.lstrip()[:1].islower()


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut a run of lines at closing punctuation."""
    unspaced = _UNSPACED.search(text, start, end) is not None
    cut = _cut_at_gaps if unspaced else _uncut
    first = start
    for match in _STOPS.finditer(text, start, end):
        if match["wide"] is None and _goes_on(text, first, match, end):
            continue
        yield from cut(text, first, match.end())
        first = match.end()
    yield from cut(text, first, end)


def _goes_on(text: str, first: int, match: re.Match[str], end: int) -> bool:
    """Whether the sentence continues after a full stop or similar sign."""
    following = _next_character(text, match.end(), end)
    sign = match["spaced"]
    if not following:
        return False
    if following in ".,;:+=<>":
        return True
    if sign[0] in "?‼⁇⁈⁉":
        # A quoted question inside a sentence: "What?" she said.
        return sign[-1] not in _SPACED and following.islower()
    if following.islower():
        return True
    return sign == "." and _is_abbreviated(text, first, match.start(), following, end)


def _is_abbreviated(text: str, first: int, dot: int, following: str, end: int) -> bool:
    """Whether the full stop at `dot` belongs to an abbreviation, a number or an initial."""
    if dot - first < LOOK_BACK_CHARACTERS and _ITEM_NUMBER.fullmatch(text, first, dot + 1):
        return True
    before = text[max(first, dot - LOOK_BACK_CHARACTERS) : dot]
    word = _WORD_BREAK.split(before)[-1]
    bare = word.lower()
    if bare in _ALWAYS_INSIDE or (bare in _ABBREVIATIONS and following.isdigit()):
        return True
    if _OPENING_WORD.match(text, dot + 1, end):
        return False
    if _DOTTED.fullmatch(word) or _is_initial(word, text, dot, following, end):
        return True
    return _is_ordinal(before, text, dot, end)


def _is_initial(word: str, text: str, dot: int, following: str, end: int) -> bool:
    letters = [c for c in word if not unicodedata.category(c).startswith("M")]
    if len(letters) != 1 or not letters[0].isalpha():
        return False
    if letters[0].islower():
        # Two letters that belong together, as in "z. B.".
        at = text.find(following, dot, end)
        return text[at + 1 : min(at + 2, end)] == "."
    return following.isalpha() or following == "("


def _is_ordinal(before: str, text: str, dot: int, end: int) -> bool:
    """Whether the number that `before` ends with counts a noun: 3. Oktober, II. Dünya Savaşı."""
    if before[-1:].isdigit():
        is_short = not before[-3:-2].isdigit()
        return (is_short and _MONTH_OR_CENTURY.match(text, dot + 1, end) is not None) or (
            _GERMAN_ORDINAL.search(before) is not None
        )
    return _ROMAN_ORDINAL.search(before) is not None


def _next_character(text: str, position: int, end: int) -> str:
    match = _NEXT.match(text, position, end)
    return match[1] if match else ""


def _uncut(_text: str, start: int, end: int) -> Iterator[Span]:
    yield start, end


def _cut_at_gaps(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut at spaces between letters of scripts without full stops, once a piece is long enough."""
    first = start
    for gap in _GAP.finditer(text, start, end):
        if gap.start() - first >= UNSPACED_CHARACTERS:
            yield first, gap.start()
            first = gap.end()
    yield first, end


def _trimmed(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())


def _bounded(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut a sentence that is too long; yield nothing for an empty one."""
    while end - start > MAX_CHARACTERS:
        cut = _cut(text, start, start + MAX_CHARACTERS)
        yield _trimmed(text, start, cut)
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end


def _cut(text: str, start: int, limit: int) -> int:
    """Return where to cut before `limit`: in the second half, at a clause, a space or anywhere."""
    middle = start + (limit - start) // 2
    clause = space = None
    for match in _CLAUSE_END.finditer(text, middle, limit):
        if match[0].isspace():
            space = match.end()
        else:
            clause = match.end()
    if clause or space:
        return clause or space or limit
    cut = limit
    while cut > middle and unicodedata.category(text[cut]) in {"Mn", "Mc", "Me", "Cf"}:
        cut -= 1
    return cut
