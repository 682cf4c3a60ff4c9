"""The local store: documents, chunks, vectors and the full-text index in one SQLite file."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property, wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ragkit.errors import StoreDamagedError, StoreError
from ragkit.storage.calls import CLOSE_SECONDS, preload
from ragkit.storage.database import Database
from ragkit.storage.findings import Finding
from ragkit.storage.kept import Memory
from ragkit.storage.rows import DOCUMENT, chunk_columns, read_chunk, read_document
from ragkit.storage.schema import (
    SCHEMA_VERSION,
    read_manifest,
    schema_version,
    stored_keys,
    write_manifest,
)
from ragkit.storage.values import (
    DerivedSizes,
    DocumentRow,
    FilledChunk,
    Manifest,
    PreparedDocument,
    StoredVectors,
    StoreSettings,
    VectorCounts,
    WaitingChunk,
)
from ragkit.types import (
    Chunk,
    Document,
    Hit,
    Query,
)

if TYPE_CHECKING:
    from ragkit.costs.stopwatch import Stopwatch
    from ragkit.storage.journal import IngestJournal
    from ragkit.storage.maintenance import Maintenance
    from ragkit.storage.snapshot import LocalSnapshot
    from ragkit.trimming import PoolChunk
    from ragkit.types import Vector

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _in_one_state(
    method: Callable[Concatenate[LocalStore, _P], _R],
) -> Callable[Concatenate[LocalStore, _P], _R]:
    """Make a method read in one state of the file, repeatedly if need be; it must only read."""

    @wraps(method)
    def run(self: LocalStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        database = self._database  # pyright: ignore[reportPrivateUsage] (its own decorator)
        return database.in_one_state(lambda: method(self, *args, **kwargs))

    return run


class LocalStore:
    """A store in a folder. Safe to share between threads; one process writes at a time.

    Args:
        folder: Where it is.
        create: Create it if there is none.
        sizes: When derived files are written, and how large they are.

    Raises:
        StoreMissingError: there is no store and `create` is false.
        StoreDamagedError: the file is not a store, or cannot be read.
        StoreError: this user may not read it.

    Every method raises `StoreClosedError` once the store is closed.
    """

    def __init__(
        self, folder: str | Path, *, create: bool = False, sizes: DerivedSizes | None = None
    ) -> None:
        preload(*(f"ragkit.storage.{name}" for name in ("snapshot", "writer_lock", "writing")))
        self.folder = Path(folder)
        if create:
            from ragkit.storage.creation import create_store

            create_store(self.folder)
        self._database = Database(self.folder)
        self.sizes = sizes or DerivedSizes()
        self._memory = Memory()
        self._has_removed = False

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
        """Whether the store is in a folder that cannot be written."""
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
            return int(read_manifest(connection)["generation"])

    @property
    def damaged_files(self) -> Sequence[str]:
        """What is wrong with derived files that the last search could not use."""
        newest = self._memory.index.newest
        return () if newest is None else tuple(newest.damaged)

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return str(self.folder)

    def manifest(self) -> Manifest:
        """Return settings, protection and revision, read together."""
        return self.in_one_state(lambda snapshot: snapshot.manifest())

    @_in_one_state
    def count(self) -> dict[str, int]:
        """Return the numbers of documents, chunks, chunks with vectors, and tokens."""
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
        """Return the number of chunks and the n smallest ids: digests, so a random sample."""
        with self._database.reading() as connection:
            n_chunks = connection.execute("SELECT count(*) FROM chunk").fetchone()[0]
            rows = connection.execute("SELECT id FROM chunk ORDER BY id LIMIT ?", (n,)).fetchall()
        return int(n_chunks), [str(row[0]) for row in rows]

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        """Return the language of most documents that these groups may see; None: of all."""
        return self.in_one_state(lambda snapshot: snapshot.language(groups=groups))

    def close(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Close all files; the store cannot be used afterwards.

        Calls of other threads get this many seconds to end, then raise `StoreClosedError`.
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
        ignore_groups: bool = False,
    ) -> tuple[Document, str, list[Chunk]] | None:
        """Return a document, its SHA-256 and its chunks; None where these groups see none.

        `ignore_groups` bypasses access control; internal maintenance only.
        """
        with self.snapshot() as snapshot, self._database.reading() as connection:
            query = Query(question="", groups=groups)
            allowed = None if ignore_groups else snapshot.visible(query)
            row = connection.execute(
                f"SELECT {DOCUMENT}, text FROM document WHERE id = ?",  # noqa: S608
                (document_id,),
            ).fetchone()
            if row is None or (allowed is not None and row[0] not in allowed):
                return None
            chunks = connection.execute(
                f"SELECT {chunk_columns(connection)} FROM chunk JOIN document "  # noqa: S608
                "ON document.row = chunk.document WHERE document = ? ORDER BY start, end",
                (row[0],),
            ).fetchall()
        found = read_document(row[:-1])
        document = found.with_text(row[-1])
        return document, found.sha256, [read_chunk(document_id, fields) for fields in chunks]

    @_in_one_state
    def stored(self, ids: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return the fingerprint and the source of those that are stored, regardless of groups."""
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
            return stored_keys(connection, "vector", keys)

    @_in_one_state
    def known_sentences(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of the keys whose vectors of sentences are stored, or follow from a chunk's.

        A store of an older schema keeps none by key.
        """
        with self._database.reading() as connection:
            found = stored_keys(connection, "vector", keys)
            if schema_version(connection) >= SCHEMA_VERSION:
                found |= stored_keys(connection, "sentence", keys)
        return found

    # --- writing -----------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Make all writes inside durable together, or not at all."""
        with self._database.writing():
            yield

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Be the only writer for a block, across processes; a store of schema 2 is migrated first.

        Raises:
            StoreBusyError: another process is.
            StoreError: the folder cannot be written.
        """
        from ragkit.storage.writer_lock import writer_lock

        with writer_lock(self.folder):
            self._database.bring_up_to_date()
            yield

    @contextmanager
    def rebuilding(self, settings: StoreSettings) -> Generator[LocalStore, None, None]:
        """Give this store, with other settings, to be rewritten in one transaction."""
        with self.transaction():
            self.configure(settings)
            yield self

    def configure(self, settings: StoreSettings) -> None:
        """Record the settings that the store is built with."""
        with self._database.writing() as connection:
            write_manifest(connection, "settings", json.dumps(asdict(settings)))

    def write(
        self, prepared: Sequence[PreparedDocument], vectors: Mapping[bytes, StoredVectors]
    ) -> Mapping[str, str]:
        """Replace these documents and their chunks in one transaction; all are taken.

        The full-text index and derived files hold the words of replaced ones until the
        store is settled.
        """
        from ragkit.storage.writing import write_documents

        with self._database.writing() as connection:
            self._has_removed |= write_documents(connection, prepared, vectors)
        return {}

    def vector_counts(self, *, groups: tuple[str, ...] | None = None) -> VectorCounts | None:
        """Return how many chunks have vectors, of those that these groups may see; None: of all.

        None without an embedder.
        """
        return self.in_one_state(lambda snapshot: snapshot.vector_counts(groups=groups))

    @_in_one_state
    def waiting(self, n: int, *, before: int | None = None) -> list[WaitingChunk]:
        """Return the n newest chunks without a vector, or the n newest before this row."""
        from ragkit.storage.late_vectors import waiting_chunks

        with self._database.reading() as connection:
            return waiting_chunks(connection, n, before)

    def fill(self, filled: Sequence[FilledChunk], vectors: Mapping[bytes, StoredVectors]) -> None:
        """Give stored chunks their vectors: those given here, or stored ones of the same key."""
        from ragkit.storage.late_vectors import fill_vectors

        with self._database.writing() as connection:
            fill_vectors(connection, filled, vectors)

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Remove documents for good and return the ids that were there.

        Derived files, and a large store's full-text index, hold their words until it is settled.
        """
        from ragkit.storage.ahead import drop_ahead
        from ragkit.storage.maintenance import n_chunks
        from ragkit.storage.writing import delete_documents, sweep_full_text

        with self._database.writing() as connection:
            deleted = delete_documents(connection, ids)
            if deleted:
                drop_ahead(connection, lambda _: True)
                self._has_removed = True
                if n_chunks(connection) <= self.sizes.swept:
                    sweep_full_text(connection)
        return deleted

    def checkpoint(self) -> None:
        """Move everything from the log into the file."""
        self._database.checkpoint()

    @property
    def journal(self) -> IngestJournal:
        """What ingests keep beside documents."""
        from ragkit.storage.journal import IngestJournal

        return IngestJournal(self._database)

    # --- upkeep ------------------------------------------------------------------------------

    @cached_property
    def _maintenance(self) -> Maintenance:
        from ragkit.storage.maintenance import Maintenance

        return Maintenance(self._database, self.sizes)

    @contextmanager
    def settling(
        self, notify: Callable[[str], None], *, secure: bool = False
    ) -> Generator[None, None, None]:
        """End a block that writes: sweep out what it removed, bring derived files up to date.

        Args:
            notify: Gets what could not be done, and what to do about it, one line each.
            secure: Sweep however long it takes, not only where it is quick.

        Raises:
            StoreDamagedError: acknowledged writes are missing.
        """
        if (missing := self.missing_writes()) is not None:
            raise StoreDamagedError(missing)
        before = self.revision
        try:
            yield
            if self.revision != before or self.is_unswept:
                for notice in self._maintenance.settle(
                    secure=secure, has_removed=self._has_removed
                ):
                    notify(notice)
                self._has_removed = False
        except BaseException:
            # Refused while the cursor of an interrupted read is open; the next write does it.
            with suppress(StoreError):
                if self.revision != before:
                    self.checkpoint()
            raise

    def derive(self) -> str | None:
        """Write the derived files that are due; the caller is the only writer.

        Returns:
            The reason why they could not be written, or None on success. Searches then read the
            store itself.
        """
        return self._maintenance.derive()

    def compact(self) -> int:
        """Merge the full-text index, give free space back, and return the bytes saved."""
        return self._maintenance.compact()

    @_in_one_state
    def examine(self, *, repair: bool = False) -> list[Finding]:
        """Check the file and what is derived from it; rebuild what is derived when asked."""
        return self._maintenance.examine(repair=repair)

    def part_from_original(self, revision: int) -> None:
        """Make a copied file a store of its own, of a revision beyond this one."""
        self._maintenance.part_from_original(revision)

    def missing_writes(self) -> str | None:
        """Return a line if acknowledged writes are missing; None if none are or that is unknown."""
        from ragkit.storage.doctor import missing_writes  # hashlib loads OpenSSL, which is 4 MiB

        return None if self.read_only else missing_writes(self._database)

    @property
    def is_unswept(self) -> bool:
        """Whether an index still holds words of removed chunks."""
        return self._maintenance.is_unswept()

    @_in_one_state
    def bytes_by_part(self) -> dict[str, int]:
        """Return the sizes of the store's parts in bytes, by the names that `describe` prints."""
        return self._maintenance.bytes_by_part()
