"""A trace of the PyTorch profiler (Kineto's Chrome format), in the place of SageMaker Profiler.

AWS ends SageMaker Profiler on 2027-06-30 and points to the profilers of frameworks. A trace becomes
a row for each kind of event on each device: how many there were, and how long it was busy.
"""

from __future__ import annotations

import gzip
import zlib
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from ragkit.errors import ConfigError
from ragkit.narrowing import is_array, is_object
from ragkit.text.jsontext import read_json
from ragkit.types import Json
from ragkit_connectors.monitors.rows import MOST_FILE_BYTES, Sample

_CATEGORIES = (
    "kernel", "cpu_op", "gpu_memcpy", "gpu_memset", "cuda_runtime", "user_annotation",
     "python_function",
)  # fmt: skip
_MICROSECONDS = 1e6


def read_trace(path: Path) -> list[Sample]:
    """Return the rows of a trace file, which may be compressed by gzip.

    Raises:
        ConfigError: the file is too large, or no trace.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
        if data[:2] == b"\x1f\x8b":
            data = _unpacked(data)
        if len(data) > MOST_FILE_BYTES:
            raise ConfigError(f"{path} has more than {MOST_FILE_BYTES:,} bytes")
        trace = read_json(data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} cannot be read as a trace: {error}") from error
    events = trace.get("traceEvents") if is_object(trace) else trace
    if not is_array(events):
        raise ConfigError(f"{path} is no trace: it has no traceEvents")
    base = trace.get("baseTimeNanoseconds") if is_object(trace) else None
    return _rows(events, base if isinstance(base, int) else None)


def _unpacked(data: bytes) -> bytes:
    import io

    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(MOST_FILE_BYTES + 1)


def _rows(events: list[Json], base_nanoseconds: int | None) -> list[Sample]:
    spans: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        place = _place(event)
        if place is not None:
            spans[place[0]].append(place[1])
    if not spans:
        return [Sample(source="trace", error="no complete events (ph X) of a known category")]
    first = min(start for found in spans.values() for start, _ in found)
    last = max(end for found in spans.values() for _, end in found)
    seconds = (last - first) / _MICROSECONDS
    began = _time(first, base_nanoseconds)
    return [
        Sample(
            source="trace",
            time=began,
            seconds=seconds,
            device=device,
            name=category,
            n=len(found),
            busy_seconds=(busy := _covered(found) / _MICROSECONDS),
            utilization=busy / seconds if seconds > 0.0 else None,
        )
        for (category, device), found in sorted(spans.items())
    ]


def _place(event: Json) -> tuple[tuple[str, str], tuple[float, float]] | None:
    """Return category and device of an event, and where it begins and ends in microseconds."""
    if not is_object(event) or event.get("ph") != "X" or event.get("cat") not in _CATEGORIES:
        return None
    start, length = _number(event.get("ts")), _number(event.get("dur"))
    if start is None or length is None:
        return None
    arguments = event.get("args")
    device: Json = arguments.get("device") if is_object(arguments) else None
    on = "cpu" if not isinstance(device, int) or device < 0 else f"gpu {device}"
    return (str(event["cat"]), on), (start, start + length)


def _number(value: Json) -> float | None:
    """Return a number; some versions write them as strings."""
    try:
        number = float(value) if isinstance(value, int | float | str) else -1.0
    except (ValueError, OverflowError):
        return None
    return number if 0.0 <= number < 1e18 else None


def _covered(spans: list[tuple[float, float]]) -> float:
    """Return how long at least one of the spans lasts."""
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):
        if end > reached:
            total += end - max(start, reached)
            reached = end
    return total


def _time(microseconds: float, base_nanoseconds: int | None) -> datetime | None:
    """Return when the trace begins; None for times since some moment that it does not name."""
    try:
        seconds = microseconds / _MICROSECONDS + (base_nanoseconds or 0) / 1e9
        return datetime.fromtimestamp(seconds, UTC) if seconds > 1e9 else None
    except (ValueError, OverflowError, OSError):
        return None
