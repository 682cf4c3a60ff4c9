"""WordPiece tokens of the built-in vocabulary: for the embedder and for token budgets.

The uncased BERT scheme (Devlin et al. 2019, appendix A; Wu et al. 2016, section 4.1): text is
cleaned, lower-cased, stripped of accents and split at white space, punctuation and ideographs;
each word is then cut greedily into the longest pieces that the vocabulary holds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path

from ragkit.text.memo import Memo
from ragkit.types import Span

VOCABULARY = Path(__file__).parent.parent / "data" / "minilm" / "vocab.txt"

LONGEST_WORD = 100
"""Characters; the embedder reads a longer word as one unknown token, as the original does.

A model that answers reads all of it, so a count for a budget includes it.
"""

LONGEST_CUT_WORD = 10_000
"""Characters; a longer word counts one token per character, an upper bound."""

_CACHED_LONG_WORDS = 512

_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


_ASCII_MARKS = "".join(chr(code) for code in range(33, 127) if not chr(code).isalnum())
_SEPARATORS = frozenset(" \t\n\r")
# Marks become a character that `split` takes for a space. What it takes for one without being one
# becomes another character that is no part of any token.
_MARK = "\x1f"
_NO_SPACES = b"\x0b\x0c\x1c\x1d\x1e\x1f"
_MARKED = bytes.maketrans(
    _NO_SPACES + _ASCII_MARKS.encode(),
    (len(_NO_SPACES) * "\0" + len(_ASCII_MARKS) * _MARK).encode(),
)


class _CharacterTable(dict[int, str]):
    """What each character is replaced by, computed on first use."""

    def __missing__(self, code: int) -> str:
        value = self[code] = _normalised(chr(code))
        return value


def _normalised(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if character in "\0\ufffd" or category.startswith("C"):
        return ""
    code = ord(character)
    if any(low <= code <= high for low, high in _IDEOGRAPHS):
        return f" {character} "
    pieces: list[str] = []
    for part in unicodedata.normalize("NFD", character.lower()):
        if unicodedata.category(part) == "Mn":
            continue
        pieces.append(f" {part} " if _is_punctuation(part) else part)
    return "".join(pieces)


def _is_punctuation(character: str) -> bool:
    return character in _ASCII_MARKS or unicodedata.category(character).startswith("P")


class WordPiece:
    """A tokenizer; safe to share between threads.

    Args:
        vocabulary: One token per line; the line number is its id. Holds `[UNK]`, `[CLS]`, `[SEP]`.
    """

    name = "wordpiece:all-MiniLM-L6-v2"

    def __init__(self, vocabulary: Path) -> None:
        lines = vocabulary.read_text(encoding="utf-8").split("\n")
        self._ids = {token: i for i, token in enumerate(lines) if token}
        self._table = _CharacterTable()
        self._words = Memo(self._cut)
        self._counts = Memo(self._count_run)
        self._long_words: dict[str, int] = {}
        self._unknown = self._ids["[UNK]"]
        self._first, self._last = self._ids["[CLS]"], self._ids["[SEP]"]

    def encode(self, text: str, *, max_tokens: int | None = None) -> list[int]:
        """Return token ids with `[CLS]` first and `[SEP]` last, at most `max_tokens` in all."""
        # Each word has a piece at least.
        words = text.translate(self._table).split()[:max_tokens]
        ids = [self._first, *chain.from_iterable(map(self._words.__getitem__, words))]
        if max_tokens is not None:
            del ids[max_tokens - 1 :]
        ids.append(self._last)
        return ids

    def count(self, text: str) -> int:
        """Return the number of tokens in `text`, without special tokens.

        It is the number of ids that `encode` gives, but for words of more than `LONGEST_WORD`
        characters: those count by their pieces, each character that the vocabulary lacks as one.
        """
        return self.count_spans(text, ((0, len(text)),))[0]

    def count_spans(self, text: str, spans: Sequence[Span]) -> list[int]:
        """Return `count(text[start:end])` for each span: faster than one call for each."""
        if not spans:
            return []
        tokens = self._counts.__getitem__
        base, last = min(start for start, _ in spans), max(end for _, end in spans)
        # No byte of another character in UTF-8 is one of ASCII, so that offsets stay what they are.
        marked = text[base:last].encode("utf-8", "surrogatepass").translate(_MARKED)
        text = marked.decode("utf-8", "surrogatepass").replace("\x85", "\0")
        return [
            text.count(_MARK, start - base, end - base)
            + sum(map(tokens, text[start - base : end - base].split()))
            for start, end in spans
        ]

    def adds_up(self, text: str, ends: Iterable[int]) -> bool:
        """Whether a text has as many tokens as its parts that end at these offsets together.

        Says no unless each end is at a white space that separates words.
        """
        return _SEPARATORS.issuperset([text[end] for end in ends])

    def letters_across(self, text: str, position: int) -> int:
        """Return the letters of the word that goes on over a position, 0 where none does.

        Of a word of more than `LONGEST_WORD` not all are counted, but more than that.
        """
        before = text[max(0, position - LONGEST_WORD - 1) : position].translate(self._table)
        after = text[position : position + LONGEST_WORD + 1].translate(self._table)
        begun, rest = before.rpartition(" ")[2], after.partition(" ")[0]
        return len(begun) + len(rest) if begun and rest else 0

    def _count_run(self, run: str) -> int:
        """Count the tokens of what stands between two spaces or marks."""
        if run.isascii() and run.isalnum():
            word = run.lower()
            return 1 if word in self._ids else self._count_word(word)
        return sum(map(self._count_word, run.translate(self._table).split()))

    def _count_word(self, word: str) -> int:
        return self._count_long(word) if len(word) > LONGEST_WORD else len(self._words[word])

    def _count_long(self, word: str) -> int:
        if len(word) > LONGEST_CUT_WORD:
            return len(word)
        known = self._long_words.get(word)
        if known is None:
            known = self._count_pieces(word)
            if len(self._long_words) >= _CACHED_LONG_WORDS:
                self._long_words.clear()
            self._long_words[word] = known
        return known

    def _count_pieces(self, word: str) -> int:
        pieces, lengths = self._inner_pieces
        start = next((end for end in range(LONGEST_WORD, 1, -1) if word[:end] in self._ids), 1)
        n = 1
        while start < len(word):
            # Few pieces share their first three characters, so few are looked up.
            length = min(lengths.get(word[start : start + 3], 2), len(word) - start)
            while length > 1 and word[start : start + length] not in pieces:
                length -= 1
            start += length
            n += 1
        return n

    @cached_property
    def _inner_pieces(self) -> tuple[frozenset[str], dict[str, int]]:
        """The pieces that continue a word, and the longest by its first three characters."""
        pieces = frozenset(token[2:] for token in self._ids if token.startswith("##"))
        lengths: dict[str, int] = {}
        for piece in pieces:
            lengths[piece[:3]] = max(len(piece), lengths.get(piece[:3], 0))
        return pieces, lengths

    def _cut(self, word: str) -> Sequence[int]:
        if len(word) > LONGEST_WORD:
            return (self._unknown,)
        pieces: list[int] = []
        start, prefix = 0, ""
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return (self._unknown,)
            pieces.append(piece)
            start, prefix = end, "##"
        return tuple(pieces)


@lru_cache(maxsize=1)
def load_wordpiece() -> WordPiece:
    """Return the tokenizer of the built-in vocabulary, which is read once per process."""
    return WordPiece(VOCABULARY)
