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


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {"audit": audit}
