"""The store that ragkit makes and fills: one class, since it is one protocol (`Store`)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError, DimensionMismatchError, RemoteError
from ragkit.groups import readers_of
from ragkit.storage import (
    DocumentRow,
    Finding,
    Manifest,
    PreparedDocument,
    StoredVectors,
    StoreSettings,
)
from ragkit.types import Chunk, Document, Hit, Json, Query
from ragkit_connectors.opensearch import mapping, querying
from ragkit_connectors.opensearch.alias import IndexAlias, next_name
from ragkit_connectors.opensearch.bulk import BulkReport, BulkWriter, Operation
from ragkit_connectors.opensearch.connecting import Connection, path_of
from ragkit_connectors.opensearch.mapping import Index, NewIndex
from ragkit_connectors.opensearch.pooling import read_pool
from ragkit_connectors.opensearch.records import (
    CHUNKS,
    DOCUMENTS,
    RecordReader,
    all_of,
    of_documents,
    page,
)
from ragkit_connectors.opensearch.searching import Hybrid, Searched, Searcher
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.json_values import record, records, required_count
from ragkit_connectors.support.retrying import Backoff

if TYPE_CHECKING:
    from ragkit.trimming import PoolChunk
    from ragkit.types import Vector

_LANGUAGE_SECONDS = 60.0
_MAX_READERS = 64
"""Sets of groups whose language is kept."""

_CANDIDATES = 100
"""Fewest neighbours that a search looks at: a graph then finds the nearest ten more reliably."""


class OpenSearchStore:
    """A store in an OpenSearch index; safe to share between threads.

    The name in the address is an alias; the index behind it is called `NAME-000001`, and a rebuild
    writes the next number before the alias moves. A document's own record is written after all of
    its chunks were acknowledged, and removed before any of them changes: a document that the store
    lists is complete. Writers in several processes do not lock each other out; the last one wins.

    What was written is found after `checkpoint`, which an ingest ends with.

    Args:
        connection: The server and the index' name.
        new: How an index is made, where there is none yet.
        hybrid: Where two rankings are fused: `auto`, `server` or `client`.
        dead_letters: File for records that the server refuses.
    """

    def __init__(
        self,
        connection: Connection,
        new: NewIndex | None = None,
        *,
        hybrid: Hybrid = "auto",
        dead_letters: Path | None = None,
    ) -> None:
        self._connection = connection
        self._new = new or NewIndex()
        self._hybrid: Hybrid = hybrid
        # The manifest says what the index holds; where it runs changes no answer.
        self.fingerprint = fingerprint("opensearch", hybrid=hybrid)
        self._dead_letters = dead_letters
        self._alias = IndexAlias(connection, self._new)
        self._reader = RecordReader(connection)
        self._searcher = Searcher(connection, hybrid)
        self._bulk = BulkWriter(connection, dead_letters=dead_letters)
        self._languages: dict[tuple[str, ...] | None, tuple[float, str | None]] = {}
        self._is_fresh = False

    @property
    def name(self) -> str:
        """Address and name of the index."""
        return self._alias.name

    @property
    def written(self) -> BulkReport:
        """What bulk requests have cost so far: operations sent, throttled, requests."""
        return self._bulk.total

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # --- what the store is -------------------------------------------------------------------

    def manifest(self) -> Manifest:
        """Return what the index says of itself, at most 5 seconds old."""
        index = self._alias.look()
        return Manifest(settings=None) if index is None else index.manifest

    def count(self) -> Mapping[str, int]:
        """Return the number of documents, chunks, chunks with vectors, and tokens."""
        index = self._alias.need()
        n_chunks, n_tokens, n_largest = self._reader.chunk_totals(index.name)
        settings = index.manifest.settings
        return {
            "documents": self._reader.count(index.name, "document"),
            "chunks": n_chunks,
            "chunks_with_vectors": n_chunks if settings is not None and settings.dim else 0,
            "tokens": n_tokens,
            "largest_chunk_tokens": n_largest,
        }

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        """Return the language of most documents that these groups may see, a minute old at most.

        Without `groups`, of all documents.
        """
        now = time.monotonic()
        known = self._languages.get(groups)
        if known is None or now - known[0] > _LANGUAGE_SECONDS:
            index = self._alias.need()
            readers = [] if groups is None else self._readers(index, groups)
            known = (now, self._reader.language(index.name, all_of(DOCUMENTS, *readers)))
            # Replaced, never changed: other threads may be reading it.
            kept = list(self._languages.items())[1 - _MAX_READERS :]
            self._languages = dict([*kept, (groups, known)])
        return known[1]

    def chunks_sha256(self) -> str:
        """Return a digest of all chunks' ids: equal for stores that hold the same chunks."""
        digest = hashlib.sha256()
        index = self._alias.need()
        for fields in self._reader.pages(index.name, CHUNKS, ("chunk_id",), ("chunk_id",)):
            digest.update(f"{fields['chunk_id']}\n".encode())
        return digest.hexdigest()

    def chunk_sketch(self, n: int) -> tuple[int, list[str]]:
        """Return the number of chunks and the n smallest ids."""
        index = self._alias.need()
        body = {**page(CHUNKS, n, ["chunk_id"]), "sort": [{"chunk_id": "asc"}]}
        found = [str(fields["chunk_id"]) for fields in self._reader.found(index.name, body)]
        return self._reader.count(index.name, "chunk"), found

    # --- reading -----------------------------------------------------------------------------

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        The score is the cosine for `dense`, BM25 for `lexical`, the fused one for `hybrid`.

        Raises:
            StoreMissingError: there is no such index.
            ConfigError: the store is protected and the query states no groups, the filter is
                malformed, or the mode needs a vector that the query lacks.
            DimensionMismatchError: the question's vector has another length than the index'.
            RemoteError: the server failed, or a part of it did.
        """
        querying.check_k(query.k)
        index = self._alias.need()
        mode = query.mode or ("lexical" if query.vector is None else "hybrid")
        if mode != "lexical" and query.vector is None:
            raise ConfigError(f"mode {mode!r} needs a question vector; use mode 'lexical'")
        clauses = [
            *querying.filter_clauses(query.filters),
            *self._readers(index, query.groups),
        ]
        wanted = Searched(
            k=query.k,
            mode=mode,
            fusion=query.fusion,
            lexical=self._lexical(query, mode, clauses),
            dense=self._dense(index, query, mode, clauses),
            convert=index.vectors.cosine,
            fields=querying.HIT_FIELDS,
            id_field="chunk_id",
        )
        scored = self._searcher.search(index.name, wanted)
        return [
            mapping.read_hit(fields, rank, score)
            for rank, (fields, score) in enumerate(scored, start=1)
        ]

    def can_hold_sentences(self) -> bool:
        """Whether chunks' records have, or in a new index would have, vectors of sentences."""
        index = self._alias.look()
        return index is None or index.can_hold_sentences

    def pool(self, hits: Sequence[Hit], vector: Vector | None) -> list[PoolChunk]:
        """Return the hits prepared for trimming, with sentence cosines where they are stored."""
        return read_pool(self._reader, self._alias.need(), hits, vector)

    def stored(self, ids: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """Return fingerprint and source of those documents that are stored in full."""
        index = self._alias.look()
        if index is None or not ids:
            return {}
        names = ("document_id", "fingerprint", "source")
        if self._connection.is_serverless:
            body = page(of_documents(ids, "document"), len(ids), names)
            found = self._reader.found(index.name, body)
        else:
            keys: list[Json] = [mapping.document_key(document_id) for document_id in ids]
            parameters = {"_source_includes": ",".join(names)}
            path = path_of(index.name, "_mget")
            answer = self._connection.call("POST", path, {"ids": keys}, params=parameters)
            docs = records(answer.get("docs"))
            found = [record(doc["_source"]) for doc in docs if doc.get("found")]
        return {str(f["document_id"]): (str(f["fingerprint"]), str(f["source"])) for f in found}

    def sources(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the source of every document, in order of id."""
        index, names = self._alias.need(), ("document_id", "source")
        for fields in self._reader.pages(index.name, DOCUMENTS, ("document_id",), names):
            yield str(fields["document_id"]), str(fields["source"])

    def documents(self, *, groups: tuple[str, ...] | None = None) -> Iterator[DocumentRow]:
        """Yield the documents that these groups may see, in order of id."""
        index = self._alias.need()
        query = all_of(DOCUMENTS, *self._readers(index, groups))
        names = ("document_id", "source", "title", "sha256", "n_chunks", "n_bytes")
        for fields in self._reader.pages(index.name, query, ("document_id",), names):
            yield DocumentRow(
                document_id=str(fields["document_id"]),
                source=str(fields["source"]),
                title=str(fields["title"]),
                sha256=str(fields["sha256"]),
                chunks=required_count(fields, "n_chunks"),
                bytes=required_count(fields, "n_bytes"),
            )

    def document(
        self,
        document_id: str,
        *,
        groups: tuple[str, ...] | None = None,
        ignore_groups: bool = False,
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a document, its SHA-256 and its chunks; None when there is none to be seen."""
        index = self._alias.need()
        readers = [] if ignore_groups else self._readers(index, groups)
        query = all_of(of_documents([document_id], "document"), *readers)
        body: dict[str, Json] = {"size": 1, "query": query}
        found = self._reader.found(index.name, body)
        if not found:
            return None
        version: Json = {"term": {"version": str(found[0]["version"])}}
        chunks = self._reader.pages(
            index.name,
            all_of(of_documents([document_id], "chunk"), version),
            ("start", "chunk_id"),
            querying.HIT_FIELDS,
        )
        return (
            mapping.read_document(found[0]),
            str(found[0]["sha256"]),
            [mapping.read_chunk(fields) for fields in chunks],
        )

    def known_vectors(self, keys: Collection[bytes]) -> set[bytes]:  # noqa: ARG002 (protocol)
        """Return none: vectors are stored with the chunks of each document."""
        return set()

    # --- writing -----------------------------------------------------------------------------

    def configure(self, settings: StoreSettings) -> None:
        """Make the index, unless it is there."""
        if self._alias.look(fresh=True) is None:
            self._alias.create(settings)

    def write(
        self, prepared: Sequence[PreparedDocument], vectors: Mapping[bytes, StoredVectors]
    ) -> Mapping[str, str]:
        """Replace these documents; returns the ids of those that were not taken, and why.

        Raises:
            RemoteError: the server refuses the caller, or cannot be reached at all.
        """
        index = self._alias.need()
        if any(item.document.groups for item in prepared):
            self._alias.protect(index)
        old = self._records_of(index, [item.document.id for item in prepared])
        self._remove(index, {d: set(t) & {mapping.document_key(d)} for d, t in old.items()})
        owner: dict[str, str] = {}
        operations: list[Operation] = []
        for item in prepared:
            for operation in self._chunk_operations(index, item, vectors):
                owner[operation.key] = item.document.id
                operations.append(operation)
        failed = self._bulk.write(index.name, operations).failed
        refused = {owner[key]: reason for key, reason in failed.items()}
        taken = [item for item in prepared if item.document.id not in refused]
        self._remove(index, {i.document.id: old.get(i.document.id, set()) - owner.keys()
                             for i in taken})  # fmt: skip
        own = {mapping.document_key(item.document.id): item for item in taken}
        finished = self._bulk.write(
            index.name,
            [
                Operation(
                    key=key,
                    target=None if self._connection.is_serverless else key,
                    source=mapping.document_record(item),
                )
                for key, item in own.items()
            ],
        )
        return refused | {own[k].document.id: why for k, why in finished.failed.items()}

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Remove documents for good and return the ids that were there.

        A document's own record goes first: what is left of it after an interruption is removed by
        the next call.
        """
        index = self._alias.need()
        self._is_fresh = False
        old = self._records_of(index, ids)
        own = {d: t & {mapping.document_key(d)} for d, t in old.items()}
        self._remove(index, own)
        self._remove(index, {d: t - own[d] for d, t in old.items()})
        self._is_fresh = False
        return [document_id for document_id in dict.fromkeys(ids) if old.get(document_id)]

    @contextmanager
    def exclusive(self) -> Generator[None, None, None]:
        """Do nothing: an index cannot be locked."""
        yield

    @contextmanager
    def rebuilding(self, settings: StoreSettings) -> Generator[OpenSearchStore, None, None]:
        """Yield the next index to write to, which the alias moves to in one step at the end.

        The old index is kept until the rebuild after this one, for `roll_back`.

        Raises:
            RemoteError: what was written is not what is found; the alias stays where it was.
        """
        old = self._alias.need()
        name = next_name(old)
        target = self._at(name)
        self._alias.delete(name)
        target._alias.create_fixed(settings, old)
        try:
            yield target
            target.checkpoint()
            self._reader.compare(old.name, name)
        except BaseException:
            self._alias.delete(name)
            raise
        self._alias.move(old, name)
        if old.replaces is not None:
            self._alias.delete(old.replaces)

    def roll_back(self) -> str:
        """Move the alias back to the index before the last rebuild and return its name.

        Raises:
            ConfigError: there is none.
        """
        index = self._alias.need()
        if index.replaces is None:
            raise ConfigError(f"{self.name} was not rebuilt, so there is nothing to go back to")
        self._alias.move(index, index.replaces)
        return index.replaces

    def checkpoint(self) -> None:
        """Make what was written visible, and check that no chunk of a whole document is missing.

        Raises:
            RemoteError: fewer chunks are found than were acknowledged.
        """
        index = self._alias.look()
        if index is None:
            return
        self._refresh(index)
        seconds = self._connection.retry_seconds if self._connection.is_serverless else 3.0
        backoff = Backoff(time.monotonic() + seconds, base_seconds=0.5)
        while True:
            expected = self._reader.expected_chunks(index.name)
            found = self._reader.count(index.name, "chunk")
            if found >= expected:
                break
            # Serverless shows writes late; elsewhere, others may remove chunks between the counts.
            if not backoff.wait():
                raise RemoteError(
                    f"{self.name} acknowledged {expected} chunks and finds {found}; run: "
                    "ragkit doctor --repair, then ingest again"
                )
        if self._connection.is_serverless:
            # Serverless takes no ids, so a repeated request may store a chunk twice.
            for surplus in self._reader.copies(index.name):
                self._remove(index, {"": set(surplus)})

    # --- doctor ------------------------------------------------------------------------------

    def examine(self, *, repair: bool = False) -> list[Finding]:
        """Return incomplete documents and orphaned chunks; remove both when asked.

        An incomplete document is written again by the next ingest.
        """
        index = self._alias.look()
        if index is None:
            return []
        self._refresh(index)
        found = list(self._reader.incomplete(index.name))
        if repair and found:
            self.delete([document_id for document_id, _ in found])
            self._refresh(index)
        return [
            Finding(check="chunks", detail=detail, repairable=True, repaired=repair or None)
            for _, detail in found
        ]

    # --- inside: the index -------------------------------------------------------------------

    def _at(self, concrete: str) -> OpenSearchStore:
        """Return this store with another index behind its name."""
        target = OpenSearchStore(
            self._connection, self._new, hybrid=self._hybrid, dead_letters=self._dead_letters
        )
        target._alias = IndexAlias(self._connection, self._new, fixed=concrete)
        return target

    def _refresh(self, index: Index) -> None:
        # Serverless has no such request and shows what is written in its own time.
        if not self._connection.is_serverless:
            self._connection.call("POST", path_of(index.name, "_refresh"))
        self._is_fresh = True

    # --- inside: searching -------------------------------------------------------------------

    def _readers(self, index: Index, groups: tuple[str, ...] | None) -> list[Json]:
        protected = index.manifest.protected
        if protected and groups is None:
            raise ConfigError(
                f"store {self.name} holds documents for certain groups: a query must state its "
                "groups (--groups A,B)"
            )
        names = readers_of(groups)
        return querying.group_clauses(names, protected=protected)

    def _lexical(self, query: Query, mode: str, clauses: Sequence[Json]) -> Json:
        if mode == "dense":
            return None
        words = querying.keyword_query(query.question, self.language(groups=query.groups))
        return None if words is None else querying.filtered(words, clauses)

    def _dense(self, index: Index, query: Query, mode: str, clauses: Sequence[Json]) -> Json:
        if mode == "lexical" or query.vector is None:
            return None
        settings = index.manifest.settings
        dim = None if settings is None else settings.dim
        if dim != len(query.vector):
            raise DimensionMismatchError(
                f"the question's vector has {len(query.vector)} dimensions, {self.name} holds "
                f"{dim or 'none'}; ask with the embedder that the store was built with"
            )
        k = max(query.k, _CANDIDATES)
        return querying.vector_query(index.vectors.encode(query.vector), k, clauses)

    # --- inside: writing ---------------------------------------------------------------------

    def _chunk_operations(
        self, index: Index, item: PreparedDocument, vectors: Mapping[bytes, StoredVectors]
    ) -> Iterator[Operation]:
        settings = index.settings
        for i, chunk in enumerate(item.chunks):
            name = mapping.chunk_key(chunk, settings)
            yield Operation(
                key=name,
                target=None if self._connection.is_serverless else name,
                source=mapping.chunk_record(item, i, vectors, index.vectors),
            )

    def _records_of(self, index: Index, ids: Sequence[str]) -> dict[str, set[str]]:
        """Return the server's ids of all records of these documents, of those not seen yet too."""
        if not self._is_fresh:
            self._refresh(index)
        return self._reader.by_document(index.name, ids)

    def _remove(self, index: Index, targets: Mapping[str, set[str]]) -> None:
        names = sorted(name for some in targets.values() for name in some)
        report = self._bulk.write(index.name, [Operation(key=n, target=n) for n in names])
        if report.failed:
            raise RemoteError(
                f"{len(report.failed)} records could not be removed from {self.name}: "
                f"{next(iter(report.failed.values()))}"
            )
