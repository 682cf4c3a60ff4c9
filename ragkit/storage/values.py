"""What is written to a store, what is read from it, and what every store must offer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

from ragkit.storage.findings import Finding
from ragkit.types import Chunk, Document, Hit, Json, Query


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """What a store was built with; other values need `ragkit rebuild`."""

    embedder: str
    embedder_fingerprint: str | None
    dim: int | None
    chunker: str
    chunk_tokens: int
    chunk_overlap: int
    chunker_fingerprint: str
    embed_title: bool
    sentence_vectors: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVectors:
    """A chunk's vector (float16 bytes) and its sentences' vectors (int8 bytes, one row each)."""

    chunk: bytes
    sentences: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDocument:
    """A document ready to be stored; `tokens` and `vector_keys` are one a chunk."""

    document: Document
    fingerprint: str
    language: str | None
    chunks: Sequence[Chunk]
    tokens: Sequence[str]
    vector_keys: Sequence[bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """A line of `ragkit list`. `bytes` is the size of the text as UTF-8."""

    document_id: str
    source: str
    title: str
    sha256: str
    chunks: int
    bytes: int

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return dict(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a store says of itself.

    `settings` are None before the first ingest. In a `protected` store a query must state its
    groups. `revision` counts the writes, None where the store does not count them.
    """

    settings: StoreSettings | None
    protected: bool = False
    revision: int | None = None


@runtime_checkable
class Store(Protocol):
    """A place for documents that ragkit writes to and searches.

    `ragkit_connectors.testing.StoreContract` holds the tests that each must pass. All methods may
    be called from several threads; ids of documents are any text.
    """

    @property
    def name(self) -> str:
        """What was opened, for messages."""
        ...

    def manifest(self) -> Manifest:
        """Return what the store says of itself."""
        ...

    def configure(self, settings: StoreSettings) -> None:
        """Record what the store is built with, and make it where it is not there yet."""
        ...

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        Filters and groups restrict before ranking; the group `public` is seen by every query that
        states groups. Raises `ConfigError` when the store is protected
        and the query states no groups, or the mode needs a vector that the query lacks.
        """
        ...

    def stored(self, ids: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """Return fingerprint and source of those documents that are stored whole."""
        ...

    def sources(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the source of every document, in order of id."""
        ...

    def documents(self, *, groups: tuple[str, ...] | None = None) -> Iterator[DocumentRow]:
        """Yield the documents that these groups may see, in order of id."""
        ...

    def document(
        self, document_id: str, *, groups: tuple[str, ...] | None = None, everyone: bool = False
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a document, its SHA-256 and its chunks; None when there is none to be seen."""
        ...

    def known_vectors(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of the keys whose vectors need not be made again."""
        ...

    def write(
        self, prepared: Sequence[PreparedDocument], vectors: Mapping[bytes, StoredVectors]
    ) -> Mapping[str, str]:
        """Replace these documents and their chunks.

        A document counts as stored once all of its chunks are. Returns the ids of documents that
        the store did not take, and why.
        """
        ...

    def delete(self, ids: Sequence[str]) -> Sequence[str]:
        """Remove documents for good and return the ids that were there."""
        ...

    def count(self) -> Mapping[str, int]:
        """Return numbers of documents, chunks and tokens."""
        ...

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        """Return the language of most documents that these groups may see; None: not known.

        Without `groups`, of all documents.
        """
        ...

    def chunks_sha256(self) -> str:
        """Return a digest of all chunks' ids: equal for stores that hold the same chunks."""
        ...

    def chunk_sketch(self, n: int) -> tuple[int, Sequence[str]]:
        """Return the number of chunks and the n smallest ids."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Be the only writer for a while, where the store can tell; raises `StoreBusyError`."""
        ...

    def rebuilding(self, settings: StoreSettings) -> AbstractContextManager[Store]:
        """Give a store of other settings to write to, which replaces this one's content at the end.

        Readers see the old content until then, and go on seeing it when the block is left by an
        error.
        """
        ...

    def examine(self, *, repair: bool = False) -> Sequence[Finding]:
        """Return what is wrong with the store; mend what can be mended when asked."""
        ...

    def checkpoint(self) -> None:
        """Make all that was written visible, and check that it is."""
        ...

    def close(self) -> None:
        """Give connections and files back."""
        ...
