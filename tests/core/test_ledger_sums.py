"""What ledgers add up to: groups, business metrics, break-even, carbon intensity."""

# pytest.approx has no types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import random
import resource
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.costs.break_even import BreakEven, break_even
from ragkit.costs.business import joined, read_metric
from ragkit.costs.grouping import KEYS, By, group
from ragkit.costs.ledger import Summary, read_ledger, summarise
from ragkit.costs.sci import intensity
from ragkit.errors import ConfigError
from ragkit.types import Json

from ..cpu import cpu_seconds
from ..ledgers import ask, before, feedback, varied, write

LINES: list[dict[str, Json]] = [
    before("ingest", 50.0), before("evaluation", 30.0),
    ask(answer_id="a"), ask(day="2026-03-03", served_model="m-large", answer_id="b"),
    ask(refused=True), ask(trim=None), ask(outcome="failed"), ask(outcome="abandoned"),
    ask(dry_run=True), feedback("a", good=True), feedback("b", good=True),
    feedback("b", good=False), {"kind": "?"}, {},
]  # fmt: skip


def test_every_line_is_counted_once() -> None:
    """Answers, refusals, failures and what was abandoned are apart; the last word counts."""
    total = summarise(LINES)
    counts = total.answers, total.refusals, total.failures, total.abandoned
    assert counts == (3, 1, 1, 1)
    assert (total.ingests, total.evaluations, total.unreadable_lines) == (1, 1, 2)
    assert total.feedback == {"a": True, "b": False}
    assert total.stages["trim"] == pytest.approx([0.12, 0.12])


@given(st.sampled_from(KEYS), st.lists(st.sampled_from(LINES), max_size=40))
def test_groups_add_up_to_the_whole(by: By, lines: list[dict[str, Json]]) -> None:
    """However lines are grouped, the sums of the groups are those of all lines."""
    whole, total = summarise(lines), group(lines, by).total()
    for name in ("seconds", "cpu_seconds"):
        assert getattr(total, name) == pytest.approx(getattr(whole, name))
    assert total.joules == pytest.approx(whole.joules)
    assert (total.unknown, total.feedback, set(total.stages)) == (
        whole.unknown, whole.feedback, set(whole.stages)
    )  # fmt: skip
    for name in ("answers", "refusals", "unreadable_lines", "input_tokens", "saved_tokens"):
        assert getattr(total, name) == getattr(whole, name)


def test_the_last_word_on_an_answer_counts_in_any_group() -> None:
    """What was said of it on another day, or before it stood in the ledger, counts nowhere."""
    lines = [ask(), feedback("b", good=True), ask(day="2026-03-03", answer_id="b"),
             feedback("b", good=False, day="2026-03-03"), feedback("b", good=True)]  # fmt: skip
    for by in ("day", "model"):
        groups = group(lines, by)
        assert groups.total().feedback == {"b": True}
        assert sum(len(one.feedback) for one in groups.groups.values()) == 1


def test_embedding_alone_is_unknown_not_nothing() -> None:
    """What is known is told beside an embedding of unknown cost, which itself is not 0."""
    data = summarise([ask(carbon_g=2.0), before("embed", None)]).to_dict()
    assert data["embeds"] == 1
    assert cast("dict[str, float]", data["carbon_g"])["mid"] == 2.0
    alone = group([ask(), before("embed", None)], "model").groups["embed"].to_dict()
    assert (alone["joules"], alone["carbon_g"]) == (None, None)


def test_groups_are_named() -> None:
    """Each kind of group has the keys that its lines name."""
    assert list(group(LINES, "day").groups) == ["2026-03-01", "2026-03-02", "2026-03-03", "unknown"]
    models = group(LINES, "model").groups
    assert {"openai:small-8b", "m-large", "ingest", "evaluation", "unknown"} == set(models)
    assert models["m-large"].feedback == {"b": False}
    policies = group(LINES, "policy").groups
    assert (policies["off"].answers, policies["bundled/6"].answers) == (1, 2)
    assert group(LINES, "profile").groups["unknown"].attempts == 6
    assert group([ask(profile="batch")], "profile").groups["batch"].answers == 1


def test_groups_are_bounded() -> None:
    """A ledger of any number of names takes no more memory than 4,000 of them."""
    lines = (ask(template=f"t{i}") for i in range(5_000))
    groups = group(lines, "template")
    assert len(groups.groups) == 4_001
    assert groups.total().answers == 5_000


def test_a_metric_is_joined_by_day(tmp_path: Path) -> None:
    """Days that only one side knows are shown, and count in no quotient."""
    file = tmp_path / "orders.csv"
    file.write_text("day,orders\n2026-03-02,10\n2026-03-02,10\n2026-03-09,5\n")
    found: Any = joined(read_metric(file), group(LINES, "day").groups)
    assert (found["metric"], found["days_with_both"], found["units"]) == ("orders", 1, 20.0)
    assert found["per_unit"]["answers"] == 2 / 20.0
    days = {day["day"]: day for day in found["days"]}
    assert days["2026-03-09"]["answers"] is None
    assert days["2026-03-03"]["value"] is None


@pytest.mark.parametrize(
    "text", ["", "day\n", "day,a,b\n", "day,n\n2026-3-1,2\n", "day,n\n2026-03-01,x\n", "day,n\n1\n",
             "day,n\n2026-03-01,inf\n", "day,n\n2026-03-01,1e308\n", "day,n\n2026-W09-7,2\n"],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    """The message names the line."""
    file = tmp_path / "metric.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"metric\.csv"):
        read_metric(file)


def paid(*lines: dict[str, Json]) -> BreakEven:
    """Return the break-even of a ledger."""
    return break_even(summarise(lines))


def test_trimming_pays_after_some_questions() -> None:
    """600 J spent and 60 J saved an answer, less the CPU of trimming: paid after ten or so."""
    spent = [before("ingest", 500.0), before("embed", 100.0)]
    found = paid(*spent, *(ask() for _ in range(5)))
    assert found.verdict == "not yet"
    needed = cast("dict[str, int]", found.questions())
    assert needed["mid"] == 11
    assert needed["low"] < needed["mid"] < needed["high"]
    assert paid(*spent, *(ask() for _ in range(11))).verdict == "paid"


def test_break_even_may_never_come_or_be_unknown() -> None:
    """Without savings no number of questions suffices; without an ingest nothing is known."""
    never = paid(before("ingest", 500.0), ask(saved=0.0))
    assert (never.verdict, never.questions()["mid"]) == ("never at this rate", None)
    assert paid(ask()).verdict == "unknown"
    assert paid(before("ingest", 500.0)).verdict == "unknown"
    assert paid(before("evaluation", None), ask()).unknown == 1


def test_intensity_by_unit() -> None:
    """The same grams, divided by tokens, by questions, or by answers."""
    lines = [before("ingest", None), ask(carbon_g=2.0), ask(carbon_g=4.0, refused=True), ask()]
    per = {}
    for unit in ("token", "workflow", "answer"):
        grams, _ = intensity(lines, unit).per_unit()
        assert grams is not None
        per[unit] = grams["mid"]
    assert per == {"token": 6.0 / 580, "workflow": 3.0, "answer": 6.0}


def test_intensity_says_what_it_is_not() -> None:
    """Per token is marked as a reward for waste; unknown carbon is named, never 0."""
    token = intensity([ask()], "token")
    assert token.per_unit()[0] is None
    assert any("rewards waste" in note for note in token.notes())
    assert any("carbon is unknown for 1 lines" in note for note in token.notes())
    quoted = intensity([ask(generator="extractive")], "answer")
    assert any("never per supported answer" in note for note in quoted.notes())
    assert any("correct or not" in note for note in quoted.notes())


def test_intensity_per_correct_answer() -> None:
    """Feedback makes an answer a correct one; fewer correct ones cost more each."""
    lines = [ask(carbon_g=3.0, answer_id=str(i)) for i in range(4)]
    lines += [feedback("0", good=True), feedback("1", good=False)]
    found = intensity(lines, "answer")
    assert found.good_share == (1, 2)
    grams, _ = found.per_unit((0.25, 0.5, 1.0))
    assert grams is not None
    assert grams["mid"] == 6.0
    assert grams["high"] == pytest.approx(9.0 / 0.25)
    assert intensity(lines, "workflow").good_share is None


@pytest.mark.slow
def test_many_lines_are_summed_in_little_time_and_memory(tmp_path: Path) -> None:
    """Reading is a stream: 5,000 lines take no more memory than their groups and parts."""
    rng = random.Random(3)
    lines = [ask(day=f"2026-03-{rng.randint(1, 28):02}") for _ in range(1_000)]
    path = write(tmp_path / "ledger.jsonl", lines * 5)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = cpu_seconds(lambda: group(read_ledger(path), "day").total())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident < 20 * 1024
    alone = cpu_seconds(lambda: list(map(len, path.read_bytes().splitlines())))
    assert spent > alone  # the clock runs; the figure is in docs/sustainability.md


def test_sums_of_sums() -> None:
    """Adding sums is adding lines."""
    a, b = varied(30, seed=1), varied(20, seed=2)
    total = Summary()
    total += summarise(a)
    total += summarise(b)
    assert total.to_dict()["joules"] == pytest.approx(summarise(a + b).to_dict()["joules"])


def test_lines_are_the_same_without_their_stages(tmp_path: Path) -> None:
    """Leaving out the stages changes nothing else, whatever they are called or hold."""
    odd: list[Json] = [
        [], [{"name": "a]b", "seconds": 1.0, "cpu_seconds": 1.0}], [[1], [2]], "stages", None,
        [{"name": 'x"stages": [', "seconds": 1.0, "cpu_seconds": 0.0}],
    ]  # fmt: skip
    lines = list(LINES)
    for stages in odd:
        receipt: dict[str, Json] = {"stages": stages}
        lines.append({"kind": "ask", "note": '"stages": [', "receipt": receipt})
    path = write(tmp_path / "ledger.jsonl", lines)
    with path.open("a") as file:
        file.write('{"kind": "ask", "receipt": {"stages": [\n[]\n')
    pairs = zip(read_ledger(path), read_ledger(path, with_stages=False), strict=True)
    for whole, short in pairs:
        a, b = summarise([whole]), summarise([short])
        a.stages, b.stages = {}, {}
        assert a == b
