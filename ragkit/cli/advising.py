"""The actions of `ragkit advise`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.cli import output
from ragkit.cli.options import names, settings_of
from ragkit.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from ragkit.advice.answers import Advice
    from ragkit.advice.hosting import SelfHosted
    from ragkit.advice.quantiles import Asked


def region(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit advise region`."""
    from ragkit.advice.region import Workload, advise_region

    for name, place in (("data", args.data), ("users", args.users)):
        _not_negative(f"{name}-gb", getattr(args, f"{name}_gb"))
        if place is None and getattr(args, f"{name}_gb"):
            raise ConfigError(f"--{name}-gb needs --{name} REGION")
    _not_negative("kwh", args.kwh)
    _positive("months", args.months)
    workload = Workload(
        kwh_a_month=args.kwh,
        months=args.months,
        data=args.data,
        data_gb=args.data_gb,
        users=args.users,
        users_gb_a_month=args.users_gb,
    )
    return _shown(advise_region(names(args.allow) or [""], workload), args, _region_text)


def hosting(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit advise hosting`."""
    from ragkit.advice.hosting import Managed, advise_hosting

    for name in ("price_per_question", "price_per_hour", "questions_per_hour", "busy_seconds"):
        _positive(name.replace("_", "-"), getattr(args, name))
    joules, source = _pair("joules-per-question", args.joules_per_question), "given"
    if joules is None:
        found, ledger = _asked(args, required=False)
        joules, source = found.mean_joules, f"ledger {ledger}: mean of {len(found.joules)} answers"
    managed = Managed(price=args.price_per_question, joules=joules, source=source)
    advice = advise_hosting(managed, _own(args), questions_an_hour=args.questions_per_hour)
    return _shown(advice, args, _plain_text)


def _own(args: argparse.Namespace) -> SelfHosted:
    from ragkit.advice.hosting import SelfHosted
    from ragkit.advice.instances import instance_watts

    given = _pair("watts", args.watts)
    known = None if args.instance is None else instance_watts(args.instance)
    own = SelfHosted(price_an_hour=args.price_per_hour, busy_seconds=args.busy_seconds)
    if given is not None:
        idle, full = ((watts, watts) for watts in given)
        return _with_watts(own, idle, full, "given")
    if known is not None:
        return _with_watts(own, known.idle, known.full, f"{args.instance}: {known.source}")
    return own


def _with_watts(
    own: SelfHosted,
    idle: tuple[float, float] | None,
    full: tuple[float, float] | None,
    source: str,
) -> SelfHosted:
    from dataclasses import replace

    return replace(own, idle_watts=idle, full_watts=full, source=source)


def window(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit advise window`."""
    from ragkit.advice.window import advise_window

    found, ledger = _asked(args, required=True)
    return _shown(advise_window(found, ledger=str(ledger)), args, _window_text)


def tier(args: argparse.Namespace) -> ExitCode:
    """Run `ragkit advise tier`."""
    from ragkit.advice.tier import advise_tier

    _positive("max-wait", args.max_wait)
    _positive("questions-per-day", args.questions_per_day)
    found, ledger = _asked(args, required=False)
    advice = advise_tier(
        found,
        ledger=ledger,
        longest_wait_seconds=args.max_wait,
        questions_a_day=args.questions_per_day,
    )
    return _shown(advice, args, _tier_text)


ACTIONS: Mapping[str, Callable[[argparse.Namespace], ExitCode]] = {
    "region": region,
    "hosting": hosting,
    "window": window,
    "tier": tier,
}


def _asked(args: argparse.Namespace, *, required: bool) -> tuple[Asked, str | None]:
    """Return what the ledger says, and its name; nothing and None where there is no ledger."""
    from ragkit.advice.quantiles import asked
    from ragkit.costs.ledger import read_ledger

    settings = settings_of(args, generator=None)
    path = Path(settings.ledger or Path(settings.store) / "ledger.jsonl")
    if not path.exists():
        if required or args.ledger is not None:
            raise ConfigError(f"there is no ledger at {path}; ask questions first, or use --ledger")
        return asked(()), None
    return asked(read_ledger(path), args.generator), path.name


def _pair(name: str, text: str | None) -> tuple[float, float] | None:
    """Return two numbers in order, for example `0.5,2`; raises `ConfigError`."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0.0 <= low <= high < float("inf"):
        raise ConfigError(f"--{name} {text[:40]!r}; allowed: two numbers in order, such as 1,2.5")
    return low, high


def _positive(name: str, value: float | None) -> None:
    if value is not None and value <= 0.0:
        raise ConfigError(f"--{name} {value:g}; allowed: more than 0")


def _not_negative(name: str, value: float | None) -> None:
    if value is not None and value < 0.0:
        raise ConfigError(f"--{name} {value:g}; allowed: 0 or more")


def _shown(
    advice: Advice, args: argparse.Namespace, as_text: Callable[[output.Shown], str]
) -> ExitCode:
    output.show(advice.to_dict(), as_text, as_json=args.json)
    return advice.exit_code


def _plain_text(data: output.Shown) -> str:
    """Return the reason and the sources."""
    lines = [data["reason"], *(f"  source: {_source_text(source)}" for source in data["sources"])]
    return "\n".join(lines if data["advice"] is not None else ["No advice.", *lines])


def _source_text(source: output.Shown) -> str:
    name = f"{source['name']}: " if "name" in source else ""
    if "statement" in source:
        return f"{name}{source['source']} ({source['year']}): {source['statement']}"
    licence = f" ({source['licence']})" if source.get("licence") else ""
    return f"{name}{source['source']}{licence}"


def _region_text(data: output.Shown) -> str:
    rows = [f"{'Region':<16} {'location-based, g/kWh':<23} market-based"]
    for entry in data["considered"]:
        span = entry["location_based_g_per_kwh"]
        shown = f"{span['low']:,.0f} to {span['high']:,.0f}"
        rows.append(f"{entry['region']:<16} {shown:<23} {entry['market_based'] or 'unknown'}")
    return "\n".join([*rows, _plain_text(data)])


def _window_text(data: output.Shown) -> str:
    rows = [
        f"{entry['name']:<14} p50 {entry['p50']:,.0f}, p95 {entry['p95']:,.0f}, "
        f"p99 {entry['p99']:,.0f}, most {entry['max']:,.0f}"
        for entry in data["considered"]
    ]
    return "\n".join([*rows, _plain_text(data)])


def _tier_text(data: output.Shown) -> str:
    rows = [
        f"{entry['tier']}\n  Bedrock: {entry['bedrock']}\n  SageMaker: {entry['sagemaker']}\n"
        f"  price: {entry['price']}\n  wait: {entry['wait']}"
        for entry in data["considered"]
    ]
    return "\n".join([*rows, _plain_text(data)])
