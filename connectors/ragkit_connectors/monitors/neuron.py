"""AWS Inferentia and Trainium: the JSON lines of `neuron-monitor`, which knows no power."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from ragkit.costs.ledger import measured
from ragkit.narrowing import is_array, is_object
from ragkit.text.jsontext import read_json
from ragkit.types import Json
from ragkit_connectors.monitors.rows import Sample, absent, share_of

_TIMEOUT_SECONDS = 30.0


def sample() -> list[Sample]:
    """Return the rows of one period of `neuron-monitor`, or one that says that it is absent."""
    command = shutil.which("neuron-monitor")
    if command is None:
        return absent("neuron", "neuron-monitor is not there")
    try:
        # It prints a line each period until it is ended; a fixed command without a shell.
        with subprocess.Popen([command], stdout=subprocess.PIPE, text=True) as running:  # noqa: S603
            try:
                timer = _end_after(running, _TIMEOUT_SECONDS)
                line = "" if running.stdout is None else running.stdout.readline()
                timer.cancel()
            finally:
                running.kill()
    except OSError as error:
        return absent("neuron", f"neuron-monitor failed: {type(error).__name__}")
    rows = list(read_lines([line], is_live=True)) if line.strip() else []
    return rows or absent("neuron", "neuron-monitor printed nothing")


def _end_after(running: subprocess.Popen[str], seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, running.kill)
    timer.daemon = True
    timer.start()
    return timer


def read_lines(lines: Iterable[str], *, is_live: bool = False) -> Iterator[Sample]:
    """Yield a row for the machine, for each process on it, and for each core in use by one.

    Each group of a document has an `error` of its own; a row names those of its groups, and what
    they would have said is None. Documents carry no time: live ones have that of their arrival.
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            document = read_json(line)
        except ValueError:
            document = None
        if not is_object(document):
            yield Sample(source="neuron", error="a line that is no JSON object")
            continue
        yield from _rows(document, datetime.now(UTC) if is_live else _time(document))


def _rows(document: Mapping[str, Json], time: datetime | None) -> Iterator[Sample]:
    system = _table(document.get("system_data"))
    instance = _table(document.get("instance_info"))
    kind = instance.get("instance_type")
    name = kind if isinstance(kind, str) and kind else None
    memory, cpu = _table(system.get("memory_info")), _table(system.get("vcpu_usage"))
    usage = _table(cpu.get("average_usage"))
    idle = measured(usage.get("idle"))
    hardware = _table(document.get("neuron_hardware_info"))
    yield Sample(
        source="neuron",
        time=time,
        seconds=measured(memory.get("period")),
        device="host",
        name=name,
        memory_bytes=_whole(memory.get("memory_used_bytes")),
        memory_total_bytes=_whole(memory.get("memory_total_bytes")),
        cpu_utilization=None if idle is None else 1.0 - idle / 100.0,
        error=_errors(memory, cpu, hardware, instance),
    )
    runtimes = document.get("neuron_runtime_data")
    for runtime in runtimes if is_array(runtimes) else ():
        if is_object(runtime):
            yield from _runtime_rows(runtime, time, name)


def _runtime_rows(
    runtime: Mapping[str, Json], time: datetime | None, name: str | None
) -> Iterator[Sample]:
    report = _table(runtime.get("report"))
    counters, memory, stats = (
        _table(report.get(key)) for key in ("neuroncore_counters", "memory_used", "execution_stats")
    )
    used = _table(memory.get("neuron_runtime_used_bytes"))
    latency = _table(_table(stats.get("latency_stats")).get("total_latency"))
    done = _table(stats.get("execution_summary")).get("completed")
    device = f"pid {runtime.get('pid')}"
    yield Sample(
        source="neuron",
        time=time,
        seconds=measured(counters.get("period")),
        device=device,
        name=name,
        memory_bytes=_whole(used.get("neuron_device")),
        latency_seconds=measured(latency.get("p50")),
        n=_whole(done),
        error=_errors(runtime, counters, memory, stats),
    )
    for core, values in _table(counters.get("neuroncores_in_use")).items():
        yield Sample(
            source="neuron",
            time=time,
            seconds=measured(counters.get("period")),
            device=f"{device} core {core}",
            name=name,
            utilization=share_of(measured(_table(values).get("neuroncore_utilization"))),
        )


def _time(document: Mapping[str, Json]) -> datetime | None:
    """Return the time of a saved document to which whoever saved it has added a `timestamp`."""
    stamp = measured(document.get("timestamp"))
    try:
        return None if stamp is None else datetime.fromtimestamp(stamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _errors(*groups: Mapping[str, Json]) -> str | None:
    found = dict.fromkeys(str(g["error"]) for g in groups if g.get("error"))
    return "; ".join(found) or None


def _table(value: Json) -> Mapping[str, Json]:
    return value if is_object(value) else {}


def _whole(value: Json) -> int | None:
    number = measured(value)
    return None if number is None else round(number)
