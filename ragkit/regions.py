"""The commercial AWS Regions: how much carbon their electricity emits, by several sources.

Each source is a file of its own in `data/regions`, with its licence; nothing merges them but the
ranges that are computed here. All figures are location-based: what the grid at the place emits, in
grams of CO2 equivalent per kWh, whatever certificates were bought.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from ragkit.errors import ConfigError
from ragkit.types import Json

_FOLDER = Path(__file__).parent / "data" / "regions"
_SOURCES = ("ember", "electricity_maps", "google")
_CLOSE = 0.5
"""Least similarity of a name that is offered for one that is unknown."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One source's figure for a Region: `zone` is what the source measured, a country or a grid."""

    source: str
    zone: str
    year: int
    g_per_kwh: float

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "source": self.source,
            "zone": self.zone,
            "year": self.year,
            "g_per_kwh": self.g_per_kwh,
        }


@dataclass(frozen=True, slots=True)
class Region:
    """An AWS Region with the figures of all sources that have one."""

    name: str
    description: str
    figures: tuple[Figure, ...]

    @property
    def bounds(self) -> tuple[float, float, float]:
        """The lowest figure, the median and the highest, in g per kWh."""
        found = [figure.g_per_kwh for figure in self.figures]
        return min(found), _median(found), max(found)

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        low, mid, high = self.bounds
        return {
            "region": self.name,
            "description": self.description,
            "location_based_g_per_kwh": {"low": low, "mid": mid, "high": high},
            "figures": [figure.to_dict() for figure in self.figures],
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Where something may have run: one Region, or those of an inference profile.

    Args:
        name: What a receipt calls it: `eu-central-1`, or `eu` for a profile.
        regions: The Regions; at least one.
    """

    name: str
    regions: tuple[Region, ...]

    @property
    def g_per_kwh(self) -> tuple[float, float, float]:
        """The lowest and highest figures of all Regions, and the median of their medians."""
        bounds = [region.bounds for region in self.regions]
        return (
            min(low for low, _, _ in bounds),
            _median([mid for _, mid, _ in bounds]),
            max(high for _, _, high in bounds),
        )

    @property
    def source(self) -> str:
        """What the intensity rests on, for a receipt."""
        what = f"the grid of {self.name}"
        if len(self.regions) > 1:
            what = f"the grids of the {len(self.regions)} Regions of profile {self.name}"
        figures = [figure for region in self.regions for figure in region.figures]
        years: dict[str, set[int]] = {}
        for figure in figures:
            years.setdefault(figure.source, set()).add(figure.year)
        named = ", ".join(f"{s} {'/'.join(map(str, sorted(y)))}" for s, y in years.items())
        return f"{what}, location-based ({named})"


def _median(values: Sequence[float]) -> float:
    # The module `statistics` would load a dozen others.
    found, n = sorted(values), len(values)
    return (found[(n - 1) // 2] + found[n // 2]) / 2


def region_names() -> list[str]:
    """Return the names of all Regions in the table."""
    return list(_regions())


def find_region(name: str, what: str = "region") -> Region:
    """Return a Region.

    Raises:
        ConfigError: there is none of this name in the table; close names are offered.
    """
    found = _regions().get(name)
    if found is None:
        raise ConfigError(f"{what} {name[:40]!r}; {_offer(name)}allowed: {' '.join(_regions())}")
    return found


def _offer(name: str) -> str:
    # People write the name of the place as often as the code.
    named = {region.description.lower(): code for code, region in _regions().items()}
    within = [c for text, c in named.items() if len(name) > 2 and name.lower() in text]
    close = within or difflib.get_close_matches(name.lower(), _regions(), 3, _CLOSE)
    return f"did you mean {' or '.join(close)}? " if close else ""


def find_regions(patterns: Sequence[str], what: str = "region") -> tuple[Region, ...]:
    """Return the Regions that names or patterns (`eu-*`) allow, in the order of the table.

    Raises:
        ConfigError: one of them allows none.
    """
    allowed: set[str] = set()
    for pattern in patterns:
        found = [name for name in _regions() if fnmatchcase(name, pattern)]
        if not found:
            find_region(pattern, what)
        allowed.update(found)
    return tuple(region for name, region in _regions().items() if name in allowed)


def place_of(region: str | None, profile: str | None = "") -> Place | None:
    """Return where a model that is called in a Region may have run.

    A profile has Regions of its own; called from some others, requests may also stay there.

    Args:
        region: The Region that was called; None if it is not known.
        profile: Prefix of an inference profile's id (`eu`, `us`, `apac`, `global` …), "" for a
            model that runs where it is called; None if neither is known.

    Returns:
        None where it is unknown: no Region, or one or a profile that is not in the table.
    """
    if region is None or profile is None:
        return None
    if not profile:
        found = _regions().get(region)
        return None if found is None else Place(region, (found,))
    table = _aws()["profiles"]
    patterns: list[str] | None = table["regions"].get(profile)
    if patterns is None:
        return None
    here = [region] if region in table["callers"].get(profile, ()) else []
    return Place(profile, find_regions(patterns + here))


def profile_names() -> list[str]:
    """Return the prefixes of inference profiles whose Regions are in the table."""
    return list(_aws()["profiles"]["regions"])


def profile_source() -> str:
    """Return where the Regions of inference profiles come from."""
    return str(_aws()["profiles"]["source"])


def sources() -> list[dict[str, Json]]:
    """Return what each file of figures is, with its licence."""
    keys = ("source", "url", "licence", "method")
    return [{"name": name, **{key: _file(name)[key] for key in keys}} for name in _SOURCES]


def market_statement() -> dict[str, Json]:
    """Return what Amazon states about electricity that it buys, which no figure here contains."""
    return dict(_aws()["market"])


@cache
def _regions() -> dict[str, Region]:
    figures = {name: _file(name)["regions"] for name in _SOURCES}
    return {
        region: Region(
            region,
            description,
            tuple(
                Figure(name, found["zone"], found["year"], found["g_per_kwh"])
                for name, table in figures.items()
                if (found := table.get(region)) is not None
            ),
        )
        for region, description in _aws()["regions"].items()
    }


def _aws() -> dict[str, Any]:
    return _file("aws")


@cache
def _file(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found
