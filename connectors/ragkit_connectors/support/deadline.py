"""Calls that end on time, whatever a client library waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def call_within(seconds: float, function: Callable[[], _T]) -> _T:
    """Return what a function returns, or raise `TimeoutError` when it takes longer.

    Time-outs of sockets hold for each read, so that a server which sends a byte now and then keeps
    a caller for ever. The function runs in a thread of its own, which is left behind when time is
    up: it ends with its connection.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        # What went wrong in the thread goes wrong in the caller, whatever it is.
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="ragkit-remote-call", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]
