"""The worked month in the docs is what its script makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_worked_month_is_what_its_script_prints() -> None:
    """Each figure on the page comes from the energy model and the table of Regions as they are."""
    command = [sys.executable, str(ROOT / "benchmarks" / "worked_month.py")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    page = (ROOT / "docs" / "sustainability.md").read_text("utf-8")
    assert printed.stdout.strip() in page


def test_the_guidance_is_answered_item_by_item() -> None:
    """Each practice and product of the guidance has a row that names what ragkit does about it."""
    page = (ROOT / "docs" / "sustainability.md").read_text("utf-8")
    table = page.split("## What the guidance says")[1].split("## One worked month")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")]
    assert {row.count(" | ") for row in rows} == {3}
    for item in (
        "Problem framing", "Regions", "Managed services", "customisation", "Model selection",
        "Leaderboards", "JumpStart", "Small context windows", "Concise prompts", "Reproducible",
        "Retrieval", "adapters", "DeepSpeed", "Accelerate", "FasterTransformer", "Pruning",
        "Distillation", "Quantisation", "Inference parameters", "Inferentia2", "Trainium",
        "Graviton", "Service levels", "Monitoring", "Improvement", "Full fine-tuning",
        "Training from scratch",
    ):  # fmt: skip
        assert any(item in row.split(" | ")[0] for row in rows), item
