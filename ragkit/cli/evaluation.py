"""What each action of `ragkit eval` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ragkit.cli import output
from ragkit.cli.commands import names
from ragkit.config import MOST_TOKENS
from ragkit.errors import ConfigError
from ragkit.private import make_folder
from ragkit.text.jsontext import read_json
from ragkit.types import Json, Mode

if TYPE_CHECKING:
    from collections.abc import Generator

    from ragkit.config import Settings
    from ragkit_eval.data.datasets import Dataset
    from ragkit_eval.data.rows import Row
    from ragkit_eval.reporting.gate import GateResult
    from ragkit_eval.running.cache import Cache
    from ragkit_eval.running.finished import Run
    from ragkit_eval.running.stores import OpenedRag

DONE, SOME_FAILED = 0, 1
_MOST_NUMBERS = 10_000
_Shown: TypeAlias = Mapping[str, Any]
_Read: TypeAlias = "Callable[[argparse.Namespace], Settings]"


def validate(options: argparse.Namespace) -> int:
    """Run `ragkit eval validate`."""
    from ragkit_eval.data.validation import validate as look

    found = look(options.dataset, split=options.split)
    output.show(found.to_dict(), _validation_text, as_json=options.json)
    return SOME_FAILED if found.faults else DONE


def run(options: argparse.Namespace, read_settings: _Read) -> int:
    """Run `ragkit eval run`."""
    from ragkit.cli.progress import Bar
    from ragkit_eval.measuring.measures import default_measures, parse_measure
    from ragkit_eval.running.pipelines import RagPipeline
    from ragkit_eval.running.runs import default_folder, evaluate
    from ragkit_eval.running.stores import missing_documents

    dataset = read_dataset(options)
    asked = names(options.measures)
    measures = default_measures(dataset.questions) if asked is None else [
        parse_measure(name) for name in asked
    ]  # fmt: skip
    groups = names(options.groups)
    settings = read_settings(options)
    with open_rag(options, dataset, settings) as opened:
        missing = missing_documents(opened.rag, dataset, groups)
        if missing:
            output.tell(f"{missing} documents that the labels name are not in the store")
        pipeline = RagPipeline(opened.rag, measures, groups=groups, caches=opened.caches)
        configuration = pipeline.configuration()
        out = Path(options.out or default_folder(dataset, configuration))
        if options.dry_run:
            return _dry_run(options, opened, dataset, out)
        with Bar(options.progress, unit="questions") as bar:

            def advance(_done: int, total: int, row: Row) -> None:
                bar.note({"id": row.id}, row.status, total)

            done = evaluate(
                pipeline,
                dataset,
                measures=measures,
                out=out,
                configuration=configuration,
                cluster=options.cluster,
                restart=options.restart,
                seed=settings.seed or 0,
                command=["ragkit", *sys.argv[1:]],
                n_jobs=options.jobs,
                on_progress=advance,
            )
    output.show(done.summary, _run_text, as_json=options.json)
    failed = cast("Mapping[str, int]", done.summary["statuses"])["error"]
    return SOME_FAILED if failed else DONE


def _dry_run(options: argparse.Namespace, opened: OpenedRag, dataset: Dataset, out: Path) -> int:
    from ragkit_eval.running.estimate import estimate
    from ragkit_eval.running.runs import questions_left

    left = list(dataset.questions if options.restart else questions_left(out, dataset))
    found = estimate(
        opened.rag,
        left,
        calls_llm="generate" in opened.caches,
        n=len(dataset.questions),
        input_price=options.input_price,
        output_price=options.output_price,
        groups=names(options.groups),
    )
    data = {**found.to_dict(), "dataset": dataset.name, "split": dataset.split, "run": str(out)}
    output.show(data, _estimate_text, as_json=options.json)
    return DONE


def score(options: argparse.Namespace) -> int:
    """Run `ragkit eval score`."""
    from ragkit_eval.data.trec import read_qrels, read_run
    from ragkit_eval.measuring.measures import parse_measure
    from ragkit_eval.measuring.scoring import score as measure

    found = measure(
        read_run(Path(options.run)),
        read_qrels(Path(options.qrels)),
        [parse_measure(name) for name in names(options.measures) or ()],
        single_precision=options.single_precision,
    )
    data = {
        **found.to_dict(per_query=options.per_query),
        "run": str(options.run),
        "qrels": str(options.qrels),
    }
    output.show(data, _score_text, as_json=options.json)
    return DONE


def sweep(options: argparse.Namespace, read_settings: _Read) -> int:
    """Run `ragkit eval sweep`."""
    from ragkit.cli.progress import Bar
    from ragkit_eval.calibration.sweep import Grid
    from ragkit_eval.calibration.sweep import sweep as measure
    from ragkit_eval.running.folder import write_json

    dataset = read_dataset(options)
    trims = names(options.trim) or []
    grid = Grid(
        chunk_tokens=numbers("chunk-tokens", options.chunk_tokens),
        embedders=tuple(names(options.embedder) or [None]),
        modes=cast("tuple[Mode | None, ...]", _modes(options.mode)),
        depths=numbers("k", options.k),
        pools=numbers("pool", options.pool),
        scorers=tuple(names(options.scorer) or ()),
        second_hop=options.second_hop,
        budgets=() if options.budget is None else numbers("budget", options.budget),
        policies=tuple(name for name in trims if name != "off"),
    )
    # What the grid varies must not reach the settings, which take one value each.
    for name in ("k", "mode", "embedder", "trim", "chunk_tokens"):
        setattr(options, name, None)
    settings = read_settings(options)
    with _cache(options) as cache, Bar(options.progress, unit="steps") as bar:
        found = measure(
            dataset,
            settings,
            cache,
            grid,
            measure=options.measure,
            retain=options.retain,
            target=options.target,
            cluster=options.cluster,
            on_progress=lambda name, _done, _total: bar.note({"curve": name}, "questions"),
            on_ingest=lambda progress: bar.note({"document_id": progress.document_id}, "documents"),
            notify=output.tell,
        )
    data = found.to_dict()
    if options.out is not None:
        _parent(options.out)
        write_json(Path(options.out), data)
    output.show(data, _sweep_text, as_json=options.json)
    return DONE


def compare(options: argparse.Namespace) -> int:
    """Run `ragkit eval compare`."""
    from ragkit_eval.reporting.comparison import compare as measure
    from ragkit_eval.running.finished import load_run

    found = measure(
        load_run(options.base),
        load_run(options.new),
        measures=names(options.measures),
        margin=options.margin,
        force=options.force,
    )
    output.show(found.to_dict(), _comparison_text, as_json=options.json)
    return DONE


def gate(options: argparse.Namespace) -> int:
    """Run `ragkit eval gate`."""
    from ragkit_eval.reporting.report import junit, make_report, markdown
    from ragkit_eval.running.finished import load_run

    new = load_run(options.run)
    base = None if options.baseline is None else load_run(options.baseline)
    result = _judge(options.policy, new, base)
    if options.junit is not None:
        _write(options.junit, junit(result), for_all=True)
    if options.summary is not None:
        comparable = base is not None and base.dataset_sha256 == new.dataset_sha256
        report = make_report(new, base=base if comparable else None, gate=result)
        _write(options.summary, markdown(report))
    output.show(result.to_dict(), _gate_text, as_json=options.json)
    return result.exit_code


def report(options: argparse.Namespace) -> int:
    """Run `ragkit eval report`."""
    from ragkit_eval.reporting.page import html
    from ragkit_eval.reporting.report import junit, make_report, markdown
    from ragkit_eval.running.finished import load_run

    if len(options.runs) > 2:
        raise ConfigError(f"{len(options.runs)} runs; allowed: one, or a base and a new one")
    runs = [load_run(folder) for folder in options.runs]
    base = runs[0] if len(runs) == 2 else None
    verdict = None if options.policy is None else _judge(options.policy, runs[-1], base)
    if options.junit is not None and verdict is None:
        raise ConfigError("--junit needs a gate: --policy FILE")
    made = make_report(
        runs[-1],
        base=base,
        gate=verdict,
        sweep=None if options.sweep is None else _read_sweep(options.sweep),
        primary=options.by,
        slice_by=options.slice,
        margin=options.margin,
        force=options.force,
    )
    text = markdown(made)
    wrote: list[Json] = []
    for path, content in (
        (options.html, html(made) if options.html else ""),
        (options.markdown, text),
        (options.junit, junit(verdict) if verdict is not None else ""),
    ):
        if path is not None:
            _write(path, content, for_all=path == options.junit)
            wrote.append(path)
    data: dict[str, Json] = {
        "schema": 1,
        "verdict": None if verdict is None else verdict.verdict,
        "wrote": wrote,
        "primary": made.primary,
        "worst": [
            {
                "id": change.new.id,
                "question": change.new.question,
                "before": change.before,
                "after": change.after,
            }
            for change in made.worst
        ],
    }

    def as_text(_: _Shown) -> str:
        return "\n".join(f"wrote {path}" for path in wrote) or text.rstrip("\n")

    output.show(data, as_text, as_json=options.json)
    return DONE


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "validate": validate,
    "score": score,
    "compare": compare,
    "gate": gate,
    "report": report,
}
ASKING: Mapping[str, Callable[[argparse.Namespace, _Read], int]] = {"run": run, "sweep": sweep}


def read_dataset(options: argparse.Namespace) -> Dataset:
    """Return the dataset of a command's options."""
    from ragkit_eval.data.datasets import Needed, load_dataset

    dataset = load_dataset(
        options.dataset, split=options.split, needed=cast("Needed", options.evidence)
    )
    return dataset.limited(options.limit)


@contextmanager
def _cache(options: argparse.Namespace) -> Generator[Cache]:
    from ragkit_eval.running.cache import Cache

    with Cache(options.cache) as cache:
        yield cache


@contextmanager
def open_rag(
    options: argparse.Namespace, dataset: Dataset, settings: Settings
) -> Generator[OpenedRag]:
    """Open a pipeline over the dataset's documents, or over the store that was named."""
    from ragkit.cli.progress import Bar
    from ragkit_eval.running.stores import OpenedRag

    with _cache(options) as cache:
        # The ingest's progress is people's; programs follow the questions.
        with Bar("off" if options.progress == "json" else options.progress) as bar:
            opened = OpenedRag(
                dataset,
                settings,
                cache,
                store=options.store or _own_store(dataset, settings),
                notify=output.tell,
                on_progress=bar.advance,
            )
        with opened:
            yield opened


def _own_store(dataset: Dataset, settings: Settings) -> str | None:
    """Return the user's store for labels that come without documents, where there is one."""
    from ragkit.storage.database import has_store

    if dataset.corpus is not None or dataset.documents:
        return None
    return settings.store if has_store(Path(settings.store)) else None


def _judge(policy: str, new: Run, base: Run | None) -> GateResult:
    from ragkit_eval.reporting.gate import Gate

    return Gate.load(policy).check(new, baseline=base)


def _read_sweep(path: str) -> Mapping[str, Json]:
    try:
        data = read_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"sweep {path} cannot be read: {error}") from error
    sweep: Mapping[str, Json] = {}
    if isinstance(data, dict):
        sweep = cast("Mapping[str, Json]", data)
    series = cast("Sequence[Mapping[str, Json]]", sweep.get("series", ()))
    known = {"measure", "target", "target_text", "baseline", "oracle_tokens"} <= set(sweep)
    inside = {"name", "trimmed", "tokens_at_target", "minimum_tokens", "points"}
    if not known or not series or not all(inside <= set(entry) for entry in series):
        raise ConfigError(f"{path} is not what ragkit eval sweep --out writes")
    return sweep


def _write(path: str, text: str, *, for_all: bool = False) -> None:
    """Write a report; the verdicts of a gate are for all, whatever holds questions is not."""
    from ragkit_eval.running.folder import write_text

    _parent(path)
    write_text(Path(path), text, for_all=for_all)


def _parent(path: str) -> None:
    make_folder(Path(path).parent)


def _modes(text: str | None) -> tuple[str | None, ...]:
    modes = names(text) or []
    for name in modes:
        if name not in {"dense", "lexical", "hybrid"}:
            raise ConfigError(f"mode {name!r}; allowed: dense lexical hybrid")
    return tuple(modes) or (None,)


def numbers(name: str, text: str) -> tuple[int, ...]:
    """Return the numbers of `1,5`, `1:40`, `1:41:10` or `16:1024:x2`."""
    found: list[int] = []
    try:
        for part in text.split(","):
            ends = part.split(":")
            if len(ends) == 1:
                found.append(int(ends[0]))
                continue
            first, last = int(ends[0]), int(ends[1])
            step = ends[2] if len(ends) == 3 else "1"
            while first <= last:
                found.append(first)
                if len(found) > _MOST_NUMBERS:
                    raise ConfigError(f"--{name} {text!r}; allowed: {_MOST_NUMBERS:,} numbers")
                following = round(first * float(step[1:])) if step[0] == "x" else first + int(step)
                if following <= first:
                    raise ValueError(step)
                first = following
    except ConfigError:
        raise
    except (ValueError, IndexError, OverflowError):
        raise ConfigError(f"--{name} {text!r}; allowed: 1,5 or 1:40 or 1:64:x2") from None
    if any(not 1 <= number <= MOST_TOKENS for number in found):
        raise ConfigError(f"--{name} {text!r}; allowed: numbers of 1 to {MOST_TOKENS:,}")
    return tuple(dict.fromkeys(found))


def _validation_text(data: _Shown) -> str:
    lines = [f"{f['code']}  {f['where']}: {f['detail']}" for f in data["faults"]]
    lines.append(
        f"{data['dataset']}, {data['split']}: {data['n_questions']} questions, "
        f"{data['n_judgements']} judgements, {data['n_spans']} spans"
    )
    lines.append("sound" if data["sound"] else f"{len(data['faults'])} faults")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    from ragkit_eval.reporting.formatting import shown

    return shown(value)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _interval(data: _Shown) -> str:
    return f"[{_number(data['low'])}, {_number(data['high'])}]"


def _run_text(data: _Shown) -> str:
    rows = [["measure", "mean", "95 % interval", "n", "p95", "detectable", "n needed"]]
    for name, m in data["measures"].items():
        rows.append(
            [name, _number(m["mean"]), _interval(m), str(m["n"]), _number(m.get("p95")),
             _number(m["minimum_detectable"]), _number(m["n_needed"])]
        )  # fmt: skip
    statuses = ", ".join(f"{n} {name}" for name, n in data["statuses"].items())
    head = f"{data['dataset']}, {data['split']}: {data['n']} questions ({statuses})"
    return f"{head}\n{_columns(rows)}\nrun {data['run']}"


def _estimate_text(data: _Shown) -> str:
    def band(value: _Shown | None) -> str:
        return (
            "unknown" if value is None else f"{_number(value['low'])} to {_number(value['high'])}"
        )

    return (
        f"{data['left']} of {data['n']} questions left to ask; estimated from {data['sampled']}:\n"
        f"LLM calls {data['llm_calls']:,}\ninput tokens {data['input_tokens']:,}\n"
        f"output tokens {band(data['output_tokens'])}\ncost {band(data['cost'])}\n"
        f"energy of the model, joules {band(data['joules'])}"
    )


def _score_text(data: _Shown) -> str:
    rows = [["measure", "mean", "95 % interval", "n"]]
    for name, m in data["measures"].items():
        mean = "–" if m["mean"] is None else f"{m['mean']:.5f}"
        rows.append([name, mean, _interval(m), str(m["n"])])
    tail = f"{data['missing']} judged queries are not in the run (they count as 0)"
    return f"{_columns(rows)}\n{tail}"


def _sweep_text(data: _Shown) -> str:
    rows = [["curve", "tokens for target", "fewest that suffice, median", "p95", "reached by"]]
    for series in data["series"]:
        least = series["minimum_tokens"]
        share = "–" if least["reached"] is None else f"{least['reached']:.1%}"
        rows.append(
            [series["name"], _number(series["tokens_at_target"]), _number(least["p50"]),
             _number(least["p95"]), share]
        )  # fmt: skip
    front = [["", "tokens", data["measure"], "95 % interval", "setting"]]
    chosen, base = data["chosen"], data["baseline"]
    enough = 1.0 if base is None else base["quality"]
    for point in data["front"]:
        mark = "*" if chosen is not None and point["setting"] == chosen["setting"] else ""
        setting = " ".join(f"{k}={v}" for k, v in point["setting"].items() if v is not None)
        front.append(
            [mark, _number(round(point["tokens"])), _number(point["quality"]), _interval(point),
             setting]
        )  # fmt: skip
        if point["quality"] >= max(enough, data["target"]):
            break
    lines = [f"{data['dataset']}, {data['split']}: {data['n']} questions"]
    if base is not None:
        lines.append(
            f"baseline (untrimmed top 5): {_number(base['quality'])} at "
            f"{_number(round(base['tokens']))} tokens"
        )
    lines.append(f"target: {data['target_text']}, {_number(data['target'])}")
    if data["oracle_tokens"] is not None:
        lines.append(
            f"oracle (only the sentences that hold the evidence): {_number(data['oracle_tokens'])}"
        )
    lines += ["", _columns(rows), "",
              "Pareto front up to the baseline; * is the cheapest that reaches the target",
              _columns(front), "",
              "Chosen on these questions: not a certificate. Detectable difference "
              f"{_number(data['minimum_detectable'])}."]  # fmt: skip
    return "\n".join(lines)


def _comparison_text(data: _Shown) -> str:
    head = ["measure", "base", "new", "difference", "95 % interval", "p (Holm)", "", "detectable",
            "n needed", "n"]  # fmt: skip
    rows = [head]
    for name, d in data["measures"].items():
        rows.append(
            [name, _number(d["base"]), _number(d["new"]), _number(d["difference"]), _interval(d),
             _number(d["p_holm"]), d["verdict"], _number(d["minimum_detectable"]),
             _number(d["n_needed"]), str(d["n"])]
        )  # fmt: skip
    groups = f"{data['n']} questions in {data['clusters']} groups"
    return f"{_columns(rows)}\n{groups}"


def _gate_text(data: _Shown) -> str:
    lines = [f"{c['verdict']:12} {c['name']} {c['kind']}: {c['detail']}" for c in data["checks"]]
    return "\n".join([*lines, f"gate: {data['verdict']}"])
