"""How many chunks a store holds, and how many of them have vectors."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from ragkit.storage.values import VectorCounts

# Each count walks an index, not the chunks.
_ALL = """
SELECT (SELECT count(*) FROM chunk), (SELECT count(*) FROM chunk WHERE vector IS NOT NULL)"""
_OF = """
SELECT count(*), count(vector) FROM chunk WHERE document IN (SELECT value FROM json_each(?))"""


def count_all(connection: sqlite3.Connection) -> VectorCounts:
    """Count all chunks."""
    n_chunks, n_with_vectors = connection.execute(_ALL).fetchone()
    return VectorCounts(n_chunks=n_chunks, n_with_vectors=n_with_vectors)


def count_of(connection: sqlite3.Connection, documents: Collection[int]) -> VectorCounts:
    """Count the chunks of documents, given by their rows."""
    n_chunks, n_with_vectors = connection.execute(_OF, (json.dumps(sorted(documents)),)).fetchone()
    return VectorCounts(n_chunks=n_chunks, n_with_vectors=n_with_vectors)
