"""The local store: documents, chunks, vectors and the words index in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ragkit.errors import ConfigError, StoreBusyError, StoreDamagedError, StoreError
from ragkit.filters import compile_filter
from ragkit.fusion import FUSION_DEPTH, convex, reciprocal_rank
from ragkit.ledger import Stopwatch
from ragkit.storage.database import Database
from ragkit.text.words import fts5_match, query_tokens
from ragkit.trimming import PoolChunk
from ragkit.types import (
    Chunk,
    Document,
    Hit,
    Json,
    Location,
    Mark,
    MarkKind,
    Metadata,
    Mode,
    Query,
    Span,
)

if TYPE_CHECKING:
    from ragkit.storage.dense import DenseIndex
    from ragkit.types import Vector, Vectors

_TIES = 50
"""Words hits fetched beyond the limit, so that equal scores are cut off by chunk id."""


_LEXICAL = """
SELECT words.rowid, chunk.id, words.rank FROM words JOIN chunk ON chunk.row = words.rowid
WHERE words MATCH :match ORDER BY words.rank LIMIT :limit"""
_LEXICAL_INSIDE = """
SELECT words.rowid, chunk.id, words.rank FROM words JOIN chunk ON chunk.row = words.rowid
WHERE words MATCH :match AND chunk.document IN (SELECT value FROM json_each(:documents))
ORDER BY words.rank LIMIT :limit"""

_HITS = """
SELECT chunk.id, start, end, n_tokens, sentences, chunk.marks, document.id, source, title,
  metadata, substr(text, first_byte + 1, n_bytes), chunk.row
FROM chunk JOIN document ON document.row = chunk.document
WHERE chunk.row IN (SELECT value FROM json_each(?))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """What a store was built with; other values need `ragkit rebuild`."""

    embedder: str
    embedder_fingerprint: str | None
    dim: int | None
    chunker: str
    chunk_tokens: int
    chunk_overlap: int
    chunker_fingerprint: str
    embed_title: bool
    sentence_vectors: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVectors:
    """A chunk's vector (float16 bytes) and its sentences' vectors (int8 bytes, one row each)."""

    chunk: bytes
    sentences: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDocument:
    """A document ready to be stored; `tokens` and `vector_keys` are one a chunk."""

    document: Document
    fingerprint: str
    language: str | None
    chunks: Sequence[Chunk]
    tokens: Sequence[str]
    vector_keys: Sequence[bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """A line of `ragkit list`. `bytes` is the size of the text as UTF-8."""

    document_id: str
    source: str
    title: str
    sha256: str
    chunks: int
    bytes: int

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return dict(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that `ragkit doctor` found. `repaired` is None where nothing was tried."""

    check: str
    detail: str
    repairable: bool
    repaired: bool | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return dict(asdict(self))


@dataclass(frozen=True, slots=True)
class _DocumentFacts:
    row: int
    metadata: Metadata
    groups: frozenset[str]


class LocalStore:
    """A store in a folder. Safe to share between threads; one process writes at a time.

    Raises:
        StoreMissingError: there is no store and `create` is false.
        StoreDamagedError: the file is not a store, or cannot be read.
    """

    def __init__(
        self, folder: str | Path, *, create: bool = False, faiss_from: int | None = None
    ) -> None:
        self.folder = Path(folder)
        self._database = Database(self.folder, create=create)
        self._faiss_from = faiss_from
        self._dense: tuple[int, DenseIndex] | None = None
        self._facts: tuple[int, list[_DocumentFacts]] | None = None
        self._language: tuple[int, str | None] | None = None

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
    def generation(self) -> int:
        """Number of committed writes."""
        with self._database.reading() as connection:
            return _generation(connection)

    @property
    def protected(self) -> bool:
        """Whether a query must say its groups."""
        return self._manifest("protected") == "true"

    @property
    def settings(self) -> StoreSettings | None:
        """What the store was built with; None before the first ingest."""
        value = self._manifest("settings")
        return None if value is None else StoreSettings(**json.loads(value))

    def count(self) -> dict[str, int]:
        """Return the number of documents, chunks, sentences' and chunks' vectors, and tokens."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM document), count(*), count(vector_key), "
                "coalesce(sum(n_tokens), 0), coalesce(max(n_tokens), 0) FROM chunk"
            ).fetchone()
        names = ("documents", "chunks", "chunks_with_vectors", "tokens", "largest_chunk_tokens")
        return dict(zip(names, row, strict=True))

    def chunks_sha256(self) -> str:
        """Return a digest of all chunks' ids: equal for stores that hold the same chunks."""
        import hashlib  # loads OpenSSL, which is 4 MiB

        digest = hashlib.sha256()
        with self._database.reading() as connection:
            for (identity,) in connection.execute("SELECT id FROM chunk ORDER BY id"):
                digest.update(f"{identity}\n".encode())
        return digest.hexdigest()

    def chunk_sketch(self, n: int) -> tuple[int, list[str]]:
        """Return the number of chunks and the n smallest ids: digests, so a fair sample."""
        with self._database.reading() as connection:
            n_chunks = connection.execute("SELECT count(*) FROM chunk").fetchone()[0]
            rows = connection.execute("SELECT id FROM chunk ORDER BY id LIMIT ?", (n,)).fetchall()
        return int(n_chunks), [str(row[0]) for row in rows]

    def language(self) -> str | None:
        """Return the language of most documents."""
        with self._database.reading() as connection:
            generation = _generation(connection)
            if self._language is None or self._language[0] != generation:
                row = connection.execute(
                    "SELECT language FROM document WHERE language IS NOT NULL "
                    "GROUP BY language ORDER BY count(*) DESC, language LIMIT 1"
                ).fetchone()
                self._language = (generation, None if row is None else str(row[0]))
            return self._language[1]

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        self._database.close()

    # --- reading -----------------------------------------------------------------------------

    def search(
        self, query: Query, *, fusion: str = "convex", watch: Stopwatch | None = None
    ) -> list[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        Filters and groups restrict before ranking. `watch` measures the stage `fuse`.

        Raises:
            ConfigError: the store is protected and the query states no groups, the filter is
                malformed, or the mode needs a vector that the query lacks.
        """
        mode: Mode = query.mode or ("lexical" if query.vector is None else "hybrid")
        if mode != "lexical" and query.vector is None:
            raise ConfigError(f"mode {mode!r} needs a question vector; use mode 'lexical'")
        with self._database.reading() as connection:
            allowed = self._allowed(connection, query)
            if mode == "lexical":
                ranked = self._lexical(connection, query, query.k, allowed)
            elif mode == "dense":
                ranked = self._by_vector(connection, query, query.k, allowed)
            else:
                ranked = self._hybrid(connection, query, allowed, fusion, watch or Stopwatch())
            return self._hits(connection, ranked[: query.k])

    def pool(self, hits: Sequence[Hit], vector: Vector | None) -> list[PoolChunk]:
        """Return the hits prepared for trimming, with sentence cosines where they are stored."""
        ids = json.dumps([hit.chunk.id for hit in hits])
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT chunk.id, tokens, vector.sentences FROM chunk "
                "LEFT JOIN vector ON vector.key = chunk.vector_key "
                "WHERE chunk.id IN (SELECT value FROM json_each(?))",
                (ids,),
            ).fetchall()
        stored = {row[0]: (row[1], row[2]) for row in rows}
        return [_pool_chunk(hit, *stored.get(hit.chunk.id, ("", None)), vector) for hit in hits]

    def documents(self, *, groups: tuple[str, ...] | None = None) -> Iterator[DocumentRow]:
        """Yield the documents that these groups may see, in order of id."""
        with self._database.reading() as connection:
            allowed = self._allowed(connection, Query(question="", groups=groups))
            rows = connection.execute(
                "SELECT document.row, document.id, source, title, sha256, "
                "(SELECT count(*) FROM chunk WHERE chunk.document = document.row), length(text) "
                "FROM document ORDER BY document.id"
            ).fetchall()
        for row in rows:
            if allowed is None or row[0] in allowed:
                yield DocumentRow(
                    document_id=row[1],
                    source=row[2],
                    title=row[3],
                    sha256=row[4],
                    chunks=row[5],
                    bytes=row[6],
                )

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
        with self._database.reading() as connection:
            allowed = None
            if not everyone:
                allowed = self._allowed(connection, Query(question="", groups=groups))
            row = connection.execute(
                "SELECT row, source, title, text, metadata, groups, sha256, marks FROM document "
                "WHERE id = ?",
                (document_id,),
            ).fetchone()
            if row is None or (allowed is not None and row[0] not in allowed):
                return None
            chunks = connection.execute(
                "SELECT id, start, end, n_tokens, sentences, marks FROM chunk "
                "WHERE document = ? ORDER BY start, end",
                (row[0],),
            ).fetchall()
        text = _text(row[3])
        document = Document(
            id=document_id,
            source=row[1],
            title=row[2],
            text=text,
            metadata=json.loads(row[4]),
            groups=tuple(json.loads(row[5])),
            marks=_marks(row[7]),
        )
        return document, row[6], [_chunk(document_id, text[c[1] : c[2]], c) for c in chunks]

    def stored(self, document_id: str) -> tuple[str, str] | None:
        """Return the fingerprint and the source of a document, whoever may see it."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT fingerprint, source FROM document WHERE id = ?", (document_id,)
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def sources(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the source of every document."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id, source FROM document ORDER BY id").fetchall()
        yield from rows

    def known_vectors(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of the keys whose vectors are stored."""
        with self._database.reading() as connection:
            find = "SELECT 1 FROM vector WHERE key = ?"
            return {key for key in keys if connection.execute(find, (key,)).fetchone()}

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
        try:
            file = (self.folder / "writer.lock").open("a+b")
        except OSError as error:
            raise StoreError(f"store {self.folder} cannot be written: {error}") from error
        with file:
            _lock(file.fileno(), self.folder)
            yield

    def configure(self, settings: StoreSettings) -> None:
        """Record what the store is built with."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO manifest VALUES ('settings', ?)",
                (json.dumps(asdict(settings)),),
            )

    def write(
        self, prepared: Sequence[PreparedDocument], vectors: Mapping[bytes, StoredVectors]
    ) -> None:
        """Replace these documents and their chunks in one transaction."""
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO vector VALUES (?, ?, ?)",
                [(key, stored.chunk, stored.sentences) for key, stored in vectors.items()],
            )
            stale: set[bytes] = set()
            for item in prepared:
                stale |= self._replace(connection, item)
            _drop_unused_vectors(connection, stale)

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Remove documents for good and return the ids that were there."""
        removed: list[str] = []
        with self._database.writing() as connection:
            stale: set[bytes] = set()
            for document_id in ids:
                row = connection.execute(
                    "SELECT row FROM document WHERE id = ?", (document_id,)
                ).fetchone()
                if row is None:
                    continue
                stale |= _delete_chunks(connection, row[0])
                connection.execute("DELETE FROM document WHERE row = ?", (row[0],))
                removed.append(document_id)
            _drop_unused_vectors(connection, stale)
            if removed:
                # Deleted words stay in FTS5's segments until they are merged.
                connection.execute("INSERT INTO words(words) VALUES ('optimize')")
        return removed

    def checkpoint(self) -> None:
        """Move everything into the one file."""
        self._database.checkpoint()

    # --- doctor ------------------------------------------------------------------------------

    def examine(self, *, repair: bool = False) -> list[Finding]:
        """Check the file and what is derived in it; rebuild what is derived when asked."""
        findings = self._examine_file()
        if findings:
            return findings
        checks = (
            ("words", self._words_finding, self._rebuild_words),
            ("vectors", self._vectors_finding, self._drop_orphan_vectors),
            ("chunks", self._chunks_finding, None),
        )
        for name, find, mend in checks:
            detail = find()
            if detail is None:
                continue
            repaired = None
            if repair and mend is not None:
                mend()
                repaired = find() is None
            findings.append(
                Finding(check=name, detail=detail, repairable=mend is not None, repaired=repaired)
            )
        return findings

    def compact(self) -> int:
        """Merge the words index, give free space back, and return the bytes saved."""
        before = self.file.stat().st_size
        with self._database.writing() as connection:
            connection.execute("INSERT INTO words(words) VALUES ('optimize')")
        self._database.connection().execute("VACUUM")
        self.checkpoint()
        return before - self.file.stat().st_size

    def _examine_file(self) -> list[Finding]:
        try:
            with self._database.reading() as connection:
                lines = [row[0] for row in connection.execute("PRAGMA quick_check(10)")]
        except StoreDamagedError as error:
            lines = [str(error)]
        if lines == ["ok"]:
            return []
        return [Finding(check="file", detail=line, repairable=False) for line in lines]

    def _words_finding(self) -> str | None:
        if self.read_only:
            return None
        connection = self._database.connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO words(words, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise StoreBusyError(f"store {self.folder} is being written") from error
            return f"the words index contradicts the chunks: {error}"
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return None

    def _rebuild_words(self) -> None:
        with self._database.writing() as connection:
            connection.execute("INSERT INTO words(words) VALUES ('rebuild')")

    def _vectors_finding(self) -> str | None:
        with self._database.reading() as connection:
            orphans: int = connection.execute(
                "SELECT count(*) FROM vector WHERE key NOT IN "
                "(SELECT vector_key FROM chunk WHERE vector_key IS NOT NULL)"
            ).fetchone()[0]
            missing: int = connection.execute(
                "SELECT count(*) FROM chunk WHERE vector_key IS NOT NULL "
                "AND vector_key NOT IN (SELECT key FROM vector)"
            ).fetchone()[0]
        if missing:
            return f"{missing} chunks lack their vector. Run: ragkit rebuild --store {self.folder}"
        return f"{orphans} vectors belong to no chunk" if orphans else None

    def _drop_orphan_vectors(self) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM vector WHERE key NOT IN "
                "(SELECT vector_key FROM chunk WHERE vector_key IS NOT NULL)"
            )

    def _chunks_finding(self) -> str | None:
        with self._database.reading() as connection:
            lost: int = connection.execute(
                "SELECT count(*) FROM chunk LEFT JOIN document ON document.row = chunk.document "
                "WHERE document.row IS NULL OR first_byte + n_bytes > length(document.text)"
            ).fetchone()[0]
        return f"{lost} chunks reach outside their document" if lost else None

    # --- inside ------------------------------------------------------------------------------

    def _manifest(self, key: str) -> str | None:
        with self._database.reading() as connection:
            return _manifest_value(connection, key)

    def _documents_facts(self, connection: sqlite3.Connection) -> list[_DocumentFacts]:
        generation = _generation(connection)
        if self._facts is None or self._facts[0] != generation:
            rows = connection.execute("SELECT row, metadata, groups FROM document").fetchall()
            facts = [
                _DocumentFacts(row[0], json.loads(row[1]), frozenset(json.loads(row[2])))
                for row in rows
            ]
            self._facts = (generation, facts)
        return self._facts[1]

    def _allowed(self, connection: sqlite3.Connection, query: Query) -> set[int] | None:
        """Return the rows of the documents that the query may find; None for all."""
        protected = _manifest_value(connection, "protected") == "true"
        if protected and query.groups is None:
            raise ConfigError(
                f"store {self.folder} holds documents for certain groups: a query must state its "
                "groups (--groups A,B)"
            )
        if not protected and not query.filters:
            return None
        passes = compile_filter(query.filters or {})
        groups = frozenset(query.groups or ())
        return {
            facts.row
            for facts in self._documents_facts(connection)
            if (not protected or facts.groups & groups) and passes(facts.metadata)
        }

    def _lexical(
        self,
        connection: sqlite3.Connection,
        query: Query,
        k: int,
        allowed: set[int] | None,
    ) -> list[tuple[int, float]]:
        match = fts5_match(query_tokens(query.question, language=self.language()))
        if not match or allowed == set():
            return []
        documents = None if allowed is None else json.dumps(sorted(allowed))
        rows: list[tuple[int, str, float]] = connection.execute(
            _LEXICAL if documents is None else _LEXICAL_INSIDE,
            {"match": match, "limit": k + _TIES, "documents": documents},
        ).fetchall()
        rows.sort(key=lambda row: (row[2], row[1]))
        return [(row, -rank) for row, _, rank in rows[:k]]

    def _by_vector(
        self,
        connection: sqlite3.Connection,
        query: Query,
        k: int,
        allowed: set[int] | None,
    ) -> list[tuple[int, float]]:
        assert query.vector is not None  # noqa: S101 (narrowing; checked by `search`)
        rows = None
        if allowed is not None:
            rows = _chunk_rows(connection, allowed)
        return self._dense_index(connection).search(query.vector, k, rows)

    def _hybrid(
        self,
        connection: sqlite3.Connection,
        query: Query,
        allowed: set[int] | None,
        fusion: str,
        watch: Stopwatch,
    ) -> list[tuple[int, float]]:
        depth = max(FUSION_DEPTH, query.k)
        dense = self._by_vector(connection, query, depth, allowed)
        lexical = self._lexical(connection, query, depth, allowed)
        with watch.stage("fuse"):
            if fusion == "rrf":
                fused = reciprocal_rank([row for row, _ in dense], [row for row, _ in lexical])
            else:
                assert query.vector is not None  # noqa: S101 (narrowing; checked by `search`)
                rows = {row for row, _ in (*dense, *lexical)}
                cosines = self._dense_index(connection).scores(query.vector, rows)
                fused = convex(cosines, dict(lexical))
            ids = _ids(connection, fused)
            return sorted(fused.items(), key=lambda pair: (-round(pair[1], 9), ids[pair[0]]))

    def _dense_index(self, connection: sqlite3.Connection) -> DenseIndex:
        generation = _generation(connection)
        cached = self._dense
        if cached is not None and cached[0] == generation:
            return cached[1]
        import numpy as np

        from ragkit.storage.dense import FAISS_FROM, DenseIndex

        rows: list[int] = []
        blobs = bytearray()
        for row, blob in connection.execute(
            "SELECT chunk.row, vector.vector FROM chunk "
            "JOIN vector ON vector.key = chunk.vector_key ORDER BY chunk.id"
        ):
            rows.append(row)
            blobs += blob
        vectors = np.frombuffer(bytes(blobs), dtype=np.float16).astype(np.float32)
        settings = self.settings
        dim = settings.dim if settings is not None and settings.dim else 1
        index = DenseIndex(
            rows,
            vectors.reshape(len(rows), dim),
            faiss_from=FAISS_FROM if self._faiss_from is None else self._faiss_from,
        )
        self._dense = (generation, index)
        return index

    def _hits(
        self, connection: sqlite3.Connection, ranked: Sequence[tuple[int, float]]
    ) -> list[Hit]:
        found = {
            row[-1]: row
            for row in connection.execute(_HITS, (json.dumps([row for row, _ in ranked]),))
        }
        hits: list[Hit] = []
        for rank, (row, score) in enumerate(ranked, start=1):
            fields = found[row]
            hits.append(
                Hit(
                    rank=rank,
                    score=score,
                    chunk=_chunk(fields[6], _text(fields[10]), fields),
                    source=fields[7],
                    title=fields[8],
                    metadata=json.loads(fields[9]),
                )
            )
        return hits

    def _replace(self, connection: sqlite3.Connection, item: PreparedDocument) -> set[bytes]:
        document = item.document
        if document.groups:
            connection.execute("UPDATE manifest SET value = 'true' WHERE key = 'protected'")
        old = connection.execute("SELECT row FROM document WHERE id = ?", (document.id,)).fetchone()
        stale = _delete_chunks(connection, old[0]) if old is not None else set[bytes]()
        raw = document.text.encode("utf-8", "surrogatepass")
        import hashlib

        cursor = connection.execute(
            "INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                None if old is None else old[0],
                document.id,
                document.source,
                document.title,
                raw,
                json.dumps(document.metadata),
                json.dumps(document.groups),
                hashlib.sha256(raw).hexdigest(),
                item.fingerprint,
                item.language,
                _marks_json(document.marks),
            ),
        )
        row = cast("int", cursor.lastrowid)
        offsets = _byte_offsets(document.text, item.chunks)
        for chunk, tokens, key, (first_byte, n_bytes) in zip(
            item.chunks, item.tokens, item.vector_keys, offsets, strict=True
        ):
            cursor = connection.execute(
                "INSERT INTO chunk VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    chunk.id,
                    row,
                    chunk.start,
                    chunk.end,
                    first_byte,
                    n_bytes,
                    chunk.n_tokens,
                    json.dumps(chunk.sentences, separators=(",", ":")),
                    _marks_json(chunk.marks),
                    tokens,
                    key,
                ),
            )
            connection.execute(
                "INSERT INTO words(rowid, tokens) VALUES (?, ?)", (cursor.lastrowid, tokens)
            )
        return stale


def _manifest_value(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM manifest WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _generation(connection: sqlite3.Connection) -> int:
    return int(_manifest_value(connection, "generation") or 0)


def _chunk_rows(connection: sqlite3.Connection, documents: Collection[int]) -> list[int]:
    rows = connection.execute(
        "SELECT row FROM chunk WHERE document IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(documents)),),
    )
    return [row[0] for row in rows]


def _ids(connection: sqlite3.Connection, rows: Collection[int]) -> dict[int, str]:
    found = connection.execute(
        "SELECT row, id FROM chunk WHERE row IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(rows)),),
    )
    return dict(found.fetchall())


def _delete_chunks(connection: sqlite3.Connection, document: int) -> set[bytes]:
    """Delete a document's chunks and return the vector keys that they used."""
    rows = connection.execute(
        "SELECT row, tokens, vector_key FROM chunk WHERE document = ?", (document,)
    ).fetchall()
    connection.executemany(
        "INSERT INTO words(words, rowid, tokens) VALUES ('delete', ?, ?)",
        [row[:2] for row in rows],
    )
    connection.execute("DELETE FROM chunk WHERE document = ?", (document,))
    return {row[2] for row in rows if row[2] is not None}


def _drop_unused_vectors(connection: sqlite3.Connection, keys: Collection[bytes]) -> None:
    connection.executemany(
        "DELETE FROM vector WHERE key = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM chunk WHERE vector_key = ?1)",
        [(key,) for key in keys],
    )


def _byte_offsets(text: str, chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    """Return (first byte, number of bytes) of each chunk, in one pass over the text."""
    edges = sorted({edge for chunk in chunks for edge in (chunk.start, chunk.end)})
    at, position, n_bytes = dict[int, int](), 0, 0
    for edge in edges:
        n_bytes += len(text[position:edge].encode("utf-8", "surrogatepass"))
        at[edge], position = n_bytes, edge
    return [(at[chunk.start], at[chunk.end] - at[chunk.start]) for chunk in chunks]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _chunk(document_id: str, text: str, row: Sequence[object]) -> Chunk:
    """Make a chunk of a row that starts with id, start, end, n_tokens, sentences, marks."""
    chunk_id, start, end, n_tokens, sentences, marks = cast(
        "tuple[str, int, int, int, str, str]", tuple(row[:6])
    )
    spans: list[Span] = [(a, b) for a, b in json.loads(sentences)]
    return Chunk(
        id=chunk_id,
        document_id=document_id,
        start=start,
        end=end,
        text=text,
        n_tokens=n_tokens,
        sentences=tuple(spans),
        marks=_marks(marks),
    )


def _marks_json(marks: Sequence[Mark]) -> str:
    rows = [[mark.start, mark.kind, mark.location.to_dict()] for mark in marks]
    return json.dumps(rows, separators=(",", ":"))


def _marks(text: str) -> tuple[Mark, ...]:
    rows: list[tuple[int, MarkKind, dict[str, Any]]] = json.loads(text)
    return tuple(
        Mark(
            start=start,
            kind=kind,
            location=Location(
                page=place.get("page"),
                slide=place.get("slide"),
                sheet=place.get("sheet"),
                cells=place.get("cells"),
                heading=tuple(place.get("heading", ())),
            ),
        )
        for start, kind, place in rows
    )


def pack_vector(vector: Vector) -> bytes:
    """Return a chunk's vector as stored: float16, its rounding error far below a rank's worth."""
    import numpy as np

    packed: bytes = vector.astype(np.float16).tobytes()
    return packed


def pack_sentences(vectors: Vectors) -> bytes:
    """Return sentences' vectors as stored: int8, each row scaled to its largest value.

    Only their direction counts, so the scale is not kept.
    """
    import numpy as np

    scale = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)
    packed: bytes = np.rint(vectors / scale * 127.0).astype(np.int8).tobytes()
    return packed


def _pool_chunk(hit: Hit, tokens: str, sentences: bytes | None, vector: Vector | None) -> PoolChunk:
    n_sentences = len(hit.chunk.sentences)
    words = [line.split(" ") if line else [] for line in tokens.split("\n")]
    words = (words + [[]] * n_sentences)[:n_sentences]
    if sentences is None or vector is None:
        return PoolChunk(hit=hit, words=words)
    import numpy as np

    rows = np.frombuffer(sentences, dtype=np.int8).reshape(-1, len(vector)).astype(np.float32)
    if len(rows) != n_sentences:
        return PoolChunk(hit=hit, words=words)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    near = rows.copy()
    near[1:] += rows[:-1]
    near[:-1] += rows[1:]
    near /= np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-9)
    return PoolChunk(
        hit=hit,
        words=words,
        cosines=(rows @ vector).tolist(),
        window_cosines=(near @ vector).tolist(),
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
