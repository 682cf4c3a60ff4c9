"""Waiting between attempts: jitter, a cap, and a deadline that no wait passes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable


class Backoff:
    """Waits with decorrelated jitter that end before a deadline; one per operation.

    A wait is drawn from [base, 3 * the wait before], at most `cap_seconds` (M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        deadline: Moment of `time.monotonic` that no wait may reach.
        base_seconds: Shortest wait; more than 0.
        cap_seconds: Longest wait that is drawn; what a server asks for may be longer.
        draw: Returns a number between its arguments; for tests.
        sleep: Waits; for tests.
    """

    def __init__(
        self,
        deadline: float,
        *,
        base_seconds: float = 0.1,
        cap_seconds: float = 20.0,
        draw: Callable[[float, float], float] = random.uniform,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._deadline = deadline
        self._base_seconds = base_seconds
        self._cap_seconds = cap_seconds
        self._last_seconds = base_seconds
        self._draw = draw
        self._sleep = sleep
        self.n_waits = 0

    @property
    def seconds_left(self) -> float:
        """Time until the deadline; 0 when it has passed."""
        return max(0.0, self._deadline - time.monotonic())

    def wait(self, at_least_seconds: float = 0.0) -> bool:
        """Wait, at least as long as a server asked for; false, at once, where there is no time."""
        drawn = self._draw(self._base_seconds, 3.0 * self._last_seconds)
        self._last_seconds = min(self._cap_seconds, drawn)
        seconds = max(self._last_seconds, at_least_seconds)
        if seconds >= self.seconds_left:
            return False
        self.n_waits += 1
        self._sleep(seconds)
        return True
