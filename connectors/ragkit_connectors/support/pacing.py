"""Fewer requests to a service: a capacity that queries wait for, and a cache of answers."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from ragkit.errors import RateLimitedError

_T = TypeVar("_T")


class Capacity:
    """Queries that may be made now; used up by each, refilled with time (a token bucket).

    Args:
        per_second: Queries per second that it is refilled with.
        most: Queries that may be made at once after a pause.
        clock: Seconds that never go back.
        sleep: Waits.
    """

    def __init__(
        self,
        per_second: float,
        most: int,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._per_second = per_second
        self._most = float(most)
        self._left = float(most)
        self._clock = clock
        self._sleep = sleep
        self._seen = clock()
        self._lock = threading.Lock()

    def take(self, patience_seconds: float) -> None:
        """Wait for one query's capacity; raises `RateLimitedError` where that takes too long."""
        with self._lock:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._seen) * self._per_second)
            self._seen = now
            wait_seconds = max(0.0, (1.0 - self._left) / self._per_second)
            if wait_seconds > patience_seconds:
                raise RateLimitedError(
                    f"the index has capacity for the next query in {wait_seconds:.0f} seconds, and "
                    f"retry_seconds is {patience_seconds:g}: add query capacity units and raise "
                    "queries_per_second, or ask less often"
                )
            # Taken before the wait, so that threads queue up instead of waking together.
            self._left -= 1.0
        self._sleep(wait_seconds)


class Cache(Generic[_T]):
    """Answers by question, kept for some seconds; 0 keeps none."""

    def __init__(self, seconds: float, *, most: int = 256) -> None:
        self._seconds = seconds
        self._most = most
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[float, _T]] = OrderedDict()

    def get(self, key: str) -> _T | None:
        """Return what was put within that time."""
        with self._lock:
            until, answer = self._found.get(key, (0.0, None))
        return answer if time.monotonic() < until else None

    def put(self, key: str, answer: _T) -> None:
        """Keep an answer, and forget the oldest."""
        if self._seconds > 0.0:
            with self._lock:
                self._found[key] = time.monotonic() + self._seconds, answer
                self._found.move_to_end(key)
                while len(self._found) > self._most:
                    self._found.popitem(last=False)
