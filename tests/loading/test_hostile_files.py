"""Whatever the bytes, a loader gives text or an error with a code word, in bounded time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading import LOADERS, LoadedText, load_bytes

from ..cpu import LINEAR, growth
from .office_files import odf, pptx, sheet, xlsx
from .structure import assert_sound

CODES = {"no_text", "password", "unsupported", "broken", "limit", "encoding"}
SNIPPETS = [
    b"<table>", b"</td>", b"<tr><td>", b"<h1>", b"<p hidden>", b"<!--", b"<![CDATA[", b"<script>",
    b"</", b"&#x0;", b"# ", b"```", b"---\n", b"| a |", b"===\n", b"x\n", b'"', b",", b";", b"\t",
    b"{", b"[1,", b'"\\ud800"', b"}", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\x1b$B", b"\xe4",
    b"%PDF-1.4\n", b"1 0 obj\n", b"stream\n", b"PK\x03\x04", b"\r\n",
]  # fmt: skip
ELEMENTS = [
    "<p>", "</p>", "<r>", "</r>", "<t>x</t>", "<tbl>", "</tbl>", "<tr>", "</tr>", "<tc>", "</tc>",
    "<pStyle val='Heading1'/>", "<numId val='1'/>", "<ilvl val='2'/>", "<vMerge/>", "<pPrChange>",
    "</pPrChange>", "<gridSpan val='63'/>", "<vanish/>", "<tab/>", "<del>", "</del>",
]  # fmt: skip
contents = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(SNIPPETS), max_size=40).map(b"".join),
)


def outcome(data: bytes, name: str) -> LoadedText | str:
    """Return what a loader gives, or the code word of its error."""
    try:
        return load_bytes(data, name=name)
    except LoadError as error:
        return error.code


@pytest.mark.parametrize("suffix", sorted(set(LOADERS)))
@settings(max_examples=60, deadline=None)
@given(data=contents)
def test_any_bytes(suffix: str, data: bytes) -> None:
    """Any bytes give storable text with sound marks and parts, or a documented code word."""
    loaded = outcome(data, f"a{suffix}")
    if isinstance(loaded, str):
        assert loaded in CODES
        return
    loaded.text.encode()
    starts = [mark.start for mark in loaded.marks]
    assert loaded.text.strip()
    assert not {"\0", "\r"} & set(loaded.text)
    assert starts == sorted(starts)
    assert all(0 <= start < len(loaded.text) for start in starts)
    assert_sound(loaded.text, loaded.parts)


@settings(max_examples=60, deadline=None)
@given(body=st.lists(st.sampled_from(ELEMENTS), max_size=40))
def test_any_word_elements(body: list[str]) -> None:
    """Elements in any order, closed or not, are text or an error of a documented code word."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", f"<document>{''.join(body)}</document>")
    loaded = outcome(out.getvalue(), "a.docx")
    if isinstance(loaded, str):
        assert loaded in {"broken", "no_text"}
    else:
        assert set(loaded.text) <= set("x |\n-\t")
        assert_sound(loaded.text, loaded.parts)


@pytest.mark.parametrize(
    ("suffix", "unit", "head"),
    [
        (".html", b"<div>", b""),
        (".html", b"<table><tr><td>x", b""),
        (".html", b"<p>x<body>", b"<head>"),
        (".html", b"</b>", b"<i>" * 60),
        (".html", b"&#", b""),
        (".html", b"<a ", b""),
        (".html", b"<a b='", b""),
        (".html", b"<a b=\"'>", b""),
        (".html", b"<!--", b""),
        (".html", b"<![CDATA[", b""),
        (".html", b"<title>", b""),
        (".md", b"# ", b""),
        (".md", b" ", b"# x"),
        (".md", b"| ", b""),
        (".rst", b"=", b"x\n"),
        (".csv", b'"', b""),
        (".csv", b"\t ", b"a,b\n"),
        (".json", b" ", b"1"),
        (".txt", b"\xe4", b""),
    ],
)
def test_repetition_takes_linear_time(suffix: str, unit: bytes, head: bytes) -> None:
    """Four times as much of one thing costs about four times as much: no loader looks back."""

    def load(size: int) -> None:
        loaded = outcome(head + unit * (size // len(unit)), f"a{suffix}")
        assert not isinstance(loaded, str) or loaded in CODES

    assert growth(load, 2**15) < LINEAR


@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".csv", ".rst", ".jsonl"])
def test_ten_megabytes_on_one_line(suffix: str) -> None:
    """A line of ten megabytes comes out whole."""
    data = b"harbor " * (10 * 2**20 // 7)
    assert len(load_bytes(data, name=f"a{suffix}").text) >= len(data) - 7


def _titled(n: int) -> bytes:
    return pptx("x", title="&amp;" * n)


def _noted(n: int) -> bytes:
    note = "1<text:note-citation>1</text:note-citation>"
    return odf("text", f"<text:p>{note * n}</text:p>")


def _covered(n: int) -> bytes:
    return odf("spreadsheet", "<table:covered-table-cell/>" * n)


def _in_slide_cell(n: int) -> bytes:
    cell = "<a:tc><a:txBody>" + "<a:p><a:r><a:t>x</a:t></a:r></a:p>" * n + "</a:txBody></a:tc>"
    return pptx(f"<p:graphicFrame><a:tbl><a:tr>{cell}</a:tr></a:tbl></p:graphicFrame>")


def _merged(n: int) -> bytes:
    areas = "".join(f'<mergeCell ref="{letter}1:XFD1048576"/>' for letter in "ABCDEFGH" * (n // 8))
    return xlsx({"S": sheet(*["x|y"] * n, after=f"<mergeCells>{areas}</mergeCells>")})


def _blocks_far_apart(n: int) -> bytes:
    rows = (
        f'<row r="{3 * i}"><c r="A{3 * i}"><v>1</v></c><c r="XFD{3 * i}"><v>2</v></c></row>'
        for i in range(1, n)
    )
    return xlsx({"S": f"<sheetData>{''.join(rows)}</sheetData>"})


def _in_cell(n: int) -> bytes:
    cell = f"<table:table-cell>{'<text:p>x</text:p>' * n}</table:table-cell>"
    return odf("text", f"<table:table><table:table-row>{cell}</table:table-row></table:table>")


@pytest.mark.parametrize(
    ("suffix", "make"),
    [
        ("pptx", _in_slide_cell),
        ("pptx", _titled),
        ("xlsx", _merged),
        ("xlsx", _blocks_far_apart),
        ("odt", _in_cell),
        ("odt", _noted),
        ("ods", _covered),
    ],
    ids=["cell of a slide", "title", "merged", "far apart", "cell", "notes", "covered"],
)  # fmt: skip
def test_office_documents_take_linear_time(suffix: str, make: Callable[[int], bytes]) -> None:
    """Four times as much of one thing costs about four times as much."""

    def load(size: int) -> None:
        loaded = outcome(make(size), f"a.{suffix}")
        assert not isinstance(loaded, str) or loaded in CODES

    assert growth(load, 2**12) < LINEAR
