"""Calls to AWS over the wire: retries, deadlines, errors. Attempts are counted at the server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    PromptTooLongError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)

from .aws_server import AwsFault, AwsServer, Raw, Slow, Stream
from .test_aws_server import ANSWER, ASK, HELLO, STOP

pytest.importorskip("boto3")

from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.testing.serving import unused_url

GENERATION = AwsCall(
    method="converse", action="bedrock:InvokeModel", about="model 'm'", may_be_billed=True,
    texts=("Where is the badge reset, and by whom?",),
)  # fmt: skip
LOOK_UP = AwsCall(method="converse", action="bedrock:Retrieve", about="index 'i'")


@pytest.fixture
def open_client(aws: AwsServer) -> Callable[..., AwsClient]:
    """Return a way to open clients of the fake."""

    def make(
        *, timeout_seconds: float = 5.0, retry_seconds: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> AwsClient:  # fmt: skip
        return AwsClient(
            "bedrock-runtime", base_url=aws.url, timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds, sleep=sleep,
        )  # fmt: skip

    return make


Open = Callable[..., AwsClient]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "generation_attempts", "look_up_attempts"),
    [
        (AwsFault("ThrottlingException"), 2, 2),
        (AwsFault("ServiceUnavailableException"), 2, 2),
        (AwsFault("ModelNotReadyException"), 2, 2),
        (AwsFault("InternalServerException"), 1, 2),
        (AwsFault("ModelTimeoutException"), 1, 2),
        (AwsFault("ModelErrorException"), 1, 1),
        (AwsFault("ValidationException"), 1, 1),
        (AwsFault("AccessDeniedException"), 1, 1),
        (AwsFault("ResourceNotFoundException"), 1, 1),
        (Raw(b"<html>bad gateway</html>", 502, "text/html"), 1, 2),
        (Raw(b'{"output": {', length=500), 1, 2),
        (Raw(b'{"output": {}', length=500), 1, 2),
        (Raw(b"<html>log in first</html>", content_type="text/html"), 1, 2),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_what_may_be_billed_is_sent_once(
    aws: AwsServer,
    open_client: Open,
    fault: AwsFault | Raw,
    generation_attempts: int,
    look_up_attempts: int,
) -> None:
    """Busy services are asked again; an unknown outcome only where asking again costs nothing."""
    for call, n_expected in ((GENERATION, generation_attempts), (LOOK_UP, look_up_attempts)):
        aws.requests.clear()
        aws.answer("Converse", fault, ANSWER)
        client = open_client()
        if n_expected == 2:
            assert client.call(call, ASK)["stopReason"] == "end_turn"
        else:
            with pytest.raises(RemoteError):
                client.call(call, ASK)
        assert len(aws.requests) == n_expected


def test_a_timed_out_generation_is_sent_exactly_once(aws: AwsServer, open_client: Open) -> None:
    """A hidden second generation would be billed: there is one request, however long we may try."""
    aws.answer("Converse", Slow(ANSWER, delay_seconds=30.0))
    client = open_client(timeout_seconds=0.3, retry_seconds=20.0)
    with pytest.raises(RemoteTimeoutError, match=r"0\.3 seconds.*Not sent again"):
        client.call(GENERATION, ASK)
    assert len(aws.requests) == 1


def test_a_timed_out_look_up_is_sent_again(aws: AwsServer, open_client: Open) -> None:
    """What costs nothing twice is repeated while there is time."""
    aws.answer("Converse", Slow(ANSWER, delay_seconds=30.0), ANSWER)
    client = open_client(timeout_seconds=0.3)
    assert client.call(LOOK_UP, ASK)["stopReason"] == "end_turn"
    assert len(aws.requests) == 2


def test_a_server_that_drips_is_left_in_time(aws: AwsServer, open_client: Open) -> None:
    """The timeout is for the whole answer, however steadily its bytes arrive."""
    aws.answer("Converse", Slow(ANSWER, seconds_per_byte=0.05))
    client = open_client(timeout_seconds=0.4)
    with pytest.raises(RemoteTimeoutError):
        client.call(GENERATION, ASK)


def test_a_service_that_throttles_on_is_given_up_in_time(aws: AwsServer, open_client: Open) -> None:
    """Attempts end with retry_seconds, and the error says how many there were."""
    aws.answer("Converse", AwsFault("ThrottlingException"))
    client = open_client(retry_seconds=1.0)
    with pytest.raises(RateLimitedError, match=r"ThrottlingException.*attempts") as caught:
        client.call(GENERATION, ASK)
    assert 2 <= len(aws.requests) == int(str(caught.value).split("(")[-1].split()[0])


@pytest.mark.parametrize("header", ["Retry-After", "x-amz-retry-after"])
def test_a_wait_that_the_service_asks_for_is_kept(
    aws: AwsServer, open_client: Open, header: str
) -> None:
    """Seconds or, in AWS' own header, milliseconds; more than there is time ends the attempts."""
    asked = {"Retry-After": "1", "x-amz-retry-after": "1000"}[header]
    aws.answer("Converse", AwsFault("ThrottlingException", headers={header: asked}), ANSWER)
    waits: list[float] = []
    open_client(sleep=waits.append).call(GENERATION, ASK)
    assert len(waits) == 1
    assert waits[0] >= 1.0
    aws.answer("Converse", AwsFault("ThrottlingException", headers={header: asked}))
    with pytest.raises(RateLimitedError):
        open_client(retry_seconds=0.9).call(GENERATION, ASK)
    assert len(aws.requests) == 3


def test_a_model_that_is_being_started_is_waited_for_longer(
    aws: AwsServer, open_client: Open
) -> None:
    """Starting takes minutes: attempts are seconds apart, and the advice is to allow for it."""
    aws.answer("Converse", AwsFault("ModelNotReadyException"))
    with pytest.raises(RemoteError, match="raise retry_seconds"):
        open_client(retry_seconds=1.5).call(GENERATION, ASK)
    assert len(aws.requests) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (AwsFault("ThrottlingException"), RateLimitedError, "Service Quotas"),
        (AwsFault("AccessDeniedException"), AccessDeniedError, "bedrock:InvokeModel"),
        (AwsFault("ExpiredTokenException"), AccessDeniedError, "expired.*aws sso login"),
        (
            AwsFault("UnrecognizedClientException", message="key AKIDRAGKIT…"),
            AccessDeniedError,
            r"HTTP 403\). AWS does not accept",
        ),
        (
            AwsFault(
                "ValidationException",
                message="Invocation of model ID m with on-demand throughput isn’t supported.",
            ),
            RemoteError,
            "inference profile",
        ),
        (
            AwsFault("ValidationException", message="Input is too long for requested model."),
            PromptTooLongError,
            "lower max_context_tokens",
        ),
        (
            AwsFault("ValidationException", message="prompt is too long: 9 tokens > 8 maximum"),
            PromptTooLongError,
            "lower max_context_tokens",
        ),
        (AwsFault("ResourceNotFoundException"), RemoteError, "region"),
        (AwsFault("ModelTimeoutException"), RemoteTimeoutError, "may be billed"),
        (
            AwsFault("ModelErrorException", members={"originalStatusCode": 500}),
            RemoteError,
            "HTTP 424",
        ),
    ],
)
def test_each_refusal_has_its_type_and_says_what_to_do(
    aws: AwsServer, open_client: Open, fault: AwsFault, kind: type[RemoteError], said: str
) -> None:
    """The message names what was called, what AWS said, and the way out."""
    aws.answer("Converse", fault)
    with pytest.raises(kind, match=said) as caught:
        open_client(retry_seconds=0.0).call(GENERATION, ASK)
    assert type(caught.value) is kind
    assert "model 'm'" in str(caught.value)
    assert "AKIDRAGKIT" not in str(caught.value)


def test_an_error_does_not_repeat_what_was_sent(aws: AwsServer, open_client: Open) -> None:
    """AWS quotes values that it refuses; they stay out of messages."""
    quote = f"Value '{GENERATION.texts[0]}' failed to satisfy constraint"
    aws.answer("Converse", AwsFault("ValidationException", message=quote))
    with pytest.raises(RemoteError, match="left out") as caught:
        open_client().call(GENERATION, ASK)
    assert "badge" not in str(caught.value)


def test_nothing_is_repeated_inside_a_stream(aws: AwsServer, open_client: Open) -> None:
    """Events may have been shown already: an error ends the stream, as the type that it has."""
    call = AwsCall(method="converse_stream", action="a", about="model 'm'", may_be_billed=True)
    faults: list[tuple[Stream, type[RemoteError]]] = [
        (Stream([HELLO, AwsFault("throttlingException")]), RateLimitedError),
        (Stream([HELLO, AwsFault("modelStreamErrorException")]), RemoteError),
        (Stream([HELLO, "cut", STOP]), RemoteError),
        (Stream([HELLO, 30.0, STOP]), RemoteTimeoutError),
    ]
    for stream, kind in faults:
        aws.answer("ConverseStream", stream)
        got: list[Mapping[str, object]] = []
        client = open_client(timeout_seconds=0.5)
        events = client.events(call, ASK, member="stream", deadline=client.deadline())
        with pytest.raises(kind, match=r"stream broke off.*Not sent again"):
            got.extend(iter_into(got, events))
        assert got == [HELLO]
    assert len(aws.requests) == len(faults)


def iter_into(
    place: list[Mapping[str, object]], events: Iterator[Mapping[str, Mapping[str, object]]]
) -> list[Mapping[str, object]]:
    """Append events as they come, since an error takes the rest with it."""
    for event in events:
        place.append(event)  # noqa: PERF402 - what came before an error must stay
    return []


def test_a_stream_is_opened_again_only_before_it_opened(aws: AwsServer, open_client: Open) -> None:
    """A throttled request for a stream is repeated: nothing was generated."""
    call = AwsCall(method="converse_stream", action="a", about="model 'm'", may_be_billed=True)
    aws.answer("ConverseStream", AwsFault("ThrottlingException"), Stream([HELLO, STOP]))
    client = open_client()
    events = client.events(call, ASK, member="stream", deadline=client.deadline())
    assert list(events) == [HELLO, STOP]
    assert len(aws.requests) == 2


def test_a_port_where_nothing_listens_is_told_in_seconds(open_client: Open) -> None:
    """A refused connection is tried three times, then named."""
    del open_client
    url = unused_url()
    client = AwsClient("bedrock-runtime", base_url=url, retry_seconds=60.0)
    with pytest.raises(RemoteError, match=rf"no connection to {url}.*3 attempts"):
        client.call(GENERATION, ASK)


def test_missing_credentials_say_how_to_get_some(
    aws: AwsServer, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent without an identity."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="aws configure"):
        open_client().call(GENERATION, ASK)
    assert aws.requests == []


def test_a_bearer_key_is_never_sent_in_the_clear(
    aws: AwsServer, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of Bedrock's needs TLS, and is not shown."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "very-secret")
    with pytest.raises(ConfigError, match="HTTPS") as caught:
        open_client().call(GENERATION, ASK)
    assert aws.requests == []
    assert "very-secret" not in str(caught.value)


def test_a_region_is_needed_and_comes_from_four_places(
    aws: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's; else an error says so."""
    aws.answer("Converse", ANSWER)
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert AwsClient("bedrock-runtime").region == "us-west-2"
    assert AwsClient("bedrock-runtime", region="eu-north-1").region == "eu-north-1"
    AwsClient("bedrock-runtime", base_url=aws.url).call(GENERATION, ASK)
    assert "/us-west-2/bedrock/" in aws.requests[0].headers["authorization"]
    monkeypatch.delenv("AWS_REGION")
    assert AwsClient("bedrock-runtime").region == "eu-west-1"
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigError, match="AWS_REGION"):
        AwsClient("bedrock-runtime")


def test_a_wrong_profile_is_a_configuration_error(
    aws: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile that is missing is named."""
    del aws
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match="nobody"):
        AwsClient("bedrock-runtime")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "http://example.com"}, "base_url"),
        ({"base_url": "https://user:pw@example.com"}, "user or a password"),
        ({"base_url": "example.com"}, "base_url"),
        ({"base_url": "https://[::1"}, "base_url"),
        ({"region": "eu west"}, "region 'eu west'"),
        ({"timeout_seconds": 0.0}, "timeout_seconds"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"retry_seconds": -1.0}, "retry_seconds"),
        ({"n_threads": 0}, "n_threads"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(
    aws: AwsServer, settings: dict[str, object], said: str
) -> None:
    """Each value is named, with what is allowed."""
    del aws
    with pytest.raises(ConfigError, match=said) as caught:
        cast("Callable[..., AwsClient]", AwsClient)("bedrock-runtime", **settings)
    assert "pw" not in str(caught.value)


def test_a_missing_boto3_says_how_to_install_it() -> None:
    """Without the library nothing but the error is left; importing the module needs none."""
    code = """
import sys
sys.path[:0] = sys.argv[1:]
from ragkit.errors import MissingExtraError
import ragkit_connectors.bedrock.embedder, ragkit_connectors.bedrock.generator
import ragkit_connectors.bedrock.reranker
from ragkit_connectors.support.aws import AwsClient
try:
    AwsClient("kendra")
except MissingExtraError as error:
    print(error)
"""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-I", "-S", "-c", code, str(root), str(root / "connectors")]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "boto3 is not installed" in result.stdout
    assert "[aws]'" in result.stdout


def test_a_method_that_an_old_boto3_lacks_says_so(open_client: Open) -> None:
    """Newer operations need a newer library."""
    with pytest.raises(ConfigError, match="pip install --upgrade boto3"):
        open_client().call(AwsCall(method="dream", action="a", about="b"), {})
