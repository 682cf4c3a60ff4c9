"""Needs: texts that a context must hold, each whole in one passage."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError
from ragkit.types import Turn
from ragkit_eval.calibration.calibrate import calibrate
from ragkit_eval.data.datasets import Question, load_dataset
from ragkit_eval.data.labels import Needs
from ragkit_eval.data.rows import Passage, Row
from ragkit_eval.data.texts import holds_needs, squeezed
from ragkit_eval.data.validation import validate
from ragkit_eval.measuring.measures import default_measures, parse_measure
from ragkit_eval.measuring.quality import default_quality, quality_measure

from .made import NOTICES, write_lines

WORDS = Settings(embedder="none")


def held(needs: Needs, *texts: str) -> float | None:
    """Return the measure of a context of these texts."""
    context = tuple(
        Passage(document_id="d", start=100 * i, end=100 * i + len(text), text=text)
        for i, text in enumerate(texts)
    )
    question = Question(id="q", text="?", needs=needs)
    return parse_measure("NeedsHeld").value(question, Row(id="q", status="ok", context=context))


@pytest.mark.parametrize(
    ("needs", "texts", "expected"),
    [
        ((("a b",),), ["x a b y"], 1.0),
        ((("a b",),), ["x a", "b y"], 0.0),
        ((("a b",), ("c",)), ["a b", "c"], 1.0),
        ((("a b",), ("c",)), ["a b"], 0.0),
        ((("z", "c"),), ["abc"], 1.0),
        ((("A",),), ["a"], 0.0),
        ((("a b",),), ["| a \n\t| b |"], 1.0),
        ((("a | b",),), ["a b"], 1.0),
        ((("ab",),), ["a\u200bb"], 1.0),
        ((("a\u00adb",),), ["ab"], 1.0),
        ((("a",),), [], 0.0),
        ((), ["a"], None),
    ],
)
def test_all_needs_are_met_each_in_one_passage(
    needs: Needs, texts: list[str], expected: float | None
) -> None:
    """White space and bars count as one space, and nothing matches across two passages."""
    assert held(needs, *texts) == expected


def test_needs_in_an_answer() -> None:
    """The answer's text is one passage; a refusal meets no need."""
    question = Question(id="q", text="?", needs=(("one",), ("two", "2")))
    measure = parse_measure("NeedsInAnswer")
    assert measure.value(question, Row(id="q", status="ok", text="one, then 2")) == 1.0
    assert measure.value(question, Row(id="q", status="ok", text="one")) == 0.0
    assert measure.value(question, Row(id="q", status="refused")) == 0.0
    assert measure.value(Question(id="q", text="?"), Row(id="q", status="ok", text="")) is None


def test_questions_with_needs_are_measured_by_them() -> None:
    """A run, a sweep and a calibration go by needs where there are any."""
    question = Question(id="q", text="?", needs=(("a",),), answers=("a",))
    assert [str(m) for m in default_measures([question])][:2] == ["NeedsHeld", "NeedsInAnswer"]
    assert default_quality([question]) == "NeedsHeld"
    _, quality = quality_measure("needsheld")
    assert quality(question, ()) == 0.0
    assert quality(Question(id="q", text="?"), ()) is None


ROWS: list[dict[str, object]] = [
    {"_id": "a", "text": "How?", "kind": "steps", "split": "test", "docs": ["d", "e"],
     "needs": [["one", "1"], ["two"]], "answer": "One, two.",
     "history": [{"role": "user", "content": "About d."}, {"role": "assistant", "content": "?"}]},
    {"_id": "b", "text": "Who?", "split": "calibration", "docs": ["f"], "needs": ["me"]},
    {"_id": "c", "text": "Why?", "split": "test", "docs": ["d"], "needs": [], "unanswerable": True},
]  # fmt: skip


def questions_file(folder: Path) -> Path:
    """Write questions as JSON Lines."""
    write_lines(folder / "labels.jsonl", ROWS)
    return folder / "labels.jsonl"


def beir_folder(folder: Path) -> Path:
    """Write the same questions as a dataset folder."""
    write_lines(folder / "queries.jsonl", ROWS)
    return folder


def folder_of_files(folder: Path) -> Path:
    """Write the same questions as a folder with documents."""
    write_lines(folder / "questions.jsonl", ROWS)
    (folder / "docs").mkdir()
    (folder / "docs" / "d").write_text("Text.")
    return folder


@pytest.mark.parametrize("make", [questions_file, beir_folder, folder_of_files])
def test_labels_are_read_from_files_and_folders(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """Needs, documents, history and the other fields; a split is chosen by the question's own."""
    place = make(tmp_path)
    first, second, third = load_dataset(place).questions
    assert (first.needs, second.needs, third.needs) == ((("one", "1"), ("two",)), (("me",),), ())
    assert first.relevance == {"d": 1, "e": 1}
    assert (third.unanswerable, third.relevance) == (True, {})
    assert first.history == (
        Turn(role="user", content="About d."),
        Turn(role="assistant", content="?"),
    )
    assert first.searched == "About d.\nHow?"
    assert second.searched == "Who?"
    assert first.metadata == {"kind": "steps", "split": "test"}
    assert first.cluster() == "document d"
    assert [q.id for q in load_dataset(place, split="test").questions] == ["a", "c"]
    assert [q.id for q in load_dataset(place, split="calibration").questions] == ["b"]
    with pytest.raises(ConfigError, match="holds no question"):
        load_dataset(place, split="other")
    assert validate(place).faults == ()


def test_a_need_that_changes_makes_another_dataset(tmp_path: Path) -> None:
    """The digest covers needs and history."""
    changed: list[dict[str, object]] = [
        {"_id": "a", "text": "How?", "needs": [["one"]]},
        {"_id": "a", "text": "How?", "needs": [["two"]]},
        {"_id": "a", "text": "How?", "needs": [["one"]],
         "history": [{"role": "user", "content": "x"}]},
        {"_id": "a", "text": "How?"},
    ]  # fmt: skip
    digests: set[str] = set()
    for i, row in enumerate(changed):
        write_lines(tmp_path / f"{i}.jsonl", [row])
        digests.add(load_dataset(tmp_path / f"{i}.jsonl").sha256)
    assert len(digests) == len(changed)


def test_the_same_words_after_another_history_are_another_question(tmp_path: Path) -> None:
    """Without ids, too."""
    turns = [[{"role": "user", "content": text}] for text in ("On Linux?", "On Windows?")]
    write_lines(tmp_path / "x.jsonl", [{"text": "How there?", "history": turn} for turn in turns])
    assert len({question.id for question in load_dataset(tmp_path / "x.jsonl").questions}) == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_needs_in_a_sheet(tmp_path: Path, newline: str, mark: str) -> None:
    """One need a line, alternatives joined by bars; a spreadsheet's line ends and mark are fine."""
    lines = [
        "Question,Needs,docs,split,kind",
        'How?,"one || 1', 'two, then"" || x",d,test,steps'.replace('""', ""),
        "Who?,me,,calibration,",
    ]  # fmt: skip
    path = tmp_path / "sheet.csv"
    path.write_bytes((mark + newline.join(lines) + newline).encode())
    how, who = load_dataset(path).questions
    assert how.needs == (("one", "1"), ("two, then", "x"))
    assert (how.relevance, how.metadata) == ({"d": 1}, {"split": "test", "kind": "steps"})
    assert who.needs == (("me",),)
    assert [q.text for q in load_dataset(path, split="test").questions] == ["How?"]
    assert validate(path).faults == ()


NONSENSE: list[dict[str, object]] = [
    {"needs": 3},
    {"needs": [3]},
    {"needs": [[]]},
    {"needs": [["a", " | "]]},
    {"needs": [""]},
    {"needs": {"a": 1}},
    {"docs": 1},
    {"history": "x"},
    {"history": [{"role": "cook"}]},
    {"history": [{"role": "user", "content": 1}]},
]


@pytest.mark.parametrize("row", NONSENSE)
def test_labels_that_make_no_sense_are_refused(tmp_path: Path, row: dict[str, object]) -> None:
    """A blank need would always be met, so it is refused like anything of another kind."""
    write_lines(tmp_path / "x.jsonl", [{"text": "How?", **row}])
    with pytest.raises(ConfigError, match="question 1"):
        load_dataset(tmp_path / "x.jsonl")


TEXTS = st.text(alphabet="ab |\n\t\u200b\u00a0é", max_size=12)


@given(TEXTS, st.integers(0, 12), st.integers(0, 12), TEXTS)
def test_a_longer_passage_never_loses_a_need(text: str, a: int, b: int, need: str) -> None:
    """Whatever a part of a text holds, the text holds too."""
    part = text[min(a, b) : max(a, b)]
    if squeezed(need) and holds_needs([part], [[need]]):
        assert holds_needs([text], [[need]])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the notices."""
    place = tmp_path_factory.mktemp("kb") / "kb"
    with RAG(place, config=WORDS, ledger="off") as rag:
        rag.ingest(*(Document(id=name, text=text) for name, (text, _) in NOTICES.items()))
    return place


def asked() -> list[Question]:
    """Return questions whose needs lie in one sentence, in two, and across their border."""
    found: list[Question] = []
    for name, (text, questions) in NOTICES.items():
        sentences = text.split(". ")
        across = f"{sentences[0].split()[-1]}. {sentences[1].split()[0]}"
        for i, (question, answer) in enumerate(questions):
            needs: Needs = ((answer, "nonsense"), (across,)) if i else ((answer,),)
            found.append(
                Question(id=f"{name}-{i}", text=question, needs=needs, relevance={name: 1})
            )
    return found


def test_needs_certify_a_cut(town: Path, tmp_path: Path) -> None:
    """A calibration by needs finds the evidence it was given, and says by what it went."""
    rows: list[dict[str, object]] = [
        {"_id": f"{q.id}-{i}", "text": f"{q.text} (Again, {i}.)", "needs": [list(q.needs[0])],
         "docs": list(q.relevance)}
        for q in asked() for i in range(8)
    ]  # fmt: skip
    write_lines(tmp_path / "x.jsonl", rows)
    with RAG(town, config=WORDS, ledger="off") as rag:
        found = calibrate(rag, load_dataset(tmp_path / "x.jsonl"), retain=0.9, cluster="none")
    assert found.certified
    assert found.policy is not None
    assert found.policy.certificate is not None
    assert found.policy.certificate.metric == "NeedsHeld"


def test_a_follow_up_is_searched_for_as_it_is_asked(town: Path) -> None:
    """The pool that is measured is the one that `ask` trims."""
    question = Question(
        id="q", text="And in winter?", history=(Turn(role="user", content="When does the ferry?"),)
    )
    with RAG(town, config=WORDS, ledger="off") as rag:
        answer = rag.ask(question.text, history=question.history, dry_run=True)
        alone = rag.ask(question.text, dry_run=True)
        _, pool = rag.pool(question.searched, k=len(NOTICES))
    scores = {chunk.hit.chunk.id: chunk.hit.score for chunk in pool}
    assert {i.hit.chunk.id: i.hit.score for i in answer.context}.items() <= scores.items()
    assert not {i.hit.chunk.id: i.hit.score for i in alone.context}.items() <= scores.items()


def test_needs_are_met_as_the_data_says(test_data: Path) -> None:
    """On the texts of real documents both agree, need by need, passage by passage."""
    folder = test_data / "howto"
    if not folder.is_dir():
        pytest.skip("no such data")
    # Run, not imported, so that nothing is written beside it.
    check = runpy.run_path(str(folder / "check.py"))
    dataset = load_dataset(folder / "questions.jsonl", split="test")
    rows = {row["_id"]: row for row in check["load"](folder)}
    n_held = n_missed = 0
    for question in dataset.questions:
        needs = rows[question.id]["needs"]
        assert [list(need) for need in question.needs] == needs
        for document in rows[question.id]["docs"]:
            text = check["read_text"](folder / "docs" / document)
            for start in range(0, len(text), 4000):
                part = text[start : start + 1500]
                assert squeezed(part) == check["squeezed"](part)
                for i, need in enumerate(needs):
                    ours = holds_needs([part], [need])
                    assert ours == (i not in check["holds"](needs, part))
                    n_held, n_missed = n_held + ours, n_missed + (not ours)
    assert n_held > 100
    assert n_missed > 100
