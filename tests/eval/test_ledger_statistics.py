"""Differences of ledgers and changes within one, on made-up streams whose truth is known."""

# pytest.approx has no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import random
from statistics import median

import pytest

from ragkit_eval.reporting.ledger_diff import Difference, differences, gather
from ragkit_eval.reporting.ledger_drift import drift
from ragkit_eval.stats.drift import HORIZON, LEARNING, Alarm, RankWatch, ShareWatch, Watch

from ..ledgers import ask, varied


def found(a_seed: int, b_seed: int, n: int, tokens: float = 500.0) -> dict[str, Difference]:
    """Return the differences of two made-up ledgers by measure."""
    a, b = varied(n, seed=a_seed), varied(n, seed=b_seed, tokens=tokens)
    return {d.measure: d for d in differences(gather(a), gather(b))}


def test_a_difference_has_an_interval_that_holds_it() -> None:
    """Of 100 pairs of ledgers that differ by 40 tokens, 95 % intervals hold that in most."""
    results = [found(i, 1_000 + i, 60, 540.0)["input_tokens"] for i in range(100)]
    held = sum(d.low is not None and d.low <= 40.0 <= (d.high or 0.0) for d in results)
    assert held >= 88  # 95 of 100 are expected; fewer than 88 in less than 1 of 300 seeds
    assert {d.verdict for d in results} <= {"higher", "no difference shown"}


def test_shares_have_newcombes_interval() -> None:
    """Newcombe 1998, table II, example (a): 56 of 70 and 48 of 80."""
    a = gather([ask(refused=i < 48) for i in range(80)])
    b = gather([ask(refused=i < 56) for i in range(70)])
    refused = {d.measure: d for d in differences(a, b)}["refused"]
    assert refused.difference == pytest.approx(0.2)
    assert (refused.low, refused.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert refused.verdict == "higher"


def test_few_answers_have_no_interval() -> None:
    """The means are shown, and that they are of too few."""
    result = found(1, 2, 10)
    assert {d.verdict for d in result.values()} == {"too few"}
    assert result["seconds"].difference is not None


def test_unknown_joules_are_left_out() -> None:
    """An answer of unknown energy is no answer of 0 J."""
    a = gather([ask(joules=None), ask(joules=10.0)])
    joules = {d.measure: d for d in differences(a, gather([]))}["joules"]
    assert (joules.a, joules.n_a, joules.b, joules.difference) == (10.0, 1, None, None)


def first_alarm(watch: Watch, values: list[float]) -> Alarm | None:
    """Return the first alarm."""
    return next(filter(None, map(watch.add, values)), None)


def shares(seed: int, *pieces: tuple[int, float]) -> list[float]:
    """Return 0s and 1s, in pieces of a length and a share each."""
    rng = random.Random(seed)
    return [float(rng.random() < share) for n, share in pieces for _ in range(n)]


@pytest.mark.slow
def test_steady_answers_raise_few_alarms() -> None:
    """Over 10,000 steady answers each, in 40 streams: at most 5 % are expected to alarm."""
    n_alarmed = 0
    for seed in range(40):
        rng = random.Random(seed)
        refused = first_alarm(ShareWatch(), shares(seed, (HORIZON, 0.02)))
        tokens = first_alarm(
            RankWatch(), [float(int(rng.lognormvariate(4.0, 0.6))) for _ in range(HORIZON)]
        )
        support = first_alarm(
            RankWatch(), [round(rng.betavariate(5.0, 2.0), 3) for _ in range(HORIZON)]
        )
        n_alarmed += any((refused, tokens, support))
    assert n_alarmed <= 5  # more than 5 of 40 at 5 %: less than 1 in 70 sets of seeds


def test_more_refusals_are_found_within_a_hundred() -> None:
    """Refusals of 2 % that become 15 %: most are found within 100 answers, half within 60."""
    delays: list[int] = []
    for seed in range(100):
        values = shares(seed, (1_000, 0.02), (300, 0.15))
        alarm = first_alarm(ShareWatch(), values)
        assert alarm is not None
        assert alarm.direction == "up"
        delays.append(alarm.n - 1_000)
    assert sum(0 < delay <= 100 for delay in delays) >= 80
    assert median(delays) <= 60


def test_shorter_answers_and_weaker_support_are_found() -> None:
    """A shift by one standard deviation is found within 100 values, in its direction."""
    for seed in range(10):
        rng = random.Random(seed)
        values = [rng.gauss(100.0, 20.0) for _ in range(500)]
        values += [rng.gauss(80.0, 20.0) for _ in range(100)]
        alarm = first_alarm(RankWatch(), values)
        assert alarm is not None
        assert (alarm.direction, alarm.n > 500) == ("down", True)
        assert alarm.after < alarm.before


def test_a_ledger_is_watched_by_its_proxies() -> None:
    """Too few values say so; a change of refusals is one alarm with its time."""
    assert drift(varied(50, seed=1)).to_dict()["watched"] == {
        "output_tokens": False, "refused": False, "support": False
    }  # fmt: skip
    lines = varied(LEARNING + 200, seed=2) + varied(100, seed=3, refused=0.5)
    alarms = [alarm for alarm in drift(lines).alarms if alarm["proxy"] == "refused"]
    assert len(alarms) == 1
    assert (alarms[0]["direction"], alarms[0]["time"]) == ("up", "2026-03-02T12:00:00Z")


def test_unknown_costs_are_left_out() -> None:
    """A line without seconds, CPU seconds or joules says nothing of them, and is not 0."""
    lines = [
        ask(seconds=2.0),
        {**ask(), "receipt": {"joules": {"low": 1.0}}},
    ]
    found = {d.measure: d for d in differences(gather(lines), gather(lines))}
    assert (found["seconds"].a, found["seconds"].n_a) == (2.0, 1)
    assert (found["cpu_seconds"].n_a, found["joules"].n_a) == (1, 1)
