"""Runs: kept units joined into the items of a context, which know what is left out around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ragkit.text.passages import MOST_BLANKS, leaves_out, passages
from ragkit.trimming.atoms import PLAIN, unit_of
from ragkit.trimming.ranking import RankedSentence, text_of
from ragkit.trimming.signals import PoolChunk
from ragkit.types import (
    ContextItem,
    Hit,
    ItemRole,
    Placement,
    ScoredSentence,
    Span,
    Unit,
    UnitKind,
)


def items_of(
    kept: Sequence[RankedSentence],
    pool: Sequence[PoolChunk],
    count: Callable[[str], int],
    placement: Placement = "document",
) -> tuple[ContextItem, ...]:
    """Join kept units into maximal runs, in this order; a borrowed need is a run of its own."""
    order: dict[str, int] = {}
    for chunk in pool:
        order.setdefault(chunk.hit.chunk.document_id, len(order))
    runs: list[list[RankedSentence]] = []
    for piece in sorted(
        _distinct(kept), key=lambda s: (order[s.hit.chunk.document_id], s.place.span, s.place.chunk)
    ):
        if runs and _continues(runs[-1][-1], piece):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    items = _with_steps(with_gaps([_run(run, count) for run in runs]), kept, pool)
    return tuple(items if placement == "document" else _placed(list(items), placement))


def _placed(items: Sequence[ContextItem], placement: Placement) -> list[ContextItem]:
    """Return items with what is kept of a place, by its best unit, last or first.

    Runs of one chunk stay together in document order, and so do those between which nothing, or
    only steps of a procedure, is left out: what is needed stands before what needs it.
    """
    places: list[list[ContextItem]] = []
    for before, item in zip((None, *items), items, strict=False):
        if before is not None and _stays(before, item):
            places[-1].append(item)
        else:
            places.append([item])
    places.sort(key=lambda place: max(_best(item) for item in place))
    if placement == "best_first":
        places.reverse()
    ordered = (replace(item, gap_before=False) for place in places for item in place)
    return with_gaps(ordered)


def _stays(before: ContextItem, item: ContextItem) -> bool:
    if before.hit.chunk.document_id != item.hit.chunk.document_id:
        return False
    in_place = not item.gap_before or item.steps_left_out_before != 0
    return in_place or before.hit.chunk.id == item.hit.chunk.id or before.role != "unit"


def _best(item: ContextItem) -> float:
    return max(sentence.score for sentence in item.sentences)


def item_of(
    hit: Hit, span: Span, text: str, sentences: Sequence[ScoredSentence], n_tokens: int
) -> ContextItem:
    """Return an item of a context."""
    start, end = span
    return ContextItem(
        hit=hit, start=start, end=end, text=text, n_tokens=n_tokens, sentences=tuple(sentences)
    )


def with_gaps(items: Iterable[ContextItem]) -> list[ContextItem]:
    """Return items that know whether text is left out before them in their passage."""
    return [
        replace(item, gap_before=True) if k > 0 and leaves_out(passage[k - 1], item) else item
        for passage in passages(list(items))
        for k, item in enumerate(passage)
    ]


def _distinct(kept: Sequence[RankedSentence]) -> Iterator[RankedSentence]:
    """Yield what is kept, without needs of which all is kept: a need may be a part of a unit."""
    reached: dict[str, Span] = {}
    for piece in sorted(kept, key=lambda s: (s.place.span[0], -s.place.span[1])):
        start, end = piece.place.span
        before = reached.get(piece.hit.chunk.document_id)
        if piece.need is None or before is None or end > before[1] or before == (start, end):
            yield piece
        if before is None or end > before[1]:
            reached[piece.hit.chunk.document_id] = start, end


def _continues(last: RankedSentence, piece: RankedSentence) -> bool:
    a, b = last.place, piece.place
    together = (a.chunk, a.position + 1) == (b.chunk, b.position)
    return together and not (last.is_borrowed or piece.is_borrowed)


def _run(run: Sequence[RankedSentence], count: Callable[[str], int]) -> ContextItem:
    hit, span = run[0].hit, (run[0].place.span[0], run[-1].place.span[1])
    text = run[0].text if run[0].is_borrowed else text_of(hit.chunk, span)
    sentences = [
        ScoredSentence(
            start=piece.place.span[0],
            end=piece.place.span[1],
            text=piece.text,
            score=piece.score,
            n_tokens=count(piece.text),
            role=_role(piece),
        )
        for piece in run
    ]
    kinds: list[UnitKind] = [_unit(piece).kind for piece in run if _role(piece) == "unit"]
    return ContextItem(
        hit=hit,
        start=span[0],
        end=span[1],
        text=text,
        n_tokens=count(text),
        sentences=tuple(sentences),
        role="unit" if kinds else sentences[0].role,
        unit_kind=kinds[0] if kinds else None,
    )


def _role(piece: RankedSentence) -> ItemRole:
    if piece.need is not None:
        return piece.need.role
    unit = _unit(piece)
    if unit.is_kept_alone:
        return "unit"
    return "heading" if unit.kind == "heading" else "lead_in"


def _unit(piece: RankedSentence) -> Unit:
    return PLAIN if piece.is_borrowed else unit_of(piece.hit.chunk, piece.place.position)


def _with_steps(
    items: Sequence[ContextItem], kept: Sequence[RankedSentence], pool: Sequence[PoolChunk]
) -> Iterator[ContextItem]:
    """Yield items that know how many steps of the procedures kept are left out around them."""
    procedures: dict[str, set[Span]] = {}
    for piece in kept:
        if (procedure := _unit(piece).procedure) is not None:
            procedures.setdefault(piece.hit.chunk.document_id, set()).add(procedure)
    for passage in passages(items):
        name = passage[0].hit.chunk.document_id
        if name not in procedures:
            yield from passage
            continue
        left = _LeftOut.of(name, sorted(procedures[name]), kept, pool)
        ends = [0, *(item.end for item in passage)]
        for item, end in zip(passage, ends, strict=False):
            is_last = item is passage[-1]
            yield replace(
                item,
                steps_left_out_before=left.between(end, item.start),
                steps_left_out_after=left.between(item.end, None) if is_last else 0,
            )


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """What the pool knows of a document's procedures and is not kept: starts, in order."""

    procedures: Sequence[Span]
    chunks: Sequence[Span]
    steps: Sequence[int]
    others: Sequence[int]

    @classmethod
    def of(
        cls,
        document_id: str,
        procedures: Sequence[Span],
        kept: Sequence[RankedSentence],
        pool: Sequence[PoolChunk],
    ) -> _LeftOut:
        chunks = [c.hit.chunk for c in pool if c.hit.chunk.document_id == document_id]
        wanted = frozenset(procedures)
        known = {s.place.span[0] for s in kept if s.hit.chunk.document_id == document_id}
        left = {
            unit.start: _is_whole_step(unit)
            for chunk in chunks
            for unit in chunk.units
            if unit.procedure in wanted and unit.start not in known
        }
        return cls(
            procedures,
            sorted((chunk.start, chunk.end) for chunk in chunks),
            sorted(start for start, is_step in left.items() if is_step),
            sorted(start for start, is_step in left.items() if not is_step),
        )

    def between(self, start: int, end: int | None) -> int | None:
        """Return how many steps are left out of a span; None where that is unknown."""
        from bisect import bisect_left, bisect_right

        n_steps, n_others = 0, 0
        for k in range(bisect_right(self.procedures, start, key=_end), len(self.procedures)):
            first, last = self.procedures[k]
            a, b = max(first, start), last if end is None else min(last, end)
            if a >= b:
                break
            if not self._is_known(a, b):
                return None
            n_steps += bisect_left(self.steps, b) - bisect_left(self.steps, a)
            n_others += bisect_left(self.others, b) - bisect_left(self.others, a)
        return n_steps or (None if n_others else 0)

    def _is_known(self, start: int, end: int) -> bool:
        """Whether the pool's chunks hold all of a span but white space."""
        from bisect import bisect_right

        for k in range(bisect_right(self.chunks, start, key=_end), len(self.chunks)):
            a, b = self.chunks[k]
            if start >= end or a > start + MOST_BLANKS:
                break
            start = b
        return end - start <= MOST_BLANKS


def _end(span: Span) -> int:
    return span[1]


def _is_whole_step(unit: Unit) -> bool:
    """Whether a unit is a step of its procedure, not of a list nested in one, or a later part."""
    if unit.kind != "step" or unit.procedure is None:
        return False
    first, last = unit.procedure
    return not any(first <= need.start < last for need in unit.needs)
