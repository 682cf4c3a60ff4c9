"""The local store: one durable SQLite file, and what is derived from it."""

from __future__ import annotations

from ragkit.storage.local import (
    DocumentRow,
    Finding,
    LocalStore,
    PreparedDocument,
    StoredVectors,
    StoreSettings,
    pack_sentences,
    pack_vector,
)

__all__ = [
    "DocumentRow",
    "Finding",
    "LocalStore",
    "PreparedDocument",
    "StoreSettings",
    "StoredVectors",
    "pack_sentences",
    "pack_vector",
]
