"""What this machine provides and uses: processors and memory of its control group, or all of it.

Documentation of the Linux kernel, "Control Group v2": `cpu.max`, `cpu.stat` and `memory.peak`. A
control group of version 1, and other systems, tell nothing here.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_MOST_BYTES = 65_536


class Machine:
    """Reads the control group of this process.

    Args:
        root: The folder that holds `proc` and `sys`; for tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    @cached_property
    def _group(self) -> Path | None:
        """The folder of the control group, of version 2; None where there is none."""
        for line in (_read(self._root / "proc/self/cgroup") or "").splitlines():
            if line.startswith("0::/"):
                # In a container the path may be the host's, while its own group is mounted as root.
                for place in (line.removeprefix("0::/"), ""):
                    folder = self._root / "sys/fs/cgroup" / place
                    if ".." not in place.split("/") and (folder / "cpu.stat").is_file():
                        return folder
        return None

    @cached_property
    def n_cpus(self) -> float:
        """Processors that this process may use: the limit of its control group, or their number."""
        present = float(os.cpu_count() or 1)
        if hasattr(os, "sched_getaffinity"):
            present = float(len(os.sched_getaffinity(0)))
        quota, _, period = (self._value("cpu.max") or "max").partition(" ")
        if quota.isdecimal() and period.strip().isdecimal() and int(quota) and int(period):
            return min(present, int(quota) / int(period))
        return present

    def used_cpu_seconds(self) -> float | None:
        """Return what all processes of the control group have used; None where it is unknown."""
        for line in (self._value("cpu.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec" and value.isdecimal():
                return int(value) / 1e6
        return None

    def busy_cpu_seconds(self) -> float | None:
        """Return what all processors have worked since the machine started; None if unknown.

        Manual page proc_stat(5): clock ticks as user, nice, system, idle, waiting, interrupts.
        """
        line = (_read(self._root / "proc/stat", 1024) or "").partition("\n")[0]
        name, *ticks = line.split()[:8] or [""]
        if name != "cpu" or len(ticks) < 7 or not all(map(str.isdecimal, ticks)):
            return None
        user, nice, system, _, _, hard, soft = map(int, ticks)
        return (user + nice + system + hard + soft) / os.sysconf("SC_CLK_TCK")

    def peak_bytes(self) -> int | None:
        """Return the most memory that the control group has held; None where it is unknown."""
        value = (self._value("memory.peak") or "").strip()
        return int(value) if value.isdecimal() else None

    def _value(self, name: str) -> str | None:
        return None if self._group is None else _read(self._group / name)


MACHINE = Machine()
"""The machine that this process runs on."""


@dataclass(frozen=True, slots=True)
class Since:
    """A moment, from which on the use of the processors is measured."""

    machine: Machine
    wall_seconds: float
    group_seconds: float | None
    process_seconds: float

    @classmethod
    def now(cls, machine: Machine = MACHINE) -> Since:
        """Return this moment."""
        return cls(machine, time.perf_counter(), machine.used_cpu_seconds(), time.process_time())

    def idle_share(self) -> float | None:
        """Return the share of the processors' time that nobody has used since then, 0 to 1.

        Used is what the control group used, or this process where that is unknown. None where no
        time has passed.
        """
        now = Since.now(self.machine)
        provided = (now.wall_seconds - self.wall_seconds) * self.machine.n_cpus
        if provided <= 0.0:
            return None
        used = now.process_seconds - self.process_seconds
        if self.group_seconds is not None and now.group_seconds is not None:
            used = now.group_seconds - self.group_seconds
        return min(1.0, max(0.0, 1.0 - used / provided))


def _read(path: Path, most_bytes: int = _MOST_BYTES) -> str | None:
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(most_bytes).decode("ascii", "replace")
    except OSError:
        return None
