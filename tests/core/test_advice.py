"""What holds of all advice: within the law, never worse, bounds that hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.advice.hosting import Managed, SelfHosted, advise_hosting
from ragkit.advice.instances import instance_names, instance_watts
from ragkit.advice.quantiles import least_lines, upper_bound
from ragkit.advice.region import Workload, advise_region
from ragkit.regions import find_region, region_names

NAMES = st.sampled_from(region_names())
ALLOWED = st.lists(NAMES, min_size=1, max_size=8, unique=True)
AMOUNT = st.floats(0.0, 1e6)
LOADS = st.builds(
    Workload,
    kwh_a_month=st.none() | AMOUNT,
    months=st.floats(0.1, 120.0),
    data=NAMES,
    data_gb=AMOUNT,
    users=st.none() | NAMES,
)


@given(ALLOWED, LOADS)
def test_advice_stays_within_the_law(allowed: list[str], workload: Workload) -> None:
    """No Region outside the list is ever named, compared or chosen."""
    advice = advise_region(allowed, workload)
    assert {str(entry["region"]) for entry in advice.considered} == set(allowed)
    if advice.advice is not None:
        names = advice.advice["regions"]
        assert isinstance(names, list)
        assert set(map(str, names)) <= set(allowed)
        assert advice.advice["region"] in [None, *names]


@given(ALLOWED, LOADS)
def test_a_move_never_emits_more_than_staying(allowed: list[str], workload: Workload) -> None:
    """Where the energy is given and staying is allowed, a move that is advised is surely less."""
    home = str(workload.data)
    advice = advise_region([*allowed, home], workload)
    if advice.advice is None or workload.kwh_a_month is None:
        return
    chosen = advice.advice["region"]
    if chosen in {None, home}:
        return
    stay = workload.kwh_a_month * workload.months * find_region(home).bounds[0]
    there = find_region(str(chosen)).bounds[2]
    move = workload.kwh_a_month * workload.months * there + workload.data_gb * 0.06 * there
    assert move <= stay * (1 + 1e-9)


@given(ALLOWED)
def test_regions_that_are_advised_are_below_all_others(allowed: list[str]) -> None:
    """The best of them lies, at its highest figure, below every other's lowest."""
    advice = advise_region(allowed, Workload())
    if advice.advice is None:
        return
    names = advice.advice["regions"]
    assert isinstance(names, list)
    best = min(find_region(str(name)).bounds[2] for name in names)
    assert all(find_region(name).bounds[0] > best for name in set(allowed) - set(map(str, names)))


@pytest.mark.parametrize("n", [1, 58, 59, 298, 299, 1_000, 20_000])
@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_the_bound_of_a_quantile_is_that_of_the_binomial(n: int, share: float) -> None:
    """An independent implementation of the binomial quantile gives the same rank."""
    stats = pytest.importorskip("scipy.stats")
    rank = int(stats.binom.ppf(0.95, n, share)) + 1
    found = upper_bound(range(1, n + 1), share)
    assert found == (rank if rank <= n else None)
    assert (found is None) == (n < least_lines(share))


@given(
    joules=st.floats(0.01, 1e4), idle=st.floats(0.0, 500.0), more=st.floats(0.0, 500.0),
    spread=st.floats(0.0, 2000.0), busy=st.floats(0.01, 600.0), load=st.floats(0.01, 1e6),
)  # fmt: skip
def test_hosting_chooses_what_takes_less_energy(
    *, joules: float, idle: float, more: float, spread: float, busy: float, load: float
) -> None:
    """Where energy decides, the other choice takes at least as much, at both bounds."""
    managed = Managed(joules=(joules, joules + spread))
    own = SelfHosted(
        idle_watts=(idle, idle), full_watts=(idle + more, idle + more), busy_seconds=busy
    )
    advice = advise_hosting(managed, own, questions_an_hour=load)
    found = (advice.advice or advice.considered[0])["energy"]
    assert isinstance(found, dict)
    an_hour = [pue * (idle * 3600 + more * busy * load) for pue in (1.04, 1.58)]
    if found["choose"] == "self-hosted":
        assert load * joules >= an_hour[1] * (1 - 1e-9)
    elif found["choose"] == "managed" and load * busy <= 3600:
        assert load * (joules + spread) <= an_hour[0] * (1 + 1e-9)


@pytest.mark.parametrize("name", instance_names())
def test_watts_of_instances_are_ranges_or_unknown(name: str) -> None:
    """Idle is below full; accelerators without published watts make the whole unknown."""
    watts = instance_watts(name)
    if name.startswith(("inf2", "trn1")):
        assert (watts.idle, watts.full) == (None, None)
    else:
        assert watts.idle is not None
        assert watts.full is not None
        assert 0 < watts.idle[0] <= watts.idle[1] < watts.full[0] <= watts.full[1]
