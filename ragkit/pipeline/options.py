"""The options of searching, asking and ingesting: one list for every way to call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ragkit.pipeline.estimating import Forecast
    from ragkit.pipeline.pruning import Confirm
    from ragkit.pipeline.report import Progress
    from ragkit.trimming import TrimPolicy
    from ragkit.types import Json, Mode, TokenCounter, Turn


class PoolOptions(TypedDict, total=False):
    """Options of `RAG.pool`.

    Attributes:
        mode: `dense`, `lexical` or `hybrid`. None means hybrid if the store has vectors of a model
            that reads the question's language, and lexical otherwise.
        filters: Conditions on metadata (`ragkit.filters`).
        groups: Groups that the reader belongs to; required in a protected store.
    """

    mode: Mode | None
    filters: Mapping[str, Json] | None
    groups: Sequence[str] | None


class RetrievalOptions(PoolOptions, total=False):
    """What decides which chunks a question finds.

    Attributes:
        k: Number of chunks, 1 to 1,000,000. `search` returns 10 by default. For `ask` it is the
            number of chunks that are retrieved before trimming, or that are sent if trimming is
            off.
    """

    k: int | None


class SearchOptions(RetrievalOptions, total=False):
    """Options of `RAG.search` and `RAG.asearch`.

    Attributes:
        dedupe: Drop hits that nearly repeat a better one.
        mmr: Reorders hits by maximal marginal relevance: the weight of relevance, 0 to 1. None
            keeps the order.
        unit: `chunk`, or `document` to return only the best chunk of each document.
    """

    dedupe: bool
    mmr: float | None
    unit: str


class StreamOptions(RetrievalOptions, total=False):
    """Options of `RAG.stream` and `RAG.astream`.

    Attributes:
        id: An id of your own, which is returned with the answer.
        history: Earlier turns, oldest first. The newest ones that fit within `max_history_tokens`
            are sent.
    """

    id: str | None
    history: Sequence[Turn | Mapping[str, str]]


class AskOptions(StreamOptions, total=False):
    """Options of `RAG.ask` and `RAG.aask`.

    Attributes:
        dry_run: Do everything except generating an answer.
    """

    dry_run: bool


class IngestOptions(TypedDict, total=False):
    """Options of `RAG.ingest` and `RAG.aingest`.

    Attributes:
        root: Folder to which the ids of files are relative.
        prune: Remove stored documents that no longer exist under the paths of this call.
        groups: Groups of readers who may see these documents. They apply to documents that have no
            groups of their own and get none from an ingest rule. `public` means everybody.
        metadata: Metadata that is added to each document's own.
        password: Password with which to open encrypted files.
        require_groups: Fail documents that end up without groups.
        vectors: `now`, or `later` to store new chunks at once without vectors: they are found by
            their words until `RAG.embed` makes their vectors. It needs a local store.
        isolate: Parse files in a process of their own, which can open nothing and has limits of
            memory and time, so that a hostile file costs an error and nothing else. False parses
            them in this process, for systems without such limits.
        convert: `auto` has `.doc`, `.xls` and `.ppt` files converted by `soffice` (LibreOffice) if
            it is on the PATH, under limits of time and memory; `off`, the default, does not read
            them.
        ocr: `auto` has the pages of PDF files that hold only images, and pictures (`.png`, `.jpg`,
            `.tiff`), read by `tesseract` if it is on the PATH, under limits of time and memory;
            `off`, the default, does not read them.
        dry_run: Read and chunk, but store nothing; the report's `files` say what would be read or
            skipped, and why.
        include: Of the files in folders, read only those that match one of these patterns, which
            are written as in a `.gitignore`. A file given by name is read anyway.
        exclude: Leave out what matches one of these patterns.
        gitignore: Leave out what `.gitignore` files leave out, too. A `.ragkitignore` always
            counts.
        archives: Read the files in ZIP and tar archives, too, each as a document `path#name`.
        shard: `I/N`, or the two numbers: ingest only the documents of one of N shares, which
            together hold each document once, by a hash of its id; `prune` removes only documents of
            this share. Each of several machines ingests its share into one store that takes many
            writers. I counts from 0 or from 1: 0/N and N/N are the same share.
        allow_private: Let web addresses lead to this machine and to private networks.
        delay_seconds: Shortest time between two requests to a web site, 0 to 3,600.
        confirm: Called before `prune` removes more than half of the documents stored from one of
            the paths, which may mean that a folder is empty by mistake or a disk is not mounted.
            None refuses. It is also called before `prune` removes documents whose files are
            there, but are left out by now; None keeps them.
        secure: At the end, rewrite everything that still contains words of removed or replaced
            text, even if the store is very large. In smaller stores every call does this.
        on_progress: Called once per document, after its commit.
        retry_failed: Try also the inputs that failed in an earlier ingest and have not changed.
        on_forecast: Called once with what there is to do, before any of it is done.
        on_step: Called with what is left, whenever a file is begun and while a large one is in
            work; first when the files have been counted, which may be before `on_forecast`.
    """

    root: str | Path | None
    prune: bool
    groups: Sequence[str]
    metadata: Mapping[str, Json] | None
    password: str | None
    require_groups: bool
    vectors: Literal["now", "later"]
    isolate: bool
    convert: Literal["auto", "off"]
    ocr: Literal["auto", "off"]
    dry_run: bool
    include: Sequence[str]
    exclude: Sequence[str]
    gitignore: bool
    archives: bool
    shard: str | tuple[int, int] | None
    allow_private: bool
    delay_seconds: float
    confirm: Confirm | None
    secure: bool
    on_progress: Callable[[Progress], None] | None
    retry_failed: bool
    on_forecast: Callable[[Forecast], None] | None
    on_step: Callable[[Forecast], None] | None


class TrimOptions(TypedDict, total=False):
    """Options of `trim` and `atrim`.

    Attributes:
        policy: `bundled`, `tight`, `off`, a trim policy file, or a policy.
        max_tokens: Hard limit on the tokens of what is kept, at least 1.
        vectors: Whether sentences are compared by vectors, too; None where numpy is installed.
        counter: Counts tokens; None for the built-in vocabulary.
    """

    policy: str | TrimPolicy
    max_tokens: int | None
    vectors: bool | None
    counter: TokenCounter | None


def check_names(call: str, allowed: type, options: Mapping[str, object]) -> None:
    """Raise `TypeError` for an unknown keyword, which `**options` alone would accept."""
    for name in options:
        if name not in allowed.__annotations__:
            names = " ".join(allowed.__annotations__)
            raise TypeError(
                f"{call}() got an unexpected keyword argument {name!r}; allowed: {names}"
            )
