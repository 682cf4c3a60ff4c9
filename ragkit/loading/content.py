"""A file's bytes, to be read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Content:
    """A file's bytes: their number, and a function that gives them in blocks.

    `blocks` raises `LoadError` if they are not those that were promised, `OSError` if they cannot
    be read.
    """

    n_bytes: int
    blocks: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Return bytes that are in memory."""
        return cls(len(data), lambda: iter((data,)))
