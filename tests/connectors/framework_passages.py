"""Passages that adapters trim, and a store that they search."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ragkit import RAG, Document

FERRY = (
    "The ferry leaves at nine. A day pass costs fourteen euros. Dogs travel free of charge. "
    "The canteen serves soup on Fridays. The harbour is two hundred years old."
)
MUSEUM = "The museum opens at ten. Entry to the museum costs six euros. It has a quiet garden."
QUESTION = "What does a day pass cost?"
UNKNOWN = "Who won the chess final?"
ANSWER = "A day pass costs fourteen euros."


@contextmanager
def harbour(folder: Path) -> Generator[RAG]:
    """Open a store of two documents."""
    with RAG(folder / "kb", ledger="off") as rag:
        rag.ingest(
            Document(id="ferry", text=FERRY, metadata={"kind": "timetable"}),
            Document(id="museum", text=MUSEUM),
        )
        yield rag
