"""Searching an index that ragkit did not make, as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ragkit.errors import ConfigError, StoreMissingError
from ragkit.types import Hit, Json, Query
from ragkit_connectors.opensearch.connecting import Connection, path_of
from ragkit_connectors.opensearch.querying import check_k
from ragkit_connectors.opensearch.searching import Hybrid, Searched, Searcher
from ragkit_connectors.support.conditions import conditions
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.json_values import Record, record
from ragkit_connectors.support.passages import FoundPassage, to_hits

_RANGES = frozenset({"$gt", "$gte", "$lt", "$lte"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFields:
    """Names of the fields of an index that ragkit did not make; None for what it does not have.

    Attributes:
        text: Field of the text.
        vector: Field of the vectors.
        title: Field of the titles.
        source: Field of the addresses.
        groups: Field of the groups that may read a record.
    """

    text: str
    vector: str | None = None
    title: str | None = None
    source: str | None = None
    groups: str | None = None

    def wanted(self) -> tuple[str, ...]:
        """Return the fields to fetch: all but the vector, which is large and of no use."""
        return tuple(n for n in (self.text, self.title, self.source) if n is not None)


class OpenSearchRetriever:
    """Searches an index with its own analyzer and vectors; writes nothing.

    Each record is a document of its own. Filters name fields of the index and mean what OpenSearch
    makes of them. With `groups` given, a reader needs to share one; without it a question
    that states groups is refused, since nothing could enforce them. The field must be of type
    `keyword`, or have a `.keyword`, which is then used: other types match parts of a name. No group
    stands for everybody here, not even `public`.

    Args:
        connection: The server and the index.
        fields: What its fields are called.
        hybrid: Where two rankings are fused: `auto`, `server` or `client`.
    """

    def __init__(
        self, connection: Connection, fields: ForeignFields, *, hybrid: Hybrid = "auto"
    ) -> None:
        self._connection = connection
        self._fields = fields
        self._searcher = Searcher(connection, hybrid)
        self._has_index = False
        address = connection.address
        self.fingerprint = fingerprint(
            f"opensearch:{address.url}/{address.index}", fields=asdict(fields), hybrid=hybrid
        )
        self._groups_field: str | None = None

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of the records' ids.

        Raises:
            StoreMissingError: there is no such index.
            ConfigError: a mode, filter or group cannot be used with this index, or its field of
                groups does not keep names whole.
            RemoteError: the server failed.
        """
        check_k(query.k)
        self._check_index()
        mode = query.mode or ("lexical" if query.vector is None else "hybrid")
        if mode != "lexical" and (query.vector is None or self._fields.vector is None):
            raise ConfigError(
                f"mode {mode!r} needs vector_field of the store, and an embedder for the question; "
                "or use mode 'lexical'"
            )
        clauses = [*_filter_clauses(query.filters), *self._readers(query.groups)]
        wanted = Searched(
            k=query.k,
            mode=mode,
            fusion=query.fusion,
            lexical=self._lexical(query, clauses),
            dense=self._dense(query, clauses) if mode != "lexical" else None,
            convert=float,
            fields=self._fields.wanted(),
            id_field="_id",
        )
        scored = self._searcher.search(self._connection.address.index, wanted)
        passages = [self._passage(fields, score) for fields, score in scored]
        return to_hits(passages, k=query.k)

    def _check_index(self) -> None:
        if self._has_index:
            return
        path = path_of(self._connection.address.index, "_mapping")
        found = self._connection.call("GET", path, ignore=(404,))
        address = self._connection.address
        if "error" in found:
            raise StoreMissingError(f"there is no index {address.index!r} at {address.url}")
        if self._fields.groups is not None:
            self._groups_field = _whole_names_field(found, self._fields.groups)
        self._has_index = True

    def _lexical(self, query: Query, clauses: Sequence[Json]) -> Json:
        words: Json = {"match": {self._fields.text: {"query": query.question}}}
        return {"bool": {"must": [words], "filter": list(clauses)}}

    def _dense(self, query: Query, clauses: Sequence[Json]) -> Json:
        assert query.vector is not None  # noqa: S101 (narrowing; checked by `search`)
        knn: dict[str, Json] = {"vector": query.vector.tolist(), "k": max(query.k, 100)}
        if clauses:
            knn["filter"] = {"bool": {"filter": list(clauses)}}
        return {"knn": {self._fields.vector or "": knn}}

    def _readers(self, groups: tuple[str, ...] | None) -> list[Json]:
        field = self._groups_field
        if field is None:
            if groups is not None:
                raise ConfigError("a query with groups needs groups_field of the store")
            return []
        if groups is None:
            raise ConfigError("this store has a groups_field: a query must state its groups")
        return [{"terms": {field: list(groups)}}]

    def _passage(self, fields: Record, score: float) -> FoundPassage:
        def text(name: str | None) -> str:
            return "" if name is None else str(_lookup(fields, name) or "")

        identity = str(fields["_id"])
        return FoundPassage(
            text=text(self._fields.text),
            document_id=identity,
            id=identity,
            title=text(self._fields.title),
            source=text(self._fields.source),
            score=score,
        )


def _whole_names_field(mappings: Record, name: str) -> str:
    """Return the field that matches whole group names: this one, or its `.keyword`.

    Args:
        mappings: Of each index behind the name.
        name: The field of the settings.

    Raises:
        ConfigError: there is none, or not the same one in all of them.
    """
    usable: set[str | None] = set()
    for index in mappings.values():
        properties = record(record(record(index).get("mappings")).get("properties"))
        field = _field(properties, name)
        fields = record(field.get("fields"))
        if _keeps_names(field):
            usable.add(name)
        else:
            usable.add(f"{name}.keyword" if _keeps_names(record(fields.get("keyword"))) else None)
    (found, *others) = usable or {None}
    if found is None or others:
        raise ConfigError(
            f"groups_field {name!r}; allowed: a field of type keyword without a normalizer, or one "
            "that has such a .keyword, in every index behind the name: others match parts of names"
        )
    return found


def _field(properties: Record, name: str) -> Record:
    """Return a field's mapping, empty where there is none; its name may hold dots."""
    if name in properties:
        return record(properties[name])
    for i, character in enumerate(name):
        if character == "." and name[:i] in properties:
            outer = record(properties[name[:i]])
            inner = {**record(outer.get("fields")), **record(outer.get("properties"))}
            if found := _field(inner, name[i + 1 :]):
                return found
    return {}


def _keeps_names(field: Record) -> bool:
    return field.get("type") == "keyword" and "normalizer" not in field


def _lookup(fields: Record, name: str) -> object:
    if name in fields:
        return fields[name]
    value: object = fields
    for part in name.split("."):
        value = record(value).get(part)
    return value


def _filter_clauses(filters: Mapping[str, Json] | None) -> list[Json]:
    return [_condition(field, name, operand) for field, name, operand in conditions(filters)]


def _condition(field: str, name: str, operand: Json) -> Json:
    if name in _RANGES:
        return {"range": {field: {name.removeprefix("$"): operand}}}
    is_list = name in {"$in", "$nin"}
    clause: Json = {"terms": {field: operand if is_list else [operand]}}
    if name == "$exists":
        clause = {"exists": {"field": field}}
    negated = name in {"$ne", "$nin"} or (name == "$exists" and operand is False)
    return {"bool": {"must_not": [clause]}} if negated else clause
