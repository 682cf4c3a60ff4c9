"""JSON and TOML from outside: what Python accepts and a program cannot hold is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.jsontext import (
    MAX_DEPTH,
    TooDeepError,
    check_json,
    read_answer_json,
    read_json,
    read_toml,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@pytest.mark.slow
@given(VALUES)
def test_plain_json_is_read_as_python_reads_it(value: object) -> None:
    """What is within bounds comes back unchanged, from text and from bytes, with a BOM too."""
    text = json.dumps(value)
    assert read_json(text) == read_json(b"\xef\xbb\xbf" + text.encode()) == value
    assert read_answer_json(text) == value


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[1e999]", "1e999"),
        ("[-1E999]", "-1E999"),
        ('{"a": NaN}', "NaN"),
        ("-Infinity", "-Infinity"),
        ("9" * 5000, "9999999999"),
        ('"\\ud800"', "surrogate"),
        ('{"\\uDFFF": 1}', "surrogate"),
        ('"\ud800"', "surrogate"),
        (b"\xff", "utf-8"),
        ("[1", "line 1"),
        ("", "line 1"),
    ],
)
def test_what_cannot_be_held_is_a_value_error_that_names_it(text: str | bytes, named: str) -> None:
    """Numbers that are not finite, halves of characters and what is no JSON are refused."""
    with pytest.raises(ValueError, match=named):
        read_json(text)


@pytest.mark.parametrize("n", [MAX_DEPTH + 1, 100_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_deep_json_is_refused_without_a_recursion_error(left: str, right: str, n: int) -> None:
    """Nesting is bounded whatever the stack: a list of lists, an object of objects."""
    assert read_json(f"{left * MAX_DEPTH}1{right * MAX_DEPTH}")
    with pytest.raises(TooDeepError, match="200"):
        read_json(f"{left * n}1{right * n}")
    with pytest.raises(ValueError, match=r"deeper|delimiter|line 1"):
        read_json(left * n)


def test_two_escapes_of_one_character_are_a_character() -> None:
    """A pair of surrogate escapes is how JSON writes what lies beyond 16 bits."""
    assert read_json('"\\ud83d\\ude00"') == "😀"


def test_an_answer_that_was_paid_for_is_read_in_spite_of_its_numbers() -> None:
    """An absurd count or a NaN among the probabilities does not cost the text."""
    text = '{"text": "nine", "n": ' + "9" * 5000 + ', "p": [NaN, -Infinity, 1e999], "s": "\\ud800"}'
    answer = read_answer_json(text)
    assert isinstance(answer, dict)
    assert (answer["text"], answer["n"], answer["s"]) == ("nine", None, "\ud800")
    with pytest.raises(TooDeepError):
        read_answer_json("[" * 100_000)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a=" + "[" * 50_000 + "]" * 50_000, "deeper"),
        ("a" + ".a" * 1000 + "=1", "deeper"),
        ("a=nan", "nan"),
        ("a=[{b=-inf}]", "-inf"),
        ("a=0x" + "f" * 5000, "0xffff"),
        ("a=" + "9" * 5000, "digits"),
        ("a=9223372036854775808", "64 bits"),
        (b"\xff", "utf-8"),
        ("a", "Expected"),
    ],
)
def test_toml_is_bounded_likewise(text: str | bytes, named: str) -> None:
    """Dotted keys nest too, and hexadecimal digits have no limit of Python's."""
    with pytest.raises(ValueError, match=named):
        read_toml(text)
    assert read_toml("a=[1.5]\n[b]\nc='x'") == {"a": [1.5], "b": {"c": "x"}}


@pytest.mark.parametrize(
    "value",
    [float("nan"), 10**5000, "\ud800", object(), {"a": {1, 2}}],
    ids=["nan", "digits", "surrogate", "object", "set"],
)
def test_values_that_json_cannot_give_back_are_refused(value: object) -> None:
    """What goes into a store as JSON must come out of it."""
    with pytest.raises(ValueError, match=r"."):
        check_json({"x": value})
