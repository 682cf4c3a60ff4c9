"""Numbers for people."""

from __future__ import annotations


def shown(value: object, digits: int = 4) -> str:
    """Return a number for people; unknown is a dash."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return str(value)


def bounds(low: object, high: object) -> str:
    """Return an interval for people."""
    return "–" if low is None or high is None else f"[{shown(low)}, {shown(high)}]"
