"""The actions of `ragkit ledger`."""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.brief import counted
from ragkit.cli import ledger_output, output
from ragkit.cli.options import settings_of
from ragkit.costs.ledger import read_ledger, summarise
from ragkit.costs.ledger_files import has_ledger, without_repeats
from ragkit.errors import ConfigError, ExitCode
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit.costs.grouping import Groups
    from ragkit.costs.ledger import Summary

_NAME = "ledger.jsonl"


def report(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger report`."""
    from ragkit.costs.business import joined, read_metric
    from ragkit.costs.grouping import group

    metric = None if args.business is None else read_metric(Path(args.business))
    paths = named_ledgers(args)
    if args.html is not None:
        return _page(args, paths)
    groups = group(records_of(paths), args.by or "day", with_days=metric is not None)
    total = groups.total()
    business = None if metric is None else joined(metric, groups.days)
    data = _report_data(args, groups, total, business)
    output.show(data, lambda shown: ledger_output.report_text(total, shown), as_json=args.json)
    return ExitCode.DONE


def _page(args: argparse.Namespace, paths: Sequence[Path]) -> ExitCode:
    from ragkit.costs.business import joined, read_metric
    from ragkit.costs.grouping import Groups
    from ragkit_eval.reporting.ledger_drift import Drift
    from ragkit_eval.reporting.ledger_page import ledger_html

    groups, drift = Groups(by=args.by or "day", with_days=True), Drift()
    for record in records_of(paths, with_stages=True):
        groups.add(record)
        drift.add(record)
    business = None
    if args.business is not None:
        business = joined(read_metric(Path(args.business)), groups.days)
    sources = [path.name for path in paths]
    page = ledger_html(groups, sources=sources, drift=drift, business=business)
    Path(args.html).write_text(page, encoding="utf-8", errors="backslashreplace")
    data = {**_report_data(args, groups, groups.total(), business), "html": args.html}
    output.show(data, lambda _: f"wrote {args.html}", as_json=args.json)
    return ExitCode.DONE


def _report_data(
    args: argparse.Namespace, groups: Groups, total: Summary, business: Json
) -> dict[str, Json]:
    data: dict[str, Json] = {**total.to_dict()}
    if args.by is not None:
        data["by"] = args.by
        data["groups"] = [{"key": key, **s.to_dict()} for key, s in groups.groups.items()]
    if business is not None:
        data["business"] = business
    return data


def diff(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger diff`."""
    from ragkit_eval.reporting.ledger_diff import differences, gather

    a, b = (gather(read_ledger(find_ledger(name))) for name in (args.a, args.b))
    found = differences(a, b)
    data: dict[str, Json] = {
        "schema": 1,
        "a": args.a,
        "b": args.b,
        "confidence": 0.95,
        "differences": [difference.to_dict() for difference in found],
    }
    output.show(data, ledger_output.diff_text, as_json=args.json)
    is_known = any(difference.verdict != "too few" for difference in found)
    return ExitCode.DONE if is_known else ExitCode.INCONCLUSIVE


def sci(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger sci`."""
    from ragkit.costs.sci import BOUNDARY, COUNTED, NOT_COUNTED, intensity
    from ragkit_eval.stats.inference import clopper_pearson

    found = intensity(records_of(named_ledgers(args)), args.unit)
    share, good, judged = None, 0, 0
    if found.good_share is not None:
        good, judged = found.good_share
        low, high = clopper_pearson(good, judged)
        share = (low, good / judged, high)
    grams, joules = found.per_unit(share)
    data: dict[str, Json] = {
        "schema": 1,
        "unit": args.unit,
        "units": found.units,
        "boundary": BOUNDARY,
        "counted": list(COUNTED),
        "not_counted": sorted({*NOT_COUNTED, *found.not_counted}),
        "g_per_unit": grams,
        "joules_per_unit": joules,
        "units_with_carbon": found.carbon_units,
        "correct": None if share is None else {
            "good": good, "judged": judged, "share": share[1], "low": share[0], "high": share[2],
            "interval": "Clopper-Pearson, 0.95",
        },
        "notes": list(found.notes()),
    }  # fmt: skip
    output.show(data, ledger_output.sci_text, as_json=args.json)
    return ExitCode.DONE


def pay_back(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger break-even`."""
    from ragkit.costs.break_even import break_even
    from ragkit_eval.reporting.ledger_page import break_even_text

    found = break_even(summarise(records_of(named_ledgers(args), with_stages=True)))
    output.show(found.to_dict(), lambda _: break_even_text(found), as_json=args.json)
    return ExitCode.DONE


def drift(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger drift`."""
    from ragkit_eval.reporting.ledger_drift import drift as watch
    from ragkit_eval.reporting.ledger_page import drift_lines

    found = watch(records_of(named_ledgers(args)))
    output.show(found.to_dict(), lambda _: "\n".join(drift_lines(found)), as_json=args.json)
    return ExitCode.DONE


def named_ledgers(args: argparse.Namespace) -> list[Path]:
    """Return the ledgers that are named, or the one of the settings."""
    if args.ledgers:
        named = [find_ledger(name) for name in args.ledgers]
        paths = without_repeats(named)
        if len(paths) < len(named):
            output.tell(
                f"{counted(len(named) - len(paths), 'ledger')} named twice, or part of another "
                "that is named; each is counted once"
            )
        return paths
    settings = settings_of(args)
    return [find_ledger(settings.ledger or str(Path(settings.store) / _NAME))]


def find_ledger(name: str) -> Path:
    """Return a ledger by its file or its store's folder; raises `ConfigError` without one."""
    path = Path(name)
    path = path / _NAME if path.is_dir() else path
    if not has_ledger(path):
        raise ConfigError(f"there is no ledger at {path}; ask a question first, or use --ledger")
    return path


def records_of(paths: Sequence[Path], *, with_stages: bool = False) -> Iterator[dict[str, Json]]:
    """Yield the lines of several ledgers, one after the other."""
    read = functools.partial(read_ledger, with_stages=with_stages)
    return itertools.chain.from_iterable(map(read, paths))


def emf(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger emf`."""
    from ragkit_connectors.monitors.emf import emf_line

    for line in filter(None, map(emf_line, records_of(named_ledgers(args)))):
        output.write(f"{line}\n")
    return ExitCode.DONE


def reconcile(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger reconcile`."""
    from ragkit.cli.monitors import reconcile as run

    return run(args)


ACTIONS: Mapping[str, Callable[[argparse.Namespace], ExitCode]] = {
    "report": report,
    "diff": diff,
    "sci": sci,
    "break-even": pay_back,
    "drift": drift,
    "emf": emf,
    "reconcile": reconcile,
}
