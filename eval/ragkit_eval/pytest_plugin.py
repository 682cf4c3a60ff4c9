"""Fixtures for tests of a pipeline's quality; opt in with `pytest -p ragkit_eval.pytest_plugin`.

It is not an entry point: nobody's tests load it unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from ragkit.config import Settings
from ragkit.text.printable import printable
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.measuring.measures import default_measures, parse_measure
from ragkit_eval.reporting.gate import Gate, GateResult
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.finished import Run, load_run
from ragkit_eval.running.pipelines import RagPipeline
from ragkit_eval.running.runs import evaluate
from ragkit_eval.running.stores import OpenedRag

RagkitRun = Callable[..., Run]
RagkitGate = Callable[..., GateResult]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says where stores and cached vectors are kept."""
    group = parser.getgroup("ragkit")
    group.addoption(
        "--ragkit-cache",
        metavar="DIR",
        help="stores, vectors and generations (default: thrown away)",
    )


@pytest.fixture(scope="session")
def ragkit_cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Cache]:
    """Give the cache of this session's runs."""
    given: str | None = request.config.getoption("--ragkit-cache")
    folder = tmp_path_factory.mktemp("ragkit") if given is None else Path(given)
    with Cache(folder) as cache:
        yield cache


@pytest.fixture
def ragkit_run(ragkit_cache: Cache, tmp_path: Path) -> RagkitRun:
    """Give a function that runs a dataset.

    `ragkit_run(dataset, *, settings=Settings(), measures=None, store=None, split=None,
    name="run") -> Run`: `dataset` is a path or a `Dataset`, `measures` are names.
    """

    def run(
        dataset: str | Path | Dataset,
        *,
        settings: Settings | None = None,
        measures: Sequence[str] | None = None,
        store: str | Path | None = None,
        split: str | None = None,
        name: str = "run",
    ) -> Run:
        asked = dataset if isinstance(dataset, Dataset) else load_dataset(dataset, split=split)
        chosen = (
            default_measures(asked.questions)
            if measures is None
            else [parse_measure(measure) for measure in measures]
        )
        with OpenedRag(asked, settings or Settings(), ragkit_cache, store=store) as opened:
            pipeline = RagPipeline(opened.rag, chosen, caches=opened.caches)
            return evaluate(pipeline, asked, measures=chosen, out=tmp_path / name)

    return run


@pytest.fixture
def ragkit_gate() -> RagkitGate:
    """Give a function that fails the test unless a run passes a gate.

    `ragkit_gate(run, policy, *, baseline=None) -> GateResult`: `policy` is a gate file or a
    `Gate`, `baseline` a run or its folder. What is inconclusive fails too, unless the policy says
    otherwise.
    """

    def check(
        run: Run, policy: str | Path | Gate, *, baseline: Run | str | Path | None = None
    ) -> GateResult:
        gate = policy if isinstance(policy, Gate) else Gate.load(policy)
        base = baseline if isinstance(baseline, Run) or baseline is None else load_run(baseline)
        result = gate.check(run, baseline=base)
        try:
            result.raise_for_verdict()
        except AssertionError as error:
            pytest.fail(printable(str(error)), pytrace=False)
        return result

    return check
