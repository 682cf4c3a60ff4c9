"""What frameworks are given: hits of a store, and what is kept of their own passages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, Unpack, cast

from ragkit import RAG, atrim, trim
from ragkit.pipeline.anywhere import Piece, TrimmedPassages
from ragkit.pipeline.options import RetrievalOptions, TrimOptions
from ragkit.types import Hit

_T = TypeVar("_T")

_SETTINGS = ("policy", "max_tokens", "vectors", "fingerprint", "corpus_version")
PLACE = ("document_id", "start", "end", "source", "trim")
"""What the metadata of a kept piece has beside its passage's own."""

_DOCUMENT = ("document_id", "source_id", "source", "file_path", "file_name")
_SOURCE = ("source", "file_path", "file_name", "document_id", "source_id")
_START = ("start", "start_index", "split_idx_start")
"""Where LangChain and Haystack say where in its document a passage starts."""

MOST_HITS = 10
"""Hits that a retriever returns where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A framework's passage; `start` is where in its document it starts, None where unknown."""

    text: str
    metadata: Mapping[str, object]
    id: str | None = None
    document_id: str | None = None
    start: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A piece of the passage `given[passage]` with what its metadata holds."""

    text: str
    passage: int
    metadata: dict[str, object]


def trim_options(component: object) -> TrimOptions:
    """Return what `trim` is called with: attributes of a framework's component."""
    return cast("TrimOptions", {name: getattr(component, name) for name in _SETTINGS})


def parted(
    passages: Sequence[_T], text_of: Callable[[_T], str | None]
) -> tuple[list[_T], list[_T]]:
    """Return the passages that have text, and those that have none: pictures, say."""
    with_text = [one for one in passages if (text_of(one) or "").strip()]
    return with_text, [one for one in passages if not (text_of(one) or "").strip()]


def kept_of(
    question: str,
    given: Sequence[Given],
    *,
    drop_refused: bool = False,
    **options: Unpack[TrimOptions],
) -> list[Kept]:
    """Return what trimming keeps, or nothing where it refuses and `drop_refused` is true."""
    return _kept(trim(question, given, **options), given, drop_refused=drop_refused)


async def akept_of(
    question: str,
    given: Sequence[Given],
    *,
    drop_refused: bool = False,
    **options: Unpack[TrimOptions],
) -> list[Kept]:
    """Run `kept_of` in a thread."""
    return _kept(await atrim(question, given, **options), given, drop_refused=drop_refused)


def _kept(trimmed: TrimmedPassages, given: Sequence[Given], *, drop_refused: bool) -> list[Kept]:
    if trimmed.refused and drop_refused:
        return []
    verdict = {
        "evidence": trimmed.evidence,
        "refused": trimmed.refused,
        "certified": trimmed.certified,
        "void_because": trimmed.void_because,
    }
    return [
        Kept(
            text=piece.text,
            passage=piece.passage,
            metadata={**_placed(piece, given[piece.passage]), "trim": verdict},
        )
        for piece in trimmed.pieces
    ]


def _placed(piece: Piece, passage: Given) -> dict[str, object]:
    """Return a passage's metadata with the place of a piece.

    Offsets count from the start of the passage where it does not say where it starts itself.
    """
    metadata = passage.metadata
    numbers = (passage.start, *(metadata.get(name) for name in _START))
    first = next((n for n in numbers if isinstance(n, int) and not isinstance(n, bool)), 0)
    document_id = passage.document_id or _first(metadata, _DOCUMENT) or passage.id
    return {
        **metadata,
        "document_id": document_id or "",
        "start": first + piece.start,
        "end": first + piece.end,
        "source": _first(metadata, _SOURCE) or document_id or "",
    }


def _first(metadata: Mapping[str, object], names: Sequence[str]) -> str | None:
    return next((str(value) for name in names if (value := metadata.get(name))), None)


def found_by(
    rag: RAG, question: str, *, trimmed: bool, **options: Unpack[RetrievalOptions]
) -> list[Given]:
    """Return the hits of a question, or what `ask` would send of them: nothing if it refuses."""
    if not trimmed:
        return [
            _given(hit, hit.chunk.text, hit.chunk.start, hit.chunk.end)
            for hit in rag.search(question, **options)
        ]
    answer = rag.ask(question, dry_run=True, **options)
    return [_given(item.hit, item.text, item.start, item.end) for item in answer.context]


def _given(hit: Hit, text: str, start: int, end: int) -> Given:
    chunk = hit.chunk
    return Given(
        text=text,
        id=chunk.id,
        document_id=chunk.document_id,
        start=start,
        score=hit.score,
        metadata={
            **hit.metadata,
            "document_id": chunk.document_id,
            "start": start,
            "end": end,
            "source": hit.source or chunk.document_id,
            "title": hit.title,
            "location": chunk.location(start, end).to_dict(),
            "score": hit.score,
        },
    )
