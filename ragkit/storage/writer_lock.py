"""The lock that makes a process the only writer of a store."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ragkit.errors import StoreBusyError, StoreError
from ragkit.storage.calls import Forkable
from ragkit.storage.database import FILE_NAME, has_store


@contextmanager
def writer_lock(folder: Path) -> Generator[None, None, None]:
    """Be the only writer for a block, across processes; the system releases the lock at exit.

    Raises:
        StoreBusyError: another process is.
        StoreError: the folder cannot be written.
    """
    try:
        lock = _WriterLock(folder)
    except OSError as error:
        raise StoreError(f"store {folder} cannot be written: {error}") from error
    try:
        lock.take()
        yield
    finally:
        lock.release()


class _WriterLock(Forkable):
    """A lock on a file of its own, which only those with write access to the store may open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = os.open(
            folder / "writer.lock", os.O_CREAT | os.O_RDWR, 0o600
        )
        if os.name == "posix":
            store = folder / FILE_NAME
            writers = 0o222 & store.stat().st_mode if has_store(folder) else 0
            # Anyone who could read the file could lock it. Only its owner can change its mode.
            with suppress(OSError):
                os.fchmod(self._descriptor, 0o600 | writers | writers << 1)
        super().__init__()

    def take(self) -> None:
        """Take the lock; raises `StoreBusyError` if another process holds it."""
        assert self._descriptor is not None  # noqa: S101 (narrowing; not released yet)
        try:
            _lock(self._descriptor)
        except OSError as error:
            raise StoreBusyError(
                f"store {self._folder} is being written by another process; try again when it is "
                "done, or use a store that many can write to at once, such as "
                "opensearch:https://HOST/INDEX"
            ) from error

    def release(self) -> None:
        """Release the lock, even if a child process still has the file open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                _unlock(descriptor)
            finally:
                os.close(descriptor)

    def after_fork_in_child(self) -> None:
        """Leave the lock to the parent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> None:
    """Lock a file or raise `OSError`; the operating system releases it at exit."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        # Its names are absent from the stubs of other systems.
        lock = getattr(msvcrt, "locking")  # noqa: B009
        lock(descriptor, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unlock(descriptor: int) -> None:
    """Unlock for all processes that share the open file; on Windows closing does that."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
