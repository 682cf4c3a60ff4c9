"""Reading an index: pages of records, counts and sums."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ragkit.errors import RemoteError
from ragkit.types import Json
from ragkit_connectors.opensearch.connecting import Connection, path_of
from ragkit_connectors.support.json_values import (
    Record,
    json_value,
    number,
    record,
    records,
    required_count,
)

PAGE_RECORDS = 1_000
DOCUMENTS: Json = {"term": {"kind": "document"}}
CHUNKS: Json = {"term": {"kind": "chunk"}}

_KEEP_ALIVE = "2m"
_MOST_FREQUENT: Json = [{"_count": "desc"}, {"_key": "asc"}]


class RecordReader:
    """Requests that read the records of an index; safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def search(self, index: str, body: Mapping[str, Json]) -> Record:
        """Return the answer to a search."""
        return self._connection.call("POST", path_of(index, "_search"), body)

    def found(self, index: str, body: Mapping[str, Json]) -> list[Record]:
        """Return the records that a search found."""
        return _hits(self.search(index, body))

    def count(self, index: str, kind: str) -> int:
        """Return the number of records of a kind."""
        body: Json = {"query": {"term": {"kind": kind}}}
        answer = self._connection.call("POST", path_of(index, "_count"), body)
        return required_count(answer, "count")

    def expected_chunks(self, index: str) -> int:
        """Return the number of chunks that the records of documents announce."""
        aggregations: Json = {"chunks": {"sum": {"field": "n_chunks"}}}
        body: dict[str, Json] = {"size": 0, "query": DOCUMENTS, "aggs": aggregations}
        return int(_aggregate(self.search(index, body), "chunks"))

    def pages(
        self, index: str, query: Json, order: Sequence[str], names: Sequence[str]
    ) -> Iterator[Record]:
        """Yield all records of a query, however many, from one point in time of the index."""
        path = path_of(index, "_search", "point_in_time")
        opened = self._connection.call("POST", path, params={"keep_alive": _KEEP_ALIVE})
        identity = str(opened["pit_id"])
        sort: list[Json] = [{name: "asc"} for name in order]
        after: Json = None
        try:
            while True:
                body: dict[str, Json] = {
                    **page(query, PAGE_RECORDS, names),
                    "pit": {"id": identity, "keep_alive": _KEEP_ALIVE},
                    "sort": sort,
                }
                if after is not None:
                    body["search_after"] = after
                answer = self._connection.call("POST", "/_search", body)
                yield from _hits(answer)
                hits = records(record(answer.get("hits")).get("hits"))
                if len(hits) < PAGE_RECORDS:
                    return
                after = json_value(hits[-1]["sort"])
        finally:
            self._connection.call("DELETE", "/_search/point_in_time", {"pit_id": [identity]})

    def chunk_totals(self, index: str) -> tuple[int, int, int]:
        """Return the number of chunks, of their tokens, and of the tokens of the largest."""
        tokens: Json = {"field": "n_tokens"}
        body: dict[str, Json] = {
            "size": 0,
            "query": CHUNKS,
            "track_total_hits": True,
            "aggs": {"tokens": {"sum": tokens}, "largest": {"max": tokens}},
        }
        answer = self.search(index, body)
        n_chunks = required_count(record(record(answer.get("hits")).get("total")), "value")
        return n_chunks, int(_aggregate(answer, "tokens")), int(_aggregate(answer, "largest"))

    def by_document(self, index: str, ids: Collection[str]) -> dict[str, set[str]]:
        """Return the server's ids of all records of these documents."""
        found: dict[str, set[str]] = {}
        for fields in self.pages(index, of_documents(ids), ("chunk_id",), ("document_id",)):
            found.setdefault(str(fields["document_id"]), set()).add(str(fields["_id"]))
        return found

    def language(self, index: str, query: Json) -> str | None:
        """Return the most frequent language of the documents of a query."""
        by: Json = {"field": "language", "size": 1, "order": _MOST_FREQUENT}
        body: dict[str, Json] = {"size": 0, "aggs": {"language": {"terms": by}}, "query": query}
        buckets = _buckets(self.search(index, body), "language")
        return str(buckets[0]["key"]) if buckets else None

    def incomplete(self, index: str) -> Iterator[tuple[str, str]]:
        """Yield the ids of incomplete documents and of orphaned chunks, and what is wrong."""
        for document_id, n_documents, n_chunks, n_expected in self._tallies(index):
            if n_documents == 0:
                detail = f"{n_chunks} chunks of a document {document_id!r} that is not stored whole"
                yield document_id, detail
            elif n_documents > 1 or n_chunks != n_expected:
                yield document_id, f"document {document_id!r} has {n_chunks} of {n_expected} chunks"

    def _tallies(self, index: str) -> Iterator[tuple[str, int, int, int]]:
        """Yield each document's id, its own records, its chunks, and the chunks it should have."""
        by: dict[str, Json] = {
            "size": PAGE_RECORDS,
            "sources": [{"document_id": {"terms": {"field": "document_id"}}}],
        }
        parts: Json = {
            "documents": {"filter": DOCUMENTS},
            "chunks": {"filter": CHUNKS},
            "expected": {"sum": {"field": "n_chunks"}},
        }
        while True:
            body: dict[str, Json] = {"size": 0, "aggs": {"by": {"composite": by, "aggs": parts}}}
            answer = _aggregation(self.search(index, body), "by")
            for bucket in records(answer.get("buckets")):
                yield (
                    str(record(bucket["key"])["document_id"]),
                    required_count(record(bucket["documents"]), "doc_count"),
                    required_count(record(bucket["chunks"]), "doc_count"),
                    int(number(record(bucket["expected"]).get("value")) or 0.0),
                )
            if "after_key" not in answer:
                return
            by["after"] = json_value(answer["after_key"])

    def compare(self, old: str, new: str) -> None:
        """Raise `RemoteError` unless a rebuilt index holds all documents and answers a search."""
        n_old, n_new = self.count(old, "document"), self.count(new, "document")
        if n_old != n_new or (n_new and not self.found(new, page(CHUNKS, 1, ["chunk_id"]))):
            raise RemoteError(f"{n_new} of {n_old} documents are in the new index; nothing changed")

    def copies(self, index: str) -> Iterator[list[str]]:
        """Yield the server's ids of the surplus copies of a chunk, for each that has any."""
        terms: Json = {"terms": {"field": "chunk_id", "min_doc_count": 2, "size": PAGE_RECORDS}}
        answer = self.search(index, {"size": 0, "aggs": {"copies": terms}})
        for bucket in _buckets(answer, "copies"):
            body = page({"term": {"chunk_id": str(bucket["key"])}}, PAGE_RECORDS, ())
            yield sorted(str(fields["_id"]) for fields in self.found(index, body))[1:]


def all_of(*clauses: Json) -> Json:
    """Return a query for what meets all clauses."""
    return {"bool": {"filter": list(clauses)}}


def of_documents(ids: Collection[str], kind: str | None = None) -> Json:
    """Return a query for the records of these documents, or for those of one kind."""
    found: Json = {"terms": {"document_id": list(ids)}}
    return found if kind is None else all_of({"term": {"kind": kind}}, found)


def page(query: Json, size: int, names: Sequence[str]) -> dict[str, Json]:
    """Return the body of a search for so many records and these fields of each."""
    return {"size": size, "query": query, "_source": list(names), "track_total_hits": False}


def _hits(answer: Record) -> list[Record]:
    """Return the records of a search's answer, each with its `_id`."""
    hits = records(record(answer.get("hits")).get("hits"))
    return [{**record(hit.get("_source")), "_id": hit["_id"]} for hit in hits]


def _aggregation(answer: Record, name: str) -> Record:
    return record(record(answer.get("aggregations")).get(name))


def _aggregate(answer: Record, name: str) -> float:
    return number(_aggregation(answer, name).get("value")) or 0.0


def _buckets(answer: Record, name: str) -> list[Record]:
    return records(_aggregation(answer, name).get("buckets"))
