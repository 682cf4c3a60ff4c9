"""Metadata filters: one meaning for every store.

A filter is `{field: value}` or `{field: {operator: operand, …}}`; all conditions must hold. A
field is a metadata key, or a dotted path into nested objects. A list in the metadata satisfies a
condition if one of its elements does. Values of different kinds are never equal nor ordered:
text compares with text, numbers with numbers, true and false only with themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeGuard

from ragkit.errors import ConfigError
from ragkit.types import Json, Metadata

Predicate: TypeAlias = Callable[[Metadata], bool]
_Test: TypeAlias = Callable[[object], bool]

_MISSING = object()


def compile_filter(filters: Mapping[str, Json]) -> Predicate:
    """Return a predicate over a document's metadata.

    Raises:
        ConfigError: an operator is unknown or its operand has the wrong kind.
    """
    conditions = [
        (field, tuple(field.split(".")), _compile_condition(field, value))
        for field, value in filters.items()
    ]

    def passes(metadata: Metadata) -> bool:
        return all(test(_lookup(metadata, field, path)) for field, path, test in conditions)

    return passes


def _compile_condition(field: str, value: Json) -> _Test:
    if not isinstance(value, Mapping):
        return _operators()["$eq"](field, value)
    tests: list[_Test] = []
    for name, operand in value.items():
        make = _operators().get(name)
        if make is None:
            allowed = " ".join(_operators())
            raise ConfigError(f"filter on {field!r}: unknown operator {name!r}; allowed: {allowed}")
        tests.append(make(field, operand))
    if not tests:
        raise ConfigError(f"filter on {field!r} is an empty object; give a value or an operator")
    return lambda found: all(test(found) for test in tests)


def _operators() -> dict[str, Callable[[str, Json], _Test]]:
    return {
        "$eq": lambda field, operand: _any(_equal(_scalar(field, operand))),
        "$ne": lambda field, operand: _negate(_any(_equal(_scalar(field, operand)))),
        "$in": lambda field, operand: _any(_member(field, operand)),
        "$nin": lambda field, operand: _negate(_any(_member(field, operand))),
        "$gt": lambda field, operand: _any(_ordered(field, operand, lambda sign: sign > 0)),
        "$gte": lambda field, operand: _any(_ordered(field, operand, lambda sign: sign >= 0)),
        "$lt": lambda field, operand: _any(_ordered(field, operand, lambda sign: sign < 0)),
        "$lte": lambda field, operand: _any(_ordered(field, operand, lambda sign: sign <= 0)),
        "$exists": _exists,
    }


def _scalar(field: str, operand: Json) -> Json:
    if isinstance(operand, Mapping) or (
        isinstance(operand, Sequence) and not isinstance(operand, str)
    ):
        raise ConfigError(f"filter on {field!r}: {operand!r} is not a single value")
    return operand


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "null" if value is None else "other"


def _equal(operand: Json) -> _Test:
    return lambda value: _kind(value) == _kind(operand) and value == operand


def _member(field: str, operand: Json) -> _Test:
    if not isinstance(operand, Sequence) or isinstance(operand, str):
        raise ConfigError(f"filter on {field!r}: $in and $nin take a list, not {operand!r}")
    values = [_scalar(field, value) for value in operand]
    # NaN, which equals nothing, would be found in a set, since sets compare identity first.
    hashed = frozenset((_kind(v), v) for v in values if _kind(v) != "other" and v == v)  # noqa: PLR0124
    others = [_equal(v) for v in values if _kind(v) == "other"]

    def holds(value: object) -> bool:
        kind = _kind(value)
        return any(test(value) for test in others) if kind == "other" else (kind, value) in hashed

    return holds


def _ordered(field: str, operand: Json, wanted: Callable[[int], bool]) -> _Test:
    kind = _kind(operand)
    if kind not in {"number", "text"}:
        raise ConfigError(
            f"filter on {field!r}: cannot order by {operand!r}; give a number or text"
        )

    def test(value: object) -> bool:
        if _kind(value) != kind:
            return False
        if isinstance(value, str) and isinstance(operand, str):
            return wanted((value > operand) - (value < operand))
        return (
            isinstance(value, int | float)
            and isinstance(operand, int | float)
            and wanted((value > operand) - (value < operand))
        )

    return test


def _exists(field: str, operand: Json) -> _Test:
    if not isinstance(operand, bool):
        raise ConfigError(f"filter on {field!r}: $exists takes true or false, not {operand!r}")
    return lambda found: (found is not _MISSING) == operand


def _any(test: _Test) -> _Test:
    def holds(found: object) -> bool:
        if found is _MISSING:
            return False
        if _is_sequence(found):
            return any(map(test, found))
        return test(found)

    return holds


def _negate(test: _Test) -> _Test:
    return lambda found: not test(found)


def _lookup(metadata: Metadata, field: str, path: Sequence[str]) -> object:
    if field in metadata:
        return metadata[field]
    value: object = metadata
    for part in path:
        if not _is_mapping(value):
            return _MISSING
        value = value.get(part, _MISSING)
    return value


def _is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)
