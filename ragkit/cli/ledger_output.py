"""The results of `ragkit ledger` as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragkit.brief import counted
from ragkit.cli.output import Shown, known

if TYPE_CHECKING:
    from ragkit.costs.ledger import Summary


def report_text(total: Summary, data: Shown) -> str:
    """Return the sums, those of groups, and a metric beside them."""
    lines = [total.to_text()]
    if "groups" in data:
        lines += ["", f"by {data['by']}"]
        width = max((len(group["key"]) for group in data["groups"]), default=0)
        lines += [_group_text(group, width) for group in data["groups"]]
    if "business" in data:
        lines += ["", *_business_lines(data["business"])]
    return "\n".join(lines)


def _group_text(group: Shown, width: int) -> str:
    share = group["saving"]["saved_share"]
    saved = "" if share is None else f", {share:.0%} of the prompt saved"
    return (
        f"  {group['key']:<{width}}  {group['answers']:,} answers, {group['refusals']:,} refused, "
        f"{known(group['input_tokens'])} prompt tokens, {_joules(group['joules'])}, "
        f"{_grams(group['carbon_g'])}{saved}"
    )


def _business_lines(business: Shown) -> list[str]:
    name = business["metric"]
    lines = [f"beside {name}, {counted(business['days_with_both'], 'day')} that both have"]
    per = business["per_unit"]
    if per is not None:
        tokens = known(per["input_tokens"], digits=1)
        lines.append(
            f"  for each unit: {per['answers']:.3g} answers, {tokens} prompt tokens, "
            f"{_joules(per['joules'])}, {_grams(per['carbon_g'])}"
        )
    return lines + [
        f"  {day['day']}  {known(day['value'])} {name}, {known(day['answers'])} answers, "
        f"{_joules(day['joules'])}"
        for day in business["days"]
    ]


def diff_text(data: Shown) -> str:
    """Return one line for each measure."""
    lines = [f"B ({data['b']}) beside A ({data['a']}), intervals of 95 %"]
    for found in data["differences"]:
        change = "unknown" if found["difference"] is None else f"{found['difference']:+.4g}"
        if found["low"] is not None:
            change += f" [{found['low']:+.4g}, {found['high']:+.4g}]"
        lines.append(
            f"  {found['measure']:<14} {_short(found['a'])} to {_short(found['b'])}: {change}, "
            f"{found['verdict']} (n {found['n_a']:,} and {found['n_b']:,}; {found['interval']})"
        )
    if any(found["verdict"] == "too few" for found in data["differences"]):
        lines.append("  too few: an interval takes 30 values in each ledger")
    return "\n".join(lines)


def sci_text(data: Shown) -> str:
    """Return the intensity, its boundary and what has to be known to read it."""
    unit = "correct answer" if data["correct"] is not None else data["unit"]
    lines = [
        f"carbon  {_known(data['g_per_unit'], 'g')} for each {unit}",
        f"energy  {_known(data['joules_per_unit'], 'J')} for each {unit}",
        f"units   {data['units']:,}, of which {data['units_with_carbon']:,} with known carbon",
        f"boundary {data['boundary']}: {'; '.join(data['counted'])}",
        f"not counted: {'; '.join(data['not_counted'])}",
    ]
    correct = data["correct"]
    if correct is not None:
        lines.append(
            f"correct {correct['good']:,} of {correct['judged']:,} judged "
            f"[{correct['low']:.2f}, {correct['high']:.2f}] ({correct['interval']})"
        )
    return "\n".join([*lines, *(f"note: {note}" for note in data["notes"])])


def _short(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _joules(bounds: Shown | None) -> str:
    return _estimate(bounds, "J")


def _grams(bounds: Shown | None) -> str:
    return _estimate(bounds, "g")


def _estimate(bounds: Shown | None, unit: str) -> str:
    return f"{unit} unknown" if bounds is None else _known(bounds, unit)


def _known(bounds: Shown | None, unit: str) -> str:
    if bounds is None:
        return "unknown"
    low, mid, high = (_short(bounds[name]) for name in ("low", "mid", "high"))
    return f"{mid} {unit} ({low} to {high})"
