"""What is done for one question is done once: retrieval, and the scoring of its pool."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from ragkit import RAG, Settings
from ragkit.storage.snapshot import LocalSnapshot
from ragkit.trimming import measure
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.calibration.sweep import Grid, sweep
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.measuring.measures import default_measures
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.pipelines import RagPipeline

from .made import make_dataset, make_store

WORDS = Settings(embedder="none")
COUNTED = {
    LocalSnapshot.search.__code__: "search",
    LocalSnapshot.pool.__code__: "pool",
    measure.__code__: "measure",
}


def calls(run: Callable[[], object]) -> Counter[str]:
    """Return how often each of the counted functions is called."""
    found: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in COUNTED:
            found[COUNTED[frame.f_code]] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    return found


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the small dataset, each question asked eight times in other words."""
    return load_dataset(make_dataset(tmp_path_factory.mktemp("data") / "town", copies=8))


@pytest.fixture(scope="module")
def store(town: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of its documents."""
    return make_store(tmp_path_factory.mktemp("kb") / "kb", town)


def test_a_calibration_retrieves_and_scores_each_question_once(town: Dataset, store: Path) -> None:
    """The refusal threshold needs the unanswerable questions' pools besides, and no other."""
    n_answerable = sum(not question.unanswerable for question in town.questions)
    n_unanswerable = len(town.questions) - n_answerable
    with RAG(store, config=WORDS, ledger="off") as rag:
        plain = calls(lambda: calibrate(rag, town, retain=0.9, cluster="none"))
        refusing = calls(
            lambda: calibrate(rag, town, retain=0.9, cluster="none", refuse_target=0.1)
        )
    assert plain == dict.fromkeys(("search", "pool", "measure"), n_answerable)
    assert refusing == dict.fromkeys(("search", "pool", "measure"), n_answerable + n_unanswerable)


def test_a_sweep_retrieves_each_question_once(town: Dataset, tmp_path: Path) -> None:
    """All depths, limits and policies read the same pool; a scorer and a policy each rank it."""
    grid = Grid(chunk_tokens=(400,), depths=(1, 5, 10), pools=(5,), budgets=(10, 20))
    with Cache(tmp_path) as cache:
        sweep(town, WORDS, cache, grid)  # ingests
        found = calls(lambda: sweep(town, WORDS, cache, grid))
    n = sum(bool(question.evidence) for question in town.questions)
    assert (found["search"], found["pool"], found["measure"]) == (n, n, 2 * n)


def test_a_row_scores_its_pool_once(town: Dataset, store: Path) -> None:
    """Rank measures need a deeper search than the answer's, and nothing else is done twice."""
    with RAG(store, config=WORDS, ledger="off") as rag:
        pipeline = RagPipeline(rag, default_measures(town.questions))
        found = calls(lambda: [pipeline(question) for question in town.questions[:10]])
    assert (found["search"], found["pool"], found["measure"]) == (20, 10, 10)
