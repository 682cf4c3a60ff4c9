"""Opening the store's SQLite file: schema, durability settings, and errors made readable.

A connection is lent for a block; SQLite's write-ahead log lets readers see the last committed state
while one writer works. A reader without write permission reads through the log if there is one;
without a log it reads the file alone, and trusts the result if the file has not changed meanwhile.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ragkit.errors import (
    OutdatedStoreError,
    StoreBusyError,
    StoreClosedError,
    StoreDamagedError,
    StoreError,
    StoreMissingError,
)
from ragkit.storage.acknowledged import note_acknowledged
from ragkit.storage.calls import CLOSE_SECONDS
from ragkit.storage.connections import Connections, FileState, Lent
from ragkit.storage.schema import (
    APPLICATION_ID,
    OLDEST_READ,
    SCHEMA_VERSION,
    read_manifest,
    schema_version,
    write_manifest,
)

_T = TypeVar("_T")

FILE_NAME = "store.sqlite"
DERIVED_FOLDER = "derived"
"""Files in it may be deleted at any time: they are rebuilt."""

RESTORE_FOLDER = ".restore.new"
"""In a store's folder: where a restore works; left behind if the restore is killed."""


BUSY_SECONDS = 5.0
"""How long a write waits for another one before it gives up, and a reader for a stable state."""

RETRY_SECONDS = 0.005

_INDEX_SECONDS = 1.0
"""How long a log may be without its index: briefly, while a writer opens or closes."""

_FRESH_TRIES = 4
"""How often a read without write permission is repeated because a write was committed meanwhile."""


class Database:
    """The connections to one store file, lent for the length of a block.

    Args:
        folder: The store's.

    Raises:
        StoreMissingError: there is no file.
        StoreError: it cannot be read, or is not a store that this ragkit reads.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._connections = Connections(f"store {folder}", self._start)
        self._is_writing = threading.local()
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
        """Lend a connection outside of a transaction; nested blocks share it."""
        with self._connections.lend() as (lent, _), readable_errors(self.path):
            yield lent.connection

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Run several statements on one snapshot; nested blocks join it."""
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
        """Run something that only reads, repeatedly if need be.

        A reader without write permission takes no lock when there is no log, so the file may change
        meanwhile; then the read is repeated. It is also repeated, a few times at most, if a write
        was committed meanwhile, so that nothing revoked before the reader gets its answer is in it.

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
            time.sleep(RETRY_SECONDS)

    @property
    def state(self) -> FileState | None:
        """The file that the block of this thread reads; None in a block that writes."""
        held = self._connections.held
        return None if held is None or self._writes else held.state

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Run statements that become durable together, or not at all; nested blocks join them.

        The first one in a store of an older schema migrates it.
        """
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
                    if schema_version(connection) < SCHEMA_VERSION:
                        from ragkit.storage.migration import migrate

                        migrate(connection)
                    yield connection
                    revision = int(read_manifest(connection)["generation"])
                    write_manifest(connection, "generation", str(revision + 1))
                    connection.execute("COMMIT")
                    note_acknowledged(self.path.parent, revision + 1)
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise

    def bring_up_to_date(self) -> None:
        """Migrate a store of an older schema."""
        with self.reading() as connection:
            is_old = schema_version(connection) < SCHEMA_VERSION
        if is_old:
            with self.writing():
                pass

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
        """Move the log into the file and empty it, unless a reader still needs it."""
        if not self.read_only:
            with self.connection() as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close all connections; calls in flight get this many seconds to end, then raise.

        Later calls raise `StoreClosedError`.
        """
        self._connections.close(seconds)

    # --- opening -----------------------------------------------------------------------------

    def _start(self) -> Lent:
        """Return a connection that is ready to be lent.

        For a reader without write permission, opening can fail briefly while writers come and go.
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
            time.sleep(RETRY_SECONDS)

    def _opened(self, state: FileState) -> Lent | None:
        """Return a connection to the file in this state; None if the state has changed."""
        lent = self._connections.take(state)
        if lent is None:
            lent = Lent(self._connect(state), state)
            if self._look() != state:
                lent.connection.close()
                return None
        if self.read_only:
            try:
                # In a transaction from here on, so that transient failures happen here.
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
        """Return how to open the file; None if the log's index is missing at the moment."""
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
            # SQLite cannot create its shared-memory file there; `immutable` stops it from trying.
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
        """Whether a file that no lock protects has changed."""
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
        version = schema_version(connection)
        if application_id != APPLICATION_ID:
            raise StoreDamagedError(f"{self.path} is not a ragkit store")
        if version < OLDEST_READ:
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
    """The file changed while it was being read without a lock."""


def has_store(folder: Path) -> bool:
    """Return whether there is a store in a folder; raises `StoreError` if access is denied."""
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


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, if the system supports it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def readable_errors(path: Path) -> Generator[None, None, None]:
    """Turn SQLite's errors into ours, naming the file and the remedy."""
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
