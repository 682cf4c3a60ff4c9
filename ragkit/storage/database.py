"""Opening the store's SQLite file: schema, durability settings, and errors made readable.

A connection is lent for a block; SQLite's write-ahead log lets readers see the last committed state
while one writer works. A reader who may not write the folder reads through the log where there is
one; without a log it reads the file alone, and believes it when nothing has changed meanwhile.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ragkit import private
from ragkit.errors import (
    OutdatedStoreError,
    StoreBusyError,
    StoreClosedError,
    StoreDamagedError,
    StoreError,
    StoreMissingError,
)
from ragkit.storage.acknowledged import forget_acknowledged, note_acknowledged
from ragkit.storage.calls import CLOSE_SECONDS, Forkable
from ragkit.storage.connections import Connections, FileState, Lent
from ragkit.storage.schema import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    migrate,
    read_manifest,
    write_manifest,
)

_T = TypeVar("_T")

FILE_NAME = "store.sqlite"
DERIVED_FOLDER = "derived"
"""Files in it may be deleted at any time: they are made again."""


BUSY_SECONDS = 5.0
"""How long a write waits for another one before it gives up; a reader for a state that stays."""

_INDEX_SECONDS = 1.0
"""How long a log may be without its index: for moments, while a writer opens or closes."""

_AGAIN_SECONDS = 0.005

_FRESH_TRIES = 4
"""How often a reader who may not write reads anew because a write was committed meanwhile."""


class Database:
    """The connections to one store file, lent for the length of a block.

    Args:
        folder: The store's.
        create: Make the file when there is none.

    Raises:
        StoreMissingError: there is no file and `create` is false.
        StoreError: it cannot be read, or is not a store that this ragkit reads.
    """

    def __init__(self, folder: Path, *, create: bool) -> None:
        self.path = folder / FILE_NAME
        self._connections = Connections(f"store {folder}", self._start)
        self._is_writing = threading.local()
        if create:
            self._create(folder)
        self.read_only = has_store(folder) and not (
            _allowed(folder, os.W_OK) and _allowed(self.path, os.W_OK)
        )
        try:
            self.in_one_state(self._check)
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        with self.connection():
            pass

    @contextmanager
    def connection(self) -> Generator[sqlite3.Connection, None, None]:
        """Lend a connection outside of a transaction; inner uses get the outer's."""
        with self._connections.lend() as (lent, _), readable_errors(self.path):
            yield lent.connection

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Run several statements on one snapshot; inner uses join the outer."""
        with self._connections.lend() as (lent, is_outermost), readable_errors(self.path):
            if not is_outermost:
                yield lent.connection
                return
            if not lent.connection.in_transaction:
                lent.connection.execute("BEGIN")
            try:
                yield lent.connection
            except Exception as error:
                if self._has_changed(lent.state):
                    raise self._changed() from error
                raise
            if self._has_changed(lent.state):
                raise self._changed()

    def in_one_state(self, read: Callable[[], _T]) -> _T:
        """Run what only reads.

        A reader who may not write takes no lock where there is no log, so the file may change
        meanwhile; then it is run again. So it is, a few times at most, where a write was committed
        meanwhile: what was revoked before the reader has its answer is not in it.

        Raises:
            StoreBusyError: it changed again and again.
        """
        if not self.read_only or self._connections.held is not None:
            return read()
        deadline = time.monotonic() + BUSY_SECONDS
        tries = _FRESH_TRIES
        while True:
            try:
                with self.reading() as connection:
                    revision = read_manifest(connection)["generation"]
                    found = read()
                tries -= 1
                with self.reading() as connection:
                    if not tries or read_manifest(connection)["generation"] == revision:
                        return found
                continue
            except _ChangedError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN_SECONDS)

    @property
    def state(self) -> FileState | None:
        """What the block that this thread is in reads; None in one that writes."""
        held = self._connections.held
        return None if held is None or self._writes else held.state

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Run statements that become durable together, or not at all; inner uses join the outer."""
        if self.read_only:
            raise StoreError(f"store {self.path.parent} is in a folder that cannot be written")
        with self._connections.lend() as (lent, _):
            connection = lent.connection
            if self._writes:
                yield connection
                return
            with self._marked_as_writing(), readable_errors(self.path):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    revision = int(read_manifest(connection)["generation"])
                    write_manifest(connection, "generation", str(revision + 1))
                    connection.execute("COMMIT")
                    note_acknowledged(self.path.parent, revision + 1)
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    @property
    def _writes(self) -> bool:
        return getattr(self._is_writing, "value", False)

    @contextmanager
    def _marked_as_writing(self) -> Generator[None, None, None]:
        self._is_writing.value = True
        try:
            yield
        finally:
            self._is_writing.value = False

    def checkpoint(self) -> None:
        """Move the log into the file and empty the log, where no reader holds it."""
        if not self.read_only:
            with self.connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close all connections: calls in flight end first, or after so many seconds by an error.

        Later calls raise `StoreClosedError`.
        """
        self._connections.close(seconds)

    # --- creation ----------------------------------------------------------------------------

    def _create(self, folder: Path) -> None:
        """Make the file where there is none; whoever else makes it first is waited for."""
        deadline = time.monotonic() + BUSY_SECONDS
        while not has_store(folder):
            try:
                # Others may be let in: the files in it are their owner's alone until then.
                private.make_folder(folder, mode=0o755)
                with writer_lock(folder):
                    if not has_store(folder):
                        self._make(folder)
            except OSError as error:
                raise StoreError(f"store {folder} cannot be created: {error}") from error
            except StoreBusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN_SECONDS)

    def _make(self, folder: Path) -> None:
        """Make the file; the caller is the only writer."""
        for left in folder.glob(f".{FILE_NAME}.*.new*"):
            left.unlink(missing_ok=True)
        temporary = folder / f".{FILE_NAME}.{os.urandom(8).hex()}.new"
        with readable_errors(temporary):
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            os.close(descriptor)
            try:
                self._fill(temporary)
                # Whoever ingests a folder that holds the store must not read the store's own files.
                with open(folder / ".ragkitignore", "wb", opener=private.opener) as ignored:
                    ignored.write(b"*\n")
                forget_acknowledged(folder)
                _give_name(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)
            for place in (folder, folder.absolute().parent):
                sync_folder(place)

    def _fill(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {SCHEMA}")
            write_manifest(connection, "generation", "0")
            write_manifest(connection, "protected", "false")
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        finally:
            connection.close()

    # --- opening -----------------------------------------------------------------------------

    def _start(self) -> Lent:
        """Return a connection that is ready to be lent.

        For a reader who may not write, opening can fail for a moment while writers come and go.
        """
        began = time.monotonic()
        while True:
            state = self._look()
            lent = None
            try:
                if state is not None:
                    with readable_errors(self.path):
                        lent = self._opened(state)
            except StoreError as error:
                if not self._is_passing(state, error):
                    raise
            if lent is not None:
                return lent
            waited = time.monotonic() - began
            if waited > (_INDEX_SECONDS if state is None else BUSY_SECONDS):
                raise self._changed() if state is not None and state.seen else self._no_index()
            time.sleep(_AGAIN_SECONDS)

    def _opened(self, state: FileState) -> Lent | None:
        """Return a connection to the file in this state; None where it is no longer in it."""
        lent = self._connections.take(state)
        if lent is None:
            lent = Lent(self._connect(state), state)
            if self._look() != state:
                lent.connection.close()
                return None
        if self.read_only:
            try:
                # In a transaction from here on, so that what fails for a moment fails here.
                lent.connection.execute("BEGIN")
                lent.connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            except BaseException:
                lent.connection.close()
                raise
        return lent

    def _is_passing(self, state: FileState | None, error: StoreError) -> bool:
        """Whether to try again after an error."""
        if state is None or not self.read_only:
            return False
        if state.seen:
            return self._has_changed(state)
        return isinstance(error.__cause__, sqlite3.OperationalError)

    def _no_index(self) -> StoreError:
        folder = self.path.parent
        return StoreError(
            f"store {folder} has a log, {FILE_NAME}-wal, whose index cannot be used without "
            "permission to write the folder. As a user who may, run: "
            f"ragkit list --store {shlex.quote(str(folder))}"
        )

    def _look(self) -> FileState | None:
        """Return how the file is to be opened; None where the log's index is missing just now."""
        try:
            file = self.path.stat()
        except FileNotFoundError as error:
            raise _missing(self.path.parent) from error
        except OSError as error:
            raise StoreError(f"store {self.path.parent} cannot be read: {error}") from error
        identity = (file.st_dev, file.st_ino)
        if not self.read_only:
            return FileState("mode=rw", identity)
        self._check_readable("")
        if _allowed(self._beside("-wal"), os.R_OK) and _allowed(self._beside("-shm"), os.R_OK):
            return FileState("mode=ro&readonly_shm=1", identity)
        if not _size(self._beside("-wal")):
            # SQLite cannot make its shared-memory file there; immutable tells it not to try.
            seen = (file.st_size, file.st_mtime_ns, file.st_ctime_ns)
            return FileState("mode=ro&immutable=1", identity, seen)
        self._check_readable("-wal")
        self._check_readable("-shm")
        return None

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(FILE_NAME + suffix)

    def _check_readable(self, suffix: str) -> None:
        path = self._beside(suffix)
        if _size(path) is not None and not _allowed(path, os.R_OK):
            raise StoreError(
                f"store {path.parent} cannot be read: permission denied for {path.name}; its owner "
                f"can give it with: chmod a+r {path.parent}/{FILE_NAME}*"
            )

    def _has_changed(self, state: FileState) -> bool:
        """Whether the file is not what it was when nothing but its state vouches for it."""
        if not state.seen:
            return False
        try:
            return self._look() != state
        except StoreError:
            return True

    def _changed(self) -> _ChangedError:
        return _ChangedError(f"store {self.path.parent} is being written by another process; "
                             "try again later")  # fmt: skip

    def _connect(self, state: FileState) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{state.options}",
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            check_same_thread=False,
        )
        try:
            if not self.read_only:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = ON")
            self._check_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if application_id != APPLICATION_ID:
            raise StoreDamagedError(f"{self.path} is not a ragkit store")
        if version < SCHEMA_VERSION:
            raise OutdatedStoreError(
                f"store {self.path.parent} has the older schema {version}. Bring it up to date "
                f"with: ragkit doctor --repair --store {shlex.quote(str(self.path.parent))}"
            )
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"store {self.path.parent} has schema {version}, this ragkit reads up to "
                f"{SCHEMA_VERSION}: install a newer ragkit"
            )


class _ChangedError(StoreBusyError):
    """The file changed while it was read without a lock."""


def has_store(folder: Path) -> bool:
    """Return whether there is a store in a folder; raises `StoreError` where one may not look."""
    try:
        return (folder / FILE_NAME).exists()
    except OSError as error:
        raise StoreError(f"store {folder} cannot be read: {error}") from error


def _missing(folder: Path) -> StoreMissingError:
    return StoreMissingError(
        f"there is no store at {folder}. Run: ragkit ingest PATH --store {shlex.quote(str(folder))}"
    )


def _allowed(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _give_name(temporary: Path, path: Path) -> None:
    """Give a file its name, unless another one has it: a rename would take its place."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links; the writer's lock still holds
        temporary.rename(path)


def update_schema(folder: Path) -> None:
    """Bring the store in a folder to today's schema; all or nothing.

    Raises:
        StoreBusyError: another process is writing.
        StoreDamagedError: it cannot be read.
    """
    path = folder / FILE_NAME
    with writer_lock(folder), readable_errors(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
                migrate(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def writer_lock(folder: Path) -> Generator[None, None, None]:
    """Be the only writer for a while, across processes; the system frees the lock at exit.

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
    """The lock on a file of its own, which those who may write the store may open, nobody else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = os.open(
            folder / "writer.lock", os.O_CREAT | os.O_RDWR, 0o600
        )
        if os.name == "posix":
            store = folder / FILE_NAME
            writers = 0o222 & store.stat().st_mode if has_store(folder) else 0
            # Whoever could read it could lock it. Only its owner can set this right.
            with suppress(OSError):
                os.fchmod(self._descriptor, 0o600 | writers | writers << 1)
        super().__init__()

    def take(self) -> None:
        """Take the lock; raises `StoreBusyError` where it is taken."""
        assert self._descriptor is not None  # noqa: S101 (narrowing; not released yet)
        try:
            _lock(self._descriptor)
        except OSError as error:
            raise StoreBusyError(
                f"store {self._folder} is being written by another process; try again when it is "
                "done"
            ) from error

    def release(self) -> None:
        """Give the lock back, even where a child still has the file open."""
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


@contextmanager
def readable_errors(path: Path) -> Generator[None, None, None]:
    """Turn SQLite's errors into ours, naming the file and the way out."""
    try:
        yield
    except sqlite3.OperationalError as error:
        message = str(error)
        if message == "interrupted":
            raise StoreClosedError(
                f"store {path.parent} was closed while this call was running"
            ) from error
        if "locked" in message or "busy" in message:
            raise StoreBusyError(
                f"store {path.parent} is being written by another process; try again later"
            ) from error
        if "disk is full" in message or "disk I/O error" in message:
            what = "the disk is full" if "full" in message else "the disk refuses (quota? failing?)"
            raise StoreError(
                f"store {path.parent}: {what}; nothing that was acknowledged is lost, make room "
                "and run the same command again"
            ) from error
        if "malformed" in message or "decode to UTF-8" in message:
            raise _damaged(path, error) from error
        raise StoreError(f"store {path.parent}: {message}") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # SQLite's own messages may quote what is damaged.
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> StoreDamagedError:
    return StoreDamagedError(
        f"store {path.parent} is damaged ({error}). Run: ragkit doctor --store "
        f"{shlex.quote(str(path.parent))}"
    )


def _lock(descriptor: int) -> None:
    """Lock a file or raise `OSError`; the operating system frees it at exit."""
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
    """Unlock for all that have the open file; on Windows closing it does."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
