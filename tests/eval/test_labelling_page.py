"""The page for labelling in a browser: what it holds, and that it makes the same labels."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import ragkit_eval.labelling
from ragkit import RAG
from ragkit.types import Document, Turn
from ragkit_eval.data.datasets import Question
from ragkit_eval.labelling.marks import labelled, read_marks, units_of
from ragkit_eval.labelling.page import html
from ragkit_eval.labelling.questions import Batch

HOSTILE = "</script><script>alert(1)</script>\u202e\x1b[31m 𝔘 \U0001f6a2"
SCRIPT = Path(ragkit_eval.labelling.__file__).with_name("label.js")

KEYS = (
    "1", "2 5", "2,5", "2-4", "2|5", "1|2 3|4", "4 4|4 4", "2-2", "5-2", "1|1|2", " 3 ", "3\u00a01",
    "", " ", "n", "0", "99", "1-", "|2", "1||2", "1-2-3", "1-2|3", "00001", "1.5", "١",
    "1|2|3|4|5 1|2|3|4|6 1|2|3|4|7", "1|2|3|4 1|2|3|5 1|2|3|6", "1\n2",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Batch]:
    """Return the page of two questions over a hostile document."""
    question = Question(
        id="q<1>",
        text=f"When does the ferry leave? {HOSTILE}",
        history=(Turn(role="user", content=HOSTILE), Turn(role="assistant", content="At nine.")),
        answers=("nine",),
        metadata={"kind": HOSTILE},
    )
    batch = Batch(questions=(question, Question(id="q2", text="What?")), sample="all 2")
    sentences = [f"The ferry {i} leaves at nine {HOSTILE}." for i in range(9)]
    with RAG(tmp_path_factory.mktemp("page") / "kb", embedder="none") as rag:
        rag.ingest(Document(id="ferry<b>.txt", text=" ".join(sentences)))
        return html(rag, batch), batch


def data_of(page: str) -> dict[str, Any]:
    """Return the data of a page."""
    found = re.search(r'<script type="application/json" id="data">([^<]*)</script>', page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_holds_questions_and_passages_exactly_and_nothing_runs_but_its_script(
    page: tuple[str, Batch],
) -> None:
    """Hostile text stays data; the policy allows one script, and loading nothing."""
    text, batch = page
    assert text.count("<script") == 2
    assert "default-src 'none'; style-src 'sha256-" in text
    assert "; script-src 'sha256-" in text
    assert not re.search(r"\s(?:src|href|style|on\w+)=", text.partition("<body>")[2])
    entry = data_of(text)["questions"][0]
    assert entry["row"]["text"] == batch.questions[0].text
    assert entry["row"]["history"][0]["content"] == HOSTILE
    assert entry["metadata"] == {"kind": HOSTILE, "sample": "all 2"}
    numbers = [number for passage in entry["passages"] for number, _ in passage["units"]]
    assert numbers == list(range(1, len(entry["units"]) + 1))
    assert "".join(unit["text"] for unit in entry["units"]).count(HOSTILE[-1]) == 9


def test_the_script_makes_the_same_labels_as_the_terminal(tmp_path: Path) -> None:
    """Every line of keys gives the same line of JSON, or an error, in both."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which runs the page's script")
    text = "It runs. 𝔘 is odd. Two. Three. Four. Five. Six. Seven."
    with RAG(tmp_path / "kb", embedder="none") as rag:
        rag.ingest(Document(id="a", text=text), Document(id="b", text="It runs. Eight."))
        hits = rag.search("It runs eight seven", k=2)
    units = [unit.place for hit in hits for unit in units_of(hit.chunk) if unit.place is not None]
    question = Question(id="q", text="How?", answers=("x",), metadata={"kind": "y"})
    given = {
        "row": {"_id": "q", "text": "How?", "answers": ["x"]},
        "metadata": {"kind": "y", "sample": "all"},
        "units": [asdict(unit) for unit in units],
    }
    calls = (
        f"const question = {json.dumps(given)}; for (const keys of {json.dumps(KEYS)}) {{"
        "let made = null; try { made = labelled(question, keys === 'n' ? [] : "
        "readMarks(keys, question.units.length)); } catch (error) { "
        "if (typeof error !== 'string') throw error; } console.log(JSON.stringify(made)); }"
    )
    done = subprocess.run(
        [node, "-e", f"{SCRIPT.read_text('utf-8')}\n{calls}"],
        check=True, capture_output=True, text=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    for keys, line in zip(KEYS, done.stdout.splitlines(), strict=True):
        try:
            marks = () if keys == "n" else read_marks(keys, len(units))
        except ValueError:
            assert line == "null", keys
            continue
        assert json.loads(line) == labelled(question, marks, units, sample="all"), keys


def test_marks_are_toggled_in_the_line_of_keys() -> None:
    """A click adds or removes a number; with Shift it is an alternative to the last."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, which runs the page's script")
    cases = [
        ("", 3, False, "3"), ("3", 5, False, "3 5"), ("3 5", 7, True, "3 5|7"), ("3", 3, False, ""),
        ("3 5|7", 5, False, "3 7"), ("2-4", 3, False, "2 4"), ("n", 2, False, "2"),
        ("", 2, True, "2"), ("12", 1, False, "12 1"),
    ]  # fmt: skip
    calls = (
        f"console.log(JSON.stringify({json.dumps(cases)}.map((c) => toggled(c[0], c[1], c[2]))))"
    )
    done = subprocess.run(
        [node, "-e", f"{SCRIPT.read_text('utf-8')}\n{calls}"],
        check=True, capture_output=True, text=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout) == [case[3] for case in cases]
