"""One question a format: what is cited says where in the file the answer stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ..loading.office_files import odf, pptx, shape, sheet, slide_table, xlsx
from ..loading.test_formats import paragraph, word
from .command import run, valid

ROWS = ("Berth fees", "Berth|Season|Fee", "Inner|Summer|30", "Outer|Winter|12", "Pier|Autumn|17")


def opendocument_table(*rows: str) -> str:
    """Return rows of a table, cells apart by `|`."""
    return "".join(
        "<table:table-row>"
        + "".join(
            f"<table:table-cell><text:p>{text}</text:p></table:table-cell>"
            for text in row.split("|")
        )
        + "</table:table-row>"
        for row in rows
    )


FILES: Mapping[str, bytes] = {
    "crane.pptx": pptx(
        shape("Welcome", placeholder="title"),
        shape("Using the crane", placeholder="title")
        + shape("The crane lifts boats of up to nine tonnes.", "Book it a day before."),
        notes={2: shape("The crane driver is Ada.", placeholder="body")},
    ),
    "lights.pptx": pptx(
        shape("Lights", placeholder="title") + slide_table("Light|Colour", "Head|red")
    ),
    "fees.xlsx": xlsx({"Notes": sheet("Prices hold until May."), "Fees": sheet(*ROWS)}),
    "tides.ods": odf(
        "spreadsheet",
        '<table:table table:name="Tides">'
        + opendocument_table("Day|Tide", "Monday|0640", "Tuesday|0725")
        + "</table:table>",
    ),
    "rescue.odp": odf(
        "presentation",
        "<draw:page><draw:frame presentation:class='title'><draw:text-box><text:p>Rescue</text:p>"
        "</draw:text-box></draw:frame><draw:frame><draw:text-box><text:p>The lifeboat is moored "
        "at the northern slip.</text:p></draw:text-box></draw:frame></draw:page>",
    ),
    "waste.odt": odf(
        "text",
        "<text:h text:outline-level='1'>Rules</text:h><text:h text:outline-level='2'>Waste</text:h>"
        "<text:p>Old batteries go into the yellow container.</text:p>",
    ),
    "noise.rtf": rb"{\rtf1\ansi{\stylesheet{\s1 heading 1;}}\s1 Noise\par\pard "
    rb"Engines are silent after eleven at night.\par}",
    "key.docx": word(
        paragraph("Keys", '<w:pStyle w:val="Heading1"/>')
        + paragraph("The deposit for a key is forty euros.")
    ),
    "shop.csv": b"article,shelf\nShackle,14\nFender,27\n",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of a file in each format."""
    folder = tmp_path_factory.mktemp("formats")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    arguments = ["--store", str(folder / "kb"), "--embedder", "none", "--json"]
    report = json.loads(run("ingest", *(str(folder / name) for name in FILES), *arguments).stdout)
    assert not report["failures"]
    return folder / "kb"


@pytest.mark.parametrize(
    ("question", "document", "text", "location"),
    [
        (
            "How many tonnes does the crane lift?",
            "crane.pptx",
            "nine tonnes",
            {"slide": 2, "heading": ["Using the crane"]},
        ),
        (
            "Who is the crane driver?",
            "crane.pptx",
            "Ada",
            {"slide": 2, "heading": ["Using the crane"]},
        ),
        (
            "What colour is the head light?",
            "lights.pptx",
            "red",
            {"slide": 1, "heading": ["Lights"]},
        ),
        (
            "What is the winter fee of the outer berth?",
            "fees.xlsx",
            "12",
            {"sheet": "Fees", "cells": "A4:C4"},
        ),
        ("When is the tide on Tuesday?", "tides.ods", "0725", {"sheet": "Tides", "cells": "A3:B3"}),
        (
            "Where is the lifeboat moored?",
            "rescue.odp",
            "slip",
            {"slide": 1, "heading": ["Rescue"]},
        ),
        ("Where do old batteries go?", "waste.odt", "yellow", {"heading": ["Rules", "Waste"]}),
        ("When are engines silent?", "noise.rtf", "eleven", {"heading": ["Noise"]}),
        ("What is the deposit for a key?", "key.docx", "forty", {"heading": ["Keys"]}),
        ("On which shelf are fenders?", "shop.csv", "27", {"cells": "A3:B3"}),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_citation_names_the_place(
    store: Path, question: str, document: str, text: str, location: Mapping[str, object]
) -> None:
    """The citation with the answer has its slide, its sheet and cells, or its heading."""
    answer = valid(run("ask", question, "--store", str(store), "--json").stdout, "ask")
    cited = [citation for citation in answer["citations"] if text in citation["text"]]
    assert [(c["document_id"], c["location"]) for c in cited][:1] == [(document, location)], answer[
        "answer"
    ]
