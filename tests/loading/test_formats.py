"""What each loader gives for a small file of its format."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading import LOADERS, LoadedText, load_bytes
from ragkit.types import Mark

from .structure import outline

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


ENCRYPTED = Path(__file__).parents[1] / "fixtures" / "encrypted_pdf"


def load(name: str, content: str | bytes, password: str | None = None) -> LoadedText:
    """Load a file of this name and content."""
    data = content.encode() if isinstance(content, str) else content
    return load_bytes(data, name=name, password=password)


def code_of(name: str, content: str | bytes, password: str | None = None) -> str:
    """Return the code word of the error that loading raises."""
    with pytest.raises(LoadError) as caught:
        load(name, content, password)
    return caught.value.code


def at(loaded: LoadedText, words: str) -> Mark:
    """Return the mark that holds where these words stand."""
    start = loaded.text.index(words)
    return [mark for mark in loaded.marks if mark.start <= start][-1]


def pages_of(*pages: str, title: str = "", broken_page: int = 0) -> bytes:
    """Return a PDF with one line of text a page, written by hand; one page may be unreadable."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        f"<< /Title ({title}) >>",
    ]
    for i, page in enumerate(pages):
        content = f"BT /F1 12 Tf 50 700 Td ({page}) Tj ET" if page else ""
        font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
        body = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * i} 0 R "
            f"/Resources << /Font << /F1 {font} >> >> >>"
        )
        objects.append("null" if i + 1 == broken_page else body)
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    out, offsets = "%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    xref = f"xref\n0 {size}\n0000000000 65535 f \n{table}"
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R /Info 3 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return (out + xref + trailer).encode("latin-1")


def word(body: str, **parts: str) -> bytes:
    """Return a Word document with this body; `parts` name more, `_` standing for `/`."""
    document = f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", document)
        for name, content in parts.items():
            archive.writestr(name.replace("_", "/") + ".xml", content)
    return out.getvalue()


def paragraph(text: str, properties: str = "", run: str = "") -> str:
    """Return a Word paragraph."""
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:rPr>{run}</w:rPr><w:t>{text}</w:t></w:r></w:p>"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Grüße aus dem Hafen"),
        ("utf-8-sig", "Grüße aus dem Hafen"),
        ("utf-16", "Grüße aus dem Hafen"),
        ("utf-16-le", "Opening hours of the harbor"),
        ("utf-16-be", "Opening hours of the harbor"),
        ("utf-32", "Grüße aus dem Hafen"),
        ("iso2022_jp", "港の営業時間です"),
    ],
)
def test_text_of_a_certain_encoding(encoding: str, text: str) -> None:
    """What can be told for certain is decoded, and nothing is said about it."""
    loaded = load("a.txt", text.encode(encoding))
    assert (loaded.text, loaded.metadata) == (text, {})


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Die Fähre fährt täglich um fünf Uhr, “pünktlich”."),
        ("cp1250", "Přístav je otevřen každý den kromě neděle, říká správce."),
        ("cp1251", "Мастерская открыта каждый день, кроме понедельника."),
        ("koi8-r", "Мастерская открыта каждый день, кроме понедельника."),
        ("cp1253", "Το εργαστήριο είναι ανοιχτό κάθε μέρα εκτός Δευτέρας."),
        ("cp932", "工房は毎日開いています。月曜日は休みです。"),
    ],
)
def test_text_of_a_guessed_encoding(encoding: str, text: str) -> None:
    """A legacy encoding is guessed by its letters, and the guess is named."""
    loaded = load("a.txt", text.encode(encoding))
    assert loaded.text == text
    # Encodings that write a text in the same bytes cannot be told apart.
    assert text.encode(str(loaded.metadata["encoding"])) == text.encode(encoding)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp850", "Die Fähre fährt über größere Flüsse. "),
        ("mac_roman", "Die Fähre fährt über größere Flüsse. "),
        ("mac_cyrillic", "Мастерская открыта. "),
        ("cp1258", "Đây là trơ. "),
    ],
)
def test_no_text_is_garbled_silently(encoding: str, text: str) -> None:
    """What cannot be told for certain is refused; it is never read as something else."""
    data = (text * 5).encode(encoding)
    try:
        loaded = load("a.txt", data)
    except LoadError as error:
        assert error.code == "encoding"  # noqa: PT017 (either is right)
        return
    assert loaded.text == text * 5


def test_what_chardet_tells_apart() -> None:
    """Where it is installed, encodings are told apart by what languages look like."""
    pytest.importorskip("chardet")
    text = "Les bateaux partent à neuf heures précises, été comme hiver, même le dimanche. " * 3
    for encoding in ("cp850", "mac_roman", "utf-32-be"):
        assert load("a.txt", text.encode(encoding)).text == text


def test_seven_bits_and_what_is_declared() -> None:
    """HZ is told by its escapes; a name that is declared means what browsers take it for."""
    assert load("a.txt", "港口今天开放，明天关闭。".encode("hz")).text == "港口今天开放，明天关闭。"
    page = "<meta charset=gb2312><p>港口囍".encode("gb18030")
    assert load("a.html", page).text == "港口囍"


def test_damaged_utf8_is_still_utf8() -> None:
    """One broken byte costs one character, not the encoding of the whole file."""
    loaded = load("a.txt", ("äöü" * 50).encode() + b"\xff" + "ß".encode())
    assert loaded.text == "äöü" * 50 + "\ufffdß"
    assert loaded.metadata == {"encoding": "utf-8 (damaged)"}


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 8,
        b"\0\1\2\3" * 99,
        b"\x7fELF\x02\x01" * 9,
        b"\xb1\xa6 \xd7" * 40,
    ],
)
def test_binary_is_no_text(data: bytes) -> None:
    """Bytes that no encoding makes words of are refused, whatever the file's name."""
    assert code_of("a.txt", data) == "encoding"


def test_stray_zero_bytes_and_line_ends() -> None:
    """Text has line feeds only and no zero byte."""
    text = "one\r\ntwo\rthree " * 20
    assert load("a.txt", text + "\0").text == text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("name", sorted(f"a{suffix}" for suffix in LOADERS if suffix != ".docx"))
def test_nothing_to_read(name: str) -> None:
    """An empty file is an error that says so, in every format."""
    assert code_of(name, b"") in {"no_text", "broken"}
    assert code_of("a.txt", " \n\t \n") == "no_text"


def test_markdown_stays_as_it_is() -> None:
    """Markdown is kept word for word; headings, code and rows are marked."""
    source = (
        "intro\n\n# Top\n\nbody\n\n## Sub ##\n\n```\n# no heading\n```\n\nafter\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\nend\n\nOther\n-----\ntail\n"
    )
    loaded = load("a.md", source)
    assert loaded.text == source
    assert loaded.title == "Top"
    kinds = {words: at(loaded, words).kind for words in ("body", "# no", "after", "| 1", "end")}
    assert kinds == {
        "body": "heading",
        "# no": "code",
        "after": "text",
        "| 1": "row",
        "end": "text",
    }
    assert at(loaded, "after").location.heading == ("Top", "Sub")
    assert at(loaded, "tail").location.heading == ("Top", "Other")
    assert loaded.marks[0].start == source.index("# Top")


def test_markdown_front_matter() -> None:
    """Simple `key: value` lines at the top are metadata, and the title is among them."""
    loaded = load("a.md", "---\ntitle: Hours\nowner: 'Desk'\n---\n# Other\ntext\n")
    assert loaded.title == "Hours"
    assert loaded.metadata == {"title": "Hours", "owner": "Desk"}
    assert load("b.md", "text\n\n---\n\nmore\n\n---\n").metadata == {}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (r'"say \"hi\"" # so', 'say "hi"'), ("'it''s'", "it's"),
        (r'"\u00fc\x41\n\ud83d\ude00"', "üA 😀"),
        (r'"C:\\dir"', r"C:\dir"),
        ('"a" and "b"', 'a" and "b'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["---\n", "...\n", "--- \n\nText.", "---"])
def test_quotes_in_front_matter(value: str, found: object, end: str) -> None:
    """They are read as YAML has them, and it may end with dots, or with the file."""
    assert load("a.md", f"---\nx: {value}\n{end}").metadata["x"] == found


def test_front_matter_has_types() -> None:
    """Numbers, booleans and lists are such; dates, codes and what is quoted stay text."""
    loaded = load(
        "a.md",
        '---\nyear: 2024\nratio: -1.50 # measured\ndraft: false\ncode: 007\nquoted: "12"\n'
        "day: 2024-03-01\nlong: 12345678901234567890\nsharp: C# and F#\nempty:\nnone: null\n"
        "tags: [hr, 'a, b', 3]\nno_tags: []\naudience:\n  - staff\n- 12\n  - \"true\"\n"
        "summary: >\n  Who gets\n  leave.\nnested:\n  a: 1\nmaps:\n  - a: 1\n# comment\n"
        "title: 1984\n---\n# Other\n",
    )
    assert loaded.metadata == {
        "year": 2024, "ratio": -1.5, "draft": False, "code": "007", "quoted": "12",
        "day": "2024-03-01", "long": "12345678901234567890", "sharp": "C# and F#",
        "tags": ["hr", "a, b", 3], "no_tags": [], "audience": ["staff", 12, "true"],
        "summary": "Who gets leave.", "title": 1984,
    }  # fmt: skip
    assert loaded.title == "1984"


def test_front_matter_in_toml() -> None:
    """Tables are left out; what is not TOML stays text."""
    loaded = load(
        "a.md",
        '+++\ntitle = "Copying"\nweight = 3\nday = 2026-03-01\ndraft = false\nlow = -inf\n'
        'tags = ["fees", 4]\n[params]\na = 1\n+++\n\nA copy costs 20 cents.\n',
    )
    assert loaded.title == "Copying"
    assert loaded.metadata == {
        "title": "Copying", "weight": 3, "day": "2026-03-01", "draft": False, "low": "-inf",
        "tags": ["fees", 4],
    }  # fmt: skip
    assert [part.kind for part in loaded.parts] == ["markup", "paragraph"]
    assert load("b.md", "+++\nNot so.\n+++\n").metadata == {}


@pytest.mark.parametrize(
    ("line", "title"), [("# C#", "C#"), ("## A ##", "A"), ("# B # #", "B #"), ("# #", "")]
)
def test_signs_behind_a_heading(line: str, title: str) -> None:
    """A closing run of signs counts only behind a space."""
    assert load("a.md", line + "\n\ntext\n").title == title


def test_longer_fences_hold_shorter_ones() -> None:
    """Only a fence at least as long as the one that opened ends a code block."""
    loaded = load("a.md", "````\n```\n# no\n```\n````\n# Yes\n")
    assert [m.location.heading for m in loaded.marks if m.kind == "heading"] == [("Yes",)]


def test_rst_headings() -> None:
    """Underlines give levels in the order in which they first come."""
    loaded = load("a.rst", "Top\n===\n\nbody\n\nSub\n---\n\none\n\nNext\n====\n\nlast\n")
    assert loaded.title == "Top"
    assert at(loaded, "one").location.heading == ("Top", "Sub")
    assert at(loaded, "last").location.heading == ("Next",)


def test_rst_include_is_only_text() -> None:
    """A directive that names another file reads nothing."""
    source = ".. include:: /etc/hostname\n"
    assert load("a.rst", source).text == source


def test_html_shows_what_a_reader_sees() -> None:
    """Scripts, comments and hidden elements are left out; entities are characters."""
    loaded = load(
        "a.html",
        "<html><head><title>Ti &amp; tle</title><style>x{}</style></head><body>"
        "<!-- secret --><script>secret()</script><p hidden>secret</p>"
        "<div style='display: none'><p>secret</p></div><span style='font-size:0px'>secret</span>"
        "<span style='font-size:0.9em'>shown</span><p>caf&eacute;&nbsp;&lt;b&gt;<template>secret"
        "</template></p></body></html>",
    )
    assert "secret" not in loaded.text
    assert loaded.text == "shown\n\ncafé <b>"
    assert loaded.title == "Ti & tle"


def test_html_structure() -> None:
    """Blocks are lines, headings give the path, and rows are lines of their own."""
    loaded = load(
        "a.html",
        "<h1>Top</h1><p>one<br>two</p><h2>Sub</h2><ul><li>a<li>b</ul>"
        "<table><tr><th>x<th>y<tr><td>1<td>2</table><pre>  k\n   l</pre>",
    )
    assert loaded.text == "Top\n\none\ntwo\n\nSub\n- a\n- b\nx | y\n1 | 2\n\nk\n   l"
    assert (at(loaded, "1 |").kind, at(loaded, "   l").kind) == ("row", "code")
    assert at(loaded, "1 |").location.heading == ("Top", "Sub")


def test_cells_for_layout_lose_nothing() -> None:
    """A table inside a cell keeps the words around it, in order."""
    loaded = load(
        "a.html",
        "<table><tr><td>before<table><tr><td>in<td>ner</table>after<h2>Head</h2>x</td>"
        "<td>last</table>end",
    )
    assert loaded.text.split() == ["before", "in", "|", "ner", "after", "Head", "x", "|", "last",
                                   "end"]  # fmt: skip


def test_html_unclosed_hidden_paragraph() -> None:
    """A paragraph without an end tag hides no more than itself."""
    assert load("a.html", "<p hidden>secret<p>shown<li hidden>no<li>yes").text.split() == [
        "shown",
        "-",
        "yes",
    ]


def test_html_declared_encoding() -> None:
    """A declared legacy encoding is used, but not against the bytes."""
    text = "Мастерская открыта каждый день"
    page = f'<meta charset="windows-1251"><p>{text}</p>'
    assert load("a.html", page.encode("cp1251")).text == text
    assert load("a.html", page.encode()).text == text
    wrong = page.replace("windows-1251", "utf-8").encode("cp1251")
    assert load("a.html", wrong).metadata == {"encoding": "cp1251"}


def test_csv_rows_name_their_columns() -> None:
    """Each row stands on its own, with its cells as location."""
    loaded = load("a.csv", 'Item,Price,Note\nlaser,9,"per hour, alone"\n\nkiln,22,\n')
    assert loaded.text == "Item: laser; Price: 9; Note: per hour, alone\nItem: kiln; Price: 22"
    assert [mark.location.cells for mark in loaded.marks] == ["A2:C2", "A4:C4"]
    assert {mark.kind for mark in loaded.marks} == {"row"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a;b\n1,5;2,5\n", "a: 1,5; b: 2,5"),
        ("a\tb\n1\t2\n", "a: 1; b: 2"),
        ("1,2\n3,4\n", "1; 2\n3; 4"),
        ("Title,,\na,b,c\n1,2,3\n", "Title\na: 1; b: 2; c: 3"),
        ("a,b\n1,2,3\n", "a: 1; b: 2; 3"),
        ('a,b\n"x\ny",2\n', "a: x y; b: 2"),
        ("only,header\n", "only; header"),
        (",a,b\n0,1,2\n", "0; a: 1; b: 2"),
        ("a,b,b\n1,2,3\n", "a: 1; b: 2; b: 3"),
        ("yes,yes,no\nyes,no,yes\n", "yes; yes; no\nyes; no; yes"),
        ("a,2022,2023\nx,7,9\n", "a: x; 2022: 7; 2023: 9"),
        ("a,10,20,30\nx,7,9,8\n", "a: x; 10: 7; 20: 9; 30: 8"),
        ("a,7,9,8\nx,1,2,4\n", "a; 7; 9; 8\nx; 1; 2; 4"),
        ("a,7,9\nx,1,2\n", "a; 7; 9\nx; 1; 2"),
        ("Stock of May\n\na,b\n1,2\n", "Stock of May\na: 1; b: 2"),
    ],
)
def test_csv_shapes(source: str, text: str) -> None:
    """Delimiters, titles, headers of any names or none, and quoted line ends are understood."""
    loaded = load("a.csv", source)
    assert loaded.text == text
    kinds = [line.split(":")[0] for line in outline(loaded)]
    title = source.startswith(("Title", "Stock"))
    assert kinds == ["paragraph"] * title + ["row"] * (text.count("\n") + 1 - title)


def test_json_is_a_line_a_value() -> None:
    """Values keep their order and are named by their path; an object of plain values is a line."""
    value = {"name": "N", "b": {"c": [1, True], "d": None}, "list": [{"x": "y", "z": 2}]}
    loaded = load("a.json", json.dumps(value))
    assert loaded.text == "name: N\nb.c: 1\nb.c: true\nlist: x: y; z: 2"
    assert loaded.title == "N"
    assert {mark.kind for mark in loaded.marks} == {"row"}
    assert load("a.json", '[{"a": 1}, {"a": 2}]').text == "a: 1\n\na: 2"
    assert outline(loaded)[-1] == "row: list: x: y; z: 2"


def test_json_lines_as_text() -> None:
    """JSON Lines give a paragraph a line; a line that is no JSON stays as it is."""
    assert load("a.jsonl", '{"a": 1}\nnot json\n{"a": 2}\n').text == "a: 1\n\nnot json\n\na: 2"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{", "broken"),
        ("[1,]", "broken"),
        ("[" * 100_000, "limit"),
        ("[" * 500 + "1" + "]" * 500, "limit"),
    ],
)
def test_json_that_is_not(source: str, code: str) -> None:
    """Malformed and bottomless JSON is refused."""
    assert code_of("a.json", source) == code


def test_json_escapes_that_are_no_characters() -> None:
    """Zero and half a surrogate pair can be written in JSON but not stored, so they vanish."""
    assert load("a.json", '{"a": "x\\u0000y\\ud800z"}').text == "a: xyz"


def test_pdf_pages() -> None:
    """Pages are joined by a blank line and marked with their number; empty ones have no mark."""
    loaded = load("a.pdf", pages_of("first page", "", "third page", title="Guide"))
    assert loaded.text == "first page\n\nthird page"
    assert [mark.location.page for mark in loaded.marks] == [1, 3]
    assert {mark.kind for mark in loaded.marks} == {"page"}
    assert loaded.title == "Guide"


def test_pdf_without_text() -> None:
    """A scan says that there is no text in it."""
    assert code_of("a.pdf", pages_of("", "")) == "no_text"


def test_pdf_with_an_unreadable_page() -> None:
    """One page that cannot be read is named and costs no other; a file of such pages is broken."""
    loaded = load("a.pdf", pages_of("first page", "lost", "third page", broken_page=2))
    assert loaded.text == "first page\n\nthird page"
    assert loaded.metadata == {"unreadable_pages": [2]}
    assert code_of("a.pdf", pages_of("lost", broken_page=1)) == "broken"


def test_pdf_that_is_damaged(caplog: pytest.LogCaptureFixture) -> None:
    """A truncated file gives text or a code word, and the parser's remarks go nowhere."""
    whole = pages_of("first page", "second page")
    for length in range(0, len(whole), 40):
        try:
            text = load("a.pdf", whole[:length]).text
        except LoadError as error:
            text = error.code
        assert text in {"broken", "no_text", "first page", "first page\n\nsecond page"}
    assert caplog.records == []


@pytest.mark.parametrize("cipher", ["rc4", "aes256"])
def test_pdf_password(cipher: str) -> None:
    """An encrypted file needs its password, and a wrong one is told from none."""
    data = (ENCRYPTED / f"{cipher}.pdf").read_bytes()
    assert code_of("a.pdf", data) == "password"
    assert code_of("a.pdf", data, "wrong") == "password"
    assert load("a.pdf", data, "open sesame").text == "guarded words"


def test_word_structure() -> None:
    """Headings by style, list items, rows and the core title come out; runs join without gaps."""
    styles = (
        f'<w:styles xmlns:w="{WORD}"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/>'
        '</w:style><w:style w:styleId="Mine"><w:basedOn w:val="berschrift1"/></w:style></w:styles>'
    )
    core = '<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Minutes</dc:title></c>'
    item = paragraph("item", '<w:numPr><w:numId w:val="1"/></w:numPr>')
    cells = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in ("a", "", "c"))
    loaded = load(
        "a.docx",
        word(
            paragraph("Top", '<w:pStyle w:val="Mine"/>')
            + "<w:p><w:r><w:t>spl</w:t></w:r><w:r><w:t>it</w:t><w:tab/><w:t>x</w:t></w:r></w:p>"
            + f"{item}<w:tbl><w:tr>{cells}</w:tr></w:tbl>",
            word_styles=styles,
            docProps_core=core,
        ),
    )
    assert loaded.text == "Top\n\nsplit\tx\n- item\na | | c"
    assert loaded.title == "Minutes"
    assert [mark.kind for mark in loaded.marks] == ["heading", "text", "text", "row"]
    assert {mark.location.heading for mark in loaded.marks} == {("Top",)}


def test_word_leaves_out_what_is_not_shown() -> None:
    """Deleted and hidden runs and the second form of a text box are no text."""
    body = (
        paragraph("secret", run="<w:vanish/>")
        + paragraph("kept", run='<w:vanish w:val="0"/>')
        + paragraph("also", "<w:rPr><w:vanish/></w:rPr>")
        + "<w:p><w:del><w:r><w:delText>secret</w:delText></w:r></w:del></w:p>"
        + '<mc:A xmlns:mc="m"><mc:Choice>' + paragraph("box") + "</mc:Choice><mc:Fallback>"
        + paragraph("secret") + "</mc:Fallback></mc:A>"
    )  # fmt: skip
    assert load("a.docx", word(body)).text == "kept\n\nalso\n\nbox"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("sep=;\na;b\n1;2,5\n", "a: 1; b: 2,5"),
        ("Item;Price, net\nShackle;1,50\nBolt;2,30\n",
         "Item: Shackle; Price, net: 1,50\nItem: Bolt; Price, net: 2,30"),
        ("Shackle;1,50\nBolt;2,30", "Shackle; 1,50\nBolt; 2,30"),
        ('a, b, c\nx, "one, two", 3\ny, "four", 5', "a: x; b: one, two; c: 3\na: y; b: four; c: 5"),
        ('a,b\nx,"he said \\"hi, you\\" loud"\n', 'a: x; b: he said "hi, you" loud'),
        ('a,b\nx,"C:\\dir\\"\ny,z', "a: x; b: C:\\dir\\\na: y; b: z"),
        ('a,b\nx,"5 inch\ny,two\n', 'a: x; b: "5 inch\na: y; b: two'),
        ('a,b\nx,"5 inch\ny,two\nz,"6 inch\n', 'a: x; b: "5 inch\na: y; b: two\na: z; b: "6 inch'),
        ('a,b\n"Olsen, K" <k@x>,"1\n\n2"\n', "a: Olsen, K <k@x>; b: 1 2"),
        ("name\nalpha, beta\ngamma\n", "name: alpha, beta\nname: gamma"),
        ("1,2\n3,4", "1; 2\n3; 4"),
    ],
)  # fmt: skip
def test_csv_dialects(source: str, text: str) -> None:
    """Delimiters that are named, decimal commas, and quotes as programs and people write them."""
    assert load("a.csv", source).text == text


@given(rows=st.lists(st.tuples(*[st.text('ab "\n,;é', max_size=5)] * 2), max_size=5))
def test_quoted_csv_is_what_was_written(rows: list[tuple[str, str]]) -> None:
    """Whatever cells hold, as long as each is quoted."""
    rows = [("First", "Second"), ("a", "b"), *rows]
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    lines: list[str] = []
    for row in rows[1:]:
        values = [" ".join(value.split()) for value in row]
        named = zip(("First", "Second"), values, strict=True)
        lines.append("; ".join(f"{name}: {value}" for name, value in named if value))
    wanted = "\n".join(line for line in lines if line)
    assert load("a.csv", file.getvalue()).text == wanted


def test_word_tables_in_tables_once() -> None:
    """The words of a table inside a cell come once, in the row that holds it."""
    inner = f"<w:tbl><w:tr><w:tc>{paragraph('in')}</w:tc></w:tr></w:tbl>"
    row = f"<w:tr><w:tc>{paragraph('a')}{inner}</w:tc><w:tc>{paragraph('b')}</w:tc></w:tr>"
    assert load("a.docx", word(f"<w:tbl>{row}</w:tbl>")).text == "a in | b"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_word_with_a_document_type(encoding: str) -> None:
    """Entities cannot be declared, in no encoding."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        declaration = (
            f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE d [<!ENTITY e "x">]><d>&e;</d>'
        )
        archive.writestr("word/document.xml", declaration.encode(encoding))
    assert code_of("a.docx", out.getvalue()) == "broken"


def test_word_bomb() -> None:
    """A part that unpacks to more than the limit is refused while it is unpacked."""
    body = "<w:p/>" * 100 + " " * (70 * 2**20)
    bomb = word(body)
    assert len(bomb) < 200_000
    assert code_of("a.docx", bomb) == "limit"
    assert code_of("a.docx", word("<w:x>" * 5_000)) == "limit"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no zip", "broken"),
        (word("")[:100], "broken"),
        (word("<w:p>"), "broken"),
        (word(""), "no_text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512, "unsupported"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "password",
        ),
    ],
    ids=["no zip", "cut short", "no end", "no text", "an older format", "encrypted"],
)
def test_word_that_is_not(data: bytes, code: str) -> None:
    """What is no Word document, an old one or an encrypted one is told apart."""
    assert code_of("a.docx", data) == code


@pytest.mark.parametrize("name", ["a.xls", "a.doc", "a.ppt", "a.png", "README"])
def test_formats_that_no_loader_reads(name: str) -> None:
    """A format without a loader is unsupported, and the message says what to do."""
    with pytest.raises(
        LoadError, match=r"unsupported: no loader reads .+; (save|loaders read|--ocr auto)"
    ):
        load(name, b"x")


def test_too_large_a_file() -> None:
    """A file above the limit is refused before it is parsed."""
    assert code_of("a.txt", b"x" * (64 * 2**20 + 1)) == "limit"
