"""A question from end to end: found by Kendra, answered behind SageMaker, with its receipt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from ragkit import RAG
from ragkit.config import Settings, load_settings
from ragkit.errors import RemoteError
from ragkit.types import Usage
from ragkit_connectors.bedrock import BedrockGenerator
from ragkit_connectors.kendra import KendraRetriever
from ragkit_connectors.sagemaker import SageMakerGenerator

from .aws_server import AwsFault, AwsServer, Stream

INDEX = "0123abcd-0000-4000-8000-0123456789ab"
QUESTION = "Where is the badge reset?"
SENTENCE = "The badge is reset at the front desk."
PASSAGES = (
    ("handbook", f"Visitors sign in on arrival. {SENTENCE} Bring your passport."),
    ("handbook", "The badge opens the doors of the building. It is printed in colour."),
    ("menu", "The canteen serves soup on Mondays and fish on Fridays."),
)
ANSWER = "The badge is reset at the front desk [1]."


def _found() -> Mapping[str, object]:
    items = [
        {"Id": f"p{i}", "DocumentId": document, "DocumentTitle": document.title(),
         "DocumentURI": f"https://example.org/{document}", "Content": text,
         "ScoreAttributes": {"ScoreConfidence": "HIGH"}}
        for i, (document, text) in enumerate(PASSAGES)
    ]  # fmt: skip
    return {"QueryId": "q", "ResultItems": items}


def _spoken() -> Stream:
    events: list[object] = [
        {"choices": [{"delta": {"content": ANSWER[:20]}}]},
        {"choices": [{"delta": {"content": ANSWER[20:]}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 123, "completion_tokens": 11}},
    ]
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    parts = [data.encode()[i : i + 23] for i in range(0, len(data), 23)]
    return Stream([{"PayloadPart": {"Bytes": part}} for part in parts])


def _said() -> Mapping[str, object]:
    choice = {"message": {"content": ANSWER}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 123, "completion_tokens": 11}
    return {"Body": json.dumps({"choices": [choice], "usage": usage}).encode()}


def _rag(aws: AwsServer, ledger: Path | str) -> RAG:
    return RAG(
        KendraRetriever(INDEX, base_url=aws.url, require_user_context=True),
        generator=SageMakerGenerator("my-endpoint", payload="openai", base_url=aws.url),
        ledger=ledger,
    )


def test_an_answer_is_cited_and_its_cost_is_known(aws: AwsServer, tmp_path: Path) -> None:
    """The answer cites the sentence that it rests on; the receipt holds the container's counts."""
    aws.answer("kendra.Retrieve", _found())
    aws.answer("InvokeEndpoint", _said())
    ledger = tmp_path / "ledger.jsonl"
    with _rag(aws, ledger) as rag:
        answer = rag.ask(QUESTION, groups=["staff"])
    assert answer.text == ANSWER
    assert answer.usage == Usage(input_tokens=123, output_tokens=11, exact=True, counter="server")
    cited = answer.citations[0]
    assert SENTENCE in cited.text
    assert cited.hit.source == "https://example.org/handbook"
    chunk = cited.hit.chunk
    assert chunk.text[cited.start - chunk.start : cited.end - chunk.start] == cited.text
    assert answer.receipt.llm_calls == 1
    assert (answer.receipt.context_tokens or 0) < (answer.receipt.baseline_tokens or 0)
    written = json.loads(ledger.read_text("utf-8"))
    assert written["usage"]["input_tokens"] == 123
    assert written["generator"] == "sagemaker:my-endpoint"
    retrieve, invoke = aws.requests
    assert retrieve.parameters["UserContext"] == {"Groups": ["staff"]}
    sent = json.loads(cast("bytes", invoke.parameters["Body"]))
    assert sent["messages"] == [message.to_dict() for message in answer.messages]
    assert [message.role for message in answer.messages] == ["system", "user"]
    assert SENTENCE in str(answer.prompt)


def test_a_streamed_answer_is_the_same_answer(aws: AwsServer) -> None:
    """Pieces come first, then text, citations and counts as of a whole answer."""
    aws.answer("kendra.Retrieve", _found())
    aws.answer("InvokeEndpointWithResponseStream", _spoken())
    with _rag(aws, "off") as rag:
        stream = rag.stream(QUESTION, groups=["staff"])
        assert "".join(stream) == ANSWER
        answer = stream.answer
    assert (answer.usage.input_tokens, answer.usage.exact) == (123, True)
    assert SENTENCE in answer.citations[0].text


def test_nothing_found_is_a_refusal_without_a_generation(aws: AwsServer, tmp_path: Path) -> None:
    """No passage, no answer, and no call of the model."""
    aws.answer("kendra.Retrieve", {"QueryId": "q", "ResultItems": []})
    with _rag(aws, tmp_path / "ledger.jsonl") as rag:
        answer = rag.ask(QUESTION, groups=["staff"])
    assert (answer.text, answer.refused, answer.reason) == (None, True, "no_hits")
    assert answer.receipt.llm_calls == 0
    assert [request.operation for request in aws.requests] == ["Retrieve"]


def test_a_failed_generation_reaches_the_caller(aws: AwsServer, tmp_path: Path) -> None:
    """An error of the endpoint is the pipeline's error, and is not tried again."""
    aws.answer("kendra.Retrieve", _found())
    members = {"OriginalStatusCode": 500, "OriginalMessage": "CUDA out of memory"}
    aws.answer("InvokeEndpoint", AwsFault("ModelError", members=members))
    with (
        _rag(aws, tmp_path / "ledger.jsonl") as rag,
        pytest.raises(RemoteError, match="CUDA out of memory"),
    ):
        rag.ask(QUESTION, groups=["staff"])
    assert len(aws.requests) == 2


def test_a_settings_file_names_store_and_generator(aws: AwsServer, tmp_path: Path) -> None:
    """The long form in TOML opens the same things as the constructors."""
    file = tmp_path / "ragkit.toml"
    file.write_text(
        f'[store]\ntype = "kendra"\nname = "{INDEX}"\nbase_url = "{aws.url}"\nuser_id = "ann"\n'
        f'[generator]\ntype = "sagemaker"\nmodel = "my-endpoint"\npayload = "openai"\n'
        f'base_url = "{aws.url}"\ntimeout = 5\n',
        "utf-8",
    )
    settings = load_settings(file=file)
    from ragkit.pipeline.opening import open_generator, open_store

    store = open_store(settings.store, settings.store_options)
    generator = open_generator(settings)
    assert isinstance(store, KendraRetriever)
    assert isinstance(generator, SageMakerGenerator)
    aws.answer("kendra.Retrieve", _found())
    aws.answer("InvokeEndpoint", _said())
    with RAG(store, generator=generator, ledger="off") as rag:
        assert rag.ask(QUESTION).text == ANSWER
    assert aws.requests[0].parameters["UserContext"] == {"UserId": "ann"}


@pytest.mark.parametrize(
    ("model", "region", "carbon_known"),
    [("meta.llama3-8b-instruct-v1:0", "eu-west-1", True),
     ("eu.meta.llama3-8b-instruct-v1:0", "eu", True),
     ("moon.meta.llama3-8b-instruct-v1:0", None, False),
     ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc", None, False)],
)  # fmt: skip
def test_a_receipt_says_where_the_model_ran(
    aws: AwsServer, model: str, region: str | None, carbon_known: bool
) -> None:
    """The Region that the generator calls, or the profile that chose among several."""
    aws.answer("kendra.Retrieve", _found())
    message = {"message": {"role": "assistant", "content": [{"text": ANSWER}]}}
    aws.answer("Converse", {
        "output": message, "stopReason": "end_turn", "metrics": {"latencyMs": 5},
        "usage": {"inputTokens": 123, "outputTokens": 11, "totalTokens": 134},
    })  # fmt: skip
    settings = Settings(region="us-east-1", model_billions=8.0)
    with RAG(
        KendraRetriever(INDEX, base_url=aws.url, require_user_context=True),
        generator=BedrockGenerator(model, base_url=aws.url, count_tokens=False),
        config=settings, ledger="off",
    ) as rag:  # fmt: skip
        receipt = rag.ask(QUESTION, groups=["staff"]).receipt
    assert receipt.region == region
    assert receipt.to_dict()["region"] == region
    assert (receipt.carbon_g is not None) == carbon_known
    if receipt.carbon_g is not None and receipt.joules is not None:
        low = receipt.carbon_g.low / receipt.joules.low * 3.6e6
        assert low == pytest.approx(279.79 if region == "eu-west-1" else 15.83)
