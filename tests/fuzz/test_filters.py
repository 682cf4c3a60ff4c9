"""Filters: understood as a plain reading of the rules understands them, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit.filters import compile_filter
from ragkit.types import Json

from .lane import FUZZ, no_hang
from .mutating import HOSTILE_NUMBERS, json_values

FIELDS = ["a", "b", "a.b", "a.b.c", "", ".", "a.", "$in", "é"]
OPERATORS = ["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists"]
scalars: st.SearchStrategy[Json] = st.one_of(
    st.sampled_from([None, True, False, "", "a", "b", "1", 0, 1, 2, 1.0, 0.5, "\ud800"]),
    st.sampled_from(HOSTILE_NUMBERS),
)
metadata: st.SearchStrategy[Mapping[str, Json]] = st.dictionaries(
    st.sampled_from(FIELDS),
    st.one_of(
        scalars,
        st.lists(scalars, max_size=4),
        st.dictionaries(st.sampled_from(FIELDS[1:4]), scalars, max_size=2),
        json_values,
    ),
    max_size=4,
)
conditions: st.SearchStrategy[Json] = st.one_of(
    scalars,
    st.dictionaries(
        st.sampled_from(OPERATORS),
        st.one_of(scalars, st.lists(scalars, max_size=4), st.booleans()),
        min_size=1,
        max_size=3,
    ),
)
filters = st.dictionaries(st.sampled_from(FIELDS), conditions, max_size=3)
_NOTHING = object()


def kind(value: object) -> str:
    """Return what a value is compared as."""
    if value is None or isinstance(value, bool):
        return str(type(value))
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "none of these"


def meets(found: object, operator: str, operand: object) -> bool:
    """Say whether one value meets one condition, as the documentation reads."""
    if operator in {"$in", "$nin"}:
        return any(meets(found, "$eq", one) for one in cast("Sequence[object]", operand))
    if kind(found) != kind(operand):
        return False
    if operator in {"$eq", "$ne"}:
        return found == operand
    if kind(found) not in {"number", "text"}:
        return False
    left, right = cast("float", found), cast("float", operand)
    return {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}[
        operator
    ]


def passes(filters: Mapping[str, Json], data: Mapping[str, Json]) -> bool:
    """Evaluate a filter as the documentation reads, one condition after the other."""
    for field, condition in filters.items():
        found: object = data.get(field, _NOTHING)
        if found is _NOTHING:
            found = data
            for part in field.split("."):
                held = cast("dict[str, object]", found if isinstance(found, dict) else {})
                found = held.get(part, _NOTHING)
        tests = condition if isinstance(condition, dict) else {"$eq": condition}
        for operator, operand in cast("Mapping[str, object]", tests).items():
            if operator == "$exists":
                holds = (found is not _NOTHING) == operand
            else:
                values = cast("list[object]", found if isinstance(found, list) else [found])
                holds = any(meets(value, operator, operand) for value in values)
                holds = holds != (operator in {"$ne", "$nin"})
            if not holds:
                return False
    return True


@FUZZ
@given(filters, metadata)
def test_filters_mean_what_is_documented(
    filters: Mapping[str, Json], data: Mapping[str, Json]
) -> None:
    """A filter that is understood passes what a plain reading of the rules passes."""
    try:
        predicate = compile_filter(filters)
    except ConfigError:
        return
    assert predicate(data) == passes(filters, data)


@FUZZ
@given(
    st.dictionaries(
        st.text(max_size=4),
        st.one_of(json_values, st.dictionaries(st.sampled_from(OPERATORS), json_values)),
    ),
    metadata,
)
def test_any_json_is_understood_or_refused(
    filters: Mapping[str, Json], data: Mapping[str, Json]
) -> None:
    """Any JSON object as a filter is a predicate, or a `ConfigError`; never anything else."""
    with no_hang():
        try:
            predicate = compile_filter(filters)
        except ConfigError:
            return
        assert predicate(data) in {True, False}
