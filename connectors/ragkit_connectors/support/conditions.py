"""ragkit's filters as single conditions, for stores with a filter language of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ragkit.filters import compile_filter
from ragkit.types import Json


class NothingPassesError(Exception):
    """A filter that no document can pass, so that nothing need be asked."""


def conditions(filters: Mapping[str, Json] | None) -> Iterator[tuple[str, str, Json]]:
    """Yield field, operator and operand of each condition; all of them must hold.

    Raises:
        ConfigError: an operator is unknown to ragkit or its operand has the wrong kind.
    """
    compile_filter(filters or {})
    for field, condition in (filters or {}).items():
        tests = condition if isinstance(condition, Mapping) else {"$eq": condition}
        for operator, operand in tests.items():
            yield field, operator, operand


def operands(operand: Json) -> Sequence[Json]:
    """Return the values of an operand that is a list, none for any other."""
    if isinstance(operand, str) or not isinstance(operand, Sequence):
        return ()
    return operand
