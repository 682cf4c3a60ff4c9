"""Evaluation: datasets, measures, runs, comparisons, gates and reports. No LLM, no network.

>>> from ragkit_eval import load_dataset, load_run, compare
>>> compare(load_run("runs/base"), load_run("runs/new"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragkit_eval.calibration.calibrate import Calibration, calibrate, write_policy
    from ragkit_eval.calibration.sweep import Grid, Sweep, sweep
    from ragkit_eval.data.datasets import Dataset, Question, load_dataset
    from ragkit_eval.data.rows import Passage, Row
    from ragkit_eval.data.spans import GoldSpan
    from ragkit_eval.data.validation import Fault, Validation, validate
    from ragkit_eval.measuring.measures import (
        Measure,
        all_measures,
        default_measures,
        parse_measure,
    )
    from ragkit_eval.measuring.scoring import score
    from ragkit_eval.reporting.comparison import Comparison, Difference, compare
    from ragkit_eval.reporting.gate import Gate, GateResult
    from ragkit_eval.reporting.report import Report, make_report, markdown
    from ragkit_eval.running.cache import Cache
    from ragkit_eval.running.pipelines import RagPipeline
    from ragkit_eval.running.runs import Run, evaluate, load_run
    from ragkit_eval.running.stores import OpenedRag

__all__ = [
    "Cache",
    "Calibration",
    "Comparison",
    "Dataset",
    "Difference",
    "Fault",
    "Gate",
    "GateResult",
    "GoldSpan",
    "Grid",
    "Measure",
    "OpenedRag",
    "Passage",
    "Question",
    "RagPipeline",
    "Report",
    "Row",
    "Run",
    "Sweep",
    "Validation",
    "all_measures",
    "calibrate",
    "compare",
    "default_measures",
    "evaluate",
    "load_dataset",
    "load_run",
    "make_report",
    "markdown",
    "parse_measure",
    "score",
    "sweep",
    "validate",
    "write_policy",
]

_HOMES = {
    "Cache": "ragkit_eval.running.cache",
    "Calibration": "ragkit_eval.calibration.calibrate",
    "Comparison": "ragkit_eval.reporting.comparison",
    "Dataset": "ragkit_eval.data.datasets",
    "Difference": "ragkit_eval.reporting.comparison",
    "Fault": "ragkit_eval.data.validation",
    "Gate": "ragkit_eval.reporting.gate",
    "GateResult": "ragkit_eval.reporting.gate",
    "GoldSpan": "ragkit_eval.data.spans",
    "Grid": "ragkit_eval.calibration.sweep",
    "Measure": "ragkit_eval.measuring.measures",
    "OpenedRag": "ragkit_eval.running.stores",
    "Passage": "ragkit_eval.data.rows",
    "Question": "ragkit_eval.data.datasets",
    "RagPipeline": "ragkit_eval.running.pipelines",
    "Report": "ragkit_eval.reporting.report",
    "Row": "ragkit_eval.data.rows",
    "Run": "ragkit_eval.running.runs",
    "Sweep": "ragkit_eval.calibration.sweep",
    "Validation": "ragkit_eval.data.validation",
    "all_measures": "ragkit_eval.measuring.measures",
    "calibrate": "ragkit_eval.calibration.calibrate",
    "compare": "ragkit_eval.reporting.comparison",
    "default_measures": "ragkit_eval.measuring.measures",
    "evaluate": "ragkit_eval.running.runs",
    "load_dataset": "ragkit_eval.data.datasets",
    "load_run": "ragkit_eval.running.runs",
    "make_report": "ragkit_eval.reporting.report",
    "markdown": "ragkit_eval.reporting.report",
    "parse_measure": "ragkit_eval.measuring.measures",
    "score": "ragkit_eval.measuring.scoring",
    "sweep": "ragkit_eval.calibration.sweep",
    "validate": "ragkit_eval.data.validation",
    "write_policy": "ragkit_eval.calibration.calibrate",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: importing ragkit_eval costs next to nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ragkit_eval' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
