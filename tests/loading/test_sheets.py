"""Spreadsheets: tables located by sheet and cells, with numbers as a reader sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.loading.numbers import format_of, shown, shown_number

from .office_files import cell, odf, package, sheet, xlsx
from .structure import outline
from .test_formats import at, code_of, load

STYLES = (
    '<numFmts><numFmt numFmtId="170" formatCode="dd/mm/yyyy\\ hh:mm"/>'
    '<numFmt numFmtId="171" formatCode="[$€-407]\\ #,##0.00"/></numFmts>'
    "<fonts><font/><font><strike/></font></fonts><cellStyleXfs><xf numFmtId='14'/></cellStyleXfs>"
    '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/><xf numFmtId="171"/>'
    '<xf numFmtId="10"/><xf numFmtId="0" fontId="1"/></cellXfs>'
)


def rows(*cells: str) -> str:
    """Return a sheet of one row with these cells."""
    return f'<sheetData><row r="1">{"".join(cells)}</row></sheetData>'


def test_a_table_below_its_title() -> None:
    """A title is a caption, the row of names is the header, and empty cells keep their place."""
    loaded = load(
        "a.xlsx",
        xlsx(
            {
                "Fees": sheet(
                    "Fees of 2026", "", "Berth|Summer|Winter", "Inner|30|12.50", "Outer||9"
                ),
                "Crew": sheet("Name|Boat", "Ada|Gannet"),
            }
        ),
    )
    assert loaded.text == (
        "Fees\n\nFees of 2026\nBerth | Summer | Winter\nInner | 30 | 12.5\nOuter | | 9\n\n"
        "Crew\n\nName | Boat\nAda | Gannet"
    )
    assert outline(loaded) == [
        "heading: Fees",
        "table:",
        "  caption: Fees of 2026",
        "  header_row: Berth | Summer | Winter",
        "  row: Inner | 30 | 12.5",
        "  row: Outer | | 9",
        "heading: Crew",
        "table:",
        "  header_row: Name | Boat",
        "  row: Ada | Gannet",
    ]
    assert at(loaded, "Outer").location.to_dict() == {"sheet": "Fees", "cells": "A5:C5"}
    assert at(loaded, "Ada").location.to_dict() == {"sheet": "Crew", "cells": "A2:B2"}
    assert at(loaded, "Fees of").location.cells == "A1"


def test_a_block_goes_on_with_the_table_above() -> None:
    """Rows behind an empty one belong to the table, unless names of columns stand above them."""
    loaded = load(
        "a.xlsx",
        xlsx(
            {"S": sheet("Berth|Fee", "Inner|30", "", "Outer|9", "Pier|8", "", "Boat|Crew", "Auk|2")}
        ),
    )
    assert outline(loaded) == [
        "heading: S",
        "table:",
        "  header_row: Berth | Fee",
        "  row: Inner | 30",
        "  row: Outer | 9",
        "  row: Pier | 8",
        "table:",
        "  header_row: Boat | Crew",
        "  row: Auk | 2",
    ]


@pytest.mark.parametrize(
    "names",
    [
        "Harbour|2023|2024|2025",
        "|product|stock|reserved",
        "Name|Phone|Phone|City",
        "Item|2026-01-31|2026-02-28|2026-03-31",
    ],
)
def test_years_blank_and_repeated_names(names: str) -> None:
    """They are the header all the same, in a sheet and in CSV."""
    below = "Norvik|=x|3|4"
    loaded = load("a.xlsx", xlsx({"S": sheet(names.replace("2026-", "=2026-"), below)}))
    assert [line.split(":")[0].strip() for line in outline(loaded)][1:3] == ["table", "header_row"]
    text = f"{names}\n{below}\n".replace("|", ",").replace("=", "")
    assert f"{names.split('|')[3]}: 4" in load("a.csv", text).text


@pytest.mark.parametrize("first", ["Ann|=2026-01-01|=2026-01-01", "Ann|=3 %|=4 %", "x|=12:30|5"])
def test_a_row_of_values_is_no_header(first: str) -> None:
    """Dates, shares and times are values, also where words stand before them."""
    loaded = load("a.xlsx", xlsx({"S": sheet(first, "Bob|=2026-01-02|5", "Cid|=1|=2")}))
    assert "header_row" not in " ".join(outline(loaded))


def test_numbers_and_dates_by_style() -> None:
    """A number is what its format shows; struck-out cells are left out."""
    loaded = load(
        "a.xlsx",
        xlsx(
            {
                "S": rows(
                    cell("A1", 45_000, 1),
                    cell("B1", 45_000.5, 2),
                    cell("C1", 12.5, 3),
                    cell("D1", 0.0725, 4),
                    cell("E1", 0.1 + 0.2),
                    cell("F1", 99, 5),
                    '<c r="G1" t="b"><v>1</v></c><c r="H1" t="s"><v>0</v></c>'
                    '<c r="I1" t="str"><f>A1</f><v>sum</v></c><c r="J1" t="s"><v>7</v></c>',
                )
            },
            styles=STYLES,
            strings='<si><r><t>10</t></r><r><rPr><vertAlign val="superscript"/></rPr><t>9</t></r>'
            "<r><rPr><strike/></rPr><t> volt</t></r><r><t> ohm</t></r></si>",
        ),
    )
    assert loaded.text.split("\n\n")[1] == (
        "2023-03-15 | 2023-03-15 12:00 | € 12.5 | 7.25% | 0.3 | | TRUE | 10^9 ohm | sum"
    )
    of_1904 = load("a.xlsx", xlsx({"S": rows(cell("A1", 1.0, 1))}, styles=STYLES, is_1904=True))
    assert of_1904.text.endswith("1904-01-02")


@pytest.mark.parametrize(
    ("code", "number", "text"),
    [
        ("General", "1E+3", "1000"),
        ("0.00", "3.14159", "3.14159"),
        ('0.0" kg"', "12", "12 kg"),
        ('"EUR "0', "-5", "-EUR 5"),
        ("$#,##0_);($#,##0)", "1200", "$1200"),
        ("00000", "1234", "01234"),
        ("mmm yyyy", "45000", "2023-03-15"),
        ("[h]:mm", "1.5", "36:00"),
        ("h:mm AM/PM", "0.75", "18:00"),
        ("mm:ss", "0.0006944444", "00:01"),
        ("0%", "0.07", "7%"),
        ("yyyy", "-1", "-1"),
        ('"day "d', "1", "1900-01-01"),
        ("@", "5", "5"),
        ("d", "text", "text"),
        ("", "123456789012345678", "123456789012345678"),
    ],
)
def test_formats(code: str, number: str, text: str) -> None:
    """A format tells dates, times, shares, and what stands around a number."""
    assert shown(number, format_of(code)) == text


@given(st.floats(allow_nan=True), st.text('dmyhs0#.,;%"\\[]$€@_*General ', max_size=30))
def test_any_number_in_any_format(number: float, code: str) -> None:
    """No number and no format is too odd."""
    assert isinstance(shown(repr(number), format_of(code)), str)
    assert float(shown_number(repr(number))) == pytest.approx(number, rel=1e-9, nan_ok=True)


def test_characters_that_are_escaped() -> None:
    """They are read as such; what only looks so is not."""
    strings = "<si><t>one_x000D_\ntwo</t></si><si><t>_x005F_x0041_ _xD83D__xDE00__x12_</t></si>"
    rows = "<row><c t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='str'><v>_x0041_</v></c></row>"
    loaded = load("a.xlsx", xlsx({"S": f"<sheetData>{rows}</sheetData>"}, strings=strings))
    assert loaded.text == "S\n\none two | _x0041_ 😀_x12_ | A"


def test_merged_cells_are_repeated() -> None:
    """What merged cells hold stands in each of them; across a row alone it is a title."""
    merged = "<mergeCells><mergeCell ref='A1:C1'/><mergeCell ref='A3:A4'/></mergeCells>"
    loaded = load(
        "a.xlsx",
        xlsx({"S": sheet("Fees", "Berth|Length|Fee", "Inner|8|30", "|=over 8|", after=merged)}),
    )
    assert loaded.text == ("S\n\nFees\nBerth | Length | Fee\nInner | 8 | 30\nInner | over 8 |")


def test_hidden_sheets_are_counted_and_comments_are_read() -> None:
    """A comment names its cell; a comment in a thread comes without the note for old programs."""
    loaded = load(
        "a.xlsx",
        xlsx(
            {"S": sheet("Berth|Fee", "Inner|30"), "Old": sheet("secret")},
            hidden=["Old"],
            comments='<comment ref="B2"><text><r><t>Since </t></r><r><t>May</t></r></text>'
            '</comment><comment ref="A2"><text><t>[Threaded comment] Your version … Comment: '
            "By the crane</t></text></comment>",
        ),
    )
    assert loaded.text.endswith("30\n\nComment on B2: Since May\n\nComment on A2: By the crane")
    assert at(loaded, "Since").location.to_dict() == {"sheet": "S", "cells": "B2"}
    assert loaded.dropped == {"hidden": 6}


def test_defined_tables_and_filters_tell_the_header() -> None:
    """A table that says where its header is needs no guess; so does a filter."""
    plain = sheet("7|8", "9|10")
    assert "header_row" not in str(outline(load("a.xlsx", xlsx({"S": plain}))))
    defined = load("a.xlsx", xlsx({"S": plain}, table='ref="A1:B2"'))
    filtered = load("a.xlsx", xlsx({"S": plain + "<autoFilter ref='$A$1:$B$2'/>"}))
    expected = ["heading: S", "table:", "  header_row: 7 | 8", "  row: 9 | 10"]
    assert outline(defined) == outline(filtered) == expected


def test_sheets_of_opendocument() -> None:
    """Dates, shares, merged and repeated cells, comments and hidden sheets, as in a workbook."""

    def value(kind: str, text: str, **more: str) -> str:
        said = "".join(
            f' {k.replace("_", ":", 1).replace("_", "-")}="{v}"' for k, v in more.items()
        )
        return (
            f'<table:table-cell office:value-type="{kind}"{said}><text:p>{text}</text:p>'
            "</table:table-cell>"
        )

    body = (
        '<table:table table:name="Fees"><table:table-row>'
        + "".join(value("string", name) for name in ("Berth", "From", "Share", "Fee"))
        + '</table:table-row><table:table-row table:number-rows-repeated="2">'
        + value("string", "Inner", table_number_rows_spanned="2")
        + value("date", "15.03.23", office_date_value="2023-03-15T00:00:00")
        + value("percentage", "7 %", office_value="0.0725")
        + value("currency", "12,50 €", office_value="12.5")
        + '</table:table-row><table:table-row table:number-rows-repeated="1000000">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table>'
        '<table:table table:name="Old" table:style-name="gone"><table:table-row>'
        + value("string", "secret")
        + '</table:table-row></table:table><table:table table:name="More"><table:table-row>'
        + value("float", "1,5", office_value="1.5", table_number_columns_repeated="3")
        + '<table:table-cell><office:annotation><dc:date xmlns:dc="d">2026</dc:date><text:p>Why?'
        "</text:p></office:annotation><text:p>x</text:p></table:table-cell></table:table-row>"
        "</table:table>"
    )
    style = (
        '<style:style style:name="gone" style:family="table"><style:table-properties '
        'table:display="false"/></style:style>'
    )
    loaded = load("a.ods", odf("spreadsheet", body, styles=style, title="Rates"))
    row = "Inner | 2023-03-15 | 7.25% | 12,50 €"
    assert loaded.text == (
        f"Fees\n\nBerth | From | Share | Fee\n{row}\n{row}\n\nMore\n\n1.5 | 1.5 | 1.5 | x\n\n"
        "Comment on D1: Why?"
    )
    assert (loaded.title, loaded.dropped) == ("Rates", {"hidden": 6})
    assert at(loaded, "1.5").location.to_dict() == {"sheet": "More", "cells": "A1:D1"}


def test_broken_and_hostile_workbooks() -> None:
    """What is missing, cut off, or unpacks to too much is an error with a code word."""
    whole = xlsx({"S": sheet("a|b")})
    assert code_of("a.xlsx", whole[:200]) == "broken"
    assert code_of("a.xlsx", package({"xl/other.xml": "<a/>"})) == "broken"
    assert code_of("a.xlsx", xlsx({"S": ""})) == "no_text"
    assert code_of("a.xlsx", xlsx({"S": "<a/>"}, comments=" " * (65 * 2**20))) == "limit"
    assert code_of("a.xls", b"x") == "unsupported"


def test_far_cells_and_merged_areas_stay_small() -> None:
    """A sheet as wide as there is, or merged as a whole, gives no more text than its file has."""
    wide = "".join(
        f'<row r="{i}">{cell(f"A{i}", "x")}{cell(f"XFD{i}", "y")}</row>' for i in range(1, 2_000)
    )
    data = f"<sheetData>{wide}</sheetData>"
    assert len(load("a.xlsx", xlsx({"S": data})).text) < 4 * len(data)
    everything = sheet("long text|b", *["|1"] * 500, after='<mergeCell ref="A1:XFD1048576"/>')
    assert len(load("a.xlsx", xlsx({"S": everything})).text) < 8 * len(everything)
    far = (
        '<table:table><table:table-row table:number-rows-repeated="1000000"><table:table-cell '
        'table:number-columns-repeated="16384"><text:p>x</text:p></table:table-cell>'
        "</table:table-row></table:table>"
    )
    assert len(load("a.ods", odf("spreadsheet", far)).text) < 5_000
