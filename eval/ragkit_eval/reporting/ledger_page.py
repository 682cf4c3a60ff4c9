"""The report of a ledger as one self-contained HTML file, with plots by day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import TypeAlias, cast

from ragkit.costs.break_even import BreakEven, break_even
from ragkit.costs.grouping import Groups
from ragkit.costs.ledger import BOUNDS, Summary
from ragkit.types import Json
from ragkit_eval.reporting.formatting import shown
from ragkit_eval.reporting.ledger_drift import Drift
from ragkit_eval.reporting.selfcontained import document, table

Bounds: TypeAlias = Mapping[str, float]


def ledger_html(
    groups: Groups,
    *,
    sources: Sequence[str],
    drift: Drift,
    business: Mapping[str, Json] | None = None,
) -> str:
    """Return the whole page.

    Args:
        groups: Sums by group and by day.
        sources: The ledgers' names.
        drift: The watches on the answers.
        business: A metric of the user's own beside the days, if there is one.
    """
    total = groups.total()
    ordered = list(groups.days.items())
    parts = [
        f"<h1>What the answers of {escape(', '.join(sources))} cost</h1>",
        f'<p class="soft">{_period([day for day, _ in ordered])}</p>',
        f'<p class="gist">{escape(_gist(total))}</p>',
        "<h2>Totals</h2>",
        table(("", "", "known for"), _totals(total)),
        '<p class="soft">Joules and grams are estimates, with the bounds of their range; tokens '
        "and seconds are measured.</p>",
        "<h2>By day</h2>",
        *_charts(ordered),
    ]
    if groups.by != "day":
        parts += [f"<h2>By {escape(groups.by)}</h2>", _group_table(groups)]
    parts += [
        "<h2>Where the time goes</h2>",
        table(("stage", "seconds", "CPU seconds"), _stages(total)),
        "<h2>What trimming saves</h2>",
        *(
            f"<p>{escape(line)}</p>"
            for line in (_saving(total), break_even_text(break_even(total)))
        ),
        "<h2>Changes over time</h2>",
        *(f"<p>{escape(line)}</p>" for line in drift_lines(drift)),
    ]
    if business is not None:
        parts += [f"<h2>Beside {escape(str(business['metric']))}</h2>", *_business(business)]
    return document("ragkit ledger", parts)


def _period(days: Sequence[str]) -> str:
    known = [day for day in days if day[:1].isdecimal()]
    return escape(f"{known[0]} to {known[-1]}, {len(known)} days with lines") if known else "no day"


def _gist(total: Summary) -> str:
    text = f"{total.answers:,} answers and {total.refusals:,} refusals"
    if total.saved_share is not None:
        text += f"; trimming left out {total.saved_share:.0%} of the prompt tokens"
    return text + "."


def _totals(total: Summary) -> list[list[str]]:
    sums = total.to_dict()
    n = total.attempts
    rows = [
        ["answers", shown(total.answers), ""],
        ["refused", shown(total.refusals), ""],
        ["failed or abandoned", shown(total.failures + total.abandoned), ""],
        ["prompt tokens", _shown_json(sums["input_tokens"]),
         shown(total.answers - total.unknown["input_tokens"])],
        ["answer tokens", _shown_json(sums["output_tokens"]),
         shown(total.answers - total.unknown["output_tokens"])],
        ["seconds", shown(total.seconds), shown(n)],
        ["CPU seconds", shown(total.cpu_seconds), shown(n)],
    ]  # fmt: skip
    lines = n + total.ingests + total.evaluations
    for name, unit, bounds in (
        ("joules", "energy, J", total.joules), ("carbon_g", "carbon, g", total.carbon_g)
    ):  # fmt: skip
        value = "unknown" if sums[name] is None else _range(bounds)
        rows.append([unit, value, f"{max(0, lines - total.unknown[name]):,} of {lines:,} lines"])
    if total.feedback:
        rows.append(["feedback", f"{total.n_good:,} good of {len(total.feedback):,}", ""])
    return rows


def _shown_json(value: Json) -> str:
    return "unknown" if value is None else shown(value)


def _range(bounds: Bounds) -> str:
    return f"{shown(bounds['mid'])} ({shown(bounds['low'])} to {shown(bounds['high'])})"


def _stages(total: Summary) -> list[list[str]]:
    rows = sorted(total.stages.items(), key=lambda item: -item[1][0])
    return [[name, shown(seconds), shown(cpu_seconds)] for name, (seconds, cpu_seconds) in rows]


def _group_table(groups: Groups) -> str:
    head = (groups.by, "answers", "refused", "prompt tokens", "answer tokens", "seconds",
            "energy, J", "carbon, g", "saved")  # fmt: skip
    rows: list[list[str]] = []
    for name, summary in groups.groups.items():
        sums = summary.to_dict()
        rows.append([
            name, shown(summary.answers), shown(summary.refusals),
            _shown_json(sums["input_tokens"]), _shown_json(sums["output_tokens"]),
            shown(summary.seconds),
            "unknown" if sums["joules"] is None else _range(summary.joules),
            "unknown" if sums["carbon_g"] is None else _range(summary.carbon_g),
            "–" if summary.saved_share is None else f"{summary.saved_share:.0%}",
        ])  # fmt: skip
    return table(head, rows)


def _saving(total: Summary) -> str:
    if total.saved_tokens is None:
        return "No answer can be compared with its untrimmed top 5."
    text = (
        f"{total.saved_tokens:,} of {total.baseline_tokens:,} prompt tokens over "
        f"{total.comparable:,} answers, against their untrimmed top 5"
    )
    if total.compared_joules:
        text += f"; energy {_range(total.saved_joules)} J of whole answers"
    return text + "."


def break_even_text(found: BreakEven) -> str:
    """Return in a sentence whether trimming has paid for what it needed first."""
    needed = found.questions()
    if found.verdict == "unknown" or found.spent is None:
        return (
            "Whether trimming has paid for itself is unknown: the ledger lacks an ingest, or "
            "answers to compare with their untrimmed top 5."
        )
    spent, saved = found.spent["mid"], found.saved["mid"]
    sums = f"spent first {shown(spent)} J, saved since {shown(saved)} J"
    if found.unknown:
        sums += f" ({found.unknown:,} lines of unknown energy not counted)"
    if found.verdict == "never at this rate":
        return f"Trimming does not pay at this rate: {sums} over {found.answers:,} answers."
    span = f"{_or_never(needed['low'])} to {_or_never(needed['high'])}"
    if found.verdict == "paid":
        return (
            f"Trimming has paid for ingest, calibration and evaluation: {sums}; it took about "
            f"{shown(needed['mid'])} answers ({span}) of {found.answers:,}."
        )
    mid = cast("int", needed["mid"])
    return (
        f"Not yet: {sums} over {found.answers:,} answers; about {mid - found.answers:,} more "
        f"until trimming has paid for ingest, calibration and evaluation (in all {span})."
    )


def _or_never(value: Json) -> str:
    return "perhaps never" if value is None else shown(value)


_PROXY = {"output_tokens": "tokens an answer", "refused": "share of refusals", "support": "support"}


def drift_lines(found: Drift) -> list[str]:
    """Return a sentence for each alarm, or that there is none, or too few answers."""
    data = found.to_dict()
    lines = [
        f"From {alarm['time'] or 'an unknown time'}: {_PROXY[str(alarm['proxy'])]} went "
        f"{alarm['direction']}, from {shown(alarm['before'])} to {shown(alarm['after'])} over the "
        f"last {shown(alarm['n_after'])} values."
        for alarm in found.alarms
    ]
    watched = cast("Mapping[str, bool]", data["watched"])
    steady = [_PROXY[name] for name in watched if watched[name]] if not lines else []
    if steady:
        lines.append(f"No change found in {', '.join(steady)}.")
    few = [_PROXY[name] for name in watched if not watched[name]]
    if few:
        lines.append(
            f"Too few values to watch {', '.join(few)}: {data['learning']} are needed to learn "
            "what is usual."
        )
    return lines


def _business(business: Mapping[str, Json]) -> list[str]:
    days = cast("Sequence[Mapping[str, Json]]", business["days"])
    name = str(business["metric"])
    rows = [
        [str(day["day"]), shown(day["value"]), shown(day["answers"]),
         *(_range(cast("Bounds", day[key])) if day[key] else "–" for key in ("joules", "carbon_g"))]
        for day in days
    ]  # fmt: skip
    parts = [table(("day", name, "answers", "energy, J", "carbon, g"), rows)]
    per = cast("Mapping[str, Json] | None", business["per_unit"])
    if per is not None:
        energy = "unknown" if per["joules"] is None else _range(cast("Bounds", per["joules"]))
        text = f"{energy} J for each unit of {name}, over {shown(business['days_with_both'])} days"
        parts.append(f"<p>{escape(text)} that both know.</p>")
    return parts


# --- plots -----------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 960.0, 240.0, 72.0, 150.0, 28.0, 30.0
_COLOURS = ("#0b6bcb", "#8d97a3")


def _charts(days: Sequence[tuple[str, Summary]]) -> list[str]:
    """Return a plot for each of the measures that at least one day knows."""
    days = [(day, summary) for day, summary in days if day[:1].isdecimal()]
    plots: list[tuple[str, Mapping[str, Callable[[Summary], float | None]]]] = [
        ("attempts", {"answered": lambda s: s.answers, "refused": lambda s: s.refusals}),
        ("prompt tokens of comparable answers", {
            "sent": lambda s: s.compared_tokens if s.comparable else None,
            "untrimmed": lambda s: s.baseline_tokens if s.comparable else None}),
    ]  # fmt: skip
    shapes = [_plot(title, days, series) for title, series in plots]
    for title, name in (("energy, J", "joules"), ("carbon, g", "carbon_g")):
        shapes.append(_band_plot(title, days, name))
    return [shape for shape in shapes if shape]


def _plot(
    title: str,
    days: Sequence[tuple[str, Summary]],
    series: Mapping[str, Callable[[Summary], float | None]],
) -> str:
    values = {name: [read(summary) for _, summary in days] for name, read in series.items()}
    known = [value for row in values.values() for value in row if value is not None]
    if not known:
        return ""
    axes = _Axes(title, [day for day, _ in days], max(known))
    for colour, (name, row) in zip(_COLOURS, values.items(), strict=True):
        axes.line(row, colour)
        axes.name(name, colour)
    return axes.svg()


def _band_plot(title: str, days: Sequence[tuple[str, Summary]], name: str) -> str:
    rows: dict[str, list[float | None]] = {bound: [] for bound in BOUNDS}
    for _, summary in days:
        known = cast("Bounds | None", summary.to_dict()[name])
        for bound in BOUNDS:
            rows[bound].append(None if known is None else known[bound])
    highs = [value for value in rows["high"] if value is not None]
    if not highs or max(highs) <= 0.0:
        return ""
    axes = _Axes(title, [day for day, _ in days], max(highs))
    axes.band(rows["low"], rows["high"])
    axes.line(rows["mid"], _COLOURS[0])
    axes.name("estimate", _COLOURS[0])
    axes.name("its range", "#b9d6f2")
    return axes.svg()


class _Axes:
    """A frame with days on the x axis, and what is drawn in it."""

    def __init__(self, title: str, days: Sequence[str], top: float) -> None:
        self._days = days
        self._top = top or 1.0
        self._names = 0
        bottom = _HEIGHT - _BOTTOM
        self._shapes = [
            f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(title)}">',
            f'<text class="strong" x="{_LEFT - 60}" y="16">{escape(title)}</text>',
        ]
        for share in (0.0, 0.5, 1.0):
            y = self._y(self._top * share)
            self._shapes.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                'stroke="#e6eaee"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{escape(shown(self._top * share))}</text>"
            )
        for i in sorted({0, (len(days) - 1) // 2, len(days) - 1}):
            self._shapes.append(
                f'<text x="{self._x(i):.1f}" y="{bottom + 20:.1f}" text-anchor="middle">'
                f"{escape(days[i])}</text>"
            )

    def _x(self, i: int) -> float:
        n = max(1, len(self._days) - 1)
        middle = (_WIDTH - _RIGHT - _LEFT) / 2.0
        return _LEFT + (middle if len(self._days) == 1 else i / n * 2.0 * middle)

    def _y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - value / self._top * (_HEIGHT - _TOP - _BOTTOM)

    def line(self, values: Sequence[float | None], colour: str) -> None:
        """Draw points, and lines between those of neighbouring rows that are both known."""
        at = [None if v is None else (self._x(i), self._y(v)) for i, v in enumerate(values)]
        for a, b in pairwise(at):
            if a is not None and b is not None:
                self._shapes.append(
                    f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" '
                    f'stroke="{colour}" stroke-width="2"/>'
                )
        if len(at) <= 62:
            self._shapes += [
                f'<circle cx="{a[0]:.1f}" cy="{a[1]:.1f}" r="3" fill="{colour}"/>'
                for a in at
                if a is not None
            ]

    def band(self, low: Sequence[float | None], high: Sequence[float | None]) -> None:
        """Draw a bar from the lower to the upper bound of each row."""
        width = max(1.5, min(16.0, 0.5 * (_WIDTH - _LEFT - _RIGHT) / max(1, len(low))))
        for i, (a, b) in enumerate(zip(low, high, strict=True)):
            if a is not None and b is not None:
                self._shapes.append(
                    f'<rect x="{self._x(i) - width / 2:.1f}" y="{self._y(b):.1f}" '
                    f'width="{width:.1f}" height="{max(0.5, self._y(a) - self._y(b)):.1f}" '
                    'fill="#b9d6f2"/>'
                )

    def name(self, text: str, colour: str) -> None:
        """Add an entry to the legend."""
        y = _TOP + 14 + 20 * self._names
        x = _WIDTH - _RIGHT + 16
        self._names += 1
        self._shapes.append(
            f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="{colour}"/>'
            f'<text x="{x + 18}" y="{y}">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """Return the drawing."""
        return "\n".join([*self._shapes, "</svg>"])
