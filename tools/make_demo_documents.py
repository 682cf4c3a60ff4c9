"""Write the PDF and Word files of the demo corpus, byte for byte the same each time.

Run it from the repository's root: `python tools/make_demo_documents.py [FOLDER]`. Standard library
only. Text is a list of lines: `# ` starts a heading, `| ` a table row, and an empty line ends a
page of a PDF.
"""

# ruff: noqa: E501 (a paragraph of a document is one line)
from __future__ import annotations

import io
import sys
import textwrap
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

LASER_SAFETY = """\
# Laser cutter: safety and use
This guide belongs to the laser cutter of Harbor Workshop, called Lighthouse. It is a carbon dioxide laser of 100 watts with a bed of 900 by 600 millimetres. It is a machine of the red class: you need the course Laser cutter basics and a refresher each year.
# Before you start
Put your badge on the reader; the key switch is unlocked for people with a valid course only. Check that the hose of the air assist sits firmly on its nozzle, that the honeycomb bed is free of small pieces, and that the carbon dioxide extinguisher hangs on its bracket. Close the lid. Switch on the chiller first, then the extraction fan, then the laser. The water of the chiller must be between 16 and 24 degrees.
# While it cuts
Stay within two metres of the machine and keep your eyes on it. Never leave it, not even to fetch a drink. Small flames that go out by themselves are normal; a flame that stands for three seconds is a fire. Press the red stop button, keep the lid closed, and wait. If the flame does not go out within ten seconds, use the extinguisher.

# After the last cut
Leave the extraction fan running for four minutes after the last cut before you open the lid, since fumes stay in the chamber. For acrylic it is six minutes. Then take out your pieces, empty the crumb tray when it is half full, and wipe the lens cover with a dry cloth. Switch off the laser, then the chiller, then the fan. Enter your minutes in the book: a started quarter of an hour counts as a whole one.
# Materials
Allowed are plywood up to 8 millimetres, acrylic up to 10 millimetres, paper, cardboard up to 4 millimetres, felt, cork, and leather tanned with plants. Never cut PVC, vinyl or artificial leather that contains chlorine: the gas harms your lungs and destroys the machine within hours. Polycarbonate burns instead of cutting. Ask the laser lead, Mara Lindqvist, about anything that is not on the list; she tests a sample of it on Fridays.
# Settings to begin with
Plywood of 4 millimetres: 18 millimetres a second at 65 percent power. Acrylic of 3 millimetres: 14 millimetres a second at 60 percent. Cardboard of 3 millimetres: 60 millimetres a second at 30 percent, with the air assist at full pressure.
"""

ANNUAL_REPORT = """\
# Annual report 2024
In 2024 Harbor Workshop was open on 297 days. The visitors' book counts 18,240 visits, nine percent more than in the year before. At the end of the year the association had 386 regular members and 71 key holders. Forty-three volunteers worked 2,960 hours.
# What was new
In March the resin printer arrived, a gift of the harbor authority. In May the roof over the yard was renewed. From September on, the Saturday club had a second group for a term, paid for by the town. The busiest machine was the laser cutter with 1,104 hours, followed by the band saw with 655 hours.
# Accidents
Seven small injuries were noted in the first-aid book, all of them cuts and burns that needed a plaster. The table saw's cartridge was triggered twice, once by a nail and once by wet oak.

# Income and expenses
Income came to 214,600 euros: 131,900 euros from membership fees, 38,200 euros from machine hours and courses, 30,000 euros from the town of Saltmere, and 14,500 euros from donations. Expenses came to 209,300 euros: 84,000 euros for rent, 61,400 euros for wages, 33,700 euros for machines and repairs, 18,900 euros for electricity and heating, and 11,300 euros for everything else. The surplus of 5,300 euros goes into the reserve for the kiln.
# Energy
The workshop used 41,800 kilowatt hours of electricity. The solar panels on the roof gave 12,600 kilowatt hours of these. The kiln alone took 9,150 kilowatt hours; since October it is fired at night, when the roof of the hall does not need cooling.

# Plans for 2025
The dust extraction of the woodshop is to be replaced in January for 27,500 euros. A lift to the upper floor is planned for the autumn, if the town pays its half. The members' meeting elects a new board on 22 May 2025 in the small hall.
Priya Nair, treasurer
"""

MINUTES = """\
# Minutes of the board meeting of 11 February 2025
Present: Aylin Brandt, Jonas Feld, Priya Nair, Tomas Veld. Excused: Rosa Imhof. The meeting began at 19:05 in the Chart room and ended at 20:50.
# Opening hours on Sundays
Members asked for longer hours on Sundays. The neighbours in Rope Lane have asked for quiet. The board decides by three votes to one to keep Sundays from 12:00 to 18:00, and to try Sunday openings at 11:00 in November only.
# Lift to the upper floor
The offer of the builder is 92,000 euros. The town has promised half of it, provided that work begins before 30 September 2025. Jonas Feld writes the application until 15 March. The electronics bench moves to the small hall for the six weeks of the work.
# Coffee
The price of a coffee stays at 60 cents. Broken cups were 31 last year; Tomas Veld turns wooden ones as a trial.
# Decisions
| Number | Decision | Who | Until
| 2025-04 | apply for the lift | Jonas Feld | 15 March
| 2025-05 | test Sunday opening at 11:00 | Aylin Brandt | November
| 2025-06 | buy twenty new chairs, 1,100 euros at most | Priya Nair | 1 April
# Next meeting
The next meeting is on 8 April 2025 at 19:00.
"""

CERAMICS = """\
# Kiln and ceramics
The kiln, called Vesuvius, holds 120 litres and reaches 1280 degrees. It stands in the brick room behind the yard. Only people who have done the course Kiln and glazes may load and start it.
# Firing days
Bisque firings start on Tuesday at 20:00, glaze firings on Friday at 20:00. A firing takes about eleven hours, cooling down another eighteen. Nobody opens the lid above 90 degrees, not even a little.
# Loading
Clay must be bone dry: hold the piece to your cheek, and if it feels cold, wait another day. Leave 5 millimetres between pieces and 20 millimetres to the heating wires. Wipe glaze from the lowest 3 millimetres. Every piece carries your member number, scratched into its foot.
# Programmes
| Programme | Top temperature | Hold | For
| 1 | 960 degrees | 15 minutes | bisque
| 2 | 1060 degrees | 10 minutes | earthenware glaze
| 3 | 1240 degrees | 20 minutes | stoneware glaze
# Glazes
Glazes from the shelf with a green dot are safe for food. Those with a yellow dot are for decoration only, because they contain copper or manganese. Mix powders under the hood and wear a mask of class FFP3.
# Pieces left behind
Finished pieces wait on the shelf beside the door for four weeks. After that they are sold at the harbor festival for the youth programme.
"""

_PAGE_WIDTH, _PAGE_HEIGHT, _MARGIN = 595, 842, 64
"""A4 in points."""


def pdf(title: str, text: str) -> bytes:
    """Return a PDF with a page for each part of the text, set in Helvetica (PDF 1.4)."""
    pages = [_page_content(part) for part in text.strip().split("\n\n")]
    page_ids = [5 + 2 * i for i in range(len(pages))]
    kids = " ".join(f"{number} 0 R" for number in page_ids)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Title (" + _pdf_string(title) + b") >>",
    ]
    for number, content in zip(page_ids, pages, strict=True):
        box = f"[0 0 {_PAGE_WIDTH} {_PAGE_HEIGHT}]"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents {number + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    return _assembled(objects)


def _assembled(objects: list[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\n" % (len(objects) + 1)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % table)


def _page_content(part: str) -> bytes:
    lines: list[bytes] = []
    y = _PAGE_HEIGHT - _MARGIN
    for paragraph in part.split("\n"):
        is_heading = paragraph.startswith("# ")
        size = 15 if is_heading else 11
        y -= 10
        for line in textwrap.wrap(paragraph.removeprefix("# "), 62 if is_heading else 86):
            y -= size + 4
            shown = _pdf_string(line)
            lines.append(b"BT /F1 %d Tf %d %d Td (%s) Tj ET" % (size, _MARGIN, y, shown))
    return b"\n".join(lines)


def _pdf_string(text: str) -> bytes:
    raw = text.encode("cp1252")
    return raw.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


_NAMESPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_HEADER = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_WORD_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def docx(title: str, text: str) -> bytes:
    """Return a Word document with headings, paragraphs and tables (ECMA-376)."""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{_WORD_TYPE}.document.main+xml"/>'
        f'<Override PartName="/word/styles.xml" ContentType="{_WORD_TYPE}.styles+xml"/>'
        '<Override PartName="/docProps/core.xml" '
        'ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>',
        "_rels/.rels": _relationships(
            (f"{_OFFICE}/relationships/officeDocument", "word/document.xml"),
            (f"{_PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
        ),
        "word/_rels/document.xml.rels": _relationships(
            (f"{_OFFICE}/relationships/styles", "styles.xml")
        ),
        "word/document.xml": f'<w:document xmlns:w="{_NAMESPACE}"><w:body>{_body(text)}'
        "</w:body></w:document>",
        "word/styles.xml": f'<w:styles xmlns:w="{_NAMESPACE}">'
        '<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/>'
        '<w:pPr><w:outlineLvl w:val="0"/></w:pPr><w:rPr><w:b/><w:sz w:val="30"/></w:rPr></w:style>'
        "</w:styles>",
        "docProps/core.xml": f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>{escape(title)}</dc:title></cp:coreProperties>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            # A fixed time and no compression: the same bytes on every machine.
            archive.writestr(zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0)), _HEADER + content)
    return out.getvalue()


def _relationships(*targets: tuple[str, str]) -> str:
    links = "".join(
        f'<Relationship Id="rId{number}" Type="{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>'


def _body(text: str) -> str:
    pieces: list[str] = []
    rows: list[str] = []
    for line in [*text.strip().split("\n"), ""]:
        if line.startswith("| "):
            cells = (f"<w:tc>{_paragraph(cell.strip())}</w:tc>" for cell in line[2:].split("|"))
            rows.append(f"<w:tr>{''.join(cells)}</w:tr>")
            continue
        if rows:
            borders = '<w:tblPr><w:tblW w:w="0" w:type="auto"/></w:tblPr>'
            pieces.append(f"<w:tbl>{borders}{''.join(rows)}</w:tbl>")
            rows.clear()
        if line.startswith("# "):
            pieces.append(_paragraph(line[2:], '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'))
        elif line:
            pieces.append(_paragraph(line))
    return "".join(pieces)


def _paragraph(text: str, properties: str = "") -> str:
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def main(folder: Path) -> None:
    """Write all files into the folder."""
    files = {
        "laser-safety.pdf": pdf("Laser cutter: safety and use", LASER_SAFETY),
        "annual-report-2024.pdf": pdf("Annual report 2024", ANNUAL_REPORT),
        "minutes-2025-02.docx": docx("Minutes of 11 February 2025", MINUTES),
        "ceramics.docx": docx("Kiln and ceramics", CERAMICS),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        print(f"{folder / name}: {len(content):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples/harbor"))
