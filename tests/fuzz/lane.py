"""How the tests of this folder run: briefly and always alike in the suite, longer in their lane.

In the suite each test sees a hundred examples, the same ones every time. `make fuzz` sets
`FUZZ_SECONDS`; the tests then share that time equally, each seeing new examples until its share is
used up (`conftest.py`). What is found goes to `found/` as a small file, so that it stays found.
"""

from __future__ import annotations

import os
import signal
import types
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, settings

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
"""What all tests of the lane may take together; 0: this is the suite."""

FUZZ = settings(
    max_examples=40 if SECONDS else 100,
    derandomize=not SECONDS,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
        HealthCheck.large_base_example,
        HealthCheck.too_slow,
    ],
)
"""In the suite 100 examples, as many as a test can see within seconds; in the lane, rounds of 40."""

FEWER = settings(FUZZ, max_examples=20 if SECONDS else 40)
"""For examples that take more than some milliseconds each."""

SLOW = settings(FUZZ, max_examples=5)
"""For examples that take more than a second each, which only the lane sees."""

lane_only = pytest.mark.skipif(not SECONDS, reason="takes minutes: run `make fuzz`")

CPU_SECONDS = 10.0
"""Far more than any example of some kilobytes may take: what takes longer hangs."""


class _OutOfCpuError(BaseException):
    """Raised inside what hangs; no `except Exception` swallows it."""


@contextmanager
def no_hang() -> Generator[None]:
    """Fail where what is inside takes more CPU time than anything of its size may."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return

    def stop(_number: int, _frame: types.FrameType | None) -> None:
        raise _OutOfCpuError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    except _OutOfCpuError:
        raise AssertionError(f"not done after {CPU_SECONDS:g} CPU seconds") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
