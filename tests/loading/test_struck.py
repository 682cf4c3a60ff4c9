"""What is struck out is no longer said: it is left out, whatever strikes it out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .structure import assert_sound, html
from .test_formats import load, paragraph, word


@pytest.mark.parametrize(
    "old",
    [
        "<s>35 EUR</s>",
        "<del>35 EUR</del>",
        "<strike>35 <b>EUR</b></strike>",
        "<span style='text-decoration: line-through red'>35 EUR</span>",
        "<span class='old'>35 <i>EUR</i></span>",
    ],
)
def test_pages(old: str) -> None:
    """By an element, a style or a class; what is inserted stays."""
    style = "<style>.old {text-decoration-line: line-through}</style>"
    assert html(f"{style}<p>It is {old} <ins>28 EUR</ins>").text == "It is 28 EUR"


def test_word_documents() -> None:
    """By a run's property, unless that is off."""
    body = (
        "<w:p><w:r><w:t>It is </w:t></w:r><w:r><w:rPr><w:strike/></w:rPr><w:t>35 </w:t></w:r>"
        "<w:r><w:rPr><w:dstrike w:val='1'/></w:rPr><w:t>30 </w:t></w:r><w:r><w:t>28</w:t></w:r>"
        "</w:p>"
    )
    loaded = load("a.docx", word(body + paragraph("EUR", run='<w:strike w:val="0"/>')))
    assert loaded.text == "It is 28\n\nEUR"


def test_markdown() -> None:
    """By two tildes on either side; in code, tildes are tildes."""
    source = (
        "---\nprice: ~~1~~\n---\n# Fees ~~of 2025~~\n\nIt is ~~35 EUR~~ 28 EUR, `~~x~~`, "
        "~~ y ~~, \\~~z~~.\n\n"
        "```\n~~code~~\n```\n\n- ~~a~b~~ c\n- d ~~e\n  f~~\n\n~~~\n~~more~~\n~~~\n"
    )
    loaded = load("a.md", source)
    assert loaded.text == (
        "---\nprice: ~~1~~\n---\n# Fees \n\nIt is 28 EUR, `~~x~~`, ~~ y ~~, \\~~z~~.\n\n"
        "```\n~~code~~\n```\n\n- c\n- d ~~e\n  f~~\n\n~~~\n~~more~~\n~~~\n"
    )
    assert (loaded.title, loaded.metadata) == ("Fees", {"price": "~~1~~"})


@given(st.text("~`a \n-#>", max_size=80))
def test_any_tildes(source: str) -> None:
    """What is left over is sound, and nothing but tildes and what is between them goes."""
    if source.strip():
        loaded = load("a.md", f"{source}\n\nend")
        assert_sound(loaded.text, loaded.parts)
        assert loaded.text == f"{source}\n\nend" or "~~" in source
