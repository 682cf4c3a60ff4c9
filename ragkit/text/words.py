"""Words of the lexical index.

A text becomes index words: folded, in scripts without spaces cut into overlapping pieces, in
English stemmed. The store keeps them joined by spaces and matches them with SQLite FTS5; a
question becomes words by the same rules, so that none of its characters can act as an operator.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ragkit.text.languages import STOP_WORDS, detect_language
from ragkit.text.porter import stem

__all__ = ["detect_language", "fts5_match", "index_tokens", "query_tokens"]

MAX_QUERY_TOKENS = 64
"""Words of a question that are searched for; a longer question is cut."""

MAX_QUERY_CHARACTERS = 10_000

MAX_WORD_CHARACTERS = 64
"""A longer word is indexed by its beginning."""

_PAIRS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002fa1f"
_THREES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_RUN = re.compile(
    rf"(?P<pairs>[{_PAIRS}]+)|(?P<threes>[{_THREES}]+)"
    # Marks belong to the word that they stand in: vowel signs of Indic scripts, accents.
    rf"|(?P<word>[^\W_{_PAIRS}{_THREES}]"
    rf"(?:[^\W_{_PAIRS}{_THREES}]|[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    r"\u0640\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09d7"
    r"\u0a01-\u0a51\u0a81-\u0acd\u0b01-\u0b57\u0b82\u0bbe-\u0bd7\u0c00-\u0c56\u0c81-\u0cd6"
    r"\u0d00-\u0d57\u0dca-\u0df3\u200c\u200d])*)"
)
_ARABIC_DROPPED = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670\u200c\u200d]")
_ARABIC_SAME = str.maketrans("أإآٱىة", "ااااي\u0647")
_ARABIC_ARTICLE = re.compile("^[وفبكل]?ال|^لل")
_NOT_A_TOKEN_CHARACTER = re.compile(r"[^\w]|_")


def index_tokens(text: str, *, language: str | None) -> list[str]:
    """Return the index words of a text, in order, repeated as often as they stand there.

    Args:
        text: Any text.
        language: As `detect_language` gives it; decides on stemming only; undecided text is
            stemmed like English.
    """
    english = language in {"en", None}
    return [
        token
        for run in _runs(text)
        for token in (run if not isinstance(run, str) else (_folded(run, english),))
        if token
    ]


def query_tokens(question: str, *, language: str | None) -> list[str]:
    """Return the words to search for: distinct, in order, without stop words, at most 64.

    Args:
        question: Any text; only its letters, digits and marks count.
        language: The documents' main language: it decides where the question's own cannot be told.
    """
    question = question[:MAX_QUERY_CHARACTERS]
    own = detect_language(question)
    spoken = own or language
    # Documents in another language than the question are not stemmed by the question's rules.
    english = (language or own or "en") == "en"
    stop = STOP_WORDS.get(spoken or "", frozenset())
    everything: dict[str, None] = {}
    content: dict[str, None] = {}
    for run in _runs(question, query=True):
        tokens = run if not isinstance(run, str) else (_folded(run, english),)
        is_stop = isinstance(run, str) and run in stop
        for token in tokens:
            if token:
                everything[token] = None
                if not is_stop:
                    content[token] = None
    return list(content or everything)[:MAX_QUERY_TOKENS]


def fts5_match(tokens: Sequence[str]) -> str:
    """Return an FTS5 query for any of these words; empty when there is nothing to match.

    Each word is a quoted string, in which only a quotation mark has a meaning, and no word holds
    one (SQLite documentation, "FTS5 Strings"). A lone ideograph matches as a prefix.
    """
    terms: list[str] = []
    for token in tokens:
        bare = _NOT_A_TOKEN_CHARACTER.sub("", token) if '"' in token else token
        if bare:
            prefix = len(bare) == 1 and _RUN.match(bare) and _RUN.match(bare)["pairs"]  # type: ignore[index]
            terms.append(f'"{bare}"{"*" if prefix else ""}')
    return " OR ".join(terms)


def _runs(text: str, *, query: bool = False) -> Iterator[str | Sequence[str]]:
    """Yield words, and for runs without spaces their pieces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    for match in _RUN.finditer(text.casefold() if not text.isascii() else text.lower()):
        kind = match.lastgroup
        if kind == "word":
            yield match[0]
        elif kind == "pairs":
            yield _pieces(match[0], 2, query=query)
        else:
            yield _pieces(match[0], 3, query=query)


def _pieces(run: str, size: int, *, query: bool) -> list[str]:
    """Return overlapping pieces; in the index the last character also stands alone."""
    if len(run) < size:
        return [run]
    pieces = [run[i : i + size] for i in range(len(run) - size + 1)]
    return pieces if query or size != 2 else [*pieces, run[-1]]


@lru_cache(maxsize=65_536)
def _folded(word: str, english: bool) -> str:
    """Return a word without what people leave out when they type it."""
    word = word[:MAX_WORD_CHARACTERS]
    if word.isascii():
        return stem(word) if english else word
    if "\u0600" <= word[0] <= "\u06ff":
        word = _ARABIC_DROPPED.sub("", word).translate(_ARABIC_SAME)
        bare = _ARABIC_ARTICLE.sub("", word)
        return bare if len(bare) > 2 else word
    if "\u0900" <= word[0] <= "\u0dff":
        return word.replace("\u200c", "").replace("\u200d", "")
    decomposed = unicodedata.normalize("NFD", word)
    plain = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    plain = plain.replace("ı", "i").replace("ł", "l").replace("đ", "d").replace("ø", "o")
    return stem(plain) if english else plain
