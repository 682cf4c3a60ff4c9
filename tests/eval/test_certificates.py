"""Certificates: exact where they say so, and kept in simulations where documents agree."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from ragkit_eval.stats.certificates import (
    LEAST_DOCUMENTS,
    Crowding,
    allowed_failures,
    binomial_tail,
    certify_limit,
    chi_square_quantile,
    fixed_sequence,
    kept_questions,
    mean_is_below,
    questions_needed,
    t_quantile,
)
from ragkit_eval.stats.inference import design_effect

stats: Any = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("n", [1, 59, 200, 1000])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_binomial_tails_equal_scipy(n: int, share: float) -> None:
    """The tail is SciPy's to ten digits at every count that matters."""
    for k in {0, 1, n // 20, n // 3, n - 1, n}:
        assert binomial_tail(k, n, share) == pytest.approx(stats.binom.cdf(k, n, share), abs=1e-10)


@pytest.mark.parametrize(
    ("n", "expected"), [(58, None), (59, 0), (100, 1), (200, 4), (500, 16), (1000, 38), (2000, 83)]
)
def test_allowed_failures(n: int, expected: int | None) -> None:
    """The published table of the order statistic at 5 % and 95 %."""
    assert allowed_failures(n, 0.05, 0.95) == expected


def test_questions_needed() -> None:
    """59 without failures, more with some, none at the rate itself."""
    assert questions_needed(0.05, 0.95) == 59
    assert questions_needed(0.10, 0.95) == 29
    assert questions_needed(0.01, 0.95) == 299
    n = questions_needed(0.05, 0.95, 0.02)
    assert n is not None
    assert math.ceil(0.02 * n) <= (allowed_failures(n, 0.05, 0.95) or 0)
    assert questions_needed(0.05, 0.95, 0.05) is None


@pytest.mark.parametrize("df", [20, 23, 59, 299])
def test_quantiles_equal_scipy(df: int) -> None:
    """Student's t to eight digits, chi-square to half a percent."""
    assert t_quantile(0.95, df) == pytest.approx(stats.t.ppf(0.95, df), abs=1e-8)
    assert chi_square_quantile(0.05, df) == pytest.approx(stats.chi2.ppf(0.05, df), rel=0.005)


def alone(n: int) -> list[str]:
    """Return documents of one question each."""
    return [str(i) for i in range(n)]


def test_the_limit_is_the_order_statistic() -> None:
    """Of 100 questions one may fail: the second largest need is the limit."""
    found = certify_limit([float(i) for i in range(100)], alone(100), share=0.05, confidence=0.95)
    assert (found.limit, found.failures, found.n_effective) == (98.0, 1, 100.0)


def test_too_few_questions_are_refused_with_their_number() -> None:
    """58 questions cannot certify 5 %; 59 can."""
    found = certify_limit([1.0] * 58, alone(58), share=0.05, confidence=0.95)
    assert (found.limit, found.n_needed) == (None, 59)
    assert found.reason is not None
    assert "58" in found.reason
    assert certify_limit([1.0] * 59, alone(59), share=0.05, confidence=0.95).limit == 1.0


def test_what_fails_at_every_limit_cannot_be_certified() -> None:
    """When a tenth of the questions never succeeds no number of them certifies 5 %."""
    needs = [math.inf] * 30 + [1.0] * 270
    found = certify_limit(needs, alone(300), share=0.05, confidence=0.95)
    assert (found.limit, found.n_needed) == (None, None)
    assert "10.0%" in str(found.reason)


def test_few_documents_are_refused() -> None:
    """Thousands of questions about a handful of documents say nothing of new documents."""
    needs, documents = [1.0] * 3000, [str(i % 10) for i in range(3000)]
    found = certify_limit(needs, documents, share=0.05, confidence=0.95)
    assert found.limit is None
    assert "10 documents" in str(found.reason)
    enough = [str(i % LEAST_DOCUMENTS) for i in range(3000)]
    assert certify_limit(needs, enough, share=0.05, confidence=0.95).limit == 1.0


@pytest.mark.parametrize(("share", "confidence"), [(0.05, 0.95), (0.1, 0.9), (0.2, 0.8)])
@pytest.mark.parametrize(
    ("n", "n_documents", "failing"),
    [(10, 5, 0), (28, 12, 0), (40, 19, 1), (34, 30, 0), (50, 50, 1), (55, 25, 0), (57, 40, 1)],
)
def test_so_many_as_are_said_to_be_needed_suffice(
    n: int, n_documents: int, failing: int, share: float, confidence: float
) -> None:
    """With more documents like those at hand, up to the number that is named, it is certified."""

    def first(count: int) -> tuple[list[float], list[str]]:
        """Return the questions over and over, each time about other documents."""
        needs = [math.inf if i % n < failing else 1.0 for i in range(count)]
        return needs, [f"{i // n} {i % n % n_documents}" for i in range(count)]

    found = certify_limit(*first(n), share=share, confidence=confidence)
    if found.limit is not None:
        return
    if found.n_needed is None:
        assert failing / n >= share
        return
    assert found.n_needed > n
    # Where failures come first, as many whole rounds as hold the number have the rate.
    rounds = math.ceil(found.n_needed / n) * n if failing else found.n_needed
    assert certify_limit(*first(rounds), share=share, confidence=confidence).limit == 1.0


def test_large_documents_are_cut() -> None:
    """A document keeps at most three times the median, drawn repeatably."""
    documents = ["big"] * 500 + [str(i % 50) for i in range(100)]
    kept = kept_questions(documents, seed=1)
    assert sum(documents[i] == "big" for i in kept) == 6
    assert kept == kept_questions(documents, seed=1) != kept_questions(documents, seed=2)
    assert len([i for i in kept if documents[i] != "big"]) == 100


def test_single_questions_pay_no_penalty() -> None:
    """With one question a document the plain count is exact."""
    assert Crowding.of([1.0, 0.0, 0.0], alone(3)).penalty() == 1.0
    assert Crowding.of([1.0, 0.0] * 30, [str(i // 2) for i in range(60)]).penalty() > 1.0


def test_documents_that_hardly_differ_pay_little() -> None:
    """With equal losses only few documents count; where they differ much the bound is raised."""
    documents = [str(i % 24) for i in range(2400)]
    alike = [float(i < 120) for i in range(2400)]
    ratio = (stats.t.ppf(0.95, 23) / stats.norm.ppf(0.95)) ** 2
    assert Crowding.of(alike, documents).penalty() == pytest.approx(ratio, rel=1e-6)
    unlike = [float(int(document) < 2) for document in documents]
    raised = 23 / stats.chi2.ppf(0.05, 23) * ratio
    effect = design_effect(unlike, documents)
    assert Crowding.of(unlike, documents).penalty() == pytest.approx(effect * raised, rel=0.005)


SE = math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize("n", [100, 200, 500, 2000])
def test_the_order_statistic_keeps_its_guarantee_at_the_boundary(n: int) -> None:
    """With a true failure rate just at 5 % it certifies in at most 5 % of 1,000 samples."""
    rng = random.Random(n)
    allowed = allowed_failures(n, 0.05, 0.95)
    assert allowed is not None
    broken = sum(sum(rng.random() < 0.05 for _ in range(n)) <= allowed for _ in range(1000))
    assert broken / 1000 <= 0.05 + 3 * SE


@pytest.mark.parametrize("n", [100, 200, 500, 2000])
@pytest.mark.parametrize("shape", ["0/1", "share"])
def test_betting_keeps_its_guarantee_at_the_boundary(n: int, shape: str) -> None:
    """With a true mean just at the bound it certifies in at most 5 % of 1,000 samples."""
    rng = random.Random(n)

    def draw() -> float:
        if shape == "0/1":
            return float(rng.random() < 0.05)
        return rng.random() if rng.random() < 0.1 else 0.0

    broken = sum(
        mean_is_below([draw() for _ in range(n)], 0.05, confidence=0.95, seed=i)
        for i in range(1000)
    )
    assert broken / 1000 <= 0.05 + 3 * SE


def test_betting_finds_what_is_there() -> None:
    """At n = 500 a mean of 2 % is shown to be below 5 % most of the time."""
    rng = random.Random(3)
    found = sum(
        mean_is_below([float(rng.random() < 0.02) for _ in range(500)], 0.05, confidence=0.95)
        for _ in range(200)
    )
    assert found / 200 >= 0.8


def test_betting_follows_its_definition() -> None:
    """The capital is the product of the bets, computed here from the formula, step by step."""
    values = [0.0, 1.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.1] * 12
    bound, confidence, seed = 0.3, 0.95, 4
    order = list(values)
    random.Random(seed).shuffle(order)
    capital, reached = 1.0, False
    for t in range(len(order)):
        past = order[:t]
        means = [(0.5 + sum(past[: j + 1])) / (j + 2) for j in range(t)]
        spread = 0.25 + sum((x - m) ** 2 for x, m in zip(past, means, strict=True))
        variance = spread / (t + 1)
        goal = 2.0 * math.log(1.0 / ((1.0 - confidence) * capital))
        stake = min(math.sqrt(goal / ((len(order) - t) * variance)), 0.9 / (1.0 - bound))
        capital *= 1.0 + stake * (bound - order[t])
        reached = reached or capital >= 1.0 / (1.0 - confidence)
        if reached:
            break
    assert mean_is_below(values, bound, confidence=confidence, seed=seed) == reached


def population(
    rng: random.Random, documents: int, size: int, correlation: float, *, unequal: bool
) -> tuple[list[float], list[str]]:
    """Return needs and documents of a population whose failure rate at limit 1 is just 5 %."""
    a = 0.05 * (1.0 / correlation - 1.0)
    b = 0.95 * (1.0 / correlation - 1.0)
    needs: list[float] = []
    names: list[str] = []
    for document in range(documents):
        rate = rng.betavariate(a, b)
        n = size
        if unequal:
            n = min(20 * size, max(1, round(size * rng.paretovariate(1.2) / 6.0)))
        for _ in range(n):
            needs.append(2.0 if rng.random() < rate else 1.0)
            names.append(str(document))
    return needs, names


@pytest.mark.slow
@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("correlation", [0.02, 0.1, 0.3])
@pytest.mark.parametrize(("documents", "size"), [(20, 50), (40, 50), (60, 20), (100, 5), (300, 2)])
def test_documents_that_agree_break_no_guarantee(
    documents: int, size: int, correlation: float, unequal: bool
) -> None:
    """Of 1,000 populations at the boundary at most 5 % are certified below it; refusing is right.

    Certifying limit 1 would be wrong: 5 % of such a population, exactly, needs 2.
    """
    rng = random.Random(documents)
    broken = 0
    for i in range(1000):
        needs, names = population(rng, documents, size, correlation, unequal=unequal)
        kept = kept_questions(names, seed=i)
        found = certify_limit(
            [needs[k] for k in kept], [names[k] for k in kept], share=0.05, confidence=0.95
        )
        broken += found.limit == 1.0
    assert broken / 1000 <= 0.05 + 3 * SE


def test_counting_every_question_would_break_it() -> None:
    """The same simulation without the penalty breaks the guarantee far too often."""
    rng = random.Random(1)
    broken = 0
    for _ in range(300):
        needs, _ = population(rng, 40, 50, 0.3, unequal=False)
        broken += certify_limit(needs, alone(len(needs)), share=0.05, confidence=0.95).limit == 1.0
    assert broken / 300 > 0.2


def test_a_fixed_sequence_stops_at_the_first_failure() -> None:
    """What would pass behind a failure is not certified."""
    assert fixed_sequence(lambda i: i in {0, 1, 3}, 5) == 1
    assert fixed_sequence(lambda i: i > 0, 5) is None
    assert fixed_sequence(lambda _: True, 5) == 4
