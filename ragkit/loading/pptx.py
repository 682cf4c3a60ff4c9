"""Presentations (.pptx; ECMA-376): what each slide shows, and its notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ragkit.loading.charts import Chart, Diagram
from ragkit.loading.loaded import Allowance, LoadedText, TextBuilder
from ragkit.loading.packages import Package, Relation, opened
from ragkit.loading.slide_shapes import Paragraph, Reference, Shape, SlidePart, SlideTable
from ragkit.loading.slide_text import SlideText
from ragkit.loading.xml_parts import XmlPart

_MAIN = "ppt/presentation.xml"
_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"ftr", "hdr", "dt", "sldNum", "sldImg"})
_BULLETED = frozenset({"body", "obj"})


def load_pptx(data: bytes) -> LoadedText:
    """Load a presentation: titles, texts, tables, charts and diagrams by slide, notes below.

    Left out and counted: hidden slides and shapes, and what each slide repeats (dates, footers,
    numbers of slides). Struck-out text is left out, too. Comments, pictures and media are not read.

    Raises:
        LoadError: `password` when it is encrypted, `unsupported` for the format before 2007,
            `limit` when it unpacks to too much, `broken` when it is malformed.
    """
    old = "PowerPoint's format before 2007; save it as .pptx"
    with opened(data, kind="a presentation", old=old) as package:
        return _Presentation(package).read()


class _Order(XmlPart):
    """The ids by which a presentation refers to its slides, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sldId":
            self.ids.append(attributes.get("r:id", ""))


@dataclass(slots=True)
class _Dropped:
    hidden: int = 0
    furniture: int = 0


class _Presentation:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._builder = TextBuilder()
        self._dropped = _Dropped()
        self._title = ""

    def read(self) -> LoadedText:
        """Return what was read."""
        for number, name in enumerate(self._slides(), start=1):
            slide = SlidePart()
            self._package.parse(name, slide)
            relations = self._package.relations(name)
            if slide.is_hidden:
                self._dropped.hidden += sum(shape.n_characters for shape in slide.shapes)
                continue
            allowance = Allowance(self._package.n_bytes(name))
            text = SlideText(self._builder, number, allowance)
            self._add_slide(text, slide, relations)
            for relation in relations.values():
                if relation.kind == "notesSlide" and relation.target in self._package:
                    self._add_notes(text, relation.target)
            text.finish()
        counts = {"hidden": self._dropped.hidden, "furniture": self._dropped.furniture}
        return self._builder.build(
            title=self._package.title() or self._title,
            dropped={why: n for why, n in counts.items() if n},  # type: ignore[misc]
        )

    def _slides(self) -> Iterator[str]:
        order = _Order()
        main = self._package.main(_MAIN)
        self._package.parse(main, order)
        relations = self._package.relations(main)
        for slide_id in order.ids:
            relation = relations.get(slide_id)
            if relation and relation.target in self._package:
                yield relation.target

    def _add_slide(self, text: SlideText, slide: SlidePart, relations: dict[str, Relation]) -> None:
        shown = [shape for shape in slide.shapes if self._is_shown(shape)]
        titles = [shape for shape in shown if shape.placeholder in _TITLES and shape.text]
        if titles:
            text.add_title(titles[0].text)
            self._title = self._title or " ".join(titles[0].text.split())
        for shape in shown:
            if not titles or shape is not titles[0]:
                self._add_shape(text, shape, relations)

    def _is_shown(self, shape: Shape) -> bool:
        if shape.is_hidden:
            self._dropped.hidden += shape.n_characters
        elif shape.placeholder in _FURNITURE:
            self._dropped.furniture += shape.n_characters
        else:
            return True
        return False

    def _add_shape(self, text: SlideText, shape: Shape, relations: dict[str, Relation]) -> None:
        paragraphs: list[Paragraph] = []
        is_list = shape.placeholder in _BULLETED
        for block in shape.blocks:
            if isinstance(block, Paragraph):
                paragraphs.append(block)
                continue
            text.add_paragraphs(paragraphs, is_list=is_list)
            paragraphs = []
            if isinstance(block, SlideTable):
                text.add_table(block)
            else:
                self._add_reference(text, block, relations)
        text.add_paragraphs(paragraphs, is_list=is_list)

    def _add_reference(
        self, text: SlideText, reference: Reference, relations: dict[str, Relation]
    ) -> None:
        relation = relations.get(reference.id)
        if relation is None or relation.target not in self._package:
            return
        if reference.kind == "chart":
            chart = Chart(Allowance(self._package.n_bytes(relation.target)))
            self._package.parse(relation.target, chart)
            text.add_rows(chart.caption, chart.rows())
        else:
            diagram = Diagram()
            self._package.parse(relation.target, diagram)
            text.add_paragraphs([Paragraph(pieces) for pieces in diagram.points], is_list=True)

    def _add_notes(self, text: SlideText, name: str) -> None:
        notes = SlidePart()
        self._package.parse(name, notes)
        for shape in notes.shapes:
            if shape.placeholder == "body" and not shape.is_hidden:
                paragraphs = [block for block in shape.blocks if isinstance(block, Paragraph)]
                text.add_paragraphs(paragraphs, is_list=False)
