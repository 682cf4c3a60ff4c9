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

SENTENCE, PARAGRAPH, SECTION, APART = 1, 2, 3, 4
"""How strong the boundary before something is; what is `APART` always begins a chunk."""

MAX_CHARACTERS = 1000
"""A longer sentence is cut: at a clause, else at a space, else anywhere."""

WRAPPED_LINE_COLUMNS = 50
"""A line at least this wide, without closing punctuation, may continue in the next line."""

FULL_LINE_COLUMNS = 70
"""A line was wrapped before inline markup that would have made it longer than this."""

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
# The first character is a plain class, which a search skips to quickly.
_STOPS = re.compile(
    rf"[{_WIDE}．{_SPACED}](?:"
    rf"(?:(?<=[{_WIDE}])|(?<=．)(?!\d))(?:[{_WIDE}]|．(?!\d))*+[{_CLOSERS}]*+(?P<wide>)"
    rf"|(?<=[{_SPACED}])(?<![{_SPACED}][{_SPACED}])[{_SPACED}]*+[{_CLOSERS}]*+(?=\s|$))"
)
_LINE = re.compile(r"[^\n\r\f\u2028\u2029]*+(?:\r\n|[\n\r\f\u2028\u2029])?")
_STRUCTURE = re.compile(
    r"\s*(?:[-*+•‣◦–—]\s|\d{1,3}[.)]\s|[A-Za-z][.)]\s|#{1,6}\s|\||>|\.\.\s|={3,}|-{3,}|~{3,}|```)"
)
_WHOLE_LINE = re.compile(r"\s*(?:#{1,6}\s|\||```|~~~)")
_INLINE_MARKUP = re.compile(r"(?::[\w:+.-]{1,40}:)?`{1,2}[^`\n]{1,200}`{0,2}\S{0,20}")
_OPENS_MARKUP = re.compile(r"(?:`{1,2}|\[|\*{1,2}|_{1,2})(?=\w)|:[\w:+.-]{1,40}:`")
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

_OPENING_PRONOUN = re.compile(
    r"[\s\"'“‘(*_]*(?:It|Its|They|Their|He|She|His|Her|This|These|Those|Such|That)\b"
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


def sentence_spans(
    text: str, *, start: int = 0, end: int | None = None, in_paragraph: bool = False
) -> list[Span]:
    """Return the bounds of the sentences of `text[start:end]`.

    Args:
        text: Any.
        start: In code points.
        end: In code points; None: that of the text.
        in_paragraph: Whether markup says that it is one paragraph: then a line goes on from the
            one before if it begins with inline markup, or with a word that did not fit there.

    Returns:
        Spans in code points of `text`, in order, not overlapping, without white space at either
        end, each of at most 1,000 characters; together they hold everything but white space.
    """
    end = len(text) if end is None else min(end, len(text))
    return list(each_sentence(text, start, end, in_paragraph=in_paragraph))


def each_sentence(text: str, start: int, end: int, *, in_paragraph: bool = False) -> Iterator[Span]:
    """Yield what `sentence_spans` returns: a large text may have millions."""
    for first, last, whole in _blocks(text, start, end, in_paragraph=in_paragraph):
        for a, b in ((first, last),) if whole else _sentences(text, first, last):
            a, b = trimmed(text, a, b)  # noqa: PLW2901
            if b - a > MAX_CHARACTERS:
                yield from _bounded(text, a, b)
            elif a < b:
                yield a, b


def refers_back(sentence: str) -> bool:
    """Whether a sentence opens with an English pronoun; in other languages none is known.

    Connectives such as "However" do not count: what follows them mostly names its subject.
    """
    return _OPENING_PRONOUN.match(sentence) is not None


def _blocks(
    text: str, start: int, end: int, *, in_paragraph: bool
) -> Iterator[tuple[int, int, bool]]:
    """Yield runs of lines that belong together, and whether each is exactly one sentence."""
    first: int | None = None
    previous = before = ""
    fenced = whole = False
    for match in _LINE.finditer(text, start, end):
        line = match[0]
        words = line.strip()
        fence = words.startswith(("```", "~~~"))
        if first is not None and (
            not words
            or fenced
            or fence
            or not (
                _wraps(previous, before, line, words)
                or (in_paragraph and _goes_on_with_markup(previous, before, words))
            )
        ):
            yield first, match.start(), whole
            first = None
        if first is None and words:
            first = match.start()
            whole = fenced or _is_whole(line, words)
        fenced ^= fence
        previous, before = line, words
    # The last match is empty, so nothing is left.


def _is_whole(line: str, words: str) -> bool:
    return words[0] in "#|`~" and _WHOLE_LINE.match(line) is not None


def _wraps(previous: str, before: str, line: str, words: str) -> bool:
    """Whether a line continues in the next one; both are given with and without their margins."""
    if words[0] == ">" and before[0] == ">":
        previous, line = before.lstrip("> "), words.lstrip("> ")
        return bool(previous and line) and _wraps(previous, previous, line, line)
    # What a letter begins is no structure, unless it numbers an item.
    if (not words[0].isalpha() or words[1:2] in ".)") and _STRUCTURE.match(line):
        return False
    if _is_whole(previous, before) or before.endswith((":", "：")):
        return False
    if _is_row(line) or _is_row(previous):
        return False
    columns = len(before) * (2 if _WIDE_LETTER.match(before[-1]) else 1)
    return columns >= WRAPPED_LINE_COLUMNS or _plainly_continues(previous, words)


def _goes_on_with_markup(previous: str, before: str, words: str) -> bool:
    """Whether a line of a paragraph goes on in one that begins with code, a link or emphasis."""
    if previous.rstrip("\r\n").endswith("  "):  # Markdown's line break
        return False
    if (before[-1].isalnum() or before[-1] in ",)") and _OPENS_MARKUP.match(words):
        return True
    # A long word, such as an address in a link, did not fit into the line before.
    longest = len(previous.rstrip()) + 1 + len(words.split(None, 1)[0])
    return longest > FULL_LINE_COLUMNS and before[-1] not in f"{_SPACED}{_WIDE}:：>|"


def _plainly_continues(previous: str, words: str) -> bool:
    """Whether a line continues a short one."""
    if words[0] in ":`" and (markup := _INLINE_MARKUP.match(words)):
        return len(previous.rstrip()) + 1 + len(markup[0]) > FULL_LINE_COLUMNS
    return words[0].islower()


def _is_row(line: str) -> bool:
    return ("|" in line or "\t" in line) and _ROW.match(line) is not None


def _sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut a run of lines at closing punctuation."""
    unspaced = not text.isascii() and _UNSPACED.search(text, start, end) is not None
    first = start
    for match in _STOPS.finditer(text, start, end):
        if match["wide"] is None and _goes_on(text, first, match, end):
            continue
        if unspaced:
            yield from _cut_at_gaps(text, first, match.end())
        else:
            yield first, match.end()
        first = match.end()
    if unspaced:
        yield from _cut_at_gaps(text, first, end)
    else:
        yield first, end


def _goes_on(text: str, first: int, match: re.Match[str], end: int) -> bool:
    """Whether the sentence continues after a full stop or similar sign."""
    following = _next_character(text, match.end(), end)
    sign = match[0]
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
    word = _last_word(before)
    bare = word.lower()
    if bare in _ALWAYS_INSIDE or (bare in _ABBREVIATIONS and following.isdigit()):
        return True
    if _OPENING_WORD.match(text, dot + 1, end):
        return False
    if ("." in word and _DOTTED.fullmatch(word)) or _is_initial(word, text, dot, following, end):
        return True
    return _is_ordinal(before, text, dot, end)


def _last_word(before: str) -> str:
    """Return what follows the last white space, opening mark, slash or dash."""
    if not before or before[-1].isspace():
        return ""
    word = before.rsplit(None, 1)[-1]
    return word if word.isalnum() else _WORD_BREAK.split(word)[-1]


def _is_initial(word: str, text: str, dot: int, following: str, end: int) -> bool:
    if len(word) != 1 and word.isascii():
        return False
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
    return before[-1:] in "IVX\n" and _ROMAN_ORDINAL.search(before) is not None


def _next_character(text: str, position: int, end: int) -> str:
    # Nearly always one space and a letter.
    if position + 1 < end and text[position].isspace() and text[position + 1].isalnum():
        return text[position + 1]
    match = _NEXT.match(text, position, end)
    return match[1] if match else ""


def _cut_at_gaps(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut at spaces between letters of scripts without full stops, once a piece is long enough."""
    first = start
    for gap in _GAP.finditer(text, start, end):
        if gap.start() - first >= UNSPACED_CHARACTERS:
            yield first, gap.start()
            first = gap.end()
    yield first, end


def trimmed(text: str, start: int, end: int) -> Span:
    """Return a span without white space at either end; an empty one if there is nothing else."""
    piece = text[start:end].lstrip()
    start = end - len(piece)
    return start, start + len(piece.rstrip())


def _bounded(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut a sentence that is too long; yield nothing for an empty one."""
    while end - start > MAX_CHARACTERS:
        cut = _cut(text, start, start + MAX_CHARACTERS)
        yield trimmed(text, start, cut)
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
