"""XML of several kinds, and electronic books, which hold pages of it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest

from .structure import outline
from .test_formats import at, code_of, load

ARTICLE = """<?xml version="1.0"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS//EN" "JATS.dtd" [<!ENTITY fig SYSTEM "f.gif" NDATA gif>]>
<article xmlns:xlink="http://www.w3.org/1999/xlink">
<front><journal-meta><journal-id>Harb J</journal-id></journal-meta><article-meta>
<article-id pub-id-type="doi">10.1/x</article-id>
<title-group><article-title>Tides of the <italic>outer</italic> harbor</article-title></title-group>
<contrib-group><contrib><name><surname>Olsen</surname><given-names>Kari</given-names></name>
<role>Writing</role></contrib></contrib-group>
<abstract><p>Tides rise by 10<sup>3</sup> mm.</p></abstract></article-meta></front>
<body><sec><label>1</label><title>Methods</title><p>We measured at <xref>quay 4</xref>.</p>
<list list-type="order"><list-item><p>Lower the gauge.</p></list-item>
<list-item><p>Read it.</p></list-item></list>
<sec><title>Gauges</title><p>Two &nbsp;gauges.</p><table-wrap><label>Table 1</label>
<caption><p>Heights.</p></caption><table><thead><tr><th>quay</th><th>mm</th></tr></thead>
<tbody><tr><td>4</td><td>12</td></tr></tbody></table></table-wrap></sec></sec></body>
<back><ref-list><title>References</title><ref><element-citation><person-group><name>
<surname>Doe</surname><given-names>J</given-names></name></person-group><source>Sea</source><year>1999
</year></element-citation></ref></ref-list></back></article>"""

FEED = """<rss version="2.0"><channel><title>Harbor news</title><link>https://example.org/</link>
<item><title>New ferry</title><pubDate>Mon, 3 Jun 2024</pubDate><guid>7</guid>
<description>&lt;p&gt;The &lt;b&gt;Gannet&lt;/b&gt; sails at nine.&lt;/p&gt;
&lt;script&gt;x()&lt;/script&gt;</description></item></channel></rss>"""

BOOK = """<book><info><title>Pumps</title></info><chapter><title>Priming</title>
<para>Open <command>valve 2</command>.</para><programlisting>open  2
wait</programlisting></chapter></book>"""


def test_article() -> None:
    """An article's headings, lists, tables and references; nothing of its journal."""
    loaded = load("a.nxml", ARTICLE)
    assert loaded.title == "Tides of the outer harbor"
    assert at(loaded, "Two").location.heading == (
        "Tides of the outer harbor",
        "1 Methods",
        "Gauges",
    )
    for words in (
        "10^3 mm",
        "1. Lower the gauge.",
        "quay | mm\n4 | 12",
        "Doe J Sea 1999",
        "Olsen Kari",
    ):
        assert words in loaded.text
    for words in ("Harb J", "10.1/x", "Writing", "f.gif"):
        assert words not in loaded.text
    assert "row: 4 | 12" in [line.strip() for line in outline(loaded)]


def test_feed() -> None:
    """A feed's items have headings, and what they say in HTML is read as that."""
    loaded = load("a.rss", FEED)
    assert at(loaded, "The Gannet sails").location.heading == ("Harbor news", "New ferry")
    assert "pubDate: Mon, 3 Jun 2024" in loaded.text
    assert "x()" not in loaded.text
    assert "<" not in loaded.text
    assert "guid" not in loaded.text


def test_handbook() -> None:
    """DocBook: code keeps its lines, and elements inside of a paragraph are part of it."""
    loaded = load("a.dbk", BOOK)
    assert loaded.title == "Pumps"
    assert "Open valve 2.\n\nopen  2\nwait" in loaded.text
    assert at(loaded, "open  2").kind == "code"


def test_data() -> None:
    """Data keep the names of their values, and each record is one paragraph."""
    rows = "".join(f"<boat id='{i}'><name>B{i}</name><seats>{i}</seats></boat>" for i in (1, 2))
    assert (
        load("a.xml", f"<fleet>{rows}</fleet>").text == "name: B1\nseats: 1\n\nname: B2\nseats: 2"
    )
    only_attributes = '<fleet xmlns="x"><boat name="Gannet" seats="40"/><boat name="Tern"/></fleet>'
    assert load("a.xml", only_attributes).text == "boat: name: Gannet; seats: 40\nboat: name: Tern"


def test_declared_encodings() -> None:
    """What a file declares counts, in encodings of one byte and of more."""
    text = "<a>港は開いています。</a>"
    declared = f'<?xml version="1.0" encoding="Shift_JIS"?>{text}'
    assert load("a.xml", declared.encode("shift_jis")).text == "港は開いています。"
    assert load("a.xml", ("\ufeff" + text).encode("utf-16-le")).text == "港は開いています。"


def test_entities() -> None:
    """Short entities are replaced; those that grow are refused, and no file is read."""
    short = '<!DOCTYPE a [<!ENTITY h "harbor">]><a>The &h; of &eacute;.</a>'
    assert load("a.xml", short).text == "The harbor of é."
    for entities in (
        '<!ENTITY a "1234567890"><!ENTITY h "&a;&a;&a;&a;">',
        f'<!ENTITY h "{"b" * 50_000}">',
        '<!ENTITY h "x&i;"><!ENTITY i "&h;">',
        '<!ENTITY h "<b>">',
    ):
        assert code_of("a.xml", f"<!DOCTYPE a [{entities}]><a>{'&h;' * 9}</a>") == "limit"
    outside = '<!DOCTYPE a [<!ENTITY h SYSTEM "file:///etc/passwd">]><a>x &h;</a>'
    assert load("a.xml", outside).text == "x"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<a><b></a>", "broken"),
        ("plain words", "broken"),
        ("", "broken"),
        ("<a> </a>", "no_text"),
        ("<a>" * 3_000, "limit"),
    ],
)
def test_files_that_are_not_read(text: str, code: str) -> None:
    """What is wrong is said."""
    assert code_of("a.xml", text) == code


def epub(pages: Mapping[str, str], **members: str) -> bytes:
    """Return a book of these pages, in their order."""
    items = "".join(
        f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>'
        for name in pages
    )
    order = "".join(f'<itemref idref="{name}"/>' for name in [*pages, *pages])
    package = (
        '<package xmlns:dc="x"><metadata><dc:title>The Bay</dc:title><dc:creator>K. Olsen'
        f"</dc:creator></metadata><manifest>{items}</manifest><spine>{order}</spine></package>"
    )
    container = '<container><rootfiles><rootfile full-path="in/b.opf"/></rootfiles></container>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("in/b.opf", package)
        for name, text in {**pages, **members}.items():
            archive.writestr(name if "/" in name else f"in/{name}.xhtml", text)
    return out.getvalue()


def test_book() -> None:
    """The pages of a book in its order, each once, with their headings and lists."""
    pages = {
        "two": "<html><body><h1>Dusk</h1><p>It ends.</p></body></html>",
        "one": "<html><body><h1>Dawn</h1><ul><li>gulls</li><li>terns</li></ul></body></html>",
    }
    loaded = load("a.epub", epub(pages))
    assert (loaded.title, loaded.metadata) == ("The Bay", {"creator": "K. Olsen"})
    assert loaded.text == "Dusk\n\nIt ends.\n\nDawn\n- gulls\n- terns"
    assert at(loaded, "terns").location.heading == ("Dawn",)
    assert (loaded.text.index("terns"), "item") in [
        (part.start + 2, part.kind) for part in loaded.parts
    ]


def test_books_that_are_not_read() -> None:
    """An encrypted page, a broken archive, and one that unpacks to too much."""
    page = {"one": "<p>Dawn</p>"}
    cipher = '<encryption><CipherReference URI="in/one.xhtml"/></encryption>'
    fonts = cipher.replace("one.xhtml", "f.otf")
    assert code_of("a.epub", epub(page, **{"META-INF/encryption.xml": cipher})) == "password"
    assert load("a.epub", epub(page, **{"META-INF/encryption.xml": fonts})).text == "Dawn"
    assert code_of("a.epub", epub(page)[:-40]) == "broken"
    assert code_of("a.epub", b"PK\x03\x04") == "broken"
    huge = {"one": "<p>" + " " * (65 * 2**20)}
    assert code_of("a.epub", epub(huge)) == "limit"
