"""One text of several that were loaded on their own: chapters, messages, cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from ragkit.loading.loaded import LoadedText
from ragkit.text.columns import MarkColumns, PartColumns
from ragkit.types import Dropped, Location, Mark, Metadata

_BETWEEN = "\n\n"


def joined(
    pieces: Iterable[tuple[LoadedText, Location]], *, title: str = "", metadata: Metadata
) -> LoadedText:
    """Return one text of several, each with its place; those without text are left out.

    The place is added to what the marks of the piece know themselves, and where it begins.
    """
    texts, marks, parts, n_before = list[str](), MarkColumns(), PartColumns(), 0
    dropped = Counter[Dropped]()
    for loaded, place in pieces:
        dropped.update(loaded.dropped)
        if not loaded.text.strip():
            continue
        if texts:
            n_before += len(_BETWEEN)
        for mark in _marks_of(loaded, place):
            marks.append(n_before + mark.start, mark.kind, mark.location)
        first = len(parts)
        for part in loaded.parts:
            parent = None if part.parent is None else first + part.parent
            parts.append(n_before + part.start, n_before + part.end, part.kind, parent)
        texts.append(loaded.text)
        n_before += len(loaded.text)
    return LoadedText(
        text=_BETWEEN.join(texts), title=title, marks=marks, parts=parts,
        metadata=metadata, dropped=dict(dropped),
    )  # fmt: skip


def _marks_of(loaded: LoadedText, place: Location) -> Iterable[Mark]:
    known = place.to_dict()
    if not loaded.marks or loaded.marks[0].start > 0:
        yield Mark(start=0, location=place)
    for mark in loaded.marks:
        yield replace(mark, location=merged(mark.location, place)) if known else mark


def merged(location: Location, place: Location) -> Location:
    """Return a location with what only the place knows."""
    if not location.heading:
        location = replace(location, heading=place.heading, anchor=location.anchor or place.anchor)
    return replace(
        location,
        message=location.message or place.message,
        cell=location.cell or place.cell,
    )


def placed(loaded: LoadedText, place: Location) -> LoadedText:
    """Return a text all of which is at a place."""
    return replace(loaded, marks=tuple(_marks_of(loaded, place)))
