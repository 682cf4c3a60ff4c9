"""What is written to a store, what is read from it, and what every store must offer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from ragkit.storage.findings import Finding
from ragkit.types import Chunk, Document, Failure, Hit, Json, Query

if TYPE_CHECKING:
    from ragkit.costs.stopwatch import Stopwatch
    from ragkit.trimming import PoolChunk
    from ragkit.types import Vector

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """The settings that a store was built with; other values need `ragkit rebuild`."""

    embedder: str
    embedder_fingerprint: str | None
    dim: int | None
    chunker: str
    chunk_tokens: int
    chunk_overlap: int
    chunker_fingerprint: str
    embed_title: bool
    sentence_vectors: bool
    sentence_vector_kind: str | None = None
    """`short` or `full`; None without such vectors, and in stores of before there were kinds."""

    @property
    def kind_of_sentence_vectors(self) -> str | None:
        """Return `short` or `full`; None where there are none."""
        return (self.sentence_vector_kind or "full") if self.sentence_vectors else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVectors:
    """A text's vectors: as of a chunk (float16 bytes), as of a sentence (int8 bytes), or both."""

    chunk: bytes | None = None
    sentence: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDocument:
    """A document ready to be stored; `terms` and `vector_keys` have one entry per chunk.

    So has `sentence_keys`, if there are vectors of sentences: one key per sentence. Of a large
    document these are empty: `make_portions` makes them, some chunks at a time, whenever it is
    called.
    """

    document: Document
    fingerprint: str
    language: str | None
    chunks: Sequence[Chunk] = ()
    terms: Sequence[str] = ()
    vector_keys: Sequence[bytes | None] = ()
    sentence_keys: Sequence[Sequence[bytes] | None] | None = None
    make_portions: Callable[[], Iterator[PreparedDocument]] | None = None

    def portions(self) -> Iterator[PreparedDocument]:
        """Yield this document with some of its chunks at a time, in order, all of which it holds.

        Only stores in a folder are given documents with more than one.
        """
        return iter((self,)) if self.make_portions is None else self.make_portions()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingChunk:
    """A stored chunk without a vector, and the title of its document."""

    row: int
    title: str
    chunk: Chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledChunk:
    """The keys of the vectors that a stored chunk gets: its own, and one per sentence."""

    row: int
    key: bytes
    sentence_keys: Sequence[bytes] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorCounts:
    """How many chunks there are, and how many of them have a vector."""

    n_chunks: int
    n_with_vectors: int

    @property
    def n_missing(self) -> int:
        """How many wait for their vector."""
        return self.n_chunks - self.n_with_vectors

    @property
    def share(self) -> float:
        """The share of chunks that have a vector, 0 to 1; 1 if there are no chunks."""
        return self.n_with_vectors / self.n_chunks if self.n_chunks else 1.0


@dataclass(frozen=True, slots=True)
class DerivedSizes:
    """When files are derived from a store, and how large they are, in chunks.

    Attributes:
        first: Derived files exist from this many chunks on; below it, reading the store itself is
            as quick.
        more: This many new chunks justify another file.
        file: Most chunks per file, 65,536 at most: they are held in memory while it is written, and
            a change rewrites them all.
        swept: In a store of at most this many chunks, a call that removed or replaced documents
            ends by merging the full-text index, which holds their words until then.
        rewritten: The same for derived files: most chunks of the files that are rewritten.
    """

    first: int = 10_000
    more: int = 4_096
    file: int = 16_384
    swept: int = 400_000
    rewritten: int = 5 * 16_384


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
    """The state of a store.

    `settings` are None before the first ingest. In a `protected` store a query must state its
    groups. `revision` counts the writes, None where the store does not count them.
    `schema_version` is that of the store's format, None where it has none.
    """

    settings: StoreSettings | None
    protected: bool = False
    revision: int | None = None
    schema_version: int | None = None


@runtime_checkable
class Store(Protocol):
    """A place for documents that ragkit writes to and searches.

    `ragkit_connectors.testing.StoreContract` holds the tests that every store must pass. All
    methods may be called from several threads; ids of documents are any text.
    """

    @property
    def name(self) -> str:
        """What was opened, for messages."""
        ...

    def manifest(self) -> Manifest:
        """Return what the store says of itself."""
        ...

    def configure(self, settings: StoreSettings) -> None:
        """Record the settings that the store is built with; creates it if it does not exist yet."""
        ...

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits, best first, equal scores in order of chunk id.

        Filters and groups restrict before ranking; the group `public` is seen by every query that
        states groups. Raises `ConfigError` when the store is protected and the query states no
        groups, or the mode needs a vector that the query lacks.
        """
        ...

    def stored(self, ids: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """Return fingerprint and source of those documents that are stored completely."""
        ...

    def sources(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the source of every document, in order of id."""
        ...

    def documents(self, *, groups: tuple[str, ...] | None = None) -> Iterator[DocumentRow]:
        """Yield the documents that these groups may see, in order of id."""
        ...

    def document(
        self,
        document_id: str,
        *,
        groups: tuple[str, ...] | None = None,
        ignore_groups: bool = False,
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a document, its SHA-256 and its chunks; None where these groups see none.

        `ignore_groups` bypasses access control; internal maintenance only.
        """
        ...

    def known_vectors(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those keys whose vectors need not be computed again."""
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
        """Be the only writer for a block, if the store supports it; raises `StoreBusyError`."""
        ...

    def rebuilding(self, settings: StoreSettings) -> AbstractContextManager[Store]:
        """Give a store of other settings to write to; at the end it replaces this one's content.

        Readers see the old content until then, and keep seeing it if the block raises an error.
        """
        ...

    def examine(self, *, repair: bool = False) -> Sequence[Finding]:
        """Return what is wrong with the store; with `repair`, repair what can be."""
        ...

    def checkpoint(self) -> None:
        """Make all writes visible, and verify that they are."""
        ...

    def close(self) -> None:
        """Release connections and files."""
        ...


class Snapshot(Protocol):
    """One state of a store, for the thread and the block that it was opened in."""

    @property
    def damaged_files(self) -> Sequence[str]:
        """What is wrong with derived files that the searches of this snapshot could not use."""
        ...

    def manifest(self) -> Manifest:
        """Return what the store says of itself."""
        ...

    def language(self, *, groups: tuple[str, ...] | None = None) -> str | None:
        """Return the language of most documents that these groups may see; None: not known."""
        ...

    def question_language(
        self, question: str, *, groups: tuple[str, ...] | None = None
    ) -> str | None:
        """Return a question's language; where it cannot be told, the store's."""
        ...

    def terms(self, question: str, *, groups: tuple[str, ...] | None = None) -> Sequence[str]:
        """Return the terms that a question is searched by, in this order."""
        ...

    def known_terms(
        self, terms: Iterable[str], *, groups: tuple[str, ...] | None = None
    ) -> AbstractSet[str] | None:
        """Return which of some terms the documents that these groups may see hold.

        None where the store does not tell.
        """
        ...

    def vector_counts(self, *, groups: tuple[str, ...] | None = None) -> VectorCounts | None:
        """Return how many chunks have vectors, of those that these groups may see; None: of all.

        None without an embedder, or where the store does not tell.
        """
        ...

    def n_chunks(self, *, groups: tuple[str, ...] | None = None) -> int | None:
        """Return how many chunks these groups may see; None where the store does not tell."""
        ...

    def search(self, query: Query, *, watch: Stopwatch | None = None) -> Sequence[Hit]:
        """Return what `Store.search` does; `watch` measures the stage `fuse`."""
        ...

    def pool(self, hits: Sequence[Hit], vector: Vector | None) -> Sequence[PoolChunk]:
        """Return the hits prepared for trimming, with sentence cosines where they are stored."""
        ...


@runtime_checkable
class Snapshots(Protocol):
    """What a store offers that reads all that a question needs in one state."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Hold one state for a block; raises `StoreBusyError` where it did not stay."""
        ...

    def in_one_state(self, read: Callable[[Snapshot], _T]) -> _T:
        """Return what is read from a snapshot, read again where the state did not stay."""
        ...


@runtime_checkable
class HoldsSentences(Protocol):
    """What a store offers that is no folder of this machine and holds vectors of sentences."""

    def can_hold_sentences(self) -> bool:
        """Whether there is a place for them in the store as it is, or as it would be made."""
        ...

    def pool(self, hits: Sequence[Hit], vector: Vector | None) -> Sequence[PoolChunk]:
        """Return what `Snapshot.pool` does."""
        ...


class Journal(Protocol):
    """What ingests keep in a store beside documents."""

    def failures(self) -> Sequence[Failure]:
        """Return the inputs that failed."""
        ...

    def note_failures(self, new: Iterable[Failure], *, forgotten: Iterable[Failure]) -> None:
        """Remember failures, which have fingerprints, and forget others."""
        ...

    def commit_ahead(self, vectors: Mapping[bytes, StoredVectors], source: str) -> None:
        """Commit vectors of a document of this source, which is to be written when all are made."""
        ...

    def drop_ahead(self, is_due: Callable[[str], bool]) -> None:
        """Delete the vectors committed ahead that no chunk uses, if all their sources are due."""
        ...


@runtime_checkable
class Maintained(Protocol):
    """What a store in a folder of this machine offers beyond `Store`.

    `isinstance` may evaluate properties, so that they must not read the store.
    """

    @property
    def folder(self) -> Path:
        """Where it is."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether the folder cannot be written."""
        ...

    @property
    def sizes(self) -> DerivedSizes:
        """When files are derived, and how large they are."""
        ...

    @property
    def journal(self) -> Journal:
        """What ingests keep beside documents."""
        ...

    def settling(
        self, notify: Callable[[str], None], *, secure: bool = False
    ) -> AbstractContextManager[None]:
        """Bring indexes and derived files up to date at the end of a block that writes.

        Args:
            notify: Gets what could not be done, one line each.
            secure: Remove every trace of deleted text, however long that takes.
        """
        ...

    def known_sentences(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those keys whose vectors of sentences need not be computed again."""
        ...

    def vector_counts(self, *, groups: tuple[str, ...] | None = None) -> VectorCounts | None:
        """Return how many chunks have vectors, of those that these groups may see; None: of all.

        None without an embedder.
        """
        ...

    def waiting(self, n: int, *, before: int | None = None) -> Sequence[WaitingChunk]:
        """Return the n newest chunks without a vector, or the n newest before this row."""
        ...

    def fill(self, filled: Sequence[FilledChunk], vectors: Mapping[bytes, StoredVectors]) -> None:
        """Give stored chunks their vectors: those given here, or stored ones of the same key."""
        ...

    def derive(self) -> str | None:
        """Write the derived files that are due; return the reason where that failed."""
        ...

    def compact(self) -> int:
        """Give free space back and return the bytes saved."""
        ...

    def bytes_by_part(self) -> Mapping[str, int]:
        """Return the sizes of the store's parts in bytes, by the names that `describe` prints."""
        ...

    def interrupt(self) -> None:
        """Close all files at once; calls of other threads raise `StoreClosedError`."""
        ...


def as_maintained(store: object) -> Maintained | None:
    """Return a store in a folder of this machine as such; None for any other."""
    return store if isinstance(store, Maintained) else None


def as_holding_sentences(store: object) -> HoldsSentences | None:
    """Return a remote store that offers this as such; None for any other."""
    return store if isinstance(store, HoldsSentences) else None
