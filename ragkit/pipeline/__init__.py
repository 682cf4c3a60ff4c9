"""The pipeline: ingest, search, trim, answer."""

from __future__ import annotations

from ragkit.pipeline.answering import Answer, AnswerStream, Evidence, TrimUse
from ragkit.pipeline.ingesting import IngestReport, Progress
from ragkit.pipeline.rag import RAG

__all__ = [
    "RAG",
    "Answer",
    "AnswerStream",
    "Evidence",
    "IngestReport",
    "Progress",
    "TrimUse",
]
