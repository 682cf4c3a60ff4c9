"""What containers are sent and how they answer: OpenAI's chat interface, TGI and DJL LMI.

Names of fields: OpenAI API reference, "Create chat completion"; Text Generation Inference,
router/src/lib.rs and validation.rs; DJL Serving, "LMI handlers Inference API Schema".
"""

from __future__ import annotations

from typing import Protocol

from ragkit.errors import ConfigError, RemoteError
from ragkit.types import GenerationOptions, Json, Prompt, Usage
from ragkit_connectors.support.chat import gather_event, gather_whole
from ragkit_connectors.support.gathering import Gathered
from ragkit_connectors.support.json_values import (
    Record,
    count,
    first_record,
    is_list,
    record,
    text,
    text_or_none,
)
from ragkit_connectors.support.messages import SystemRole, as_records, as_text


class Payload(Protocol):
    """What one kind of container is sent, and how its answers are read."""

    has_template: bool

    def body(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
        """Return what to send; raises `ConfigError`."""
        ...

    def whole(self, value: object, gathered: Gathered) -> str | None:
        """Add an answer, and return its text; None where it has another schema."""
        ...

    def event(self, value: object, gathered: Gathered) -> str | None:
        """Add one event of a stream, and return its text; None where it has another schema."""
        ...


class Chat:
    """The chat interface of OpenAI."""

    has_template = True

    def __init__(self, model: str | None, system_role: SystemRole) -> None:
        self._model = model
        self._system_role: SystemRole = system_role

    def body(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
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
            "messages": as_records(prompt.messages, self._system_role),
            **{key: value for key, value in given.items() if value is not None},
        }
        if stream:
            body.update(stream=True, stream_options={"include_usage": True})
        return body

    def whole(self, value: object, gathered: Gathered) -> str | None:
        """Add an answer."""
        return gather_whole(gathered, record(value))

    def event(self, value: object, gathered: Gathered) -> str | None:
        """Add one event of a stream."""
        choices = record(value).get("choices")
        if not is_list(choices) or "message" in first_record(choices):
            return None
        return gather_event(gathered, record(value))


class TextGeneration:
    """TGI (Text Generation Inference), and DJL LMI, whose schema is similar."""

    has_template = False

    def __init__(self, *, is_tgi: bool) -> None:
        self._stop = "stop" if is_tgi else "stop_sequences"

    def body(self, prompt: Prompt, options: GenerationOptions, *, stream: bool) -> dict[str, Json]:
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
            "inputs": as_text(prompt.messages),
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

    def whole(self, value: object, gathered: Gathered) -> str | None:
        """Add an answer; LMI puts it into a list."""
        answer = first_record(value) if is_list(value) else record(value)
        generated = answer.get("generated_text")
        return self._gather(gathered, answer, generated) if isinstance(generated, str) else None

    def event(self, value: object, gathered: Gathered) -> str | None:
        """Add one event of a stream."""
        token = record(record(value).get("token"))
        if not token:
            return None
        is_special = token.get("special") or token.get("special_token")
        return self._gather(gathered, record(value), "" if is_special else token.get("text"))

    def _gather(self, gathered: Gathered, answer: Record, content: object) -> str:
        details = record(answer.get("details"))
        # LMI spells it with a space in whole answers.
        reason = details.get("finish_reason", details.get("finish reason"))
        gathered.stop_reason = text_or_none(reason) or gathered.stop_reason
        gathered.usage = _usage(details) or gathered.usage
        piece = gathered.add(text(content))
        if reason == "error":
            raise RemoteError(
                "the container failed while it generated; its log in CloudWatch says why, and "
                "often it is an option or a prompt that is too long"
            )
        return piece


def _usage(details: Record) -> Usage | None:
    n_input, n_output = count(details.get("input_length")), count(details.get("generated_tokens"))
    if n_input is None and n_output is None:
        return None
    return Usage(input_tokens=n_input, output_tokens=n_output, exact=True, counter="server")
