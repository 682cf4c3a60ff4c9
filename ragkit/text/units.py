"""Units: what can be read alone, from a document's text and its parts.

Each unit knows what it cannot be read without: a row its header, a list item and a code block what
introduces them, a paragraph below a list item the item. The work is linear in text and parts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ragkit.text.columns import PartColumns, part_columns
from ragkit.text.sentences import MAX_CHARACTERS, each_sentence, trimmed
from ragkit.types import Need, NeedRole, Part, Span, Unit, UnitKind

MAX_CODE_CHARACTERS = 1600
"""A longer code block is several units, cut between lines: about one chunk of 400 tokens."""

MAX_WHOLE_CODE_CHARACTERS = 5000
"""The units of a code block up to this length are kept together, as those of a procedure are."""

MAX_NEED_CHARACTERS = 600
"""Of a longer need only the start is one: a header comes with each of its rows."""

MAX_NEEDS = 6
"""Needs of a unit, the nearest ones: for example two header rows, a caption and three lead-ins."""

MAX_DEPTH = 20
"""Parts nested deeper are running text of the part at this depth."""

_LEAVES: dict[str, UnitKind] = {
    "heading": "heading",
    "header_row": "header_row",
    "row": "row",
    "caption": "caption",
    "code": "code",
    "nav": "nav",
    "markup": "markup",
}
"""Parts that are units as a whole."""

_WITH_TEXT: dict[str, UnitKind] = {
    "item": "item",
    "step": "step",
    "definition": "definition",
    "option": "option",
}
"""Parts whose own text is a unit that what they hold needs."""

_INTRODUCED = frozenset({"list", "procedure", "table", "code", "definition", "option"})


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the units inside a part have in common."""

    needs: tuple[Need, ...] = ()
    procedure: Span | None = None

    def and_needs(self, nearest: Iterable[Need | None]) -> _Shared:
        """Return the same with further needs, which come before those of farther parts."""
        distinct = {(n.start, n.end): n for n in (*nearest, *self.needs) if n is not None}
        return _Shared(tuple(distinct.values())[:MAX_NEEDS], self.procedure)


def document_units(text: str, parts: Sequence[Part]) -> Iterator[Unit]:
    """Yield the units of a document, in order.

    They do not overlap, and have no white space at either end; together they hold all of the text
    but white space.
    """
    return _named_navigation(text, _Reader(text, part_columns(parts)).units())


def _named_navigation(text: str, units: Iterator[Unit]) -> Iterator[Unit]:
    """Yield units; a sentence that introduces only navigation, which no context has, is such."""
    before: Unit | None = None
    for unit in units:
        if before is not None:
            introduces = before.kind == "sentence" and text[before.end - 1] in ":："
            is_nav = introduces and not before.needs and unit.kind == "nav"
            yield replace(before, kind="nav") if is_nav else before
        before = unit
    if before is not None:
        yield before


class _Children:
    """Which parts stand in a part; None is the document.

    A document may have millions of parts: for each there are the numbers of its first child and of
    the next one of its own parent, -1 for none.
    """

    def __init__(self, parents: Sequence[int]) -> None:
        n = len(parents)
        # The last of n + 1 is the document, whose number is -1.
        self._first, last = array("i", [-1]) * (n + 1), array("i", [-1]) * (n + 1)
        self._next = array("i", [-1]) * n
        for i, parent in enumerate(parents):
            if parent < n:  # else it is a loader's mistake
                before, last[parent] = last[parent], i
                following = self._first if before < 0 else self._next
                following[parent if before < 0 else before] = i

    def of(self, index: int | None) -> Iterator[int]:
        """Yield the children of a part, in order."""
        child = self._first[-1 if index is None else index]
        while child >= 0:
            yield child
            child = self._next[child]


class _Reader:
    def __init__(self, text: str, parts: PartColumns) -> None:
        self._text = text
        self._parts = parts
        self._heading: Need | None = None
        self._children = _Children(parts.parents)

    def units(self) -> Iterator[Unit]:
        return self._read(None, (0, len(self._text)), _Shared(), None)

    def _read(
        self, index: int | None, span: Span, shared: _Shared, last: Unit | None, depth: int = 0
    ) -> Iterator[Unit]:
        """Yield the units of a part's children and of the running text between them.

        `last` is the sentence that introduces the first child, if it is one that does.
        """
        position, end = span
        for child in self._children.of(index) if depth < MAX_DEPTH else ():
            part = self._parts[child]
            if part.start < position or part.end > end:
                continue  # A loader's mistake must neither lose nor repeat text.
            for unit in self._sentences(index, (position, part.start), shared):
                last = unit
                yield unit
            newest = None
            for newest in self._part(child, part, shared, last, depth + 1):
                yield newest
            position = part.end
            last = self._introduces(part, newest, last)
        yield from self._sentences(index, (position, end), shared)

    def _introduces(self, part: Part, newest: Unit | None, last: Unit | None) -> Unit | None:
        """Return the sentence that introduces what follows a part, whose last unit is `newest`."""
        if part.kind == "paragraph":
            return newest or last
        if part.kind == "heading":
            self._heading = self._need(part.start, part.end, "heading")
        # Code, captions, markup and definitions may follow one another under one introduction.
        after = {"code", "caption", "markup", "nav", "definition", "option"}
        return last if part.kind in after else None

    def _part(
        self, index: int, part: Part, shared: _Shared, last: Unit | None, depth: int
    ) -> Iterator[Unit]:
        if part.kind in _INTRODUCED:
            shared = shared.and_needs([self._introduction(part, last)])
        if part.kind == "procedure" and shared.procedure is None:
            shared = replace(shared, procedure=(part.start, part.end))
        if part.kind == "code" and self._is_kept_whole(part) and shared.procedure is None:
            shared = replace(shared, procedure=(part.start, part.end))
        if part.kind == "table":
            shared = shared.and_needs(self._headers(index))
        if part.kind in _LEAVES:
            kind = _LEAVES[part.kind]
            yield from self._pieces(part.kind, kind, (part.start, part.end), shared)
            return
        span = part.start, part.end
        if part.kind in _WITH_TEXT:
            below = next(self._children.of(index), None)
            first_child = part.end if below is None else self._parts[below].start
            own = part.start, max(part.start, min(first_child, part.end))
            units = list(self._pieces(part.kind, _WITH_TEXT[part.kind], own, shared))
            yield from units
            span = own[1], part.end
            if units:
                first, last = units[0], units[-1]
                shared = shared.and_needs([self._need(first.start, first.end, "lead_in")])
        elif part.kind != "note":
            last = None
        yield from self._read(index, span, shared, last, depth)

    def _sentences(self, index: int | None, span: Span, shared: _Shared) -> Iterator[Unit]:
        start, end = span
        # Mostly white space between two parts, which is found out at once.
        if start >= end or self._text[start:end].isspace():
            return
        is_one = index is not None and self._parts[index].kind == "paragraph"
        for a, b in each_sentence(self._text, start, end, in_paragraph=is_one):
            yield Unit(
                start=a, end=b, needs=_beside(shared.needs, a, b), procedure=shared.procedure
            )

    def _pieces(self, of: str, kind: UnitKind, span: Span, shared: _Shared) -> Iterator[Unit]:
        """Yield one unit, or several where it would be too long: each needs the first."""
        needs = () if kind in {"heading", "nav", "markup"} else shared.needs
        for start, end in self._bounded(kind, trimmed(self._text, *span)):
            yield Unit(
                start=start,
                end=end,
                kind=kind,
                needs=_beside(needs, start, end),
                procedure=shared.procedure,
            )
            if of in _WITH_TEXT or of == "row":
                shared = shared.and_needs([self._need(start, end, "lead_in")])
                of, needs = "", shared.needs

    def _bounded(self, kind: UnitKind, span: Span) -> Iterable[Span]:
        start, end = span
        if end - start <= (MAX_CODE_CHARACTERS if kind == "code" else MAX_CHARACTERS):
            return [span] if start < end else []
        if kind == "code":
            return _runs_of_lines(self._text, start, end)
        return each_sentence(self._text, start, end)

    def _introduction(self, part: Part, last: Unit | None) -> Need | None:
        """Return what introduces a part: the sentence before it, else the heading above it.

        Code is introduced by whatever sentence stands before it, the others by one with a colon.
        """
        if last is None:
            return self._heading
        if part.kind == "code" or self._text[last.end - 1] in ":：":
            start, end = last.start, last.end
            if end - start > MAX_NEED_CHARACTERS:  # What introduces stands at its end.
                *_, (start, _) = each_sentence(self._text, start, end)
                start = last.start if start < last.start + MAX_NEED_CHARACTERS else start
            return Need(start=start, end=end, role="lead_in", text=self._text[start:end])
        return None

    def _is_kept_whole(self, code: Part) -> bool:
        """Whether a code block is several units that are kept together."""
        return MAX_CODE_CHARACTERS < code.end - code.start <= MAX_WHOLE_CODE_CHARACTERS

    def _headers(self, table: int) -> Iterator[Need]:
        for child in self._children.of(table):
            part = self._parts[child]
            if part.kind in {"header_row", "caption"}:
                yield self._need(part.start, part.end, "header")
            elif part.kind == "row":
                return

    def _need(self, start: int, end: int, role: NeedRole) -> Need:
        start, end = trimmed(self._text, start, min(end, start + MAX_NEED_CHARACTERS))
        return Need(start=start, end=end, role=role, text=self._text[start:end])


def _beside(needs: Sequence[Need], start: int, end: int) -> tuple[Need, ...]:
    """Return the needs that do not overlap a span, in order."""
    beside = [need for need in needs if need.end <= start or need.start >= end]
    return tuple(sorted(beside, key=lambda need: need.start)) if needs else ()


def _runs_of_lines(text: str, start: int, end: int) -> Iterator[Span]:
    """Cut code between lines, after a blank line where one is near; a long line anywhere."""
    while end - start > MAX_CODE_CHARACTERS:
        middle, limit = start + MAX_CODE_CHARACTERS // 2, start + MAX_CODE_CHARACTERS
        cut = max(text.rfind("\n\n", middle, limit), 0) or max(text.rfind("\n", middle, limit), 0)
        cut = cut or limit
        yield trimmed(text, start, cut)
        start = trimmed(text, cut, end)[0]
    yield start, end
