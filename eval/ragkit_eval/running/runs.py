"""Runs: what a pipeline did with every question of a dataset, in a folder.

    manifest.json   what was run: dataset, store, settings, versions, command
    rows.jsonl      one row per question, appended as it is done
    scores.jsonl    one line per question: its text, its labels, its value of every measure
    summary.json    what `ragkit eval run --json` prints

Rows are the product: an interrupted run goes on where it stopped, rows of status `error` are tried
again, and other measures are computed from the rows without asking anything again. All of it is for
its owner alone, as the store is: it holds questions, answers and passages.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from ragkit import __version__, private
from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.data.rows import Row, Status
from ragkit_eval.measuring.measures import Measure
from ragkit_eval.running.finished import Run, Score
from ragkit_eval.running.folder import (
    append_row,
    cut_torn_line,
    read_object,
    read_rows,
    write_json,
    write_text,
)
from ragkit_eval.running.pipelines import Pipeline, run_question
from ragkit_eval.stats.inference import (
    auroc,
    detectable_and_needed,
    interval,
    quantile,
)

_VERSIONS = ("numpy", "faiss-cpu", "onnxruntime", "sentence-transformers", "torch", "pypdfium2")
_SYNC_SECONDS = 1.0
STATUSES: tuple[Status, ...] = ("ok", "refused", "error")

OnProgress = Callable[[int, int, Row], None]
"""Called with the number of rows done, their total, and the row."""


@runtime_checkable
class Described(Protocol):
    """A pipeline that tells what decides its answers."""

    def configuration(self) -> Mapping[str, Json]:
        """Return what decides the answers."""
        ...


def evaluate(
    pipeline: Pipeline,
    dataset: Dataset,
    *,
    measures: Sequence[Measure],
    out: str | Path,
    configuration: Mapping[str, Json] | None = None,
    cluster: str = "document",
    restart: bool = False,
    seed: int = 0,
    command: Sequence[str] = (),
    n_jobs: int = 1,
    on_progress: OnProgress | None = None,
) -> Run:
    """Ask a pipeline every question and measure the results.

    Args:
        pipeline: A `RagPipeline`, or any callable that turns a question into a row.
        dataset: The dataset. Its questions are asked in order.
        measures: Computed from the rows.
        out: The run's folder. If it contains a run of the same dataset and configuration, that run
            is resumed: only questions that are missing or failed are asked.
        configuration: Everything that decides the answers; None takes the pipeline's
            `configuration()`.
        cluster: What makes questions depend on each other: `document`, a field of their metadata,
            or `none`.
        restart: Discard an existing run first.
        seed: Seed for the confidence intervals.
        command: Noted in the manifest.
        n_jobs: Number of questions to ask at once, for generators that wait for a server. With more
            than one, CPU seconds and joules cannot be attributed to questions and are unknown.
        on_progress: Called after each row.

    Raises:
        ConfigError: `out` holds a run of something else; the message names the difference.
    """
    folder = Path(out)
    if configuration is None:
        configuration = _configuration(pipeline)
    manifest = make_manifest(dataset, configuration, cluster=cluster, seed=seed, command=command)
    manifest_path = folder / "manifest.json"
    if restart:
        for name in ("summary.json", "scores.jsonl", "rows.jsonl", "manifest.json"):
            (folder / name).unlink(missing_ok=True)
    began_before = _check_same(manifest_path, manifest)
    if began_before is not None:
        manifest = {**manifest, "began": began_before}
    private.make_folder(folder)
    write_json(manifest_path, manifest)
    if n_jobs < 1:
        raise ConfigError(f"jobs {n_jobs}; allowed: 1 or more")
    rows = _run(pipeline, dataset, folder / "rows.jsonl", n_jobs, on_progress)
    return _finish(folder, manifest, dataset, rows, measures, cluster=cluster, seed=seed)


def _configuration(pipeline: object) -> Mapping[str, Json]:
    return pipeline.configuration() if isinstance(pipeline, Described) else {}


def _run(
    pipeline: Pipeline,
    dataset: Dataset,
    path: Path,
    n_jobs: int,
    on_progress: OnProgress | None,
) -> dict[str, Row]:
    cut_torn_line(path)
    rows = read_rows(path)
    known = {question.id for question in dataset.questions}
    done = {name for name, row in rows.items() if row.status != "error" and name in known}
    left = [question for question in dataset.questions if question.id not in done]
    n_done, total = len(done), len(dataset.questions)
    synced = time.monotonic()
    with open(path, "ab", opener=private.opener) as file:
        try:
            for row in _asked(pipeline, left, n_jobs):
                append_row(file, row)
                # What was paid for is durable at once; the rest costs a second at most.
                if row.llm_calls or time.monotonic() - synced > _SYNC_SECONDS:
                    os.fsync(file.fileno())
                    synced = time.monotonic()
                rows[row.id] = row
                n_done += 1
                if on_progress is not None:
                    on_progress(n_done, total, row)
        finally:
            os.fsync(file.fileno())
    return rows


def _asked(pipeline: Pipeline, questions: Sequence[Question], n_jobs: int) -> Iterator[Row]:
    """Yield rows as they are done."""
    if n_jobs == 1:
        for question in questions:
            yield run_question(pipeline, question)
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(n_jobs) as pool:
        futures = [pool.submit(run_question, pipeline, question) for question in questions]
        try:
            for future in as_completed(futures):
                yield replace(future.result(), cpu_seconds=None, joules=None)
        finally:
            # An interruption, or a bug in one question, must not wait for all the others.
            pool.shutdown(wait=False, cancel_futures=True)


def make_manifest(
    dataset: Dataset,
    configuration: Mapping[str, Json],
    *,
    cluster: str,
    seed: int,
    command: Sequence[str],
) -> dict[str, Json]:
    """Return what a run is: all that decides its rows, then what it ran on."""
    return {
        "schema": 1,
        "dataset": _dataset_facts(dataset),
        "configuration": dict(configuration),
        "cluster": cluster,
        "seed": seed,
        "ragkit": __version__,
        "versions": _versions(),
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cpus": os.cpu_count(),
        },
        "command": list(command),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _versions() -> dict[str, Json]:
    from importlib import metadata

    found: dict[str, Json] = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _check_same(path: Path, manifest: Mapping[str, Json]) -> str | None:
    """Return when the run in this folder began; None for a new one."""
    if not path.exists():
        return None
    try:
        old = read_object(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged: {error}; start over with --restart") from error
    for part in ("dataset", "configuration", "ragkit"):
        if old.get(part) != manifest[part]:
            name, was, now = _difference(part, old.get(part), manifest[part])
            raise ConfigError(
                f"{path.parent} holds a run with {name} {was!r}, not {now!r}; name another folder "
                "with --out, or start over with --restart"
            )
    return str(old["began"])


def _difference(name: str, old: Json, new: Json) -> tuple[str, Json, Json]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                return _difference(f"{name}.{key}", old.get(key), new.get(key))
    return name, old, new


def _finish(
    folder: Path,
    manifest: Mapping[str, Json],
    dataset: Dataset,
    rows: Mapping[str, Row],
    measures: Sequence[Measure],
    *,
    cluster: str,
    seed: int,
) -> Run:
    scores = [
        _scored(question, rows[question.id], measures, cluster) for question in dataset.questions
    ]
    lines = [json.dumps(_as_json(score), ensure_ascii=False) for score in scores]
    write_text(folder / "scores.jsonl", "".join(line + "\n" for line in lines))
    statuses = Counter(score.status for score in scores)
    summary: dict[str, Json] = {
        "schema": 1,
        "run": str(folder),
        "dataset": dataset.name,
        "split": dataset.split,
        "n": len(scores),
        "statuses": {name: statuses.get(name, 0) for name in STATUSES},
        "refusals": _refusals(dataset, rows),
        "measures": {str(measure): summarise(measure, scores, seed=seed) for measure in measures},
        "manifest": dict(manifest),
    }
    write_json(folder / "summary.json", summary)
    return Run(folder=folder, manifest=manifest, summary=summary, scores=tuple(scores))


def _refusals(dataset: Dataset, rows: Mapping[str, Row]) -> dict[str, Json]:
    """Return statuses of answerable and unanswerable questions, and how support tells them apart.

    `evidence_auroc` is the chance that an answerable question has more support than an
    unanswerable one.
    """
    found: dict[str, Json] = {}
    evidence: dict[bool, list[float]] = {True: [], False: []}
    for unanswerable in (False, True):
        kind = [rows[q.id] for q in dataset.questions if q.unanswerable == unanswerable]
        counts = Counter(row.status for row in kind)
        evidence[unanswerable] = [
            row.evidence_score for row in kind if row.evidence_score is not None
        ]
        name = "unanswerable" if unanswerable else "answerable"
        found[name] = {status: counts.get(status, 0) for status in STATUSES}
    return {**found, "evidence_auroc": auroc(evidence[False], evidence[True])}


def _scored(question: Question, row: Row, measures: Iterable[Measure], cluster: str) -> Score:
    failed = row.status == "error"
    return Score(
        id=question.id,
        question=question.text,
        answers=question.answers,
        evidence=[
            [
                {
                    "document_id": span.document_id,
                    "start": span.start,
                    "end": span.end,
                    "text": span.text,
                }
                for span in spans
            ]
            for spans in question.evidence
        ],
        unanswerable=question.unanswerable,
        cluster=question.cluster(cluster),
        metadata=question.metadata,
        status=row.status,
        values={str(m): None if failed else m.value(question, row) for m in measures},
        needs=question.needs,
    )


def _as_json(score: Score) -> dict[str, Json]:
    return {
        "id": score.id,
        "question": score.question,
        "answers": list(score.answers),
        "evidence": score.evidence,
        "unanswerable": score.unanswerable,
        "cluster": score.cluster,
        "metadata": dict(score.metadata),
        "status": score.status,
        "values": dict(score.values),
        "needs": [list(need) for need in score.needs],
    }


def summarise(measure: Measure, scores: Sequence[Score], *, seed: int = 0) -> dict[str, Json]:
    """Return a measure's mean with its 95 % interval over the questions that have a value.

    Questions that failed are in `errors`, never in the mean; where the measure is bounded, `worst`
    and `best` are the means if all of them had come out worst or best. A difference of
    `minimum_detectable` from a fixed value is found with 80 % power; `n_needed` questions would
    find one of 2 points of a share, or of 5 % of anything else.
    """
    name = str(measure)
    known = [(v, s.cluster) for s in scores if (v := s.values.get(name)) is not None]
    values = [value for value, _ in known]
    clusters = [cluster for _, cluster in known]
    detectable, _, needed = detectable_and_needed(
        values, clusters, bounded=measure.bounds is not None
    )
    errors = sum(score.status == "error" for score in scores)
    found = interval(values, clusters, seed=seed)
    data: dict[str, Json] = {
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "errors": errors,
        "minimum_detectable": detectable,
        "n_needed": needed,
        "direction": measure.direction,
        "definition": measure.definition,
        "citation": measure.citation,
    }
    if measure.bounds is None and values:
        data |= {"p50": quantile(values, 0.5), "p95": quantile(values, 0.95), "sum": sum(values)}
    if measure.bounds is not None and errors and values:
        ends = [(sum(values) + errors * end) / (len(values) + errors) for end in measure.bounds]
        worst, best = ends if measure.direction == "higher" else ends[::-1]
        data |= {"worst": worst, "best": best}
    return data


def default_folder(dataset: Dataset, configuration: Mapping[str, Json]) -> Path:
    """Return `runs/DATASET-SPLIT-DIGEST`: a folder of its own for every configuration."""
    import hashlib

    parts = [_dataset_facts(dataset), dict(configuration), __version__]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{dataset.name}-{dataset.split}-{digest}"


def _dataset_facts(dataset: Dataset) -> dict[str, Json]:
    return {
        "name": dataset.name,
        "split": dataset.split,
        "sha256": dataset.sha256,
        "n_questions": len(dataset.questions),
    }


def questions_left(out: Path, dataset: Dataset) -> Iterator[Question]:
    """Yield the questions that a run in this folder has yet to ask."""
    rows = read_rows(out / "rows.jsonl")
    for question in dataset.questions:
        row = rows.get(question.id)
        if row is None or row.status == "error":
            yield question
