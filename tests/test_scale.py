"""The examples that ingest with Dask and with Ray, and the job file for SageMaker."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragkit import RAG, Settings
from ragkit.cli.parser import make_parsers
from ragkit_connectors.testing import OpenSearchServer

EXAMPLES = Path(__file__).parents[1] / "examples" / "scale"
ENGINES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(module) is None,
            reason=f"{module} is not installed: make test-scale",
        ),
    )
    for name, module in (("dask_ingest", "distributed"), ("ray_ingest", "ray"))
]
N_DOCUMENTS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small documents."""
    folder = tmp_path_factory.mktemp("scale") / "docs"
    folder.mkdir()
    for n in range(N_DOCUMENTS):
        (folder / f"{n}.md").write_text(f"# Berth {n}\n\nBerth {n} takes {n + 3} boats.\n")
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[OpenSearchServer]:
    """Return a server."""
    with OpenSearchServer() as server:
        yield server


def contents(store: str) -> list[dict[str, Any]]:
    """Return all that a store holds of its documents."""
    with RAG(store, config=Settings(embedder="none")) as rag:
        return [rag.show(row.document_id) or {} for row in rag.list()]


def begin(engine: str, folder: Path, store: str, n_shards: int) -> subprocess.Popen[str]:
    """Start an example with two workers."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / f"{engine}.py"), str(folder), store, "--workers", "2",
         "--shards", str(n_shards)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAGKIT_EMBEDDER": "none", "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip


def summary(printed: str) -> dict[str, Any]:
    """Return the JSON object of the last line."""
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_fills_an_index_as_one_process_does(
    engine: str, folder: Path, server: OpenSearchServer
) -> None:
    """The same documents and chunks, and a summary of all shares."""
    alone, store = (f"opensearch:{server.url}/{engine}-{name}" for name in ("one", "many"))
    with RAG(alone, config=Settings(embedder="none")) as rag:
        rag.ingest(folder)
    process = begin(engine, folder, store, 5)
    printed, told = process.communicate(timeout=180)
    assert process.returncode == 0, told
    assert summary(printed)["documents"]["added"] == N_DOCUMENTS
    assert "5 of 5 shares" in told
    assert contents(store) == contents(alone)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lost_worker_loses_and_repeats_nothing(
    engine: str, folder: Path, server: OpenSearchServer
) -> None:
    """Another worker goes on with its shares."""
    import psutil

    store = f"opensearch:{server.url}/{engine}-lost"
    process = begin(engine, folder, store, 20)
    assert process.stderr is not None
    while "1 of 20 shares" not in process.stderr.readline():
        assert process.poll() is None
    # Ray names its processes by what they do; those of Dask are Python's own.
    marks = ("ray::ingest", "from multiprocessing.spawn")
    workers: list[psutil.Process] = []
    while not workers:
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [c for c in children if any(mark in " ".join(c.cmdline()) for mark in marks)]
    # The last one to have been started is no helper of the others.
    max(workers, key=lambda worker: worker.create_time()).kill()
    printed, told = process.communicate(timeout=180)
    assert process.returncode == 0, told
    documents = summary(printed)["documents"]
    assert documents["added"] + documents["unchanged"] == N_DOCUMENTS
    found = contents(store)
    assert len(found) == N_DOCUMENTS
    with RAG(store, config=Settings(embedder="none")) as rag:
        assert rag.doctor() == []
        assert rag.describe()["chunks"] == sum(len(document["chunks"]) for document in found)


def test_the_job_for_sagemaker_is_one() -> None:
    """SageMaker's own model takes it, ragkit takes its command, and its shares are SageMaker's."""
    session = pytest.importorskip("botocore.session").get_session()
    validate = pytest.importorskip("botocore.validate").ParamValidator().validate
    job = json.loads((EXAMPLES / "sagemaker_processing.json").read_text())
    operation = session.get_service_model("sagemaker").operation_model("CreateProcessingJob")
    assert validate(job, operation.input_shape).generate_report() == ""
    (command,) = job["AppSpecification"]["ContainerArguments"]
    words = command.replace("$(hostname)", "one").split()
    arguments = make_parsers()[0].parse_args(words[1:])
    assert words[0] == "ragkit"
    assert arguments.shard is None
    assert not arguments.prune
    given = job["ProcessingInputs"][0]["S3Input"]
    assert given["S3DataDistributionType"] == "ShardedByS3Key"
    assert arguments.paths == [given["LocalPath"]] == [arguments.root]
