"""The structure of reStructuredText."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.rst import rst_parts
from ragkit.types import PartKind

LINES = """
Title|=====|-----|~~~~~|text|text::|::|||- a|* b|+|1. x|#. y|(a) z|ii. w|term|:field: x|:orphan:
-v, --verbose  loud|>>> 1|"a", "b|c"|.. note:: n|.. note::|.. admonition:: A|.. code-block:: python
:caption: c|.. list-table:: T|:header-rows: 1|* - a|- b|.. csv-table::|.. function:: f(x)|.. tabs::
.. versionadded:: 1|.. image:: i|.. _label:|.. [1] foot|..|.. comment|- - - 1. :a: .. note:: * x
__ http://x|> quote|=== ===|a   b|--- ---|+---+---+|+===+===+|.. versionchanged:: 2 text|\t\u2003é
""".replace("\n", "|").split("|")
INDENTED = st.builds(
    str.__add__,
    st.sampled_from(["", "", *map(" ".__mul__, (2, 3, 4, 6, 8))]),
    st.sampled_from([*LINES, "| verse", "| a | b |"]),
)
TEXTS = st.lists(st.one_of(INDENTED, st.text(max_size=8)), max_size=30).map("\n".join)
HOLDERS: dict[PartKind, frozenset[PartKind]] = {
    "item": frozenset({"list"}),
    "step": frozenset({"procedure"}),
    "row": frozenset({"table"}),
    "header_row": frozenset({"table"}),
}


def outline(text: str) -> list[str]:
    """Return the parts, indented by their depth, each with the first line of its text."""
    depths, lines = list[int](), list[str]()
    for part in rst_parts(text):
        depths.append(0 if part.parent is None else depths[part.parent] + 1)
        first = text[part.start : part.end].partition("\n")[0]
        lines.append("  " * depths[-1] + f"{part.kind}: {first}")
    return lines


@given(TEXTS)
def test_parts_of_any_text_nest(text: str) -> None:
    """Parts are in order, inside their parents, apart from their siblings, and hold no edges."""
    parts = rst_parts(text)
    ends: dict[int | None, int] = {}
    for i, part in enumerate(parts):
        assert 0 <= part.start < part.end <= len(text)
        assert text[part.start : part.end] == text[part.start : part.end].strip()
        assert i == 0 or parts[i - 1].start <= part.start
        assert part.start >= ends.get(part.parent, 0)
        ends[part.parent] = part.end
        holder = None
        if part.parent is not None:
            assert part.parent < i
            holder = parts[part.parent]
            assert holder.start <= part.start
            assert part.end <= holder.end
        if part.kind in HOLDERS:
            assert holder is not None
            assert holder.kind in HOLDERS[part.kind]


@given(TEXTS)
def test_running_text_is_in_a_part(text: str) -> None:
    """Every character stands in some outermost part."""
    covered = [False] * len(text)
    for part in rst_parts(text):
        covered[part.start : part.end] = [True] * (part.end - part.start)
    assert not [c for c, inside in zip(text, covered, strict=True) if not (inside or c.isspace())]


def test_lists_and_procedures() -> None:
    """Items and steps hold what is nested in them; the first paragraph is their own text."""
    text = "* one\n  goes on\n\n  more::\n\n      code\n\n  1. first\n  #. second\n\n* two\n"
    assert outline(text) == [
        "list: * one",
        "  item: * one",
        "    paragraph: more::",
        "    code: code",
        "    procedure: 1. first",
        "      step: 1. first",
        "      step: #. second",
        "  item: * two",
    ]
