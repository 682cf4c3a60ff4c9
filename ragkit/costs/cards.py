"""Model cards: what is published of a model, or estimated of one whose maker tells nothing.

The bundled cards are data (`data/model_cards.json`), each fact with the address of its source. A
file of one's own, in the same form, comes before them (`model_cards` in the settings). A card says
how large a model is, which decides its energy, how much it can read, and in which languages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from ragkit.costs.energy import ModelSize
from ragkit.errors import ConfigError
from ragkit.narrowing import is_array, is_object
from ragkit.text.jsontext import read_json

Bounds: TypeAlias = tuple[float, float, float]
"""Low, middle and high."""

BUNDLED = Path(__file__).parent.parent / "data" / "model_cards.json"

_MOST_NAME = 300
_MOST_BYTES = 4_000_000
_FIELDS = frozenset(
    {"name", "match", "total_billions", "active_billions", "size_estimated", "window", "licence",
     "languages", "decode_joules", "scores", "sources"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A published score, with the address that says it."""

    benchmark: str
    value: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What is known of a model; None where nothing is.

    Attributes:
        name: For people.
        match: Patterns of names that servers use for it, `*` standing for anything.
        total_billions: All parameters: low, middle and high bounds.
        active_billions: Those that each token uses; fewer in a mixture of experts.
        size_estimated: Whether the bounds are estimates of others than its maker.
        window: Tokens of prompt and answer together.
        licence: Name of the licence.
        languages: Two-letter codes of the languages that it is made for; None: no such list.
        decode_joules: Joules per output token of the accelerators, where they were measured.
        scores: Published scores.
        sources: Addresses by the fact that they are for.
    """

    name: str
    match: tuple[str, ...]
    total_billions: Bounds | None = None
    active_billions: Bounds | None = None
    size_estimated: bool = False
    window: int | None = None
    licence: str | None = None
    languages: tuple[str, ...] | None = None
    decode_joules: Bounds | None = None
    scores: tuple[Score, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def size(self) -> ModelSize | None:
        """What decides the model's energy; None where nothing is published of its size."""
        active = self.active_billions or self.total_billions
        if active is None:
            return None
        return ModelSize(
            active_billions=active,
            is_mixture=self.total_billions is not None and active != self.total_billions,
            is_estimated=self.size_estimated,
            decode_joules=self.decode_joules,
        )


@lru_cache(maxsize=8)
def read_cards(path: Path) -> Sequence[ModelCard]:
    """Return the cards of a file.

    Raises:
        ConfigError: the file cannot be read, or a card is not as it must be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES:,} bytes")
        found = read_json(data)
        if not is_object(found) or not is_array(found.get("cards")):
            raise ValueError('allowed: {"schema": 1, "cards": […]}')
        return tuple(_card(card) for card in _list(found["cards"]))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"model cards {path} cannot be read: {error}") from error


@lru_cache(maxsize=256)
def find_card(name: str, own: Path | None = None) -> ModelCard | None:
    """Return the card of a model, the first that matches; None where there is none.

    Args:
        name: As a generator or its server names it, for example `bedrock:eu.meta.llama3-1-8b`.
        own: A file of one's own, which is searched before the bundled cards.

    Raises:
        ConfigError: as `read_cards`.
    """
    plain = _plain(name)
    for path in (own, BUNDLED) if own is not None else (BUNDLED,):
        for card in read_cards(path):
            if any(fnmatchcase(plain, pattern) for pattern in card.match):
                return card
    return None


def _plain(name: str) -> str:
    """Return a name as patterns see it: letters and digits in lower case, hyphens for the rest."""
    return "".join(c if c.isalnum() else "-" for c in name[:_MOST_NAME].lower())


def _card(value: object) -> ModelCard:
    if not is_object(value):
        raise ValueError("a card is no object")
    name = _text("name", value.get("name"))
    if unknown := sorted(value.keys() - _FIELDS):
        raise ValueError(f"{name}: unknown {unknown[0]!r}; allowed: {' '.join(sorted(_FIELDS))}")
    window = value.get("window")
    if window is not None and (not isinstance(window, int) or not 1 <= window <= 10**9):
        raise ValueError(f"{name}: window {window!r}; allowed: 1 or more tokens")
    languages, licence = value.get("languages"), value.get("licence")
    sources = value.get("sources", {})
    return ModelCard(
        name=name,
        match=tuple(_text("match", item) for item in _list(value.get("match"))),
        total_billions=_bounds(name, "total_billions", value),
        active_billions=_bounds(name, "active_billions", value),
        size_estimated=value.get("size_estimated") is True,
        window=window,
        licence=None if licence is None else _text("licence", licence),
        languages=None
        if languages is None
        else tuple(_text("languages", item) for item in _list(languages)),
        decode_joules=_bounds(name, "decode_joules", value),
        scores=tuple(_score(item) for item in _list(value.get("scores", []))),
        sources={key: _text("sources", url) for key, url in sources.items()}
        if is_object(sources)
        else {},
    )


def _score(value: object) -> Score:
    if not is_object(value):
        raise ValueError("a score is no object")
    number = value.get("value")
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"score {number!r}; allowed: a number")
    return Score(
        benchmark=_text("benchmark", value.get("benchmark")),
        value=float(number),
        source=_text("source", value.get("source")),
    )


def _bounds(name: str, what: str, card: Mapping[str, object]) -> Bounds | None:
    """Read a number, or three in order; None stays None."""
    value = card.get(what)
    if value is None:
        return None
    numbers = _list(value) if is_array(value) else [value]
    floats = [
        float(n)
        for n in numbers
        if isinstance(n, int | float) and not isinstance(n, bool) and 0 < n < math.inf
    ]
    if len(floats) != len(numbers) or len(floats) not in (1, 3) or sorted(floats) != floats:
        raise ValueError(f"{name}: {what} {json.dumps(value)}; allowed: low, mid and high, above 0")
    return floats[0], floats[len(floats) // 2], floats[-1]


def _list(value: object) -> Sequence[object]:
    if not is_array(value):
        raise ValueError(f"{value!r}; allowed: a list")
    return list(value)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{what} {value!r}; allowed: a text of one line")
    return value
