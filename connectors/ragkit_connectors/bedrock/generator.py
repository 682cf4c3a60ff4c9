"""Generators of Amazon Bedrock: `bedrock:MODEL`, by its Converse interface.

Fields and their limits: botocore's description of `bedrock-runtime`; which model takes which
further fields: Amazon Bedrock user guide, "Inference request parameters and response fields".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import ConfigError, RemoteError
from ragkit.types import (
    Generation,
    GenerationOptions,
    Json,
    Prompt,
    TokenCount,
    TokenCounter,
)
from ragkit_connectors.bedrock.conversation import conversation
from ragkit_connectors.bedrock.counting import PromptTokens
from ragkit_connectors.bedrock.model_ids import (
    base_model,
    check_model,
    inference_profile,
    least_cached_tokens,
)
from ragkit_connectors.bedrock.saying import Said
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.json_values import Record
from ragkit_connectors.support.windows import at_least, check_window, refuse_too_long

if TYPE_CHECKING:
    from ragkit_connectors.bedrock.batch import BatchedGenerator

SERVICE_TIERS = ("default", "priority", "flex", "reserved")
LATENCIES = ("standard", "optimized")

_TOP_K: Mapping[str, Callable[[int], dict[str, Json]]] = {
    "anthropic": lambda k: {"top_k": k},
    "cohere": lambda k: {"k": k},
    "mistral": lambda k: {"top_k": k},
    "nova": lambda k: {"inferenceConfig": {"topK": k}},
}
"""How each family that can takes `top_k`; Converse has no field for it."""

MODEL_FAMILIES = (*_TOP_K, "other")

_GUARDRAIL = re.compile(
    r"[a-z0-9]+|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:\d{12}:guardrail/[a-z0-9]+"
)
_GUARDRAIL_VERSION = re.compile(r"[1-9]\d{0,7}|DRAFT")
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")

_MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})
_MOST_EFFORT_CHARACTERS = 16
_TEMPLATE_TOKENS = 64
"""Allowance for what a chat template adds around one message."""


class BedrockGenerator:
    """A model of Amazon Bedrock; safe to share between threads.

    The system message is sent as `system`, the others in turn, the user's first: neighbours of a
    role are joined by a blank line. Only what was set is sent; 0 is a value. The length of the
    answer is always limited, since Bedrock reserves it from the account's quota when a request
    begins.

    A request is sent again only when nothing can have been generated: Bedrock throttled it, was
    overloaded or was still starting the model, or did not accept the connection. One that timed out
    or failed inside is never sent again, since it may be billed; nor is a stream once it has begun.

    An answer that a guardrail or a filter has changed or replaced, or that was cut, is given with
    its `stop_reason` (`guardrail_intervened`, `content_filtered`, `max_tokens`,
    `model_context_window_exceeded`), as Bedrock intends it to be shown. One of malformed output is
    a `RemoteError`. Reasoning is billed, but is not part of the text. Citations that Bedrock makes
    are given where the text of their source stands in what was sent.

    Args:
        model: Id of a model, of an inference profile, or an ARN of one of Bedrock's.
        region: AWS region; None takes `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's.
        base_url: Address instead of the public one, for example of a VPC endpoint.
        timeout_seconds: Longest wait for a whole answer, and for each event of a stream.
        retry_seconds: Time after its start in which a call may be sent again.
        total_timeout_seconds: Longest time for a whole generation, attempts and stream together;
            None: no limit. A stream that runs out of either time after text came ends with that
            text and the `stop_reason` `timeout`.
        context_window: Tokens of prompt and answer together; None: unknown. A prompt that is
            counted exactly and does not fit is refused before it is sent.
        max_tokens: Length of an answer where the options do not say; 1 or more.
        model_family: Whose own fields the model takes: `anthropic`, `cohere`, `mistral`, `nova` or
            `other`; None reads it from the name, which an application inference profile hides.
        request_fields: Fields of the model's own, sent as they are
            (`additionalModelRequestFields`).
        guardrail: Id or ARN of a guardrail; needs `guardrail_version`.
        guardrail_version: A number, or `DRAFT`.
        guard_question_only: Whether the guardrail is to assess the question alone, and not the
            context and the history around it.
        service_tier: `default`, `priority`, `flex` or `reserved`.
        latency: `standard` or `optimized`.
        effort: How much the model is to think and to write, for models that know it, in their own
            words: `low`, `medium`, `high` and more for some; at most 16 characters.
        cache_system: Whether Bedrock is asked to cache the system message, for models that do so
            only when asked. Below `least_cached_tokens` that changes nothing.
        request_metadata: 1 to 16 pairs, at most 256 characters each, for the invocation log.
        count_tokens: Whether Bedrock may be asked to count; free, for some models and regions.
        count_model: Id of the base model to count for; None reads it from the name.
        batch_s3: Where batch jobs read and write, `s3://BUCKET/PREFIX`; only for `batched`.
        batch_role: ARN of the role that Bedrock takes for them.
        batch_poll_seconds: Time between two looks at such a job; more than 0.

    Raises:
        ConfigError: a value cannot be used as given, or no region is known.
        MissingExtraError: boto3 is not installed.
    """

    calls_llm = True
    counter: TokenCounter | None = None
    """None: tokens are counted by Bedrock, and only for a whole prompt."""

    def __init__(
        self,
        model: str,
        *,
        region: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 60.0,
        retry_seconds: float = 20.0,
        total_timeout_seconds: float | None = None,
        context_window: int | None = None,
        max_tokens: int = 1024,
        model_family: str | None = None,
        request_fields: Mapping[str, Json] | None = None,
        guardrail: str | None = None,
        guardrail_version: str | None = None,
        guard_question_only: bool = False,
        service_tier: str | None = None,
        latency: str | None = None,
        effort: str | None = None,
        cache_system: bool = False,
        request_metadata: Mapping[str, str] | None = None,
        count_tokens: bool = True,
        count_model: str | None = None,
        batch_s3: str | None = None,
        batch_role: str | None = None,
        batch_poll_seconds: float = 30.0,
    ) -> None:
        check_model("generator", model)
        _check_least("max_tokens", max_tokens)
        _check_choice("model_family", model_family, MODEL_FAMILIES)
        _check_guardrail(guardrail, guardrail_version, question_only=guard_question_only)
        self._settings = _settings(
            guardrail=guardrail,
            guardrail_version=guardrail_version,
            service_tier=service_tier,
            latency=latency,
            effort=effort,
            request_metadata=request_metadata,
        )
        self.name = f"bedrock:{model}"
        self.model = model
        self.inference_profile = inference_profile(model)
        self._client = AwsClient(
            "bedrock-runtime",
            region=region,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            total_timeout_seconds=total_timeout_seconds,
        )
        self.region = self._client.region
        self._batch_s3, self._batch_role = batch_s3, batch_role
        self._batch_poll_seconds = batch_poll_seconds
        self._context_window = check_window(context_window)
        self._max_tokens = max_tokens
        self._family = model_family or _family(model)
        self._request_fields = dict(request_fields or {})
        self._guards_question = guard_question_only
        self._caches_system = cache_system
        self.least_cached_tokens = least_cached_tokens(count_model or model)
        counted_as = (count_model or base_model(model)) if count_tokens else None
        self._tokens = PromptTokens(self._client, counted_as)
        self.fingerprint = fingerprint(
            self.name,
            region=self._client.region,
            base_url=base_url,
            context_window=context_window,
            max_tokens=max_tokens,
            model_family=self._family,
            request_fields=self._request_fields or None,
            guardrail=guardrail,
            guardrail_version=guardrail_version,
            guard_question_only=guard_question_only,
            service_tier=service_tier,
            latency=latency,
            effort=effort,
        )

    def __repr__(self) -> str:
        """Name model and region."""
        return f"BedrockGenerator({self.model!r}, region={self._client.region!r})"

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Generation:
        """Return the whole answer.

        Raises:
            ConfigError: an option cannot be sent to this model, or credentials are missing.
            PromptTooLongError: the prompt does not fit into the window.
            RemoteError: Bedrock failed, refused, was too slow or gave no answer.
        """
        parameters = self._parameters(prompt, options)
        answer = self._client.call(self._call(prompt, "converse"), parameters)
        gathered = Gathered()
        said = Said(gathered, prompt.context)
        with gathered.kept_on_error():
            said.whole(answer)
            return self._ended(said, gathered, prompt)

    def stream(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str | Generation]:
        """Yield pieces of text, then the whole `Generation`; leaving early ends the connection.

        Raises:
            ConfigError: an option cannot be sent to this model, or credentials are missing.
            PromptTooLongError: the prompt does not fit into the window.
            RemoteError: Bedrock failed, refused, was too slow or gave no answer; pieces may have
                come.
        """
        parameters, gathered = self._parameters(prompt, options), Gathered()
        yield from gathered.streamed(self._pieces(prompt, parameters, gathered))

    def _pieces(
        self, prompt: Prompt, parameters: Record, gathered: Gathered
    ) -> Iterator[str | Generation]:
        call = self._call(prompt, "converse_stream")
        deadline = self._client.deadline()
        said = Said(gathered, prompt.context)
        events = self._client.events(call, parameters, member="stream", deadline=deadline)
        with closing(events):
            for event in deadline.each(events):
                piece = said.event(event)
                if piece:
                    yield piece
        if gathered.stop_reason is None:
            raise RemoteError(
                f"{self.name}: the stream ended before the answer did. Not sent again"
            )
        yield self._ended(said, gathered, prompt)

    def _ended(self, said: Said, gathered: Gathered, prompt: Prompt) -> Generation:
        self._tokens.learn(gathered.usage, prompt)
        if gathered.stop_reason in _MALFORMED:
            reason = gathered.stop_reason
            raise RemoteError(f"{self.name}: the model's output is malformed ({reason})")
        said.end()
        return gathered.ended()

    def count_prompt(self, prompt: Prompt) -> TokenCount:
        """Return the tokens of a prompt: Bedrock's count, or an estimate where it has none.

        The estimate is from the size in bytes, by the densest prompt that was billed so far.

        Raises:
            ConfigError: the prompt is empty, or credentials are missing.
            RemoteError: Bedrock failed or refused.
        """
        return self._tokens.count(prompt)

    def batched(self, folder: Path, *, notify: Callable[[str], None]) -> BatchedGenerator:
        """Return a generator that answers many prompts by model invocation jobs.

        Args:
            folder: Where its state and the answers are kept, private to their owner.
            notify: Told how far a job is.

        Raises:
            ConfigError: `batch_s3` or `batch_role` is missing or malformed.
        """
        from ragkit_connectors.bedrock.batch import BatchedGenerator
        from ragkit_connectors.bedrock.jobs import Jobs

        jobs = Jobs(
            self.model,
            region=self.region,
            s3=self._batch_s3,
            role=self._batch_role,
            folder=folder,
            notify=notify,
            poll_seconds=self._batch_poll_seconds,
        )
        return BatchedGenerator(self, jobs)

    def batch_request(self, prompt: Prompt, options: GenerationOptions) -> dict[str, object]:
        """Return a prompt as a record of a batch job holds it.

        Raises:
            ConfigError: an option cannot be sent to this model.
            PromptTooLongError: the prompt does not fit into the window.
        """
        parameters = self._parameters(prompt, options)
        # A job has a model, and neither tiers nor an invocation log of its own.
        for name in ("modelId", "serviceTier", "performanceConfig", "requestMetadata"):
            parameters.pop(name, None)
        return parameters

    def batch_answer(self, prompt: Prompt, output: Record) -> Generation:
        """Return what a job's record answers.

        Raises:
            RemoteError: it holds no answer.
        """
        gathered = Gathered()
        said = Said(gathered, prompt.context)
        with gathered.kept_on_error():
            said.whole(output)
            return replace(self._ended(said, gathered, prompt), served_tier="batch")

    def _call(self, prompt: Prompt, method: str) -> AwsCall:
        streamed = method == "converse_stream"
        return AwsCall(
            method=method,
            action="bedrock:InvokeModelWithResponseStream" if streamed else "bedrock:InvokeModel",
            about=self.name,
            may_be_billed=True,
            texts=(prompt.text,),
        )

    def _parameters(self, prompt: Prompt, options: GenerationOptions) -> dict[str, object]:
        _check_options(options)
        max_tokens = self._max_tokens if options.max_tokens is None else options.max_tokens
        given: dict[str, object] = {
            "maxTokens": max_tokens,
            "temperature": options.temperature,
            "topP": options.top_p,
            "stopSequences": list(options.stop) or None,
        }
        parameters: dict[str, object] = {
            "modelId": self.model,
            **conversation(
                prompt,
                guards_question=self._guards_question,
                caches_system=self._caches_system,
            ),
            "inferenceConfig": {k: v for k, v in given.items() if v is not None},
            **self._settings,
        }
        fields = self._fields(options.top_k)
        if fields:
            parameters["additionalModelRequestFields"] = fields
        self._refuse_too_long(prompt, replace(options, max_tokens=max_tokens))
        return parameters

    def _fields(self, top_k: int | None) -> dict[str, Json]:
        if top_k is None:
            return self._request_fields
        make = _TOP_K.get(self._family or "")
        if make is None:
            raise ConfigError(
                f"{self.name} has no known field for top_k; set model_family (allowed: "
                f"{', '.join(MODEL_FAMILIES)}), or give the model's own field in request_fields"
            )
        fields = make(top_k)
        twice = sorted(set(fields) & set(self._request_fields))
        if twice:
            raise ConfigError(f"top_k {top_k} and request_fields both set {', '.join(twice)}")
        return {**self._request_fields, **fields}

    def _refuse_too_long(self, prompt: Prompt, options: GenerationOptions) -> None:
        window = self._context_window
        refuse_too_long(at_least(prompt), options, window)
        # No tokenizer makes more tokens than there are bytes, so most prompts need no count.
        n_template = _TEMPLATE_TOKENS * len(prompt.messages)
        most = len(prompt.text.encode()) + n_template + (options.max_tokens or 1)
        if window is not None and most > window:
            counted = self.count_prompt(prompt)
            # What is only estimated is left to Bedrock, which refuses a prompt for nothing.
            if counted.exact:
                refuse_too_long(counted, options, window)


def _family(model: str) -> str | None:
    base = base_model(model) or ""
    provider, _, name = base.partition(".")
    if provider == "amazon":
        return "nova" if name.startswith("nova") else None
    return provider if provider in _TOP_K else None


def _settings(
    *,
    guardrail: str | None,
    guardrail_version: str | None,
    service_tier: str | None,
    latency: str | None,
    effort: str | None,
    request_metadata: Mapping[str, str] | None,
) -> dict[str, object]:
    """Return the parameters of a call that are the same for each prompt; raises `ConfigError`."""
    _check_choice("service_tier", service_tier, SERVICE_TIERS)
    _check_choice("latency", latency, LATENCIES)
    _check_metadata(request_metadata)
    if effort is not None and not 1 <= len(effort) <= _MOST_EFFORT_CHARACTERS:
        raise ConfigError(f"effort {effort[:40]!r}; allowed: a word of 1 to 16 characters")
    settings: dict[str, object] = {}
    if guardrail:
        settings["guardrailConfig"] = {
            "guardrailIdentifier": guardrail, "guardrailVersion": guardrail_version,
        }  # fmt: skip
    if service_tier:
        settings["serviceTier"] = {"type": service_tier}
    if latency:
        settings["performanceConfig"] = {"latency": latency}
    if effort:
        settings["outputConfig"] = {"effort": effort}
    if request_metadata:
        settings["requestMetadata"] = dict(request_metadata)
    return settings


def _check_options(options: GenerationOptions) -> None:
    """Raise `ConfigError` for what Converse cannot take."""
    _check_least("max_tokens", options.max_tokens)
    _check_least("top_k", options.top_k)
    for name, value in (("temperature", options.temperature), ("top_p", options.top_p)):
        if value is not None and not 0.0 <= value <= 1.0:
            raise ConfigError(f"{name} {value}; allowed in Bedrock: 0 to 1")
    if len(options.stop) > 2500 or not all(options.stop):
        raise ConfigError("stop; allowed in Bedrock: at most 2,500 texts, none of them empty")
    if options.seed is not None:
        raise ConfigError(
            f"seed {options.seed}: Bedrock has no field for it; where the model has one, give it "
            "in request_fields"
        )


def _check_least(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError(f"{name} {value}; allowed: 1 or more")


def _check_choice(name: str, value: str | None, allowed: Sequence[str]) -> None:
    if value is not None and value not in allowed:
        raise ConfigError(f"{name} {value!r}; allowed: {', '.join(allowed)}")


def _check_guardrail(guardrail: str | None, version: str | None, *, question_only: bool) -> None:
    if guardrail is None:
        if version is not None or question_only:
            raise ConfigError("guardrail_version and guard_question_only need a guardrail")
        return
    if not _GUARDRAIL.fullmatch(guardrail):
        raise ConfigError(f"guardrail {guardrail[:100]!r}; allowed: its id or its ARN")
    if not _GUARDRAIL_VERSION.fullmatch(version or ""):
        raise ConfigError(f"guardrail_version {version!r}; allowed: a number such as '1', or DRAFT")


def _check_metadata(metadata: Mapping[str, str] | None) -> None:
    if metadata is None:
        return
    fits = all(k and _METADATA.fullmatch(k) and _METADATA.fullmatch(v) for k, v in metadata.items())
    if not 1 <= len(metadata) <= 16 or not fits:
        raise ConfigError(
            "request_metadata; allowed: 1 to 16 pairs of at most 256 characters each: letters, "
            "digits, white space and :_@$#=/+,.-"
        )
