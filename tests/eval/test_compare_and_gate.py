"""Comparisons and gates: they find what is there, and fail closed."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit_eval.reporting.comparison import compare
from ragkit_eval.reporting.gate import Gate, Rule
from ragkit_eval.running.finished import Run

from .made import made_run

MARGIN = Gate(rules=(Rule(measure="F1", margin=0.02),), resamples=400)


def answered(rng: random.Random, n: int, share: float = 0.8) -> list[float]:
    """Return 0/1 values of so many questions."""
    return [float(rng.random() < share) for _ in range(n)]


def asked_again(rng: random.Random, base: list[float], *, noise: float, loss: float) -> list[float]:
    """Return values of a second run: some answers redrawn, some right ones lost."""
    right = sum(base) / len(base)
    values: list[float] = []
    for value in base:
        if rng.random() < noise:
            values.append(float(rng.random() < right))
        else:
            values.append(0.0 if value and rng.random() < loss / right else value)
    return values


def verdicts(*, noise: float, loss: float, n: int = 500, times: int = 200) -> Counter[str]:
    """Return the gate's verdicts over simulated pairs of runs."""
    rng = random.Random(11)
    found = Counter[str]()
    for _ in range(times):
        base = answered(rng, n)
        new = asked_again(rng, base, noise=noise, loss=loss)
        result = MARGIN.check(made_run({"F1": new}), baseline=made_run({"F1": base}))
        found[result.verdict] += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_runs_that_are_no_worse_do_not_fail(noise: float) -> None:
    """Of 200 A/A pairs at least 95 % pass or are inconclusive."""
    assert verdicts(noise=noise, loss=0.0)["fail"] <= 10


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_loss_of_five_points_fails(noise: float) -> None:
    """Of 200 pairs with a planted loss at n = 500 at least 80 % fail."""
    assert verdicts(noise=noise, loss=0.05)["fail"] >= 160


def test_few_questions_are_inconclusive() -> None:
    """Twenty questions can neither show a loss of five points nor exclude one."""
    found = verdicts(noise=0.2, loss=0.05, n=20, times=50)
    assert found["inconclusive"] >= 25


def test_zero_rows_fail() -> None:
    """A run without questions fails, whatever the rules."""
    result = Gate(rules=(Rule(measure="F1", floor=0.1),)).check(made_run({"F1": []}))
    assert (result.verdict, result.exit_code) == ("fail", 4)
    assert result.checks[0].kind == "questions"


def test_a_changed_dataset_fails() -> None:
    """Runs of different questions or labels are not compared."""
    result = MARGIN.check(made_run({"F1": [1.0]}), baseline=made_run({"F1": [1.0]}, sha256="other"))
    assert (result.verdict, result.checks[0].kind) == ("fail", "dataset")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_fails(value: float) -> None:
    """A value that is not finite fails, in either run and for every kind of rule."""
    good, bad = made_run({"F1": [1.0, 1.0]}), made_run({"F1": [1.0, value]})
    assert MARGIN.check(bad, baseline=good).verdict == "fail"
    assert MARGIN.check(good, baseline=bad).verdict == "fail"
    assert Gate(rules=(Rule(measure="F1", floor=0.0),)).check(bad).verdict == "fail"


def test_a_missing_measure_fails() -> None:
    """A rule on a measure that a run lacks, or that no question has, fails."""
    run = made_run({"F1": [1.0], "EM": [None]})
    for name in ("Nothing", "EM"):
        result = Gate(rules=(Rule(measure=name, floor=0.1),)).check(run)
        assert (result.verdict, result.checks[0].kind) == ("fail", "measure")


def test_a_value_in_one_run_only_fails() -> None:
    """Questions that were dropped from one of the runs are no comparison."""
    result = MARGIN.check(made_run({"F1": [1.0, None]}), baseline=made_run({"F1": [1.0, 1.0]}))
    assert (result.verdict, result.checks[0].kind) == ("fail", "measure")


def test_too_many_errors_fail() -> None:
    """Failed questions above the limit fail the gate; below it they do not."""
    values = [1.0] * 99 + [None]
    run = made_run({"F1": values}, statuses=["ok"] * 99 + ["error"])
    rule = Rule(measure="F1", floor=0.5)
    assert Gate(rules=(rule,)).check(run).verdict == "fail"
    assert Gate(rules=(rule,), max_error_rate=0.01).check(run).verdict == "pass"


def test_equal_runs_pass_a_margin_of_nothing() -> None:
    """A deterministic pipeline that did not change passes the strictest gate."""
    run = made_run({"F1": [1.0, 0.0, 1.0]})
    gate = Gate(rules=(Rule(measure="F1", margin=0.0),))
    assert gate.check(run, baseline=run).verdict == "pass"


def test_a_cost_that_rises_fails() -> None:
    """Of a measure where lower is better, more is a loss; the margin may be a share."""
    rng = random.Random(3)
    base = [100.0 + rng.random() for _ in range(60)]
    rule = Rule(measure="Tokens", margin=0.05, margin_is_share=True)
    gate = Gate(rules=(rule,))

    def verdict(factor: float) -> str:
        new = made_run({"Tokens": [factor * t for t in base]}, lower=["Tokens"])
        return gate.check(new, baseline=made_run({"Tokens": base}, lower=["Tokens"])).verdict

    assert (verdict(1.2), verdict(1.03), verdict(0.5)) == ("fail", "pass", "pass")


@pytest.mark.parametrize(
    ("floor", "expected"), [(0.5, "pass"), (0.79, "inconclusive"), (0.95, "fail")]
)
def test_floors_have_three_verdicts(floor: float, expected: str) -> None:
    """A floor passes only when the interval is above it, and fails only when it is below."""
    run = made_run({"F1": [1.0] * 80 + [0.0] * 20})
    assert Gate(rules=(Rule(measure="F1", floor=floor),)).check(run).verdict == expected


def test_a_ceiling_on_the_95th_percentile() -> None:
    """Rare long contexts fail a ceiling on the 95th percentile and pass one on the mean."""
    run = made_run({"Tokens": [100.0] * 180 + [900.0] * 20}, lower=["Tokens"])
    rule = Rule(measure="Tokens", ceiling=300, statistic="p95")
    assert Gate(rules=(rule,)).check(run).verdict == "fail"
    assert Gate(rules=(Rule(measure="Tokens", ceiling=300),)).check(run).verdict == "pass"


def test_slices_are_checked_by_themselves() -> None:
    """A language that lost everything fails though the whole hardly moved."""
    languages = [{"lang": "en"}] * 190 + [{"lang": "de"}] * 10
    base = made_run({"F1": [1.0] * 200}, metadata=languages)
    new = made_run({"F1": [1.0] * 190 + [0.0] * 10}, metadata=languages)
    whole = Rule(measure="F1", margin=0.1)
    german = Rule(measure="F1", margin=0.1, slice="lang=de")
    assert Gate(rules=(whole,)).check(new, baseline=base).verdict == "pass"
    result = Gate(rules=(whole, german)).check(new, baseline=base)
    assert [check.verdict for check in result.checks] == ["pass", "fail"]
    nobody = Rule(measure="F1", floor=0.1, slice="lang=fr")
    assert Gate(rules=(nobody,)).check(new).verdict == "fail"


def test_clusters_count_as_one() -> None:
    """A loss that all comes from three documents is not shown by hundreds of questions."""
    base = [1.0] * 300
    new = [0.8] * 300
    few = [str(i % 3) for i in range(300)]
    pair = (made_run({"F1": new}, clusters=few), made_run({"F1": base}, clusters=few))
    assert MARGIN.check(pair[0], baseline=pair[1]).verdict == "inconclusive"
    assert MARGIN.check(made_run({"F1": new}), baseline=made_run({"F1": base})).verdict == "fail"


def test_one_document_shows_nothing() -> None:
    """However many questions one document has: neither a loss nor the absence of one is shown."""
    one = ["d"] * 200
    base = made_run({"F1": [0.9] * 200}, clusters=one)
    for values in ([0.5] * 200, [0.95] * 200):
        new = made_run({"F1": values}, clusters=one)
        assert MARGIN.check(new, baseline=base).verdict == "inconclusive"
        floor = Gate(rules=(Rule(measure="F1", floor=0.7),))
        assert floor.check(new).verdict == "inconclusive"
    assert compare(base, new).differences[0].low is None


def test_inconclusive_is_what_the_policy_says(tmp_path: Path) -> None:
    """Exit 5, 4 or 0; the verdict itself stays."""
    run = made_run({"F1": [1.0, 0.0, 1.0]})
    for choice, code in (("report", 5), ("fail", 4), ("pass", 0)):
        (tmp_path / "gate.toml").write_text(
            f'[policy]\ninconclusive = "{choice}"\n[measure.F1]\nfloor = 0.5\n'
        )
        result = Gate.load(tmp_path / "gate.toml").check(run)
        assert (result.verdict, result.exit_code) == ("inconclusive", code)


def test_a_gate_file_is_read_whole(tmp_path: Path) -> None:
    """Every key of the documented file arrives."""
    (tmp_path / "gate.toml").write_text(
        "[policy]\nalpha = 0.1\nmax_error_rate = 0.2\nmin_questions = 7\nseed = 3\n"
        '[measure."EvidenceRecall@5"]\nmargin = 0.02\nfloor = 0.75\n'
        '[measure.ContextTokens]\nmargin = "5%"\nceiling = 1200\nstatistic = "p95"\n'
        '[slice."type=bridge".measure.F1]\nfloor = 0.6\n'
    )
    gate = Gate.load(tmp_path / "gate.toml")
    assert (gate.alpha, gate.max_error_rate, gate.min_questions, gate.seed) == (0.1, 0.2, 7, 3)
    assert gate.rules == (
        Rule(measure="EvidenceRecall@5", margin=0.02, floor=0.75),
        Rule(measure="ContextTokens", margin=0.05, margin_is_share=True, ceiling=1200.0,
             statistic="p95"),
        Rule(measure="F1", slice="type=bridge", floor=0.6),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[measure.F1]\nfloor = 'high'", "floor 'high'"),
        ("[measure.F1]\nfoor = 0.5", "'foor'"),
        ("[measure.F1]\nmargin = -0.1", "margin -0.1"),
        ("[measure.F1]\nmargin = 'x%'", "margin"),
        ("[measure.F1]\nfloor = nan", "nan is not a finite number"),
        ("[measure.F1]\nfloor = true", "floor True"),
        ("[measure.F1]\nstatistic = 'p95'", "needs margin"),
        ("[measure.F1]\nceiling = 1\nstatistic = 'p99'", "'p99'"),
        ("[policy]\nalpha = 0.7\n[measure.F1]\nfloor = 0.5", "alpha 0.7"),
        ("[policy]\ninconclusive = 'ok'\n[measure.F1]\nfloor = 0.5", "'ok'"),
        ("[slice.german.measure.F1]\nfloor = 0.5", "'german'"),
        ("[policy]\nalpha = 0.1", "asks for nothing"),
        ("measure = 5", "must be a table"),
        ("[measure", "cannot be read"),
    ],
)
def test_a_bad_gate_file_is_refused(tmp_path: Path, text: str, named: str) -> None:
    """The message names the value and what is allowed."""
    (tmp_path / "gate.toml").write_text(text)
    with pytest.raises(ConfigError, match=named):
        Gate.load(tmp_path / "gate.toml")


def test_a_margin_needs_a_baseline() -> None:
    """The message says how to name one."""
    with pytest.raises(ConfigError, match="--baseline"):
        MARGIN.check(made_run({"F1": [1.0]}))


def differing() -> tuple[Run, Run]:
    """Return two runs: one measure better, one cost lower, one unchanged."""
    rng = random.Random(9)
    base = answered(rng, 400, 0.5)
    better = [1.0 if rng.random() < 0.3 else value for value in base]
    tokens = [500.0 + 100 * rng.random() for _ in base]
    old = made_run({"F1": base, "Tokens": tokens, "Same": [0.5] * 400}, lower=["Tokens"])
    new = made_run(
        {"F1": better, "Tokens": [t - 200 for t in tokens], "Same": [0.5] * 400}, lower=["Tokens"]
    )
    return old, new


def test_a_comparison_says_what_changed_and_what_it_can_tell() -> None:
    """Means, difference, interval, adjusted p, detectable difference and questions needed."""
    old, new = differing()
    found = {d.measure: d for d in compare(old, new).differences}
    f1, tokens, same = found["F1"], found["Tokens"], found["Same"]
    assert (f1.verdict, tokens.verdict, same.verdict) == ("better", "better", "–")
    assert f1.difference is not None
    assert f1.low is not None
    assert f1.high is not None
    assert f1.low < f1.difference < f1.high
    assert tokens.difference == pytest.approx(-200.0)
    assert f1.p_holm is not None
    assert f1.p is not None
    assert f1.p_holm >= 2 * f1.p
    assert same.p_holm == 1.0
    assert same.minimum_detectable is None
    assert f1.minimum_detectable is not None
    assert f1.n_needed == pytest.approx(400 * (f1.minimum_detectable / 0.02) ** 2, abs=1)
    reverse = {d.measure: d for d in compare(new, old).differences}
    assert (reverse["F1"].verdict, reverse["Tokens"].verdict) == ("worse", "worse")


def test_different_datasets_are_compared_by_force_only() -> None:
    """Without force the message says that they differ; with it the shared questions count."""
    old, new = made_run({"F1": [1.0]}), made_run({"F1": [0.0]}, sha256="other")
    with pytest.raises(ConfigError, match="--force"):
        compare(old, new)
    assert compare(old, new, force=True).differences[0].difference == -1.0


def test_runs_without_a_common_measure_are_refused() -> None:
    """And a measure that one of them lacks is named."""
    old, new = made_run({"F1": [1.0]}), made_run({"EM": [1.0]})
    with pytest.raises(ConfigError, match="share no measure"):
        compare(old, new)
    with pytest.raises(ConfigError, match="'F1'"):
        compare(old, new, measures=["F1"])


def test_missing_values_are_counted() -> None:
    """A question with a value in one run only is missing; with none in either it is not there."""
    old = made_run({"F1": [1.0, None, None, 0.0]})
    new = made_run({"F1": [1.0, 1.0, None, 0.0]})
    difference = compare(old, new).differences[0]
    assert (difference.n, difference.missing) == (2, 1)
