"""`ragkit ledger`, as its users run it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from ragkit.costs.ledger import read_ledger

from ..ledgers import ask, before, feedback, varied, write
from .command import run, valid


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Return a ledger of 60 answers on two days, with an ingest and feedback."""
    lines = [before("ingest", 50_000.0), ask(answer_id="a", carbon_g=1.0)]
    lines += [{**line, "time": f"2026-03-0{2 + i % 2}T10:00:00Z"} for i, line in enumerate(
        varied(60, seed=4))]  # fmt: skip
    return write(tmp_path / "ledger.jsonl", [*lines, feedback("a", good=True)])


def test_reports_are_grouped_joined_and_merged(ledger: Path, tmp_path: Path) -> None:
    """Several ledgers add up; a store's folder stands for its ledger."""
    (tmp_path / "orders.csv").write_text("day,orders\n2026-03-02,7\n2026-03-03,9\n")
    arguments = ["--by", "day", "--business", str(tmp_path / "orders.csv"), "--json"]
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "ledger.jsonl", read_ledger(ledger))
    out = run("ledger", "report", str(ledger), str(tmp_path / "other"), *arguments).stdout
    data = valid(out, "ledger")
    assert (data["answers"] + data["refusals"], data["feedback"]["good"]) == (122, 1)
    assert [day["key"] for day in data["groups"]] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert data["business"]["days_with_both"] == 2
    text = run("ledger", "report", str(ledger), "--by", "model", "--ledger", "unused").stdout
    assert "openai:small-8b" in text


def test_each_file_is_counted_once(tmp_path: Path) -> None:
    """A ledger may be named twice, also by its folder, and `ledger.jsonl*` names its parts."""
    ledger = write(tmp_path / "ledger.jsonl", [ask()])
    full = write(tmp_path / "ledger.jsonl.1", [ask(), ask()])
    packed = tmp_path / "ledger.jsonl.2.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "other", [ask()] * 3).read_bytes()))
    for named in ([ledger, tmp_path], [ledger, full, packed], [packed, tmp_path, packed]):
        done = run("ledger", "report", *map(str, named), "--json")
        assert valid(done.stdout, "ledger")["answers"] == 6
        assert "each is counted once" in done.stderr
    assert valid(run("ledger", "report", str(packed), "--json").stdout, "ledger")["answers"] == 3


def test_the_page_needs_nothing_else(ledger: Path, tmp_path: Path) -> None:
    """Plots are drawn inside, and nothing is loaded from elsewhere."""
    page = tmp_path / "page.html"
    (tmp_path / "orders.csv").write_text("day,orders\n2026-03-02,7\n")
    data = valid(run("ledger", "report", str(ledger), "--by", "policy", "--html", str(page),
                     "--business", str(tmp_path / "orders.csv"), "--json").stdout,
                 "ledger")  # fmt: skip
    assert [group["key"] for group in data["groups"]] == ["ingest", "bundled/6"]
    assert data["business"]["metric"] == "orders"
    text = page.read_text("utf-8")
    assert not re.findall(r"(?:src|href)=|url\(|@import|https?://(?!www\.w3\.org)", text)
    assert text.count("<svg") == text.count("</svg>") >= 3
    for words in ("bundled/6", "orders", "Not yet", "Too few values"):
        assert words in text


def test_names_in_a_ledger_cannot_write_the_page(tmp_path: Path) -> None:
    """A ledger may come from elsewhere: what it holds is text, not markup."""
    lines = [ask(generator="<script>alert(1)</script>\ud800"), ask(day="<b>")]
    page = tmp_path / "page.html"
    run("ledger", "report", str(write(tmp_path / "l", lines)), "--by", "model", "--html", str(page))
    assert "<script>" not in page.read_text("utf-8")
    assert "<b>" not in page.read_text("utf-8")


def test_differences(ledger: Path, tmp_path: Path) -> None:
    """Too few answers are exit code 5; enough have intervals."""
    other = write(tmp_path / "other.jsonl", varied(80, seed=5, tokens=700.0))
    data = valid(run("ledger", "diff", str(ledger), str(other), "--json").stdout, "ledger_diff")
    tokens = next(d for d in data["differences"] if d["measure"] == "input_tokens")
    assert tokens["verdict"] == "higher"
    few = write(tmp_path / "few.jsonl", varied(3, seed=6))
    assert "too few" in run("ledger", "diff", str(ledger), str(few), code=5).stdout


@pytest.mark.parametrize("unit", ["token", "workflow", "answer"])
def test_intensity(ledger: Path, unit: str) -> None:
    """The boundary is named, and each unit has its notes."""
    data = valid(run("ledger", "sci", str(ledger), "--unit", unit, "--json").stdout, "ledger_sci")
    assert data["boundary"] == "consumer"
    assert data["g_per_unit"]["low"] <= data["g_per_unit"]["mid"] <= data["g_per_unit"]["high"]
    assert (data["correct"] is not None) == (unit == "answer")
    text = run("ledger", "sci", str(ledger), "--unit", unit).stdout
    assert "boundary consumer" in text
    assert ("rewards waste" in text) == (unit == "token")


def test_an_intensity_that_is_not_known(tmp_path: Path) -> None:
    """It is said to be unknown, in JSON null."""
    nothing = write(tmp_path / "nothing.jsonl", [])
    data = valid(
        run("ledger", "sci", str(nothing), "--unit", "answer", "--json").stdout, "ledger_sci"
    )
    assert data["g_per_unit"] is None
    assert (
        "carbon  unknown for each" in run("ledger", "sci", str(nothing), "--unit", "answer").stdout
    )


def test_break_even_and_drift(ledger: Path) -> None:
    """Neither "not yet" nor "too few" is an error."""
    paid = run("ledger", "break-even", str(ledger), "--json").stdout
    assert valid(paid, "ledger_break_even")["answers"] > 0
    assert (
        valid(run("ledger", "drift", str(ledger), "--json").stdout, "ledger_drift")["alarms"] == []
    )
    assert "Too few" in run("ledger", "drift", str(ledger)).stdout


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    """The way out is named."""
    assert "--ledger" in run("ledger", "report", str(tmp_path), code=2).stderr
    assert "no ledger" in run("ledger", "diff", str(tmp_path / "a"), "b", code=2).stderr


GOLDEN = Path(__file__).parents[1] / "connectors" / "monitors"


@pytest.mark.parametrize(
    ("name", "file"),
    [("nvidia", "nvidia_query.csv"), ("neuron", "neuron.jsonl"), ("cloudwatch", "cloudwatch.json"),
     ("trace", "trace.json")],
)  # fmt: skip
def test_monitors_print_rows(ledger: Path, name: str, file: str) -> None:
    """One row format for all, with the ledger's answers beside it on request."""
    out = run("monitor", name, str(GOLDEN / file), "--join", str(ledger)).stdout
    rows = [valid(line, "monitor") for line in out.splitlines()]
    assert {row["source"] for row in rows} == {name}
    assert all("ledger" in row for row in rows)


def test_an_absent_monitor_is_no_error() -> None:
    """Scripts run on machines without a GPU, too."""
    (line,) = run("monitor", "neuron", env={"PATH": "/nonexistent"}).stdout.splitlines()
    assert valid(line, "monitor")["error"] == "neuron-monitor is not there"
    given = (GOLDEN / "neuron.jsonl").read_text("utf-8")
    assert len(run("monitor", "neuron", "-", stdin=given).stdout.splitlines()) == 7
    trace = (GOLDEN / "trace.json").read_text("utf-8")
    assert run("monitor", "trace", "-", stdin=trace).stdout == \
        run("monitor", "trace", str(GOLDEN / "trace.json")).stdout  # fmt: skip


def test_reconciling_needs_days_and_models(ledger: Path) -> None:
    """What is missing is named, before anything is asked."""
    days = ["--start", "2026-03-01", "--end", "2026-04-01"]
    assert "--model" in run("ledger", "reconcile", str(ledger), *days, code=2).stderr
    days[1] = "yesterday"
    assert "--start" in run("ledger", "reconcile", str(ledger), *days, code=2).stderr
