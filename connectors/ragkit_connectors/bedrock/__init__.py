"""Amazon Bedrock: generators, embedders, rerankers and knowledge bases, a module for each."""

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
