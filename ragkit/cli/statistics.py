"""`ragkit eval audit`, `aa` and `ppi`: what numbers of evaluations can mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from ragkit.cli import output, statistics_output
from ragkit.errors import ExitCode


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


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {"audit": audit, "aa": aa}
