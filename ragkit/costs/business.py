"""A metric of the user's own by day, beside what the same days cost."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ragkit.costs.ledger import BOUNDS, Summary
from ragkit.errors import ConfigError
from ragkit.types import MOST_COUNTED, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric's name and its value by day (`2026-01-31`)."""

    name: str
    values: Mapping[str, float]


def read_metric(path: Path) -> Metric:
    """Read a CSV file of two columns, `day` and one named after the metric.

    Values of the same day are added.

    Raises:
        ConfigError: the file cannot be read so.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    head = [cell.strip() for cell in rows[0]] if rows else []
    if len(head) != 2 or head[0].lower() != "day" or not head[1]:
        raise ConfigError(f"{path} needs two columns: day,NAME OF THE METRIC")
    values: dict[str, float] = {}
    for number, row in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in row):
            day, value = _read_row(row, f"{path}, line {number}")
            values[day] = values.get(day, 0.0) + value
    return Metric(name=head[1], values=values)


def _read_row(row: list[str], place: str) -> tuple[str, float]:
    from datetime import date

    try:
        day, text = (cell.strip() for cell in row)
        day_is_exact = date.fromisoformat(day).isoformat() == day  # others are 20260131, 2026-W05-1
        value = float(text) if day_is_exact else math.nan
    except ValueError:
        value, day = math.nan, ""
    if not abs(value) <= MOST_COUNTED:  # nor NaN
        raise ConfigError(f"{place}: {','.join(row)[:80]!r}; allowed: 2026-01-31,NUMBER")
    return day, value


def joined(metric: Metric, days: Mapping[str, Summary]) -> dict[str, Json]:
    """Return the metric of each day with what that day cost, and the cost of one unit of it.

    Only days that both know count in `per_unit`; the others are counted, never taken as 0.
    """
    both = [day for day in metric.values if day in days]
    total = Summary()
    for day in both:
        total += days[day]
    units = sum(metric.values[day] for day in both)
    return {
        "metric": metric.name,
        "days": [_day(day, metric.values.get(day), days.get(day)) for day in sorted(
            {*metric.values, *days})],
        "days_with_both": len(both),
        "units": units if both else None,
        "per_unit": _per_unit(total, units) if both and units > 0.0 else None,
    }  # fmt: skip


def _day(day: str, value: float | None, summary: Summary | None) -> dict[str, Json]:
    sums: Mapping[str, Json] = {} if summary is None else summary.to_dict()
    return {
        "day": day,
        "value": value,
        "answers": sums.get("answers"),
        "refusals": sums.get("refusals"),
        "input_tokens": sums.get("input_tokens"),
        "joules": sums.get("joules"),
        "carbon_g": sums.get("carbon_g"),
    }


def _per_unit(total: Summary, units: float) -> dict[str, Json]:
    sums = total.to_dict()
    tokens, answers = sums["input_tokens"], total.answers
    return {
        "answers": answers / units,
        "input_tokens": tokens / units if isinstance(tokens, int) else None,
        "joules": _scaled(total.joules, units) if sums["joules"] is not None else None,
        "carbon_g": _scaled(total.carbon_g, units) if sums["carbon_g"] is not None else None,
    }


def _scaled(bounds: Mapping[str, float], units: float) -> dict[str, Json]:
    return {bound: bounds[bound] / units for bound in BOUNDS}
