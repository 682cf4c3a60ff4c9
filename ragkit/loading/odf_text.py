"""The content of a text or a presentation in an OpenDocument file."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragkit.loading.blocks import Blocks
from ragkit.loading.cells import Cell, Row, Table
from ragkit.loading.loaded import Allowance, TextBuilder, clean
from ragkit.loading.odf_lists import Lists
from ragkit.loading.odf_styles import Looks, Styles, folded
from ragkit.loading.scripts import Scripts
from ragkit.loading.xml_parts import XmlPart
from ragkit.types import Dropped

_UNREAD = frozenset(
    "tracked-changes annotation forms ruby-text hidden-text desc svg-title script".split()
)
_CONTENTS = frozenset(
    "table-of-content alphabetical-index illustration-index table-index user-index".split()
)
_FURNITURE = frozenset({"header", "footer", "date-time", "page-number"})
_SHAPES = frozenset("frame custom-shape rect g line path polygon polyline image object".split())
_MAX_SPACES = 1_000
_MAX_SPAN = 1_000


@dataclass(slots=True)
class _Paragraph:
    style: str
    level: int | None = None
    pieces: list[str] = field(default_factory=list[str])
    scripts: Scripts = field(default_factory=Scripts)


class TextPart(XmlPart):
    """Adds paragraphs, lists, tables and slides to a text, in the order in which they end."""

    def __init__(self, builder: TextBuilder, styles: Styles, allowance: Allowance) -> None:
        super().__init__()
        self.title = ""
        self.dropped: dict[Dropped, int] = {}
        self._builder = builder
        self._blocks = Blocks(builder)
        self._styles = styles
        self._allowance = allowance
        self._lists = Lists(styles)
        self._in_body = False
        self._open: list[str] = []
        self._n_unread = 0
        self._why: list[Dropped | None] = []
        self._looks = Looks(styles)
        self._paragraphs: list[_Paragraph] = []
        self._tables: list[Table] = []
        self._rows: list[Row] = []
        self._lines: list[tuple[str, bool]] = []
        self._n_slides = 0
        self._slide_title: list[str] | None = None
        self._notes: list[list[str]] = []
        self._n_note_bodies = 0
        self._in_citation = False

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        if name == "title" and self._open[-1:] and self._open[-1] in _SHAPES:
            name = "svg-title"
        self._open.append(name)
        self._n_unread += name in _UNREAD
        if name in {"text", "presentation", "drawing"} and self._open[-2:-1] == ["body"]:
            self._in_body = True
        elif not self._in_body:
            self._styles.enter(name, attributes)
        elif not self._n_unread:
            self._enter_block(name, attributes)

    def leave(self, name: str) -> None:
        """Take an element's end."""
        name = self._open.pop() if self._open else name
        if name in _UNREAD:
            self._n_unread -= 1
        elif not self._in_body:
            self._styles.leave(name)
        elif not self._n_unread:
            self._leave_block(name)

    def data(self, text: str) -> None:
        """Take characters."""
        if not self._paragraphs or self._n_unread or not self._in_body:
            return
        if self._in_citation:
            self._cite(text)
            return
        look, why = self._looks.current, self._why[-1] if self._why else None
        if why or look.is_hidden:
            why = why or "hidden"
            self.dropped[why] = self.dropped.get(why, 0) + len("".join(text.split()))
        elif not look.is_struck:
            paragraph = self._paragraphs[-1]
            paragraph.scripts.sign = look.sign
            before = paragraph.pieces[-1] if paragraph.pieces else ""
            paragraph.pieces.append(paragraph.scripts.apart(before, folded(text)))

    def close(self) -> None:
        """End the part."""
        self._end_notes()
        self._blocks.finish()

    def _enter_block(self, name: str, attributes: dict[str, str]) -> None:
        style = attributes.get("style-name", "")
        if name in {"p", "h"}:
            self._start_paragraph(name, style, attributes)
        elif name == "span":
            self._looks.enter("text", style)
        elif name in {"list", "list-item", "list-header"}:
            self._lists.enter(name, attributes)
        elif name.startswith("table"):
            self._enter_table(name, attributes)
        elif name in {"s", "tab", "line-break"} and self._paragraphs:
            self._add_space(name, attributes)
        elif name in {"note-citation", "note-body"}:
            self._in_citation = name == "note-citation"
            self._n_note_bodies += name == "note-body"
        elif name == "page":
            self._start_slide(style)
        if name in _CONTENTS or name in _SHAPES:
            self._enter_shape(name, attributes)

    def _enter_shape(self, name: str, attributes: dict[str, str]) -> None:
        """Note why what stands in a shape is left out, if it is."""
        kind = attributes.get("class", "")
        outer = self._why[-1] if self._why else None
        own: Dropped | None = "nav" if name in _CONTENTS else None
        self._why.append(outer or own or ("furniture" if kind in _FURNITURE else None))
        if kind == "title" and self._n_slides:
            self._slide_title = []

    def _leave_block(self, name: str) -> None:
        if name in {"p", "h"} and self._paragraphs:
            self._looks.leave()
            self._end_paragraph(self._paragraphs.pop(), is_heading=name == "h")
        elif name == "span":
            self._looks.leave()
        elif name in {"list", "list-item", "list-header"}:
            self._lists.leave(name)
        elif name.startswith("table"):
            self._leave_table(name)
        elif name in {"note-citation", "note-body"}:
            self._in_citation = False
            self._n_note_bodies -= name == "note-body"
        elif name == "page":
            self._end_slide()
        if (name in _CONTENTS or name in _SHAPES) and self._why:
            self._why.pop()
            self._end_title(name)

    def _start_paragraph(self, name: str, style: str, attributes: dict[str, str]) -> None:
        self._looks.enter("paragraph", style)
        level = attributes.get("outline-level", "1")
        known = int(level) if level.isascii() and level.isdecimal() and len(level) < 3 else 1
        self._paragraphs.append(_Paragraph(style, known if name == "h" else None))

    def _add_space(self, name: str, attributes: dict[str, str]) -> None:
        count = attributes.get("c", "")
        n = int(count) if count.isascii() and count.isdecimal() and len(count) < 5 else 1
        space = {"s": " " * min(n, _MAX_SPACES), "tab": "\t"}.get(name, "\n")
        if self._allowance.take(space) or n == 1:
            self._paragraphs[-1].pieces.append(space)

    def _cite(self, text: str) -> None:
        pieces = self._paragraphs[-1].pieces
        is_number = bool(pieces) and pieces[-1][-1:].isdigit()
        mark = f"[{' '.join(clean(text).split())}]"
        pieces.append(f" {mark}" if is_number else mark)
        self._notes.append([mark])

    def _end_paragraph(self, paragraph: _Paragraph, *, is_heading: bool) -> None:
        whole = clean("".join(paragraph.pieces))
        text = whole.strip()
        if self._n_note_bodies and self._notes:
            self._notes[-1].append(text)
        elif self._rows:
            cell = self._rows[-1].open_cell
            if cell:
                cell.pieces.append(text)
        elif self._slide_title is not None:
            self._slide_title.append(text)
        elif is_heading and text:
            self._add_heading(text, paragraph.level or 1)
        else:
            self._add_paragraph(whole, paragraph.style)

    def _add_heading(self, text: str, level: int) -> None:
        text = " ".join(text.split())
        self.title = self.title or text
        self._blocks.add_heading(text, level)

    def _add_paragraph(self, whole: str, style: str) -> None:
        text = whole.strip()
        marker = self._lists.marker() if text else None
        if marker:
            self._blocks.add_item(text, marker)
        elif self._styles.is_code(style):
            self._blocks.add_code(whole)
        elif not text:
            return
        elif self._styles.is_title(style):
            self._add_heading(text, 0)
        elif self._styles.is_caption(style):
            self._blocks.add_caption(text)
        else:
            self._blocks.add_paragraph(text, is_in_item=self._lists.in_item)

    def _enter_table(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table":
            self._tables.append(Table())
        elif name == "table-header-rows" and self._tables:
            self._tables[-1].start_rows(in_head=True)
        elif name == "table-row" and self._tables:
            self._rows.append(Row(in_head=self._tables[-1].in_head))
        elif name == "table-cell" and self._rows:
            cell = Cell(
                n_columns=_span(attributes.get("number-columns-spanned", "")),
                n_rows=_span(attributes.get("number-rows-spanned", "")),
            )
            row = self._rows[-1]
            row.open_cell = cell
            n = _span(attributes.get("number-columns-repeated", ""))
            row.cells += [cell for i in range(n) if not i or self._allowance.take("")]

    def _leave_table(self, name: str) -> None:
        if name == "table-cell" and self._rows:
            self._close_cell(self._rows[-1])
        elif name == "table-header-rows" and self._tables:
            self._tables[-1].start_rows(in_head=False)
        elif name == "table-row" and self._rows and self._tables:
            self._end_row(self._rows.pop())
        elif name == "table" and self._tables:
            self._tables.pop()
            if not self._tables:
                self._end_table()

    def _close_cell(self, row: Row) -> None:
        if row.open_cell:
            row.open_cell.close()
        row.open_cell = None

    def _end_row(self, row: Row) -> None:
        texts = self._tables[-1].columns(row, self._allowance)
        line = " ".join(" | ".join(texts).split())
        if not line.strip("| "):
            return
        if self._rows:
            # A table inside a cell becomes part of the cell.
            cell = self._rows[-1].open_cell
            if cell:
                cell.pieces.append(line)
        else:
            self._lines.append((line, row.in_head))

    def _end_table(self) -> None:
        lines, self._lines = self._lines, []
        if len(lines) > 1 and not any(is_header for _, is_header in lines):
            lines[0] = lines[0][0], True
        if lines:
            self._blocks.add_table(lines)

    def _start_slide(self, style: str) -> None:
        self._blocks.finish()
        self._n_slides += 1
        self._blocks = Blocks(self._builder, slide=self._n_slides)
        self._why = ["hidden" if self._styles.is_hidden("drawing-page", style) else None]

    def _end_slide(self) -> None:
        self._end_notes()
        self._blocks.finish()
        self._why = []

    def _end_title(self, name: str) -> None:
        if name == "frame" and self._slide_title is not None:
            title, self._slide_title = " ".join(" ".join(self._slide_title).split()), None
            if title:
                self._add_heading(title, 1)

    def _end_notes(self) -> None:
        notes, self._notes = self._notes, []
        for note in notes:
            if len(note) > 1:
                self._blocks.add_paragraph(" ".join(" ".join(note).split()))


def _span(value: str) -> int:
    is_count = value.isascii() and value.isdecimal() and len(value) < 9
    return min(max(int(value), 1), _MAX_SPAN) if is_count else 1
