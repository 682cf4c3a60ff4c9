"""Evaluation: datasets, measures, runs, comparisons, gates and reports. No LLM, no network.

>>> from ragkit_eval import load_dataset, load_run, compare
>>> compare(load_run("runs/base"), load_run("runs/new"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragkit_eval.calibration.calibrate import calibrate as calibrate
    from ragkit_eval.calibration.curves import Sweep as Sweep
    from ragkit_eval.calibration.sweep import Grid as Grid
    from ragkit_eval.calibration.sweep import sweep as sweep
    from ragkit_eval.calibration.task import Calibration as Calibration
    from ragkit_eval.calibration.task import write_policy as write_policy
    from ragkit_eval.data.datasets import Dataset as Dataset
    from ragkit_eval.data.datasets import Question as Question
    from ragkit_eval.data.datasets import load_dataset as load_dataset
    from ragkit_eval.data.rows import Passage as Passage
    from ragkit_eval.data.rows import Row as Row
    from ragkit_eval.data.spans import GoldSpan as GoldSpan
    from ragkit_eval.data.validation import Fault as Fault
    from ragkit_eval.data.validation import Validation as Validation
    from ragkit_eval.data.validation import validate as validate
    from ragkit_eval.measuring.measures import Measure as Measure
    from ragkit_eval.measuring.measures import all_measures as all_measures
    from ragkit_eval.measuring.measures import default_measures as default_measures
    from ragkit_eval.measuring.measures import parse_measure as parse_measure
    from ragkit_eval.measuring.scoring import score as score
    from ragkit_eval.reporting.comparison import Comparison as Comparison
    from ragkit_eval.reporting.comparison import Difference as Difference
    from ragkit_eval.reporting.comparison import compare as compare
    from ragkit_eval.reporting.flips import FlipRate as FlipRate
    from ragkit_eval.reporting.flips import flip_rate as flip_rate
    from ragkit_eval.reporting.gate import Gate as Gate
    from ragkit_eval.reporting.gate import GateResult as GateResult
    from ragkit_eval.reporting.report import Report as Report
    from ragkit_eval.reporting.report import make_report as make_report
    from ragkit_eval.reporting.report import markdown as markdown
    from ragkit_eval.reporting.sequential import judge_sequentially as judge_sequentially
    from ragkit_eval.running.cache import Cache as Cache
    from ragkit_eval.running.finished import Run as Run
    from ragkit_eval.running.finished import load_run as load_run
    from ragkit_eval.running.pipelines import RagPipeline as RagPipeline
    from ragkit_eval.running.runs import evaluate as evaluate
    from ragkit_eval.running.stores import OpenedRag as OpenedRag
    from ragkit_eval.stats.audit import Audit as Audit
    from ragkit_eval.stats.audit import audit as audit
    from ragkit_eval.stats.prediction import PoweredMean as PoweredMean
    from ragkit_eval.stats.prediction import powered_mean as powered_mean

_NAMES = {
    "calibration.calibrate": ("calibrate",),
    "calibration.curves": ("Sweep",),
    "calibration.sweep": ("Grid", "sweep"),
    "calibration.task": ("Calibration", "write_policy"),
    "data.datasets": ("Dataset", "Question", "load_dataset"),
    "data.rows": ("Passage", "Row"),
    "data.spans": ("GoldSpan",),
    "data.validation": ("Fault", "Validation", "validate"),
    "measuring.measures": ("Measure", "all_measures", "default_measures", "parse_measure"),
    "measuring.scoring": ("score",),
    "reporting.comparison": ("Comparison", "Difference", "compare"),
    "reporting.flips": ("FlipRate", "flip_rate"),
    "reporting.gate": ("Gate", "GateResult"),
    "reporting.report": ("Report", "make_report", "markdown"),
    "reporting.sequential": ("judge_sequentially",),
    "running.cache": ("Cache",),
    "running.pipelines": ("RagPipeline",),
    "running.finished": ("Run", "load_run"),
    "running.runs": ("evaluate",),
    "running.stores": ("OpenedRag",),
    "stats.audit": ("Audit", "audit"),
    "stats.prediction": ("PoweredMean", "powered_mean"),
}
"""The public names, by the module that each is loaded from."""

_HOMES = {name: f"ragkit_eval.{module}" for module, names in _NAMES.items() for name in names}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] (one table, not two)


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: importing ragkit_eval costs next to nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ragkit_eval' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
