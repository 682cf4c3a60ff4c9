"""Low-footprint retrieval-augmented generation with a receipt for every answer.

>>> from ragkit import RAG
>>> with RAG("./kb") as rag:
...     report = rag.ingest("docs/")
...     answer = rag.ask("How do I reset my badge?")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragkit.config import Settings
    from ragkit.pipeline import RAG, Answer, EmbedReport, IngestReport
    from ragkit.pipeline.anywhere import atrim, trim
    from ragkit.pipeline.streaming import AnswerStream, AsyncAnswerStream
    from ragkit.trimming import TrimPolicy
    from ragkit.types import Citation, ContextItem, Document, Hit, Turn

__version__ = "0.1.0"

__all__ = [
    "RAG",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "Citation",
    "ContextItem",
    "Document",
    "EmbedReport",
    "Hit",
    "IngestReport",
    "Settings",
    "TrimPolicy",
    "Turn",
    "__version__",
    "atrim",
    "trim",
]

_HOMES = {
    "RAG": "ragkit.pipeline",
    "Answer": "ragkit.pipeline",
    "AnswerStream": "ragkit.pipeline.streaming",
    "AsyncAnswerStream": "ragkit.pipeline.streaming",
    "EmbedReport": "ragkit.pipeline",
    "IngestReport": "ragkit.pipeline",
    "Settings": "ragkit.config",
    "TrimPolicy": "ragkit.trimming",
    "Citation": "ragkit.types",
    "ContextItem": "ragkit.types",
    "Document": "ragkit.types",
    "Hit": "ragkit.types",
    "Turn": "ragkit.types",
    "atrim": "ragkit.pipeline.anywhere",
    "trim": "ragkit.pipeline.anywhere",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: importing ragkit alone costs next to nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ragkit' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
