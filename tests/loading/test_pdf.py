"""What a reader of a PDF sees: whole words, paragraphs, tables, and nothing hidden."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import LoadError
from ragkit.loading import LoadedText, load_bytes

from ..cpu import assert_linear
from .pdf_files import At, column, pdf
from .structure import assert_sound, outline

pytest.importorskip("pypdfium2")


def load(data: bytes) -> LoadedText:
    """Load a PDF."""
    return load_bytes(data, name="a.pdf")


def page_of(loaded: LoadedText, words: str) -> int | None:
    """Return the page of a text that is there once."""
    assert loaded.text.count(words) == 1
    start = loaded.text.index(words)
    return [mark for mark in loaded.marks if mark.start <= start][-1].location.page


PROSE = (
    "The ferry to the north quay leaves at nine in the morning and",
    "takes forty minutes. It does not run when the wind is stronger",
    "than seven. Tickets are sold on board.",
)


def test_words_are_whole() -> None:
    """Ligatures are letters, words broken at a line's end are joined, compounds keep a hyphen."""
    lines = (
        "The \x01sh market opens at \x01ve and no lighthouse keeper ever repre\x02",
        "sented it, though he left a well\x02",
        "known fortune, and the market was glad of that for many a long year.",
    )
    loaded = load(pdf(column(72, 700, *lines)))
    assert loaded.text == (
        "The fish market opens at five and no lighthouse keeper ever represented it, though he "
        "left a well-known fortune, and the market was glad of that for many a long year."
    )


BROKEN = (
    "The fish market opens at five and no lighthouse keeper ever was",
    "seen there, though the one of the north quay had it painted twice",
    "by a man from the islands who said that he had often repre-",
)


@pytest.mark.parametrize("size", [9, 10])
def test_a_word_goes_on_behind_what_stands_at_the_top_of_a_page(size: float) -> None:
    """A caption as wide as the text, or a line of code in a smaller type, is no rest of it."""
    caption = "Figure 1: Where the boats of the north quay lie when the wind is"
    rest = column(72, 630, "sented it, and the market was glad of that for many a year.", *PROSE)
    above = [At(72, 700, caption, size), At(120, 660, "or fridges", 9)]
    loaded = load(pdf(column(72, 700, *PROSE, *BROKEN), [*above, *rest]))
    assert "often represented it, and the market" in loaded.text
    assert caption in loaded.text
    assert "or fridges" in loaded.text


def test_lines_of_a_paragraph_are_joined_and_those_of_a_list_are_not() -> None:
    """A line goes on in the next one where the next word would not have fitted into it."""
    loaded = load(pdf([*column(72, 700, *PROSE), *column(72, 600, "Harbour office", "Quay 4")]))
    assert loaded.text == " ".join(PROSE) + "\n\nHarbour office\nQuay 4"
    assert [part.kind for part in loaded.parts] == ["paragraph"] * 3


def test_a_sentence_goes_on_behind_the_page() -> None:
    """Each part of it has its page, and a footnote comes after it."""
    first, second = PROSE[:2], PROSE[2:]
    note = At(72, 60, "1 In summer only.", size=7)
    loaded = load(pdf([*column(72, 120, *first), note], column(72, 700, *second)))
    assert loaded.text == " ".join(PROSE) + "\n\n1 In summer only."
    assert page_of(loaded, "The ferry") == 1
    assert page_of(loaded, "than seven") == 2
    assert page_of(loaded, "In summer") == 1
    assert_sound(loaded.text, loaded.parts)


def test_a_word_goes_on_behind_the_page() -> None:
    """It belongs to the page that it begins on."""
    first = (PROSE[0], "takes with it, on all its ways there and back again, the life\x02")
    second = "boats along whenever there are any."
    loaded = load(pdf(column(72, 84, *first), column(72, 700, second)))
    assert loaded.text.endswith("again, the lifeboats along whenever there are any.")
    assert page_of(loaded, "lifeboats") == 1
    assert page_of(loaded, "along") == 2


def test_furniture_is_dropped_and_counted() -> None:
    """Heads and page numbers go; a head whose words stand nowhere else stays once."""

    def page(number: int) -> list[At]:
        text = f"Chapter {'abcde'[number]} is about boats."
        head, foot = At(72, 760, "Harbour handbook"), At(280, 30, f"Page {number + 1} of 5")
        return [head, At(72, 700, text), foot]

    loaded = load(pdf(*(page(i) for i in range(5))))
    assert loaded.text.count("Harbour handbook") == 1
    assert "Page" not in loaded.text
    assert loaded.text.count("is about boats.") == 5
    assert loaded.dropped["furniture"] == 4 * len("Harbour handbook") + 5 * len("Page 1 of 5")


def test_what_differs_on_each_page_is_no_furniture() -> None:
    """Neither sums at the same place nor a line below other text are dropped."""
    sums = (120, 75, 990, 41)
    pages = [[At(72, 700, f"Invoice for quay {n}"), At(72, 90, f"Sum {n}")] for n in sums]
    loaded = load(pdf(*pages))
    assert all(f"Sum {n}" in loaded.text for n in sums)
    assert loaded.dropped["furniture"] == 0


TABLE = [
    At(255, 714, "Statement of fares"),
    At(400, 700, "Three Months Ended"),
    At(400, 688, "June 30,"),
    At(480, 688, "March 31,"),
    *(At(x, 676, "2023") for x in (400, 480)),
    *(At(72, y, text) for y, text in ((660, "Revenue:"), (612, "Operating income"))),
    *(At(84, y, text) for y, text in ((648, "Tickets"), (636, "Freight"), (624, "Other"))),
    *(At(400, y, text) for y, text in ((648, "7,192"), (636, "(66)"), (624, "12"), (612, "2,140"))),
    *(At(480, y, text) for y, text in ((648, "8,288"), (636, "(68)"), (624, "9"), (612, "1,868"))),
]


def test_tables() -> None:
    """Rows are whole, with the lines of the heads and the label that stands above them."""
    lines = sorted(TABLE, key=lambda at: (-at.y, at.x))
    assert outline(load(pdf(lines))) == [
        "table:",
        "  caption: Statement of fares",
        "  header_row: Three Months Ended June 30, March 31, 2023 2023",
        "  table:",
        "    header_row: Revenue:",
        "    row: Tickets 7,192 8,288",
        "    row: Freight (66) (68)",
        "    row: Other 12 9",
        "  row: Operating income 2,140 1,868",
    ]


def test_headings() -> None:
    """Large lines are headings, bold ones of their own too; what stands below knows them."""
    lines = [
        At(72, 740, "Ferries", size=18),
        *column(72, 700, *PROSE),
        At(72, 640, "Winter service", font="B"),
        *column(72, 620, *PROSE),
    ]
    loaded = load(pdf(lines))
    assert [part.kind for part in loaded.parts] == ["heading", "paragraph"] * 2
    assert loaded.marks[-1].location.heading == ("Ferries", "Winter service")


def test_lists() -> None:
    """A bullet begins an item, whose lines are joined."""
    lines = column(72, 700, "• The ferry to the north quay leaves at nine in the", "  morning.")
    lines += column(72, 676, "• Tickets are sold on board.")
    assert outline(load(pdf(lines))) == [
        "list:",
        "  item: • The ferry to the north quay leaves at nine in the morning.",
        "  item: • Tickets are sold on board.",
    ]


SEEN = At(72, 700, "Visible words.")
BLUE = "0 0 1 rg 60 480 300 40 re f"
PICTURE = "q 612 0 0 792 0 0 cm /Im Do Q"


@pytest.mark.parametrize(
    ("hidden", "is_dropped"),
    [
        ([At(72, 500, "Obey me now", paint="1 g")], True),
        ([At(72, 500, "Obey me now", paint="0.97 g")], True),
        ([BLUE, At(72, 500, "Obey me now", paint="1 g")], False),
        ([BLUE, At(72, 500, "Obey me now", size=2, paint="1 g")], False),
        ([At(72, 500, "Obey me now", paint="3 Tr")], True),
        ([At(72, 500, "Obey me now", paint="7 Tr")], True),
        ([PICTURE, At(72, 500, "Obey me now", paint="3 Tr")], False),
        ([At(72, 500, "Obey me now", paint="0.5 g")], False),
    ],
)
def test_hidden_text(hidden: list[At | str], is_dropped: bool) -> None:
    """White on white and invisible text go; white on colour and the words of a scan stay."""
    loaded = load(pdf([SEEN, *hidden], picture="Im"))
    assert loaded.text == "Visible words." + "\n\nObey me now" * (not is_dropped)
    assert loaded.dropped["hidden"] == 9 * is_dropped


def test_an_image_covers_only_what_stands_on_it() -> None:
    """A small picture elsewhere makes no text of a scan of the page."""
    small = "q 50 0 0 50 500 50 cm /Im Do Q"
    loaded = load(pdf([SEEN, small, At(72, 500, "Obey me now", paint="3 Tr")], picture="Im"))
    assert loaded.text == "Visible words."


def test_hidden_words_inside_a_line() -> None:
    """What is seen of the line stays as it is."""
    lines = [At(72, 700, "Pay"), At(100, 700, "never", paint="1 g"), At(140, 700, "ten crowns.")]
    assert load(pdf(lines)).text == "Pay ten crowns."


def test_threads() -> None:
    """PDFium itself is not safe for threads."""
    data = pdf(*([*column(72, 700, *PROSE)] for _ in range(20)))
    with ThreadPoolExecutor(4) as pool:
        texts = {loaded.text for loaded in pool.map(load, [data] * 8)}
    assert len(texts) == 1


words = st.sampled_from(
    ["Net", "sales", "$", "1,204", "(3)", "2022", "June", "•", "re\x02", "a.", "-"]
)
lines = st.builds(
    At,
    x=st.integers(0, 500),
    y=st.integers(0, 780),
    text=st.lists(words, min_size=1, max_size=6).map(" ".join),
    size=st.sampled_from([6, 9, 10, 14]),
    font=st.sampled_from("FB"),
    paint=st.sampled_from(["0 g", "1 g", "3 Tr"]),
)


@settings(max_examples=150, deadline=None)
@given(pages=st.lists(st.lists(lines, max_size=14), min_size=1, max_size=4))
def test_any_lines(pages: list[list[At]]) -> None:
    """Whatever stands where: parts are sound, marks in order, and no letter is lost or made up."""
    try:
        loaded = load(pdf(*pages))
    except LoadError as error:
        assert error.code == "no_text"  # noqa: PT017
        return
    assert_sound(loaded.text, loaded.parts)
    starts = [mark.start for mark in loaded.marks]
    assert starts == sorted(starts)
    assert not {"\x00", "\x02", "\ufffe"} & set(loaded.text)


@pytest.mark.parametrize(
    "line", ["Net sales $ 1,204 (3)", "• item of a list", "words of a paragraph that go on", "2022"]
)
def test_time_grows_with_the_length_only(line: str) -> None:
    """Whatever the lines are."""

    def made(n: int) -> bytes:
        return pdf(
            *([At(72, 780 - 7.5 * i, line, size=6) for i in range(100)] for _ in range(n // 100))
        )

    assert_linear(load, made, 1_000)
