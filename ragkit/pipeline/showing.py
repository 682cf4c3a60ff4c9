"""A stored document as `ragkit show ID` prints it."""

from __future__ import annotations

from collections.abc import Iterable

from ragkit.types import Chunk, Document, Json, Need


def as_shown(document: Document, sha256: str, chunks: Iterable[Chunk]) -> dict[str, Json]:
    """Return a document as `ragkit show ID --json` prints it."""
    return {
        "schema": 1,
        "document_id": document.id,
        "source": document.source,
        "title": document.title,
        "text": document.text,
        "metadata": dict(document.metadata),
        "sha256": sha256,
        "chunks": [
            {
                "chunk_id": chunk.id,
                "start": chunk.start,
                "end": chunk.end,
                "n_tokens": chunk.n_tokens,
                "sentences": [list(span) for span in chunk.sentences],
                "units": [
                    {
                        "start": unit.start,
                        "end": unit.end,
                        "kind": unit.kind,
                        "needs": [[need.start, need.end] for need in unit.needs],
                    }
                    for unit in chunk.units
                ],
                "borrowed": [
                    {"start": need.start, "end": need.end, "role": need.role}
                    for need in _borrowed(chunk)
                ],
                "location": chunk.location().to_dict(),
            }
            for chunk in chunks
        ],
    }


def _borrowed(chunk: Chunk) -> list[Need]:
    """Return what the units of a chunk need and stands outside of it, in order."""
    outside = {
        (need.start, need.end, need.role): need
        for unit in chunk.units
        for need in unit.needs
        if need.start < chunk.start or need.end > chunk.end
    }
    return [outside[key] for key in sorted(outside)]
