"""What a person marks as needed, and the label that is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from typing import TypeAlias

from ragkit.types import Chunk, Hit, Json
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.spans import GoldSpan
from ragkit_eval.data.texts import squeezed

Marks: TypeAlias = tuple[tuple[int, ...], ...]
"""Numbers of parts (units): all of these needs must be met, each by any one of its units."""

MOST_WAYS = 64
"""Ways to meet all needs of a question: each becomes a set of spans."""

_MARK = re.compile(r"[0-9]{1,4}(?:-[0-9]{1,4}|(?:\|[0-9]{1,4})+)?")
_SEPARATORS = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownUnit:
    """A unit as it is shown, as a part; what cannot be written down has no place."""

    text: str
    kind: str
    place: GoldSpan | None


_NOISE = {"markup", "nav"}


def passage_name(hit: Hit) -> str:
    """Return a passage's document and headings."""
    heading = hit.chunk.location().heading
    return "  ".join([hit.chunk.document_id, " > ".join(heading or ())]).strip()


def units_of(chunk: Chunk) -> list[ShownUnit]:
    """Return what there is to read in a chunk: units; where its structure is unknown, sentences.

    A heading is one too, since it may be all that says something, though trimming keeps none for
    its own sake.
    """
    shown: list[ShownUnit] = []
    for i, (start, end) in enumerate(chunk.sentences):
        text = chunk.text[start - chunk.start : end - chunk.start]
        unit = chunk.units[i] if chunk.units else None
        if not squeezed(text) or (unit is not None and unit.kind in _NOISE):
            continue
        place = GoldSpan(document_id=chunk.document_id, start=start, end=end, text=text)
        shown.append(
            ShownUnit(
                text=text,
                kind="sentence" if unit is None else unit.kind,
                place=place if _is_unicode(place) else None,
            )
        )
    return shown


def _is_unicode(place: GoldSpan) -> bool:
    """Whether a place can be written down: half of a surrogate pair cannot be read back."""
    try:
        f"{place.document_id}{place.text}".encode()
    except UnicodeEncodeError:
        return False
    return True


def read_marks(line: str, n_units: int) -> Marks:
    """Read marks: `2 5` or `2,5` needs both, `2-4` all three, `2|5` either.

    Raises:
        ValueError: it is none of these, or a number is not that of a part.
    """
    needs: dict[tuple[int, ...], None] = {}
    for part in filter(None, _SEPARATORS.split(line)):
        if not _MARK.fullmatch(part):
            raise ValueError(f"{part!r} is no mark")
        numbers = [int(number) for number in re.split(r"[-|]", part)]
        for number in numbers:
            if not 1 <= number <= n_units:
                raise ValueError(f"there is no part {number}; there are {n_units}")
        if "-" in part:
            first, last = numbers
            needs |= dict.fromkeys((number,) for number in range(first, last + 1))
        else:
            needs[tuple(dict.fromkeys(numbers))] = None
    if not needs:
        raise ValueError("nothing is marked")
    if prod(map(len, needs)) > MOST_WAYS:
        raise ValueError(f"that can be met in more than {MOST_WAYS} ways")
    return tuple(needs)


def labelled(
    question: Question, marks: Marks, units: Sequence[GoldSpan], *, sample: str
) -> dict[str, Json]:
    """Return the line of a labelled question; without marks, nothing answers it.

    The needs are the texts of the units; each way to meet them all is a set of spans.
    """
    chosen = [[units[number - 1] for number in need] for need in marks]
    return {
        **question_row(question),
        "docs": list(dict.fromkeys(place.document_id for need in chosen for place in need)),
        "needs": [list(dict.fromkeys(place.text for place in need)) for need in chosen],
        "spans": list(_spans(chosen)),
        "unanswerable": not marks,
        "metadata": {**question.metadata, "sample": sample},
    }


def question_row(question: Question) -> dict[str, Json]:
    """Return what a line says of its question, beside labels and metadata."""
    row: dict[str, Json] = {"_id": question.id, "text": question.text}
    if question.answers:
        row["answers"] = list(question.answers)
    if question.history:
        row["history"] = [{"role": t.role, "content": t.content} for t in question.history]
    return row


def _spans(needs: Iterable[Sequence[GoldSpan]]) -> Iterable[Mapping[str, Json]]:
    ways = [way for way in product(*needs) if way]
    for number, way in enumerate(ways, start=1):
        for place in dict.fromkeys(way):
            yield {**asdict(place), "set": number}
