"""How the cost of something grows, told by CPU seconds of one run: no clock on a wall is asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

TIMES = 4
LEAST_SECONDS = 0.002
"""What a clock can tell; shorter runs count as this long."""


def cpu_seconds(run: Callable[[], object], *, n_tries: int = 3) -> float:
    """Return the CPU seconds of this thread that the cheapest of some tries takes."""
    tries: list[float] = []
    for _ in range(n_tries):
        began = time.thread_time()
        run()
        tries.append(time.thread_time() - began)
    return max(min(tries), LEAST_SECONDS)


def growth(run: Callable[[int], object], size: int) -> float:
    """Return how many times the CPU seconds an input of `TIMES` times the size takes.

    About 4 where the cost grows with the size, 16 where it grows with its square. Other work on
    the machine may slow the larger and not the smaller: of some tries the lowest is returned, at
    the first that is linear.
    """
    lowest = math.inf
    for _ in range(5):
        large = cpu_seconds(lambda: run(TIMES * size))
        lowest = min(lowest, large / cpu_seconds(lambda: run(size)))
        if lowest < LINEAR:
            break
    return lowest


LINEAR = 9.0
"""A growth below this is linear, with room for caches and noise."""

TOO_LITTLE_SECONDS = 0.04
"""CPU time that says nothing: what is quadratic takes far more at the sizes of these tests."""


def assert_linear(work: Callable[[_T], object], made: Callable[[int], _T], size: int) -> None:
    """Assert that twice the size takes at most three times the CPU time.

    Args:
        work: What is measured.
        made: Returns input of a size.
        size: The smaller one.
    """
    small, large = made(size), made(2 * size)
    ratio = 0.0
    # Other work on the machine may slow the one and not the other; what is quadratic never passes.
    for _ in range(5):
        seconds = cpu_seconds(lambda: work(large))
        if seconds < TOO_LITTLE_SECONDS:
            return
        ratio = seconds / cpu_seconds(lambda: work(small))
        if ratio <= 3.0:
            return
    raise AssertionError(f"twice the size took {ratio:.1f} times the CPU time")
