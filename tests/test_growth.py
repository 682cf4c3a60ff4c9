"""Small input that would keep the code busy for long: CPU time grows with the size, and no faster.

Ratios of CPU times in one run; never a wall clock.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import pytest

from ragkit.chunking import SpanChunker
from ragkit.filters import compile_filter
from ragkit.generation.extractive import ExtractiveGenerator
from ragkit.loading import load_bytes
from ragkit.pipeline.citing import cite
from ragkit.prompts import load_template
from ragkit.text.rst import rst_parts
from ragkit.text.sentences import sentence_spans
from ragkit.text.wordpiece import load_wordpiece
from ragkit.text.words import detect_language, index_terms, query_terms
from ragkit.trimming import PoolChunk, TrimPolicy, measure, trim
from ragkit.trimming.scorer import FUSION_WEIGHTS
from ragkit.trimming.second_hop import second_hop
from ragkit.trimming.signals import fused
from ragkit.types import (
    Chunk,
    Document,
    Generation,
    GenerationOptions,
    Hit,
    Json,
    ScoredSentence,
    Usage,
)
from ragkit_connectors.support.events import events, lines
from ragkit_connectors.support.stopping import StoppedText
from ragkit_eval.data.texts import holds_answer, rouge_l, token_f1

from .core.test_prompts import item
from .core.test_trimming import FERRY, MUSEUM, PASS_WORDS, pool_of
from .cpu import assert_linear, cpu_seconds
from .loading.test_formats import word
from .test_patterns import LINEAR, uses

COUNTER = load_wordpiece()
STRUCTURED = TrimPolicy(name="test", keep_above=-1.0)


def repeated(unit: str) -> Callable[[int], str]:
    """Return a function that gives so many characters of a unit again and again."""
    return lambda size: (unit * (size // len(unit) + 1))[:size]


def loaded(name: str) -> Callable[[str], object]:
    """Return a function that loads a text as a file of this name."""
    return lambda text: load_bytes(text.encode(), name=name)


HIDDEN = ("font-size:0", "display : ", "opacity:0 ", "a", " ", "0.")
TAGS = ("<", "<p>", "<a ", "<table><tr><td>", "<title>", "<!--", "<body>", '<p style="', "&#", '"')
LINES = ("# a\n", "a\n=\n", "---\n", "| a ", "```\n", "=", " ", "\t", "a: b\n", "1. ", "\r",
         "- ", ":a: ", "a::\n\n", ".. a::\n", "== ==\n", "+-+-+\n")  # fmt: skip


@pytest.mark.parametrize("unit", HIDDEN)
def test_styles_that_hide(unit: str) -> None:
    """A style attribute of 60 bytes once took minutes."""
    style = repeated(unit)
    assert_linear(loaded("a.html"), lambda n: f'<p style="font-size:0{style(n)}.">a</p>', 50_000)


@pytest.mark.parametrize("unit", TAGS)
def test_html(unit: str) -> None:
    """Tags, quotes and comments that nothing closes."""
    assert_linear(loaded("a.html"), lambda n: "<p>a" + repeated(unit)(n), 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("unit", LINES)
@pytest.mark.parametrize("name", ["a.md", "a.rst", "a.txt", "a.csv"])
def test_text_files(name: str, unit: str) -> None:
    """Headings, rules, tables, front matter and encodings of lines that are all alike."""
    assert_linear(loaded(name), lambda n: "---\n" + repeated(unit)(n) + " b", 10_000)


@pytest.mark.parametrize(
    "unit", ["<w:p/>", "<w:r><w:t>a</w:t></w:r>", "<w:tbl><w:tr><w:tc/></w:tr></w:tbl>"]
)
def test_word_documents(unit: str) -> None:
    """Paragraphs, runs and tables, one after the other."""
    assert_linear(
        lambda data: load_bytes(data, name="a.docx"),
        lambda size: word(f"<w:p>{unit * size}<w:r><w:t>a</w:t></w:r></w:p>"), 2_000,
    )  # fmt: skip


def named_rows(size: int) -> str:
    """Return CSV with a long name above many rows."""
    return "a" * size + ",b\n" + "1,2\n" * (size // 20)


def named_values(size: int) -> str:
    """Return JSON with a long name above many values."""
    return json.dumps({"a" * size: {str(i): {"b": 1} for i in range(size // 20)}})


def named_lines(size: int) -> str:
    """Return Markdown with a long heading above many rows."""
    return "# " + "a" * size + "\n" + "| a |\n" * (size // 20)


@pytest.mark.parametrize(
    ("name", "made"),
    [("a.csv", named_rows), ("a.json", named_values), ("a.md", named_lines)],
)
def test_long_names_are_not_repeated(name: str, made: Callable[[int], str]) -> None:
    """A name stands with each row below it: the text stays of the size of the file."""
    data = made(20_000).encode()
    document = load_bytes(data, name=name)
    headings = sum(len(part) for mark in document.marks for part in mark.location.heading or ())
    assert len(document.text) < 40 * len(data)
    assert headings <= 500 * len(document.marks)
    assert_linear(lambda text: load_bytes(text.encode(), name=name), made, 20_000)


SENTENCES = (
    "a",
    ". ",
    "a ",
    "!?",
    "e.g.",
    "am 3. ",
    "Dr. ",
    "1. ",
    "(",
    '.)]"',
    "漢。",
    "ก",
    "\u0301",
)


@pytest.mark.parametrize("unit", SENTENCES)
def test_sentences_and_words(unit: str) -> None:
    """Full stops, brackets, marks and scripts without spaces; which language it is too."""

    def read(text: str) -> object:
        return (
            list(sentence_spans(text)), detect_language(text),
            query_terms(text, language="en"), index_terms(text, language="de"),
        )  # fmt: skip

    assert_linear(read, repeated(unit), 5_000)


@pytest.mark.parametrize("unit", ["a", "a ", ". ", "go. ", "\n", "| "])
@pytest.mark.parametrize("overlap", [0, 200])
def test_chunks(unit: str, overlap: int) -> None:
    """Texts without a place to cut, and with nothing but such places."""
    chunker = SpanChunker(name="recursive", counter=COUNTER, overlap_tokens=overlap)
    assert_linear(lambda text: chunker.split(Document(id="a", text=text)), repeated(unit), 4_000)


@pytest.mark.parametrize("unit", ["(", "()", "a ", ") "])
def test_titles_of_the_second_hop(unit: str) -> None:
    """Brackets of a title that nothing closes, and a title of one word again and again."""

    def hop(text: str) -> object:
        pool = [dataclasses.replace(chunk, hit=dataclasses.replace(chunk.hit, title=text))
                for chunk in pool_of(FERRY, MUSEUM)]  # fmt: skip
        signals = measure(PASS_WORDS, pool)
        return second_hop(PASS_WORDS, pool, signals, fused(signals, FUSION_WEIGHTS))

    assert_linear(hop, repeated(unit), 20_000)


@pytest.mark.parametrize(
    "unit", ["1. go N\n\n", "Do N::\n\n  x N\n\n", "1. go N\n\n   - so N:\n\n     - a N\n\nb N\n\n"]
)
@pytest.mark.parametrize("cap", [None, 1_000])
def test_structured_contexts(unit: str, cap: int | None) -> None:
    """Lists and code without end in one chunk, with every other unit kept."""
    chunker = SpanChunker(name="whole", counter=COUNTER)

    def chunk_of(size: int) -> Chunk:
        text = "".join(unit.replace("N", str(n)) for n in range(size // len(unit)))
        return chunker.split(Document(id="a", text=text, parts=rst_parts(text)))[0]

    def answer(chunk: Chunk) -> object:
        terms = [["a"] if i % 2 else ["b", "c", "d"] for i in range(len(chunk.sentences))]
        pool = [PoolChunk(hit=Hit(rank=1, score=1.0, chunk=chunk), terms=terms)]
        kept = trim(["a"], pool, policy=STRUCTURED, counter=COUNTER, max_context_tokens=cap)
        prompt = load_template("guarded").render("a", kept.context)
        return ExtractiveGenerator(counter=COUNTER).generate(prompt, GenerationOptions())

    assert_linear(answer, chunk_of, 10_000)


@pytest.mark.parametrize("unit", ["{{context}}", "{{", "#0", "[1] ", "\n"])
def test_prompts(unit: str) -> None:
    """Placeholders, boundaries and labels inside the passages."""
    template = load_template("guarded")
    assert_linear(lambda text: template.render(text, [item(text)]), repeated(unit), 50_000)


@pytest.mark.parametrize(
    "unit",
    ["[1]", "[", "1.", "a. ", "[1]\n", "[1] a ", "a [1]. ", "【1】- ", "[1-9] a, ", "`", "```\n",
     "not ", "1,000", "[1](/"],
)  # fmt: skip
@pytest.mark.parametrize("labelled", [True, False])
def test_citations(unit: str, *, labelled: bool) -> None:
    """An answer of any length is matched with the context once."""
    text = "The ferry leaves at nine."
    sentence = ScoredSentence(start=0, end=len(text), text=text, score=1.0, n_tokens=5)
    label = 1 if labelled else None
    context = [dataclasses.replace(item(text), sentences=(sentence,), label=label)]
    assert_linear(
        lambda text: cite(Generation(text=text, usage=Usage()), context), repeated(unit), 10_000
    )


@pytest.mark.parametrize("unit", ["1,", "1.", "a ", "a", "the "])
def test_readers_of_the_evaluation(unit: str) -> None:
    """Answers of any length against references."""

    def score(text: str) -> object:
        return token_f1(text, ("a",)), rouge_l(text, ("a 1",)), holds_answer(text, ("a 1",))

    assert_linear(score, repeated(unit), 20_000)


@pytest.mark.parametrize("read", [lines, events])
@pytest.mark.parametrize(("n_bytes", "size"), [(1, 10_000), (64, 100_000), (65_536, 2_000_000)])
def test_streams_in_small_parts(
    read: Callable[[Sequence[bytes]], Iterator[str]], n_bytes: int, size: int
) -> None:
    """A line without an end costs what it is long, in however many parts it comes."""

    def parts(size: int) -> list[bytes]:
        data = b"data: " + b"a" * size
        return [data[i : i + n_bytes] for i in range(0, len(data), n_bytes)]

    assert_linear(lambda chunks: list(read(chunks)), parts, size)


def test_stop_strings_in_small_parts() -> None:
    """What may begin a stop string is held back, and no more than that."""
    assert_linear(lambda text: list(StoppedText(["aaab"]).pieces(text)), repeated("a"), 5_000)


@pytest.mark.parametrize("operator", ["$in", "$nin"])
def test_many_values_of_a_filter(operator: str) -> None:
    """A thousand values cost a document at most three times what ten cost."""
    documents: list[dict[str, Json]] = [{"year": i, "tags": ["a", i]} for i in range(4_000)]

    def search(n_values: int) -> float:
        values: list[Json] = [-1 - i for i in range(n_values)]
        passes = compile_filter({"year": {operator: values}, "tags": {operator: values}})
        return cpu_seconds(lambda: [passes(document) for document in documents])

    assert search(1_000) <= 3.0 * max(search(10), 0.01)


@pytest.mark.parametrize("place", sorted(LINEAR))
def test_patterns_that_only_seem_slow(place: str) -> None:
    """Texts of each pair of kinds of characters, at lengths that a square would show at."""
    (pattern,) = (cast("re.Pattern[str]", use.pattern) for use in uses() if use.place == place)
    for unit in map("".join, itertools.product(LINEAR[place], repeat=2)):
        assert_linear(lambda text: len(pattern.findall(text)), repeated(unit), 5_000)


def test_other_threads_go_on() -> None:
    """While a page is read others run: no pattern holds the interpreter for long."""
    page = ('<p style="font-size:0' + "a" * 20_000 + '.">' + "<a " * 20_000).encode()
    n_turns = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal n_turns
        while not stop.wait(0.001):
            n_turns += 1

    other = threading.Thread(target=count)
    other.start()
    load_bytes(page * 4, name="a.html")
    stop.set()
    other.join()
    assert n_turns > 0
