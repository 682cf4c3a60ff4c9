"""Tags and texts of HTML, in one pass.

The standard library's parser rescans a file with many unclosed tags over and over: 64 KiB of `<a <a
<a` take it most of a minute. Here each character is looked at a fixed number of times: an unclosed
tag, for which the HTML standard drops the rest of the file, is text up to its end.
"""

from __future__ import annotations

import html
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias

# Possessive quantifiers: a failed match takes linear, not quadratic time.
_TAG = re.compile(r"""<(/?)([A-Za-z][^\s/>]*+)((?:[^>"']++|"[^"]*+"|'[^']*+')*+)>""")
_TAG_TO_NEXT_BRACKET = re.compile(r"<(/?)([A-Za-z][^\s/>]*+)([^>]*+)>")
_ATTRIBUTE = re.compile(r"""([^\s=/>"']++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s>]*+))?""")
_COMMENT_END = re.compile(r"-->|(?<!<!)--!>")
_XHTML = re.compile(
    r"\s*+<\?xml\s|[^<]{0,99}(?:<!DOCTYPE[^<>]{0,300}>\s*+)?<html\s[^<>]{0,500}"
    r"\bxmlns\s?=\s?[\"']http://www\.w3\.org/1999/xhtml",
    re.IGNORECASE,
)
"""How a page begins that is written as XML: each element may end with its start."""
_EMPTY = re.compile(r"(?:^|[\s\"'])/$")
_CDATA = "<![CDATA["
_RAW_TEXT = frozenset("script style title textarea xmp noembed noframes".split())
"""Elements whose content holds no tags."""


@dataclass(frozen=True, slots=True)
class StartTag:
    """The start of an element; names in lower case, values without quotes and entities."""

    name: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class EndTag:
    """The end of an element."""

    name: str


Token: TypeAlias = str | StartTag | EndTag
"""A `str` is text, its entities replaced."""


def tokens(text: str) -> Iterator[Token]:
    """Yield the texts and tags of a page in order, without comments and declarations.

    In XHTML, `<title/>` is the element and its end, and `<![CDATA[…]]>` is text.
    """
    is_xml = _XHTML.match(text) is not None
    position = 0
    while position < len(text):
        opened = text.find("<", position)
        if opened != position:
            yield html.unescape(text[position : opened if opened >= 0 else len(text)])
        if opened < 0:
            return
        following = text[opened + 1 : opened + 3]
        if following[:1].isalpha() or (following[:1] == "/" and following[1:].isalpha()):
            match = _tag(text, opened)
            if match is None:
                yield html.unescape(text[opened:])
                return
            yield from _of_tag(match)
            if is_xml and _is_empty(match):
                yield EndTag(match[2].lower())
                position = match.end()
            else:
                position = yield from _raw_text(text, match)
        elif is_xml and text.startswith(_CDATA, opened):
            end = text.find("]]>", opened)
            end = len(text) if end < 0 else end
            yield text[opened + len(_CDATA) : end]
            position = end + 3
        elif following[:1] in {"!", "?", "/"}:
            position = _after_comment(text, opened)
        else:
            yield "<"
            position = opened + 1


def _tag(text: str, opened: int) -> re.Match[str] | None:
    """Match a tag; if a quote is never closed, up to the next bracket."""
    return _TAG.match(text, opened) or _TAG_TO_NEXT_BRACKET.match(text, opened)


def _of_tag(match: re.Match[str]) -> Iterator[Token]:
    name = match[2].lower()
    if match[1]:
        yield EndTag(name)
        return
    attributes: dict[str, str] = {}
    for key, value in _ATTRIBUTE.findall(match[3]):
        attributes.setdefault(key.lower(), html.unescape(value.strip("\"'")))
    yield StartTag(name, attributes)


def _is_empty(match: re.Match[str]) -> bool:
    """Whether a start tag is that of an empty element of XML."""
    return not match[1] and _EMPTY.search(match[3][-2:]) is not None


def _raw_text(text: str, match: re.Match[str]) -> Generator[str, None, int]:
    """Yield the text of an element without tags, and return where reading continues."""
    name = match[2].lower()
    if match[1] or name not in _RAW_TEXT or match[3].endswith("/"):
        return match.end()
    end = re.compile(f"</{re.escape(name)}", re.IGNORECASE).search(text, match.end())
    stop = end.start() if end else len(text)
    yield html.unescape(text[match.end() : stop])
    return stop


def _after_comment(text: str, opened: int) -> int:
    """Return where a comment or declaration ends; an unclosed one runs to the end."""
    if text.startswith("<!--", opened):
        comment = _COMMENT_END.search(text, opened + 2)
        return comment.end() if comment else len(text)
    end = text.find(">", opened + 2)
    return len(text) if end < 0 else end + 1
