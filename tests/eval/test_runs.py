"""Runs: rows that survive anything, caches that pay once, and pipelines of any kind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from ragkit import RAG, Settings
from ragkit.errors import ConfigError, RemoteError
from ragkit.types import Hit
from ragkit_connectors.testing import OpenAIServer, Reply, Request
from ragkit_eval.data.datasets import Dataset, Question, load_dataset
from ragkit_eval.data.rows import Passage, Row, read_row
from ragkit_eval.measuring import measures as m
from ragkit_eval.running.cache import Cache, CachingEmbedder
from ragkit_eval.running.finished import load_run
from ragkit_eval.running.pipelines import RagPipeline
from ragkit_eval.running.runs import evaluate
from ragkit_eval.running.stores import OpenedRag

from .made import make_dataset, write_lines

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

RAGKIT = str(Path(sys.executable).with_name("ragkit"))
WORDS = Settings(embedder="none")


@pytest.fixture
def town(tmp_path: Path) -> Dataset:
    """Return the small dataset."""
    return load_dataset(make_dataset(tmp_path / "town"))


def answer_all(question: Question) -> Row:
    """Answer every question with its first reference."""
    return Row(id=question.id, status="ok", text=(question.answers or ("no",))[0])


EXACT = [m.parse_measure("ExactMatch")]


def test_any_callable_can_be_measured(town: Dataset, tmp_path: Path) -> None:
    """A function from questions to rows is a pipeline; the run can be read again."""
    run = evaluate(answer_all, town, measures=EXACT, out=tmp_path / "run")
    assert run.measure("ExactMatch")["mean"] == 1.0
    assert run.measure("ExactMatch")["n"] == 15
    again = load_run(tmp_path / "run")
    assert again.scores == run.scores
    assert again.manifest == run.manifest


def test_failures_are_rows_and_are_in_no_mean(town: Dataset, tmp_path: Path) -> None:
    """What fails on purpose is a row with its reason; bounds tell what it could have changed."""
    failing = {town.questions[0].id, town.questions[1].id}

    def pipeline(question: Question) -> Row:
        if question.id in failing:
            raise RemoteError("the server is down")
        return answer_all(question)

    run = evaluate(pipeline, town, measures=EXACT, out=tmp_path / "run")
    assert run.summary["statuses"] == {"ok": 15, "refused": 0, "error": 2}
    found = run.measure("ExactMatch")
    assert (found["mean"], found["n"], found["errors"]) == (1.0, 13, 2)
    assert (found["worst"], found["best"]) == (13 / 15, 1.0)
    row = run.rows()[town.questions[0].id]
    assert (row.status, row.reason) == ("error", "RemoteError: the server is down")

    failing.clear()
    again = evaluate(pipeline, town, measures=EXACT, out=tmp_path / "run")
    assert again.summary["statuses"] == {"ok": 17, "refused": 0, "error": 0}


def test_a_bug_is_not_swallowed(town: Dataset, tmp_path: Path) -> None:
    """An error that nobody raised on purpose ends the run, and the rows so far are kept."""

    def pipeline(question: Question) -> Row:
        if question.id == town.questions[3].id:
            raise ZeroDivisionError
        return answer_all(question)

    with pytest.raises(ZeroDivisionError):
        evaluate(pipeline, town, measures=EXACT, out=tmp_path / "run")
    assert len((tmp_path / "run" / "rows.jsonl").read_text().splitlines()) == 3
    with pytest.raises(ConfigError, match="unfinished"):
        load_run(tmp_path / "run")


def test_other_measures_ask_nothing_again(town: Dataset, tmp_path: Path) -> None:
    """A finished run is scored anew from its rows."""
    asked: list[str] = []

    def pipeline(question: Question) -> Row:
        asked.append(question.id)
        return answer_all(question)

    evaluate(pipeline, town, measures=EXACT, out=tmp_path / "run")
    run = evaluate(pipeline, town, measures=[m.parse_measure("F1")], out=tmp_path / "run")
    assert len(asked) == 17
    assert run.measure("F1")["mean"] == 1.0


def test_a_folder_holds_one_run(town: Dataset, tmp_path: Path) -> None:
    """Another dataset or configuration is refused with what differs, unless begun anew."""
    out = tmp_path / "run"
    evaluate(answer_all, town, measures=EXACT, out=out, configuration={"k": 5, "mode": "dense"})
    with pytest.raises(ConfigError, match=r"configuration\.k 5, not 7"):
        evaluate(answer_all, town, measures=EXACT, out=out,
                 configuration={"k": 7, "mode": "dense"})  # fmt: skip
    with pytest.raises(ConfigError, match=r"dataset\.n_questions 17, not 4"):
        evaluate(answer_all, town.limited(4), measures=EXACT, out=out,
                 configuration={"k": 5, "mode": "dense"})  # fmt: skip
    run = evaluate(answer_all, town.limited(4), measures=EXACT, out=out, restart=True)
    assert run.summary["n"] == 4


def test_a_torn_line_is_asked_again(town: Dataset, tmp_path: Path) -> None:
    """Half a row at the end of the file, as a crash leaves it, costs one question."""
    out = tmp_path / "run"
    whole = evaluate(answer_all, town, measures=EXACT, out=out)
    rows = (out / "rows.jsonl").read_bytes()
    (out / "rows.jsonl").write_bytes(rows[:-20])
    asked: list[str] = []

    def pipeline(question: Question) -> Row:
        asked.append(question.id)
        return answer_all(question)

    again = evaluate(pipeline, town, measures=EXACT, out=out)
    assert asked == [town.questions[-1].id]
    assert again.scores == whole.scores
    (out / "rows.jsonl").write_bytes(rows[:50] + b"\n" + rows[50:])
    with pytest.raises(ConfigError, match=r"damaged.*--restart"):
        evaluate(pipeline, town, measures=EXACT, out=out)


def test_scores_that_were_cut_are_noticed(town: Dataset, tmp_path: Path) -> None:
    """A run whose scores lost lines is damaged, not a smaller run."""
    out = tmp_path / "run"
    evaluate(answer_all, town, measures=EXACT, out=out)
    lines = (out / "scores.jsonl").read_text().splitlines()
    (out / "scores.jsonl").write_text("\n".join(lines[:5]) + "\n")
    with pytest.raises(ConfigError, match="5 scores of 17"):
        load_run(out)


def test_rows_come_back_as_they_were_written() -> None:
    """A row with everything in it survives its JSON."""
    row = Row(
        id="q", status="ok", text="nine\ud800", ranking={"d": 1.5}, answer_rank=1,
        hits=(Passage(document_id="d", start=0, end=4, n_tokens=1),),
        context=(
            Passage(document_id="d", start=0, end=4, n_tokens=1, text="nine",
                    repeats=(("e", 5, 9),)),
        ),
        gold_chunks=(), joules=(1.0, 2.0, 3.0), from_cache=("embed",), seconds=0.5,
    )  # fmt: skip
    assert read_row(json.loads(json.dumps(row.to_dict()))) == row


def test_a_rag_is_measured_from_end_to_end(town: Dataset, tmp_path: Path) -> None:
    """Every measure but those of what is missing here has a value, within its bounds."""
    with Cache(tmp_path / "cache") as cache, OpenedRag(town, WORDS, cache) as opened:
        # The questions name no texts that they need, and the documents have no units.
        chosen = [x for x in m.all_measures() if x.needs != "needs" and str(x) != "Orphans"]
        pipeline = RagPipeline(opened.rag, chosen, caches=opened.caches)
        run = evaluate(pipeline, town, measures=chosen, out=tmp_path / "run")
    for measure in chosen:
        found: Any = run.measure(str(measure))
        assert found["n"] > 0, measure
        for score in run.scores:
            value = score.values[str(measure)]
            if measure.bounds is not None and value is not None:
                assert measure.bounds[0] <= value <= measure.bounds[1], measure
    means: Any = {name: found["mean"] for name, found in _measures(run.summary).items()}
    assert means["R@5"] == 1.0
    assert means["EvidenceFound"] >= 0.8
    assert means["UnanswerableRefused"] == 1.0
    assert means["WasteRatio"] >= 1.0
    assert means["EvidenceTokenRecall"] == pytest.approx(means["EvidenceFound"], abs=0.1)
    refusals: Any = run.summary["refusals"]
    assert refusals["unanswerable"] == {"ok": 0, "refused": 2, "error": 0}
    assert sum(refusals["answerable"].values()) == 15
    # No hit means no evidence at all, so there is nothing to rank.
    assert refusals["evidence_auroc"] is None
    row = run.rows()["ferry-0-0"]
    assert row.oracle_tokens == 12
    assert row.gold_chunks is not None
    assert len(row.gold_chunks) == 1


class _Reversed:
    """Puts the worst hit first and leaves the scores as they are."""

    def rerank(self, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
        assert question
        return list(reversed(hits))


def test_a_rerankers_order_counts(town: Dataset, tmp_path: Path) -> None:
    """Documents are ranked as the pipeline returns them, not by scores it has overruled."""
    chosen = [m.parse_measure("MRR")]
    means: list[Any] = []
    for name, reranker in (("plain", None), ("reversed", _Reversed())):
        with RAG(tmp_path / name, config=WORDS, reranker=reranker, ledger="off") as rag:
            assert town.corpus is not None
            rag.ingest(town.corpus)
            pipeline = RagPipeline(rag, chosen)
            out = tmp_path / f"run-{name}"
            run = evaluate(pipeline, town, measures=chosen, out=out)
            means.append(run.measure("MRR")["mean"])
    assert means[0] > means[1]


def test_a_document_that_repeats_itself_is_no_loss(tmp_path: Path) -> None:
    """Evidence is found where its sentence stands word for word, whichever place is labelled."""
    filler = " ".join(f"Filler number {i} is of no interest." for i in range(60))
    text = f"The ferry leaves at nine. {filler} THE  ferry leaves at nine. The end."
    folder = tmp_path / "twice"
    first = text.index("nine")
    rows = [(0, first), (1, text.index("nine", first + 1))]
    write_lines(folder / "corpus.jsonl", [{"_id": "d", "text": text}])
    write_lines(
        folder / "queries.jsonl",
        [{"_id": f"q{i}", "text": "When does the ferry leave?", "answers": ["nine"]}
         for i, _ in rows],
    )  # fmt: skip
    write_lines(
        folder / "spans.jsonl",
        [{"query-id": f"q{i}", "corpus-id": "d", "start": at, "end": at + 4, "text": "nine"}
         for i, at in rows],
    )  # fmt: skip
    dataset = load_dataset(folder)
    chosen = [m.parse_measure("EvidenceFound")]
    with (
        Cache(tmp_path / "cache") as cache,
        OpenedRag(dataset, Settings(embedder="none", trim_level=0.0), cache) as opened,
    ):
        pipeline = RagPipeline(opened.rag, chosen)
        run = evaluate(pipeline, dataset, measures=chosen, out=tmp_path / "run")
    assert len(run.rows()["q0"].context) == 1
    assert [score.values["EvidenceFound"] for score in run.scores] == [1.0, 1.0]


def _measures(summary: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", summary["measures"])


def test_vectors_are_computed_once(town: Dataset, tmp_path: Path) -> None:
    """A second store and a second run embed nothing, and say what it would have cost."""
    pytest.importorskip("numpy")
    counting = _CountingEmbedder()
    rows: list[dict[str, Row]] = []
    computed: list[int] = []
    for name in ("one", "two"):
        with Cache(tmp_path / "cache") as cache:
            embedder = CachingEmbedder(counting, cache, name="builtin")
            with RAG(tmp_path / name, embedder=embedder, config=Settings(), ledger="off") as rag:
                assert town.corpus is not None
                rag.ingest(town.corpus)
                pipeline = RagPipeline(rag, EXACT, caches={"embed": embedder})
                run = evaluate(pipeline, town, measures=EXACT, out=tmp_path / f"run-{name}")
                rows.append(run.rows())
        computed.append(counting.n_texts)
    assert computed[0] == computed[1] > 17
    first, second = rows[0]["ferry-0-0"], rows[1]["ferry-0-0"]
    assert (first.from_cache, second.from_cache) == ((), ("embed",))
    assert first.context == second.context
    assert second.seconds is not None
    assert second.seconds > 0.0
    assert first.joules is not None
    assert second.joules is not None


class _CountingEmbedder:
    """The built-in embedder, counting the texts that it computes."""

    def __init__(self) -> None:
        from ragkit.embedding.builtin import BuiltinEmbedder

        self._inner = BuiltinEmbedder()
        self.dim = self._inner.dim
        self.fingerprint = self._inner.fingerprint
        self.n_texts = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.n_texts += len(texts)
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        self.n_texts += 1
        return self._inner.embed_query(text)


def test_a_cache_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    """A damaged cache file is named, with the way out."""
    (tmp_path / "cache.sqlite").write_bytes(b"not a database, but long enough to be read" * 30)
    with pytest.raises(ConfigError, match="--cache"):
        Cache(tmp_path)


def test_labels_for_another_store_are_refused(town: Dataset, tmp_path: Path) -> None:
    """When no labelled document is in the store the message shows an id of either side."""
    from ragkit.types import Document
    from ragkit_eval.running.stores import missing_documents

    with RAG(tmp_path / "kb", config=WORDS, ledger="off") as rag:
        rag.ingest(Document(id="elsewhere", text="Nothing of this town."))
        with pytest.raises(ConfigError, match=r"'canteen'.*'elsewhere'"):
            missing_documents(rag, town)


def _requested(requests: list[Request]) -> list[str]:
    return [json.dumps(request.body["messages"], sort_keys=True) for request in requests]


def _comparable(folder: Path) -> list[dict[str, Any]]:
    """Return the last row of each question without what time decides."""
    timed = {"seconds", "cpu_seconds", "joules", "from_cache"}
    rows: dict[str, dict[str, Any]] = {}
    for line in (folder / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows[row["id"]] = {key: value for key, value in row.items() if key not in timed}
    return [rows[name] for name in sorted(rows)]


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_is_not(tmp_path: Path) -> None:
    """Twenty kills at random points: the same rows and scores, and nothing is paid for twice.

    Only the one call that was in flight at a kill can be asked again: its answer never came.
    """
    folder = make_dataset(tmp_path / "town", copies=5)
    rng = random.Random(6)
    with OpenAIServer([Reply(text="At nine.", delay_seconds=0.01)]) as server:

        def command(out: str, cache: str) -> list[str]:
            return [
                RAGKIT, "eval", "run", str(folder), "--out", str(tmp_path / out), "--json",
                "--cache", str(tmp_path / cache), "--embedder", "none", "--refuse-below", "off",
                "--generator", "openai:m", "--base-url", server.base_url,
            ]  # fmt: skip

        done = subprocess.run(command("calm", "one"), check=True, capture_output=True, text=True)
        calm = json.loads(done.stdout)
        n_calls = calm["statuses"]["ok"]
        assert len(server.requests) == n_calls > 60
        server.requests.clear()

        n_kills = 0
        while n_kills < 20:
            process = subprocess.Popen(command("killed", "two"), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)  # fmt: skip
            seen = len(server.requests)
            wanted = rng.choice([0, 1, 1, 2, 3])
            while len(server.requests) < seen + wanted and process.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.random() * 0.01)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                n_kills += 1
            process.wait()
        finished = subprocess.run(command("killed", "two"), check=True, capture_output=True,
                                  text=True)  # fmt: skip
        killed = json.loads(finished.stdout)
        requested = _requested(server.requests)
    assert _comparable(tmp_path / "killed") == _comparable(tmp_path / "calm")
    assert len(set(requested)) == n_calls
    assert len(requested) <= n_calls + n_kills
    for name, value in calm["measures"].items():
        if name not in {"Seconds", "CPUSeconds", "Joules"}:
            assert killed["measures"][name] == value


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    """An interrupted run exits 130 and goes on where it stopped."""
    folder = make_dataset(tmp_path / "town", copies=3)
    with OpenAIServer([Reply(text="At nine.", delay_seconds=0.02)]) as server:
        command = [
            RAGKIT, "eval", "run", str(folder), "--out", str(tmp_path / "run"),
            "--cache", str(tmp_path / "cache"), "--embedder", "none", "--progress", "json",
            "--refuse-below", "off",
            "--generator", "openai:m", "--base-url", server.base_url,
        ]  # fmt: skip
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for _ in range(5):
                assert json.loads(process.stderr.readline())["status"] == "ok"
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        assert process.returncode == 130
        assert "run the same command again" in rest
        n_before = len(server.requests)
        subprocess.run(command, check=True, capture_output=True)
        requested = _requested(server.requests)
    assert n_before >= 5
    assert len(requested) <= len(set(requested)) + 1
