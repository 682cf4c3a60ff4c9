"""How many questions it takes until trimming has paid for what it needed first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ragkit.costs.energy import local_joules
from ragkit.costs.ledger import BOUNDS, as_table, number_of
from ragkit.types import Json

Verdict: TypeAlias = Literal["paid", "not yet", "never at this rate", "unknown"]
_BEFORE = ("ingest", "embed", "evaluation")


def _zeros() -> dict[str, float]:
    return dict.fromkeys(BOUNDS, 0.0)


@dataclass(slots=True, kw_only=True)
class BreakEven:
    """Joules spent before the first question, and joules saved by trimming since.

    `saved` is the energy of the same answers from their untrimmed top 5, less the energy spent,
    less the CPU time of trimming itself. `answers` counts those that can be compared.
    """

    spent: dict[str, float] = field(default_factory=_zeros)
    spent_by_kind: dict[str, float] = field(default_factory=dict[str, float])
    saved: dict[str, float] = field(default_factory=_zeros)
    answers: int = 0
    unknown: int = 0

    def add(self, record: Mapping[str, Json]) -> None:
        """Add a line of a ledger."""
        kind = record.get("kind")
        if kind in _BEFORE:
            joules = as_table(record.get("joules"))
            self.unknown += not joules
            for bound in BOUNDS:
                self.spent[bound] += number_of(joules, bound)
            name = str(kind)
            self.spent_by_kind[name] = self.spent_by_kind.get(name, 0.0) + number_of(joules, "mid")
        elif kind == "ask" and record.get("dry_run") is not True:
            self._add_answer(as_table(record.get("receipt")))

    def _add_answer(self, receipt: Mapping[str, Json]) -> None:
        joules = as_table(receipt.get("joules"))
        without = as_table(receipt.get("baseline_joules"))
        is_answered = receipt.get("outcome") in (None, "answered")
        if not (is_answered and joules and without and receipt.get("baseline_comparable") is True):
            return
        self.answers += 1
        trimming = local_joules(_trim_seconds(receipt.get("stages")))
        for bound, own in zip(BOUNDS, (trimming.low, trimming.mid, trimming.high), strict=True):
            self.saved[bound] += number_of(without, bound) - number_of(joules, bound) - own

    @property
    def verdict(self) -> Verdict:
        """Whether trimming has paid, by the middle of the ranges."""
        if not self.answers or not self.spent_by_kind:
            return "unknown"
        if self.saved["mid"] >= self.spent["mid"]:
            return "paid"
        return "not yet" if self.saved["mid"] > 0.0 else "never at this rate"

    def questions(self) -> dict[str, Json]:
        """Return how many answers it takes in all; None where no number of them suffices.

        `low` is the least that was spent at the most that is saved, `high` the reverse.
        """
        pairs = {"low": ("low", "high"), "mid": ("mid", "mid"), "high": ("high", "low")}
        return {
            bound: self._needed(self.spent[spent], self.saved[saved])
            for bound, (spent, saved) in pairs.items()
        }

    def _needed(self, spent: float, saved: float) -> int | None:
        if not self.answers or saved <= 0.0:
            return None
        needed = spent * self.answers / saved
        return math.ceil(needed) if math.isfinite(needed) else None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ledger break-even`."""
        return {
            "schema": 1,
            "verdict": self.verdict,
            "answers": self.answers,
            "questions": self.questions(),
            "spent_joules": dict(self.spent) if self.spent_by_kind else None,
            "spent_joules_by_kind": dict(self.spent_by_kind),
            "saved_joules": dict(self.saved) if self.answers else None,
            "unknown": self.unknown,
        }


def _trim_seconds(stages: Json) -> float:
    for stage in stages if isinstance(stages, list) else ():
        table = as_table(stage)
        if table.get("name") == "trim":
            return number_of(table, "cpu_seconds")
    return 0.0


def break_even(records: Iterable[Mapping[str, Json]]) -> BreakEven:
    """Compare what a ledger says was spent before answering with what trimming has saved."""
    result = BreakEven()
    for record in records:
        result.add(record)
    return result
