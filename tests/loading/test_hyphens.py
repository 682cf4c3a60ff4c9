"""Words broken at the end of a line are whole, and compounds keep their hyphen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.loading.hyphens import without_breaks

from ..cpu import assert_linear


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("The light-\nhouse keeper", "The lighthouse keeper"),
        ("Krank-\n  heiten", "Krankheiten"),
        ("a soft\u00ad\nness and har\u2010\nbour", "a softness and harbour"),
        ("a well-\nknown pier", "a well-known pier"),
        ("an ice-\nbound quay; ice-bound", "an ice-bound quay; ice-bound"),
        ("the Hoyle-\nSkarv line", "the Hoyle-Skarv line"),
        ("pages 3-\n4, a -\nb, - \nc and\n- item", "pages 3-\n4, a -\nb, - \nc and\n- item"),
    ],
)
def test_breaks(text: str, joined: str) -> None:
    """The hyphen goes with the end of the line, unless it is the word's own."""
    assert without_breaks([text]) == [joined]


def test_other_pages_tell_compounds() -> None:
    """They are read together."""
    assert without_breaks(["sea-\nborne goods", "Sea-borne."]) == ["sea-borne goods", "Sea-borne."]


@given(text=st.text(alphabet="aB-\u00ad\n 1é", max_size=80))
def test_only_hyphens_and_ends_of_lines_go(text: str) -> None:
    """All other characters stay as they are."""
    (joined,) = without_breaks([text])
    gone = dict.fromkeys(map(ord, "-\u00ad\n "))
    assert joined.translate(gone) == text.translate(gone)


@pytest.mark.parametrize("unit", ["a-\n", "a", "a-", "-\n   "])
def test_time_grows_with_the_length_only(unit: str) -> None:
    """Whatever the text."""
    assert_linear(lambda text: without_breaks([text]), lambda n: unit * n, 100_000)
