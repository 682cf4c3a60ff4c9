"""Word documents (.docx; ECMA-376, both its transitional and strict namespaces)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragkit.loading.blocks import Blocks, Marker
from ragkit.loading.formulas import Formula
from ragkit.loading.loaded import MAX_REPEATED_CHARACTERS, Allowance, LoadedText, TextBuilder, clean
from ragkit.loading.packages import Package, opened
from ragkit.loading.scripts import LOWERED, RAISED, Scripts
from ragkit.loading.word_styles import Numbering, Styles, level_of
from ragkit.loading.xml_parts import MAX_PART_BYTES, XmlPart

_NOT_SHOWN = frozenset({"del", "moveFrom", "Fallback", "instrText", "delText"})
_OFF = frozenset({"0", "false", "off"})
_OF_TABLES = frozenset({"tr", "tc", "tblHeader", "vMerge", "gridSpan"})
_NOTES = frozenset({"footnote", "endnote"})
_AROUND_PARAGRAPHS = frozenset({"tc", "txbxContent", "body", *_NOTES})
_MAX_COLUMNS = 63
"""Of a table, as Word has it."""
_REFERENCES = frozenset({"footnoteReference", "endnoteReference"})
_SCRIPTS = {"superscript": RAISED, "subscript": LOWERED}
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def load_docx(data: bytes) -> LoadedText:
    """Load a Word document: paragraphs, headings, lists, tables, foot- and endnotes, its title.

    Deleted, moved, struck-out and hidden runs are left out, as are headers, footers and comments.
    A raised number behind another one is set apart: `10^12`, `45 [2]`; a note is `[1]`. Items have
    their numbers where the document defines them. A table's first row names its columns, unless
    rows say that they do; an empty cell keeps its place, and a merged one is repeated.

    Raises:
        LoadError: `password` when it is encrypted, `unsupported` for the format before 2007,
            `limit` when it unpacks to too much, `broken` when it is malformed.
    """
    old = "Word's format before 2007; save it as .docx"
    with opened(data, kind="a Word document", old=old) as package:
        return _read(package)


def _read(package: Package) -> LoadedText:
    styles, numbering = Styles(), Numbering()
    main = package.main("word/document.xml")
    for kind, part in (("styles", styles), ("numbering", numbering)):
        if (name := package.part(kind, f"word/{kind}.xml", main)) in package:
            package.parse(name, part)
    builder = TextBuilder()
    allowance = Allowance(min(package.n_bytes(main), MAX_PART_BYTES))
    notes = _Notes()
    body = _Body(Blocks(builder), styles, numbering, allowance, notes)
    package.parse(main, body)
    for kind in ("footnotes", "endnotes"):
        if (name := package.part(kind, f"word/{kind}.xml", main)) in package:
            package.parse(name, _Body(Blocks(builder), styles, numbering, allowance, notes))
    return builder.build(title=package.title() or body.title)


@dataclass(slots=True)
class _Paragraph:
    pieces: list[str] = field(default_factory=list[str])
    style: str = ""
    outline_level: int | None = None
    number_id: str | None = None
    list_level: int | None = None
    hidden: bool = False
    struck: bool = False
    has_runs: bool = False
    is_joined: bool = False
    scripts: Scripts = field(default_factory=Scripts)


@dataclass(slots=True)
class _Notes:
    """The marks of the notes that the text refers to, and the one whose text begins."""

    marks: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    begun: str = ""

    def refer(self, kind: str, number: str) -> str:
        """Return the mark of a note."""
        return self.marks.setdefault((kind, number), f"[{len(self.marks) + 1}]")

    def begin(self, kind: str, number: str) -> None:
        """Begin the text of a note."""
        mark = self.marks.get((kind, number))
        self.begun = f"{mark} " if mark else ""

    def taken(self) -> str:
        """Return the mark before the first text of a note."""
        mark, self.begun = self.begun, ""
        return mark


@dataclass(slots=True)
class _Cell:
    texts: list[str] = field(default_factory=list[str])
    n_columns: int = 1
    continues: bool = False

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@dataclass(slots=True)
class _Row:
    cells: list[_Cell] = field(default_factory=list[_Cell])
    is_header: bool = False


class _Body(XmlPart):
    """Passes paragraphs and tables on in the order in which they end."""

    def __init__(
        self,
        blocks: Blocks,
        styles: Styles,
        numbering: Numbering,
        allowance: Allowance,
        notes: _Notes,
    ) -> None:
        super().__init__()
        self.title = ""
        self._blocks = blocks
        self._styles = styles
        self._numbering = numbering
        self._allowance = allowance
        self._notes = notes
        self._paragraphs: list[_Paragraph] = []
        self._rows: list[_Row] = []
        self._table: list[tuple[str, bool]] = []
        self._above: dict[int, str] = {}
        self._n_not_shown = 0
        self._n_past = 0
        self._in_text = False
        self._in_properties = False
        self._joined: list[str] = []
        self._formula = Formula()

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        # What was before a tracked change of properties stands in an element of its own.
        self._n_past += name.endswith("PrChange")
        if self._n_past:
            return
        value = attributes.get("val", "")
        if name in _NOT_SHOWN:
            self._hide()
        elif name == "p":
            self._paragraphs.append(_Paragraph(self._joined))
            self._joined, self._in_properties = [], False
        elif name == "t":
            self._in_text = True
        elif name == "r" and self._paragraphs:
            # A paragraph's mark may be hidden while its runs are not.
            self._paragraphs[-1].hidden = self._paragraphs[-1].struck = False
            self._paragraphs[-1].scripts.sign = ""
            self._paragraphs[-1].has_runs = True
        elif name in _OF_TABLES:
            self._enter_table(name, value)
        elif name in _NOTES:
            self._notes.begin(name, attributes.get("id", ""))
        elif self._paragraphs:
            self._enter_in_paragraph(self._paragraphs[-1], name, attributes)

    def _enter_in_paragraph(
        self, paragraph: _Paragraph, name: str, attributes: dict[str, str]
    ) -> None:
        if name in _REFERENCES:
            self._refer(paragraph, name, attributes.get("id", ""))
            return
        self._in_properties |= name == "pPr"
        if not self._n_not_shown:
            self._formula.enter(name, attributes.get("val"), paragraph.pieces)
        self._take_property(paragraph, name, attributes.get("val", ""))

    def _hide(self) -> None:
        """Hide what is in an element; in the properties of a paragraph, that is its end."""
        self._n_not_shown += 1
        if self._in_properties and self._paragraphs:
            self._paragraphs[-1].is_joined = True

    def _refer(self, paragraph: _Paragraph, name: str, number: str) -> None:
        if not self._n_not_shown and not paragraph.hidden and not paragraph.struck:
            mark = self._notes.refer(name.removesuffix("Reference"), number)
            is_number = bool(paragraph.pieces) and paragraph.pieces[-1][-1:].isdigit()
            paragraph.pieces.append(f" {mark}" if is_number else mark)

    def leave(self, name: str) -> None:
        if self._n_past:
            self._n_past -= name.endswith("PrChange")
        elif name in _NOT_SHOWN:
            self._n_not_shown -= 1
        elif name == "t":
            self._in_text = False
        elif name == "pPr":
            self._in_properties = False
        elif name == "p" and self._paragraphs:
            self._leave_paragraph(self._paragraphs.pop())
        elif name in _AROUND_PARAGRAPHS:
            self._end_joined()
        elif name in {"tr", "tbl"}:
            self._leave_table(name)
        elif self._paragraphs and not self._n_not_shown:
            self._formula.leave(name, self._paragraphs[-1].pieces)

    def data(self, text: str) -> None:
        if self._in_text and self._paragraphs and not self._n_not_shown:
            paragraph = self._paragraphs[-1]
            if not paragraph.hidden and not paragraph.struck:
                before = paragraph.pieces[-1] if paragraph.pieces else ""
                paragraph.pieces.append(paragraph.scripts.apart(before, text))

    def close(self) -> None:
        self._end_table()
        self._blocks.finish()

    def _enter_table(self, name: str, value: str) -> None:
        self._end_joined()
        row = self._rows[-1] if self._rows else None
        if name == "tr":
            self._rows.append(_Row())
        elif row and name == "tc":
            row.cells.append(_Cell())
        elif row and name == "tblHeader":
            row.is_header = value.lower() not in _OFF
        elif row and row.cells and name == "vMerge":
            row.cells[-1].continues = value != "restart"
        elif row and row.cells and name == "gridSpan" and value.isdecimal():
            row.cells[-1].n_columns = min(int(value[:3]), _MAX_COLUMNS)

    def _leave_table(self, name: str) -> None:
        if name == "tr" and self._rows:
            self._end_row(self._rows.pop())
        elif name == "tbl" and not self._rows:
            self._end_table()

    def _take_property(self, paragraph: _Paragraph, name: str, value: str) -> None:
        if name in _CHARACTERS:
            # Tab stops are `tab` elements with a value, too.
            if not value and not self._n_not_shown:
                paragraph.pieces.append(_CHARACTERS[name])
        elif name == "vanish":
            paragraph.hidden = value.lower() not in _OFF
        elif name in {"strike", "dstrike"}:
            paragraph.struck |= value.lower() not in _OFF
        elif name == "vertAlign":
            paragraph.scripts.sign = _SCRIPTS.get(value, "")
        elif name == "pStyle":
            paragraph.style = value
        elif name == "outlineLvl" and level_of(value) is not None:
            paragraph.outline_level = int(value) + 1
        elif name == "numId":
            paragraph.number_id = value
        elif name == "ilvl":
            paragraph.list_level = level_of(value)

    def _leave_paragraph(self, paragraph: _Paragraph) -> None:
        """End a paragraph, unless its end was deleted: then it goes on with the next one."""
        if paragraph.is_joined:
            self._joined = paragraph.pieces
        else:
            self._end_paragraph(paragraph)

    def _end_joined(self) -> None:
        """End a paragraph that should go on with the next one, where there is none."""
        if self._joined:
            pieces, self._joined = self._joined, []
            self._end_paragraph(_Paragraph(pieces))

    def _end_paragraph(self, paragraph: _Paragraph) -> None:
        whole = clean("".join(paragraph.pieces))
        text = whole.strip()
        text = self._notes.taken() + text if text else ""
        if self._rows:
            if text and self._rows[-1].cells:
                self._rows[-1].cells[-1].texts.append(text)
            return
        if self._table:
            self._end_table()  # A row outside a table.
        role = self._styles.role(paragraph.style)
        if role == "code":
            self._blocks.add_code(whole)
        elif not text and not paragraph.has_runs:
            self._marker(paragraph)  # An empty item counts.
        elif text:
            self._add_text(text, paragraph)

    def _add_text(self, text: str, paragraph: _Paragraph) -> None:
        level, style = paragraph.outline_level, paragraph.style
        if level is None and style:
            level = self._styles.heading_level(style)
        if level is not None:
            self.title = self.title or text
            self._blocks.add_heading(text, level)
        elif marker := self._marker(paragraph):
            self._blocks.add_item(text, marker)
        elif self._styles.role(style) == "caption":
            self._blocks.add_caption(text)
        else:
            self._blocks.add_paragraph(text)

    def _marker(self, paragraph: _Paragraph) -> Marker | None:
        """Return what stands before a paragraph of a list; `0` takes a style's list away."""
        number_id, level = self._styles.numbering(paragraph.style)
        if paragraph.number_id is not None:
            number_id = paragraph.number_id
        if paragraph.list_level is not None:
            level = paragraph.list_level
        if number_id in {"", "0"}:
            return None
        text, is_number = self._numbering.next_marker(number_id, level)
        return Marker(text=text, is_number=is_number, number_id=number_id, level=level)

    def _end_row(self, row: _Row) -> None:
        if not self._rows:
            line = " ".join(" | ".join(self._columns(row)).split())
            if line.strip("| "):
                self._table.append((line, row.is_header))
        elif self._rows[-1].cells:
            # A table inside a cell becomes part of the cell.
            line = " | ".join(cell.text for cell in row.cells if cell.text)
            self._rows[-1].cells[-1].texts.append(line)

    def _columns(self, row: _Row) -> list[str]:
        """Return a row's texts by column: a merged cell's is repeated."""
        texts: list[str] = []
        for cell in row.cells:
            text = cell.text
            if cell.continues and not text:
                above = self._above.get(len(texts), "")
                text = above if self._allowance.take(above) else ""
            repeated = text if len(text) <= MAX_REPEATED_CHARACTERS else ""
            self._above[len(texts)] = repeated
            texts.append(text)
            texts += [repeated for _ in range(cell.n_columns - 1) if self._allowance.take(repeated)]
        return texts

    def _end_table(self) -> None:
        rows, self._table = self._table, []
        self._above.clear()
        if len(rows) > 1 and not any(is_header for _, is_header in rows):
            rows[0] = rows[0][0], True
        if rows:
            self._blocks.add_table(rows)
