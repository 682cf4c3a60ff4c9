"""Lists in HTML, and how they are numbered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ragkit.loading.loaded import OpenPart
from ragkit.loading.markup import EndTag, StartTag, Token
from ragkit.loading.numbering import Numerals

_NUMERALS: Mapping[str, Numerals] = {
    "1": "1", "a": "a", "A": "A", "i": "i", "I": "I",
    "loweralpha": "a", "upperalpha": "A", "lowerroman": "i", "upperroman": "I",
}  # fmt: skip


@dataclass(slots=True)
class List:
    """A list while it is read: of a `dl`, its open definition, and whether that is explained."""

    tag: str
    level: int
    number: int = 1
    step: int = 1
    numerals: Numerals = "1"
    definition: OpenPart | None = None
    is_explained: bool = False


def item_counts(page: Iterable[Token]) -> list[int]:
    """Return of each list that is numbered backwards how many items it has."""
    counts: list[int] = []
    lists: list[int | None] = []
    for token in page:
        if isinstance(token, EndTag) and token.name in {"ol", "ul"} and lists:
            lists.pop()
        elif isinstance(token, StartTag) and token.name in {"ol", "ul"}:
            lists.append(len(counts) if is_backwards(token) else None)
            counts += [0] * is_backwards(token)
        elif isinstance(token, StartTag) and token.name == "li" and lists:
            index = lists[-1]
            if index is not None:
                counts[index] += 1
    return counts


def is_backwards(token: StartTag) -> bool:
    """Whether it starts a list that is numbered backwards."""
    return token.name == "ol" and "reversed" in token.attributes


def numerals_of(attributes: Mapping[str, str]) -> Numerals:
    """Return how an ordered list is numbered: by its type, or by a class that docutils writes."""
    names = (attributes.get("type", "").strip(), *attributes.get("class", "").split())
    for name in names:
        if name in _NUMERALS:
            return _NUMERALS[name]
    return "1"


def integer(value: str, default: int) -> int:
    """Return an attribute's whole number."""
    return int(value) if re.fullmatch(r"\s*[-+]?[0-9]{1,9}\s*", value) else default
