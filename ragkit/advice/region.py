"""In which Region: the law first, then what the grids emit, the movement of data included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.advice.answers import Advice
from ragkit.errors import ConfigError
from ragkit.regions import (
    Region,
    find_region,
    find_regions,
    market_statement,
    place_of,
    profile_names,
    profile_source,
    sources,
)
from ragkit.types import Json

TRANSFER_KWH_PER_GB = (0.001, 0.06)
"""Energy of moving data between Regions (low, high): Cloud Carbon Footprint's figure for the
networks of large clouds; Aslan, Mayers, Koomey and France (2018) for the internet of 2015, which
halved every two years then."""

_TRANSFER_SOURCE = (
    "0.001 kWh per GB: Cloud Carbon Footprint, methodology, Networking; 0.06: Aslan et al. 2018, "
    "Electricity Intensity of Internet Data Transmission, for 2015"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is to run, and what has to move for it.

    Attributes:
        kwh_a_month: Energy of the workload; None if it is not known.
        months: How long it will run; more than 0.
        data: Region where its data lies; None if none has to move.
        data_gb: Data that would move once.
        users: Region nearest to its users; None if they do not matter.
        users_gb_a_month: Data sent to them.
    """

    kwh_a_month: float | None = None
    months: float = 12.0
    data: str | None = None
    data_gb: float = 0.0
    users: str | None = None
    users_gb_a_month: float = 0.0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A Region with its figure: grams over the whole time, or grams per kWh."""

    region: Region
    low: float
    high: float
    moved_once: tuple[float, float]
    moved_monthly: tuple[float, float]

    def to_dict(self, unit: str) -> dict[str, Json]:
        return {
            **self.region.to_dict(),
            "market_based": None,
            "moved_once_kwh": list(self.moved_once),
            "moved_monthly_kwh": list(self.moved_monthly),
            unit: {"low": self.low, "high": self.high},
        }


def advise_region(allowed: Sequence[str], workload: Workload) -> Advice:
    """Return which of the allowed Regions emits least, if the sources can tell.

    Two Regions differ only where the range of one lies wholly below that of the other: over all
    sources of grid intensity and, where the energy of the workload is given, with the movement of
    data at its low and high figures.

    Args:
        allowed: Names or patterns (`eu-*`) of the Regions that the law and the contracts allow.
        workload: What is to run.

    Raises:
        ConfigError: a name is not in the table.
    """
    regions = find_regions(allowed, "allow")
    home = None if workload.data is None else find_region(workload.data, "data").name
    near = None if workload.users is None else find_region(workload.users, "users").name
    candidates = sorted(
        (_candidate(region, workload) for region in regions), key=lambda c: (c.high, c.low)
    )
    best = candidates[0]
    tied = [c for c in candidates if c.low <= best.high]
    unit = "g_per_kwh" if workload.kwh_a_month is None else "g_in_all"
    considered = [candidate.to_dict(unit) for candidate in candidates]
    if len(tied) == len(candidates) > 1:
        return Advice(
            advice=None, reason=_silent(tied, unit), sources=_sources(), considered=considered
        )
    names = [candidate.region.name for candidate in tied]
    chosen = names[0] if len(names) == 1 else next((n for n in (home, near) if n in names), None)
    pays = _pays_from_kwh(candidates, chosen or names[0], home, workload)
    return Advice(
        advice={"region": chosen, "regions": list(names), "pays_from_kwh": pays},
        reason=_reason(candidates, tied, chosen, home, unit)
        + ("" if pays is None else f" Moving the data pays from {pays:,.3g} kWh of work on."),
        sources=_sources(),
        considered=considered,
    )


def advise_profile(allowed: Sequence[str], profile: str) -> Advice:
    """Return what holds of a model that is called by an inference profile.

    Its Region is not the caller's choice, so there is nothing to choose: the advice is the range of
    all Regions that it may use, or none where the law does not allow one of them. Requests may also
    stay in some Regions that call it, which is the caller's choice.

    Args:
        allowed: Names or patterns of the Regions that the law and the contracts allow.
        profile: Prefix of the profile's id: `eu`, `us`, `apac`, `global` …

    Raises:
        ConfigError: a name is not in the table.
    """
    names = {region.name for region in find_regions(allowed, "allow")}
    place = place_of("", profile) if profile else None
    if place is None:
        known = " ".join(profile_names())
        raise ConfigError(f"inference profile {profile[:40]!r}; allowed: {known}")
    considered = [{**region.to_dict(), "market_based": None} for region in place.regions]
    named = _sources()
    named.append({"name": "profiles", "source": profile_source()})
    outside = [region.name for region in place.regions if region.name not in names]
    if outside:
        reason = (
            f"Profile {profile} may run in {', '.join(outside)}, which is not allowed: call the "
            "model in an allowed Region itself, or see what your profile uses "
            "(bedrock:GetInferenceProfile)."
        )
        return Advice(advice=None, reason=reason, sources=named, considered=considered)
    low, mid, high = place.g_per_kwh
    reason = (
        f"Profile {profile} chooses among {len(place.regions)} Regions, so the Region is not yours "
        f"to choose: {low:,.0f} to {high:,.0f} g/kWh."
    )
    return Advice(
        advice={
            "region": None,
            "regions": [region.name for region in place.regions],
            "pays_from_kwh": None,
            "g_per_kwh": {"low": low, "mid": mid, "high": high},
        },
        reason=reason,
        sources=named,
        considered=considered,
    )


def _candidate(region: Region, workload: Workload) -> _Candidate:
    low, _, high = region.bounds
    once = _moved(region, workload.data, workload.data_gb)
    monthly = _moved(region, workload.users, workload.users_gb_a_month)
    if workload.kwh_a_month is None:
        return _Candidate(region, low, high, once, monthly)
    ends = [region.bounds]
    ends += [find_region(name).bounds for name in (workload.data, workload.users) if name]
    cleanest, dirtiest = min(end[0] for end in ends), max(end[2] for end in ends)
    energy = workload.kwh_a_month * workload.months
    return _Candidate(
        region,
        energy * low + (once[0] + monthly[0] * workload.months) * cleanest,
        energy * high + (once[1] + monthly[1] * workload.months) * dirtiest,
        once,
        monthly,
    )


def _moved(region: Region, other: str | None, gigabytes: float) -> tuple[float, float]:
    """Return the kWh of moving data between two Regions (low, high)."""
    if other is None or other == region.name:
        return 0.0, 0.0
    low, high = TRANSFER_KWH_PER_GB
    return gigabytes * low, gigabytes * high


def _pays_from_kwh(
    candidates: Sequence[_Candidate], best: str, home: str | None, workload: Workload
) -> float | None:
    """Return the energy of work from which moving the data there surely emits less than it saves.

    None where nothing moves, and where the energy was given, since then it is weighed already.
    """
    if home is None or home == best or workload.kwh_a_month is not None or not workload.data_gb:
        return None
    there = next(c for c in candidates if c.region.name == best)
    here = find_region(home).bounds
    saved_per_kwh = here[0] - there.high
    if saved_per_kwh <= 0:
        return None
    return there.moved_once[1] * max(here[2], there.high) / saved_per_kwh


def _silent(tied: Sequence[_Candidate], unit: str) -> str:
    what = "grids" if unit == "g_per_kwh" else "grids and of the movement of data"
    shown = ", ".join(f"{c.region.name} {_span(c, unit)}" for c in tied[:4])
    more = f" and {len(tied) - 4} more" if len(tied) > 4 else ""
    return (
        f"The sources disagree: over all published figures of the {what}, the ranges of the "
        f"allowed Regions overlap ({shown}{more}), so none is reliably lower."
    )


def _reason(
    candidates: Sequence[_Candidate], tied: Sequence[_Candidate], chosen: str | None,
    home: str | None, unit: str,
) -> str:  # fmt: skip
    best, others = tied[0], [c for c in candidates if c not in tied]
    if not others:
        return f"{best.region.name} is the only Region that is allowed."
    rest = min(others, key=lambda c: c.low)
    if len(tied) == 1:
        return (
            f"{best.region.name} emits {_span(best, unit)} by every source, less than any other "
            f"allowed Region (next: {rest.region.name}, {_span(rest, unit)})."
        )
    names = ", ".join(c.region.name for c in tied)
    told = f"No source tells {names} apart, but all others emit more ({rest.region.name}: "
    told += f"{_span(rest, unit)}, {best.region.name}: {_span(best, unit)})."
    if chosen is not None:
        at = "the data is there" if chosen == home else "the users are there"
        return f"{told} {chosen}, since {at}."
    return told


def _span(candidate: _Candidate, unit: str) -> str:
    if unit == "g_per_kwh":
        return f"{candidate.low:,.0f} to {candidate.high:,.0f} g/kWh"
    return f"{candidate.low / 1000:,.3g} to {candidate.high / 1000:,.3g} kg"


def _sources() -> list[dict[str, Json]]:
    market = market_statement()
    return [
        *sources(),
        {"name": "transfer", "source": _TRANSFER_SOURCE, "kwh_per_gb": list(TRANSFER_KWH_PER_GB)},
        {"name": "market", **market, "method": "market-based; shown, never part of a figure"},
    ]
