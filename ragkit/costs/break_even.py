"""How many questions it takes until trimming has paid for what it needed first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.costs.energy import local_joules
from ragkit.costs.ledger import BOUNDS, Summary
from ragkit.types import Json

Verdict: TypeAlias = Literal["paid", "not yet", "never at this rate", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Joules spent before the first question, and joules saved by trimming since.

    `spent` is that of ingests, embedding, calibration and evaluation; None without any. `saved` is
    the energy of the same answers from their untrimmed top 5, less the energy spent, less the CPU
    time of trimming. `answers` counts those that can be compared, `unknown` the lines of unknown
    energy.
    """

    spent: Mapping[str, float] | None
    saved: Mapping[str, float]
    answers: int
    unknown: int

    @property
    def verdict(self) -> Verdict:
        """Whether trimming has paid, by the middle of the ranges."""
        if not self.answers or self.spent is None:
            return "unknown"
        if self.saved["mid"] >= self.spent["mid"]:
            return "paid"
        return "not yet" if self.saved["mid"] > 0.0 else "never at this rate"

    def questions(self) -> dict[str, Json]:
        """Return how many answers it takes in all; None where no number of them suffices.

        `low` is the least that was spent at the most that is saved, `high` the reverse.
        """
        pairs = {"low": ("low", "high"), "mid": ("mid", "mid"), "high": ("high", "low")}
        return {bound: self._needed(spent, saved) for bound, (spent, saved) in pairs.items()}

    def _needed(self, spent: str, saved: str) -> int | None:
        if not self.answers or self.spent is None or self.saved[saved] <= 0.0:
            return None
        needed = self.spent[spent] * self.answers / self.saved[saved]
        return math.ceil(needed) if math.isfinite(needed) else None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ledger break-even`."""
        return {
            "schema": 1,
            "verdict": self.verdict,
            "answers": self.answers,
            "questions": self.questions(),
            "spent_joules": None if self.spent is None else dict(self.spent),
            "saved_joules": dict(self.saved) if self.answers else None,
            "unknown": self.unknown,
        }


def break_even(total: Summary) -> BreakEven:
    """Compare what a ledger says was spent before answering with what trimming has saved."""
    _, trim_cpu_seconds = total.stages.get("trim", (0.0, 0.0))
    own = local_joules(trim_cpu_seconds)
    saved = dict(zip(BOUNDS, (own.low, own.mid, own.high), strict=True))
    is_prepared = bool(total.ingests or total.embeds or total.evaluations)
    return BreakEven(
        spent=total.prepared_joules if is_prepared else None,
        saved={bound: total.saved_joules[bound] - saved[bound] for bound in BOUNDS},
        answers=total.compared_joules,
        unknown=total.unknown["prepared"],
    )
