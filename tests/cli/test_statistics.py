"""`ragkit eval audit`, `aa`, `ppi` and the sequential gate as the installed command."""

from __future__ import annotations

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
