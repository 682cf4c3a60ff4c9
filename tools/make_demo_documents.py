"""Make the demo's PDF and Word documents, byte for byte, with the standard library.

python tools/make_demo_documents.py
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parent.parent / "examples" / "harbor"

PDF_PAGES = {
    "emergency_plan.pdf": (
        (
            "Emergency plan",
            "This plan applies to all vessels of Skerry Ferries and to the quay at Northquay.",
            "Whoever discovers a fire presses the nearest alarm button and calls the bridge on",
            "extension 9. The bridge closes the fire doors within thirty seconds.",
            "Carbon dioxide is released into the engine room only on the order of the master,",
            "after the chief engineer has reported that nobody is left inside.",
        ),
        (
            "Man overboard",
            "Throw the nearest lifebuoy, keep pointing at the person, and call the bridge.",
            "The rescue boat of the Gannet is launched from the port side and needs a crew of",
            "three. It must be in the water within five minutes.",
            "Exercises are held on the last Thursday of every month and are entered in the log.",
        ),
        (
            "Oil spill",
            "A spill of more than twenty litres is reported to the coast guard on VHF channel 16.",
            "Forty metres of floating boom are stored in the container beside berth 3. The key",
            "to the container hangs in the office of the harbour master.",
        ),
    ),
    "charter_terms.pdf": (
        (
            "Terms for charters",
            "The Puffin may be chartered from October to April, for at most 120 guests.",
            "The first three hours cost 1,950 euros, each further hour 420 euros, crew included.",
            "A deposit of thirty per cent is due on booking.",
        ),
        (
            "Cancelling a charter",
            "Up to 30 days before the trip a charter is cancelled free of charge. Later, the",
            "deposit is kept. If the wind exceeds 9 Beaufort the company cancels and pays",
            "everything back.",
        ),
    ),
}

WORD_BLOCKS: dict[str, Sequence[tuple[str, str | Sequence[Sequence[str]]]]] = {
    "training_plan.docx": (
        ("Heading1", "Training plan 2025"),
        ("", "Every colleague takes part in at least two days of training a year."),
        ("Heading2", "Deck crew"),
        ("", "The course on mooring lines takes place on 14 May in the training hall, and is "
             "held by Idris Vaughan. Safety shoes are required."),
        ("Heading2", "Courses"),
        ("table", (
            ("Course", "Date", "Places", "Language"),
            ("First aid", "3 March", "16", "English"),
            ("Fire fighting", "22 September", "10", "English"),
            ("Customer care", "6 November", "24", "German"),
        )),
        ("Heading2", "Costs"),
        ("", "The company pays courses in full. Travel is paid by the kilometre, at 0.38 euros."),
    ),
    "cleaning_contract.docx": (
        ("Heading1", "Cleaning of the terminal"),
        ("", "The terminal is cleaned every evening after the last arrival, by Brightwater."),
        ("Heading2", "Windows"),
        ("", "Windows are cleaned four times a year, in the first week of each quarter."),
        ("Heading2", "Notice"),
        ("", "The contract ends with a notice of ten weeks to the end of a month."),
    ),
}  # fmt: skip

_NAMESPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def make_pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """Return a PDF of text lines (ISO 32000-1, 7.5), the first of each page larger."""
    n = len(pages)
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {n} /Kids [{' '.join(f'{4 + 2 * i} 0 R' for i in range(n))}] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for i, lines in enumerate(pages):
        content = f"BT /F1 18 Tf 72 770 Td ({_text(lines[0])}) Tj /F1 11 Tf 0 -34 Td 16 TL"
        content += "".join(f" ({_text(line)}) Tj T*" for line in lines[1:]) + " ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * i} 0 R >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    raw, offsets = "%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, start=1):
        offsets.append(len(raw))
        raw += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    raw += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    start = raw.index("xref\n")
    raw += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return raw.encode("cp1252")


def _text(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def make_docx(path: Path, blocks: Sequence[tuple[str, str | Sequence[Sequence[str]]]]) -> None:
    """Write a Word document of paragraphs, headings and tables."""
    body = "".join(_block(style, content) for style, content in blocks)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{_OFFICE}.document.main+xml"/>'
        f'<Override PartName="/word/styles.xml" ContentType="{_OFFICE}.styles+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_NAMESPACE}"><w:body>{body}</w:body>'
        "</w:document>",
        "word/styles.xml": f'<w:styles xmlns:w="{_NAMESPACE}">'
        + "".join(
            f'<w:style w:type="paragraph" w:styleId="Heading{i}"><w:name w:val="heading {i}"/>'
            "</w:style>"
            for i in (1, 2)
        )
        + "</w:styles>",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, xml in parts.items():
            information = zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0))
            information.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(information, f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}')


def _block(style: str, content: str | Sequence[Sequence[str]]) -> str:
    if not isinstance(content, str):
        rows = (
            "<w:tr>" + "".join(f"<w:tc>{_block('', cell)}</w:tc>" for cell in row) + "</w:tr>"
            for row in content
        )
        return f"<w:tbl>{''.join(rows)}</w:tbl>"
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    text = f'<w:r><w:t xml:space="preserve">{escape(content)}</w:t></w:r>'
    return f"<w:p>{properties}{text}</w:p>"


def make(folder: Path) -> list[str]:
    """Write all documents and return their names."""
    for name, pages in PDF_PAGES.items():
        (folder / name).write_bytes(make_pdf(pages))
    for name, blocks in WORD_BLOCKS.items():
        make_docx(folder / name, blocks)
    return [*PDF_PAGES, *WORD_BLOCKS]


if __name__ == "__main__":
    print(*make(FOLDER), sep="\n")
