"""What a message finds: each of its questions is searched for, and what they find is merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from ragkit.costs.stopwatch import Stopwatch
from ragkit.errors import ConfigError
from ragkit.pipeline.retrieval import Found, Request, depth, prepared_alike, retrieve
from ragkit.pipeline.understanding import questions_of
from ragkit.storage import LocalStore
from ragkit.types import Hit

if TYPE_CHECKING:
    from ragkit.pipeline.options import PoolOptions, SearchOptions
    from ragkit.pipeline.parts import Parts
    from ragkit.trimming import PoolChunk


def search(parts: Parts, question: str, options: SearchOptions) -> Sequence[Hit]:
    """Do what `RAG.search` does."""
    k = depth(options.get("k"), parts.settings.k, 10)
    unit, mmr = options.get("unit", "chunk"), options.get("mmr")
    dedupe = options.get("dedupe", False)
    if unit not in {"chunk", "document"}:
        raise ConfigError(f"unit {unit!r}; allowed: chunk document")
    chosen = dedupe or mmr is not None or unit == "document"
    request = Request.of(parts, question, options, k=max(10 * k, 100) if chosen else k)
    hits = hits_of(retrieve_each(parts, request, questions_of(question), Stopwatch()))
    if chosen:
        from ragkit.diversity import distinct_documents, drop_near_duplicates, marginal_relevance

        if unit == "document":
            hits = distinct_documents(hits)
        if dedupe:
            hits = drop_near_duplicates(hits)
        if mmr is not None:
            hits = marginal_relevance(hits[: 4 * k], relevance=mmr)
    return hits[:k]


def warm(parts: Parts) -> None:
    """Do what `RAG.warm` does."""
    store, embedder = parts.store(), parts.embedder()
    parts.counter.count("warm")
    for model in (parts.generator(), embedder):
        load = getattr(model, "warm", None)
        if callable(load):
            load()
    if isinstance(store, LocalStore):
        # Another embedder may be a server's, which is paid for each question.
        settings = store.manifest().settings
        is_builtin = settings is not None and settings.embedder == "builtin"
        search(parts, "warm", {"k": 1, "groups": (), "mode": None if is_builtin else "lexical"})


def pool(
    parts: Parts, question: str, k: int, options: PoolOptions, *, drops_repeats: bool
) -> tuple[Sequence[str], Sequence[PoolChunk]]:
    """Do what `RAG.pool` does."""
    k = depth(k, None, k)
    request = Request.of(parts, question, options, k=k, n_candidates=k, drops_repeats=drops_repeats)
    founds = retrieve_each(parts, request, questions_of(question), Stopwatch())
    if len(founds) == 1:
        return founds[0].terms, founds[0].pool
    terms = dict.fromkeys(term for found in founds for term in found.terms)
    prepared = {chunk.hit.chunk.id: chunk for found in reversed(founds) for chunk in found.pool}
    pooled = by_turns([[chunk.hit for chunk in found.pool] for found in founds])
    return list(terms), [prepared[hit.chunk.id] for hit in pooled[:k]]


def retrieve_each(
    parts: Parts, request: Request, questions: Sequence[str], watch: Stopwatch
) -> Sequence[Found]:
    """Search for each question of a message; raises what `retrieve` does."""
    return [retrieve(parts, replace(request, question=text), watch) for text in questions]


def pooled(
    parts: Parts, request: Request, founds: Sequence[Found], watch: Stopwatch
) -> Sequence[Found]:
    """Return what readings of one question found, each with the chunks of all as its pool."""
    pools = [[chunk.hit for chunk in found.pool if not chunk.completes] for found in founds]
    return prepared_alike(parts, request, founds, by_turns(pools), watch)


def hits_of(founds: Sequence[Found]) -> Sequence[Hit]:
    """Return what all questions of a message found."""
    return founds[0].hits if len(founds) == 1 else by_turns([found.hits for found in founds])


def by_turns(rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
    """Return the hits of several rankings, from each the best first, each chunk once."""
    distinct: dict[str, Hit] = {}
    for row in zip_longest(*rankings):
        for hit in row:
            if hit is not None:
                distinct.setdefault(hit.chunk.id, hit)
    return [replace(hit, rank=rank) for rank, hit in enumerate(distinct.values(), start=1)]
