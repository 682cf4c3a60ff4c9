"""The numbers of reStructuredText's ordered lists: `1.`, `#.`, `(a)`, `iv)`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ragkit.text.lines import Line

_NUMBER = re.compile(r"(\(?)(\d{1,9}|[ivxlcdm]{1,15}|[IVXLCDM]{1,15}|[A-Za-z]|#)([.)])(?=\s|$)")
_ROMAN = re.compile(r"M{0,4}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


@dataclass(frozen=True, slots=True)
class Number:
    """A number in front of a list item: where it ends, and its punctuation (two characters).

    `readings` are the sequences that it belongs to, the likeliest first, with its place in each:
    `1` for digits, `a` or `A` for letters, `i` or `I` for roman numerals.
    """

    end: int
    style: str
    readings: tuple[tuple[str, int], ...]
    is_automatic: bool = False

    def follows(self, style: str, ordinal: int) -> bool:
        """Whether it comes after a number of this punctuation and sequence, and of this place.

        So does the same number again: whoever writes `1.` before each step leaves counting to us.
        """
        if style[:2] != self.style:
            return False
        places = ((style[2:], ordinal + 1), (style[2:], ordinal))
        return self.is_automatic or not set(places).isdisjoint(self.readings)


def number(text: str, line: Line) -> Number | None:
    """Return the number that a line starts with, None if it starts with none."""
    found = _NUMBER.match(text, line.start, line.end)
    if found is None or (found[1] and found[3] != ")"):
        return None
    readings = tuple(_readings(found[2]))
    style = (found[1] or " ") + found[3]
    return Number(found.end(), style, readings, found[2] == "#") if readings else None


def _readings(written: str) -> list[tuple[str, int]]:
    if written == "#":
        return [("1", 1)]
    if written.isdigit():
        return [("1", int(written))]
    upper, is_upper = written.upper(), written.isupper()
    letter = [("A" if is_upper else "a", ord(upper) - ord("A") + 1)] if len(written) == 1 else []
    roman = [("I" if is_upper else "i", _roman(upper))] if _ROMAN.fullmatch(upper) else []
    return roman + letter if upper == "I" else letter + roman


def _roman(upper: str) -> int:
    values = [_VALUES[character] for character in upper]
    return sum(
        -value if value < following else value
        for value, following in zip(values, [*values[1:], 0], strict=True)
    )
