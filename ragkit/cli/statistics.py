"""`ragkit eval audit`, `aa` and `ppi`: what numbers of evaluations can mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from ragkit.cli import output, statistics_output
from ragkit.errors import ConfigError, ExitCode


def audit(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval audit`."""
    from ragkit_eval.stats.audit import audit as look

    found = look(args.n, args.value, args.base, clusters=args.clusters, icc=args.icc)
    output.show(found.to_dict(), statistics_output.audit_text, as_json=args.json)
    return ExitCode.DONE


def aa(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval aa`."""
    from ragkit_eval.reporting.flips import flip_rate
    from ragkit_eval.reporting.gate import Gate
    from ragkit_eval.running.finished import load_run

    found = flip_rate(
        Gate.load(args.policy),
        load_run(args.run),
        None if args.again is None else load_run(args.again),
        baseline=None if args.baseline is None else load_run(args.baseline),
        n_pairs=args.pairs,
    )
    output.show(found.to_dict(), statistics_output.aa_text, as_json=args.json)
    return found.exit_code


def ppi(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit eval ppi`."""
    from ragkit_eval.data.sheets import read_numbers
    from ragkit_eval.stats.prediction import powered_mean

    scores, documents = _scores(Path(args.scores), args.measure)
    labels, _ = read_numbers(Path(args.labels), "label")
    found = powered_mean(labels, scores, documents, confidence=args.confidence)
    output.show(found.to_dict(), statistics_output.ppi_text, as_json=args.json)
    return ExitCode.DONE


def _scores(place: Path, measure: str | None) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Return the score of each question that has one, and the documents where they are known."""
    from ragkit_eval.data.sheets import read_numbers
    from ragkit_eval.reporting.comparison import finite
    from ragkit_eval.running.finished import load_run

    if not place.is_dir():
        if measure is not None:
            raise ConfigError(f"--measure is for a run's folder; {place} is a file")
        return read_numbers(place, "score")
    run = load_run(place)
    if measure is None:
        raise ConfigError(f"--measure is needed; the run has {' '.join(run.measures)}")
    run.measure(measure)
    known = [(s, value) for s in run.scores if (value := finite(s, measure)) is not None]
    return {s.id: value for s, value in known}, {s.id: s.cluster for s, _ in known}


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "audit": audit,
    "aa": aa,
    "ppi": ppi,
}
