"""Receipts, their energy and the ledger that keeps them."""

# pytest.approx has no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import calendar
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.costs.energy import (
    ModelSize,
    Range,
    carbon_grams,
    generation_joules,
    is_mixture,
    local_joules,
    model_size_billions,
)
from ragkit.costs.ledger import Ledger, read_ledger, summarise
from ragkit.costs.receipt import Receipt
from ragkit.costs.stopwatch import (
    SharedCpu,
    StageCost,
    Stopwatch,
    Worker,
    peak_rss_bytes,
)
from ragkit.types import Json

from ..cpu import cpu_seconds


class Clock:
    """Two clocks that stand still unless told otherwise: of the wall, and of the CPU."""

    def __init__(self) -> None:
        self.wall = self.cpu = 100.0

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds

    def compute(self, seconds: float) -> None:
        """Let time pass that costs CPU seconds."""
        self.wall += seconds
        self.cpu += seconds

    def compute_and_fail(self, seconds: float) -> None:
        """Compute, and fail."""
        self.compute(seconds)
        raise ZeroDivisionError

    def stopwatch(self) -> Stopwatch:
        """Return one that goes by these clocks."""
        return Stopwatch(lambda: self.cpu, lambda: self.wall)


def test_a_stage_counts_wall_and_cpu_seconds() -> None:
    """Waiting costs wall seconds only, computing costs both."""
    clock = Clock()
    watch = clock.stopwatch()
    with watch.stage("wait"):
        clock.wait(2.0)
    with watch.stage("compute"):
        clock.compute(3.0)
    wait, compute = watch.stages
    assert (wait.seconds, wait.cpu_seconds) == (2.0, 0.0)
    assert (compute.seconds, compute.cpu_seconds) == (3.0, 3.0)
    assert watch.seconds == 5.0


def test_the_clocks_of_a_machine_tell_waiting_from_computing() -> None:
    """What nobody names are the system's own: CPU seconds of a wait are few beside its length."""
    watch = Stopwatch()
    with watch.stage("wait"):
        time.sleep(0.05)
    with watch.stage("compute"):
        spent = cpu_seconds(lambda: sum(range(200_000)))
    wait, compute = watch.stages
    assert wait.seconds >= 0.05
    assert wait.cpu_seconds < wait.seconds / 2
    assert compute.cpu_seconds >= spent


def test_a_repeated_stage_adds_up() -> None:
    """Stages come in order of their first start, each once."""
    clock = Clock()
    watch = clock.stopwatch()
    for name in ("retrieve", "trim", "retrieve"):
        with watch.stage(name):
            clock.compute(1.0)
    assert [(stage.name, stage.seconds) for stage in watch.stages] == [
        ("retrieve", 2.0),
        ("trim", 1.0),
    ]


def test_a_failed_stage_counts() -> None:
    """What broke off has cost its time too."""
    clock = Clock()
    watch = clock.stopwatch()
    with pytest.raises(ZeroDivisionError), watch.stage("generate"):
        clock.compute_and_fail(1.0)
    assert watch.stages[0].seconds == 1.0


@given(st.lists(st.booleans(), max_size=12))
def test_stages_add_up_to_the_whole(steps: list[bool]) -> None:
    """However stages are nested and repeated, each second is counted in one of them."""
    clock = Clock()
    watch = clock.stopwatch()
    with ExitStack() as opened, watch.stage("outermost"):
        for deeper in steps:
            clock.compute(1.0)
            if deeper:
                opened.enter_context(watch.stage("a"))
            else:
                with watch.stage("b"):
                    clock.wait(2.0)
        opened.close()
    seconds = [stage.seconds for stage in watch.stages]
    assert min(seconds) >= 0.0
    assert sum(seconds) == watch.seconds == sum(1.0 if deeper else 3.0 for deeper in steps)


def test_an_inner_stage_is_not_counted_twice() -> None:
    """What happens in an inner stage is its own, not the outer one's."""
    clock = Clock()
    watch = clock.stopwatch()
    with watch.stage("outer"), watch.stage("inner"):
        clock.compute(1.0)
    assert {stage.name: stage.seconds for stage in watch.stages} == {"inner": 1.0, "outer": 0.0}


def test_a_stage_costs_little() -> None:
    """Measuring costs no more than a few dozen of the emptiest blocks."""
    watch = Stopwatch()

    @contextmanager
    def empty() -> Generator[None]:
        yield

    def stages() -> None:
        for _ in range(20_000):
            with watch.stage("s"):
                pass

    def blocks() -> None:
        for _ in range(20_000):
            with empty():
                pass

    assert cpu_seconds(stages) < 30.0 * cpu_seconds(blocks)


def test_seconds_that_several_use_at_once_are_shared() -> None:
    """Each bears its part of what the process uses; the parts add up to it, never to more."""
    clock = Clock()
    shared = SharedCpu(lambda: clock.cpu)
    one, two = Worker(shared), Worker(shared)
    clock.compute(5.0)  # of nobody
    with one.working():
        clock.compute(1.0)
        with two.working():
            clock.compute(2.0)
            assert one.cpu_seconds() == 2.0
            with one.working():  # it is already
                clock.compute(2.0)
        clock.compute(4.0)
    clock.compute(7.0)
    assert (one.cpu_seconds(), two.cpu_seconds()) == (7.0, 2.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 10.0)), max_size=30))
def test_shares_add_up_to_what_was_used(steps: list[tuple[int, float]]) -> None:
    """Whoever begins and ends when: all of the seconds in which anybody worked, once each."""
    clock, used = Clock(), 0.0
    shared = SharedCpu(lambda: clock.cpu)
    workers = [Worker(shared) for _ in range(4)]
    with ExitStack() as everything:
        opened: dict[int, ExitStack] = {}
        for who, seconds in steps:
            if who in opened:
                opened.pop(who).close()
            else:
                opened[who] = everything.enter_context(ExitStack())
                opened[who].enter_context(workers[who].working())
            clock.compute(seconds)
            used += seconds if opened else 0.0
        total = sum(worker.cpu_seconds() for worker in workers)
    assert total == pytest.approx(used, abs=1e-6)


def test_peak_memory_is_in_bytes() -> None:
    """The peak holds what was allocated, in bytes, and never falls."""
    before = peak_rss_bytes()
    if before is None:
        pytest.skip("this system does not say")
    block = bytearray(os.urandom(1) * (before + 30_000_000))
    after = peak_rss_bytes()
    assert after is not None
    assert 20_000_000 <= after - 20_000_000 < 100 * len(block)
    assert after >= before + 10_000_000


def test_local_energy_follows_the_cpu() -> None:
    """One CPU second is 1.8 to 7.1 joules, about 2.9, and says that it is a model."""
    one, ten = local_joules(1.0), local_joules(10.0)
    assert (one.low, one.mid, one.high) == pytest.approx((1.7576, 2.87155, 7.0784))
    assert ten.mid == pytest.approx(10 * one.mid)
    assert one.grade == "modelled-local"
    assert "PUE" in one.source


def _known(value: Range | None) -> Range:
    assert value is not None
    return value


def _joules(
    input_tokens: int = 1000,
    output_tokens: int = 0,
    *,
    cached_tokens: int = 0,
    context_tokens: int = 0,
    billions: float = 8.0,
    mixture: bool = False,
) -> Range:
    prefill, decode = generation_joules(
        ModelSize.of(billions, is_mixture=mixture),
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
        context_tokens=context_tokens,
    )
    return prefill + decode


def test_the_published_figures_come_out() -> None:
    """A thousand prompt tokens of an 8B model cost 11, 21, 30 J before the service's share."""
    prompt = _joules()
    factors = (1.7, 2.0, 2.4)
    bare = [v / k for v, k in zip((prompt.low, prompt.mid, prompt.high), factors, strict=True)]
    assert bare == pytest.approx([10.9, 21.0, 30.0], rel=0.02)
    answer = _joules(0, 200, billions=70.0)
    assert answer.mid / 2.0 == pytest.approx(200 * 0.80)


def test_cached_tokens_cost_nothing_to_read() -> None:
    """Cached tokens are taken off the input, and never make it negative."""
    assert _joules(1000, 10, cached_tokens=400) == _joules(600, 10)
    assert _joules(100, 10, cached_tokens=400) == _joules(0, 10)


def test_a_mixture_costs_more_than_its_active_size() -> None:
    """A measured mixture lies in its range, which the dense formula would miss."""
    dense = _joules(0, 1, billions=3.0)
    mixture = _joules(0, 1, billions=3.0, mixture=True)
    assert mixture.low / 1.7 <= 0.08
    assert 0.1 < mixture.mid / 2.0 < 0.3
    assert mixture.high / 2.4 >= 0.82
    assert dense.mid < mixture.mid / 3
    assert "mixture" in mixture.source


_tokens = st.integers(0, 100_000)


@given(
    n_input=_tokens,
    n_output=_tokens,
    n_context=_tokens,
    billions=st.floats(0.1, 1000.0),
    mixture=st.booleans(),
)
def test_energy_is_ordered_and_grows(
    n_input: int, n_output: int, n_context: int, billions: float, *, mixture: bool
) -> None:
    """Bounds are in order, and more tokens or more parameters never cost less."""

    def joules(more_input: int = 0, more_output: int = 0, factor: float = 1.0) -> Range:
        return _known(
            _joules(
                n_input + more_input,
                n_output + more_output,
                context_tokens=n_context,
                billions=billions * factor,
                mixture=mixture,
            )
        )

    base = joules()
    assert 0.0 <= base.low <= base.mid <= base.high
    for more in (joules(more_input=10), joules(more_output=10), joules(factor=1.5)):
        assert more.low >= base.low
        assert more.mid >= base.mid
        assert more.high >= base.high


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("llama-3.1-8b", 8.0), ("openai:qwen2.5:0.5b", 0.5), ("Qwen/Qwen2.5-7B-Instruct", 7.0),
        ("qwen3-30b-a3b", 3.0), ("Qwen3_30B_A3B", 3.0), ("smollm2-135m-instruct", 0.135),
        ("meta.llama3-1-70b-instruct-v1:0", 70.0), ("llama-4-scout-17b-16e", 17.0),
        ("gemma-2-9b-it-q4_k_m.gguf", 9.0), ("mixtral-8x7b", None), ("gpt-4o-mini", None),
        ("phi-3-mini-128k", None), ("", None), ("extractive", None),
    ],
)  # fmt: skip
def test_the_size_is_read_from_the_name(name: str, billions: float | None) -> None:
    """The active size, where the name says it; a name that does not gives None."""
    assert model_size_billions(name) == billions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen3-30b-a3b", True), ("llama-4-scout-17b-16e", True), ("mixtral-8x7b", True),
        ("llama-3.1-8b", False), ("gpt-4o", False), ("gemma-2b", False),
    ],
)  # fmt: skip
def test_a_mixture_is_read_from_the_name(name: str, *, expected: bool) -> None:
    """Names that count experts or active parameters are of mixtures."""
    assert is_mixture(name) is expected


def test_carbon_needs_a_grid() -> None:
    """Grams are kilowatt-hours times intensity; without an intensity they are unknown."""
    joules = Range(low=3.6e6, mid=7.2e6, high=1.08e7, grade="modelled-local", source="s")
    assert carbon_grams(joules, None) is None
    grams = _known(carbon_grams(joules, (10.0, 100.0, 1000.0)))
    assert (grams.low, grams.mid, grams.high) == pytest.approx((10.0, 200.0, 3000.0))


def test_a_sum_has_the_weaker_grade() -> None:
    """What is measured plus what is modelled is modelled."""
    one = Range(low=1, mid=2, high=3, grade="measured", source="meter")
    total = one + Range(low=10, mid=20, high=30, grade="modelled-remote", source="model")
    assert (total.low, total.mid, total.high) == (11, 22, 33)
    assert total.grade == "modelled-remote"
    assert total.source == "meter + model"


def _receipt(
    *,
    baseline_tokens: int | None = 2000,
    input_tokens: int | None = 500,
    joules: float | None = 10.0,
    baseline_joules: float | None = 40.0,
    comparable: bool = True,
) -> Receipt:
    def flat(value: float | None) -> Range | None:
        if value is None:
            return None
        return Range(
            low=value / 2, mid=value, high=value * 2, grade="modelled-remote", source="test"
        )

    return Receipt(
        seconds=1.5,
        cpu_seconds=0.5,
        stages=(StageCost(name="retrieve", seconds=1.0, cpu_seconds=0.25),),
        baseline_tokens=baseline_tokens,
        baseline_comparable=comparable,
        context_tokens=300,
        template_tokens=100,
        input_tokens=input_tokens,
        llm_calls=1,
        peak_rss_bytes=None,
        joules=flat(joules),
        baseline_joules=flat(baseline_joules),
        carbon_g=None,
    )


def _ask(receipt: Receipt, **more: Json) -> dict[str, Json]:
    usage: Json = {"input_tokens": receipt.input_tokens, "output_tokens": 20}
    return {
        "kind": "ask", "refused": False, "usage": usage, "receipt": receipt.to_dict(), **more,
    }  # fmt: skip


def test_a_receipt_has_the_published_keys() -> None:
    """Scripts rely on these names; unknown is null."""
    record = _receipt(joules=None).to_dict()
    assert set(record) >= {
        "seconds", "cpu_seconds", "stages", "baseline_tokens", "baseline_comparable",
        "context_tokens", "template_tokens", "llm_calls", "peak_rss_bytes", "joules", "carbon_g",
        "saved_tokens", "baseline_joules",
    }  # fmt: skip
    assert record["stages"] == [{"name": "retrieve", "seconds": 1.0, "cpu_seconds": 0.25}]
    assert record["saved_tokens"] == 1500
    assert record["joules"] is None
    assert record["peak_rss_bytes"] is None
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_a_saving_that_is_not_known_is_none() -> None:
    """Without one of the two prompts there is no difference."""
    assert _receipt(baseline_tokens=None).saved_tokens is None
    assert _receipt(input_tokens=None).saved_tokens is None


def test_a_receipt_reads_well() -> None:
    """Printed, a receipt says tokens, calls, seconds and that energy is an estimate or unknown."""
    assert "500 prompt tokens (untrimmed 2,000)" in str(_receipt())
    assert "about 10 J" in str(_receipt())
    assert "unknown" in str(_receipt(joules=None))


def test_the_ledger_keeps_records_in_order(tmp_path: Path) -> None:
    """Each record comes back with schema and time; the file is the owner's alone."""
    ledger, began = Ledger(tmp_path / "ledger.jsonl"), time.time()
    for n in range(3):
        ledger.write({"kind": "ask", "n": n})
    records = list(read_ledger(ledger.path))
    assert [record["n"] for record in records] == [0, 1, 2]
    assert all(record["schema"] == 1 for record in records)
    stamp = calendar.timegm(time.strptime(str(records[0]["time"]), "%Y-%m-%dT%H:%M:%SZ"))
    assert int(began) <= stamp <= time.time()
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_the_ledger_holds_no_content(tmp_path: Path) -> None:
    """What is called a question, an answer or a prompt is left out at any depth."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    private = "the patient's name"
    ledger.write(
        {
            "kind": "ask", "question": private, "text": private, "citations": [{"text": private}],
            "more": [{"prompt": private, "n": 1}], "usage": {"input_tokens": 3},
        }
    )  # fmt: skip
    assert private not in ledger.path.read_text("utf-8")
    (record,) = read_ledger(ledger.path)
    assert record["usage"] == {"input_tokens": 3}
    assert record["more"] == [{"n": 1}]


def test_a_ledger_that_cannot_be_written_turns_itself_off(tmp_path: Path) -> None:
    """Nothing is raised; the reason names the file, and later records are dropped quietly."""
    ledger = Ledger(tmp_path / "no" / "ledger.jsonl")
    ledger.write({"kind": "ask"})
    assert str(ledger.path) in str(ledger.disabled_reason)
    ledger.path.parent.mkdir()
    ledger.write({"kind": "ask"})
    assert not ledger.path.exists()


def test_a_record_that_is_no_json_turns_the_ledger_off(tmp_path: Path) -> None:
    """A figure that is not finite is not written as something that is no JSON."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write({"kind": "ask", "seconds": float("nan")})
    assert ledger.disabled_reason is not None
    assert not ledger.path.exists()


def test_processes_append_at_once_without_torn_lines(tmp_path: Path) -> None:
    """Four writers at a time lose nothing and tear nothing, long lines included."""
    path = tmp_path / "ledger.jsonl"
    code = (
        "import sys; from pathlib import Path; from ragkit.costs.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "for n in range(200): ledger.write({'who': sys.argv[2], 'n': n, 'pad': 'x' * (n * 37)})\n"
        "sys.exit(ledger.disabled_reason)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(who)]) for who in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    seen = [(record["who"], record["n"]) for record in read_ledger(path)]
    assert len(seen) == 800
    for who in "0123":
        assert [n for w, n in seen if w == who] == list(range(200))


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    """Half a line is counted as unreadable; the records before and after it are read."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write(_ask(_receipt()))
    with ledger.path.open("ab") as file:
        file.write(b'{"schema":1,"kind":"as')
    ledger.write(_ask(_receipt()))
    with ledger.path.open("ab") as file:
        file.write(b'\n[1]\n\xff\xfe{\n{"kind":"ask"')
    summary = summarise(read_ledger(ledger.path))
    assert summary.answers == 2
    assert summary.unreadable_lines == 4


def test_the_summary_adds_up() -> None:
    """Answers, refusals and ingests are counted apart; a dry run counts for nothing."""
    cost: Json = {"low": 1.0, "mid": 2.0, "high": 3.0}
    summary = summarise(
        [
            _ask(_receipt()),
            _ask(_receipt(), dry_run=True),
            _ask(_receipt(), refused=True),
            {"kind": "ingest", "seconds": 2.0, "cpu_seconds": 1.0, "joules": cost},
        ]
    )
    assert (summary.answers, summary.refusals, summary.ingests) == (1, 1, 1)
    assert summary.seconds == pytest.approx(5.0)
    assert summary.cpu_seconds == pytest.approx(2.0)
    assert summary.joules == pytest.approx({"low": 11.0, "mid": 22.0, "high": 43.0})
    assert (summary.input_tokens, summary.output_tokens) == (500, 20)


def test_unknown_is_counted_apart_and_never_as_nothing() -> None:
    """Sums hold what is known, say how many are unknown, and are null where nothing is known."""
    unknown = _ask(_receipt(input_tokens=None, joules=None))
    some = summarise([_ask(_receipt()), unknown]).to_dict()
    assert some["input_tokens"] == 500
    assert some["unknown"] == {"input_tokens": 1, "output_tokens": 0, "joules": 1, "carbon_g": 2}
    none = summarise([unknown, unknown])
    record = none.to_dict()
    assert record["input_tokens"] is None
    assert record["joules"] is None
    assert record["carbon_g"] is None
    rows = {line[:17].strip(): line[17:] for line in none.to_text().splitlines()}
    assert rows["prompt tokens"].split()[0] == "unknown"
    assert rows["energy, J"].split()[0] == "unknown"


def test_savings_are_over_comparable_answers_only() -> None:
    """An answer without a comparable baseline changes no saving; joules need both figures."""
    comparable = [_ask(_receipt()), _ask(_receipt(baseline_joules=None))]
    others = [
        _ask(_receipt(comparable=False)),
        _ask(_receipt(baseline_tokens=None)),
        _ask(_receipt(input_tokens=None)),
    ]
    saving = summarise(comparable + others).to_dict()["saving"]
    assert saving == summarise(comparable).to_dict()["saving"]
    assert saving == {
        "answers": 2,
        "baseline_tokens": 4000,
        "input_tokens": 1000,
        "saved_tokens": 3000,
        "saved_share": 0.75,
        "joules": {"low": 15.0, "mid": 30.0, "high": 60.0},
        "joules_answers": 1,
    }


def test_an_empty_ledger_has_a_summary() -> None:
    """Nothing asked: nothing spent, no saving known."""
    summary = summarise([])
    assert summary.saved_tokens is None
    assert summary.to_dict()["llm_calls"] == 0
    assert "answers" in summary.to_text()
