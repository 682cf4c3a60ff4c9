"""Calls that end on time, whatever a client library waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


def call_within(
    seconds: float, function: Callable[[], _T], *, drop: Callable[[_T], None] | None = None
) -> _T:
    """Return what a function returns, or raise `TimeoutError` when it takes longer.

    Time-outs of sockets hold for each read, so that a server which sends a byte now and then keeps
    a caller for ever. The function runs in a thread of its own, which is left behind when time is
    up: it ends with its connection. `drop` is given what still comes then.
    """
    task = _Task(function, drop)
    task.start()
    task.join(max(0.0, seconds))
    return task.result()


class _Task(threading.Thread, Generic[_T]):
    def __init__(self, function: Callable[[], _T], drop: Callable[[_T], None] | None) -> None:
        super().__init__(name="ragkit-remote-call", daemon=True)
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
            results.append(self._function())
        # What went wrong in the thread goes wrong in the caller, whatever it is.
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
