"""Numbers of a text in forms to compare: `14.50` is `14,5`, `9:00` is `9`, `twelve` is 12.

A number has one form or several, as `1.240` is a thousand in German and one and a quarter in
English; two numbers are the same if they share one. Versions and addresses (`2.4.1`) are one number
each, dates (`2025-03-12`) are three.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])(?<![A-Za-z]-)(?P<digits>\d{1,40}(?:[.,:'’\u00a0\u202f]\d{1,40}){0,9})"
    r"(?!\d|[A-Za-z]{1,20}\d)(?:\s?(?P<half>[AaPp])\.?[Mm]\b)?"
)
"""What a letter, or a letter and a hyphen, stands before is part of a name: `B12`, `CTLA-4`."""
_SIGN = re.compile(r"[.,:'’\u00a0\u202f]")
_THOUSANDS = re.compile(r"\d{1,3}(?:([.,'’\u00a0\u202f])\d{3})(?:\1\d{3}){0,9}")
_WITH_FRACTION = re.compile(
    r"\d{1,3}(?:[,'’\u00a0\u202f]\d{3}){1,9}\.\d{1,40}|\d{1,3}(?:[.'’\u00a0\u202f]\d{3}){1,9},\d{1,40}"
)
AMOUNT = re.compile(r"\d[.,]\d|\d{5}|\b(?!(?:19|20)\d\d\b)\d{3,4}\b|\b(?:3[2-9]|[4-9]\d)\b")
"""A number that is neither a day of a month nor a year."""
_CLOCK = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
_HOUR = re.compile(r"[01]?\d")
_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_WORD = re.compile(r"[^\W\d_]+")

_FROM_ZERO = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze "
    "seize",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce "
    "quince dieciséis diecisiete dieciocho diecinueve",
}
_FROM_TWENTY = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
    "fr": "vingt trente quarante cinquante soixante",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
}
_FROM_FIRST = {
    "en": "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth",
}


class Number(NamedTuple):
    """A number's forms, and whether it is written in digits."""

    forms: frozenset[str]
    in_digits: bool


def numbers_in(text: str, language: str | None) -> list[Number]:
    """Return the numbers of a text, those in digits first.

    Number words are known in English, German, French and Spanish.
    """
    found = [
        Number(frozenset(forms), in_digits=True)
        for match in _NUMBER.finditer(text)
        for forms in _forms(match["digits"], (match["half"] or "").lower())
    ]
    words = number_words(language)
    if words:
        named = (words.get(word.casefold()) for word in _WORD.findall(text))
        found += [Number(frozenset({name}), in_digits=False) for name in named if name]
    return found


@lru_cache(maxsize=16)
def number_words(language: str | None) -> Mapping[str, str]:
    """Return a language's number words with their digits; none if they are not known."""
    if language is None or language not in _FROM_ZERO:
        return {}
    tens = enumerate(_FROM_TWENTY[language].split(), start=2)
    ones = enumerate(_FROM_ZERO[language].split())
    ordinals = enumerate(_FROM_FIRST.get(language, "").split(), start=1)
    named = {word: str(10 * n) for n, word in tens}
    return named | {word: str(n) for some in (ones, ordinals) for n, word in some}


def _forms(digits: str, half: str) -> Iterator[set[str]]:
    """Yield the forms of each number that was written as one; `half` is that of the day."""
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in digits)
    if date := _DATE.fullmatch(digits):
        yield from ({_plain(part)} for part in date.groups())
    elif clock := _CLOCK.fullmatch(digits):
        yield _times(clock[1], clock[2], half)
    elif half and _HOUR.fullmatch(digits):
        yield _times(digits, "00", half)
    elif _THOUSANDS.fullmatch(digits):
        yield {_plain(_SIGN.sub("", digits)), _plain(_SIGN.sub(".", digits))}
    elif _WITH_FRACTION.fullmatch(digits):
        *whole, fraction = _SIGN.split(digits)
        yield {_plain(f"{''.join(whole)}.{fraction}")}
    else:
        parts = _SIGN.split(digits)
        yield {_plain(".".join(parts)) if len(parts) < 3 else digits}


def _times(hour: str, minutes: str, half: str) -> set[str]:
    """Return how a time of day is written, with 12 hours and with 24."""
    hours = {_plain(hour)}
    if half == "p" and int(hour) < 12:
        hours.add(str(int(hour) + 12))
    times = {f"{hour}:{minutes}" for hour in hours}
    return times | hours if minutes == "00" else times


def _plain(number: str) -> str:
    whole, _, fraction = number.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
