"""The labels that a row of questions may carry: strings that are needed, documents, history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ragkit.errors import ConfigError
from ragkit.text.jsontext import as_objects
from ragkit.types import Json, Turn
from ragkit_eval.data.texts import squeezed

Needs: TypeAlias = tuple[tuple[str, ...], ...]
"""Needs, all of which must be met; of the alternatives of each, any one suffices."""

_BETWEEN_ALTERNATIVES = " || "
_READ = frozenset(
    {"_id", "id", "text", "question", "answer", "answers", "metadata", "unanswerable", "needs",
     "docs", "history", "spans", "document_id", "start", "end"}
)  # fmt: skip


def needs_of(where: str, row: Mapping[str, Json]) -> Needs:
    """Return the needs of a row; raises `ConfigError`.

    In a sheet they are the lines of a cell, and alternatives are joined by ` || `.
    """
    given = row.get("needs")
    if isinstance(given, str):
        given = [line.split(_BETWEEN_ALTERNATIVES) for line in _lines(given)]
    needs: list[tuple[str, ...]] = []
    for need in _list(where, "needs", given):
        alternatives = [need] if isinstance(need, str) else _list(where, "needs", need)
        texts = tuple(text for text in alternatives if isinstance(text, str) and squeezed(text))
        if not texts or len(texts) < len(alternatives):
            raise ConfigError(f"{where}: need {need!r}; allowed: a list of texts, none blank")
        needs.append(texts)
    return tuple(needs)


def documents_of(where: str, row: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the ids of the documents that meet the needs; in a sheet one a line.

    Raises:
        ConfigError: it is no list of ids.
    """
    given = row.get("docs")
    return tuple(map(str, _list(where, "docs", _lines(given) if isinstance(given, str) else given)))


def history_of(where: str, row: Mapping[str, Json]) -> tuple[Turn, ...]:
    """Return the earlier turns of the conversation; raises `ConfigError`."""
    from ragkit.pipeline.history import read_turns

    try:
        turns = as_objects(row.get("history") or ())
        return tuple(
            read_turns([{k: v for k, v in t.items() if isinstance(v, str)} for t in turns])
        )
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{where}: history: {error}") from None


def metadata_of(where: str, row: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the metadata of a row, its other fields included; raises `ConfigError`."""
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise ConfigError(f"{where}: metadata {metadata!r}; allowed: an object")
    others = {
        name: value
        for name, value in row.items()
        if name not in _READ and isinstance(value, str | int | float)
    }
    return {**others, **metadata}


def _lines(cell: str) -> list[str]:
    return [line for line in cell.splitlines() if line.strip()]


def _list(where: str, name: str, given: Json) -> Sequence[Json]:
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{where}: {name} {given!r}; allowed: a list")
    return given
