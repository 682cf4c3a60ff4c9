"""Making a store's SQLite file, and bringing an older one up to date."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from ragkit import private
from ragkit.errors import StoreBusyError, StoreError
from ragkit.storage.acknowledged import forget_acknowledged
from ragkit.storage.database import (
    BUSY_SECONDS,
    FILE_NAME,
    RETRY_SECONDS,
    has_store,
    readable_errors,
    sync_folder,
)
from ragkit.storage.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, write_manifest
from ragkit.storage.writer_lock import writer_lock


def create_store(folder: Path) -> None:
    """Create the store unless there is one; waits for another process that is creating it."""
    deadline = time.monotonic() + BUSY_SECONDS
    while not has_store(folder):
        try:
            # Others may enter the folder: its files stay private until their modes are changed.
            private.make_folder(folder, mode=0o755)
            with writer_lock(folder):
                if not has_store(folder):
                    _make(folder)
        except OSError as error:
            raise StoreError(f"store {folder} cannot be created: {error}") from error
        except StoreBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)


def _make(folder: Path) -> None:
    """Create the file; the caller is the only writer."""
    for left in folder.glob(f".{FILE_NAME}.*.new*"):
        left.unlink(missing_ok=True)
    temporary = folder / f".{FILE_NAME}.{os.urandom(8).hex()}.new"
    with readable_errors(temporary):
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        os.close(descriptor)
        try:
            _fill(temporary)
            # Ingesting a folder that contains the store must not read the store's own files.
            with open(folder / ".ragkitignore", "wb", opener=private.opener) as ignored:
                ignored.write(b"*\n")
            forget_acknowledged(folder)
            _give_name(temporary, folder / FILE_NAME)
        finally:
            temporary.unlink(missing_ok=True)
        for place in (folder, folder.absolute().parent):
            sync_folder(place)


def _fill(path: Path) -> None:
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


def _give_name(temporary: Path, path: Path) -> None:
    """Link a file to its final name, unless that exists: a rename would replace it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links; the writer's lock still holds
        temporary.rename(path)


def update_schema(folder: Path) -> None:
    """Migrate the store in a folder to the current schema; all or nothing.

    Raises:
        StoreBusyError: another process is writing.
        StoreDamagedError: it cannot be read.
    """
    from ragkit.storage.migration import migrate

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
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            migrate(connection)
            connection.execute("COMMIT")
        finally:
            connection.close()
