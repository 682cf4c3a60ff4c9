"""HTML: the text that a reader would see."""

from __future__ import annotations

import re
from dataclasses import replace

from ragkit.loading.anchors import bounded
from ragkit.loading.cells import Row, Table, cell_of
from ragkit.loading.encodings import decode_text
from ragkit.loading.html_elements import (
    BLOCKS,
    CLOSED_BY_ITS_LIKE,
    GROUPS,
    HEADINGS,
    SECTIONS,
    UNSHOWN_TAGS,
    VOID,
    Element,
)
from ragkit.loading.html_hidden import Look, Looks
from ragkit.loading.html_lists import List, integer, is_backwards, item_counts, numerals_of
from ragkit.loading.html_roles import (
    code_language,
    is_navigation,
    is_note,
    is_note_title,
    is_option,
)
from ragkit.loading.loaded import Allowance, Headings, LoadedText, OpenPart, TextBuilder, clean
from ragkit.loading.markup import EndTag, StartTag, tokens
from ragkit.loading.mathml import with_formulas
from ragkit.loading.numbering import indentation, numeral
from ragkit.loading.scripts import LOWERED, RAISED, Scripts
from ragkit.loading.unseen import without_unseen
from ragkit.types import Json, MarkKind, PartKind

_SCRIPTS = {"sup": RAISED, "sub": LOWERED}
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_MAX_LOOK_UP = 50
"""How many open elements an end tag may close: one further out is noise, not structure."""


def load_html(data: bytes) -> LoadedText:
    """Load HTML: visible text by blocks, headings and table rows marked, and its structure.

    Left out: scripts, comments, what is struck out, and what is hidden by an attribute or a style.
    The items of lists have their bullets and numbers and are indented by the lists around them. A
    table's row is a line `a | b | c`, an empty cell keeping its place and a spanned one repeated;
    until one row has more than one filled cell or is a header, rows are layout and give paragraphs.
    A raised number behind another one is set apart: `10^12`, `45 [2]`. Code whose language is known
    stands between fences that name it, as in Markdown.
    """
    declared = _CHARSET.search(data[:4096])
    text, encoding = decode_text(data, declared=declared[1].decode() if declared else None)
    page, n_unseen = without_unseen(clean(text))
    reader = _read(page, Looks(page))
    if "aria-hidden" in page.lower() and reader.n_hidden > reader.n_seen:
        shown = _read(page, Looks(page, knows_aria=False))  # as behind a dialogue
        reader = shown if shown.n_seen > 2 * reader.n_seen else reader
    guessed = encoding is not None and (
        declared is None or declared[1].decode().lower() != encoding
    )
    reader.n_hidden += n_unseen
    return reader.finish({"encoding": encoding} if guessed else {})


def _read(page: str, looks: Looks) -> _Reader:
    reader = _Reader(page, looks)
    for token in with_formulas(tokens(page), looks.shows):
        if isinstance(token, StartTag):
            reader.start(token)
        elif isinstance(token, EndTag):
            reader.end(token.name)
        else:
            reader.add(token)
    return reader


class _Reader:
    """Tracks the open elements, and the open table rows from the outermost inwards."""

    def __init__(self, page: str, looks: Looks) -> None:
        self.n_seen = 0
        self.n_hidden = 0
        self._looks = looks
        self._builder = TextBuilder()
        self._headings = Headings()
        self._open: list[Element] = []
        self._hidden = 0
        self._pieces: list[str] = []
        self._rows: list[Row] = []
        self._tables: list[Table] = []
        self._lists: list[List] = []
        self._navs: list[Element] = []
        self._n_notes = 0
        self._n_sections = 0
        self._marker = ""
        self._anchor: str | None = None
        self._scripts = Scripts()
        self._preformatted = 0
        self._language = ""
        self._title: list[str] = []
        self._in_title = False
        self._has_content = False
        self._allowance = Allowance(len(page))
        self._item_counts = iter(item_counts(tokens(page)) if "reversed" in page.lower() else ())

    def start(self, token: StartTag) -> None:
        """Take the start of an element."""
        tag = token.name
        if tag == "title":
            is_of_picture = any(element.tag == "svg" for element in self._open[-_MAX_LOOK_UP:])
            self._in_title = not self._title and not is_of_picture
        if tag == "body":
            # A page whose head was never closed still shows its body.
            self._unhide_head()
        if tag in VOID:
            self._add_void(tag)
            return
        if tag in CLOSED_BY_ITS_LIKE:
            self._close_alike(CLOSED_BY_ITS_LIKE[tag])
        n_items = next(self._item_counts, 1) if is_backwards(token) else 1
        look = self._looks.of(tag, token.attributes, self._look)
        element = Element(tag, look, hides=tag in UNSHOWN_TAGS)
        self._open.append(element)
        self._hidden += element.hides
        if not self._is_shut:
            self._start_block(tag)
            self._note_anchor(token)
            self._language = code_language(tag, token.attributes) or self._language
            self._start_structure(element, token.attributes, n_items)
        self._n_sections += tag in SECTIONS

    def _note_anchor(self, token: StartTag) -> None:
        """Note an element's id, the anchor of a heading that follows with no text between."""
        name = token.attributes.get("name", "") if token.name == "a" else ""
        self._anchor = bounded(token.attributes.get("id", name)) or self._anchor

    @property
    def _look(self) -> Look:
        return self._open[-1].look if self._open else self._looks.first

    @property
    def _is_shut(self) -> bool:
        """Whether nothing is shown of what stands in the innermost element."""
        return self._hidden > 0 or self._look.gone

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if tag == "title":
            self._in_title = False
        for depth in range(1, min(len(self._open), _MAX_LOOK_UP) + 1):
            if self._open[-depth].tag == tag:
                self._close(depth)
                return

    def add(self, text: str) -> None:
        """Take characters."""
        if self._in_title:
            self._title.append(text)
        elif not self._hidden and not self._look.is_struck:
            if not self._look.is_seen:
                self.n_hidden += len("".join(text.split()))
                return
            self.n_seen += len("".join(text.split()))
            if self._rows and self._marker and text.strip():
                self._pieces.append(self._marker)
                self._marker = ""
            shown = text if self._preformatted else re.sub(r"\s+", " ", text)
            self._pieces.append(self._apart(shown))

    def _apart(self, text: str) -> str:
        """Return text as it stands behind a number, set apart if it is raised."""
        tags = [element.tag for element in self._open[-3:]]
        self._scripts.sign = next((_SCRIPTS[tag] for tag in tags if tag in _SCRIPTS), "")
        before = self._pieces[-1] if self._pieces else ""
        return self._scripts.apart(before, text, is_link="a" in tags)

    def finish(self, metadata: dict[str, Json]) -> LoadedText:
        """Return what was read."""
        while self._rows:
            self._end_row()
        self._flush()
        loaded = self._builder.build(
            title=" ".join(clean("".join(self._title)).split()),
            metadata=metadata,
            dropped={"hidden": self.n_hidden},
        )
        # What a page consists of is no navigation to it.
        return loaded if self._has_content else replace(loaded, parts=())

    def _add_void(self, tag: str) -> None:
        if self._is_shut:
            return
        if tag == "br":
            self._pieces.append("\n")
        elif tag in BLOCKS:
            self._flush()

    def _unhide_head(self) -> None:
        heads = [e for e in self._open[:_MAX_LOOK_UP] if e.tag == "head" and e.hides]
        if heads:
            for element in heads:
                element.hides = False
            self._hidden -= len(heads)

    def _close_alike(self, tags: frozenset[str]) -> None:
        while self._open and self._open[-1].tag in tags:
            self._close(1)

    def _close(self, depth: int) -> None:
        """Close the innermost `depth` open elements."""
        for _ in range(depth):
            element = self._open[-1]
            if not self._is_shut:
                self._end_block(element)
            self._end_structure(element)
            self._open.pop()
            self._hidden -= element.hides
            self._n_sections -= element.tag in SECTIONS

    def _start_block(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._end_cell()
            return
        if self._rows and (tag in {"table", "tr"} or tag in HEADINGS):
            self._end_cell()
            self._emit_outer()
        elif tag in BLOCKS:
            self._flush()
        if tag == "tr":
            self._rows.append(Row(in_head=bool(self._tables) and self._tables[-1].in_head))
        elif tag == "pre":
            self._preformatted += 1

    def _start_structure(self, element: Element, attributes: dict[str, str], n_items: int) -> None:
        """Open what an element that has just begun is in the structure of the page."""
        tag = element.tag
        if tag not in BLOCKS and tag not in {"td", "th"}:
            return
        if is_navigation(tag, attributes, in_section=self._n_sections > 0) and not self._rows:
            element.is_nav = True
            element.part = None if self._navs else self._builder.open("nav")
            self._navs.append(element)
        elif is_note(tag, attributes):
            self._n_notes += 1
            element.is_note, element.part = True, self._opened("note")
        if tag in {"ul", "ol", "dl"}:
            self._start_list(element, attributes, n_items)
        elif tag == "li":
            self._start_item(element, attributes)
        elif tag in {"dt", "dd"} and self._lists:
            self._start_term(self._lists[-1], tag)
        else:
            self._start_in_table(element, attributes)

    def _opened(self, kind: PartKind) -> OpenPart | None:
        """Open a part; navigation and the cells of tables hold none."""
        return None if self._navs or self._rows else self._builder.open(kind)

    def _start_list(self, element: Element, attributes: dict[str, str], n_items: int) -> None:
        self._spend_marker()
        outer, tag = (self._lists[-1] if self._lists else None), element.tag
        level = 0 if outer is None else outer.level + (outer.tag != "dl")
        new = element.list = List(tag, level)
        if tag == "ol":
            new.numerals = numerals_of(attributes)
            new.step = -1 if "reversed" in attributes else 1
            new.number = integer(attributes.get("start", ""), n_items)
        self._lists.append(new)
        if tag != "dl" and not element.part:
            element.part = self._opened("procedure" if tag == "ol" else "list")

    def _start_item(self, element: Element, attributes: dict[str, str]) -> None:
        inner = self._lists[-1] if self._lists else None
        if inner is None or inner.tag != "ol":
            self._marker = "- "
            element.part = self._opened("item")
            return
        number = integer(attributes.get("value", ""), inner.number)
        inner.number = number + inner.step
        self._marker = f"{numeral(number, inner.numerals)}. "
        element.part = self._opened("step")

    def _start_term(self, inner: List, tag: str) -> None:
        """Start a term, which opens a definition unless it follows a term, or what explains it."""
        if tag == "dd":
            inner.is_explained = True
        elif inner.tag == "dl" and (inner.definition is None or inner.is_explained):
            self._builder.close(inner.definition)
            inner.definition, inner.is_explained = self._opened("definition"), False

    def _start_in_table(self, element: Element, attributes: dict[str, str]) -> None:
        tag, table = element.tag, self._tables[-1] if self._tables else None
        classes = attributes.get("class", "").lower().split()
        if tag in {"td", "th"} and self._rows:
            self._rows[-1].open_cell = cell_of(tag, attributes)
        elif tag == "table":
            self._spend_marker()
            if "simplelist" in classes:  # DocBook's: short items, one a row
                element.part = self._opened("list")
            element.table = Table(part=self._around())
            self._tables.append(element.table)
        elif tag in GROUPS and table:
            table.start_rows(in_head=tag == "thead")
        elif tag == "div" and "table" in classes and not element.part:
            # DocBook's way: the title of a table stands before it, in an element around both.
            element.part = self._opened("table")
        element.is_caption = tag == "caption" or ("title" in classes and bool(self._around()))

    def _around(self) -> OpenPart | None:
        """Return the table that is the innermost open part."""
        inner = self._builder.innermost
        return inner if inner and inner.kind == "table" and not self._rows else None

    def _end_block(self, element: Element) -> None:
        tag = element.tag
        if tag in {"td", "th"}:
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag == "pre":
            self._flush("code", kind="code")
            self._preformatted, self._language = max(0, self._preformatted - 1), ""
        elif tag in HEADINGS:
            self._flush("heading", kind="heading", level=HEADINGS[tag])
        elif element.is_caption and not self._rows:
            self._flush_caption()
        elif tag in BLOCKS:
            self._flush()
        if tag == "li":
            self._marker = ""

    def _end_structure(self, element: Element) -> None:
        self._builder.close(element.part)
        if element.is_nav:
            self._navs.pop()
        self._n_notes -= element.is_note
        if element.list:
            self._builder.close(element.list.definition)
            self._lists.pop()
        if element.tag == "thead" and self._tables:
            self._tables[-1].start_rows(in_head=False)
        if element.table:
            self._builder.close(element.table.part)
            self._tables.pop()

    def _end_cell(self) -> None:
        text = self._taken()
        if not self._rows:
            self._emit(text)
            return
        row = self._rows[-1]
        cell, row.open_cell = row.open_cell, None
        if cell or text:
            cell = cell or cell_of("td", {})
            cell.text = text
            row.cells.append(cell)

    def _end_row(self) -> None:
        self._end_cell()
        if self._rows:
            self._emit_row(self._rows.pop())

    def _emit_outer(self) -> None:
        """Emit what a row holds before a table or heading inside it, so that it comes first."""
        if self._rows:
            self._emit_row(self._rows[-1])
            self._rows[-1].cells = []

    def _emit_row(self, row: Row) -> None:
        table = self._tables[-1] if self._tables else Table()
        texts = table.columns(row, self._allowance)
        if not row.n_filled:
            return
        is_row = row.is_header or row.n_filled > 1 or table.part is not None
        if is_row and table.part is None and self._tables and not self._navs:
            table.part = self._builder.open("table")
        part: PartKind = "header_row" if row.is_header else "row" if is_row else "paragraph"
        if part == "paragraph" and self._is_in_simple_list():
            part = "item"
        alone = next(cell for cell in row.cells if cell.text)
        if row.n_filled == 1 and (not is_row or len(texts) == alone.n_columns):
            self._emit(alone.text, part)
        else:
            self._emit(" ".join(" | ".join(texts).split()), part, kind="row", separator="\n")

    def _is_in_simple_list(self) -> bool:
        inner = self._builder.innermost
        return inner is not None and inner.kind == "list" and not self._rows

    def _flush(
        self, part: PartKind = "paragraph", *, kind: MarkKind = "text", level: int = 0
    ) -> None:
        if self._rows and part != "heading":
            # A block inside a table cell is part of the cell.
            self._pieces.append("\n")
            return
        text = self._taken()
        if text.strip() in {"", "-"}:
            return
        if self._preformatted:
            part = "code"
            self._spend_marker()
            if self._language:
                text = f"```{self._language}\n{text}\n```"
        if self._n_notes and is_note_title(text):
            part, kind, level = "markup", "text", 0
        if level:
            self._emit_heading(text, level)
        else:
            self._emit(text, part, kind=kind)

    def _flush_caption(self) -> None:
        """End a caption, with which a table begins."""
        text = self._taken()
        table = self._tables[-1] if self._tables else None
        if text and table and table.part is None:
            table.part = self._opened("table")
        self._emit(text, "caption")

    def _emit_heading(self, text: str, level: int) -> None:
        """Emit a heading; the title in the header of a page is part of what it says."""
        is_title = len(self._navs) == 1 and self._navs[0].tag == "header"
        header = self._navs[0] if is_title else None
        if self._navs and not header:
            self._emit(text)
            return
        if header:
            self._navs.pop()
            self._builder.close(header.part)
        if self._n_notes:
            # What follows the note is not below its title.
            self._emit(text, "heading")
        else:
            self._headings.enter(level, text, anchor=self._anchor)
            self._emit(text, "heading", kind="heading")
        if header:
            header.part = self._builder.open("nav")
            self._navs.append(header)

    def _emit(
        self,
        text: str,
        part: PartKind | None = "paragraph",
        *,
        kind: MarkKind = "text",
        separator: str = "",
    ) -> None:
        """Add a piece of text, the marker of the item that it begins before it."""
        marker, self._marker = (self._marker, "") if text.strip() else ("", self._marker)
        term = self._term()
        if term and is_option(text):
            term.kind = "option"
        if marker:
            separator, part = self._item_separator(), "paragraph"
        elif not separator:
            separator = "\n" if text.startswith("- ") else "\n\n"
        self._add(marker + text.strip(), None if term else part, kind=kind, separator=separator)

    def _add(
        self, text: str, part: PartKind | None, *, kind: MarkKind = "text", separator: str
    ) -> None:
        self._anchor = None
        self._has_content |= bool(text) and not self._navs
        self._builder.add(
            text,
            location=self._headings.location,
            kind=kind,
            separator=separator,
            part=None if self._navs else part,
        )

    def _spend_marker(self) -> None:
        """Put the marker of an item that begins with a table, code or a list on its own line."""
        marker, self._marker = self._marker, ""
        if self._rows:
            self._pieces.append(marker)
        elif marker:
            self._add(marker.rstrip(), "paragraph", separator=self._item_separator())

    def _item_separator(self) -> str:
        return "\n" + indentation(self._lists[-1].level if self._lists else 0)

    def _term(self) -> OpenPart | None:
        """Return the definition whose term is being read."""
        inner = self._lists[-1] if self._lists else None
        if inner is None or inner.is_explained or self._builder.innermost is not inner.definition:
            return None
        return inner.definition

    def _taken(self) -> str:
        text = clean("".join(self._pieces))
        self._pieces.clear()
        if not self._preformatted:
            lines = (" ".join(line.split()) for line in text.split("\n"))
            text = "\n".join(line for line in lines if line)
        return text.strip("\n")
