"""Preparing hits for trimming, with the words and vectors that their records hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragkit.storage import pool_chunk
from ragkit_connectors.opensearch.mapping import Index, read_sentence_vectors
from ragkit_connectors.opensearch.records import CHUNKS, PAGE_RECORDS, RecordReader, all_of, page
from ragkit_connectors.support.json_values import Record, items

if TYPE_CHECKING:
    from ragkit.trimming import PoolChunk
    from ragkit.types import Hit, Vector

_AT_ONCE = PAGE_RECORDS // 2
"""Hits per request: Serverless may hold a chunk twice for a while."""


def read_pool(
    reader: RecordReader, index: Index, hits: Sequence[Hit], vector: Vector | None
) -> list[PoolChunk]:
    """Return the hits prepared for trimming, as a local store prepares them.

    They are read by a request of their own: a search returns many more hits than are trimmed, and
    vectors of sentences are larger than all that it returns of a hit.
    """
    names = ["chunk_id", "words"]
    if vector is not None and index.settings.sentence_vectors:
        names += ["sentence_vectors", "vector"]
    stored: dict[str, Record] = {}
    for first in range(0, len(hits), _AT_ONCE):
        ids = [hit.chunk.id for hit in hits[first : first + _AT_ONCE]]
        query = all_of(CHUNKS, {"terms": {"chunk_id": list(ids)}})
        found = reader.found(index.name, page(query, PAGE_RECORDS, names))
        stored |= {str(fields["chunk_id"]): fields for fields in found}
    return [_prepared(index, hit, stored.get(hit.chunk.id, {}), vector) for hit in hits]


def _prepared(index: Index, hit: Hit, fields: Record, vector: Vector | None) -> PoolChunk:
    own = fields.get("vector") if index.settings.sentence_vector_kind is not None else None
    return pool_chunk(
        hit,
        str(fields.get("words", "")),
        read_sentence_vectors(fields),
        vector,
        of_chunk=None if own is None else index.vectors.decode(items(own)),
    )
