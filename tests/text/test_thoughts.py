"""What a model thought is told apart from what it says, in one piece or in many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.thoughts import Thoughts, is_part_of_mark, without_thoughts

CASES = [
    ("<think>a b</think>\n\nHello\nworld", "Hello\nworld", "a b"),
    ("\n<THINK>\nfoo\n", "", "foo"),
    ("ok so\n</think>\n\nHi", "Hi", "ok so"),
    ("so it is Paris.</think>\nParis", "Paris", "so it is Paris."),
    ("Use the `<think>` tag.\nYes", "Use the `<think>` tag.\nYes", None),
    ("It ends with </think> there.", "It ends with </think> there.", None),
    ("```\n<think>\nx\n</think>\n```\nfine", "```\n<think>\nx\n</think>\n```\nfine", None),
    ("[THINK]x[/THINK]y", "y", "x"),
    ("◁think▷x◁/think▷\n\ny", "y", "x"),
    (
        "<|channel|>analysis<|message|>foo<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Paris",
        "Paris",
        "foo",
    ),
    ("<think>a</think><think>b</think>c", "c", "a\n\nb"),
    ("<think>\n\n</think>\n\nYes.", "Yes.", None),
    ("Say:\n<thinking>wait</thinking>\nNo.", "Say:\n\nNo.", "wait"),
    ("a <think>b</think> c", "a <think>b</think> c", None),
    ("İ<b>\n<think>İİ</think>ok", "İ<b>\nok", "İİ"),
    ("", "", None),
    ("  ", "  ", None),
]


def in_pieces(text: str, size: int) -> tuple[str, Thoughts]:
    """Return what is given back of an answer in pieces of this size."""
    thoughts = Thoughts()
    given_back = [thoughts.feed(text[i : i + size]) for i in range(0, len(text), size)]
    return "".join(given_back) + thoughts.close(), thoughts


@pytest.mark.parametrize(("text", "said", "reasoning"), CASES)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_thoughts_are_apart(text: str, said: str, reasoning: str | None, size: int) -> None:
    """However an answer is cut, it parts into the same words and thoughts."""
    given_back, thoughts = in_pieces(text, size)
    assert thoughts.parted() == (said, reasoning) == without_thoughts(text)
    if reasoning is None or not said or not text.startswith(reasoning):
        assert given_back.strip() == said.strip()


TEXTS = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<Think",
            ">",
            "\n",
            " ",
            "```",
            "a",
            "[THINK]",
            "[/THINK]",
            "<|end|>",
        ]
    ),
    max_size=30,
).map("".join)


@given(TEXTS, st.integers(1, 9))
def test_the_cut_does_not_matter(text: str, size: int) -> None:
    """Pieces give what the whole gives, and what has no mark stays as it is."""
    given_back, thoughts = in_pieces(text, size)
    assert thoughts.parted() == without_thoughts(text)
    assert "".join(in_pieces(text, 10**6)[0]) == given_back


@given(st.text())
def test_other_text_stays(text: str) -> None:
    """A text without marks is said as it is."""
    if not any(mark in text.lower() for mark in ("think", "thought", "reasoning", "<|", "▷")):
        assert without_thoughts(text) == (text, None)


def test_time_is_linear() -> None:
    """Many lines and many thoughts in one text are no obstacle."""
    said, reasoning = without_thoughts("<think>x</think>\n" * 20_000 + "line\n" * 50_000)
    assert said.count("line") == 50_000
    assert reasoning is not None
    assert reasoning.count("x") == 20_000


def test_tokens_of_marks_are_known() -> None:
    """So that a model in this process does not leave them out as control tokens."""
    marks = ("<think>", "</think>", "[THINK]", "◁/think▷", "<|channel|>", "<|message|>", "<|end|>")
    assert all(map(is_part_of_mark, marks))
    assert not any(map(is_part_of_mark, ("", "<", "final", "</s>", "<|im_end|>", "<pad>", "<s>")))
