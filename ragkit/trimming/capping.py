"""Keeping under a hard cap: what fits of the units that a policy keeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ragkit.text.passages import context_tokens
from ragkit.trimming.atoms import Atoms, unit_of
from ragkit.trimming.policy import TrimPolicy
from ragkit.trimming.ranking import RankedSentence, Ranking
from ragkit.trimming.runs import items_of
from ragkit.types import ContextItem, Placement

_Key: TypeAlias = tuple[str, int, int]
"""A document, and a span of it."""


class Capping:
    """Fits units, with what they need, under a cap that nothing exceeds."""

    def __init__(
        self,
        ranking: Ranking,
        policy: TrimPolicy,
        count: Callable[[str], int],
        cap: int,
        placement: Placement,
    ) -> None:
        self._pool = ranking.pool
        self._count = count
        self._cap = cap
        self._placement: Placement = placement
        self._atoms = Atoms(ranking.pool, policy)
        self._ranked = {_key(piece): piece for piece in ranking.sentences}

    def items(self, atoms: Iterable[Sequence[RankedSentence]]) -> tuple[ContextItem, ...]:
        """Return items of the atoms that fit, best first."""
        groups = self._fitting(atoms)
        # Runs may have more tokens than their units on their own, and so have marks.
        best, first, last = self._items_of(groups), 0, len(groups)
        while best is None:
            middle = (first + last) // 2
            items = self._items_of(groups[:middle])
            if items is None:
                last = middle
            elif first == middle:
                best = items
            else:
                first = middle
        return best

    def _items_of(
        self, groups: Iterable[Iterable[RankedSentence]]
    ) -> tuple[ContextItem, ...] | None:
        """Return items of all groups; None if they exceed the cap."""
        kept = list(itertools.chain(*groups))
        items = items_of(kept, self._pool, self._count, self._placement)
        return items if context_tokens(items, self._count) <= self._cap else None

    def _fitting(self, atoms: Iterable[Sequence[RankedSentence]]) -> list[list[RankedSentence]]:
        """Return what fits, best first.

        Of a procedure that does not fit whole, that is the best step, and then the others from the
        first on while they fit.
        """
        wanted = list(atoms)
        keys = {_key(piece) for atom in wanted for piece in atom}
        fitting = _Fitting(self._count, self._cap)
        for atom in wanted:
            if atom[0].need is not None:
                # More for a unit that is there already, because another one needs it.
                for piece in atom:
                    if piece.need is None:
                        place = piece.place.chunk, piece.place.position
                        fitting.add(self._with_needs(*place, keys, whole=True))
                if _key(atom[0]) in fitting.needed:
                    fitting.add(atom)
                continue
            place = atom[0].place.chunk, atom[0].place.position
            if not fitting.add(self._with_needs(*place, keys, whole=True)):
                for step in (place, *self._atoms.procedure(*place)):
                    if not fitting.add(self._with_needs(*step, keys, whole=False)):
                        break
        return fitting.groups

    def _with_needs(
        self, i: int, j: int, wanted: Container[_Key], *, whole: bool
    ) -> list[RankedSentence]:
        """Return a unit and what is wanted of all that it is kept with; needs always are.

        Of its procedure only itself if not `whole`.
        """
        pieces = self._atoms.of(i, j, whole=whole)
        known = ((self._ranked.get(self._atoms.span(piece)), piece.need) for piece in pieces)
        distinct = {
            _key(found): replace(found, need=need)
            for found, need in known
            if found is not None and (need is not None or _key(found) in wanted)
        }
        return list(distinct.values())


class _Fitting:
    def __init__(self, count: Callable[[str], int], cap: int) -> None:
        self.groups: list[list[RankedSentence]] = []
        self._count = count
        self._left = cap
        self._taken: set[_Key] = set()
        self.needed: set[_Key] = set()

    def add(self, pieces: Iterable[RankedSentence]) -> bool:
        """Add what is not there yet if all of it fits; return whether it does."""
        group = [piece for piece in pieces if _key(piece) not in self._taken]
        n_tokens = sum(self._count(piece.text) for piece in group)
        if n_tokens > self._left:
            return False
        self._left -= n_tokens
        self._taken.update(map(_key, group))
        for piece in group:
            chunk, place = piece.hit.chunk, piece.place
            needs = () if piece.is_borrowed else unit_of(chunk, place.position).needs
            self.needed.update((chunk.document_id, need.start, need.end) for need in needs)
        self.groups.append(group)
        return True


def _key(piece: RankedSentence) -> _Key:
    return piece.hit.chunk.document_id, *piece.place.span
