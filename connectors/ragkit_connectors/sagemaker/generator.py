"""Generators behind Amazon SageMaker endpoints: `sagemaker:ENDPOINT`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from typing import Literal, TypeAlias, get_args

from ragkit.errors import ConfigError, RemoteError
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import (
    Generation,
    GenerationOptions,
    Json,
    Prompt,
    TokenCount,
    TokenCounter,
    Usage,
)
from ragkit_connectors.sagemaker.endpoint import Endpoint, decode_answer, unknown_shape
from ragkit_connectors.sagemaker.payloads import Chat, Payload, TextGeneration
from ragkit_connectors.sagemaker.tokenizer import FileCounter
from ragkit_connectors.support.aws import AwsClient
from ragkit_connectors.support.events import events, lines
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.json_values import error_text, record
from ragkit_connectors.support.messages import SystemRole, as_text, check_system_role
from ragkit_connectors.support.refusals import refuse_shortened, without_echo
from ragkit_connectors.support.request_fields import with_fields
from ragkit_connectors.support.windows import at_least, check_window, refuse_too_long

GeneratorPayload: TypeAlias = Literal["openai", "tgi", "lmi"]


class SageMakerGenerator:
    """A model behind a SageMaker endpoint; safe to share between threads.

    An `openai` container is sent messages in their roles. The others take one text: instructions,
    earlier turns by name (`user: …`, further lines indented), then what the user asks; they apply
    no chat template of their own.

    With temperature 0 the most likely token is always taken. `tgi` and `lmi` containers call that
    `do_sample: false` and refuse a temperature of 0, so it is sent so, and `top_p` and `top_k`,
    which then change nothing, are not. Without `max_tokens` the container's own limit holds: 100
    tokens in TGI, 30 in LMI.

    Endpoints that hold several models (`target_model`) cannot stream: their answer comes whole.

    Args:
        endpoint: Name of the endpoint.
        payload: What its container is sent: `openai`, `tgi` or `lmi`.
        model: Name of the model in the body of `openai` requests, where the container asks for it.
        inference_component: Inference component to call, on endpoints that have them.
        target_model: Model to call, on multi-model endpoints.
        region: AWS region; None takes that of the environment.
        base_url: Address of the service; None takes AWS's own.
        timeout_seconds: Longest wait for the answer and, in a stream, for each line or event that
            holds data; more than 0. SageMaker gives a container 60 seconds, and AWS recommends 70
            here.
        retry_seconds: Longest time of retries, which are made only where nothing can have been
            generated; 0 or more. A call that timed out is never sent again.
        total_timeout_seconds: Longest time for a whole generation, attempts and stream together;
            None: no limit. A stream that runs out of either time after text came ends with that
            text and the `stop_reason` `timeout`.
        context_window: Tokens of prompt and answer that the model can hold. A prompt that is
            certainly longer is refused before it is sent: by `tokenizer`, else by its words.
        tokenizer: Path of the model's own `tokenizer.json`, to count tokens before they are sent.
        system_role: For `openai`: `system`, or `fold`: the system message stands before what the
            user says first, for chat templates without a system role.
        request_fields: Fields of the container's own, sent as they are, for example
            `{"parameters": {"repetition_penalty": 1.1}}` or, to an `openai` container,
            `{"chat_template_kwargs": {"enable_thinking": False}}`.

    Raises:
        ConfigError: a value cannot be used as given.
        MissingExtraError: boto3, or the library that reads `tokenizer`, is not installed.
    """

    calls_llm = True

    def __init__(
        self,
        endpoint: str,
        *,
        payload: GeneratorPayload,
        model: str | None = None,
        inference_component: str | None = None,
        target_model: str | None = None,
        region: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 70.0,
        retry_seconds: float = 20.0,
        total_timeout_seconds: float | None = None,
        context_window: int | None = None,
        tokenizer: str | None = None,
        system_role: SystemRole = "system",
        request_fields: Mapping[str, Json] | None = None,
    ) -> None:
        if payload not in get_args(GeneratorPayload):
            raise ConfigError(f"payload {payload!r}; allowed: openai tgi lmi")
        if model is not None and payload != "openai":
            raise ConfigError(f"model {model!r}; only payload 'openai' has a name of the model")
        self._client = AwsClient(
            "sagemaker-runtime",
            region=region,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            total_timeout_seconds=total_timeout_seconds,
        )
        self.region = self._client.region
        self._endpoint = Endpoint(
            endpoint,
            inference_component=inference_component,
            target_model=target_model,
        )
        self.name = f"sagemaker:{endpoint}"
        self._payload: Payload = (
            Chat(model, check_system_role(system_role))
            if payload == "openai"
            else TextGeneration(is_tgi=payload == "tgi")
        )
        self._fields = dict(request_fields or {})
        self._window = check_window(context_window)
        self._tokenizer = None if tokenizer is None else FileCounter(tokenizer)
        self.fingerprint = fingerprint(
            self.name,
            payload=payload,
            model=model,
            inference_component=inference_component,
            target_model=target_model,
            region=self._client.region,
            base_url=base_url,
            context_window=context_window,
            tokenizer=None if self._tokenizer is None else self._tokenizer.name,
            system_role=None if system_role == "system" else system_role,
            request_fields=self._fields or None,
        )

    def __repr__(self) -> str:
        """Name the endpoint."""
        return f"SageMakerGenerator({self._endpoint.name!r})"

    @property
    def counter(self) -> TokenCounter | None:
        """Counts the model's tokens where a tokenizer file was given."""
        return self._tokenizer

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the tokens of a prompt; exact with a tokenizer file and without a chat template.

        Without a tokenizer file they are estimated by the built-in word pieces.
        """
        if self._tokenizer is None:
            pieces = load_wordpiece()
            n_tokens = pieces.count(as_text(prompt.messages))
            return TokenCount(n_tokens=n_tokens, exact=False, counter=pieces.name)
        return TokenCount(
            n_tokens=self._tokenizer.count_prompt(as_text(prompt.messages)),
            exact=not self._payload.has_template,
            counter=self._tokenizer.name,
        )

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer.

        Raises:
            ConfigError: an option has a value that the container refuses.
            PromptTooLongError: the prompt does not fit into a request or the model's window.
            RemoteError: the endpoint failed, was too slow or answered in another schema.
        """
        request = self._request(prompt, options, stream=False)
        call = self._endpoint.call("invoke_endpoint", prompt.text, billed=True)
        data = self._client.call(call, request)["Body"]
        gathered = Gathered()
        with gathered.kept_on_error():
            value = decode_answer(data)
            if self._payload.whole(value, gathered) is None:
                raise unknown_shape(value, self._endpoint.name)
            return self._ended(gathered, prompt)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation`.

        Raises:
            ConfigError: an option has a value that the container refuses.
            PromptTooLongError: the prompt does not fit into a request or the model's window.
            RemoteError: the endpoint failed, was too slow or answered in another schema; pieces may
                have come.
        """
        if self._endpoint.target_model is not None:
            generation = self.generate(prompt, options)
            if generation.text:
                yield generation.text
            yield generation
            return
        request = self._request(prompt, options, stream=True)
        method, gathered = "invoke_endpoint_with_response_stream", Gathered()
        call = self._endpoint.call(method, prompt.text, billed=True)
        deadline = self._client.deadline()
        events = self._client.events(call, request, member="Body", deadline=deadline)
        with closing(events) as received:
            texts = filter(str.strip, _texts(_chunks(received)))
            yield from gathered.streamed(self._pieces(deadline.each(texts), prompt, gathered))

    def _request(
        self, prompt: Prompt, options: GenerationOptions, *, stream: bool
    ) -> dict[str, object]:
        _check(options)
        counted = at_least(prompt) if self._tokenizer is None else self.count_prompt(prompt)
        refuse_too_long(counted, options, self._window)
        body = with_fields(self._payload.body(prompt, options, stream=stream), self._fields)
        accept = "text/event-stream" if stream else "application/json"
        return self._endpoint.request(body, accept=accept)

    def _pieces(
        self, data: Iterable[str], prompt: Prompt, gathered: Gathered
    ) -> Iterator[str | Generation]:
        ended, has_begun = False, False
        for text in data:
            if text.strip() == "[DONE]":
                ended = True
                break
            value = decode_answer(text)
            _refuse_error(value, prompt)
            piece = self._payload.event(value, gathered)
            if piece is None and not has_begun:
                # A container that cannot stream answers at once.
                piece, ended = self._payload.whole(value, gathered), True
            if piece is None:
                raise unknown_shape(value, self._endpoint.name)
            has_begun = True
            if piece:
                yield piece
        if not ended and gathered.stop_reason is None:
            raise RemoteError("the stream broke off before its end")
        yield self._ended(gathered, prompt)

    def _ended(self, gathered: Gathered, prompt: Prompt) -> Generation:
        if gathered.usage == Usage():
            gathered.usage = self._counted("".join(gathered.texts), prompt)
        n_read = gathered.usage.input_tokens
        refuse_shortened(n_read, prompt.text, setting="the container's longest input")
        return gathered.ended()

    def _counted(self, text: str, prompt: Prompt) -> Usage:
        """Count what the container did not report; never exact: it may have cut or added tokens."""
        if self._tokenizer is None:
            return Usage()
        return Usage(
            input_tokens=self._tokenizer.count_prompt(as_text(prompt.messages)),
            output_tokens=self._tokenizer.count(text),
            counter=self._tokenizer.name,
        )


def _check(options: GenerationOptions) -> None:
    """Refuse what no container takes; raises `ConfigError`."""
    checks = (
        ("max_tokens", options.max_tokens, 1, "1 or more"),
        ("temperature", options.temperature, 0.0, "0 or more"),
        ("top_p", options.top_p, 1e-9, "above 0, up to 1"),
        ("top_k", options.top_k, 1, "1 or more"),
    )
    for name, value, least, allowed in checks:
        most = 1.0 if name == "top_p" else sys.float_info.max
        if value is not None and not least <= value <= most:
            raise ConfigError(f"{name} {value}; allowed: {allowed}")
    if "" in options.stop:
        raise ConfigError("stop ''; allowed: texts of a character or more")


def _chunks(body: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    for event in body:
        part = record(event.get("PayloadPart")).get("Bytes")
        if isinstance(part, bytes):
            yield part


def _texts(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the JSON that a container sends as events or as lines; the first byte tells which.

    The content type does not: SageMaker sets one of its own when the container gives none.
    """
    head = next((chunk for chunk in chunks if chunk.strip()), b"")
    rest = chain((head.lstrip(),), chunks)
    return lines(rest) if head.lstrip()[:1] in {b"{", b"["} else events(rest)


def _refuse_error(value: object, prompt: Prompt) -> None:
    """Raise `RemoteError` for an error that comes inside a stream."""
    if record(value).get("error"):
        said = without_echo(error_text(record(value)), (prompt.text,))
        raise RemoteError(f"the container failed while it answered{said}")
