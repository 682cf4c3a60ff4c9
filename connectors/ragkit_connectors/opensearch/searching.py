"""Running a search: by words, by vector, or both joined by the server or here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.errors import RemoteError
from ragkit.types import Fusion, Json, Mode
from ragkit_connectors.opensearch.connecting import Connection, Record, path_of
from ragkit_connectors.opensearch.querying import (
    best,
    depth_for,
    found,
    hybrid_body,
    joined,
    page,
    server_joins,
)

Hybrid: TypeAlias = Literal["auto", "server", "client"]

_NO_HYBRID = ("[hybrid]", "[search_pipeline]", "normalization-processor", "score-ranker-processor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What is searched for: queries that stand for themselves, filters and all.

    `by_words` is None for a question without words, `by_vector` None without a vector. `convert`
    makes a cosine of a score by vector. `fields` are what is wanted of a record, and `id_field`
    tells records apart and orders equal scores.
    """

    k: int
    mode: Mode
    fusion: Fusion
    by_words: Json
    by_vector: Json
    convert: Callable[[float], float]
    fields: tuple[str, ...]
    id_field: str


class Searcher:
    """Searches an index of a connection.

    Args:
        connection: Where.
        hybrid: Who joins two rankings.
    """

    def __init__(self, connection: Connection, hybrid: Hybrid) -> None:
        self._connection = connection
        self._hybrid = hybrid

    def search(self, index: str, wanted: Searched) -> list[tuple[Record, float]]:
        """Return the best records with their scores, best first."""
        if wanted.mode == "dense":
            scored = self._ranking(index, wanted, wanted.by_vector, wanted.k)
            return best(scored, wanted.k, wanted.id_field, wanted.convert)
        if wanted.mode == "lexical":
            scored = self._ranking(index, wanted, wanted.by_words, wanted.k)
            return best(scored, wanted.k, wanted.id_field)
        return self._both(index, wanted)

    def _both(self, index: str, wanted: Searched) -> list[tuple[Record, float]]:
        queries = [wanted.by_vector, wanted.by_words]
        version = self._connection.version
        if None not in queries and self._hybrid != "client" and self._can_join(version, wanted):
            depth = depth_for(wanted.k)
            body = hybrid_body(queries, depth, wanted.fusion, version, wanted.fields)
            try:
                scored = found(self._connection.call("POST", path_of(index, "_search"), body))
                return best(scored, wanted.k, wanted.id_field)
            except RemoteError as error:
                if self._hybrid == "server" or not any(name in str(error) for name in _NO_HYBRID):
                    raise
                # The plugin that joins is not there, and will not be for the next question either.
                self._hybrid = "client"
        return self._joined_here(index, wanted)

    def _can_join(self, version: tuple[int, ...], wanted: Searched) -> bool:
        if server_joins(version, wanted.fusion):
            return True
        if self._hybrid == "server":
            raise RemoteError(
                f"OpenSearch {'.'.join(map(str, version))} does not join rankings by "
                f"{wanted.fusion}; set hybrid to client or auto for this store"
            )
        return False

    def _joined_here(self, index: str, wanted: Searched) -> list[tuple[Record, float]]:
        depth = depth_for(wanted.k)
        # Equal scores in the server's own order, as it ranks them when it joins.
        dense = self._ranking(index, wanted, wanted.by_vector, depth, in_order=False)
        lexical = self._ranking(index, wanted, wanted.by_words, depth, in_order=False)
        by_id = {str(fields[wanted.id_field]): fields for fields, _ in (*dense, *lexical)}
        scores = joined(
            [(str(fields[wanted.id_field]), score) for fields, score in dense],
            [(str(fields[wanted.id_field]), score) for fields, score in lexical],
            wanted.fusion,
        )
        scored = [(by_id[name], score) for name, score in scores.items()]
        return best(scored, wanted.k, wanted.id_field)

    def _ranking(
        self, index: str, wanted: Searched, query: Json, size: int, *, in_order: bool = True
    ) -> list[tuple[Record, float]]:
        if query is None:
            return []
        body = page(query, size, wanted.fields, order_by=wanted.id_field if in_order else None)
        return found(self._connection.call("POST", path_of(index, "_search"), body))
