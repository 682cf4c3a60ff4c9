"""The numbers of ordered lists, as a reader sees them."""

from __future__ import annotations

from typing import Literal, TypeAlias

Numerals: TypeAlias = Literal["1", "a", "A", "i", "I"]
"""Digits, letters or Roman numerals, named as HTML names them: by the first."""

MAX_INDENTED_LEVELS = 10
"""Lists nested deeper are indented no further."""

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
    (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


def numeral(number: int, numerals: Numerals) -> str:
    """Return a list item's number; what letters and Roman numerals cannot tell is in digits."""
    if numerals in {"a", "A"} and number > 0:
        text = _letters(number)
    elif numerals in {"i", "I"} and 0 < number < 4000:
        text = _roman(number)
    else:
        return str(number)
    return text.upper() if numerals.isupper() else text


def indentation(level: int) -> str:
    """Return what stands before the items of a list, 0 for one that is in no other."""
    return "  " * min(level, MAX_INDENTED_LEVELS)


def _letters(number: int) -> str:
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        count, number = divmod(number, value)
        text += letters * count
    return text
