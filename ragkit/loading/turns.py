"""Whose turn it is to hold a large document, where several are loaded at the same time.

Documents are stored in their order. A large one that is ready before its turn stays in the process
that parsed it, so that this one does not hold several at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

LARGE_BYTES = 2**22
"""Of an answer that is read only when its document is the next one."""

waiting: ContextVar[Callable[[], float] | None] = ContextVar("waiting", default=None)
"""Waits until the document that this thread loads is the next one; returns the seconds waited."""


def wait_for_turn(n_bytes: int) -> float:
    """Wait, if an answer of so many bytes has to, and return the seconds that this took."""
    wait = waiting.get()
    return 0.0 if wait is None or n_bytes < LARGE_BYTES else wait()
