"""Let a local model answer: any server that speaks OpenAI's protocol.

    python examples/02_local_model.py http://localhost:8080/v1 qwen3-8b

Without arguments, a scripted server that comes with ragkit stands in for the model.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ragkit import RAG
from ragkit_connectors.openai import OpenAIGenerator
from ragkit_connectors.testing import OpenAIServer, Reply

HARBOR = Path(__file__).parent / "harbor"


def ask(base_url: str, model: str) -> None:
    """Print an answer as it comes, then what was sent for it."""
    generator = OpenAIGenerator(model, base_url=base_url)
    with (
        tempfile.TemporaryDirectory() as folder,
        RAG(f"{folder}/kb", generator=generator, template="guarded") as rag,
    ):
        rag.ingest(HARBOR)
        stream = rag.stream("What does an annual pass cost?")
        for piece in stream:
            print(piece, end="", flush=True)
        print()
        print(stream.answer.usage.input_tokens, "tokens were sent instead of",
              stream.answer.receipt.baseline_tokens)  # fmt: skip


if len(sys.argv) == 3:
    ask(sys.argv[1], sys.argv[2])
else:
    with OpenAIServer([Reply(text="389 euros, for twelve months [1].")]) as server:
        ask(server.base_url, "scripted")
