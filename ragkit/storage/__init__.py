"""The local store: one durable SQLite file, and what is derived from it; what stores share."""

from __future__ import annotations

from ragkit.storage.findings import Finding
from ragkit.storage.local import LocalStore
from ragkit.storage.units import packed_parts, packed_units, unpacked_parts, unpacked_units
from ragkit.storage.values import (
    DerivedSizes,
    DocumentRow,
    FilledChunk,
    HoldsSentences,
    Maintained,
    Manifest,
    PreparedDocument,
    Snapshot,
    Snapshots,
    Store,
    StoredVectors,
    StoreSettings,
    VectorCounts,
    WaitingChunk,
    as_holding_sentences,
    as_maintained,
)
from ragkit.storage.vectors import (
    join_vectors,
    joined_sentences,
    pack_sentences,
    pack_vector,
    pool_chunk,
    text_key,
    unpack_vector,
)

__all__ = [
    "DerivedSizes",
    "DocumentRow",
    "FilledChunk",
    "Finding",
    "HoldsSentences",
    "LocalStore",
    "Maintained",
    "Manifest",
    "PreparedDocument",
    "Snapshot",
    "Snapshots",
    "Store",
    "StoreSettings",
    "StoredVectors",
    "VectorCounts",
    "WaitingChunk",
    "as_holding_sentences",
    "as_maintained",
    "join_vectors",
    "joined_sentences",
    "pack_sentences",
    "pack_vector",
    "packed_parts",
    "packed_units",
    "pool_chunk",
    "text_key",
    "unpack_vector",
    "unpacked_parts",
    "unpacked_units",
]
