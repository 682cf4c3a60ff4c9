"""What a ledger's lines say about lengths and times: quantiles with distribution-free bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ragkit.costs.energy import local_joules
from ragkit.types import MOST_COUNTED, Json, token_count

CONFIDENCE = 0.95
_CUT_OFF = ("abandoned", "failed")


@dataclass(slots=True, kw_only=True)
class Asked:
    """The answers of a ledger that a language model gave.

    Attributes:
        input_tokens: Tokens of each prompt.
        output_tokens: Tokens of each answer, thoughts included where the server counts them.
        total_tokens: Both together.
        seconds: How long each answer took.
        n_cut: Answers that ended at their largest number of tokens: they would have been longer.
        days: Answers by day, `2026-11-27`.
        joules: Of the model alone, (low, high), where they are known.
    """

    input_tokens: list[int] = field(default_factory=list[int])
    output_tokens: list[int] = field(default_factory=list[int])
    total_tokens: list[int] = field(default_factory=list[int])
    seconds: list[float] = field(default_factory=list[float])
    n_cut: int = 0
    days: dict[str, int] = field(default_factory=dict[str, int])
    joules: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    @property
    def mean_joules(self) -> tuple[float, float] | None:
        """Joules of an answer's model, on average (low, high); None without any."""
        if not self.joules:
            return None
        low, high = (
            math.fsum(bound) / len(self.joules) for bound in zip(*self.joules, strict=True)
        )
        return low, high


def asked(records: Iterable[Mapping[str, Json]], generator: str | None = None) -> Asked:
    """Collect the lines of a ledger in which a model answered; others say nothing about it.

    Args:
        records: The lines.
        generator: Take only lines of this generator; None: of all.
    """
    found = Asked()
    for record in records:
        receipt, usage = _object(record.get("receipt")), _object(record.get("usage"))
        if record.get("kind") != "ask" or record.get("dry_run") is True:
            continue
        if generator is not None and record.get("generator") != generator:
            continue
        if not token_count(receipt.get("llm_calls")) or receipt.get("outcome") in _CUT_OFF:
            continue
        sent, said = token_count(usage.get("input_tokens")), token_count(usage.get("output_tokens"))
        if sent is None or said is None:
            continue
        found.input_tokens.append(sent)
        found.output_tokens.append(said)
        found.total_tokens.append(sent + said)
        found.n_cut += record.get("stop_reason") == "length"
        day = str(record.get("time"))[:10]
        found.days[day] = found.days.get(day, 0) + 1
        seconds = _number(receipt.get("seconds"))
        if seconds is not None:
            found.seconds.append(seconds)
        joules = _model_joules(receipt)
        if joules is not None:
            found.joules.append(joules)
    return found


def _model_joules(receipt: Mapping[str, Json]) -> tuple[float, float] | None:
    """Return what the model took: a receipt's joules without those of this machine's CPU."""
    joules, cpu_seconds = _object(receipt.get("joules")), _number(receipt.get("cpu_seconds"))
    low, high = _number(joules.get("low")), _number(joules.get("high"))
    if low is None or high is None or cpu_seconds is None:
        return None
    local = local_joules(cpu_seconds)
    return max(0.0, low - local.low), max(0.0, high - local.high)


def _number(value: Json) -> float | None:
    """Return a number as measured: none is negative or too large for sums."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MOST_COUNTED else None


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def upper_bound(values: Sequence[float], share: float) -> float | None:
    """Return what this share of future values does not exceed, with 95 % confidence.

    The bound is one of the values, whatever their distribution: that at the smallest rank which a
    binomial count of (n, share) reaches with a probability of at most 5 %. It holds for answers
    that are independent and alike.

    Returns:
        None where there are too few values: 59 are needed for a share of .95, 299 for .99.
    """
    n = len(values)
    above, rank = 0.0, n + 1
    while rank > 1:
        above += _binomial(rank - 1, n, share)
        if above > 1.0 - CONFIDENCE:
            break
        rank -= 1
    return None if rank > n else sorted(values)[rank - 1]


def _binomial(count: int, n: int, share: float) -> float:
    """Return the probability of this count, by logarithms, since powers underflow."""
    ways = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    return math.exp(ways + count * math.log(share) + (n - count) * math.log1p(-share))


def least_lines(share: float) -> int:
    """Return how many values `upper_bound` needs."""
    return math.ceil(math.log(1.0 - CONFIDENCE) / math.log(share))
