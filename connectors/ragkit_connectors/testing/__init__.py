"""What tests of connectors need: contracts to inherit, and servers to talk to.

A contract is a class of pytest tests. A subclass says how to make the thing:

    class TestMyEmbedder(EmbedderContract):
        def make(self):
            return MyEmbedder()
"""

from ragkit_connectors.testing.contracts import EmbedderContract, GeneratorContract, sample_prompt
from ragkit_connectors.testing.ollama_server import OllamaServer
from ragkit_connectors.testing.openai_server import Fault, OpenAIServer, Reply, Software
from ragkit_connectors.testing.serving import Request, ServedModel

__all__ = [
    "EmbedderContract",
    "Fault",
    "GeneratorContract",
    "OllamaServer",
    "OpenAIServer",
    "Reply",
    "Request",
    "ServedModel",
    "Software",
    "sample_prompt",
]
