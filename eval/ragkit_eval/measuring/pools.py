"""What a question retrieves: the hits of the untrimmed baseline, and the pools that are trimmed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ragkit.diversity import one_of_each
from ragkit.pipeline import RAG
from ragkit.pipeline.completing import is_complete
from ragkit.pipeline.named_rows import has_tables
from ragkit.trimming import PoolChunk, Ranking, TrimPolicy, rank
from ragkit.types import Hit, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What a question retrieves.

    Attributes:
        terms: The question's index terms, without stop words.
        hits: As they were found, near-identical ones and all: the untrimmed baseline.
        pools: By their size, as `ask` trims them: of near-identical hits one, with the rest of
            their procedures.
    """

    terms: Sequence[str]
    hits: Sequence[Hit]
    pools: Mapping[int, Sequence[PoolChunk]]

    def ranked(self, size: int, policy: TrimPolicy) -> Ranking:
        """Return the ranking of the pool of a size."""
        return rank(self.terms, self.pools[size], policy)


def retrieve(
    rag: RAG, question: str, *, k: int, pools: Collection[int], mode: Mode | None = None
) -> Retrieved:
    """Return the first k hits and the pools of these sizes: one search, but where tables stand."""
    terms, found = rag.pool(question, k=max([k, *pools]), mode=mode, drops_repeats=False)
    hits = [chunk.hit for chunk in found]

    def pool(size: int) -> Sequence[PoolChunk]:
        first = hits[:size]
        are_distinct = len(one_of_each(first, question, size)) == len(first)
        if are_distinct and is_complete(first) and not has_tables(first):
            return found[:size]
        return rag.pool(question, k=size, mode=mode)[1]

    return Retrieved(terms=terms, hits=hits[:k], pools={size: pool(size) for size in pools})
