"""Intervals, tests and power for per-question values, clustered by document.

Standard library only. Questions about the same document are correlated, so whole clusters are
resampled and flipped, never single questions of one. Everything random takes a seed.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, product
from operator import itemgetter
from statistics import NormalDist

RESAMPLES = 2_000
FLIPS = 10_000
EXACT_UNITS = 12
"""With so few differing units all sign patterns are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over `n` questions with the bounds of its interval; None where there is no value."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


def clopper_pearson(successes: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934, Biometrika 26, eq. 1-2).

    Args:
        successes: From 0 to `n`; fractions are allowed, for an effective sample size.
        n: More than 0.
        confidence: In (0, 1).
    """
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes <= 0 else beta_quantile(tail, successes, n - successes + 1.0)
    high = 1.0 if successes >= n else beta_quantile(1.0 - tail, successes + 1.0, n - successes)
    return low, high


def beta_quantile(p: float, a: float, b: float) -> float:
    """Return x with I_x(a, b) = p, by bisection to the last bit that matters."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if incomplete_beta(a, b, middle) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b) (DLMF 8.17.22, Lentz's method)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x)
    )  # fmt: skip
    tiny = 1e-300
    d = 1.0 - (a + b) * x / (a + 1.0)
    c, d = 1.0, 1.0 / (d if abs(d) > tiny else tiny)
    fraction = d
    for m in range(1, 10_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 + numerator * d
            c = 1.0 + numerator / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            fraction *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return math.exp(log_front) * fraction / a


def cluster_sums(
    values: Sequence[float], clusters: Sequence[Hashable] | None
) -> list[tuple[float, int]]:
    """Return (sum, number) of the values of each cluster; without clusters each is its own."""
    if clusters is None:
        return [(value, 1) for value in values]
    sums: dict[Hashable, tuple[float, int]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        total, n = sums.get(cluster, (0.0, 0))
        sums[cluster] = (total + value, n + 1)
    return list(sums.values())


def standard_error(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> float:
    """Return the cluster-robust standard error of a mean; infinite with fewer than two clusters.

    Linearised ratio with the k/(k-1) correction (Cochran 1977, Sampling Techniques, eq. 11.12).
    """
    units = cluster_sums(values, clusters)
    k = len(units)
    if k < 2:
        return math.inf
    mean = math.fsum(values) / len(values)
    residuals = math.fsum((total - n * mean) ** 2 for total, n in units)
    return math.sqrt(k / (k - 1) * residuals) / len(values)


def design_effect(values: Sequence[float], clusters: Sequence[Hashable] | None) -> float:
    """Return variance with clusters over variance without, at least 1 (Kish 1965, section 8.2)."""
    alone = standard_error(values)
    if alone in {0.0, math.inf}:
        return 1.0
    return max(1.0, (standard_error(values, clusters) / alone) ** 2)


def interval(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return a mean with its interval.

    Shares of 0/1 values get the exact interval (with clusters: of the effective sample size, n
    over the design effect); others the percentile bootstrap over clusters.
    """
    n = len(values)
    if n == 0:
        return Interval(mean=None, low=None, high=None, n=0)
    mean = math.fsum(values) / n
    if all(value in {0.0, 1.0} for value in values):
        n_effective = n / design_effect(values, clusters)
        low, high = clopper_pearson(mean * n_effective, n_effective, confidence=confidence)
        return Interval(mean=mean, low=low, high=high, n=n)
    low, high = bootstrap(values, clusters, confidence=confidence, resamples=resamples, seed=seed)
    return Interval(mean=mean, low=known(low), high=known(high), n=n)


def known(bound: float) -> float | None:
    """Return a bound, None where it is infinite."""
    return bound if math.isfinite(bound) else None


def bootstrap(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean (Efron and Tibshirani 1993, ch. 13).

    Whole clusters are drawn; the mean is a ratio of sums, since clusters differ in size. From a
    single one nothing is known: the bounds are infinite.
    """
    units = cluster_sums(values, clusters)
    if len(units) < 2:
        return -math.inf, math.inf
    draw = random.Random(seed).choices  # noqa: S311 (statistics, not secrets)
    k = len(units)
    means: list[float] = []
    if clusters is None:
        means = [sum(draw(values, k=k)) / k for _ in range(resamples)]
    else:
        for _ in range(resamples):
            picked = draw(units, k=k)
            means.append(sum(map(_sum_of, picked)) / sum(map(_size_of, picked)))
    return percentile_bounds(means, confidence)


def bootstrap_quantile(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    share: float,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a quantile, whole clusters drawn."""
    units: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        units.setdefault(cluster, []).append(value)
    draw = random.Random(seed).choices  # noqa: S311 (statistics, not secrets)
    groups = list(units.values())
    if len(groups) < 2:
        return -math.inf, math.inf
    found = [
        quantile([value for group in draw(groups, k=len(groups)) for value in group], share)
        for _ in range(resamples)
    ]
    return percentile_bounds(found, confidence)


_sum_of, _size_of = itemgetter(0), itemgetter(1)


def percentile_bounds(statistics: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return the central `confidence` share of resampled statistics, as its two ends."""
    ordered = sorted(statistics)
    skip = math.floor((1.0 - confidence) / 2.0 * len(ordered))
    return ordered[skip], ordered[-1 - skip]


def sign_flip(
    differences: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    flips: int = FLIPS,
    seed: int = 0,
    one_sided: bool = False,
) -> float:
    """Return the p-value of a paired sign-flip permutation test (Fisher 1935, section 21).

    Under no difference the sign of each cluster's summed difference is a coin. All patterns are
    tried where few clusters differ, otherwise `flips` random ones with the observed one counted.

    Args:
        differences: New minus base, one per question.
        clusters: The cluster of each question.
        flips: Random sign patterns.
        seed: Makes them repeatable.
        one_sided: Test against a loss (the sum is below 0) instead of any difference.
    """
    sums = [total for total, _ in cluster_sums(differences, clusters) if total]
    observed = math.fsum(sums)
    slack = 1e-12 * math.fsum(map(abs, sums))

    def as_extreme(total: float) -> bool:
        if one_sided:
            return total <= observed + slack
        return abs(total) >= abs(observed) - slack

    if len(sums) <= EXACT_UNITS:
        patterns = product((1.0, -1.0), repeat=len(sums))
        hits = sum(
            as_extreme(math.fsum(s * d for s, d in zip(signs, sums, strict=True)))
            for signs in patterns
        )
        return float(hits) / 2.0 ** len(sums)
    toss = random.Random(seed).randbytes  # noqa: S311 (statistics, not secrets)
    hits = 1
    for _ in range(flips):
        kept = compress(sums, toss(len(sums)).translate(_COIN))
        hits += as_extreme(2.0 * sum(kept) - observed)
    return hits / (flips + 1.0)


_COIN = bytes(byte & 1 for byte in range(256))
"""One fair bit of each random byte: the fastest coin that the standard library tosses."""


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for their number (Holm 1979)."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=itemgetter(1))):
        largest = max(largest, min(1.0, (len(p_values) - i) * p))
        adjusted[name] = largest
    return adjusted


def minimum_detectable(error: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the smallest true difference found with this power, given the standard error.

    Two-sided at `alpha`: (z(1 - alpha/2) + z(power)) x error (Cohen 1988, section 2.4).
    """
    normal = NormalDist()
    return (normal.inv_cdf(1.0 - alpha / 2.0) + normal.inv_cdf(power)) * error


def n_needed(n: int, detectable: float, wanted: float) -> int | None:
    """Return how many questions of this kind would find a difference of `wanted`.

    None where a difference of nothing is wanted. The error falls with the root of n.
    """
    if wanted <= 0.0 or not math.isfinite(detectable):
        return None
    return max(1, math.ceil(n * (detectable / wanted) ** 2))


MARGIN_BOUNDED, MARGIN_SHARE = 0.02, 0.05
"""What "n needed" asks for unless told: 2 points of a share, 5 % of anything else."""


def detectable_and_needed(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None,
    *,
    bounded: bool,
    mean: float | None = None,
    margin: float | None = None,
) -> tuple[float | None, float | None, int | None]:
    """Return the detectable difference, the margin, and the questions needed for the margin.

    Args:
        values: Differences, or the values of one run.
        clusters: The cluster of each.
        bounded: Whether the measure is a share.
        mean: What a margin of 5 % is of; None takes the values' own.
        margin: The difference that matters; None takes the usual one.
    """
    if not values:
        return None, None, None
    if margin is None:
        own = math.fsum(values) / len(values) if mean is None else mean
        margin = MARGIN_BOUNDED if bounded else MARGIN_SHARE * abs(own)
    detectable = minimum_detectable(standard_error(values, clusters))
    # Where nothing differs, nothing is known of how much would.
    if not 0.0 < detectable < math.inf:
        return None, margin, None
    return detectable, margin, n_needed(len(values), detectable, margin)


def auroc(higher: Sequence[float], lower: Sequence[float]) -> float | None:
    """Return the chance that one of `higher` exceeds one of `lower`, ties counting half.

    The area under the ROC curve (Mann and Whitney 1947); None when either is empty.
    """
    if not higher or not lower:
        return None
    ordered = sorted(lower)
    wins = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in higher)
    return wins / 2.0 / len(higher) / len(lower)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed (the nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
