"""OpenSearch: a store that ragkit fills, and a retriever for an index that somebody else filled."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from ragkit.errors import ConfigError
from ragkit_connectors.opensearch.bulk import BulkReport, BulkWriter, Operation
from ragkit_connectors.opensearch.connecting import Access, Connection, parse_address
from ragkit_connectors.opensearch.existing_index import ForeignFields, OpenSearchRetriever
from ragkit_connectors.opensearch.mapping import (
    Compression,
    Engine,
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
    "OpenSearchRetriever",
    "OpenSearchStore",
    "Operation",
    "VectorIndex",
    "open_opensearch",
    "parse_address",
]

_AwsService: TypeAlias = Literal["es", "aoss"]


def open_opensearch(
    address: str,
    *,
    username_env: str = "OPENSEARCH_USERNAME",
    password_env: str = "OPENSEARCH_PASSWORD",  # noqa: S107 (a variable's name)
    aws_service: _AwsService | None = None,
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
    ragkit makes and fills.

    Args:
        address: `https://HOST[:PORT]/INDEX`.
        username_env: Environment variable that holds the user.
        password_env: Environment variable that holds the password.
        aws_service: `es` or `aoss` signs requests; None tells by the host's name.
        region: For signing; None takes it from the host's name or the environment.
        ca_certs: File of certificates to trust, for a server with its own authority.
        timeout_seconds: Longest time of one request; more than 0.
        retry_seconds: Longest time of a call, all its attempts together; more than 0.
        hybrid: Who joins the two rankings: `server`, `client`, or `auto` for the server where it
            can.
        engine: `lucene` or `faiss`; None takes faiss on Serverless, lucene elsewhere.
        vector_type: As `VectorIndex.type`.
        compression: As `VectorIndex.compression`.
        on_disk: As `VectorIndex.on_disk`.
        m: As `VectorIndex.m`.
        ef_construction: As `VectorIndex.ef_construction`.
        n_shards: Of a new index; None leaves it to the server.
        n_replicas: Of a new index; None leaves it to the server.
        dead_letters: File that refused records are appended to.
        text_field: Field of the text, in an index that ragkit did not make.
        vector_field: Its field of vectors.
        title_field: Its field of titles.
        source_field: Its field of addresses.
        groups_field: Its field of the groups that may read a record.

    Raises:
        ConfigError: a value cannot be used as given.
    """
    if aws_service is not None and aws_service not in get_args(_AwsService):
        raise ConfigError(f"aws_service {aws_service!r}; allowed: es aoss")
    if hybrid not in get_args(Hybrid):
        raise ConfigError(f"hybrid {hybrid!r}; allowed: auto server client")
    for name, value in (("timeout_seconds", timeout_seconds), ("retry_seconds", retry_seconds)):
        if not 0.0 < value < float("inf"):
            raise ConfigError(f"{name} {value}; allowed: more than 0")
    access = Access(
        username_env=username_env,
        password_env=password_env,
        aws_service=aws_service,
        region=region,
        ca_certs=ca_certs,
    )
    connection = Connection(
        parse_address(address), access, timeout_seconds=timeout_seconds, retry_seconds=retry_seconds
    )
    if text_field is not None:
        fields = ForeignFields(
            text=text_field,
            vector=vector_field,
            title=title_field,
            source=source_field,
            groups=groups_field,
        )
        return OpenSearchRetriever(connection, fields, hybrid=hybrid)
    foreign = (vector_field, title_field, source_field, groups_field)
    if any(name is not None for name in foreign):
        raise ConfigError("fields of an index that ragkit did not make need text_field too")
    vectors = VectorIndex(
        engine=engine or ("faiss" if connection.is_serverless else "lucene"),
        type=vector_type,
        compression=compression,
        on_disk=on_disk,
        m=m,
        ef_construction=ef_construction,
    )
    return OpenSearchStore(
        connection,
        vectors=vectors,
        hybrid=hybrid,
        n_shards=n_shards,
        n_replicas=n_replicas,
        dead_letters=None if dead_letters is None else Path(dead_letters),
    )
