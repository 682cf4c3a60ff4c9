"""The sequential gate: it errs no more often than it says, and stops when it knows."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit_eval.reporting.gate import Gate, GateResult, Rule
from ragkit_eval.reporting.sequential import document_order, judge_sequentially
from ragkit_eval.running.finished import Run
from ragkit_eval.stats.betting import STAKE, Wager

from .made import made_run

FLOOR = Gate(rules=(Rule(measure="F1", floor=0.8),))
MARGIN = Gate(rules=(Rule(measure="F1", margin=0.05),))


def of_documents(
    rng: random.Random, share: float, *, documents: int = 60, questions: int = 10, icc: float = 0.1
) -> tuple[list[float], list[str]]:
    """Return right and wrong answers whose rates differ by document, and the documents."""
    size = 1.0 / icc - 1.0
    values: list[float] = []
    names: list[str] = []
    for i in range(documents):
        rate = rng.betavariate(share * size, (1.0 - share) * size)
        values += [float(rng.random() < rate) for _ in range(questions)]
        names += [f"d{i}"] * questions
    return values, names


def judged(gate: Gate, values: list[float], names: list[str]) -> GateResult:
    """Return the sequential verdict on such a run."""
    return judge_sequentially(gate, made_run({"F1": values}, clusters=names))


def test_at_the_boundary_each_verdict_is_as_rare_as_it_says() -> None:
    """Of 300 populations whose truth is the floor at most 5 % pass, and at most 5 % fail."""
    rng = random.Random(5)
    found = Counter(judged(FLOOR, *of_documents(rng, 0.8)).verdict for _ in range(300))
    # 15 are expected at most; three standard errors more are chance.
    assert found["pass"] <= 26
    assert found["fail"] <= 26


def test_questions_as_steps_err_too_often() -> None:
    """What counts every question as independent errs more often than it says: the contrast."""
    rng = random.Random(5)
    wrong = 0
    for _ in range(60):
        values, _ = of_documents(rng, 0.8, documents=20, questions=40, icc=0.3)
        wrong += judge_sequentially(FLOOR, made_run({"F1": values})).verdict != "inconclusive"
    assert wrong >= 15


@pytest.mark.parametrize(("share", "verdict"), [(0.95, "pass"), (0.5, "fail")])
def test_clear_verdicts_read_a_third(share: float, verdict: str) -> None:
    """Where the truth is far from the limit, at most 35 % of the questions are read on average."""
    rng = random.Random(7)
    gate = Gate(rules=(Rule(measure="F1", floor=0.75),))
    read = 0.0
    for _ in range(20):
        result = judged(gate, *of_documents(rng, share))
        assert result.verdict == verdict
        assert result.sequential is not None
        assert result.sequential.stopped_early
        read += result.sequential.n_used / result.sequential.n
    assert read / 20 <= 0.35


def test_margins_pass_fail_and_stay_open() -> None:
    """A gain passes and a loss fails early; where nothing changed few documents cannot tell."""
    base, names = of_documents(random.Random(1), 0.7)

    def verdict(new: list[float]) -> str:
        runs = [made_run({"F1": values}, clusters=names) for values in (new, base)]
        return judge_sequentially(MARGIN, runs[0], baseline=runs[1]).verdict

    assert verdict([1.0] * len(base)) == "pass"
    assert verdict([0.0] * len(base)) == "fail"
    same = made_run({"F1": base}, clusters=names)
    result = judge_sequentially(MARGIN, same, baseline=same)
    assert (result.verdict, result.exit_code) == ("inconclusive", 5)
    assert "it would take 62 documents" in result.checks[0].detail
    assert result.sequential is not None
    assert not result.sequential.stopped_early


@pytest.mark.parametrize("icc", [0.02, 0.1])
def test_about_the_run_alone_each_verdict_errs_as_rarely_as_it_says(icc: float) -> None:
    """Lists that are just outside pass in at most 5 %, those just at the floor fail as rarely."""
    rng = random.Random(9)
    wrong = Counter[str]()
    for _ in range(150):
        values, names = of_documents(rng, 0.8, documents=36, questions=20, icc=icc)
        for right, error in ((575, "pass"), (576, "fail")):
            listed = adjusted(rng, values, right)
            result = judge_sequentially(
                FLOOR, made_run({"F1": listed}, clusters=names), scope="run"
            )
            assert result.verdict in {"pass", "fail"}
            wrong[error] += result.verdict == error
    # 7.5 are expected at most; three standard errors more are chance.
    assert wrong["pass"] <= 15
    assert wrong["fail"] <= 15


def adjusted(rng: random.Random, values: list[float], right: int) -> list[float]:
    """Return the answers with some turned, so that so many are right."""
    listed = list(values)
    excess = int(sum(listed)) - right
    turned = [i for i, value in enumerate(listed) if value == float(excess > 0)]
    for i in rng.sample(turned, abs(excess)):
        listed[i] = 1.0 - listed[i]
    return listed


@pytest.mark.parametrize(("share", "verdict"), [(0.95, "pass"), (0.5, "fail")])
def test_about_the_run_alone_few_documents_suffice(share: float, verdict: str) -> None:
    """36 documents are few for the next ones; of the run itself a tenth of the questions tells."""
    values, names = of_documents(random.Random(7), share, documents=36, questions=60)
    run = made_run({"F1": values}, clusters=names)
    result = judge_sequentially(FLOOR, run, scope="run")
    assert result.verdict == verdict
    assert result.sequential is not None
    assert result.sequential.stopped_early
    assert result.sequential.n_used <= 0.1 * len(values)
    assert result.sequential.scope == "run"


@pytest.mark.parametrize("right", range(11))
def test_about_the_run_alone_what_is_read_whole_is_known(right: int) -> None:
    """With an alpha that nothing can meet early, the verdict is that of all questions."""
    gate = Gate(rules=(Rule(measure="F1", floor=0.8),), alpha=1e-12)
    values = [1.0] * right + [0.0] * (10 - right)
    assert judge_sequentially(gate, made_run({"F1": values}), scope="run").verdict == (
        "pass" if right >= 8 else "fail"
    )


@given(st.lists(st.floats(-1.0, 5.0), max_size=60))
def test_a_wager_never_owes(values: list[float]) -> None:
    """No sequence makes the capital negative; what it has won it never loses; p is in (0, 1]."""
    wager = Wager(-1.0)
    last = 1.0
    for value in values:
        wager.add(value)
        assert wager.p_value <= last
        last = wager.p_value
    assert 0.0 < last <= 1.0
    assert wager.log_capital >= len(values) * -3.1  # ln(1 - STAKE), and a little.


def test_a_wager_is_fair() -> None:
    """Over all sequences of a fair coin the mean capital is 1: the test is a martingale."""
    n, total = 10, 0.0
    for pattern in range(2**n):
        wager = Wager(-1.0)
        for i in range(n):
            wager.add(1.0 if pattern >> i & 1 else -1.0)
        total += 2.718281828459045**wager.log_capital
    assert total / 2**n == pytest.approx(1.0, rel=1e-9)


def test_a_wager_on_a_list_is_fair() -> None:
    """Over all orders of a list whose mean is 0 the mean capital is at most 1."""
    for listed in ([1.0, 1.0, -1.0, -1.0, 0.0, 0.0], [3.0, -1.0, -1.0, -1.0], [0.5, 0.0, -0.5]):
        capitals: list[float] = []
        for order in permutations(listed):
            wager = Wager(-1.0, size=len(listed))
            for value in order:
                wager.add(value)
            capitals.append(math.exp(wager.log_capital))
        assert math.fsum(capitals) / len(capitals) == pytest.approx(1.0, rel=1e-9)
    one = Wager(-1.0, size=1)
    one.add(0.0)
    with pytest.raises(ValueError, match="1 values"):
        one.add(0.0)


def test_a_wager_takes_no_value_below_its_bound() -> None:
    """A value below the bound would break the promise, and so would a bound of nothing."""
    with pytest.raises(ValueError, match="below"):
        Wager(-0.5).add(-0.6)
    with pytest.raises(ValueError, match="allowed"):
        Wager(0.0)
    assert 0.0 < STAKE < 1.0


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_order_of_the_files_does_not_matter(rng: random.Random, seed: int) -> None:
    """The seed alone fixes the order of documents: shuffled lines give the same verdict."""
    values, names = of_documents(random.Random(3), 0.9, documents=20, questions=3)
    lines = list(zip(values, names, strict=True))
    gate = Gate(rules=(Rule(measure="F1", floor=0.5),), seed=seed)
    first = judged(gate, values, names)
    rng.shuffle(lines)
    again = judged(gate, [v for v, _ in lines], [n for _, n in lines])
    assert again.verdict == first.verdict
    assert again.sequential == first.sequential
    assert document_order(names, seed) == document_order(names[::-1], seed)


def run_of_tokens(values: list[float], *, folder: str = "run") -> Run:
    """Return a run of a cost."""
    return made_run({"Tokens": values}, lower=["Tokens"], folder=folder)


def test_costs_need_a_bound_or_a_quantile() -> None:
    """The mean of a cost has no largest value unless the gate says so; a quantile needs none."""
    cheap = run_of_tokens([100.0] * 200)
    with pytest.raises(ConfigError, match="most"):
        judge_sequentially(Gate(rules=(Rule(measure="Tokens", ceiling=300),)), cheap)
    bounded = Gate(rules=(Rule(measure="Tokens", ceiling=300, most=1000.0),))
    assert judge_sequentially(bounded, cheap).verdict == "pass"
    assert judge_sequentially(bounded, run_of_tokens([900.0] * 200)).verdict == "fail"
    with pytest.raises(ConfigError, match="most allows"):
        judge_sequentially(bounded, run_of_tokens([1001.0] * 200))
    rare = Gate(rules=(Rule(measure="Tokens", ceiling=300, statistic="p95"),))
    assert judge_sequentially(rare, cheap).verdict == "pass"
    assert judge_sequentially(rare, run_of_tokens([100.0] * 5 + [900.0] * 195)).verdict == "fail"
    less = Gate(rules=(Rule(measure="Tokens", margin=0.05, margin_is_share=True, most=1000.0),))
    dear = run_of_tokens([800.0] * 200, folder="base")
    assert judge_sequentially(less, cheap, baseline=dear).verdict == "pass"
    assert judge_sequentially(less, dear, baseline=cheap).verdict == "fail"


def test_it_fails_closed() -> None:
    """What makes the gate fail unread makes it fail here too, and nothing is used."""
    empty = judge_sequentially(FLOOR, made_run({"F1": []}))
    other = judge_sequentially(
        MARGIN, made_run({"F1": [1.0]}), baseline=made_run({"F1": [1.0]}, sha256="other")
    )
    nan = judge_sequentially(FLOOR, made_run({"F1": [1.0, float("nan")]}))
    for result in (empty, other, nan):
        assert (result.verdict, result.exit_code) == ("fail", 4)
        assert result.sequential is not None
        assert result.sequential.n_used == 0
    with pytest.raises(ConfigError, match="baseline"):
        judge_sequentially(MARGIN, made_run({"F1": [1.0]}))
    for floor in (0.0, 1.0):
        with pytest.raises(ConfigError, match="betting allows"):
            judge_sequentially(
                Gate(rules=(Rule(measure="F1", floor=floor),)), made_run({"F1": [1.0]})
            )


def test_all_checks_must_pass_and_any_may_fail() -> None:
    """Two rules: the gate reads on until both have passed, and stops where one has failed."""
    values, names = of_documents(random.Random(2), 0.95)
    easy, hard = Rule(measure="F1", floor=0.3), Rule(measure="F1", floor=0.7)
    both = judged(Gate(rules=(easy, hard)), values, names)
    alone = judged(Gate(rules=(easy,)), values, names)
    assert both.verdict == alone.verdict == "pass"
    assert both.sequential is not None
    assert alone.sequential is not None
    assert both.sequential.n_used > alone.sequential.n_used
    failing = judged(Gate(rules=(easy, hard)), [0.0] * len(names), names)
    assert failing.verdict == "fail"
