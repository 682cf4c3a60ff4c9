"""The actions of `ragkit eval`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.cli import eval_output, output
from ragkit.cli.datasets import open_cache, open_over, read_dataset, with_documents
from ragkit.cli.options import modes, n_at_once, names, numbers, settings_of
from ragkit.errors import ConfigError, ExitCode, RagkitError
from ragkit.narrowing import is_array, is_object
from ragkit.private import make_folder
from ragkit.text.jsontext import read_json
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit_eval.calibration.sweep import Grid
    from ragkit_eval.data.datasets import Dataset
    from ragkit_eval.data.rows import Row
    from ragkit_eval.reporting.gate import GateResult
    from ragkit_eval.reporting.report import Report
    from ragkit_eval.reporting.sequential import Scope
    from ragkit_eval.running.finished import Run
    from ragkit_eval.running.stores import OpenedRag


def validate(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval validate`."""
    from ragkit_eval.data.validation import validate as look

    found = look(args.dataset, split=args.split)
    output.show(found.to_dict(), eval_output.validation_text, as_json=args.json)
    return ExitCode.SOME_FAILED if found.faults else ExitCode.DONE


def run(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval run`."""
    from ragkit.cli.batching import open_batched
    from ragkit.cli.progress import Bar
    from ragkit_eval.measuring.measures import default_measures, parse_measure
    from ragkit_eval.running.pipelines import RagPipeline
    from ragkit_eval.running.runs import default_folder, evaluate, questions_left
    from ragkit_eval.running.stores import missing_documents

    dataset = read_dataset(args)
    asked = names(args.measures)
    measures = default_measures(dataset.questions) if asked is None else [
        parse_measure(name) for name in asked
    ]  # fmt: skip
    groups = names(args.groups)
    settings = settings_of(args)
    batched = None if args.dry_run else open_batched(settings, Path(args.cache) / "batch")
    with open_over(dataset, args, settings, generator=batched) as opened:
        missing = missing_documents(opened.rag, dataset, groups)
        if missing:
            output.tell(f"{missing} documents that the labels name are not in the store")
        pipeline = RagPipeline(opened.rag, measures, groups=groups, caches=opened.caches)
        configuration = pipeline.configuration()
        out = Path(args.out or default_folder(dataset, configuration))
        if args.dry_run:
            return _dry_run(args, opened, dataset, out)
        if batched is not None:
            for question in dataset.questions if args.restart else questions_left(out, dataset):
                with suppress(RagkitError):
                    pipeline.ask(question)
            batched.answer_all()
        with Bar(args.progress, unit="questions") as bar:

            def advance(_done: int, total: int, row: Row) -> None:
                bar.note({"id": row.id}, row.status, total)

            done = evaluate(
                pipeline,
                dataset,
                measures=measures,
                out=out,
                configuration=configuration,
                cluster=args.cluster,
                restart=args.restart,
                seed=settings.seed or 0,
                command=["ragkit", *sys.argv[1:]],
                n_jobs=n_at_once(args.jobs, settings),
                on_progress=advance,
            )
    output.show(done.summary, eval_output.run_text, as_json=args.json)
    failed = any(score.status == "error" for score in done.scores)
    return ExitCode.SOME_FAILED if failed else ExitCode.DONE


def _dry_run(args: argparse.Namespace, opened: OpenedRag, dataset: Dataset, out: Path) -> ExitCode:
    from ragkit_eval.running.estimate import estimate
    from ragkit_eval.running.runs import questions_left

    left = list(dataset.questions if args.restart else questions_left(out, dataset))
    found = estimate(
        opened.rag,
        left,
        calls_llm="generate" in opened.caches,
        n=len(dataset.questions),
        input_price=args.input_price,
        output_price=args.output_price,
        groups=names(args.groups),
    )
    data = {**found.to_dict(), "dataset": dataset.name, "split": dataset.split, "run": str(out)}
    output.show(data, eval_output.estimate_text, as_json=args.json)
    return ExitCode.DONE


def score(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval score`."""
    from ragkit_eval.data.trec import read_qrels, read_run
    from ragkit_eval.measuring.measures import parse_measure
    from ragkit_eval.measuring.scoring import score as measure

    found = measure(
        read_run(Path(args.run)),
        read_qrels(Path(args.qrels)),
        [parse_measure(name) for name in names(args.measures) or ()],
        single_precision=args.single_precision,
    )
    data = {**found.to_dict(per_query=args.per_query), "run": args.run, "qrels": args.qrels}
    output.show(data, eval_output.score_text, as_json=args.json)
    return ExitCode.DONE


def sweep(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval sweep`."""
    from ragkit.cli.progress import Bar
    from ragkit_eval.calibration.sweep import sweep as measure
    from ragkit_eval.running.folder import write_json

    grid = _grid(args)
    # The grid varies these; as settings they would take one value each.
    settings = settings_of(args, k=None, mode=None, embedder=None, trim=None, chunk_tokens=None)
    dataset, settings = with_documents(read_dataset(args), args, settings)
    with open_cache(args) as cache, Bar(args.progress, unit="steps") as bar:
        found = measure(
            dataset,
            settings,
            cache,
            grid,
            measure=args.measure,
            retain=args.retain,
            target=args.target,
            cluster=args.cluster,
            on_progress=lambda name, _done, _total: bar.note({"curve": name}, "questions"),
            on_ingest=lambda progress: bar.note({"document_id": progress.document_id}, "documents"),
            notify=output.tell,
        )
    data = found.to_dict()
    if args.out is not None:
        make_folder(Path(args.out).parent)
        write_json(Path(args.out), data)
    output.show(data, eval_output.sweep_text, as_json=args.json)
    return ExitCode.DONE


def _grid(args: argparse.Namespace) -> Grid:
    from ragkit_eval.calibration.sweep import Grid

    return Grid(
        chunk_tokens=numbers("chunk-tokens", args.chunk_tokens),
        embedders=tuple(names(args.embedder) or [None]),
        modes=modes(args.mode),
        depths=numbers("k", args.k),
        pools=numbers("pool", args.pool),
        scorers=tuple(names(args.scorer) or ()),
        second_hop=args.second_hop,
        budgets=() if args.budget is None else numbers("budget", args.budget),
        policies=tuple(name for name in names(args.trim) or [] if name != "off"),
    )


def compare(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval compare`."""
    from ragkit_eval.reporting.comparison import compare as measure
    from ragkit_eval.running.finished import load_run

    found = measure(
        load_run(args.base),
        load_run(args.new),
        measures=names(args.measures),
        margin=args.margin,
        force=args.force,
    )
    output.show(found.to_dict(), eval_output.comparison_text, as_json=args.json)
    return ExitCode.DONE


def gate(args: argparse.Namespace) -> int:
    """Run `ragkit eval gate`."""
    from ragkit_eval.reporting.report import junit, make_report, markdown
    from ragkit_eval.running.finished import load_run

    new = load_run(args.run)
    base = None if args.baseline is None else load_run(args.baseline)
    if args.scope is not None and not args.sequential:
        raise ConfigError("--scope is what a --sequential gate is about")
    result = _judge(args.policy, new, base, scope=args.scope or "new" if args.sequential else None)
    if args.junit is not None:
        _write(args.junit, junit(result), for_all=True)
    if args.summary is not None:
        comparable = base is not None and base.dataset_sha256 == new.dataset_sha256
        made = make_report(new, base=base if comparable else None, gate=result)
        _write(args.summary, markdown(made))
    output.show(result.to_dict(), eval_output.gate_text, as_json=args.json)
    return result.exit_code


def report(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval report`."""
    from ragkit_eval.reporting.page import html
    from ragkit_eval.reporting.report import junit, make_report, markdown
    from ragkit_eval.running.finished import load_run

    if len(args.runs) > 2:
        raise ConfigError(f"{len(args.runs)} runs; allowed: one, or a base and a new one")
    runs = [load_run(folder) for folder in args.runs]
    base = runs[0] if len(runs) == 2 else None
    verdict = None if args.policy is None else _judge(args.policy, runs[-1], base)
    if args.junit is not None and verdict is None:
        raise ConfigError("--junit needs a gate: --policy FILE")
    made = make_report(
        runs[-1],
        base=base,
        gate=verdict,
        sweep=None if args.sweep is None else _read_sweep(args.sweep),
        primary=args.by,
        slice_by=args.slice,
        margin=args.margin,
        force=args.force,
    )
    text = markdown(made)
    wrote: list[Json] = []
    for path, content in (
        (args.html, html(made) if args.html else ""),
        (args.markdown, text),
        (args.junit, junit(verdict) if verdict is not None else ""),
    ):
        if path is not None:
            _write(path, content, for_all=path == args.junit)
            wrote.append(path)

    def as_text(_: output.Shown) -> str:
        return "\n".join(f"wrote {path}" for path in wrote) or text.rstrip("\n")

    output.show(_report_data(made, verdict, wrote), as_text, as_json=args.json)
    return ExitCode.DONE


def _report_data(made: Report, verdict: GateResult | None, wrote: list[Json]) -> dict[str, Json]:
    return {
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


def label(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval label`."""
    from ragkit.cli.labelling import label as run

    return run(args)


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "label": label,
    "validate": validate,
    "run": run,
    "score": score,
    "sweep": sweep,
    "compare": compare,
    "gate": gate,
    "report": report,
}


def _judge(policy: str, new: Run, base: Run | None, *, scope: Scope | None = None) -> GateResult:
    """Return a gate's verdict; sequential where a scope is given."""
    from ragkit_eval.reporting.gate import Gate

    rules = Gate.load(policy)
    if scope is not None:
        from ragkit_eval.reporting.sequential import judge_sequentially

        return judge_sequentially(rules, new, baseline=base, scope=scope)
    return rules.check(new, baseline=base)


def _read_sweep(path: str) -> Mapping[str, Json]:
    try:
        sweep = read_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"sweep {path} cannot be read: {error}") from error
    if not is_object(sweep) or not sweep.keys() >= _SWEEP_KEYS or not _are_series(sweep["series"]):
        raise ConfigError(f"{path} is not what ragkit eval sweep --out writes")
    return sweep


_SWEEP_KEYS = {"series", "measure", "target", "target_text", "baseline", "oracle_tokens"}
_SERIES_KEYS = {"name", "trimmed", "tokens_at_target", "minimum_tokens", "points"}


def _are_series(found: Json) -> bool:
    """Whether these are curves of a sweep, and at least one."""
    return (
        is_array(found)
        and bool(found)
        and all(is_object(entry) and entry.keys() >= _SERIES_KEYS for entry in found)
    )


def _write(path: str, text: str, *, for_all: bool = False) -> None:
    """Write a report; `for_all` lets other users read it, for what holds no questions."""
    from ragkit_eval.running.folder import write_text

    make_folder(Path(path).parent)
    write_text(Path(path), text, for_all=for_all)
