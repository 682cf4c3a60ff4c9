"""Sentence bounds."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.sentences import MAX_CHARACTERS, UNSPACED_CHARACTERS, sentence_spans

from ..cpu import LINEAR, growth


def _cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


_TWO_SENTENCES = {
    "full stop": ("It rained.", "We stayed."),
    "question": ("Did it rain?", "Yes!"),
    "ellipsis": ("It rained…", "We stayed."),
    "quotation": ('He said "it rains."', "We stayed."),
    "curly quotation": ("“It rains.”", "We stayed."),
    "bracket": ("(It rained.)", "We stayed."),
    "emphasis": ("**It rained.**", "We stayed."),
    "abbreviation at the end": ("They moved to the U.S.", "It was cold there."),
    "roman number at the end": ("It was after World War II.", "Germany was divided."),
    "number at the end": ("It was in 1975.", "Germany was divided."),
    "pronoun": ("No doctor came.", "He was away."),
    "French": ("Il pleuvait !", "Nous sommes restés."),
    "Spanish": ("¿Llovió?", "¡Sí!"),
    "Russian": ("Шёл дождь.", "Мы остались."),
    "Greek": ("Έβρεχε.", "Μείναμε."),
    "Armenian": ("Անձրև էր։", "Մենք մնացինք։"),
    "Arabic": ("هل أمطرت؟", "نعم."),
    "Urdu": ("بارش ہوئی۔", "ہم رکے۔"),
    "Hindi": ("बारिश हुई।", "हम रुके।"),
    "Ethiopic": ("ዘነበ።", "ቆየን።"),
    "Khmer": ("ភ្លៀងធ្លាក់។", "យើងនៅ។"),
    "Myanmar": ("မိုးရွာတယ်။", "ငါတို့နေတယ်။"),
    "Korean": ("비가 왔다.", "우리는 머물렀다."),
}


@pytest.mark.parametrize(("first", "second"), _TWO_SENTENCES.values(), ids=list(_TWO_SENTENCES))
def test_closing_punctuation_ends_a_sentence(first: str, second: str) -> None:
    """Every script's closing signs, with quotes and brackets behind them, end a sentence."""
    assert _cut(f"{first} {second}") == [first, second]


@pytest.mark.parametrize(
    "sentences",
    [
        ["下雨了。", "我们留下了！", "真的吗？"],
        ["他说：「下雨了。」", "我们留下了。"],
        ["雨が降った。", "私たちは残った。"],
        ["बारिश हुई।", "हम रुके।"],
        ["بارش ہوئی۔", "ہم رکے۔"],
    ],
)
def test_some_signs_need_no_space(sentences: list[str]) -> None:
    """Signs that have no other meaning end a sentence without a space behind them."""
    assert _cut("".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Smith met Mrs. Jones and St. John.",
        "Use a tool, e.g. Python or i.e. Ruby, vs. C.",
        "See Fig. 3, Eq. (2) and No. 5.",
        "It grew from 3.5 to 4.25 within a day.",
        "J. K. Rowling and John F. Kennedy wrote.",
        "The U.S. Army and Apple Inc. agreed.",
        "He waited ... and then he left.",
        "It was ‘silly . . . a diversion’ to him.",
        '"Why?" she asked.',
        '"It rains." he said.',
        "Yahoo! is a company.",
        "The Church of Trinity-St. Paul stands.",
        "It is from the Bible (Ps. 31:5).",
        "On Jan. 5 it rained.",
        "Es war am 3. Oktober im 19. Jahrhundert.",
        "Wir kamen Freitag, 3. Oktober an.",
        "Nach dem 2. Weltkrieg kam z. B. Bonn.",
        "Das waren 30 Mio. Euro.",
        "Bu olay II. Dünya Savaşı sonunda oldu.",
        "Это институт им. Пушкина.",
        "El presidente de EE. UU. habló.",
        "1. Open the door",
        "2.3. Opening the door",
        "a. Open the door",
        "जॉन ई. साइमन आए।",
        "जॉन सी. मेसेंजर आए।",
        "كتب م. ثيو كتابا.",
        "３．５と言った。",
        "Visit example.com or 10.0.0.1 now.",
    ],
)
def test_other_full_stops_do_not(sentence: str) -> None:
    """Abbreviations, initials, numbers and quoted speech stay inside their sentence."""
    assert _cut(sentence) == [sentence]


_WRAPPED = (
    "The committee met in the old building near the river and\n"
    "The Hague was chosen as the place of the next meeting, which\n"
    "took a year. It was cold."
)


def test_a_hard_wrapped_line_does_not_end_a_sentence() -> None:
    """Text wrapped at a fixed width is cut at its full stops only, not at its lines."""
    first, second = _cut(_WRAPPED)
    assert first == _WRAPPED.removesuffix(" It was cold.")
    assert second == "It was cold."


def test_wide_lines_wrap_at_fewer_characters() -> None:
    """A line of ideographs is as wide as twice as many letters."""
    text = "委员会在河边的老建筑里开会并且决定了下一次会议的时间\n以及地点。"
    assert _cut(text) == [text]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One line\n\nanother line", ["One line", "another line"]),
        (f"{'long ' * 20}\n \t\nand on", [("long " * 20).strip(), "and on"]),
        (f"{'long ' * 20}\r\n\r\nand on", [("long " * 20).strip(), "and on"]),
        (f"{'long ' * 20}\f\fAnd on", [("long " * 20).strip(), "And on"]),
        ("Short line\nNext line", ["Short line", "Next line"]),
        ("Short line\nthat goes on", ["Short line\nthat goes on"]),
        ("# A title. With a stop\nText.", ["# A title. With a stop", "Text."]),
        (f"# {'title ' * 20}\nand text", [f"# {'title ' * 20}".strip(), "and text"]),
        ("- one\n  and on\n- two", ["- one\n  and on", "- two"]),
        ("- one\n- two\n* three", ["- one", "- two", "* three"]),
        (f"- {'one ' * 20}\n- two", [f"- {'one ' * 20}".strip(), "- two"]),
        ("1. one\n2. two\n3) three", ["1. one", "2. two", "3) three"]),
        ("> one\n> two", ["> one\n> two"]),
        ("> one\n> - two\n>\n> Three", ["> one", "> - two", ">", "> Three"]),
        ("> one\ntwo", ["> one\ntwo"]),
        (
            "If you have logged before and must remove\n:meth:`app.logger <flask.logger>`, do:",
            ["If you have logged before and must remove\n:meth:`app.logger <flask.logger>`, do:"],
        ),
        ("Options\n``--all`` is one.", ["Options", "``--all`` is one."]),
        (
            "| a | Dr. No. Yes. |\n|---|---|\n| b | c |",
            ["| a | Dr. No. Yes. |", "|---|---|", "| b | c |"],
        ),
        (
            f"Name\tMeaning {'x ' * 30}\nOther\tthing",
            [f"Name\tMeaning {'x ' * 30}".strip(), "Other\tthing"],
        ),
        (f"{'It holds ' * 8}these:\nApples", [f"{'It holds ' * 8}these:", "Apples"]),
        (
            "Run:\n```sh\necho a. B\n\nls   # c. D\n```\nDone.",
            ["Run:", "```sh", "echo a. B", "ls   # c. D", "```", "Done."],
        ),
        (f"```\n{'x' * 60}\ny\n", ["```", "x" * 60, "y"]),
    ],
)
def test_lines_that_end_a_sentence(text: str, sentences: list[str]) -> None:
    """Blank lines, structural lines and short lines end one; code stays line by line."""
    assert _cut(text) == sentences


def test_scripts_without_full_stops_are_cut_at_spaces() -> None:
    """Thai is cut at a space once a piece is long enough, never beside a number or a name."""
    piece = "ฝนตกหนัก"
    text = " ".join([piece] * 60)
    pieces = _cut(text)
    assert " ".join(pieces) == text
    assert all(len(p) >= UNSPACED_CHARACTERS for p in pieces[:-1])
    assert all(len(p) < UNSPACED_CHARACTERS + len(piece) + 2 for p in pieces)
    numbered = "ก" * UNSPACED_CHARACTERS + " 2563 " + "ข" * 20
    assert _cut(numbered) == [numbered]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (f"{'a' * 800}, {'b' * 100} {'c' * 400}", ","),
        (f"{'a' * 800} {'b' * 600}", "a"),
        ("a" * 2500, "a"),
        ("字" * 800 + "，" + "字" * 800, "，"),
    ],
)
def test_long_sentences_are_cut(text: str, ends: str) -> None:
    """A sentence above the limit is cut at a clause, else at a space, else hard."""
    first, *others = _cut(text)
    assert others
    assert first.endswith(ends)
    assert len(first) in {801, 800, MAX_CHARACTERS}
    assert max(map(len, others)) <= MAX_CHARACTERS


def test_a_hard_cut_keeps_marks_with_their_letter() -> None:
    """No piece begins with a combining mark."""
    for unit in ("e\u0301", "का", "a\u0300\u0301\u0302"):
        pieces = _cut("x" + unit * 1500)
        assert len(pieces) > 1
        assert not [p for p in pieces if unicodedata.category(p[0]).startswith("M")]


def test_bounds_are_those_of_the_whole_text() -> None:
    """A part of a text is cut by itself, in the whole text's offsets."""
    text = "Ignored. First one. Second one. Ignored."
    spans = sentence_spans(text, start=9, end=31)
    assert [text[a:b] for a, b in spans] == ["First one.", "Second one."]
    assert sentence_spans(text, start=9, end=9) == []
    assert sentence_spans(text, start=32, end=10_000) == [(32, 40)]


_texts = st.text(
    alphabet=st.one_of(
        st.sampled_from("ab AB.!?…\n\t\r\f\"')(*#-|`>:,;1 2IX。！字ก ข।َक़ा\u0301\u2028\ud800"),
        st.characters(),
    ),
    max_size=300,
)


@given(text=_texts, bounds=st.tuples(st.integers(0, 300), st.integers(0, 300)))
def test_spans_cover_the_text_in_order(text: str, bounds: tuple[int, int]) -> None:
    """Spans are in order and trimmed, do not overlap, and hold all but white space."""
    start, end = sorted(min(bound, len(text)) for bound in bounds)
    spans = sentence_spans(text, start=start, end=end)
    assert spans == sentence_spans(text, start=start, end=end)
    assert all(start <= a < b <= end and b - a <= MAX_CHARACTERS for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in pairwise(spans))
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)
    kept = "".join("".join(text[a:b].split()) for a, b in spans)
    assert kept == "".join(text[start:end].split())


@given(unit=st.text(min_size=1, max_size=4))
def test_repeated_text_is_covered(unit: str) -> None:
    """However monotonous a long text is, nothing of it is lost and no span is too long."""
    text = (unit * 3000)[:3000]
    spans = sentence_spans(text)
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
    assert all(b - a <= MAX_CHARACTERS for a, b in spans)


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [".", ".x", ". ", '"', '."', "a", "\n", " \n", "1. ", "A. ", "ก", "ก ", "字。", "```\n", "a\t"],
)
def test_time_grows_with_the_length_only(unit: str) -> None:
    """Four times the text of anything costs about four times as much, not sixteen times."""

    def cut(n: int) -> None:
        text = (unit * n)[:n] + "x"
        assert sentence_spans(text)[-1][1] == len(text)

    assert growth(cut, 30_000) < LINEAR


@pytest.mark.parametrize(("name", "most"), [("squad11", 0.002), ("xquad/de", 0.005)])
def test_answers_are_not_cut(test_data: Path, name: str, most: float) -> None:
    """Hardly any gold answer is cut by a sentence bound."""
    folder = test_data / name
    texts = {
        record["_id"]: record["text"]
        for record in map(json.loads, (folder / "corpus.jsonl").read_bytes().splitlines())
    }
    spans = {name: sentence_spans(text) for name, text in texts.items()}
    answers = [json.loads(line) for line in (folder / "spans.jsonl").read_bytes().splitlines()]
    cut = [
        answer
        for answer in answers
        if not any(
            a <= answer["start"] and answer["end"] <= b for a, b in spans[answer["corpus-id"]]
        )
    ]
    assert len(cut) / len(answers) <= most
