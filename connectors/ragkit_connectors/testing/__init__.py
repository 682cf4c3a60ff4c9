"""What tests of connectors need: contracts to inherit, and servers to talk to.

A contract is a class of pytest tests. A subclass says how to make the thing:

    class TestMyEmbedder(EmbedderContract):
        def make(self):
            return MyEmbedder()
"""

from ragkit_connectors.testing.contracts import EmbedderContract, GeneratorContract, sample_prompt
from ragkit_connectors.testing.ollama_server import OllamaServer
from ragkit_connectors.testing.openai_server import Fault, OpenAIServer, Reply, Software
from ragkit_connectors.testing.opensearch_server import Asked, OpenSearchServer, Trouble
from ragkit_connectors.testing.saying import Script
from ragkit_connectors.testing.serving import Request, ServedModel
from ragkit_connectors.testing.stores import RetrieverContract, StoreContract, WordEmbedder
from ragkit_connectors.testing.trimming import TrimmingContract

__all__ = [
    "Asked",
    "EmbedderContract",
    "Fault",
    "GeneratorContract",
    "OllamaServer",
    "OpenAIServer",
    "OpenSearchServer",
    "Reply",
    "Request",
    "RetrieverContract",
    "Script",
    "ServedModel",
    "Software",
    "StoreContract",
    "TrimmingContract",
    "Trouble",
    "WordEmbedder",
    "sample_prompt",
]
