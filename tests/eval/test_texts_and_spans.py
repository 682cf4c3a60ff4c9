"""Answers by words, and evidence by offsets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit_eval.data import texts
from ragkit_eval.data.datasets import json_lines, load_dataset
from ragkit_eval.data.spans import (
    GoldSpan,
    Place,
    evidence_found,
    evidence_recall,
    grouped,
    measure_overlap,
    overlap,
    precision_omega,
    union,
)

SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))
)
TEXT = "Alpha beta gamma. Delta epsilon. Zeta eta theta."


def gold(words: str) -> GoldSpan:
    """Return the span of some words of the text."""
    start = TEXT.index(words)
    return GoldSpan(document_id="d", start=start, end=start + len(words), text=words)


def place(words: str) -> Place:
    """Return the place of some words of the text."""
    span = gold(words)
    return ("d", span.start, span.end)


@given(SPANS, SPANS)
def test_overlap_is_that_of_sets(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    """Interval arithmetic agrees with sets of characters."""
    ours = {i for start, end in overlap(a, b) for i in range(start, end)}
    one = {i for start, end in a for i in range(start, end)}
    other = {i for start, end in b for i in range(start, end)}
    assert ours == one & other
    joined = union(a)
    assert {i for start, end in joined for i in range(start, end)} == one
    assert joined == sorted(joined)


def test_any_alternative_suffices_and_all_of_one_are_needed() -> None:
    """Of two alternatives the better counts; of two spans needed together both do."""
    alternatives = [[gold("Alpha")], [gold("Zeta")]]
    together = [[gold("Alpha"), gold("Zeta")]]
    held = [place("Zeta eta")]
    assert evidence_recall(alternatives, held) == 1.0
    assert evidence_found(alternatives, held) == 1.0
    assert evidence_recall(together, held) == pytest.approx(4 / 9)
    assert evidence_found(together, held) == 0.0
    assert evidence_recall([], held) is None
    nearly = [place("Alpha"), place("Zet")]
    assert evidence_recall(together, nearly) == pytest.approx(8 / 9)
    assert evidence_found(together, nearly) == 0.0


def test_white_space_between_kept_sentences_is_no_loss() -> None:
    """Two kept sentences hold a span that crosses them, though not the space between."""
    evidence = [[gold("gamma. Delta")]]
    assert evidence_found(evidence, [place("gamma."), place("Delta")]) == 1.0
    assert evidence_found(evidence, [("other", 0, 100)]) == 0.0


def test_overlap_in_characters_and_in_tokens() -> None:
    """Precision counts what was sent twice twice; tokens are counted on the shared text."""
    evidence = [[gold("Alpha beta")]]
    sent = [place("Alpha beta gamma."), place("Alpha beta gamma.")]
    found = measure_overlap(evidence, sent)
    assert (found.found, found.wanted, found.sent) == (9, 9, 34)
    assert (found.recall, found.precision) == (1.0, 9 / 34)
    assert found.iou == 9 / 34
    words = measure_overlap(
        evidence, sent[:1], texts=["Alpha beta gamma."], count=lambda text: len(text.split())
    )
    assert (words.recall, words.precision, words.iou) == (1.0, 2 / 3, 2 / 3)
    nothing = measure_overlap(evidence, [])
    assert (nothing.recall, nothing.precision, nothing.iou) == (0.0, 0.0, 0.0)


def test_precision_omega_is_the_ceiling_of_a_chunker() -> None:
    """Chunks that touch the evidence count whole; closed intervals touch by abutting."""
    chunks = grouped([("d", 0, 17), ("d", 17, 32), ("d", 33, 48)])
    evidence = [[gold("Alpha")]]
    assert precision_omega(evidence, chunks) == 5 / 17
    abutting = [[GoldSpan(document_id="d", start=0, end=17, text=TEXT[:17])]]
    assert precision_omega(abutting, chunks) == 1.0
    assert precision_omega(abutting, chunks, compat="chroma") == 17 / 32
    assert precision_omega([], chunks) is None


def test_chromas_scores_by_hand() -> None:
    """References count as often as they are given, and white space counts."""
    reference = GoldSpan(document_id="d", start=10, end=30, text=TEXT[10:30])
    sent = [("d", 0, 20), ("e", 0, 20)]
    one = measure_overlap([[reference]], sent, compat="chroma")
    assert (one.recall, one.precision, one.iou) == (0.5, 0.25, 0.2)
    twice = measure_overlap([[reference, reference]], sent, compat="chroma")
    assert (twice.recall, twice.precision, twice.iou) == (0.25, 0.25, 0.2)
    ours = measure_overlap([[reference, reference]], sent)
    assert ours.wanted == 17
    assert ours.recall == pytest.approx(8 / 17)


@pytest.mark.parametrize(
    ("answer", "gold_answers", "exact", "f1"),
    [
        ("The Ferry!", ["ferry"], 1.0, 1.0),
        ("nine in the morning", ["at nine", "nine in morning"], 1.0, 1.0),
        ("nine", ["at nine"], 0.0, 2 / 3),
        ("", [], 1.0, 1.0),
        ("something", [], 0.0, 0.0),
        ("", ["nine"], 0.0, 0.0),
    ],
)
def test_squads_measures(answer: str, gold_answers: list[str], exact: float, f1: float) -> None:
    """Exact match and F1 follow SQuAD's scorer, the empty answer included."""
    assert texts.exact_match(answer, gold_answers) == exact
    assert texts.token_f1(answer, gold_answers) == pytest.approx(f1)


def test_an_answer_stands_on_token_boundaries() -> None:
    """A number is not found inside another; punctuation and case do not matter."""
    assert texts.holds_answer("It opened in 1945.", ["1945"])
    assert not texts.holds_answer("It opened in 1945.", ["4", "94"])
    assert texts.holds_answer("Paid “Six Euros”, cash", ["six euros"])
    assert not texts.holds_answer("six or seven euros", ["six euros"])
    assert texts.holds_answer("worth 1,945.50 in all", ["1,945.50"])
    assert not texts.holds_answer("anything", ["", "the"])
    assert texts.holds_answer("They won a cup.", ["the cup"])


def test_rouge_l_by_hand() -> None:
    """The longest common subsequence of four and five words is three."""
    assert texts.rouge_l("police killed gunman there", ["police ended gunman there today"]) == (
        pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))
    )


def test_content_f1_leaves_stop_words_out() -> None:
    """Function words and word order do not count, endings neither."""
    assert texts.content_f1("the ferries of the island", ["island ferry"]) == 1.0


def test_groundedness_counts_words_and_numbers_of_the_context() -> None:
    """An invented number is not grounded; an answer without words says nothing."""
    context = ["The lighthouse is forty metres tall since 1987."]
    assert texts.groundedness("The lighthouse: forty metres.", context) == 1.0
    grounded = texts.groundedness("Forty metres in 1999.", context)
    assert grounded is not None
    assert grounded < 1.0
    assert texts.groundedness("…!", context) is None


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("渡轮于1908年首航，船长是伊达。", "伊达", True),
        ("渡轮于1908年首航，船长是伊达。", "1908年", True),
        ("渡轮于1908年首航，船长是伊达。", "908", False),
        ("渡轮于１９０８年首航。", "1908", True),
        ("渡轮于1908年首航，船长是伊达。", "达伊", False),
        ("灯台は1987年に自動化されました。", "自動化", True),
        ("灯台は1987年に自動化されました。", "自動車", False),
        ("ฟรีเรือเฟอร์รี่ออกเวลาเก้าโมงเช้า", "เก้าโมงเช้า", True),
        ("ฟรีเรือเฟอร์รี่ออกเวลาเก้าโมงเช้า", "เกาโมงเชา", False),
    ],
)
def test_answers_in_languages_without_spaces(text: str, answer: str, *, expected: bool) -> None:
    """Characters are compared one by one, vowel signs included; numbers stay whole."""
    assert texts.holds_answer(text, [answer]) == expected


@pytest.mark.parametrize("language", ["zh", "th"])
def test_answers_that_stand_there_are_found(test_data: Path, language: str) -> None:
    """The passage that an answer was taken from holds it, unless it was cut out of a number."""
    folder = test_data / "xquad" / language
    if not folder.is_dir():
        pytest.skip("no such data")
    stored = {row["_id"]: str(row["text"]) for _, row in json_lines(folder / "corpus.jsonl")}
    questions = load_dataset(folder, split="all").questions
    found = [
        texts.holds_answer(stored[question.evidence[0][0].document_id], question.answers)
        for question in questions
    ]
    assert sum(found) >= 0.99 * len(found) > 1000
