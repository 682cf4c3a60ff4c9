"""Memory that the C library keeps from the system though it is free."""

from __future__ import annotations

import sys
from contextlib import suppress

_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's `malloc.h`."""


def give_back() -> None:
    """Let the C library give back what is free: it keeps large blocks, in pieces of no use."""
    _call("malloc_trim", 0)


def share_heap() -> None:
    """Let all threads that begin from now on allocate from the heap of the first.

    Else each has a heap of its own, which stays as large as the largest document that it held. As
    this holds for the whole process, it is for programs and not for libraries.
    """
    _call("mallopt", _ARENA_MAX, 1)


def _call(name: str, *numbers: int) -> None:
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):  # another C library has none
            import ctypes

            getattr(ctypes.CDLL(None), name)(*numbers)
