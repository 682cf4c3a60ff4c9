"""Which markup a plain text is written in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypeAlias

MAX_CHARACTERS = 200_000
"""Of a text that are looked at."""
MAX_FOREIGN_SHARE = 0.15
"""Of lines of source code, configuration, logs or patches in a text with markup."""

_Sign: TypeAlias = Literal[
    "directive", "target", "role", "literal", "rst title", "title", "list",
    "heading", "subheading", "fence", "link", "table", "foreign", "line",
]  # fmt: skip
_RST_BUT_TITLES: frozenset[_Sign] = frozenset({"directive", "target", "role", "literal"})
_RST: frozenset[_Sign] = frozenset({"rst title", *_RST_BUT_TITLES})
_MARKDOWN: frozenset[_Sign] = frozenset({"heading", "subheading", "fence", "link", "table"})
_MARKDOWN_OR_LIST: frozenset[_Sign] = frozenset({"list", *_MARKDOWN})
_FRONT_MATTER = re.compile(r"---\n(?:[^-\n][^\n]*\n)++---\n")
_HEADER = re.compile(r"(?:From|To|Date|Subject|Received|Return-Path|Message-ID|MIME-Version): ?\S")
_PROGRAM = re.compile(r"#!|<\?|<!|<html|[{\[]")
_DIRECTIVE = re.compile(r"\.\. \w[\w.+:-]*?::(?:\s|$)")
_TARGET = re.compile(r"\.\. (?:_[^:]+:(?:\s|$)|\|[^|]+\| \w)")
_ROLE = re.compile(r":\w[\w+.-]*:`[^`]+`")
_UNDERLINE = re.compile(r"([=\-`:.'\"~^_*+#])\1{2,}")
_HEADING = re.compile(r"#{1,6} +[^\s#]")
_FENCE = re.compile(r"```[^`]*+$")
_LINK = re.compile(r"\]\((?:https?:/|mailto:|\.{0,2}/|#|[\w/-]+\.(?:md|html?|png|jpg|svg)\b)")
_TABLE = re.compile(r"\|? *:?--+:? *(?:\| *:?--+:? *)+\|?$")
_LIST = re.compile(r"(?:[-*+•]|\d{1,3}[.)]|#\.) +[^\s*+=-]")
_FOREIGN = re.compile(
    r".*(?:[{};]|\):)$|(?:def|class|import|from|func|function|package|using)\s[\w.]+$|#include|@\w|"
    r"import [\w.{*]|from [\w.]+ import|[\w.\[\]\"'$]+ ?[-+*/|:]?= ?\S|[a-z][\w.-]*:(?: \S+)?$|"
    r"\[?\d{4}-\d\d-\d\d[T ]\d|\[?\d\d:\d\d:\d\d|\[?(?:INFO|DEBUG|WARN|WARNING|ERROR|TRACE)\b|"
    r"(?:\+\+\+|---|@@|diff|index) \S|[+-]\w"
)


def markup_of(text: str) -> Literal["rst", "markdown"] | None:
    """Return the markup that a text is written in, None for a text without one.

    Signs count only where no author of prose, mails, verse or tables makes them by chance. A text
    has markup if it holds

    - a directive of reStructuredText at the left edge, or two of: a target or substitution at the
      left edge, a role, a paragraph that ends in `::` above an indented one, a title with a line of
      its length under it (or one around it);
    - a table of Markdown with its line of dashes, or two of: a `#` heading below a blank line, such
      a heading of a lower level, a closed fence of backticks, a link to an address or a file, an
      underlined title, a list;
    - or a list and two underlined titles.

    A text that starts like a mail or a program has none; neither has one with a share of more than
    `MAX_FOREIGN_SHARE` of lines at the left edge, outside fences, that look like source code,
    configuration, a log or a patch. If it has signs of both, the more numerous ones decide.
    """
    text = text[:MAX_CHARACTERS]
    front = _FRONT_MATTER.match(text)
    lines = text[front.end() if front else 0 :].strip("\n").split("\n")
    if _PROGRAM.match(lines[0]) or all(map(_HEADER.match, lines[:2])):
        return None
    signs = Counter(_signs(lines))
    if signs["foreign"] > MAX_FOREIGN_SHARE * signs["line"]:
        return None
    n_titles = signs["title"] + signs["rst title"]
    n_rst = sum(signs[sign] for sign in _RST)
    n_markdown = sum(signs[sign] for sign in _MARKDOWN)
    has_outline = n_titles > 1 and signs["list"] > 0
    is_rst = n_rst > 0 and (
        has_outline or signs["directive"] > 0 or _kinds(signs, _RST_BUT_TITLES) + (n_titles > 0) > 1
    )
    is_markdown = has_outline or (
        n_markdown > 0 and signs["table"] + _kinds(signs, _MARKDOWN_OR_LIST) + (n_titles > 0) > 1
    )
    if is_rst and (n_rst >= n_markdown or not is_markdown):
        return "rst"
    return "markdown" if is_markdown else None


def _kinds(signs: Counter[_Sign], kinds: frozenset[_Sign]) -> int:
    return sum(signs[kind] > 0 for kind in kinds)


def _signs(lines: list[str]) -> Iterator[_Sign]:
    """Yield what tells of markup, and each line at the left edge that counts."""
    fence = False
    for i, line in enumerate(lines):
        if _FENCE.match(line.lstrip()):
            if fence:
                yield "fence"
            fence = not fence
        elif line and not fence:
            following = lines[i + 1 : i + 3]
            if not line[0].isspace():
                yield "line"
                yield from _at_edge(line, lines[i - 1] if i else "", following)
            if _ROLE.search(line):
                yield "role"
            if _LINK.search(line):
                yield "link"


def _at_edge(line: str, above: str, below: list[str]) -> Iterator[_Sign]:
    if _DIRECTIVE.match(line):
        yield "directive"
    elif _TARGET.match(line):
        yield "target"
    elif _HEADING.match(line) and not above.strip() and not "".join(below[:1]).startswith("#"):
        yield "subheading" if line.startswith("##") else "heading"
    elif _LIST.match(line):
        yield "list"
    elif _TABLE.match(line) and "|" in above:
        yield "table"
    elif _FOREIGN.match(line):
        yield "foreign"
    if line.endswith("::") and len(below) > 1 and not below[0].strip() and below[1][:1].isspace():
        yield "literal"
    yield from _title(line.rstrip(), above, [line.rstrip() for line in below])


def _title(line: str, above: str, below: list[str]) -> Iterator[_Sign]:
    """Yield a title with a line of its length under it, or of at least its length around it."""
    if len(below) > 1 and below[1] == line and _UNDERLINE.fullmatch(line):
        if 0 < len(below[0].strip()) <= len(line) and below[0].strip()[0] != line[0]:
            yield "rst title"
    elif below and not above.strip() and len(below[0]) == len(line) and line[0].isalnum():
        run = _UNDERLINE.fullmatch(below[0])
        if run:
            yield "title" if run[1] in "=-" else "rst title"
