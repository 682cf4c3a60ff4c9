"""OpenSearch: a store that ragkit fills, and a retriever for an index that somebody else filled."""

from __future__ import annotations

from pathlib import Path

from ragkit.errors import ConfigError
from ragkit_connectors.opensearch.bulk import BulkReport, BulkWriter, Operation
from ragkit_connectors.opensearch.connecting import (
    Access,
    AwsService,
    Connection,
    parse_address,
)
from ragkit_connectors.opensearch.existing_index import ForeignFields, OpenSearchRetriever
from ragkit_connectors.opensearch.mapping import (
    Compression,
    Engine,
    NewIndex,
    VectorIndex,
    VectorType,
)
from ragkit_connectors.opensearch.searching import Hybrid
from ragkit_connectors.opensearch.store import OpenSearchStore

__all__ = [
    "Access",
    "BulkReport",
    "BulkWriter",
    "Connection",
    "ForeignFields",
    "NewIndex",
    "OpenSearchRetriever",
    "OpenSearchStore",
    "Operation",
    "VectorIndex",
    "open_opensearch",
    "parse_address",
]


def open_opensearch(
    address: str,
    *,
    username_env: str = "OPENSEARCH_USERNAME",
    password_env: str = "OPENSEARCH_PASSWORD",  # noqa: S107 (a variable's name)
    aws_service: AwsService | None = None,
    region: str | None = None,
    ca_certs: str | None = None,
    timeout_seconds: float = 60.0,
    retry_seconds: float = 120.0,
    hybrid: Hybrid = "auto",
    engine: Engine | None = None,
    vector_type: VectorType = "float",
    compression: Compression | None = None,
    on_disk: bool = False,
    m: int = 16,
    ef_construction: int = 100,
    n_shards: int | None = None,
    n_replicas: int | None = None,
    dead_letters: str | None = None,
    text_field: str | None = None,
    vector_field: str | None = None,
    title_field: str | None = None,
    source_field: str | None = None,
    groups_field: str | None = None,
) -> OpenSearchStore | OpenSearchRetriever:
    """Open `opensearch:https://HOST[:PORT]/INDEX`; nothing is sent yet.

    With `text_field` the index is searched as it is, and never written to; without it is one that
    ragkit makes and fills. The settings are fields of `Access`, `Connection`, `VectorIndex` (where
    `engine` None takes faiss on Serverless, lucene elsewhere), `NewIndex` and `ForeignFields`.

    Raises:
        ConfigError: a value cannot be used as given.
    """
    access = Access(username_env=username_env, password_env=password_env, aws_service=aws_service,
                    region=region, ca_certs=ca_certs)  # fmt: skip
    connection = Connection(parse_address(address), access, timeout_seconds=timeout_seconds,
                            retry_seconds=retry_seconds)  # fmt: skip
    if text_field is not None:
        fields = ForeignFields(text=text_field, vector=vector_field, title=title_field,
                               source=source_field, groups=groups_field)  # fmt: skip
        return OpenSearchRetriever(connection, fields, hybrid=hybrid)
    if any(name is not None for name in (vector_field, title_field, source_field, groups_field)):
        raise ConfigError("fields of an index that ragkit did not make need text_field too")
    engine = engine or ("faiss" if connection.is_serverless else "lucene")
    vectors = VectorIndex(engine=engine, type=vector_type, compression=compression,
                          on_disk=on_disk, m=m, ef_construction=ef_construction)  # fmt: skip
    new = NewIndex(vectors=vectors, n_shards=n_shards, n_replicas=n_replicas)
    letters = None if dead_letters is None else Path(dead_letters)
    return OpenSearchStore(connection, new, hybrid=hybrid, dead_letters=letters)
