"""The text of a slide: its title, lists, tables and paragraphs, located by its number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ragkit.loading.blocks import Blocks, Marker
from ragkit.loading.cells import Row, Table
from ragkit.loading.loaded import Allowance, TextBuilder
from ragkit.loading.numbering import numeral
from ragkit.loading.slide_shapes import Paragraph, SlideTable


class SlideText:
    """Adds what a slide shows to the text of its presentation."""

    def __init__(self, builder: TextBuilder, number: int, allowance: Allowance) -> None:
        self._blocks = Blocks(builder, slide=number)
        self._allowance = allowance
        self._n_lists = 0

    def add_title(self, text: str) -> None:
        """Add the slide's title, which may have lines."""
        self._blocks.add_heading(" ".join(text.split()), 1)

    def add_paragraphs(self, paragraphs: Iterable[Paragraph], *, is_list: bool) -> None:
        """Add the paragraphs of a shape; in a `list`, all but those without a bullet are items."""
        shown = [paragraph for paragraph in paragraphs if paragraph.text]
        is_list = is_list and len(shown) > 1
        self._n_lists += 1
        counts: dict[int, int] = {}
        for paragraph in shown:
            marker = self._marker(paragraph, counts, is_list=is_list)
            if marker:
                self._blocks.add_item(paragraph.text, marker)
            else:
                counts.clear()
                self._blocks.add_paragraph(paragraph.text)

    def _marker(
        self, paragraph: Paragraph, counts: dict[int, int], *, is_list: bool
    ) -> Marker | None:
        level, is_number = paragraph.level, paragraph.bullet == "number"
        for deeper in [at for at in counts if at > level or (at == level and not is_number)]:
            del counts[deeper]
        if paragraph.bullet == "none" or (paragraph.bullet is None and not is_list):
            return None
        text = "- "
        if is_number:
            counts[level] = counts.get(level, paragraph.number - 1) + 1
            before, behind = paragraph.signs
            text = f"{before}{numeral(counts[level], paragraph.numerals)}{behind} "
        list_id = f"{self._n_lists} {paragraph.bullet == 'number'}"
        return Marker(text=text, is_number=is_number, number_id=list_id, level=level)

    def add_table(self, table: SlideTable) -> None:
        """Add a table of the slide."""
        columns = Table()
        rows = [columns.columns(row, self._allowance) for row in table.rows]
        self.add_rows("", rows, has_header=table.has_header or _has_names(table.rows))

    def add_rows(
        self, caption: str, rows: Sequence[Sequence[str]], *, has_header: bool = True
    ) -> None:
        """Add a table of cells; the first row names the columns if it is a header."""
        lines = [" ".join(" | ".join(row).split()) for row in rows]
        filled = [line for line in lines if line.strip("| ")]
        if caption:
            self._blocks.add_caption(caption)
        if filled:
            has_header &= len(filled) > 1
            self._blocks.add_table([(line, has_header and not i) for i, line in enumerate(filled)])

    def finish(self) -> None:
        """End what is open."""
        self._blocks.finish()


def _has_names(rows: Sequence[Row]) -> bool:
    """Whether the first row of a table has a text in each column."""
    return bool(rows) and all(cell.text.strip() for cell in rows[0].cells)
