"""Hanging up on a server while another thread waits for its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar


class HangUp:
    """What ends the wait of whoever reads an answer; any thread may call `now`, once or often."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self.is_done = False

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Have `on_hang_up` register here what this thread waits for."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def add(self, call: Callable[[], object]) -> None:
        """Have something called by `now`; at once if that was called already."""
        with self._lock:
            if not self.is_done:
                self._calls.append(call)
                return
        call()

    def now(self) -> None:
        """End the wait."""
        with self._lock:
            self.is_done = True
            calls, self._calls = self._calls, []
        for call in calls:
            call()


_CURRENT: ContextVar[HangUp | None] = ContextVar("hang_up", default=None)


def on_hang_up(call: Callable[[], object]) -> None:
    """Have something called if the reader of this answer leaves; it must not raise.

    Another thread calls it, while this one waits for a server: closing the connection ends that.
    """
    current = _CURRENT.get()
    if current is not None:
        current.add(call)


def has_hung_up() -> bool:
    """Whether the reader of this answer has left."""
    current = _CURRENT.get()
    return current is not None and current.is_done
