"""Generators and embedders behind Amazon SageMaker endpoints: `sagemaker:ENDPOINT`.

An endpoint passes on what its container is sent, so what to send is named by `payload`:

- `openai`: the chat interface of OpenAI, which vLLM and newer LMI containers speak;
- `tgi`: Text Generation Inference, `{"inputs", "parameters"}`;
- `lmi`: the rolling-batch schema of DJL LMI containers, which differs from it in names;
- `tei` (embedders): Text Embeddings Inference.

`tgi` and `lmi` send the prompt as it is: no chat template is put around it.

Limits and names of fields: Amazon SageMaker Runtime API reference, "InvokeEndpoint"; Text
Generation Inference, router/src/lib.rs and validation.rs; DJL Serving, "LMI handlers Inference API
Schema"; OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast, get_args

from ragkit.errors import (
    ConfigError,
    MissingExtraError,
    PromptTooLongError,
    RemoteError,
)
from ragkit.text.jsontext import read_answer_json
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
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.deadline import kept_on_timeout
from ragkit_connectors.support.events import events, lines
from ragkit_connectors.support.fingerprints import digest_of, fingerprint
from ragkit_connectors.support.json_values import count, error_text, record
from ragkit_connectors.support.refusals import refuse_shortened, without_echo
from ragkit_connectors.support.unit_vectors import rows_of, unit_rows
from ragkit_connectors.support.windows import at_least, check_window, refuse_too_long

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

GeneratorPayload: TypeAlias = Literal["openai", "tgi", "lmi"]
EmbedderPayload: TypeAlias = Literal["tei", "openai"]

MAX_BODY_BYTES = 6_291_456
"""Size of a request (InvokeEndpoint, Body)."""

_BATCH_BYTES = MAX_BODY_BYTES // 2
"""Texts of one embedding request, so that they fit when JSON escapes each character."""

_ENDPOINT = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_COMPONENT = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_SHAPE_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A whole answer, or one event of a stream."""

    text: str = ""
    stop_reason: str | None = None
    usage: Usage | None = None


class _Endpoint:
    """What is common to all calls of one endpoint."""

    def __init__(
        self,
        name: str,
        *,
        inference_component: str | None,
        target_model: str | None,
    ) -> None:
        if len(name) > 63 or not _ENDPOINT.fullmatch(name):
            raise ConfigError(
                f"'sagemaker:{name}'; allowed: sagemaker:ENDPOINT, a name of up to 63 letters, "
                "digits and hyphens"
            )
        if inference_component is not None and not _COMPONENT.fullmatch(inference_component):
            raise ConfigError(
                f"inference_component {inference_component!r}; allowed: a name of up to 63 "
                "letters, digits and hyphens"
            )
        if target_model is not None and not 1 <= len(target_model) <= 1024:
            raise ConfigError("target_model; allowed: 1 to 1,024 characters")
        self.name = name
        self.target_model = target_model
        given = {"InferenceComponentName": inference_component, "TargetModel": target_model}
        self._parameters = {key: value for key, value in given.items() if value is not None}

    def call(self, method: str, *texts: str, billed: bool) -> AwsCall:
        """Return the description of a call that sends these texts."""
        return AwsCall(
            method=method,
            action="sagemaker:InvokeEndpoint",
            about=f"SageMaker endpoint {self.name}",
            may_be_billed=billed,
            texts=texts,
        )

    def request(self, body: Mapping[str, Json], *, accept: str) -> dict[str, object]:
        """Return the parameters of a call; raises `ConfigError` where the body is too large."""
        try:
            data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:
            raise ConfigError(f"a generation option is not a finite number: {error}") from error
        if len(data) > MAX_BODY_BYTES:
            raise PromptTooLongError(
                f"the request has {len(data):,} bytes; SageMaker takes {MAX_BODY_BYTES:,}: lower "
                "max_context_tokens"
            )
        return {
            "EndpointName": self.name,
            "Body": data,
            "ContentType": "application/json",
            "Accept": accept,
            **self._parameters,
        }


class SageMakerGenerator:
    """A model behind a SageMaker endpoint; safe to share between threads.

    Temperature 0 means the most likely token each time. `tgi` and `lmi` containers call that
    `do_sample: false` and refuse a temperature of 0, so it is sent so, and `top_p` and `top_k`,
    which then change nothing, are not. Without `max_tokens` a container stops where it likes, TGI
    after 100 tokens and LMI after 30.

    Endpoints that hold several models (`target_model`) cannot stream: the answer then comes as one
    piece.

    Args:
        endpoint: Name of the endpoint.
        payload: What its container is sent: `openai`, `tgi` or `lmi`.
        model: Name of the model in the body of `openai` requests, where the container asks for it.
        inference_component: Inference component to call, on endpoints that have them.
        target_model: Model to call, on multi-model endpoints.
        region: AWS region; None takes that of the environment.
        base_url: Address of the service; None takes AWS's own.
        timeout_seconds: Longest wait for the answer and, in a stream, for each line or event of the
            container's that holds data; more than 0. SageMaker gives a container 60 seconds, and
            AWS asks for 70 here.
        retry_seconds: Longest time spent on trying again where nothing can have been generated; 0
            or more. A call that timed out is never sent again.
        total_timeout_seconds: Longest time for a whole generation, attempts and stream together;
            None: no limit. A stream that runs out of either time after text came ends with that
            text and the `stop_reason` `timeout`.
        context_window: Tokens of prompt and answer that the model can hold. A prompt that is
            certainly longer is refused before it is sent: by `tokenizer`, else by its words.
        tokenizer: Path of the model's own `tokenizer.json`, to count tokens before they are sent.

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
        self._endpoint = _Endpoint(
            endpoint,
            inference_component=inference_component,
            target_model=target_model,
        )
        self.name = f"sagemaker:{endpoint}"
        self._payload: _Payload = (
            _Chat(model) if payload == "openai" else _TextGeneration(is_tgi=payload == "tgi")
        )
        self._window = check_window(context_window)
        self._tokenizer = None if tokenizer is None else _FileCounter(tokenizer)
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
            return TokenCount(n_tokens=pieces.count(prompt.text), exact=False, counter=pieces.name)
        return TokenCount(
            n_tokens=self._tokenizer.count_prompt(prompt.text),
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
        return self._whole(self._client.call(call, request)["Body"], prompt)

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
            yield generation.text
            yield generation
            return
        request = self._request(prompt, options, stream=True)
        call = self._endpoint.call("invoke_endpoint_with_response_stream", prompt.text, billed=True)
        deadline = self._client.deadline()
        events = self._client.events(call, request, member="Body", deadline=deadline)
        with closing(events) as received:
            texts = filter(str.strip, _texts(_chunks(received)))
            yield from kept_on_timeout(self._pieces(deadline.each(texts), prompt))

    def _request(
        self, prompt: Prompt, options: GenerationOptions, *, stream: bool
    ) -> dict[str, object]:
        _check(options)
        counted = at_least(prompt) if self._tokenizer is None else self.count_prompt(prompt)
        refuse_too_long(counted, options, self._window)
        body = self._payload.body(prompt.text, options, stream=stream)
        accept = "text/event-stream" if stream else "application/json"
        return self._endpoint.request(body, accept=accept)

    def _whole(self, data: object, prompt: Prompt) -> Generation:
        value = _decoded(data)
        part = self._payload.whole(value)
        if part is None:
            raise _unknown_shape(value, self._endpoint.name)
        return self._generation([part], prompt)

    def _pieces(self, data: Iterable[str], prompt: Prompt) -> Iterator[str | Generation]:
        parts: list[_Part] = []
        ended = False
        for text in data:
            if text.strip() == "[DONE]":
                ended = True
                break
            value = _decoded(text)
            _refuse_error(value, prompt)
            part = self._payload.event(value)
            if part is None and not parts:
                # A container that cannot stream answers at once.
                part, ended = self._payload.whole(value), True
            if part is None:
                raise _unknown_shape(value, self._endpoint.name)
            parts.append(part)
            if part.text:
                yield part.text
        if not ended and not any(part.stop_reason for part in parts):
            raise RemoteError("the stream broke off before its end")
        yield self._generation(parts, prompt)

    def _generation(self, parts: Sequence[_Part], prompt: Prompt) -> Generation:
        text = "".join(part.text for part in parts)
        reason = next((part.stop_reason for part in reversed(parts) if part.stop_reason), None)
        usage = next((part.usage for part in reversed(parts) if part.usage), None)
        if not text.strip():
            advice = "; raise max_tokens" if reason == "length" else ""
            raise RemoteError(
                f"the model gave no text (stop reason: {reason or 'unknown'}){advice}"
            )
        usage = usage or self._counted(text, prompt)
        refuse_shortened(usage.input_tokens, prompt.text, setting="the container's longest input")
        return Generation(text=text, usage=usage, stop_reason=reason)

    def _counted(self, text: str, prompt: Prompt) -> Usage:
        """Count what the container did not; never exact, since it may have cut or added tokens."""
        if self._tokenizer is None:
            return Usage()
        return Usage(
            input_tokens=self._tokenizer.count_prompt(prompt.text),
            output_tokens=self._tokenizer.count(text),
            counter=self._tokenizer.name,
        )


class _Payload(Protocol):
    """How a kind of container is asked, and how it answers."""

    has_template: bool

    def body(self, prompt: str, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        """Return what to send; raises `ConfigError`."""
        ...

    def whole(self, value: object) -> _Part | None:
        """Read an answer; None where it has another schema."""
        ...

    def event(self, value: object) -> _Part | None:
        """Read one event of a stream; None where it has another schema."""
        ...


class _Chat:
    """The chat interface of OpenAI."""

    has_template = True

    def __init__(self, model: str | None) -> None:
        self._model = model

    def body(self, prompt: str, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        given: dict[str, Json] = {
            "model": self._model,
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "stop": list(options.stop) or None,
            "seed": options.seed,
        }
        body: dict[str, Json] = {
            "messages": [{"role": "user", "content": prompt}],
            **{key: value for key, value in given.items() if value is not None},
        }
        if stream:
            body.update(stream=True, stream_options={"include_usage": True})
        return body

    def whole(self, value: object) -> _Part | None:
        choice = _first(record(value).get("choices"))
        content = record(choice.get("message")).get("content")
        return self._part(value, choice, content) if isinstance(content, str) else None

    def event(self, value: object) -> _Part | None:
        choices = record(value).get("choices")
        if not isinstance(choices, list):
            return None
        choice = _first(cast("list[object]", choices))
        if "message" in choice:
            return None
        return self._part(value, choice, record(choice.get("delta")).get("content"))

    def _part(self, value: object, choice: Mapping[str, object], content: object) -> _Part:
        counts = record(record(value).get("usage"))
        details = record(counts.get("prompt_tokens_details"))
        usage = _usage(
            count(counts.get("prompt_tokens")),
            count(counts.get("completion_tokens")),
            count(details.get("cached_tokens")),
        )
        reason = choice.get("finish_reason")
        return _Part(
            text=content if isinstance(content, str) else "",
            stop_reason=reason if isinstance(reason, str) else None,
            usage=usage,
        )


class _TextGeneration:
    """Text Generation Inference, and DJL LMI in its likeness."""

    has_template = False

    def __init__(self, *, is_tgi: bool) -> None:
        self._stop = "stop" if is_tgi else "stop_sequences"

    def body(self, prompt: str, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        if options.seed is not None and options.seed < 0:
            raise ConfigError(f"seed {options.seed}; allowed with this container: 0 or more")
        given: dict[str, Json] = {
            "max_new_tokens": options.max_tokens,
            self._stop: list(options.stop) or None,
            "seed": options.seed,
            **self._sampling(options),
        }
        body: dict[str, Json] = {
            "inputs": prompt,
            "parameters": {
                "details": True,
                "return_full_text": False,
                **{key: value for key, value in given.items() if value is not None},
            },
        }
        return {**body, "stream": True} if stream else body

    def _sampling(self, options: GenerationOptions) -> dict[str, Json]:
        if options.temperature == 0.0:
            return {"do_sample": False}
        # TGI refuses 1 for top_p, which means the same as none: all tokens.
        top_p = None if options.top_p == 1.0 else options.top_p
        given: dict[str, Json] = {
            "temperature": options.temperature,
            "top_p": top_p,
            "top_k": options.top_k,
        }
        # Containers before LMI 0.32 ignore the rest without it.
        sampled = any(value is not None for value in given.values())
        return {**given, "do_sample": True} if sampled else {}

    def whole(self, value: object) -> _Part | None:
        answer = _first(cast("list[object]", value)) if isinstance(value, list) else record(value)
        text = answer.get("generated_text")
        return self._part(answer, text) if isinstance(text, str) else None

    def event(self, value: object) -> _Part | None:
        token = record(record(value).get("token"))
        if not token:
            return None
        is_special = token.get("special") or token.get("special_token")
        return self._part(record(value), "" if is_special else token.get("text"))

    def _part(self, answer: Mapping[str, object], text: object) -> _Part:
        details = record(answer.get("details"))
        # LMI spells it with a space in whole answers.
        reason = details.get("finish_reason", details.get("finish reason"))
        if reason == "error":
            raise RemoteError(
                "the container failed while it generated; its log in CloudWatch says why, and "
                "often it is an option or a prompt that is too long"
            )
        return _Part(
            text=text if isinstance(text, str) else "",
            stop_reason=reason if isinstance(reason, str) else None,
            usage=_usage(
                count(details.get("input_length")), count(details.get("generated_tokens"))
            ),
        )


class SageMakerEmbedder:
    """An embedding model behind a SageMaker endpoint; safe to share between threads.

    Vectors are brought to length 1 here. A text without a visible character is not sent, since
    containers refuse it; it has a fixed vector.

    Args:
        endpoint: Name of the endpoint.
        payload: What its container is sent: `tei` or `openai`.
        model: Name of the model in the body of `openai` requests, where the container asks for it.
        dim: Length of a vector; None asks the endpoint once, when it is needed.
        revision: Anything that tells this model from another that the endpoint may serve later; it
            becomes part of the fingerprint.
        document_prompt: Text put before each document.
        query_prompt: Text put before each question.
        truncate: Whether the container may cut texts that are too long; otherwise they are errors.
        batch_size: Texts a request, 1 or more; TEI takes 32 unless told otherwise.
        inference_component: Inference component to call, on endpoints that have them.
        target_model: Model to call, on multi-model endpoints.
        region: AWS region; None takes that of the environment.
        base_url: Address of the service; None takes AWS's own.
        timeout_seconds: Longest wait for one answer; more than 0.
        retry_seconds: Longest time spent on trying one request again; 0 or more.

    Raises:
        ConfigError: a value cannot be used as given.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        payload: EmbedderPayload,
        model: str | None = None,
        dim: int | None = None,
        revision: str = "",
        document_prompt: str = "",
        query_prompt: str = "",
        truncate: bool = False,
        batch_size: int = 32,
        inference_component: str | None = None,
        target_model: str | None = None,
        region: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 70.0,
        retry_seconds: float = 60.0,
    ) -> None:
        if payload not in get_args(EmbedderPayload):
            raise ConfigError(f"payload {payload!r}; allowed: tei openai")
        if payload == "tei" and model is not None:
            raise ConfigError(f"model {model!r}; only payload 'openai' has a name of the model")
        if payload == "openai" and truncate:
            raise ConfigError("truncate; payload 'openai' has no such option")
        if dim is not None and dim < 1:
            raise ConfigError(f"dim {dim}; allowed: 1 or more")
        if batch_size < 1:
            raise ConfigError(f"batch_size {batch_size}; allowed: 1 or more")
        self._client = AwsClient(
            "sagemaker-runtime",
            region=region,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
        )
        self._endpoint = _Endpoint(
            endpoint,
            inference_component=inference_component,
            target_model=target_model,
        )
        self.name = f"sagemaker:{endpoint}"
        self.document_prompt = document_prompt
        self.query_prompt = query_prompt
        self._payload = payload
        self._model = model
        self._truncate = truncate
        self._batch_size = batch_size
        self._dim = dim
        self._lock = threading.Lock()
        settings = [target_model, inference_component, model, document_prompt, query_prompt]
        self.variant = digest_of(
            payload=payload, truncate=truncate, region=self._client.region, base_url=base_url
        )
        self._identity = f"sagemaker {endpoint} {revision} {json.dumps(settings)}"

    def __repr__(self) -> str:
        """Name the endpoint."""
        return f"SageMakerEmbedder({self._endpoint.name!r})"

    @property
    def dim(self) -> int:
        """Length of a vector; asks the endpoint the first time. Raises `RemoteError`."""
        with self._lock:
            if self._dim is None:
                self._dim = len(self._ask(["dimension"])[0])
            return self._dim

    @property
    def fingerprint(self) -> str:
        """Endpoint, revision, prompts and length; what the endpoint serves is known to AWS only."""
        return f"{self._identity} dim={self.dim}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text: float32, shape (n, dim), in the order of `texts`.

        Raises:
            DimensionMismatchError: the endpoint gives vectors of another length than `dim`.
            RemoteError: the endpoint failed, was too slow or answered in another schema.
        """
        return self._embed(texts, self.document_prompt)

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question: float32, shape (dim,). Raises `RemoteError`."""
        vector: Vector = self._embed([text], self.query_prompt)[0]
        return vector

    def _embed(self, texts: Sequence[str], prompt: str) -> Vectors:
        return rows_of(
            [prompt + text if text.strip() else "" for text in texts],
            lambda batch: unit_rows(self._ask(batch), dim=self.dim, name=self.name),
            lambda: self.dim,
            most_texts=self._batch_size,
            most_bytes=_BATCH_BYTES,
        )

    def _ask(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of one batch as the endpoint gives them."""
        body: dict[str, Json] = {"inputs": texts, "truncate": self._truncate}
        if self._payload == "openai":
            body = {"input": texts, **({"model": self._model} if self._model else {})}
        request = self._endpoint.request(body, accept="application/json")
        call = self._endpoint.call("invoke_endpoint", *texts, billed=False)
        value = _decoded(self._client.call(call, request)["Body"])
        vectors = _vectors(value) if self._payload == "tei" else _numbered_vectors(value)
        if vectors is None or len(vectors) != len(texts):
            raise _unknown_shape(value, self._endpoint.name)
        return vectors


class _FileCounter:
    """The tokenizer of a `tokenizer.json`."""

    def __init__(self, path: str) -> None:
        import hashlib

        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"tokenizer {path} cannot be read: {error}") from error
        self._tokenizer = _open_tokenizer(path, data)
        self.name = f"tokenizer:{hashlib.sha256(data).hexdigest()[:12]}"

    def count(self, text: str) -> int:
        """Return the number of tokens in `text`, without special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def count_prompt(self, text: str) -> int:
        """Return the number of tokens, special tokens included."""
        return len(self._tokenizer.encode(text, add_special_tokens=True).ids)


class _Encoding(Protocol):
    ids: Sequence[int]


class _Tokenizer(Protocol):
    """What is used of `tokenizers.Tokenizer`."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> _Encoding: ...


def _open_tokenizer(path: str, data: bytes) -> _Tokenizer:
    import importlib
    import importlib.util

    if importlib.util.find_spec("tokenizers") is None:
        raise MissingExtraError("tokenizers", extra="tokenizers")
    library = importlib.import_module("tokenizers")
    read = cast("Callable[[str], _Tokenizer]", library.Tokenizer.from_str)
    try:
        return read(data.decode())
    except Exception as error:  # the library raises bare `Exception`
        raise ConfigError(f"tokenizer {path} is no tokenizer.json: {error}") from error


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

    Its content type does not: SageMaker's own value stands there when the container gives none.
    """
    head = next((chunk for chunk in chunks if chunk.strip()), b"")
    rest = chain((head.lstrip(),), chunks)
    return lines(rest) if head.lstrip()[:1] in {b"{", b"["} else events(rest)


def _decoded(data: object) -> object:
    try:
        return read_answer_json(cast("bytes | str", data))
    except ValueError as error:
        raise RemoteError("the container's answer is not JSON, or it broke off") from error


def _refuse_error(value: object, prompt: Prompt) -> None:
    """Raise `RemoteError` for an error that comes inside a stream."""
    if record(value).get("error"):
        said = without_echo(error_text(record(value)), (prompt.text,))
        raise RemoteError(f"the container failed while it answered{said}")


def _usage(n_input: int | None, n_output: int | None, n_cached: int | None = None) -> Usage | None:
    if n_input is None and n_output is None:
        return None
    return Usage(
        input_tokens=n_input,
        output_tokens=n_output,
        cached_tokens=n_cached,
        exact=True,
        counter="server",
    )


def _first(values: object) -> Mapping[str, object]:
    return record(cast("list[object]", values)[0]) if isinstance(values, list) and values else {}


def _vectors(value: object) -> list[list[float]] | None:
    """Return a list of lists of numbers as it is; None for anything else."""
    rows = cast("list[object]", value) if isinstance(value, list) else []
    return cast("list[list[float]]", rows) if rows and all(map(_is_vector, rows)) else None


def _is_vector(row: object) -> bool:
    numbers = cast("list[object]", row) if isinstance(row, list) else []
    return bool(numbers) and all(isinstance(number, float | int) for number in numbers)


def _numbered_vectors(value: object) -> list[list[float]] | None:
    items = [record(item) for item in cast("list[object]", record(value).get("data") or [])]
    places = [count(item.get("index")) for item in items]
    if sorted(place for place in places if place is not None) != list(range(len(items))):
        return None
    ordered = sorted(items, key=lambda item: cast("int", item["index"]))
    return _vectors([item.get("embedding") for item in ordered])


def _unknown_shape(value: object, endpoint: str) -> RemoteError:
    """Say what an answer looks like, by names and types alone: its values may repeat a prompt."""
    return RemoteError(
        f"endpoint {endpoint} answers in another schema than that of payload; it answered "
        f"{_shape(value)[:_SHAPE_BYTES]}"
    )


def _shape(value: object, depth: int = 3) -> str:
    if isinstance(value, dict):
        members = cast("Mapping[str, object]", value).items()
        inner = ", ".join(f"{key}: {_shape(v, depth - 1)}" for key, v in members)
        return "{" + (inner if depth else "…") + "}"
    if isinstance(value, list):
        items = cast("list[object]", value)
        return f"[{_shape(items[0], depth - 1)}]" if items and depth else "[]"
    return {"str": "text", "bool": "true or false", "NoneType": "null"}.get(
        type(value).__name__, "number"
    )
