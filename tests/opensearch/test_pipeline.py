"""A question from end to end: found in a real OpenSearch, answered by Bedrock, with its receipt."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ragkit import RAG, Settings
from ragkit_connectors.bedrock.generator import BedrockGenerator

from ..connectors.aws_server import AwsServer, environment
from ..connectors.test_bedrock import answer
from .opening import opened, unused

HARBOR = Path(__file__).parents[2] / "examples" / "harbor"
QUESTION = "How do I reset my badge?"
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"


def test_an_answer_from_opensearch_and_bedrock(
    opensearch_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The answer cites a span of a stored document; tokens are those that Bedrock counted."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    ledger = tmp_path / "ledger.jsonl"
    with AwsServer() as aws:
        for name, value in environment().items():
            monkeypatch.setenv(name, value)
        aws.answer("Converse", answer("Hold it against the blue reader [1]."))
        rag = RAG(
            opened(unused(opensearch_url)),
            embedder="builtin",
            generator=BedrockGenerator(MODEL, base_url=aws.url),
            config=Settings(max_tokens=99, temperature=0.0),
            ledger=ledger,
        )
        with rag:
            report = rag.ingest(HARBOR)
            assert report.documents["failed"] == 0
            found = rag.ask(QUESTION)
            (converse,) = aws.requests
    cited = found.citations[0]
    assert cited.hit.chunk.document_id == "handbook.md"
    assert "blue reader" in cited.text
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.exact) == (12, 5, True)
    assert converse.parameters["inferenceConfig"] == {"maxTokens": 99, "temperature": 0.0}
    assert found.receipt.llm_calls == 1
    assert (found.receipt.context_tokens or 0) < (found.receipt.baseline_tokens or 0)
    kinds = [json.loads(line)["kind"] for line in ledger.read_text("utf-8").splitlines()]
    assert kinds == ["ingest", "ask"]
