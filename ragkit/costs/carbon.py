"""Grams of CO2 equivalent: an energy times the carbon intensity of the grid where it was spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ragkit.costs.energy import Range, carbon_grams
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit.regions import Place


def emitted(
    joules: Range | None, place: Place | None, given_g_per_kwh: Sequence[float] = ()
) -> Range | None:
    """Return the grams of an energy, as a range over those of the energy and of the sources.

    Args:
        joules: The energy; None if it is unknown.
        place: Where it was spent; None if that is unknown.
        given_g_per_kwh: Low, mid and high of the user's own figure, which counts in place of the
            table's; or empty.

    Returns:
        None where the energy is unknown, or both the place and the user's figure.
    """
    if joules is None:
        return None
    if given_g_per_kwh:
        low, mid, high = given_g_per_kwh
        return carbon_grams(joules, (low, mid, high))
    grams = carbon_grams(joules, None if place is None else place.g_per_kwh)
    if grams is None or place is None:
        return None
    return replace(grams, source=f"{joules.source} x {place.source}")


def with_carbon(
    record: Mapping[str, Json], place: Place | None, given_g_per_kwh: Sequence[float] = ()
) -> Mapping[str, Json]:
    """Return a record of work on this machine, with the grams of its joules where they are known.

    The arguments are those of `emitted`, but for the record, which holds its joules in JSON.
    """
    joules = record.get("joules")
    if not isinstance(joules, Mapping):
        return record
    low, mid, high = (joules.get(bound) for bound in ("low", "mid", "high"))
    if not isinstance(low, float) or not isinstance(mid, float) or not isinstance(high, float):
        return record
    source = str(joules.get("source"))
    spent = Range(low=low, mid=mid, high=high, grade="modelled-local", source=source)
    grams = emitted(spent, place, given_g_per_kwh)
    return {**record, "carbon_g": None if grams is None else grams.to_dict()}
