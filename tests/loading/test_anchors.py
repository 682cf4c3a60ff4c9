"""Anchors of headings: as the page that is made from a file has them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.loading.anchors import MAX_ANCHOR_CHARACTERS, Ids, Slugs, label_of
from ragkit.loading.html import load_html
from ragkit.loading.loaded import LoadedText
from ragkit.loading.plain import load_markdown, load_rst


def anchors(loaded: LoadedText) -> list[str | None]:
    """Return the anchors of a document's headings."""
    return [mark.location.anchor for mark in loaded.marks if mark.kind == "heading"]


def test_markdown_headings_have_the_slugs_of_github() -> None:
    """Punctuation goes, repeats are numbered, an id of one's own counts, links are their words."""
    text = (
        "# `onSend` & the *Reply*\n\ntext\n\n## See [the guide](guide.md)\n\n## Options\n\n"
        "## Options\n\n## Options {#opts}\n\n## options-1\n\n## Über Größe_x\n\n## !!!\n\nend\n"
    )
    assert anchors(load_markdown(text.encode())) == [
        "onsend--the-reply", "see-the-guide", "options", "options-1", "opts", "options-1-1",
        "über-größe_x", "onsend--the-reply",
    ]  # fmt: skip


def test_text_has_the_anchor_of_the_nearest_heading() -> None:
    """Below a heading without an anchor that is the one of the section around it."""
    loaded = load_html(b"<h1 id=top>Guide</h1><p>a</p><h2>Inner</h2><p>b</p><h1>Next</h1><p>c</p>")
    assert [mark.location.anchor for mark in loaded.marks] == ["top"] * 4 + [None] * 2


@pytest.mark.parametrize(
    "heading",
    [
        '<h2 id="x">T</h2>',
        '<h2><a id="x"></a>T</h2>',
        '<h2><a name="x">T</a></h2>',
        '<div class="section" id="x"><div class="title"><h2>T</h2></div></div>',
        '<section id="x"><h2>T</h2></section>',
        '<a id="y"></a><section id="x"><h2 class="t">T</h2></section>',
    ],
)
def test_html_headings_have_the_id_that_is_nearest(heading: str) -> None:
    """It may be theirs, that of an anchor in them, or of the section that they begin."""
    assert anchors(load_html(f"<p id=z>before</p>{heading}<p>after</p>".encode())) == ["x"]


def test_ids_of_other_elements_are_no_anchors() -> None:
    """Text between an id and a heading separates them; hidden elements have none."""
    page = b"<p id=a>text</p><h2>One</h2><div id=b hidden>x</div><h2>Two</h2>"
    assert anchors(load_html(page)) == [None, None]


def test_rst_sections_have_their_labels() -> None:
    """A label above a title counts, also above its overline; without one the title's own id."""
    text = (
        ".. _Install Guide:\n\nInstalling\n==========\n\ntext\n\n.. _a:\n.. _b_c:\n\n"
        "Options of ``run``\n------------------\n\nx\n\n"
        "Plain: :ref:`title`\n-------------------\n\n"
        ".. _ref: https://example.org\n\nLinked\n------\n\ny\n\nLinked\n------\n\nz\n"
    )
    assert anchors(load_rst(text.encode())) == [
        "install-guide", "b-c", "plain-title", "linked", "install-guide",
    ]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.text(max_size=30), max_size=6))
def test_any_title_has_an_anchor_or_none(titles: list[str]) -> None:
    """No title raises; slugs of a document are distinct, without white space, and short."""
    slugs, ids = Slugs(), Ids()
    found = [slugs.of(title) for title in titles if "{#" not in title]
    known = [slug for slug in found if slug is not None]
    assert len(set(known)) == len(known)
    for anchor in (*known, *(ids.of(title, label_of(title)) for title in titles)):
        if anchor is not None:
            assert 0 < len(anchor) <= MAX_ANCHOR_CHARACTERS
            assert not any(character.isspace() for character in anchor)


@settings(max_examples=200)
@given(st.text(alphabet="aBc dé-_.9ßøłæ'`:/", min_size=1, max_size=20))
def test_ids_are_those_of_docutils(title: str) -> None:
    """Of one section, an id of docutils' own is the same as here."""
    nodes: Any = pytest.importorskip("docutils.nodes")
    expected = nodes.make_id(title)
    assert Ids().of(title, None) == (expected or None) or ":" in title
