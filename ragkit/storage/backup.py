"""Backups: one state of a store, examined before it counts, put in place atomically."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ragkit.errors import ConfigError, RagkitError, StoreDamagedError, StoreError, StoreMissingError
from ragkit.storage.acknowledged import note_acknowledged, read_acknowledged
from ragkit.storage.database import (
    BUSY_SECONDS,
    FILE_NAME,
    RESTORE_FOLDER,
    Database,
    readable_errors,
    sync_folder,
)
from ragkit.storage.doctor import missing_writes
from ragkit.storage.local import LocalStore
from ragkit.storage.schema import read_manifest
from ragkit.storage.values import Maintained
from ragkit.storage.writer_lock import writer_lock
from ragkit.types import Json

_LIST = "backups"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A backup that was made or restored: its size, its documents, whether it passed the checks."""

    bytes: int
    documents: int
    verified: bool

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit backup` and `ragkit restore`."""
        return {"schema": 1, **asdict(self)}


def back_up(store: Maintained, destination: Path, *, replace: bool = False) -> BackupReport:
    """Copy one state of a store to a folder, which is a store then; readers and writer go on.

    The copy is made under a temporary name beside its destination, examined as by `ragkit doctor`,
    made durable, then renamed.

    Args:
        store: To copy.
        destination: A folder that does not exist yet or is empty.
        replace: Replace a store that is there; its readers see either the old or the new one.

    Raises:
        ConfigError: there is something at the destination.
        StoreDamagedError: the copy is not sound; nothing is left at the destination.
        StoreError: the destination cannot be written.
    """
    destination = destination.absolute()
    there = (destination / FILE_NAME).exists()
    if destination == store.folder.absolute():
        raise ConfigError(f"{destination} is the store itself; name another folder")
    if there and not replace:
        raise ConfigError(
            f"{destination} is a store already; replace it with: ragkit backup --force DEST"
        )
    if destination.exists() and not there and not _is_empty_folder(destination):
        raise ConfigError(f"there is something at {destination}; name a folder that is not there")
    copy = _replace_store if there else _new_store
    report = copy(destination, store.folder)
    _remember(store.folder, destination)
    return report


def restore(folder: Path, source: Path) -> BackupReport:
    """Replace a store by a backup, or create it from one.

    The backup is copied into the folder and examined before anything is touched. Searches of other
    processes see the old content or the new one, never a mix.

    Args:
        folder: Of the store.
        source: A backup: a folder, or the SQLite file in it.

    Raises:
        StoreMissingError: there is no backup.
        StoreDamagedError: it is not sound.
        StoreBusyError: another process is writing to the store.
    """
    source = source.absolute()
    if source in {folder.absolute(), folder.absolute() / FILE_NAME}:
        raise ConfigError(f"{source} is the store itself; name a backup of it")
    if not (source.is_file() or (source / FILE_NAME).is_file()):
        raise StoreMissingError(f"there is no backup at {source}. Make one with: ragkit backup")
    report = _replace_store(folder.absolute(), source)
    _remember(folder, source)
    return report


def copies(folder: Path) -> list[str]:
    """Return where this store was backed up to or restored from.

    Deleted backups are left out, those on a disk that is not mounted are not.
    """
    try:
        lines = (folder / _LIST).read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    return [
        line
        for line in dict.fromkeys(lines)
        if line and (Path(line).exists() or not Path(line).parent.exists())
    ]


def _remember(folder: Path, place: Path) -> None:
    if str(place) not in copies(folder):
        with suppress(OSError):
            descriptor = os.open(folder / _LIST, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            with open(descriptor, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{place}\n")


def _is_empty_folder(place: Path) -> bool:
    return place.is_dir() and next(place.iterdir(), None) is None


def _new_store(folder: Path, source: Path) -> BackupReport:
    """Copy a store into a new folder, which is renamed into place when complete."""
    temporary = folder.with_name(f".{folder.name}.new")
    with _readable_os_errors(folder):
        if folder.exists():
            folder.rmdir()
        temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        with writer_lock(temporary):
            try:
                report = _copy(source, temporary, revision=0)
                (temporary / ".ragkitignore").write_text("*\n", encoding="utf-8")
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        temporary.rename(folder)
        sync_folder(folder.parent)
    return report


def _replace_store(folder: Path, source: Path) -> BackupReport:
    """Copy a store into another one's folder, then into its live file."""
    with _readable_os_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with writer_lock(folder):
            temporary = folder / RESTORE_FOLDER
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(mode=0o700)
            try:
                report = _copy(source, temporary, revision=_revision(folder))
                _install(temporary / FILE_NAME, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            with LocalStore(folder) as store:
                note_acknowledged(folder, store.revision)
                store.derive()
                store.checkpoint()
    return report


def _copy(source: Path, folder: Path, *, revision: int) -> BackupReport:
    """Copy a store's file into an empty folder, examine it there and make it durable.

    Args:
        source: A store's folder, or its SQLite file.
        folder: Where to.
        revision: The copy gets a larger one, which is larger than the source's too.

    Raises:
        StoreDamagedError: it is not sound.
    """
    file = folder / FILE_NAME
    for path in folder.glob(f"{FILE_NAME}*"):
        path.unlink()
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with _reading(source) as connection, closing(sqlite3.connect(file)) as target:
        connection.backup(target)
    try:
        with LocalStore(folder) as copy:
            copy.part_from_original(revision)
            unsound = [finding.check for finding in copy.examine()]
            documents = copy.count()["documents"]
            copy.checkpoint()
    except StoreDamagedError:
        unsound, documents = ["file"], 0
    if unsound:
        raise StoreDamagedError(
            f"{source} is not sound ({', '.join(unsound)}); nothing was changed. See: "
            f"ragkit doctor --store {shlex.quote(str(source))}"
        )
    with file.open("rb+") as copied:
        os.fsync(copied.fileno())
    sync_folder(folder)
    return BackupReport(bytes=file.stat().st_size, documents=documents, verified=True)


@contextmanager
def _reading(source: Path) -> Generator[sqlite3.Connection]:
    """Open a backup for reading one state of it."""
    if source.is_dir() or source.name == FILE_NAME:
        database = Database(source if source.is_dir() else source.parent)
        try:
            if (missing := missing_writes(database)) is not None:
                raise StoreDamagedError(missing)
            with database.reading() as connection:
                yield connection
        finally:
            database.close()
        return
    has_log = source.with_name(f"{source.name}-wal").exists()
    uri = f"{source.as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    with readable_errors(source), closing(sqlite3.connect(uri, uri=True)) as connection:
        yield connection


def _revision(folder: Path) -> int:
    """Return the largest revision that a folder's store may have had."""
    known = read_acknowledged(folder) or 0
    if (folder / FILE_NAME).exists():
        with suppress(RagkitError):
            database = Database(folder)
            try:
                with database.reading() as connection:
                    known = max(known, int(read_manifest(connection)["generation"]))
            finally:
                database.close()
    return known


def _install(file: Path, folder: Path) -> None:
    """Replace a store's file; the caller is its only writer.

    Renaming over a file in use would leave readers with the log of another file. So SQLite copies
    into the live file, in one transaction.
    """
    place = folder / FILE_NAME
    if place.exists():
        try:
            with readable_errors(place), closing(sqlite3.connect(file)) as copied:
                live = sqlite3.connect(place, timeout=BUSY_SECONDS, isolation_level=None)
                with closing(live):
                    live.execute("PRAGMA synchronous = FULL")
                    live.execute("PRAGMA secure_delete = ON")
                    copied.backup(live)
                    live.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except StoreDamagedError:
            pass  # Nobody can read that file, so nobody is in the way.
        else:
            return
    for suffix in ("-wal", "-shm"):
        place.with_name(place.name + suffix).unlink(missing_ok=True)
    file.replace(place)
    ignored = folder / ".ragkitignore"
    if not ignored.exists():
        ignored.write_text("*\n", encoding="utf-8")
    for one in (folder, folder.parent):
        sync_folder(one)


@contextmanager
def _readable_os_errors(place: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{place} cannot be written: {error}") from error
