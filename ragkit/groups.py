"""Names of groups: who may see a document, and who asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from typing import TypeGuard

from ragkit.errors import ConfigError

PUBLIC = "public"
"""A document of this group is visible to every query that states groups, whatever they are."""

MAX_GROUPS = 10_000
"""Groups of one document or query: more are a mistake, and cost time in every search."""

MAX_GROUP_CHARACTERS = 1_000


def names_of(value: object, what: str = "groups") -> tuple[str, ...]:
    """Return a sequence or set of names as a tuple.

    Raises:
        ConfigError: it is a single string, whose letters would be taken for names, or anything
            other than a collection of texts.
    """
    if not _is_collection(value):
        raise ConfigError(f"{what} {_short(value)}; allowed: a list of names, such as ['board']")
    names: list[str] = []
    for name in value:
        if not isinstance(name, str):
            raise ConfigError(f"{what}: {_short(name)} is no name; allowed: texts")
        names.append(name)
    return tuple(names)


def group_names(value: object, what: str = "groups") -> tuple[str, ...]:
    """Return names of groups, each once.

    Raises:
        ConfigError: as `names_of` does, or a name is empty, too long or not valid Unicode, or there
            are too many.
    """
    names = tuple(dict.fromkeys(names_of(value, what)))
    if len(names) > MAX_GROUPS:
        raise ConfigError(f"{what}: {len(names):,} names; allowed: {MAX_GROUPS:,}")
    for name in names:
        if not 1 <= len(name) <= MAX_GROUP_CHARACTERS:
            raise ConfigError(
                f"{what}: a name of {len(name)} characters; allowed: 1 to {MAX_GROUP_CHARACTERS}"
            )
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{what}: {_short(name)} holds half of a surrogate pair") from None
    return names


def readers_of(groups: object) -> tuple[str, ...] | None:
    """Return the groups of a reader, each once; None where none were stated."""
    return None if groups is None else group_names(groups)


def narrowed(groups: tuple[str, ...] | None, by: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the groups in both collections; None means unspecified, which restricts nothing."""
    if groups is None or by is None:
        return by if groups is None else groups
    others = frozenset(by)
    return tuple(name for name in groups if name in others)


def _is_collection(value: object) -> TypeGuard[Collection[object]]:
    if isinstance(value, (tuple, list)):
        return True
    single = isinstance(value, str | bytes | bytearray)
    return not single and isinstance(value, Sequence | Set)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"
