"""The rest of procedures of which a question found only a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ragkit.trimming import PoolChunk
from ragkit.types import Chunk, Hit, Span

MOST_CHARACTERS = 8_000
"""Of a procedure that is completed; a longer one, such as a law of numbered paragraphs, is kept in
part, and the context says so."""


def completed(
    pool: Sequence[PoolChunk], chunks_of: Callable[[str], Iterable[Chunk]]
) -> Sequence[PoolChunk]:
    """Return a pool with the chunks, after its own, that hold the rest of its procedures.

    Args:
        pool: Best chunk first.
        chunks_of: Returns all chunks of a document, in its order, by its id.
    """
    wanted: dict[str, tuple[Hit, list[Span]]] = {}
    for prepared in pool:
        for span in _beyond(prepared.hit.chunk):
            _, spans = wanted.setdefault(prepared.hit.chunk.document_id, (prepared.hit, []))
            spans.append(span)
    if not wanted:
        return pool
    known = {prepared.hit.chunk.id for prepared in pool}
    lowest = min(prepared.hit.score for prepared in pool)
    more = [
        (hit, chunk)
        for document_id, (hit, spans) in wanted.items()
        for chunk in _of_one_version(chunks_of(document_id), hit)
        if chunk.id not in known and any(a < chunk.end and chunk.start < b for a, b in spans)
    ]
    return [
        *pool,
        *(
            PoolChunk(
                hit=Hit(
                    rank=rank,
                    score=lowest,
                    chunk=chunk,
                    source=hit.source,
                    title=hit.title,
                    metadata=hit.metadata,
                ),
                terms=[()] * len(chunk.sentences),
                completes=True,
            )
            for rank, (hit, chunk) in enumerate(more, start=len(pool) + 1)
        ),
    ]


def is_complete(hits: Iterable[Hit]) -> bool:
    """Whether no procedure of these hits has parts elsewhere that are to be read as well."""
    return not any(_beyond(hit.chunk) for hit in hits)


def _beyond(chunk: Chunk) -> Sequence[Span]:
    """Return the spans of the procedures that are only in part in a chunk."""
    found = {unit.procedure for unit in chunk.units if unit.procedure is not None}
    return [
        (start, end)
        for start, end in sorted(found)
        if (start < chunk.start or chunk.end < end) and end - start <= MOST_CHARACTERS
    ]


def _of_one_version(chunks: Iterable[Chunk], hit: Hit) -> Sequence[Chunk]:
    """Return a document's chunks, none if it has changed since the hit was found."""
    found = list(chunks)
    return found if any(chunk.id == hit.chunk.id for chunk in found) else ()
