"""Measured time and memory: stages of work, and the most memory that the process has held."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragkit.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """Wall and CPU seconds that one stage took in this process."""

    name: str
    seconds: float
    cpu_seconds: float

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"name": self.name, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}


class Stopwatch:
    """Measures stages; repeated ones add up, and a nested one is not counted in the outer one too.

    Args:
        cpu_clock: Returns a stage's CPU seconds: those of the process, or of the calling thread
            alone where other threads run at the same time.
        clock: Returns wall seconds.
    """

    def __init__(
        self,
        cpu_clock: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._stages: dict[str, list[float]] = {}
        self._open: list[list[float]] = []
        self._cpu_clock = cpu_clock
        self._clock = clock
        self._began = (clock(), time.process_time())

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Measure the body of the `with` statement."""
        inner = [0.0, 0.0]
        self._open.append(inner)
        began = (self._clock(), self._cpu_clock())
        try:
            yield
        finally:
            took = (self._clock() - began[0], self._cpu_clock() - began[1])
            self._open.pop()
            if self._open:
                self._open[-1][0] += took[0]
                self._open[-1][1] += took[1]
            self.add(name, max(0.0, took[0] - inner[0]), max(0.0, took[1] - inner[1]))

    def add(self, name: str, seconds: float, cpu_seconds: float) -> None:
        """Add seconds that were measured elsewhere to a stage."""
        total = self._stages.setdefault(name, [0.0, 0.0])
        total[0] += seconds
        total[1] += cpu_seconds

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """The stages so far, in the order in which they first ended."""
        return tuple(
            StageCost(name=name, seconds=wall, cpu_seconds=cpu)
            for name, (wall, cpu) in self._stages.items()
        )

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return self._clock() - self._began[0]

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process since the start."""
        return time.process_time() - self._began[1]


_STATUS_BYTES = 8192


def peak_rss_bytes() -> int | None:
    """Return the peak resident memory of this process in bytes; None where unknown."""
    try:
        # getrusage would include the parent process up to this one's exec (proc(5)).
        with Path("/proc/self/status").open("rb", buffering=0) as file:
            _, _, rest = file.read(_STATUS_BYTES).partition(b"VmHWM:")
        return int(rest.split(maxsplit=1)[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    import sys

    # In KiB on Linux, in bytes on macOS (getrusage(2) of each).
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
