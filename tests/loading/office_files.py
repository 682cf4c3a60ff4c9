"""Small office documents, written by hand."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
_SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def package(parts: Mapping[str, str | bytes]) -> bytes:
    """Return a ZIP archive of these parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def relations(*targets: tuple[str, str]) -> str:
    """Return relations with the ids `r1`, `r2`, …, each a kind and a target."""
    found = "".join(
        f'<Relationship Id="r{i}" Type="{_RELATIONS}/{kind}" Target="{target}"/>'
        for i, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{_PACKAGE}">{found}</Relationships>'


def shape(*paragraphs: str, placeholder: str | None = None, hidden: bool = False) -> str:
    """Return a shape of a slide; paragraphs are text, or what is inside `a:p`."""
    kind = "" if placeholder is None else f'<p:ph type="{placeholder}"/>'
    inside = "".join(
        f"<a:p>{text if text.startswith('<') else run(text)}</a:p>" for text in paragraphs
    )
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="2" name="x" hidden="{int(hidden)}"/><p:nvPr>{kind}</p:nvPr>'
        f"</p:nvSpPr><p:txBody>{inside}</p:txBody></p:sp>"
    )


def run(text: str, properties: str = "") -> str:
    """Return a run of a slide's text."""
    return f"<a:r><a:rPr {properties}/><a:t>{text}</a:t></a:r>"


def slide_table(*rows: str, first_row: bool = True) -> str:
    """Return a table of a slide, cells apart by `|`; `=` spans two columns, `^` two rows."""
    cells = {"=": 'gridSpan="2"', "^": 'rowSpan="2"', "-": 'hMerge="1"', "!": 'vMerge="1"'}
    shown = "".join(
        "<a:tr>"
        + "".join(
            f"<a:tc {cells.get(cell[:1], '')}><a:txBody><a:p>{run(cell.lstrip('=^-!'))}</a:p>"
            "</a:txBody></a:tc>"
            for cell in row.split("|")
        )
        + "</a:tr>"
        for row in rows
    )
    return (
        "<p:graphicFrame><a:graphic><a:graphicData><a:tbl>"
        f'<a:tblPr firstRow="{int(first_row)}"/>{shown}</a:tbl></a:graphicData></a:graphic>'
        "</p:graphicFrame>"
    )


def pptx(
    *slides: str,
    hidden: Sequence[int] = (),
    notes: Mapping[int, str] | None = None,
    more: Mapping[str, str] | None = None,
    title: str = "",
) -> bytes:
    """Return a presentation of slides, given by their shapes.

    `hidden` numbers slides from 1, `notes` has shapes by slide, `more` has further parts, to which
    every slide refers by ids from `r2`: charts, or data of diagrams.
    """
    spaces = f'xmlns:p="{_SLIDES}" xmlns:a="{_DRAWING}" xmlns:r="{_RELATIONS}"'
    numbers = range(1, len(slides) + 1)
    order = "".join(f'<p:sldId r:id="r{i}" id="{255 + i}"/>' for i in numbers)
    parts = {
        "ppt/presentation.xml": f"<p:presentation {spaces}><p:sldIdLst>{order}</p:sldIdLst>"
        "</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            *(("slide", f"slides/slide{i}.xml") for i in numbers)
        ),
        "docProps/core.xml": f"<core><title>{title}</title></core>",
        **(more or {}),
    }
    beside = [("chart" if "chart" in name else "diagramData", f"/{name}") for name in more or {}]
    for i, shapes in zip(numbers, slides, strict=True):
        show = 'show="0"' if i in hidden else ""
        parts[f"ppt/slides/slide{i}.xml"] = f"<p:sld {spaces} {show}>{shapes}</p:sld>"
        own = ("notesSlide", f"../notesSlides/notes{i}.xml")
        parts[f"ppt/slides/_rels/slide{i}.xml.rels"] = relations(own, *beside)
        if notes and i in notes:
            parts[f"ppt/notesSlides/notes{i}.xml"] = f"<p:notes {spaces}>{notes[i]}</p:notes>"
    return package(parts)


def cell(place: str, value: str | float, style: int = 0) -> str:
    """Return a cell of a sheet: a number, a date's number, or text."""
    if isinstance(value, str):
        return f'<c r="{place}" s="{style}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{place}" s="{style}"><v>{value!r}</v></c>'


def sheet(*rows: str, after: str = "") -> str:
    """Return a sheet of rows of cells, empty ones left out; numbers are such, `=` starts text."""
    shown = ""
    for number, row in enumerate(rows, start=1):
        cells = row.split("|") if row else []
        shown += f'<row r="{number}">' + "".join(
            cell(f"{chr(ord('A') + i)}{number}", _value(text))
            for i, text in enumerate(cells)
            if text
        )
        shown += "</row>"
    return f"<sheetData>{shown}</sheetData>{after}"


def _value(text: str) -> str | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text.lstrip("=")


def xlsx(
    sheets: Mapping[str, str],
    *,
    styles: str = "",
    strings: str = "",
    hidden: Sequence[str] = (),
    comments: str = "",
    table: str = "",
    is_1904: bool = False,
) -> bytes:
    """Return a workbook of sheets by name; the comments and the table are the first sheet's."""
    spaces = f'xmlns="{_SHEETS}" xmlns:r="{_RELATIONS}"'
    names = list(sheets)
    listed = "".join(
        f'<sheet name="{name}" sheetId="{i}" state="{"hidden" if name in hidden else "visible"}" '
        f'r:id="r{i}"/>'
        for i, name in enumerate(names, start=1)
    )
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook {spaces}><workbookPr date1904="{int(is_1904)}"/>'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(
            *(("worksheet", f"worksheets/sheet{i}.xml") for i in range(1, len(names) + 1)),
            ("styles", "styles.xml"),
            ("sharedStrings", "/xl/sharedStrings.xml"),
        ),
        "xl/styles.xml": f"<styleSheet {spaces}>{styles}</styleSheet>",
        "xl/sharedStrings.xml": f"<sst {spaces}>{strings}</sst>",
        "xl/worksheets/_rels/sheet1.xml.rels": relations(
            ("comments", "../comments1.xml"), ("table", "../tables/table1.xml")
        ),
    }
    if comments:
        parts["xl/comments1.xml"] = f"<comments {spaces}>{comments}</comments>"
    if table:
        parts["xl/tables/table1.xml"] = f"<table {spaces} {table}/>"
    for i, name in enumerate(names, start=1):
        parts[f"xl/worksheets/sheet{i}.xml"] = f"<worksheet {spaces}>{sheets[name]}</worksheet>"
    return package(parts)


def odf(kind: str, body: str, *, styles: str = "", title: str = "", manifest: str = "") -> bytes:
    """Return an OpenDocument file: `text`, `presentation` or `spreadsheet`."""
    names = "office style text table draw presentation"
    spaces = (
        " ".join(
            f'xmlns:{name}="{_ODF}:{ {"draw": "drawing"}.get(name, name) }:1.0"'
            for name in names.split()
        )
        + f' xmlns:fo="{_ODF}:xsl-fo-compatible:1.0" xmlns:svg="{_ODF}:svg-compatible:1.0"'
    )
    content = (
        f"<office:document-content {spaces}><office:automatic-styles>{styles}"
        f"</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}>"
        "</office:body></office:document-content>"
    )
    return package(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": content,
            "meta.xml": f"<meta><title>{title}</title></meta>",
            "META-INF/manifest.xml": f"<manifest>{manifest}</manifest>",
        }
    )
