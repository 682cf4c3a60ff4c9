"""Connectors to outside systems, opened by name; files here do not import each other."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from ragkit.errors import ConfigError, MissingExtraError
from ragkit.types import Embedder, Generator

_Factory: TypeAlias = Callable[..., object]


@dataclass(frozen=True, slots=True)
class _Connector:
    module: str
    factory: str
    needs: str | None = None
    extra: str = ""


_GENERATORS = {
    "openai": _Connector("ragkit_connectors.openai", "OpenAIGenerator"),
}
_EMBEDDERS = {
    "sentence-transformers": _Connector(
        "ragkit_connectors.sentence_transformers",
        "SentenceTransformersEmbedder",
        needs="sentence_transformers",
        extra="sentence-transformers",
    ),
}


def open_generator(name: str, **settings: object) -> Generator:
    """Open a generator such as `openai:MODEL`.

    Raises:
        ConfigError: there is no such kind, or a setting is not one of its.
        MissingExtraError: its library is not installed.
    """
    return cast("Generator", _open("generators", _GENERATORS, name, settings))


def open_embedder(name: str, **settings: object) -> Embedder:
    """Open an embedder such as `sentence-transformers:NAME-OR-PATH`.

    Raises:
        ConfigError: there is no such kind, or a setting is not one of its.
        MissingExtraError: its library is not installed.
    """
    return cast("Embedder", _open("embedders", _EMBEDDERS, name, settings))


def _open(
    group: str, table: dict[str, _Connector], name: str, settings: dict[str, object]
) -> object:
    kind, colon, argument = name.partition(":")
    connector = table.get(kind)
    if connector is None:
        factory = _third_party(group, kind)
        if factory is None:
            allowed = " ".join(f"{known}:NAME" for known in table)
            raise ConfigError(f"{group[:-1]} {name!r}; allowed: built-in names, {allowed}")
    else:
        if connector.needs and importlib.util.find_spec(connector.needs) is None:
            raise MissingExtraError(connector.needs, extra=connector.extra)
        factory = getattr(importlib.import_module(connector.module), connector.factory)
    if not colon or not argument:
        raise ConfigError(f"{group[:-1]} {name!r} names no model; write {kind}:NAME")
    try:
        return factory(argument, **settings)
    except TypeError as error:
        raise ConfigError(f"{group[:-1]} {name!r}: {error}") from error


def _third_party(group: str, kind: str) -> _Factory | None:
    """Look among the entry points `ragkit.generators`, `ragkit.embedders` of other packages."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=f"ragkit.{group}"):
        if entry.name == kind:
            return cast("_Factory", entry.load())
    return None
