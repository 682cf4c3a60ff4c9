"""Plain text, Markdown and reStructuredText: the text unchanged, its headings marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ragkit.loading.detecting import markup_of
from ragkit.loading.loaded import Headings, LoadedText, decoded
from ragkit.text.rst import rst_parts
from ragkit.types import Json, Location, Mark, MarkKind, Part

_MARKDOWN_HEADING = re.compile(r" {0,3}(#{1,6})(?=[ \t])")
_NO_TITLE = re.compile(r"\s*(?:[-*+>#|]|\d+[.)])(?:\s|$)|    ")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_TABLE_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*$")
_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)


def load_text(data: bytes) -> LoadedText:
    """Load a text file, which has no title; one written in a markup is read as that."""
    text, metadata = decoded(data)
    markup = markup_of(text)
    if markup is not None:
        return load_rst(data) if markup == "rst" else load_markdown(data)
    return LoadedText(text=text, metadata=metadata)


def load_markdown(data: bytes) -> LoadedText:
    """Load Markdown: headings, code and table rows marked, simple front matter as metadata."""
    text, metadata = decoded(data)
    body, front = _front_matter(text)
    metadata.update(front)
    marks = tuple(_markdown_marks(text, body))
    title = metadata.get("title")
    if not isinstance(title, str):
        headings = (mark.location.heading for mark in marks if mark.kind == "heading")
        title = next((path[-1] for path in headings if path), "")
    return LoadedText(text=text, title=title, marks=marks, metadata=metadata)


def _front_matter(text: str) -> tuple[int, dict[str, Json]]:
    """Return where the body starts and the lines `key: value` above it."""
    front = _FRONT_MATTER.match(text)
    if front is None:
        return 0, {}
    metadata: dict[str, Json] = {}
    for line in front[1].splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip() and re.fullmatch(r"[\w-]+", key):
            metadata[key] = value.strip().strip("\"'")
    return front.end(), metadata


def _markdown_marks(text: str, start: int) -> Iterator[Mark]:
    headings, fence = Headings(), ""
    previous: tuple[int, str] | None = None
    resumes = start > 0
    for position, line in _lines(text, start):
        run = _FENCE.match(line)
        if fence:
            if run and run[1].startswith(fence) and not line[run.end() :].strip():
                fence, resumes = "", True
            continue
        found = _heading(line) or _underlined(line, previous)
        kind: MarkKind = "text"
        if found:
            at = position if line.lstrip().startswith("#") or previous is None else previous[0]
            path = headings.enter(*found)
            yield Mark(start=at, location=Location(heading=path), kind="heading")
        elif run:
            fence, kind = run[1], "code"
        elif _TABLE_ROW.match(line):
            kind = "row"
        if not found and (kind != "text" or (resumes and line.strip())):
            yield Mark(start=position, location=Location(heading=headings.path), kind=kind)
        resumes = kind == "row" or (resumes and not found and not line.strip())
        previous = (position, line) if _may_be_title(line) and kind == "text" else None


def _heading(line: str) -> tuple[int, str] | None:
    match = _MARKDOWN_HEADING.match(line)
    if match is None:
        return None
    return len(match[1]), line[match.end() :].strip().rstrip("#").rstrip()


def _underlined(line: str, previous: tuple[int, str] | None) -> tuple[int, str] | None:
    if previous is None or not _SETEXT.match(line):
        return None
    return (1 if "=" in line else 2), previous[1].strip()


def _may_be_title(line: str) -> bool:
    return bool(line.strip()) and not _NO_TITLE.match(line) and not _SETEXT.match(line)


def load_rst(data: bytes) -> LoadedText:
    """Load reStructuredText; a heading's level is the order in which its underline first occurs."""
    text, metadata = decoded(data)
    parts = rst_parts(text)
    marks = tuple(_rst_marks(text, parts))
    title = marks[0].location.heading[-1] if marks else ""
    return LoadedText(text=text, title=title, marks=marks, parts=parts, metadata=metadata)


def _rst_marks(text: str, parts: Sequence[Part]) -> Iterator[Mark]:
    headings, styles = Headings(), list[str]()
    for before, heading, under in zip((None, *parts), parts, parts[1:], strict=False):
        if heading.kind != "heading":
            continue
        style = text[under.start]
        if before is not None and text[before.end : heading.start].strip(" \t") == "\n":
            style += text[before.end - 1] if before.kind == "markup" else ""
        if style not in styles:
            styles.append(style)
        path = headings.enter(styles.index(style) + 1, text[heading.start : heading.end])
        yield Mark(start=heading.start, location=Location(heading=path), kind="heading")


def _lines(text: str, start: int) -> Iterator[tuple[int, str]]:
    position = start
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        yield position, text[position:end]
        position = end + 1
