"""Passages from another system's index, as hits that the rest of ragkit can trim and cite."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from ragkit.text.sentences import sentence_spans
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import Chunk, Hit, Json, Location, Mark, Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassage:
    """A piece of a document as another system returned it.

    `id` is what the system calls the piece, empty where that name does not last. `score` is higher
    for better passages, None where the system gives an order only. `page` counts from 1.
    """

    text: str
    document_id: str
    id: str = ""
    title: str = ""
    source: str = ""
    metadata: Metadata = field(default_factory=dict[str, Json])
    score: float | None = None
    page: int | None = None


def to_hits(passages: Iterable[FoundPassage], *, k: int) -> list[Hit]:
    """Return the best `k` distinct passages as hits.

    The system gives neither offsets nor the full text, so a document's text is taken to be its
    passages here, in the order given, with a line break between them: chunks of one document never
    overlap, and `chunk.start` is 0 for the first. The id of a chunk depends on the passage alone.

    Where each passage has a score, hits are in order of score, then of chunk id. Where one has
    none, the order is kept and the score is 1 / rank: an order, and nothing more.
    """
    placed: dict[str, tuple[FoundPassage, Chunk]] = {}
    ends: dict[str, int] = {}
    for passage in passages:
        if not passage.text.strip():
            continue
        start = ends.get(passage.document_id, -1) + 1
        chunk = _chunk(passage, start)
        if chunk.id not in placed:
            placed[chunk.id] = passage, chunk
            ends[passage.document_id] = chunk.end
    found = list(placed.values())
    if all(passage.score is not None for passage, _ in found):
        found.sort(key=lambda pair: (-(pair[0].score or 0.0), pair[1].id))
        scores = [passage.score or 0.0 for passage, _ in found]
    else:
        scores = [1.0 / rank for rank in range(1, len(found) + 1)]
    return [
        Hit(
            rank=rank,
            score=score,
            chunk=chunk,
            source=passage.source,
            title=passage.title,
            metadata=passage.metadata,
        )
        for rank, (score, (passage, chunk)) in enumerate(
            zip(scores[:k], found, strict=False), start=1
        )
    ]


def _chunk(passage: FoundPassage, start: int) -> Chunk:
    text = passage.text
    mark = Mark(start=start, location=Location(page=passage.page), kind="page")
    return Chunk(
        id=_id(passage),
        document_id=passage.document_id,
        start=start,
        end=start + len(text),
        text=text,
        n_tokens=load_wordpiece().count(text),
        sentences=tuple((start + a, start + b) for a, b in sentence_spans(text)),
        marks=() if passage.page is None else (mark,),
    )


def _id(passage: FoundPassage) -> str:
    identity = json.dumps([passage.document_id, passage.id, passage.text])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
