"""Searching one state of a store: everything a question needs, read in one transaction."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING

from ragkit.costs.stopwatch import Stopwatch
from ragkit.errors import ConfigError, StoreDamagedError, StoreError
from ragkit.filters import compile_filter
from ragkit.fusion import FUSION_DEPTH, convex, reciprocal_rank
from ragkit.groups import PUBLIC
from ragkit.storage.counting import count_all, count_of
from ragkit.storage.kept import Memory, Version
from ragkit.storage.rows import (
    DOCUMENT,
    N_CHUNK,
    StoredDocument,
    chunk_columns,
    chunk_ids,
    damaged_chunk,
    has_segments,
    read_chunk,
    read_document,
    read_settings,
)
from ragkit.storage.schema import FILLED, RESTORED, read_manifest, schema_version
from ragkit.storage.values import Manifest, VectorCounts
from ragkit.storage.vectors import pool_chunk, sentence_vectors, unsealed_vector
from ragkit.storage.vocabulary import held_terms
from ragkit.text.words import detect_language, fts5_match, fts5_terms, search_terms
from ragkit.types import Hit, Mode, Query

if TYPE_CHECKING:
    from ragkit.storage.database import Database
    from ragkit.storage.searching import SearchIndex
    from ragkit.storage.visible import Reader
    from ragkit.trimming import PoolChunk
    from ragkit.types import Vector

_TIES = 50
"""Keyword hits fetched beyond the limit, so that equal scores are cut off by chunk id."""

_LANGUAGE = """
SELECT language FROM document WHERE language IS NOT NULL
GROUP BY language ORDER BY count(*) DESC, language LIMIT 1"""
_LEXICAL = """
SELECT words.rowid, chunk.id, words.rank FROM words JOIN chunk ON chunk.row = words.rowid
WHERE words MATCH :match ORDER BY words.rank LIMIT :limit"""
_LEXICAL_INSIDE = """
SELECT words.rowid, chunk.id, words.rank FROM words JOIN chunk ON chunk.row = words.rowid
WHERE words MATCH :match AND chunk.document IN (SELECT value FROM json_each(:documents))
ORDER BY words.rank LIMIT :limit"""
_POOL = """
SELECT chunk.id, tokens, sentence_rows, vector.vector FROM chunk
LEFT JOIN vector ON vector.row = chunk.vector
WHERE chunk.id IN (SELECT value FROM json_each(?))"""
_POOL_OF_2 = """
SELECT chunk.id, tokens, vector.sentences FROM chunk
LEFT JOIN vector ON vector.row = chunk.vector
WHERE chunk.id IN (SELECT value FROM json_each(?))"""


_SCHEMA = "schema_version"
"""Key of the file's schema beside those of its manifest."""


class LocalSnapshot:
    """One state of a local store, for the thread and the block that it was opened in.

    What is asked for twice, above all the manifest and a question's terms, is read once.

    Args:
        database: The store's.
        connection: In a transaction, which fixes the state.
        memory: What the store keeps of earlier snapshots.
    """

    def __init__(self, database: Database, connection: sqlite3.Connection, memory: Memory) -> None:
        self._database = database
        self._connection: sqlite3.Connection | None = connection
        self._memory = memory
        self._index: SearchIndex | None = None
        self._own_languages: dict[str, str | None] = {}
        self._terms: dict[tuple[str, str | None], list[str]] = {}

    def end(self) -> None:
        """Refuse any further use: the connection goes back."""
        self._connection = None

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        with self._database.reading() as connection:
            if connection is not self._connection:
                raise StoreError("a snapshot is read outside of its block or by another thread")
            yield connection

    # --- what the store is -------------------------------------------------------------------

    @cached_property
    def _values(self) -> dict[str, str]:
        with self._reading() as connection:
            return {**read_manifest(connection), _SCHEMA: str(schema_version(connection))}

    @cached_property
    def _version(self) -> Version | None:
        """What is read; None where this thread is writing and sees what is not committed yet."""
        state = self._database.state
        if state is None:
            return None
        return Version(state, int(self._values["generation"]), int(self._values.get(RESTORED, 0)))

    def manifest(self) -> Manifest:
        """Return settings, protection and revision."""
        settings = self._values.get("settings")
        return Manifest(
            settings=None if settings is None else read_settings(settings),
            protected=self._is_protected,
            revision=int(self._values["generation"]),
            schema_version=int(self._values[_SCHEMA]),
        )

    @property
    def _is_protected(self) -> bool:
        return self._values["protected"] == "true"

    @property
    def damaged_files(self) -> Sequence[str]:
        """What is wrong with derived files that the searches of this snapshot could not use."""
        return () if self._index is None else tuple(self._index.damaged)

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        """Return the language of most documents that these groups may see; None: of all."""
        with self._reading() as connection:
            reader = self._reader(connection, groups)
            if reader is not None:
                return reader.language

            def read(_: object) -> str | None:
                row = connection.execute(_LANGUAGE).fetchone()
                return None if row is None else str(row[0])

            return self._memory.language.get(self._version, read)

    def vector_counts(self, *, groups: tuple[str, ...] | None = None) -> VectorCounts | None:
        """Return how many chunks have vectors, of those that these groups may see; None: of all.

        None without an embedder.
        """
        settings = self.manifest().settings
        if settings is None or settings.embedder_fingerprint is None:
            return None
        with self._reading() as connection:
            counts = self._all_counts(connection)
            reader = self._reader(connection, groups) if counts.n_missing else None
            return counts if reader is None else count_of(connection, reader.documents)

    def n_chunks(self, *, groups: tuple[str, ...] | None = None) -> int:
        """Return how many chunks these groups may see; None: of all."""
        with self._reading() as connection:
            reader = self._reader(connection, groups)
            if reader is None:
                return self._all_counts(connection).n_chunks
            from ragkit.storage.visible import words_of

            return words_of(connection, reader).n_rows

    def _all_counts(self, connection: sqlite3.Connection) -> VectorCounts:
        return self._memory.vector_counts.get(self._version, lambda _: count_all(connection))

    # --- the question ------------------------------------------------------------------------

    def question_language(
        self, question: str, *, groups: tuple[str, ...] | None = None
    ) -> str | None:
        """Return a question's language; where it cannot be told, the store's."""
        return self._own_language(question) or self.language(groups=groups)

    def terms(self, question: str, *, groups: tuple[str, ...] | None = None) -> list[str]:
        """Return the terms that a question is searched by, in this order."""
        language = self.language(groups=groups)
        key = (question, language)
        if key not in self._terms:
            self._terms[key] = search_terms(
                question, own=self._own_language(question), stored=language
            )
        return self._terms[key]

    def known_terms(
        self, terms: Iterable[str], *, groups: tuple[str, ...] | None = None
    ) -> set[str] | None:
        """Return which of some terms the documents that these groups may see hold."""
        with self._reading() as connection:
            reader = self._reader(connection, groups)
            if reader is None and self._is_protected:
                return None
            return held_terms(connection, terms, None if reader is None else reader.documents)

    def _own_language(self, question: str) -> str | None:
        if question not in self._own_languages:
            self._own_languages[question] = detect_language(question)
        return self._own_languages[question]

    # --- searching ---------------------------------------------------------------------------

    def search(self, query: Query, *, watch: Stopwatch | None = None) -> list[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        Filters and groups restrict before ranking. `watch` measures the stage `fuse`.

        Raises:
            ConfigError: the store is protected and the query states no groups, the filter is
                malformed, or the mode needs a vector that the query lacks.
        """
        mode: Mode = query.mode or ("lexical" if query.vector is None else "hybrid")
        vector = query.vector
        if mode != "lexical" and vector is None:
            raise ConfigError(f"mode {mode!r} needs a question vector; use mode 'lexical'")
        with self._reading() as connection:
            allowed = self.visible(query)
            if vector is None or mode == "lexical":
                ranked = self._lexical(connection, query, query.k, allowed)
            elif mode == "dense":
                ranked = self._dense(connection, vector, query.k, allowed)
            else:
                ranked = self._hybrid(connection, query, vector, allowed, watch or Stopwatch())
            return _hits(connection, ranked[: query.k])

    def pool(self, hits: Sequence[Hit], vector: Vector | None) -> list[PoolChunk]:
        """Return the hits prepared for trimming, with sentence cosines where they are stored."""
        ids = json.dumps([hit.chunk.id for hit in hits])
        with self._reading() as connection:
            if schema_version(connection) == 2:
                rows = connection.execute(_POOL_OF_2, (ids,)).fetchall()
                vectors = {
                    row[0]: unsealed_vector(row[2], row[0]) for row in rows if row[2] is not None
                }
            else:
                rows = connection.execute(_POOL, (ids,)).fetchall()
                vectors = sentence_vectors(connection, {row[0]: row[2] for row in rows})
        settings = self.manifest().settings
        adds = (
            settings is not None
            and settings.sentence_vector_kind is not None
            and vector is not None
        )
        of_chunks = {
            row[0]: unsealed_vector(row[3], row[0]) for row in rows if adds and row[3] is not None
        }
        terms = {row[0]: row[1] for row in rows}
        return [
            pool_chunk(
                hit,
                terms.get(hit.chunk.id, ""),
                vectors.get(hit.chunk.id),
                vector,
                of_chunk=of_chunks.get(hit.chunk.id),
            )
            for hit in hits
        ]

    def visible(self, query: Query) -> set[int] | None:
        """Return the rows of the documents that a query's groups and filters allow; None for all.

        Raises:
            ConfigError: the store is protected and the query states no groups, or the filter is
                malformed.
        """
        with self._reading() as connection:
            reader = self._reader(connection, query.groups)
            if reader is None and self._is_protected:
                raise ConfigError(
                    f"store {self._database.path.parent} holds documents for certain groups: a "
                    "query must state its groups (--groups A,B)"
                )
            if not query.filters:
                return None if reader is None else reader.documents
            passes = compile_filter(query.filters)
            return {
                facts.row
                for facts in self._documents(connection)
                if (reader is None or facts.row in reader.documents) and passes(facts.metadata)
            }

    def _documents(self, connection: sqlite3.Connection) -> list[StoredDocument]:
        def read(_: object) -> list[StoredDocument]:
            rows = connection.execute(f"SELECT {DOCUMENT} FROM document")  # noqa: S608
            try:
                return [read_document(fields) for fields in rows]
            except StoreDamagedError:
                if not self._is_protected:
                    raise
                # The error would show the id to readers who may not see the document.
                folder = self._database.path.parent
                raise StoreDamagedError(
                    f"a document of store {folder} is damaged. Find which: "
                    f"ragkit doctor --store {shlex.quote(str(folder))}"
                ) from None

        return self._memory.documents.get(self._version, read)

    def _reader(
        self, connection: sqlite3.Connection, groups: tuple[str, ...] | None
    ) -> Reader | None:
        """Return what a reader of these groups sees; None without groups or protection."""
        if groups is None or not self._is_protected:
            return None
        from ragkit.storage.visible import Reader, Readers, visible_language

        def make(named: frozenset[str]) -> Reader:
            shown = named | {PUBLIC}
            documents = {
                facts.row
                for facts in self._documents(connection)
                if not shown.isdisjoint(facts.groups)
            }
            return Reader(named, documents, visible_language(connection, documents))

        readers = self._memory.readers.get(self._version, lambda _: Readers())
        return readers.get(frozenset(groups), make)

    def _lexical(
        self, connection: sqlite3.Connection, query: Query, k: int, allowed: set[int] | None
    ) -> list[tuple[int, float]]:
        terms = self.terms(query.question, groups=query.groups)
        lookups = fts5_terms(terms)
        if not lookups or allowed == set():
            return []
        reader = self._reader(connection, query.groups)
        index = self._search_index(connection) if has_segments(connection) else None
        if index is not None and index.segments and not any(prefix for _, prefix in lookups):
            rows = _by_postings(connection, index, lookups, k, allowed=allowed, reader=reader)
        else:
            self._check_seal(connection)
            if reader is None:
                rows = _by_fts5(connection, fts5_match(terms), k, allowed=allowed)
            else:
                rows = _by_visible(connection, lookups, k, allowed=allowed, reader=reader)
        ranked = sorted(rows, key=lambda row: (round(row[2], 9), row[1]))
        return [(row, -rank) for row, _, rank in ranked[:k]]

    def _check_seal(self, connection: sqlite3.Connection) -> None:
        """Compare the full-text index with its seal, once per revision."""

        def check(_: object) -> bool:
            from ragkit.storage.sealing import check_full_text

            check_full_text(connection, self._values)
            return True

        self._memory.seal_checked.get(self._version, check)

    def _dense(
        self,
        connection: sqlite3.Connection,
        vector: Vector,
        k: int,
        allowed: set[int] | None,
    ) -> list[tuple[int, float]]:
        rows = None if allowed is None else _chunk_rows(connection, allowed)
        return self._search_index(connection).by_vector(connection, vector, k, rows)

    def _hybrid(
        self,
        connection: sqlite3.Connection,
        query: Query,
        vector: Vector,
        allowed: set[int] | None,
        watch: Stopwatch,
    ) -> list[tuple[int, float]]:
        depth = max(FUSION_DEPTH, query.k)
        dense = self._dense(connection, vector, depth, allowed)
        lexical = self._lexical(connection, query, depth, allowed)
        with watch.stage("fuse"):
            cosines = dict(dense)
            others = {row for row, _ in lexical} - cosines.keys()
            scores = self._search_index(connection).scores(connection, vector, others)
            bare = others - scores.keys()
            if query.fusion == "rrf":
                ranks = ([row for row, _ in dense], [row for row, _ in lexical])
                fused = reciprocal_rank(*ranks, bare=bare)
            else:
                fused = convex(cosines | scores, dict(lexical), bare=bare)
            ids = chunk_ids(connection, fused)
            return sorted(fused.items(), key=lambda pair: (-round(pair[1], 9), ids[pair[0]]))

    def _search_index(self, connection: sqlite3.Connection) -> SearchIndex:
        if self._index is None:
            from ragkit.storage.searching import SearchIndex

            kept = self._memory.index
            folder = self._database.path.parent
            filled = self._values.get(FILLED)
            self._index = kept.get(
                self._version,
                lambda older: SearchIndex(connection, folder, older, kept.newest, filled=filled),
            )
        return self._index


def _hits(connection: sqlite3.Connection, ranked: Sequence[tuple[int, float]]) -> list[Hit]:
    rows = json.dumps([row for row, _ in ranked])
    select = f"""
        SELECT {chunk_columns(connection)}, {DOCUMENT} FROM chunk
        JOIN document ON document.row = chunk.document
        WHERE chunk.row IN (SELECT value FROM json_each(?))"""  # noqa: S608 (names of columns)
    found = {row[0]: row for row in connection.execute(select, (rows,))}
    hits: list[Hit] = []
    for rank, (row, score) in enumerate(ranked, start=1):
        if row not in found:
            raise damaged_chunk(row)
        document = read_document(found[row][N_CHUNK:])
        hits.append(
            Hit(
                rank=rank,
                score=score,
                chunk=read_chunk(document.id, found[row][:N_CHUNK]),
                source=document.source,
                title=document.title,
                metadata=document.metadata,
            )
        )
    return hits


# Each of these returns row, chunk id and rank (lower is better) of the k best and some more.


def _by_fts5(
    connection: sqlite3.Connection, match: str, k: int, *, allowed: set[int] | None
) -> Iterable[tuple[int, str, float]]:
    documents = None if allowed is None else json.dumps(sorted(allowed))
    rows = connection.execute(
        _LEXICAL if documents is None else _LEXICAL_INSIDE,
        {"match": match, "limit": k + _TIES, "documents": documents},
    ).fetchall()
    return [(row, str(chunk_id), rank) for row, chunk_id, rank in rows]


def _by_postings(
    connection: sqlite3.Connection,
    index: SearchIndex,
    terms: Sequence[tuple[str, bool]],
    k: int,
    *,
    allowed: set[int] | None,
    reader: Reader | None,
) -> Iterable[tuple[int, str, float]]:
    inside, visible = allowed, None
    if reader is not None:
        visible = (reader.groups, partial(_chunk_rows, connection, reader.documents))
        inside = None if allowed is reader.documents else allowed
    found = index.by_terms(
        connection,
        list(dict.fromkeys(term for term, _ in terms)),
        k + _TIES,
        None if inside is None else _chunk_rows(connection, inside),
        visible,
    )
    ids = chunk_ids(connection, [row for row, _ in found])
    return [(row, ids[row], -score) for row, score in found if row in ids]


def _by_visible(
    connection: sqlite3.Connection,
    terms: Sequence[tuple[str, bool]],
    k: int,
    *,
    allowed: set[int] | None,
    reader: Reader,
) -> Iterable[tuple[int, str, float]]:
    from ragkit.storage.visible import best_visible, words_of

    inside = None
    if allowed is not None and allowed is not reader.documents:
        inside = set(_chunk_rows(connection, allowed))
    found = best_visible(connection, terms, k, words=words_of(connection, reader), allowed=inside)
    ids = chunk_ids(connection, [row for row, _ in found])
    return [(row, ids[row], -score) for row, score in found]


def _chunk_rows(connection: sqlite3.Connection, documents: Collection[int]) -> list[int]:
    rows = connection.execute(
        "SELECT row FROM chunk WHERE document IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(documents)),),
    )
    return [row[0] for row in rows]
