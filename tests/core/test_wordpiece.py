"""Word pieces: the ids, the counts, and what no input may do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.wordpiece import VOCABULARY, WordPiece, load_wordpiece

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=200)
"""Lone surrogates and control characters included."""

# From an independent implementation: `tokenizers` 0.23 with the model's own tokenizer.json.
KNOWN_IDS = {
    "How do I reset my badge?": [101, 2129, 2079, 1045, 25141, 2026, 10780, 1029, 102],
    "Café Zürich, naïve façade — 3.5 €": [
        *(101, 7668, 10204, 1010, 15743, 8508, 1517, 1017, 1012, 1019, 1574, 102)
    ],
    "unbelievableness of re-tokenization": [
        *(101, 23653, 2791, 1997, 2128, 1011, 19204, 3989, 102)
    ],
    "東京 is in 日本.": [101, 1879, 1755, 2003, 1999, 1864, 1876, 1012, 102],
    "Œuvre\tƒ™ ½\u200bx\u00a0y": [101, 1107, 2226, 12229, 1108, 30108, 1092, 2595, 1061, 102],
    "İstanbul ΣΊΣΥΦΟΣ": [101, 9960, 1173, 18199, 29733, 29735, 29736, 29730, 29733, 102],
    f"{'x' * 101} y": [101, 100, 1061, 102],
}


@pytest.mark.parametrize("text", KNOWN_IDS, ids=ascii)
def test_ids_are_those_of_the_reference(text: str) -> None:
    """Accents, case, ideographs, symbols and overlong words give the reference's ids."""
    assert load_wordpiece().encode(text) == KNOWN_IDS[text]


def test_special_tokens_in_a_text_are_plain_characters() -> None:
    """A text that spells `[SEP]` does not hold the separator, whose id is 102."""
    assert load_wordpiece().encode("a [SEP] b")[1:-1].count(102) == 0


def test_an_empty_text_has_the_two_special_tokens_only() -> None:
    """Nothing to read gives `[CLS]` and `[SEP]`, and counts 0."""
    assert load_wordpiece().encode("") == [101, 102]
    assert load_wordpiece().count(" \n\x00") == 0


@given(ANY_TEXT)
def test_a_count_is_the_number_of_ids_without_the_special_ones(text: str) -> None:
    """Counting agrees with encoding for every string, and neither raises."""
    ids = load_wordpiece().encode(text)
    assert load_wordpiece().count(text) == len(ids) - 2
    assert all(0 <= token < 30_522 for token in ids)


@given(ANY_TEXT, ANY_TEXT)
def test_counts_add_up_over_white_space(left: str, right: str) -> None:
    """Texts that are joined by a space count as much as they do apart."""
    count = load_wordpiece().count
    assert count(f"{left} {right}") == count(left) + count(right)


@given(ANY_TEXT, st.integers(2, 40))
def test_a_cap_cuts_the_end_and_keeps_the_special_tokens(text: str, max_tokens: int) -> None:
    """A capped encoding is the start of the whole one, closed by `[SEP]`."""
    whole = load_wordpiece().encode(text)
    capped = load_wordpiece().encode(text, max_tokens=max_tokens)
    assert capped == [*whole[:-1][: max_tokens - 1], 102]


@pytest.mark.parametrize("unit", ["x", "\U00020000", "\ud800", "\U000e0fff"], ids=ascii)
def test_a_hostile_text_has_few_or_plain_tokens(unit: str) -> None:
    """A word without end, and an ideograph, are a token a character; controls are none."""
    n = load_wordpiece().count(unit * 100_000)
    assert n == {"x": 100_000, "\U00020000": 100_000}.get(unit, 0)


def test_many_rare_words_and_characters_leave_the_results_alone() -> None:
    """A counter that has seen more words and characters than it remembers still agrees."""
    counter = WordPiece(VOCABULARY)
    counter.count(" ".join(f"{number}q" for number in range(20_000)))
    assert counter.count("".join(map(chr, range(0x4E00, 0xA000)))) == 0xA000 - 0x4E00
    for text, ids in KNOWN_IDS.items():
        assert counter.encode(text) == ids


def test_threads_share_one_counter() -> None:
    """Eight threads that count at once get what one does."""
    texts = [f"thread {number} of re-tokenization, Zürich {number * 7919}" for number in range(200)]
    counter = load_wordpiece()
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(counter.count, texts * 5))
    assert counts == [counter.count(text) for text in texts] * 5


def test_a_counter_says_whose_tokens_it_counts() -> None:
    """The name of the shared counter is that of the model's vocabulary."""
    assert load_wordpiece().name == "wordpiece:all-MiniLM-L6-v2"
    assert load_wordpiece() is load_wordpiece()
