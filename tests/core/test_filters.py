"""Metadata filters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit.filters import compile_filter
from ragkit.types import Json

METADATA: dict[str, Json] = {
    "year": 2024,
    "lang": "en",
    "draft": False,
    "tags": ["a", "b"],
    "author": {"name": "Ida"},
    "none": None,
}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, True),
        ({"year": 2024}, True),
        ({"year": 2024.0}, True),
        ({"year": "2024"}, False),
        ({"draft": 0}, False),
        ({"draft": False}, True),
        ({"tags": "b"}, True),
        ({"tags": "c"}, False),
        ({"author.name": "Ida"}, True),
        ({"none": None}, True),
        ({"absent": None}, False),
        ({"year": {"$ne": 2023}}, True),
        ({"absent": {"$ne": 1}}, True),
        ({"year": {"$in": [2023, 2024]}}, True),
        ({"year": {"$nin": [2023, 2024]}}, False),
        ({"year": {"$gt": 2023, "$lt": 2025}}, True),
        ({"year": {"$gt": 2024}}, False),
        ({"year": {"$gte": 2024, "$lte": 2024}}, True),
        ({"lang": {"$gt": "de"}}, True),
        ({"lang": {"$gt": 1}}, False),
        ({"draft": {"$lt": 1}}, False),
        ({"year": {"$exists": True}}, True),
        ({"absent": {"$exists": False}}, True),
        ({"year": 2024, "lang": "de"}, False),
    ],
)
def test_operators(filters: dict[str, Json], passes: bool) -> None:
    """Each operator compares values of one kind, and all conditions must hold."""
    assert compile_filter(filters)(METADATA) is passes


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        ({"a": {"$regex": "x"}}, "$regex"),
        ({"a": {}}, "empty"),
        ({"a": {"$in": "x"}}, "list"),
        ({"a": {"$gt": True}}, "order"),
        ({"a": {"$exists": 1}}, "true or false"),
        ({"a": {"$eq": [1]}}, "single"),
    ],
)
def test_malformed_filters_name_the_fault(filters: dict[str, Json], named: str) -> None:
    """A filter that cannot be understood is refused before any document is looked at."""
    with pytest.raises(ConfigError, match=named.replace("$", r"\$")):
        compile_filter(filters)


_values = st.one_of(st.integers(-3, 3), st.text("ab", max_size=2), st.booleans(), st.none())


@given(st.dictionaries(st.sampled_from("xyz"), _values), st.sampled_from("xyz"), _values)
def test_ne_is_the_negation_of_eq(metadata: dict[str, Json], field: str, value: Json) -> None:
    """A document passes exactly one of `$eq` and `$ne`."""
    eq = compile_filter({field: {"$eq": value}})(metadata)
    ne = compile_filter({field: {"$ne": value}})(metadata)
    assert eq is not ne


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, -0.0, 1.0, 1.5, 2.0**53]),
    st.floats(), st.sampled_from([2**53, 2**53 + 1, 10**400]), st.sampled_from(["", "1", "a"]),
)  # fmt: skip


@given(
    found=st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.just({"a": 1})),
    values=st.lists(SCALARS, max_size=6),
)
def test_one_of_many_is_equal_to_one_of_them(found: Json, values: list[Json]) -> None:
    """`$in` holds where `$eq` of one of its values does, not-a-number and true against 1 too."""
    metadata = {"a": found, "nan": math.nan}
    expected = any(compile_filter({"a": value})(metadata) for value in values)
    assert compile_filter({"a": {"$in": values}})(metadata) is expected
    assert compile_filter({"a": {"$nin": values}})(metadata) is not expected
    assert not compile_filter({"nan": {"$in": [metadata["nan"], *values]}})(metadata)
