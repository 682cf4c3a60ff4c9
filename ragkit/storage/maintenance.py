"""A store's upkeep after writes: no trace left of what was removed, derived files up to date."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sqlite3
from contextlib import suppress

from ragkit.errors import StoreError
from ragkit.storage.ahead import drop_ahead
from ragkit.storage.database import DERIVED_FOLDER, RESTORE_FOLDER, Database
from ragkit.storage.findings import Finding
from ragkit.storage.rows import has_segments, read_settings
from ragkit.storage.schema import (
    RESTORED,
    SCHEMA_VERSION,
    UNSWEPT,
    read_manifest,
    schema_version,
    write_manifest,
)
from ragkit.storage.values import DerivedSizes
from ragkit.storage.writing import delete_segments, sweep_full_text


class Maintenance:
    """The upkeep of one store; the caller is its only writer.

    Args:
        database: The store's.
        sizes: When files are derived, and how large.
    """

    def __init__(self, database: Database, sizes: DerivedSizes) -> None:
        self._database = database
        self._sizes = sizes
        self._folder = database.path.parent
        self._derived = self._folder / DERIVED_FOLDER

    def is_unswept(self) -> bool:
        """Whether an index still holds words of removed chunks."""
        with self._database.reading() as connection:
            return UNSWEPT in read_manifest(connection) or _has_tombstones(connection)

    def bytes_by_part(self) -> dict[str, int]:
        """Return the sizes of the store's parts in bytes, by the names that `describe` prints."""
        with self._database.reading() as connection:
            is_old = schema_version(connection) < SCHEMA_VERSION
            column, table = ("sentences", "vector") if is_old else ("vector", "sentence")
            (sentences,) = connection.execute(
                f"SELECT coalesce(sum(length({column})), 0) FROM {table}"  # noqa: S608
            ).fetchone()
        file_bytes = self._database.path.stat().st_size
        return {
            "file_bytes": file_bytes,
            "derived_bytes": self._size_bytes() - file_bytes,
            "sentence_vector_bytes": sentences,
        }

    def _size_bytes(self) -> int:
        """Return the size of the store's file and of all that is derived from it."""
        derived = (path.stat().st_size for path in self._derived.glob("*"))
        return self._database.path.stat().st_size + sum(derived)

    def _has_log(self) -> bool:
        """Whether some writes have not been moved into the file yet."""
        path = self._database.path
        with suppress(OSError):
            return path.with_name(f"{path.name}-wal").stat().st_size > 0
        return False

    def settle(self, *, secure: bool, has_removed: bool) -> list[str]:
        """End a call that wrote: sweep out what it removed, bring derived files up to date.

        Args:
            secure: Sweep however long it takes, not only where it is quick.
            has_removed: Whether the call removed or replaced anything.

        Returns:
            What could not be done, and what to do about it, one line each.
        """
        with self._database.reading() as connection:
            sweeps = secure or n_chunks(connection) <= self._sizes.swept
            rewrites = secure or _n_chunks_to_rewrite(connection) <= self._sizes.rewritten
            unswept = UNSWEPT in read_manifest(connection)
        if unswept and sweeps:
            with self._database.writing() as connection:
                sweep_full_text(connection)
        notices: list[str] = []
        if (failure := self.derive(sweep=rewrites)) is not None:
            notices.append(
                f"the files that make searching quick could not be written: {failure}; searches "
                "read the store itself until the next ingest can write them"
            )
        with self._database.reading() as connection:
            is_held = _has_tombstones(connection)
        compact = f"ragkit doctor --compact --store {shlex.quote(str(self._folder))}"
        if is_held or (unswept and not sweeps):
            notices.append(
                "removed text is still held by the full-text index or by derived files, which are "
                f"large. Remove it from them with: {compact}"
            )
        self.seal()
        self._database.checkpoint()
        shutil.rmtree(self._folder / RESTORE_FOLDER, ignore_errors=True)
        if has_removed and self._has_log():
            notices.append(
                "removed text is still in the log, as a reader holds back emptying it. When it is "
                f"done: {compact}"
            )
        return notices

    def seal(self) -> None:
        """Seal the full-text index where it answers questions; derived files have their hashes."""
        with self._database.reading() as connection:
            if n_chunks(connection) >= self._sizes.first or has_segments(connection):
                return
        # Where the disk is too full for a seal the index is read unchecked.
        with suppress(StoreError), self._database.writing() as connection:
            from ragkit.storage.sealing import seal_full_text

            seal_full_text(connection)

    def derive(
        self,
        *,
        full: bool = False,
        sweep: bool = False,
        damaged: frozenset[str] = frozenset(),
    ) -> str | None:
        """Bring the files that searches read up to date.

        Args:
            full: Include all changes, not only when there are many.
            sweep: Rewrite every file that holds something of a removed chunk.
            damaged: Names of files to rewrite.

        Returns:
            The reason why they could not be written, or None on success. Searches then read the
            store itself.
        """
        if importlib.util.find_spec("numpy") is None:
            return self._delete_derived() if full or sweep else None
        if not (full or self._derived.exists()):
            with self._database.reading() as connection:
                if n_chunks(connection) < self._sizes.first and not has_segments(connection):
                    return None
        from ragkit.storage.segment_files import derive

        with self._database.reading() as connection:
            manifest = read_manifest(connection)
        settings = read_settings(manifest["settings"]) if "settings" in manifest else None
        try:
            derive(
                self._database,
                revision=int(manifest["generation"]),
                fingerprint=None if settings is None else settings.embedder_fingerprint,
                sizes=self._sizes,
                full=full,
                sweep=sweep,
                damaged=damaged,
            )
        except OSError as error:
            return str(error)
        return None

    def _delete_derived(self) -> str | None:
        """Where no derived file can be written, delete them if one holds a removed chunk."""
        with self._database.reading() as connection:
            if not _has_tombstones(connection):
                return None
        with self._database.writing() as connection:
            delete_segments(connection)
        try:
            for path in self._derived.glob("*"):
                path.unlink()
        except OSError as error:
            return str(error)
        return None

    def examine(self, *, repair: bool) -> list[Finding]:
        """Check the file and what is derived from it; rebuild what is derived when asked."""
        from ragkit.storage.doctor import examine

        findings = examine(
            self._database,
            repair=repair,
            derive=lambda damaged: self.derive(damaged=damaged),
        )
        if any(finding.repaired for finding in findings):
            self.seal()
        return findings

    def compact(self) -> int:
        """Merge the full-text index, give free space back, and return the bytes saved.

        Vectors that an interrupted ingest committed ahead go too.
        """
        before = self._size_bytes()
        with self._database.writing() as connection:
            drop_ahead(connection, lambda _: True)
            sweep_full_text(connection)
        with self._database.connection() as connection:
            connection.execute("VACUUM")
        failure = self.derive(full=True)
        if failure is not None:
            raise StoreError(f"store {self._folder}: {failure}")
        self.seal()
        self._database.checkpoint()
        return before - self._size_bytes()

    def part_from_original(self, revision: int) -> None:
        """Make a copied file a store of its own, of a revision beyond this one.

        Its derived files were not copied, and what readers know of rows is of another store.
        """
        with self._database.writing() as connection:
            delete_segments(connection)
            revision = max(revision, int(read_manifest(connection)["generation"]))
            write_manifest(connection, "generation", str(revision))
            write_manifest(connection, RESTORED, str(revision + 1))
        self.seal()


def n_chunks(connection: sqlite3.Connection) -> int:
    """Return the number of chunks."""
    found: int = connection.execute("SELECT count(*) FROM chunk").fetchone()[0]
    return found


def _has_tombstones(connection: sqlite3.Connection) -> bool:
    """Whether derived files hold removed chunks."""
    return connection.execute("SELECT 1 FROM tombstone LIMIT 1").fetchone() is not None


def _n_chunks_to_rewrite(connection: sqlite3.Connection) -> int:
    """Return the number of chunks in derived files that hold removed ones."""
    found: int = connection.execute(
        "SELECT coalesce(sum(n), 0) FROM segment WHERE EXISTS "
        "(SELECT 1 FROM tombstone WHERE row > first AND row <= last)"
    ).fetchone()[0]
    return found
