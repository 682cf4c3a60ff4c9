"""Calls in flight: closing beside other threads, and state that a fork must not share."""

from __future__ import annotations

import importlib
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


def preload(*names: str) -> None:
    """Import modules that are otherwise imported when first used, before there are threads.

    If a process forks while another of its threads imports a module, that module's lock is never
    released in the child, which then waits for ever when it needs the module.
    """
    for name in names:
        importlib.import_module(name)


class Forkable:
    """Base of objects that need fixing when a process forks; its own methods do nothing."""

    def __init__(self) -> None:
        with _registering:
            _forkables.add(self)

    def before_fork(self) -> None:
        """Run in the thread that forks."""

    def after_fork_in_parent(self) -> None:
        """Run in the thread that has forked."""

    def after_fork_in_child(self) -> None:
        """Run in the child, which has no other threads; threads that are gone may hold locks."""


_registering = threading.Lock()
_forkables: WeakSet[Forkable] = WeakSet()


def _before_fork() -> None:
    # Held until the fork is done, so that the set is consistent in both processes.
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
    """Counts the calls in flight, and admits none once closed.

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
        """Be one of the calls in flight; nested calls of the same thread are always admitted.

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
        """Admit no new calls, wait for those in flight, then call `finish`.

        The calls of the closing thread itself are not waited for. If others have not ended after
        `seconds`, they are interrupted repeatedly for `INTERRUPT_SECONDS`; the last one to end then
        calls `finish`.
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
        """Hold back new calls, wait for at most `seconds`, and return whether none is in flight."""
        with self._changed:
            self._paused = True
            self._wait(seconds)
            return not self._depths

    def go_on(self) -> None:
        """Admit calls again."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def _wait(self, seconds: float) -> bool:
        me = threading.get_ident()
        return self._changed.wait_for(lambda: not self._depths.keys() - {me}, seconds)

    def after_fork_in_child(self) -> None:
        """Forget the threads that do not exist in the child."""
        me = threading.get_ident()
        self._changed = threading.Condition()
        self._depths = Counter({me: self._depths[me]}) if self._depths[me] else Counter()
        self._paused = False
