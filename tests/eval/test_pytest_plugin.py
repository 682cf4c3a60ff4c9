"""The pytest plugin: opt-in, and its fixtures fail tests when quality falls."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from .made import make_dataset

PYTEST = str(Path(sys.executable).with_name("pytest"))

TESTS = """
from ragkit import Settings
from ragkit_eval import Gate

GATE = "[measure.EvidenceFound]\\nfloor = {floor}\\n"

def check(run, gate, path, floor):
    path.write_text(GATE.format(floor=floor))
    return gate(run, path)

def test_passes(ragkit_run, ragkit_gate, tmp_path):
    run = ragkit_run({dataset!r}, settings=Settings(embedder="none"))
    assert check(run, ragkit_gate, tmp_path / "gate.toml", 0.5).verdict == "pass"
    loss = "[measure.ContextTokens]\\nmargin = 0\\n"
    (tmp_path / "loss.toml").write_text(loss)
    assert ragkit_gate(run, tmp_path / "loss.toml", baseline=run.folder).verdict == "pass"

def test_fails(ragkit_run, ragkit_gate, tmp_path):
    settings = Settings(embedder="none", max_context_tokens=3, refuse_below="off")
    run = ragkit_run({dataset!r}, settings=settings, measures=["EvidenceFound"])
    check(run, ragkit_gate, tmp_path / "gate.toml", 0.95)

def test_inconclusive(ragkit_run, ragkit_gate, tmp_path):
    run = ragkit_run({dataset!r}, settings=Settings(embedder="none", refuse_below="off"))
    check(run, ragkit_gate, tmp_path / "gate.toml", 0.93)
"""


@pytest.mark.slow
def test_fixtures_run_and_judge(tmp_path: Path) -> None:
    """A gate that fails, or cannot tell, fails the test; one that holds passes."""
    dataset = str(make_dataset(tmp_path / "town", copies=2))
    text = TESTS.replace("{dataset!r}", repr(dataset))
    (tmp_path / "test_quality.py").write_text(text)
    result = subprocess.run(
        [PYTEST, "-p", "ragkit_eval.pytest_plugin", "-p", "no:randomly", "-p", "no:cacheprovider",
         "--ragkit-cache", str(tmp_path / "cache"), str(tmp_path / "test_quality.py")],
        check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert "2 failed, 1 passed" in result.stdout, result.stdout
    assert "gate: fail" in result.stdout
    assert "gate: inconclusive" in result.stdout
    assert "EvidenceFound floor" in result.stdout
    assert (tmp_path / "cache" / "cache.sqlite").exists()


def test_nobody_loads_it_unasked() -> None:
    """It is no entry point, and without -p its fixtures do not exist."""
    assert not [e for e in entry_points(group="pytest11") if "ragkit" in e.value]
