"""Turns at something that serves one at a time, in the order in which they are asked for."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock whose waiters are served first come, first served; a waiter may give up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False

    def take(self, seconds: float | None = None) -> bool:
        """Wait for a turn, at most so many seconds (None: without end); whether it has come."""
        mine = threading.Event()
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return True
            self._waiting.append(mine)
        try:
            mine.wait(seconds)
        except BaseException:  # an interrupt of the program
            if self._has_come(mine):
                self.give_back()
            raise
        return self._has_come(mine)

    def give_back(self) -> None:
        """End a turn that was taken; the next one begins."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False

    def _has_come(self, mine: threading.Event) -> bool:
        """Whether a turn has come; one that has not leaves the queue."""
        with self._lock:
            if not mine.is_set():
                self._waiting.remove(mine)
            return mine.is_set()
