"""What a published share of N questions can mean: its interval, and what it can be told from.

Published numbers are rounded, so that the count behind one is recovered in exact arithmetic, and a
number that no count of N gives is said to be none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from statistics import NormalDist

from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_eval.stats.inference import (
    MARGIN_BOUNDED,
    clopper_pearson,
    incomplete_beta,
)

ALPHA, POWER = 0.05, 0.8
"""Two-sided level at which a difference counts, and the chance with which it should be found."""

CORRELATIONS = (0.02, 0.10)
"""Correlations of the questions of one document that are shown where none is given: articles with
short questions have about the first (docs/calibration.md), few and unlike documents the second."""

MOST_QUESTIONS = 10_000_000
_MOST_DIGITS = 40
_COUNT_SLACK = Fraction(1, 10**6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The count of N that a printed share stands for.

    `k` is the count nearest to the share; None where no count prints as it. `k_low` to `k_high` are
    all counts that print as it at its decimals, or the two around it where none does. `share` is
    the share itself.
    """

    share: float
    k: int | None
    k_low: int
    k_high: int

    @property
    def nearest(self) -> float:
        """The count to reckon with, a fraction where the share is none of N."""
        return float(self.k_low + self.k_high) / 2.0 if self.k is None else float(self.k)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """A number for each way in which two runs over the same questions may differ.

    `least`: the one only gains questions; `independent`: outcomes of the two have nothing to do
    with each other; `most`: as many questions change as the two shares allow. None: not possible.
    """

    least: float | None
    independent: float | None
    most: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Whether a share differs from the base on the same questions, by the exact McNemar test.

    `distinguishable` is "yes" or "no" however many questions changed, or "depends": only if at most
    `largest_discordance` of them did. The two shares allow from `least_discordance` to
    `most_discordance`.
    """

    distinguishable: str
    least_discordance: float
    largest_discordance: float | None
    most_discordance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the number means if questions of one document are correlated by `icc`; None: not at all.

    `low` and `high` are the exact 95 % interval, `at_least` the bound that holds with 95 %
    confidence alone. `detectable` are the smallest differences that are found with 80 % power.
    """

    icc: float | None
    design_effect: float
    n_effective: float
    low: float
    high: float
    at_least: float
    detectable: Cases
    n_needed: Cases
    compared: Compared | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a share of n questions can mean; `readings` begin with independent questions."""

    n: int
    value: Count
    base: Count | None
    clusters: int | None
    difference: float
    readings: tuple[Reading, ...]

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval audit`."""
        return {
            "schema": 1,
            "n": self.n,
            "value": _count_dict(self.value),
            "base": None if self.base is None else _count_dict(self.base),
            "clusters": self.clusters,
            "difference": self.difference,
            "readings": [asdict(reading) for reading in self.readings],
        }


def audit(
    n: int,
    value: str | float,
    base: str | float | None = None,
    *,
    clusters: int | None = None,
    icc: float | None = None,
) -> Audit:
    """Say what a share of `n` questions can mean.

    Args:
        n: Number of questions, 1 to 10,000,000.
        value: The share: a number from 0 to 1 (`0.87`), a percentage (`87%`), or a fraction of n
            (`87/100`). As text its decimals tell how it was rounded.
        base: The share of another run over the same questions.
        clusters: Number of documents that the questions are about, in equal parts.
        icc: Correlation of the outcomes of one document's questions, 0 to 1; None shows .02 and
            .10. It needs `clusters`.

    Raises:
        ConfigError: a value is not allowed.
    """
    if not 1 <= n <= MOST_QUESTIONS:
        raise ConfigError(f"n {n}; allowed: 1 to {MOST_QUESTIONS:,}")
    if clusters is not None and not 1 <= clusters <= n:
        raise ConfigError(f"clusters {clusters}; allowed: 1 to n, {n}")
    if icc is not None and (clusters is None or not 0.0 <= icc <= 1.0):
        raise ConfigError(f"icc {icc}; allowed: 0 to 1, and together with clusters")
    found = count_of("value", value, n)
    other = None if base is None else count_of("base", base, n)
    readings = [_read(n, found, other, icc=None, design_effect=1.0)]
    if clusters is not None:
        for correlation in CORRELATIONS if icc is None else (icc,):
            # Kish (1965), section 8.2, for documents of equal size.
            effect = 1.0 + (n / clusters - 1.0) * correlation
            readings.append(_read(n, found, other, icc=correlation, design_effect=effect))
    return Audit(
        n=n, value=found, base=other, clusters=clusters, difference=_wanted(n, found, other),
        readings=tuple(readings),
    )  # fmt: skip


def count_of(what: str, given: str | float, n: int) -> Count:
    """Return the count of n that a printed share stands for; raises `ConfigError`."""
    share, half_unit = _parsed(what, str(given).strip(), n)
    if not 0 <= share <= 1:
        raise ConfigError(f"{what} {given}; allowed: 0 to 1, a percentage (87%), or 87/100")
    wanted = share * n
    slack = max(half_unit * n, _COUNT_SLACK)
    low, high = max(0, math.ceil(wanted - slack)), min(n, math.floor(wanted + slack))
    if low > high:
        below = math.floor(wanted)
        return Count(share=float(share), k=None, k_low=below, k_high=below + 1)
    nearest = min(max(round(wanted), low), high)
    return Count(share=float(share), k=nearest, k_low=low, k_high=high)


def _parsed(what: str, text: str, n: int) -> tuple[Fraction, Fraction]:
    """Return a share exactly, and half a unit of its last decimal (0 where it is exact)."""
    refused = ConfigError(f"{what} {text[:40]}; allowed: 0 to 1, a percentage (87%), or 87/100")
    if len(text) > _MOST_DIGITS:
        raise refused
    number, slash, of = text.partition("/")
    if slash:
        if not (_is_digits(number) and _is_digits(of)) or int(of) != n:
            raise ConfigError(f"{what} {text}; allowed: a count of n, K/{n}")
        return Fraction(int(number), n), Fraction(0)
    percent = number.endswith("%")
    number = number.removesuffix("%").rstrip()
    mantissa, _, exponent = number.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    digits = [part for part in (whole, decimals) if part]
    if not digits or not all(map(_is_digits, digits)) or not _is_small_exponent(exponent):
        raise refused
    share = Fraction(number)
    places = len(decimals) - int(exponent or 0) + 2 * percent
    # A whole 0 or 1 is taken as it is: as a rounded number it would mean anything.
    half_unit = Fraction(1, 2) / Fraction(10) ** places if places > 0 else Fraction(0)
    return (share / 100 if percent else share), half_unit


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_small_exponent(text: str) -> bool:
    return not text or (_is_digits(text.removeprefix("-").removeprefix("+")) and len(text) <= 4)


def _wanted(n: int, value: Count, base: Count | None) -> float:
    """Return the difference that `n_needed` is about: the one seen, else the usual margin."""
    if base is None:
        return MARGIN_BOUNDED
    return (value.nearest - base.nearest) / n


def _read(
    n: int, value: Count, base: Count | None, *, icc: float | None, design_effect: float
) -> Reading:
    n_effective = n / design_effect

    def bounds(k: float, confidence: float) -> tuple[float, float]:
        return clopper_pearson(k / design_effect, n_effective, confidence=confidence)

    # Where no count fits, both around the share may be meant.
    ends = (value.k, value.k) if value.k is not None else (value.k_low, value.k_high)
    share = (value if base is None else base).nearest / n
    difference = _wanted(n, value, base)
    sign = -1.0 if base is None or difference < 0.0 else 1.0
    compared = None if base is None else _compared(n, value, base, design_effect)
    return Reading(
        icc=icc,
        design_effect=design_effect,
        n_effective=n_effective,
        low=bounds(ends[0], 1.0 - ALPHA)[0],
        high=bounds(ends[1], 1.0 - ALPHA)[1],
        at_least=bounds(ends[0], 1.0 - 2.0 * ALPHA)[0],
        detectable=_by_case(lambda case: _detectable(case, share, sign, n_effective)),
        n_needed=_by_case(
            lambda case: _questions(case, share, sign, abs(difference), design_effect)
        ),
        compared=compared,
    )


def _compared(n: int, value: Count, base: Count, design_effect: float) -> Compared:
    """Return whether two counts of the same questions differ (McNemar 1947, exact).

    The p-value grows with the number of questions that changed: `x` of them the one way, and `x`
    more than the difference the other.
    """
    gap = abs(value.nearest - base.nearest)
    most = math.floor(min(value.nearest, base.nearest, n - value.nearest, n - base.nearest))

    def differs(x: int) -> bool:
        if gap <= 0.0:
            return False
        p = 2.0 * incomplete_beta((gap + x) / design_effect, x / design_effect + 1.0, 0.5)
        return p <= ALPHA

    # The first that does not differ, from -1 (none does) on.
    low, high = -1, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if differs(middle) else (low, middle)
    return Compared(
        distinguishable="no" if low < 0 else "yes" if low == most else "depends",
        least_discordance=gap,
        largest_discordance=None if low < 0 else gap + 2.0 * low,
        most_discordance=gap + 2.0 * most,
    )


def _by_case(number: Callable[[str], float | None]) -> Cases:
    return Cases(**{case: number(case) for case in ("least", "independent", "most")})


def _is_found(case: str, share: float, change: float, n: float) -> bool:
    """Whether a true change, with its sign, is found with the power on n independent questions.

    Where questions are only gained it is found from six on (2 x .5^6 <= .05), exactly. Otherwise
    the normal approximation of a paired difference must say so too (Cohen 1988, section 2.4).
    """
    size, other = abs(change), share + change
    enough = 1.0 + math.ceil(math.log2(1.0 / ALPHA))
    if n < enough or incomplete_beta(enough, n - enough + 1.0, size) < POWER:
        return False
    if case == "least":
        return True
    changed = share * (1.0 - other) + other * (1.0 - share)
    if case == "most":
        changed = min(share + other, 2.0 - share - other)
    normal = NormalDist()
    z = normal.inv_cdf(1.0 - ALPHA / 2.0) + normal.inv_cdf(POWER)
    return size * math.sqrt(n) >= z * math.sqrt(max(0.0, changed - size * size))


def _detectable(case: str, share: float, sign: float, n: float) -> float | None:
    """Return the smallest change that n questions resolve; None where not even the largest is."""
    room = share if sign < 0.0 else 1.0 - share
    if room <= 0.0 or not _is_found(case, share, sign * room, n):
        return None
    low, high = 0.0, room
    for _ in range(50):
        middle = (low + high) / 2.0
        found = _is_found(case, share, sign * middle, n)
        low, high = (low, middle) if found else (middle, high)
    return high


def _questions(
    case: str, share: float, sign: float, size: float, design_effect: float
) -> float | None:
    """Return how many questions resolve a change of this size; None where no number does."""
    room = share if sign < 0.0 else 1.0 - share
    if not 0.0 < size <= room + 1e-12:
        return None
    change = sign * min(size, room)
    low, high = 0, 1
    while not _is_found(case, share, change, high):
        low, high = high, 2 * high
        if high > MOST_QUESTIONS**2:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_found(case, share, change, middle) else (middle, high)
    return float(math.ceil(high * design_effect))


def _count_dict(count: Count) -> dict[str, Json]:
    return {**asdict(count), "is_a_count": count.k is not None}
