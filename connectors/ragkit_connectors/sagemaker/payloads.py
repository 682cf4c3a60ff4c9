"""What containers are sent and how they answer: OpenAI's chat interface, TGI and DJL LMI.

Names of fields: OpenAI API reference, "Create chat completion"; Text Generation Inference,
router/src/lib.rs and validation.rs; DJL Serving, "LMI handlers Inference API Schema".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ragkit.errors import ConfigError, RemoteError
from ragkit.types import GenerationOptions, Json, Usage
from ragkit_connectors.support.json_values import (
    Record,
    count,
    first_record,
    is_list,
    record,
    text,
    text_or_none,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A whole answer, or one event of a stream."""

    text: str = ""
    stop_reason: str | None = None
    usage: Usage | None = None


class Payload(Protocol):
    """What one kind of container is sent, and how its answers are read."""

    has_template: bool

    def body(self, prompt: str, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        """Return what to send; raises `ConfigError`."""
        ...

    def whole(self, value: object) -> Part | None:
        """Read an answer; None where it has another schema."""
        ...

    def event(self, value: object) -> Part | None:
        """Read one event of a stream; None where it has another schema."""
        ...


class Chat:
    """The chat interface of OpenAI."""

    has_template = True

    def __init__(self, model: str | None) -> None:
        self._model = model

    def body(self, prompt: str, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        """Return what to send."""
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

    def whole(self, value: object) -> Part | None:
        """Read an answer."""
        choice = first_record(record(value).get("choices"))
        content = record(choice.get("message")).get("content")
        return self._part(value, choice, content) if isinstance(content, str) else None

    def event(self, value: object) -> Part | None:
        """Read one event of a stream."""
        choices = record(value).get("choices")
        if not is_list(choices):
            return None
        choice = first_record(choices)
        if "message" in choice:
            return None
        return self._part(value, choice, record(choice.get("delta")).get("content"))

    def _part(self, value: object, choice: Record, content: object) -> Part:
        counts = record(record(value).get("usage"))
        details = record(counts.get("prompt_tokens_details"))
        usage = _usage(
            count(counts.get("prompt_tokens")),
            count(counts.get("completion_tokens")),
            count(details.get("cached_tokens")),
        )
        reason = text_or_none(choice.get("finish_reason"))
        return Part(text=text(content), stop_reason=reason, usage=usage)


class TextGeneration:
    """TGI (Text Generation Inference), and DJL LMI, whose schema is similar."""

    has_template = False

    def __init__(self, *, is_tgi: bool) -> None:
        self._stop = "stop" if is_tgi else "stop_sequences"

    def body(self, prompt: str, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        """Return what to send; raises `ConfigError` for a negative seed."""
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

    def whole(self, value: object) -> Part | None:
        """Read an answer; LMI puts it into a list."""
        answer = first_record(value) if is_list(value) else record(value)
        generated = answer.get("generated_text")
        return self._part(answer, generated) if isinstance(generated, str) else None

    def event(self, value: object) -> Part | None:
        """Read one event of a stream."""
        token = record(record(value).get("token"))
        if not token:
            return None
        is_special = token.get("special") or token.get("special_token")
        return self._part(record(value), "" if is_special else token.get("text"))

    def _part(self, answer: Record, content: object) -> Part:
        details = record(answer.get("details"))
        # LMI spells it with a space in whole answers.
        reason = details.get("finish_reason", details.get("finish reason"))
        if reason == "error":
            raise RemoteError(
                "the container failed while it generated; its log in CloudWatch says why, and "
                "often it is an option or a prompt that is too long"
            )
        return Part(
            text=text(content),
            stop_reason=text_or_none(reason),
            usage=_usage(
                count(details.get("input_length")), count(details.get("generated_tokens"))
            ),
        )


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
