"""Joules that counters measure: RAPL of the processors, NVML of NVIDIA's accelerators.

Both count for the whole device, whoever uses it. Documentation of the Linux kernel, "Power Capping
Framework"; NVIDIA's NVML API, `nvmlDeviceGetTotalEnergyConsumption` (Volta and later).
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Protocol, cast

from ragkit.costs.machine import MACHINE, Machine

_POWERCAP = Path("/sys/class/powercap")


def rapl_joules(folder: Path = _POWERCAP) -> Mapping[str, tuple[float, float]]:
    """Return joules and their largest value of each processor package; empty where unreadable.

    The counters run from any start and begin again at 0 after their largest value. Packages alone
    are read: what they hold (`core`, `uncore`), and `psys` around them, would count twice.
    """
    found: dict[str, tuple[float, float]] = {}
    try:
        zones = sorted(folder.glob("intel-rapl:*"))
    except OSError:
        return {}
    for zone in zones:
        try:
            if not (zone / "name").read_text().startswith("package"):
                continue
            microjoules = int((zone / "energy_uj").read_text())
            most = int((zone / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
        found[zone.name] = (microjoules / 1e6, most / 1e6)
    return found


def rapl_between(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]
) -> float | None:
    """Return the joules of all packages from one reading to the next; None if one is missing.

    A counter that began again in between is taken to have done so once.
    """
    if not before or before.keys() != after.keys():
        return None
    total = 0.0
    for zone, (joules, _) in before.items():
        later, most = after[zone]
        total += later - joules if later >= joules else later - joules + most
    return total


OWN_SHARE = 0.8
"""Of the busy seconds of all processors: a process that took as much is taken to be their user."""


class ProcessorMeter:
    """Measures the processors of this machine from its making on.

    Args:
        machine: Tells how busy the processors are.
        folder: Where the counters are; for tests.
    """

    def __init__(self, machine: Machine = MACHINE, folder: Path = _POWERCAP) -> None:
        self._machine, self._folder = machine, folder
        self._before = rapl_joules(folder)
        self._busy = machine.busy_cpu_seconds() if self._before else None
        self._own = time.process_time()

    def joules(self) -> float | None:
        """Return the joules of all packages until now, whoever used them; None if unknown."""
        return rapl_between(self._before, rapl_joules(self._folder)) if self._before else None

    def is_own(self) -> bool:
        """Whether this process was, as good as, the only user of the processors meanwhile."""
        busy = self._machine.busy_cpu_seconds()
        if self._busy is None or busy is None:
            return False
        return time.process_time() - self._own >= OWN_SHARE * (busy - self._busy) > 0.0


class _Nvml(Protocol):
    """What is used of the module `pynvml`."""

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int: ...

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int: ...

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[object]: ...


@lru_cache(maxsize=1)
def _nvml() -> _Nvml | None:
    """Return the library, ready; None where it or its driver is absent."""
    if importlib.util.find_spec("pynvml") is None:
        return None
    try:
        library = cast("_Nvml", importlib.import_module("pynvml"))
        library.nvmlInit()
    except Exception:
        # Whatever it raises without a driver: then there is nothing to measure.
        return None
    return library


def _device_joules(library: _Nvml) -> dict[int, float]:
    """Return joules since the driver was loaded by device; those that do not count are left out."""
    found: dict[int, float] = {}
    try:
        for index in range(library.nvmlDeviceGetCount()):
            handle = library.nvmlDeviceGetHandleByIndex(index)
            found[index] = library.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
    except Exception:
        return {}
    return found


def _n_processes(library: _Nvml, index: int) -> int:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    return len(library.nvmlDeviceGetComputeRunningProcesses(handle))


class AcceleratorMeter:
    """Measures the accelerators of this machine between `start` and `stop`.

    It measures nothing where another measurement of this process overlaps, or where a device has
    more than one process: then the joules cannot be told apart.
    """

    _active: ClassVar[set[AcceleratorMeter]] = set()
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._before: dict[int, float] = {}
        self._is_shared = False

    def start(self) -> None:
        """Begin to measure."""
        library = _nvml()
        if library is None:
            return
        with self._lock:
            self._is_shared = bool(self._active)
            for other in self._active:
                other._is_shared = True
            self._active.add(self)
        self._before = _device_joules(library)

    def stop(self) -> float | None:
        """Return the joules since the start; None where they are unknown or shared."""
        library = _nvml()
        if library is None or self not in self._active:
            return None
        after = _device_joules(library)
        with self._lock:
            self._active.discard(self)
        if self._is_shared or not self._before or self._before.keys() != after.keys():
            return None
        try:
            users = {index: _n_processes(library, index) for index in after}
        except Exception:
            return None
        if max(users.values()) > 1:
            return None
        # In a container no process may be seen; then all devices are taken.
        used = [index for index, n in users.items() if n] or list(after)
        return sum(after[index] - self._before[index] for index in used)
