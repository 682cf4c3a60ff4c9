"""The report as one self-contained HTML file: styles and drawing are inlined."""

from __future__ import annotations

import json
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
from ragkit.types import Json, Span
from ragkit_eval.data.rows import Row
from ragkit_eval.data.spans import union
from ragkit_eval.reporting.formatting import shown
from ragkit_eval.reporting.plot import (
    BLUES,
    GREYS,
    Axes,
    curve,
    diamond,
    drawing,
    legend,
    target_line,
)
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
from ragkit_eval.reporting.selfcontained import document, table
from ragkit_eval.running.finished import Run


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
    return document(f"ragkit eval: {title}", parts)


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
    axes = Axes([x for x, _ in points], [y for _, y in points])
    shapes = axes.frame(measure)
    entries: list[tuple[str, str, str]] = []
    counts = {True: 0, False: 0}
    for one in series:
        trimmed = bool(one["trimmed"])
        palette = BLUES if trimmed else GREYS
        colour = palette[counts[trimmed] % len(palette)]
        counts[trimmed] += 1
        shapes.append(curve(_places(one), axes, colour, strong=trimmed))
        at = one["tokens_at_target"]
        entries.append((colour, str(one["name"]), f"{shown(at)} tokens" if at else "not reached"))
    if sweep is not None:
        shapes += _target(sweep, axes)
    for i, (run, x, y) in enumerate(placed):
        colour = "#b42318" if i == 0 and len(placed) > 1 else "#1a7f4b"
        shapes.append(diamond(axes.x(x), axes.y(y), colour))
        entries.append((colour, f"◆ {run.name}", f"{shown(y)} at {shown(x)} tokens"))
    shapes += legend(entries)
    return drawing(f"{measure} against tokens", shapes)


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


def _target(sweep: Mapping[str, Json], axes: Axes) -> list[str]:
    shapes = target_line(as_number(sweep["target"]), str(sweep["target_text"]), axes)
    if sweep["baseline"] is not None:
        baseline = as_object(sweep["baseline"])
        x = axes.x(as_number(baseline["tokens"]))
        y = axes.y(as_number(baseline["quality"]))
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="#1c2430" '
                      'stroke-width="2"/>')  # fmt: skip
        shapes.append(f'<text class="strong" x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">'
                      "baseline, top 5</text>")  # fmt: skip
    return shapes
