"""Bedrock's generator against a fake that checks every request by AWS' own description."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import cast

import pytest

from ragkit.errors import (
    ConfigError,
    PromptTooLongError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.types import (
    Generation,
    GenerationOptions,
    Json,
    Message,
    Prompt,
    Role,
    TokenCount,
    Turn,
    Usage,
)
from ragkit_connectors import open_generator
from ragkit_connectors.testing import GeneratorContract, Script, sample_prompt

from .aws_server import AwsFault, AwsServer, Raw, Slow, Stream

pytest.importorskip("boto3")

from ragkit_connectors.bedrock.generator import BedrockGenerator
from ragkit_connectors.testing.serving import unused_url

MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
APPLICATION_PROFILE = (
    "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
)
NO_OPTIONS = GenerationOptions()
PROMPT = sample_prompt()
ANSWER = "At the front desk."

Parameters = Mapping[str, object]
Config = Mapping[str, Mapping[str, object]]


def answer(text: str = ANSWER, reason: str = "end_turn", **usage: int) -> dict[str, object]:
    """Return an answer of Converse; `usage` overrides its counts."""
    counts = {"inputTokens": 12, "outputTokens": 5, "totalTokens": 17, **usage}
    content = [{"text": text}] if text else []
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": reason,
        "usage": counts,
        "metrics": {"latencyMs": 1},
    }


def events(text: str = ANSWER, reason: str = "end_turn", **usage: int) -> list[dict[str, object]]:
    """Return the same answer as the events of ConverseStream, a word a piece."""
    counts = {"inputTokens": 12, "outputTokens": 5, "totalTokens": 17, **usage}
    return [
        {"messageStart": {"role": "assistant"}},
        *(piece(word) for word in text.split(" ")),
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": reason}},
        {"metadata": {"usage": counts, "metrics": {"latencyMs": 1}}},
    ]


def piece(text: str) -> dict[str, object]:
    """Return one piece of text."""
    return {"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": 0}}


def script(aws: AwsServer, text: str = ANSWER, reason: str = "end_turn", **usage: int) -> None:
    """Make both ways to generate answer alike."""
    aws.answer("Converse", answer(text, reason, **usage))
    aws.answer("ConverseStream", Stream(events(text, reason, **usage)))


def client(aws: AwsServer, name: str = MODEL, /, **settings: object) -> BedrockGenerator:
    """Return a generator of the fake, with short time-outs by default."""
    given: dict[str, object] = {"timeout_seconds": 5.0, "retry_seconds": 5.0, **settings}
    make = cast("Callable[..., BedrockGenerator]", BedrockGenerator)
    return make(name, base_url=aws.url, **given)


def streamed(generator: BedrockGenerator, prompt: Prompt = PROMPT) -> tuple[list[str], Generation]:
    """Return the pieces and the whole."""
    *pieces, last = generator.stream(prompt, NO_OPTIONS)
    assert isinstance(last, Generation)
    return [str(part) for part in pieces], last


def both(generator: BedrockGenerator, prompt: Prompt = PROMPT) -> list[Callable[[], object]]:
    """Return both ways to generate."""
    return [
        lambda: generator.generate(prompt, NO_OPTIONS),
        lambda: list(generator.stream(prompt, NO_OPTIONS)),
    ]


def _n_words(parameters: Parameters) -> int:
    """Count as a model might: words, and a template around each message."""
    messages = _sent(parameters)
    return sum(len(message.content.split()) + 7 for message in messages)


def _sent(parameters: Parameters) -> list[Message]:
    """Return what was sent: the system message, and then the others."""
    texts = cast("list[dict[str, str]]", parameters.get("system", []))
    system = [Message(role="system", content=block["text"]) for block in texts]
    messages = cast("list[dict[str, object]]", parameters["messages"])
    return system + [
        Message(role=cast("Role", message["role"]), content=block["text"])
        for message in messages
        for block in cast("list[dict[str, str]]", message["content"])
    ]


def _count(parameters: Parameters) -> dict[str, object]:
    given = cast("dict[str, Parameters]", parameters["input"])
    return {"inputTokens": _n_words(given["converse"])}


class TestBedrockGenerator(GeneratorContract):
    """The contract of generators, over the wire."""

    unsupported_options = frozenset({"seed"})
    # Bedrock refuses messages without a visible character, and so does the generator.
    prompt_texts = tuple(text for text in GeneratorContract.prompt_texts if text.strip())

    @pytest.fixture(autouse=True)
    def _server(self, aws: AwsServer) -> None:
        aws.answer("Converse", lambda p: answer(inputTokens=_n_words(p)))
        aws.answer("ConverseStream", lambda p: Stream(self._events(p)))
        aws.answer("CountTokens", _count)
        self._aws = aws

    def _events(self, parameters: Parameters) -> list[dict[str, object]]:
        made = events(inputTokens=_n_words(parameters))
        made[1:-3] = [piece(word + " ") for word in ANSWER.split()[:-1]] + [piece("desk.")]
        return made

    def make(self) -> BedrockGenerator:
        """Return a client of the fake."""
        return client(self._aws)

    def make_with_window(self, n_tokens: int) -> BedrockGenerator:
        """Return one that knows its window, and counts by CountTokens."""
        return client(self._aws, context_window=n_tokens, max_tokens=16)

    def make_unreachable(self) -> BedrockGenerator:
        """Return a client of a port where nothing listens."""
        url = unused_url()
        return BedrockGenerator(MODEL, base_url=url, retry_seconds=1.0)

    def make_saying(self, script: Script) -> BedrockGenerator:
        """Return a client of a Bedrock that says this; its parts are blocks."""
        reason = ENDINGS[script.ending]
        texts = [script.text[:4], script.text[4:]] if script.in_parts else [script.text]
        thoughts = [script.thoughts[:4], script.thoughts[4:]] if script.thoughts else []
        blocks: list[object] = [
            {"reasoningContent": {"reasoningText": {"text": text}}} for text in thoughts
        ]
        blocks += [{"text": text} for text in texts if text]
        whole = answer("", reason)
        whole["output"] = {"message": {"role": "assistant", "content": blocks}}
        deltas = [{"reasoningContent": {"text": text}} for text in thoughts]
        made = events("", reason)
        made[1:2] = [
            {"contentBlockDelta": {"delta": delta, "contentBlockIndex": i}}
            for i, delta in enumerate([*deltas, *({"text": text} for text in texts)])
        ]
        broken = AwsFault("throttlingException", message="too fast")
        self._aws.answer("Converse", whole)
        self._aws.answer(
            "ConverseStream", Stream([*made[:-3], broken] if script.breaks_off else made)
        )
        return self.make()

    def make_endless(self) -> tuple[BedrockGenerator, threading.Event]:
        """Return a client of a Bedrock whose stream goes on for a minute."""
        self._aws.answer("ConverseStream", Stream([piece("on "), 0.02] * 3000))
        return self.make(), self._aws.client_left

    def sent_messages(self) -> list[Message]:
        """Return what Bedrock was sent."""
        asked = [r for r in self._aws.requests if r.operation != "CountTokens"]
        return _sent(asked[-1].parameters)


ENDINGS: Mapping[str, str] = {
    "end": "end_turn", "length": "max_tokens", "filter": "content_filtered",
    "guardrail": "guardrail_intervened",
}  # fmt: skip


def test_it_is_opened_by_name(aws: AwsServer) -> None:
    """The name of a model may hold colons; settings reach the class."""
    script(aws)
    generator = open_generator(f"bedrock:{MODEL}", base_url=aws.url, timeout_seconds=3.0)
    assert generator.name == f"bedrock:{MODEL}"
    assert generator.generate(PROMPT, NO_OPTIONS).text == ANSWER
    assert "eu-west-1" in repr(generator)


def test_nothing_is_sent_but_what_was_set(aws: AwsServer) -> None:
    """One message, a limit of the answer, and no default of ours for anything else."""
    script(aws)
    client(aws).generate(PROMPT, NO_OPTIONS)
    assert aws.requests[0].parameters == {
        "modelId": MODEL,
        "messages": [{"role": "user", "content": [{"text": PROMPT.text}]}],
        "inferenceConfig": {"maxTokens": 1024},
    }


def test_a_temperature_of_zero_is_sent(aws: AwsServer) -> None:
    """0 is a value: dropping it would make answers random."""
    script(aws)
    options = GenerationOptions(max_tokens=9, temperature=0.0, top_p=0.0, stop=("X",))
    client(aws).generate(PROMPT, options)
    list(client(aws).stream(PROMPT, options))
    expected = {"maxTokens": 9, "temperature": 0.0, "topP": 0.0, "stopSequences": ["X"]}
    for request in aws.requests:
        assert request.parameters["inferenceConfig"] == expected


def test_temperature_does_not_bring_top_p_along(aws: AwsServer) -> None:
    """Some models refuse both together, so only the one that was set is sent."""
    script(aws)
    client(aws).generate(PROMPT, GenerationOptions(temperature=0.3))
    sent = cast("Parameters", aws.requests[0].parameters["inferenceConfig"])
    assert set(sent) == {"maxTokens", "temperature"}


@pytest.mark.parametrize(
    ("model", "family", "fields"),
    [
        (MODEL, None, {"top_k": 5}),
        ("anthropic.claude-3-haiku-20240307-v1:0", None, {"top_k": 5}),
        ("arn:aws:bedrock:eu-west-1::foundation-model/mistral.m-v0:1", None, {"top_k": 5}),
        ("newprefix.anthropic.claude-x-v1:0", None, {"top_k": 5}),
        ("cohere.command-r-v1:0", None, {"k": 5}),
        ("us.amazon.nova-lite-v1:0", None, {"inferenceConfig": {"topK": 5}}),
        (APPLICATION_PROFILE, "anthropic", {"top_k": 5}),
    ],
)
def test_top_k_goes_by_the_field_of_the_models_family(
    aws: AwsServer, model: str, family: str | None, fields: dict[str, object]
) -> None:
    """The family is read through profiles and ARNs, whatever their prefix; or it is named."""
    script(aws)
    client(aws, model, model_family=family).generate(PROMPT, GenerationOptions(top_k=5))
    assert aws.requests[0].parameters["additionalModelRequestFields"] == fields
    assert aws.requests[0].parameters["modelId"] == model


@pytest.mark.parametrize(
    "model", [APPLICATION_PROFILE, "meta.llama3-8b-v1:0", "amazon.titan-text-v1", "somebody.new-v1"]
)
def test_top_k_is_refused_where_its_field_is_not_known(aws: AwsServer, model: str) -> None:
    """A name that hides the family is never guessed at, and the option never dropped."""
    with pytest.raises(ConfigError, match=r"top_k; set model_family.*request_fields"):
        client(aws, model).generate(PROMPT, GenerationOptions(top_k=5))
    assert aws.requests == []


def test_a_seed_is_refused_with_the_way_out(aws: AwsServer) -> None:
    """Converse has no seed; a model's own goes by request_fields."""
    with pytest.raises(ConfigError, match=r"seed 0.*request_fields"):
        client(aws).generate(PROMPT, GenerationOptions(seed=0))


def test_request_fields_are_sent_as_they_are(aws: AwsServer) -> None:
    """Keys are the model's own: neither their case nor their underscores are touched."""
    script(aws)
    fields: dict[str, Json] = {
        "reasoning_config": {"budgetTokens": 0, "SomeKey": [1, None]},
        "a_B": 1,
    }
    client(aws, request_fields=fields).generate(PROMPT, GenerationOptions(top_k=2))
    sent = aws.requests[0].parameters["additionalModelRequestFields"]
    assert sent == {**fields, "top_k": 2}
    with pytest.raises(ConfigError, match="both set top_k"):
        client(aws, request_fields={"top_k": 1}).generate(PROMPT, GenerationOptions(top_k=2))


@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(temperature=1.5), GenerationOptions(top_p=1.1),
        GenerationOptions(temperature=-0.1), GenerationOptions(temperature=float("nan")),
        GenerationOptions(max_tokens=0), GenerationOptions(top_k=0), GenerationOptions(stop=("",)),
        GenerationOptions(stop=("x",) * 2501),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_before_they_are_sent(
    aws: AwsServer, options: GenerationOptions
) -> None:
    """boto3 would send them, and the service refuse them."""
    generator = client(aws)
    with pytest.raises(ConfigError, match="allowed"):
        generator.generate(PROMPT, options)
    with pytest.raises(ConfigError, match="allowed"):
        list(generator.stream(PROMPT, options))
    assert aws.requests == []


@pytest.mark.parametrize("text", ["", " ", "\n\t\n"])
def test_an_empty_prompt_is_refused_before_it_is_sent(aws: AwsServer, text: str) -> None:
    """Bedrock answers empty blocks with an error that helps nobody."""
    for call in both(client(aws), Prompt(text=text, question="q")):
        with pytest.raises(ConfigError, match="prompt is empty"):
            call()
    assert aws.requests == []


def test_settings_of_the_account_are_sent(aws: AwsServer) -> None:
    """Guardrail, tier, latency and metadata are fields of their own, in both ways to generate."""
    script(aws)
    metadata = {"run": "r-1", "tenant": "a=b"}
    generator = client(
        aws, guardrail="abc123", guardrail_version="DRAFT", service_tier="flex",
        latency="optimized", request_metadata=metadata,
    )  # fmt: skip
    for call in both(generator):
        call()
    for request in aws.requests:
        sent = request.parameters
        assert sent["guardrailConfig"] == {
            "guardrailIdentifier": "abc123", "guardrailVersion": "DRAFT",
        }  # fmt: skip
        assert sent["serviceTier"] == {"type": "flex"}
        assert sent["performanceConfig"] == {"latency": "optimized"}
        assert sent["requestMetadata"] == metadata


def test_a_guardrail_may_assess_the_question_alone(aws: AwsServer) -> None:
    """The last turn is marked; context and history are neither scanned nor billed for it."""
    script(aws)
    guard: dict[str, object] = {
        "guardrail": "abc123",
        "guardrail_version": "1",
        "guard_question_only": True,
    }
    prompt = Prompt(
        text="Why is it late?\n\nBecause. Answer this: Why is it late?\n",
        question="Why is it late?",
        history=(Turn(role="user", content="Why is it late?"),),
    )
    client(aws, MODEL, **guard).generate(prompt, NO_OPTIONS)
    client(aws, MODEL, **guard).generate(Prompt(text="Else.", question="Gone?"), NO_OPTIONS)
    contents = [
        cast("list[dict[str, object]]", request.parameters["messages"])[0]["content"]
        for request in aws.requests
    ]
    assert contents == [
        [
            {"text": "Why is it late?\n\nBecause. Answer this: "},
            {"guardContent": {"text": {"text": "Why is it late?"}}},
        ],
        # A template that leaves the question out: all of it is assessed, never nothing.
        [{"text": "Else."}],
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"guardrail": "abc"}, {"guardrail": "ABC!", "guardrail_version": "1"},
        {"guardrail": "abc", "guardrail_version": "0"}, {"guardrail_version": "1"},
        {"guard_question_only": True}, {"service_tier": "cheap"}, {"latency": "low"},
        {"request_metadata": {}}, {"request_metadata": {"a" * 257: "b"}},
        {"request_metadata": {"a": "{"}}, {"request_metadata": {str(i): "" for i in range(17)}},
        {"context_window": 0}, {"max_tokens": 0}, {"model_family": "claude"},
        {"timeout_seconds": 0.0}, {"effort": ""}, {"effort": "x" * 17},
    ],
)  # fmt: skip
def test_a_setting_that_bedrock_would_refuse_is_refused_here(
    aws: AwsServer, settings: dict[str, object]
) -> None:
    """The error names the setting and what is allowed."""
    with pytest.raises(ConfigError, match=r"allowed|need a guardrail"):
        client(aws, MODEL, **settings)


@pytest.mark.parametrize("model", ["", "a b", "x" * 2049, "modèle", "a;b"])
def test_a_name_that_is_no_model_is_refused(aws: AwsServer, model: str) -> None:
    """What was given is named."""
    with pytest.raises(ConfigError, match="bedrock:MODEL"):
        client(aws, model)


def test_usage_counts_what_came_from_the_cache(aws: AwsServer) -> None:
    """Bedrock leaves cached tokens out of inputTokens: the sum of all three was read."""
    script(aws, inputTokens=10, cacheReadInputTokens=30, cacheWriteInputTokens=5)
    expected = Usage(
        input_tokens=45, output_tokens=5, cached_tokens=30, exact=True, counter="bedrock"
    )
    assert client(aws).generate(PROMPT, NO_OPTIONS).usage == expected
    assert streamed(client(aws))[1].usage == expected


def test_usage_of_a_stream_comes_from_its_last_event(aws: AwsServer) -> None:
    """The counts follow after the end of the message; without them they stay unknown."""
    script(aws)
    assert streamed(client(aws))[1].usage.input_tokens == 12
    aws.answer("ConverseStream", Stream(events()[:-1]))
    assert streamed(client(aws))[1].usage == Usage()


def test_reasoning_is_not_part_of_the_answer(aws: AwsServer) -> None:
    """What a model thinks is billed, but not added to the text."""
    whole = answer("")
    whole["output"] = {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
                {"text": "At "},
                {"citationsContent": {"content": [{"text": "the desk."}], "citations": []}},
            ],
        }
    }
    thought = {"delta": {"reasoningContent": {"text": "Hm."}}, "contentBlockIndex": 0}
    aws.answer("Converse", whole)
    aws.answer("ConverseStream", Stream([{"contentBlockDelta": thought}, *events("At.")]))
    said = client(aws).generate(PROMPT, NO_OPTIONS)
    assert (said.text, said.reasoning) == ("At the desk.", "Hm.")
    pieces, streamed_whole = streamed(client(aws))
    found = (pieces, streamed_whole.text, streamed_whole.reasoning)
    assert found == (["At."], "At.", "Hm.")


def test_what_bedrock_tells_of_an_answer_is_kept(aws: AwsServer) -> None:
    """The tier that served it, the model that a router chose, and how long it took."""
    model = "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0"
    about: dict[str, object] = {
        "metrics": {"latencyMs": 1250},
        "serviceTier": {"type": "flex"},
        "trace": {"promptRouter": {"invokedModelId": model}},
    }
    made = events()
    made[-1] = {"metadata": {**cast("dict[str, object]", made[-1]["metadata"]), **about}}
    aws.answer("Converse", {**answer(), **about})
    aws.answer("ConverseStream", Stream(made))
    for found in (client(aws).generate(PROMPT, NO_OPTIONS), streamed(client(aws))[1]):
        assert (found.served_model, found.served_tier, found.server_seconds) == (
            model,
            "flex",
            1.25,
        )
    aws.answer("Converse", {**answer(), "performanceConfig": {"latency": "optimized"}})
    assert client(aws).generate(PROMPT, NO_OPTIONS).served_tier == "optimized"


def test_citations_are_those_whose_source_was_sent(aws: AwsServer) -> None:
    """Their text is looked for in the context; what stands nowhere is left to others to cite."""
    item = PROMPT.context[0]
    first = item.text[: item.text.index(".") + 1]
    cited: list[dict[str, object]] = [
        {"sourceContent": [{"text": first[:9]}, {"text": first[9:]}],
         "location": {"documentChar": {"documentIndex": 0, "start": 0, "end": 5}}},
        {"sourceContent": [{"text": "Something else."}]}, {"title": "No source"},
    ]  # fmt: skip
    whole = answer()
    whole["output"] = {
        "message": {
            "role": "assistant",
            "content": [
                {"text": "It is "},
                {"citationsContent": {"content": [{"text": "at the desk."}], "citations": cited}},
            ],
        }
    }
    made = events()
    deltas: list[dict[str, object]] = [
        {"text": "at "}, {"citation": cited[0]}, {"text": "the desk."}, {"citation": cited[1]},
    ]  # fmt: skip
    made[1:-3] = [piece("It is ")]
    for delta in reversed(deltas):
        made.insert(2, {"contentBlockDelta": {"delta": delta, "contentBlockIndex": 1}})
    aws.answer("Converse", whole)
    aws.answer("ConverseStream", Stream(made))
    for found in (client(aws).generate(PROMPT, NO_OPTIONS), streamed(client(aws))[1]):
        assert found.text == "It is at the desk."
        assert found.citations is not None
        (citation,) = found.citations
        assert (citation.text, citation.start, citation.end) == (first, 0, len(first))
        assert found.text[citation.answer_start : citation.answer_end] == "at the desk."
    script(aws)
    assert client(aws).generate(PROMPT, NO_OPTIONS).citations is None


def test_effort_and_a_point_to_cache_up_to_are_sent(aws: AwsServer) -> None:
    """Both go by fields of Converse; only the system message is marked, where there is one."""
    script(aws)
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="Why?"))
    generator = client(aws, effort="low", cache_system=True)
    generator.generate(Prompt(question="Why?", messages=messages), NO_OPTIONS)
    generator.generate(PROMPT, NO_OPTIONS)
    first, second = (request.parameters for request in aws.requests)
    assert first["outputConfig"] == {"effort": "low"}
    assert first["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]
    assert "system" not in second


@pytest.mark.parametrize(
    ("model", "n_tokens"),
    [
        (MODEL, 1024), ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", 4096),
        ("anthropic.claude-opus-4-20250514-v1:0", 1024), ("us.amazon.nova-lite-v1:0", 1000),
        ("anthropic.claude-opus-4-7", 4096), ("anthropic.claude-opus-4-8", 1024),
        ("global.anthropic.claude-sonnet-5", 1024), ("in.anthropic.claude-sonnet-5-5", 512),
        ("anthropic.claude-opus-5-5", 512),
        ("anthropic.claude-opus-4-9-v1:0", None), (APPLICATION_PROFILE, None),
    ],
)  # fmt: skip
def test_the_shortest_prefix_that_is_cached_is_known_by_model(
    aws: AwsServer, model: str, n_tokens: int | None
) -> None:
    """Where it is documented; of other models it is unknown."""
    assert client(aws, model).least_cached_tokens == n_tokens


def test_a_prompt_without_a_word_is_refused(aws: AwsServer) -> None:
    """Bedrock would refuse it too."""
    with pytest.raises(ConfigError, match="the prompt is empty"):
        client(aws).generate(Prompt(question="?", text=" \n"), NO_OPTIONS)
    assert not aws.requests


@pytest.mark.parametrize(
    "reason",
    ["end_turn", "max_tokens", "guardrail_intervened", "content_filtered", "stop_sequence",
     "model_context_window_exceeded"],
)  # fmt: skip
def test_the_stop_reason_is_kept(aws: AwsServer, reason: str) -> None:
    """A cut or blocked answer can be told from a whole one."""
    script(aws, reason=reason)
    assert client(aws).generate(PROMPT, NO_OPTIONS).stop_reason == reason
    assert streamed(client(aws))[1].stop_reason == reason


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        ("half a tool ca", "malformed_tool_use", "malformed_tool_use"),
        ("?", "malformed_model_output", "malformed_model_output"),
    ],
)
def test_what_is_no_answer_is_an_error(aws: AwsServer, text: str, reason: str, said: str) -> None:
    """Broken output is never given as an answer; what it has cost is known all the same."""
    aws.answer("Converse", answer(text, reason))
    aws.answer("ConverseStream", Stream(events(text, reason)))
    for call in both(client(aws)):
        with pytest.raises(RemoteError, match=said) as caught:
            call()
        assert caught.value.generation is not None
        assert caught.value.generation.usage.output_tokens == 5


@pytest.mark.parametrize("way", [0, 1])
def test_a_timed_out_generation_is_sent_once(aws: AwsServer, way: int) -> None:
    """A second one, hidden, would be billed too."""
    aws.answer("Converse", Slow(answer(), delay_seconds=30.0))
    aws.answer("ConverseStream", Stream([30.0, *events()]))
    call = both(client(aws, timeout_seconds=0.3, retry_seconds=30.0))[way]
    with pytest.raises(RemoteTimeoutError, match="Not sent again"):
        call()
    assert len(aws.requests) == 1


@pytest.mark.parametrize("code", ["ThrottlingException", "ServiceUnavailableException"])
def test_a_busy_bedrock_is_asked_again(aws: AwsServer, code: str) -> None:
    """Nothing was generated, so the request is repeated, in both ways to generate."""
    aws.answer("Converse", AwsFault(code), answer())
    aws.answer("ConverseStream", AwsFault(code), Stream(events()))
    for call in both(client(aws)):
        call()
    assert len(aws.requests) == 4


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (AwsFault("throttlingException", message="slow"), RateLimitedError),
        (AwsFault("modelStreamErrorException"), RemoteError),
        (AwsFault("internalServerException"), RemoteError),
        ("cut", RemoteError),
    ],
)
def test_a_stream_that_fails_keeps_what_came_and_is_not_repeated(
    aws: AwsServer, last: AwsFault, kind: type[RemoteError]
) -> None:
    """Pieces may have been shown: there is an error, and neither a second try nor a whole."""
    aws.answer("ConverseStream", Stream([piece("At"), last, piece("never")]))
    stream = client(aws).stream(PROMPT, NO_OPTIONS)
    assert next(stream) == "At"
    with pytest.raises(kind, match=r"broke off.*Not sent again"):
        next(stream)
    assert len(aws.requests) == 1


def test_a_stream_that_ends_early_is_no_answer(aws: AwsServer) -> None:
    """A connection that was closed in good order, but before the message stopped."""
    aws.answer("ConverseStream", Stream(events()[:2]))
    with pytest.raises(RemoteError, match="ended before the answer did"):
        streamed(client(aws))


def test_a_stream_may_be_left(aws: AwsServer) -> None:
    """Leaving closes the connection, so that nothing more is generated, and the next call works."""
    aws.answer("ConverseStream", Stream([piece("At"), piece("the"), 30.0, piece("desk")]))
    generator = client(aws)
    stream = generator.stream(PROMPT, NO_OPTIONS)
    assert next(stream) == "At"
    stream.close()  # type: ignore[attr-defined]
    script(aws)
    assert generator.generate(PROMPT, NO_OPTIONS).text == ANSWER


def test_pieces_come_before_the_end(aws: AwsServer) -> None:
    """A stream is passed on as it comes, not gathered first."""
    aws.answer("ConverseStream", Stream([piece("At"), 30.0, *events("the")]))
    stream = client(aws, timeout_seconds=2.0).stream(PROMPT, NO_OPTIONS)
    assert next(stream) == "At"
    # It is paid for, so what came until the time was up comes out.
    cut = next(stream)
    assert isinstance(cut, Generation)
    assert (cut.text, cut.stop_reason, cut.usage) == ("At", "timeout", Usage())
    assert len(aws.requests) == 1


def test_an_answer_of_something_else_is_a_remote_error(aws: AwsServer) -> None:
    """A page of a proxy, or half an answer, is no answer without text."""
    for raw in (Raw(b"<html>log in</html>", content_type="text/html"), Raw(b"{", length=9)):
        aws.answer("Converse", raw)
        with pytest.raises(RemoteError, match="broke off or cannot be read"):
            client(aws).generate(PROMPT, NO_OPTIONS)


def test_a_prompt_is_counted_by_the_base_model(aws: AwsServer) -> None:
    """CountTokens knows no profiles: the name of the base model is read from them, or given."""
    aws.answer("CountTokens", _count)
    base = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    n_words = len(PROMPT.text.split()) + 7
    expected = TokenCount(n_tokens=n_words, exact=True, counter="bedrock:CountTokens")
    arn = f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/{MODEL}"
    assert client(aws).count_prompt(PROMPT) == expected
    assert client(aws, arn).count_prompt(PROMPT) == expected
    named = client(aws, APPLICATION_PROFILE, count_model=base)
    assert named.count_prompt(PROMPT) == expected
    assert {request.parameters["modelId"] for request in aws.requests} == {base}


def test_a_model_that_cannot_be_counted_for_is_estimated(aws: AwsServer) -> None:
    """The estimate says that it is one, learns from what is billed, and Bedrock is asked once."""
    message = "The provided model doesn't support counting tokens."
    aws.answer("CountTokens", AwsFault("ValidationException", message=message))
    generator = client(aws)
    first = generator.count_prompt(PROMPT)
    assert (first.exact, first.counter) == (False, "estimate:bytes")
    assert 0 < first.n_tokens < len(PROMPT.text)
    script(aws, inputTokens=77)
    generator.generate(PROMPT, NO_OPTIONS)
    assert generator.count_prompt(PROMPT).n_tokens == 77
    assert [request.operation for request in aws.requests] == ["CountTokens", "Converse"]


def test_counting_may_be_switched_off(aws: AwsServer) -> None:
    """No request is made for an estimate, nor for a name that hides its base model."""
    assert not client(aws, count_tokens=False).count_prompt(PROMPT).exact
    assert not client(aws, APPLICATION_PROFILE).count_prompt(PROMPT).exact
    assert aws.requests == []


def test_a_missing_permission_to_count_is_named(aws: AwsServer) -> None:
    """A refusal is not hidden behind an estimate."""
    aws.answer("CountTokens", AwsFault("AccessDeniedException"))
    with pytest.raises(RemoteError, match="bedrock:CountTokens"):
        client(aws).count_prompt(PROMPT)


def test_a_prompt_that_surely_fits_is_not_counted(aws: AwsServer) -> None:
    """Counting is a request: it is made only where the window is near."""
    script(aws)
    aws.answer("CountTokens", {"inputTokens": 900})
    client(aws, context_window=200_000).generate(PROMPT, NO_OPTIONS)
    assert [request.operation for request in aws.requests] == ["Converse"]
    dense = Prompt(text="x" * 5000, question="x")
    with pytest.raises(PromptTooLongError, match="900 tokens"):
        client(aws, context_window=1000, max_tokens=101).generate(dense, NO_OPTIONS)
    assert client(aws, context_window=1000, max_tokens=100).generate(dense, NO_OPTIONS).text


def test_a_prompt_that_bedrock_finds_too_long_has_its_own_error(aws: AwsServer) -> None:
    """Callers can shorten the context and try again."""
    fault = AwsFault("ValidationException", message="Input is too long for requested model.")
    aws.answer("Converse", fault)
    aws.answer("ConverseStream", fault)
    for call in both(client(aws)):
        with pytest.raises(PromptTooLongError, match="max_context_tokens"):
            call()


def test_a_model_without_on_demand_throughput_names_profiles(aws: AwsServer) -> None:
    """The usual first error with a new model says what to write instead."""
    said = "Invocation of model ID m with on-demand throughput isn't supported. Retry with…"
    aws.answer("Converse", AwsFault("ValidationException", message=said))
    with pytest.raises(RemoteError, match=r"inference profile.*eu"):
        client(aws, "anthropic.claude-x-v1:0").generate(PROMPT, NO_OPTIONS)


def test_a_server_error_does_not_show_the_prompt(aws: AwsServer) -> None:
    """What Bedrock quotes of a prompt stays out of logs."""
    aws.answer("Converse", AwsFault("ValidationException", message=f"bad: {PROMPT.text[:80]}"))
    with pytest.raises(RemoteError, match="left out") as caught:
        client(aws).generate(PROMPT, NO_OPTIONS)
    assert "front desk" not in str(caught.value)
