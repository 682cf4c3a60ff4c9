"""The Software Carbon Intensity of a ledger, as SCI for AI defines it for those who use models.

SCI = (E x I + M) / R: the energy, at the carbon intensity of the grid where it was used, and what
was emitted to make the hardware, per functional unit (ISO/IEC 21031; SCI for AI, Green Software
Foundation). The grams of receipts are E x I, location-based; M is unknown to a ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from ragkit.costs.ledger import BOUNDS, as_table, number_of
from ragkit.narrowing import is_array
from ragkit.types import Json, token_count

Unit: TypeAlias = Literal["token", "workflow", "answer"]
UNITS: tuple[Unit, ...] = get_args(Unit)

BOUNDARY = "consumer"
COUNTED = ("retrieval, trimming and prompts on this machine", "calls of models", "ingest",
           "calibration and evaluation, where the ledger has lines of them")  # fmt: skip
NOT_COUNTED = ("training (the provider's boundary)", "embodied emissions of hardware (M)",
               "hosted indexes and storage", "networks", "devices of users")  # fmt: skip
WASTE = (
    "per token rewards waste: who sends more tokens for the same answer divides the same grams by "
    "more units. Compare per answer"
)
UNLABELLED = (
    "no answer here has feedback, so these are answers given, correct or not; ragkit feedback "
    "labels them"
)
EXTRACTIVE = (
    "never per supported answer: quotations from the documents are supported whatever was asked"
)


@dataclass(slots=True, kw_only=True)
class Sci:
    """Grams and joules of a ledger, and the functional units that they are divided by.

    Only lines whose carbon is known count in `carbon_g`, and only their units in `carbon_units`;
    likewise for joules. `judged` holds what was last said of each answer with feedback.
    """

    unit: Unit
    units: int = 0
    carbon_g: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))
    carbon_units: int = 0
    carbon_unknown: int = 0
    joules: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0.0))
    joules_units: int = 0
    joules_unknown: int = 0
    judged: dict[str, bool] = field(default_factory=dict[str, bool])
    is_extractive: bool = False
    not_counted: set[str] = field(default_factory=set[str])

    def add(self, record: Mapping[str, Json]) -> None:
        """Add a line of a ledger."""
        kind = record.get("kind")
        if kind == "feedback":
            answer_id = record.get("answer_id")
            if isinstance(answer_id, str):
                self.judged[answer_id] = record.get("good") is True
        elif kind in ("ingest", "embed", "evaluation"):
            self._add_cost(record, 0)
        elif kind == "ask" and record.get("dry_run") is not True:
            receipt = as_table(record.get("receipt"))
            self.is_extractive = self.is_extractive or record.get("generator") == "extractive"
            left_out = receipt.get("not_counted")
            if is_array(left_out) and len(self.not_counted) < len(left_out) + 100:
                self.not_counted.update(item for item in left_out if isinstance(item, str))
            self._add_cost(receipt, _n_units(self.unit, record, receipt))

    def _add_cost(self, holder: Mapping[str, Json], n_units: int) -> None:
        self.units += n_units
        carbon, joules = as_table(holder.get("carbon_g")), as_table(holder.get("joules"))
        if carbon:
            self.carbon_units += n_units
            for bound in BOUNDS:
                self.carbon_g[bound] += number_of(carbon, bound)
        else:
            self.carbon_unknown += 1
        if joules:
            self.joules_units += n_units
            for bound in BOUNDS:
                self.joules[bound] += number_of(joules, bound)
        else:
            self.joules_unknown += 1

    @property
    def good_share(self) -> tuple[int, int] | None:
        """Good answers and judged answers; None unless the unit is an answer and some are judged.

        Users judge a part of the answers, and not one drawn at random.
        """
        if self.unit != "answer" or not self.judged:
            return None
        return sum(self.judged.values()), len(self.judged)

    def per_unit(
        self, share: tuple[float, float, float] | None = None
    ) -> tuple[dict[str, Json] | None, dict[str, Json] | None]:
        """Return grams and joules for each unit; None where they are unknown.

        Args:
            share: The share of the answers that are correct: low, middle and high.
        """
        return (
            _divided(self.carbon_g, self.carbon_units, share),
            _divided(self.joules, self.joules_units, share),
        )

    def notes(self) -> list[str]:
        """Return what has to be known to read the figures."""
        notes = [WASTE] if self.unit == "token" else []
        if self.unit == "answer":
            notes += [UNLABELLED] if self.good_share is None else []
            notes += [EXTRACTIVE] if self.is_extractive else []
        if self.carbon_unknown:
            notes.append(
                f"carbon is unknown for {self.carbon_unknown:,} lines; they and their units are "
                "left out of the grams (settings: region, grid_g_per_kwh)"
            )
        return notes


def _n_units(unit: Unit, record: Mapping[str, Json], receipt: Mapping[str, Json]) -> int:
    if unit == "token":
        if not token_count(receipt.get("llm_calls")):
            return 0  # counted by us, but no model has read or written them
        usage = as_table(record.get("usage"))
        names = ("input_tokens", "output_tokens")
        return sum(token_count(usage.get(name)) or 0 for name in names)
    if unit == "workflow":
        return 1
    return record.get("refused") is not True and receipt.get("outcome") in (None, "answered")


def _divided(
    sums: Mapping[str, float], units: int, share: tuple[float, float, float] | None
) -> dict[str, Json] | None:
    if not units:
        return None
    low, mid, high = share or (1.0, 1.0, 1.0)
    shares = {"low": high, "mid": mid, "high": low}
    return {
        bound: sums[bound] / (units * shares[bound]) if shares[bound] > 0.0 else None
        for bound in BOUNDS
    }


def intensity(records: Iterable[Mapping[str, Json]], unit: Unit) -> Sci:
    """Sum the grams, joules and functional units of a ledger."""
    result = Sci(unit=unit)
    for record in records:
        result.add(record)
    return result
