"""What the lines of a PDF make up: paragraphs, headings, items and tables."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ragkit.loading.pdf_lines import Line
from ragkit.loading.pdf_tables import TableLines, with_tables

PAGE_END = "\x00"
"""Stands in the text of a block where a page ends; no other text has it."""
_BULLET = re.compile(r"[•·◦▪▫■□●○‣⁃∙➢➤✓]+|[-–*]")
_CLOSED = re.compile(r"[.!?:;。！？：；؟۔।…][\"'”’»)\]]*\d*$")
_NO_TITLE = re.compile(r"[.!?:;,。！？：；，؟۔।…][\"'”’»)\]]*$")
_LETTER = re.compile(r"[^\W\d_]")
_WIDEST_LEADING = 2.2
"""Times the height of a line: the farthest that lines of a paragraph are apart."""
_LEAST_WIDTH = 15
"""Times the height of a line: in a narrower column a wrapped line is one that goes on in lower
case, since short lines by themselves look alike."""
_SAME_SIZE = 1.12
_SAME_TEXT = 1.05
"""The same for what goes on elsewhere: captions and code are little smaller than the text."""
_LONGEST_WORD = 6
"""Times the height of a line: the longest word, unless it could be wrapped itself."""
_MOST_HELD = 2
"""Footnotes, or figures and tables of the next column or page, that a sentence may go on behind."""
_MOST_HELD_WORD = 30
"""The same for a word, of which the rest is known when it is seen."""
_MOST_HEADING_LINES = 3
_LONGEST_HEADING = 200
_HEADING_SHARE = 0.2
"""Of the characters of a document: where more stand out, they are not headings."""


@dataclass(slots=True, eq=False)
class Block:
    """Lines that are one paragraph, and where the column ends that they stand in.

    `level` is that of a heading, from 1, or 0. It `is_item` of a list, and `is_close` to the block
    before it if it stands in its next line.
    """

    lines: list[Line]
    left: float
    right: float
    level: int = 0
    is_item: bool = False
    is_close: bool = False

    @property
    def text(self) -> str:
        """The lines joined by spaces, by a line feed after a broken word; a sign at page ends."""
        pieces = [self.lines[0].text]
        for above, line in itertools.pairwise(self.lines):
            page_end = PAGE_END * (line.page != above.page)
            if above.is_broken:
                first, *others = line.text.split(" ", 1)
                pieces += ["\n", first, page_end, *(f" {rest}" for rest in others)]
            else:
                pieces += [page_end, " ", line.text]
        return "".join(pieces)

    @property
    def pages(self) -> list[int]:
        """The pages it stands on."""
        return [page for page, _ in itertools.groupby(line.page for line in self.lines)]


def blocks_of(pages: Sequence[Sequence[Line]]) -> list[Block | TableLines]:
    """Return what the lines of a document make up, in order.

    A paragraph goes on behind a page's end, and behind footnotes and figures there.
    """
    found = [block for lines in pages for block in _page(lines)]
    joined = list(_joined(found))
    _note_headings(joined)
    return joined


def _page(lines: Sequence[Line]) -> Iterator[Block | TableLines]:
    run = list[Line]()
    for item in with_tables(lines):
        if run and not (isinstance(item, Line) and _is_below(run, item)):
            yield from _paragraphs(run)
            run = []
        if isinstance(item, Line):
            run.append(item)
        else:
            yield item
    if run:
        yield from _paragraphs(run)


def _is_below(run: Sequence[Line], line: Line) -> bool:
    """Whether a line is the next one of a run of lines alike."""
    above = run[-1]
    leading = above.base - line.base
    height = max(above.size, line.size)
    if above.turn != line.turn or not 0 < leading <= _WIDEST_LEADING * height:
        return False
    if height > _SAME_SIZE * min(above.size, line.size) or above.is_bold != line.is_bold:
        return False
    if len(run) > 1 and leading > 1.3 * max(run[-2].base - above.base, height):
        return False
    return line.left < above.right and line.right > above.left


def _paragraphs(run: Sequence[Line]) -> Iterator[Block]:
    """Cut a run of lines where one ends though the next word would have fitted into it."""
    left, right = min(x.left for x in run), max(x.right for x in run)
    block = Block([run[0]], left, right, is_item=_is_item(run[0]))
    for above, line in itertools.pairwise(run):
        if _wraps(block, above, line):
            block.lines.append(line)
        else:
            yield block
            block = Block([line], left, right, is_item=_is_item(line), is_close=True)
    yield block


def _wraps(block: Block, above: Line, line: Line) -> bool:
    if above.is_broken:
        return True
    if not _is_full(above, line, block.right) or _is_item(line):
        return False
    if block.right - block.left < _LEAST_WIDTH * line.size:
        return line.words[0].text[:1].islower()
    is_indented = line.left - above.left > 0.8 * line.size
    return not (is_indented and not block.is_item and _CLOSED.search(above.text))


def _is_full(above: Line, line: Line, right: float) -> bool:
    """Whether the first word of a line would not have fitted into the one above."""
    first = line.words[0]
    width = min(first.right - first.left, _LONGEST_WORD * line.size)
    return above.right + width + 0.2 * line.size > right


def _is_item(line: Line) -> bool:
    return len(line.words) > 1 and _BULLET.fullmatch(line.words[0].text) is not None


def _joined(blocks: Iterable[Block | TableLines]) -> Iterator[Block | TableLines]:
    """Join paragraphs that go on in another column or on another page."""
    first: Block | None = None
    held = list[Block | TableLines]()  # what stands between it and where it may go on
    for block in blocks:
        if first and isinstance(block, Block) and _goes_on(first, block):
            # PDFium does not tell a hyphen at the end of a page from others.
            first.lines[-1].is_broken |= first.lines[-1].text.endswith("-")
            first.lines += block.lines
            first.left, first.right = block.left, block.right
            if not _is_open(first):
                yield from (first, *held)
                first, held = None, []
            continue
        if first and len(held) < _most_held(first) and _may_stand_between(first, block):
            held.append(block)
            continue
        if first:
            yield from (first, *held)
        first, held = None, []
        if isinstance(block, Block) and _is_open(block):
            first = block
        else:
            yield block
    if first:
        yield from (first, *held)


def _most_held(block: Block) -> int:
    return _MOST_HELD_WORD if block.lines[-1].text.endswith("-") else _MOST_HELD


def _is_open(block: Block) -> bool:
    """Whether a paragraph ends with a full line that ends no sentence."""
    last = block.lines[-1]
    if last.is_broken or last.text.endswith("-"):
        return True
    is_wide = block.right - block.left >= _LEAST_WIDTH * last.size
    is_full = last.right > block.right - 3 * last.size
    return is_wide and is_full and len(block.lines) > 1 and not _CLOSED.search(last.text)


def _goes_on(block: Block, following: Block) -> bool:
    last, first = block.lines[-1], following.lines[0]
    if last.turn != first.turn or following.is_item:
        return False
    if max(last.size, first.size) > _SAME_TEXT * min(last.size, first.size):
        return False
    if last.is_bold != first.is_bold or not _is_full(last, first, block.right):
        return False
    if first.words[0].text[:1].islower():
        return True
    if last.is_broken or last.text.endswith("-"):
        return False  # A caption, for example: the rest of a word is no capital.
    width, other = block.right - block.left, following.right - following.left
    is_alike = abs(width - other) < 0.1 * width and first.left - following.left < last.size
    return is_alike and (last.page != first.page or first.base > last.base)


def _may_stand_between(block: Block, other: Block | TableLines) -> bool:
    """Whether a sentence may go on behind a table, a footnote, or what a figure says."""
    if isinstance(other, TableLines):
        return True
    last = block.lines[-1]
    return other.lines[0].size * 1.05 < last.size or other.lines[0].page != last.page


def _note_headings(blocks: Sequence[Block | TableLines]) -> None:
    """Find headings: short, and larger than most of the text, or bold on lines of their own."""
    found = [block for block in blocks if isinstance(block, Block)]
    sizes = Counter[float]()
    for block in found:
        for line in block.lines:
            sizes[_rounded(line.size)] += len(line.text)
    if not sizes:
        return
    body = sizes.most_common(1)[0][0]
    headings = [block for block in found if _stands_out(block, body)]
    n_characters = sum(len(line.text) for block in headings for line in block.lines)
    if n_characters > _HEADING_SHARE * sizes.total():
        return
    ranks = sorted({_rank(block) for block in headings}, reverse=True)
    for block in headings:
        block.level = min(6, ranks.index(_rank(block)) + 1)


def _rounded(size: float) -> float:
    return round(2 * size) / 2


def _rank(block: Block) -> tuple[float, bool]:
    line = block.lines[0]
    return _rounded(line.size), line.is_bold


def _stands_out(block: Block, body: float) -> bool:
    lines, text = block.lines, block.text
    if len(lines) > _MOST_HEADING_LINES or len(text) > _LONGEST_HEADING or lines[0].turn % 4:
        return False
    if not _LETTER.search(text) or _NO_TITLE.search(text) or block.is_item:
        return False
    is_bold = all(line.is_bold for line in lines) and lines[0].size > 0.9 * body
    return is_bold or lines[0].size > 1.15 * body
