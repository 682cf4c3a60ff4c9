"""How the answers of two ledgers differ in cost, with intervals of the differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal, TypeAlias

from ragkit.costs.ledger import as_table, known_number
from ragkit.types import Json, token_count

LEAST = 30
"""Values in each ledger; with fewer, no interval is given."""

Verdict: TypeAlias = Literal["lower", "higher", "no difference shown", "too few"]

_TOKENS = ("input_tokens", "output_tokens")
_SPENT = ("seconds", "cpu_seconds")
_WELCH = "difference of means, normal, Welch's variance"
_NEWCOMBE = "difference of shares, Newcombe's hybrid score"


@dataclass(slots=True)
class Moments:
    """Number, mean and variance of values that are seen once (Welford 1962)."""

    n: int = 0
    mean: float = 0.0
    _squares: float = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.n += 1
        step = value - self.mean
        self.mean += step / self.n
        self._squares += step * (value - self.mean)

    @property
    def variance_of_mean(self) -> float:
        """Estimated variance of the mean; infinite below two values."""
        return self._squares / (self.n - 1) / self.n if self.n > 1 else math.inf


@dataclass(slots=True, kw_only=True)
class Costs:
    """The cost of the answers of one ledger. Tokens are those of answered questions."""

    n: int = 0
    refused: int = 0
    values: dict[str, Moments] = field(
        default_factory=lambda: {name: Moments() for name in (*_TOKENS, *_SPENT, "joules")}
    )

    def add(self, record: Mapping[str, Json]) -> None:
        """Add a line of a ledger; only answers and refusals count."""
        receipt = as_table(record.get("receipt"))
        is_attempt = record.get("kind") == "ask" and record.get("dry_run") is not True
        if not is_attempt or receipt.get("outcome") not in (None, "answered", "refused"):
            return
        self.n += 1
        spent = {name: known_number(receipt, name) for name in _SPENT}
        spent["joules"] = known_number(as_table(receipt.get("joules")), "mid")
        for name, value in spent.items():
            if value is not None:
                self.values[name].add(value)
        if record.get("refused") is True:
            self.refused += 1
            return
        usage = as_table(record.get("usage"))
        for name in _TOKENS:
            tokens = token_count(usage.get(name))
            if tokens is not None:
                self.values[name].add(tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One measure in two ledgers: `difference` is B minus A, with its interval."""

    measure: str
    a: float | None
    b: float | None
    n_a: int
    n_b: int
    difference: float | None
    low: float | None
    high: float | None
    interval: str

    @property
    def ratio(self) -> float | None:
        """B as a multiple of A."""
        return None if self.b is None or not self.a else self.b / self.a

    @property
    def verdict(self) -> Verdict:
        """What the interval shows."""
        if self.low is None or self.high is None:
            return "too few"
        if self.high < 0.0:
            return "lower"
        return "higher" if self.low > 0.0 else "no difference shown"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "measure": self.measure, "a": self.a, "b": self.b, "n_a": self.n_a, "n_b": self.n_b,
            "difference": self.difference, "low": self.low, "high": self.high,
            "ratio": self.ratio, "interval": self.interval, "verdict": self.verdict,
        }  # fmt: skip


def gather(records: Iterable[Mapping[str, Json]]) -> Costs:
    """Sum the costs of a ledger's answers."""
    costs = Costs()
    for record in records:
        costs.add(record)
    return costs


def differences(a: Costs, b: Costs, *, confidence: float = 0.95) -> list[Difference]:
    """Return how B differs from A, measure by measure.

    The answers are taken to be independent, and the two ledgers to be about questions of one kind.
    An interval of joules is one of sampling: it says nothing of the model of energy, whose
    constants both ledgers share.

    Args:
        a: The ledger that is compared with.
        b: The other one.
        confidence: Of each interval, in (0, 1).
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    return [_of_means(name, a.values[name], b.values[name], z) for name in a.values] + [
        _of_shares("refused", (a.refused, a.n), (b.refused, b.n), z)
    ]


def _of_means(name: str, a: Moments, b: Moments, z: float) -> Difference:
    difference = b.mean - a.mean if a.n and b.n else None
    error = z * math.sqrt(a.variance_of_mean + b.variance_of_mean)
    is_enough = difference is not None and min(a.n, b.n) >= LEAST
    return Difference(
        measure=name,
        a=a.mean if a.n else None,
        b=b.mean if b.n else None,
        n_a=a.n,
        n_b=b.n,
        difference=difference,
        low=difference - error if difference is not None and is_enough else None,
        high=difference + error if difference is not None and is_enough else None,
        interval=_WELCH,
    )


def _of_shares(name: str, a: tuple[int, int], b: tuple[int, int], z: float) -> Difference:
    n_a, n_b = a[1], b[1]
    share_a, share_b = (hits / n if n else None for hits, n in (a, b))
    low = high = difference = None
    if share_a is not None and share_b is not None:
        difference = share_b - share_a
        if min(n_a, n_b) >= LEAST:
            (low_a, high_a), (low_b, high_b) = _wilson(share_a, n_a, z), _wilson(share_b, n_b, z)
            low = difference - math.hypot(share_b - low_b, high_a - share_a)
            high = difference + math.hypot(high_b - share_b, share_a - low_a)
    return Difference(
        measure=name, a=share_a, b=share_b, n_a=n_a, n_b=n_b, difference=difference,
        low=low, high=high, interval=_NEWCOMBE,
    )  # fmt: skip


def _wilson(share: float, n: int, z: float) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927), of which Newcombe's (1998) is made."""
    middle = share + z * z / (2.0 * n)
    half = z * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    scale = 1.0 + z * z / n
    return (middle - half) / scale, (middle + half) / scale
