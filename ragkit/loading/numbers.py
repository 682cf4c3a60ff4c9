"""Numbers and dates of spreadsheets, as a reader sees them: by the format of their cell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

_INTEGER = re.compile(r"-?[0-9]{1,300}")
_TOKEN = re.compile(r'"([^"]*+)"?|\\(.?)|[_*].?|\[([^\]]*+)\]?|([^"\\_*\[])', re.DOTALL)
_PLACEHOLDERS = frozenset("0#?@")
_LITERALS = frozenset("$€£¥ ")
_LEAP_DAY = 60
"""The 29th of February 1900, which spreadsheets have."""
_LONGEST = 40
_LAST_DAY = 2_958_466
"""The first serial number behind the year 9999."""

BUILT_IN: dict[int, str] = {
    9: "0%", 10: "0%", 18: "h", 19: "h", 20: "h", 21: "h", 22: "d h", 45: "h", 46: "[h]", 47: "h",
    **dict.fromkeys((*range(14, 18), *range(27, 32), 36, *range(50, 55), 57, 58), "d"),
    **dict.fromkeys((32, 33, 55, 56), "h"),
    34: "d", 35: "d",
}  # fmt: skip
"""What matters of the formats that files name by number alone."""


@dataclass(frozen=True, slots=True)
class Format:
    """What a number is: with date, time of day, elapsed hours or per cent, and texts around it.

    A whole number has at least `n_digits`: zeros at the start of an article's number count.
    """

    has_date: bool = False
    has_time: bool = False
    is_elapsed: bool = False
    is_percent: bool = False
    before: str = ""
    behind: str = ""
    n_digits: int = 1


def shown_number(text: str) -> str:
    """Return a number of a file without an exponent, rounded to 15 digits; other text as it is."""
    if _INTEGER.fullmatch(text):
        return text
    try:
        value = float(text)
    except ValueError:
        return text
    return _plain(value) if abs(value) < 1e21 else text


def _plain(value: float, digits: int = 15) -> str:
    if not value:
        return "0"
    text = f"{Decimal(f'{value:.{digits}g}'):f}"
    if len(text) > _LONGEST:
        return f"{value:.{digits}g}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=1_000)
def format_of(code: str) -> Format:
    """Return what a format code (ECMA-376, 18.8.31) makes of positive numbers."""
    plains, texts, is_elapsed = "", ("", ""), False
    for token in _TOKEN.finditer(code[:1_000]):
        quoted, escaped, bracket, plain = token.groups()
        literal = quoted or escaped or ""
        if plain == ";":
            break
        if bracket is not None:
            is_elapsed |= bracket.lower() in {"h", "hh", "m", "mm", "s", "ss"}
            literal = bracket[1:].partition("-")[0] if bracket.startswith("$") else ""
        elif plain is not None:
            plains += plain.lower()
            literal = plain if plain in _LITERALS else ""
        before, behind = texts
        has_number = not _PLACEHOLDERS.isdisjoint(plains)
        texts = (before, behind + literal) if has_number else (before + literal, behind)
    letters = set(plains)
    if letters.isdisjoint(_PLACEHOLDERS) and "general" not in plains:
        has_time = bool(letters & {"h", "s"}) or is_elapsed
        has_date = bool(letters & {"y", "d"}) or ("m" in letters and not has_time)
        return Format(has_date=has_date, has_time=has_time, is_elapsed=is_elapsed)
    if "@" in letters or "general" in plains:
        return Format()
    return Format(
        is_percent="%" in letters,
        before=_spaced(texts[0]),
        behind=_spaced(texts[1][::-1])[::-1],
        n_digits=1 if letters - {"0", " "} else plains.count("0"),
    )


def _spaced(text: str) -> str:
    """Return a text without space but one character at its end, if it has one there."""
    return text.strip() + " " * (text.strip() != "" and text[-1].isspace())


def shown(text: str, form: Format, *, is_1904: bool = False) -> str:
    """Return a cell's number as its format shows it, dates as ISO 8601 has them.

    Digits are not rounded to what the format shows.
    """
    try:
        value = float(text)
    except ValueError:
        return text
    if (form.has_date or form.has_time) and 0 <= value < _LAST_DAY:
        return _moment(value, form, is_1904=is_1904)
    if form.is_percent:
        return f"{_plain(value * 100, 12)}%"
    number = shown_number(text)
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    digits = digits.zfill(form.n_digits) if digits.isdecimal() else digits
    return f"{sign}{form.before}{digits}{form.behind}"


def _moment(days: float, form: Format, *, is_1904: bool) -> str:
    seconds = round(days * 86_400)
    clock = f"{seconds // 60 % 60:02d}" + (f":{seconds % 60:02d}" if seconds % 60 else "")
    if form.is_elapsed:
        return f"{seconds // 3600}:{clock}"
    if not form.has_date:
        return f"{seconds // 3600 % 24:02d}:{clock}"
    first = datetime(1904, 1, 1) if is_1904 else datetime(1899, 12, 30)
    if not is_1904 and days < _LEAP_DAY:
        first += timedelta(days=1)
    date = (first + timedelta(days=seconds // 86_400)).date().isoformat()
    return f"{date} {seconds // 3600 % 24:02d}:{clock}" if form.has_time else date
