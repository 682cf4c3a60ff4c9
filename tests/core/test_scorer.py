"""Fitted scorers: what they see, how they are stored, and what a policy makes of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit.text.wordpiece import load_wordpiece
from ragkit.text.words import index_terms
from ragkit.trimming import (
    BUILTIN_POLICY,
    Forest,
    PoolChunk,
    Scorer,
    Tree,
    TrimPolicy,
    features,
    load_policy,
    measure,
    rank,
    trim,
)
from ragkit.trimming.scorer import feature_names
from ragkit.trimming.second_hop import second_hop

from .test_trimming import FERRY, MUSEUM, PASS_WORDS, pool_of

COUNTER = load_wordpiece()
STUMP = Tree((0, -1, -1), (-0.5, -2.0, 1.5), (1, 0, 0), (2, 0, 0))
"""-2 where the first feature is at most -0.5, else 1.5."""


def scorer(**changes: float | Forest | None) -> Scorer:
    """Return a scorer of one tree for each kind of pool."""
    forest = Forest(0.0, 1.0, (STUMP,))
    made = Scorer(
        name="made", with_vectors=forest, by_words=forest, fused_weight=0.5, length_weight=1.0
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@given(
    scale=st.floats(0.1, 50.0), shift=st.floats(-5.0, 5.0), with_cosines=st.booleans()
)  # fmt: skip
def test_features_are_relative_to_the_pool(scale: float, shift: float, with_cosines: bool) -> None:
    """Another scale of the store's scores changes nothing but the gaps of that score."""
    pool = pool_of(FERRY, MUSEUM, with_cosines=with_cosines)
    other = [
        dataclasses.replace(
            chunk, hit=dataclasses.replace(chunk.hit, score=scale * chunk.hit.score + shift)
        )
        for chunk in pool
    ]
    names = feature_names(with_vectors=with_cosines)
    free = [i for i, name in enumerate(names) if name != "chunk:gap"]
    before, after = (features(measure(PASS_WORDS, p)) for p in (pool, other))
    assert len(before) == sum(len(chunk.terms) for chunk in pool)
    for a, b in zip(before, after, strict=True):
        assert len(a) == len(names)
        assert [a[i] for i in free] == pytest.approx([b[i] for i in free], abs=1e-6)


def test_features_of_the_best_sentence() -> None:
    """The sentence with most of the question's words has gap 0, rank 0 and the largest z."""
    signals = measure(PASS_WORDS, pool_of(FERRY, MUSEUM))
    rows = features(signals)
    names = feature_names(with_vectors=False)
    best = max(range(len(rows)), key=lambda i: signals.columns["words"][i])
    assert rows[best][names.index("words:gap")] == 0.0
    assert rows[best][names.index("words:rank")] == 0.0
    column = [row[names.index("words:z")] for row in rows]
    assert column[best] == max(column)
    ranks = sorted(row[names.index("words:rank")] for row in rows)
    assert ranks == [math.log1p(i) for i in range(len(rows))]


def test_a_sentence_and_its_window_are_told_apart() -> None:
    """A sentence without the question's words covers nothing, though its neighbour does."""
    signals = measure(PASS_WORDS, pool_of(FERRY))
    assert signals.columns["covered"][2] == 0.0
    assert signals.columns["window_covered"][2] == signals.columns["covered"][1] > 0.5


def test_a_forest_adds_its_trees() -> None:
    """Each row walks each tree to a leaf; offset and slope are applied to the sum."""
    forest = Forest(0.25, 2.0, (STUMP, STUMP))
    assert forest.log_odds([(-0.5,), (0.0,)]) == [0.25 - 8.0, 0.25 + 6.0]


@pytest.mark.parametrize(
    "tree",
    [
        ((0, -1), (0.0, 1.0), (1, 0), (2, 0)),  # a child that there is not
        ((0, -1, -1), (0.0, 1.0, 1.0), (0, 0, 0), (2, 0, 0)),  # its own child
        ((0, -1, -1), (0.0, 1.0), (1, 0, 0), (2, 0, 0)),  # too few thresholds
        ((), (), (), ()),
    ],
)
def test_broken_trees_are_refused(tree: tuple[tuple[float, ...], ...]) -> None:
    """A file cannot send the walk in circles or out of the tree."""
    with pytest.raises(ConfigError, match="broken"):
        Tree(*tree)  # type: ignore[arg-type]


def test_a_scorer_reads_back() -> None:
    """The JSON form gives the same scores and digest; another feature list is refused."""
    made = scorer()
    data: Any = json.loads(json.dumps(made.to_dict()))
    again = Scorer.from_dict(data)
    pool = pool_of(FERRY, MUSEUM, with_cosines=True)
    signals = measure(PASS_WORDS, pool)
    assert again.score(signals) == made.score(signals)
    assert again.sha256() == made.sha256() != scorer(length_weight=2.0).sha256()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"features": ["words:gap"]}, "other features"),
        ({"by_words": {"offset": 0.0, "slope": -1.0, "trees": []}}, "slope"),
        ({"by_words": {"offset": 0.0, "slope": 1.0, "trees": [[[99, -1, -1], [0, 0, 0],
                                                               [1, 0, 0], [2, 0, 0]]]}},
         "feature that there is not"),
        ({"by_words": 3}, "not readable"),
    ]  # fmt: skip
    for wrong, message in cases:
        with pytest.raises(ConfigError, match=message):
            Scorer.from_dict({**data, **wrong})


def test_pools_without_vectors_have_their_own_trees() -> None:
    """Without sentence vectors, or without trees for them, the words' trees score."""
    low = Forest(-9.0, 1.0, (STUMP,))
    words_only = pool_of(FERRY, MUSEUM)
    with_vectors = pool_of(FERRY, MUSEUM, with_cosines=True)
    made = scorer(by_words=low)
    assert max(made.score(measure(PASS_WORDS, words_only))) < -5.0
    assert max(made.score(measure(PASS_WORDS, with_vectors))) > -5.0
    assert max(scorer(with_vectors=None, by_words=low).score(measure(PASS_WORDS, with_vectors))) < (
        -5.0
    )


@given(cut=st.floats(-20.0, 10.0), seed=st.integers(0, 50))
def test_what_ranks_above_the_cut_is_kept(cut: float, seed: int) -> None:
    """Exactly the sentences of that rank or better are kept, and never less than the best."""
    pool = pool_of(FERRY, MUSEUM, with_cosines=True, seed=seed)
    policy = dataclasses.replace(BUILTIN_POLICY, keep_above=cut, budget_share=None)
    ranked = rank(PASS_WORDS, pool, policy).sentences
    kept = trim(PASS_WORDS, pool, policy=policy, counter=COUNTER).context
    expected = {(r.hit.chunk.id, r.place.span[0]) for r in ranked if r.relative_score >= cut}
    best = [r for r in ranked if r.atom == ranked[0].atom]
    expected |= {(r.hit.chunk.id, r.place.span[0]) for r in best}
    assert {(i.hit.chunk.id, s.start) for i in kept for s in i.sentences} == expected


def test_policy_files_name_their_scorer(tmp_path: Path) -> None:
    """A file beside the policy's, or none."""
    (tmp_path / "mine.scorer.json").write_text(json.dumps(scorer().to_dict()))
    path = tmp_path / "trim.json"

    def read(**data: object) -> str | None:
        path.write_text(json.dumps(data))
        used = load_policy(str(path))[0].scorer
        return None if used is None else used.name

    assert read(keep_above=-3) is None
    assert read(keep_above=-3, scorer=None) is None
    assert read(keep_above=-3, scorer="mine.scorer.json") == "mine.scorer.json"
    assert read(scorer={"name": "mine.scorer.json", "sha256": "x"}) == "mine.scorer.json"
    for wrong in ("absent.json", {"file": "x"}, 3):
        with pytest.raises(ConfigError, match="scorer"):
            read(scorer=wrong)
    (tmp_path.parent / "mine.scorer.json").write_text(json.dumps(scorer().to_dict()))
    (tmp_path / "device").symlink_to(os.devnull)
    elsewhere = str(tmp_path.parent / "mine.scorer.json")
    for wrong in ("../mine.scorer.json", elsewhere, "device"):
        with pytest.raises(ConfigError, match="allowed: a file beside the policy"):
            read(scorer=wrong)


def test_a_file_with_one_limit_means_that_one(tmp_path: Path) -> None:
    """Other limits do not slip in; a file with none has those that it always had."""
    path = tmp_path / "trim.json"

    def limits(**data: object) -> tuple[float | None, int | None, float | None]:
        path.write_text(json.dumps(data))
        policy = load_policy(str(path))[0]
        return policy.keep_above, policy.budget_tokens, policy.budget_share

    assert limits(keep_above=-3) == (-3.0, None, None)
    assert limits(budget_tokens=5) == (None, 5, None)
    assert limits(budget_share=0.5) == (None, None, 0.5)
    assert limits(pool=7) == (-4.0, None, 1.0)


def test_a_pool_of_hits_without_words_is_ranked() -> None:
    """Chunks none of whose words the question has still rank, by what is left."""
    pool = [dataclasses.replace(c, terms=[[] for _ in c.terms]) for c in pool_of(FERRY, MUSEUM)]
    assert all(isinstance(chunk, PoolChunk) for chunk in pool)
    ranked = rank([], pool, BUILTIN_POLICY).sentences
    assert len(ranked) == 9
    assert all(math.isfinite(r.relative_score) for r in ranked)


def titled(*documents: tuple[str, str]) -> list[PoolChunk]:
    """Return a pool, a chunk a document, each with its title."""
    pool = pool_of(*(text for _, text in documents))
    return [
        dataclasses.replace(chunk, hit=dataclasses.replace(chunk.hit, title=title))
        for chunk, (title, _) in zip(pool, documents, strict=True)
    ]


SHIP = "The Grey Gull is a schooner. It was designed by Ada Brandt. Its sails are brown."
DESIGNER = "Ada Brandt was a shipwright. She grew up in Tromso. She kept bees."
OTHERS = ("The mayor grew up in Bodo. He keeps hens.", "Bees are kept in hives. Honey is sweet.")


def test_the_second_hop_finds_the_document_that_the_first_names() -> None:
    """The opening of the named designer's article gains; without its title it does not."""
    pool = titled(
        ("Grey Gull (ship)", SHIP), ("Mayor", OTHERS[0]), ("Bees", OTHERS[1]),
        ("Ada Brandt", DESIGNER),
    )  # fmt: skip
    words = index_terms("grey gull designer grew up", language="en")
    # Without what is kept with others: "She grew up" would bring the opening in any case.
    plain = TrimPolicy(name="plain", budget_tokens=40, units=False)
    hop = dataclasses.replace(plain, second_hop=1.0)

    def place(policy: TrimPolicy, pool: list[PoolChunk], text: str) -> int:
        return [r.text for r in rank(words, pool, policy).sentences].index(text)

    opening = "Ada Brandt was a shipwright."
    assert place(hop, pool, opening) < place(plain, pool, opening)
    gained = {r.text: r.score for r in rank(words, pool, hop).sentences}
    unnamed = titled(("Grey Gull (ship)", SHIP), ("Mayor", OTHERS[0]), ("Bees", OTHERS[1]),
                     ("", DESIGNER))  # fmt: skip
    other = {r.text: r.score for r in rank(words, unnamed, hop).sentences}
    assert gained[opening] > other[opening] + 0.3
    assert gained["The mayor grew up in Bodo."] == pytest.approx(
        other["The mayor grew up in Bodo."]
    )


def test_the_second_hop_takes_part_in_the_digest() -> None:
    """A certificate holds for one weight of it only; less than none is refused."""
    plain = TrimPolicy(name="x")
    assert plain.sha256() != dataclasses.replace(plain, second_hop=1.0).sha256()
    with pytest.raises(ConfigError, match="second_hop -1"):
        TrimPolicy(name="x", second_hop=-1.0)


def test_ranks_are_relative_to_the_best() -> None:
    """Each rank is less by a share of the best sentence's; the order stays."""
    pool = pool_of(FERRY, MUSEUM, with_cosines=True)
    plain, relative = (
        rank(PASS_WORDS, pool, TrimPolicy(name="x", best_weight=weight)).sentences
        for weight in (0.0, 0.5)
    )
    assert [(r.place, r.score) for r in relative] == [(r.place, r.score) for r in plain]
    best = plain[0].relative_score
    assert best > 0.5
    assert [r.relative_score for r in relative] == pytest.approx(
        [r.relative_score - 0.5 * best for r in plain]
    )


def test_what_the_second_hop_gives() -> None:
    """Opening a document, its title in the question, who names it, and the words shared."""
    pool = titled(
        ("Grey Gull", "The Grey Gull is a ship. It sails to Bodo. Bodo has a quay."),
        ("Ada Brandt", "A shipwright she was. Ada Brandt built the Grey Gull. She kept bees."),
        ("", "Herring is smoked here. Nets dry in the yard. Rain is common. " + " ".join(
            f"{name} sings alone." for name in "Anna Bo Carl Dora Eva Finn Gro Hal Ida Jon".split()
        )),
    )  # fmt: skip
    words = index_terms("grey gull quay", language="en")
    signals = measure(words, pool)
    scores = [0.0] * len(signals.sentences)
    scores[4] = 3.0
    texts = [pool[s.chunk].hit.chunk.text[slice(*s.span)] for s in signals.sentences]
    assert texts[4] == "Ada Brandt built the Grey Gull."
    gains = second_hop(words, pool, signals, scores)
    by_text = dict(zip(texts, gains, strict=True))
    # The bridge of these two is 0.5 z of the same count, none.
    plain, opening = by_text["Nets dry in the yard."], by_text["Herring is smoked here."]
    assert opening - plain == pytest.approx(1.0)
    # The title stands in the question (1), and the best sentence of another document names it.
    assert by_text["It sails to Bodo."] - plain == pytest.approx(2.0)
    # Its own document's sentences do not name it for themselves.
    assert by_text["She kept bees."] - plain == pytest.approx(0.0)
    # A sentence does not lead to itself, only to others that share its rare words.
    scores = [0.0] * len(signals.sentences)
    scores[1], scores[5], scores[6] = 3.0, 2.0, 2.0
    shared = second_hop(words, pool, signals, scores)
    assert shared[2] - shared[1] > 0.5


def shared(depth: int) -> Tree:
    """Return a tree whose nodes lead to the next by both ways: 2 ** depth walks to one leaf."""
    after = tuple(range(1, depth + 1))
    return Tree((0,) * depth + (-1,), (0.0,) * depth + (1.5,), (*after, 0), (*after, 0))


def test_a_node_that_others_share_is_made_once() -> None:
    """A small file of shared nodes is as quick to open as it is long."""
    made = scorer(by_words=Forest(0.0, 1.0, (shared(64),)))
    opened = Scorer.from_dict(json.loads(json.dumps(made.to_dict())))
    assert opened.by_words.log_odds([(1.0,), (-1.0,)]) == [1.5, 1.5]


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (([0] * 5_000 + [-1], [0.0] * 5_001), "5000 deep; allowed: 64"),
        (([-1], [math.inf]), "not finite"),
        (([-1], [math.nan]), "not finite"),
        (([-1], [10**400]), "not readable"),
        (([10**400], [0.0]), "broken"),
    ],
)
def test_trees_of_strangers(tree: tuple[list[int], list[float]], said: str) -> None:
    """Deep trees and numbers without bounds are told, and no recursion ends the process."""
    feature, threshold = tree
    after = [min(i + 1, len(feature) - 1) for i in range(len(feature))]
    data = scorer().to_dict()
    data["by_words"] = {"offset": 0.0, "slope": 1.0, "trees": [[feature, threshold, after, after]]}
    with pytest.raises(ConfigError, match=said):
        Scorer.from_dict(data)
