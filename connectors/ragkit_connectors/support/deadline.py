"""Deadlines that hold whatever a client library waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from typing import Generic, TypeVar

from ragkit.errors import ConfigError

_T = TypeVar("_T")


class Deadline:
    """When waiting for a server ends: a limit for each part, and one for all of them.

    Args:
        seconds: Longest wait for the first part, and from each part to the next; more than 0.
        total_seconds: Longest time for all of them; more than 0, None: no limit.
        clock: Seconds that never go back; for tests.

    Raises:
        ConfigError: a limit is not a number of seconds.
    """

    def __init__(
        self,
        seconds: float,
        *,
        total_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_limits(seconds, total_seconds)
        self._seconds = seconds
        self._total_seconds = float("inf") if total_seconds is None else total_seconds
        self._clock = clock
        self._ends = clock() + self._total_seconds
        self.renew()

    def renew(self) -> None:
        """Begin to wait for the next part."""
        self._next_ends = min(self._ends, self._clock() + self._seconds)

    def extend(self, seconds: float) -> None:
        """Allow that much more time for the next part, since the server asked for it."""
        self._next_ends = min(self._ends, self._next_ends + seconds)

    def each(self, parts: Iterable[_T]) -> Iterator[_T]:
        """Yield parts; the wait for one begins when the one before it has been taken."""
        self.renew()
        for part in parts:
            yield part
            self.renew()

    @property
    def seconds_left(self) -> float:
        """Time until the next part must be there, 0 or more."""
        return max(0.0, self._next_ends - self._clock())

    @property
    def total_seconds_left(self) -> float:
        """Time until the whole must be there, 0 or more; without a limit infinite."""
        return max(0.0, self._ends - self._clock())

    def check(self) -> float:
        """Return `seconds_left`; raises `TimeoutError` where there are none."""
        if not (left := self.seconds_left):
            raise TimeoutError
        return left

    @property
    def limit(self) -> tuple[str, float]:
        """Name and seconds of the limit that ends the wait for the next part."""
        is_whole = self._next_ends >= self._ends
        return ("total_timeout", self._total_seconds) if is_whole else ("timeout", self._seconds)


def check_limits(seconds: float, total_seconds: float | None) -> None:
    """Raise `ConfigError` unless both can be limits of a `Deadline`."""
    for name, value in (("timeout", seconds), ("total_timeout", total_seconds)):
        if value is not None and not 0.0 < value < float("inf"):
            raise ConfigError(f"{name}_seconds {value}; allowed: more than 0")


def call_within(
    seconds: float, function: Callable[[], _T], *, drop: Callable[[_T], None] | None = None
) -> _T:
    """Return what a function returns, or raise `TimeoutError` when it takes longer.

    Socket time-outs apply to each read, so a server that sends a byte now and then could hold a
    caller forever. The function runs in a thread of its own, which is abandoned when time is up and
    ends with its connection. `drop` is given what it still returns then.
    """
    task = _Task(function, drop)
    task.start()
    task.join(max(0.0, seconds))
    return task.result()


class _Task(threading.Thread, Generic[_T]):
    def __init__(self, function: Callable[[], _T], drop: Callable[[_T], None] | None) -> None:
        super().__init__(name="ragkit-remote-call", daemon=True)
        self._context = copy_context()  # what counts for the caller counts here too
        self._function = function
        self._drop = drop
        self._lock = threading.Lock()
        self._left = False
        self._results: list[_T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        results: list[_T] = []
        error = None
        try:
            results.append(self._context.run(self._function))
        # Whatever is raised in the thread is raised again in the caller.
        except BaseException as raised:
            error = raised
        with self._lock:
            self._results, self._error = results, error
            left = self._left
        if left and results and self._drop is not None:
            self._drop(results[0])

    def result(self) -> _T:
        """Return or raise what has come; raises `TimeoutError` where nothing has."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if not self._results:
                self._left = True
                raise TimeoutError
            return self._results[0]
