"""Terms of the full-text index.

A text becomes index terms: words folded, cut into overlapping pieces in scripts without spaces,
stemmed in English, cut to their beginning in other languages. The store keeps them joined by spaces
and matches them with SQLite FTS5; a question becomes terms by the same rules, so none of its
characters can act as an operator. An identifier (`v1.2.3`, `C#`, `max_connections`) has one more
term, for the whole of it (`ragkit.text.identifiers`).

Folding drops what people leave out when they type: accents (`é` and `e`, `ä` and `a`), Arabic and
Hebrew vowel points, the Arabic article. `ß` becomes `ss`, the Turkish `ı` becomes `i`. Vowel signs
of Indic scripts are letters in all but name and stay. Vietnamese keeps its marks: without them
different words fall together (on XQuAD nDCG@10 drops from 0.96 to 0.93).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby
from typing import Literal, TypeAlias

from ragkit.text.identifiers import asked_identifiers, identifiers
from ragkit.text.languages import STOP_WORDS, detect_language
from ragkit.text.memo import Memo
from ragkit.text.porter import stem
from ragkit.types import Span

__all__ = ["detect_language", "fts5_match", "index_terms", "query_terms", "span_terms"]

MAX_QUERY_TERMS = 64
"""Terms per question; a longer question is cut."""

MAX_QUERY_CHARACTERS = 10_000

MAX_WORD_CHARACTERS = 64
"""A longer word is indexed by its beginning; outside ASCII it is cut into trigrams instead."""

BEGINNING_CHARACTERS = 6
"""Outside English only so many first characters of a word count, as inflection is at its end.

Measured on XQuAD, nDCG@10 against whole words: Russian 0.875 to 0.947, Turkish 0.898 to 0.938,
Greek 0.908 to 0.953, Romanian 0.924 to 0.968, German 0.921 to 0.948, Arabic 0.931 to 0.938, Hindi
0.948 to 0.953. On English SQuAD and SciFact, where the collections are larger, it lies between
whole words and Porter's stems, or above them.
"""

MAX_MARKS_IN_A_ROW = 30
"""A limit that no real text exceeds (Unicode Standard Annex 15, "Stream-Safe Text Format")."""

# Punctuation and digits inside these blocks are left out: they separate words or are words.
_PAIRS = (
    "\u1100-\u11ff\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u318e\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af"
)
_THREES = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u109a-\u109d"
    "\u1780-\u17d3\u17d7\u17dc\u17dd"
)
_Ending: TypeAlias = Literal["stem", "beginning", "whole"]

_ASCII_LOWER = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_ONE_OF_PAIRS = re.compile(f"[{_PAIRS}]")
# Characters without a word in them, and the half-width marks that normalise to combining ones.
_MANY_MARKS = re.compile(rf"(?:[^\w\s!-~]|[\uff9e\uff9f]){{{MAX_MARKS_IN_A_ROW + 1},}}")
_FOLDED_AWAY = re.compile(
    "[\u00ad\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06ed\u0711\u0730-\u074a\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u2060\u20d0-\u20ff"
    "\ufe00-\ufe0f\ufe20-\ufe2f]"
)
# What decomposition leaves as letters of their own: Latin with a stroke, Arabic variants.
_SAME_LETTER = str.maketrans("ıłđøٱىیةک", "ildoاييهك")
_ARABIC_ARTICLE = re.compile("^(?:[وفبك]?ال|لل)")
_FORMAT = re.compile("[\u00ad\u200c\u200d\u2060]")
_DIGIT = re.compile(r"\d")
_REQUEST = re.compile(
    r"\s{0,9}(?:please )?(?:can you |could you )?tell me\b(?=\W{1,9}[^\W_])", re.IGNORECASE
)
_UNUSABLE = re.compile('["\0\ud800-\udfff]')


def index_terms(text: str, *, language: str | None) -> list[str]:
    """Return the index terms of a text, in order, repeated as often as they occur.

    Those of identifiers come after those of words.

    Args:
        text: Any text.
        language: As `detect_language` returns it; decides only how the ends of words are treated.
            Undecided text is stemmed like English.
    """
    ending = _ending(language)
    folded = _FOLDED[ending]
    if text.isascii():
        return [*map(folded.__getitem__, _ascii_runs(text)), *identifiers(text)]
    terms: list[str] = []
    for is_ascii, some in groupby(text.split(), str.isascii):
        part = " ".join(some)
        if is_ascii:  # as most of a text with some quotation marks
            terms += map(folded.__getitem__, _ascii_runs(part))
        else:
            terms += _other_terms(part, folded)
    return terms + identifiers(text)


def _other_terms(text: str, folded: Mapping[str, str]) -> list[str]:
    """Return the index terms of words, or of runs of a script without spaces."""
    terms: list[str] = []
    for run, size in _runs(text):
        if size:
            terms += _pieces(run, size)
            # The run's end is a term too, so that a question shorter than a piece finds it.
            if len(run) >= size:
                terms.append(run[1 - size :])
        elif term := folded[run]:
            terms.append(term)
    return terms


def index_lines(text: str, spans: Iterable[Span], *, language: str | None) -> list[str]:
    """Return the index terms of each span of a text, joined by spaces."""
    return [" ".join(terms) for terms in span_terms(text, spans, language=language)]


def span_terms(text: str, spans: Iterable[Span], *, language: str | None) -> list[list[str]]:
    """Return the index terms of each span of a text: faster than one call for each."""
    if not text.isascii():
        return [index_terms(text[a:b], language=language) for a, b in spans]
    folded = _FOLDED[_ending(language)].__getitem__
    lower = text.translate(_ASCII_LOWER)
    return [[*map(folded, lower[a:b].split()), *identifiers(text[a:b])] for a, b in spans]


def query_terms(question: str, *, language: str | None) -> list[str]:
    """Return the terms to search for: distinct, in order, without stop words, at most 64.

    Those of identifiers come last.

    Args:
        question: Any text; only its letters, digits and marks count, in the first 10,000
            characters.
        language: The documents' main language, or None.
    """
    return search_terms(question, own=detect_language(question), stored=language)


def search_terms(question: str, *, own: str | None, stored: str | None) -> list[str]:
    """Return `query_terms` of a question whose language is known.

    The question's own language names the stop words; if it is unknown, the documents' main language
    does. If the two treat the ends of words differently, a word is searched for in both forms,
    since a store may hold documents of either kind. If all words are stop words they are kept.

    Args:
        question: As `query_terms` takes it.
        own: Its language as `detect_language` gives it.
        stored: The documents' main language, or None.
    """
    endings = dict.fromkeys((_ending(stored), _ending(own or stored)))
    stop_words = _stop_words(own or stored)
    everything: dict[str, None] = {}
    content: dict[str, None] = {}
    question = question[:MAX_QUERY_CHARACTERS]
    if request := _REQUEST.match(question):
        # Elsewhere, as in the name of William Tell, the word counts.
        question = question[request.end() :]
    for run, size in _runs(question):
        terms = _pieces(run, size) if size else [_FOLDED[ending][run] for ending in endings]
        for term in filter(None, terms):
            everything[term] = None
            if run not in stop_words:
                content[term] = None
    wholes = asked_identifiers(question)
    return [*list(content or everything)[: MAX_QUERY_TERMS - len(wholes)], *wholes]


def fts5_terms(terms: Sequence[str]) -> list[tuple[str, bool]]:
    """Return what to look up for these terms, and whether it is a prefix.

    Characters that could end a quoted string are dropped. A run of one ideograph matches as a
    prefix of the index's pairs, one or two letters of an unspaced script as a prefix of its
    trigrams.
    """
    bare = (_UNUSABLE.sub("", term) for term in terms)
    return [(term, len(term) < _piece_size(term)) for term in bare if term]


def fts5_match(terms: Sequence[str]) -> str:
    """Return an FTS5 query for any of these terms; empty if there is nothing to match.

    Each term is a quoted string, in which only a quotation mark is special (SQLite documentation,
    "FTS5 Strings").
    """
    return " OR ".join(
        f'"{term}"{"*" if is_prefix else ""}' for term, is_prefix in fts5_terms(terms)
    )


def _ending(language: str | None) -> _Ending:
    """Return how the ends of a language's words are treated."""
    if language in {"en", None}:
        return "stem"
    return "whole" if language == "vi" else "beginning"


@lru_cache(maxsize=64)
def _stop_words(language: str | None) -> frozenset[str]:
    """Return a language's stop words as `_runs` yields them."""
    words = STOP_WORDS.get(language or "", frozenset())
    return frozenset(unicodedata.normalize("NFKC", word).casefold() for word in words)


def _ascii_runs(text: str) -> list[str]:
    return text.translate(_ASCII_LOWER).split()


def _runs(text: str) -> Iterator[tuple[str, int]]:
    """Yield words with 0, and runs of scripts without spaces with the size of their pieces."""
    if text.isascii():
        for word in _ascii_runs(text):
            yield word, 0
        return
    # Normalising sorts adjacent marks in quadratic time.
    text = _MANY_MARKS.sub(lambda marks: marks[0][:MAX_MARKS_IN_A_ROW], text)
    for match in _run_pattern().finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match[0]
        if match.lastgroup != "word":
            yield run, 2 if match.lastgroup == "pairs" else 3
        elif len(run) <= MAX_WORD_CHARACTERS or run.isascii():
            yield run, 0
        else:
            yield run, 3


@lru_cache(maxsize=1)
def _run_pattern() -> re.Pattern[str]:
    """Return the pattern that separates runs; compiled on first use: ASCII text needs none."""
    letter = rf"[^\W_{_PAIRS}{_THREES}]"
    # Marks are not word characters to `re`, but belong to the word around them.
    mark = f"[\u00ad\u200c\u200d\u2060{_marks()}]"
    return re.compile(
        rf"(?P<word>{letter}++(?:{mark}++{letter}*+)*+)"
        rf"|(?P<pairs>[{_PAIRS}]++)|(?P<threes>[{_THREES}]++)"
    )


def _marks() -> str:
    """Return all combining marks outside the unspaced scripts, for a character class."""
    planes = range(0x300, 0x20000), range(0xE0100, 0xE01F0)
    taken = re.compile(f"[{_PAIRS}{_THREES}]")
    marks = (chr(code) for plane in planes for code in plane)
    return "".join(c for c in marks if unicodedata.category(c)[0] == "M" and not taken.match(c))


def _piece_size(term: str) -> int:
    """Return how long the pieces of a term's script are, 0 for words."""
    if _ONE_OF_PAIRS.match(term):
        return 2
    return 3 if re.match(f"[{_THREES}]", term) else 0


def _pieces(run: str, size: int) -> list[str]:
    """Return overlapping pieces."""
    if len(run) <= size:
        return [run]
    return [run[i : i + size] for i in range(len(run) - size + 1)]


def _folded(word: str, ending: _Ending) -> str:
    """Return a word without what people leave out when they type it, and without its ending."""
    if word.isascii():
        word = word[:MAX_WORD_CHARACTERS]
    if ending == "whole":
        return unicodedata.normalize("NFC", _FORMAT.sub("", word))
    if not word.isascii():
        word = _plain(word)
    # Porter's rules know Latin letters only; words in other scripts inflect too.
    if ending == "stem" and word.isascii():
        return sys.intern(stem(word))
    # Numbers and codes differ at their ends on purpose.
    return word if _DIGIT.search(word) else word[:BEGINNING_CHARACTERS]


def _plain(word: str) -> str:
    """Return a word without accents, vowel points and article, its digits as 0-9."""
    word = _FOLDED_AWAY.sub("", unicodedata.normalize("NFD", word)).translate(_SAME_LETTER)
    word = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in word)
    if "\u0620" <= word[:1] <= "\u064a":
        bare = _ARABIC_ARTICLE.sub("", word)
        return bare if len(bare) > 2 else word
    return word


_FOLDED: Mapping[_Ending, Memo[str]] = {
    "stem": Memo(partial(_folded, ending="stem")),
    "beginning": Memo(partial(_folded, ending="beginning")),
    "whole": Memo(partial(_folded, ending="whole")),
}
