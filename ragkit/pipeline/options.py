"""The options of searching, asking and ingesting: one list for every way to call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ragkit.pipeline.pruning import Confirm
    from ragkit.pipeline.report import Progress
    from ragkit.types import Json, Mode, Turn


class PoolOptions(TypedDict, total=False):
    """Options of `RAG.pool`.

    Attributes:
        mode: `dense`, `lexical` or `hybrid`; None takes hybrid where the store has vectors of a
            model that reads the question's language, lexical otherwise.
        filters: Conditions on metadata (`ragkit.filters`).
        groups: The reader's groups; needed in a protected store.
    """

    mode: Mode | None
    filters: Mapping[str, Json] | None
    groups: Sequence[str] | None


class RetrievalOptions(PoolOptions, total=False):
    """What decides which chunks a question finds.

    Attributes:
        k: How many, 1 to 1,000,000. `search` returns 10 by default; for `ask` it is the depth that
            is retrieved before trimming, or the number of chunks sent where trimming is off.
    """

    k: int | None


class SearchOptions(RetrievalOptions, total=False):
    """Options of `RAG.search` and `RAG.asearch`.

    Attributes:
        dedupe: Drop hits that nearly repeat a better one.
        mmr: Weight of relevance in maximal marginal relevance, 0 to 1; None leaves the order.
        unit: `chunk`, or `document` for distinct documents.
    """

    dedupe: bool
    mmr: float | None
    unit: str


class StreamOptions(RetrievalOptions, total=False):
    """Options of `RAG.stream` and `RAG.astream`.

    Attributes:
        id: Comes back in the answer.
        history: Earlier turns, oldest first; the newest that fit under their cap are sent.
    """

    id: str | None
    history: Sequence[Turn | Mapping[str, str]]


class AskOptions(StreamOptions, total=False):
    """Options of `RAG.ask` and `RAG.aask`.

    Attributes:
        dry_run: Do everything except the generation.
    """

    dry_run: bool


class IngestOptions(TypedDict, total=False):
    """Options of `RAG.ingest` and `RAG.aingest`.

    Attributes:
        root: What the ids of files are relative to.
        prune: Remove stored documents that have vanished from under the paths of this call.
        groups: Who may see those documents that neither name groups themselves nor get any from a
            rule in the settings. `public` means everybody.
        metadata: Added to each document's own.
        password: Opens encrypted files.
        require_groups: Fail documents that end up without groups.
        dry_run: Read and chunk, but store nothing.
        confirm: Called before `prune` removes more than half of the documents stored from one of
            the paths, as when a disk is not mounted. None refuses.
        secure: Finally rewrite everything that holds words of removed or replaced text, however
            large the store is. Small stores always do.
        on_progress: Called once per document, after its commit.
    """

    root: str | Path | None
    prune: bool
    groups: Sequence[str]
    metadata: Mapping[str, Json] | None
    password: str | None
    require_groups: bool
    dry_run: bool
    confirm: Confirm | None
    secure: bool
    on_progress: Callable[[Progress], None] | None


def check_names(call: str, allowed: type, options: Mapping[str, object]) -> None:
    """Raise `TypeError` for an unknown keyword, which `**options` alone would accept."""
    for name in options:
        if name not in allowed.__annotations__:
            names = " ".join(allowed.__annotations__)
            raise TypeError(
                f"{call}() got an unexpected keyword argument {name!r}; allowed: {names}"
            )
