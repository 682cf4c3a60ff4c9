"""The structure of HTML pages: lists with numbers, tables, definitions, notes, navigation."""

from __future__ import annotations

import contextlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading import load_bytes

from ..cpu import assert_linear
from .structure import assert_sound, html, outline


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<ol><li>a<li>b</ol>", "1. a\n2. b"),
        ("<ol><li><p>a</p></li><li><p>b</p></li></ol>", "1. a\n2. b"),
        ("<ol><li><p>a<li><p>b</ol>", "1. a\n2. b"),
        ("<ol start=4><li>a<li value=9>b<li>c</ol>", "4. a\n9. b\n10. c"),
        ("<ol start='-1'><li>a<li>b<li>c</ol>", "-1. a\n0. b\n1. c"),
        ("<ol start=x><li value=''>a</ol>", "1. a"),
        ("<ol reversed><li>a<li>b<li>c</ol>", "3. a\n2. b\n1. c"),
        ("<ol reversed start=9><li>a<li value=2>b<li>c</ol>", "9. a\n2. b\n1. c"),
        ("<ol type=a start=26><li>a<li>b</ol>", "z. a\naa. b"),
        ("<ol type=A><li>a<li>b</ol>", "A. a\nB. b"),
        ("<ol type=i start=8><li>a<li>b<li>c</ol>", "viii. a\nix. b\nx. c"),
        ("<ol type=I start=3999><li>a<li>b</ol>", "MMMCMXCIX. a\n4000. b"),
        ("<ol class='loweralpha simple'><li>a</ol>", "a. a"),
        ("<ol><li>a<li><li>c<li hidden>d<li>e</ol>", "1. a\n3. c\n4. e"),
        ("<ul><li>a<ol><li>b<ul><li>c</ul><li>d</ol><li>e</ul>",
         "- a\n  1. b\n    - c\n  2. d\n- e"),
        ("<ol><li><ul><li>a</ul><li><pre>b\n c</pre></ol>", "1.\n  - a\n2.\n\nb\n c"),
        ("<ol><li><h3>A</h3>b</ol>", "1. A\n\nb"),
        ("<table><tr><td><ol><li>a<li>b</ol><td>c</table>", "1. a 2. b | c"),
    ],
)  # fmt: skip
def test_lists_as_a_reader_sees_them(page: str, text: str) -> None:
    """Items have their numbers, whatever sets them, and nested lists are indented."""
    loaded = html(page)
    assert loaded.text == text
    assert_sound(loaded.text, loaded.parts)


@pytest.mark.parametrize(
    "start",
    [
        '<?xml version="1.0"?><html><head>',
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/x.dtd">\n'
        '<html lang="en" xmlns="http://www.w3.org/1999/xhtml"><head>',
    ],
)
def test_empty_elements_of_xhtml(start: str) -> None:
    """They end with their start, and what stands in a section of characters is text."""
    page = f"""{start}<title/><script src="a.js"/><style/></head><body><del/><p class="hidden"/>
    <div style="display:none"/><iframe src='b'/><p>One<br/>two <![CDATA[1 < <2>]]></p><svg/>
    <p>Three.</p></body></html>"""
    assert html(page).text == "One\ntwo 1 < <2>\n\nThree."
    # In HTML they do not, and a slash may belong to an address.
    assert html("<p>One.</p><p><del/>two").text == "One."
    assert html("<script src=/a/>code</script>One.").text == "One."


def test_the_title_of_a_picture_is_none_of_the_page() -> None:
    """Nor text in it."""
    page = html("<body><svg><title>Icon</title></svg>One.<title>Page</title>")
    assert (page.title, page.text) == ("Page", "One.")


def test_where_comments_end() -> None:
    """As browsers have it."""
    assert html("a<!-- b > c -->d<!--e--!>f<!-->g<!--->h<!-x>i").text == "adfghi"
    assert html("<p>a<!--!>b-->c").text == "ac"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>3 x 10<sup>12</sup> ohm", "3 x 10^12 ohm"),
        ("<p>10<sup>-3</sup> and 5<sup> 2 </sup>", "10^-3 and 5^2"),
        ("<p>A day is 18<sup>2</sup> crowns", "A day is 18 [2] crowns"),
        ("<p>9<sup><a href='#n'>1</a></sup>, 9<a href='#n'><sup>1</sup></a>", "9 [1], 9 [1]"),
        ("<p><sup>3</sup>12 days", "3 12 days"),
        ("<p>m<sup>2</sup>, H<sub>2</sub>O, 1<sup>st</sup>", "m2, H2O, 1st"),
        ("<p>10<sub>2</sub> is 2", "10_2 is 2"),
        ("<p>7<sup>\n<b>40</b></sup>5", "7 40 5"),
        ("<table><tr><td>12<sup>1</sup><td>a</table>", "12 [1] | a"),
    ],
)
def test_a_raised_number_is_apart_from_the_number_before(page: str, text: str) -> None:
    """Otherwise they would be one other number."""
    assert html(page).text == text


def test_items_own_their_first_paragraph() -> None:
    """What follows the first paragraph of an item stands in it as parts of its own."""
    page = "<ol><li><p>a</p><p>b</p><pre>c</pre><ul><li>d</ul><li><pre>e</pre></ol>"
    assert outline(html(page)) == [
        "procedure:",
        "  step: 1. a",
        "    paragraph: b",
        "    code: c",
        "    list:",
        "      item: - d",
        "  step: 2.",
        "    code: e",
    ]


def test_items_are_steps_where_their_title_is_a_heading() -> None:
    """The title of a step is its own text, and stays a heading of what follows."""
    loaded = html("<ol><li><h3>Stop</h3><p>Press it.</ol>")
    assert outline(loaded) == ["procedure:", "  step: 1. Stop", "    paragraph: Press it."]
    assert loaded.marks[-1].location.heading == ("Stop",)


def test_definitions_and_options() -> None:
    """A term goes with what explains it; flags and names of settings are options."""
    page = (
        "<dl><dt>Ebb</dt><dd><p>Falling water.</p><p>Twice a day.</p></dd>"
        "<dt>-v<dt>--verbose<dd>Says more.<dd>And more."
        "<dt><span>max_connections (<code>integer</code>)</span></dt><dd><ul><li>100</ul>"
        "<p>By default.</dd>"
        "<dt>PGHOST<br>PGPORT<dd>A host.<dt>\\dt [ name ]<dd>Lists.<dt>Quay No. 4<dd></dl>"
    )
    assert outline(html(page)) == [
        "definition: Ebb Falling water.",
        "  paragraph: Twice a day.",
        "option: -v --verbose Says more.",
        "  paragraph: And more.",
        "option: max_connections (integer)",
        "  list:",
        "    item: - 100",
        "  paragraph: By default.",
        "option: PGHOST PGPORT A host.",
        r"option: \dt [ name ] Lists.",
        "definition: Quay No. 4",
    ]


def test_tables() -> None:
    """Captions, header rows of one or more lines, rows; empty cells keep their columns."""
    page = (
        "<table><caption>Fees</caption><thead><tr><th rowspan=2>Berth<th colspan=2>Season"
        "<tr><th>summer<th>winter</thead><tbody><tr><th rowspan=2>Inner<td>30<td>12"
        "<tr><td><td>20<tr><td>Outer<td colspan=2>free<tr><td colspan=3>All in EUR.</table>"
    )
    loaded = html(page)
    assert outline(loaded) == [
        "table:",
        "  caption: Fees",
        "  header_row: Berth | Season | Season",
        "  header_row: Berth | summer | winter",
        "  row: Inner | 30 | 12",
        "  row: Inner | | 20",
        "  row: Outer | free | free",
        "  row: All in EUR.",
    ]
    assert [mark.kind for mark in loaded.marks[1:6]] == ["row"] * 5


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("<tr><th>a<th>b<th>c<tr><td><td>1<td><tr><td>2<td><td>", "a | b | c\n| 1 |\n2 | |"),
        ("<tr><td>a<td>-<td>b", "a | - | b"),
        ("<tr><td rowspan=0>a<td>b<tr><td>c<tr><td>d", "a | b\na | c\na | d"),
        ("<tbody><tr><td rowspan=9>a<td>b<tbody><tr><td>c<td>d", "a | b\nc | d"),
        ("<tr><td>a<td rowspan=2>b<td>c<tr><td>d<td>e", "a | b | c\nd | b | e"),
        ("<tr><td>a<td rowspan=2>b<td>c<tr><td>d", "a | b | c\nd | b"),
        (f"<tr><td rowspan=2>{'a' * 300}<td>b<tr><td>c<td>d", f"{'a' * 300} | b\n| c | d"),
        ("<tr><td><td>layout<td>", "layout"),
    ],
)  # fmt: skip
def test_cells_keep_their_columns(rows: str, text: str) -> None:
    """No value moves under another column: spanned short cells are repeated, empty ones stay."""
    loaded = html(f"<table>{rows}</table>")
    assert loaded.text == text
    assert_sound(loaded.text, loaded.parts)


def test_tables_in_another_tool_s_manner() -> None:
    """A title before the table, in an element around both, is its caption."""
    page = "<div class=table><p class=title>T 1</p><div><table><tr><th>a<th>b</table></div></div>x"
    assert outline(html(page)) == [
        "table:",
        "  caption: T 1",
        "  header_row: a | b",
        "paragraph: x",
    ]


def test_simple_lists() -> None:
    """A list that another tool wrote as a table is a list."""
    page = "<table class=simplelist><tr><td>a<tr><td>b</table>c"
    assert outline(html(page)) == ["list:", "  item: a", "  item: b", "paragraph: c"]


def test_layout_tables_are_none() -> None:
    """A table of one cell a row lays out paragraphs."""
    assert outline(html("<table><tr><td>a</table><p>b")) == ["paragraph: a", "paragraph: b"]


def test_notes() -> None:
    """An admonition holds what it says; its title is mark-up and no heading of what follows."""
    loaded = html(
        "<h2>Keys</h2><div class='admonition warning'><h3>Warning</h3><p>Hot.</p><ul><li>a</ul>"
        "</div><aside class=tip>Say hello.</aside><p>after"
    )
    assert outline(loaded) == [
        "heading: Keys",
        "note:",
        "  markup: Warning",
        "  paragraph: Hot.",
        "  list:",
        "    item: - a",
        "note:",
        "  paragraph: Say hello.",
        "paragraph: after",
    ]
    assert loaded.marks[-1].location.heading == ("Keys",)


@pytest.mark.parametrize(
    "block",
    [
        "<nav><h2>Pages</h2><ul><li>Home</ul></nav>",
        "<header>Home</header>",
        "<footer><p>Home</footer>",
        "<div role=navigation>Home</div>",
        "<div class='navheader'><table><tr><th>Home<td>Next</table></div>",
        "<div class='x toc'><dl><dt>Home</dl></div>",
        "<ul id=menu><li>Home</ul>",
        "<div class=breadcrumbs>Home</div>",
        "<div class=Cookie-Banner>Home</div>",
        "<div class=footer>Home</div>",
    ],
)
def test_navigation(block: str) -> None:
    """What leads around a site stays in the text, marked as one part."""
    loaded = html(f"<body>{block}<main><h1>Hours</h1><p>At 10.</main>")
    kinds = [part.kind for part in loaded.parts]
    assert kinds == ["nav", "heading", "paragraph"]
    assert "Home" in loaded.text[: loaded.parts[0].end]
    assert loaded.marks[-1].location.heading == ("Hours",)


def test_content_that_is_no_navigation() -> None:
    """The header of an article is content, and so is the title in the header of a page."""
    assert outline(html("<article><header><h1>T</h1>By A.</header></article>")) == [
        "heading: T",
        "paragraph: By A.",
    ]
    card = "<article><p>T</p><div class=footer>By A.</div></article>"
    assert outline(html(card)) == ["paragraph: T", "paragraph: By A."]
    assert outline(html("<header>Site<h1>T</h1>Menu</header>x")) == [
        "nav: Site",
        "heading: T",
        "nav: Menu",
        "paragraph: x",
    ]
    assert html("<nav>All there is.</nav>").parts == ()


TAGS = [
    "ul", "ol", "li", "dl", "dt", "dd", "table", "tr", "td", "th", "thead", "caption", "p", "pre",
    "nav", "header", "div class=note", "div class=table", "h2", "main", "div hidden", "span",
    "p class=title", "ol reversed", "td rowspan=3 colspan=2", "head", "body",
]  # fmt: skip
SOUP = st.lists(
    st.one_of(
        st.sampled_from(TAGS).map("<{}>".format),
        st.sampled_from(TAGS).map(lambda tag: f"</{tag.split()[0]}>"),
        st.sampled_from(["a", " ", "- ", "-v", "Note", "two words", "\n"]),
        st.just("<br>"),
    ),
    max_size=60,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(page=SOUP)
def test_any_tags(page: str) -> None:
    """Whatever the tags, the parts are sound."""
    with contextlib.suppress(LoadError):  # for want of text
        loaded = html(page)
        assert_sound(loaded.text, loaded.parts)


@pytest.mark.parametrize(
    "unit",
    [
        "<ul><li>", "<ol><li>x", "<dl><dt>-x<dd>", "<div class=note>x", "<nav>x",
        "<tr><td rowspan=65534 colspan=1000>x", "<td rowspan=99>x", "<ol reversed><li>",
        "<table><caption>x", "<div class=table><p class=title>x", "<header><h1>x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("head", ["<table>", ""])
def test_hostile_structure(unit: str, head: str) -> None:
    """Depth and spans cost no more than their size."""

    def load(page: str) -> None:
        with contextlib.suppress(LoadError):  # for want of text
            assert len(html(page).text) < 40 * len(page)

    assert_linear(load, lambda size: head + unit * (size // len(unit)), 20_000)


def test_postgres_pages(test_data: Path) -> None:
    """As many parts of each kind as another parser counts elements, navigation aside."""
    pages = sorted((test_data / "howto" / "docs" / "postgres").glob("*.html"))
    assert pages
    for path in pages:
        loaded = load_bytes(path.read_bytes(), name=path.name)
        assert_sound(loaded.text, loaded.parts)
        headed = {part.parent for part in loaded.parts if part.kind == "header_row"}
        kinds = Counter[str](
            _SAME.get(part.kind, part.kind)
            for part in loaded.parts
            if part.kind != "row" or part.parent in headed
        )
        counts = _Counts()
        counts.feed(path.read_text(encoding="utf-8"))
        assert {kind: kinds[kind] for kind in counts.n} == counts.n, path.name


_SAME = {"step": "item", "option": "definition"}


class _Counts(HTMLParser):
    """Counts elements outside navigation and cells; rows of tables with a header only."""

    def __init__(self) -> None:
        super().__init__()
        self.n = dict.fromkeys(("item", "code", "definition", "header_row", "row"), 0)
        self._open: list[str] = []
        self._row: set[str] = set()
        self._previous = ""
        self._has_header = self._is_list = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"br", "hr", "link", "meta", "col", "img", "input"}:
            return
        name = dict(attrs).get("class") or ""
        self._open.append("nav" if name in {"navheader", "navfooter", "toc"} else tag)
        if tag == "table":
            self._has_header, self._is_list = False, name == "simplelist"
        if tag in {"td", "th"}:
            self._row.add(tag)
        if {"nav", "td"} & set(self._open):
            return
        if tag in {"li", "pre"}:
            self.n["item" if tag == "li" else "code"] += 1
        elif tag == "tr":
            self.n["item"] += self._is_list
        elif tag in {"dt", "dd"}:
            self.n["definition"] += tag == "dt" and self._previous != "dt"
            self._previous = tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Empty elements hold nothing."""

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and not {"nav", "td"} & set(self._open):
            is_header = self._row == {"th"}
            self._has_header |= is_header
            self.n["header_row" if is_header else "row"] += self._has_header
        if tag == "tr":
            self._row = set()
        if self._open:
            self._open.pop()


@pytest.mark.parametrize(
    "code",
    [
        '<pre><code class="language-python">x = 1\ny</code></pre>',
        '<pre class="lang-Python">x = 1\ny</pre>',
        '<div class="highlight-python x"><div class="highlight"><pre>x = 1\ny</pre></div></div>',
        '<div class="highlight highlight-source-python"><pre>x = 1\ny</pre></div>',
        '<pre class="brush: python; gutter: false">x = 1\ny</pre>',
        '<div class="sourceCode"><pre class="sourceCode python">x = 1\ny</pre></div>',
    ],
)
def test_language_of_code(code: str) -> None:
    """Code whose language is known stands between fences, as in Markdown; other code does not."""
    loaded = html(f"<p>Run:</p>{code}<pre>z</pre>")
    assert loaded.text == "Run:\n\n```python\nx = 1\ny\n```\n\nz"
    assert outline(loaded) == ["paragraph: Run:", "code: ```python x = 1 y ```", "code: z"]


@pytest.mark.parametrize("name", ["language-none", "highlight-default", "highlight", "lang-", "x"])
def test_code_without_language(name: str) -> None:
    """No language is none, and a language of people is none of code."""
    assert html(f"<div class='lang-en'><pre class='{name}'>x</pre></div>").text == "x"
