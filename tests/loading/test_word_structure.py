"""The structure of Word documents: lists with numbers, tables, code, captions."""

from __future__ import annotations

import pytest

from ragkit.loading import LoadedText

from .office_files import package, relations
from .structure import outline
from .test_formats import WORD, load, paragraph, word


def level(at: int, form: str, text: str, start: int = 1) -> str:
    """Return a level of a list's definition."""
    return (
        f'<w:lvl w:ilvl="{at}"><w:start w:val="{start}"/><w:numFmt w:val="{form}"/>'
        f'<w:lvlText w:val="{text}"/></w:lvl>'
    )


NUMBERING = (
    f'<w:numbering xmlns:w="{WORD}"><w:abstractNum w:abstractNumId="7">'
    + level(0, "decimal", "%1.")
    + level(1, "lowerLetter", "%2)")
    + level(2, "upperRoman", "%1.%3", 4)
    + '</w:abstractNum><w:abstractNum w:abstractNumId="8">'
    + level(0, "bullet", "•")
    + '</w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>'
    '<w:num w:numId="2"><w:abstractNumId w:val="8"/></w:num>'
    '<w:num w:numId="3"><w:abstractNumId w:val="7"/><w:lvlOverride w:ilvl="0">'
    '<w:startOverride w:val="5"/></w:lvlOverride></w:num></w:numbering>'
)
STYLES = (
    f'<w:styles xmlns:w="{WORD}"><w:style w:styleId="Src"><w:name w:val="Source Code"/></w:style>'
    '<w:style w:styleId="Cap"><w:name w:val="caption"/></w:style>'
    '<w:style w:styleId="H"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="Num"><w:name w:val="List Number"/><w:pPr><w:numPr><w:numId w:val="1"/>'
    '</w:numPr></w:pPr></w:style><w:style w:styleId="Sub"><w:basedOn w:val="Num"/></w:style>'
    "</w:styles>"
)


def item(text: str, number: int = 1, at: int = 0) -> str:
    """Return a paragraph of a list."""
    numbering = f'<w:numPr><w:ilvl w:val="{at}"/><w:numId w:val="{number}"/></w:numPr>'
    return paragraph(text, numbering) if text else f"<w:p><w:pPr>{numbering}</w:pPr></w:p>"


def styled(text: str, style: str) -> str:
    """Return a paragraph of a style."""
    return paragraph(text, f'<w:pStyle w:val="{style}"/>')


def table(*rows: str) -> str:
    """Return a table of rows, cells apart by `|`; the properties of a cell follow its text."""
    return f"<w:tbl>{''.join(map(row, rows))}</w:tbl>"


def row(cells: str, properties: str = "") -> str:
    """Return a row of cells apart by `|`, `^` for one that goes on from above, `=` for two."""
    kinds = {"^": "<w:vMerge/>", "=": '<w:gridSpan w:val="2"/>'}
    shown = (
        f"<w:tc><w:tcPr>{kinds.get(cell[:1], '')}</w:tcPr>{paragraph(cell.lstrip('^='))}</w:tc>"
        for cell in cells.split("|")
    )
    return f"<w:tr><w:trPr>{properties}</w:trPr>{''.join(shown)}</w:tr>"


def document(*blocks: str) -> LoadedText:
    """Load a document of these blocks, with lists and styles."""
    return load("a.docx", word("".join(blocks), word_numbering=NUMBERING, word_styles=STYLES))


def test_numbers_of_items() -> None:
    """Items have the numbers that Word shows: by level and format, and from a new start."""
    loaded = document(
        item("a"), item("b", at=1), item("c", at=1), item("d", at=2), item("e"), item("f", at=1),
        item("", 1), item("g"), item("h", 3), item("i", 3), item("j", 2), item("k", 9),
        styled("l", "Num"), styled("m", "Sub"),
        paragraph("n", '<w:pStyle w:val="Num"/><w:numPr><w:numId w:val="0"/></w:numPr>'),
    )  # fmt: skip
    assert loaded.text == (
        "1. a\n  a) b\n  b) c\n    1.IV d\n2. e\n  a) f\n4. g\n"
        "5. h\n6. i\n- j\n- k\n7. l\n8. m\n\nn"
    )


def test_lists_and_procedures() -> None:
    """What stands between two steps belongs to the first, and between two bullets to neither."""
    loaded = document(
        item("a"), item("b", at=1), paragraph("c"), styled("  d", "Src"), styled("e", "Src"),
        item("f"), paragraph("g"), item("h", 2), paragraph("i"), item("j", 2),
        styled("k", "H"), item("l"),
    )  # fmt: skip
    assert outline(loaded) == [
        "procedure:",
        "  step: 1. a",
        "    procedure:",
        "      step: a) b",
        "        paragraph: c",
        "        code: d e",
        "  step: 2. f",
        "paragraph: g",
        "list:",
        "  item: - h",
        "paragraph: i",
        "list:",
        "  item: - j",
        "heading: k",
        "procedure:",
        "  step: 3. l",
    ]
    assert "d\ne\n2. f\n\ng\n- h" in loaded.text


def test_tables_and_captions() -> None:
    """A caption belongs to the table below; the first of more rows is the header."""
    loaded = document(
        styled("Table 1", "Cap"), table("Berth|Length|Fee", "Inner|8|", "^|=10", "|9|3"),
        styled("Figure 1", "Cap"), paragraph("x"), table("a|b"),
    )  # fmt: skip
    assert outline(loaded) == [
        "table:",
        "  caption: Table 1",
        "  header_row: Berth | Length | Fee",
        "  row: Inner | 8 |",
        "  row: Inner | 10 | 10",
        "  row: | 9 | 3",
        "paragraph: Figure 1",
        "paragraph: x",
        "table:",
        "  row: a | b",
    ]


def test_header_rows_by_name() -> None:
    """Rows that say that they are headers are the only ones."""
    header = "<w:tblHeader/>"
    rows = row("a|b", header) + row("c|d", header) + row("e|f")
    kinds = [part.kind for part in document(f"<w:tbl>{rows}</w:tbl>").parts]
    assert kinds == ["table", "header_row", "header_row", "row"]


@pytest.mark.parametrize(
    "body",
    [
        '<w:p><w:r><w:rPr><w:rPrChange w:id="1"><w:rPr><w:vanish/></w:rPr></w:rPrChange></w:rPr>'
        "<w:t>x</w:t></w:r></w:p>",
        '<w:p><w:pPr><w:pPrChange w:id="2"><w:pPr><w:pStyle w:val="H"/><w:numPr><w:numId '
        'w:val="1"/></w:numPr></w:pPr></w:pPrChange></w:pPr><w:r><w:t>x</w:t></w:r></w:p>',
    ],
)
def test_what_was_before_a_tracked_change(body: str) -> None:
    """Properties of the past hide nothing, and make neither headings nor items."""
    loaded = document(body)
    assert (loaded.text, loaded.title, outline(loaded)) == ("x", "", ["paragraph: x"])


def test_paragraphs_whose_end_was_deleted() -> None:
    """They go on with the next one, if there is one beside them."""
    gone = '<w:rPr><w:del w:id="1"/></w:rPr>'
    loaded = document(paragraph("One ", gone), paragraph("two."), paragraph("Three.", gone))
    assert loaded.text == "One two.\n\nThree."
    cells = f"<w:tc>{paragraph('a', gone)}</w:tc><w:tc>{paragraph('b', gone)}</w:tc>"
    loaded = document(paragraph("One.", gone), f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>")
    assert loaded.text == "One.\na | b"
    deleted = f"<w:p><w:pPr>{gone}</w:pPr><w:del><w:r><w:delText>x</w:delText></w:r></w:del></w:p>"
    assert outline(document(deleted, item("a")))[-1] == "  step: 1. a"


@pytest.mark.parametrize("name", ["word/document2.xml", "word/document.xml", "doc.xml"])
def test_the_main_part_is_the_one_that_the_package_names(name: str) -> None:
    """Programs name it, and what belongs to it, differently."""
    folder, _, file = name.rpartition("/")
    parts = {
        "_rels/.rels": relations(("officeDocument", f"/{name}")),
        f"{folder}/_rels/{file}.rels".lstrip("/"): relations(("styles", "styles2.xml")),
        f"{folder}/styles2.xml".lstrip("/"): STYLES,
        name: f'<w:document xmlns:w="{WORD}"><w:body>{styled("Bay", "H")}</w:body></w:document>',
    }
    assert load("a.docx", package(parts)).title == "Bay"


def run_of(text: str) -> str:
    """Return a run of a formula."""
    return f"<m:r><m:t>{text}</m:t></m:r>"


X, Y, SUM = run_of("x"), run_of("y"), run_of("a+b")


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (f"<m:f><m:num>{run_of('1')}</m:num><m:den>{run_of('2')}</m:den></m:f>", "1/2"),
        (f"<m:f><m:num>{SUM}</m:num><m:den>{X}</m:den></m:f>{Y}", "(a+b)/xy"),
        (f"<m:sSup><m:e>{X}</m:e><m:sup>{run_of('10')}</m:sup></m:sSup>", "x^10"),
        (f"<m:sSubSup><m:e>{X}</m:e><m:sub>{Y}</m:sub><m:sup>{SUM}</m:sup></m:sSubSup>",
         "x_y^(a+b)"),
        (f"<m:rad><m:deg/><m:e>{SUM}</m:e></m:rad>", "√(a+b)"),
        (f"<m:rad><m:deg>{run_of('3')}</m:deg><m:e>{X}</m:e></m:rad>", "3√x"),
        (f"<m:d><m:e>{X}</m:e><m:e>{Y}</m:e></m:d>", "(x|y)"),
        (f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val=""/></m:dPr><m:e>{X}</m:e></m:d>',
         "[x"),
        (f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{run_of("i=1")}</m:sub>'
         f"<m:sup>{run_of('n')}</m:sup><m:e>{X}</m:e></m:nary>", "∑_(i=1)^n x"),
        (f"<m:func><m:fName>{run_of('sin')}</m:fName><m:e>{X}</m:e></m:func>", "sin x"),
        (f"<m:m><m:mr><m:e>{X}</m:e><m:e>{Y}</m:e></m:mr></m:m>", "x y ; "),
        (f"<m:f><m:num><m:f><m:num>{X}</m:num><m:den>{Y}</m:den></m:f></m:num>"
         f"<m:den>{X}</m:den></m:f>", "(x/y)/x"),
    ],
)  # fmt: skip
def test_formulas_in_a_line(formula: str, text: str) -> None:
    """What stands above and below one another is told apart."""
    space = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    math = f'<m:oMath xmlns:m="{space}">{formula}</m:oMath>'
    loaded = document(f"<w:p><w:r><w:t>So </w:t></w:r>{math}<w:r><w:t>.</w:t></w:r></w:p>")
    assert " ".join(loaded.text.split()) == " ".join(f"So {text}.".split())
    assert not document(f"<w:p><w:del>{math}</w:del><w:r><w:t>x</w:t></w:r></w:p>").text[1:]


def test_formulas_that_are_nested_very_deeply() -> None:
    """They take linear time, and lose no text."""
    space = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    deep = f"{'<m:e>' * 1_000}{run_of('x' * 2_000_000)}{'</m:e>' * 1_000}{Y}"
    loaded = document(f'<w:p><m:oMath xmlns:m="{space}">{deep}</m:oMath></w:p>')
    assert loaded.text == "x" * 2_000_000 + "y"


def test_code() -> None:
    """Lines of code that follow each other are one block, with its blank lines and indentation."""
    loaded = document(styled("a:", "Src"), styled("", "Src"), styled("  b", "Src"), paragraph("c"))
    assert loaded.text == "a:\n\n  b\n\nc"
    assert [part.kind for part in loaded.parts] == ["code", "paragraph"]


def test_a_raised_number_is_apart_from_the_number_before() -> None:
    """Otherwise they would be one other number."""
    runs = (
        ("It is 10", ""), ("-", "superscript"), ("12", "superscript"), (" ohm, 18", ""),
        ("2", "superscript"), (" crowns, 4 m", "baseline"), ("2", "superscript"), (", 10", ""),
        ("2", "subscript"), ("0", ""),
    )  # fmt: skip
    body = "".join(
        f'<w:r><w:rPr><w:vertAlign w:val="{place}"/></w:rPr>'
        f'<w:t xml:space="preserve">{text}</w:t></w:r>'
        for text, place in runs
    )
    assert document(f"<w:p>{body}</w:p>").text == "It is 10^-12 ohm, 18 [2] crowns, 4 m2, 10_2 0"


def test_notes_have_their_mark() -> None:
    """A note is no digit of the number before it, and its text says which one it is."""
    refer = '<w:r><w:footnoteReference w:id="{}"/></w:r>'
    body = (
        f"<w:p><w:r><w:t>It is 45</w:t></w:r>{refer.format(7)}<w:r><w:t> EUR, or less</w:t></w:r>"
        f"{refer.format(2)}<w:del>{refer.format(3)}</w:del></w:p>"
    )
    notes = "".join(
        f'<w:footnote w:id="{number}">{paragraph(text)}</w:footnote>'
        for number, text in ((0, ""), (2, "In May."), (7, "With tax."))
    )
    part = f'<w:footnotes xmlns:w="{WORD}">{notes}</w:footnotes>'
    assert load("a.docx", word(body, word_footnotes=part)).text == (
        "It is 45 [1] EUR, or less[2]\n\n[2] In May.\n\n[1] With tax."
    )
