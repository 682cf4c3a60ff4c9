"""Trimming."""

from __future__ import annotations

import dataclasses
import math
import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.chunking import SpanChunker
from ragkit.errors import ConfigError
from ragkit.text.wordpiece import load_wordpiece
from ragkit.text.words import index_terms
from ragkit.trimming import (
    BUILTIN_POLICY,
    PoolChunk,
    TrimPolicy,
    rank,
    rank_together,
    select,
    trim,
    untrimmed,
)
from ragkit.types import ContextItem, Document, Hit, Location, Mark

from ..strategies import TEXTS

COUNTER = load_wordpiece()
POLICY = TrimPolicy(name="test", budget_tokens=30)


def pool_of(*texts: str, with_cosines: bool = False, seed: int = 0) -> list[PoolChunk]:
    """Return a pool, a chunk a text; cosines are random, for what must hold for any."""
    rng = random.Random(seed)
    chunker = SpanChunker(name="whole", counter=COUNTER)
    pool: list[PoolChunk] = []
    for i, text in enumerate(texts):
        for chunk in chunker.split(Document(id=f"d{i}", text=text)):
            words = [index_terms(text[a:b], language="en") for a, b in chunk.sentences]
            cosines = [rng.uniform(-1, 1) for _ in words] if with_cosines else None
            hit = Hit(rank=len(pool) + 1, score=1.0 / (1 + len(pool)), chunk=chunk)
            pool.append(PoolChunk(hit=hit, terms=words, cosines=cosines, window_cosines=cosines))
    return pool


def tokens(context: tuple[ContextItem, ...]) -> int:
    """Return the tokens kept."""
    return sum(item.n_tokens for item in context)


FERRY = (
    "The ferry leaves at nine. A day pass costs fourteen euros. Dogs travel free. "
    "The canteen serves soup. The harbour is old. Rain is common in spring."
)
PASS_WORDS = index_terms("day pass cost", language="en")
MUSEUM = "The museum opens at ten. Entry to the museum costs six euros. It has a garden."


def test_the_sentence_that_answers_comes_first() -> None:
    """The sentence that shares the question's words is kept at the lowest level."""
    kept = trim(PASS_WORDS, pool_of(FERRY, MUSEUM), policy=POLICY, counter=COUNTER,
                level=0.0)  # fmt: skip
    assert [item.text for item in kept.context] == ["A day pass costs fourteen euros."]


def test_context_is_in_document_order_and_slices_back() -> None:
    """Kept runs stand in document order and are exactly what their spans say."""
    pool = pool_of(FERRY, MUSEUM)
    kept = trim(["museum", "ferri", "cost"], pool, policy=POLICY, counter=COUNTER, level=0.5)
    places = [(item.hit.chunk.document_id, item.start) for item in kept.context]
    assert places == sorted(places)
    for item in kept.context:
        whole = FERRY if item.hit.chunk.document_id == "d0" else MUSEUM
        assert whole[item.start : item.end] == item.text


def test_neighbouring_sentences_join_into_one_run() -> None:
    """Level 1 keeps the whole pool, each chunk as one item."""
    kept = trim(["ferri"], pool_of(FERRY, MUSEUM), policy=POLICY, counter=COUNTER, level=1.0)
    assert [item.text for item in kept.context] == [FERRY, MUSEUM]


def test_repeated_sentences_are_kept_once() -> None:
    """A sentence that stands in two chunks costs its tokens once."""
    kept = trim(["ferri"], pool_of(FERRY, FERRY), policy=POLICY, counter=COUNTER, level=1.0)
    assert [item.text for item in kept.context] == [FERRY]


def test_an_empty_pool_is_refused() -> None:
    """Nothing retrieved means no hits, not an error."""
    assert trim(["x"], [], policy=POLICY, counter=COUNTER).refusal == "no_hits"
    assert untrimmed([], counter=COUNTER).refusal == "no_hits"


def test_a_cap_below_every_sentence_is_refused() -> None:
    """When not even one sentence fits, the refusal says that the cap is the reason."""
    kept = trim(["ferri"], pool_of(FERRY), policy=POLICY, counter=COUNTER, max_context_tokens=1)
    assert (kept.refusal, kept.context) == ("cap_too_small", ())
    whole = untrimmed([pool_of(FERRY)[0].hit], counter=COUNTER, max_context_tokens=1)
    assert whole.refusal == "cap_too_small"


def test_joined_sentences_are_counted_as_joined() -> None:
    """Where a run has more tokens than its sentences together, the cap holds for the run."""

    class CharacterCounter:
        """Counts characters, so that the space between two sentences is a token too."""

        name = "characters"

        def count(self, text: str) -> int:
            """Return the length."""
            return len(text)

    text = "Dogs travel free. Cats travel too."
    cap = len("Dogs travel free.") + len("Cats travel too.")
    kept = trim(["travel"], pool_of(text), policy=POLICY, counter=CharacterCounter(), level=1.0,
                max_context_tokens=cap)  # fmt: skip
    assert 0 < sum(len(item.text) for item in kept.context) <= cap


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=4), st.text(max_size=30), st.integers(1, 80), st.booleans())
def test_the_cap_is_never_exceeded(
    texts: list[str], question: str, cap: int, cosines: bool
) -> None:
    """Whatever the text, the tokens kept stay under the cap, counted on the text kept."""
    pool = pool_of(*texts, with_cosines=cosines)
    words = index_terms(question, language="en")
    kept = trim(words, pool, policy=POLICY, counter=COUNTER, max_context_tokens=cap)
    assert sum(COUNTER.count(item.text) for item in kept.context) <= cap
    whole = untrimmed([c.hit for c in pool], counter=COUNTER, max_context_tokens=cap)
    assert sum(COUNTER.count(item.text) for item in whole.context) <= cap


@pytest.mark.slow
def test_the_cap_holds_on_random_texts() -> None:
    """The hard cap holds on random Unicode inputs; on 100,000 of them in `make fuzz`."""
    rng = random.Random(7)
    alphabet = [chr(c) for c in (*range(32, 127), *range(0xC0, 0x250), *range(0x3040, 0x30A0),
                                 *range(0x0E00, 0x0E5B), *range(0x600, 0x6FF), 0x1F600, 10, 0x301,
                                 0xDCFF, 0)] + [". ", " ", " ", "。"] * 20  # fmt: skip
    for _ in range(int(os.environ.get("CAP_TEXTS", "5000"))):
        text = "".join(rng.choices(alphabet, k=rng.randrange(1, 60)))
        cap = rng.randrange(1, 20)
        pool = pool_of(text)
        kept = trim([], pool, policy=POLICY, counter=COUNTER, max_context_tokens=cap)
        assert sum(COUNTER.count(item.text) for item in kept.context) <= cap


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_levels_are_nested(texts: list[str], a: float, b: float, cosines: bool) -> None:
    """What a lower level keeps, every higher level keeps too."""
    pool = pool_of(*texts, with_cosines=cosines)
    low, high = (
        trim(["word"], pool, policy=POLICY, counter=COUNTER, level=level)
        for level in sorted((a, b))
    )
    spans = [
        {
            (item.hit.chunk.document_id, s.start, s.end)
            for item in kept.context
            for s in item.sentences
        }
        for kept in (low, high)
    ]
    assert spans[0] <= spans[1]


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(1, 200))
def test_the_budget_holds_beyond_the_first_sentence(texts: list[str], budget: int) -> None:
    """More than one sentence is kept only while their tokens stay within the budget."""
    policy = TrimPolicy(name="test", budget_tokens=budget)
    kept = trim(["word"], pool_of(*texts), policy=policy, counter=COUNTER)
    sentences = [s for item in kept.context for s in item.sentences]
    assert len(sentences) <= 1 or sum(s.n_tokens for s in sentences) <= budget


def test_a_share_is_of_the_five_best_chunks() -> None:
    """With `budget_share` the context stays under that share of the untrimmed top 5's tokens."""
    pool = pool_of(*[f"{FERRY} Number {i} is here." for i in range(9)])
    untrimmed_tokens = sum(chunk.hit.chunk.n_tokens for chunk in pool[:5])
    policy = TrimPolicy(name="test", budget_share=0.25)
    kept = trim(["ferri"], pool, policy=policy, counter=COUNTER)
    assert 0.15 * untrimmed_tokens < tokens(kept.context) <= 0.25 * untrimmed_tokens


@pytest.mark.parametrize("level", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_every_level_keeps_a_prefix_of_the_ranking(level: float) -> None:
    """What is kept is the best sentences, in the published order, and nothing else."""
    pool = pool_of(FERRY, MUSEUM, FERRY, with_cosines=True)
    ranked = rank(["museum"], pool, POLICY).sentences
    assert len(ranked) == 9
    kept = trim(["museum"], pool, policy=POLICY, counter=COUNTER, level=level).context
    places = {(i.hit.chunk.document_id, s.start) for i in kept for s in i.sentences}
    first = [(r.hit.chunk.document_id, r.place.span[0]) for r in ranked[: len(places)]]
    assert places == set(first)
    kept_sentences = [s for item in kept for s in item.sentences]
    assert all(s.n_tokens == COUNTER.count(s.text) for s in kept_sentences)
    scores = [r.relative_score for r in ranked]
    assert scores == sorted(scores, reverse=True)


def test_one_ranking_is_cut_at_many_limits() -> None:
    """Selecting from a ranking gives what trimming by each policy gives."""
    pool = pool_of(FERRY, MUSEUM, FERRY, with_cosines=True)
    ranking = rank(PASS_WORDS, pool, POLICY)
    sizes: list[int] = []
    for budget in (1, 10, 20, 40, 80):
        policy = dataclasses.replace(POLICY, budget_tokens=budget)
        kept = select(ranking, policy=policy, counter=COUNTER)
        assert kept == trim(PASS_WORDS, pool, policy=policy, counter=COUNTER)
        sizes.append(tokens(kept.context))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_whole_chunks_carry_the_scores_of_a_ranking() -> None:
    """Each sentence has its score and size; what repeats another has minus infinity."""
    pool = pool_of(FERRY, MUSEUM, "Dogs travel free. Cats wait.", with_cosines=True)
    ranking = rank(PASS_WORDS, pool, POLICY)
    hits = [chunk.hit for chunk in pool]
    whole = untrimmed(hits, counter=COUNTER, ranking=ranking)
    assert whole.support == ranking.support
    found = {(i.hit.chunk.id, s.start): s for i in whole.context for s in i.sentences}
    expected = {(s.hit.chunk.id, s.place.span[0]): s.score for s in ranking.sentences}
    assert {key: s.score for key, s in found.items() if s.n_tokens} == expected
    repeats = [s for s in found.values() if s.score == -math.inf]
    assert [s.text for s in repeats] == ["Dogs travel free."]
    plain = untrimmed(hits, counter=COUNTER)
    assert plain.support is None
    assert [i.text for i in plain.context] == [i.text for i in whole.context]
    assert {s.score for i in plain.context for s in i.sentences} == {0.0}


def test_support_is_higher_where_the_answer_stands() -> None:
    """A question whose words stand together has more support than one whose words do not."""
    pool = pool_of(FERRY, MUSEUM)
    good = trim(PASS_WORDS, pool, policy=POLICY, counter=COUNTER).support
    poor = trim(["helicopt", "toronto", "runway"], pool, policy=POLICY, counter=COUNTER).support
    assert good is not None
    assert poor is not None
    assert 0.0 <= poor < 0.5 < good <= 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"pool": 0},
        {"budget_tokens": 0},
        {"budget_share": 0.0},
        {"budget_share": 1.1},
        {"refuse_below": 1.5},
        {"refuse_below": -0.1},
    ],
)
def test_wrong_policies_are_named(wrong: dict[str, float]) -> None:
    """A policy that is out of range is refused, naming the value."""
    with pytest.raises(ConfigError, match="allowed"):
        TrimPolicy(name="x", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"Entry costs six euros."}),
        ({"neighbours": 1}, {"The museum opens at ten.", "Entry costs six euros.", "Dogs wait."}),
        ({"headings": True}, {"Prices", "Entry costs six euros."}),
    ],
)
def test_sentences_are_kept_with_neighbours_and_heading(
    changes: dict[str, Any], expected: set[str]
) -> None:
    """Neighbours and the heading above come with a sentence, and rank as it does."""
    text = "# Prices\n\nThe museum opens at ten. Entry costs six euros. Dogs wait. It is old."
    heading = Mark(start=0, location=Location(heading=("Prices",)), kind="heading")
    document = Document(id="d", text=text, marks=(heading,))
    chunk = next(iter(SpanChunker(name="whole", counter=COUNTER).split(document)))
    words = [index_terms(text[a:b], language="en") for a, b in chunk.sentences]
    pool = [PoolChunk(hit=Hit(rank=1, score=1.0, chunk=chunk), terms=words)]
    policy = TrimPolicy(name="x", budget_tokens=1, keep_above=None, **changes)
    ranked = rank(["entri", "cost"], pool, policy).sentences
    best = ranked[0].relative_score
    together = [r for r in ranked if r.relative_score == best]
    assert {r.text.strip("# \n") for r in together} == expected
    cut = dataclasses.replace(policy, budget_tokens=None, keep_above=best)
    kept = trim(["entri", "cost"], pool, policy=cut, counter=COUNTER).context
    assert {s.text.strip("# \n") for i in kept for s in i.sentences} == expected


# --- a pool of which only some chunks have vectors ------------------------------------------------


def bare(chunk: PoolChunk) -> PoolChunk:
    """Return a chunk as it is before its vectors are made."""
    return dataclasses.replace(chunk, cosines=None, window_cosines=None)


POLICIES = st.sampled_from([POLICY, BUILTIN_POLICY, dataclasses.replace(POLICY, second_hop=0.5)])


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=5), st.text(max_size=30), st.integers(0, 31), POLICIES)
def test_no_sentence_of_a_mixed_pool_is_lost(
    texts: list[str], question: str, which: int, policy: TrimPolicy
) -> None:
    """Whichever chunks have vectors, the same sentences are ranked, with finite scores."""
    pool = pool_of(*texts, with_cosines=True)
    mixed = [bare(chunk) if which >> i & 1 else chunk for i, chunk in enumerate(pool)]
    words = index_terms(question, language="en")
    found, whole = rank(words, mixed, policy), rank(words, pool, policy)
    # Of two that differ in white space or case, the better one is there: that may be either.
    said = [{" ".join(s.text.casefold().split()) for s in one.sentences} for one in (found, whole)]
    assert said[0] == said[1]
    assert all(math.isfinite(s.score) and math.isfinite(s.relative_score) for s in found.sentences)
    assert (found.support is None) == (whole.support is None)
    assert found.support is None or 0.0 <= found.support <= 1.0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=6),
       st.lists(st.floats(-1, 1), min_size=1, max_size=4))  # fmt: skip
def test_sentences_without_vectors_are_ranked_by_their_words(
    held: list[list[bool]], cosines: list[float]
) -> None:
    """Of two that differ only in the question's words, the one that holds more comes first."""
    asked = ["alpha", "beta", "gamma", "delta"]
    pool = pool_of(*["Nothing to see here."] * len(cosines), *["Four words of text."] * len(held))
    prepared: list[PoolChunk] = []
    for i, chunk in enumerate(pool):
        hit = dataclasses.replace(chunk.hit, score=0.5)
        if i < len(cosines):
            known = [cosines[i]]
            prepared.append(dataclasses.replace(chunk, hit=hit, cosines=known,
                                                window_cosines=known))  # fmt: skip
        else:
            own = zip(asked, held[i - len(cosines)], strict=True)
            terms = [[word if has else f"other{i}" for word, has in own]]
            prepared.append(dataclasses.replace(chunk, hit=hit, terms=terms))
    ranking = rank(asked, [_told_apart(chunk, i) for i, chunk in enumerate(prepared)], POLICY)
    place = {s.hit.rank - 1: -i for i, s in enumerate(ranking.sentences)}
    score = {s.hit.rank - 1: s.score for s in ranking.sentences}
    for i, first in enumerate(held, start=len(cosines)):
        for j, other in enumerate(held, start=len(cosines)):
            if set(asked_of(first)) > set(asked_of(other)):
                assert score[i] > score[j]
                assert place[i] > place[j]


def asked_of(held: list[bool]) -> list[int]:
    """Return which of the question's words a sentence holds."""
    return [i for i, has in enumerate(held) if has]


def _told_apart(chunk: PoolChunk, i: int) -> PoolChunk:
    """Return a chunk whose text is no repetition of another's, of the same length."""
    text = f"{chunk.hit.chunk.text[:-3]}{i:02d}."
    hit = dataclasses.replace(chunk.hit, chunk=dataclasses.replace(chunk.hit.chunk, text=text))
    return dataclasses.replace(chunk, hit=hit)


def test_a_chunk_without_vectors_is_neither_first_nor_last_for_it() -> None:
    """An answer in a chunk without vectors is found; one in a chunk with vectors stays first."""
    pool = pool_of(FERRY, MUSEUM, with_cosines=True)
    cosines = [0.9 if "day pass" in text else 0.1 for text in sentences_of(pool[0])]
    near = dataclasses.replace(pool[0], cosines=cosines, window_cosines=cosines)
    far = dataclasses.replace(pool[1], cosines=[0.1] * 3, window_cosines=[0.1] * 3)
    for mixed in ([near, bare(far)], [bare(near), far]):
        first = rank(PASS_WORDS, mixed, POLICY).sentences[0]
        assert first.text == "A day pass costs fourteen euros."


def test_support_is_that_of_the_better_part() -> None:
    """A pool supports an answer where its part with vectors does, or its part without."""
    pool = pool_of(FERRY, MUSEUM, with_cosines=True)
    whole = [rank(PASS_WORDS, [chunk], POLICY).support or 0.0 for chunk in pool]
    alone = [rank(PASS_WORDS, [bare(chunk)], POLICY).support or 0.0 for chunk in pool]
    mixed = rank(PASS_WORDS, [bare(pool[0]), pool[1]], POLICY).support
    assert mixed is not None
    assert mixed >= alone[0] * 0.9
    assert whole[1] < mixed < 1.0


def sentences_of(chunk: PoolChunk) -> list[str]:
    """Return the texts of a chunk's sentences."""
    own = chunk.hit.chunk
    return [own.text[a - own.start : b - own.start] for a, b in own.sentences]


def test_what_several_readings_find_good_comes_first() -> None:
    """A sentence with words of two readings comes before those with words of one."""
    pool = pool_of(
        "A ticket for the museum costs six euros. The museum opens at ten. Tickets are sold here."
    )
    readings = [index_terms(text, language="en") for text in ("museum", "ticket costs")]
    together = rank_together([(terms, pool) for terms in readings], POLICY)
    assert together.sentences[0].text.startswith("A ticket for the museum")
    assert rank(readings[0], pool, POLICY).sentences[0].text.startswith("The museum opens")
    assert rank_together([(readings[0], pool)], POLICY) == rank(readings[0], pool, POLICY)
