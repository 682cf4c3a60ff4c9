"""How the cost of something grows, told by CPU seconds of one run: no clock on a wall is asked."""

from __future__ import annotations

import time
from collections.abc import Callable

TIMES = 4
LEAST_SECONDS = 0.002
"""What a clock can tell; shorter runs count as this long."""


def cpu_seconds(run: Callable[[], object], *, n_tries: int = 3) -> float:
    """Return the CPU seconds of this process that the cheapest of some tries takes."""
    tries: list[float] = []
    for _ in range(n_tries):
        began = time.process_time()
        run()
        tries.append(time.process_time() - began)
    return max(min(tries), LEAST_SECONDS)


def growth(run: Callable[[int], object], size: int) -> float:
    """Return how many times the CPU seconds an input of `TIMES` times the size takes.

    About 4 where the cost grows with the size, 16 where it grows with its square.
    """
    return cpu_seconds(lambda: run(TIMES * size)) / cpu_seconds(lambda: run(size))


LINEAR = 9.0
"""A growth below this is linear, with room for caches and noise."""
