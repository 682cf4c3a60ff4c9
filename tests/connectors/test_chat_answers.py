"""What servers with OpenAI's chat interface answer, in the forms that they are known to use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.errors import ConfigError, RemoteError
from ragkit.pipeline.answers import stop_reason
from ragkit.types import Generation, GenerationOptions, Json, Message, Prompt
from ragkit_connectors import open_generator
from ragkit_connectors.openai import OpenAIGenerator
from ragkit_connectors.support.chat import gather_event, gather_whole
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.request_fields import with_fields
from ragkit_connectors.testing import OpenAIServer, Reply, ServedModel, Software, sample_prompt

NO_OPTIONS = GenerationOptions()
PROMPT = sample_prompt()
CONVERSATION = Prompt(
    question="Why?",
    messages=(
        Message(role="system", content="Be brief.", trusted=True),
        Message(role="assistant", content="Hello."),
        Message(role="user", content="Why?"),
    ),
)
NO_THINKING: Mapping[str, Json] = {"chat_template_kwargs": {"enable_thinking": False}}


def _whole(message: Mapping[str, object], **more: object) -> Generation:
    gathered = Gathered()
    choice = {"message": message, "finish_reason": "stop"}
    assert gather_whole(gathered, {"choices": [choice], **more}) is not None
    return gathered.ended()


def _streamed(*deltas: Mapping[str, object], reason: str = "stop") -> tuple[str, Generation]:
    gathered = Gathered()
    events: list[Mapping[str, object]] = [{"choices": [{"delta": delta}]} for delta in deltas]
    events.append({"choices": [{"delta": None, "finish_reason": reason}]})
    pieces = [gather_event(gathered, event) for event in events]
    return "".join(pieces), gathered.ended()


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Nine.", "reasoning_content": "Hm."},
        {"content": "Nine.", "reasoning": "Hm."},
        {"content": "Nine.", "thinking": "Hm."},
        # vLLM gives both for a while, with the same content.
        {"content": "Nine.", "reasoning": "Hm.", "reasoning_content": "Hm."},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                     {"type": "text", "text": "Ni"}, {"type": "text", "text": "ne."}]},
        {"content": [{"type": "reasoning", "text": "Hm."}, {"type": "output_text", "text": "Nine."},
                     {"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"content": [{"type": "reasoning", "reasoning": "Hm."}, "Nine."]},
    ],
)  # fmt: skip
def test_thoughts_are_told_apart_wherever_they_stand(message: Mapping[str, object]) -> None:
    """In a field of their own under any of its names, or as a part of the content."""
    whole = _whole(message)
    assert (whole.text, whole.reasoning) == ("Nine.", "Hm.")
    pieces, last = _streamed({"role": "assistant", "content": ""}, message)
    assert (pieces, last.text, last.reasoning) == ("Nine.", "Nine.", "Hm.")


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I cannot."},
        {"content": [{"type": "refusal", "refusal": "I cannot."}]},
    ],
)
def test_a_refusal_is_text_that_a_filter_ended(message: Mapping[str, object]) -> None:
    """The server ends it like any other answer, before or after that it says so."""
    for generation in (_whole(message), _streamed(message)[1]):
        assert (generation.text, generation.stop_reason) == ("I cannot.", "refusal")
        assert stop_reason(generation) == "filter"
    assert _streamed(message, reason="length")[1].stop_reason == "length"


def test_tokens_of_thoughts_are_known_where_the_server_counts_them() -> None:
    """They are part of those of the answer."""
    usage = {
        "prompt_tokens": 9, "completion_tokens": 7,
        "completion_tokens_details": {"reasoning_tokens": 5},
    }  # fmt: skip
    whole = _whole({"content": "Nine."}, usage=usage)
    assert (whole.usage.output_tokens, whole.usage.reasoning_tokens) == (7, 5)
    assert _whole({"content": "Nine."}).usage.reasoning_tokens is None


def test_an_answer_without_text_and_reason_is_none() -> None:
    """Something must be said: a text, a thought, or why it ends."""
    gathered = Gathered()
    gather_whole(gathered, {"choices": [{"message": {"content": None}}]})
    with pytest.raises(RemoteError, match="no reason why it ends"):
        gathered.ended()
    assert gather_whole(Gathered(), {"choices": []}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "thinking", "content", "refusal", "message", "choices"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, JSON, st.sampled_from([gather_whole, gather_event]))
def test_no_answer_raises_anything_but_a_remote_error(
    message: object, choice: object, gather: Callable[[Gathered, Mapping[str, object]], object]
) -> None:
    """Whatever a server sends: what cannot be read is said so, or left out."""
    for body in (
        {"choices": [{"message": message, "delta": message, "finish_reason": choice}]},
        {"choices": choice, "usage": message, "timings": message, "model": choice},
    ):
        gathered = Gathered()
        with suppress(RemoteError):
            gather(gathered, body)
            generation = gathered.generation()
            assert generation.server_seconds is None or math.isfinite(generation.server_seconds)


def test_what_the_server_tells_of_itself_is_kept() -> None:
    """The model and the tier that served, and its own time, where there is one."""
    more: dict[str, Json] = {
        "model": "m-2026-01", "service_tier": "flex",
        "timings": {"prompt_ms": 250.0, "predicted_ms": 750.0},
    }  # fmt: skip
    replies = [Reply(more=more), Reply(headers={"openai-processing-ms": "1250"}),
               Reply(headers={"x-envoy-upstream-service-time": "many"})]  # fmt: skip
    with OpenAIServer(replies) as server:
        generator = OpenAIGenerator("m", base_url=server.base_url)
        told, timed, untold = (generator.generate(PROMPT, NO_OPTIONS) for _ in replies)
    assert (told.served_model, told.served_tier, told.server_seconds) == ("m-2026-01", "flex", 1.0)
    assert (timed.served_model, timed.served_tier, timed.server_seconds) == (None, None, 1.25)
    assert untold.server_seconds is None
    with OpenAIServer([Reply(more=more)]) as server:
        *_, last = OpenAIGenerator("m", base_url=server.base_url).stream(PROMPT, NO_OPTIONS)
    assert isinstance(last, Generation)
    assert (last.served_model, last.server_seconds) == ("m-2026-01", 1.0)


def test_fields_of_the_servers_own_are_sent_and_never_replace_one() -> None:
    """They join what is there; a field that is set twice is refused by name."""
    with OpenAIServer() as server:
        generator = open_generator(
            "openai:m", base_url=server.base_url, request_fields={**NO_THINKING, "seed": 7}
        )
        generator.generate(PROMPT, NO_OPTIONS)
        assert server.requests[0].body["chat_template_kwargs"] == {"enable_thinking": False}
        assert server.requests[0].body["seed"] == 7
        with pytest.raises(ConfigError, match="request_fields sets seed"):
            generator.generate(PROMPT, GenerationOptions(seed=1))
        with pytest.raises(ConfigError, match="request_fields sets messages"):
            open_generator(
                "openai:m", base_url=server.base_url, request_fields={"messages": []}
            ).generate(PROMPT, NO_OPTIONS)


def test_nested_fields_are_joined() -> None:
    """Objects that both have become one; anything else would be replaced."""
    assert with_fields({"a": {"b": 1}}, {"a": {"c": 2}, "d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}
    with pytest.raises(ConfigError, match="request_fields: a sets b"):
        with_fields({"a": {"b": 1}}, {"a": {"b": 1}})


def test_a_template_without_a_system_role_is_sent_turns_that_alternate() -> None:
    """The user says the instructions first, and what was said before any question is told."""
    with OpenAIServer() as server:
        for role in ("system", "fold"):
            generator = open_generator("openai:m", base_url=server.base_url, system_role=role)
            generator.generate(CONVERSATION, NO_OPTIONS)
    kept, folded = (request.body["messages"] for request in server.requests)
    assert kept == [message.to_dict() for message in CONVERSATION.messages]
    assert folded == [{"role": "user", "content": "Be brief.\n\nassistant: Hello.\n\nWhy?"}]


@pytest.mark.parametrize("software", ["vllm", "llamacpp"])
def test_a_count_is_of_the_prompt_that_is_sent(model: ServedModel, software: Software) -> None:
    """All messages, folded or not, and what `request_fields` makes of the chat template."""
    with OpenAIServer(model=model, software=software) as server:
        for role in ("system", "fold"):
            generator = OpenAIGenerator(
                "m", base_url=server.base_url, count_with=software,
                system_role="fold" if role == "fold" else "system",
                request_fields={**NO_THINKING, "seed": 1},
            )  # fmt: skip
            counted = generator.count_prompt(CONVERSATION)
            usage = generator.generate(CONVERSATION, NO_OPTIONS).usage
            assert (counted.exact, counted.n_tokens) == (True, usage.input_tokens)
    asked = [r.body for r in server.side_requests if "messages" in r.body]
    assert [body["chat_template_kwargs"] for body in asked] == [{"enable_thinking": False}] * 2
    assert all("seed" not in body for body in asked)


def test_a_short_turn_hides_no_error() -> None:
    """Only what is long enough to be a quotation counts as one."""
    turn = Message(role="user", content="a")
    prompt = Prompt(question="Why?", messages=(turn, *CONVERSATION.messages))
    with (
        OpenAIServer([Reply(status=400, text="a bad request")]) as server,
        pytest.raises(RemoteError, match="HTTP 400: a bad request"),
    ):
        OpenAIGenerator("m", base_url=server.base_url).generate(prompt, NO_OPTIONS)


@pytest.mark.parametrize(("url", "n_tokens"), [(None, 1024), ("http://127.0.0.1:9/v1", None)])
def test_only_openais_own_cache_is_known(url: str | None, n_tokens: int | None) -> None:
    """Other servers do as they were configured."""
    assert OpenAIGenerator("m", base_url=url).least_cached_tokens == n_tokens


def test_the_same_prefix_is_sent_for_every_question() -> None:
    """Messages before the last are, byte for byte, those of every other question."""
    system = CONVERSATION.messages[:1]
    bodies: list[Sequence[Json]] = []
    with OpenAIServer() as server:
        for question in ("Why?", "When?"):
            asked = Message(role="user", content=question)
            OpenAIGenerator("m", base_url=server.base_url).generate(
                Prompt(question=question, messages=(*system, asked)), NO_OPTIONS
            )
    for request in server.requests:
        messages = request.body["messages"]
        assert isinstance(messages, list)
        bodies.append(messages)
    assert bodies[0][:-1] == bodies[1][:-1] == [system[0].to_dict()]
    first, second = (request.data for request in server.requests)
    common = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    assert b'"content": "Be brief."' in first[:common]
