"""The local store: documents, chunks, vectors and the words index in one SQLite file."""

from __future__ import annotations

import functools
import importlib.util
import json
import shlex
import sqlite3
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ragkit.costs.stopwatch import Stopwatch
from ragkit.errors import StoreDamagedError, StoreError
from ragkit.storage.calls import CLOSE_SECONDS
from ragkit.storage.database import (
    DERIVED_FOLDER,
    Database,
    writer_lock,
)
from ragkit.storage.findings import Finding
from ragkit.storage.kept import Memory
from ragkit.storage.rows import (
    CHUNK,
    DOCUMENT,
    byte_offsets,
    encoded,
    has_segments,
    marks_json,
    read_chunk,
    read_document,
)
from ragkit.storage.schema import (
    RESTORED,
    UNSWEPT,
    checksum,
    read_manifest,
    sealed,
    write_manifest,
)
from ragkit.storage.values import (
    DerivedSizes,
    DocumentRow,
    Manifest,
    PreparedDocument,
    StoredVectors,
    StoreSettings,
)
from ragkit.trimming import PoolChunk
from ragkit.types import (
    Chunk,
    Document,
    Hit,
    Query,
)

if TYPE_CHECKING:
    from ragkit.costs.stopwatch import Stopwatch
    from ragkit.storage.snapshot import LocalSnapshot
    from ragkit.trimming import PoolChunk
    from ragkit.types import Vector

RESTORE_FOLDER = ".restore.new"
"""In a store's folder: what a restore works in, and leaves there when it is killed."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _in_one_state(
    method: Callable[Concatenate[LocalStore, _P], _R],
) -> Callable[Concatenate[LocalStore, _P], _R]:
    """Make a method that only reads do so in one state of the file, with repetition if need be."""

    @functools.wraps(method)
    def run(self: LocalStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        database = self._database  # pyright: ignore[reportPrivateUsage] (its own decorator)
        return database.in_one_state(lambda: method(self, *args, **kwargs))

    return run


class LocalStore:
    """A store in a folder. Safe to share between threads; one process writes at a time.

    Args:
        folder: Where it is.
        create: Make it when there is none.
        sizes: When files are derived that searches read, and how large.

    Raises:
        StoreMissingError: there is no store and `create` is false.
        StoreDamagedError: the file is not a store, or cannot be read.
        StoreError: this user may not read it.

    Every method raises `StoreClosedError` once the store was closed.
    """

    def __init__(
        self, folder: str | Path, *, create: bool = False, sizes: DerivedSizes | None = None
    ) -> None:
        self.folder = Path(folder)
        self._database = Database(self.folder, create=create)
        self.sizes = sizes or DerivedSizes()
        self._memory = Memory()
        self._removed = False

    def __enter__(self) -> LocalStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- what the store is -------------------------------------------------------------------

    @property
    def read_only(self) -> bool:
        """Whether the store stands in a folder that cannot be written."""
        return self._database.read_only

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self._database.path

    @property
    @_in_one_state
    def revision(self) -> int:
        """Number of committed writes."""
        with self._database.reading() as connection:
            return _revision(connection)

    def missing_writes(self) -> str | None:
        """Return a line where acknowledged writes are missing; None too where nobody can tell."""
        from ragkit.storage.doctor import missing_writes  # hashlib loads OpenSSL, which is 4 MiB

        return None if self.read_only else missing_writes(self._database)

    @property
    def is_unswept(self) -> bool:
        """Whether something of what was removed still stands in an index."""
        with self._database.reading() as connection:
            return UNSWEPT in read_manifest(connection) or _has_tombstones(connection)

    @property
    def log_bytes(self) -> int:
        """Size of the log: what was written and does not stand in the file yet."""
        with suppress(OSError):
            return self.file.with_name(f"{self.file.name}-wal").stat().st_size
        return 0

    @property
    def damaged_files(self) -> Sequence[str]:
        """What is wrong with derived files that the last search could not use."""
        newest = self._memory.index.newest
        return () if newest is None else tuple(newest.damaged)

    @property
    def protected(self) -> bool:
        """Whether a query must say its groups."""
        return self.manifest().protected

    @property
    def settings(self) -> StoreSettings | None:
        """What the store was built with; None before the first ingest."""
        return self.manifest().settings

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return str(self.folder)

    def manifest(self) -> Manifest:
        """Return settings, protection and revision of one moment."""
        return self.in_one_state(lambda snapshot: snapshot.manifest())

    @_in_one_state
    def count(self) -> dict[str, int]:
        """Return the number of documents, chunks, sentences' and chunks' vectors, and tokens."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM document), count(*), count(vector), "
                "coalesce(sum(n_tokens), 0), coalesce(max(n_tokens), 0) FROM chunk"
            ).fetchone()
        if not all(isinstance(value, int) for value in row):
            raise StoreDamagedError(f"chunks of store {self.folder} are damaged: ragkit doctor")
        names = ("documents", "chunks", "chunks_with_vectors", "tokens", "largest_chunk_tokens")
        return dict(zip(names, row, strict=True))

    @_in_one_state
    def chunks_sha256(self) -> str:
        """Return a digest of all chunks' ids: equal for stores that hold the same chunks."""
        import hashlib  # loads OpenSSL, which is 4 MiB

        digest = hashlib.sha256()
        with self._database.reading() as connection:
            for (identity,) in connection.execute("SELECT id FROM chunk ORDER BY id"):
                digest.update(f"{identity}\n".encode())
        return digest.hexdigest()

    @_in_one_state
    def chunk_sketch(self, n: int) -> tuple[int, list[str]]:
        """Return the number of chunks and the n smallest ids: digests, so a fair sample."""
        with self._database.reading() as connection:
            n_chunks = connection.execute("SELECT count(*) FROM chunk").fetchone()[0]
            rows = connection.execute("SELECT id FROM chunk ORDER BY id LIMIT ?", (n,)).fetchall()
        return int(n_chunks), [str(row[0]) for row in rows]

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        """Return the language of most documents that these groups may see; None: of all."""
        return self.in_one_state(lambda snapshot: snapshot.language(groups=groups))

    def close(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Close all files; the store cannot be used afterwards.

        Calls of other threads end first, or raise `StoreClosedError` after so many seconds.
        """
        self._database.close(seconds)
        self._memory = Memory()

    def interrupt(self) -> None:
        """Close all files at once; calls of other threads raise `StoreClosedError`."""
        self.close(seconds=0)

    # --- reading -----------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Generator[LocalSnapshot, None, None]:
        """Hold one state of the store for a block of this thread.

        Raises:
            StoreBusyError: at the block's end, where the folder cannot be written and the file
                changed meanwhile; `in_one_state` reads again then.
        """
        from ragkit.storage.snapshot import LocalSnapshot

        with self._database.reading() as connection:
            snapshot = LocalSnapshot(self._database, connection, self._memory)
            try:
                yield snapshot
            finally:
                snapshot.end()

    def in_one_state(self, read: Callable[[LocalSnapshot], _R]) -> _R:
        """Return what is read from a snapshot; `read` only reads, as it may be called repeatedly.

        That happens only in a folder that cannot be written, where no lock keeps the file as it is.
        """

        def run() -> _R:
            with self.snapshot() as snapshot:
                return read(snapshot)

        return self._database.in_one_state(run)

    def search(self, query: Query, *, watch: Stopwatch | None = None) -> list[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        Filters and groups restrict before ranking. `watch` measures the stage `fuse`.

        Raises:
            ConfigError: the store is protected and the query states no groups, the filter is
                malformed, or the mode needs a vector that the query lacks.
        """
        return self.in_one_state(lambda snapshot: snapshot.search(query, watch=watch))

    def pool(self, hits: Sequence[Hit], vector: Vector | None) -> list[PoolChunk]:
        """Return the hits prepared for trimming, with sentence cosines where they are stored."""
        return self.in_one_state(lambda snapshot: snapshot.pool(hits, vector))

    @_in_one_state
    def documents(self, *, groups: tuple[str, ...] | None = None) -> Iterator[DocumentRow]:
        """Yield the documents that these groups may see, in order of id."""
        with self.snapshot() as snapshot, self._database.reading() as connection:
            allowed = snapshot.visible(Query(question="", groups=groups))
            rows = connection.execute(
                "SELECT document.row, document.id, source, title, sha256, "
                "(SELECT count(*) FROM chunk WHERE chunk.document = document.row), length(text) "
                "FROM document ORDER BY document.id"
            ).fetchall()
        return (
            DocumentRow(
                document_id=row[1],
                source=row[2],
                title=row[3],
                sha256=row[4],
                chunks=row[5],
                bytes=row[6],
            )
            for row in rows
            if allowed is None or row[0] in allowed
        )

    @_in_one_state
    def document(
        self,
        document_id: str,
        *,
        groups: tuple[str, ...] | None = None,
        everyone: bool = False,
    ) -> tuple[Document, str, list[Chunk]] | None:
        """Return a document, its SHA-256 and its chunks; None when there is none to be seen.

        `everyone` looks past groups: for the store's own upkeep, never for a reader.
        """
        with self.snapshot() as snapshot, self._database.reading() as connection:
            allowed = None if everyone else snapshot.visible(Query(question="", groups=groups))
            row = connection.execute(
                f"SELECT {DOCUMENT}, text FROM document WHERE id = ?",  # noqa: S608
                (document_id,),
            ).fetchone()
            if row is None or (allowed is not None and row[0] not in allowed):
                return None
            chunks = connection.execute(
                f"SELECT {CHUNK} FROM chunk JOIN document "  # noqa: S608
                "ON document.row = chunk.document WHERE document = ? ORDER BY start, end",
                (row[0],),
            ).fetchall()
        found = read_document(row[:-1])
        document = found.with_text(row[-1])
        return document, found.sha256, [read_chunk(document_id, fields) for fields in chunks]

    @_in_one_state
    def stored(self, ids: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return the fingerprint and the source of those that are stored, whoever may see them."""
        find = "SELECT fingerprint, source FROM document WHERE id = ?"
        with self._database.reading() as connection:
            rows = {name: connection.execute(find, (name,)).fetchone() for name in ids}
        return {name: (row[0], row[1]) for name, row in rows.items() if row is not None}

    @_in_one_state
    def sources(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the source of every document."""
        with self._database.reading() as connection:
            return iter(
                connection.execute("SELECT id, source FROM document ORDER BY id").fetchall()
            )

    @_in_one_state
    def known_vectors(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of the keys whose vectors are stored."""
        with self._database.reading() as connection:
            find = "SELECT 1 FROM vector WHERE key = ?"
            return {key for key in keys if connection.execute(find, (key,)).fetchone()}

    def bytes_by_part(self) -> dict[str, int]:
        """Return the sizes of the store's parts in bytes, by the names that `describe` prints."""
        file_bytes = self.file.stat().st_size
        return {
            "file_bytes": file_bytes,
            "derived_bytes": self.size_bytes() - file_bytes,
            "sentence_vector_bytes": self.sentence_vector_bytes(),
        }

    @_in_one_state
    def sentence_vector_bytes(self) -> int:
        """Return the size of all sentence vectors."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT coalesce(sum(length(sentences)), 0) FROM vector")
            return int(row.fetchone()[0])

    # --- writing -----------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Make all writes inside durable together, or not at all."""
        with self._database.writing():
            yield

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Be the only writer for a while, across processes.

        Raises:
            StoreBusyError: another process is.
            StoreError: the folder cannot be written.
        """
        with writer_lock(self.folder):
            yield

    @contextmanager
    def rebuilding(self, settings: StoreSettings) -> Generator[LocalStore, None, None]:
        """Give this store, with other settings, to write anew in one transaction."""
        with self.transaction():
            self.configure(settings)
            yield self

    def configure(self, settings: StoreSettings) -> None:
        """Record what the store is built with."""
        with self._database.writing() as connection:
            write_manifest(connection, "settings", json.dumps(asdict(settings)))

    def write(
        self, prepared: Sequence[PreparedDocument], vectors: Mapping[bytes, StoredVectors]
    ) -> Mapping[str, str]:
        """Replace these documents and their chunks in one transaction; all are taken.

        What replaced ones held stays in the words index and in derived files until `settle`.
        """
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO vector VALUES (NULL, ?, ?, ?)",
                [
                    (key, sealed(stored.chunk), sealed(stored.sentences))
                    for key, stored in vectors.items()
                ],
            )
            stale: set[int] = set()
            for item in prepared:
                stale |= self._replace(connection, item)
            _drop_unused_vectors(connection, stale)
        return {}

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Remove documents for good and return the ids that were there.

        `settle` sweeps out what derived files, and in a large store the words index, still hold.
        """
        removed: list[str] = []
        with self._database.writing() as connection:
            stale: set[int] = set()
            for document_id in ids:
                row = connection.execute(
                    "SELECT row FROM document WHERE id = ?", (document_id,)
                ).fetchone()
                if row is None:
                    continue
                self._removed = True
                stale |= _delete_chunks(connection, row[0])
                connection.execute("DELETE FROM document WHERE row = ?", (row[0],))
                removed.append(document_id)
            _drop_unused_vectors(connection, stale)
            if removed and _n_chunks(connection) <= self.sizes.swept:
                _sweep_words(connection)
        return removed

    @contextmanager
    def settling(
        self, notify: Callable[[str], None], *, secure: bool = False
    ) -> Generator[None, None, None]:
        """Bring indexes and derived files up to date at the end of a block that writes.

        Args:
            notify: Gets what could not be done, one line each.
            secure: As `settle` has it.

        Raises:
            StoreDamagedError: acknowledged writes are missing.
        """
        if (missing := self.missing_writes()) is not None:
            raise StoreDamagedError(missing)
        before = self.revision
        try:
            yield
            if self.revision != before or self.is_unswept:
                for notice in self.settle(secure=secure):
                    notify(notice)
        except BaseException:
            if self.revision != before:
                self.checkpoint()
            raise

    def settle(self, *, secure: bool = False) -> list[str]:
        """End a call that wrote: sweep out what it removed, bring derived files up to date.

        Args:
            secure: Sweep whatever it takes, not only where it is quick.

        Returns:
            What could not be done, and what to do about it, a line each.
        """
        with self._database.reading() as connection:
            sweeps = secure or _n_chunks(connection) <= self.sizes.swept
            rewrites = secure or _n_chunks_beside_removed(connection) <= self.sizes.rewritten
            unswept = UNSWEPT in read_manifest(connection)
        if unswept and sweeps:
            with self._database.writing() as connection:
                _sweep_words(connection)
        notices: list[str] = []
        if (failure := self.derive(swept=rewrites)) is not None:
            notices.append(
                f"the files that make searching quick could not be written: {failure}; searches "
                "read the store itself until the next ingest can write them"
            )
        with self._database.reading() as connection:
            held = _has_tombstones(connection)
        if held or (unswept and not sweeps):
            notices.append(
                "what was removed still stands in the words index or in derived files, which are "
                "large. Sweep it out with: ragkit doctor --compact --store "
                f"{shlex.quote(str(self.folder))}"
            )
        self._seal()
        self.checkpoint()
        import shutil

        shutil.rmtree(self.folder / RESTORE_FOLDER, ignore_errors=True)
        if self._removed and self.log_bytes:
            notices.append(
                "what was removed still stands in the log, which a reader holds back. When it is "
                f"done: ragkit doctor --compact --store {shlex.quote(str(self.folder))}"
            )
        self._removed = False
        return notices

    def part_from_original(self, revision: int) -> None:
        """Make a copied file a store of its own, of a revision beyond this one.

        Its derived files were not copied, and what readers know of rows is of another store.
        """
        with self._database.writing() as connection:
            connection.execute("DELETE FROM segment")
            connection.execute("DELETE FROM tombstone")
            revision = max(revision, _revision(connection))
            write_manifest(connection, "generation", str(revision))
            write_manifest(connection, RESTORED, str(revision + 1))
        self._seal()

    def _seal(self) -> None:
        """Seal the words index where questions are answered from it; else the files' hashes do."""
        with self._database.reading() as connection:
            if _n_chunks(connection) >= self.sizes.first or has_segments(connection):
                return
        # Where the disk is too full for a seal the index is read unchecked.
        with suppress(StoreError), self._database.writing() as connection:
            from ragkit.storage.sealing import seal_words

            seal_words(connection)

    def checkpoint(self) -> None:
        """Move everything into the one file."""
        self._database.checkpoint()

    # --- doctor ------------------------------------------------------------------------------

    @_in_one_state
    def examine(self, *, repair: bool = False) -> list[Finding]:
        """Check the file and what is derived from it; rebuild what is derived when asked."""
        from ragkit.storage.doctor import examine

        findings = examine(self._database, repair=repair, derive=self.derive)
        if any(finding.repaired for finding in findings):
            self._seal()
        return findings

    def derive(
        self,
        *,
        anew: bool = False,
        swept: bool = False,
        damaged: frozenset[str] = frozenset(),
    ) -> str | None:
        """Bring the files that searches read up to date; the caller is the only writer.

        Args:
            anew: Fold in all changes, not only when there are many.
            swept: Write every file anew that holds something of a removed chunk.
            damaged: Names of files to write anew.

        Returns:
            Why they could not be written; searches then read the store itself. None: they are.
        """
        if importlib.util.find_spec("numpy") is None:
            return self._drop_derived() if anew or swept else None
        from ragkit.storage.segment_files import derive

        settings = self.settings
        try:
            derive(
                self._database,
                revision=self.revision,
                fingerprint=None if settings is None else settings.embedder_fingerprint,
                sizes=self.sizes,
                anew=anew,
                swept=swept,
                damaged=damaged,
            )
        except OSError as error:
            return str(error)
        return None

    def _drop_derived(self) -> str | None:
        """Where no derived file can be written, delete them if one holds a removed chunk."""
        with self._database.reading() as connection:
            if not _has_tombstones(connection):
                return None
        with self._database.writing() as connection:
            connection.execute("DELETE FROM segment")
            connection.execute("DELETE FROM tombstone")
        try:
            for path in (self.folder / DERIVED_FOLDER).glob("*"):
                path.unlink()
        except OSError as error:
            return str(error)
        return None

    def compact(self) -> int:
        """Merge the words index, give free space back, and return the bytes saved."""
        before = self.size_bytes()
        with self._database.writing() as connection:
            _sweep_words(connection)
        with self._database.connection() as connection:
            connection.execute("VACUUM")
        failure = self.derive(anew=True)
        if failure is not None:
            raise StoreError(f"store {self.folder}: {failure}")
        self._seal()
        self.checkpoint()
        return before - self.size_bytes()

    def size_bytes(self) -> int:
        """Return the size of the store's file and of all that is derived from it."""
        derived = (path.stat().st_size for path in (self.folder / DERIVED_FOLDER).glob("*"))
        return self.file.stat().st_size + sum(derived)

    # --- inside ------------------------------------------------------------------------------

    def _replace(self, connection: sqlite3.Connection, item: PreparedDocument) -> set[int]:
        document = item.document
        if document.groups:
            write_manifest(connection, "protected", "true")
        old = connection.execute("SELECT row FROM document WHERE id = ?", (document.id,)).fetchone()
        stale = set[int]()
        if old is not None:
            self._removed = True
            stale = _delete_chunks(connection, old[0])
            connection.execute("DELETE FROM document WHERE row = ?", old)
            row = int(old[0])
        else:
            row = 1 + int(
                connection.execute("SELECT coalesce(max(row), 0) FROM document").fetchone()[0]
            )
        raw = encoded(document.text)
        import hashlib

        fields = (
            row,
            document.id,
            document.source,
            document.title,
            json.dumps(document.metadata),
            json.dumps(document.groups),
            hashlib.sha256(raw).hexdigest(),
            item.fingerprint,
            item.language,
            marks_json(document.marks),
        )
        connection.execute(
            "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*fields[:4], raw, *fields[4:], checksum(*fields)),
        )
        _insert_chunks(connection, row, item)
        return stale


def _insert_chunks(connection: sqlite3.Connection, document: int, item: PreparedDocument) -> None:
    text = item.document.text
    newest: int = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'chunk'"
    ).fetchone()[0]
    offsets = byte_offsets(text, item.chunks)
    for row, (chunk, tokens, key, (first_byte, n_bytes)) in enumerate(
        zip(item.chunks, item.tokens, item.vector_keys, offsets, strict=True), start=newest + 1
    ):
        vector = None
        if key is not None:
            (vector,) = connection.execute(
                "SELECT row FROM vector WHERE key = ?", (key,)
            ).fetchone()
        sentences = json.dumps(chunk.sentences, separators=(",", ":"))
        long = (sentences, marks_json(chunk.marks), tokens)
        whose, span, n_tokens = (row, chunk.id, document), (chunk.start, chunk.end), chunk.n_tokens
        raw = encoded(text[chunk.start : chunk.end])
        check = checksum(*whose, *span, n_tokens, *long, vector, raw)
        connection.execute(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*whose, vector, *span, first_byte, n_bytes, n_tokens, check, *long),
        )
        connection.execute("INSERT INTO words(rowid, tokens) VALUES (?, ?)", (row, tokens))


def _revision(connection: sqlite3.Connection) -> int:
    return int(read_manifest(connection)["generation"])


def _n_chunks(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM chunk").fetchone()[0]
    return found


def _n_chunks_beside_removed(connection: sqlite3.Connection) -> int:
    """Return the number of chunks in derived files that hold removed ones."""
    found: int = connection.execute(
        "SELECT coalesce(sum(n), 0) FROM segment WHERE EXISTS "
        "(SELECT 1 FROM tombstone WHERE row > first AND row <= last)"
    ).fetchone()[0]
    return found


def _has_tombstones(connection: sqlite3.Connection) -> bool:
    """Whether derived files hold removed chunks."""
    return connection.execute("SELECT 1 FROM tombstone LIMIT 1").fetchone() is not None


def _delete_chunks(connection: sqlite3.Connection, document: int) -> set[int]:
    """Delete a document's chunks and return the vectors that they used."""
    rows = connection.execute(
        "SELECT row, tokens, vector FROM chunk WHERE document = ?", (document,)
    ).fetchall()
    connection.executemany(
        "INSERT INTO words(words, rowid, tokens) VALUES ('delete', ?, ?)",
        [row[:2] for row in rows],
    )
    connection.execute(
        "INSERT INTO tombstone SELECT row FROM chunk WHERE document = ? "
        "AND row <= (SELECT max(last) FROM segment)",
        (document,),
    )
    connection.execute("DELETE FROM chunk WHERE document = ?", (document,))
    write_manifest(connection, UNSWEPT, "true")
    return {row[2] for row in rows if row[2] is not None}


def _sweep_words(connection: sqlite3.Connection) -> None:
    """Merge the words index into one segment: deleted words stay in it until then."""
    connection.execute("INSERT INTO words(words) VALUES ('optimize')")
    connection.execute("DELETE FROM manifest WHERE key = ?", (UNSWEPT,))


def _drop_unused_vectors(connection: sqlite3.Connection, rows: Collection[int]) -> None:
    connection.executemany(
        "DELETE FROM vector WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM chunk WHERE vector = ?1)",
        [(row,) for row in rows],
    )
