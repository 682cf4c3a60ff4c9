"""The report as one self-contained HTML file: styles and drawing are inlined."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ragkit.text.jsontext import (
    as_list,
    as_number,
    as_object,
    as_objects,
    as_whole,
    number_or_none,
)
from ragkit.text.printable import printable
from ragkit.types import Json, Span
from ragkit_eval.data.rows import Row
from ragkit_eval.data.spans import union
from ragkit_eval.reporting.formatting import shown
from ragkit_eval.reporting.report import (
    Change,
    Report,
    command_line,
    cost_table,
    evidence_texts,
    gate_table,
    gist,
    measure_table,
    slice_table,
    status_table,
    sweep_table,
    verdict_line,
    warnings,
)
from ragkit_eval.running.finished import Run

_STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fff; --wash: #f5f7f9;
  --good: #1a7f4b; --bad: #b42318; --open: #9a6700; --ours: #0b6bcb; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; padding: 1.5rem; max-width: 68rem; }
h1 { font-size: 1.35rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.verdict { border-left: .4rem solid var(--soft); background: var(--wash); padding: .7rem 1rem;
  font-size: 1.1rem; font-weight: 600; margin: 1rem 0; }
.verdict.pass { border-color: var(--good); } .verdict.fail { border-color: var(--bad); }
.verdict.inconclusive { border-color: var(--open); }
.gist { font-size: 1.05rem; margin: .6rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .4rem 0; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; }
td:first-child { white-space: nowrap; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.better, .pass td:first-child { color: var(--good); font-weight: 600; }
.worse, .fail td:first-child { color: var(--bad); font-weight: 600; }
.inconclusive td:first-child { color: var(--open); font-weight: 600; }
details { border-top: 1px solid var(--line); padding: .45rem 0; }
summary { cursor: pointer; } summary b { font-weight: 600; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 45rem) { .sides { grid-template-columns: 1fr; } }
.text { background: var(--wash); padding: .5rem .7rem; margin: .3rem 0; font-size: .86rem;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 22rem; overflow-y: auto; }
mark { background: #ffe08a; color: inherit; padding: 0 .1em; }
pre { background: var(--wash); padding: .6rem; overflow-x: auto; font-size: .8rem; }
svg { width: 100%; height: auto; max-width: 60rem; } svg text { font: 12px system-ui, sans-serif;
  fill: var(--soft); } svg .strong { fill: var(--ink); font-weight: 600; }
"""


def html(report: Report) -> str:
    """Return the whole page."""
    new, base = report.new, report.base
    title = new.name if base is None else f"{base.name} → {new.name}"
    verdict = report.gate.verdict if report.gate is not None else ""
    rows_new, rows_base = new.rows(), {} if base is None else base.rows()
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(str(new.summary["dataset"]))}, '
        f"{escape(str(new.summary['split']))}, {new.summary['n']} questions</p>",
        f'<div class="verdict {verdict}">{escape(verdict_line(report))}</div>',
        f'<p class="gist">{escape(gist(report))}</p>',
        *(f"<p>⚠ {escape(warning)}</p>" for warning in warnings(report)),
    ]
    if report.gate is not None:
        classes = [check.verdict for check in report.gate.checks]
        parts += ["<h2>Gate</h2>", table(*gate_table(report.gate), classes=classes)]
    parts += ["<h2>Measures</h2>", table(*measure_table(report))]
    drawing = _drawing(report)
    if drawing:
        parts += ["<h2>Quality against tokens</h2>", drawing]
    if report.sweep is not None:
        parts.append(table(*sweep_table(report.sweep)))
        parts.append(
            '<p class="soft">Settings were chosen on the questions they are shown for: a choice, '
            "not a certificate.</p>"
        )
    parts += ["<h2>Cost</h2>", table(*cost_table(report)), table(*status_table(report))]
    if report.slices:
        parts += ["<h2>Slices</h2>", table(*slice_table(report))]
    for name, changes in (("Worst", report.worst), ("Best gains", report.best)):
        if changes:
            parts.append(f"<h2>{name} {len(changes)} by {escape(report.primary)}</h2>")
            parts += [
                _change(change, rows_base, rows_new, base, new, is_open=name == "Worst" and i < 3)
                for i, change in enumerate(changes)
            ]
    parts += ["<h2>How to run it again</h2>"]
    for run in (base, new):
        if run is not None:
            parts += [f"<p>{escape(run.name)}</p><pre>{escape(command_line(run))}</pre>"]
    parts += [_manifest(run) for run in (base, new) if run is not None]
    return whole_page(f"ragkit eval: {title}", parts)


def whole_page(title: str, parts: Iterable[str]) -> str:
    """Return a page that needs nothing else; `parts` are its HTML."""
    return printable(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, classes: Sequence[str] = ()
) -> str:
    """Return a table, whose rows may have a class each; nothing without rows."""
    if not rows:
        return ""
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for i, row in enumerate(rows):
        kind = f' class="{classes[i]}"' if classes else ""
        cells = "".join(
            f'<td class="{cell}">{cell}</td>'
            if cell in {"better", "worse"}
            else f"<td>{escape(cell)}</td>"
            for cell in row
        )
        lines.append(f"<tr{kind}>{cells}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _manifest(run: Run) -> str:
    text = json.dumps(run.manifest, ensure_ascii=False, indent=2)
    head = f"<summary>Manifest of {escape(run.name)}</summary>"
    return f"<details>{head}<pre>{escape(text)}</pre></details>"


def _change(
    change: Change,
    rows_base: Mapping[str, Row],
    rows_new: Mapping[str, Row],
    base: Run | None,
    new: Run,
    *,
    is_open: bool,
) -> str:
    score = change.new
    before = "" if change.before is None else f"{shown(change.before)} → "
    gold = "".join(f"<mark>{escape(text)}</mark> " for text in evidence_texts(score)[:5])
    sides = [
        _side(run.name, rows.get(score.id), score.evidence)
        for run, rows in ((base, rows_base), (new, rows_new))
        if run is not None
    ]
    return (
        f"<details{' open' if is_open else ''}><summary><b>{escape(score.question)}</b> "
        f'<span class="soft">{before}{shown(change.after)}</span></summary>'
        f"<p>wanted: {gold or '–'}</p>"
        f'<div class="sides">{"".join(sides)}</div></details>'
    )


def _side(name: str, row: Row | None, evidence: Json) -> str:
    if row is None:
        return f"<div><p>{escape(name)}: no row</p></div>"
    said = "refused: " + (row.reason or "") if row.status == "refused" else row.text or "–"
    blocks = [
        f'<p class="soft">{escape(passage.document_id)} {passage.start}–{passage.end}'
        f"{'' if passage.n_tokens is None else f', {passage.n_tokens} tokens'}</p>"
        f'<div class="text">{_highlighted(passage.text or "", passage.start, gold)}</div>'
        for passage in row.context
        for gold in [_spans_in(evidence, passage.document_id)]
    ]
    tokens = shown(row.context_tokens)
    return (
        f"<div><p><b>{escape(name)}</b>, {tokens} tokens of context</p>"
        f"<p>answer: {escape(said)}</p>{''.join(blocks)}</div>"
    )


def _spans_in(evidence: Json, document_id: str) -> list[Span]:
    return union(
        (as_whole(span["start"]), as_whole(span["end"]))
        for group in as_list(evidence)
        for span in as_objects(group)
        if span["document_id"] == document_id
    )


def _highlighted(text: str, start: int, gold: Iterable[Span]) -> str:
    """Return the text with its gold spans marked; offsets are the document's."""
    pieces: list[str] = []
    at = 0
    for a, b in gold:
        first, last = max(a - start, at), min(b - start, len(text))
        if first < last:
            pieces += [escape(text[at:first]), f"<mark>{escape(text[first:last])}</mark>"]
            at = last
    return "".join(pieces) + escape(text[at:])


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 960.0, 420.0, 56.0, 300.0, 30.0, 44.0
_GREYS = ("#a9b2bd", "#8d97a3", "#6f7a87", "#4d5763")
_BLUES = ("#0b6bcb", "#53a2ee", "#7a4fc9", "#3a8f8a")


class _Axes:
    """Tokens on a logarithmic x axis, quality on the y axis."""

    def __init__(self, tokens: Sequence[float], quality: Sequence[float]) -> None:
        self.low, self.high = math.log(max(1.0, min(tokens))), math.log(max(tokens))
        if self.high - self.low < 0.1:
            self.high = self.low + 0.1
        self.floor = max(0.0, math.floor(10.0 * min(quality)) / 10.0)
        self.top = max(self.floor + 0.1, math.ceil(20.0 * max(quality)) / 20.0)

    def x(self, tokens: float) -> float:
        share = (math.log(max(1.0, tokens)) - self.low) / (self.high - self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, quality: float) -> float:
        share = (quality - self.floor) / (self.top - self.floor)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def frame(self, measure: str) -> list[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        lines: list[str] = []
        steps = round((self.top - self.floor) / 0.1)
        stride = 0.1 if steps > 2 else 0.05
        for i in range(round((self.top - self.floor) / stride) + 1):
            quality = self.floor + i * stride
            y = self.y(quality)
            lines.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" '
                         'stroke="#e6eaee"/>')  # fmt: skip
            lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                         f"{quality:.2f}</text>")  # fmt: skip
        marks = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
        for tokens in (m for m in marks if self.low <= math.log(m) <= self.high):
            x = self.x(tokens)
            lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}" '
                         'stroke="#e6eaee"/>')  # fmt: skip
            lines.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tokens:,}'
                         "</text>")  # fmt: skip
        middle = (_LEFT + right) / 2
        lines.append(f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">'
                     "mean tokens of context, logarithmic</text>")  # fmt: skip
        lines.append(
            f'<text class="strong" x="{_LEFT - 44}" y="{_TOP - 14}">{escape(measure)}</text>'
        )
        return lines


def _drawing(report: Report) -> str:
    """Return the curves of the sweep with the runs as points; nothing without either."""
    measure, sweep = report.primary, report.sweep
    series: Sequence[Mapping[str, Json]] = ()
    if sweep is not None:
        series = as_objects(sweep["series"])
        measure = str(sweep["measure"])
    runs = [(run, *_run_point(run, measure)) for run in (report.base, report.new) if run]
    placed = [(run, x, y) for run, x, y in runs if x is not None and y is not None]
    points = [place for one in series for place in _places(one)]
    points += [(x, y) for _, x, y in placed]
    if len(points) < 2:
        return ""
    axes = _Axes([x for x, _ in points], [y for _, y in points])
    shapes = [f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT + 8:g}" role="img" '
              f'aria-label="{escape(measure)} against tokens">',
              '<g transform="translate(0 8)">', *axes.frame(measure)]  # fmt: skip
    legend: list[tuple[str, str, str]] = []
    counts = {True: 0, False: 0}
    for one in series:
        trimmed = bool(one["trimmed"])
        palette = _BLUES if trimmed else _GREYS
        colour = palette[counts[trimmed] % len(palette)]
        counts[trimmed] += 1
        shapes.append(_curve(one, axes, colour, strong=trimmed))
        at = one["tokens_at_target"]
        legend.append((colour, str(one["name"]), f"{shown(at)} tokens" if at else "not reached"))
    if sweep is not None:
        shapes += _target(sweep, axes)
    for i, (run, x, y) in enumerate(placed):
        colour = "#b42318" if i == 0 and len(placed) > 1 else "#1a7f4b"
        shapes.append(_diamond(axes.x(x), axes.y(y), colour))
        legend.append((colour, f"◆ {run.name}", f"{shown(y)} at {shown(x)} tokens"))
    shapes += _legend(legend)
    return "\n".join([*shapes, "</g></svg>"])


def _run_point(run: Run, measure: str) -> tuple[float | None, float | None]:
    tokens, quality = (
        number_or_none(run.measures.get(name, {}).get("mean"))
        for name in ("ContextTokens", measure)
    )
    return tokens, quality


def _places(series: Mapping[str, Json]) -> list[tuple[float, float]]:
    """Return tokens and quality of each point of a curve."""
    points = as_objects(series["points"])
    return [(as_number(point["tokens"]), as_number(point["quality"])) for point in points]


def _curve(series: Mapping[str, Json], axes: _Axes, colour: str, *, strong: bool) -> str:
    places = [(axes.x(tokens), axes.y(quality)) for tokens, quality in _places(series)]
    if len(places) == 1:
        x, y = places[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    width = 2.6 if strong else 1.4
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _target(sweep: Mapping[str, Json], axes: _Axes) -> list[str]:
    y = axes.y(as_number(sweep["target"]))
    right = _WIDTH - _RIGHT
    shapes = [
        f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#9a6700" '
        'stroke-dasharray="5 4"/>',
        f'<text x="{right - 6}" y="{y + 15:.1f}" text-anchor="end">target: '
        f"{escape(str(sweep['target_text']))}</text>",
    ]
    if sweep["baseline"] is not None:
        baseline = as_object(sweep["baseline"])
        x = axes.x(as_number(baseline["tokens"]))
        y = axes.y(as_number(baseline["quality"]))
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="#1c2430" '
                      'stroke-width="2"/>')  # fmt: skip
        shapes.append(f'<text class="strong" x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">'
                      "baseline, top 5</text>")  # fmt: skip
    return shapes


def _diamond(x: float, y: float, colour: str) -> str:
    return (
        f'<path d="M{x:.1f} {y - 8:.1f} l8 8 l-8 8 l-8 -8 z" fill="{colour}" stroke="#fff" '
        'stroke-width="1.5"/>'
    )


def _legend(entries: Sequence[tuple[str, str, str]]) -> list[str]:
    x = _WIDTH - _RIGHT + 16
    shapes: list[str] = []
    for i, (colour, name, detail) in enumerate(entries):
        y = _TOP + 10 + 32 * i
        shapes.append(f'<rect x="{x}" y="{y - 6:.1f}" width="12" height="4" fill="{colour}"/>')
        shapes.append(f'<text class="strong" x="{x + 18}" y="{y}">{escape(name[:44])}</text>')
        shapes.append(f'<text x="{x + 18}" y="{y + 14}">{escape(detail)}</text>')
    return shapes
