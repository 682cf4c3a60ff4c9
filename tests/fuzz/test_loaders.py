"""Damaged files: text that can be stored, cut and cited, or an error with a code word."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.chunking import SpanChunker
from ragkit.errors import LoadError
from ragkit.loading import LOADERS, LoadedText, load_bytes
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import ChunkerName, Document

from ..loading.office_files import odf, package, pptx, shape, sheet, slide_table, xlsx
from .lane import FUZZ, SLOW, lane_only, no_hang
from .mutating import mutated

FOUND = Path(__file__).parent / "found" / "loaders"
CODES = {"no_text", "password", "unsupported", "broken", "limit", "encoding"}
COUNTER = load_wordpiece()
CHUNKERS: tuple[ChunkerName, ...] = get_args(ChunkerName)
MAX_TOKENS = 30

PROSE = (
    "The ferry leaves the quay at nine. It returns after dark, e.g. at 10.30 p.m.\n\nDr. Olsen "
    "said: “Bring a coat!” Nobody did.\n"
)
WORD_DOCUMENT = (
    '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Ferries</w:t></w:r></w:p>'
    "<w:p><w:r><w:t>They leave </w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>not </w:t></w:r>"
    "<w:r><w:tab/><w:t>at nine.</w:t></w:r></w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>Quay</w:t></w:r>"
    "</w:p></w:tc><w:tc><w:p><w:r><w:t>4 &amp; 5</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:t>The end.</w:t></w:r></w:p>"
    "</w:body></w:document>"
)
WORD_STYLES = (
    '<w:styles xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    '<w:style w:styleId="Heading1"><w:name w:val="heading 1"/><w:basedOn w:val="Normal"/>'
    '<w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style></w:styles>'
)
WORD_NOTES = "<footnotes><footnote><p><r><t>A note.</t></r></p></footnote></footnotes>"
WORD_TITLE = "<coreProperties><title>Ferries of the bay</title></coreProperties>"
WORD_PARTS: Mapping[str, bytes] = {
    "word/document.xml": WORD_DOCUMENT.encode(),
    "word/styles.xml": WORD_STYLES.encode(),
    "word/footnotes.xml": WORD_NOTES.encode(),
    "docProps/core.xml": WORD_TITLE.encode(),
}
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1"
    b">>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<<"
    b"/Font<</F 5 0 R>>>>>>endobj\n4 0 obj<</Length 60>>stream\nBT /F 12 Tf 10 100 Td (The ferry "
    b"leaves at nine.) Tj ET      \nendstream endobj\n5 0 obj<</Type/Font/Subtype/Type1/BaseFont"
    b"/Helvetica>>endobj\ntrailer<</Root 1 0 R/Size 6/Info<</Title(Ferries)>>>>\n%%EOF\n"
)


ODF_BODY = (
    '<text:h text:outline-level="1">Bay</text:h><text:p>At <text:span text:style-name="S">nine'
    "</text:span>4<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>A."
    "</text:p></text:note-body></text:note></text:p><text:list><text:list-item><text:p>one</text:p>"
    '</text:list-item></text:list><table:table table:name="T"><table:table-row><table:table-cell '
    'table:number-columns-spanned="2"><text:p>Quay</text:p></table:table-cell>'
    "<table:covered-table-cell/></table:table-row></table:table>"
)
RTF = (
    rb"{\rtf1\ansi{\fonttbl{\f0 A;}{\f1\fcharset128 M;}}{\stylesheet{\s1 heading 1;}}{\info{\title T}}"
    rb"\s1 Bay\par\pard They\line leave {\v not }at \'e9\u8364?{\super 9}{\footnote A.}.\par"
    rb"{\listtext 1.\tab}\pard\ls1 One\par\trowd\clvmgf\cellx1\cellx2\pard\intbl Quay\cell 4\cell\row}"
)
OFFICE: Mapping[str, bytes] = {
    ".docx": package(WORD_PARTS),
    ".pptx": pptx(
        shape("Bay", placeholder="title")
        + slide_table("a|=b|-", "1|2|3")
        + shape("x", hidden=True),
        shape("one", "two", placeholder="body"),
        notes={1: shape("Mind.", placeholder="body")},
        hidden=[2],
    ),
    ".xlsx": xlsx(
        {"A": sheet("t", "a|b|c", "1|2.5|x", after='<mergeCell ref="A1:C1"/>'), "B": sheet("y")},
        styles='<cellXfs><xf numFmtId="14"/></cellXfs>',
        comments='<comment ref="A1"><text><t>Why?</t></text></comment>',
        hidden=["B"],
    ),
    ".odt": odf("text", ODF_BODY, title="Ferries"),
    ".odp": odf("presentation", f'<draw:page draw:style-name="S">{ODF_BODY}</draw:page>'),
    ".ods": odf("spreadsheet", ODF_BODY),
}


def parts_of(data: bytes) -> dict[str, bytes]:
    """Return the parts of a package."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


SEEDS: Mapping[str, Sequence[bytes]] = {
    ".txt": [
        PROSE.encode(),
        "Fähren fahren früh, größere später – für 5 € auch nachts.".encode("cp1252"),
        "東京は晴れです。フェリーは九時に出ます。".encode("cp932"),
        "Паром отходит в девять часов утра.".encode("koi8-r"),
        "The quay is closed.".encode("utf-16"),
        "The quay is closed on Sunday.".encode("utf-16-be"),
        "フェリーは九時に出ます。".encode("iso2022_jp"),
    ],
    ".md": [
        b"---\ntitle: Ferries\nyear: 2024\n---\n# Bay\n\nText.\n\n## Quay\n\n- one\n- two\n\n```py\n"
        b"x = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nTitle\n=====\nMore text here.\n"
    ],
    ".rst": [
        b"=====\nFerry\n=====\n\nQuay\n----\n\nText of it.\n\n.. note::\n   Inside.\n\nPier\n----\nEnd.\n"
    ],
    ".html": [
        b"<!doctype html><html><head><meta charset='utf-8'><title>Ferries</title><style>p{}</style></head>"
        b"<body><h1>Bay</h1><p>They leave&nbsp;at <b>nine</b>.<p hidden>not<ul><li>one<li>two</ul>"
        b"<table><tr><th>Quay<th>Time</tr><tr><td>4</td><td>9.30</td></tr></table><pre> a\n  b</pre>"
        b"<div style='display: none'>no</div><!-- c --><script>x<y</script><p>&#x27;&amp;&eacute;</body></html>"
    ],
    ".csv": [
        b'Report of May\nname,price,quay\nTea,2,"a, ""b"""\nCoffee,3,"two\nlines"\n\nMilk,1,4\n',
        b"name\tprice\nTea\t2\nCoffee\t3\n",
        b"a;b;c\n1;2,5;3\n",
    ],
    ".jsonl": [b'{"a": 1, "b": [1, {"c": "x"}]}\n{"text": "The ferry."}\nnot json\n\n[1, 2]\n'],
    ".json": [
        b'{"title": "Ferries", "quays": [{"name": "north", "boats": [1, 2.5, null]}, {"name": "\\u00e9"}]}',
        b'[{"a": {"b": {"c": "deep"}}}, "text", 3, true]',
    ],
    ".rtf": [RTF],
    ".pdf": [PDF],
    ".xml": [
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'bay'>]><article><front><article-meta><title-group>"
        b"<article-title>The &b;</article-title></title-group></article-meta></front><body><sec><label>1"
        b"</label><title>Quay</title><p>It <sup>2</sup> is.</p><list list-type='order'><list-item><p>a</p>"
        b"</list-item></list><table><tr><td colspan='2'>1</td></tr></table></sec></body></article>",
        b"<rss><channel><item><title>A</title><description>&lt;p&gt;B&lt;/p&gt;</description></item>"
        b"</channel></rss>",
    ],
    ".eml": [
        b"Subject: =?utf-8?q?F=C3=A4hre?=\nDate: Mon, 3 Jun 2024 09:30:00 +0200\nContent-Type: multipart/mixed; "
        b"boundary=b\n\n--b\nContent-Type: text/plain; charset=latin-1\n\nThe ferry.\n--b\nContent-Type: "
        b"text/html\nContent-Transfer-Encoding: base64\n\nPHA+SGk=\n--b\nContent-Disposition: attachment; "
        b"filename=a.txt\n\nx\n--b--\n"
    ],
    ".mbox": [
        b"From a@b Mon Jun 03 09:30:00 2024\nSubject: One\n\nFirst.\n>From here.\n\nFrom a@b Tue Jun 04 "
        b"09:30:00 2024\n\nSecond.\n"
    ],
    ".ipynb": [
        b'{"cells": [{"cell_type": "markdown", "source": ["# A\\n", "b"]}, {"cell_type": "code", "source": "x = 1", '
        b'"outputs": [{"data": {"image/png": "iVBO", "text/plain": "1"}}]}], "nbformat": 4}'
    ],
    ".toml": [b'a = 1\n\n[server]\nport = 80\n\n[[x.y]]\nz = "w"\n', b"a:\n  b: 1\nc: |\n  d\n"],
    ".py": [
        b'"""Doc."""\n\nimport os\n\n@a\ndef f(x):\n    return 1\n\nclass B:\n    def c(self): ...\n'
    ],
    ".adoc": [b"= A\n:b: c\n\n== D\n\nYou:\n\n* e\n* f\n\n----\ng\n----\n|===\n|h |i\n|===\n"],
    ".org": [b"#+TITLE: A\n* TODO B\n:C: d\n#+BEGIN_SRC\ne\n#+END_SRC\n| f | g |\n|---+---|\n"],
    ".tex": [
        b"\\title{A}\\begin{document}\n\\section{B}\n% c\n\\begin{verbatim}\nd\n\\end{verbatim}\n"
    ],
    ".vtt": [
        b"WEBVTT\n\nNOTE a\n\n00:01.000 --> 00:02.000\n<v A>B <i>c</i>\n\n00:09.000 --> 00:10.000\nd\n"
    ],
    **{suffix: [data] for suffix, data in OFFICE.items()},
}
WORDS: Mapping[str, Sequence[bytes]] = {
    ".md": [b"#", b"```", b"~~~", b"---\n", b"===\n", b"| a |", b"- ", b"\n\n", b"    "],
    ".rst": [b"====\n", b"----\n", b"\n\n", b".. x::"],
    ".html": [
        b"<table>", b"</table>", b"<tr>", b"<td>", b"<h1>", b"</h1>", b"<p>", b"<pre>", b"<body>", b"<!--",
        b"-->", b"<![CDATA[", b"<script>", b"</script", b"<title>", b"&#", b"&#x0;", b"&#99999999999;", b"&amp",
        b"<svg>", b"<a b='", b"<br/>", b"<meta charset=utf-16>", b"<meta charset=idna>", b"style='opacity:0'",
    ],
    ".csv": [b",", b";", b"\t", b"|", b'""', b"\n"],
    ".jsonl": [b"{", b"]", b'"\\ud800"', b"1e999", b"NaN", b"9" * 5000, b"[" * 300, b"\n"],
    ".json": [b"{", b"]", b'"\\ud800"', b"1e999", b"NaN", b"9" * 5000, b"[" * 300, b'{"a":' * 250],
    **{suffix: [b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"] for suffix in OFFICE},
    ".rtf": [b"{", b"}", b"\\par ", b"\\cell ", b"\\row ", b"\\bin9 ", b"\\'81", b"\\u-1?", b"\\*"],
    ".pdf": [
        b"<<", b">>", b"endobj", b"stream", b"/Kids[2 0 R]", b"/Filter/FlateDecode", b"/Length 999999999",
        b"/Encrypt 5 0 R", b"/Count 999999999", b"/W[1 2 1]", b"/Filter[/ASCII85Decode/LZWDecode]", b"%%EOF",
    ],
}  # fmt: skip
PART_WORDS = [
    b"<w:p>", b"</w:p>", b"<w:tbl>", b"<w:tr>", b"<w:tc>", b"<w:t>", b"</w:t>", b"<!DOCTYPE a>", b"&#0;",
    b"&a;", b"<![CDATA[", b'<w:outlineLvl w:val="\xc2\xb2"/>', b'<w:numId w:val="1"/>', b"<?xml version='1.0' "
    b"encoding='utf-16'?>", b"<w:tab/>", b"<w:moveFrom>",
]  # fmt: skip


def check(data: bytes, suffix: str) -> None:
    """Load a file as ingest does and cut what comes out."""
    try:
        with no_hang():
            loaded = load_bytes(data, name=f"a{suffix}")
    except LoadError as error:
        assert error.code in CODES
        # What our own loaders raise is ours to know.
        assert not (error.code == "broken" and isinstance(error.__cause__, _UNEXPECTED)), repr(
            error.__cause__
        )
        return
    check_loaded(loaded)


_UNEXPECTED = (
    AssertionError, AttributeError, IndexError, TypeError, RecursionError, ZeroDivisionError, UnicodeError,
    OverflowError, StopIteration,
)  # fmt: skip


def check_loaded(loaded: LoadedText) -> None:
    """Hold what a loader gives against what it promises."""
    assert loaded.text.strip()
    assert not {"\0", "\r"} & set(loaded.text)
    loaded.text.encode()
    loaded.title.encode()
    assert "\n" not in loaded.title
    json.dumps(dict(loaded.metadata), allow_nan=False).encode()
    starts = [mark.start for mark in loaded.marks]
    assert starts == sorted(starts)
    assert all(0 <= start < len(loaded.text) for start in starts)
    for mark in loaded.marks:
        json.dumps(mark.location.to_dict(), allow_nan=False, ensure_ascii=False).encode()
    document = Document(id="d", text=loaded.text, marks=tuple(loaded.marks))
    for name in CHUNKERS:
        check_chunks(document, name)


def check_chunks(document: Document, name: ChunkerName, max_tokens: int = MAX_TOKENS) -> None:
    """Cut a document; the chunks are spans that cover it, with sentences inside."""
    text = document.text
    with no_hang():
        chunks = SpanChunker(name=name, counter=COUNTER, max_tokens=max_tokens).split(document)
    at = 0
    for chunk in chunks:
        assert at <= chunk.start < chunk.end <= len(text)
        assert not text[at : chunk.start].strip()
        assert chunk.text == text[chunk.start : chunk.end]
        assert all(chunk.start <= a < b <= chunk.end for a, b in chunk.sentences)
        assert all(mark.start < chunk.end for mark in chunk.marks)
        if name != "whole" and chunk.end - chunk.start > 1:
            assert chunk.n_tokens <= max_tokens
        at = chunk.end
    assert not text[at:].strip()


@st.composite
def damaged_package(draw: st.DrawFn, suffix: str) -> bytes:
    """Return an office document of which parts are damaged."""
    parts = parts_of(OFFICE[suffix])
    for name in draw(st.sets(st.sampled_from(sorted(parts)), min_size=1)):
        parts[name] = draw(mutated(list(parts.values()), PART_WORDS))
    return package(parts)


@pytest.mark.parametrize("suffix", sorted(SEEDS))
@FUZZ
@given(data=st.data())
def test_damaged_files(suffix: str, data: st.DataObject) -> None:
    """A damaged file of any format gives whole text or a documented code word."""
    check(data.draw(mutated(SEEDS[suffix], WORDS.get(suffix, ()))), suffix)


@pytest.mark.parametrize("suffix", sorted(OFFICE))
@FUZZ
@given(data=st.data())
def test_damaged_parts_of_office_documents(suffix: str, data: st.DataObject) -> None:
    """The parts inside an office document may be damaged, missing or another's."""
    check(data.draw(damaged_package(suffix)), suffix)


@FUZZ
@given(st.data())
def test_a_file_under_another_name(data: st.DataObject) -> None:
    """The content of one format under the name of another is text or a documented code word."""
    suffix = data.draw(st.sampled_from(sorted(LOADERS)))
    seeds = [seed for others in SEEDS.values() for seed in others]
    words = [word for others in WORDS.values() for word in others]
    check(data.draw(mutated(seeds, words)), suffix)


@lane_only
@pytest.mark.parametrize("suffix", sorted(set(SEEDS) - {".pdf"}))
@SLOW
@given(data=st.data())
def test_cost_grows_with_size(suffix: str, data: st.DataObject) -> None:
    """Eight times as much of anything takes at most 24 times the CPU time, where that shows at all."""
    import time

    unit = data.draw(mutated(SEEDS[suffix], WORDS.get(suffix, ())))[:60]
    head = data.draw(mutated(SEEDS[suffix], WORDS.get(suffix, ())))[:200]
    if suffix in OFFICE or not unit:
        return
    seconds: list[float] = []
    for n_bytes in (8_000, 64_000):
        began = time.process_time()
        check(head + unit * (n_bytes // len(unit)), suffix)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 2.0 or seconds[1] < 24 * seconds[0], (seconds, unit, head)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_found(path: Path) -> None:
    """What was found stays mended."""
    check(path.read_bytes(), path.suffix)
