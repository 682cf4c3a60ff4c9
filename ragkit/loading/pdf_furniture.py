"""Page furniture of a PDF: running heads, footers and page numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ragkit.loading.pdf_lines import Line

_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+")
_LETTER = re.compile(r"[^\W\d_]")
MIN_PAGES = 3
"""Of a document with furniture, and of those that a line of it stands on."""
_N_OUTERMOST = 4
"""Lines at the top of a page, and at its bottom, among which there may be furniture."""
_TOLERANCE = 3.0
"""In points: how far from the same place a line may stand."""
_MOST_LETTERS = 12
"""Of a page number with the words around it, such as `Page 3 of 30`."""


def without_furniture(pages: Sequence[Sequence[Line]]) -> tuple[list[list[Line]], int]:
    """Return the lines of the pages without their furniture, and how many characters that is.

    Furniture is the same line on most pages, or on most of the left or the right ones, above or
    below all others: at the same place, unless it counts the pages, which may follow the text. So
    that no word is lost, the first line stays that has one which stands nowhere else.
    """
    edges = [_edges(lines) for lines in pages]
    repeated = _repeated(edges)
    peeled = {id(x): x for page in edges for edge in page for x in _peeled(edge, repeated)}
    found = list(peeled.values())
    if not found or len(found) == sum(map(len, pages)):
        return [list(lines) for lines in pages], 0
    drop = {id(line) for line in found}
    kept_words = _words("\n".join(x.text for page in pages for x in page if id(x) not in drop))
    n_characters = 0
    for line in found:
        words = _words(line.text)
        if words <= kept_words or _is_number(line):
            n_characters += len(line.text)
        else:
            kept_words |= words
            drop.remove(id(line))
    return [[line for line in page if id(line) not in drop] for page in pages], n_characters


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _is_number(line: Line) -> bool:
    text = line.text
    return _NUMBER.search(text) is not None and len(_LETTER.findall(text)) <= _MOST_LETTERS


def _edges(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Return the outermost lines of a page: from the top down, and from the bottom up."""
    upright = sorted((line for line in lines if line.turn in {0, 4}), key=lambda x: -x.base)
    return upright[:_N_OUTERMOST], upright[: -_N_OUTERMOST - 1 : -1]


def _repeated(edges: Sequence[Sequence[Sequence[Line]]]) -> set[int]:
    """Return the identities of the outermost lines that are the same on most pages."""
    if len(edges) < MIN_PAGES:
        return set()
    alike: dict[str, dict[int, Line]] = {}
    for page in edges:
        for line in (line for edge in page for line in edge):
            alike.setdefault(_NUMBER.sub("#", line.text), {}).setdefault(id(line), line)
    found = set[int]()
    for lines in alike.values():
        found |= _in_place(list(lines.values()), len(edges))
    return found


def _in_place(lines: Sequence[Line], n_pages: int) -> set[int]:
    """Return those of the lines that count the pages, else those that are alike at one place."""
    if len(lines) < MIN_PAGES:
        return set()
    there = _counting(lines) or _at_one_place(lines)
    on = {line.page for line in there}
    n_odd = sum(page % 2 for page in on)
    share = max(len(on) / n_pages, 2 * n_odd / (n_pages + 1), 2 * (len(on) - n_odd) / n_pages)
    return {id(line) for line in there} if share > 1 / 2 and len(on) >= MIN_PAGES else set()


def _counting(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of which one number grows with the page and the others are the same."""
    rows = [(line, _numbers(line)) for line in lines]
    has_grown = False
    for column in range(len(rows[0][1])):
        same, n_same = Counter(row[column] for _, row in rows).most_common(1)[0]
        step, n_step = Counter(row[column] - x.page for x, row in rows).most_common(1)[0]
        grows = n_step > n_same
        has_grown |= grows
        value = step if grows else same
        rows = [(x, row) for x, row in rows if row[column] - x.page * grows == value]
    return [line for line, _ in rows] if has_grown else []


def _at_one_place(lines: Sequence[Line]) -> list[Line]:
    """Return the lines with the same words and numbers at about the same height."""
    texts = Counter(line.text for line in lines)
    text = texts.most_common(1)[0][0]
    alike = [line for line in lines if line.text == text]
    places = Counter(round(line.base / _TOLERANCE) for line in alike)
    place = places.most_common(1)[0][0] * _TOLERANCE
    return [line for line in alike if abs(line.base - place) <= 1.5 * _TOLERANCE]


def _numbers(line: Line) -> list[int]:
    return [int(number[-9:]) for number in _NUMBER.findall(line.text)]


def _peeled(edge: Sequence[Line], repeated: set[int]) -> list[Line]:
    """Return the furniture of an edge: nothing further out is other text."""
    peeled = list[Line]()
    for line in edge:
        if id(line) not in repeated:
            break
        peeled.append(line)
    return peeled
