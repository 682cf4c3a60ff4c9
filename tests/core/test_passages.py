"""Passages: units kept with what they need, and marks where text is left out."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.chunking import SpanChunker
from ragkit.generation.extractive import ExtractiveGenerator
from ragkit.pipeline.citing import cite
from ragkit.prompts import load_template
from ragkit.text.passages import context_tokens, n_orphans, passage_text, passages
from ragkit.text.rst import rst_parts
from ragkit.text.wordpiece import load_wordpiece
from ragkit.text.words import index_terms
from ragkit.trimming import PoolChunk, TrimPolicy, rank, select, trim, untrimmed
from ragkit.types import (
    ContextItem,
    Document,
    Generation,
    GenerationOptions,
    Hit,
    Placement,
    Usage,
)

COUNTER = load_wordpiece()
POLICY = TrimPolicy(name="test", keep_above=0.0)


class CharacterCounter:
    """Counts characters, so that every mark and line break costs."""

    name = "characters"

    def count(self, text: str) -> int:
        """Return the length."""
        return len(text)


def pool_of(
    *texts: str, max_tokens: int = 400, overlap: int = 0, seed: int = 0, share: float = 1.0
) -> list[PoolChunk]:
    """Return chunks of reStructuredText in a random order, or a share of them."""
    chunker = SpanChunker(
        name="recursive", counter=COUNTER, max_tokens=max_tokens, overlap_tokens=overlap
    )
    chunks = [
        chunk
        for i, text in enumerate(texts)
        for chunk in chunker.split(Document(id=f"d{i}", text=text, parts=rst_parts(text)))
    ]
    rng = random.Random(seed)
    if share < 1.0:
        chunks = rng.sample(chunks, round(share * len(chunks)))
    return [
        PoolChunk(
            hit=Hit(rank=k + 1, score=1.0 / (k + 1), chunk=chunk),
            terms=[index_terms(chunk.text[a - chunk.start : b - chunk.start], language="en")
                   for a, b in chunk.sentences],
            cosines=None,
            window_cosines=None,
        )
        for k, chunk in enumerate(chunks)
    ]  # fmt: skip


BOILER = """Heating
=======

Restart the boiler after a power cut as follows:

1. Close the red valve below the tank.
2. Press the reset button for ten seconds, with the key that hangs on the hook behind the door of
   the cellar, until the needle of the gauge beside it has come to rest.
3. Wait until the blue lamp stops blinking.
4. Open the red valve again.
5. Write the time into the log book.

The boiler is in the cellar. The cellar is cold in winter. Its door has no lock.
"""
LAMP = (
    "The lamp beside the valve is blue. Somebody painted all walls of the cellar long ago, and "
    "nobody has been there since.\n\nThe valve beside the lamp is red.\n"
)
VALVE = index_terms("which valve blue lamp", language="en")
WORDS = "valve lamp button tank red blue close open press wait door time".split()


def sentence(rng: random.Random) -> str:
    """Return a sentence, or two."""
    said = " ".join(rng.choices(WORDS, k=rng.randrange(1, 9))).capitalize() + "."
    return f"{said} Then {rng.choice(WORDS)}." if rng.random() < 0.2 else said


def document_of(seed: int) -> str:
    """Return reStructuredText with lists, steps, tables, code and prose, nested at random."""
    rng = random.Random(seed)

    def indented(text: str, n: int) -> str:
        return "\n".join(" " * n + line if line else line for line in text.splitlines())

    def items(marks: Sequence[str], depth: int) -> str:
        lines: list[str] = []
        for mark in marks[: rng.randrange(1, 6)]:
            lines.append(mark + sentence(rng))
            if depth < 2 and rng.random() < 0.25:
                lines.append("\n" + indented(block(depth + 1), len(mark)) + "\n")
        return "\n".join(lines)

    def code() -> str:
        lines = "\n".join(rng.choice(WORDS) + "()" for _ in range(rng.randrange(1, 4)))
        return f".. code-block:: text\n\n{indented(lines, 3)}"

    def table() -> str:
        edge = "========= ========="
        rows = "\n".join(f"{rng.choice(WORDS):<9} {rng.choice(WORDS)}" for _ in range(4))
        return f"{edge}\nPart      State\n{edge}\n{rows}\n{edge}"

    def block(depth: int) -> str:
        kinds: list[Callable[[], str]] = [
            lambda: " ".join(sentence(rng) for _ in range(rng.randrange(1, 4))),
            lambda: sentence(rng)[:-1] + ":",
            lambda: items(["- "] * 5, depth),
            lambda: items([f"{n}. " for n in range(1, 6)], depth),
            code,
            lambda: f".. note::\n\n   {sentence(rng)}",
        ]
        at_the_top = [table, lambda: f"{rng.choice(WORDS)}\n======"]
        return rng.choice(kinds if depth else kinds + at_the_top)()

    return "\n\n".join(block(0) for _ in range(rng.randrange(1, 9))) + "\n"


SEEDS = st.integers(0, 2**32)


@st.composite
def made(draw: st.DrawFn) -> tuple[list[str], list[PoolChunk]]:
    """Return documents and a pool of some of their chunks."""
    seeds = draw(st.lists(SEEDS, min_size=1, max_size=2))
    max_tokens = draw(st.sampled_from([8, 20, 60, 400]))
    texts = [document_of(seed) for seed in seeds]
    pool = pool_of(
        *texts,
        max_tokens=max_tokens,
        overlap=draw(st.sampled_from([0, 0, max_tokens // 4])),
        seed=seeds[0],
        share=draw(st.sampled_from([0.4, 0.8, 1.0])),
    )
    return texts, pool


POOLS = made()


def covered(context: Sequence[ContextItem]) -> set[tuple[str, int]]:
    """Return the characters that a context holds."""
    return {
        (item.hit.chunk.document_id, k) for item in context for k in range(item.start, item.end)
    }


@settings(max_examples=200, deadline=None)
@given(POOLS, st.floats(-3, 2), st.sampled_from([0, 1]), st.booleans())
def test_what_is_kept_can_be_read(
    made: tuple[list[str], list[PoolChunk]], above: float, neighbours: int, headings: bool
) -> None:
    """Units are kept with all they need, say what they are, and never hide a gap."""
    texts, pool = made
    policy = dataclasses.replace(POLICY, keep_above=above, neighbours=neighbours, headings=headings)
    context = trim(VALVE, pool, policy=policy, counter=COUNTER).context
    assert n_orphans(context) == 0
    for passage in passages(context):
        text = texts[int(passage[0].hit.chunk.document_id[1:])]
        assert all(text[item.start : item.end] == item.text for item in passage)
        for before, item in itertools.pairwise(passage):
            assert before.start <= item.start
            if not item.gap_before:
                assert not text[before.end : item.start].strip()
    for item in context:
        assert (item.role == "unit") == (item.unit_kind is not None)
        assert item.unit_kind not in {"nav", "heading", "markup", "header_row"}


@settings(max_examples=200, deadline=None)
@given(POOLS, st.lists(st.floats(-3, 2), min_size=2, max_size=2), st.booleans())
def test_kept_sets_nest(
    made: tuple[list[str], list[PoolChunk]], limits: list[float], by_level: bool
) -> None:
    """A laxer limit keeps all that a stricter one keeps; scores never rise along the sequence."""
    _, pool = made
    ranking = rank(VALVE, pool, POLICY)
    scores = [piece.relative_score for piece in ranking.sentences]
    assert scores == sorted(scores, reverse=True)
    strict, lax = (
        covered(
            select(
                ranking,
                policy=dataclasses.replace(POLICY, keep_above=limit),
                counter=COUNTER,
                level=min(1.0, max(0.0, -limit)) if by_level else None,
            ).context
        )
        for limit in sorted(limits, reverse=True)
    )
    assert strict <= lax


@settings(max_examples=200, deadline=None)
@given(POOLS, st.integers(1, 400), st.booleans())
def test_marks_stay_under_the_cap(
    made: tuple[list[str], list[PoolChunk]], cap: int, characters: bool
) -> None:
    """The tokens of items and marks together never exceed the cap, trimmed or not."""
    _, pool = made
    counter = CharacterCounter() if characters else COUNTER
    kept = trim(VALVE, pool, policy=POLICY, counter=counter, max_context_tokens=cap)
    whole = untrimmed([c.hit for c in pool], counter=counter, max_context_tokens=cap)
    for context in (kept.context, whole.context):
        assert context_tokens(context, counter.count) <= cap
        if characters:
            assert sum(len(passage_text(passage)) for passage in passages(context)) <= cap


@settings(max_examples=200, deadline=None)
@given(POOLS, st.floats(-3, 2), st.booleans())
def test_a_cap_that_does_not_bind_changes_nothing(
    made: tuple[list[str], list[PoolChunk]], above: float, headings: bool
) -> None:
    """Under a cap with room for all of it, the context is that without a cap."""
    policy = dataclasses.replace(POLICY, keep_above=above, headings=headings)
    free = trim(VALVE, made[1], policy=policy, counter=COUNTER)
    capped = trim(VALVE, made[1], policy=policy, counter=COUNTER, max_context_tokens=10**6)
    assert [(i.start, i.end, i.gap_before) for i in capped.context] == [
        (i.start, i.end, i.gap_before) for i in free.context
    ]


@settings(max_examples=200, deadline=None)
@given(POOLS, st.floats(-3, 2), st.sampled_from(["best_last", "best_first"]))
def test_the_best_place_stands_at_an_end(
    made: tuple[list[str], list[PoolChunk]], above: float, placement: Placement
) -> None:
    """Another order holds the same items, with needs before what needs them, and all gaps shown."""
    texts, pool = made
    policy = dataclasses.replace(POLICY, keep_above=above)
    ranking = rank(VALVE, pool, policy)
    context = select(ranking, policy=policy, counter=COUNTER).context
    placed = select(ranking, policy=policy, counter=COUNTER, placement=placement).context
    spans = [(i.hit.chunk.document_id, i.start, i.end) for i in placed]
    assert sorted(spans) == sorted((i.hit.chunk.document_id, i.start, i.end) for i in context)
    if placed:
        scores = [max(s.score for s in item.sentences) for item in placed]
        ends = [k for k, score in enumerate(scores) if score == max(scores)]
        # Between it and the end stand only its neighbours in the document.
        beside = placed[ends[-1] :] if placement == "best_last" else placed[: ends[0] + 1]
        assert len({i.hit.chunk.document_id for i in beside}) == 1
        assert [i.start for i in beside] == sorted(i.start for i in beside)
    for before, item in itertools.pairwise(placed):
        if before.hit.chunk.document_id == item.hit.chunk.document_id and not item.gap_before:
            text = texts[int(item.hit.chunk.document_id[1:])]
            assert not text[before.end : item.start].strip()
            assert before.start <= item.start
    for cap in (5, 40):
        capped = select(
            ranking, policy=policy, counter=COUNTER, max_context_tokens=cap, placement=placement
        ).context
        assert context_tokens(capped, COUNTER.count) <= cap


def test_whole_chunks_can_be_placed_too() -> None:
    """Untrimmed, the best one comes first or last."""
    hits = [c.hit for c in pool_of(LAMP, BOILER, max_tokens=20)]
    first = untrimmed(hits, counter=COUNTER).context
    last = untrimmed(hits, counter=COUNTER, placement="best_last").context
    assert [i.hit.chunk.id for i in last] == [i.hit.chunk.id for i in reversed(first)]
    assert len(first) > 2


def test_a_mark_stands_where_text_is_left_out() -> None:
    """One label a passage; what is left out between its runs shows as a mark on its own line."""
    context = trim(VALVE, pool_of(LAMP), policy=POLICY, counter=COUNTER, level=0.5).context
    assert [item.gap_before for item in context] == [False, True]
    prompt = load_template("guarded").render("q", context)
    assert (
        "[1] The lamp beside the valve is blue.\n…\nThe valve beside the lamp is red.\n"
        in prompt.text
    )
    assert "[2]" not in prompt.text
    assert [item.label for item in prompt.context] == [1, 1]
    assert [item.label for item in load_template("default").render("q", context).context] == [
        None, None
    ]  # fmt: skip
    assert context_tokens(context, COUNTER.count) == sum(i.n_tokens for i in context) + 1


def test_a_lead_in_of_the_chunk_before_joins_without_a_mark() -> None:
    """Where only a blank line lies between two chunks, nothing is left out."""
    pool = pool_of(BOILER, max_tokens=12)
    steps = [chunk for chunk in pool if "1. Close" in chunk.hit.chunk.text]
    context = trim(VALVE, steps, policy=POLICY, counter=COUNTER, level=0.0).context
    assert context[0].role == "lead_in"
    shown = passage_text(context)
    assert shown.startswith("Restart the boiler after a power cut as follows:\n1. Close")


def test_a_procedure_is_kept_whole_unless_a_cap_cuts_it() -> None:
    """Under a cap the best step and the first ones are kept; the mark counts the others."""
    pool = pool_of(BOILER)
    whole = trim(VALVE, pool, policy=POLICY, counter=COUNTER, level=0.0).context
    assert passage_text(whole) == BOILER[BOILER.index("Restart") : BOILER.index("book.") + 5]
    cut = trim(
        VALVE, pool, policy=POLICY, counter=COUNTER, level=0.0, max_context_tokens=50
    ).context
    assert n_orphans(cut) == 0
    lines = passage_text(cut).splitlines()
    assert lines == [
        "Restart the boiler after a power cut as follows:",
        "",
        "1. Close the red valve below the tank.",
        "… (1 step left out)",
        "3. Wait until the blue lamp stops blinking.",
        "… (2 steps left out)",
    ]


def test_a_lead_in_is_kept_with_the_steps_it_introduces() -> None:
    """What asks for the head sentence gets the steps; under a cap, the first ones."""
    words = index_terms("restart the boiler after a power cut", language="en")
    whole = trim(words, pool_of(BOILER), policy=POLICY, counter=COUNTER, level=0.0).context
    assert passage_text(whole).endswith("5. Write the time into the log book.")
    cut = trim(
        words, pool_of(BOILER), policy=POLICY, counter=COUNTER, level=0.0, max_context_tokens=40
    ).context
    assert [item.text for item in cut] == [
        "Restart the boiler after a power cut as follows:\n\n1. Close the red valve below the tank."
    ]
    assert cut[0].steps_left_out_after == 4


@pytest.mark.parametrize(
    ("introduced", "kept"),
    [
        (".. code-block:: sh\n\n   lamp --red\n\nWait.\n", "lamp --red"),
        ("- Close the door.\n- Wait.\n", "- Close the door."),
        ("1. Close the door.\n2. Wait.\n\nGo.\n", "1. Close the door.\n2. Wait."),
    ],
)
def test_what_only_introduces_is_kept_with_the_first_that_it_introduces(
    introduced: str, kept: str
) -> None:
    """And with the whole procedure, if that is one."""
    text = f"The cellar is cold.\n\nOf the valve and the blue lamp we say:\n\n{introduced}"
    context = trim(VALVE, pool_of(text), policy=POLICY, counter=COUNTER, level=0.0).context
    assert passage_text(context).startswith("Of the valve and the blue lamp we say:")
    assert passage_text(context).endswith(kept)
    assert n_orphans(context) == 0


def test_steps_of_chunks_that_were_not_found_show_as_a_mark() -> None:
    """Without the rest of a procedure at hand, a plain mark says that there is more."""
    pool = pool_of(BOILER, max_tokens=24)
    steps = [chunk for chunk in pool if "2. Press" in chunk.hit.chunk.text]
    context = trim(VALVE, steps, policy=POLICY, counter=COUNTER, level=0.0).context
    assert passage_text(context).endswith("\n…")
    assert context[-1].steps_left_out_after is None


def test_indentation_is_as_in_the_document() -> None:
    """Code in a step stands below it as deep as it did."""
    text = "Do this:\n\n1. Open the red valve::\n\n      valve()\n        lamp()\n\n2. Wait.\n"
    context = trim(VALVE, pool_of(text), policy=POLICY, counter=COUNTER, level=0.0).context
    assert "\n      valve()\n        lamp()\n" in passage_text(context)
    late = trim(
        ["valv"], pool_of("Intro.\n\n- Red.\n\n  - Blue valve.\n"), policy=POLICY, counter=COUNTER,
        level=0.0,
    ).context  # fmt: skip
    assert passage_text(late) == "- Red.\n\n  - Blue valve."


@pytest.mark.parametrize("max_tokens", [8, 12, 400])
def test_indentation_is_as_in_the_document_at_the_border_of_chunks(max_tokens: int) -> None:
    """What begins a chunk stands as deep as it did, and nothing seems to be left out before it."""
    text = (
        "Do this:\n\n1. Open the red valve::\n\n      valve()\n        lamp()\n\n"
        "   - Red.\n\n     - Blue.\n\n2. Wait.\n"
    )
    pool = pool_of(text, max_tokens=max_tokens)
    context = trim(VALVE, pool, policy=POLICY, counter=COUNTER, level=1.0).context
    kept = [line for line in passage_text(context).splitlines() if line]
    assert kept == [line for line in text.splitlines() if line]


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("It is blue [1].", [0]),
        ("It is red. [1] [7]", [1]),
        ("Nobody knows [1].", [0, 1]),
        ("It is blue [^1], they say.", [0]),
        ("It is blue 【1】.", [0]),
        ("It is blue 【1†lamp】.", [0]),
        ("It is blue ［1］.", [0]),
        ("It is blue [1, 2].", [0]),
        ("It is blue [7;1].", [0]),
        ("It is blue [1 – 999999].", [0]),
    ],
)
def test_a_label_cites_what_supports_the_claim(answer: str, cited: list[int]) -> None:
    """Of a passage those runs are cited that hold the words before the label, else all."""
    context = trim(VALVE, pool_of(LAMP), policy=POLICY, counter=COUNTER, level=0.5).context
    labelled = load_template("guarded").render("q", context).context
    found = cite(Generation(text=answer, usage=Usage()), labelled)
    assert [citation.text for citation in found] == [context[i].text for i in cited]


@pytest.mark.parametrize(
    ("labels", "cited"),
    [
        ("[1][3]", [1, 3]), ("[1, 3]", [1, 3]), ("[1;3]", [1, 3]), ("[1-3]", [1, 2, 3]),
        ("[3, 1–2]", [3, 1, 2]), ("[^2][^3]", [2, 3]), ("【2、3】", [2, 3]), ("[2-9]", [2, 3]),
        ("[3-2]", []), ("[0, 1]", []), ("[4]", []), ("[1.2]", []), ("[a1]", []), ("[1", []),
    ],
)  # fmt: skip
def test_labels_are_read_as_models_write_them(labels: str, cited: list[int]) -> None:
    """Lists, ranges, notes and wide brackets name the passages of their numbers."""
    pool = pool_of("Dogs bark.\n", "Cats purr.\n", "Cows moo.\n")
    context = trim(["dog"], pool, policy=POLICY, counter=COUNTER, level=1.0).context
    labelled = load_template("guarded").render("q", context).context
    found = cite(Generation(text=f"Animals {labels} talk.", usage=Usage()), labelled)
    numbers = {item.text: item.label for item in labelled}
    assert [numbers[citation.text] for citation in found] == cited


ANSWERS = """Valves
======

.. note::

   A note about the lamp.

The valves are listed below.

.. code-block:: text

   close(valve)
     wait(lamp)

Restart the boiler as follows:

1. Close the red valve.
2. Press the button.

====== =====
Valve  State
====== =====
red    open
blue   shut
====== =====
"""


@pytest.mark.parametrize("trimmed", [True, False])
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("wait lamp close", "The valves are listed below.\n   close(valve)\n     wait(lamp)"),
        (
            "press button",
            "Restart the boiler as follows:\n1. Close the red valve.\n2. Press the button.",
        ),
        (
            "how to restart the boiler",
            "Restart the boiler as follows:\n1. Close the red valve.\n2. Press the button.",
        ),
        ("blue shut", "Valve  State\nblue   shut"),
        ("note lamp", "A note about the lamp."),
        ("valves listed", "The valves are listed below.\n   close(valve)\n     wait(lamp)"),
    ],
)
def test_an_extractive_answer_can_be_read(question: str, expected: str, *, trimmed: bool) -> None:
    """It is a unit below what it needs; never a heading, a directive or a header alone."""
    words = index_terms(question, language="en")
    pool = pool_of(ANSWERS)
    ranking = rank(words, pool, POLICY)
    context = (
        select(ranking, policy=POLICY, counter=COUNTER, level=1.0)
        if trimmed
        else untrimmed([chunk.hit for chunk in pool], counter=COUNTER, ranking=ranking)
    ).context
    generator = ExtractiveGenerator(counter=COUNTER, max_units=1)
    prompt = load_template("default").render(question, context)
    generation = generator.generate(prompt, GenerationOptions())
    assert generation.text == expected
    assert "".join(c.text for c in cite(generation, context)) == "".join(
        c.text for c in generation.citations or ()
    )
