"""Opening the store's SQLite file: schema, durability settings, and errors made readable.

One connection a thread; SQLite's write-ahead log lets readers see the last committed state while
one writer works.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragkit.errors import (
    OutdatedStoreError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreMissingError,
)
from ragkit.storage.schema import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    migrate,
    read_manifest,
    write_manifest,
)

FILE_NAME = "store.sqlite"
DERIVED_FOLDER = "derived"
"""Files in it may be deleted at any time: they are made again."""


@dataclass(frozen=True, slots=True)
class DerivedSizes:
    """When files are derived from a store, and how large they are, in chunks.

    Attributes:
        first: From so many chunks on there are derived files; below, reading the store itself is
            as quick.
        more: So many new chunks are worth another file.
        file: Most chunks of one: what making it holds in memory, and what a change rewrites;
            65,536 at most.
    """

    first: int = 10_000
    more: int = 4_096
    file: int = 16_384


BUSY_SECONDS = 5.0
"""How long a write waits for another one before it gives up."""


class Database:
    """Connections to one store file, one a thread, all closed together."""

    def __init__(self, folder: Path, *, create: bool) -> None:
        self.path = folder / FILE_NAME
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self.read_only = False
        if not self.path.exists():
            if not create:
                raise StoreMissingError(
                    f"there is no store at {folder}. Run: ragkit ingest PATH --store "
                    f"{shlex.quote(str(folder))}"
                )
            self._create(folder)
        self.read_only = not (os.access(folder, os.W_OK) and os.access(self.path, os.W_OK))
        self._check_schema()

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with readable_errors(self.path):
                connection = self._connect()
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Run several statements on one snapshot."""
        connection = self.connection()
        with readable_errors(self.path):
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Run statements that become durable together, or not at all; inner uses join the outer."""
        if self.read_only:
            raise StoreError(f"store {self.path.parent} is in a folder that cannot be written")
        connection = self.connection()
        if getattr(self._local, "writing", False):
            yield connection
            return
        with self._marked_as_writing(), readable_errors(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                generation = int(read_manifest(connection)["generation"])
                write_manifest(connection, "generation", str(generation + 1))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _marked_as_writing(self) -> Generator[None, None, None]:
        self._local.writing = True
        try:
            yield
        finally:
            self._local.writing = False

    def checkpoint(self) -> None:
        """Move the log into the file and empty the log, where no reader holds it."""
        if not self.read_only:
            with readable_errors(self.path):
                self.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()

    def _create(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"store {folder} cannot be created: {error}") from error
        temporary = folder / f".{FILE_NAME}.{os.getpid()}.new"
        with readable_errors(temporary):
            descriptor = os.open(temporary, os.O_CREAT | os.O_RDWR, 0o600)
            os.close(descriptor)
            connection = sqlite3.connect(temporary, isolation_level=None)
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
            # Whoever ingests a folder that holds the store must not read the store's own files.
            (folder / ".ragkitignore").write_text("*\n", encoding="utf-8")
            temporary.replace(self.path)
            for place in (folder, folder.absolute().parent):
                sync_folder(place)

    def _connect(self) -> sqlite3.Connection:
        if self.read_only:
            # SQLite cannot make its shared-memory file there; immutable tells it not to try.
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro&immutable=1",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        else:
            connection = sqlite3.connect(
                self.path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
            )
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
        return connection

    def _check_schema(self) -> None:
        connection = self.connection()
        with readable_errors(self.path):
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


def update_schema(folder: Path) -> None:
    """Bring the store in a folder to today's schema; all or nothing.

    Raises:
        StoreBusyError: another process is writing.
        StoreDamagedError: it cannot be read.
    """
    path = folder / FILE_NAME
    with writer_lock(folder), readable_errors(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
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
        file = (folder / "writer.lock").open("a+b")
    except OSError as error:
        raise StoreError(f"store {folder} cannot be written: {error}") from error
    with file:
        _lock(file.fileno(), folder)
        yield


@contextmanager
def readable_errors(path: Path) -> Generator[None, None, None]:
    """Turn SQLite's errors into ours, naming the file and the way out."""
    try:
        yield
    except sqlite3.OperationalError as error:
        message = str(error)
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


def _lock(descriptor: int, folder: Path) -> None:
    """Take the writer's lock or raise `StoreBusyError`; the operating system frees it at exit."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        lock = getattr(msvcrt, "locking")  # noqa: B009 (absent from the stubs of other systems)
        arguments: tuple[int, ...] = (descriptor, getattr(msvcrt, "LK_NBLCK"), 1)  # noqa: B009
    else:
        lock, arguments = fcntl.flock, (descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        lock(*arguments)
    except OSError as error:
        raise StoreBusyError(
            f"store {folder} is being written by another process; try again when it is done"
        ) from error
