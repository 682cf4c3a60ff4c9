"""Intervals and tests: equal to independent implementations, and honest in simulations."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit_eval.stats.inference import (
    auroc,
    bootstrap,
    bootstrap_quantile,
    clopper_pearson,
    design_effect,
    detectable_and_needed,
    holm,
    incomplete_beta,
    interval,
    minimum_detectable,
    n_needed,
    quantile,
    sign_flip,
    standard_error,
)

np: Any = pytest.importorskip("numpy")
stats: Any = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (10, 10), (95, 100), (7, 5000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_clopper_pearson_equals_scipy(successes: int, n: int, confidence: float) -> None:
    """The exact interval is SciPy's to nine digits."""
    theirs = stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    assert clopper_pearson(successes, n, confidence=confidence) == pytest.approx(
        (theirs.low, theirs.high), abs=1e-9
    )


@given(st.floats(0.1, 500), st.floats(0.1, 500), st.floats(0, 1))
def test_the_incomplete_beta_function_equals_scipy(a: float, b: float, x: float) -> None:
    """It is SciPy's to nine digits over the range that intervals use."""
    assert incomplete_beta(a, b, x) == pytest.approx(float(stats.beta.cdf(x, a, b)), abs=1e-9)


def test_few_differences_are_tested_exactly() -> None:
    """With few clusters the p-value is the share of all sign patterns that are as extreme."""
    differences = [0.3, -0.1, 0.2, 0.25, 0.4]
    observed = abs(sum(differences))
    patterns = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=5)
    ]
    expected = sum(p >= observed - 1e-12 for p in patterns) / 32
    assert sign_flip(differences) == expected
    assert sign_flip([-d for d in differences], one_sided=True) == 2 / 32


def test_many_differences_are_tested_as_scipy_does() -> None:
    """With random patterns the p-value is near that of SciPy's permutation test."""
    rng = random.Random(5)
    differences = [rng.gauss(0.08, 1.0) for _ in range(300)]
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples",
        n_resamples=10_000, vectorized=True, random_state=1,
    ).pvalue  # fmt: skip
    assert sign_flip(differences) == pytest.approx(theirs, abs=0.015)


def test_a_random_p_value_is_never_zero() -> None:
    """The observed pattern is one of those that are counted (Phipson and Smyth 2010)."""
    assert sign_flip([1.0] * 100, flips=99) == 0.01


def test_no_difference_is_no_evidence() -> None:
    """Equal runs have a p-value of 1, whatever their number."""
    assert sign_flip([0.0] * 50) == 1.0
    assert sign_flip([]) == 1.0


def test_flips_keep_clusters_together() -> None:
    """Fifty questions of two documents are two coins: nothing can be shown with them."""
    differences = [0.5] * 50
    assert sign_flip(differences) < 0.001
    assert sign_flip(differences, ["a"] * 25 + ["b"] * 25) == 0.5


def test_the_bootstrap_is_near_scipys() -> None:
    """The interval of a mean agrees with SciPy's percentile bootstrap."""
    rng = random.Random(2)
    values = [rng.random() ** 3 for _ in range(400)]
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", random_state=3
    ).confidence_interval
    assert bootstrap(values) == pytest.approx((theirs.low, theirs.high), abs=0.004)


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_the_truth(clustered: bool) -> None:
    """In 300 samples the 95 % interval holds the true mean about 95 % of the time."""
    rng = random.Random(8)
    covered = 0
    for seed in range(300):
        values: list[float] = []
        clusters: list[str] = []
        for cluster in range(40):
            luck = rng.gauss(0.0, 0.5 if clustered else 0.0)
            for _ in range(5):
                values.append(luck + rng.gauss(0.0, 1.0))
                clusters.append(str(cluster))
        low, high = bootstrap(values, clusters if clustered else None, resamples=300, seed=seed)
        covered += low <= 0.0 <= high
    assert covered / 300 >= 0.90


def test_ignoring_clusters_would_be_too_narrow() -> None:
    """Values that agree within documents have a wider interval than as many independent ones."""
    values = [float(i // 20 % 2) for i in range(400)]
    clusters = [str(i // 20) for i in range(400)]
    assert design_effect(values, clusters) > 15.0
    alone, together = interval(values), interval(values, clusters)
    assert alone.mean == together.mean == 0.5
    assert (together.high or 0) - (together.low or 0) > 3 * ((alone.high or 0) - (alone.low or 0))


def test_a_share_gets_its_exact_interval() -> None:
    """All successes of ten do not make certainty."""
    found = interval([1.0] * 10)
    assert (found.mean, found.high, found.n) == (1.0, 1.0, 10)
    assert found.low == pytest.approx(0.6915, abs=1e-4)


def test_nothing_is_known_of_nothing() -> None:
    """Without values there is no mean and no bound."""
    found = interval([])
    assert (found.mean, found.low, found.high, found.n) == (None, None, None, 0)
    assert standard_error([1.0]) == math.inf


def test_holm_by_hand() -> None:
    """The smallest p is multiplied by the number of tests, and the order is kept."""
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_the_minimum_detectable_difference_is_found_as_often_as_stated() -> None:
    """A true difference of that size is found in about 80 % of samples."""
    rng = random.Random(4)
    n, spread = 200, 1.0
    difference = minimum_detectable(spread / math.sqrt(n))
    found = 0
    for seed in range(200):
        sample = [rng.gauss(difference, spread) for _ in range(n)]
        found += sign_flip(sample, flips=400, seed=seed) <= 0.05
    assert 0.72 <= found / 200 <= 0.88


def test_questions_needed_grow_with_the_square() -> None:
    """Half the difference needs four times the questions."""
    assert n_needed(100, 0.1, 0.05) == 400
    assert n_needed(100, 0.1, 0.0) is None
    assert n_needed(100, math.inf, 0.1) is None


def test_quantiles_are_values_that_occurred() -> None:
    """The 95th percentile of twenty values is the nineteenth."""
    values = [float(i) for i in range(1, 21)]
    assert quantile(values, 0.95) == 19.0
    assert quantile(values, 0.5) == 10.0
    low, high = bootstrap_quantile(values, [str(v) for v in values], 0.5)
    assert low < 10.0 < high


def test_the_area_under_the_curve_counts_pairs() -> None:
    """Ties count half; without one of the kinds there is no area."""
    assert auroc([0.9, 0.5], [0.5, 0.1]) == (2 + 1.5) / 4
    assert auroc([1.0], [0.0]) == 1.0
    assert auroc([], [0.0]) is None


@pytest.mark.parametrize(("bounded", "margin"), [(True, 0.02), (False, 0.025)])
def test_questions_needed_for_the_usual_margin(bounded: bool, margin: float) -> None:
    """Two points of a share, five percent of anything else; nothing is known without spread."""
    values = [0.0, 1.0] * 50
    detectable, used, n = detectable_and_needed(values, None, bounded=bounded)
    assert detectable == pytest.approx(2.8016 * 0.050252, abs=1e-4)
    assert used == pytest.approx(margin)
    assert n == pytest.approx(100 * (2.8016 * 0.050252 / margin) ** 2, abs=2)
    assert detectable_and_needed([1.0] * 9, None, bounded=True)[0] is None
    assert detectable_and_needed([], None, bounded=True) == (None, None, None)


@pytest.mark.parametrize("method", [bootstrap, sign_flip])
def test_seeds_make_it_repeatable(method: Callable[..., object]) -> None:
    """The same seed gives the same result, another one another."""
    values = [math.sin(i) + 0.05 for i in range(200)]
    assert method(values, seed=1) == method(values, seed=1)
    assert method(values, seed=1) != method(values, seed=2)
