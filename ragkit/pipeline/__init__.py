"""The pipeline: ingest, search, trim, answer."""

from __future__ import annotations

from ragkit.pipeline.answers import Answer, Evidence, TrimUse
from ragkit.pipeline.rag import RAG
from ragkit.pipeline.report import EmbedProgress, EmbedReport, IngestReport, Progress

__all__ = [
    "RAG",
    "Answer",
    "EmbedProgress",
    "EmbedReport",
    "Evidence",
    "IngestReport",
    "Progress",
    "TrimUse",
]
