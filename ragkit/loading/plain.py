"""Plain text, Markdown and reStructuredText: the text as it stands, its headings marked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ragkit.loading.loaded import Headings, LoadedText, decoded
from ragkit.types import Json, Location, Mark, MarkKind

_MARKDOWN_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t#]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_TABLE_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*$")
_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)
_UNDERLINE = re.compile(r"([=\-`:.'\"~^_*+#<>])\1{2,}\s*$")


def load_text(data: bytes) -> LoadedText:
    """Load a text file; its title is unknown."""
    return LoadedText(text=decoded(data))


def load_markdown(data: bytes) -> LoadedText:
    """Load Markdown: headings, code and table rows marked, simple front matter as metadata."""
    text = decoded(data)
    metadata: dict[str, Json] = {}
    body = 0
    front = _FRONT_MATTER.match(text)
    if front:
        body = front.end()
        for line in front[1].splitlines():
            key, colon, value = line.partition(":")
            if colon and re.fullmatch(r"[\w-]+", key):
                metadata[key] = value.strip().strip("\"'")
    marks = tuple(_markdown_marks(text, body))
    title = metadata.get("title")
    if not isinstance(title, str):
        headings = (mark.location.heading for mark in marks if mark.kind == "heading")
        title = next((path[-1] for path in headings if path), "")
    return LoadedText(text=text, title=title, marks=marks, metadata=metadata)


def _markdown_marks(text: str, start: int) -> Iterator[Mark]:
    headings, fence, in_table = Headings(), "", False
    previous: tuple[int, str] | None = None
    for position, line in _lines(text, start):
        opened = _FENCE.match(line)
        if opened and (not fence or opened[1].startswith(fence)):
            fence = "" if fence else opened[1][:3]
            kind: MarkKind = "code" if fence else "text"
            at = position if fence else position + len(line) + 1
            yield Mark(start=at, location=Location(heading=headings.path), kind=kind)
        elif not fence:
            heading = _MARKDOWN_HEADING.match(line)
            if heading:
                path = headings.enter(len(heading[1]), heading[2])
                yield Mark(start=position, location=Location(heading=path), kind="heading")
            elif previous and _SETEXT.match(line) and not _TABLE_ROW.match(previous[1]):
                path = headings.enter(1 if "=" in line else 2, previous[1])
                yield Mark(start=previous[0], location=Location(heading=path), kind="heading")
            elif _TABLE_ROW.match(line):
                yield Mark(start=position, location=Location(heading=headings.path), kind="row")
            elif in_table:
                yield Mark(start=position, location=Location(heading=headings.path))
            in_table = _TABLE_ROW.match(line) is not None
        previous = (position, line) if line.strip() and not _SETEXT.match(line) else None


def load_rst(data: bytes) -> LoadedText:
    """Load reStructuredText; a heading's level is the order in which its underline first comes."""
    text = decoded(data)
    headings, styles = Headings(), list[str]()
    marks: list[Mark] = []
    previous: tuple[int, str] | None = None
    overline = ""
    for position, line in _lines(text, 0):
        underline = _UNDERLINE.match(line)
        if underline and previous and len(line.rstrip()) >= len(previous[1].rstrip()):
            style = underline[1] * (2 if overline == underline[1] else 1)
            if style not in styles:
                styles.append(style)
            path = headings.enter(styles.index(style) + 1, previous[1])
            marks.append(Mark(start=previous[0], location=Location(heading=path), kind="heading"))
            previous, overline = None, ""
        elif underline and previous is None:
            overline = underline[1]
        else:
            previous = (position, line) if line.strip() and not line[:1].isspace() else None
            if not line.strip():
                overline = ""
            if previous is None and line.strip():
                previous = (position, line) if overline else None
    title = marks[0].location.heading[-1] if marks else ""
    return LoadedText(text=text, title=title, marks=tuple(marks))


def _lines(text: str, start: int) -> Iterator[tuple[int, str]]:
    position = start
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        yield position, text[position:end]
        position = end + 1
