"""Orphans: kept units of which something is missing that they cannot be read without."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.types import ContextItem, Span, Unit
from ragkit_eval.data.spans import GoldSpan, Place, evidence_found
from ragkit_eval.measuring.gold import Gold


def count_orphans(context: Sequence[ContextItem], gold: Gold) -> int | None:
    """Return how many kept units of a context are orphans; None if no unit of it is known.

    A unit is an orphan if the context does not hold all that it needs, or not the whole procedure
    that it belongs to. What was only borrowed for another unit needs nothing.
    """
    places = [(item.hit.chunk.document_id, item.start, item.end) for item in context]
    known = [item for item in context if item.hit.chunk.units]
    if not known:
        return None
    orphans: set[tuple[str, int, int]] = set()
    for item in known:
        document_id = item.hit.chunk.document_id
        held = [place for place in places if place[0] == document_id]
        kept = {sentence.start for sentence in item.sentences}
        for unit in item.hit.chunk.units:
            if unit.start in kept and unit.is_kept_alone and _is_orphan(unit, gold, held):
                orphans.add((document_id, unit.start, unit.end))
    return len(orphans)


def _is_orphan(unit: Unit, gold: Gold, held: Sequence[Place]) -> bool:
    document_id = held[0][0]
    needs = [
        GoldSpan(document_id=document_id, start=need.start, end=need.end, text=need.text)
        for need in unit.needs
    ]
    if unit.procedure is not None:
        needs += _steps(document_id, unit.procedure, gold)
    return evidence_found([needs], held) == 0.0


def _steps(document_id: str, procedure: Span, gold: Gold) -> list[GoldSpan]:
    """Return what a procedure says, without the markup inside it."""
    text, units = gold.units(document_id)
    return [
        GoldSpan(
            document_id=document_id,
            start=unit.start,
            end=unit.end,
            text=text[unit.start : unit.end],
        )
        for unit in units
        if unit.is_kept_alone and procedure[0] <= unit.start and unit.end <= procedure[1]
    ]
