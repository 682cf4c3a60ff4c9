"""Chunkers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.chunking import SpanChunker
from ragkit.errors import ConfigError
from ragkit.loading import load_bytes
from ragkit.text.rst import rst_parts
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import CHUNKER_NAMES, Document, Mark

from ..strategies import documents

COUNTER = load_wordpiece()


def chunker(name: str, max_tokens: int = 40, overlap_tokens: int = 0) -> SpanChunker:
    """Return a chunker."""
    return SpanChunker(
        name=name,  # type: ignore[arg-type]
        counter=COUNTER,
        max_tokens=max_tokens,
        overlap_tokens=overlap_tokens,
    )


@settings(max_examples=300, deadline=None)
@given(documents(), st.sampled_from(CHUNKER_NAMES), st.integers(1, 60), st.data())
def test_chunks_are_spans_that_cover_the_text(
    document: Document, name: str, max_tokens: int, data: st.DataObject
) -> None:
    """Chunks slice back to the text, hold all of it but white space, and move forward."""
    overlap = data.draw(st.integers(0, max_tokens // 2))
    chunks = chunker(name, max_tokens, overlap).split(document)
    covered: set[int] = set()
    last = (-1, -1)
    for chunk in chunks:
        assert document.text[chunk.start : chunk.end] == chunk.text != ""
        assert (chunk.start, chunk.end) > last
        assert chunk.end > last[1]
        last = (chunk.start, chunk.end)
        covered.update(range(chunk.start, chunk.end))
        for a, b in chunk.sentences:
            assert chunk.start <= a < b <= chunk.end
    assert all(i in covered or c.isspace() for i, c in enumerate(document.text))


@settings(max_examples=200, deadline=None)
@given(documents(), st.sampled_from(["recursive", "sentence", "tokens", "markdown"]))
def test_sentences_cover_their_chunk(document: Document, name: str) -> None:
    """Every character of a chunk but white space stands in one of its sentences, in order."""
    for chunk in chunker(name).split(document):
        assert list(chunk.sentences) == sorted(chunk.sentences)
        inside = {i for a, b in chunk.sentences for i in range(a, b)}
        assert all(i in inside or document.text[i].isspace() for i in range(chunk.start, chunk.end))


PROSE = "The ferry leaves the quay at nine in the morning. It returns after dark. " * 40


@pytest.mark.parametrize("name", ["recursive", "sentence", "tokens", "markdown"])
@pytest.mark.parametrize("text", [PROSE, "東京は晴れです。" * 200, "字" * 900, "a b " * 600])
def test_the_limit_holds(name: str, text: str) -> None:
    """No chunk has more tokens than the limit, with and without spaces or full stops."""
    chunks = chunker(name).split(Document(id="d", text=text))
    assert len(chunks) > 5
    assert max(chunk.n_tokens for chunk in chunks) <= 40
    assert all(chunk.n_tokens == COUNTER.count(chunk.text) for chunk in chunks)


def test_whole_makes_one_chunk() -> None:
    """`whole` keeps a document in one piece, however long."""
    assert len(chunker("whole").split(Document(id="d", text=PROSE))) == 1


def test_recursive_prefers_headings() -> None:
    """A chunk ends before a heading in its second half rather than in the middle of a section."""
    text = "# One\n\n" + "Alpha beta gamma delta. " * 5 + "\n\n# Two\n\n" + "Epsilon zeta. " * 9
    loaded = load_bytes(text.encode(), name="x.md")
    document = Document(id="d", text=loaded.text, marks=tuple(loaded.marks))
    first, second, *_ = chunker("recursive", 50).split(document)
    assert first.text.startswith("# One")
    assert second.text.startswith("# Two")
    assert second.location().heading == ("Two",)


def test_markdown_cuts_at_every_heading() -> None:
    """`markdown` gives each section a chunk of its own."""
    loaded = load_bytes(b"# A\n\nx.\n\n## B\n\ny.\n\n## C\n\nz.\n", name="x.md")
    document = Document(id="d", text=loaded.text, marks=tuple(loaded.marks))
    chunks = chunker("markdown").split(document)
    assert [chunk.text.split("\n")[0] for chunk in chunks] == ["# A", "## B", "## C"]
    assert chunks[2].location().heading == ("A", "C")


def test_overlap_repeats_whole_sentences() -> None:
    """With overlap a chunk begins with the last sentences of the one before."""
    chunks = chunker("sentence", 40, 15).split(Document(id="d", text=PROSE))
    for before, after in pairwise(chunks):
        assert before.sentences[-1] == after.sentences[0]


def test_text_without_tokens_stands_in_one_chunk() -> None:
    """Without overlap nothing comes twice, not even what counts no token."""
    text = "alpha beta gamma delta \ufffd " * 20
    assert COUNTER.count("\ufffd") == 0
    for name in ("tokens", "recursive"):
        chunks = chunker(name, 4).split(Document(id="d", text=text))
        assert all(before.end <= after.start for before, after in pairwise(chunks))


def test_overlap_never_ends_where_the_chunk_before_ended() -> None:
    """A strong boundary inside the overlap is not cut at twice."""
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    text = "\n\n".join(f"{word} {word}." if i % 3 else f"{word}." for i, word in enumerate(words))
    marks = (
        Mark(start=0),
        Mark(start=text.index("d"), kind="heading"),
        Mark(start=text.index("f"), kind="page"),
    )
    document = Document(id="d", text=text, marks=marks)
    for max_tokens in range(3, 12):
        for overlap in range(1, max_tokens // 2 + 1):
            for name in ("recursive", "markdown"):
                chunks = chunker(name, max_tokens, overlap).split(document)
                ends = [chunk.end for chunk in chunks]
                assert ends == sorted(set(ends))


def test_ids_depend_on_everything_that_makes_a_chunk() -> None:
    """Another document, text, place or chunker gives another id; the same gives the same."""
    base = Document(id="d", text="One. Two.")
    ids = [
        chunker("sentence").split(base)[0].id,
        chunker("tokens").split(base)[0].id,
        chunker("sentence", 41).split(base)[0].id,
        chunker("sentence").split(Document(id="e", text="One. Two."))[0].id,
        chunker("sentence").split(Document(id="d", text=" One. Two."))[0].id,
    ]
    assert len(set(ids)) == len(ids)
    assert chunker("sentence").split(base)[0].id == ids[0]


@pytest.mark.parametrize(
    ("name", "max_tokens", "overlap", "fault"),
    [
        ("fancy", 40, 0, "'fancy'; allowed"),
        ("recursive", 0, 0, "1 or more"),
        ("recursive", 40, 21, "0 to 20"),
        ("recursive", 40, -1, "0 to 20"),
    ],
)
def test_wrong_settings_are_named(name: str, max_tokens: int, overlap: int, fault: str) -> None:
    """A setting that is not allowed is named together with what is."""
    with pytest.raises(ConfigError, match=fault):
        chunker(name, max_tokens, overlap)


def test_rows_keep_their_cells() -> None:
    """A span of table rows is located from the first row's cells to the last row's."""
    loaded = load_bytes(b"name,price\nTea,2\nCoffee,3\nMilk,1\n", name="x.csv")
    document = Document(id="d", text=loaded.text, marks=tuple(loaded.marks))
    (chunk,) = chunker("recursive").split(document)
    assert chunk.location().cells == "A2:B4"
    second = chunk.sentences[1]
    assert chunk.location(*second).cells == "A3:B3"


def test_navigation_is_a_chunk_of_its_own() -> None:
    """It can be found, and is never embedded with the text around it."""
    page = b"<nav><ul><li>Home</li><li>Docs</li></ul></nav><main><p>To reset, press the red "
    page += b"button.</p></main><footer>Copyright 2020 Foo.</footer>"
    loaded = load_bytes(page, name="reset.html")
    document = Document(
        id="reset.html", text=loaded.text, marks=tuple(loaded.marks), parts=tuple(loaded.parts)
    )
    chunker = SpanChunker(name="recursive", counter=load_wordpiece())
    assert [chunk.text for chunk in chunker.split(document)] == [
        "- Home\n- Docs", "To reset, press the red button.", "Copyright 2020 Foo.",
    ]  # fmt: skip


@given(
    st.lists(st.integers(1, 14), min_size=1, max_size=6),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.sampled_from(["recursive", "markdown"]),
    st.sampled_from([0, 5]),
)
def test_a_procedure_that_fits_is_not_divided(
    before: list[int], steps: list[int], name: str, overlap: int
) -> None:
    """Whatever stands before it, and even if the chunk before it is left short."""
    intro = " ".join(f"Sentence {'word ' * n}ends." for n in before)
    procedure = "\n".join(f"{i}. Turn {'knob ' * n}now." for i, n in enumerate(steps, start=1))
    text = f"{intro}\n\n{procedure}\n\nMore text follows here."
    start = text.index("1. Turn")
    made = chunker(name, max_tokens=45, overlap_tokens=overlap)
    chunks = made.split(Document(id="d", text=text, parts=rst_parts(text)))
    fits = COUNTER.count(procedure) + overlap <= 45
    whole = any(c.start <= start and start + len(procedure) <= c.end for c in chunks)
    assert whole or not fits


@given(st.lists(st.integers(1, 14), min_size=1, max_size=8), st.integers(5, 30))
def test_what_introduces_code_stays_with_it(before: list[int], n: int) -> None:
    """A chunk does not end with "run this:" while the code begins the next one."""
    intro = " ".join(f"Sentence {'word ' * k}ends." for k in before)
    text = f"{intro} Then run this:\n\n::\n\n    {'go ' * n}\n\nMore text follows here.\n"
    document = Document(id="d", text=text, parts=rst_parts(text))
    chunks = chunker("recursive", max_tokens=45).split(document)
    lead_in = text.index("Then run this:")
    at = next(c for c in chunks if c.start <= lead_in < c.end)
    assert "go go" in at.text
