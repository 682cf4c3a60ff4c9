"""Embedders behind Amazon SageMaker endpoints: `sagemaker:ENDPOINT`."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeGuard, get_args

from ragkit.costs.metering import meter
from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_connectors.sagemaker.endpoint import (
    MAX_BODY_BYTES,
    Endpoint,
    decode_answer,
    unknown_shape,
)
from ragkit_connectors.support.aws import AwsClient
from ragkit_connectors.support.fingerprints import digest_of
from ragkit_connectors.support.json_values import count, items, record, records
from ragkit_connectors.support.unit_vectors import rows_of, unit_rows

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

EmbedderPayload: TypeAlias = Literal["tei", "openai"]

_BATCH_BYTES = MAX_BODY_BYTES // 2
"""Texts of one embedding request, so that they fit when JSON escapes each character."""


class SageMakerEmbedder:
    """An embedding model behind a SageMaker endpoint; safe to share between threads.

    Vectors are scaled to length 1 here. A text without a visible character is not sent, since
    containers refuse it; it gets a fixed vector.

    Args:
        endpoint: Name of the endpoint.
        payload: What its container is sent: `tei` or `openai`.
        model: Name of the model in the body of `openai` requests, where the container asks for it.
        dim: Length of a vector; None asks the endpoint once, when it is needed.
        revision: Any text that tells this model from another that the endpoint may serve later; it
            becomes part of the fingerprint.
        document_prompt: Text put before each document.
        query_prompt: Text put before each question.
        truncate: Whether the container may cut texts that are too long; otherwise they are errors.
        batch_size: Texts per request, 1 or more; TEI takes 32 by default.
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
        self._endpoint = Endpoint(
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
        """Endpoint, revision, prompts and length; only AWS knows what the endpoint serves."""
        return f"{self._identity} dim={self.dim}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: float32, shape (n, dim), in the order of `texts`.

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
        value = decode_answer(self._client.call(call, request)["Body"])
        # TEI tells its count in a header that SageMaker does not pass on.
        meter().embedded(count(record(record(value).get("usage")).get("prompt_tokens")))
        vectors = _vectors(value) if self._payload == "tei" else _numbered_vectors(value)
        if vectors is None or len(vectors) != len(texts):
            raise unknown_shape(value, self._endpoint.name)
        return vectors


def _vectors(value: object) -> list[list[float]] | None:
    """Return a list of lists of numbers as it is; None for anything else."""
    rows = [row for row in items(value) if _is_vector(row)]
    return rows if rows and len(rows) == len(items(value)) else None


def _is_vector(row: object) -> TypeGuard[list[float]]:
    return bool(items(row)) and all(isinstance(number, float | int) for number in items(row))


def _numbered_vectors(value: object) -> list[list[float]] | None:
    rows = records(record(value).get("data"))
    by_index = {count(row.get("index")): row.get("embedding") for row in rows}
    if by_index.keys() != set(range(len(rows))):
        return None
    return _vectors([by_index[i] for i in range(len(rows))])
