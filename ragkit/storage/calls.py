"""Calls in flight: closing while other threads call, and what a fork must not share."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from weakref import WeakSet

from ragkit.errors import StoreClosedError

CLOSE_SECONDS = 5.0
"""How long closing waits for the calls in flight before it interrupts them."""

INTERRUPT_SECONDS = 1.0
"""How long it then waits for them to end."""

_INTERRUPT_EVERY_SECONDS = 0.02


class Forkable:
    """Base of what must be set right when a process forks; the methods do nothing by themselves."""

    def __init__(self) -> None:
        with _registering:
            _forkables.add(self)

    def before_fork(self) -> None:
        """Run in the thread that forks."""

    def after_fork_in_parent(self) -> None:
        """Run in the thread that has forked."""

    def after_fork_in_child(self) -> None:
        """Run in the child, where no other thread is; locks may be held by threads now gone."""


_registering = threading.Lock()
_forkables: WeakSet[Forkable] = WeakSet()


def _before_fork() -> None:
    # Held until the fork is done, so that the set is whole in both processes.
    _registering.acquire()
    for part in _forkables:
        part.before_fork()


def _after_fork_in_parent() -> None:
    for part in _forkables:
        part.after_fork_in_parent()
    _registering.release()


def _after_fork_in_child() -> None:
    for part in _forkables:
        part.after_fork_in_child()
    _registering.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )


class Calls(Forkable):
    """Counts the calls in flight, and lets none in once it is closed.

    Args:
        name: What is called, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._depths: Counter[int] = Counter()
        self._closed = self._paused = False
        self._at_last: Callable[[], None] | None = None
        super().__init__()

    @contextmanager
    def one(self) -> Generator[None, None, None]:
        """Be one of the calls in flight; those inside another one of the same thread always may.

        Raises:
            StoreClosedError: it was closed.
        """
        me = threading.get_ident()
        with self._changed:
            if not self._depths[me]:
                while self._paused:
                    self._changed.wait()
                if self._closed:
                    raise self.refusal()
            self._depths[me] += 1
        try:
            yield
        finally:
            at_last = None
            with self._changed:
                self._depths[me] -= 1
                if not self._depths[me]:
                    del self._depths[me]
                if not self._depths:
                    at_last, self._at_last = self._at_last, None
                self._changed.notify_all()
            if at_last is not None:
                at_last()

    def refusal(self) -> StoreClosedError:
        """Return the error of a call that comes too late."""
        return StoreClosedError(f"{self._name} was closed; open it again to go on")

    def close(
        self,
        finish: Callable[[], None],
        *,
        seconds: float,
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        """Let no new call in, wait for those in flight, then `finish`.

        The calls of the closing thread itself are not waited for. Where others have not ended after
        `seconds`, they are interrupted over and over for `INTERRUPT_SECONDS`; the last one to end
        then does `finish`.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            ended = self._wait(seconds)
            deadline = time.monotonic() + INTERRUPT_SECONDS
            while interrupt is not None and not ended and time.monotonic() < deadline:
                interrupt()
                ended = self._wait(_INTERRUPT_EVERY_SECONDS)
            if not ended:
                self._at_last = finish
                return
        finish()

    def pause(self, seconds: float) -> bool:
        """Hold new calls back and return whether none is in flight, after some time at most."""
        with self._changed:
            self._paused = True
            self._wait(seconds)
            return not self._depths

    def go_on(self) -> None:
        """Let calls in again."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        me = threading.get_ident()
        return self._changed.wait_for(lambda: not self._depths.keys() - {me}, seconds)

    def after_fork_in_child(self) -> None:
        """Forget the threads that are not here."""
        me = threading.get_ident()
        self._changed = threading.Condition()
        self._depths = Counter({me: self._depths[me]}) if self._depths[me] else Counter()
        self._paused = False
