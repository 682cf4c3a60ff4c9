"""Hypothesis strategies shared by the tests."""

from __future__ import annotations

from hypothesis import strategies as st

from ragkit.types import Document, Location, Mark, MarkKind

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["word ", "A sentence. ", "\n", "\n\n", "# Head\n", "- item\n", "| a | b |\n", "。",
             "東京は晴れ", "สวัสดีครับ ", "x" * 120, "\u0301", "\U0001f600", "\0", "\t", "e.g. "]
        ),
        st.text(max_size=12),
    ),
    max_size=40,
).map("".join)  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Return a document with marks at random places."""
    text = draw(TEXTS)
    names: tuple[MarkKind, ...] = ("text", "heading", "page", "row", "code")
    kinds = st.sampled_from(names)
    places = sorted(draw(st.sets(st.integers(0, max(len(text) - 1, 0)), max_size=6)))
    marks = tuple(
        Mark(start=place, kind=draw(kinds), location=Location(page=i + 1))
        for i, place in enumerate(places)
    )
    return Document(id="d", text=text, marks=marks)
