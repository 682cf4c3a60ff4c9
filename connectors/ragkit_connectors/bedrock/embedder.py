"""Embedders of Amazon Bedrock: `bedrock:MODEL`, for Titan V2, Cohere v3 and v4, and Nova.

Bodies and their limits: Amazon Bedrock user guide, "Amazon Titan Embeddings Text" and "Cohere
Embed and Cohere Embed v4 models"; Amazon Nova user guide, "Complete embeddings request and
response schema". Models that take a purpose are told whether a text is a document or a question:
vectors of the wrong purpose find less, silently.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ragkit.costs.metering import meter
from ragkit.errors import ConfigError, MissingExtraError, PromptTooLongError, RemoteError
from ragkit.types import Json
from ragkit_connectors.bedrock.model_ids import base_model, check_model
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.fingerprints import digest_of
from ragkit_connectors.support.json_values import (
    Record,
    count,
    decode_value,
    is_list,
    record,
    records,
    text,
)
from ragkit_connectors.support.unit_vectors import rows_of, unit_rows

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

_Body: TypeAlias = dict[str, Json]

_BATCH_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """How to talk to models of one kind.

    Attributes:
        body: Makes the request of texts, purpose and length of a vector.
        rows: Reads the vectors out of an answer.
        document: Purpose of a document; empty where the model knows none.
        query: Purpose of a question.
        dims: Lengths of a vector that the model can give.
        most_texts: Texts per request.
        most_characters: Characters per text; None leaves it to the service.
    """

    body: Callable[[Sequence[str], str, int], _Body]
    rows: Callable[[Record], object]
    document: str
    query: str
    dims: tuple[int, ...]
    most_texts: int = 1
    most_characters: int | None = None

    @property
    def scheme(self) -> str:
        return f"{self.document}/{self.query}"


def _titan(texts: Sequence[str], _: str, dim: int) -> _Body:
    return {
        "inputText": texts[0], "dimensions": dim, "normalize": True, "embeddingTypes": ["float"],
    }  # fmt: skip


def _cohere_v3(texts: Sequence[str], purpose: str, _: int) -> _Body:
    # NONE: a text that is too long is an error, and not a vector of its first half.
    return {
        "texts": list(texts), "input_type": purpose, "truncate": "NONE",
        "embedding_types": ["float"],
    }  # fmt: skip


def _cohere_v4(texts: Sequence[str], purpose: str, dim: int) -> _Body:
    return {**_cohere_v3(texts, purpose, dim), "output_dimension": dim}


def _cohere_rows(answer: Record) -> object:
    # A list, or lists by type where types were asked for: models differ.
    embeddings = answer.get("embeddings")
    return embeddings if is_list(embeddings) else record(embeddings).get("float")


def _nova(texts: Sequence[str], purpose: str, dim: int) -> _Body:
    return {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": purpose,
            "embeddingDimension": dim,
            "text": {"truncationMode": "NONE", "value": texts[0]},
        },
    }


def _nova_rows(answer: Record) -> object:
    return [item.get("embedding") for item in records(answer.get("embeddings"))]


_FAMILIES = {
    "titan": _Family(
        body=_titan, rows=lambda answer: [answer.get("embedding")], document="", query="",
        dims=(1024, 512, 256),
    ),
    "cohere-v3": _Family(
        body=_cohere_v3, rows=_cohere_rows, document="search_document", query="search_query",
        dims=(1024,), most_texts=96, most_characters=2048,
    ),
    "cohere-v4": _Family(
        body=_cohere_v4, rows=_cohere_rows, document="search_document", query="search_query",
        dims=(1536, 1024, 512, 256), most_texts=96,
    ),
    "nova": _Family(
        body=_nova, rows=_nova_rows, document="GENERIC_INDEX", query="TEXT_RETRIEVAL",
        dims=(3072, 1024, 384, 256),
    ),
}  # fmt: skip

_BEGINNINGS = (
    ("amazon.titan-embed-text-v2", "titan"), ("cohere.embed-v4", "cohere-v4"),
    ("cohere.embed-english-v3", "cohere-v3"), ("cohere.embed-multilingual-v3", "cohere-v3"),
    ("amazon.nova-2-multimodal-embeddings", "nova"),
)  # fmt: skip


class BedrockEmbedder:
    """An embedding model of Amazon Bedrock; safe to share between threads.

    Titan and Nova take one text per request, so many requests run at once; while Bedrock throttles,
    fewer do, for all threads that share the embedder. Requests that failed on the way are repeated:
    embedding a text twice costs next to nothing and changes nothing. Blank texts are not sent.

    Args:
        model: Id of a model, of an inference profile, or an ARN of one of Bedrock's.
        region: AWS region; None takes `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's.
        base_url: Address instead of the public one, for example of a VPC endpoint.
        dimensions: Length of a vector: Titan 256, 512 or 1024; Cohere v3 1024; Cohere v4 256, 512,
            1024 or 1536; Nova 256, 384, 1024 or 3072.
        model_family: `titan`, `cohere-v3`, `cohere-v4` or `nova`; None reads it from the name.
        timeout_seconds: Longest wait for an answer.
        retry_seconds: Time after its start in which a request may be sent again.
        n_threads: Requests at once, 1 to 256.

    Raises:
        ConfigError: a value cannot be used as given, or no region is known.
        MissingExtraError: boto3 or numpy is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        region: str | None = None,
        base_url: str | None = None,
        dimensions: int = 1024,
        model_family: str | None = None,
        timeout_seconds: float = 30.0,
        retry_seconds: float = 60.0,
        n_threads: int = 8,
    ) -> None:
        check_model("embedder", model)
        if importlib.util.find_spec("numpy") is None:
            raise MissingExtraError("numpy", extra="local")
        self._family = _FAMILIES[_family_name(model, model_family)]
        if dimensions not in self._family.dims:
            allowed = ", ".join(map(str, sorted(self._family.dims)))
            raise ConfigError(f"dimensions {dimensions}; allowed for this model: {allowed}")
        self._client = AwsClient(
            "bedrock-runtime",
            region=region,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
            n_threads=n_threads,
        )
        self.name = f"bedrock:{model}"
        self.dim = dimensions
        self.fingerprint = (
            f"bedrock {base_model(model) or model} dim={dimensions} purposes={self._family.scheme}"
        )
        self.variant = digest_of(
            model=model,
            model_family=_family_name(model, model_family),
            region=self._client.region,
            base_url=base_url,
        )
        self._model = model
        self._n_threads = n_threads

    def __repr__(self) -> str:
        """Name model and length of a vector."""
        return f"BedrockEmbedder({self._model!r}, dim={self.dim})"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text: float32, shape (n, dim), in the order of `texts`.

        Raises:
            ConfigError: credentials are missing.
            PromptTooLongError: a text is longer than the model reads; nothing is ever truncated.
            RemoteError: Bedrock failed, refused or gave something that is no vector.
        """
        return self._embed(texts, self._family.document)

    def embed_query(self, text: str) -> Vector:
        """Return the unit vector of a question: float32, shape (dim,). Raises as documents do."""
        vector: Vector = self._embed([text], self._family.query)[0]
        return vector

    def _embed(self, texts: Sequence[str], purpose: str) -> Vectors:
        self._refuse_too_long(texts)
        return rows_of(
            texts,
            lambda batch: self._ask(batch, purpose),
            lambda: self.dim,
            most_texts=self._family.most_texts,
            most_bytes=_BATCH_BYTES,
            n_threads=self._n_threads,
        )

    def _refuse_too_long(self, texts: Sequence[str]) -> None:
        most = self._family.most_characters
        longest = max(map(len, texts), default=0)
        if most is not None and longest > most:
            raise PromptTooLongError(
                f"{self.name}: a text has {longest:,} characters, and the model reads {most:,}; "
                "lower chunk_tokens"
            )

    def _ask(self, texts: Sequence[str], purpose: str) -> Vectors:
        call = AwsCall(
            method="invoke_model", action="bedrock:InvokeModel", about=self.name, texts=texts,
            shorten="lower chunk_tokens",
        )  # fmt: skip
        sent = json.dumps(self._family.body(texts, purpose, self.dim), ensure_ascii=False)
        answer = self._client.call(
            call,
            {
                "modelId": self._model,
                "body": sent.encode("utf-8", "replace"),
                "contentType": "application/json",
                "accept": "application/json",
            },
        )
        body = record(decode_value(answer.get("body"), f"{self.name}: the answer"))
        meter().embedded(_tokens(answer, body))
        rows = self._family.rows(body)
        if not is_list(rows) or len(rows) != len(texts):
            raise RemoteError(f"{self.name} did not give one vector for each of {len(texts)} texts")
        return unit_rows(rows, dim=self.dim, name=self.name)


def _tokens(answer: Record, body: Record) -> int | None:
    """Return how many tokens were read: Titan says it, Bedrock in a header; None: unknown."""
    told = count(body.get("inputTextTokenCount"))
    if told is not None:
        return told
    headers = record(record(answer.get("ResponseMetadata")).get("HTTPHeaders"))
    header = text(headers.get("x-amzn-bedrock-input-token-count"))
    return int(header) if header.isascii() and header.isdigit() and len(header) < 16 else None


def _family_name(model: str, given: str | None) -> str:
    if given is not None:
        if given not in _FAMILIES:
            raise ConfigError(f"model_family {given!r}; allowed: {', '.join(_FAMILIES)}")
        return given
    base = base_model(model) or ""
    found = next((name for begin, name in _BEGINNINGS if base.startswith(begin)), None)
    if found is None:
        raise ConfigError(
            f"how bedrock:{model} takes texts cannot be told from its name; set model_family, "
            f"allowed: {', '.join(_FAMILIES)}"
        )
    return found
