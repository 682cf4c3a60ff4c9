"""What `ragkit doctor` checks: every row, every derived file."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ragkit.errors import StoreBusyError, StoreDamagedError
from ragkit.storage.acknowledged import note_acknowledged, read_acknowledged
from ragkit.storage.ahead import UNUSED, read_ahead
from ragkit.storage.database import DERIVED_FOLDER, Database
from ragkit.storage.findings import Finding
from ragkit.storage.rows import (
    DOCUMENT,
    chunk_checksum,
    chunk_columns,
    read_settings,
    segment_infos,
)
from ragkit.storage.schema import checksum, read_manifest, schema_version, unsealed
from ragkit.storage.sealing import check_full_text
from ragkit.storage.vectors import unpack_rows

_SHOWN = 5
_MOST_ROWS = 2**63 - 1
_LEFT_OVER = {table: f"WHERE row <= ? AND {unused}" for table, unused in UNUSED.items()}
"""Which rows of these tables no chunk uses, nor a document that is being ingested."""


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    find: Callable[[], str | None]
    repair: Callable[[], None] | None = None


def examine(
    database: Database, *, repair: bool, derive: Callable[[frozenset[str]], object]
) -> list[Finding]:
    """Check everything; repair what is derived when asked.

    Args:
        database: The store's.
        repair: Repair too; the caller is the only writer.
        derive: Rewrites the derived files that are due, and those of the given names.
    """
    lines = _file_lines(database)
    if lines:
        return [Finding(check="file", detail=line, repairable=False) for line in lines]
    doctor = _Doctor(database, derive)
    checks = (
        _Check("manifest", doctor.manifest),
        _Check("acknowledged", doctor.acknowledged, doctor.accept),
        _Check("documents", doctor.documents),
        _Check("chunks", doctor.chunks),
        _Check("sentence_uses", doctor.sentence_uses, doctor.note_sentence_uses),
        _Check("vectors", doctor.vectors, doctor.drop_bad_vectors),
        _Check("missing_vectors", doctor.missing_vectors),
        _Check("words", doctor.words, doctor.rebuild_words),
        _Check("derived", doctor.derived, doctor.rebuild_derived),
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            detail = check.find()
        except StoreDamagedError as error:
            findings.append(Finding(check="file", detail=str(error), repairable=False))
            continue
        if detail is None:
            continue
        repaired = None
        if repair and check.repair is not None:
            check.repair()
            repaired = check.find() is None
        findings.append(
            Finding(
                check=check.name,
                detail=detail,
                repairable=check.repair is not None,
                repaired=repaired,
            )
        )
    return findings


def missing_writes(database: Database) -> str | None:
    """Return a line if acknowledged writes are missing; None if none are or that is unknown."""
    folder = database.path.parent
    acknowledged = read_acknowledged(folder)
    try:
        # Read after the note: a writer may be at work.
        with database.reading() as connection:
            revision = int(read_manifest(connection)["generation"])
    except StoreDamagedError:
        return None
    if acknowledged is None or acknowledged <= revision:
        return None
    return (
        f"{acknowledged - revision} acknowledged writes are missing from store {folder}: its log "
        "was damaged or left behind, or this is an older copy. Restore a backup, or accept what is "
        "there and ingest the rest again: ragkit doctor --repair --store "
        f"{shlex.quote(str(folder))}"
    )


def _file_lines(database: Database) -> list[str]:
    try:
        with database.reading() as connection:
            lines = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    except StoreDamagedError as error:
        return [str(error)]
    return [] if lines == ["ok"] else lines


class _Doctor:
    def __init__(self, database: Database, derive: Callable[[frozenset[str]], object]) -> None:
        self._database = database
        self._derive = derive
        self._folder = database.path.parent
        self._quoted = shlex.quote(str(self._folder))

    def manifest(self) -> str | None:
        try:
            with self._database.reading() as connection:
                read_manifest(connection)
        except StoreDamagedError as error:
            return str(error)
        return None

    def acknowledged(self) -> str | None:
        return missing_writes(self._database)

    def accept(self) -> None:
        with self._database.reading() as connection:
            revision = int(read_manifest(connection)["generation"])
        note_acknowledged(self._folder, revision)

    def documents(self) -> str | None:
        bad: list[str] = []
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {DOCUMENT}, text FROM document")  # noqa: S608
            for *fields, check, text in rows:
                whole = isinstance(text, bytes) and hashlib.sha256(text).hexdigest() == fields[6]
                if not whole or checksum(*fields) != check:
                    bad.append(str(fields[1]))
        if not bad:
            return None
        return (
            f"{len(bad)} documents are damaged: {_some(bad)}. Remove each, then ingest it again: "
            f"ragkit rm ID --store {self._quoted}"
        )

    def chunks(self) -> str | None:
        bad: list[str] = []
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {chunk_columns(connection)}, first_byte + n_bytes > length(text) "  # noqa: S608
                "FROM chunk LEFT JOIN document ON document.row = chunk.document"
            )
            for *fields, check, outside in rows:
                if outside != 0 or chunk_checksum(*fields) != check:
                    bad.append(str(fields[1]))
        if not bad:
            return None
        return (
            f"{len(bad)} chunks are damaged or reach outside their document: {_some(bad)}. "
            f"When the documents are sound: ragkit rebuild --store {self._quoted}"
        )

    def sentence_uses(self) -> str | None:
        """Compare what chunks say of the sentences' vectors that they use with the table of uses.

        A use that is not noted would let a vector go too early, one too many would keep it.
        """
        n_uses, n_missing = 0, 0
        with self._database.reading() as connection:
            if schema_version(connection) == 2:
                return None
            for chunk, rows in _sentences_by_chunk(connection):
                (n_noted,) = connection.execute(
                    "SELECT count(*) FROM sentence_use WHERE chunk = ? "
                    "AND sentence IN (SELECT value FROM json_each(?))",
                    (chunk, json.dumps(sorted(rows))),
                ).fetchone()
                n_uses += n_noted
                n_missing += n_noted != len(rows)
            (n_all,) = connection.execute("SELECT count(*) FROM sentence_use").fetchone()
        found = [f"{n_missing} chunks use sentences' vectors unnoted"] if n_missing else []
        more = [f"{n_all - n_uses} uses of sentences' vectors are by no chunk"]
        return "; ".join([*found, *(more if n_all != n_uses else [])]) or None

    def note_sentence_uses(self) -> None:
        with self._database.writing() as connection:
            connection.execute("DELETE FROM sentence_use")
            for chunk, rows in _sentences_by_chunk(connection):
                connection.executemany(
                    "INSERT INTO sentence_use VALUES (?, ?)", [(row, chunk) for row in rows]
                )

    def vectors(self) -> str | None:
        found: list[str] = []
        with self._database.reading() as connection:
            for table in _vector_tables(connection):
                (n_unused,) = connection.execute(
                    f"SELECT count(*) FROM {table} {_LEFT_OVER[table]}",  # noqa: S608
                    (_last_before_ahead(connection, table),),
                ).fetchone()
                n_bad = sum(1 for _ in _bad_vectors(connection, table))
                of = " of sentences" if table == "sentence" else ""
                found += [f"{n_unused} vectors{of} belong to no chunk"] if n_unused else []
                found += [f"{n_bad} vectors{of} are damaged"] if n_bad else []
        return "; ".join(found) or None

    def drop_bad_vectors(self) -> None:
        with self._database.writing() as connection:
            for table in _vector_tables(connection):
                bad = list(_bad_vectors(connection, table))
                delete = f"DELETE FROM {table}"  # noqa: S608
                last = _last_before_ahead(connection, table)
                connection.execute(f"{delete} {_LEFT_OVER[table]}", (last,))
                connection.executemany(f"{delete} WHERE row = ?", [(row,) for row in bad])

    def missing_vectors(self) -> str | None:
        with self._database.reading() as connection:
            (missing,) = connection.execute(
                "SELECT count(*) FROM chunk WHERE vector IS NOT NULL "
                "AND vector NOT IN (SELECT row FROM vector)"
            ).fetchone()
            if "sentence" in _vector_tables(connection):
                missing += self._n_without_sentences(connection)
        if not missing:
            return None
        return f"{missing} chunks lack their vector. Run: ragkit rebuild --store {self._quoted}"

    def _n_without_sentences(self, connection: sqlite3.Connection) -> int:
        """Return the number of chunks of which only vectors of sentences are missing."""
        manifest = read_manifest(connection)
        are_kept = "settings" in manifest and read_settings(manifest["settings"]).sentence_vectors
        (n,) = connection.execute(
            "SELECT count(DISTINCT chunk) FROM sentence_use "
            "WHERE sentence NOT IN (SELECT row FROM sentence)"
        ).fetchone()
        if are_kept:
            n += connection.execute(
                "SELECT count(*) FROM chunk WHERE vector IS NOT NULL AND sentence_rows IS NULL"
            ).fetchone()[0]
        return int(n)

    def words(self) -> str | None:
        if self._database.read_only:
            return None
        with self._database.connection() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO words(words, rank) VALUES ('integrity-check', 1)")
                check_full_text(connection, read_manifest(connection))
            except StoreDamagedError as error:
                return str(error)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if "locked" in str(error):
                    raise StoreBusyError(f"store {self._folder} is being written") from error
                return f"the full-text index contradicts the chunks: {error}"
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        return None

    def rebuild_words(self) -> None:
        with self._database.writing() as connection:
            connection.execute("INSERT INTO words(words) VALUES ('rebuild')")

    def derived(self) -> str | None:
        found: list[str] = []
        bad = self._bad_segments()
        if bad is None:
            return "the list of derived files is damaged"
        if bad:
            found.append(f"{len(bad)} derived files are missing or damaged: {_some(sorted(bad))}")
        if stale := self._stale_tombstones():
            found.append(f"{stale} chunks are marked as deleted and are not")
        if orphans := _orphaned_files(self._database):
            found.append(f"{len(orphans)} derived files belong to nothing: {_some(orphans)}")
        return "; ".join(found) or None

    def rebuild_derived(self) -> None:
        if self._stale_tombstones():
            with self._database.writing() as connection:
                connection.execute("DELETE FROM tombstone WHERE row IN (SELECT row FROM chunk)")
        self._derive(frozenset(self._bad_segments() or ()))

    def _stale_tombstones(self) -> int:
        with self._database.reading() as connection:
            found: int = connection.execute(
                "SELECT count(*) FROM tombstone WHERE row IN (SELECT row FROM chunk)"
            ).fetchone()[0]
        return found

    def _bad_segments(self) -> set[str] | None:
        """Return the names of missing or damaged files; None if the list of files is damaged."""
        bad: set[str] = set()
        try:
            with self._database.reading() as connection:
                infos = segment_infos(connection)
        except StoreDamagedError:
            return None
        for info in infos:
            try:
                with (self._folder / DERIVED_FOLDER / info.name).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                digest = ""
            if digest != info.sha256:
                bad.add(info.name)
        return bad


def _orphaned_files(database: Database) -> Sequence[str]:
    if importlib.util.find_spec("numpy") is None:
        return []
    from ragkit.storage.segment_files import orphaned_files

    return orphaned_files(database)


def _vector_tables(connection: sqlite3.Connection) -> Sequence[str]:
    return ("vector",) if schema_version(connection) == 2 else ("vector", "sentence")


def _last_before_ahead(connection: sqlite3.Connection, table: str) -> int:
    """Return the last row of a table of vectors before those that were committed ahead."""
    ahead = read_ahead(connection)
    return _MOST_ROWS if ahead is None else ahead.rows[table]


def _bad_vectors(connection: sqlite3.Connection, table: str) -> Iterator[int]:
    sentences = "sentences" if schema_version(connection) == 2 else "NULL"
    for row, *sealed in connection.execute(
        f"SELECT row, vector, {sentences} FROM {table}"  # noqa: S608
    ):
        try:
            for raw in sealed:
                if raw is not None:
                    unsealed(raw, "")
        except StoreDamagedError:
            yield row


def _sentences_by_chunk(connection: sqlite3.Connection) -> Iterator[tuple[int, set[int]]]:
    """Yield each chunk's row and those of its sentences' vectors."""
    for row, packed in connection.execute("SELECT row, sentence_rows FROM chunk"):
        yield row, set(unpack_rows(packed))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
