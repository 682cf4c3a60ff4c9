"""Bedrock's rerankers against a fake that checks limits as the service does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import pytest

from ragkit.errors import ConfigError, PromptTooLongError, RemoteError
from ragkit.types import Chunk, Hit
from ragkit_connectors import open_reranker

from .aws_server import AwsFault, AwsServer

pytest.importorskip("boto3")

from ragkit_connectors.bedrock.reranker import BedrockReranker

MODEL = "cohere.rerank-v3-5:0"
Parameters = Mapping[str, object]


def hits(*texts: str) -> list[Hit]:
    """Return hits in order of the texts."""
    return [
        Hit(
            rank=i + 1, score=1.0 - i / 2000, source=f"s{i}",
            chunk=Chunk(
                id=f"c{i}", document_id="d", start=0, end=len(text), text=text, n_tokens=1,
                sentences=(),
            ),
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


def result(index: int, score: float) -> dict[str, object]:
    """Return one result of Rerank."""
    return {"index": index, "relevanceScore": score}


def client(aws: AwsServer, model: str = MODEL, /, **settings: object) -> BedrockReranker:
    """Return a reranker of the fake."""
    given: dict[str, object] = {"timeout_seconds": 5.0, "retry_seconds": 5.0, **settings}
    return cast("Callable[..., BedrockReranker]", BedrockReranker)(model, base_url=aws.url, **given)


def configuration(parameters: Parameters) -> Mapping[str, object]:
    """Return the part of a request that names model and number."""
    given = cast("Mapping[str, Mapping[str, object]]", parameters["rerankingConfiguration"])
    return given["bedrockRerankingConfiguration"]


def test_hits_come_in_the_models_order(aws: AwsServer) -> None:
    """Rank and score are the model's; all else of a hit stays."""
    aws.answer("Rerank", {"results": [result(2, 0.9), result(0, 0.5), result(1, 0.01)]})
    given = hits("one", "two", "three")
    reranker = open_reranker(f"bedrock:{MODEL}", base_url=aws.url)
    ranked = reranker.rerank("which?", given)
    assert [(hit.rank, hit.score, hit.chunk, hit.source) for hit in ranked] == [
        (1, 0.9, given[2].chunk, "s2"), (2, 0.5, given[0].chunk, "s0"),
        (3, 0.01, given[1].chunk, "s1"),
    ]  # fmt: skip
    (request,) = aws.requests
    arn = "arn:aws:bedrock:eu-west-1::foundation-model/cohere.rerank-v3-5:0"
    assert configuration(request.parameters)["modelConfiguration"] == {"modelArn": arn}


def test_no_more_results_are_asked_for_than_there_are_hits(aws: AwsServer) -> None:
    """A number above that of the sources is an error of Bedrock's."""
    aws.answer("Rerank", {"results": [result(0, 0.9)]})
    reranker = client(aws, n_results=10)
    reranker.rerank("q", hits("one", "two"))
    client(aws, n_results=1).rerank("q", hits("one", "two"))
    client(aws).rerank("q", hits("one", "two", "three"))
    numbers = [configuration(request.parameters)["numberOfResults"] for request in aws.requests]
    assert numbers == [2, 1, 3]


def test_nothing_to_rank_is_not_sent(aws: AwsServer) -> None:
    """No hits, or hits without text, give none; blank ones among others are left out."""
    assert client(aws).rerank("q", []) == []
    assert client(aws).rerank("q", hits("", " ")) == []
    assert aws.requests == []
    aws.answer("Rerank", {"results": [result(1, 0.9), result(0, 0.2)]})
    ranked = client(aws).rerank("q", hits("one", " ", "two"))
    assert [hit.chunk.text for hit in ranked] == ["two", "one"]


def test_all_pages_are_read(aws: AwsServer) -> None:
    """Results may come in several answers, joined by a token."""
    aws.answer(
        "Rerank", {"results": [result(1, 0.9)], "nextToken": "t"}, {"results": [result(0, 0.1)]}
    )
    assert [hit.chunk.text for hit in client(aws).rerank("q", hits("a", "b"))] == ["b", "a"]
    assert [request.parameters.get("nextToken") for request in aws.requests] == [None, "t"]


def test_a_token_without_end_ends(aws: AwsServer) -> None:
    """A page without results, or all results, is the last, whatever token it has."""
    aws.answer("Rerank", {"results": [], "nextToken": "t"})
    assert client(aws).rerank("q", hits("a")) == []
    aws.answer("Rerank", {"results": [result(0, 0.5)], "nextToken": "t"})
    assert len(client(aws).rerank("q", hits("a"))) == 1
    assert len(aws.requests) == 2


@pytest.mark.parametrize("results", [[result(2, 0.5)], [result(0, 0.5), result(0, 0.4)]])
def test_a_place_that_was_not_given_is_an_error(
    aws: AwsServer, results: list[dict[str, object]]
) -> None:
    """Neither beyond the end nor twice."""
    aws.answer("Rerank", {"results": results})
    with pytest.raises(RemoteError, match="not given"):
        client(aws).rerank("q", hits("a", "b"))


def test_limits_are_checked_before_anything_is_sent(aws: AwsServer) -> None:
    """1,000 texts of 32,000 characters, and a question."""
    with pytest.raises(ConfigError, match="1001 hits"):
        client(aws).rerank("q", hits(*["x"] * 1001))
    with pytest.raises(ConfigError, match="question is empty"):
        client(aws).rerank(" ", hits("x"))
    with pytest.raises(PromptTooLongError, match="32,001 characters"):
        client(aws).rerank("q", hits("x" * 32_001))
    with pytest.raises(PromptTooLongError, match="32,001 characters"):
        client(aws).rerank("q" * 32_001, hits("x"))
    assert aws.requests == []
    aws.answer("Rerank", {"results": []})
    client(aws).rerank("q" * 32_000, hits(*["x" * 32_000] * 2))


def test_a_throttled_reranker_is_asked_again(aws: AwsServer) -> None:
    """Ranking twice changes nothing."""
    faults = [AwsFault("ThrottlingException"), AwsFault("InternalServerException")]
    aws.answer("Rerank", *faults, {"results": [result(0, 0.5)]})
    assert len(client(aws).rerank("q", hits("a"))) == 1
    assert len(aws.requests) == 3


def test_a_missing_permission_is_named(aws: AwsServer) -> None:
    """Reranking needs an action of its own."""
    aws.answer("Rerank", AwsFault("AccessDeniedException"))
    with pytest.raises(RemoteError, match="bedrock:Rerank"):
        client(aws).rerank("q", hits("a"))


def test_a_model_may_be_an_arn_and_its_partition_follows_the_region(aws: AwsServer) -> None:
    """An ARN is sent as it is; an id becomes one in the region's partition."""
    aws.answer("Rerank", {"results": []})
    arn = "arn:aws:bedrock:us-west-2::foundation-model/amazon.rerank-v1:0"
    client(aws, arn).rerank("q", hits("a"))
    client(aws, MODEL, region="us-gov-west-1").rerank("q", hits("a"))
    sent = [configuration(r.parameters)["modelConfiguration"] for r in aws.requests]
    gov = f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{MODEL}"
    assert sent == [{"modelArn": arn}, {"modelArn": gov}]


@pytest.mark.parametrize("n_results", [0, 1001])
def test_a_number_of_results_is_checked(aws: AwsServer, n_results: int) -> None:
    """The error names the setting and what is allowed."""
    with pytest.raises(ConfigError, match="n_results"):
        client(aws, MODEL, n_results=n_results)
