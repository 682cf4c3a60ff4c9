"""Bytes, attempts and tokens that calls to AWS and OpenSearch use, as their meter counts them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import pytest

from ragkit.costs.metering import Meter
from ragkit.types import GenerationOptions, Prompt

from .aws_server import AwsFault, AwsServer, Stream

pytest.importorskip("numpy")
pytest.importorskip("boto3")

from ragkit_connectors.bedrock.embedder import BedrockEmbedder
from ragkit_connectors.bedrock.generator import BedrockGenerator

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-multilingual-v3"
PROMPT = Prompt(text="Where is the badge reset?", question="Where is the badge reset?")
NO_OPTIONS = GenerationOptions()


def _titan(parameters: Mapping[str, object]) -> dict[str, object]:
    text = str(json.loads(cast("bytes", parameters["body"]))["inputText"])
    body = {"embedding": [1.0] * 256, "inputTextTokenCount": len(text.split())}
    return {"body": json.dumps(body).encode(), "contentType": "application/json"}


def _cohere(parameters: Mapping[str, object]) -> dict[str, object]:
    texts = json.loads(cast("bytes", parameters["body"]))["texts"]
    body = {"embeddings": {"float": [[1.0] * 1024 for _ in texts]}}
    return {"body": json.dumps(body).encode(), "contentType": "application/json"}


def _spoken(text: str) -> Stream:
    return Stream(
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": 0}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {
                "metadata": {
                    "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
                    "metrics": {"latencyMs": 1},
                }
            },
        ]
    )


def test_titan_tells_its_tokens_and_each_thread_is_counted(aws: AwsServer) -> None:
    """Eight requests at once, one text each; all of them by the meter of the caller."""
    aws.answer("InvokeModel", _titan)
    embedder = BedrockEmbedder(TITAN, base_url=aws.url, dimensions=256)
    meter, texts = Meter(), [f"text number {i}" for i in range(8)]
    with meter.active(), meter.embedding():
        embedder.embed_documents(texts)
    assert meter.embed_tokens == 24
    assert meter.embeds_remotely
    assert meter.bytes_sent > sum(map(len, texts))
    assert meter.bytes_received > 8 * 256
    assert meter.attempts == 0


def test_tokens_that_cohere_does_not_tell_are_unknown(aws: AwsServer) -> None:
    """An answer without a count is no answer of 0 tokens."""
    aws.answer("InvokeModel", _cohere)
    meter = Meter()
    with meter.active(), meter.embedding():
        BedrockEmbedder(COHERE, base_url=aws.url).embed_query("Where?")
    assert meter.embed_tokens is None
    assert meter.bytes_received > 1024


def test_each_attempt_to_generate_is_counted(aws: AwsServer) -> None:
    """A throttled request is sent again; a stream is counted as it is read."""
    aws.answer("ConverseStream", AwsFault("ThrottlingException", status=429), _spoken("x" * 500))
    generator = BedrockGenerator("amazon.nova-lite-v1:0", base_url=aws.url)
    meter = Meter()
    stream = generator.stream(PROMPT, NO_OPTIONS)
    while True:
        with meter.active():
            if next(stream, None) is None:
                break
    assert meter.attempts == 2
    assert meter.bytes_sent > 2 * len(PROMPT.text)
    assert meter.bytes_received > 500


def test_nobody_counts_without_a_meter(aws: AwsServer) -> None:
    """Calls outside an answer go on as ever."""
    aws.answer("ConverseStream", _spoken("At the desk."))
    generator = BedrockGenerator("amazon.nova-lite-v1:0", base_url=aws.url)
    assert len(list(generator.stream(PROMPT, NO_OPTIONS))) == 2


def test_requests_to_opensearch_are_counted() -> None:
    """What its client library sends below everything else."""
    library = pytest.importorskip("opensearchpy")
    from ragkit_connectors.opensearch.traffic import counting_connection
    from ragkit_connectors.testing import OpenSearchServer

    body = b'{"settings":{"index.knn":true}}'
    with OpenSearchServer() as server:
        connections = {"connection_class": counting_connection(library.Urllib3HttpConnection)}
        transport = library.OpenSearch(hosts=[server.url], **connections).transport
        meter = Meter()
        with meter.active():
            transport.perform_request("PUT", "/numbers", body=body)
            n_received = meter.bytes_received
            transport.perform_request("GET", "/numbers")
    assert meter.bytes_sent == len(body)
    assert 0 < n_received < meter.bytes_received
