"""Codes and versions that a question names decide what answers it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit import RAG
from ragkit.config import Settings

RELEASES = """# Releases

## v2.1.0

Adds duplex printing.

## v2.10.0

Adds scanning to e-mail. Needs v1.9.9 of the driver.

## v1.2.10

Fixes the clock.
"""


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is new in v2.10.0?", {"e-mail"}),
        ("What is new in v2.1.0?", {"duplex"}),
        ("What is new in version 2.1.0?", {"duplex"}),
        ("How do v2.1.0 and v2.10.0 differ?", {"duplex", "e-mail"}),
    ],
)
def test_a_section_about_another_version_is_no_answer(
    tmp_path: Path, question: str, words: set[str]
) -> None:
    """The version stands in the heading above."""
    (tmp_path / "releases.md").write_text(RELEASES)
    config = Settings(refuse_below="off")
    with RAG(tmp_path / "kb", ledger="off", embedder="none", config=config) as rag:
        rag.ingest(tmp_path / "releases.md")
        answer = rag.ask(question)
        assert answer.text is not None
        assert {word for word in ("duplex", "e-mail", "clock") if word in answer.text} <= words
