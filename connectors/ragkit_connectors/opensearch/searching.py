"""Running a search: keywords, vectors, or both with hybrid fusion on the server or the client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ragkit.errors import ConfigError, RemoteError
from ragkit.types import Fusion, Json, Mode
from ragkit_connectors.opensearch.connecting import Connection, path_of
from ragkit_connectors.opensearch.querying import (
    best,
    depth_for,
    found,
    fused,
    hybrid_body,
    page,
    server_fuses,
)
from ragkit_connectors.support.json_values import Record

Hybrid: TypeAlias = Literal["auto", "server", "client"]

_NO_HYBRID = ("[hybrid]", "[search_pipeline]", "normalization-processor", "score-ranker-processor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What is searched for: complete queries, filters included.

    `lexical` is None for a question without words, `dense` None without a vector. `convert` turns
    the score of a vector query into a cosine. `fields` are those to fetch of a record; `id_field`
    tells records apart and orders equal scores.
    """

    k: int
    mode: Mode
    fusion: Fusion
    lexical: Json
    dense: Json
    convert: Callable[[float], float]
    fields: tuple[str, ...]
    id_field: str


class Searcher:
    """Searches an index of a connection.

    Args:
        connection: Where.
        hybrid: Where two rankings are fused: on the `server` or on the `client`; `auto` takes the
            server where it can.

    Raises:
        ConfigError: `hybrid` is none of them.
    """

    def __init__(self, connection: Connection, hybrid: Hybrid) -> None:
        if hybrid not in get_args(Hybrid):
            raise ConfigError(f"hybrid {hybrid!r}; allowed: auto server client")
        self._connection = connection
        self._hybrid = hybrid

    def search(self, index: str, wanted: Searched) -> list[tuple[Record, float]]:
        """Return the best records with their scores, best first."""
        if wanted.mode == "dense":
            scored = self._ranking(index, wanted, wanted.dense, wanted.k)
            return best(scored, wanted.k, wanted.id_field, wanted.convert)
        if wanted.mode == "lexical":
            scored = self._ranking(index, wanted, wanted.lexical, wanted.k)
            return best(scored, wanted.k, wanted.id_field)
        return self._both(index, wanted)

    def _both(self, index: str, wanted: Searched) -> list[tuple[Record, float]]:
        queries = [wanted.dense, wanted.lexical]
        version = self._connection.version
        if (
            None not in queries
            and self._hybrid != "client"
            and self._can_fuse_on_server(version, wanted)
        ):
            depth = depth_for(wanted.k)
            body = hybrid_body(queries, depth, wanted.fusion, version, wanted.fields)
            try:
                scored = found(self._connection.call("POST", path_of(index, "_search"), body))
                return best(scored, wanted.k, wanted.id_field)
            except RemoteError as error:
                if self._hybrid == "server" or not any(name in str(error) for name in _NO_HYBRID):
                    raise
                # The plugin is not installed, and will not be for the next question either.
                self._hybrid = "client"
        return self._fused_on_client(index, wanted)

    def _can_fuse_on_server(self, version: tuple[int, ...], wanted: Searched) -> bool:
        if server_fuses(version, wanted.fusion):
            return True
        if self._hybrid == "server":
            raise RemoteError(
                f"OpenSearch {'.'.join(map(str, version))} does not fuse rankings by "
                f"{wanted.fusion}; set hybrid to client or auto for this store"
            )
        return False

    def _fused_on_client(self, index: str, wanted: Searched) -> list[tuple[Record, float]]:
        depth = depth_for(wanted.k)
        # Equal scores in the server's own order, as it ranks them when it fuses.
        dense = self._ranking(index, wanted, wanted.dense, depth, in_order=False)
        lexical = self._ranking(index, wanted, wanted.lexical, depth, in_order=False)
        by_id = {str(fields[wanted.id_field]): fields for fields, _ in (*dense, *lexical)}
        scores = fused(
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
