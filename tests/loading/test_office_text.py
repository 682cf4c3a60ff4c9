"""Texts of OpenDocument and Rich Text Format: what they say, and what their markup means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading import LoadedText, load_bytes

from ..cpu import LINEAR, growth
from .office_files import odf
from .structure import assert_sound, outline
from .test_formats import at, code_of, load

STYLES = (
    '<text:list-style style:name="N"><text:list-level-style-number text:level="1" '
    'style:num-format="1" style:num-suffix="."/><text:list-level-style-number text:level="2" '
    'style:num-format="a" style:num-suffix=")" text:display-levels="2" text:start-value="3"/>'
    '</text:list-style><text:list-style style:name="B"><text:list-level-style-bullet '
    'text:level="1"/></text:list-style>'
    '<style:style style:name="Sup" style:family="text"><style:text-properties '
    'style:text-position="super 58%"/></style:style>'
    '<style:style style:name="Gone" style:family="text"><style:text-properties '
    'text:display="none"/></style:style>'
    '<style:style style:name="Struck" style:family="text"><style:text-properties '
    'style:text-line-through-style="solid"/></style:style>'
    '<style:style style:name="Deep" style:family="text" style:parent-style-name="Struck"/>'
    '<style:style style:name="P1" style:family="paragraph" style:parent-style-name="Caption"/>'
    '<style:style style:name="Caption" style:family="paragraph"/>'
    '<style:style style:name="Code" style:family="paragraph" '
    'style:display-name="Preformatted Text"/>'
)


def odt(body: str, title: str = "") -> LoadedText:
    """Load a text."""
    return load("a.odt", odf("text", body, styles=STYLES, title=title))


def p(text: str, style: str = "") -> str:
    """Return a paragraph."""
    return f'<text:p text:style-name="{style}">{text}</text:p>'


def span(text: str, style: str) -> str:
    """Return a run."""
    return f'<text:span text:style-name="{style}">{text}</text:span>'


def items(style: str, *texts: str, more: str = "") -> str:
    """Return a list; an item is its text, or what stands in it."""
    inside = "".join(
        f"<text:list-item>{text if text.startswith('<') else p(text)}</text:list-item>"
        for text in texts
    )
    return f'<text:list text:style-name="{style}" {more}>{inside}</text:list>'


def test_headings_lists_and_code_of_a_text() -> None:
    """Items have the numbers that a reader sees, also where a list goes on after a paragraph."""
    loaded = odt(
        "<text:h text:outline-level='1'>Mooring</text:h>"
        + items(
            "N",
            p("Slow down.") + p("Look around.") + items("N", "Left", "Right"),
            "Stop.",
            more='xml:id="L1"',
        )
        + p("Wait.")
        + items("N", "Pay.", more='text:continue-list="L1"')
        + items("B", "one", "two")
        + p("a<text:s text:c='3'/>b", "Code")
        + p("c", "Code")
        + "<text:h text:outline-level='2'>Fees</text:h>"
        + p("Cash  only."),
    )
    assert outline(loaded) == [
        "heading: Mooring",
        "procedure:",
        "  step: 1. Slow down.",
        "    paragraph: Look around.",
        "    procedure:",
        "      step: 1.c) Left",
        "      step: 1.d) Right",
        "  step: 2. Stop.",
        "    paragraph: Wait.",
        "  step: 3. Pay.",
        "list:",
        "  item: - one",
        "  item: - two",
        "code: a b c",
        "heading: Fees",
        "paragraph: Cash only.",
    ]
    assert "a   b\nc" in loaded.text
    assert loaded.title == "Mooring"
    assert at(loaded, "Cash").location.heading == ("Mooring", "Fees")


def test_tables_of_a_text() -> None:
    """Merged cells are repeated, empty ones keep their place, a caption goes with its table."""

    def row(*cells: str) -> str:
        return "<table:table-row>" + "".join(cells) + "</table:table-row>"

    def c(text: str, more: str = "") -> str:
        return f"<table:table-cell {more}>{p(text)}</table:table-cell>"

    covered = "<table:covered-table-cell/>"
    table = (
        "<table:table>"
        + row(c("Berth"), c("Season", 'table:number-columns-spanned="2"'), covered)
        + row(c("Inner", 'table:number-rows-spanned="2"'), c("9"), c("12"))
        + row(covered, c(""), c("20"))
        + "</table:table>"
    )
    loaded = odt(p("Table 1", "P1") + table)
    assert outline(loaded) == [
        "table:",
        "  caption: Table 1",
        "  header_row: Berth | Season | Season",
        "  row: Inner | 9 | 12",
        "  row: Inner | | 20",
    ]
    nested = odt(
        f"<table:table>{row(f'<table:table-cell>{table}</table:table-cell>')}</table:table>"
    )
    assert nested.text.startswith("Berth | Season | Season Inner | 9")


def test_meaning_of_runs_in_a_text() -> None:
    """Deleted, struck-out and hidden text is left out; raised digits and notes join no number."""
    note = (
        "<text:note><text:note-citation>1</text:note-citation><text:note-body>"
        + p("Without tax.")
        + "</text:note-body></text:note>"
    )
    loaded = odt(
        "<text:tracked-changes><text:deletion>"
        + p("old")
        + "</text:deletion></text:tracked-changes>"
        + p(
            f"Was {span('35 EUR ', 'Struck')}{span('30 ', 'Deep')}28{note} EUR,<text:change/>"
            f" 10{span('9', 'Sup')} ohm{span('secret', 'Gone')}"
            "<office:annotation><text:p>Really?</text:p></office:annotation>."
        )
        + "<text:table-of-content><text:index-body>"
        + p("Fees 7")
        + "</text:index-body></text:table-of-content>"
        + p("<draw:frame><svg:title>x</svg:title><draw:text-box>" + p("Box") + "</draw:text-box>"
            "</draw:frame>end"),
        title="Rates",
    )  # fmt: skip
    assert loaded.text == "Was 28 [1] EUR, 10^9 ohm.\n\nBox\n\nend\n\n[1] Without tax."
    assert (loaded.title, loaded.dropped) == ("Rates", {"hidden": 6, "nav": 5})


def test_hostile_texts() -> None:
    """Spans of any number give no more text than the file has, and depth is limited."""
    cell = '<table:table-cell table:number-columns-spanned="1000" table:number-rows-spanned="999">'
    row = f"<table:table-row>{cell}{p('words')}</table:table-cell></table:table-row>"
    body = f"<table:table>{row * 300}</table:table>"
    assert len(odt(body).text) < 4 * len(body)
    spaces = p("<text:s text:c='9999'/>" * 2_000 + "x")
    assert len(odt(p("a") + spaces).text) < 2 * len(spaces)
    assert code_of("a.odt", odf("text", "<text:span>" * 3_000 + "</text:span>" * 3_000)) == "limit"
    assert code_of("a.odt", b"PK\x03\x04") == "broken"


HEAD = (
    r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial Cyr;}"
    r"{\f2\fcharset128 Mincho;}}{\stylesheet{\s0 Normal;}{\s1 heading 1;}{\s7 Source Code;}}"
    r"{\info{\title Rates}{\author Nobody}}"
)


def rtf(body: str, head: str = HEAD) -> LoadedText:
    """Load Rich Text Format."""
    return load("a.rtf", f"{head}{body}}}".encode("latin-1"))


def test_paragraphs_headings_and_lists_of_rtf() -> None:
    """Styles tell headings and code, the texts of lists the numbers of their items."""
    loaded = rtf(
        r"\pard\s1 Mooring\par\pard Slow\line down.\par"
        r"{\listtext\pard\plain 1.\tab}\pard\ls1 Stop.\par{\listtext 2.\tab}Pay.\par"
        r"{\pntext\'b7\tab}\pard\ls2 one\par\pard\s7 a\tab b\par c\par"
        r"\pard\outlinelevel1 Fees\par\pard Cash only."
    )
    assert outline(loaded) == [
        "heading: Mooring",
        "paragraph: Slow down.",
        "procedure:",
        "  step: 1. Stop.",
        "  step: 2. Pay.",
        "list:",
        "  item: - one",
        "code: a b c",
        "heading: Fees",
        "paragraph: Cash only.",
    ]
    assert loaded.title == "Rates"
    assert at(loaded, "Cash").location.heading == ("Mooring", "Fees")


def test_tables_of_rtf() -> None:
    """Merged cells are repeated, empty ones keep their place, and rows end with their table."""
    cells = r"\cellx1\cellx2\cellx3\pard\intbl "
    loaded = rtf(
        rf"Fees\par\trowd{cells}Berth\cell Su\par mmer\cell Winter\cell\row"
        rf"\trowd\clvmgf{cells}Inner\cell 9\cell\cell\row"
        rf"\trowd\clvmrg{cells}\cell 3\cell 12\cell\row\pard end\par"
    )
    assert outline(loaded) == [
        "paragraph: Fees",
        "table:",
        "  header_row: Berth | Su mmer | Winter",
        "  row: Inner | 9 |",
        "  row: Inner | 3 | 12",
        "paragraph: end",
    ]


def test_characters_of_rtf() -> None:
    r"""Bytes are in the encoding of their font, `\u` has its fallback skipped."""
    loaded = rtf(
        r"caf\'e9 \f1\'c4\'e0 \f2\'8d\'60\'83A\plain  \u8364?5 \u-10179?\u-8704? "
        r"{\uc2\u8364\'80xy}\lquote a\rquote\~b\-c\{d\}\emdash"
    )
    assert loaded.text == "caf\u00e9 Да 港ア \u20ac5 \U0001f600 \u20acy‘a’\u00a0bc{d}—"


def test_meaning_of_runs_in_rtf() -> None:
    """Deleted, struck-out and hidden text is left out; raised digits and notes join no number."""
    loaded = rtf(
        r"Was {\strike 35 EUR }{\deleted 30 }28{\super\chftn}{\footnote\pard{\super\chftn} Without"
        r" tax.\par} EUR, 10{\super 9} ohm{\v secret}.{\*\unknown no}{\pict 00ff}"
        r"{\header top\par}{\field{\*\fldinst HYPERLINK x}{\fldrslt link}}{\object{\result r}"
        r"{\*\objdata 00}}\bin3 {}}. x"
    )
    assert loaded.text == "Was 28 [1] EUR, 10^9 ohm.linkr. x\n\n[1] Without tax."
    assert loaded.dropped == {"hidden": 6}


def test_what_is_no_rtf() -> None:
    """A file in another form is plain text, what is cut off gives what there is."""
    assert load("a.rtf", "Only words.").text == "Only words."
    assert rtf(r"whole\par half {\b wor", "{\\rtf1 ").text == "whole\n\nhalf wor"
    assert code_of("a.rtf", b"{\\rtf1 }") == "no_text"
    assert code_of("a.rtf", b"{\\rtf1" + b"{" * 5_000) == "limit"


@given(
    st.lists(
        st.sampled_from(
            [
                "{", "}", "\\par ", "\\cell ", "\\row ", "\\trowd ", "\\clvmrg ", "\\cellx9 ", "x",
                "\\u55357?", "\\'e9", "\\*", "\\footnote ", "\\listtext ", "\\pard ", "\\s1 ", "1",
                "\\super ", "\\v ", "\\bin9 ", "\\stylesheet ", "\\fonttbl ", "\\intbl ", "\\ls1 ",
                "\\title ", "\\", "\\uc0 ", "\\f2 ", "\\'81", "\\outlinelevel0 ", "\n", "\\clmrg ",
            ]
        ),
        max_size=40,
    )
)  # fmt: skip
def test_any_rtf(tokens: list[str]) -> None:
    """Words in any order give sound text, or an error with a code word."""
    try:
        loaded = load_bytes(f"{HEAD}{''.join(tokens)}".encode("latin-1"), name="a.rtf")
    except LoadError as error:
        assert error.code in {"no_text", "encoding"}  # noqa: PT017 (both outcomes are right)
        return
    loaded.text.encode()
    assert_sound(loaded.text, loaded.parts)


ODF_PIECES = [
    "<text:p>", "</text:p>", "x", "<text:h>", "</text:h>", "<text:list>", "</text:list>",
    "<text:list-item>", "</text:list-item>", "<table:table>", "</table:table>",
    "<table:table-row>", "</table:table-row>", "<table:table-cell>", "</table:table-cell>",
    "<draw:page>", "</draw:page>", '<draw:frame presentation:class="title">', "</draw:frame>",
    "<text:note><text:note-citation>1</text:note-citation><text:note-body>",
    "</text:note-body></text:note>", "<text:span>", "</text:span>", "<text:s/>",
    "<office:annotation>", "</office:annotation>", "<table:covered-table-cell/>",
]  # fmt: skip


@given(
    st.sampled_from(["text", "presentation", "spreadsheet"]),
    st.lists(st.sampled_from(ODF_PIECES), max_size=30),
)
def test_any_elements_of_opendocument(kind: str, pieces: list[str]) -> None:
    """Elements inside one another in any way give sound text, or an error with a code word."""
    opened: list[str] = []
    body = ""
    for piece in pieces:
        if piece.startswith("</") and (not opened or f"</{opened[-1]}>" not in piece):
            continue
        body += piece
        for tag in piece.replace("</", "<!").split("<")[1:]:
            name = tag.lstrip("!").split(">")[0].split(" ")[0]
            if tag.startswith("!"):
                opened.pop()
            elif "/>" not in f"<{tag}":
                opened.append(name)
    body += "".join(f"</{name}>" for name in reversed(opened))
    suffix = {"text": "odt", "presentation": "odp", "spreadsheet": "ods"}[kind]
    try:
        loaded = load_bytes(odf(kind, body), name=f"a.{suffix}")
    except LoadError as error:
        assert error.code == "no_text"  # noqa: PT017 (both outcomes are right)
        return
    assert_sound(loaded.text, loaded.parts)


@pytest.mark.parametrize(
    "unit", [b"{}", b"\\par x", b"\\'e9", b"\\u8364?", b"\\cell ", b"\\*\\a{}"]
)
def test_rtf_takes_linear_time(unit: bytes) -> None:
    """Four times as much of one thing costs about four times as much."""

    def read(size: int) -> None:
        try:
            load_bytes(b"{\\rtf1 x" + unit * (size // len(unit)), name="a.rtf")
        except LoadError as error:
            assert error.code == "limit"  # noqa: PT017 (both outcomes are right)

    assert growth(read, 2**15) < LINEAR
