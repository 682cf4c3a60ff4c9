"""The threads in which asyncio's calls run, and the bound on those that wait for one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ragkit.errors import BusyError, ConfigError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_T = TypeVar("_T")


class Workers:
    """Threads for asyncio, made when they are first needed, in each process its own.

    A call that is cancelled while it waits is never run; one that runs goes on to its end.

    Args:
        n_threads: Calls that run at the same time.
        most_waiting: Calls that may wait for a thread; None for any number.
    """

    def __init__(self, n_threads: int, most_waiting: int | None) -> None:
        if n_threads < 1 or (most_waiting is not None and most_waiting < 0):
            raise ConfigError(
                f"async_threads {n_threads}, max_waiting {most_waiting}; allowed: at least 1, and "
                "at least 0 or None"
            )
        self._n_threads = n_threads
        self._most_waiting = most_waiting
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0
        self._n_calls = 0
        self._lock = threading.Lock()

    async def run(self, call: Callable[[], _T], *, goes_on: bool = False) -> _T:
        """Run a call in a thread.

        Args:
            call: What is run.
            goes_on: Whether it goes on with what was begun, and is not refused.

        Raises:
            BusyError: too many calls wait already.
        """
        import asyncio

        future = self._submit(call, goes_on=goes_on)
        return await asyncio.wrap_future(future)

    def _submit(self, call: Callable[[], _T], *, goes_on: bool) -> Future[_T]:
        with self._lock:
            if self._pool is None or self._pid != os.getpid():
                # A forked child has none of the threads.
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="ragkit")
                self._pid, self._n_calls = os.getpid(), 0
            most = None if self._most_waiting is None else self._n_threads + self._most_waiting
            if most is not None and self._n_calls >= most and not goes_on:
                raise BusyError(
                    f"{self._n_calls} calls run or wait already; allowed: {most} (async_threads "
                    f"{self._n_threads} and max_waiting {self._most_waiting})"
                )
            self._n_calls += 1
            future = self._pool.submit(call)
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: Future[_T]) -> None:
        with self._lock:
            self._n_calls -= 1

    def close(self) -> None:
        """Let the threads end with the calls that they run."""
        with self._lock:
            if self._pool is not None and self._pid == os.getpid():
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
