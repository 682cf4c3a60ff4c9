"""The lines of a page of a PDF, from PDFium's characters and their boxes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ragkit.loading.pdf_page import TextPage

_LINE = re.compile("[^\r\n\x02\ufffe]+")
_BREAKS = "\x02", "\ufffe"
"""What PDFium makes of a hyphen at the end of a line; it leaves out the line's end."""
_WORD = re.compile(r"\S+")
NUMBER = re.compile(
    r"[-+~±(\[$€£¥–—−]{0,4}\d[\d.,:/±]*[%)\]*†‡x]{0,4}|[-–—−$€£¥%)]{1,2}|n/?[am]", re.I
)
"""A word of a cell with a number, or with the sign for none."""


_STRAY_MARK = re.compile("(?<=\\S) ([\u064b-\u0652]{1,4})([\u0621-\u064a])")
"""An Arabic vowel sign which PDFium puts, with a space, before the letter that it belongs to."""
_WIDEST_LETTER = 0.6
"""Times the height of a line: letters further apart on average have gaps between some of them."""


class Word(NamedTuple):
    """A word between white space, and where it begins and ends in reading direction, in points."""

    text: str
    left: float
    right: float


@dataclass(slots=True, eq=False)
class Line:
    """A line of text as it is seen, with its place in points.

    It is turned so that it reads from left to right; lines of another `turn`, in quarter turns,
    have nothing to do with one another. It stands on `base`, and `size` is the height of its
    letters. A line that `is_broken` ends within a word; `text` shows a hyphen then. Of a line of
    running text only the first word is one of `words`, and the others together.
    """

    page: int
    text: str
    words: list[Word]
    base: float
    size: float
    turn: int = 0
    is_bold: bool = False
    is_broken: bool = False

    @property
    def left(self) -> float:
        """Where the line begins."""
        return self.words[0].left

    @property
    def right(self) -> float:
        """Where the line ends."""
        return self.words[-1].right


def lines_of(page: TextPage, number: int, *, hidden: Collection[int] = ()) -> list[Line]:
    """Return the lines of a page in the order of its content, without its hidden characters."""
    pieces = (_piece(page, number, match, hidden) for match in _LINE.finditer(page.text))
    return list(_whole(piece for piece in pieces if piece is not None))


def _piece(
    page: TextPage, number: int, match: re.Match[str], hidden: Collection[int]
) -> Line | None:
    """Return a run of characters that PDFium does not break, unless it is blank."""
    spans = [word.span() for word in _WORD.finditer(page.text, *match.span())]
    if hidden:
        spans = [(a, b) for a, b in spans if any(i not in hidden for i in range(a, b))]
    if not spans:
        return None
    first, end = spans[0][0], spans[-1][1]
    turn, size, base = page.stand(first, spans[len(spans) // 2][0])
    left, _, right, _ = page.box(first, spans[0][1] - 1, turn)
    last = page.box(spans[-1][0], end - 1, turn) if len(spans) > 1 else (left, 0, right, 0)
    is_spaced = abs(last[2] - left) > _WIDEST_LETTER * size * (end - first)
    if is_spaced or NUMBER.fullmatch(page.text, *spans[-1]):
        boxes = [page.box(a, b - 1, turn) for a, b in spans]
        words = [Word(page.shown(a, b, hidden), x[0], x[2])
                 for (a, b), x in zip(spans, boxes, strict=True)]  # fmt: skip
    else:
        words = [Word(page.shown(*spans[0], hidden), left, right)]
        if len(spans) > 1:
            rest = " ".join(page.shown(spans[1][0], end, hidden).split())
            words.append(Word(rest, min(right, last[2]), max(right, last[2])))
            if last[0] < left:
                words[1] = Word(rest, last[0], left)
    words = [word for word in words if word.text]
    if not words:
        return None
    if words[0].left > words[-1].left:
        turn, words = turn + 4, [Word(w.text, -w.right, -w.left) for w in words]
    is_broken = page.text.startswith(_BREAKS, match.end())
    text = " ".join(word.text for word in words)
    return Line(
        page=number,
        text=(text if text.isascii() else _STRAY_MARK.sub(r"\2\1", text)) + "-" * is_broken,
        words=words,
        base=base,
        size=size,
        turn=turn,
        is_bold=page.is_bold(first) and page.is_bold(end - 1),
        is_broken=is_broken,
    )


def _whole(pieces: Iterable[Line]) -> Iterator[Line]:
    """Join pieces of one line as it is seen: PDFium breaks it before and after a raised letter."""
    line: Line | None = None
    for piece in pieces:
        if line is not None and _goes_on(line, piece):
            _append(line, piece)
            continue
        if line is not None:
            yield line
        line = piece
    if line is not None:
        yield line


def _goes_on(line: Line, piece: Line) -> bool:
    """Whether a piece stands beside the end of a line: letters at once, a number anywhere."""
    if line.turn != piece.turn or line.is_broken:
        return False
    overlap = min(line.base + line.size, piece.base + piece.size) - max(line.base, piece.base)
    gap, low = piece.left - line.right, min(line.size, piece.size)
    if overlap < low / 2 or gap < -low / 2:
        return False
    is_cell = overlap > 0.8 * low and all(NUMBER.fullmatch(word.text) for word in piece.words)
    return gap < low or is_cell


def _append(line: Line, piece: Line) -> None:
    last, first = line.words[-1], piece.words[0]
    between = " "
    if first.left - last.right < 0.1 * max(line.size, piece.size):
        is_power = last.text[-1].isdigit() and first.text[0].isdigit()
        between = "^" if is_power and piece.base > line.base + 0.1 * line.size else " "
    if between == " ":
        line.words += piece.words
    else:
        line.words[-1] = Word(last.text + between + first.text, last.left, first.right)
        line.words += piece.words[1:]
    line.text += between + piece.text
    if piece.size > line.size:
        line.base, line.size = piece.base, piece.size
    line.is_broken = piece.is_broken
    line.is_bold &= piece.is_bold
