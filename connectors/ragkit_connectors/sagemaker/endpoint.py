"""What is common to all calls of a SageMaker endpoint.

Limits: Amazon SageMaker Runtime API reference, "InvokeEndpoint".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ragkit.errors import ConfigError, PromptTooLongError, RemoteError
from ragkit.types import Json
from ragkit_connectors.support.aws import AwsCall
from ragkit_connectors.support.json_values import decode_value, is_list, is_record

MAX_BODY_BYTES = 6_291_456
"""Size of a request (InvokeEndpoint, Body)."""

_ENDPOINT = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_COMPONENT = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_SHAPE_BYTES = 200


class Endpoint:
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


def decode_answer(data: object) -> object:
    """Return the value of a container's JSON; raises `RemoteError`."""
    return decode_value(data, "the container's answer")


def unknown_shape(value: object, endpoint: str) -> RemoteError:
    """Say what an answer looks like, by names and types alone: its values may repeat a prompt."""
    return RemoteError(
        f"endpoint {endpoint} answers in another schema than that of payload; it answered "
        f"{_shape(value)[:_SHAPE_BYTES]}"
    )


def _shape(value: object, depth: int = 3) -> str:
    if is_record(value):
        inner = ", ".join(f"{key}: {_shape(v, depth - 1)}" for key, v in value.items())
        return "{" + (inner if depth else "…") + "}"
    if is_list(value):
        return f"[{_shape(value[0], depth - 1)}]" if value and depth else "[]"
    return {"str": "text", "bool": "true or false", "NoneType": "null"}.get(
        type(value).__name__, "number"
    )
