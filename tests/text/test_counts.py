"""What is counted or cut faster in one go is what single calls give."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragkit.chunking import SpanChunker
from ragkit.text.wordpiece import LONGEST_WORD, load_wordpiece
from ragkit.text.words import index_lines, index_terms
from ragkit.types import CHUNKER_NAMES, Document, TokenCounter

from ..strategies import TEXTS, documents

COUNTER = load_wordpiece()
WORDS = st.one_of(TEXTS, st.text(st.characters(max_codepoint=127)), st.text())


class Plain:
    """The built-in counter, of which nothing but its count is known."""

    name = COUNTER.name

    def count(self, text: str) -> int:
        """Count."""
        return COUNTER.count(text)


@st.composite
def spans(draw: st.DrawFn, text: str) -> list[tuple[int, int]]:
    """Return some spans of a text."""
    edges = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    return [(min(pair), max(pair)) for pair in draw(st.lists(edges, max_size=4))]


@given(WORDS)
def test_a_count_is_the_number_of_ids(text: str) -> None:
    """Unless a word is so long that the embedder reads it as one token."""
    if len(text) <= LONGEST_WORD // 4:  # decomposed, a character has four parts at most
        assert COUNTER.count(text) == len(COUNTER.encode(text)) - 2


@given(WORDS, st.sampled_from(" \t\n\r"), WORDS)
def test_counts_add_up_over_white_space(before: str, space: str, after: str) -> None:
    """So a chunk has as many tokens as its sentences."""
    text = before + space + after
    assert COUNTER.adds_up(text, [len(before)])
    assert COUNTER.count(text) == COUNTER.count(before) + COUNTER.count(after)


def test_counts_do_not_add_up_inside_a_word() -> None:
    """Nor over what is white space to Python only."""
    for text, end in [("together", 2), ("to\x1fgether", 2), ("to\x0bgether", 2)]:
        assert not COUNTER.adds_up(text, [end])
        assert COUNTER.count(text) == 1


@given(st.data(), WORDS)
def test_spans_are_counted_alike(data: st.DataObject, text: str) -> None:
    """In one call or in many."""
    found = data.draw(spans(text))
    assert COUNTER.count_spans(text, found) == [COUNTER.count(text[a:b]) for a, b in found]


@given(st.data(), WORDS, st.sampled_from(["en", "de", "vi", None]))
def test_lines_hold_the_terms_of_their_spans(
    data: st.DataObject, text: str, language: str | None
) -> None:
    """In one call or in many."""
    found = data.draw(spans(text))
    lines = [" ".join(index_terms(text[a:b], language=language)) for a, b in found]
    assert index_lines(text, found, language=language) == lines


@given(documents(), st.sampled_from(CHUNKER_NAMES), st.integers(1, 60), st.booleans())
def test_chunks_are_those_of_any_counter(
    document: Document, name: str, max_tokens: int, overlaps: bool
) -> None:
    """What the chunker knows of the built-in counter changes no chunk.

    Unless a word is so long that its parts may have more tokens than it has: then some are smaller.
    """
    counters: list[TokenCounter] = [COUNTER, Plain()]
    one, other = (
        SpanChunker(
            name=name,  # type: ignore[arg-type]
            counter=counter,
            max_tokens=max_tokens,
            overlap_tokens=max_tokens // 2 if overlaps else 0,
        ).split(document)
        for counter in counters
    )
    if any(len(word) > LONGEST_WORD for word in document.text.split()):
        assert name == "whole" or all(COUNTER.count(c.text) <= max_tokens for c in one)
    else:
        assert one == other
