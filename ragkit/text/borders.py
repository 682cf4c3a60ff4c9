"""What units need once the borders of chunks are known: what is cut, and what is cut off."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from ragkit.text.sentences import trimmed
from ragkit.types import Need, Span, Unit

MAX_START_CHARACTERS = 600
"""Of the start of a unit that is cut no more goes with its other parts."""

_WITH_TERM = frozenset({"definition", "option"})
_TERM_END = re.compile(r"\n(?=[^\S\n]|\n)")
"""A term ends before what is indented, or before a blank line."""

_WITH_START = frozenset({"item", "step", "row", *_WITH_TERM})


def across_borders(text: str, units: Sequence[Unit], spans: Iterable[Span]) -> Sequence[Unit]:
    """Return units that are kept together across the borders of chunks.

    Code that a border divides is whole only with its other part, and a sentence that introduces
    what stands behind the border is nothing without it: each pair is kept as procedures are.
    """
    pairs = _Pairs(units)
    changed = pairs.units
    ends = [unit.end for unit in units]
    for (_, border), _ in pairwise(spans):
        k = bisect_right(ends, border)
        if k == len(changed):
            break
        if changed[k].start < border:
            if changed[k].kind == "code":
                pairs.add(k, k)
            continue
        before = k - 1
        while before >= 0 and changed[before].kind == "markup":
            before -= 1
        while k < len(changed) and changed[k].kind == "markup":
            k += 1
        if before >= 0 and k < len(changed) and _introduces(text, changed[before], changed[k]):
            pairs.add(before, k)
    return changed


def part_of(text: str, unit: Unit, span: Span) -> Unit:
    """Return the part of a unit that a chunk holds; one after the first needs how it starts.

    That is the term of a definition or an option, and the first line or so of the others.
    """
    if span == (unit.start, unit.end):
        return unit
    needs = unit.needs
    if span[0] > unit.start and unit.kind in _WITH_START:
        end = min(span[0], unit.start + MAX_START_CHARACTERS)
        if unit.kind in _WITH_TERM:
            found = _TERM_END.search(text, unit.start, end)
            end = found.start() if found else end
        start, end = trimmed(text, unit.start, end)
        needs = (*needs, Need(start=start, end=end, role="lead_in", text=text[start:end]))
    return replace(unit, start=span[0], end=span[1], needs=needs)


def _introduces(text: str, unit: Unit, other: Unit) -> bool:
    needed = (unit.start <= need.start < unit.end for need in other.needs)
    return text[unit.end - 1] in ":：" and any(needed)


class _Pairs:
    """Units, of which those that are to be kept together have a span in common."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = list(units)
        self._spans: dict[Span, list[int]] = {}

    def add(self, first: int, last: int) -> None:
        """Keep two units together, and with what either is kept with already."""
        old = [self.units[k].procedure for k in (first, last)]
        steps = [span for span in old if span is not None and span not in self._spans]
        members = {first, last}
        for span in old:
            members.update(self._spans.pop(span, ()) if span is not None else ())
        if steps:  # They are whole as a procedure, or as a block of code of several units.
            whole = steps[-1]
        else:
            whole = self.units[min(members)].start, self.units[max(members)].end
            self._spans[whole] = sorted(members)
        for k in members:
            if self.units[k].procedure not in steps:
                self.units[k] = replace(self.units[k], procedure=whole)
