"""Labelling questions: what is asked, what is marked, and the dataset that comes of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG
from ragkit.config import Settings
from ragkit.errors import ConfigError
from ragkit.types import Document
from ragkit_eval import Passage, load_dataset, validate
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.spans import GoldSpan
from ragkit_eval.labelling.files import LabelFile
from ragkit_eval.labelling.marks import labelled, read_marks
from ragkit_eval.labelling.page import html
from ragkit_eval.labelling.questions import Batch, feedback_questions, read_questions
from ragkit_eval.labelling.session import Session, summary
from ragkit_eval.measuring.quality import quality_measure

from ..cli.command import run, valid

TEXTS = {
    "ferry.txt": "The ferry leaves at nine. It is red. Dogs travel free.",
    "fares.txt": "A day pass costs four euros. Children pay half. Dogs travel free of charge.",
}
QUESTIONS = ("When does the ferry leave?", "What does a day pass cost?", "Do dogs pay?")


@pytest.fixture(scope="module")
def rag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RAG]:
    """Return a pipeline over two documents."""
    with RAG(tmp_path_factory.mktemp("store") / "kb", embedder="none") as opened:
        opened.ingest(*(Document(id=name, text=text) for name, text in TEXTS.items()))
        yield opened


def batch(*questions: str) -> Batch:
    """Return questions as a batch."""
    found = tuple(Question(id=f"q{i}", text=text) for i, text in enumerate(questions))
    return Batch(questions=found, sample="all of a test")


def answered(rag: RAG, out: Path, keys: str, *, strict: bool = True) -> tuple[Session, list[str]]:
    """Label the three questions with these keys; return the session and what it showed."""
    lines = iter(keys.splitlines(keepends=True))
    said: list[str] = []
    session = Session(
        rag, batch(*QUESTIONS), LabelFile(out), read=lambda: next(lines, ""), write=said.append,
        strict=strict,
    )  # fmt: skip
    session.run()
    return session, said


def number_of(said: list[str], text: str) -> int:
    """Return the number of the unit that was shown last with this text."""
    shown = [line for line in "".join(said).splitlines() if line.endswith(f" {text}")]
    return int(shown[-1].split()[0])


@pytest.mark.parametrize("name", ["labels.jsonl", "labels"])
def test_labels_are_a_dataset(rag: RAG, tmp_path: Path, name: str) -> None:
    """A file and a folder alike: evidence, needs, documents, and what nothing answers."""
    out = tmp_path / name
    dogs = [number_of(answered(rag, tmp_path / "x.jsonl", "s\ns\nq\n")[1], text)
            for text in ("Dogs travel free.", "Dogs travel free of charge.")]  # fmt: skip
    answered(rag, out, f"1\nn\n{dogs[0]}|{dogs[1]}\n")
    questions = load_dataset(out).questions
    first, second, third = questions
    assert [q.text for q in questions] == list(QUESTIONS)
    assert first.needs == (("The ferry leaves at nine.",),)
    assert first.relevance == {"ferry.txt": 1}
    assert [[(s.document_id, s.start, s.end) for s in way] for way in first.evidence] == [
        [("ferry.txt", 0, 25)]
    ]
    assert second.unanswerable
    assert not second.evidence
    assert third.needs == (("Dogs travel free.", "Dogs travel free of charge."),)
    assert len(third.evidence) == 2
    assert [q.metadata["sample"] for q in questions] == ["all of a test"] * 3
    assert not validate(out).faults


def test_an_interruption_loses_nothing_and_labelling_goes_on(rag: RAG, tmp_path: Path) -> None:
    """Each label is written before the next question is asked; only the others are asked again."""
    out = tmp_path / "labels.jsonl"

    def keys() -> Iterator[str]:
        yield "1\n"
        assert len(load_dataset(out).questions) == 1
        raise KeyboardInterrupt

    typed = keys()
    session = Session(
        rag, batch(*QUESTIONS), LabelFile(out), read=lambda: next(typed), write=lambda _: None
    )
    with pytest.raises(KeyboardInterrupt):
        session.run()
    again, said = answered(rag, out, "n\nn\n")
    assert QUESTIONS[0] not in "".join(said)
    assert again.n_remaining == 0
    assert "every question" in "".join(answered(rag, out, "")[1])


def test_skip_undo_more_and_search(rag: RAG, tmp_path: Path) -> None:
    """Skipped questions come again another time; an undo takes back a label, or a skip."""
    out = tmp_path / "labels.jsonl"
    answered(rag, out, "1\nu\nq\n")
    assert not LabelFile(out).rows
    answered(rag, out, "1\n2\nq\n")
    answered(rag, out, "u\nu\nq\n")
    assert not LabelFile(out).rows
    session, _ = answered(rag, out, "1\nu\nn\ns\nu\nm\nv\n?\n\n/children\n1\nq\n")
    rows = LabelFile(out).rows
    assert list(rows) == ["q0", "q1"]
    assert rows["q0"]["unanswerable"] is True
    made = summary(session, batch(*QUESTIONS), LabelFile(out), str(out))
    assert (made["labelled"], made["unanswerable"], made["remaining"]) == (2, 1, 1)
    assert session.totals.n_skipped == 0
    assert session.totals.n_labelled == 2
    assert session.totals.n_keys == len("1\nu\nn\ns\nu\nm\nv\n?\n\n/children\n1\nq\n")


def test_an_undo_says_what_it_takes_back_and_asks_again(rag: RAG, tmp_path: Path) -> None:
    """Of a label what was marked, of this session or one before; of the first question nothing."""
    out = tmp_path / "labels.jsonl"
    for keys, said in (
        ("1\nu\n", "(needed: The ferry leaves at nine.)"),
        ("n\nu\n", "(nothing answers it)"),
        ("s\nu\n", "(skipped)"),
        ("u\n", "there is nothing to undo"),
    ):
        _, shown = answered(rag, out, keys + "q\n")
        before, undone, after = "".join(shown).partition(said)
        assert undone
        question = "" if "nothing to" in said else f"undone: {QUESTIONS[0]}  "
        assert before.endswith(question)
        assert f"? {QUESTIONS[0]}" in after
        assert "The ferry leaves at nine." in after
    answered(rag, out, "1\nq\n")
    _, shown = answered(rag, out, "u\nq\n")
    assert f"undone: {QUESTIONS[0]}  (needed: The ferry leaves at nine.)" in "".join(shown)


def test_headings_are_parts_and_passages_with_nothing_to_read_are_left_out(tmp_path: Path) -> None:
    """A heading may be all that says it; link targets and rules are not for reading."""
    (tmp_path / "a.md").write_text(
        "# Version 3.2\n\nReleased in May.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    (tmp_path / "links.md").write_text("[ferry]: http://version.example/ferry\n")
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(tmp_path / "a.md", tmp_path / "links.md")
        found = rag.search("Which version leaves the ferry?", k=9)
        assert "links.md" in {hit.chunk.document_id for hit in found}
        session, said = answered(rag, tmp_path / "labels.jsonl", "/version\n1 3\nq\n")
        page = html(rag, batch("Which version is the ferry?"))
    shown = "".join(said)
    assert session.totals.n_labelled == 1
    for text in (shown, page):
        assert "# Version 3.2" in text
        assert "|---|" not in text
        assert "links.md" not in text
    (question,) = load_dataset(tmp_path / "labels.jsonl").questions
    assert question.needs == (("# Version 3.2",), ("| a | b |",))


def test_keys_that_mean_nothing_stop_a_script_and_not_a_person(rag: RAG, tmp_path: Path) -> None:
    """A script's next line would label another question; a person may type again."""
    with pytest.raises(ConfigError, match="99"):
        answered(rag, tmp_path / "a.jsonl", "99\n1\n1\n")
    assert not (tmp_path / "a.jsonl").exists()
    session, said = answered(rag, tmp_path / "b.jsonl", "99\nyes\n1\nq\n", strict=False)
    assert session.totals.n_labelled == 1
    assert "no part 99" in "".join(said)


def test_parts_that_cannot_be_written_down_have_no_number(tmp_path: Path) -> None:
    """Half of a surrogate pair would make labels that nothing can read."""
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(Document(id="a", text="The ferry \ud800 leaves. The ferry is red."))
        session, said = answered(rag, tmp_path / "labels.jsonl", "1\nq\n")
    assert session.totals.n_labelled == 1
    assert "1 The ferry is red." in "".join(said)
    assert load_dataset(tmp_path / "labels.jsonl").questions[0].needs == (("The ferry is red.",),)


@given(st.text(alphabet="0123456789-|, nmx", max_size=20) | st.text(max_size=10))
def test_any_keys_are_marks_of_units_or_an_error(line: str) -> None:
    """What is read are numbers of units that are there, without repeats."""
    try:
        marks = read_marks(line, 12)
    except ValueError:
        return
    assert marks
    assert len(set(marks)) == len(marks)
    assert all(1 <= number <= 12 for need in marks for number in need)


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True), max_size=4))
def test_what_is_marked_is_held_by_every_way_and_by_no_less(marks: list[list[int]]) -> None:
    """By needs and by spans alike, a context is enough if it has one unit of each need."""
    words = ("alpha", "beta", "gamma", "delta", "epsilon")
    text = " ".join(words)
    units = [
        GoldSpan(document_id="d", start=(at := text.index(word)), end=at + len(word), text=word)
        for word in words
    ]
    row = labelled(
        Question(id="q", text="which?"), tuple(map(tuple, marks)), units, sample="s"
    )  # fmt: skip
    question = _loaded(row)
    for size in range(32):
        kept = [unit for i, unit in enumerate(units) if size >> i & 1]
        enough = all(any(units[n - 1] in kept for n in need) for need in marks)
        for measure in ("NeedsHeld", "EvidenceFound") if marks else ():
            quality = quality_measure(measure)[1]
            passages = [_passage(unit) for unit in kept]
            assert quality(question, passages) == float(enough), measure
    assert question.unanswerable == (not marks)


def _loaded(row: object) -> Question:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.jsonl"
        path.write_text(json.dumps(row) + "\n")
        return load_dataset(path).questions[0]


def _passage(unit: GoldSpan) -> Passage:
    return Passage(
        document_id=unit.document_id, start=unit.start, end=unit.end, n_tokens=1, text=unit.text
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,Question,answer\n1,How?,so\n2,Why?,\n"),
        ("semicolons.csv", "\ufeffnr;Text\r\n1;How?\r\n2;Why?\r\n"),
        ("bare.csv", "How?\nWhy?\n"),
        ("one.csv", 'question\n"How?"\nWhy?\n'),
        ("tabs.tsv", "question\tkind\nHow?\tx\nWhy?\ty\nHow?\tz\n"),
        ("a.jsonl", '{"text": "How?"}\n{"question": "Why?", "kind": "x"}\n'),
        ("a.json", '["How?", {"text": "Why?"}]'),
        ("a.txt", "How?\n\nWhy?\n"),
    ],
    ids=["csv", "semicolons", "bare", "one", "tsv", "jsonl", "json", "txt"],
)
def test_questions_from_a_sheet_or_a_file(tmp_path: Path, name: str, content: str) -> None:
    """Whatever people have them in; each question once."""
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    read = read_questions(tmp_path / name)
    assert [question.text for question in read.questions] == ["How?", "Why?"]
    assert read.sample == f"all 2 of {name}"


CHAT = [
    {"role": "system", "content": "You are helpful. Is that so?"},
    {"role": "user", "content": "Hello!"},
    {"role": "user", "content": [{"type": "text", "text": "When does the ferry leave?"}]},
    {"role": "assistant", "content": "At nine. Anything else?"},
    {"role": "user", "content": "And on Sundays?"},
    {"role": "user", "content": "Thanks!"},
    {"role": "user", "content": None},
    "noise",
]


def test_texts_with_commas_are_whole_or_an_error(tmp_path: Path) -> None:
    """Nobody thinks of quotes in a sheet of one column; in others a text would be cut silently."""
    (tmp_path / "one.csv").write_text('question\nHow, and why?\n"Where, then?"\n')
    (tmp_path / "two.csv").write_text("question,kind\nHow, and why?,x\n")
    read = read_questions(tmp_path / "one.csv")
    assert [question.text for question in read.questions] == ["How, and why?", "Where, then?"]
    with pytest.raises(ConfigError, match="row 2"):
        read_questions(tmp_path / "two.csv")


@pytest.mark.parametrize("form", ["list", "conversations", "lines"])
def test_questions_from_a_chat_export(tmp_path: Path, form: str) -> None:
    """User turns that ask something, follow-ups with the turns that they go on from."""
    chat = CHAT if form != "lines" else [m for m in CHAT if isinstance(m, dict)]
    path = tmp_path / ("chat.jsonl" if form == "lines" else "chat.json")
    if form == "lines":
        path.write_text("".join(json.dumps(message) + "\n" for message in chat))
    else:
        whole = {"list": [chat], "conversations": [{"id": 7, "messages": chat}]}[form]
        path.write_text(json.dumps(whole))
    read = read_questions(path)
    first, second = read.questions
    assert (first.text, first.history) == ("When does the ferry leave?", ())
    assert second.text == "And on Sundays?"
    assert [turn.role for turn in second.history][-2:] == ["user", "assistant"]
    assert read.n_left_out == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "name,age\nx,1\n"),
        ("a.csv", ""),
        ("a.json", "[1]"),
        ("a.json", "{"),
        ("a.json", '[{"role": "user", "content": "Thanks!"}]'),
        ("a.jsonl", '{"text": " "}\n'),
        ("a.txt", "\n"),
    ],
    ids=["columns", "empty", "number", "broken", "remark", "blank", "no-line"],
)
def test_files_without_questions_are_errors(tmp_path: Path, name: str, content: str) -> None:
    """Each says which file."""
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=name):
        read_questions(tmp_path / name)


def test_a_sample_is_random_reproducible_and_recorded() -> None:
    """A smaller sample of the same seed is the beginning of a larger one."""
    everything = batch(*(f"Question {i}?" for i in range(50)))
    drawn = everything.sampled(10, 3)
    assert drawn.questions[:4] == everything.sampled(4, 3).questions
    assert sorted(q.id for q in drawn.questions) != sorted(
        q.id for q in everything.sampled(10, 4).questions
    )
    shuffled = replace(everything, questions=everything.questions[::-1])
    assert shuffled.sampled(10, 3).questions == drawn.questions
    assert drawn.sample == "10 of all of a test, by the lowest SHA-256 of seed 3 and id"
    with pytest.raises(ConfigError, match="sample 0"):
        everything.sampled(0, 0)


def test_questions_from_feedback(tmp_path: Path) -> None:
    """The ledger gives back what it was asked to keep, with what was said of the answers."""
    ledger = tmp_path / "ledger.jsonl"
    with RAG(tmp_path / "kb", embedder="none", ledger=ledger,
             config=Settings(keep_question=True)) as opened:  # fmt: skip
        opened.ingest(Document(id="ferry.txt", text=TEXTS["ferry.txt"]))
        with pytest.raises(ConfigError, match="keep-question"):
            feedback_questions(ledger)
        answer = opened.ask(QUESTIONS[0])
        opened.ask(QUESTIONS[1])
        opened.feedback(str(answer.receipt.answer_id), False, note="wrong boat")
    (question,) = feedback_questions(ledger).questions
    assert question.text == QUESTIONS[0]
    assert question.metadata == {"feedback": "bad", "note": "wrong boat"}


def test_other_files_are_never_replaced(rag: RAG, tmp_path: Path) -> None:
    """Labels are not written over questions, nor over a dataset that was made otherwise."""
    path = tmp_path / "questions.jsonl"
    path.write_text('{"_id": "1", "text": "How?"}\n')
    with pytest.raises(ConfigError, match="another --out"):
        answered(rag, path, "1\n")
    folder = tmp_path / "beir"
    folder.mkdir()
    path.rename(folder / "queries.jsonl")
    with pytest.raises(ConfigError, match="another --out"):
        answered(rag, folder, "1\n")


def test_labelling_by_command(tmp_path: Path) -> None:
    """Keys come from standard input, screens go to stderr, and the result is a dataset."""
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "q.csv").write_text("question\n" + "\n".join(QUESTIONS) + "\n")
    store, out = str(tmp_path / "kb"), str(tmp_path / "labels.jsonl")
    run("ingest", str(tmp_path / "ferry.txt"), str(tmp_path / "fares.txt"), "--store", store,
        "--embedder", "none")  # fmt: skip
    arguments = ("eval", "label", str(tmp_path / "q.csv"), "--store", store, "--out", out)
    done = run(*arguments, "--sample", "2", "--json", stdin="1\n")
    assert valid(done.stdout, "eval_label")["remaining"] == 1
    assert "1 of 2 labelled" in done.stderr
    assert "calibrate" in run(*arguments, stdin="n\nn\n").stdout
    assert len(load_dataset(out).questions) == 3
    page = tmp_path / "page.html"
    made = run(*arguments, "--html", str(page), "--json").stdout
    assert valid(made, "eval_label")["remaining"] == 3
    assert "download" in page.read_text()
    assert "--from-feedback" in run("eval", "label", "--store", store, code=2).stderr
