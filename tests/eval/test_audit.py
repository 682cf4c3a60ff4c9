"""What a published share can mean: counts, intervals and what can be told apart."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit_eval.stats.audit import audit, count_of


@st.composite
def shares(draw: st.DrawFn) -> tuple[int, int]:
    """Draw a count and of how many."""
    n = draw(st.integers(1, 5000))
    return draw(st.integers(0, n)), n


@given(shares(), st.integers(4, 12))
def test_a_printed_share_gives_its_count_back(share: tuple[int, int], decimals: int) -> None:
    """Four decimals recover every count of up to 5,000 questions, in each notation."""
    k, n = share
    printed = (Decimal(k) / Decimal(n)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    for given_value in (str(printed), f"{printed.scaleb(2)}%", f"{k}/{n}", k / n, f"{printed:e}"):
        assert count_of("value", given_value, n).k == k, given_value


@given(shares(), st.integers(1, 3))
def test_rounded_shares_name_all_counts_that_print_so(
    share: tuple[int, int], decimals: int
) -> None:
    """The true count is always among them, and each of them is within half a unit."""
    k, n = share
    printed = str((Decimal(k) / Decimal(n)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))
    found = count_of("value", printed, n)
    assert found.k is not None
    assert found.k_low <= k <= found.k_high
    assert found.k_low <= found.k <= found.k_high
    half_unit = 0.5 * 10**-decimals
    for count in (found.k_low, found.k_high):
        assert abs(count / n - float(printed)) <= half_unit + 1e-9


@pytest.mark.parametrize(("k", "n"), [(7, 50), (29, 100), (57, 300), (594, 1000)])
def test_counts_are_not_rounded_up(k: int, n: int) -> None:
    """Where n x (k/n) is a little more than k in floating point the count is still k."""
    assert count_of("value", k / n, n).k == k


def test_a_share_of_another_number_is_none_of_this_one() -> None:
    """0.873 is no share of 50; the interval then covers both counts around it."""
    found = audit(50, "0.873")
    assert (found.value.k, found.value.k_low, found.value.k_high) == (None, 43, 44)
    assert found.readings[0].low == audit(50, "43/50").readings[0].low
    assert found.readings[0].high == audit(50, "44/50").readings[0].high


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nan",
        "-0.1",
        "1.1",
        "87",
        "9/10",
        "1/0",
        "0x1",
        "1e99999",
        "0.5.5",
        "٠.٥",
        "%",
        "1" * 50,
    ],
)
def test_what_is_no_share_is_refused(value: str) -> None:
    """A message names what is allowed."""
    with pytest.raises(ConfigError, match="allowed"):
        audit(20, value)


def test_ranges_are_checked() -> None:
    """A number of questions, documents and a correlation have ranges."""
    for n, clusters, icc in (
        (0, None, None),
        (9, 10, None),
        (9, 0, None),
        (9, None, 0.1),
        (9, 3, 2.0),
    ):
        with pytest.raises(ConfigError):
            audit(n, "1", clusters=clusters, icc=icc)


@given(shares(), st.integers(1, 60), st.floats(0.0, 1.0))
def test_correlated_questions_say_less(share: tuple[int, int], clusters: int, icc: float) -> None:
    """Under clustering the interval only widens, and what can be resolved only grows."""
    k, n = share
    alone, together = audit(n, f"{k}/{n}", clusters=min(clusters, n), icc=icc).readings
    assert 0.0 <= together.low <= alone.low + 1e-9
    assert alone.high - 1e-9 <= together.high <= 1.0
    assert together.low <= k / n + 1e-9 <= together.high + 2e-9
    for name in ("least", "independent", "most"):
        more, less = getattr(together.detectable, name), getattr(alone.detectable, name)
        assert more is None or (less is not None and more >= less - 1e-9)


@given(shares(), st.data())
def test_cases_are_in_order(share: tuple[int, int], data: st.DataObject) -> None:
    """The more questions change, the harder a difference is to find."""
    k, n = share
    base = data.draw(st.integers(0, n))
    reading = audit(n, f"{k}/{n}", f"{base}/{n}").readings[0]
    for cases in (reading.detectable, reading.n_needed):
        known = [math.inf if x is None else x for x in (cases.least, cases.independent, cases.most)]
        assert known == sorted(known) or known[1] <= known[0] + 1e-6
    assert reading.compared is not None
    if k == base:
        assert reading.compared.distinguishable == "no"
        assert reading.n_needed.least is None


def test_intervals_are_those_of_scipy() -> None:
    """The exact interval and the one-sided bound agree with scipy's quantiles."""
    stats = pytest.importorskip("scipy.stats")
    for k, n in ((0, 10), (10, 10), (174, 200), (19, 20), (431, 500)):
        reading = audit(n, f"{k}/{n}").readings[0]
        exact = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        assert reading.low == pytest.approx(exact.low, abs=1e-9)
        assert reading.high == pytest.approx(exact.high, abs=1e-9)
        one_sided = stats.beta.ppf(0.05, k, n - k + 1) if k else 0.0
        assert reading.at_least == pytest.approx(one_sided, abs=1e-9)


def test_what_is_distinguishable_is_so_by_the_exact_sign_test() -> None:
    """The largest number of changed questions is the last that scipy's binomial test rejects at."""
    stats = pytest.importorskip("scipy.stats")
    seen: set[str] = set()
    for n, k, base in (
        (100, 87, 80),
        (200, 180, 120),
        (200, 174, 170),
        (500, 400, 370),
        (30, 30, 20),
    ):
        compared = audit(n, f"{k}/{n}", f"{base}/{n}").readings[0].compared
        assert compared is not None
        gap, most = abs(k - base), min(k, base, n - k, n - base)
        rejected = [
            gap + 2 * x
            for x in range(most + 1)
            if stats.binomtest(x, gap + 2 * x, 0.5).pvalue <= 0.05
        ]
        assert compared.largest_discordance == (rejected[-1] if rejected else None)
        assert compared.most_discordance == gap + 2 * most
        expected = "no" if not rejected else "yes" if len(rejected) == most + 1 else "depends"
        assert compared.distinguishable == expected
        seen.add(expected)
    assert seen == {"yes", "no", "depends"}


def test_what_is_needed_is_needed() -> None:
    """Six gained questions are found: with the power at the number needed, not with fewer."""
    stats = pytest.importorskip("scipy.stats")
    needed = audit(200, "180/200", "160/200").readings[0].n_needed.least
    assert needed is not None
    assert stats.binom.sf(5, int(needed), 0.1) >= 0.8 > stats.binom.sf(5, int(needed) - 1, 0.1)
