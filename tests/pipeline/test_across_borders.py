"""What a border between chunks divides is whole in a context, with all that it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit import RAG
from ragkit.config import Settings

FILLER = " ".join(f"The quay has a lamp of kind {n}." for n in range(12))
CODE = [f"gauge_{n} = calibrate(sensor={n * 37}, unit='millibar', retries={n})" for n in range(40)]
LINES = "\n".join(CODE)
WINCH = " ".join(f"Its drum carries rope number {n} of the harbour." for n in range(20))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Pages about other things."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(20):
        (folder / f"{n}.md").write_text(f"# Page {n}\n\nThe {n}th page is about a lamp.\n")
    return folder


def prompt_of(docs: Path, name: str, text: str, question: str, **settings: int) -> str:
    """Return what is sent for a question, of small chunks of which the best two are found."""
    (docs / name).write_text(text)
    config = Settings(**{"chunk_tokens": 60, "k": 2, **settings})  # type: ignore[arg-type]
    with RAG(docs.parent / "kb", embedder="none", ledger="off", config=config) as rag:
        rag.ingest(docs)
        stored = rag.stored(name)
        assert stored is not None
        assert len(stored[2]) > 1
        answer = rag.ask(question, dry_run=True)
        assert answer.trim is not None
        assert answer.trim.orphans == 0
        return str(answer.prompt)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"# Gauges\n\n{FILLER}\n\nCalibrate them like so:\n\n```\n{LINES}\n```\n"),
        (
            "a.rst",
            "Gauges\n======\n\n" + FILLER + "\n\nCalibrate them like so::\n\n"
            + "".join(f"    {line}\n" for line in CODE),
        ),
        ("a.html", f"<p>{FILLER}</p><p>Calibrate them like so:</p><pre>{LINES}</pre>"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk_tokens", [60, 400])
def test_code_is_whole_with_its_introduction(
    docs: Path, name: str, text: str, chunk_tokens: int
) -> None:
    """Each line as it stands, though the code fills several chunks."""
    question = "How do I calibrate sensor 777 in millibar?"
    prompt = prompt_of(docs, name, text, question, chunk_tokens=chunk_tokens)
    assert "Calibrate them like so:" in prompt
    assert all(line in prompt for line in CODE)


def test_a_cap_still_cuts_code(docs: Path) -> None:
    """The best part of it is kept, and a mark says that there is more."""
    text = f"# Gauges\n\nCalibrate them like so:\n\n```\n{LINES}\n```\n"
    prompt = prompt_of(
        docs, "a.md", text, "How do I calibrate sensor 777 in millibar?", max_context_tokens=150
    )
    assert "sensor=777" in prompt
    assert CODE[-1] not in prompt
    assert "…" in prompt


def test_a_lead_in_brings_what_stands_in_the_next_chunk(docs: Path) -> None:
    """Down to the first thing that can be read: an item may introduce something itself."""
    rungs = " ".join(f"Rung {n} is of oak." for n in range(12))
    text = (
        f"# Ladders\n\n{FILLER}\n\nFor inspections of the mast ladder the following applies:\n\n"
        f"- Of the rungs:\n\n  - {rungs}\n\n- Of the ropes: none.\n"
    )
    prompt = prompt_of(docs, "a.md", text, "What applies for inspections of the mast ladder?")
    assert "- Of the rungs:" in prompt
    assert "Rung 0 is of oak." in prompt


@pytest.mark.parametrize(
    ("name", "text", "term"),
    [
        ("a.rst", f"Winches\n=======\n\nheavy winch\n    {WINCH}\n", "heavy winch"),
        ("a.html", f"<dl><dt>-w<br>--winch</dt><dd>{WINCH}</dd></dl>", "-w\n--winch"),
        ("a.md", f"Winches:\n\n- `winch`: {WINCH}\n", "- `winch`:"),
    ],
)
def test_each_part_of_a_long_definition_has_its_term(
    docs: Path, name: str, text: str, term: str
) -> None:
    """And not all that stands before it."""
    prompt = prompt_of(docs, name, text, "Which drum carries rope number 17?", k=1)
    assert term in prompt
    assert "rope number 17 " in prompt


def test_what_introduces_code_at_the_end_of_a_long_definition_is_kept_with_it(docs: Path) -> None:
    """Though of a long need only the start comes along."""
    text = (
        f"<p>{4 * FILLER}</p><dl><dt>winch_command (string)</dt><dd><p>{WINCH} "
        "For example:</p><pre>winch_command = 'pull %r'</pre></dd></dl>"
    )
    prompt = prompt_of(docs, "a.html", text, "winch_command pull %r", chunk_tokens=400)
    assert "winch_command (string)" in prompt
    assert "For example:" in prompt
    assert prompt.count("For example:") == 1
