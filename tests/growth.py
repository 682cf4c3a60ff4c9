"""Work that may grow with its input, but no faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_TOO_LITTLE_SECONDS = 0.04
"""CPU time that says nothing: what is quadratic takes far more at the sizes of these tests."""


def cpu_seconds(work: Callable[[], object], *, repeats: int = 3) -> float:
    """Return the least CPU time of this thread that some work took; waiting costs none."""
    taken: list[float] = []
    for _ in range(repeats):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
        if taken[-1] < _TOO_LITTLE_SECONDS:
            break
    return min(taken)


def assert_linear(work: Callable[[_T], object], made: Callable[[int], _T], size: int) -> None:
    """Assert that twice the size takes at most three times the CPU time.

    Args:
        work: What is measured.
        made: Returns input of a size.
        size: The smaller one.
    """
    small, large = made(size), made(2 * size)
    seconds = cpu_seconds(lambda: work(large))
    if seconds < _TOO_LITTLE_SECONDS:
        return
    ratio = seconds / cpu_seconds(lambda: work(small))
    if ratio > 3.0:
        # Other work on the machine may have slowed the one and not the other.
        seconds = min(seconds, cpu_seconds(lambda: work(large)))
        ratio = seconds / cpu_seconds(lambda: work(small))
    assert ratio <= 3.0, f"twice the size took {ratio:.1f} times the CPU time"
