"""Identifiers: what is written with signs that mean something, and is looked for as a whole.

Index terms are words, so `v1.2.3` and `v3.1.2` have the same ones, and `C#`, `C++` and `C` too. An
identifier therefore has one more term, which stands for the whole: its letters in lower case, each
sign as a character of the private use area, which FTS5 takes for a letter and no text's own terms
hold. Its words stay terms as well.

Identifiers are three numbers or more with the same sign between them (versions, addresses, dates,
sections), `v1.2`, codes (`ORA-00600`, `HTTP 404`), names with `_`, `.` or `()` inside or behind
(`max_connections`, `foo.bar()`, `config.yaml`, `example.com`), `C#`, `C++`, `.NET`, and options
(`-v`, `--dry-run`). Others are not, so that prose has the terms that it had: plain words and
numbers, `well-known`, decimals (`3.5` is mostly a quantity), abbreviations (`e.g.`), and a full
stop without a space behind it (`end.Next`). A code of one run, as `E1234`, is a word already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ragkit.text.memo import Memo

MAX_IDENTIFIERS = 16
"""Per question."""

_MAX_RUN_CHARACTERS = 200
"""Of a longer run without a space only so much is read: it is data."""

_MAX_CHARACTERS = 64
"""Of a term; longer identifiers agree in these."""

_PRIVATE = 0xE000
_AS_LETTERS = {code: chr(_PRIVATE + code) for code in range(128) if not chr(code).isalnum()}
_SIGNS = re.compile(f"[{chr(_PRIVATE)}-{chr(_PRIVATE + 127)}]+")

_RUN = re.compile(r"[!-~]{2,}")
_NUMBERS = re.compile(
    r"(?<![A-Za-z0-9_.])[vV]?"
    r"([0-9]{1,12}([./:-])[0-9]{1,12}(?:\2[0-9]{1,12}){1,8}"
    r"(?:-?(?:alpha|beta|rc|dev|post|pre)[.-]?[0-9]{0,12})?)"
    r"(?![A-Za-z0-9_])"
)
"""Bounded, so that a search need not begin anew within what it has read."""
_PATTERNS = (
    _NUMBERS,
    re.compile(r"(?<![A-Za-z0-9_.])([vV][0-9]+\.[0-9]+)(?![A-Za-z0-9_]|\.[0-9])"),
    # An address in hexadecimal digits.
    re.compile(r"(?<![A-Za-z0-9_:])([0-9A-Fa-f]{1,4}(?:::?[0-9A-Fa-f]{1,4}){3,7})(?![\w:])"),
    re.compile(r"(?<![A-Za-z0-9_.])([A-Za-z][A-Za-z0-9]{0,15}(?:\+\+|#))(?![A-Za-z0-9_+#])"),
    re.compile(r"(?<![A-Za-z0-9_.])(\.(?:[Nn][Ee][Tt]|[a-z][a-z0-9_-]+))(?![A-Za-z0-9_])"),
    re.compile(r"(?<![A-Za-z0-9_-])(--[A-Za-z][A-Za-z0-9_-]+|-[A-Za-z][A-Za-z0-9]?)(?![\w-])"),
)
_CODE = re.compile(r"(?<![A-Za-z0-9_-])([A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+)(?![A-Za-z0-9_])")
_NAME = re.compile(r"(?<![A-Za-z0-9_.-])([A-Za-z_][A-Za-z0-9_]*(?:[.-][A-Za-z0-9_]+)*)(\(\))?")
_LAST_PART = re.compile(r"[a-z_][A-Za-z0-9_]+")
_NUMBER_OF = re.compile(r"[0-9]{2,}")
_NUMBERED = frozenset("code din errno error http ieee iec iso pep rfc sqlstate status".split())
_MAX_NUMBERED = max(map(len, _NUMBERED))


def identifiers(text: str) -> list[str]:
    """Return the terms of a text's identifiers, in order, repeated as often as they occur."""
    found: list[str] = []
    # Splitting is three times as fast as the expression, and in most texts the same.
    runs = text.split() if text.isascii() else _RUN.findall(text)
    # Words are most of a text and none of them.
    for i in [i for i, run in enumerate(runs) if not run.isalpha() and len(run) > 1]:
        run = runs[i]
        found += _OF_RUN[run]
        if run[0].isdigit() and (number := _NUMBER_OF.match(run)):
            before = _word_before(runs, i)
            if before in _NUMBERED:
                found.append(_term(f"{before} {number[0]}"))
    return found


def asked_identifiers(question: str) -> list[str]:
    """Return the distinct terms of a question's identifiers, 16 at most.

    A question without a capital may name a code in small letters.
    """
    found = identifiers(question)
    if question.islower():
        found += identifiers(question.upper())
    return list(dict.fromkeys(found))[:MAX_IDENTIFIERS]


def without_numbers(question: str) -> str:
    """Return a question without its versions, addresses, dates and section numbers."""
    return _NUMBERS.sub(" ", question)


def words_of(term: str) -> tuple[str, ...]:
    """Return the words of an identifier in order of their letters, whatever their own order."""
    return tuple(sorted(_SIGNS.split(term)))


def holds(text: str, term: str) -> bool:
    """Return whether a text holds the identifier with this term."""
    lower = text.lower()
    # Most texts lack one of its words, which is found out a hundred times faster.
    return all(word in lower for word in _SIGNS.split(term)) and term in identifiers(text)


def _word_before(runs: Sequence[str], i: int) -> str:
    """Return the run before another one in small letters, if it may be the name of a number."""
    while i and len(runs[i - 1]) < 2:
        i -= 1
    return runs[i - 1].lower() if i and len(runs[i - 1]) <= _MAX_NUMBERED else ""


def _term(identifier: str) -> str:
    return identifier.lower().translate(_AS_LETTERS)[:_MAX_CHARACTERS]


def _of_run(run: str) -> Sequence[str]:
    run = run[:_MAX_RUN_CHARACTERS]
    # A word or number with punctuation around it, as most runs are, has none of the signs.
    if run.lstrip("\"'(").rstrip(",.;:!?\"')").isalnum():
        return ()
    return [_term(identifier) for identifier in _found(run)]


def _found(run: str) -> Iterator[str]:
    for pattern in _PATTERNS:
        for match in pattern.finditer(run):
            yield match[1]
    for match in _CODE.finditer(run):
        if not match[1].replace("-", "").isalpha():
            yield match[1]
    for match in _NAME.finditer(run):
        # What stands between underscores is set in italics, in Markdown.
        name = match[1].strip("_")
        if "_" in name or _is_dotted(name):
            yield name
        elif match[2]:
            yield name + match[2]


def _is_dotted(name: str) -> bool:
    """Return whether a name has parts, as a file, a host, a setting or a method has."""
    first, *others = name.split(".")
    if not others:
        return False
    last = others[-1]
    if len(first) > 1 and first.isupper() and len(last) > 1:
        return last.isupper() or last.islower()
    # A sentence may end in a full stop before a capital.
    return bool(_LAST_PART.fullmatch(last)) or (
        len(others) > 1 and len(last) > 1 and first.islower() and others[0].islower()
    )


_OF_RUN = Memo(_of_run)
