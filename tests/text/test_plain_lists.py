"""Lists in text without markup."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.loading import load_bytes
from ragkit.text.plain_lists import MAX_STEPS, plain_list_parts

from ..loading.structure import assert_sound, outline

LINES = st.sampled_from(
    ["", "a", "A colon:", "1. a", "2. b", "3) c", "a) d", "b) e", "- f", "* g", "  - h", "   1. i",
     "   2. j", "\t- k", "     l", "  m:", "10. n", "-", "1.", "\u2003- o", "x. p"]
)  # fmt: skip


def lists(text: str) -> list[str]:
    """Return the outline of a text file."""
    return outline(load_bytes(text.encode(), name="a.txt"))


def test_steps_with_what_stands_in_them() -> None:
    """Steps go on over blank lines; indented text belongs to them, and the next one to none."""
    text = """The lamp. To light it:

1. Open the tap
   slowly.
2. Light it:
   - with a match;
   - with a lighter.

   It takes a while.

3. Close the tap.

The lamp is lit.
"""
    assert lists(text) == [
        "procedure:",
        "  step: 1. Open the tap slowly.",
        "  step: 2. Light it:",
        "    list:",
        "      item: - with a match;",
        "      item: - with a lighter.",
        "    paragraph: It takes a while.",
        "  step: 3. Close the tap.",
    ]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Cities:\n  * Oslo\n  * Bergen\n", ["list:", "  item: * Oslo", "  item: * Bergen"]),
        ("It counts:\na) one;\nb) two.\n", ["procedure:", "  step: a) one;", "  step: b) two."]),
        ("Then:\n\n1) one\n\n2) two\n", ["procedure:", "  step: 1) one", "  step: 2) two"]),
    ],
)
def test_lists_without_markup(text: str, kinds: list[str]) -> None:
    """Letters and bullets are known below a colon."""
    assert lists(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        "1. Scope\n\nIt applies to all.\n\n2. Dates\n\nIt begins in May.\n",
        "- Come in, she said.\n- No, he said.\n",
        "We met in\n1. an inn, and\n3. a pub.\n",
        "2. Second\n3. Third\n",
        "A colon:\n- and one line\n",
        "".join(f"{n}. Verse.\n" for n in range(1, MAX_STEPS + 2)),
    ],
)
def test_what_is_no_list(text: str) -> None:
    """Numbered sections, dialogues, gaps in the numbers, single lines, and verses are none."""
    assert lists(text) == []


@given(st.lists(LINES | st.text(max_size=8)).map("\n".join))
def test_parts_of_any_text_are_sound(text: str) -> None:
    """Parts are in order and inside one another, whatever the text."""
    assert_sound(text, plain_list_parts(text))
