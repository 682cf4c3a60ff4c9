"""Statements about new questions from labelled ones, valid at the stated confidence.

Standard library only; nothing here approximates by the normal distribution what it certifies.

- Losses of 0 or 1 with a nested limit: the exact binomial order statistic (Wilks 1941). With a
  number T per question, the smallest limit at which it still succeeds, the limit that at most k of
  n exceed is certified when P(Bin(n, share) <= k) <= 1 - confidence.
- Losses in [0, 1]: a betting test (Waudby-Smith and Ramdas 2024, section 4) with the stakes of
  STaR (Voracek and Orabona 2025, arXiv 2505.22422), tested along a fixed sequence of limits.
- Questions about the same document are correlated. Where documents have several, the effective
  number of questions replaces n (`Crowding`); the betting test bets on documents' means.
- Where labels are too few for any of these: a limit that holds on average over sets of labels
  (`marginal_limit`), which is no certificate.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from statistics import NormalDist, median

from ragkit_eval.stats.inference import beta_quantile, cluster_sums, design_effect, incomplete_beta

LEAST_DOCUMENTS = 20
"""With fewer documents of several questions each nothing is certified: they cannot show how much
the next ones may differ."""

QUESTIONS_PER_DOCUMENT = 3
"""A document keeps at most this many times the median number of questions."""

FULL_CORRELATION = 0.03
"""From this correlation within documents on the design effect is raised to its upper bound."""

STAKE = 0.9
"""Largest share of the capital that one bet may lose."""


def binomial_tail(k: int, n: int, share: float) -> float:
    """Return P(Bin(n, share) <= k), through the incomplete beta function (DLMF 8.17.5)."""
    if k >= n:
        return 1.0
    return 0.0 if k < 0 else 1.0 - incomplete_beta(k + 1.0, float(n - k), share)


def allowed_failures(n: int, share: float, confidence: float) -> int | None:
    """Return the most failures of n that show a failure rate of at most `share`.

    None when n is too small for any.
    """
    if n < 1 or binomial_tail(0, n, share) > 1.0 - confidence:
        return None
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_tail(middle, n, share) <= 1.0 - confidence:
            low = middle
        else:
            high = middle
    return low


def questions_needed(
    share: float,
    confidence: float | Callable[[int], float],
    failure_rate: float = 0.0,
    crowding: Crowding | None = None,
) -> int | None:
    """Return the fewest questions that certify `share` if failures occur at this rate.

    None when no number does: the rate is not below the share.

    Args:
        share: Failures that are allowed, in (0, 1).
        confidence: In (0, 1), or that which so many questions are asked for.
        failure_rate: Of the questions that fail at every limit.
        crowding: Of questions that do not suffice, if more come of further documents like theirs.
            None where each is of a document of its own.
    """
    if failure_rate >= share:
        return None

    def enough(n: int) -> bool:
        if crowding is not None and not crowding.has_documents(n):
            return False
        effective = n if crowding is None else math.floor(n / crowding.penalty(n))
        sure = confidence(n) if callable(confidence) else confidence
        allowed = allowed_failures(effective, share, sure)
        # With exactly this rate of failures, rounded up, the allowance must hold.
        return allowed is not None and math.ceil(failure_rate * n - 1e-9) <= math.floor(
            allowed * n / effective
        )

    low = high = 1 if crowding is None else max(1, crowding.n)
    while not enough(high):
        low, high = high, 2 * high
        if high > 10_000_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return low if enough(low) else high


def chi_square_quantile(p: float, df: int) -> float:
    """Return the quantile of chi-square (Wilson and Hilferty 1931); within 0.5 % from df 20 on."""
    z = NormalDist().inv_cdf(p)
    return df * (1.0 - 2.0 / (9.0 * df) + z * math.sqrt(2.0 / (9.0 * df))) ** 3


def t_quantile(p: float, df: int) -> float:
    """Return the quantile of Student's t for p > 1/2 (DLMF 8.17: I_x(df/2, 1/2))."""
    x = beta_quantile(2.0 * (1.0 - p), df / 2.0, 0.5)
    return math.sqrt(df * (1.0 / x - 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowding:
    """How n questions share documents, and what more of them would count for.

    `seen` is how many questions the document of a question has, on average; `effect` is the design
    effect of that.
    """

    n: int
    n_documents: int
    seen: float
    effect: float

    @classmethod
    def of(cls, losses: Sequence[float], clusters: Sequence[Hashable]) -> Crowding:
        """Return how questions with these losses share these documents."""
        sizes = Counter(clusters).values()
        # Documents of unequal size count for fewer (Kish 1965, section 11.7).
        seen = sum(size * size for size in sizes) / len(clusters) if clusters else 1.0
        effect = design_effect(losses, clusters)
        return cls(n=len(clusters), n_documents=len(sizes), seen=seen, effect=effect)

    def has_documents(self, n: int) -> bool:
        """Whether n questions of such documents come from enough of them."""
        return self.n_documents == self.n or n * self.n_documents >= LEAST_DOCUMENTS * self.n

    def penalty(self, n: int | None = None) -> float:
        """Return what n, of further documents like these, is divided by: 1 or more.

        The plug-in design effect, raised for few documents, times the squared ratio of t and normal
        quantiles (Korn and Graubard 1998), with K the effective number of documents. It is raised
        to its 95 % upper bound (K - 1 over chi-square's 5 % quantile) where questions of one
        document agree, and by a power of that where they hardly do: there few documents fail so
        much more than the others that a sample may miss them. Chosen by simulation
        (docs/calibration.md).
        """
        if self.n_documents == self.n:
            return 1.0
        df = math.floor((self.n if n is None else n) / self.seen) - 1
        if df < 1:
            return math.inf
        correlation = (self.effect - 1.0) / max(self.seen - 1.0, 0.5)
        few = math.pow(df / chi_square_quantile(0.05, df), min(1.0, correlation / FULL_CORRELATION))
        ratio = t_quantile(0.95, df) / NormalDist().inv_cdf(0.95)
        return self.effect * few * ratio**2


def kept_questions(clusters: Sequence[Hashable], seed: int) -> list[int]:
    """Return the positions that stay when large documents are cut to three times the median."""
    sizes = Counter(clusters)
    limit = max(1, math.floor(QUESTIONS_PER_DOCUMENT * median(sizes.values())))
    order = list(range(len(clusters)))
    random.Random(seed).shuffle(order)  # noqa: S311 (a documented, repeatable draw)
    return sorted(at_most(limit, clusters, order))


def at_most(limit: int, clusters: Sequence[Hashable], order: Iterable[int]) -> list[int]:
    """Return the first positions of an order, so many of each cluster."""
    taken: Counter[Hashable] = Counter()
    kept: list[int] = []
    for position in order:
        if taken[clusters[position]] < limit:
            taken[clusters[position]] += 1
            kept.append(position)
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatistic:
    """The outcome of a binomial certificate; `limit` is None where nothing was certified.

    `failures` of `n` questions lie above the limit; `n_effective` counts questions of one document
    for less than one each; `n_needed` is how many questions of this kind would do, None where no
    number does.
    """

    limit: float | None
    n: int
    n_effective: float
    n_documents: int
    failures: int
    n_needed: int | None
    reason: str | None = None


def certify_limit(
    needs: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    share: float,
    confidence: float | Callable[[int], float],
) -> OrderStatistic:
    """Return the smallest limit that at most `share` of new questions exceed.

    Args:
        needs: The smallest limit at which each question succeeds; infinite where none is, minus
            infinity where every one will do.
        clusters: The document of each.
        share: Failures that are allowed, in (0, 1).
        confidence: In (0, 1), or that which so many questions are asked for.
    """
    n, n_documents = len(needs), len(set(clusters))
    hopeless = sum(need == math.inf for need in needs) / n if n else 1.0
    sure = confidence(n) if callable(confidence) else confidence
    plain, ordered = allowed_failures(n, share, sure), sorted(needs)
    first = ordered[n - 1 - (plain or 0)] if n else 0.0
    crowding = Crowding.of([float(need > first) for need in needs], clusters)
    penalty = crowding.penalty()

    def refused(reason: str) -> OrderStatistic:
        return OrderStatistic(
            limit=None, n=n, n_effective=n / penalty, n_documents=n_documents, failures=0,
            n_needed=questions_needed(share, confidence, hopeless, crowding),
            reason=reason,
        )  # fmt: skip

    if n_documents < LEAST_DOCUMENTS and n_documents < n:
        return refused(
            f"the questions come from {n_documents} documents; at least {LEAST_DOCUMENTS} are "
            "needed"
        )
    if plain is None:
        return refused(f"{n} questions are too few")
    n_effective = math.floor(n / penalty)
    allowed = allowed_failures(n_effective, share, sure)
    if allowed is None:
        reason = f"{n} questions of {n_documents} documents count for {n_effective}: too few"
        return refused(reason)
    limit = ordered[n - 1 - math.floor(allowed * n / n_effective)]
    if limit == math.inf:
        lost = f"{hopeless:.1%} of the questions fail at every limit; allowed: {share:.1%}"
        if hopeless < share:
            lost = f"{n} questions are too few to show less where {lost}"
        return refused(lost)
    return OrderStatistic(
        limit=limit,
        n=n,
        n_effective=n / penalty,
        n_documents=n_documents,
        failures=sum(need > limit for need in needs),
        n_needed=None,
    )


def marginal_limit(
    needs: Sequence[float], clusters: Sequence[Hashable], *, share: float
) -> OrderStatistic:
    """Return the smallest limit that at most `share` of new questions exceed on average.

    Split conformal prediction (Vovk et al. 2005; Lei et al. 2018) with one document as the unit
    that is exchangeable: each has the same weight, which its questions share, and the one to come
    has that weight too, at infinity (the n + 1 of the method; Lee, Barber and Willett 2023,
    "Distribution-free inference with hierarchical data"). The average is over sets of labels: this
    set's own limit may be exceeded by more.

    Args:
        needs: As in `certify_limit`.
        clusters: The document of each.
        share: Failures that are allowed, in (0, 1).
    """
    n, sizes = len(needs), Counter(clusters)
    n_documents = len(sizes)
    weights = {name: 1.0 / (size * (n_documents + 1)) for name, size in sizes.items()}
    exceeding = 1.0 / (n_documents + 1)
    limit: float | None = None
    hopeless = 0.0
    for need, cluster in sorted(zip(needs, clusters, strict=True), key=itemgetter(0), reverse=True):
        if exceeding <= share + _ROUNDING:
            limit = need
        exceeding += weights[cluster]
        hopeless += weights[cluster] if need == math.inf else 0.0
    reason = None
    if limit is None or limit == math.inf:
        limit = None
        reason = f"the questions come from {n_documents} documents: too few"
        if hopeless > 0.0:
            lost = hopeless * (n_documents + 1) / n_documents
            reason = f"{lost:.1%} of the questions fail at every limit; allowed: {share:.1%}"
    # The share of hopeless questions stays, and the one to come must fit beside them.
    rate = hopeless * (n_documents + 1) / n_documents if n_documents else 0.0
    documents = math.ceil((1.0 - share) / (share - rate) - _ROUNDING) if rate < share else None
    each = n / n_documents if n_documents else 1.0
    return OrderStatistic(
        limit=limit,
        n=n,
        n_effective=float(n_documents),
        n_documents=n_documents,
        failures=0 if limit is None else sum(need > limit for need in needs),
        n_needed=None if limit is not None or documents is None else math.ceil(documents * each),
        reason=reason,
    )


_ROUNDING = 1e-9
"""Sums of weights are as exact as this."""


def mean_is_below(
    values: Sequence[float], bound: float, *, confidence: float, seed: int = 0
) -> bool:
    """Whether a betting test shows that the mean of values in [0, 1] is below `bound`.

    Capital starts at 1 and is staked on each value's being below the bound; by Ville's inequality
    it reaches 1 / (1 - confidence) with a chance of at most 1 - confidence when the mean is not.
    Stakes follow STaR: what is left to win over what is left to bet on.
    """
    order = list(values)
    random.Random(seed).shuffle(order)  # noqa: S311 (an order fixed before looking)
    goal = math.log(1.0 / (1.0 - confidence))
    log_capital = 0.0
    total, squares = 0.5, 0.25
    for t, value in enumerate(order):
        variance = squares / (t + 1)
        missing = goal - log_capital
        stake = math.sqrt(2.0 * missing / ((len(order) - t) * variance))
        stake = min(stake, STAKE / (1.0 - bound)) if bound < 1.0 else stake
        log_capital += math.log1p(stake * (bound - value))
        if log_capital >= goal:
            return True
        total += value
        squares += (value - total / (t + 2)) ** 2
    return False


def document_means(values: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    """Return the mean of each document."""
    return [total / n for total, n in cluster_sums(values, clusters)]


def fixed_sequence(passes: Callable[[int], bool], n_limits: int) -> int | None:
    """Return the last of the limits, tried from the safest on, before the first that fails.

    Each is tested at full confidence (Angelopoulos et al. 2021, Learn then Test, section 2.3).
    """
    last = None
    for i in range(n_limits):
        if not passes(i):
            break
        last = i
    return last
