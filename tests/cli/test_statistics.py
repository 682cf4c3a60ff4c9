"""`ragkit eval audit`, `aa`, `ppi` and the sequential gate as the installed command."""

from __future__ import annotations

from pathlib import Path

import pytest

from .command import run, valid

pytestmark = pytest.mark.slow  # Each test runs commands in processes of their own.


def test_audit_says_what_a_number_can_mean() -> None:
    """JSON is valid, text is in words, and what is no share exits 2."""
    asked = ("eval", "audit", "-n", "50", "-v", "0.14", "-b", "10%", "--clusters", "10")
    data = valid(run(*asked, "--json").stdout, "eval_audit")
    assert (data["value"]["k"], data["base"]["k"], len(data["readings"])) == (7, 5, 3)
    text = run(*asked).stdout
    assert "7 of 50" in text
    assert "not distinguishable" in text
    assert "correlated by 0.02" in text
    assert "no share of 50" in run("eval", "audit", "-n", "50", "-v", "0.873").stdout
    assert "allowed" in run("eval", "audit", "-n", "50", "-v", "87", code=2).stderr
    valid(run("eval", "audit", "-n", "50", "-v", "0.873", "--json").stdout, "eval_audit")


def test_ppi_reads_sheets(tmp_path: Path) -> None:
    """A judge's file and a sheet of labels give a valid result; what does not fit exits 2."""
    scores, labels = tmp_path / "judge.csv", tmp_path / "labels.csv"
    wrong = {3, 40, 77}
    judged = (f"{i},{(i % 4 > 0) ^ (i in wrong):d},d{i // 4}" for i in range(200))
    scores.write_text("\n".join(["id,score,document", *judged]) + "\n")
    labelled = (f"{i},{'yes' if i % 4 else 'no'}" for i in range(0, 200, 3))
    labels.write_text("\n".join(["id,label", *labelled]) + "\n")
    data = valid(run("eval", "ppi", str(scores), str(labels), "--json").stdout, "eval_ppi")
    assert (data["n_labels"], data["n_scored"], data["n_documents"]) == (67, 200, 50)
    assert data["low"] <= 0.75 <= data["high"]
    assert data["worth"] > 67
    assert "random draw" in run("eval", "ppi", str(scores), str(labels)).stdout
    labels.write_text("id,label\n1,yes\nnobody,no\n")
    assert "no score" in run("eval", "ppi", str(scores), str(labels), code=2).stderr
    refused = run("eval", "ppi", str(scores), str(labels), "--measure", "F1", code=2)
    assert "--measure" in refused.stderr
