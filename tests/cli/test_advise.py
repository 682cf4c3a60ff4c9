"""`ragkit advise`: advice with reason and sources, or none and exit code 5."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .command import run, valid

pytestmark = pytest.mark.slow  # Each test runs commands in processes of their own.


def advised(*arguments: str, code: int = 0) -> dict[str, Any]:
    """Return checked advice."""
    data = valid(run("advise", *arguments, "--json", code=code).stdout, "advise")
    assert (data["advice"] is None) == (code == 5)
    assert all(source["source"] for source in data["sources"])
    return data


GREEN = ["eu-north-1", "eu-west-3", "eu-central-2"]
CASES = {
    "no source tells three apart": (
        ["eu-*", "--data", "eu-central-1"], (None, GREEN), "No source tells",
    ),
    "moving pays": (
        ["eu-central-1,eu-north-1", "--data", "eu-central-1", "--data-gb", "500", "--kwh", "20"],
        ("eu-north-1", ["eu-north-1"]), "4.66 to 18.9 kg",
    ),
    "too much data to move": (
        ["eu-central-1,eu-south-2", "--data", "eu-central-1", "--data-gb", "100000", "--kwh", "1"],
        ("eu-central-1", ["eu-central-1"]), "3.31 to 4.1 kg",
    ),
    "one grid": (["us-east-1,us-east-2"], None, "overlap"),
    "sources far apart": (["ca-central-1,eu-north-1"], None, "11 to 185 g/kWh"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_five_cases(case: str) -> None:
    """The cases of the page: three answers, two silences."""
    (allow, *rest), expected, reason = CASES[case]
    data = advised("region", "--allow", allow, *rest, code=0 if expected else 5)
    assert reason in data["reason"]
    if expected is not None:
        assert (data["advice"]["region"], data["advice"]["regions"]) == expected
    for entry in data["considered"]:
        assert entry["location_based_g_per_kwh"]["low"] > 0
        assert entry["market_based"] is None
    assert any("market-based" in str(source.get("method")) for source in data["sources"])


def test_data_and_users_decide_between_equals() -> None:
    """Where no source tells Regions apart, the one with the data wins, else that of the users."""
    by_users = advised("region", "--allow", "eu-*", "--users", "eu-west-3")
    assert by_users["advice"]["region"] == "eu-west-3"
    by_data = advised("region", "--allow", "eu-*", "--users", "eu-west-3", "--data", "eu-north-1")
    assert by_data["advice"]["region"] == "eu-north-1"


def test_moving_data_has_a_price_where_the_work_is_not_known() -> None:
    """Without the energy of the work, the advice says from how much work on moving pays."""
    data = advised("region", "--allow", "eu-central-1,eu-north-1", "--data", "eu-central-1",
                   "--data-gb", "500")  # fmt: skip
    # 500 GB x 0.06 kWh x 342.06 g, saved at 275.81 - 35.89 g a kWh
    assert data["advice"]["pays_from_kwh"] == pytest.approx(42.77, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--allow", "eu-nort-1"], "did you mean eu-north-1"),
     (["--allow", "eu-*,mars-*"], "mars-*"),
     (["--allow", "eu-*", "--data", "Stockholm"], "did you mean eu-north-1"),
     (["--allow", "eu-*", "--data-gb", "5"], "--data-gb needs --data"),
     (["--allow", "eu-*", "--kwh", "-1"], "--kwh -1"),
     (["--allow", ""], "allowed: af-south-1"),
     (["--allow", "eu-*", "--months", "0"], "--months 0")],
)  # fmt: skip
def test_wrong_arguments_are_told(arguments: Sequence[str], told: str) -> None:
    """Names and numbers that mean nothing are exit code 2 with the way out."""
    assert told in run("advise", "region", *arguments, code=2).stderr


def test_a_profile_leaves_no_region_to_choose() -> None:
    """Its range is given where all of its Regions are allowed; one that is not is named."""
    data = advised("region", "--allow", "eu-*", "--inference-profile", "eu")
    assert data["advice"]["region"] is None
    assert data["advice"]["g_per_kwh"]["low"] == pytest.approx(15.83)
    assert data["advice"]["g_per_kwh"]["high"] == pytest.approx(342.06)
    partly = advised("region", "--allow", "eu-central-1", "--inference-profile", "eu", code=5)
    assert "may run in eu-north-1, eu-south-1" in partly["reason"]
    wrong = ["region", "--allow", "eu-*", "--inference-profile", "moon"]
    assert "allowed: eu us apac jp au ca in global" in run("advise", *wrong, code=2).stderr


PRICES = ["--price-per-hour", "1.2", "--price-per-question", "0.002"]


def test_hosting_turns_where_the_arithmetic_says() -> None:
    """Money and energy are apart; the load chooses, if it lies outside the range."""
    own = ["hosting", "--busy-seconds", "2", "--watts", "20,120", *PRICES,
           "--joules-per-question", "400,500"]  # fmt: skip
    data = advised(*own)["advice"]
    assert data["money"]["from"] == pytest.approx(600.0)
    # idle 20 W x PUE x 3600 s over what a question saves: joules - 100 W x 2 s x PUE
    assert data["energy"]["from_low"] == pytest.approx(20 * 1.04 * 3600 / (500 - 200 * 1.04))
    assert data["energy"]["from_high"] == pytest.approx(20 * 1.58 * 3600 / (400 - 200 * 1.58))
    assert data["most_questions_an_hour"] == pytest.approx(1800.0)
    chosen = {
        load: tuple(
            advised(*own, "--questions-per-hour", load)["advice"][what]["choose"]
            for what in ("money", "energy")
        )
        for load in ("100", "700", "1500")
    }
    assert chosen == {
        "100": ("managed", "managed"), "700": ("self-hosted", None),
        "1500": ("self-hosted", "self-hosted"),
    }  # fmt: skip


def test_hosting_is_silent_where_watts_are_not_published() -> None:
    """Inferentia2 has no published watts: with prices money alone is compared, else nothing."""
    own = ["hosting", "--instance", "inf2.xlarge", "--busy-seconds", "2",
           "--joules-per-question", "100,200"]  # fmt: skip
    assert "Nothing can be compared" in advised(*own, code=5)["reason"]
    data = advised(*own, *PRICES)
    assert data["advice"]["energy"] is None
    assert data["advice"]["money"]["from"] == pytest.approx(600.0)
    known = advised("hosting", "--instance", "g5.xlarge", *own[3:])
    assert known["advice"]["energy"]["from_low"] is None
    told = run("advise", "hosting", "--instance", "g5.xlage", "--busy-seconds", "2", code=2)
    assert "did you mean g5.xlarge" in told.stderr


def _ledger(place: Path, n: int, *, n_cut: int = 0, seconds: float = 3.0) -> str:
    lines = [
        {"schema": 1, "kind": "ask", "time": f"2026-11-{1 + i % 20:02d}T00:00:00Z",
         "generator": "openai:a" if i % 2 else "openai:b", "refused": False,
         "stop_reason": "length" if i < n_cut else "end",
         "usage": {"input_tokens": 500 + i, "output_tokens": 50 + i % 40},
         "receipt": {"seconds": seconds, "cpu_seconds": 0.5, "llm_calls": 1, "outcome": "answered",
                     "joules": {"low": 10.0, "mid": 20.0, "high": 50.0}}}
        for i in range(n)
    ]  # fmt: skip
    others = [{"schema": 1, "kind": "ask", "dry_run": True}, {"kind": "ingest"}, ["no", "object"]]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, *others])
    place.write_text(text + '{"cut in ha', "utf-8")
    return str(place)


def test_the_window_comes_from_the_ledgers_quantiles(tmp_path: Path) -> None:
    """With 400 answers the 99th percentile is bounded, with 100 the 95th, with 50 nothing is."""
    place = _ledger(tmp_path / "l.jsonl", 400)
    data = advised("window", "--ledger", place)
    assert data["advice"] == {"max_tokens": 96, "n_ctx": 992, "model_window": 1024, "share": 0.99}
    rows = {row["name"]: row for row in data["considered"]}
    assert (rows["input_tokens"]["p50"], rows["input_tokens"]["p99"]) == (699, 895)
    assert rows["input_tokens"]["p99_upper"] == 899
    fewer = advised("window", "--ledger", _ledger(tmp_path / "m.jsonl", 100))
    assert fewer["advice"]["share"] == 0.95
    few = advised("window", "--ledger", _ledger(tmp_path / "n.jsonl", 50), code=5)
    assert "59" in few["reason"]
    one = advised("window", "--ledger", place, "--generator", "openai:a")
    assert one["sources"][0]["answers"] == 200


def test_cut_answers_hide_how_long_they_would_be(tmp_path: Path) -> None:
    """Lengths that were cut at the limit are no evidence for a lower one."""
    data = advised("window", "--ledger", _ledger(tmp_path / "l.jsonl", 300, n_cut=30), code=5)
    assert "30 of 300 answers were cut" in data["reason"]


def test_answers_that_broke_off_say_nothing_of_lengths(tmp_path: Path) -> None:
    """What failed or was left had fewer tokens than its answer would have had."""
    whole = Path(_ledger(tmp_path / "whole.jsonl", 300)).read_text("utf-8")
    place = tmp_path / "mixed.jsonl"
    for outcome in ("failed", "abandoned"):
        broken = [json.loads(line) for line in whole.splitlines()[:99]]
        for line in broken:
            line["receipt"]["outcome"] = outcome
        place.write_text("".join(json.dumps(line) + "\n" for line in broken) + whole, "utf-8")
        (source,) = advised("window", "--ledger", str(place))["sources"]
        assert source["answers"] == 300


@pytest.mark.parametrize(
    ("arguments", "tier"),
    [(["--max-wait", "86400", "--questions-per-day", "5000"], "batch"),
     (["--max-wait", "86400", "--questions-per-day", "40"], "flex"),
     (["--max-wait", "600"], "flex"), (["--max-wait", "30"], "standard"),
     (["--max-wait", "2"], "realtime")],
)  # fmt: skip
def test_the_tier_is_the_slowest_that_is_fast_enough(
    tmp_path: Path, arguments: Sequence[str], tier: str
) -> None:
    """Each tier says what it is on Bedrock and SageMaker, and claims no joules."""
    data = advised("tier", *arguments, "--store", str(tmp_path / "none"))
    assert data["advice"]["tier"] == data["advice"]["profile"] == tier
    assert {entry["tier"] for entry in data["considered"]} == {
        "realtime", "standard", "flex", "batch"
    }  # fmt: skip
    assert "no saving of joules" in data["reason"]


def test_the_ledgers_times_decide_the_tier(tmp_path: Path) -> None:
    """Where answers are measured, the need is compared with them; without a need none is."""
    quick = _ledger(tmp_path / "q.jsonl", 30, seconds=1.0)
    assert advised("tier", "--max-wait", "2", "--ledger", quick)["advice"]["tier"] == "standard"
    slow = _ledger(tmp_path / "s.jsonl", 30, seconds=9.0)
    assert advised("tier", "--max-wait", "2", "--ledger", slow)["advice"]["tier"] == "realtime"
    assert "--max-wait" in advised("tier", "--ledger", slow, code=5)["reason"]


def test_text_for_people_has_reason_and_sources(tmp_path: Path) -> None:
    """Location- and market-based stand beside each other; the reason follows, then the sources."""
    shown = run("advise", "region", "--allow", "eu-*").stdout
    assert "location-based, g/kWh   market-based" in shown
    assert "eu-north-1       19 to 36                unknown" in shown
    assert "(ODbL-1.0)" in shown
    silent = run("advise", "window", "--ledger", _ledger(tmp_path / "l", 3), code=5).stdout
    assert silent.startswith("No advice.")
