"""The SageMaker generator against a server that speaks as SageMaker does."""

from __future__ import annotations

import importlib
import importlib.util
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    PromptTooLongError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.types import Generation, GenerationOptions, Json, Message, Prompt, Usage
from ragkit_connectors import open_generator
from ragkit_connectors.sagemaker import SageMakerGenerator
from ragkit_connectors.testing import GeneratorContract, Script, sample_prompt
from ragkit_connectors.testing.serving import unused_url

from . import scripted
from .aws_server import AwsFault, AwsServer, Slow, Stream

ENDPOINT = "my-endpoint"
PROMPT = sample_prompt()
NO_OPTIONS = GenerationOptions()
TEXT = "At the front desk, with a passport – äöü."
PAYLOADS = ("openai", "tgi", "lmi")


def _generator(
    server: AwsServer, payload: str = "openai", **settings: object
) -> SageMakerGenerator:
    given = {"base_url": server.url, "retry_seconds": 5.0, "payload": payload}
    opened = open_generator(f"sagemaker:{ENDPOINT}", **{**given, **settings})
    assert isinstance(opened, SageMakerGenerator)
    return opened


def _json(value: object) -> Mapping[str, object]:
    return {"Body": json.dumps(value).encode(), "ContentType": "application/json"}


def _chat(text: str = TEXT, **more: object) -> Mapping[str, object]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 40, "completion_tokens": 9}
    return {"choices": [choice], "usage": usage, **more}


def _generated(text: str = TEXT, **details: object) -> Mapping[str, object]:
    return {
        "generated_text": text,
        "details": {"finish_reason": "eos_token", "generated_tokens": 9, **details},
    }


def _whole(payload: str, text: str = TEXT) -> object:
    if payload == "openai":
        return _chat(text)
    return [_generated(text)] if payload == "tgi" else _generated(text)


def _events(payload: str, text: str = TEXT) -> list[str]:
    """Return the JSON of each event of a stream."""
    words = [word if i == 0 else f" {word}" for i, word in enumerate(text.split(" "))]
    if payload == "openai":
        deltas: list[object] = [{"choices": [{"delta": {"content": word}}]} for word in words]
        deltas += [
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": 9}},
        ]
        return [json.dumps(delta, ensure_ascii=False) for delta in deltas] + ["[DONE]"]
    special = "special" if payload == "tgi" else "special_token"
    tokens: list[dict[str, object]] = [{"token": {"text": word}} for word in words]
    end = {"token": {"text": "</s>", special: True}, "generated_text": text}
    details = {"finish_reason": "eos_token", "generated_tokens": 9, "input_length": 40}
    return [
        json.dumps(event, ensure_ascii=False) for event in [*tokens, {**end, "details": details}]
    ]


def _bytes(payload: str, events: Sequence[str]) -> bytes:
    if payload == "lmi":
        return "".join(f"{event}\n" for event in events).encode()
    return "".join(f"data:{event}\n\n" for event in events).encode()


def _stream(data: bytes, *, payload: str = "openai", size: int = 65536) -> Stream:
    kind = "application/jsonlines" if payload == "lmi" else "text/event-stream"
    parts = [{"PayloadPart": {"Bytes": data[i : i + size]}} for i in range(0, len(data), size)]
    return Stream(parts, {"ContentType": kind})


def _both(
    generator: SageMakerGenerator, prompt: Prompt = PROMPT, options: GenerationOptions = NO_OPTIONS
) -> tuple[Callable[[], object], Callable[[], object]]:
    return (
        lambda: generator.generate(prompt, options),
        lambda: list(generator.stream(prompt, options)),
    )


def _streamed(generator: SageMakerGenerator) -> tuple[list[str], Generation]:
    *pieces, last = generator.stream(PROMPT, NO_OPTIONS)
    assert isinstance(last, Generation)
    return [str(piece) for piece in pieces], last


def _body(server: AwsServer, number: int = -1) -> Mapping[str, Json]:
    data = cast("bytes", server.requests[number].parameters["Body"])
    return cast("Mapping[str, Json]", json.loads(data))


class _Contract(GeneratorContract):
    payload = "openai"

    @pytest.fixture(autouse=True)
    def _aws(self, aws: AwsServer) -> None:
        self._server = aws
        self._answer(_whole(self.payload), _events(self.payload))

    def _answer(self, whole: object, events: Sequence[str]) -> None:
        self._server.answer("InvokeEndpoint", _json(whole))
        stream = _stream(_bytes(self.payload, events), payload=self.payload, size=17)
        self._server.answer("InvokeEndpointWithResponseStream", stream)

    def make(self) -> SageMakerGenerator:
        """Return a client of the scripted endpoint."""
        return _generator(self._server, self.payload)

    def make_with_window(self, n_tokens: int) -> SageMakerGenerator:
        """Return one that knows the model's window."""
        return _generator(self._server, self.payload, context_window=n_tokens)

    def make_unreachable(self) -> SageMakerGenerator:
        """Return a client of a port where nothing listens."""
        return _generator(self._server, self.payload, base_url=unused_url(), retry_seconds=0.2)

    def make_endless(self) -> tuple[SageMakerGenerator, threading.Event]:
        """Return a client of an endpoint whose stream goes on for a minute."""
        data = _bytes(self.payload, _events(self.payload)[:1])
        part = {"PayloadPart": {"Bytes": data}}
        stream = Stream([part, 0.02] * 3000, {"ContentType": "text/event-stream"})
        self._server.answer("InvokeEndpointWithResponseStream", stream)
        return self.make(), self._server.client_left


class TestChat(_Contract):
    """The contract of generators, for containers that speak as OpenAI does."""

    def make_saying(self, script: Script) -> SageMakerGenerator | None:
        """Return a client of a container that says this."""
        if script.ending not in scripted.CHAT_ENDINGS:
            return None
        reason = scripted.CHAT_ENDINGS[script.ending]
        message: dict[str, object] = {"content": script.text}
        if script.in_parts:
            message["content"] = [{"type": "text", "text": script.text}]
        message["reasoning_content"] = script.thoughts or None
        usage = {"prompt_tokens": 40, "completion_tokens": 9}
        whole = {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}
        events: list[object] = [
            {"choices": [{"delta": message}]},
            {"error": {"message": "out of memory"}}
            if script.breaks_off
            else {"choices": [{"delta": {}, "finish_reason": reason}], "usage": usage},
        ]
        self._answer(whole, [json.dumps(event) for event in events])
        return self.make()

    def sent_messages(self) -> Sequence[Message]:
        """Return what the endpoint was sent."""
        return scripted.sent_messages(_body(self._server))


class TestTextGeneration(_Contract):
    """The contract of generators, for Text Generation Inference."""

    payload = "tgi"
    keeps_roles = False

    def make_saying(self, script: Script) -> SageMakerGenerator | None:
        """Return a client of a container that says this; such ones keep no thoughts apart."""
        reason = {"end": "eos_token", "length": "length"}.get(script.ending)
        if reason is None or script.thoughts or script.in_parts:
            return None
        details = {"finish_reason": reason, "generated_tokens": 9, "input_length": 40}
        whole = {"generated_text": script.text, "details": details}
        events: list[object] = [{"token": {"text": script.text}}]
        end = {"token": {"text": "</s>", "special": True, "special_token": True}}
        events.append({"error": "broken"} if script.breaks_off else {**end, "details": details})
        self._answer(whole, [json.dumps(event) for event in events])
        return self.make()

    def sent_messages(self) -> Sequence[Message]:
        """Return the one text that the endpoint was sent."""
        return [Message(role="user", content=str(_body(self._server)["inputs"]))]


class TestLargeModelInference(TestTextGeneration):
    """The contract of generators, for DJL LMI."""

    payload = "lmi"


# --- what is sent ----------------------------------------------------------------------------

ALL = GenerationOptions(
    max_tokens=9, temperature=0.5, top_p=0.9, top_k=3, stop=("X",), seed=0
)  # fmt: skip


def test_only_what_was_asked_for_is_sent(aws: AwsServer) -> None:
    """A bare request holds the prompt alone, in the container's own schema."""
    for payload in PAYLOADS:
        aws.answer("InvokeEndpoint", _json(_whole(payload)))
        _generator(aws, payload).generate(PROMPT, NO_OPTIONS)
    text = {"inputs": PROMPT.text, "parameters": {"details": True, "return_full_text": False}}
    assert [_body(aws, i) for i in range(3)] == [
        {"messages": [{"role": "user", "content": PROMPT.text}]}, text, text,
    ]  # fmt: skip
    parameters = aws.requests[0].parameters
    assert (parameters["EndpointName"], parameters["ContentType"]) == (ENDPOINT, "application/json")


def test_options_go_by_the_containers_own_names(aws: AwsServer) -> None:
    """TGI and LMI differ in what they call stop sequences; both must be told to sample."""
    for payload in PAYLOADS:
        aws.answer("InvokeEndpoint", _json(_whole(payload)))
        _generator(aws, payload).generate(PROMPT, ALL)
    chat, tgi, lmi = (_body(aws, i) for i in range(3))
    assert {**chat, "messages": None} == {
        "messages": None, "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 3,
        "stop": ["X"], "seed": 0,
    }  # fmt: skip
    expected = {
        "details": True, "return_full_text": False, "max_new_tokens": 9, "temperature": 0.5,
        "top_p": 0.9, "top_k": 3, "seed": 0, "do_sample": True,
    }  # fmt: skip
    assert tgi["parameters"] == {**expected, "stop": ["X"]}
    assert lmi["parameters"] == {**expected, "stop_sequences": ["X"]}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("openai", {"temperature": 0.0}),
        ("tgi", {"do_sample": False}),
        ("lmi", {"do_sample": False}),
    ],
)
def test_temperature_zero_is_never_dropped(
    aws: AwsServer, payload: str, expected: Mapping[str, Json]
) -> None:
    """It means the most likely token, which containers that refuse 0 call by another name."""
    aws.answer("InvokeEndpoint", _json(_whole(payload)))
    _generator(aws, payload).generate(PROMPT, GenerationOptions(temperature=0.0, top_k=5))
    sent = cast("Mapping[str, Json]", _body(aws).get("parameters", _body(aws)))
    assert expected.items() <= sent.items()
    assert ("top_k" in sent) == (payload == "openai")


def test_a_top_p_of_one_is_what_tgi_does_anyway(aws: AwsServer) -> None:
    """TGI refuses the value that means all tokens."""
    aws.answer("InvokeEndpoint", _json(_whole("tgi")))
    _generator(aws, "tgi").generate(PROMPT, GenerationOptions(top_p=1.0))
    assert _body(aws)["parameters"] == {"details": True, "return_full_text": False}


def test_names_of_model_and_component_are_sent(aws: AwsServer) -> None:
    """Endpoints that hold several models are told which one."""
    aws.answer("InvokeEndpoint", _json(_chat()))
    _generator(aws, model="m", inference_component="my-component").generate(PROMPT, NO_OPTIONS)
    _generator(aws, target_model="a.tar.gz").generate(PROMPT, NO_OPTIONS)
    assert _body(aws, 0)["model"] == "m"
    assert aws.requests[0].parameters["InferenceComponentName"] == "my-component"
    assert aws.requests[1].parameters["TargetModel"] == "a.tar.gz"


def test_an_endpoint_of_several_models_answers_a_stream_at_once(aws: AwsServer) -> None:
    """Such endpoints cannot stream: the answer comes as one piece."""
    aws.answer("InvokeEndpoint", _json(_chat()))
    assert _streamed(_generator(aws, target_model="a.tar.gz"))[0] == [TEXT]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_stream_is_asked_for(aws: AwsServer, payload: str) -> None:
    """The body says so, and for a chat that usage should come along."""
    data = _bytes(payload, _events(payload))
    aws.answer("InvokeEndpointWithResponseStream", _stream(data, payload=payload))
    _streamed(_generator(aws, payload))
    assert _body(aws)["stream"] is True
    assert ("stream_options" in _body(aws)) == (payload == "openai")


# --- what comes back -------------------------------------------------------------------------


@pytest.mark.slow
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    payload=st.sampled_from(PAYLOADS),
    size=st.integers(1, 40),
    text=st.text(
        st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), min_size=1,
        max_size=30,
    ).filter(lambda text: bool(text.strip())),
)  # fmt: skip
def test_a_stream_is_read_however_its_parts_are_cut(
    aws: AwsServer, payload: str, size: int, text: str
) -> None:
    """A part may hold several events, half an event, or half a character."""
    data = _bytes(payload, _events(payload, text))
    aws.answer("InvokeEndpointWithResponseStream", _stream(data, payload=payload, size=size))
    pieces, whole = _streamed(_generator(aws, payload))
    assert "".join(pieces) == whole.text == text
    assert whole.usage.output_tokens == 9


def test_events_of_an_lmi_container_may_be_server_sent(aws: AwsServer) -> None:
    """LMI sends lines of JSON or, like TGI, events; its content type says which."""
    data = _bytes("tgi", _events("lmi"))
    aws.answer("InvokeEndpointWithResponseStream", _stream(data))
    assert _streamed(_generator(aws, "lmi"))[1].text == TEXT


def test_special_tokens_are_no_text(aws: AwsServer) -> None:
    """The end-of-sequence token is not part of the answer."""
    for payload in ("tgi", "lmi"):
        data = _bytes(payload, _events(payload))
        aws.answer("InvokeEndpointWithResponseStream", _stream(data, payload=payload))
        pieces, whole = _streamed(_generator(aws, payload))
        assert "</s>" not in whole.text + "".join(pieces)


def test_pieces_come_before_the_end(aws: AwsServer) -> None:
    """A stream is passed on as it comes, not gathered first."""
    first, *rest = _events("openai")
    parts = [{"PayloadPart": {"Bytes": _bytes("openai", part)}} for part in ([first], rest)]
    comments: list[Mapping[str, object] | float] = [{"PayloadPart": {"Bytes": b": alive\n\n"}}, 0.1]
    aws.answer("InvokeEndpointWithResponseStream", Stream([parts[0], *comments * 300, parts[1]]))
    stream = _generator(aws, timeout_seconds=2.0).stream(PROMPT, NO_OPTIONS)
    assert next(stream) == "At"
    # Comments are no parts of an answer; what came is paid for, and comes out.
    cut = next(stream)
    assert isinstance(cut, Generation)
    assert (cut.text, cut.stop_reason) == ("At", "timeout")
    assert len(aws.requests) == 1


def test_a_stream_may_be_left(aws: AwsServer) -> None:
    """Leaving a stream closes it, and the next request works."""
    data = _bytes("openai", _events("openai", "word " * 2000 + "end"))
    aws.answer("InvokeEndpointWithResponseStream", _stream(data, size=100))
    aws.answer("InvokeEndpoint", _json(_chat()))
    generator = _generator(aws)
    stream = generator.stream(PROMPT, NO_OPTIONS)
    assert next(stream) == "word"
    stream.close()  # type: ignore[attr-defined]
    assert generator.generate(PROMPT, NO_OPTIONS).text == TEXT


def test_a_container_that_cannot_stream_is_read_at_once(aws: AwsServer) -> None:
    """A JSON answer to a request for a stream gives one piece and the whole."""
    data = json.dumps(_chat()).encode()
    parts = [{"PayloadPart": {"Bytes": data[:50]}}, {"PayloadPart": {"Bytes": data[50:]}}]
    stream = Stream(parts, {"ContentType": "application/json"})
    aws.answer("InvokeEndpointWithResponseStream", stream)
    assert _streamed(_generator(aws))[0] == [TEXT]


def test_usage_is_what_the_container_counted(aws: AwsServer) -> None:
    """Whole usage blocks are exact; TGI tells the answer's tokens, in a stream the prompt's too."""
    server = {"exact": True, "counter": "server"}
    aws.answer(
        "InvokeEndpoint",
        _json(_chat(usage={
            "prompt_tokens": 40, "completion_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 32},
        })),
    )  # fmt: skip
    chat = _generator(aws).generate(PROMPT, NO_OPTIONS).usage
    assert chat == Usage(input_tokens=40, output_tokens=9, cached_tokens=32, **server)  # type: ignore[arg-type]
    for payload in ("tgi", "lmi"):
        aws.answer("InvokeEndpoint", _json(_whole(payload)))
        whole = _generator(aws, payload).generate(PROMPT, NO_OPTIONS).usage
        assert whole == Usage(output_tokens=9, **server)  # type: ignore[arg-type]
        data = _bytes(payload, _events(payload))
        aws.answer("InvokeEndpointWithResponseStream", _stream(data, payload=payload))
        streamed = _streamed(_generator(aws, payload))[1].usage
        assert streamed == Usage(input_tokens=40, output_tokens=9, **server)  # type: ignore[arg-type]


def test_unknown_usage_stays_unknown(aws: AwsServer) -> None:
    """A container that counts nothing gives None, never 0."""
    aws.answer("InvokeEndpoint", _json(_chat(usage=None)), _json({"generated_text": TEXT}))
    assert _generator(aws).generate(PROMPT, NO_OPTIONS).usage == Usage()
    assert _generator(aws, "lmi").generate(PROMPT, NO_OPTIONS).usage == Usage()


def test_the_stop_reason_is_kept(aws: AwsServer) -> None:
    """Why the model stopped is passed on, in either spelling of LMI's."""
    spelt = {"generated_text": TEXT, "details": {"finish reason": "length", "generated_tokens": 9}}
    aws.answer("InvokeEndpoint", _json(spelt), _json(_chat()))
    assert _generator(aws, "lmi").generate(PROMPT, NO_OPTIONS).stop_reason == "length"
    assert _generator(aws).generate(PROMPT, NO_OPTIONS).stop_reason == "stop"


def test_a_prompt_that_the_container_cut_is_an_error(aws: AwsServer) -> None:
    """Fewer tokens read than words sent means a silent cut."""
    aws.answer("InvokeEndpoint", _json(_chat()))
    long = Prompt(text="word " * 500, question="q")
    with pytest.raises(PromptTooLongError, match="40 tokens of a prompt of 500 words"):
        _generator(aws).generate(long, NO_OPTIONS)


# --- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "answer", "expected"),
    [
        ("openai", {"predictions": ["secret text"]}, r"another schema.*\{predictions: \[text\]\}"),
        ("openai", [{"generated_text": "secret text"}], r"\[\{generated_text: text\}\]"),
        ("tgi", _chat("secret text"), "another schema.*choices"),
        ("tgi", [], r"another schema.*\[\]"),
        ("lmi", {"outputs": ["secret text"]}, r"\{outputs: \[text\]\}"),
        ("lmi", "secret text", "answered text"),
        ("lmi", 5, "answered number"),
        ("openai", {"x" * 500: None}, "another schema"),
        ("openai", {"choices": [{"message": {"content": " "}}]}, "no reason why it ends"),
        ("lmi", _generated("", finish_reason="error"), "failed while it generated"),
    ],
)
def test_an_answer_in_another_schema_is_never_passed_off_as_text(
    aws: AwsServer, payload: str, answer: object, expected: str
) -> None:
    """The error shows what kind of thing came, in 200 bytes, and nothing of its content."""
    aws.answer("InvokeEndpoint", _json(answer))
    with pytest.raises(RemoteError, match=expected) as caught:
        _generator(aws, payload).generate(PROMPT, NO_OPTIONS)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_stream_in_another_schema_is_an_error(aws: AwsServer, payload: str) -> None:
    """The same holds for the events of a stream."""
    data = _bytes(payload, ['{"outputs": ["secret text"]}'])
    aws.answer("InvokeEndpointWithResponseStream", _stream(data, payload=payload))
    with pytest.raises(RemoteError, match=r"another schema.*\{outputs: \[text\]\}") as caught:
        list(_generator(aws, payload).stream(PROMPT, NO_OPTIONS))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_bytes_that_are_left_over_are_an_error(aws: AwsServer, payload: str, share: float) -> None:
    """A stream that ends in the middle gives no `Generation`, however far it came."""
    data = _bytes(payload, _events(payload)[: -3 if payload == "openai" else -1])
    cut = data[: int(len(data) * share)]
    aws.answer("InvokeEndpointWithResponseStream", _stream(cut, payload=payload))
    with pytest.raises(RemoteError, match="broke off"):
        list(_generator(aws, payload).stream(PROMPT, NO_OPTIONS))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_stream_that_ends_between_events_is_no_answer(aws: AwsServer, payload: str) -> None:
    """Whole events without a stop reason are a part of an answer, however well they read."""
    data = _bytes(payload, _events(payload)[:4])
    aws.answer("InvokeEndpointWithResponseStream", _stream(data, payload=payload))
    with pytest.raises(RemoteError, match="broke off"):
        list(_generator(aws, payload).stream(PROMPT, NO_OPTIONS))


@pytest.mark.parametrize(
    "fault",
    [
        AwsFault("ModelStreamError", message="out of memory", members={"ErrorCode": "X"}),
        AwsFault("InternalStreamFailure", message="broken"),
        "cut",
    ],
)
def test_a_failure_in_the_middle_of_a_stream_is_an_error(aws: AwsServer, fault: object) -> None:
    """Pieces came, then the error; nothing is sent again."""
    part = {"PayloadPart": {"Bytes": _bytes("openai", _events("openai")[:2])}}
    aws.answer("InvokeEndpointWithResponseStream", Stream([part, 0.05, fault]))  # type: ignore[list-item]
    stream = _generator(aws).stream(PROMPT, NO_OPTIONS)
    assert next(stream) == "At"
    with pytest.raises(RemoteError):
        list(stream)
    assert len(aws.requests) == 1


def test_an_error_event_of_the_container_is_told(aws: AwsServer) -> None:
    """Containers report errors inside a stream that began well."""
    events = [*_events("tgi")[:2], '{"error": "CUDA out of memory", "error_type": "generation"}']
    aws.answer("InvokeEndpointWithResponseStream", _stream(_bytes("tgi", events), payload="tgi"))
    with pytest.raises(RemoteError, match="while it answered: CUDA out of memory"):
        list(_generator(aws, "tgi").stream(PROMPT, NO_OPTIONS))


def _model_error(message: str, status: int = 500) -> AwsFault:
    return AwsFault(
        "ModelError",
        message="Received server error from primary",
        members={"OriginalStatusCode": status, "OriginalMessage": message},
    )


def test_the_containers_own_words_are_told(aws: AwsServer) -> None:
    """SageMaker says only that the model failed; the container says why."""
    aws.answer("InvokeEndpoint", _model_error('{"error": "CUDA out of memory"}'))
    aws.answer("InvokeEndpointWithResponseStream", _model_error('{"error": "CUDA out of memory"}'))
    for call in _both(_generator(aws)):
        with pytest.raises(RemoteError, match="CUDA out of memory"):
            call()
    assert len(aws.requests) == 2


def test_an_error_does_not_repeat_the_prompt(aws: AwsServer) -> None:
    """A container that answers with what it was sent is not quoted."""
    aws.answer("InvokeEndpoint", _model_error(f"cannot process: {PROMPT.text}"))
    with pytest.raises(RemoteError) as caught:
        _generator(aws).generate(PROMPT, NO_OPTIONS)
    assert PROMPT.text[:30] not in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
    ],
)
def test_a_prompt_that_the_container_finds_too_long_is_told_as_such(
    aws: AwsServer, message: str
) -> None:
    """Callers can shorten and ask again."""
    aws.answer("InvokeEndpoint", _model_error(message, 422))
    with pytest.raises(PromptTooLongError, match="max_context_tokens"):
        _generator(aws).generate(PROMPT, NO_OPTIONS)


def test_a_generation_that_timed_out_is_never_sent_again(aws: AwsServer) -> None:
    """It may have been made, and paid for; the time that was given is kept."""
    aws.answer("InvokeEndpoint", Slow(_json(_chat()), delay_seconds=5.0))
    with pytest.raises(RemoteTimeoutError):
        _generator(aws, timeout_seconds=0.4).generate(PROMPT, NO_OPTIONS)
    assert len(aws.requests) == 1


def test_a_model_that_is_still_loading_is_waited_for(aws: AwsServer) -> None:
    """Nothing was generated yet, so the request is sent again."""
    aws.answer("InvokeEndpoint", AwsFault("ModelNotReadyException"), _json(_chat()))
    assert _generator(aws).generate(PROMPT, NO_OPTIONS).text == TEXT
    assert len(aws.requests) == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [("AccessDeniedException", AccessDeniedError), ("ValidationError", RemoteError)],
)
def test_a_refusal_is_a_typed_error(aws: AwsServer, code: str, kind: type[RemoteError]) -> None:
    """What a retry cannot repair is not retried."""
    aws.answer("InvokeEndpoint", AwsFault(code))
    with pytest.raises(kind):
        _generator(aws).generate(PROMPT, NO_OPTIONS)
    assert len(aws.requests) == 1


def test_a_body_that_is_too_large_is_not_sent(aws: AwsServer) -> None:
    """SageMaker takes 6 MiB; the client library would send more."""
    huge = Prompt(text="ä" * 3_145_728, question="q")
    for call in _both(_generator(aws), huge):
        with pytest.raises(PromptTooLongError, match="6,291,456"):
            call()
    assert aws.requests == []


@pytest.mark.parametrize(
    ("payload", "options", "expected"),
    [
        ("openai", GenerationOptions(max_tokens=0), "max_tokens 0; allowed: 1"),
        ("openai", GenerationOptions(temperature=-0.1), "temperature -0.1; allowed: 0"),
        ("openai", GenerationOptions(temperature=float("nan")), "temperature nan"),
        ("openai", GenerationOptions(temperature=float("inf")), "temperature inf"),
        ("openai", GenerationOptions(top_p=0.0), "top_p 0.0; allowed: above 0"),
        ("openai", GenerationOptions(top_k=0), "top_k 0; allowed: 1"),
        ("tgi", GenerationOptions(seed=-1), "seed -1; allowed"),
        ("lmi", GenerationOptions(stop=("",)), "stop"),
    ],
)
def test_an_option_out_of_range_is_refused(
    aws: AwsServer, payload: str, options: GenerationOptions, expected: str
) -> None:
    """Nothing is sent, by either way to generate."""
    for call in _both(_generator(aws, payload), options=options):
        with pytest.raises(ConfigError, match=expected):
            call()
    assert aws.requests == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"payload": "jumpstart"}, "payload 'jumpstart'; allowed: openai tgi lmi"),
        ({"payload": "tgi", "model": "m"}, "only payload 'openai'"),
        ({"inference_component": "a b"}, "inference_component 'a b'"),
        ({"target_model": ""}, "target_model"),
        ({"context_window": 0}, "context_window 0; allowed: 1"),
        ({"timeout_seconds": 0.0}, "timeout"),
        ({"retry_seconds": -1.0}, "retry_seconds"),
        ({"tokenizer": "/nowhere/tokenizer.json"}, "cannot be read"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    aws: AwsServer, given: Mapping[str, object], expected: str
) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ConfigError, match=expected):
        _generator(aws, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["my_endpoint", "-a", "a-", "x" * 64])
def test_an_endpoint_that_cannot_be_one_is_refused(aws: AwsServer, name: str) -> None:
    """SageMaker's names have letters, digits and hyphens."""
    with pytest.raises(ConfigError, match="sagemaker:ENDPOINT"):
        SageMakerGenerator(name, payload="tgi", base_url=aws.url)


def test_the_payload_must_be_named() -> None:
    """Nothing is guessed from an endpoint's name."""
    with pytest.raises(ConfigError, match="payload"):
        open_generator(f"sagemaker:{ENDPOINT}")


# --- the model's own tokenizer ---------------------------------------------------------------


_UNKNOWN = "?"


class _Library:
    """A tokenizer file with a start token, made by the library itself."""

    @staticmethod
    def write(folder: Path) -> str:
        tokenizers = importlib.import_module("tokenizers")
        models = importlib.import_module("tokenizers.models")
        pre = importlib.import_module("tokenizers.pre_tokenizers")
        processors = importlib.import_module("tokenizers.processors")
        made = tokenizers.Tokenizer(models.WordLevel({"<s>": 0, "?": 1}, unk_token=_UNKNOWN))
        made.pre_tokenizer = pre.Whitespace()
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
        path = folder / "tokenizer.json"
        made.save(str(path))
        return str(path)


@pytest.mark.skipif(importlib.util.find_spec("tokenizers") is None, reason="no tokenizers")
class TestTokenizerFile:
    """Counting by the file that the model is read with."""

    def test_prompts_are_counted_exactly_without_a_template(
        self, aws: AwsServer, tmp_path: Path
    ) -> None:
        """The start token counts; a chat template, which is unknown here, makes a count inexact."""
        path = _Library.write(tmp_path)
        prompt = Prompt(text="one two three", question="q")
        counted = _generator(aws, "tgi", tokenizer=path).count_prompt(prompt)
        assert (counted.n_tokens, counted.exact) == (4, True)
        assert counted.counter.startswith("tokenizer:")
        assert not _generator(aws, "openai", tokenizer=path).count_prompt(prompt).exact

    def test_the_counter_leaves_special_tokens_out(self, aws: AwsServer, tmp_path: Path) -> None:
        """Parts of a prompt have no start token of their own."""
        counter = _generator(aws, "tgi", tokenizer=_Library.write(tmp_path)).counter
        assert counter is not None
        assert (counter.count(""), counter.count("one two")) == (0, 2)

    def test_a_prompt_beyond_the_window_is_not_sent(self, aws: AwsServer, tmp_path: Path) -> None:
        """Prompt and answer together must fit, to the token."""
        aws.answer("InvokeEndpoint", _json(_whole("tgi", "one")))
        path = _Library.write(tmp_path)
        generator = _generator(aws, "tgi", tokenizer=path, context_window=8)
        prompt = Prompt(text="one two three", question="q")
        assert generator.generate(prompt, GenerationOptions(max_tokens=4)).text == "one"
        with pytest.raises(PromptTooLongError, match="holds 8"):
            generator.generate(prompt, GenerationOptions(max_tokens=5))
        assert len(aws.requests) == 1

    def test_what_the_container_did_not_count_is_counted(
        self, aws: AwsServer, tmp_path: Path
    ) -> None:
        """The count says who made it, and that it may differ from the container's."""
        aws.answer("InvokeEndpoint", _json({"generated_text": "one two"}))
        generator = _generator(aws, "lmi", tokenizer=_Library.write(tmp_path))
        usage = generator.generate(Prompt(text="a b c", question="q"), NO_OPTIONS).usage
        assert (usage.input_tokens, usage.output_tokens, usage.exact) == (4, 2, False)
        assert usage.counter.startswith("tokenizer:")

    def test_a_file_that_is_none_is_refused(self, aws: AwsServer, tmp_path: Path) -> None:
        """The error names the file."""
        path = tmp_path / "tokenizer.json"
        path.write_text("{}", "utf-8")
        with pytest.raises(ConfigError, match=r"tokenizer\.json"):
            _generator(aws, "tgi", tokenizer=str(path))
