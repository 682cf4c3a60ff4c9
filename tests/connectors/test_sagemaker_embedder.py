"""The SageMaker embedder against a server that speaks as SageMaker does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from ragkit.errors import ConfigError, DimensionMismatchError, PromptTooLongError, RemoteError
from ragkit.types import Json
from ragkit_connectors import open_embedder
from ragkit_connectors.sagemaker import SageMakerEmbedder
from ragkit_connectors.testing import EmbedderContract
from ragkit_connectors.testing.serving import unused_url

from .aws_server import AwsFault, AwsServer

np = pytest.importorskip("numpy")

ENDPOINT = "my-embedder"
DIM = 8


def _embedder(server: AwsServer, payload: str = "tei", **settings: object) -> SageMakerEmbedder:
    given = {"base_url": server.url, "retry_seconds": 5.0, "payload": payload}
    opened = open_embedder(f"sagemaker:{ENDPOINT}", **{**given, **settings})
    assert isinstance(opened, SageMakerEmbedder)
    return opened


def _vector(text: str, dim: int = DIM) -> list[float]:
    """Return a vector that depends on the text, of some length that is not 1."""
    digest = hashlib.sha256(text.encode()).digest()
    return [digest[i] / 64 - 1.9 for i in range(dim)]


def _json(value: object) -> Mapping[str, object]:
    return {"Body": json.dumps(value).encode(), "ContentType": "application/json"}


def _asked(parameters: Mapping[str, object]) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", json.loads(cast("bytes", parameters["Body"])))


def _tei(parameters: Mapping[str, object]) -> Mapping[str, object]:
    """Answer as Text Embeddings Inference does, which refuses empty texts."""
    texts = cast("Sequence[str]", _asked(parameters)["inputs"])
    assert all(texts)
    return _json([_vector(text) for text in texts])


def _openai(parameters: Mapping[str, object]) -> Mapping[str, object]:
    """Answer as OpenAI does, in an order of its own."""
    texts = cast("Sequence[str]", _asked(parameters)["input"])
    data = [{"index": i, "embedding": _vector(text)} for i, text in enumerate(texts)]
    return _json({"object": "list", "data": data[::-1]})


class TestTextEmbeddingsInference(EmbedderContract):
    """The contract of embedders, for Text Embeddings Inference."""

    payload = "tei"

    @pytest.fixture(autouse=True)
    def _aws(self, aws: AwsServer) -> None:
        self._server = aws
        aws.answer("InvokeEndpoint", _tei if self.payload == "tei" else _openai)

    def make(self) -> SageMakerEmbedder:
        """Return a client of the scripted endpoint, with small batches."""
        return _embedder(self._server, self.payload, batch_size=3)


class TestOpenAI(TestTextEmbeddingsInference):
    """The contract of embedders, for containers that speak as OpenAI does."""

    payload = "openai"


def _bodies(server: AwsServer) -> list[Mapping[str, Json]]:
    return [_asked(request.parameters) for request in server.requests]


def test_texts_go_in_batches_and_are_never_cut_unasked(aws: AwsServer) -> None:
    """Each request holds at most a batch, and says that a text that is too long is an error."""
    aws.answer("InvokeEndpoint", _tei)
    embedder = _embedder(aws, dim=DIM, batch_size=2)
    embedder.embed_documents(["a", "b", "c", " "])
    _embedder(aws, dim=DIM, truncate=True).embed_query("d")
    assert _bodies(aws) == [
        {"inputs": ["a", "b"], "truncate": False},
        {"inputs": ["c"], "truncate": False},
        {"inputs": ["d"], "truncate": True},
    ]


def test_a_batch_fits_into_a_request(aws: AwsServer) -> None:
    """SageMaker takes 6 MiB, so large texts go in more requests than their number asks for."""
    aws.answer("InvokeEndpoint", _tei)
    texts = [f"{i} " + "x" * 2_500_000 for i in range(3)]
    assert _embedder(aws, dim=DIM).embed_documents(texts).shape == (3, DIM)
    assert len(aws.requests) == 3


def test_the_length_is_asked_for_once_or_never(aws: AwsServer) -> None:
    """A length that is given costs no request; otherwise the first use asks."""
    aws.answer("InvokeEndpoint", _tei)
    assert _embedder(aws, dim=DIM).dim == DIM
    assert aws.requests == []
    embedder = _embedder(aws)
    assert aws.requests == []
    assert (embedder.dim, embedder.dim) == (DIM, DIM)
    assert len(aws.requests) == 1


def test_prompts_stand_before_questions_and_documents(aws: AwsServer) -> None:
    """Models that tell them apart get what they were trained with."""
    aws.answer("InvokeEndpoint", _tei)
    embedder = _embedder(aws, dim=DIM, document_prompt="passage: ", query_prompt="query: ")
    embedder.embed_documents(["badge"])
    embedder.embed_query("badge")
    assert [body["inputs"] for body in _bodies(aws)] == [["passage: badge"], ["query: badge"]]


def test_the_model_is_named_where_the_container_asks_for_it(aws: AwsServer) -> None:
    """OpenAI's schema has a place for it; endpoints with several models have their own."""
    aws.answer("InvokeEndpoint", _openai)
    embedder = _embedder(
        aws, "openai", dim=DIM, model="m", inference_component="c", target_model="t"
    )
    embedder.embed_query("badge")
    assert _bodies(aws) == [{"input": ["badge"], "model": "m"}]
    parameters = aws.requests[0].parameters
    assert (parameters["InferenceComponentName"], parameters["TargetModel"]) == ("c", "t")


def test_the_fingerprint_follows_all_that_is_known_of_the_model(aws: AwsServer) -> None:
    """Revision, prompts, length and the model's names change it; where and how it is asked not."""
    aws.answer("InvokeEndpoint", _tei)
    others: Sequence[Mapping[str, object]] = (
        {"revision": "2"}, {"dim": 9}, {"document_prompt": "a"}, {"query_prompt": "a"},
        {"target_model": "a"}, {"inference_component": "a"}, {"payload": "openai", "model": "a"},
    )  # fmt: skip
    first = _embedder(aws, dim=DIM).fingerprint
    assert _embedder(aws, timeout_seconds=1.0, batch_size=1).fingerprint == first
    found = {_embedder(aws, **{"dim": DIM, **other}).fingerprint for other in others}  # type: ignore[arg-type]
    assert len({first, *found}) == len(others) + 1


def test_vectors_of_another_length_are_told(aws: AwsServer) -> None:
    """An endpoint that serves another model than the store was made with is noticed."""
    aws.answer("InvokeEndpoint", _tei)
    with pytest.raises(DimensionMismatchError, match="of 8 numbers, not 9"):
        _embedder(aws, dim=9).embed_query("badge")


NO_VECTORS = (
    ("tei", '{"embeddings": [[1.0]]}', r"\{embeddings: \[\[number\]\]\}"),
    ("tei", "[[[0.1, 0.2]]]", r"another schema.*\[\[\[number\]\]\]"),
    ("tei", "[[]]", "another schema"),
    ("tei", '[["x"]]', "another schema"),
    ("tei", "[[1.0], [2.0]]", "another schema"),
    ("tei", "[[1.0, ", "not JSON"),
    ("openai", '{"data": []}', "another schema"),
    ("openai", '{"data": [{"index": 1, "embedding": [1.0]}]}', "another schema"),
    ("openai", '{"data": [{"embedding": [1.0]}]}', "another schema"),
    ("openai", "[[1.0]]", "another schema"),
    ("tei", "[[NaN, 0, 0, 0, 0, 0, 0, 0]]", "not finite"),
)


@pytest.mark.parametrize(("payload", "answer", "expected"), NO_VECTORS)
def test_an_answer_that_is_no_vectors_is_an_error(
    aws: AwsServer, payload: str, answer: str, expected: str
) -> None:
    """Token-wise vectors, other schemas, missing rows and broken numbers are never stored."""
    aws.answer("InvokeEndpoint", {"Body": answer.encode()})
    with pytest.raises(RemoteError, match=expected):
        _embedder(aws, payload, dim=DIM).embed_documents(["badge"])


def test_an_overloaded_endpoint_is_asked_again(aws: AwsServer) -> None:
    """Embedding twice costs little, so what passes is tried again."""
    aws.answer("InvokeEndpoint", AwsFault("ThrottlingException"), AwsFault("InternalFailure"), _tei)
    assert _embedder(aws, dim=DIM).embed_query("badge").shape == (DIM,)
    assert len(aws.requests) == 3


def test_an_error_does_not_repeat_the_texts(aws: AwsServer) -> None:
    """A container that answers with what it was sent is not quoted."""
    text = "A confidential sentence about the badge."
    members = {"OriginalStatusCode": 413, "OriginalMessage": f"too long: {text}"}
    aws.answer("InvokeEndpoint", AwsFault("ModelError", members=members))
    with pytest.raises(RemoteError) as caught:
        _embedder(aws, dim=DIM).embed_documents([text])
    assert "confidential" not in str(caught.value)


def test_a_text_that_is_too_long_is_told_as_such(aws: AwsServer) -> None:
    """TEI refuses a text of more tokens than the model reads."""
    message = "Input validation error: `inputs` must have less than 512 tokens. Given: 600"
    members = {"OriginalStatusCode": 413, "OriginalMessage": message}
    aws.answer("InvokeEndpoint", AwsFault("ModelError", members=members))
    with pytest.raises(PromptTooLongError, match="less than 512 tokens"):
        _embedder(aws, dim=DIM).embed_documents(["word " * 600])


def test_a_server_that_is_down_is_a_remote_error(aws: AwsServer) -> None:
    """An address where nothing listens gives the error that callers know."""
    url = unused_url()
    with pytest.raises(RemoteError):
        _embedder(aws, base_url=url, retry_seconds=0.2).embed_query("badge")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"payload": "hf"}, "payload 'hf'; allowed: tei openai"),
        ({"model": "m"}, "only payload 'openai'"),
        ({"payload": "openai", "truncate": True}, "truncate"),
        ({"dim": 0}, "dim 0; allowed: 1"),
        ({"batch_size": 0}, "batch_size 0; allowed: 1"),
        ({"timeout_seconds": 0.0}, "timeout"),
        ({"inference_component": "a b"}, "inference_component"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    aws: AwsServer, given: Mapping[str, object], expected: str
) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ConfigError, match=expected):
        _embedder(aws, **given)  # type: ignore[arg-type]


def test_threads_share_an_embedder(aws: AwsServer) -> None:
    """Several threads at once get the vectors of their own texts."""
    aws.answer("InvokeEndpoint", _tei)
    embedder = _embedder(aws)
    expected = {text: embedder.embed_query(text) for text in "abcd"}
    wrong: list[str] = []

    def ask(text: str) -> None:
        found = [embedder.embed_query(text) for _ in range(5)]
        wrong.extend(text for vector in found if not np.array_equal(vector, expected[text]))

    threads = [threading.Thread(target=ask, args=(text,)) for text in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
