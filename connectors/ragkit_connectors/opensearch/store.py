"""The store that ragkit makes and fills."""

from __future__ import annotations

import hashlib
import re
import shlex
import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ragkit.errors import ConfigError, DimensionMismatchError, RemoteError, StoreMissingError
from ragkit.groups import group_names
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
from ragkit_connectors.opensearch.bulk import BulkReport, BulkWriter, Operation
from ragkit_connectors.opensearch.connecting import (
    Connection,
    Record,
    path_of,
    record,
    records,
)
from ragkit_connectors.opensearch.mapping import VectorIndex
from ragkit_connectors.opensearch.searching import Hybrid, Searched, Searcher
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.retrying import Backoff

_MANIFEST_SECONDS = 5.0
"""How long what an index says of itself holds; whether it is protected is part of it."""

_LANGUAGE_SECONDS = 60.0
_MAX_READERS = 64
"""Sets of groups whose language is kept."""

_PAGE = 1_000
_KEEP_ALIVE = "2m"
_CANDIDATES = 100
"""Neighbours that a search looks at, at least: a graph finds the nearest ten better so."""

_NUMBERED = re.compile(r"(.+)-(\d{6})")


class OpenSearchStore:
    """A store in an OpenSearch index; safe to share between threads.

    The name in the address is an alias; the index behind it is called `NAME-000001`, and a rebuild
    writes the next number before the alias moves. A document's own record is written after all of
    its chunks were acknowledged, and removed before any of them changes: a document that the store
    lists is whole. Writers in several processes do not lock each other out; the last one wins.

    What was written is found after `checkpoint`, which an ingest ends with.

    Args:
        connection: The server and the index' name.
        vectors: How vectors are indexed, for an index that is made now.
        hybrid: Who joins two rankings.
        n_shards: Of a new index; None leaves it to the server.
        n_replicas: Of a new index; None leaves it to the server.
        dead_letters: File for records that the server refuses.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        vectors: VectorIndex | None = None,
        hybrid: Hybrid = "auto",
        n_shards: int | None = None,
        n_replicas: int | None = None,
        dead_letters: Path | None = None,
    ) -> None:
        self._connection = connection
        self._vectors = vectors or VectorIndex()
        self._hybrid: Hybrid = hybrid
        # What the index holds its manifest says; where it is changes no answer.
        self.fingerprint = fingerprint("opensearch", hybrid=hybrid)
        self._shape = (n_shards, n_replicas)
        self._dead_letters = dead_letters
        self._searcher = Searcher(connection, hybrid)
        self._bulk = BulkWriter(connection, dead_letters=dead_letters)
        self._known: tuple[float, _Index | None] | None = None
        self._languages: dict[tuple[str, ...] | None, tuple[float, str | None]] = {}
        self._is_fresh = False
        self._concrete: str | None = None

    @property
    def name(self) -> str:
        """Address and name of the index."""
        address = self._connection.address
        return f"opensearch:{address.url}/{address.index}"

    @property
    def written(self) -> BulkReport:
        """What bulk requests have cost so far: operations sent, pushed back, requests."""
        return self._bulk.total

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # --- what the store is -------------------------------------------------------------------

    def manifest(self) -> Manifest:
        """Return what the index says of itself, at most 5 seconds old."""
        index = self._look()
        return Manifest(settings=None) if index is None else index.manifest

    def count(self) -> Mapping[str, int]:
        """Return the number of documents, chunks, chunks with vectors, and tokens."""
        index = self._need()
        body: dict[str, Json] = {
            "size": 0,
            "query": {"term": {"kind": "chunk"}},
            "track_total_hits": True,
            "aggs": {
                "tokens": {"sum": {"field": "n_tokens"}},
                "largest": {"max": {"field": "n_tokens"}},
            },
        }
        answer = self._post(index, "_search", body)
        n_chunks = _total(answer)
        settings = index.manifest.settings
        return {
            "documents": self._count(index, "document"),
            "chunks": n_chunks,
            "chunks_with_vectors": n_chunks if settings is not None and settings.dim else 0,
            "tokens": int(_aggregate(answer, "tokens")),
            "largest_chunk_tokens": int(_aggregate(answer, "largest")),
        }

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        """Return the language of most documents that these groups may see, a minute old at most.

        Without `groups`, of all documents.
        """
        now = time.monotonic()
        known = self._languages.get(groups)
        if known is None or now - known[0] > _LANGUAGE_SECONDS:
            index = self._need()
            readers = [] if groups is None else self._readers(index, groups)
            by: dict[str, Json] = {"field": "language", "size": 1, "order": _LANGUAGE_ORDER}
            body: dict[str, Json] = {"size": 0, "aggs": {"language": {"terms": by}}}
            body["query"] = _all_of(_DOCUMENTS, *readers)
            answer = self._post(index, "_search", body)
            buckets = records(record(_aggregations(answer).get("language")).get("buckets"))
            known = (now, str(buckets[0]["key"]) if buckets else None)
            # Replaced, never changed: other threads may be reading it.
            kept = list(self._languages.items())[1 - _MAX_READERS :]
            self._languages = dict([*kept, (groups, known)])
        return known[1]

    def chunks_sha256(self) -> str:
        """Return a digest of all chunks' ids: equal for stores that hold the same chunks."""
        digest = hashlib.sha256()
        for fields in self._pages(_CHUNKS, ("chunk_id",), ("chunk_id",)):
            digest.update(f"{fields['chunk_id']}\n".encode())
        return digest.hexdigest()

    def chunk_sketch(self, n: int) -> tuple[int, list[str]]:
        """Return the number of chunks and the n smallest ids."""
        index = self._need()
        body: dict[str, Json] = {
            "size": n,
            "query": _CHUNKS,
            "_source": ["chunk_id"],
            "sort": [{"chunk_id": "asc"}],
        }
        found = [str(fields["chunk_id"]) for fields in _sources(self._post(index, "_search", body))]
        return self._count(index, "chunk"), found

    # --- reading -----------------------------------------------------------------------------

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        The score is the cosine for `dense`, BM25 for `lexical`, the joined one for `hybrid`.

        Raises:
            StoreMissingError: there is no such index.
            ConfigError: the store is protected and the query states no groups, the filter is
                malformed, or the mode needs a vector that the query lacks.
            DimensionMismatchError: the question's vector has another length than the index'.
            RemoteError: the server failed, or a part of it did.
        """
        querying.check_k(query.k)
        index = self._need()
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
            by_words=self._by_words(query, mode, clauses),
            by_vector=self._by_vector(index, query, mode, clauses),
            convert=index.vectors.cosine,
            fields=querying.HIT_FIELDS,
            id_field="chunk_id",
        )
        scored = self._searcher.search(index.name, wanted)
        return [
            mapping.read_hit(fields, rank, score)
            for rank, (fields, score) in enumerate(scored, start=1)
        ]

    def stored(self, ids: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """Return fingerprint and source of those documents that are stored whole."""
        index = self._look()
        if index is None or not ids:
            return {}
        names = ("document_id", "fingerprint", "source")
        if self._connection.is_serverless:
            body = _page(_of_documents(ids, "document"), len(ids), names)
            found = _sources(self._post(index, "_search", body))
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
        for fields in self._pages(_DOCUMENTS, ("document_id",), ("document_id", "source")):
            yield str(fields["document_id"]), str(fields["source"])

    def documents(self, *, groups: tuple[str, ...] | None = None) -> Iterator[DocumentRow]:
        """Yield the documents that these groups may see, in order of id."""
        query = _all_of(_DOCUMENTS, *self._readers(self._need(), groups))
        names = ("document_id", "source", "title", "sha256", "n_chunks", "n_bytes")
        for fields in self._pages(query, ("document_id",), names):
            yield DocumentRow(
                document_id=str(fields["document_id"]),
                source=str(fields["source"]),
                title=str(fields["title"]),
                sha256=str(fields["sha256"]),
                chunks=cast("int", fields["n_chunks"]),
                bytes=cast("int", fields["n_bytes"]),
            )

    def document(
        self,
        document_id: str,
        *,
        groups: tuple[str, ...] | None = None,
        ignore_groups: bool = False,
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a document, its SHA-256 and its chunks; None when there is none to be seen."""
        index = self._need()
        readers = [] if ignore_groups else self._readers(index, groups)
        query = _all_of(_of_documents([document_id], "document"), *readers)
        body: dict[str, Json] = {"size": 1, "query": query}
        found = _sources(self._post(index, "_search", body))
        if not found:
            return None
        version: Json = {"term": {"version": str(found[0]["version"])}}
        chunks = self._pages(
            _all_of(_of_documents([document_id], "chunk"), version),
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
        alias = self._connection.address.index
        if self._look(anew=True) is None:
            self._create(f"{alias}-000001", settings, alias=alias)

    def write(
        self, prepared: Sequence[PreparedDocument], vectors: Mapping[bytes, StoredVectors]
    ) -> Mapping[str, str]:
        """Replace these documents; returns the ids of those that were not taken, and why.

        Raises:
            RemoteError: the server refuses the caller, or cannot be reached at all.
        """
        index = self._need()
        if any(item.document.groups for item in prepared):
            self._protect(index)
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
        own = {self._key(item): item for item in taken}
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
        index = self._need()
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
        """Give the next index to write to, which the alias moves to in one step at the end.

        The old index is kept until the rebuild after this one, for `roll_back`.

        Raises:
            RemoteError: what was written is not what is found; the alias stays where it was.
        """
        old = self._need()
        target = self._beside(self._next_name(old))
        name = self._next_name(old)
        self._delete_index(name)
        target._create(name, settings, protected=old.manifest.protected, replaces=old.name)
        try:
            yield target
            target.checkpoint()
            self._compare(old, target._need())
        except BaseException:
            self._delete_index(name)
            raise
        self._move_alias(old.name, name)
        if old.replaces is not None:
            self._delete_index(old.replaces)

    def roll_back(self) -> str:
        """Move the alias back to the index before the last rebuild and return its name.

        Raises:
            ConfigError: there is none.
        """
        index = self._need()
        if index.replaces is None:
            raise ConfigError(f"{self.name} was not rebuilt, so there is nothing to go back to")
        self._move_alias(index.name, index.replaces)
        return index.replaces

    def checkpoint(self) -> None:
        """Make what was written visible, and check that no chunk of a whole document is missing.

        Raises:
            RemoteError: fewer chunks are found than were acknowledged.
        """
        index = self._look()
        if index is None:
            return
        self._refresh(index)
        backoff = Backoff(time.monotonic() + self._connection.retry_seconds, base_seconds=0.5)
        while True:
            expected, found = self._expected(index), self._count(index, "chunk")
            if found >= expected:
                break
            # Only Serverless shows what was written later than it says.
            if not (self._connection.is_serverless and backoff.wait()):
                raise RemoteError(
                    f"{self.name} acknowledged {expected} chunks and finds {found}; run: "
                    "ragkit doctor --repair, then ingest again"
                )
        if self._connection.is_serverless:
            self._drop_copies(index)

    # --- doctor ------------------------------------------------------------------------------

    def examine(self, *, repair: bool = False) -> list[Finding]:
        """Return documents that are not whole and chunks of none; remove both when asked.

        A document that is not whole is written again by the next ingest.
        """
        index = self._look()
        if index is None:
            return []
        self._refresh(index)
        found = [
            (document_id, detail)
            for document_id, n_documents, n_chunks, expected in self._tallies(index)
            if (detail := _wrong(document_id, n_documents, n_chunks, expected)) is not None
        ]
        if repair and found:
            self.delete([document_id for document_id, _ in found])
            self._refresh(index)
        return [
            Finding(check="chunks", detail=detail, repairable=True, repaired=repair or None)
            for _, detail in found
        ]

    # --- inside: the index -------------------------------------------------------------------

    def _look(self, *, anew: bool = False) -> _Index | None:
        """Return the index behind the alias, None where there is none."""
        now = time.monotonic()
        known = self._known
        if known is not None and not anew and now - known[0] < _MANIFEST_SECONDS:
            return known[1]
        name = self._concrete or self._connection.address.index
        answer = self._connection.call("GET", path_of(name, "_mapping"), ignore=(404,))
        index = None
        if "error" not in answer:
            if len(answer) != 1:
                raise ConfigError(
                    f"{name!r} stands for {len(answer)} indices ({', '.join(sorted(answer))}); "
                    "ragkit needs an alias of one"
                )
            concrete, told = next(iter(answer.items()))
            index = _read_index(concrete, record(record(told).get("mappings")))
        self._known = (now, index)
        return index

    def _need(self) -> _Index:
        index = self._look()
        if index is None:
            raise StoreMissingError(
                f"there is no index at {self.name}; make it with: ragkit ingest PATH --store "
                f"{shlex.quote(self.name)}"
            )
        return index

    def _next_name(self, old: _Index) -> str:
        numbered = _NUMBERED.fullmatch(old.name)
        stem, number = (numbered[1], int(numbered[2])) if numbered else (old.name, 0)
        return f"{stem}-{number + 1:06d}"

    def _beside(self, concrete: str) -> OpenSearchStore:
        """Return this store with another index behind its name."""
        target = OpenSearchStore(
            self._connection,
            vectors=self._vectors,
            hybrid=self._hybrid,
            n_shards=self._shape[0],
            n_replicas=self._shape[1],
            dead_letters=self._dead_letters,
        )
        target._concrete = concrete
        return target

    def _create(
        self,
        name: str,
        settings: StoreSettings,
        *,
        alias: str | None = None,
        protected: bool = False,
        replaces: str | None = None,
    ) -> None:
        body = mapping.index_body(
            settings,
            self._vectors,
            mapping.meta(settings, self._vectors, protected=protected, replaces=replaces),
            version=self._connection.version,
            n_shards=self._shape[0],
            n_replicas=self._shape[1],
        )
        if alias is not None:
            body["aliases"] = {alias: {}}
        answer = self._connection.call("PUT", path_of(name), body, ignore=(400,))
        error = record(answer.get("error"))
        # Another process may have been quicker.
        if error and error.get("type") != "resource_already_exists_exception":
            raise ConfigError(f"index {name!r} cannot be made: {error.get('reason')}")
        self._wait_for_index()

    def _wait_for_index(self) -> None:
        """Wait until the index can be seen, which takes Serverless some seconds."""
        backoff = Backoff(time.monotonic() + self._connection.retry_seconds)
        while self._look(anew=True) is None:
            if not backoff.wait():
                raise RemoteError(f"{self.name} was made, but does not show")

    def _delete_index(self, name: str) -> None:
        self._connection.call("DELETE", path_of(name), ignore=(404,))

    def _move_alias(self, old: str, new: str) -> None:
        alias = self._connection.address.index
        if alias == old:
            raise ConfigError(
                f"{alias!r} is an index, not an alias, and cannot be replaced without a gap; use "
                "the alias as the store's name"
            )
        actions: list[Json] = [
            {"remove": {"index": old, "alias": alias}},
            {"add": {"index": new, "alias": alias}},
        ]
        self._connection.call("POST", "/_aliases", {"actions": actions})
        self._known = None

    def _compare(self, old: _Index, new: _Index) -> None:
        """Raise `RemoteError` unless a rebuilt index holds all documents and answers a search."""
        n_old, n_new = self._count(old, "document"), self._count(new, "document")
        probe = self._post(new, "_search", {"size": 1, "query": _CHUNKS, "_source": ["chunk_id"]})
        if n_old != n_new or (n_new and not _sources(probe)):
            raise RemoteError(f"{n_new} of {n_old} documents are in the new index; nothing changed")

    def _protect(self, index: _Index) -> None:
        """Say that the store holds documents for certain groups, before the first one is there."""
        if index.manifest.protected:
            return
        settings = cast("StoreSettings", index.manifest.settings)
        told = mapping.meta(settings, index.vectors, protected=True, replaces=index.replaces)
        self._connection.call("PUT", path_of(index.name, "_mapping"), {"_meta": told})
        self._look(anew=True)

    # --- inside: requests --------------------------------------------------------------------

    def _post(self, index: _Index, what: str, body: Mapping[str, Json]) -> Record:
        return self._connection.call("POST", path_of(index.name, what), body)

    def _refresh(self, index: _Index) -> None:
        # Serverless has no such request and shows what is written in its own time.
        if not self._connection.is_serverless:
            self._connection.call("POST", path_of(index.name, "_refresh"))
        self._is_fresh = True

    def _count(self, index: _Index, kind: str) -> int:
        answer = self._post(index, "_count", {"query": {"term": {"kind": kind}}})
        return cast("int", answer["count"])

    def _expected(self, index: _Index) -> int:
        """Return the number of chunks that the records of documents speak of."""
        aggregations: Json = {"chunks": {"sum": {"field": "n_chunks"}}}
        body: dict[str, Json] = {"size": 0, "query": _DOCUMENTS, "aggs": aggregations}
        return int(_aggregate(self._post(index, "_search", body), "chunks"))

    def _pages(self, query: Json, order: Sequence[str], names: Sequence[str]) -> Iterator[Record]:
        """Yield all records of a query, however many, from one moment's view of the index."""
        index = self._need()
        path = path_of(index.name, "_search", "point_in_time")
        opened = self._connection.call("POST", path, params={"keep_alive": _KEEP_ALIVE})
        identity = str(opened["pit_id"])
        sort: list[Json] = [{name: "asc"} for name in order]
        after: Json = None
        try:
            while True:
                body: dict[str, Json] = {
                    **_page(query, _PAGE, names),
                    "pit": {"id": identity, "keep_alive": _KEEP_ALIVE},
                    "sort": sort,
                }
                if after is not None:
                    body["search_after"] = after
                answer = self._connection.call("POST", "/_search", body)
                yield from _sources(answer)
                hits = records(record(answer.get("hits")).get("hits"))
                if len(hits) < _PAGE:
                    return
                after = cast("Json", hits[-1]["sort"])
        finally:
            self._connection.call("DELETE", "/_search/point_in_time", {"pit_id": [identity]})

    # --- inside: searching -------------------------------------------------------------------

    def _readers(self, index: _Index, groups: tuple[str, ...] | None) -> list[Json]:
        protected = index.manifest.protected
        if protected and groups is None:
            raise ConfigError(
                f"store {self.name} holds documents for certain groups: a query must state its "
                "groups (--groups A,B)"
            )
        names = None if groups is None else group_names(groups)
        return querying.group_clauses(names, protected=protected)

    def _by_words(self, query: Query, mode: str, clauses: Sequence[Json]) -> Json:
        if mode == "dense":
            return None
        words = querying.words_query(query.question, self.language(groups=query.groups))
        return None if words is None else querying.filtered(words, clauses)

    def _by_vector(self, index: _Index, query: Query, mode: str, clauses: Sequence[Json]) -> Json:
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

    def _key(self, item: PreparedDocument) -> str:
        return mapping.document_key(item.document.id)

    def _chunk_operations(
        self, index: _Index, item: PreparedDocument, vectors: Mapping[bytes, StoredVectors]
    ) -> Iterator[Operation]:
        settings = cast("StoreSettings", index.manifest.settings)
        for i, (chunk, key) in enumerate(zip(item.chunks, item.vector_keys, strict=True)):
            packed = None if key is None else vectors[key].chunk
            name = mapping.chunk_key(chunk, settings)
            yield Operation(
                key=name,
                target=None if self._connection.is_serverless else name,
                source=mapping.chunk_record(item, i, packed, index.vectors),
            )

    def _records_of(self, index: _Index, ids: Sequence[str]) -> dict[str, set[str]]:
        """Return the server's ids of all records of these documents."""
        if not self._is_fresh:
            self._refresh(index)
        found: dict[str, set[str]] = {}
        for fields in self._pages(_of_documents(ids), ("chunk_id",), ("document_id",)):
            found.setdefault(str(fields["document_id"]), set()).add(str(fields["_id"]))
        return found

    def _remove(self, index: _Index, targets: Mapping[str, set[str]]) -> None:
        names = sorted(name for some in targets.values() for name in some)
        report = self._bulk.write(index.name, [Operation(key=n, target=n) for n in names])
        if report.failed:
            raise RemoteError(
                f"{len(report.failed)} records could not be removed from {self.name}: "
                f"{next(iter(report.failed.values()))}"
            )

    def _drop_copies(self, index: _Index) -> None:
        """Remove all but one of equal chunks: Serverless takes no ids, so a retry may copy one."""
        terms: Json = {"terms": {"field": "chunk_id", "min_doc_count": 2, "size": _PAGE}}
        answer = self._post(index, "_search", {"size": 0, "aggs": {"copies": terms}})
        for bucket in records(record(_aggregations(answer).get("copies")).get("buckets")):
            body = _page({"term": {"chunk_id": str(bucket["key"])}}, _PAGE, ())
            copies = sorted(str(f["_id"]) for f in _sources(self._post(index, "_search", body)))
            self._remove(index, {"": set(copies[1:])})

    def _tallies(self, index: _Index) -> Iterator[tuple[str, int, int, int]]:
        """Yield each document's id, its own records, its chunks, and the chunks it should have."""
        by: dict[str, Json] = {
            "size": _PAGE,
            "sources": [{"document_id": {"terms": {"field": "document_id"}}}],
        }
        parts: Json = {
            "documents": {"filter": {"term": {"kind": "document"}}},
            "chunks": {"filter": {"term": {"kind": "chunk"}}},
            "expected": {"sum": {"field": "n_chunks"}},
        }
        while True:
            body: dict[str, Json] = {"size": 0, "aggs": {"by": {"composite": by, "aggs": parts}}}
            answer = record(_aggregations(self._post(index, "_search", body)).get("by"))
            for bucket in records(answer.get("buckets")):
                yield (
                    str(record(bucket["key"])["document_id"]),
                    cast("int", record(bucket["documents"])["doc_count"]),
                    cast("int", record(bucket["chunks"])["doc_count"]),
                    int(cast("float", record(bucket["expected"])["value"])),
                )
            if "after_key" not in answer:
                return
            by["after"] = cast("Json", answer["after_key"])


class _Index:
    """An index and what it says of itself."""

    def __init__(
        self, name: str, manifest: Manifest, vectors: VectorIndex, replaces: str | None
    ) -> None:
        self.name = name
        self.manifest = manifest
        self.vectors = vectors
        self.replaces = replaces


_DOCUMENTS: Json = {"term": {"kind": "document"}}
_CHUNKS: Json = {"term": {"kind": "chunk"}}
_LANGUAGE_ORDER: Json = [{"_count": "desc"}, {"_key": "asc"}]


def _read_index(name: str, told: Record) -> _Index:
    manifest, vectors, replaces = mapping.read_meta(told, name)
    return _Index(name, manifest, vectors, replaces)


def _all_of(*clauses: Json) -> Json:
    return {"bool": {"filter": list(clauses)}}


def _of_documents(ids: Collection[str], kind: str | None = None) -> Json:
    found: Json = {"terms": {"document_id": list(ids)}}
    return found if kind is None else _all_of({"term": {"kind": kind}}, found)


def _page(query: Json, size: int, names: Sequence[str]) -> dict[str, Json]:
    return {"size": size, "query": query, "_source": list(names), "track_total_hits": False}


def _sources(answer: Record) -> list[Record]:
    hits = records(record(answer.get("hits")).get("hits"))
    return [{**record(hit.get("_source")), "_id": hit["_id"]} for hit in hits]


def _aggregations(answer: Record) -> Record:
    return record(answer.get("aggregations"))


def _aggregate(answer: Record, name: str) -> float:
    return cast("float | None", record(_aggregations(answer).get(name)).get("value")) or 0.0


def _total(answer: Record) -> int:
    return cast("int", record(record(answer.get("hits")).get("total")).get("value"))


def _wrong(document_id: str, n_documents: int, n_chunks: int, expected: int) -> str | None:
    if n_documents == 0:
        return f"{n_chunks} chunks of a document {document_id!r} that is not stored whole"
    if n_documents > 1 or n_chunks != expected:
        return f"document {document_id!r} has {n_chunks} of {expected} chunks"
    return None
