"""Opening the store's SQLite file: schema, durability settings, and errors made readable.

One connection a thread; SQLite's write-ahead log lets readers see the last committed state while
one writer works.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ragkit.errors import StoreBusyError, StoreDamagedError, StoreError, StoreMissingError

FILE_NAME = "store.sqlite"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x7261676B
"""`ragk`, in SQLite's header: tells a store from any other SQLite file."""

BUSY_SECONDS = 5.0
"""How long a write waits for another one before it gives up."""

WORDS_TABLE = """
CREATE VIRTUAL TABLE words USING fts5(
  tokens, content='chunk', content_rowid='row',
  tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* Co'"
)"""

_SCHEMA = """
CREATE TABLE manifest(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE document(
  row INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL,
  title TEXT NOT NULL,
  text BLOB NOT NULL,
  metadata TEXT NOT NULL,
  groups TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  language TEXT,
  marks TEXT NOT NULL
);
CREATE TABLE chunk(
  row INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  document INTEGER NOT NULL REFERENCES document(row),
  start INTEGER NOT NULL,
  end INTEGER NOT NULL,
  first_byte INTEGER NOT NULL,
  n_bytes INTEGER NOT NULL,
  n_tokens INTEGER NOT NULL,
  sentences TEXT NOT NULL,
  marks TEXT NOT NULL,
  tokens TEXT NOT NULL,
  vector_key BLOB
);
CREATE INDEX chunk_by_document ON chunk(document, start);
CREATE INDEX chunk_by_vector ON chunk(vector_key) WHERE vector_key IS NOT NULL;
CREATE TABLE vector(key BLOB PRIMARY KEY, vector BLOB NOT NULL, sentences BLOB) WITHOUT ROWID;
INSERT INTO manifest VALUES ('generation', '0'), ('protected', 'false');
"""
# `text` is a BLOB: SQLite's text functions stop at a NUL, and lone surrogates are not valid text.


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
                    f"there is no store at {folder}. Run: ragkit ingest PATH --store {folder}"
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
                connection.execute(
                    "UPDATE manifest SET value = CAST(value AS INTEGER) + 1 "
                    "WHERE key = 'generation'"
                )
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
                connection.executescript(f"BEGIN; {_SCHEMA} {WORDS_TABLE}; COMMIT;")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            finally:
                connection.close()
            # Whoever ingests a folder that holds the store must not read the store's own files.
            (folder / ".ragkitignore").write_text("*\n", encoding="utf-8")
            temporary.replace(self.path)

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
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"store {self.path.parent} has schema {version}, this ragkit reads up to "
                f"{SCHEMA_VERSION}: install a newer ragkit"
            )


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
        if "disk is full" in message:
            raise StoreError(
                f"store {path.parent}: the disk is full; nothing was lost, free space and run "
                "the same command again"
            ) from error
        if "malformed" in message:
            raise _damaged(path, error) from error
        raise StoreError(f"store {path.parent}: {message}") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: sqlite3.Error) -> StoreDamagedError:
    return StoreDamagedError(
        f"store {path.parent} is damaged ({error}). Run: ragkit doctor --store {path.parent}"
    )
