"""Evaluation: datasets, measures, runs, comparisons, gates and reports. No LLM, no network.

>>> from ragkit_eval import load_dataset, load_run, compare
>>> compare(load_run("runs/base"), load_run("runs/new"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragkit_eval.cache import Cache
    from ragkit_eval.calibrating import Calibration, calibrate, write_policy
    from ragkit_eval.comparing import Comparison, Difference, compare
    from ragkit_eval.datasets import Dataset, Question, load_dataset
    from ragkit_eval.gate import Gate, GateResult
    from ragkit_eval.measures import Measure, all_measures, default_measures, parse_measure
    from ragkit_eval.pipelines import RagPipeline
    from ragkit_eval.report import Report, make_report, markdown
    from ragkit_eval.rows import Passage, Row
    from ragkit_eval.runs import Run, evaluate, load_run
    from ragkit_eval.scoring import score
    from ragkit_eval.spans import GoldSpan
    from ragkit_eval.stores import OpenedRag
    from ragkit_eval.sweep import Grid, Sweep, sweep
    from ragkit_eval.validation import Fault, Validation, validate

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
    "Cache": "ragkit_eval.cache",
    "Calibration": "ragkit_eval.calibrating",
    "Comparison": "ragkit_eval.comparing",
    "Dataset": "ragkit_eval.datasets",
    "Difference": "ragkit_eval.comparing",
    "Fault": "ragkit_eval.validation",
    "Gate": "ragkit_eval.gate",
    "GateResult": "ragkit_eval.gate",
    "GoldSpan": "ragkit_eval.spans",
    "Grid": "ragkit_eval.sweep",
    "Measure": "ragkit_eval.measures",
    "OpenedRag": "ragkit_eval.stores",
    "Passage": "ragkit_eval.rows",
    "Question": "ragkit_eval.datasets",
    "RagPipeline": "ragkit_eval.pipelines",
    "Report": "ragkit_eval.report",
    "Row": "ragkit_eval.rows",
    "Run": "ragkit_eval.runs",
    "Sweep": "ragkit_eval.sweep",
    "Validation": "ragkit_eval.validation",
    "all_measures": "ragkit_eval.measures",
    "calibrate": "ragkit_eval.calibrating",
    "compare": "ragkit_eval.comparing",
    "default_measures": "ragkit_eval.measures",
    "evaluate": "ragkit_eval.runs",
    "load_dataset": "ragkit_eval.datasets",
    "load_run": "ragkit_eval.runs",
    "make_report": "ragkit_eval.report",
    "markdown": "ragkit_eval.report",
    "parse_measure": "ragkit_eval.measures",
    "score": "ragkit_eval.scoring",
    "sweep": "ragkit_eval.sweep",
    "validate": "ragkit_eval.validation",
    "write_policy": "ragkit_eval.calibrating",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: importing ragkit_eval costs next to nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ragkit_eval' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
