"""What the tests of the OpenSearch connector open and fill."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from ragkit import RAG, Document, Settings
from ragkit_connectors.opensearch import OpenSearchStore, open_opensearch
from ragkit_connectors.testing import Asked, Trouble

WORDS_ONLY = Settings(embedder="none", ledger="off")


def opened(address: str, **options: object) -> OpenSearchStore:
    """Open a store of ragkit's own."""
    options = {"retry_seconds": 20.0, "n_replicas": 0, **options}
    store = open_opensearch(address, **options)  # type: ignore[arg-type]
    assert isinstance(store, OpenSearchStore)
    return store


def unused(url: str) -> str:
    """Return the address of an index that nobody has."""
    return f"{url}/t{uuid.uuid4().hex[:12]}"


def words(address: str, *documents: Document, **options: object) -> RAG:
    """Open a pipeline without vectors, with these documents in it."""
    rag = RAG(opened(address, **options), config=WORDS_ONLY)
    if documents:
        rag.ingest(*documents)
    return rag


def numbered(n: int, *, prefix: str = "n") -> list[Document]:
    """Return n documents of one chunk each."""
    return [
        Document(id=f"{prefix}{i:05d}", text=f"Number {prefix}{i:05d} swims.") for i in range(n)
    ]


def on(ending: str, trouble: Trouble) -> Callable[[Asked], Trouble | None]:
    """Make trouble for requests whose path ends so."""

    def script(asked: Asked) -> Trouble | None:
        return trouble if asked.path.endswith(ending) else None

    return script


def always(trouble: Trouble) -> Callable[[Asked], Trouble | None]:
    """Make trouble for every request."""
    return on("", trouble)
