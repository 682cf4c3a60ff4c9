"""A bounded pool of connections to one SQLite file, each lent for a block."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from ragkit.errors import StoreError
from ragkit.storage.calls import Calls, Forkable

MOST_CONNECTIONS = 16
"""Open at a time; each holds two or three file descriptors. Further threads wait."""

FORK_SECONDS = 1.0
"""How long a fork waits for blocks under way in other threads."""


@dataclass(frozen=True, slots=True)
class FileState:
    """The file that a connection was opened on; once the file differs, the connection is useless.

    Attributes:
        options: How to open it, as the query part of SQLite's URI.
        identity: Device and inode.
        seen: Size and times in nanoseconds if no lock protects the file from changes; else empty.
    """

    options: str
    identity: tuple[int, int]
    seen: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Lent:
    """A connection and the file that it was opened on."""

    connection: sqlite3.Connection
    state: FileState


class _Held(threading.local):
    """What was lent to the block that this thread is in."""

    lent: Lent | None = None


class Connections(Forkable):
    """The connections to one file.

    SQLite tracks the locks it holds per process, so connections must not survive a fork: blocks
    under way end and all connections are closed before one.

    Args:
        name: The store's, for messages.
        start: Takes a connection from `take`, or another one, ready to be lent.
    """

    def __init__(self, name: str, start: Callable[[], Lent]) -> None:
        self._name = name
        self._start = start
        self._calls = Calls(name)
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._idle: list[Lent] = []
        self._used: set[Lent] = set()
        self._held = _Held()
        self._stopped = False
        self._is_quiet = True
        self._is_torn = False
        super().__init__()

    @property
    def held(self) -> Lent | None:
        """What was lent to the block that this thread is in; None outside of one."""
        return self._held.lent

    @contextmanager
    def lend(self) -> Generator[tuple[Lent, bool], None, None]:
        """Lend a connection for a block, and say whether the block is the outermost.

        Nested blocks of the same thread share the connection, and so the transaction.

        Raises:
            StoreClosedError: all were closed.
        """
        outer = self._held.lent
        if outer is not None:
            if self._stopped:
                raise self._calls.refusal()
            yield outer, False
            return
        with self._calls.one(), self._slots:
            if self._is_torn:
                raise StoreError(
                    f"{self._name} was in use by another thread while this process was forked; "
                    "fork when nothing runs, or start processes by spawning"
                )
            lent = self._start()
            with self._lock:
                self._used.add(lent)
            self._held.lent = lent
            try:
                yield lent, True
            finally:
                self._held.lent = None
                with self._lock:
                    self._used.discard(lent)
                self._take_back(lent)

    def take(self, state: FileState) -> Lent | None:
        """Return an idle connection that was opened on this state, and close those on others."""
        with self._lock:
            fitting = [lent for lent in self._idle if lent.state == state]
            others = [lent for lent in self._idle if lent.state != state]
            self._idle = fitting
            taken = fitting.pop() if fitting else None
        for lent in others:
            lent.connection.close()
        return taken

    def close(self, seconds: float) -> None:
        """Stop lending, and close each connection once the block it was lent to has ended."""
        self._calls.close(self._close_idle, seconds=seconds, interrupt=self._interrupt)

    def _take_back(self, lent: Lent) -> None:
        try:
            if lent.connection.in_transaction:
                lent.connection.execute("ROLLBACK")
        except sqlite3.Error:
            lent.connection.close()
        else:
            with self._lock:
                self._idle.append(lent)

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for lent in idle:
            lent.connection.close()

    def _interrupt(self) -> None:
        self._stopped = True
        with self._lock:
            for lent in self._used:
                lent.connection.interrupt()

    def before_fork(self) -> None:
        """Close all connections, so that the child shares none."""
        self._is_quiet = self._calls.pause(FORK_SECONDS)
        self._close_idle()

    def after_fork_in_parent(self) -> None:
        """Lend again."""
        self._calls.go_on()

    def after_fork_in_child(self) -> None:
        """Start afresh; connections in use stay open: closing would release the parent's locks."""
        self._is_torn = not self._is_quiet
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._held = _Held()
