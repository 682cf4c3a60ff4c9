"""What may go to a terminal or into printed JSON: nothing that steers or deceives."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.jsontext import json_line
from ragkit.text.printable import printable, printable_line

ANY_TEXT = st.text(st.characters(exclude_categories=[]))
STEERING = [
    *map(chr, [*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0)]),
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff",
    *map(chr, range(0xE0000, 0xE0080)),
    "\ud800", "\udfff",
]  # fmt: skip


def in_json(text: str) -> str:
    """Return JSON that holds a text."""
    return json_line({"t": text})


@pytest.mark.parametrize("write", [printable, printable_line, in_json])
def test_no_steering_character_is_left(write: Callable[[str], str]) -> None:
    """Control, bidirectional, separator and tag characters and lone surrogates are escaped."""
    for character in STEERING:
        shown = write(f"a{character}b")
        assert shown.isascii()
        assert shown.isprintable()


@given(ANY_TEXT)
def test_all_that_is_printed_is_text_of_one_encoding(text: str) -> None:
    """No input gives a control character but line feed and tab, or what UTF-8 cannot hold."""
    for shown in (printable(text), printable_line(text), json_line([text])):
        shown.encode()
        assert not {unicodedata.category(c) for c in shown if c not in "\n\t"} & {"Cc", "Cs", "Zl"}
    assert printable(printable(text)) == printable(text)
    assert "\n" not in printable_line(text)


@given(ANY_TEXT)
def test_printed_json_stands_for_the_same_values(text: str) -> None:
    """Escapes change how JSON is written, never what it says."""
    assert json.loads(json_line({text: [text]})) == json.loads(json.dumps({text: [text]}))


def test_text_in_pieces_is_as_safe_as_whole_text() -> None:
    """A sequence that is split over two pieces is escaped like one that is not."""
    pieces = "At nine \x1b[2J\x9b31m\u202e!"
    assert "".join(map(printable, pieces)) == printable(pieces)
    assert printable(pieces) == "At nine \\x1b[2J\\x9b31m\\u202e!"


def test_other_text_stays_as_it_is() -> None:
    """Scripts, emoji with joiners, tabs and line ends are no attack."""
    for text in ("naïve 東京 می\u200cخواهم ក\u200bខ 👩\u200d👩\u200d👧 ❤️", "a\tb\nc", "क्\u200dष"):
        assert printable(text) == text
        assert json.loads(json_line(text)) == text
    assert "東京" in json_line("東京")
    assert printable("a\r\nb") == "a\nb"


def test_a_name_ends_no_line_and_hides_nothing() -> None:
    """In a name line ends, tabs and characters without width are escaped too."""
    assert printable_line("a\nb\tc\u200bd\u00ade\u3164f") == "a\\nb\\tc\\u200bd\\xade\\u3164f"


def test_numbers_that_are_not_finite_are_null_in_printed_json() -> None:
    """An old store may hold them; text that looks like them stays."""
    data = {"NaN": [float("nan"), float("-inf"), 1.5], "t": 'say "Infinity" \\'}
    assert json.loads(json_line(data)) == {"NaN": [None, None, 1.5], "t": 'say "Infinity" \\'}
