"""Where a text stands, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = ("page", "slide", "sheet", "cells", "message", "cell", "time")


def place_text(place: Mapping[str, Any]) -> str:
    """Return the place of a text on one line.

    Args:
        place: The fields of `ragkit.types.place`, as every JSON output has them.
    """
    location = place["location"]
    parts = [place["document_id"]]
    parts += [f"{name} {location[name]}" for name in _SHOWN if name in location]
    if location.get("heading"):
        parts.append(" > ".join(location["heading"]))
    return ", ".join([*parts, f"{place['start']}-{place['end']}"])
