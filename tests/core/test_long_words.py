"""Tokens of long words: counted by their pieces for budgets, as before for everything else."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings
from ragkit.chunking import SpanChunker
from ragkit.text.wordpiece import LONGEST_CUT_WORD, LONGEST_WORD, load_wordpiece
from ragkit.types import ChunkerName

HARBOR = Path(__file__).parents[2] / "examples" / "harbor"
CUT_BEFORE = "9df553dc2e8ea93c89363535c1aab01fd96896c4bdd8dbe811f8d234645211ff"
"""SHA-256 of the spans and counts of `usual_texts`, when long words still counted as one."""


def usual_texts() -> list[str]:
    """Return the demo's documents, and text in several scripts, no word of it long."""
    texts = [path.read_text("utf-8") for path in sorted(HARBOR.rglob("*.md"))]
    draw = random.Random(8)
    words = "ferry Überfahrt переправа 渡轮在九点出发 ท่าเรือปิดวันอาทิตย์ naïve 3.5 € x".split()
    texts.append(
        " ".join(draw.choice([*words, "quay.", "\n\n", f"{'z' * 100}"]) for _ in range(4000))
    )
    return texts


def cut(names: tuple[ChunkerName, ...] = ("recursive", "sentence", "tokens", "markdown")) -> str:
    """Return a digest of where the usual texts are cut, and how their chunks count."""
    counter = load_wordpiece()
    found = [
        [(c.start, c.end, c.n_tokens) for c in chunker.split(Document(id="d", text=text))]
        for name in names
        for limit in (40, 400)
        for chunker in [SpanChunker(name=name, counter=counter, max_tokens=limit)]
        for text in usual_texts()
    ]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def test_usual_texts_are_cut_byte_for_byte_as_before() -> None:
    """Where no word has more than 100 characters, every span and every count stays."""
    assert cut() == CUT_BEFORE
    assert load_wordpiece().name == "wordpiece:all-MiniLM-L6-v2"
    chunker = SpanChunker(name="recursive", counter=load_wordpiece())
    assert chunker.fingerprint == "recursive/2 400 0 wordpiece:all-MiniLM-L6-v2"


@given(st.text("abcdef0123é漢\ue000", min_size=LONGEST_WORD + 1, max_size=400))
def test_a_long_word_counts_as_its_parts_at_least(word: str) -> None:
    """No word is cheaper than a token for every piece that the vocabulary could give it."""
    counter = load_wordpiece()
    longest = 18  # of a piece of the vocabulary
    visible = sum(not c.isspace() and c != "\ue000" for c in word)
    assert visible / longest <= counter.count(word) <= len(word)


@pytest.mark.parametrize("n", [LONGEST_CUT_WORD + 1, 1_000_000])
def test_a_word_without_end_counts_a_token_a_character(n: int) -> None:
    """Beyond 10,000 characters nothing is looked up."""
    assert load_wordpiece().count("x" * n) == n


def test_the_embedder_reads_long_words_as_before() -> None:
    """A long word is one unknown token to the embedder, whatever it counts for a budget."""
    counter = load_wordpiece()
    assert counter.count("y" * 5000) > 1000
    assert counter.encode("y" * 5000) == [101, 100, 102]
    assert counter.encode("y" * 50_000) == [101, 100, 102]


def test_a_text_of_one_word_is_cut_within_the_limit() -> None:
    """A word of 50,000 characters becomes chunks that a model's window can hold."""
    counter = load_wordpiece()
    text = os.urandom(25_000).hex()
    chunks = SpanChunker(name="recursive", counter=counter).split(Document(id="d", text=text))
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(chunk.n_tokens <= 400 and len(chunk.text) <= 4000 for chunk in chunks)


@pytest.mark.parametrize("name", ["recursive", "sentence", "tokens", "markdown"])
@pytest.mark.parametrize(
    "text",
    ["บ" * 118, "東京は晴" + "ｐｰ" * 57, ("ｐ" * 60 + "。") * 40,
     "The ferry " + "l" * 101 + "สวัสดีครับ ผมชื่อสมชาย" * 5],
    ids=["one letter", "half width", "sentences", "two scripts"],
)  # fmt: skip
def test_parts_that_no_space_parts_are_cut_within_the_limit(name: ChunkerName, text: str) -> None:
    """Together they may have more tokens than one by one; all of the text is there."""
    chunker = SpanChunker(name=name, counter=load_wordpiece(), max_tokens=30)
    chunks = chunker.split(Document(id="d", text=text))
    assert max(chunk.n_tokens for chunk in chunks) <= 30
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(text.split())


def test_a_cap_holds_against_long_words(tmp_path: Path) -> None:
    """Under a cap of 300 tokens no more than a few thousand characters are sent."""
    settings = Settings(max_context_tokens=300, refuse_below="off")
    text = " ".join(f"The ferry timetable {os.urandom(100).hex()}." for _ in range(100))
    with RAG(tmp_path / "kb", embedder="none", ledger="off", config=settings) as rag:
        rag.ingest(Document(id="evil", text=text))
        answer = rag.ask("What is the ferry timetable?")
    assert answer.prompt is not None
    assert len(answer.prompt) < 6000


@pytest.mark.parametrize("turn", ["", "ok", " \n", "👍"])
def test_roles_and_separators_count_against_the_cap_of_the_history(
    tmp_path: Path, turn: str
) -> None:
    """20,000 turns that say next to nothing are cut at the cap, and cost little to cut."""
    roles = ("assistant", "user")
    history = [{"role": roles[i % 2], "content": turn} for i in range(20_000)]
    with RAG(tmp_path / "kb", embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="a", text="The ferry leaves at nine."))
        answer = rag.ask("When does the ferry leave?", history=history)
    texts = (f"{message.role}\n{message.content}\n\n" for message in answer.messages)
    assert 300 < sum(map(load_wordpiece().count, texts)) <= 700
