"""The local store: one durable SQLite file, and what is derived from it."""

from __future__ import annotations

from ragkit.storage.database import DerivedSizes, update_schema
from ragkit.storage.findings import Finding
from ragkit.storage.local import (
    DocumentRow,
    LocalStore,
    PreparedDocument,
    StoredVectors,
    StoreSettings,
)
from ragkit.storage.rows import join_vectors, pack_sentences, pack_vector

__all__ = [
    "DerivedSizes",
    "DocumentRow",
    "Finding",
    "LocalStore",
    "PreparedDocument",
    "StoreSettings",
    "StoredVectors",
    "join_vectors",
    "pack_sentences",
    "pack_vector",
    "update_schema",
]
