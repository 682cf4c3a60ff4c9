"""Any text, with marks anywhere: sentences and chunks that cover it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.sentences import MAX_CHARACTERS, sentence_spans
from ragkit.text.words import detect_language, query_terms
from ragkit.types import ChunkerName, Document, Location, Mark, MarkKind

from .lane import FUZZ, no_hang
from .mutating import mutated
from .test_loaders import CHUNKERS, COUNTER, check_chunks

SEEDS = [
    text.encode()
    for text in (
        "The ferry leaves at nine, e.g. on Monday. Dr. Olsen said: “Bring a coat!” (Nobody did.)\n\nNext.",
        "# Head\n\n- item one\n- item two\n1. first\n2. second\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "```\ncode = 1\n\n# no heading\n```\nText after. am 3. Oktober, II. Dünya Savaşı, z. B. hier.\n",
        "東京は晴れです。「はい。」フェリーは九時に出ます！？渡轮九点出发。",
        "สวัสดีครับ ผมชื่อสมชาย ครับ วันนี้อากาศดี " * 4,
        "वह नौ बजे जाती है। नाव देर से आती है॥ الساعة التاسعة؟ نعم۔",
        "Title\tprice\nTea\t2\nCoffee | 3 | x\n\x0cPage two…‼⁇ 1.2.3 v. 2.0 p. 4 ff. No. 5",
        "Hard wrapped lines that go on for more than fifty columns of text and\nthen end in the next line.\r\nOk.\r",
    )
]
WORDS = [
    "\u2028", "\u2029", "\u200b", "\u00a0", "\u3000", "\x0b", "\x1e", "e\u0301", "。」", ".", "?!", "…", "(", "“",
    "```", "~~~", "|", "#", "- ", "\n\n", "x" * 1100, "क्" * 600, "\U000e0041", "😀" * 300, ". A. B. C. ", "ก" * 400,
]  # fmt: skip
TEXT = mutated(SEEDS, [word.encode() for word in WORDS]).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)
KINDS: tuple[MarkKind, ...] = ("text", "heading", "page", "row", "code")


@FUZZ
@given(TEXT, st.integers(0, 60), st.integers(0, 60))
def test_sentences_hold_all_but_white_space(text: str, skip: int, leave: int) -> None:
    """Sentences of any part of a text: in order, trimmed, bounded, and nothing is left out."""
    start, end = skip, max(skip, len(text) - leave)
    with no_hang():
        spans = sentence_spans(text, start=start, end=end)
    at = start
    for a, b in spans:
        assert at <= a < b <= min(end, len(text))
        assert not text[at:a].strip()
        assert text[a:b] == text[a:b].strip()
        assert b - a <= MAX_CHARACTERS
        at = b
    assert not text[at:end].strip()


@FUZZ
@given(TEXT, st.data())
def test_chunks_hold_all_but_white_space(text: str, data: st.DataObject) -> None:
    """Chunks of a text with marks anywhere, of any chunker and size."""
    places = data.draw(st.lists(st.integers(0, max(0, len(text) - 1)), max_size=8))
    marks = tuple(
        Mark(start=at, kind=data.draw(st.sampled_from(KINDS)), location=Location(page=n))
        for n, at in enumerate(sorted(places), start=1)
    )
    name: ChunkerName = data.draw(st.sampled_from(CHUNKERS))
    check_chunks(Document(id="d", text=text, marks=marks), name, data.draw(st.integers(1, 60)))


@FUZZ
@given(TEXT)
def test_any_text_has_words_and_tokens(text: str) -> None:
    """Words, language and word pieces of any text, in time."""
    with no_hang():
        language = detect_language(text)
        words = query_terms(text, language=language)
        assert COUNTER.count(text) >= 0
    assert all(words)
