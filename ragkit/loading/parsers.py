"""Several processes that parse, for threads that load documents at the same time."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from ragkit.loading.content import Content
from ragkit.loading.formats import Loader
from ragkit.loading.isolation import Limits, Worker
from ragkit.loading.loaded import LoadedText
from ragkit.loading.members import Member


class Parsers:
    """A parser of several processes; each call takes one that is free, or waits for one.

    Args:
        n_processes: How many at most; a process is started when all others are busy.
        limits: What one file may cost.

    Attributes:
        cpu_seconds: CPU seconds of all processes; complete when closed.
    """

    def __init__(self, n_processes: int, limits: Limits | None = None) -> None:
        self.cpu_seconds = 0.0
        self._workers = [Worker(limits) for _ in range(n_processes)]
        # Taken from the end, so that one caller alone uses one process.
        self._free = self._workers[::-1]
        self._changed = threading.Condition()

    def load(
        self, content: Content, *, name: str, loader: Loader, password: str | None = None
    ) -> LoadedText:
        """Return a file's text; errors as `Worker.load` has them."""
        with self._one() as worker:
            return worker.load(content, name=name, loader=loader, password=password)

    def members(self, content: Content, *, loader: Loader) -> list[Member]:
        """Return the files inside of one; errors as `Worker.load` has them."""
        with self._one() as worker:
            return worker.members(content, loader=loader)

    def pictures(
        self, content: Content, *, first: int, password: str | None = None
    ) -> list[Member]:
        """Return the next pages of a PDF that hold only images; errors as `load` has them."""
        with self._one() as worker:
            return worker.pictures(content, first=first, password=password)

    def close(self) -> None:
        """End the processes; one that parses ends with its file."""
        for worker in self._workers:
            worker.close()
        self.cpu_seconds = sum(worker.cpu_seconds for worker in self._workers)

    @contextmanager
    def _one(self) -> Generator[Worker]:
        with self._changed:
            while not self._free:
                self._changed.wait()
            worker = self._free.pop()
        try:
            yield worker
        finally:
            with self._changed:
                self._free.append(worker)
                self._changed.notify()
