"""Plain text, Markdown and reStructuredText: the text unchanged, its headings marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise

from ragkit.loading.anchors import Ids, Slugs, label_of
from ragkit.loading.detecting import markup_of
from ragkit.loading.front_matter import front_matter
from ragkit.loading.loaded import Headings, LoadedText, decoded
from ragkit.loading.struck import without_struck
from ragkit.text.columns import MarkColumns
from ragkit.text.markdown import markdown_parts
from ragkit.text.plain_lists import plain_list_parts
from ragkit.text.rst import rst_parts
from ragkit.types import Mark, MarkKind, Part, PartKind

_MARKDOWN_HEADING = re.compile(r"#{1,6}(?=\s|\Z)")
_MARK_KINDS: Mapping[PartKind, MarkKind] = {"code": "code", "header_row": "row", "row": "row"}


def load_text(data: bytes) -> LoadedText:
    """Load a text file, which has no title; one written in a markup is read as that.

    In others only lists are known: numbers in sequence, and bullets below a colon.
    """
    text, metadata, dropped = decoded(data)
    markup = markup_of(text)
    if markup is not None:
        return load_rst(data) if markup == "rst" else load_markdown(data)
    return LoadedText(text=text, parts=plain_list_parts(text), metadata=metadata, dropped=dropped)


def load_markdown(data: bytes) -> LoadedText:
    """Load Markdown: headings, code and rows marked, its structure, front matter as metadata.

    It stays as it is, except for text that is struck out (`~~old~~`), which is left out.
    """
    text, metadata, dropped = decoded(data)
    body, front = front_matter(text)
    metadata.update(front)
    parts = markdown_parts(text, body)
    if "~~" in text:
        text = without_struck(text, parts, body)
        parts = markdown_parts(text, body)
    marks = markdown_marks(text, parts, body, Headings(), Slugs())
    title = metadata.get("title")
    if not isinstance(title, str | int | float):
        headings = (mark.location.heading for mark in marks if mark.kind == "heading")
        title = next((path[-1] for path in headings if path), "")
    return LoadedText(
        text=text, title=str(title), marks=marks, parts=parts, metadata=metadata, dropped=dropped
    )


def markdown_marks(
    text: str, parts: Sequence[Part], body: int, headings: Headings, slugs: Slugs
) -> MarkColumns:
    """Return marks of headings, code and rows, and of the text that resumes behind them.

    `headings` are those that are open above the text, `slugs` the anchors taken there; both are
    continued.
    """
    marks, resumes = MarkColumns(), False
    for part, following in pairwise(chain(parts, (None,))):
        assert part is not None  # noqa: S101 (only the last is)
        heading = _section(text, part, following) if part.kind == "heading" else None
        kind: MarkKind = "heading" if heading else _MARK_KINDS.get(part.kind, "text")
        if part.kind == "markup" and part.parent is not None and parts[part.parent].kind == "table":
            kind = "row"
        if heading:
            headings.enter(*heading, anchor=slugs.of(heading[1]))
        if kind != "text" or (resumes and part.kind != "table"):
            start = text.rfind("\n", 0, part.start) + 1
            if marks.starts and marks.starts[-1] == start:
                marks.cut(len(marks) - 1)
            marks.append(start, kind, headings.location)
        resumes = kind in {"code", "row"} or part.end <= body
    return marks


def _section(text: str, part: Part, following: Part | None) -> tuple[int, str] | None:
    """Return level and title of a heading; none in lists, quotes and HTML, and without words."""
    title = text[part.start : part.end]
    if part.parent is not None or title.startswith(">"):
        return None
    if signs := _MARKDOWN_HEADING.match(title):
        words = title[signs.end() :].strip()
        bare = words.rstrip("#")
        # A run of signs closes the title only behind a space: `# C#`.
        words = bare.rstrip() if not bare or bare[-1].isspace() else words
        return (len(signs[0]), words) if words else None
    if following is None or following.kind != "markup" or text[following.start] not in "=-":
        return None
    return (1 if text[following.start] == "=" else 2), title


def load_rst(data: bytes) -> LoadedText:
    """Load reStructuredText; a heading's level is the order in which its underline first occurs."""
    text, metadata, dropped = decoded(data)
    parts = rst_parts(text)
    marks = tuple(_rst_marks(text, parts))
    title = marks[0].location.heading[-1] if marks else ""
    return LoadedText(
        text=text, title=title, marks=marks, parts=parts, metadata=metadata, dropped=dropped
    )


def _rst_marks(text: str, parts: Sequence[Part]) -> Iterator[Mark]:
    headings, ids, styles, label = Headings(), Ids(), list[str](), None
    for before, heading, under in zip((None, *parts), parts, parts[1:], strict=False):
        if heading.kind != "heading":
            is_above = heading.kind == "markup"
            label = (label_of(text[heading.start : heading.end]) or label) if is_above else None
            continue
        style = text[under.start]
        if before is not None and text[before.end : heading.start].strip(" \t") == "\n":
            style += text[before.end - 1] if before.kind == "markup" else ""
        if style not in styles:
            styles.append(style)
        title = text[heading.start : heading.end]
        here = headings.enter(styles.index(style) + 1, title, anchor=ids.of(title, label))
        label = None
        yield Mark(start=heading.start, location=here, kind="heading")
