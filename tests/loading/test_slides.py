"""Presentations: what each slide shows, located by its number."""

from __future__ import annotations

from .office_files import odf, pptx, run, shape, slide_table
from .structure import outline
from .test_formats import at, code_of, load

CHART = (
    '<c:chartSpace xmlns:c="c" xmlns:a="a"><c:chart><c:title><c:tx><c:rich><a:p><a:r>'
    "<a:t>Boats by year</a:t></a:r></a:p></c:rich></c:tx></c:title><c:plotArea>"
    "<c:ser><c:tx><c:v>Sail</c:v></c:tx>"
    '<c:cat><c:pt idx="0"><c:v>2024</c:v></c:pt><c:pt idx="1"><c:v>2025</c:v></c:pt></c:cat>'
    '<c:val><c:pt idx="0"><c:v>12.0</c:v></c:pt><c:pt idx="1"><c:v>1.5e1</c:v></c:pt></c:val>'
    '</c:ser><c:ser><c:tx><c:v>Motor</c:v></c:tx><c:val><c:pt idx="1"><c:v>7</c:v></c:pt></c:val>'
    "</c:ser></c:plotArea></c:chart></c:chartSpace>"
)
DIAGRAM = (
    '<dgm:dataModel xmlns:dgm="d" xmlns:a="a"><dgm:pt><dgm:t><a:p><a:r><a:t>Arrive</a:t></a:r>'
    "</a:p></dgm:t></dgm:pt><dgm:pt><dgm:t><a:p><a:r><a:t>Moor</a:t></a:r></a:p></dgm:t></dgm:pt>"
    "</dgm:dataModel>"
)


def test_formulas_in_a_line() -> None:
    """What stands above and below one another is told apart."""
    one, two = (f"<m:r><a:rPr/><m:t>{n}</m:t></m:r>" for n in (1, 2))
    space = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    half = f"<m:f><m:num>{one}</m:num><m:den>{two}</m:den></m:f>"
    math = f'<m:oMathPara xmlns:m="{space}"><m:oMath>{half}</m:oMath></m:oMathPara>'
    slide = shape(f"<a:p><a:r><a:t>About </a:t></a:r>{math}</a:p>")
    assert load("a.pptx", pptx(slide)).text == "About 1/2"


def test_titles_lists_and_notes_by_slide() -> None:
    """Each slide has its title first, its lists with bullets and numbers, then its notes."""
    numbered = '<a:pPr><a:buAutoNum type="romanUcParenR" startAt="2"/></a:pPr>'
    loaded = load(
        "a.pptx",
        pptx(
            shape("Ring the bell.", '<a:pPr lvl="1"/>' + run("Twice"), "", placeholder="body")
            + shape("Arrival", placeholder="ctrTitle"),
            shape(numbered + run("Moor"), numbered + run("Pay"), "<a:pPr/>" + run("Leave"))
            + shape("7", placeholder="sldNum"),
            notes={1: shape("Mind the swell.", placeholder="body") + shape("1", placeholder="dt")},
        ),
    )
    assert loaded.title == "Arrival"
    assert loaded.text == (
        "Arrival\n- Ring the bell.\n  - Twice\n\nMind the swell.\nII) Moor\nIII) Pay\n\nLeave"
    )
    assert at(loaded, "Mind").location.to_dict() == {"slide": 1, "heading": ["Arrival"]}
    assert at(loaded, "Leave").location.to_dict() == {"slide": 2}
    assert loaded.dropped == {"furniture": 1}
    assert outline(loaded) == [
        "heading: Arrival",
        "list:",
        "  item: - Ring the bell.",
        "    list:",
        "      item: - Twice",
        "paragraph: Mind the swell.",
        "procedure:",
        "  step: II) Moor",
        "  step: III) Pay",
        "paragraph: Leave",
    ]


def test_hidden_slides_and_shapes_are_counted() -> None:
    """What a viewer never sees is left out, with the number of its characters."""
    secret = shape("Secret", "fees")
    loaded = load(
        "a.pptx", pptx(secret, shape("Open") + shape("off", hidden=True), hidden=[1], title="Rates")
    )
    assert (loaded.text, loaded.title, loaded.dropped) == ("Open", "Rates", {"hidden": 13})
    assert at(loaded, "Open").location.slide == 2


def test_tables_charts_and_diagrams() -> None:
    """Merged cells are repeated, empty ones keep their place; a chart is a table of its data."""
    loaded = load(
        "a.pptx",
        pptx(
            shape("Fees", placeholder="title")
            + slide_table("Berth|=Season|-", "^Inner|9|12", "!||20")
            + '<p:graphicFrame><c:chart xmlns:c="c" r:id="r2"/></p:graphicFrame>'
            + '<p:graphicFrame><d:relIds xmlns:d="d" r:dm="r3"/></p:graphicFrame>',
            more={"ppt/charts/chart1.xml": CHART, "ppt/diagrams/data1.xml": DIAGRAM},
        ),
    )
    assert outline(loaded) == [
        "heading: Fees",
        "table:",
        "  header_row: Berth | Season | Season",
        "  row: Inner | 9 | 12",
        "  row: Inner | | 20",
        "table:",
        "  caption: Boats by year",
        "  header_row: | Sail | Motor",
        "  row: 2024 | 12 |",
        "  row: 2025 | 15 | 7",
        "list:",
        "  item: - Arrive",
        "  item: - Moor",
    ]


def test_meaning_of_runs_on_slides() -> None:
    """Struck-out text is left out, and raised digits join no number."""
    loaded = load(
        "a.pptx",
        pptx(
            shape(
                run("Was ") + run("35 EUR ", 'strike="sngStrike"') + run("28 EUR"),
                run("10") + run("9", 'baseline="30000"') + run(" ohm"),
            )
        ),
    )
    assert loaded.text == "Was 28 EUR\n\n10^9 ohm"


def test_slides_of_opendocument() -> None:
    """Titles, lists, tables and notes have their slide; hidden slides and footers are counted."""
    page = '<draw:page draw:style-name="{style}">{body}<presentation:notes>{notes}'
    page += "</presentation:notes></draw:page>"

    def frame(body: str, kind: str = "outline") -> str:
        return (
            f'<draw:frame presentation:class="{kind}"><draw:text-box>{body}</draw:text-box>'
            "<svg:title>alt</svg:title></draw:frame>"
        )

    first = page.format(
        style="shown",
        body=frame("<text:p>The</text:p><text:p>Pier</text:p>", "title")
        + frame(
            "<text:list><text:list-item><text:p>Wide</text:p></text:list-item><text:list-item>"
            "<text:p>Long</text:p></text:list-item></text:list>"
        )
        + frame("<text:p>12 May</text:p>", "date-time"),
        notes=frame("<text:p>Say hello.</text:p>", "notes"),
    )
    hidden = page.format(style="gone", body=frame("<text:p>Plan B</text:p>"), notes="")
    style = (
        '<style:style style:name="gone" style:family="drawing-page">'
        '<style:drawing-page-properties presentation:visibility="hidden"/></style:style>'
    )
    loaded = load("a.odp", odf("presentation", first + hidden + first, styles=style))
    assert loaded.text == "The Pier\n- Wide\n- Long\n\nSay hello." * 1 + (
        "\n\nThe Pier\n- Wide\n- Long\n\nSay hello."
    )
    assert [mark.location.slide for mark in loaded.marks] == [1, 1, 1, 1, 3, 3, 3, 3]
    assert loaded.marks[1].location.heading == ("The Pier",)
    assert (loaded.title, loaded.dropped) == ("The Pier", {"furniture": 10, "hidden": 5})


def test_broken_and_hostile_presentations() -> None:
    """What is missing, cut off, or declares entities is an error with a code word."""
    whole = pptx(shape("Open"))
    assert code_of("a.pptx", whole[: len(whole) // 2]) == "broken"
    assert code_of("a.pptx", pptx()) == "no_text"
    assert code_of("a.pptx", pptx('<!DOCTYPE a [<!ENTITY x "y">]>')) == "broken"
    assert code_of("a.pptx", pptx("<a:g>" * 3_000 + "</a:g>" * 3_000)) == "limit"
    assert code_of("a.odp", odf("presentation", "<text:p>")) == "broken"
    locked = odf("text", "", manifest="<encryption-data/>")
    assert code_of("a.odt", locked) == "password"


def test_a_chart_of_many_series_stays_small() -> None:
    """Series times categories may be a thousand times the file: no more is written than it has."""
    series = "".join(f'<ser><val><pt idx="{i}"><v>1</v></pt></val></ser>' for i in range(5_000))
    data = pptx(
        '<p:graphicFrame><c:chart xmlns:c="c" r:id="r2"/></p:graphicFrame>',
        more={"ppt/charts/chart1.xml": f"<chart>{series}</chart>"},
    )
    assert len(load("a.pptx", data).text) < 4 * len(series)
