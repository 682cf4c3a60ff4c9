"""Files of an evaluation: labels, runs and rows read as meant, or refused by `ConfigError`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_eval.data.datasets import Dataset, load_dataset
from ragkit_eval.data.trec import read_qrels, read_run
from ragkit_eval.running.finished import load_run

from .lane import FEWER, FUZZ, no_hang
from .mutating import altered, as_json, json_lines, mutated

FOUND = Path(__file__).parent / "found" / "evaluation"
QRELS = (b"query-id\tcorpus-id\tscore\nq1\td 1\t1\nq2\td2\t0\n", b"q1 0 d1 1\nq1 0 d2 0\n")
RUNS = (b"q1 Q0 d1 1 9.5 tag\nq1 Q0 d2 2 8 tag\n", b"q1\tQ0\td1\t1\t0.5\n")
CELLS = (
    b"\t",
    b" ",
    b",",
    b'"',
    b"nan",
    b"inf",
    b"1e999",
    b"9" * 5000,
    "²".encode(),
    b"\xef\xbb\xbf",
    b"\x85",
    b"\x1c",
)
SHEETS = (
    b'Question, Answer,id,unanswerable\nWhen does it leave?,nine,q1,no\n"Who, then?",,q2,yes\n',
    b"question,answer,document_id,start,end,text\nWhen?,nine,d1,0,4,nine\nWhen?,ten,d1,7,10,ten\n",
    b"question,split,metadata,answers,spans,text,question\na,test,x,y,z,t,b\n",
)
QUESTIONS: tuple[Json, ...] = (
    {
        "_id": "q1",
        "text": "When does it leave?",
        "answers": ["nine"],
        "metadata": {"split": "test", "unanswerable": False},
    },
    {
        "question": "Who?",
        "answer": "Ida",
        "spans": [{"document_id": "d1", "start": 0, "end": 3, "text": "Ida", "set": 1}],
    },
)
SPANS: tuple[Json, ...] = (
    {"query-id": "q1", "corpus-id": "d1", "start": 0, "end": 4, "text": "nine", "set": 0},
    {"query-id": "q1", "document_id": "d1", "start": 9, "end": 12, "text": "ten"},
)
SQUAD: tuple[Json, ...] = (
    {"data": [{"title": "Ferry", "paragraphs": [{"context": "It leaves at nine.", "qas": [
        {"id": "q1", "question": "When?", "answers": [{"answer_start": 13, "text": "nine"}], "is_impossible": False},
        {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True},
    ]}]}]},
)  # fmt: skip
PASSAGE: Json = {
    "document_id": "d1",
    "start": 0,
    "end": 4,
    "n_tokens": 1,
    "text": "nine",
    "repeats": [["d2", 1, 5]],
}
ROWS: tuple[Json, ...] = (
    {
        "schema": 1, "id": "q1", "status": "ok", "text": "nine", "ranking": {"d1": 0.9}, "hits": [PASSAGE],
        "answer_rank": 1, "context": [PASSAGE], "citations": [], "gold_chunks": [PASSAGE], "input_tokens": 60,
        "seconds": 0.1, "joules": [1.0, 2.0, 3.0], "from_cache": ["embed"],
    },
    {"schema": 1, "id": "q2", "status": "refused", "reason": "low_evidence"},
)  # fmt: skip
SCORE: Json = {
    "id": "q1", "question": "When?", "answers": ["nine"], "evidence": [], "unanswerable": False, "cluster": "document d1",
    "metadata": {}, "status": "ok", "values": {"F1": 0.5, "tokens": None},
}  # fmt: skip
MANIFEST: Json = {"schema": 1, "dataset": {"sha256": "ab"}, "configuration": {}, "seed": 0}
SUMMARY: Json = {"n": 1, "measures": {"F1": {"mean": 0.5}}, "dataset": "d", "split": "test"}


def check_dataset(place: Path) -> None:
    """Read a dataset: questions with text, and a digest that is the same again."""
    with no_hang():
        try:
            dataset = load_dataset(place)
        except ConfigError as error:
            assert "\n" not in str(error)[:20]
            return
    _check_questions(dataset)
    assert load_dataset(place).sha256 == dataset.sha256


def _check_questions(dataset: Dataset) -> None:
    assert dataset.questions
    for question in dataset.merged().questions:
        assert question.text.strip()
        assert question.cluster()
        assert question.cluster("split")
        assert all(isinstance(answer, str) for answer in question.answers)
        for spans in question.evidence:
            assert spans
            assert all(0 <= span.start <= span.end for span in spans)


def check_sheet(data: bytes) -> None:
    """Read a sheet of questions and answers."""
    _file("q.csv", data)


def check_questions(data: bytes) -> None:
    """Read JSON Lines of questions."""
    _file("q.jsonl", data)


def check_squad(data: bytes) -> None:
    """Read a SQuAD file."""
    _file("q.json", data)


def _file(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)
    check_dataset(Path(name))


def check_folder(queries: bytes, spans: bytes, qrels: bytes) -> None:
    """Read a folder in BEIR's layout."""
    folder = Path("set")
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    (folder / "queries.jsonl").write_bytes(queries)
    (folder / "spans.jsonl").write_bytes(spans)
    (folder / "qrels" / "test.tsv").write_bytes(qrels)
    check_dataset(folder)


def check_judgements(data: bytes) -> None:
    """Read judgements and a ranked run of the same bytes."""
    path = Path("x.tsv")
    path.write_bytes(data)
    with no_hang():
        try:
            judged = read_qrels(path)
            assert all(isinstance(n, int) for graded in judged.values() for n in graded.values())
        except ConfigError:
            pass
        try:
            run = read_run(path)
            assert all(map(math.isfinite, (n for scores in run.values() for n in scores.values())))
        except ConfigError:
            pass


def check_rows(data: bytes) -> None:
    """Read the rows of a run that is finished otherwise."""
    folder = Path("run")
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(as_json(MANIFEST))
    (folder / "summary.json").write_text('{"n": 0, "measures": {}}')
    (folder / "scores.jsonl").write_text("")
    (folder / "rows.jsonl").write_bytes(data)
    with no_hang():
        run = load_run(folder)
        try:
            rows = run.rows()
        except ConfigError:
            return
        for name, row in rows.items():
            assert row.id == name
            json.dumps(row.to_dict())


def check_run(manifest: bytes, summary: bytes, scores: bytes) -> None:
    """Read the files of a finished run."""
    folder = Path("run")
    folder.mkdir(exist_ok=True)
    for name, data in (
        ("manifest.json", manifest),
        ("summary.json", summary),
        ("scores.jsonl", scores),
    ):
        (folder / name).write_bytes(data)
    with no_hang():
        try:
            run = load_run(folder)
        except ConfigError:
            return
        assert run.name
        assert isinstance(run.dataset_sha256, str)
        for score in run.scores:
            assert all(value is None or value + 0.0 is not None for value in score.values.values())


@FUZZ
@given(mutated((*QRELS, *RUNS), CELLS))
def test_damaged_judgements(data: bytes) -> None:
    """Damaged judgements and runs are numbers by question and document, or a `ConfigError`."""
    check_judgements(data)


@FUZZ
@given(mutated(SHEETS, CELLS))
def test_damaged_sheets(data: bytes) -> None:
    """A damaged sheet is questions, or a `ConfigError`."""
    check_sheet(data)


@FUZZ
@given(json_lines(QUESTIONS))
def test_damaged_questions(data: bytes) -> None:
    """Damaged lines are questions, or a `ConfigError`."""
    check_questions(data)


@FUZZ
@given(
    st.one_of(
        altered(SQUAD).map(as_json).map(str.encode),
        mutated([as_json(SQUAD[0]).encode()], [b"[" * 3000]),
    )
)
def test_damaged_squad(data: bytes) -> None:
    """A damaged SQuAD file is questions and documents, or a `ConfigError`."""
    check_squad(data)


@pytest.mark.slow
@FUZZ
@given(json_lines(QUESTIONS), json_lines(SPANS), mutated(QRELS, CELLS))
def test_damaged_folders(queries: bytes, spans: bytes, qrels: bytes) -> None:
    """A folder of damaged files is questions with labels, or a `ConfigError`."""
    check_folder(queries, spans, qrels)


@FUZZ
@given(json_lines(ROWS))
def test_damaged_rows(data: bytes) -> None:
    """Damaged rows of a run are rows that write as JSON, or a `ConfigError`."""
    check_rows(data)


@FEWER
@given(
    altered([MANIFEST]).map(as_json).map(str.encode),
    altered([SUMMARY]).map(as_json).map(str.encode),
    json_lines([SCORE]),
)
def test_damaged_runs(manifest: bytes, summary: bytes, scores: bytes) -> None:
    """Damaged files of a run are a run, or a `ConfigError`."""
    check_run(manifest, summary, scores)


_MANIFEST = as_json(MANIFEST).encode()
CHECKS: Mapping[str, Callable[[bytes], None]] = {
    "judgements": check_judgements,
    "sheet": check_sheet,
    "questions": check_questions,
    "squad": check_squad,
    "rows": check_rows,
    "scores": lambda data: check_run(_MANIFEST, b'{"n": 1, "measures": {}}', data),
    "summary": lambda data: check_run(_MANIFEST, data, b""),
    "spans": lambda data: check_folder(as_json(QUESTIONS[0]).encode(), data, QRELS[0]),
}


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_found(path: Path) -> None:
    """What was found stays mended; the name begins with what the file is."""
    CHECKS[path.name.split("_")[0]](path.read_bytes())
