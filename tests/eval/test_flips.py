"""How often a gate's verdict flips between identical runs."""

from __future__ import annotations

import random

import pytest

from ragkit.errors import ConfigError
from ragkit_eval.reporting.flips import FlipRate, flip_rate
from ragkit_eval.reporting.gate import Gate, Rule
from ragkit_eval.running.finished import Run

from .made import made_run


def answered(seed: int, n: int, share: float, *, name: str = "run") -> Run:
    """Return a run of independent questions, four of each document."""
    rng = random.Random(seed)
    values = [float(rng.random() < share) for _ in range(n)]
    return made_run({"F1": values}, clusters=[str(i // 4) for i in range(n)], folder=name)


def of_floor(floor: float, run: Run, again: Run | None = None, *, n_pairs: int = 100) -> FlipRate:
    """Return the flip rate of a gate with one floor."""
    return flip_rate(Gate(rules=(Rule(measure="F1", floor=floor),)), run, again, n_pairs=n_pairs)


def test_verdicts_far_from_a_limit_are_steady() -> None:
    """Where the truth is far from the floor no pair differs, and no more questions are needed."""
    run = answered(1, 200, 0.9)
    found = of_floor(0.5, run)
    assert (found.verdict, found.exit_code, found.flips) == ("steady", 0, 0)
    assert (found.source, found.n_needed, found.verdicts["pass"]) == ("questions", 200, 1.0)
    failing = of_floor(0.99, run)
    assert (failing.verdict, failing.verdicts["fail"]) == ("steady", 1.0)


def test_verdicts_near_a_limit_flip_and_more_questions_help() -> None:
    """Near a limit pairs differ; about so many questions as it says make it steady."""
    floor = 0.75
    found = of_floor(floor, answered(2, 200, 0.82))
    assert (found.verdict, found.exit_code) == ("flaky", 4)
    assert found.n_needed is not None
    assert found.n_needed > 200
    rng = random.Random(3)
    values = [value for s in answered(2, 200, 0.82).scores if (value := s.values["F1"]) is not None]
    n = found.n_needed
    more = made_run({"F1": [rng.choice(values) for _ in range(n)]})
    assert of_floor(floor, more, n_pairs=40).rate <= 0.15


def test_the_flip_rate_is_that_of_verdicts_on_new_documents() -> None:
    """The rate of one run is near the rate of pairs of runs on documents truly drawn anew."""
    gate = Gate(rules=(Rule(measure="F1", floor=0.75),))
    pairs = [
        [gate.check(answered(seed, 100, 0.8)).verdict for seed in (2 * i, 2 * i + 1)]
        for i in range(100)
    ]
    true = sum(one != other for one, other in pairs) / 100
    mean = sum(of_floor(0.75, answered(seed, 100, 0.8), n_pairs=20).rate for seed in range(8)) / 8
    assert mean == pytest.approx(true, abs=0.2)


def test_two_equal_runs_never_flip() -> None:
    """What answers the same each time gets the same verdict each time, margins too."""
    run = answered(4, 80, 0.8)
    margin = Gate(rules=(Rule(measure="F1", margin=0.01), Rule(measure="F1", floor=0.78)))
    found = flip_rate(margin, run, run, n_pairs=80)
    assert (found.source, found.flips, found.verdict) == ("runs", 0, "steady")


def test_two_runs_that_waver_flip_a_strict_gate() -> None:
    """Answers that are drawn anew each time make a gate that is nearly met flip."""
    one, other = answered(5, 120, 0.85), answered(6, 120, 0.85)
    found = flip_rate(Gate(rules=(Rule(measure="F1", margin=0.05),)), one, other)
    assert found.flips > 0
    assert found.verdict != "steady"


def test_few_pairs_leave_it_unknown() -> None:
    """Ten pairs cannot show a rate below 5 %."""
    found = of_floor(0.5, answered(1, 60, 0.9), n_pairs=10)
    assert (found.verdict, found.exit_code) == ("unknown", 5)


def test_what_cannot_be_judged_is_refused() -> None:
    """Other questions, a margin without a second run, no measure, no pairs."""
    run = answered(1, 20, 0.9)
    with pytest.raises(ConfigError, match="different datasets"):
        of_floor(0.5, run, made_run({"F1": [1.0]}, sha256="other"))
    with pytest.raises(ConfigError, match="baseline"):
        flip_rate(Gate(rules=(Rule(measure="F1", margin=0.05),)), run)
    with pytest.raises(ConfigError, match="whatever the questions"):
        flip_rate(Gate(rules=(Rule(measure="EM", floor=0.5),)), run)
    with pytest.raises(ConfigError, match="pairs"):
        of_floor(0.5, run, n_pairs=0)


def test_a_baseline_is_drawn_with_its_run() -> None:
    """A margin on one run compares the same questions of the baseline, drawn together."""
    base = answered(7, 120, 0.7)
    better = made_run(
        {"F1": [1.0] * 120}, clusters=[score.cluster for score in base.scores], folder="new"
    )
    found = flip_rate(
        Gate(rules=(Rule(measure="F1", margin=0.02),)), better, baseline=base, n_pairs=80
    )
    assert (found.verdict, found.verdicts["pass"]) == ("steady", 1.0)
