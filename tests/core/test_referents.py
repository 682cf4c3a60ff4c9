"""A sentence that opens with a pronoun is kept with the one that names what it is about."""

from __future__ import annotations

from dataclasses import replace

from ragkit.chunking import SpanChunker
from ragkit.text.wordpiece import load_wordpiece
from ragkit.text.words import index_terms, query_terms
from ragkit.trimming import BUILTIN_POLICY, PoolChunk, TrimPolicy, trim
from ragkit.types import Chunk, ContextItem, Document, Hit

SHIP = "The MV Aurora sails daily from Northport to the island of Holm."
LOAD = "It carries 340 passengers and 40 cars."
CREW = "Its crew of twelve sleeps ashore."
OTHER = "The timetable hangs in the office."

ONE = TrimPolicy(name="one", budget_tokens=1)


def chunks_of(text: str, *, max_tokens: int = 400) -> list[Chunk]:
    """Return the chunks of a text without structure."""
    chunker = SpanChunker(name="recursive", counter=load_wordpiece(), max_tokens=max_tokens)
    return list(chunker.split(Document(id="ships", text=text)))


def context(question: str, chunks: list[Chunk], policy: TrimPolicy = ONE) -> list[ContextItem]:
    """Return what is kept of these chunks."""
    pool = [
        PoolChunk(
            hit=Hit(rank=i, score=1.0 / i, chunk=chunk),
            terms=[
                index_terms(chunk.text[a - chunk.start : b - chunk.start], language="en")
                for a, b in chunk.sentences
            ],
        )
        for i, chunk in enumerate(chunks, start=1)
    ]
    terms = query_terms(question, language="en")
    return list(trim(terms, pool, policy=policy, counter=load_wordpiece()).context)


def test_a_pronoun_brings_the_sentence_before_it() -> None:
    """One sentence before it, not a chain of them."""
    kept = context("How many passengers?", chunks_of(f"{OTHER} {SHIP} {LOAD} {CREW}"))
    assert [item.text for item in kept] == [f"{SHIP} {LOAD}"]
    kept = context("How many crew sleep ashore?", chunks_of(f"{OTHER} {SHIP} {LOAD} {CREW}"))
    assert [item.text for item in kept] == [f"{LOAD} {CREW}"]


def test_a_sentence_that_names_its_subject_comes_alone() -> None:
    """Whatever stands before it."""
    kept = context("Where does the timetable hang?", chunks_of(f"{SHIP} {OTHER}"))
    assert [item.text for item in kept] == [OTHER]


def test_across_a_chunk_border_the_sentence_is_borrowed() -> None:
    """It is an item of its own, with its place in the document."""
    text = f"{SHIP} {LOAD}"
    chunks = chunks_of(text, max_tokens=16)
    assert [chunk.text for chunk in chunks] == [SHIP, LOAD]
    kept = context("How many passengers?", chunks[1:])
    assert [(item.text, item.role) for item in kept] == [(SHIP, "referent"), (LOAD, "unit")]
    assert all(text[item.start : item.end] == item.text for item in kept)


def test_policies_of_before_keep_what_they_kept() -> None:
    """Their files do not name units."""
    older = TrimPolicy.from_dict({"budget_tokens": 1}, path="older.json")
    kept = context("How many passengers?", chunks_of(f"{SHIP} {LOAD}"), older)
    assert [item.text for item in kept] == [LOAD]
    assert replace(BUILTIN_POLICY, units=False) != BUILTIN_POLICY


def test_a_paragraph_border_ends_what_a_pronoun_may_mean() -> None:
    """Across a chunk border nothing tells whether the paragraphs belong together."""
    chunks = chunks_of(f"{SHIP}\n\n{LOAD}", max_tokens=16)
    assert [chunk.units for chunk in chunks] == [(), ()]
