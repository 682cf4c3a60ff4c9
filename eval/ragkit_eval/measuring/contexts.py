"""The contexts that a question may be sent, from small to large: whole hits, or cuts of a pool."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import neg
from typing import Protocol, TypeAlias

from ragkit.text.passages import context_tokens
from ragkit.trimming import Ranking
from ragkit.trimming.runs import items_of
from ragkit.types import ContextItem, Hit, TokenCounter
from ragkit_eval.data.rows import Passage

Noting: TypeAlias = Callable[[Sequence[Passage]], Sequence[Passage]]
"""Returns passages that note what evidence they repeat: `Gold.with_repeats` of a question."""


@dataclass(frozen=True, slots=True)
class Context:
    """What would be sent: its passages, and its tokens with those of the marks between them."""

    passages: Sequence[Passage]
    n_tokens: int


class Contexts(Protocol):
    """Contexts by the number of what is kept, from 0 to `len`; each holds the ones before it."""

    def __len__(self) -> int:
        """Return the number of the largest one."""
        ...

    def __getitem__(self, n: int) -> Context:
        """Return the context of the first n."""
        ...


class WholeHits:
    """The contexts without trimming: the first chunks, as they stand."""

    def __init__(self, hits: Sequence[Hit], noting: Noting) -> None:
        self._passages = noting([whole_chunk(hit) for hit in hits])
        self._totals = [0, *accumulate(passage.n_tokens or 0 for passage in self._passages)]

    def __len__(self) -> int:
        """Return how many hits there are."""
        return len(self._passages)

    def __getitem__(self, n: int) -> Context:
        """Return the context of the first n hits."""
        return Context(self._passages[:n], self._totals[n])


class Cuts:
    """The contexts that trimming makes of a pool, by the number of atoms that are kept.

    An atom is a unit with what it needs: kept or left as a whole.
    """

    def __init__(self, ranking: Ranking, counter: TokenCounter, noting: Noting) -> None:
        self._ranking = ranking
        self._count = functools.cache(counter.count)
        self._noting = noting
        atoms = [list(pieces) for _, pieces in groupby(ranking.sentences, key=lambda p: p.atom)]
        self._ends = [0, *accumulate(map(len, atoms))]
        self._totals = list(accumulate(sum(self._count(p.text) for p in atom) for atom in atoms))
        self.scores = [atom[0].relative_score for atom in atoms]
        self._known: dict[int, Context] = {}

    def __len__(self) -> int:
        """Return how many atoms there are."""
        return len(self.scores)

    def __getitem__(self, n: int) -> Context:
        """Return the context of the best n atoms."""
        if n not in self._known:
            kept = self._ranking.sentences[: self._ends[n]]
            items = items_of(kept, self._ranking.pool, self._count)
            passages = self._noting([sent(item) for item in items])
            self._known[n] = Context(passages, context_tokens(items, self._count))
        return self._known[n]

    def n_pieces(self, n: int) -> int:
        """Return of how many units and needs the best n atoms are."""
        return self._ends[n]

    def n_above(self, cut: float) -> int:
        """Return how many atoms a cut keeps: at least one, if there is one."""
        return min(len(self), max(1, bisect_right(self.scores, -cut, key=neg)))

    def n_within(self, budget_tokens: float) -> int:
        """Return how many atoms a budget keeps: at least one, if there is one."""
        return min(len(self), max(1, bisect_right(self._totals, budget_tokens)))


class Sent:
    """One context as it is sent."""

    def __init__(
        self, context: Sequence[ContextItem], counter: TokenCounter, noting: Noting
    ) -> None:
        passages = noting([sent(item) for item in context])
        self._context = Context(passages, context_tokens(context, counter.count))

    def __len__(self) -> int:
        """Return 1."""
        return 1

    def __getitem__(self, n: int) -> Context:
        """Return the context, or an empty one for 0."""
        return self._context if n else Context((), 0)


def whole_chunk(hit: Hit) -> Passage:
    """Return a hit's chunk as a passage."""
    chunk = hit.chunk
    return Passage(
        document_id=chunk.document_id,
        start=chunk.start,
        end=chunk.end,
        n_tokens=chunk.n_tokens,
        text=chunk.text,
    )


def sent(item: ContextItem) -> Passage:
    """Return an item of a context as a passage."""
    return Passage(
        document_id=item.hit.chunk.document_id,
        start=item.start,
        end=item.end,
        n_tokens=item.n_tokens,
        text=item.text,
    )
