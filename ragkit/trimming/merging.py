"""One ranking of several: what the questions of one message need, together."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import replace

from ragkit.trimming.ranking import RankedSentence, Ranking
from ragkit.trimming.signals import PoolChunk


def merged(rankings: Sequence[Ranking]) -> Ranking:
    """Return one ranking by the relative scores of several, each unit once.

    Its support is that of the ranking with the most.
    """
    if len(rankings) == 1:
        return rankings[0]
    pool: list[PoolChunk] = []
    index: dict[str, int] = {}
    for chunk in itertools.chain.from_iterable(
        filter(None, row) for row in itertools.zip_longest(*(ranking.pool for ranking in rankings))
    ):
        if chunk.hit.chunk.id not in index:
            index[chunk.hit.chunk.id] = len(pool)
            pool.append(chunk)
    by_atom = (_atoms(ranking) for ranking in rankings)
    seen: set[tuple[str, int, int]] = set()
    kept: list[RankedSentence] = []
    n_atoms = 0
    for atom in heapq.merge(*by_atom, key=lambda pieces: -pieces[0].relative_score):
        new: list[RankedSentence] = []
        for piece in atom:
            key = piece.hit.chunk.document_id, *piece.place.span
            if key not in seen:
                seen.add(key)
                new.append(piece)
        n_atoms += bool(new)
        for piece in new:
            place = replace(piece.place, chunk=index[piece.hit.chunk.id])
            kept.append(
                replace(piece, hit=pool[place.chunk].hit, place=place, atom=n_atoms,
                        relative_score=atom[0].relative_score)
            )  # fmt: skip
    supports = [ranking.support for ranking in rankings if ranking.support is not None]
    return Ranking(pool=pool, sentences=tuple(kept), support=max(supports, default=None))


def _atoms(ranking: Ranking) -> list[list[RankedSentence]]:
    grouped = itertools.groupby(ranking.sentences, key=lambda piece: piece.atom)
    return [list(pieces) for _, pieces in grouped]
