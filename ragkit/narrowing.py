"""Type guards for values that were read from JSON or TOML."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from ragkit.types import Json


def is_object(value: object) -> TypeGuard[dict[str, Json]]:
    """Whether a value is an object (a table of TOML)."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Json]]:
    """Whether a value is an array."""
    return isinstance(value, list)
