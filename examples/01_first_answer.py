"""Ingest a folder and ask a question."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ragkit import RAG

documents = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "harbor")

with tempfile.TemporaryDirectory() as folder, RAG(f"{folder}/kb") as rag:
    report = rag.ingest(documents)
    print(report.documents["added"], "documents,", report.chunks, "chunks")

    answer = rag.ask("How do I reset my badge?")
    print(answer.text)
    for citation in answer.citations:
        location = citation.hit.chunk.location(citation.start, citation.end)
        print("  from", citation.hit.chunk.document_id, location.to_dict())
    print(answer.receipt)
