"""The row that every monitor gives, and what a monitor that is absent gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from ragkit.types import Json

Monitor: TypeAlias = Literal["nvidia", "neuron", "cloudwatch", "trace"]

MOST_FILE_BYTES = 2**29


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a device or a service did at a time, or over `seconds` from then on.

    None is unknown, never 0. Utilisations are shares of 1, and may exceed it where a monitor adds
    up several processors. `joules` is a counter's reading: its differences are measured energy, of
    the whole device and all its processes. `n` is the number of calls or of events.
    """

    source: Monitor
    time: datetime | None = None
    seconds: float | None = None
    device: str | None = None
    name: str | None = None
    utilization: float | None = None
    memory_utilization: float | None = None
    memory_bytes: int | None = None
    memory_total_bytes: int | None = None
    cpu_utilization: float | None = None
    disk_utilization: float | None = None
    watts: float | None = None
    joules: float | None = None
    n: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    latency_seconds: float | None = None
    busy_seconds: float | None = None
    performance_state: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit monitor`; times are UTC."""
        values = asdict(self)
        return {"schema": 1, **values, "time": None if self.time is None else _shown(self.time)}


def _shown(time: datetime) -> str | None:
    try:
        return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    except OverflowError:  # a day before the first or after the last that there is in UTC
        return None


def absent(source: Monitor, why: str) -> list[Sample]:
    """Return what a monitor that cannot be asked gives: a row in which nothing is known."""
    return [Sample(source=source, error=why)]


def share_of(percent: float | None) -> float | None:
    """Return a percentage as a share of 1."""
    return None if percent is None else percent / 100.0
