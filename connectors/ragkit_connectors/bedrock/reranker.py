"""Rerankers of Amazon Bedrock: `bedrock:MODEL`, for example `bedrock:cohere.rerank-v3-5:0`.

Limits: botocore's description of `bedrock-agent-runtime`, operation Rerank.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ragkit.errors import ConfigError, PromptTooLongError, RemoteError
from ragkit.types import Hit
from ragkit_connectors.bedrock.model_ids import check_model
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.json_values import Record, count, number, records

_MOST_SOURCES = 1000
_MOST_CHARACTERS = 32_000


class BedrockReranker:
    """A reranking model of Amazon Bedrock; safe to share between threads.

    Hits come back in the model's order, ranked from 1, with the model's relevance as their score:
    higher is better within one question, but it is no probability and cannot be compared across
    questions or models. Hits without text are left out. A request that failed on the way
    is repeated.

    Args:
        model: Id of a model, or the ARN of one.
        region: AWS region; None takes `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's.
        base_url: Address instead of the public one, for example of a VPC endpoint.
        timeout_seconds: Longest wait for an answer.
        retry_seconds: Time after its start in which a request may be sent again.
        n_results: Hits to keep, 1 to 1000; None keeps all.

    Raises:
        ConfigError: a value cannot be used as given, or no region is known.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        region: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 30.0,
        retry_seconds: float = 20.0,
        n_results: int | None = None,
    ) -> None:
        check_model("reranker", model)
        if n_results is not None and not 1 <= n_results <= _MOST_SOURCES:
            raise ConfigError(f"n_results {n_results}; allowed: 1 to {_MOST_SOURCES}")
        self._client = AwsClient(
            "bedrock-agent-runtime",
            region=region,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
        )
        self.name = f"bedrock:{model}"
        self._arn = _arn(model, self._client.region)
        self._n_results = n_results
        self.fingerprint = fingerprint(
            self.name, arn=self._arn, base_url=base_url, n_results=n_results
        )

    def __repr__(self) -> str:
        """Name the model."""
        return f"BedrockReranker({self.name!r})"

    def rerank(self, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
        """Return hits, best first.

        Raises:
            ConfigError: the question is empty, there are more than 1,000 hits, or credentials are
                missing.
            PromptTooLongError: a text has more than 32,000 characters.
            RemoteError: Bedrock failed, refused or answered something else.
        """
        sent = [hit for hit in hits if hit.chunk.text.strip()]
        if not sent:
            return []
        _check(question, sent)
        ranked = self._ranked(question, sent)
        return [
            replace(sent[index], rank=rank, score=score)
            for rank, (index, score) in enumerate(ranked, start=1)
        ]

    def _ranked(self, question: str, hits: Sequence[Hit]) -> list[tuple[int, float]]:
        """Return (place in `hits`, score), best first, each place once."""
        ranked: dict[int, float] = {}
        for item in self._results(question, hits):
            index, score = count(item.get("index")), number(item.get("relevanceScore"))
            if index is None or index >= len(hits) or index in ranked or score is None:
                raise RemoteError(f"{self.name} ranked something that it was not given")
            ranked[index] = score
        return list(ranked.items())

    def _results(self, question: str, hits: Sequence[Hit]) -> Iterator[Record]:
        texts = [hit.chunk.text for hit in hits]
        call = AwsCall(
            method="rerank", action="bedrock:Rerank (and bedrock:InvokeModel)", about=self.name,
            texts=(question, *texts), shorten="lower chunk_tokens",
        )  # fmt: skip
        # Bedrock refuses a number of results above that of the sources.
        n_results = min(self._n_results or len(hits), len(hits))
        parameters: dict[str, object] = {
            "queries": [{"type": "TEXT", "textQuery": {"text": question}}],
            "sources": [
                {
                    "type": "INLINE",
                    "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}},
                }
                for text in texts
            ],
            "rerankingConfiguration": {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "numberOfResults": n_results,
                    "modelConfiguration": {"modelArn": self._arn},
                },
            },
        }
        n_given = 0
        while True:
            answer = self._client.call(call, parameters)
            results = records(answer.get("results"))
            yield from results
            n_given += len(results)
            token = answer.get("nextToken")
            if not token or not results or n_given >= n_results:
                return
            parameters["nextToken"] = token


def _check(question: str, hits: Sequence[Hit]) -> None:
    if not question.strip():
        raise ConfigError("the question is empty; there is nothing to rank by")
    if len(hits) > _MOST_SOURCES:
        raise ConfigError(f"{len(hits)} hits; Bedrock ranks at most {_MOST_SOURCES}: lower k")
    longest = max(len(question), *(len(hit.chunk.text) for hit in hits))
    if longest > _MOST_CHARACTERS:
        raise PromptTooLongError(
            f"a text to rank has {longest:,} characters, and Bedrock takes {_MOST_CHARACTERS:,}; "
            "lower chunk_tokens"
        )


def _arn(model: str, region: str) -> str:
    if model.startswith("arn:"):
        return model
    partition = next((f"aws-{p}" for p in ("cn", "us-gov") if region.startswith(f"{p}-")), "aws")
    return f"arn:{partition}:bedrock:{region}::foundation-model/{model}"
