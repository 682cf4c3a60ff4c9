"""The fake AWS itself: what a test double must not let pass."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection
from typing import Protocol, cast
from urllib.parse import urlsplit

import pytest

from .aws_server import AwsFault, AwsServer, Raw, Slow, Stream, environment

pytest.importorskip("boto3")

ANSWER: dict[str, object] = {
    "output": {"message": {"role": "assistant", "content": [{"text": "At the desk."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
    "metrics": {"latencyMs": 1},
}
ASK: dict[str, object] = {
    "modelId": "eu.some.model-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Where?"}]}],
}
HELLO = {"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}}
STOP = {"messageStop": {"stopReason": "end_turn"}}


class _Client(Protocol):
    def close(self) -> None: ...

    def converse(self, **parameters: object) -> dict[str, object]: ...
    def converse_stream(self, **parameters: object) -> dict[str, object]: ...
    def invoke_model(self, **parameters: object) -> dict[str, object]: ...
    def retrieve(self, **parameters: object) -> dict[str, object]: ...
    def batch_put_document(self, **parameters: object) -> dict[str, object]: ...
    def list_foundation_models(self, **parameters: object) -> dict[str, object]: ...
    def invoke_endpoint_with_response_stream(self, **parameters: object) -> dict[str, object]: ...


class _Body(Protocol):
    def read(self) -> bytes: ...
    def close(self) -> None: ...


class _Events(Protocol):
    def __iter__(self) -> Iterator[Mapping[str, Mapping[str, object]]]: ...
    def close(self) -> None: ...


def _client(aws: AwsServer, service: str = "bedrock-runtime") -> _Client:
    # The library's own session would remember the identity of the test before.
    session = importlib.import_module("boto3").Session()
    make = cast("Callable[..., _Client]", session.client)
    config = importlib.import_module("botocore.config").Config
    once = config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=5)
    return make(service, endpoint_url=aws.url, config=once)


def _code(call: Callable[[], object]) -> tuple[str, int]:
    """Return code and HTTP status of the error that a call ends with."""
    error = cast("type[Exception]", importlib.import_module("botocore.exceptions").ClientError)
    with pytest.raises(error) as caught:
        call()
    response = cast("dict[str, dict[str, object]]", getattr(caught.value, "response", {}))
    status = cast("int", response["ResponseMetadata"]["HTTPStatusCode"])
    return str(response["Error"]["Code"]), status


def test_a_request_is_answered_and_kept(aws: AwsServer) -> None:
    """A real client gets the scripted answer; the request is kept as the client made it."""
    aws.answer("Converse", ANSWER)
    with closing(_client(aws)) as client:
        answer = client.converse(**ASK)
    assert answer["output"] == ANSWER["output"]
    (request,) = aws.requests
    assert (request.service, request.operation) == ("bedrock-runtime", "Converse")
    assert request.parameters == ASK
    assert request.headers["host"] in aws.url


def test_replies_come_in_order_and_the_last_stays(aws: AwsServer) -> None:
    """Faults, functions and answers follow each other."""
    faults = [AwsFault("ThrottlingException"), AwsFault("ServiceUnavailableException")]
    aws.answer("Converse", *faults, lambda _: {**ANSWER, "stopReason": "max_tokens"})
    with closing(_client(aws)) as client:
        assert _code(lambda: client.converse(**ASK)) == ("ThrottlingException", 429)
        assert _code(lambda: client.converse(**ASK)) == ("ServiceUnavailableException", 503)
        assert client.converse(**ASK)["stopReason"] == "max_tokens"
        assert client.converse(**ASK)["stopReason"] == "max_tokens"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inferenceConfig": {"temperature": 1.5}}, "temperature 1.5; allowed"),
        ({"serviceTier": {"type": "cheap"}}, "'cheap' is none of"),
        ({"requestMetadata": {"a" * 300: "b"}}, "length 300"),
        ({"modelId": "no spaces here"}, "does not match"),
        ({"additionalModelResponseFieldPaths": ["/a"] * 11}, "number of items 11"),
    ],
)
def test_limits_that_the_client_lets_pass_are_checked(
    aws: AwsServer, change: dict[str, object], said: str
) -> None:
    """Upper bounds, enumerations and patterns are a ValidationException."""
    aws.answer("Converse", ANSWER)
    with (
        closing(_client(aws)) as client,
        pytest.raises(Exception, match=r"ValidationException") as caught,
    ):
        client.converse(**{**ASK, **change})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "lie",
    [
        {**ANSWER, "stopReason": "bored"},
        {k: v for k, v in ANSWER.items() if k != "usage"},
        {**ANSWER, "text": "hello"},
        {**ANSWER, "usage": {"inputTokens": -1, "outputTokens": 4, "totalTokens": 7}},
        {**ANSWER, "usage": {"inputTokens": "3", "outputTokens": 4, "totalTokens": 7}},
        {**ANSWER, "output": {}},
        Stream([HELLO]),
        AwsFault("TeapotException"),
        AwsFault("ThrottlingException", members={"until": 3}),
    ],
)
def test_an_answer_that_the_service_cannot_give_fails_the_test(lie: dict[str, object]) -> None:
    """A lie is refused where it is scripted, and where a function tells it."""
    server = AwsServer()
    with server, pytest.raises(AssertionError):
        server.answer("Converse", lie)


def test_a_function_that_lies_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only known later is told at the end."""
    server = AwsServer()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    server.answer("Converse", lambda _: {"text": "hello"})

    def use() -> None:
        with server, closing(_client(server)) as client:
            assert _code(lambda: client.converse(**ASK))[1] == 500

    with pytest.raises(AssertionError, match="text: unknown member"):
        use()


def test_an_operation_without_a_script_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told by accident that all is well."""
    server = AwsServer()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)

    def use() -> None:
        with server, closing(_client(server)) as client:
            assert _code(lambda: client.converse(**ASK))[1] == 500

    with pytest.raises(AssertionError, match=r"no answer to bedrock-runtime\.Converse"):
        use()


@pytest.mark.parametrize("name", ["Converze", "Retrieve", "kendra.Converse"])
def test_an_operation_is_named_without_doubt(name: str) -> None:
    """Unknown names, and those of several services, are refused."""
    server = AwsServer()
    with server, pytest.raises(AssertionError, match="operation"):
        server.answer(name, {})


def test_a_stream_ends_fails_or_breaks_off(aws: AwsServer) -> None:
    """Events arrive as events, an error inside keeps its name, a cut is no end."""
    fault = AwsFault("throttlingException", message="slow down")
    aws.answer(
        "ConverseStream",
        Stream([HELLO, STOP]),
        Stream([HELLO, fault]),
        Stream([HELLO, "cut", STOP]),
    )
    with closing(_client(aws)) as client:
        streams = [cast("_Events", client.converse_stream(**ASK)["stream"]) for _ in range(3)]
        whole = list(streams[0])
        with pytest.raises(Exception, match=r"throttlingException.*slow down"):
            list(streams[1])
        with pytest.raises(Exception, match=r"Connection broken|IncompleteRead|Response ended"):
            list(streams[2])
        for stream in streams:
            stream.close()
    assert whole == [HELLO, STOP]


def test_a_stream_that_cannot_be_is_a_lie() -> None:
    """Events are checked as answers are."""
    server = AwsServer()
    nothing: dict[str, object] = {}
    events: list[dict[str, object]] = [
        {"messageStop": nothing}, {"hello": nothing}, {**HELLO, **STOP}
    ]  # fmt: skip
    with server:
        for event in events:
            with pytest.raises(AssertionError):
                server.answer("ConverseStream", Stream([event]))
        with pytest.raises(AssertionError):
            server.answer("ConverseStream", Stream([AwsFault("ThrottlingException")]))


@pytest.mark.parametrize("service", ["bedrock-runtime", "kendra", "sagemaker-runtime"])
def test_a_wrong_signature_is_refused(
    aws: AwsServer, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another secret gives 403, in every protocol."""
    calls: dict[str, Callable[[_Client], object]] = {
        "bedrock-runtime": lambda c: c.converse(**ASK),
        "kendra": lambda c: c.retrieve(IndexId="a" * 36, QueryText="x"),
        "sagemaker-runtime": lambda c: c.invoke_endpoint_with_response_stream(
            EndpointName="e", Body=b"{}"
        ),
    }
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with closing(_client(aws, service)) as client:
        assert _code(lambda: calls[service](client)) == ("InvalidSignatureException", 403)


def test_a_request_without_a_signature_is_refused(aws: AwsServer) -> None:
    """Nobody is served who does not say who asks."""
    with closing(HTTPConnection(urlsplit(aws.url).netloc)) as connection:
        connection.request("POST", "/model/m/converse", b"{}")
        response = connection.getresponse()
        assert (response.status, b"no signature" in response.read()) == (403, True)


def test_a_path_with_an_arn_is_signed_and_read(aws: AwsServer) -> None:
    """Characters that are escaped in a path are escaped again before they are signed."""
    arn = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
    aws.answer("Converse", ANSWER)
    with closing(_client(aws)) as client:
        client.converse(**{**ASK, "modelId": arn})
    assert aws.requests[0].parameters["modelId"] == arn


def test_a_body_of_bytes_and_headers_pass(aws: AwsServer) -> None:
    """InvokeModel carries bytes both ways, and members in headers."""
    aws.answer("InvokeModel", {"body": b'{"a": 1}', "contentType": "application/json"})
    with closing(_client(aws)) as client:
        answer = client.invoke_model(
            modelId="amazon.m", body=b"{}", accept="application/json", serviceTier="flex"
        )
        with closing(cast("_Body", answer["body"])) as body:
            assert json.loads(body.read()) == {"a": 1}
    assert answer["contentType"] == "application/json"
    assert aws.requests[0].parameters["body"] == b"{}"
    assert aws.requests[0].parameters["serviceTier"] == "flex"


def test_kendra_is_spoken(aws: AwsServer) -> None:
    """The JSON protocol: operation in a header, blobs in base64, 400 for the caller's faults."""
    aws.answer("kendra.Retrieve", {"ResultItems": [{"Content": "text"}]})
    aws.answer("BatchPutDocument", {"FailedDocuments": []}, AwsFault("ThrottlingException"))
    index = "0" * 36
    with closing(_client(aws, "kendra")) as client:
        assert client.retrieve(IndexId=index, QueryText="x")["ResultItems"] == [{"Content": "text"}]
        documents = [{"Id": "1", "Blob": b"\x00\xff"}]
        client.batch_put_document(IndexId=index, Documents=documents)
        too_many = documents * 11
        code = _code(lambda: client.batch_put_document(IndexId=index, Documents=too_many))
        assert code == ("ValidationException", 400)
        code = _code(lambda: client.batch_put_document(IndexId=index, Documents=documents))
        assert code == ("ThrottlingException", 400)
    assert aws.requests[1].parameters["Documents"] == documents


def test_parts_of_a_payload_are_bytes(aws: AwsServer) -> None:
    """SageMaker streams bytes that end anywhere, even inside a character."""
    parts = [{"PayloadPart": {"Bytes": part}} for part in (b"data: \xc3", b"\xa4\n")]
    aws.answer("InvokeEndpointWithResponseStream", Stream(parts, {"ContentType": "text/plain"}))
    with closing(_client(aws, "sagemaker-runtime")) as client:
        answer = client.invoke_endpoint_with_response_stream(EndpointName="e", Body=b"{}")
        with closing(cast("_Events", answer["Body"])) as events:
            got = [event["PayloadPart"]["Bytes"] for event in events]
    assert got == [b"data: \xc3", b"\xa4\n"]
    assert answer["ContentType"] == "text/plain"


def test_a_query_string_is_read(aws: AwsServer) -> None:
    """Members may travel in the address too."""
    aws.answer("ListFoundationModels", {"modelSummaries": []})
    with closing(_client(aws, "bedrock")) as client:
        client.list_foundation_models(byProvider="Some Provider")
    assert aws.requests[0].parameters == {"byProvider": "Some Provider"}


def test_an_answer_may_drip_or_be_none_of_aws(aws: AwsServer) -> None:
    """Slow answers stay right; what a proxy says is passed unchecked."""
    aws.answer("Converse", Slow(ANSWER, seconds_per_byte=0.0001), Raw(b"<html>", status=502))
    with closing(_client(aws)) as client:
        assert client.converse(**ASK)["stopReason"] == "end_turn"
        assert _code(lambda: client.converse(**ASK))[1] == 502
