"""Bedrock's embedders against a fake that answers as each family does."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import cast

import pytest

from ragkit.errors import (
    ConfigError,
    DimensionMismatchError,
    PromptTooLongError,
    RateLimitedError,
    RemoteError,
)
from ragkit_connectors import open_embedder
from ragkit_connectors.testing import EmbedderContract

from .aws_server import AwsFault, AwsServer, Slow

pytest.importorskip("numpy")
pytest.importorskip("boto3")

import numpy as np

from ragkit_connectors.bedrock.embedder import BedrockEmbedder

TITAN = "amazon.titan-embed-text-v2:0"
COHERE_V3 = "cohere.embed-multilingual-v3"
COHERE_V4 = "eu.cohere.embed-v4:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"

Parameters = Mapping[str, object]
Sent = dict[str, object]


def sent_by(parameters: Parameters) -> Sent:
    """Return the body of a request."""
    return cast("Sent", json.loads(cast("bytes", parameters["body"])))


def said(answer: object) -> dict[str, object]:
    """Return an answer of InvokeModel."""
    return {"body": json.dumps(answer).encode(), "contentType": "application/json"}


def vector(text: str, dim: int, purpose: str = "") -> list[float]:
    """Return numbers that depend on all of a text, and are not of length 1."""
    seed = hashlib.sha256(f"{purpose} {text}".encode()).digest() * (dim // 32)
    return [byte / 64 - 2 for byte in seed]


def titan(parameters: Parameters) -> dict[str, object]:
    """Answer as Titan V2 does."""
    body = sent_by(parameters)
    made = vector(str(body["inputText"]), cast("int", body["dimensions"]))
    return said({"embedding": made, "embeddingsByType": {"float": made}, "inputTextTokenCount": 3})


def cohere(parameters: Parameters, *, by_type: bool = True) -> dict[str, object]:
    """Answer as Cohere does: lists by type, or one list."""
    body = sent_by(parameters)
    dim = cast("int", body.get("output_dimension", 1024))
    texts = cast("list[str]", body["texts"])
    rows = [vector(text, dim, str(body["input_type"])) for text in texts]
    return said({"id": "1", "embeddings": {"float": rows} if by_type else rows})


def nova(parameters: Parameters) -> dict[str, object]:
    """Answer as Nova does."""
    given = cast("Sent", sent_by(parameters)["singleEmbeddingParams"])
    text = cast("dict[str, str]", given["text"])["value"]
    dim = cast("int", given["embeddingDimension"])
    made = vector(text, dim, str(given["embeddingPurpose"]))
    return said({"embeddings": [{"embeddingType": "TEXT", "embedding": made}]})


def client(aws: AwsServer, model: str = TITAN, /, **settings: object) -> BedrockEmbedder:
    """Return an embedder of the fake."""
    given: dict[str, object] = {"timeout_seconds": 5.0, "retry_seconds": 5.0, **settings}
    return cast("Callable[..., BedrockEmbedder]", BedrockEmbedder)(model, base_url=aws.url, **given)


def bodies(aws: AwsServer) -> list[Sent]:
    """Return the bodies of all requests."""
    return [sent_by(request.parameters) for request in aws.requests]


class _Contract(EmbedderContract):
    """The contract of embedders, over the wire."""

    model = TITAN
    answer: Callable[[Parameters], dict[str, object]] = staticmethod(titan)

    @pytest.fixture(autouse=True)
    def _server(self, aws: AwsServer) -> None:
        aws.answer("InvokeModel", self.answer)
        self._aws = aws

    def make(self) -> BedrockEmbedder:
        """Return a client of the fake."""
        return client(self._aws, self.model)


class TestTitan(_Contract):
    """One text per request."""


class TestCohereV3(_Contract):
    """Many texts per request, one length of vectors."""

    model = COHERE_V3
    answer = staticmethod(cohere)


class TestCohereV4(_Contract):
    """Many texts per request, several lengths of vectors."""

    model = COHERE_V4
    answer = staticmethod(cohere)


class TestNova(_Contract):
    """One text per request, with a purpose."""

    model = NOVA
    answer = staticmethod(nova)


def test_titans_body_asks_for_length_and_unit_vectors(aws: AwsServer) -> None:
    """Dimensions and normalize are sent, for questions as for documents."""
    aws.answer("InvokeModel", titan)
    embedder = cast(
        "BedrockEmbedder", open_embedder(f"bedrock:{TITAN}", base_url=aws.url, dimensions=256)
    )
    assert embedder.embed_documents(["one"]).shape == (1, 256)
    assert embedder.embed_query("one").shape == (256,)
    expected = {"dimensions": 256, "normalize": True, "embeddingTypes": ["float"]}
    assert bodies(aws) == [{"inputText": "one", **expected}] * 2


@pytest.mark.parametrize(
    ("model", "answer", "document", "query"),
    [
        (COHERE_V3, cohere, "search_document", "search_query"),
        (COHERE_V4, cohere, "search_document", "search_query"),
        (NOVA, nova, "GENERIC_INDEX", "TEXT_RETRIEVAL"),
    ],
)
def test_questions_and_documents_have_their_own_purpose(
    aws: AwsServer,
    model: str,
    answer: Callable[[Parameters], dict[str, object]],
    document: str,
    query: str,
) -> None:
    """One purpose for both finds less, without a word."""
    aws.answer("InvokeModel", answer)
    embedder = client(aws, model)
    embedder.embed_documents(["one"])
    embedder.embed_query("one")
    given = [cast("Sent", body.get("singleEmbeddingParams", body)) for body in bodies(aws)]
    purposes = [item.get("embeddingPurpose", item.get("input_type")) for item in given]
    assert purposes == [document, query]
    assert f"{document}/{query}" in embedder.fingerprint


@pytest.mark.parametrize("by_type", [True, False])
def test_coheres_vectors_come_in_two_shapes(aws: AwsServer, *, by_type: bool) -> None:
    """A list, or lists by type: both are read, and give the same."""
    aws.answer("InvokeModel", lambda p: cohere(p, by_type=by_type))
    row = client(aws, COHERE_V3).embed_documents(["one"])[0]
    raw = np.array(vector("one", 1024, "search_document"))
    assert np.allclose(row, raw / np.linalg.norm(raw), atol=1e-6)


def test_coheres_limit_of_characters_is_for_a_text_not_for_a_batch(aws: AwsServer) -> None:
    """96 texts of 2,048 characters are one request: splitting them would be far slower."""
    aws.answer("InvokeModel", cohere)
    embedder = client(aws, COHERE_V3)
    assert embedder.embed_documents(["x" * 2048] * 97).shape == (97, 1024)
    sizes = sorted(len(cast("list[str]", body["texts"])) for body in bodies(aws))
    assert sizes == [1, 96]
    assert {body["truncate"] for body in bodies(aws)} == {"NONE"}


def test_a_text_is_never_cut(aws: AwsServer) -> None:
    """Too long is an error that says so: before it is sent, or by the service's own word."""
    with pytest.raises(PromptTooLongError, match=r"2,049 characters.*chunk_tokens"):
        client(aws, COHERE_V3).embed_documents(["x" * 2049])
    assert aws.requests == []
    message = "Too many input tokens. Max input tokens: 8192, request input token count: 9000"
    aws.answer("InvokeModel", AwsFault("ValidationException", message=message))
    with pytest.raises(PromptTooLongError, match="chunk_tokens"):
        client(aws, TITAN).embed_query("x" * 60_000)
    aws.answer("InvokeModel", nova)
    client(aws, NOVA).embed_query("x")
    given = cast("Sent", bodies(aws)[-1]["singleEmbeddingParams"])
    assert cast("Sent", given["text"])["truncationMode"] == "NONE"


def test_blank_texts_are_not_sent(aws: AwsServer) -> None:
    """Models refuse them, and would fail the whole batch."""
    aws.answer("InvokeModel", cohere)
    rows = client(aws, COHERE_V3).embed_documents(["", "one", " \n"])
    assert bodies(aws)[0]["texts"] == ["one"]
    assert rows[0][0] == rows[2][0] == 1.0


def test_requests_run_at_once_and_no_more_than_allowed(aws: AwsServer) -> None:
    """One text per request would take minutes one by one; the number at once is bounded."""
    lock = threading.Lock()
    now, most = 0, 0

    def answer(parameters: Parameters) -> dict[str, object]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return titan(parameters)

    aws.answer("InvokeModel", answer)
    embedder = client(aws, n_threads=4)
    texts = [f"text {i}" for i in range(24)]
    rows = embedder.embed_documents(texts)
    assert 2 <= most <= 4
    assert np.allclose(rows[7], client(aws, n_threads=1).embed_query("text 7"))


def test_a_throttled_embedder_slows_down_and_finishes(aws: AwsServer) -> None:
    """A service that lets 2 through at a time gets all texts embedded, by waiting."""
    lock = threading.Lock()
    now, refused = 0, 0

    def answer(parameters: Parameters) -> dict[str, object] | AwsFault:
        nonlocal now, refused
        with lock:
            now += 1
            full = now > 2
            refused += full
        time.sleep(0.01)
        with lock:
            now -= 1
        return AwsFault("ThrottlingException") if full else titan(parameters)

    aws.answer("InvokeModel", answer)
    rows = client(aws, n_threads=16, retry_seconds=30.0).embed_documents(
        [f"text {i}" for i in range(40)]
    )
    assert rows.shape == (40, 1024)
    assert refused > 0


def test_a_throttle_is_felt_by_all_threads(aws: AwsServer) -> None:
    """After a wave that was refused, fewer requests run at once, however many threads wait."""
    lock = threading.Lock()
    n_asked, now, most = 0, 0, 0

    def answer(parameters: Parameters) -> dict[str, object] | AwsFault:
        nonlocal n_asked, now, most
        with lock:
            n_asked += 1
            if n_asked <= 8:
                return AwsFault("ThrottlingException")
            now += 1
            most = max(most, now)
        time.sleep(0.3)
        with lock:
            now -= 1
        return titan(parameters)

    aws.answer("InvokeModel", answer)
    client(aws, n_threads=8, retry_seconds=30.0).embed_documents([f"text {i}" for i in range(8)])
    assert n_asked == 16
    assert most <= 4


def test_a_service_that_throttles_on_is_an_error(aws: AwsServer) -> None:
    """There is no vector to make up."""
    aws.answer("InvokeModel", AwsFault("ThrottlingException"))
    with pytest.raises(RateLimitedError, match="Service Quotas"):
        client(aws, retry_seconds=0.5).embed_documents(["a", "b", "c"])


def test_a_slow_request_is_sent_again(aws: AwsServer) -> None:
    """Embedding twice changes nothing, unlike generating twice."""
    aws.answer(
        "InvokeModel", Slow(titan({"body": b'{"inputText":"a","dimensions":1024}'}), 30.0), titan
    )
    assert client(aws, timeout_seconds=0.3).embed_query("a").shape == (1024,)
    assert len(aws.requests) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"embedding": [1.0] * 512}, DimensionMismatchError),
        ({"embedding": None}, RemoteError),
        ({"embedding": ["x"] * 1024}, RemoteError),
        ({}, RemoteError),
        ([], RemoteError),
        ({"embedding": [float("nan")] * 1024}, RemoteError),
    ],
)
def test_what_is_no_vector_is_a_remote_error(
    aws: AwsServer, answer: object, kind: type[RemoteError]
) -> None:
    """An answer of another shape never reaches an index."""
    aws.answer("InvokeModel", said(answer))
    with pytest.raises(kind):
        client(aws).embed_query("a")


def test_fewer_vectors_than_texts_are_an_error(aws: AwsServer) -> None:
    """Rows and texts would be mismatched from there on."""
    aws.answer("InvokeModel", said({"embeddings": [[1.0] * 1024]}))
    with pytest.raises(RemoteError, match="one vector for each of 2"):
        client(aws, COHERE_V3).embed_documents(["a", "b"])


def test_an_answer_that_is_not_json_is_a_remote_error(aws: AwsServer) -> None:
    """A page of a proxy is named as such."""
    aws.answer("InvokeModel", {"body": b"<html>", "contentType": "text/html"})
    with pytest.raises(RemoteError, match="not JSON"):
        client(aws).embed_query("a")


def test_the_fingerprint_tells_models_and_lengths_apart(aws: AwsServer) -> None:
    """Vectors of another model, length or purpose are another index; a region's profile is not."""
    settings = [(TITAN, 1024), (TITAN, 256), (COHERE_V3, 1024), (COHERE_V4, 1024), (NOVA, 1024)]
    prints = {client(aws, model, dimensions=dim).fingerprint for model, dim in settings}
    assert len(prints) == len(settings)
    assert client(aws, COHERE_V4).fingerprint == client(aws, "us.cohere.embed-v4:0").fingerprint


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (TITAN, {"dimensions": 384}, "256, 512, 1024"),
        (COHERE_V3, {"dimensions": 512}, "allowed for this model: 1024"),
        (TITAN, {"model_family": "glove"}, "model_family 'glove'"),
        (TITAN, {"n_threads": 0}, "n_threads"),
        ("meta.llama3", {}, "set model_family"),
        ("arn:aws:bedrock:eu-west-1:123456789012:provisioned-model/abc", {}, "set model_family"),
        ("", {}, "bedrock:MODEL"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(
    aws: AwsServer, model: str, settings: dict[str, object], message: str
) -> None:
    """The error names the setting and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        client(aws, model, **settings)


def test_an_arn_that_hides_its_model_works_with_its_family(aws: AwsServer) -> None:
    """Provisioned models and application profiles are opaque."""
    aws.answer("InvokeModel", titan)
    arn = "arn:aws:bedrock:eu-west-1:123456789012:provisioned-model/abcdefabcdef"
    assert client(aws, arn, model_family="titan").embed_query("a").shape == (1024,)
    assert aws.requests[0].parameters["modelId"] == arn
