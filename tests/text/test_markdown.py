"""The parts of Markdown: what they are by construct, as another parser sees them, on any text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ragkit.loading import load_bytes
from ragkit.text.markdown import MOST_NESTED, markdown_parts
from ragkit.types import Part

from ..cpu import assert_linear

Block: TypeAlias = tuple[str, int, int]
"""Kind, first line and the line behind the last."""

REFERENCE = MarkdownIt("commonmark", {"maxNesting": 1000}).enable("table")
KINDS = {
    "list_item_open": "item", "heading_open": "heading", "fence": "code", "code_block": "code",
    "tr_open": "row", "bullet_list_open": "list", "ordered_list_open": "procedure",
    "table_open": "table", "paragraph_open": "paragraph", "hr": "markup",
}  # fmt: skip
COMPARED = {"item", "heading", "code", "row", "list", "procedure", "table"}
QUOTED = " \t\n>"


def tree(text: str, start: int = 0) -> str:
    """Return the parts of a text, one a line, indented by their depth."""
    parts, depths = markdown_parts(text, start), list[int]()
    for part in parts:
        depths.append(0 if part.parent is None else depths[part.parent] + 1)
    return "\n".join(
        f"{'  ' * depth}{part.kind} {text[part.start : part.end]!r}"
        for part, depth in zip(parts, depths, strict=True)
    )


def kinds(text: str) -> list[tuple[str, str]]:
    """Return the kinds and texts of the parts that hold no others."""
    parts = markdown_parts(text)
    parents = {part.parent for part in parts}
    return [
        (part.kind, text[part.start : part.end]) for i, part in enumerate(parts) if i not in parents
    ]


def test_headings_paragraphs_and_markup() -> None:
    """Headings of both kinds, underlines, rules, comments, anchors, link definitions."""
    text = (
        "# Top #\nintro\nmore\n\nOther\n=====\n***\n<!-- no\n\ntext -->\n<a id='x'></a>\n\n"
        "[a]: https://a.example 'A'\n[b]:\n  <b c>\nafter\n"
    )
    assert tree(text) == (
        "heading '# Top #'\n"
        "paragraph 'intro\\nmore'\n"
        "heading 'Other'\n"
        "markup '====='\n"
        "markup '***'\n"
        "markup '<!-- no\\n\\ntext -->'\n"
        "markup \"<a id='x'></a>\"\n"
        "markup \"[a]: https://a.example 'A'\"\n"
        "markup '[b]:\\n  <b c>'\n"
        "paragraph 'after'"
    )


def test_lists_hold_items_and_items_hold_blocks() -> None:
    """The first paragraph is an item's own; further blocks and lists stand in it."""
    text = (
        "To do:\n\n1. Open\n   the lid.\n\n   More.\n\n   ```sh\n   lid --open\n\n   ```\n"
        "2. Turn:\n   - left\n   - right\nlazily\n3. Done.\n\nEnd.\n"
    )
    assert tree(text) == (
        "paragraph 'To do:'\n"
        f"procedure {text[8:-7]!r}\n"
        "  step '1. Open\\n   the lid.\\n\\n   More.\\n\\n   ```sh\\n   lid --open\\n\\n   ```'\n"
        "    paragraph 'More.'\n"
        "    code '```sh\\n   lid --open\\n\\n   ```'\n"
        "  step '2. Turn:\\n   - left\\n   - right\\nlazily'\n"
        "    list '- left\\n   - right\\nlazily'\n"
        "      item '- left'\n"
        "      item '- right\\nlazily'\n"
        "  step '3. Done.'\n"
        "paragraph 'End.'"
    )


def test_another_sign_begins_another_list() -> None:
    """Bullets or delimiters that differ tell lists apart."""
    assert tree("- a\n* b\n1. c\n2) d\n") == (
        "list '- a'\n  item '- a'\nlist '* b'\n  item '* b'\n"
        "procedure '1. c'\n  step '1. c'\nprocedure '2) d'\n  step '2) d'"
    )


def test_a_header_of_several_rows() -> None:
    """Rows that begin with a bar above the header are header rows, too."""
    text = "Fees\n| Room | Winter ||\n| | 1 | 2 |\n|---|---|---|\n| A | 5 | 6 |\n"
    assert tree(text) == (
        "paragraph 'Fees'\n"
        "table '| Room | Winter ||\\n| | 1 | 2 |\\n|---|---|---|\\n| A | 5 | 6 |'\n"
        "  header_row '| Room | Winter ||'\n"
        "  header_row '| | 1 | 2 |'\n"
        "  markup '|---|---|---|'\n"
        "  row '| A | 5 | 6 |'"
    )


def test_tables() -> None:
    """The line above the delimiters is the header; bars at the ends may be left out."""
    text = (
        "Parts:\na | b\n--|:-:\n1 | 2\n3 \\| 4 |\n\n| no |\n|---|---|\n\n"
        "- | x |\n  |---|\n  | y |\n"
    )
    assert tree(text) == (
        "paragraph 'Parts:'\n"
        "table 'a | b\\n--|:-:\\n1 | 2\\n3 \\\\| 4 |'\n"
        "  header_row 'a | b'\n"
        "  markup '--|:-:'\n"
        "  row '1 | 2'\n"
        "  row '3 \\\\| 4 |'\n"
        "table '| no |\\n|---|---|'\n"
        "  row '| no |'\n"
        "  row '|---|---|'\n"
        "list '- | x |\\n  |---|\\n  | y |'\n"
        "  item '- | x |\\n  |---|\\n  | y |'\n"
        "    table '| x |\\n  |---|\\n  | y |'\n"
        "      header_row '| x |'\n"
        "      markup '|---|'\n"
        "      row '| y |'"
    )


def test_code_is_whole() -> None:
    """Longer fences hold shorter ones; an open fence reaches to the end of what it stands in."""
    assert kinds("````md\n```\n# no\n```\n````\n~~~\na\n\n\n- b\n~~~ \n") == [
        ("code", "````md\n```\n# no\n```\n````"), ("code", "~~~\na\n\n\n- b\n~~~")
    ]  # fmt: skip
    assert kinds("text\n\n    a\n\n\n      b\n\nend\n\n```\n- a\n\n") == [
        ("paragraph", "text"), ("code", "a\n\n\n      b"),
        ("paragraph", "end"), ("code", "```\n- a"),
    ]  # fmt: skip
    assert kinds("> ```\n> a\n>\n> b\nend\n") == [
        ("code", "> ```\n> a\n>\n> b"), ("paragraph", "end")
    ]  # fmt: skip


def test_quotes_and_notes() -> None:
    """What a quote says stands where the quote does; an alert or admonition is a note."""
    text = (
        "> Said\n> so.\n>\n> - a\n\n> [!WARNING]\n> Hot!\n>\n> Very.\n\n"
        '!!! tip "Try"\n    It.\n\nEnd\n'
    )
    assert tree(text) == (
        "paragraph '> Said\\n> so.'\n"
        "markup '>'\n"
        "list '> - a'\n"
        "  item '> - a'\n"
        "note '> [!WARNING]\\n> Hot!\\n>\\n> Very.'\n"
        "  markup '> [!WARNING]'\n"
        "  paragraph '> Hot!'\n"
        "  markup '>'\n"
        "  paragraph '> Very.'\n"
        "note '!!! tip \"Try\"\\n    It.'\n"
        "  markup '!!! tip \"Try\"'\n"
        "  paragraph 'It.'\n"
        "paragraph 'End'"
    )


def test_terms_and_options() -> None:
    """A term with what explains it is a definition, or an option if it is a flag or in code."""
    text = "Apple\n:   A fruit.\n\n    Red.\n: A firm.\n\n`-v`\n: Verbose.\n\nLong\ntext\n: no\n"
    assert tree(text) == (
        "definition 'Apple\\n:   A fruit.\\n\\n    Red.\\n: A firm.'\n"
        "  paragraph 'Red.'\n"
        "  paragraph ': A firm.'\n"
        "option '`-v`\\n: Verbose.'\n"
        "paragraph 'Long\\ntext\\n: no'"
    )
    items = [
        "* `port` (number): to listen on",
        "* **`host`**: name",
        "* [`path`](#path) - of the log",
        "* -v, --verbose – more",
        "* `a` or `b`: two names",
        "* [x] `done` — yes",
        "* **Note:** words",
        "* [`pack`](https://pack.example): a package",
        "* `list`",
        "* `name` is one",
        "* plain: text",
    ]
    found = [part.kind for part in markdown_parts("\n".join(items))]
    assert found == ["list", *["option"] * 6, *["item"] * 5]


def test_contents_are_navigation() -> None:
    """A list of nothing but links inside the document; any other list of links is none."""
    contents = "- [A](#a)\n  - [`b(c, [d])`](#b)\n  - [Long\n    title](#e)\n"
    assert kinds(f"# Top\n{contents}\ntext\n\n[TOC]\n") == [
        ("heading", "# Top"), ("nav", contents.strip()), ("paragraph", "text"), ("nav", "[TOC]")
    ]  # fmt: skip
    for other in ("- [B](b.md)", "- [B](#b) tells more", "- [B](b.md) or [C](#c)", "- text"):
        assert ("nav", contents + other) not in kinds(contents + other)
        assert ("item", "- [A](#a)") in kinds("- [A](#a)\n" + other)
    assert kinds("- a\n\n# B\n\n- [C](#c)")[-1] == ("item", "- [C](#c)"), "not at the top"


def test_raw_html() -> None:
    """Lines with text are paragraphs, others markup; tables and preformatted text are known."""
    text = (
        "<details>\n<summary>More</summary>\n\ntext\n\n</details>\n\n"
        "<table>\n<caption>Sizes</caption>\n<tr><th>a</th></tr>\n<tr>\n<td>1</td>\n</tr>\n</table>\n\n"
        "<pre>\n a\n\n b</pre>\n<h1 align='center'>Top</h1>\n\n<script>\nx()\n</script>\n"
    )
    assert tree(text) == (
        "markup '<details>'\n"
        "paragraph '<summary>More</summary>'\n"
        "paragraph 'text'\n"
        "markup '</details>'\n"
        "table '<table>\\n<caption>Sizes</caption>\\n<tr><th>a</th></tr>\\n"
        "<tr>\\n<td>1</td>\\n</tr>\\n</table>'\n"
        "  markup '<table>'\n"
        "  caption '<caption>Sizes</caption>'\n"
        "  header_row '<tr><th>a</th></tr>'\n"
        "  row '<tr>\\n<td>1</td>\\n</tr>'\n"
        "  markup '</table>'\n"
        "code '<pre>\\n a\\n\\n b</pre>'\n"
        "heading \"<h1 align='center'>Top</h1>\"\n"
        "markup '<script>\\nx()\\n</script>'"
    )


def test_front_matter_footnotes_and_directives() -> None:
    """What only programs read is markup; a footnote is a paragraph that may go on."""
    text = (
        "---\ntitle: a\n---\n[![Build](b.svg)](b) [![npm][i]][u]\n\n[^1]: A note.\n\n    More.\n"
        ":::note\ninside\n:::\n{% raw %}\n{{< tab >}}\n"
    )
    assert tree(text, text.index("[!")) == (
        "markup '---\\ntitle: a\\n---'\n"
        "markup '[![Build](b.svg)](b) [![npm][i]][u]'\n"
        "paragraph '[^1]: A note.'\n"
        "paragraph 'More.'\n"
        "markup ':::note'\n"
        "paragraph 'inside'\n"
        "markup ':::'\n"
        "markup '{% raw %}'\n"
        "markup '{{< tab >}}'"
    )


def test_loading_keeps_parts_and_marks() -> None:
    """Marks of blocks in lists and quotes begin with their line, under the heading above."""
    text = "---\na: b\n---\n# T\n\n1. x\n\n       y\n\n2. z\n\n> # no\n\na | b\n-|-\n1 | 2\n"
    loaded = load_bytes(text.encode(), name="a.md")
    assert loaded.parts == markdown_parts(text, text.index("# T"))
    assert [(mark.kind, text[mark.start :].partition("\n")[0]) for mark in loaded.marks] == [
        ("heading", "# T"), ("code", "       y"), ("text", "2. z"),
        ("row", "a | b"), ("row", "-|-"), ("row", "1 | 2"),
    ]  # fmt: skip
    assert all(mark.location.heading == ("T",) for mark in loaded.marks)


# Against another parser


def expected(text: str) -> Counter[Block]:
    """Return the blocks that the reference finds, without blank lines at their ends."""
    lines = text.split("\n")
    found: Counter[Block] = Counter()
    for token in REFERENCE.parse(text):
        if token.map and token.type in KINDS:
            first, last = token.map
            while last > first + 1 and not lines[last - 1].strip(QUOTED):
                last -= 1
            if token.type == "heading_open" and token.markup in {"=", "-"}:
                last -= 1
            found[KINDS[token.type], first, last] += 1
    return found


def blocks(text: str) -> Counter[Block]:
    """Return the blocks that the parts are."""
    starts = [0, *(i + 1 for i, character in enumerate(text) if character == "\n")]
    lines = text.split("\n")
    names = {"option": "item", "step": "item", "header_row": "row"}
    found: Counter[Block] = Counter()
    parts = markdown_parts(text)
    headed = {part.parent for part in parts if part.kind == "header_row"}
    for i, part in enumerate(parts):
        if (part.kind == "table" and i not in headed) or (
            part.kind == "row" and part.parent not in headed
        ):
            # Rows without delimiters below a header row are no table to the reference.
            continue
        first, last = (bisect_right(starts, at) for at in (part.start, part.end - 1))
        while last > first and not lines[last - 1].strip(QUOTED):
            last -= 1
        found[names.get(part.kind, part.kind), first - 1, last] += 1
    return found


def of_kinds(found: Counter[Block]) -> Counter[Block]:
    """Return the blocks that both parsers name alike."""
    return Counter({block: n for block, n in found.items() if block[0] in COMPARED})


PIECES = st.sampled_from(
    ["a", "b c", "# h", "- ", "* ", "+ ", "1. ", "2. ", "7) ", "> ", ">", "  ", "    ", "\t", "\n",
     "\n\n", "```", "~~~", "````x", "===", "---", "***", "| a | b |\n|---|---|\n", "|", "\\|",
     "x | y", "--|--", "- - -", "`c`"]
)  # fmt: skip
QUIRKS = re.compile(
    r"(?:[-+*]|\d[.)])[ \t]*$|(?: {4}|\t)[ \t]*[>|]|\|[^\n]*\n[^\n]*\|[^\n]*\n[^\n]*-", re.MULTILINE
)
"""An empty item; a quote or row that is indented like code; a header of several rows."""


CONSTRUCTS = (
    "-   a\n\n    b\n\n  c\n", "- a\n\n b\n", "10. a\n\n    b\n   - c\n", "-      a\n\n  b\n",
    "- a\n - b\n  - c\n   - d\n    - e\n", "> - a\n>   b\n> - c\n", ">     a\n", ">    a\n",
    ">\ta\n", "-\ta\n\n\tb\n", " -\ta\n\n\t- b\n", "-\n\n  a\n", "-\n  a\n", "Born\n1984. A year\n",
    "Do\n1. this\n", "a\n-\n", "a\n- b\n", "> a\n2. b\n", "> a\nb\n===\n", "- a\n\n\n- b\n",
    "- ```\n  a\n\n  b\n  ```\n- c\n", "- a\n  ```\nb\n```\n", "- a\n\n      b\n", "a\n    b\n",
    "~~~\n```\n~~~~\na\n", "``` a`b\n", "#a\n", "####### a\n", "- - - a\n", "* * *\n",
    "a | b\n--|--\n1\n- c\n", "a | b\n--|\n", "| a |\n|---|\n> b\n", "a\nb | c\n-|-\nd | e\n\nf\n",
)  # fmt: skip


@pytest.mark.parametrize("text", CONSTRUCTS)
def test_constructs_are_read_as_by_another_parser(text: str) -> None:
    """Columns, tabs, laziness, what ends a paragraph and what does not."""
    assert of_kinds(blocks(text)) == of_kinds(expected(text))


@given(st.lists(PIECES, max_size=25).map("".join))
def test_blocks_are_those_of_another_parser(text: str) -> None:
    """Lists, items, headings, code and rows lie on the same lines."""
    # There the reference departs from the specification, or that says nothing.
    assume(not QUIRKS.search(text))
    assert of_kinds(blocks(text)) == of_kinds(expected(text))


def test_blocks_of_real_documents(test_data: Path) -> None:
    """Every block of two projects' documentation is found, and no other."""
    files = sorted((test_data / "howto" / "docs").glob("*/**/*.md"))
    assert len(files) > 50
    for file in files:
        text = file.read_text("utf-8")
        nav = [part for part in markdown_parts(text) if part.kind == "nav"]
        lines = {
            line for part in nav
            for line in range(text.count("\n", 0, part.start), text.count("\n", 0, part.end) + 1)
        }  # fmt: skip
        theirs = {b for b in of_kinds(expected(text)) if b[1] not in lines}
        ours = {b for b in of_kinds(blocks(text)) if not text.split("\n")[b[1]].startswith("<")}
        assert ours == theirs, file


# Any text

ANYTHING = st.lists(
    st.one_of(
        PIECES,
        st.sampled_from(
            ["[a]: b", ": d", "T\n: d", "[^1]: f", "!!! note\n", "> [!NOTE]\n", ":::", "{% a %}",
             "<div>", "<!--", "-->", "<pre>", "</pre>", "<table>\n", "<tr><td>", "<th>a",
             "<a id=x>", "[a](#a)", "[TOC]", "[![a](b)](c)", "`-x`: y", "\u00a0",
             "\u2028", "\x0b", "\r"]
        ),
        st.text(max_size=5),
    ),
    max_size=30,
).map("".join)  # fmt: skip
CHILDREN = {
    "list": {"item", "option", "markup"}, "procedure": {"step", "markup"},
    "table": {"caption", "header_row", "row", "markup", "paragraph", "heading"},
}  # fmt: skip


@given(ANYTHING)
def test_parts_are_well_formed(text: str) -> None:
    """In order, inside their parents, never overlapping, and they hold all but white space."""
    parts = markdown_parts(text)
    outer, ends = list[Part](), dict[int | None, int]()
    for i, part in enumerate(parts):
        words = text[part.start : part.end]
        assert words
        assert words == words.strip()
        assert i == 0 or parts[i - 1].start <= part.start
        assert ends.get(part.parent, 0) <= part.start
        ends[part.parent] = part.end
        if part.parent is None:
            outer.append(part)
            continue
        parent = parts[part.parent]
        assert part.parent < i
        assert parent.start <= part.start
        assert part.end <= parent.end
        assert part.kind in CHILDREN.get(parent.kind, {part.kind})
        assert parent.kind not in {"heading", "paragraph", "code", "row", "header_row", "nav"}
    edges = [0, *(edge for part in outer for edge in (part.start, part.end)), len(text)]
    assert all(not text[a:b].strip() for a, b in zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize(
    "unit",
    ["> ", "- ", "1. ", "- - a\n", "```\n", "> a\n", "a\n", "| a ", "|a|\n|-|\n", "[a]: b (\n",
     "[a\n", "<a ", "<!--\n", "<table>\n<tr>", "a\n\n: b\n\n", "- [a](#", "- `a` (", "* ",
     "  - a\n", "!!! a\n    ", "> [!NOTE]\n"],
)  # fmt: skip
def test_time_is_linear(unit: str) -> None:
    """Nesting, fences, links, tags and tables that nothing ends."""
    assert_linear(markdown_parts, lambda n: (unit * n)[:n], 20_000)


def test_deep_nesting_ends() -> None:
    """Quotes and lists below the limit are text; nothing calls itself by depth."""
    deep = "- " * 5_000 + "a\n" + "> " * 5_000 + "b\n" + "\n" * 5_000
    assert len(markdown_parts(deep)) < 3 * MOST_NESTED
    stairs = "".join("  " * i + "- a\n" for i in range(200))
    assert MOST_NESTED <= len(markdown_parts(stairs)) < 2 * MOST_NESTED
