"""A procedure of which a question found one chunk is read, and kept, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit import RAG
from ragkit.config import Settings
from ragkit.pipeline.completing import MOST_CHARACTERS

N_STEPS = 12
STEPS = [
    f"{n}. Turn the {word} wheel by {n} notches and wait until its lamp is steady again."
    for n, word in enumerate(
        "amber birch cedar dune ember fjord grove heath inlet jetty knoll ledge".split(), start=1
    )
]
PAGE = "# Start-up\n\nTo start the pump, do this:\n\n" + "\n".join(STEPS) + "\n\nThen rest.\n"
OTHERS = [f"# Page {n}\n\nThe {n}th page is about a lamp of the quay.\n" for n in range(30)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A procedure of many chunks among other pages."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "pump.md").write_text(PAGE)
    for n, text in enumerate(OTHERS):
        (docs / f"{n}.md").write_text(text)
    return docs


def opened(tmp_path: Path, **settings: object) -> RAG:
    """Return a store of small chunks."""
    config = Settings(chunk_tokens=60, k=2, **settings)  # type: ignore[arg-type]
    return RAG(tmp_path / "kb", embedder="none", ledger="off", config=config)


def test_all_steps_are_kept(tmp_path: Path, folder: Path) -> None:
    """Though the two best chunks hold only some of them."""
    with opened(tmp_path) as rag:
        rag.ingest(folder)
        stored = rag.stored("pump.md")
        assert stored is not None
        assert len(stored[2]) > 3
        answer = rag.ask("How far do I turn the grove wheel?", dry_run=True)
        prompt = str(answer.prompt)
        assert all(step in prompt for step in STEPS)
        assert "left out" not in prompt
        assert answer.trim is not None
        assert answer.trim.orphans == 0


def test_a_cap_still_holds(tmp_path: Path, folder: Path) -> None:
    """The best step and its neighbours; the mark counts the rest, which is known now."""
    with opened(tmp_path, max_context_tokens=90) as rag:
        rag.ingest(folder)
        answer = rag.ask("How far do I turn the grove wheel?", dry_run=True)
        assert sum(item.n_tokens for item in answer.context) <= 90
        assert STEPS[6] in str(answer.prompt)
        assert "steps left out" in str(answer.prompt)


def test_untrimmed_chunks_stay_as_found(tmp_path: Path, folder: Path) -> None:
    """What trimming is compared with is the plain search."""
    with opened(tmp_path, trim="off") as rag:
        rag.ingest(folder)
        assert len(rag.ask("How far do I turn the grove wheel?", dry_run=True).context) == 2
        hits = rag.search("How far do I turn the grove wheel?", k=2)
        assert len(hits) == 2


def test_a_very_long_one_is_kept_in_part(tmp_path: Path, folder: Path) -> None:
    """A law of numbered paragraphs is no procedure that somebody reads at once."""
    laws = [f"{n}. Paragraph about the rope number {n} of the quay." for n in range(1, 400)]
    text = "\n".join(laws)
    assert len(text) > MOST_CHARACTERS
    (folder / "law.md").write_text(f"# Law\n\n{text}\n")
    with opened(tmp_path) as rag:
        rag.ingest(folder)
        answer = rag.ask("What does paragraph 200 say about the rope number 200?", dry_run=True)
        assert "rope number 200 " in str(answer.prompt)
        assert sum(item.n_tokens for item in answer.context) < 1_000


def test_who_may_not_read_the_rest_does_not_get_it(tmp_path: Path, folder: Path) -> None:
    """The rest is read with the reader's groups."""
    with opened(tmp_path) as rag:
        rag.ingest(folder, groups=["crew"])
        question = "How far do I turn the grove wheel?"
        assert "grove" in str(rag.ask(question, dry_run=True, groups=["crew"]).prompt)
        assert rag.ask(question, dry_run=True, groups=["guests"]).refused
