"""Loading documents in threads before their turn, where an ingest has more than one core."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ragkit.loading import turns
from ragkit.types import Document, PendingDocument

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from ragkit.costs.stopwatch import Stopwatch


class LoadingAhead:
    """Loads the documents that are expected, some at a time, while earlier ones are worked on.

    Documents are taken in the order in which they were expected; one that is passed over is
    dropped. Large ones are held one at a time (`ragkit.loading.turns`). With one thread, the next
    one is parsed ahead if another process can do that.

    Args:
        n_threads: Documents that are loaded at the same time; one more may wait to be taken.
        watch: Measures the stage `load`: what its threads use is added as CPU seconds.

    Attributes:
        cpu_seconds: What the threads have used.
    """

    def __init__(self, n_threads: int, watch: Stopwatch) -> None:
        self._n_threads = n_threads
        self._watch = watch
        self._expected: deque[PendingDocument] = deque()
        self._loading: deque[tuple[PendingDocument, Future[Document]]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._n_begun = self._n_taken = 0
        self._taken = threading.Condition()
        self.cpu_seconds = 0.0

    def expect(self, items: Iterable[PendingDocument]) -> None:
        """Begin to load documents that will be taken next, in this order."""
        # What is left was passed over; to hold it would hold the bytes of its file.
        self._expected = deque(items)
        if self._n_threads > 1:
            self._fill()

    def load(self, item: PendingDocument) -> Document:
        """Return a document; errors as its own `load` has them."""
        while self._loading:
            expected, future = self._loading.popleft()
            self._take(self._n_taken + 1)
            self._fill()
            if expected is item:
                return future.result()
            future.cancel()
        if self._n_threads > 1:
            return item.load()
        while self._expected and self._expected.popleft() is not item:
            pass
        try:
            return item.load()
        finally:
            if self._expected and (begin := self._expected[0].begin):
                begin()

    def close(self) -> None:
        """Drop what is expected, and wait for what is being loaded."""
        self._expected.clear()
        self._loading.clear()
        self._take(sys.maxsize)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _fill(self) -> None:
        while self._expected and len(self._loading) <= self._n_threads:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="load")
            item = self._expected.popleft()
            number, self._n_begun = self._n_begun, self._n_begun + 1
            self._loading.append((item, self._pool.submit(self._timed, item, number)))

    def _take(self, n_taken: int) -> None:
        with self._taken:
            self._n_taken = n_taken
            self._taken.notify_all()

    def _wait_for(self, number: int) -> float:
        began = time.monotonic()
        with self._taken:
            self._taken.wait_for(lambda: number < self._n_taken)
        return time.monotonic() - began

    def _timed(self, item: PendingDocument, number: int) -> Document:
        began = time.thread_time()
        turns.waiting.set(lambda: self._wait_for(number))
        try:
            return item.load()
        finally:
            used = time.thread_time() - began
            self.cpu_seconds += used
            self._watch.add("load", 0.0, used)
