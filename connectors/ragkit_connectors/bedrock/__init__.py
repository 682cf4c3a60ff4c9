"""Amazon Bedrock: generators, embedders, rerankers and knowledge bases, a module for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragkit_connectors.bedrock.embedder import BedrockEmbedder
    from ragkit_connectors.bedrock.generator import BedrockGenerator
    from ragkit_connectors.bedrock.knowledge_base import KnowledgeBaseRetriever
    from ragkit_connectors.bedrock.reranker import BedrockReranker

__all__ = [
    "BedrockEmbedder",
    "BedrockGenerator",
    "BedrockReranker",
    "KnowledgeBaseRetriever",
]

_HOMES = {
    "BedrockEmbedder": "embedder",
    "BedrockGenerator": "generator",
    "BedrockReranker": "reranker",
    "KnowledgeBaseRetriever": "knowledge_base",
}


def __getattr__(name: str) -> object:
    """Load a class when it is first used: a generator needs no numpy, which embedders do."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
