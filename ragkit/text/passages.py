"""Passages: how a prompt shows what is kept of one document, with a mark where text is left out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from ragkit.types import Chunk, ContextItem, Need

GAP = "…"

MOST_BLANKS = 2
"""Characters between two chunks that are taken for white space; more may hold a text unseen."""

_WIDEST_INDENTATION = 200


def passages(context: Sequence[ContextItem]) -> Iterator[list[ContextItem]]:
    """Yield the passages of a context: consecutive items of one document."""
    for _, items in itertools.groupby(context, key=lambda item: item.hit.chunk.document_id):
        yield list(items)


def passage_text(items: Sequence[ContextItem]) -> str:
    """Return a passage as it stands in a prompt."""
    marks = _marks(items)
    return "".join(mark + item.text for mark, item in zip(marks, items, strict=False)) + marks[-1]


def context_tokens(context: Sequence[ContextItem], count: Callable[[str], int]) -> int:
    """Return the tokens of all items and of the marks between them."""
    marks = (mark for items in passages(context) for mark in _marks(items) if mark)
    return sum(item.n_tokens for item in context) + sum(map(count, marks))


def leaves_out(before: ContextItem, item: ContextItem) -> bool:
    """Whether text is left out between two items of a document.

    Inside their chunks that is known. Between chunks, of which the text is not at hand, whatever
    is longer than a blank line counts as text: a gap is never hidden.
    """
    start, end = before.end, item.start
    if end < start:
        return before.start > end
    chunk = before.hit.chunk
    if chunk.start <= start <= chunk.end:
        known = min(end, chunk.end)
        if chunk.text[start - chunk.start : known - chunk.start].strip():
            return True
        start = known
    chunk = item.hit.chunk
    if chunk.start <= end <= chunk.end:
        known = max(start, chunk.start)
        if chunk.text[known - chunk.start : end - chunk.start].strip():
            return True
        end = known
    return end - start > MOST_BLANKS


def n_orphans(context: Sequence[ContextItem]) -> int:
    """Return how many units that are kept for their own sake lack a span that they need."""
    by_document: dict[str, list[ContextItem]] = {}
    for item in context:
        by_document.setdefault(item.hit.chunk.document_id, []).append(item)
    n = 0
    for items in by_document.values():
        items.sort(key=lambda item: item.start)
        starts = [item.start for item in items]
        reached = list(itertools.accumulate((item.end for item in items), max))
        n += sum(
            not all(_is_held(need, starts, reached) for need in needs) for needs in _needs(items)
        )
    return n


def _is_held(need: Need, starts: Sequence[int], reached: Sequence[int]) -> bool:
    """Whether items hold a need, given where they start and how far they reach up to each."""
    from bisect import bisect_right

    start, text = need.start, need.text
    while (k := bisect_right(starts, start) - 1) >= 0 and reached[k] > start:
        if reached[k] >= need.end:
            return True
        text = text[reached[k] - start :].lstrip()  # It may go on in another item.
        start = need.end - len(text)
    return False


def _needs(items: Iterable[ContextItem]) -> Iterator[Sequence[Need]]:
    """Yield what each unit needs which is kept for its own sake."""
    for item in items:
        own = {sentence.start for sentence in item.sentences if sentence.role == "unit"}
        for unit in item.hit.chunk.units:
            if unit.start in own and unit.is_kept_alone:
                yield unit.needs


def _marks(items: Sequence[ContextItem]) -> list[str]:
    """Return what stands before each item of a passage, and what stands after the last."""
    first = items[0]
    marks = [_mark(first.steps_left_out_before, shown=first.steps_left_out_before != 0)]
    marks += ["\n" + _mark(i.steps_left_out_before, shown=i.gap_before) for i in items[1:]]
    marks = [
        mark + indentation(item.hit.chunk, item.start)
        for mark, item in zip(marks, items, strict=True)
    ]
    n_steps = items[-1].steps_left_out_after
    return [*marks, "" if n_steps == 0 else "\n" + _mark(n_steps, shown=True).rstrip()]


def _mark(n_steps: int | None, *, shown: bool) -> str:
    if not shown:
        return ""
    if not n_steps:
        return f"{GAP}\n"
    return f"{GAP} ({n_steps} {'step' if n_steps == 1 else 'steps'} left out)\n"


def indentation(chunk: Chunk, start: int) -> str:
    """Return the white space before a span in its line, which the span leaves out.

    A chunk begins with it where it stands in its first line.
    """
    if not chunk.start <= start <= chunk.end:
        return ""
    position = start - chunk.start
    line = chunk.text.rfind("\n", max(0, position - _WIDEST_INDENTATION), position)
    before = chunk.text[line + 1 : position]
    return before if before.isspace() else ""
