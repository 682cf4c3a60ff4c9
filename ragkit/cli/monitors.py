"""`ragkit monitor` and `ragkit ledger reconcile`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.cli import output
from ragkit.errors import ConfigError, ExitCode
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit_connectors.monitors.reconcile import Booked
    from ragkit_connectors.monitors.rows import Sample


def monitor(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit monitor`."""
    samples = _MONITORS[args.action](args)
    rows: Iterable[Mapping[str, Json]] = (sample.to_dict() for sample in samples)
    if args.join is not None:
        from ragkit.cli.ledgers import find_ledger
        from ragkit.costs.ledger import read_ledger
        from ragkit_connectors.monitors.joining import joined

        rows = joined(samples, read_ledger(find_ledger(args.join)))
    for row in rows:
        output.show(row, str, as_json=True)
    return ExitCode.DONE


def _nvidia(args: argparse.Namespace) -> Iterable[Sample]:
    from ragkit_connectors.monitors import nvidia

    return nvidia.sample() if args.file is None else nvidia.read_csv(_lines(args.file))


def _neuron(args: argparse.Namespace) -> Iterable[Sample]:
    from ragkit_connectors.monitors import neuron

    return (
        neuron.sample()
        if args.file is None
        else neuron.read_lines(_lines(args.file), is_live=args.file == "-")
    )


def _trace(args: argparse.Namespace) -> Iterable[Sample]:
    from ragkit_connectors.monitors.trace import read_trace

    return read_trace(_path(args.file))


def _cloudwatch(args: argparse.Namespace) -> Iterable[Sample]:
    from ragkit_connectors.monitors import cloudwatch
    from ragkit_connectors.support.aws import AwsClient

    if args.file is not None:
        return cloudwatch.read_file(_path(args.file))
    is_period = args.period >= 60 and args.period % 60 == 0
    if not is_period or not 1 <= args.hours <= cloudwatch.MOST_HOURS:
        raise ConfigError(
            f"--hours takes 1 to {cloudwatch.MOST_HOURS:,}, --period a multiple of 60; here "
            f"{args.hours} and {args.period}"
        )
    end = datetime.now(UTC)
    period = cloudwatch.Period(
        start=end - timedelta(hours=args.hours), end=end, seconds=args.period
    )
    endpoints = [name.partition("/")[::2] for name in args.endpoint]
    return cloudwatch.sample(
        AwsClient("cloudwatch", region=args.region),
        period,
        models=args.model,
        endpoints=[(name, variant or "AllTraffic") for name, variant in endpoints],
    )


_MONITORS: Mapping[str, Callable[[argparse.Namespace], Iterable[Sample]]] = {
    "nvidia": _nvidia,
    "neuron": _neuron,
    "cloudwatch": _cloudwatch,
    "trace": _trace,
}


def _path(name: str) -> Path:
    return Path("/dev/stdin" if name == "-" else name)


def _lines(name: str) -> Iterable[str]:
    if name == "-":
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "replace")
        return
    try:
        with open(name, encoding="utf-8", errors="replace") as lines:
            yield from lines
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from error


def reconcile(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit ledger reconcile`."""
    from ragkit.cli.ledgers import named_ledgers, records_of
    from ragkit_connectors.monitors import reconcile as sides

    start, end = _day("--start", args.start), _day("--end", args.end)
    if start >= end:
        raise ConfigError(f"--start {args.start} --end {args.end}; allowed: a day before another")
    if not args.model and not args.carbon:
        raise ConfigError("name the models whose tokens to compare: --model ID")
    mine = sides.booked(records_of(named_ledgers(args)), start, end, models=args.model)
    data: dict[str, Json] = {"schema": 1, "start": args.start, "end": args.end,
                             "lines": mine.calls, "tokens": None, "carbon": None}  # fmt: skip
    if args.carbon:
        data["carbon"] = _carbon(args, mine, start, end)
    else:
        data["tokens"] = _tokens(args, mine, start, end)
    output.show(data, reconciled_text, as_json=args.json)
    return ExitCode.DONE


def _tokens(
    args: argparse.Namespace, mine: Booked, start: datetime, end: datetime
) -> dict[str, Json]:
    from ragkit_connectors.monitors import cloudwatch
    from ragkit_connectors.monitors.reconcile import compare_tokens
    from ragkit_connectors.support.aws import AwsClient

    period = cloudwatch.Period(start=start, end=end, seconds=86_400)
    client = AwsClient("cloudwatch", region=args.region)
    return compare_tokens(mine, cloudwatch.sample(client, period, models=args.model))


def _carbon(
    args: argparse.Namespace, mine: Booked, start: datetime, end: datetime
) -> dict[str, Json]:
    from ragkit_connectors.monitors.reconcile import carbon, compare_carbon
    from ragkit_connectors.support.aws import AwsClient

    client = AwsClient("sustainability", region=args.region)
    filters = {"REGION": [client.region]}
    if args.service:
        filters["SERVICE"] = [args.service]
    return compare_carbon(mine, carbon(client, start, end, filters=filters))


def _day(option: str, text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError(f"{option} {text!r}; allowed: a day such as 2026-03-01") from None


def reconciled_text(data: output.Shown) -> str:
    """Return both sides, and why they differ."""
    known = output.known
    lines = [f"{data['lines']:,} calls in the ledger from {data['start']} until {data['end']}"]
    tokens, carbon = data["tokens"], data["carbon"]
    for name in ("input_tokens", "output_tokens", "calls") if tokens else ():
        pair = tokens[name]
        share = "" if pair["share"] is None else f" ({pair['share']:+.1%})"
        lines.append(
            f"  {name:<14} ledger {known(pair['ledger'])}, AWS {known(pair['aws'])}{share}"
        )
    if carbon:
        span = carbon["ledger_g"]
        own = "unknown" if span is None else f"{span['low']:.4g} to {span['high']:.4g} g"
        lines += [
            f"  ledger, location-based  {own}",
            f"  AWS, location-based     {known(carbon['location_based_g'], 'g')}",
            f"  AWS, market-based       {known(carbon['market_based_g'], 'g')}",
        ]
    verdict = tokens["agrees"] if tokens else carbon["inside"]
    word = {True: "they agree", False: "they differ", None: "they cannot be compared"}[verdict]
    return "\n".join([*lines, word, *(f"  {why}" for why in (tokens or carbon)["reasons"])])
