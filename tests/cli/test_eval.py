"""`ragkit eval` as the installed command: outputs, exit codes, and no network at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ragkit_connectors.testing import OpenAIServer, Reply

from ..eval.made import NOTICES, make_dataset, write_lines
from .command import RAGKIT, run, valid

pytestmark = pytest.mark.slow  # Each test runs commands in processes of their own.


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the small dataset's folder."""
    return str(make_dataset(tmp_path_factory.mktemp("data") / "town", copies=3))


@pytest.fixture(scope="module")
def runs(town: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two runs and the cache that they share."""
    folder = tmp_path_factory.mktemp("runs")
    for name, trim in (("base", ["--trim", "off"]), ("new", ["--max-context-tokens", "8"])):
        run("eval", "run", town, "--out", str(folder / name), "--cache", str(folder / "cache"),
            "--embedder", "none", "--refuse-below", "off", "--cluster", "none", *trim)  # fmt: skip
    return folder


def test_validate_exits_1_and_names_faults(tmp_path: Path) -> None:
    """A sound dataset exits 0; a fault exits 1 and is in the output; no dataset exits 2."""
    folder = make_dataset(tmp_path / "town")
    sound = valid(run("eval", "validate", str(folder), "--json").stdout, "eval_validate")
    assert (sound["sound"], sound["n_questions"], sound["n_spans"]) == (True, 17, 15)
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("ferry-0-0\tatlantis\t1\n")
    faulty = run("eval", "validate", str(folder), "--json", code=1).stdout
    assert valid(faulty, "eval_validate")["faults"][0]["code"] == "missing_document"
    assert "atlantis" in run("eval", "validate", str(folder), code=1).stdout
    assert "no dataset" in run("eval", "validate", str(tmp_path / "x"), code=2).stderr


def test_run_prints_its_summary_and_leaves_rows(town: str, runs: Path) -> None:
    """The summary is valid and unrounded, its rows too; the same command asks nothing again."""
    data = valid(
        run("eval", "run", town, "--out", str(runs / "base"), "--cache", str(runs / "cache"),
            "--embedder", "none", "--refuse-below", "off", "--cluster", "none", "--trim", "off",
            "--json").stdout,
        "eval_run",
    )  # fmt: skip
    assert (data["dataset"], data["split"], data["n"]) == ("town", "test", 47)
    assert data["manifest"]["configuration"]["store"]["embedder"] == "none"
    assert "--trim" in data["manifest"]["command"]
    assert data == json.loads((runs / "base" / "summary.json").read_text())
    lines = (runs / "base" / "rows.jsonl").read_text().splitlines()
    assert len(lines) == 47
    for line in lines:
        valid(line, "eval_row")
    scores = [json.loads(s) for s in (runs / "base" / "scores.jsonl").read_text().splitlines()]
    values = [s["values"]["nDCG@10"] for s in scores if s["values"]["nDCG@10"] is not None]
    assert data["measures"]["nDCG@10"]["mean"] == pytest.approx(sum(values) / len(values), abs=0)


def test_progress_is_a_line_a_question(town: str, tmp_path: Path) -> None:
    """`--progress json` prints each question on stderr once its row is written."""
    result = run("eval", "run", town, "--out", str(tmp_path / "run"), "--cache",
                 str(tmp_path / "cache"), "--embedder", "none", "--progress", "json")  # fmt: skip
    lines = [valid(line, "eval_progress") for line in result.stderr.splitlines()]
    assert len(lines) == 47
    assert {"id": "ferry-0-0", "status": "ok"} in lines


def test_a_changed_setting_needs_a_folder_of_its_own(town: str, runs: Path) -> None:
    """The same folder is refused, naming the difference; without --out each has its own."""
    options = ["--cache", str(runs / "cache"), "--embedder", "none", "--limit", "3"]
    refused = run("eval", "run", town, "--out", str(runs / "base"), *options, code=2)
    assert "--restart" in refused.stderr
    one = json.loads(run("eval", "run", town, *options, "--json").stdout)["run"]
    two = json.loads(run("eval", "run", town, *options, "-k", "3", "--json").stdout)["run"]
    assert one != two
    assert one.startswith("runs/town-test-")


def test_a_dry_run_estimates_and_asks_nothing(town: str, runs: Path) -> None:
    """Calls, tokens and cost with their bands; the server hears nothing."""
    with OpenAIServer([Reply(text="At nine.")]) as server:
        options = [
            "eval", "run", town, "--cache", str(runs / "cache"), "--embedder", "none", "--json",
            "--refuse-below", "off", "--generator", "openai:llama-8b", "--base-url",
            server.base_url, "--out", str(runs / "paid"), "--max-tokens", "10",
        ]  # fmt: skip
        prices = ["--dry-run", "--input-price", "1000000", "--output-price", "1000000"]
        data = valid(run(*options, *prices).stdout, "eval_estimate")
        assert server.requests == []
        assert not (runs / "paid").exists()
        assert (data["n"], data["left"], data["sampled"]) == (47, 47, 47)
        assert data["llm_calls"] == pytest.approx(46, abs=1)
        calls, tokens = data["llm_calls"], data["input_tokens"]
        assert data["output_tokens"] == {"low": calls, "high": 10 * calls}
        assert data["cost"] == {"low": tokens + calls, "high": tokens + 10 * calls}
        assert 0.0 < data["joules"]["low"] < data["joules"]["high"]
        done = valid(run(*options).stdout, "eval_run")
        assert len(server.requests) == done["statuses"]["ok"] == calls
        after = valid(run(*options, *prices).stdout, "eval_estimate")
        assert (after["left"], after["llm_calls"], after["input_tokens"]) == (0, 0, 0)


def test_questions_are_asked_side_by_side(town: str, tmp_path: Path) -> None:
    """Eight at a time give the same rows and means; whose CPU time it was is unknown."""
    summaries: list[dict[str, object]] = []
    with OpenAIServer([Reply(text="At nine.", delay_seconds=0.05)]) as server:
        for jobs in ("1", "8"):
            options = [
                "eval", "run", town, "--cache", str(tmp_path / f"cache{jobs}"), "--embedder",
                "none", "--refuse-below", "off", "--generator", "openai:m", "--base-url",
                server.base_url, "--out", str(tmp_path / f"run{jobs}"), "--jobs", jobs, "--json",
            ]  # fmt: skip
            summaries.append(valid(run(*options).stdout, "eval_run"))
        assert len(server.requests) == 2 * json.loads(json.dumps(summaries[0]))["statuses"]["ok"]
    one, many = (json.loads(json.dumps(summary))["measures"] for summary in summaries)
    assert many["CPUSeconds"]["mean"] is None
    for name, found in one.items():
        if name not in {"Seconds", "CPUSeconds", "Joules"}:
            assert many[name] == found
    first = (tmp_path / "run1" / "rows.jsonl").read_text().splitlines()
    second = (tmp_path / "run8" / "rows.jsonl").read_text().splitlines()
    assert sorted(json.loads(r)["id"] for r in first) == sorted(json.loads(r)["id"] for r in second)


def test_a_server_that_is_down_makes_error_rows(town: str, runs: Path) -> None:
    """The run ends with exit 1, every failed question has its reason, and none is in a mean."""
    with OpenAIServer([Reply(status=400, text="out of order")]) as server:
        result = run("eval", "run", town, "--out", str(runs / "down"), "--json", "--limit", "4",
                     "--cache", str(runs / "cache"), "--embedder", "none", "--generator",
                     "openai:m", "--base-url", server.base_url, "--refuse-below", "off",
                     "--measures", "F1", code=1)  # fmt: skip
    data = valid(result.stdout, "eval_run")
    assert data["statuses"] == {"ok": 0, "refused": 0, "error": 4}
    assert data["measures"]["F1"]["mean"] is None
    assert "out of order" in (runs / "down" / "rows.jsonl").read_text()
    gate = runs / "gate-down.toml"
    gate.write_text("[measure.F1]\nfloor = 0.0\n")
    failed = run("eval", "gate", str(runs / "down"), "--policy", str(gate), "--json", code=4)
    assert valid(failed.stdout, "eval_gate")["verdict"] == "fail"


def test_compare_gate_and_report(runs: Path, tmp_path: Path) -> None:
    """Outputs are valid, files are written, and the exit codes are 0, 4 and 5."""
    base, new = str(runs / "base"), str(runs / "new")
    compared = valid(run("eval", "compare", base, new, "--json").stdout, "eval_compare")
    assert compared["measures"]["ContextTokens"]["verdict"] == "better"
    assert "ContextTokens" in run("eval", "compare", base, new).stdout

    gate = tmp_path / "gate.toml"

    def judge(text: str, code: int, *more: str) -> dict[str, object]:
        gate.write_text(text)
        result = run("eval", "gate", new, "--baseline", base, "--policy", str(gate), "--json",
                     *more, "--junit", str(tmp_path / "out" / "junit.xml"),
                     "--summary", str(tmp_path / "out" / "summary.md"), code=code)  # fmt: skip
        return valid(result.stdout, "eval_gate")

    assert judge("[measure.ContextTokens]\nmargin = 0.0\n", 0)["verdict"] == "pass"
    assert judge("[measure.EvidenceFound]\nmargin = 0.02\n", 4)["verdict"] == "fail"
    assert judge("[measure.Groundedness]\nfloor = 0.97\n", 5)["verdict"] == "inconclusive"
    assert (tmp_path / "out" / "junit.xml").read_text().startswith("<?xml")
    assert "INCONCLUSIVE" in (tmp_path / "out" / "summary.md").read_text()
    early = judge("[measure.Groundedness]\nfloor = 0.3\n", 0, "--sequential")
    assert (early["verdict"], early["stopped_early"], early["n"]) == ("pass", True, 47)
    late = judge("[measure.Groundedness]\nfloor = 0.97\n", 5, "--sequential")
    assert (late["n_used"], late["stopped_early"]) == (47, False)
    assert judge("[measure.EvidenceFound]\nmargin = 0.02\n", 4, "--sequential")["verdict"] == "fail"
    shown = run(
        "eval", "gate", new, "--baseline", base, "--policy", str(gate), "--sequential", code=4
    )
    assert "about new questions like these: " in shown.stdout
    assert "seed 0; stopped early" in shown.stdout
    floor = "[measure.Groundedness]\nfloor = 0.97\n"
    alone = judge(floor, 0, "--sequential", "--scope", "run")
    assert (alone["verdict"], alone["scope"], late["scope"]) == ("pass", "run", "new")
    refused = run("eval", "gate", new, "--policy", str(gate), "--scope", "run", code=2)
    assert "--sequential" in refused.stderr

    gate.write_text("[measure.EvidenceFound]\nmargin = 0.02\n")
    alike = run("eval", "aa", base, base, "--policy", str(gate), "--pairs", "80", "--json")
    assert valid(alike.stdout, "eval_aa")["verdict"] == "steady"
    few = ("eval", "aa", new, "--policy", str(gate), "--baseline", base, "--pairs", "5")
    assert "unknown" in run(*few, code=5).stdout
    assert "--baseline" in run("eval", "aa", new, "--policy", str(gate), code=2).stderr
    gate.write_text("[measure.F1]\nmargin = 0.1\n")
    assert "--baseline" in run("eval", "gate", new, "--policy", str(gate), code=2).stderr

    page, note = tmp_path / "r.html", tmp_path / "r.md"
    data = valid(
        run("eval", "report", base, new, "--html", str(page), "--markdown", str(note),
            "--slice", "kind", "--json").stdout,
        "eval_report",
    )  # fmt: skip
    assert data["wrote"] == [str(page), str(note)]
    assert data["worst"][0]["after"] < data["worst"][0]["before"]
    assert page.read_text().startswith("<!doctype html>")
    assert run("eval", "report", base, new).stdout.startswith("## ragkit eval")
    assert "unfinished" in run("eval", "report", str(runs / "cache"), code=2).stderr
    assert "--policy" in run("eval", "report", new, "--junit", "x.xml", code=2).stderr


def test_sweep_in_one_command(town: str, runs: Path, tmp_path: Path) -> None:
    """From a dataset to curves, the front and the marked setting; a report draws them."""
    out = tmp_path / "sweep.json"
    options = ["eval", "sweep", town, "--cache", str(runs / "cache"), "--embedder", "none"]
    data = valid(run(*options, "--chunk-tokens", "20,400", "-k", "1:5", "--out", str(out),
                     "--json").stdout, "eval_sweep")  # fmt: skip
    assert data == json.loads(out.read_text())
    assert data["chosen"] in data["front"]
    text = run(*options, "--chunk-tokens", "20,400", "-k", "1:8:x2,5").stdout
    assert "\n*" in text
    assert "not a certificate" in text
    page = tmp_path / "r.html"
    run("eval", "report", str(runs / "new"), "--sweep", str(out), "--html", str(page))
    assert "<polyline" in page.read_text()
    out.write_text('{"series": [{"name": "x"}]}')
    refused = run("eval", "report", str(runs / "new"), "--sweep", str(out), code=2)
    assert "is not what" in refused.stderr
    assert "'1:x'" in run(*options, "-k", "1:x", code=2).stderr
    assert "'fast'" in run(*options, "--mode", "fast", code=2).stderr


def test_score_is_a_drop_in_for_trec_eval(tmp_path: Path) -> None:
    """Means, missing queries, and each query's values when asked."""
    (tmp_path / "run.txt").write_text("q1 Q0 a 1 2.0 x\nq1 Q0 b 2 1.0 x\n")
    (tmp_path / "qrels.txt").write_text("q1 0 b 1\nq2 0 a 1\n")
    arguments = ["eval", "score", str(tmp_path / "run.txt"), str(tmp_path / "qrels.txt")]
    data = valid(run(*arguments, "--json", "--per-query", "-m", "rr,ndcg@10").stdout, "eval_score")
    assert data["measures"]["MRR"]["mean"] == 0.25
    assert (data["n"], data["missing"]) == (2, 1)
    assert data["queries"]["MRR"] == {"q1": 0.5, "q2": 0.0}
    assert "0.25000" in run(*arguments, "-m", "rr").stdout
    assert "more than a ranking" in run(*arguments, "-m", "F1", code=2).stderr


def test_a_sheet_needs_a_store(runs: Path, tmp_path: Path) -> None:
    """A CSV of questions and answers is measured on a store that is named."""
    (tmp_path / "a.txt").write_text("The ferry leaves at nine. Dogs travel free.")
    store = str(tmp_path / "named")
    run("ingest", str(tmp_path / "a.txt"), "--store", store, "--embedder", "none")
    (tmp_path / "sheet.csv").write_text("question,answer\nWhen does the ferry leave?,at nine\n")
    options = ["eval", "run", str(tmp_path / "sheet.csv"), "--cache", str(runs / "cache"),
               "--json"]  # fmt: skip
    data = valid(run(*options, "--store", store).stdout, "eval_run")
    assert data["measures"]["AnswerInContext"]["mean"] == 1.0
    assert "--store" in run(*options, code=2).stderr


def test_a_run_needs_no_network(town: str, tmp_path: Path) -> None:
    """With every socket refused a whole run, a comparison and a report succeed."""
    blocker = tmp_path / "blocked"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import socket

            class Refused(socket.socket):
                def __init__(self, *arguments, **options):
                    raise AssertionError("a socket was opened")

            socket.socket = Refused
            """
        )
    )
    env = {**os.environ, "PYTHONPATH": str(blocker)}
    probe = subprocess.run(
        [sys.executable, "-c", "import socket; socket.socket()"],
        check=False, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert "a socket was opened" in probe.stderr
    out = str(tmp_path / "run")
    for arguments in (
        ["eval", "run", town, "--cache", str(tmp_path / "cache"), "--out", out],
        ["eval", "report", out, out, "--html", str(tmp_path / "r.html")],
    ):
        subprocess.run([RAGKIT, *arguments], check=True, env=env, capture_output=True)
    assert (tmp_path / "r.html").exists()


def test_a_sheet_over_a_store_is_measured_by_every_command(tmp_path: Path) -> None:
    """A spreadsheet's CSV of needs, with its line ends and mark: run, gate, sweep, calibrate."""
    kb, cache, sheet = str(tmp_path / "kb"), str(tmp_path / "cache"), tmp_path / "sheet.csv"
    rows = ["question,needs,docs,split"]
    for name, (text, questions) in NOTICES.items():
        (tmp_path / f"{name}.txt").write_text(text)
        rows += [
            f'"{question} ({i})","{answer} || x\r\n{answer if i else "nothing"}",{name}.txt,test'
            for question, answer in questions
            for i in range(9)
        ]
    rows.append("And what else?,nothing,ferry.txt,calibration")
    sheet.write_bytes(("\ufeff" + "\r\n".join(rows) + "\r\n").encode())
    files = [str(tmp_path / f"{name}.txt") for name in NOTICES]
    run("ingest", *files, "--store", kb, "--embedder", "none", "--progress", "off")
    assert run("eval", "validate", str(sheet))
    common = [str(sheet), "--split", "test", "--store", kb, "--cache", cache, "--cluster", "none"]
    out = str(tmp_path / "run")
    data = valid(run("eval", "run", *common, "--out", out, "--json").stdout, "eval_run")
    assert data["n"] == 135
    assert data["measures"]["NeedsHeld"]["mean"] > 0.5
    assert "NeedsInAnswer" in data["measures"]
    policy = tmp_path / "gate.toml"
    policy.write_text("[measure.NeedsHeld]\nfloor = 0.5\n")
    run("eval", "gate", out, "--policy", str(policy))
    policy.write_text("[measure.NeedsHeld]\nfloor = 1.0\n")
    assert run("eval", "gate", out, "--policy", str(policy), "--json", code=4)
    report = run("eval", "report", out, "--json").stdout
    assert valid(report, "eval_report")["primary"] == "NeedsHeld"
    swept = run("eval", "sweep", *common, "-k", "1,2,5", "--chunk-tokens", "40,400", "--json")
    found = valid(swept.stdout, "eval_sweep")
    assert (found["measure"], found["n"]) == ("NeedsHeld", 135)
    assert {point["setting"]["embedder"] for s in found["series"] for point in s["points"]} == {
        None
    }
    assert found["baseline"]["quality"] > 0.5
    trim = str(tmp_path / "trim.json")
    certified = run("calibrate", *common, "--retain", "0.9", "--out", trim, "--json").stdout
    assert valid(certified, "calibrate")["policy"]["certificate"]["metric"] == "NeedsHeld"
    refused = run("eval", "sweep", *common, "--store", str(tmp_path / "nowhere"), code=2)
    assert "no store" in refused.stderr


def test_questions_beside_their_documents_are_a_dataset(tmp_path: Path) -> None:
    """A folder with `questions.jsonl` and `docs/` needs no store of its own."""
    (tmp_path / "docs" / "town").mkdir(parents=True)
    for name, (text, _) in NOTICES.items():
        (tmp_path / "docs" / "town" / f"{name}.md").write_text(text)
    rows = [
        {"_id": name, "text": questions[0][0], "docs": [f"town/{name}.md"], "kind": "when",
         "split": "test", "needs": [[questions[0][1]]]}
        for name, (_, questions) in NOTICES.items()
    ]  # fmt: skip
    write_lines(tmp_path / "questions.jsonl", rows)
    options = ["--cache", str(tmp_path / "cache"), "--embedder", "none", "--json"]
    out = str(tmp_path / "run")
    data = valid(run("eval", "run", str(tmp_path), "--out", out, *options).stdout, "eval_run")
    assert data["measures"]["NeedsHeld"]["mean"] > 0.5
    assert data["measures"]["R@5"]["mean"] == 1.0
    sliced = run("eval", "report", out, "--slice", "kind").stdout
    assert "kind=when" in sliced
    swept = run("eval", "sweep", str(tmp_path), *options, "-k", "5", "--chunk-tokens", "400")
    assert valid(swept.stdout, "eval_sweep")["measure"] == "NeedsHeld"
