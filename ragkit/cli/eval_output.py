"""Results of `ragkit eval` as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.cli.output import Shown


def validation_text(data: Shown) -> str:
    """Return the faults of a dataset."""
    lines = [f"{f['code']}  {f['where']}: {f['detail']}" for f in data["faults"]]
    lines.append(
        f"{data['dataset']}, {data['split']}: {data['n_questions']} questions, "
        f"{data['n_judgements']} judgements, {data['n_spans']} spans"
    )
    lines.append("sound" if data["sound"] else f"{len(data['faults'])} faults")
    return "\n".join(lines)


def run_text(data: Shown) -> str:
    """Return the measures of a run."""
    rows = [["measure", "mean", "95 % interval", "n", "p95", "detectable", "n needed"]]
    for name, m in data["measures"].items():
        rows.append(
            [name, _shown(m["mean"]), _interval(m), str(m["n"]), _shown(m.get("p95")),
             _shown(m["minimum_detectable"]), _shown(m["n_needed"])]
        )  # fmt: skip
    statuses = ", ".join(f"{n} {name}" for name, n in data["statuses"].items())
    head = f"{data['dataset']}, {data['split']}: {data['n']} questions ({statuses})"
    return f"{head}\n{_columns(rows)}\nrun {data['run']}"


def estimate_text(data: Shown) -> str:
    """Return what a run would take."""

    def band(value: Shown | None) -> str:
        return "unknown" if value is None else f"{_shown(value['low'])} to {_shown(value['high'])}"

    return (
        f"{data['left']} of {data['n']} questions left to ask; estimated from {data['sampled']}:\n"
        f"LLM calls {data['llm_calls']:,}\ninput tokens {data['input_tokens']:,}\n"
        f"output tokens {band(data['output_tokens'])}\ncost {band(data['cost'])}\n"
        f"energy of the model, joules {band(data['joules'])}"
    )


def score_text(data: Shown) -> str:
    """Return the measures of a TREC run."""
    rows = [["measure", "mean", "95 % interval", "n"]]
    for name, m in data["measures"].items():
        mean = "–" if m["mean"] is None else f"{m['mean']:.5f}"
        rows.append([name, mean, _interval(m), str(m["n"])])
    tail = f"{data['missing']} judged queries are not in the run (they count as 0)"
    return f"{_columns(rows)}\n{tail}"


def sweep_text(data: Shown) -> str:
    """Return the curves of a sweep, and its Pareto front."""
    rows = [["curve", "tokens for target", "fewest that suffice, median", "p95", "reached by"]]
    for series in data["series"]:
        least = series["minimum_tokens"]
        share = "–" if least["reached"] is None else f"{least['reached']:.1%}"
        rows.append(
            [series["name"], _shown(series["tokens_at_target"]), _shown(least["p50"]),
             _shown(least["p95"]), share]
        )  # fmt: skip
    front = [["", "tokens", data["measure"], "95 % interval", "setting"]]
    chosen, base = data["chosen"], data["baseline"]
    enough = 1.0 if base is None else base["quality"]
    for point in data["front"]:
        mark = "*" if chosen is not None and point["setting"] == chosen["setting"] else ""
        setting = " ".join(f"{k}={v}" for k, v in point["setting"].items() if v is not None)
        front.append(
            [mark, _shown(round(point["tokens"])), _shown(point["quality"]), _interval(point),
             setting]
        )  # fmt: skip
        if point["quality"] >= max(enough, data["target"]):
            break
    lines = [f"{data['dataset']}, {data['split']}: {data['n']} questions"]
    if base is not None:
        lines.append(
            f"baseline (untrimmed top 5): {_shown(base['quality'])} at "
            f"{_shown(round(base['tokens']))} tokens"
        )
    lines.append(f"target: {data['target_text']}, {_shown(data['target'])}")
    if data["oracle_tokens"] is not None:
        lines.append(
            f"oracle (only the sentences that hold the evidence): {_shown(data['oracle_tokens'])}"
        )
    lines += ["", _columns(rows), "",
              "Pareto front up to the baseline; * is the cheapest that reaches the target",
              _columns(front), "",
              "Chosen on these questions: not a certificate. Detectable difference "
              f"{_shown(data['minimum_detectable'])}."]  # fmt: skip
    return "\n".join(lines)


def comparison_text(data: Shown) -> str:
    """Return the differences of two runs."""
    head = ["measure", "base", "new", "difference", "95 % interval", "p (Holm)", "", "detectable",
            "n needed", "n"]  # fmt: skip
    rows = [head]
    for name, d in data["measures"].items():
        rows.append(
            [name, _shown(d["base"]), _shown(d["new"]), _shown(d["difference"]), _interval(d),
             _shown(d["p_holm"]), d["verdict"], _shown(d["minimum_detectable"]),
             _shown(d["n_needed"]), str(d["n"])]
        )  # fmt: skip
    groups = f"{data['n']} questions in {data['clusters']} groups"
    return f"{_columns(rows)}\n{groups}"


def gate_text(data: Shown) -> str:
    """Return the checks of a gate, and its verdict."""
    lines = [f"{c['verdict']:12} {c['name']} {c['kind']}: {c['detail']}" for c in data["checks"]]
    if "n_used" in data:
        early = "stopped early" if data["stopped_early"] else "all were read"
        about = "this run alone" if data["scope"] == "run" else "new questions like these"
        lines.append(
            f"about {about}: {data['n_used']:,} of {data['n']:,} questions, "
            f"{data['n_documents_used']:,} of {data['n_documents']:,} documents, in the order of "
            f"seed {data['seed']}; {early}"
        )
    return "\n".join([*lines, f"gate: {data['verdict']}"])


def _shown(value: float | None) -> str:
    """Return a number as reports show it."""
    from ragkit_eval.reporting.formatting import shown

    return shown(value)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _interval(data: Shown) -> str:
    return f"[{_shown(data['low'])}, {_shown(data['high'])}]"
