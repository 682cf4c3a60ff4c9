"""Formulas of office documents (OMML; ECMA-376) in a line: `E=mc^2`, `(a+b)/2`, `√x`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIMPLE = re.compile(r"[\w.,]*+|\([^()]*+\)")
_PARTS = frozenset("num den sup sub deg lim e fName".split())
"""Elements that hold one part of a formula."""

_AROUND = frozenset("f d nary rad func mr".split())
"""Elements that say what their parts are, or that are set apart by more than their text."""

_MAX_OPEN = 20
"""Parts inside one another: the text of each is joined anew. No author nests deeper."""


@dataclass(slots=True)
class _Open:
    name: str
    first: int
    begins: str = "("
    between: str = "|"
    ends: str = ")"
    sign: str = "∫"
    n_parts: int = 0


class Formula:
    """Writes what stands above, below and behind one another in a formula in a line.

    It changes the last pieces of a text, which grow meanwhile by what the formula holds.
    """

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._n_deeper = 0

    def enter(self, name: str, value: str | None, pieces: list[str]) -> None:
        """Take an element's start; `value` is its attribute of this name, if it has one."""
        if name == "oMath":
            self._open = [_Open(name, len(pieces))]
        if not self._open:
            return
        inner = self._open[-1]
        if value is not None:
            _take_property(inner, name, value)
        if name == "e":
            if inner.name == "d":
                pieces.append(inner.between if inner.n_parts else inner.begins)
            elif inner.name == "nary":
                pieces.append(" ")
            inner.n_parts += 1
        elif inner.name == "nary" and name in {"sub", "sup"} and not inner.n_parts:
            pieces.append(inner.sign)
            inner.n_parts += 1
        if name in _PARTS or name in _AROUND:
            if len(self._open) < _MAX_OPEN:
                self._open.append(_Open(name, len(pieces)))
            else:
                self._n_deeper += 1

    def leave(self, name: str, pieces: list[str]) -> None:
        """Take an element's end."""
        if name == "oMath":
            self._open.clear()
            self._n_deeper = 0
        if self._n_deeper:
            self._n_deeper -= name in _PARTS or name in _AROUND
            return
        if not self._open or self._open[-1].name != name:
            return
        part = self._open.pop()
        around = self._open[-1].name if self._open else ""
        if name == "d":
            pieces.append(part.ends)
        elif name == "mr":
            pieces.append("; ")
        elif name in _PARTS:
            text = "".join(pieces[part.first :]).strip()
            del pieces[part.first :]
            pieces.append(_written(name, text, around))


def grouped(text: str) -> str:
    """Return a part of a formula, in brackets where it is more than a number, a name or a group."""
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def _take_property(inner: _Open, name: str, value: str) -> None:
    if inner.name == "d":
        if name == "begChr":
            inner.begins = value
        elif name == "endChr":
            inner.ends = value
        elif name == "sepChr":
            inner.between = value
    elif inner.name == "nary" and name == "chr":
        inner.sign = value


def _written(name: str, text: str, around: str) -> str:
    """Return a part as it stands in a line."""
    whole = grouped(text)
    if name == "deg":
        return f"{whole}√"
    if name in {"num", "den"}:
        return f"/{whole}" if name == "den" else whole
    if name in {"sup", "sub", "lim"}:
        sign = "^" if name == "sup" else "_"
        return sign + whole if text else ""
    if name == "fName":
        return f"{text} "
    if around == "mr":
        return f"{text} "
    return whole if around == "rad" else text
