"""Reports of one run or of two: their content, and the formats for people and for CI.

`markdown` fits a pull-request comment, `junit` is what CI servers read; `page.py`
makes the HTML file from the same content.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from ragkit.errors import ConfigError
from ragkit.text.jsontext import as_list, as_object, as_objects, number_or_none
from ragkit.text.printable import printable, printable_line
from ragkit.types import Json
from ragkit_eval.reporting.comparison import Comparison, compare, pair
from ragkit_eval.reporting.formatting import bounds, shown
from ragkit_eval.reporting.gate import Check, GateResult
from ragkit_eval.running.finished import Run, Score
from ragkit_eval.stats.inference import bootstrap, known

N_WORST = 10
_PRIMARY = ("NeedsHeld", "EvidenceFound", "EvidenceRecall", "AnswerInContext", "F1", "nDCG@10")
"""The first that both runs have; a sweep and a calibration go by the same (`default_quality`)."""

_COSTS = ("ContextTokens", "InputTokens", "OutputTokens", "WasteRatio", "Seconds", "CPUSeconds",
          "Joules", "LLMCalls")  # fmt: skip
_MARKDOWN_LIMIT = 60_000
"""Characters; a comment on a pull request holds 65,536."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A question whose value of the primary measure changed, or is low in a single run."""

    base: Score | None
    new: Score
    before: float | None
    after: float

    @property
    def difference(self) -> float:
        """After minus before; of a single run the value itself."""
        return self.after if self.before is None else self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The primary measure on the questions that share a value of a metadata field."""

    name: str
    n: int
    base: float | None
    new: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report says. `sweep` is the JSON of `ragkit eval sweep`."""

    new: Run
    primary: str
    base: Run | None = None
    comparison: Comparison | None = None
    gate: GateResult | None = None
    sweep: Mapping[str, Json] | None = None
    slices: tuple[Slice, ...] = ()
    worst: tuple[Change, ...] = ()
    best: tuple[Change, ...] = ()


def make_report(
    new: Run,
    *,
    base: Run | None = None,
    gate: GateResult | None = None,
    sweep: Mapping[str, Json] | None = None,
    primary: str | None = None,
    slice_by: str | None = None,
    margin: float | None = None,
    force: bool = False,
    seed: int = 0,
) -> Report:
    """Gather what a report says.

    Args:
        new: The run that is reported on.
        base: What it is compared with.
        gate: The gate's verdict, if there is one.
        sweep: Curves to draw.
        primary: The measure by which questions are ranked. None means the first of needs,
            evidence, answer in context, F1 and nDCG that both runs have.
        slice_by: A metadata field.
        margin: As in `compare`.
        force: As in `compare`.
        seed: Of resampling.

    Raises:
        ConfigError: the runs cannot be compared, or a run lacks the measure.
    """
    comparison = None
    if base is not None:
        comparison = compare(base, new, margin=margin, force=force, seed=seed)
    shared = [name for name in new.measures if base is None or name in base.measures]
    if primary is None:
        primary = next((name for name in _PRIMARY if name in shared), next(iter(shared), None))
    if primary is None or primary not in shared:
        raise ConfigError(f"measure {primary!r}; allowed: {' '.join(shared)}")
    changes = _changes(base, new, primary)
    higher = new.measure(primary)["direction"] == "higher"
    changes.sort(key=lambda c: (c.difference if higher else -c.difference, c.new.id))
    paired = base is not None
    worse = [c for c in changes if not paired or ((c.difference < 0) == higher and c.difference)]
    better = [c for c in changes if paired and (c.difference > 0) == higher and c.difference]
    return Report(
        new=new,
        base=base,
        comparison=comparison,
        gate=gate,
        sweep=sweep,
        primary=primary,
        slices=tuple(_slices(base, new, primary, slice_by, seed)) if slice_by else (),
        worst=tuple(worse[:N_WORST]),
        best=tuple(better[::-1][:N_WORST]),
    )


def _changes(base: Run | None, new: Run, measure: str) -> list[Change]:
    old = {} if base is None else {score.id: score for score in base.scores}
    found: list[Change] = []
    for score in new.scores:
        after = score.values.get(measure)
        before = old[score.id].values.get(measure) if score.id in old else None
        if after is not None and (base is None or before is not None):
            found.append(Change(base=old.get(score.id), new=score, before=before, after=after))
    return found


def _slices(base: Run | None, new: Run, measure: str, slice_by: str, seed: int) -> Iterable[Slice]:
    groups: dict[str, list[str]] = {}
    for score in new.scores:
        groups.setdefault(f"{slice_by}={score.metadata.get(slice_by)}", []).append(score.id)
    for name, ids in sorted(groups.items()):
        pairs = pair(base or new, new, measure, only=ids)
        if not pairs.new:
            continue
        low, high = bootstrap(pairs.differences, pairs.clusters, seed=seed)
        n = len(pairs.new)
        yield Slice(
            name=name,
            n=n,
            base=None if base is None else sum(pairs.base) / n,
            new=sum(pairs.new) / n,
            low=None if base is None else known(low),
            high=None if base is None else known(high),
        )


def verdict_line(report: Report) -> str:
    """Return the verdict in a sentence."""
    gate = report.gate
    if gate is not None:
        reasons = [f"{c.name} {c.kind}" for c in gate.checks if c.verdict != "pass"]
        why = f": {', '.join(reasons)}" if reasons else f": all {len(gate.checks)} checks hold"
        return f"{gate.verdict.upper()}{why} (exit code {gate.exit_code})"
    if report.comparison is None:
        return f"One run, {report.new.summary['n']} questions; nothing to compare with"
    found = Counter(difference.verdict for difference in report.comparison.differences)
    n_same = found.get("–", 0)
    return (
        f"No gate was asked. {found.get('better', 0)} measures better, {found.get('worse', 0)} "
        f"worse, {n_same} not told apart (5 % level after Holm)"
    )


def gist(report: Report) -> str:
    """Return the primary measure and the tokens of context in a sentence."""
    parts: list[str] = []
    for name in (report.primary, "ContextTokens"):
        new = report.new.measures.get(name)
        if new is None:
            continue
        old = None if report.base is None else report.base.measures.get(name)
        text = f"{name} {shown(new['mean'])}"
        if old is not None:
            before, after = old["mean"], new["mean"]
            text = f"{name} {shown(before)} → {shown(after)}"
            if isinstance(before, float) and isinstance(after, float) and before:
                text += f" ({(after - before) / before:+.1%})"
        parts.append(text)
    return "; ".join(dict.fromkeys(parts))


def measure_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of measures."""
    if report.comparison is None:
        head = ["measure", "mean", "95 % interval", "n", "errors", "p50", "p95", "detectable",
                "n needed"]  # fmt: skip
        rows = [
            [
                name,
                shown(m["mean"]),
                bounds(m["low"], m["high"]),
                shown(m["n"]),
                shown(m["errors"]),
                shown(m.get("p50")),
                shown(m.get("p95")),
                shown(m["minimum_detectable"], 2),
                shown(m["n_needed"]),
            ]
            for name, m in report.new.measures.items()
        ]
        return head, rows
    head = ["measure", "base", "new", "difference", "95 % interval", "p (Holm)", "verdict",
            "detectable", "n needed", "n", "missing"]  # fmt: skip
    return head, [
        [
            d.measure,
            shown(d.base),
            shown(d.new),
            shown(d.difference),
            bounds(d.low, d.high),
            shown(d.p_holm, 2),
            d.verdict,
            shown(d.minimum_detectable, 2),
            "–" if d.n_needed is None else f"{d.n_needed:,} for {shown(d.margin, 2)}",
            shown(d.n),
            shown(d.missing),
        ]
        for d in report.comparison.differences
    ]


def cost_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the cost per question in each run."""
    head = ["cost of a question", "run", "mean", "p50", "p95", "sum"]
    rows: list[list[str]] = []
    for name in _COSTS:
        for run in (report.base, report.new):
            data = None if run is None else run.measures.get(name)
            if run is not None and data is not None:
                rows.append([name, run.name, *(shown(data.get(k)) for k in
                                               ("mean", "p50", "p95", "sum"))])  # fmt: skip
    return head, rows


def status_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of answered, refused and failed questions."""
    head = ["questions", "run", "answered", "refused", "failed"]
    rows: list[list[str]] = []
    for unanswerable in (False, True):
        for run in (report.base, report.new):
            if run is None:
                continue
            found = Counter(s.status for s in run.scores if s.unanswerable == unanswerable)
            if found:
                label = "unanswerable" if unanswerable else "answerable"
                rows.append(
                    [label, run.name, *(str(found.get(k, 0)) for k in ("ok", "refused", "error"))]
                )
    return head, rows


def slice_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the slices."""
    head = ["slice", "n", "base", "new", "95 % interval of the difference"]
    return head, [
        [s.name, shown(s.n), shown(s.base), shown(s.new), bounds(s.low, s.high)]
        for s in report.slices
    ]


def warnings(report: Report) -> list[str]:
    """Return what a reader should know before believing the tables."""
    found: list[str] = []
    n_clusters = len({score.cluster for score in report.new.scores})
    if n_clusters < 20:
        found.append(
            f"The questions come from {n_clusters} independent groups (documents): intervals from "
            "fewer than 20 are too narrow."
        )
    for run in (report.base, report.new):
        if run is None:
            continue
        errors = sum(score.status == "error" for score in run.scores)
        if errors:
            found.append(f"{errors} questions of {run.name} failed and are in no mean.")
    if report.comparison is not None:
        missing = max((d.missing for d in report.comparison.differences), default=0)
        if missing:
            found.append(f"Up to {missing} questions have a value in one of the runs only.")
        configurations = [json.dumps(r.manifest["configuration"], sort_keys=True)
                          for r in (report.comparison.base, report.comparison.new)]  # fmt: skip
        if configurations[0] == configurations[1]:
            found.append("Both runs have the same configuration: differences are chance (A/A).")
    return found


def command_line(run: Run) -> str:
    """Return the command that makes the run again; unknown is a dash."""
    import shlex

    command = [str(part) for part in as_list(run.manifest.get("command") or ())]
    return shlex.join(command) if command else "–"


def markdown(report: Report) -> str:
    """Return the report as Markdown that fits a pull-request comment."""
    base, new = report.base, report.new
    title = new.name if base is None else f"{base.name} → {new.name}"
    parts = [
        f"## ragkit eval: {_cell(title)}",
        f"**{_cell(verdict_line(report))}**",
        _cell(gist(report)),
        _cell(f"{new.summary['dataset']}, {new.summary['split']}, {new.summary['n']} questions"),
        _table(*measure_table(report)),
    ]
    if report.gate is not None:
        parts += ["### Gate", _table(*gate_table(report.gate))]
    parts += [f"- {_cell(warning)}" for warning in warnings(report)]
    if report.sweep is not None:
        parts += ["### Quality against tokens", _table(*sweep_table(report.sweep))]
    parts += ["### Cost", _table(*cost_table(report)), _table(*status_table(report))]
    if report.slices:
        parts += ["### Slices", _table(*slice_table(report))]
    if report.worst:
        parts.append(f"### Worst {len(report.worst)} by {_cell(report.primary)}")
        parts += [_change_line(change) for change in report.worst]
    parts.append(f"Again: {_code(command_line(new))}")
    text = "\n\n".join(parts) + "\n"
    if len(text) > _MARKDOWN_LIMIT:
        text = text[:_MARKDOWN_LIMIT] + "\n\n… cut: the HTML report holds the rest\n"
    return text


def gate_table(gate: GateResult) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the gate's checks."""
    head = ["verdict", "check", "what was seen"]
    return head, [[c.verdict, f"{c.name} {c.kind}", c.detail] for c in gate.checks]


def sweep_table(sweep: Mapping[str, Json]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a sweep's curves: tokens each needs for the target."""
    head = ["curve", f"mean tokens for {sweep['target_text']}", "fewest that suffice, median",
            "p95", "reached by"]  # fmt: skip
    rows: list[list[str]] = []
    for series in as_objects(sweep["series"]):
        least = as_object(series["minimum_tokens"])
        reached = number_or_none(least["reached"])
        rows.append(
            [
                str(series["name"]),
                shown(series["tokens_at_target"]),
                shown(least["p50"]),
                shown(least["p95"]),
                "–" if reached is None else f"{reached:.1%}",
            ]
        )
    oracle = shown(sweep["oracle_tokens"])
    rows.append(["oracle: only the sentences that hold the evidence", oracle, "", "", ""])
    return head, rows


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


_MARKUP = re.compile(r"[\\`*|~]|(?<=\])\(|^[#>]|^\[(?=[^\]]*\]:)|^[-+](?=\s)|^\d+(?=[.)]\s)")
_HTML = re.compile(r"[&<]|(?<!\w)@(?=\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", "@": "@&#8203;"}


def _cell(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no mentions."""
    line = printable_line(text.replace("\n", " ").strip())
    return _HTML.sub(lambda match: _ENTITIES[match[0]], _MARKUP.sub(_escaped, line))


def _escaped(match: re.Match[str]) -> str:
    # The number that would begin a list is plain again when its stop is escaped.
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def _code(text: str) -> str:
    is_plain = not re.search("[`<]", text)
    return f"`{printable_line(text)}`" if is_plain else f"<code>{_cell(text)}</code>"


def _change_line(change: Change) -> str:
    gold = evidence_texts(change.new)
    before = "" if change.before is None else f"{shown(change.before)} → "
    wanted = f"; wanted: “{_cell(gold[0][:160])}”" if gold else ""
    return f"- {_cell(change.new.question)} ({before}{shown(change.after)}{wanted})"


def evidence_texts(score: Score) -> list[str]:
    """Return the texts of a question's evidence, else those that it needs, else its answers."""
    groups = as_list(score.evidence)
    texts = [str(span["text"]) for group in groups for span in as_objects(group)]
    needed = [alternatives[0] for alternatives in score.needs if alternatives]
    return list(dict.fromkeys(texts)) or needed or list(score.answers)


def junit(gate: GateResult) -> str:
    """Return the gate's checks as JUnit XML: failures, and what is inconclusive as errors."""
    failures = sum(check.verdict == "fail" for check in gate.checks)
    open_ones = sum(check.verdict == "inconclusive" for check in gate.checks)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="ragkit eval gate" tests="{len(gate.checks)}" failures="{failures}" '
        f'errors="{open_ones}">',
        *(_case(check) for check in gate.checks),
        "</testsuite>",
    ]
    return "\n".join(lines) + "\n"


def _case(check: Check) -> str:
    said = printable(check.detail)
    head = f"<testcase classname={quoteattr(check.kind)} name={quoteattr(printable(check.name))}"
    detail = quoteattr(said)
    if check.verdict == "pass":
        return f"  {head}><system-out>{escape(said)}</system-out></testcase>"
    tag = "failure" if check.verdict == "fail" else "error"
    return f"  {head}><{tag} type={quoteattr(check.verdict)} message={detail}/></testcase>"
