"""Ledgers that hold anything: sums of what can be summed, and the rest counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given

from ragkit.costs.ledger import read_ledger, summarise
from ragkit.types import Json

from .lane import FUZZ, no_hang
from .mutating import json_lines

FOUND = Path(__file__).parent / "found" / "ledgers"
BOUNDS: Json = {"low": 1.0, "mid": 2.0, "high": 3.0, "grade": "modelled-local", "source": "s"}
SEEDS: tuple[Json, ...] = (
    {
        "schema": 1, "time": "2024-01-01T00:00:00Z", "kind": "ask", "refused": False,
        "usage": {"input_tokens": 60, "output_tokens": 5, "exact": True},
        "receipt": {
            "seconds": 0.5, "cpu_seconds": 0.4, "llm_calls": 1, "baseline_tokens": 300, "input_tokens": 60,
            "baseline_comparable": True, "joules": BOUNDS, "baseline_joules": BOUNDS, "carbon_g": BOUNDS,
        },
    },
    {"schema": 1, "kind": "ask", "refused": True, "receipt": {"seconds": 0.1, "cpu_seconds": 0.1, "joules": None}},
    {"schema": 1, "kind": "ask", "dry_run": True},
    {"schema": 1, "kind": "ingest", "seconds": 2.0, "cpu_seconds": 1.5, "joules": BOUNDS},
)  # fmt: skip


def check(data: bytes) -> None:
    """Sum a ledger."""
    path = Path("ledger.jsonl")
    path.write_bytes(data)
    with no_hang():
        records = list(read_ledger(path))
        summary = summarise(records)
        shown = json.dumps(summary.to_dict(), allow_nan=False)
        assert shown
        assert summary.to_text()
    # Every line is counted once; a dry run is none.
    dry = sum(record.get("kind") == "ask" and record.get("dry_run") is True for record in records)
    counted = summary.answers + summary.refusals + summary.ingests + summary.unreadable_lines
    assert counted + dry == len(records)
    for number in (summary.input_tokens, summary.output_tokens, summary.llm_calls, summary.seconds):
        assert number >= 0


@FUZZ
@given(json_lines(SEEDS))
def test_any_ledger_is_summed(data: bytes) -> None:
    """A ledger with anything in it gives sums that are finite numbers."""
    check(data)


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_found(path: Path) -> None:
    """What was found stays mended."""
    check(path.read_bytes())
