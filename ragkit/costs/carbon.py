"""Grams of CO2 equivalent: an energy times the carbon intensity of the grid where it was spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragkit.costs.energy import Range, carbon_grams
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
