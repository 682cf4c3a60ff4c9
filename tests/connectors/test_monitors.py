"""Monitors of machines and services: files in their real formats, and the fake AWS."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.costs.ledger import as_table
from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_connectors.monitors import neuron, nvidia
from ragkit_connectors.monitors.cloudwatch import Period, read_file, sample
from ragkit_connectors.monitors.joining import joined
from ragkit_connectors.monitors.reconcile import Booked, booked, carbon, compare_carbon
from ragkit_connectors.monitors.reconcile import compare_tokens as compare
from ragkit_connectors.monitors.rows import Sample
from ragkit_connectors.monitors.trace import read_trace
from ragkit_connectors.support.aws import AwsClient

from ..cli.command import RAGKIT, run
from ..ledgers import ask
from .aws_server import AwsFault, AwsServer

GOLDEN = Path(__file__).parent / "monitors"
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
MODEL = "amazon.nova-lite-v1:0"


def known(rows: Iterable[Sample]) -> list[dict[str, Json]]:
    """Return rows without what is unknown, and without what all have."""
    return [
        {k: v for k, v in row.to_dict().items() if v is not None and k not in {"schema", "source"}}
        for row in rows
    ]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine's local time, which nvidia-smi prints, be UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_nvidia_smi_by_our_own_query() -> None:
    """Without a header the columns are those that we ask for; [N/A] is unknown, 0 is 0."""
    busy, idle = known(nvidia.read_csv((GOLDEN / "nvidia_query.csv").read_text().splitlines()))
    assert busy == {
        "time": "2026-03-02T12:00:00.123Z", "device": "0", "name": "NVIDIA H100 80GB HBM3",
        "utilization": 0.87, "memory_utilization": 0.41, "memory_bytes": 65536 * 2**20,
        "memory_total_bytes": 81559 * 2**20, "watts": 612.34, "performance_state": "P0",
    }  # fmt: skip
    assert idle["utilization"] == 0.0
    assert "watts" not in idle


def test_nvidia_smi_with_a_header_and_units() -> None:
    """Any columns, in any order, with units; a counter of energy is in joules."""
    busy, dumb = known(nvidia.read_csv((GOLDEN / "nvidia_header.csv").read_text().splitlines()))
    assert (busy["device"], busy["utilization"], busy["watts"]) == ("0", 0.12, 31.2)
    assert busy["joules"] == 123456.789
    assert set(dumb) == {"time", "device", "name", "memory_total_bytes", "performance_state"}


def test_a_tool_that_is_absent_or_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows of nulls say why; a tool that is there is asked."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for rows in (nvidia.sample(), neuron.sample()):
        (row,) = known(rows)
        assert list(row) == ["error"]
    tool = tmp_path / "nvidia-smi"
    lines = (GOLDEN / "nvidia_query.csv").read_text()
    tool.write_text(f"#!/bin/sh\n[ $1 = --query-gpu={','.join(nvidia.QUERY)} ] || exit 1\n"
                    f"echo '{lines}'\n")  # fmt: skip
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert [row.device for row in nvidia.sample()] == ["0", "1"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert known(nvidia.sample()) == [{"error": "nvidia-smi ended with exit code 9"}]


def test_neuron_monitor_says_each_groups_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A group with an error leaves its values unknown, and the row says which error."""
    rows = known(neuron.read_lines((GOLDEN / "neuron.jsonl").read_text().splitlines()))
    host, process, core, idle_core, failed, denied, broken = rows
    assert (host["name"], host["memory_bytes"]) == ("inf2.8xlarge", 12884901888)
    assert (process["device"], process["latency_seconds"], process["n"]) == ("pid 421", 0.0145, 123)
    assert (core["utilization"], idle_core["utilization"]) == (0.625, 0.0)
    assert (failed["error"], "utilization" in failed) == ("counters unavailable", False)
    assert denied["error"] == "permission denied; Failed to get instance metadata"
    assert broken == {"error": "a line that is no JSON object"}
    tool = tmp_path / "neuron-monitor"
    tool.write_text(f"#!/bin/sh\nhead -1 {GOLDEN / 'neuron.jsonl'}\nexec sleep 60\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    live = neuron.sample()
    assert len(live) == 5
    assert live[0].time is not None
    assert datetime.now(UTC) - live[0].time < timedelta(minutes=5)


@given(st.text(max_size=80))
def test_no_line_breaks_a_reader(text: str) -> None:
    """Whatever a file holds, a line is a row."""
    rows = [*nvidia.read_csv(text.splitlines()), *neuron.read_lines([text])]
    assert all(json.dumps(row.to_dict(), allow_nan=False) for row in rows)


ODD: tuple[Json, ...] = (
    None, True, -5, 10**400, 1e300, "x", "nan", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", [], [5], [[]], {}, {"a": 1},
)  # fmt: skip


def odd_documents(document: Json) -> Iterator[Json]:
    """Yield a document with each of its parts replaced by each odd value."""
    yield from ODD
    if isinstance(document, dict):
        for key, value in document.items():
            for odd in odd_documents(value):
                yield {**document, key: odd}
    elif isinstance(document, list):
        for i, value in enumerate(document[:2]):
            for odd in odd_documents(value):
                yield [*document[:i], odd, *document[i + 1 :]]


READERS: dict[str, Callable[[Path], Iterable[Sample]]] = {
    "neuron.jsonl": lambda path: neuron.read_lines([path.read_text()]),
    "cloudwatch.json": read_file,
    "trace.json": read_trace,
}


@pytest.mark.parametrize("name", READERS)
def test_any_value_may_stand_anywhere(name: str, tmp_path: Path) -> None:
    """What cannot have been measured is unknown; a file of another form is a usage error."""
    path = tmp_path / name
    text = (GOLDEN / name).read_text()
    for document in odd_documents(json.loads(text.splitlines()[0] if "jsonl" in name else text)):
        path.write_text(json.dumps(document))
        with contextlib.suppress(ConfigError):
            rows = READERS[name](path)
            assert all(json.dumps(row.to_dict(), allow_nan=False) for row in rows)


def test_a_cell_without_end_is_a_row() -> None:
    """The lines after it are read as ever."""
    long, gpu = nvidia.read_csv(["a" * 200_000, "2026/03/02 12:00:00.000, 0, GPU-1, H100"])
    assert (long.error, gpu.device) == ("a line that is none of nvidia-smi's", "0")


@pytest.mark.parametrize("monitor", ["nvidia", "neuron"])
def test_bytes_that_are_no_text_are_a_row(monitor: str) -> None:
    """What a pipe brings need not be UTF-8."""
    done = subprocess.run([RAGKIT, "monitor", monitor, "-"], input=b"\xff\xfe, 0\n", check=False,
                          capture_output=True, env={**os.environ, "PYTHONUTF8": "1"},
                          timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["source"] == monitor


def test_a_trace_becomes_rows_by_kind_and_device(tmp_path: Path) -> None:
    """Nested and parallel events are busy once; other kinds of events are left out."""
    rows = known(read_trace(GOLDEN / "trace.json"))
    found = {
        (str(row["name"]), str(row["device"])): (row["n"], row["busy_seconds"]) for row in rows
    }
    assert found == {
        ("cpu_op", "cpu"): (2, 0.0004), ("kernel", "gpu 0"): (2, 0.0003),
        ("gpu_memcpy", "gpu 0"): (1, 0.0001),
    }  # fmt: skip
    assert {str(row["time"]) for row in rows} == {"2026-03-02T12:00:00.000Z"}
    for content in ("{", "[]", '{"a": 1}', ""):
        other = tmp_path / "trace.json"
        other.write_text(content)
        if content == "[]":
            assert known(read_trace(other))[0]["error"]
        else:
            with pytest.raises(ConfigError, match="trace"):
                read_trace(other)


def test_cloudwatch_from_a_file(tmp_path: Path) -> None:
    """Metrics of a time and a device are one row; what is forbidden says so."""
    first, endpoint, second, forbidden = known(read_file(GOLDEN / "cloudwatch.json"))
    assert (first["input_tokens"], first["output_tokens"], first["n"]) == (1500, 240, 3)
    assert first["latency_seconds"] == 0.8125
    assert (endpoint["device"], endpoint["cpu_utilization"]) == ("answers/AllTraffic", 1.4)
    assert "output_tokens" not in second
    assert forbidden == {"device": "amazon.titan-forbidden", "error": "Forbidden"}
    (tmp_path / "x").write_text("{}")
    with pytest.raises(ConfigError, match="get-metric-data"):
        read_file(tmp_path / "x")


def test_cloudwatch_is_asked_page_by_page(aws: AwsServer) -> None:
    """Partial data is completed by the next page; the queries are what AWS allows."""

    def result(metric: str, value: float, status: str) -> dict[str, object]:
        label = f"{metric} {MODEL}"
        return {"Id": "q0", "Label": label, "Timestamps": [START], "Values": [value],
                "StatusCode": status}  # fmt: skip

    aws.answer(
        "GetMetricData",
        {"MetricDataResults": [result("InputTokenCount", 1500.0, "PartialData")],
         "NextToken": "more"},
        {"MetricDataResults": [result("OutputTokenCount", 240.0, "Complete")]},
    )  # fmt: skip
    client = AwsClient("cloudwatch", base_url=aws.url)
    period = Period(start=START, end=START + timedelta(hours=1))
    (row,) = sample(client, period, models=[MODEL], endpoints=[("answers", "AllTraffic")])
    assert (row.input_tokens, row.output_tokens, row.seconds) == (1500, 240, 300)
    assert [r.parameters.get("NextToken") for r in aws.requests] == [None, "more"]
    assert len(aws.requests[0].parameters["MetricDataQueries"]) == 10  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="0 metrics"):
        sample(client, period)


@pytest.mark.parametrize("option", ["--hours=0", "--hours=99999999999", "--period=90"])
def test_a_time_that_cannot_be_asked_for(option: str) -> None:
    """The message says what is allowed."""
    message = run("monitor", "cloudwatch", "--model", MODEL, option, code=2).stderr
    assert "--hours takes 1 to 10,920" in message


def test_cloudwatch_that_refuses_names_the_permission(aws: AwsServer) -> None:
    """As for all calls to AWS."""
    aws.answer("GetMetricData", AwsFault("AccessDeniedException", status=403))
    client = AwsClient("cloudwatch", base_url=aws.url)
    with pytest.raises(Exception, match="cloudwatch:GetMetricData"):
        sample(client, Period(start=START, end=START + timedelta(hours=1)), models=[MODEL])


def test_a_ledger_may_hold_any_time() -> None:
    """Times at the ends of the calendar are times."""
    row = Sample(source="nvidia", time=START)
    lines = [{**ask(), "time": time} for time in (
        "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
    )]  # fmt: skip
    (found,) = joined([row], lines)
    assert as_table(found["ledger"])["answers"] == 0


def test_rows_are_joined_to_answers_by_time() -> None:
    """A moment meets the answers under way, a period those that touch it."""
    lines = [ask(time="12:00:10", seconds=5.0, answer_id="a"), ask(time="12:00:30", seconds=1.0)]
    moment = Sample(source="nvidia", time=START + timedelta(seconds=6))
    before = Sample(source="nvidia", time=START + timedelta(seconds=4))
    period = Sample(source="cloudwatch", time=START, seconds=60.0)
    unknown = Sample(source="neuron")
    first, none, both, untimed = (
        row["ledger"] for row in joined([moment, before, period, unknown], lines)
    )
    assert isinstance(first, dict)
    assert (first["answers"], first["input_tokens"], first["answer_ids"]) == (1, 500, ["a"])
    assert isinstance(none, dict)
    assert (none["answers"], none["input_tokens"], none["joules"]) == (0, None, None)
    assert isinstance(both, dict)
    assert both["answers"] == 2
    assert untimed is None


def ledger_of(*outcomes: str) -> Booked:
    """Return what is booked of answers by a Bedrock model."""
    lines = [ask(generator=f"bedrock:{MODEL}", outcome=outcome, carbon_g=2.0, served_tier="flex")
             for outcome in outcomes]  # fmt: skip
    others = [ask(generator="bedrock:other"), ask(day="2026-04-01"), ask(refused=True)]
    others.append(ask(generator=f"bedrock:{MODEL}", served_tier="default"))
    return booked([*lines, *others], START, START + timedelta(days=20), models=[f"{MODEL}+flex"])


def test_tokens_are_reconciled() -> None:
    """Within 1 % they agree; a gap is explained by what can be seen."""
    mine = ledger_of("answered", "answered", "failed")
    assert (mine.calls, mine.tokens) == (3, {"input_tokens": 1500, "output_tokens": 240})
    close = Sample(source="cloudwatch", n=3, input_tokens=1505, output_tokens=240)
    assert compare(mine, [close])["agrees"] is True
    more = Sample(source="cloudwatch", n=5, input_tokens=2500, output_tokens=240)
    gap = compare(mine, [more])
    assert gap["agrees"] is False
    assert "2 calls that this ledger has not" in str(gap["reasons"])
    assert "failed or were abandoned" in str(gap["reasons"])
    nothing = compare(mine, [Sample(source="cloudwatch")])
    assert nothing["agrees"] is None
    assert "no data points" in str(nothing["reasons"])


def test_grams_are_reconciled(aws: AwsServer) -> None:
    """AWS's location-based estimate is compared; the market-based one stands beside it."""

    def month(value: float) -> dict[str, object]:
        return {
            "TimePeriod": {"Start": START, "End": START + timedelta(days=30)},
            "DimensionsValues": {"REGION": "eu-west-1"}, "ModelVersion": "v3.0.0",
            "EmissionsValues": {
                "TOTAL_LBM_CARBON_EMISSIONS": {"Value": value, "Unit": "MTCO2e"},
                "TOTAL_MBM_CARBON_EMISSIONS": {"Value": 0.0, "Unit": "MTCO2e"},
            },
        }  # fmt: skip

    aws.answer(
        "GetEstimatedCarbonEmissions",
        {"Results": [month(2e-6)], "NextToken": "more"}, {"Results": [month(3e-6)]},
    )  # fmt: skip
    client = AwsClient("sustainability", base_url=aws.url)
    filters = {"REGION": ["eu-west-1"]}
    found = carbon(client, START, START + timedelta(days=60), filters=filters)
    assert found == {"location_based_g": 5.0, "market_based_g": 0.0}
    mine = ledger_of("answered", "answered")
    assert compare_carbon(mine, found)["inside"] is True
    outside = compare_carbon(mine, {**found, "location_based_g": 900.0})
    assert outside["inside"] is False
    assert "whole months" in str(outside["reasons"])
    unknown = compare_carbon(Booked(), {"location_based_g": None, "market_based_g": None})
    assert (unknown["inside"], unknown["ledger_g"]) == (None, None)


def test_golden_files_hold_what_they_are_named_for() -> None:
    """They are small, ours, and of the real formats."""
    assert {path.name for path in GOLDEN.iterdir()} == {
        "cloudwatch.json", "neuron.jsonl", "nvidia_header.csv", "nvidia_query.csv", "trace.json",
    }  # fmt: skip
    assert json.loads((GOLDEN / "trace.json").read_text())["schemaVersion"] == 1
