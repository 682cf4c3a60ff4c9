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


def test_titles() -> None:
    """Any line of one character underlines; over- and underlines are markup, and no fences."""
    text = "=====\n Top\n=====\n\nSub\n~~~\n\nDeep\n````\n\n----\n\nText\nof two lines.\n"
    assert outline(text) == [
        "markup: =====", "heading: Top", "markup: =====", "heading: Sub", "markup: ~~~",
        "heading: Deep", "markup: ````", "markup: ----", "paragraph: Text",
    ]  # fmt: skip


def test_numbers() -> None:
    """Steps count on in digits, letters or roman numerals; prose that starts with one does not."""
    text = (
        "3. c\n4. d\n\na) x\nb) y\n\nI. i\nII. ii\n\n1. a\n1. b\n\n"
        "A. Smith\nwrote.\n\n1999. It\nwas.\n"
    )
    assert outline(text) == [
        "procedure: 3. c", "  step: 3. c", "  step: 4. d", "procedure: a) x", "  step: a) x",
        "  step: b) y", "procedure: I. i", "  step: I. i", "  step: II. ii", "procedure: 1. a",
        "  step: 1. a", "  step: 1. b", "paragraph: A. Smith", "paragraph: 1999. It",
    ]  # fmt: skip


def test_careless_indentation() -> None:
    """What stands right of a marker belongs to it, however it is indented."""
    text = "1. one\n  goes on\n  - nested\n\n  more\n\n2. two\n"
    assert outline(text) == [
        "procedure: 1. one", "  step: 1. one", "    list: - nested", "      item: - nested",
        "    paragraph: more", "  step: 2. two",
    ]  # fmt: skip


def test_definitions_and_options() -> None:
    """A term and its first paragraph are one text; flags make options."""
    text = (
        ":Author: Ann\n\nterm\n    What it is.\n\n    More.\n\n``--all``\n    Everything.\n\n"
        "-v, --verbose  Say more.\n\n:param x: A number,\n    or none.\n\n.. [1] A note.\n"
    )
    assert outline(text) == [
        "markup: :Author: Ann", "definition: term", "  paragraph: More.", "option: ``--all``",
        "option: -v, --verbose  Say more.", "definition: :param x: A number,", "markup: ..",
        "definition: [1] A note.",
    ]  # fmt: skip


def test_described_objects() -> None:
    """The signature is the term; a name without a text is only a place for links."""
    text = (
        ".. setting:: DEBUG\n\n.. setting:: LEVEL\n\n    How much.\n\n.. function:: f(a)\n\n"
        ".. py:method:: g(a)\n               h(b)\n\n    Both.\n\n    .. versionchanged:: 2.0\n\n"
        "        Faster.\n\n    .. versionadded:: 1.0\n"
    )
    assert outline(text) == [
        "markup: .. setting:: DEBUG", "markup: .. setting::", "option: LEVEL",
        "markup: .. function::", "definition: f(a)", "markup: .. py:method::", "definition: g(a)",
        "  note: .. versionchanged:: 2.0", "    markup: ..",
        "    definition: versionchanged:: 2.0", "  markup: .. versionadded:: 1.0",
    ]  # fmt: skip
    parts = [part for part in rst_parts(text) if part.kind == "definition"]
    assert text[parts[-1].start : parts[-1].end] == "versionchanged:: 2.0\n\n        Faster."


def test_notes() -> None:
    """A note holds what it says; its directive and options are markup, its title a caption."""
    text = (
        ".. note:: Mind\n   the gap.\n\n.. admonition:: Why\n   :class: x\n\n   So.\n\n"
        "   - one\n\n.. warning::\n\n   Hot::\n\n      code\n"
    )
    assert outline(text) == [
        "note: .. note:: Mind", "  markup: .. note::", "  paragraph: Mind",
        "note: .. admonition:: Why", "  markup: .. admonition::", "  caption: Why",
        "  markup: :class: x", "  paragraph: So.", "  list: - one", "    item: - one",
        "note: .. warning::", "  markup: .. warning::", "  paragraph: Hot::", "  code: code",
    ]  # fmt: skip


def test_code_and_containers() -> None:
    """Directives are markup around code; tabs and unknown ones say nothing of their content."""
    text = (
        ".. tabs::\n\n   .. group-tab:: Linux\n\n      .. code-block:: console\n"
        "         :caption: c\n\n         $ a\n\n           b\n\n      Text.\n\n"
        ".. image:: x.png\n   :alt: y\n\n.. math:: a^2\n\n.. toctree::\n\n   one\n   two\n"
    )
    assert outline(text) == [
        "markup: .. tabs::", "markup: .. group-tab:: Linux", "markup: .. code-block:: console",
        "code: $ a", "paragraph: Text.", "markup: .. image:: x.png", "markup: .. math::",
        "code: a^2", "markup: .. toctree::",
    ]  # fmt: skip


def test_tables() -> None:
    """Rows of all four kinds of tables; headers where they say so."""
    text = (
        ".. list-table:: Fares\n   :header-rows: 1\n\n"
        "   * - zone\n     - price\n   * - A\n     - 2\n\n"
        '.. csv-table:: Fares\n   :header: zone, price\n\n   A, "2\n   EUR"\n   B, 3\n\n'
        "==== =====\nzone price\n==== =====\nA    2\n     EUR\nB    3\n==== =====\n"
    )
    assert outline(text) == [
        "table: .. list-table:: Fares", "  markup: .. list-table::", "  caption: Fares",
        "  markup: :header-rows: 1", "  header_row: * - zone", "  row: * - A",
        "table: .. csv-table:: Fares", "  markup: .. csv-table::", "  caption: Fares",
        "  markup: :header:", "  header_row: zone, price", '  row: A, "2', "  row: B, 3",
        "table: ==== =====", "  markup: ==== =====", "  header_row: zone price",
        "  markup: ==== =====", "  row: A    2", "  row: B    3", "  markup: ==== =====",
    ]  # fmt: skip


def test_depth_is_limited() -> None:
    """Hostile nesting stays shallow enough to follow the parents of every part."""
    deep = outline("- " * 2_000 + "a")
    assert 20 < len(deep) < 60
    assert len(outline("\n".join(" " * i + "- a" for i in range(300)))) > 300
