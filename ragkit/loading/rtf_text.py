"""The text of a file in Rich Text Format: its paragraphs, lists, tables and notes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ragkit.loading.blocks import Blocks, Marker
from ragkit.loading.loaded import (
    MAX_REPEATED_CHARACTERS,
    Allowance,
    TextBuilder,
    clean,
    whole_characters,
)
from ragkit.loading.scripts import Scripts

_HEADING = re.compile(r"heading ([1-9])", re.IGNORECASE)
_CODE = re.compile(r"code|preformatted|source|listing", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_STYLES = 10_000
_MAX_COLUMNS = 1_000


class StyleNames:
    """The names of the paragraphs' styles, by number."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._style: int | None = 0

    def word(self, name: str, value: int | None) -> None:
        """Take a word of the table of styles."""
        if name == "s":
            self._style = value or 0
        elif name in {"cs", "ts", "ds"}:
            self._style = None

    def add(self, text: str) -> None:
        """Take the name of a style, which ends in a semicolon."""
        if self._style is not None and len(self._names) < _MAX_STYLES:
            known = self._names.get(self._style, "")
            self._names[self._style] = known or text.strip().rstrip(";")[:200]
        if text.rstrip().endswith(";"):
            self._style = 0

    def level(self, style: int | None) -> int | None:
        """Return a style's level of heading, 0 for a title, None for none."""
        name = self._names.get(-1 if style is None else style, "").strip()
        match = _HEADING.fullmatch(name)
        return int(match[1]) if match else 0 if name.lower() == "title" else None

    def is_code(self, style: int | None) -> bool:
        """Whether a style is for code."""
        return bool(_CODE.search(self._names.get(-1 if style is None else style, "")))


@dataclass(slots=True)
class _Properties:
    """What the words behind `pard` say about a paragraph."""

    style: int | None = None
    level: int | None = None
    in_table: bool = False
    list_id: int = 0
    list_level: int = 0


@dataclass(slots=True)
class _Merge:
    down: bool = False
    across: bool = False


@dataclass(slots=True)
class _Note:
    mark: str
    pieces: list[str] = field(default_factory=list[str])


class RtfText:
    """Adds paragraphs and tables in the order in which they end."""

    def __init__(self, builder: TextBuilder, allowance: Allowance) -> None:
        self.styles = StyleNames()
        self.title = ""
        self._blocks = Blocks(builder)
        self._allowance = allowance
        self._paragraph = _Properties()
        self._pieces: list[str] = []
        self._scripts = Scripts()
        self._marker: list[str] = []
        self._notes: list[_Note] = []
        self._cells: list[str] = []
        self._merges: list[_Merge] = []
        self._merge = _Merge()
        self._is_header = False
        self._above: dict[int, str] = {}
        self._rows: list[tuple[str, bool]] = []

    def add(self, text: str, place: str, sign: str = "") -> None:
        """Add text to the paragraph, the marker before it, or the note that is open."""
        if place == "marker":
            self._marker.append(text)
        elif place == "note":
            if self._notes:
                self._notes[-1].pieces.append(text)
        else:
            self._scripts.sign = sign
            before = self._pieces[-1] if self._pieces else ""
            self._pieces.append(self._scripts.apart(before, text))

    def begin_note(self) -> None:
        """Begin a note; its mark stands in the text."""
        mark = f"[{len(self._notes) + 1}]"
        self._notes.append(_Note(mark))
        is_number = bool(self._pieces) and self._pieces[-1][-1:].isdigit()
        self._pieces.append(f" {mark}" if is_number else mark)

    def word(self, name: str, value: int | None) -> None:
        """Take a word about a paragraph, a row or a cell."""
        paragraph = self._paragraph
        if name == "pard":
            self._paragraph = _Properties()
        elif name == "s":
            paragraph.style = value
        elif name == "outlinelevel" and value is not None and 0 <= value < 9:
            paragraph.level = value + 1
        elif name == "intbl":
            paragraph.in_table = True
        elif name == "ls":
            paragraph.list_id = value or 0
        elif name == "ilvl":
            paragraph.list_level = min(max(value or 0, 0), 8)
        else:
            self._table_word(name)

    def _table_word(self, name: str) -> None:
        if name == "cell":
            self._cells.append(" ".join(self._taken().split()))
            self._marker.clear()
        elif name == "row":
            self._end_row()
        elif name == "trowd":
            self._merges, self._merge, self._is_header = [], _Merge(), False
        elif name == "trhdr":
            self._is_header = True
        elif name == "clvmrg":
            self._merge.down = True
        elif name == "clmrg":
            self._merge.across = True
        elif name == "cellx" and len(self._merges) < _MAX_COLUMNS:
            self._merges.append(self._merge)
            self._merge = _Merge()

    def end_paragraph(self) -> None:
        """End the paragraph; inside a cell, another one follows."""
        if self._paragraph.in_table:
            self._pieces.append("\n")
            return
        whole = self._taken()
        text, marker = whole.strip(), self._marker_text()
        if text or self._cells:
            self._end_table()
        level = self._paragraph.level
        if level is None:
            level = self.styles.level(self._paragraph.style)
        if text and level is not None:
            title = " ".join(text.split())
            self.title = self.title or title
            self._blocks.add_heading(title, level)
        elif self.styles.is_code(self._paragraph.style):
            self._blocks.add_code(whole)
        elif text:
            self._add_text(text, marker)

    def _add_text(self, text: str, marker: str) -> None:
        paragraph = self._paragraph
        if not marker and not paragraph.list_id:
            self._blocks.add_paragraph(text)
            return
        is_number = any(map(str.isalnum, marker))
        list_id = f"{paragraph.list_id} {is_number}"
        self._blocks.add_item(
            text,
            Marker(
                text=f"{marker} " if is_number else "- ",
                is_number=is_number,
                number_id=list_id,
                level=paragraph.list_level,
            ),
        )

    def _marker_text(self) -> str:
        marker = " ".join(clean("".join(self._marker)).split())[:50]
        self._marker.clear()
        return marker

    def _taken(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._scripts = Scripts()
        if _SURROGATE.search(text):
            text = whole_characters(text)
        return clean(text)

    def _end_row(self) -> None:
        texts: list[str] = []
        for column, own in enumerate(self._cells):
            text = own or self._repeated(column, texts[-1] if texts else "")
            self._above[column] = text
            texts.append(text)
        self._cells = []
        line = " ".join(" | ".join(texts).split())
        if line.strip("| "):
            self._rows.append((line, self._is_header))

    def _repeated(self, column: int, beside: str) -> str:
        """Return what an empty cell shows: that of the cell it is merged with."""
        merge = self._merges[column] if column < len(self._merges) else _Merge()
        text = beside if merge.across else self._above.get(column, "") if merge.down else ""
        is_repeated = 0 < len(text) <= MAX_REPEATED_CHARACTERS and self._allowance.take(text)
        return text if is_repeated else ""

    def _end_table(self) -> None:
        if self._cells:
            self._end_row()
        rows, self._rows = self._rows, []
        self._above.clear()
        if len(rows) > 1 and not any(is_header for _, is_header in rows):
            rows[0] = rows[0][0], True
        if rows:
            self._blocks.add_table(rows)

    def finish(self) -> None:
        """End what is open, and add the notes."""
        self._paragraph.in_table = False
        self.end_paragraph()
        self._end_table()
        for note in self._notes:
            text = " ".join(clean("".join(note.pieces)).split())
            if text:
                self._blocks.add_paragraph(f"{note.mark} {text}")
        self._blocks.finish()
