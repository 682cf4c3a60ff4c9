"""The structure of reStructuredText as docutils, which defines it, sees it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.text.rst import rst_parts

core: Any = pytest.importorskip("docutils.core")
nodes: Any = pytest.importorskip("docutils.nodes")
rst: Any = pytest.importorskip("docutils.parsers.rst")

KINDS = {
    "bullet_list": "list", "enumerated_list": "procedure", "definition_list_item": "definition",
    "field": "definition", "option_list_item": "option", "literal_block": "code",
    "doctest_block": "code", "note": "note", "table": "table", "paragraph": "paragraph",
    "line_block": "paragraph", "title": "heading",
}  # fmt: skip
OWNERS = frozenset({"list_item", "definition", "field_body", "description"})
SILENT = frozenset(
    {"#text", "system_message", "term", "option_group", "field_name", "comment", "target"}
)
Outline = list[tuple[int, str]]


class Node(Protocol):
    """A node of docutils' document tree."""

    tagname: str
    parent: Node
    children: Sequence[Node]


def tree_of(text: str) -> Node:
    """Return the document tree of docutils."""
    silent = {"report_level": 5, "halt_level": 6, "file_insertion_enabled": False,
              "doctitle_xform": False, "docinfo_xform": False}  # fmt: skip
    return cast("Node", core.publish_doctree(text, settings_overrides=silent))


def kind_of(node: Node) -> str | None:
    """Return the kind of part that a node is, None if it is none."""
    if node.tagname == "list_item":
        return "step" if node.parent.tagname == "enumerated_list" else "item"
    if node.tagname == "row":
        return "header_row" if node.parent.tagname == "thead" else "row"
    if node.tagname == "title" and node.parent.tagname != "section":
        return None
    return KINDS.get(node.tagname)


def their_outline(node: Node, depth: int = 0) -> Iterator[tuple[int, str]]:
    """Yield depth and kind of the parts in a node."""
    for i, child in enumerate(node.children):
        is_own_text = node.tagname in OWNERS and i == 0 and kind_of(child) == "paragraph"
        if is_own_text or child.tagname in SILENT:
            continue
        kind = kind_of(child)
        if kind is not None:
            yield depth, kind
        if kind not in {"paragraph", "code", "heading", "row", "header_row"}:
            yield from their_outline(child, depth if kind is None else depth + 1)


def our_outline(text: str) -> Outline:
    """Return depth and kind of the parts, without markup."""
    depths, outline = list[int](), Outline()
    for part in rst_parts(text):
        depths.append(0 if part.parent is None else depths[part.parent] + 1)
        if part.kind != "markup":
            outline.append((depths[-1], part.kind))
    return outline


TABLES = (
    "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n|   | - |\n+---+---+\n| 3 | 4 |\n+---+---+",
    "+---+---+\n| - | + |\n+---+---+",
    "=== ====\na   b\n=== ====\n1   2\n    more\n3   4\n=== ====",
    "===== =====\n 1     - x\n       - y\n\n 2     z\n===== =====",
    "=== ===\n a b\n-------\n1   2\n=== ===\n3   4\n=== ===",
)
CODES = (
    "One::\n\n    code\n\n      - more",
    ">>> 1\n1",
    "::\n\n  1. x",
    "One::\n\n> quoted\n> more",
)


def indented(lines: str, width: int, marker: str = "") -> str:
    """Return lines moved to the right, with a marker left of the first one."""
    moved = "\n".join(" " * width + line if line else "" for line in lines.split("\n"))
    return marker.ljust(width) + moved[width:] if marker else moved


def joined(blocks: Sequence[str]) -> str:
    """Return blocks one below the other, each list ended by an empty comment."""
    return "\n\n..\n\n".join(blocks)


PLAIN = st.sampled_from(["One two", "One two\nthree: four", "| verse\n| more", *CODES[:1]])
LEAVES = st.one_of(PLAIN, st.sampled_from([*TABLES, *CODES]))


def below(first: str, rest: list[str]) -> str:
    """Return blocks, of which the first can stand right of a marker."""
    return joined([first, *rest])


def bulleted(bodies: list[str]) -> str:
    """Return a list."""
    return "\n\n".join(indented(body, 2, "*") for body in bodies)


def numbered(number: str, first: int, bodies: list[str]) -> str:
    """Return an ordered list."""
    markers = [number.format(first + i) for i in range(len(bodies))]
    return "\n\n".join(map(indented, bodies, [5] * len(bodies), markers))


def nested(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return blocks that hold others."""
    bodies = st.lists(blocks, min_size=1, max_size=3).map(joined)
    plain = st.builds(below, st.just("One two"), st.lists(LEAVES, max_size=2))
    items = st.lists(st.builds(below, PLAIN, st.lists(blocks, max_size=2)), min_size=1, max_size=3)
    numbers = st.sampled_from(["{}.", "({})", "{})", "#."])
    return st.one_of(
        items.map(bulleted),
        st.builds(numbered, numbers, st.integers(1, 9), items),
        bodies.map(lambda body: "term\n" + indented(body, 4)),
        bodies.map(lambda body: ".. note::\n\n" + indented(body, 3)),
        bodies.map(lambda body: "One two\n\n" + indented(body, 4)),
        plain.map(lambda body: indented(body, 6, ":f:")),
        plain.map(lambda body: indented(body, 6, "-v")),
    )


DOCUMENTS = st.lists(st.recursive(LEAVES, nested, max_leaves=8), min_size=1, max_size=4)


@settings(deadline=None)
@given(DOCUMENTS)
def test_nested_blocks(blocks: list[str]) -> None:
    """Well-formed blocks, nested in each other, are the parts that docutils makes of them."""
    text = "Title\n=====\n\nText.\n\n" + joined(blocks) + "\n"
    assert our_outline(text) == list(their_outline(tree_of(text)))


COUNTED = frozenset({"item", "step", "code", "row", "header_row", "heading"})
CODE_DIRECTIVES = frozenset({"code", "code-block", "sourcecode", "console", "doctest"})
KNOWN = frozenset(
    "note warning list-table csv-table table parsed-literal image include replace".split()
)
"""Directives that docutils reads by itself; the others are Sphinx's."""


def content_of(directive: Any) -> list[Node]:  # noqa: ANN401 - docutils has no types
    """Return what a directive of Sphinx holds."""
    if directive.name in CODE_DIRECTIVES:
        code = "\n".join(directive.content)
        return [nodes.literal_block(code, code)] if code else []
    holder = nodes.container()
    directive.state.nested_parse(directive.content, directive.content_offset, holder)
    return [holder]


def counted(kinds: Iterator[tuple[int, str]] | Outline) -> Counter[str]:
    """Return how many parts there are of the kinds that matter most."""
    return Counter(kind for _, kind in kinds if kind in COUNTED)


def test_real_documentation(test_data: Path) -> None:
    """Nearly all items, steps, code blocks and rows of real manuals are found, and no others."""
    texts = [path.read_text("utf-8") for name in ("flask/**/*.rst", "django/**/*.txt")
             for path in sorted((test_data / "howto" / "docs").glob(name))]  # fmt: skip
    read = {"run": content_of, "has_content": True, "optional_arguments": 99,
            "final_argument_whitespace": True,
            "option_spec": defaultdict(lambda: str, {"class": str})}  # fmt: skip
    for name in set(re.findall(r"^ *\.\. ([\w:-]+?)::", "\n".join(texts), re.MULTILINE)) - KNOWN:
        rst.directives.register_directive(name, type("Content", (rst.Directive,), read))
    ours, theirs, both = Counter[str](), Counter[str](), Counter[str]()
    for text in texts:
        found, right = counted(our_outline(text)), counted(their_outline(tree_of(text)))
        ours, theirs, both = ours + found, theirs + right, both + (found & right)
    assert theirs.keys() == COUNTED
    for kind in COUNTED:
        assert both[kind] >= 0.99 * max(ours[kind], theirs[kind]), kind
