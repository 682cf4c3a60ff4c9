"""Datasets: every format is read, and every fault is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.data.validation import validate

from .made import make_dataset, write_lines


def test_a_folder_is_read_with_its_labels(tmp_path: Path) -> None:
    """Questions come with judgements, answers and evidence; unanswerable ones belong too."""
    dataset = load_dataset(make_dataset(tmp_path / "town"))
    assert (dataset.name, dataset.split, len(dataset.questions)) == ("town", "test", 17)
    ferry = dataset.questions[0]
    assert ferry.relevance == {"ferry": 1}
    assert ferry.evidence[0][0].text == ferry.answers[0] == "nine in the morning"
    assert [q.unanswerable for q in dataset.questions].count(True) == 2
    assert ferry.cluster() == "document ferry"
    assert ferry.cluster("kind") == "kind when"
    assert ferry.cluster("none") == "question ferry-0-0"


def test_the_digest_tells_labels_apart(tmp_path: Path) -> None:
    """The same folder gives the same digest; one moved span or one question less another."""
    folder = make_dataset(tmp_path / "town")
    first = load_dataset(folder)
    assert load_dataset(folder).sha256 == first.sha256
    assert first.limited(5).sha256 != first.sha256
    assert len(first.limited(5).questions) == 5
    spans = (folder / "spans.jsonl").read_text().replace('"start": 30', '"start": 29')
    (folder / "spans.jsonl").write_text(spans)
    assert load_dataset(folder).sha256 != first.sha256


@pytest.mark.parametrize(("needed", "shape"), [("auto", [1, 1]), ("any", [1, 1]), ("all", [2])])
def test_alternatives_and_parts_are_told_apart(
    tmp_path: Path, needed: str, shape: list[int]
) -> None:
    """Spans that are answers are alternatives unless the caller says that all are needed."""
    rows = [{
        "question": "When?", "answers": ["nine", "noon"],
        "spans": [{"document_id": "d", "start": 0, "end": 4, "text": "nine"},
                  {"document_id": "d", "start": 9, "end": 13, "text": "noon"}],
    }]  # fmt: skip
    write_lines(tmp_path / "labels.jsonl", rows)
    dataset = load_dataset(tmp_path / "labels.jsonl", needed=needed)  # type: ignore[arg-type]
    assert [len(spans) for spans in dataset.questions[0].evidence] == shape


def test_sets_group_spans(tmp_path: Path) -> None:
    """Spans of one set are needed together, and sets are alternatives."""
    spans = [
        {"document_id": "d", "start": i, "end": i + 1, "text": "x", "set": name}
        for i, name in enumerate("aab")
    ]
    write_lines(tmp_path / "labels.jsonl", [{"question": "What?", "spans": spans}])
    evidence = load_dataset(tmp_path / "labels.jsonl").questions[0].evidence
    assert [len(group) for group in evidence] == [2, 1]


def test_spans_that_are_no_answers_are_all_needed(tmp_path: Path) -> None:
    """Supporting sentences are parts, not alternatives."""
    spans = [{"document_id": "d", "start": i, "end": i + 5, "text": "fact."} for i in (0, 9)]
    write_lines(tmp_path / "labels.jsonl", [{"question": "Why?", "answer": "so", "spans": spans}])
    assert len(load_dataset(tmp_path / "labels.jsonl").questions[0].evidence[0]) == 2


def test_a_sheet_of_questions_and_answers_is_read(tmp_path: Path) -> None:
    """A CSV from a spreadsheet, byte order mark and all; rows of one question are joined."""
    (tmp_path / "sheet.csv").write_bytes(
        b'\xef\xbb\xbfQuestion,Answer\r\n When? ,nine\r\nWhen?,noon\r\n"Who, now?",Ida\r\n'
    )
    dataset = load_dataset(tmp_path / "sheet.csv")
    assert [(q.text, q.answers) for q in dataset.questions] == [
        ("When?", ("nine", "noon")),
        ("Who, now?", ("Ida",)),
    ]
    (tmp_path / "spans.csv").write_text("question,answer,document_id,start,end\nWhen?,nine,d,4,8\n")
    span = load_dataset(tmp_path / "spans.csv").questions[0].evidence[0][0]
    assert (span.document_id, span.start, span.end, span.text) == ("d", 4, 8, "nine")


def test_squad_files_are_read(tmp_path: Path) -> None:
    """Paragraphs become documents; answers spans; impossible questions unanswerable ones."""
    qas: list[dict[str, object]] = [
        {"id": "q1", "question": " When? ", "answers": [{"text": "nine", "answer_start": 4}]},
        {"id": "q2", "question": "Why?", "answers": [], "is_impossible": True},
    ]
    data = {"data": [{"title": "Ferry", "paragraphs": [{"context": "At  nine.", "qas": qas}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(data))
    dataset = load_dataset(tmp_path / "squad.json")
    assert dataset.documents[0].id == "Ferry#0"
    when, why = dataset.questions
    assert (when.text, when.relevance, why.unanswerable) == ("When?", {"Ferry#0": 1}, True)
    span = when.evidence[0][0]
    assert dataset.documents[0].text[span.start : span.end] == "nine"


def test_equal_questions_can_be_merged(tmp_path: Path) -> None:
    """Merging joins the labels of questions whose text is the same."""
    folder = make_dataset(tmp_path / "town")
    queries = (folder / "queries.jsonl").read_text().splitlines()
    twin = json.loads(queries[0])
    with (folder / "queries.jsonl").open("a") as file:
        file.write(json.dumps({**twin, "_id": "twin", "answers": ["at nine"]}) + "\n")
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("twin\tmarket\t1\n")
    merged = load_dataset(folder).merged()
    assert len(merged.questions) == 17
    assert merged.questions[0].relevance == {"ferry": 1, "market": 1}
    assert merged.questions[0].answers == ("nine in the morning", "at nine")


def replace_in(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return a change of a file of the dataset."""

    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def append_to(name: str, line: str) -> Callable[[Path], None]:
    """Return a line more in a file of the dataset."""

    def change(folder: Path) -> None:
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return change


def with_bom(folder: Path) -> None:
    """Put a byte order mark before the questions."""
    path = folder / "queries.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def with_crlf(folder: Path) -> None:
    """End the judgements' lines with carriage returns."""
    path = folder / "qrels" / "test.tsv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def with_second_split(folder: Path) -> None:
    """Put a question of the test split into another split."""
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nferry-0-0\tferry\t1\n")


FAULTS = {
    "bom": with_bom,
    "crlf": with_crlf,
    "split_overlap": with_second_split,
    "wrong_offsets": replace_in("spans.jsonl", '"start": 3', '"start": 2'),
    "unstripped_question": replace_in("queries.jsonl", '"When does', '" When does'),
    "duplicate_question": append_to(
        "queries.jsonl", '{"_id": "x", "text": "How tall is the lighthouse?"}'
    ),
    "duplicate_id": append_to("corpus.jsonl", '{"_id": "ferry", "text": "Again."}'),
    "unknown_question": append_to("qrels/test.tsv", "nobody\tferry\t1"),
    "missing_document": append_to("qrels/test.tsv", "ferry-0-0\tatlantis\t1"),
    "unreadable": append_to("queries.jsonl", "{broken"),
}


@pytest.mark.parametrize("code", FAULTS)
def test_every_fault_is_named(tmp_path: Path, code: str) -> None:
    """A planted fault is found, with its place; without it the dataset is sound."""
    folder = make_dataset(tmp_path / "town")
    assert validate(folder).faults == ()
    FAULTS[code](folder)
    found = validate(folder, split="test").faults
    assert code in {fault.code for fault in found}
    assert all(fault.where and fault.detail for fault in found)


def test_a_question_without_labels_is_a_fault(tmp_path: Path) -> None:
    """A question that nothing can be measured on is named."""
    write_lines(tmp_path / "labels.jsonl", [{"question": "What now?"}])
    assert [fault.code for fault in validate(tmp_path / "labels.jsonl").faults] == [
        "unlabelled_question"
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (append_to("queries.jsonl", "[1]"), "line 18: an object is needed"),
        (append_to("spans.jsonl", '{"query-id": "a", "corpus-id": "b", "start": 5, "end": 2}'),
         "start <= end"),
        (append_to("qrels/test.tsv", "ferry-0-0\tferry\thigh"), "'high'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_that_names_the_line(
    tmp_path: Path, change: Callable[[Path], None], named: str
) -> None:
    """Loading stops at a malformed line and says where it is."""
    folder = make_dataset(tmp_path / "town")
    change(folder)
    with pytest.raises(ConfigError, match=named):
        load_dataset(folder)


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    """The message lists the splits that there are."""
    with pytest.raises(ConfigError, match="allowed: test"):
        load_dataset(make_dataset(tmp_path / "town"), split="train")
    with pytest.raises(ConfigError, match="no dataset"):
        load_dataset(tmp_path / "nowhere")
