"""The Knowledge Bases retriever against a server that speaks as Bedrock does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import pytest

from ragkit import RAG
from ragkit.costs.metering import Meter
from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.types import Json, Location, Query
from ragkit_connectors import open_store
from ragkit_connectors.bedrock.knowledge_base import KnowledgeBaseRetriever
from ragkit_connectors.testing import RetrieverContract
from ragkit_connectors.testing.serving import unused_url

from .aws_server import AwsFault, AwsServer, Slow

ID = "KB12345678"
RETRIEVE = "bedrock-agent-runtime.Retrieve"
QUERY = Query(question="Where is the badge reset?", k=5)
RERANKER = "arn:aws:bedrock:eu-west-1::foundation-model/amazon.rerank-v1:0"


def _base(server: AwsServer, **settings: object) -> KnowledgeBaseRetriever:
    given = {"base_url": server.url, "retry_seconds": 5.0}
    opened = open_store(f"bedrock-kb:{ID}", **{**given, **settings})
    assert isinstance(opened, KnowledgeBaseRetriever)
    return opened


def _result(text: str, score: float | None = 0.5, **more: object) -> Mapping[str, object]:
    result: dict[str, object] = {"content": {"type": "TEXT", "text": text}}
    if score is not None:
        result["score"] = score
    result["location"] = {"type": "S3", "s3Location": {"uri": "s3://bucket/badges.pdf"}}
    return {**result, **more}


def _answer(*results: Mapping[str, object], **more: object) -> Mapping[str, object]:
    return {"retrievalResults": list(results), **more}


def _search(server: AwsServer, number: int = -1) -> Mapping[str, object]:
    configuration = server.requests[number].parameters["retrievalConfiguration"]
    ((_, search),) = cast("Mapping[str, Mapping[str, object]]", configuration).items()
    return search


def test_results_become_hits_in_order_of_score(aws: AwsServer) -> None:
    """Text, score, address and metadata arrive; the best comes first."""
    aws.answer(
        RETRIEVE, _answer(_result("Low.", 0.1), _result("High.", 0.9, metadata={"team": "desk"}))
    )
    hits = _base(aws).search(QUERY)
    assert [(hit.rank, hit.score, hit.chunk.text) for hit in hits] == [
        (1, 0.9, "High."), (2, 0.1, "Low."),
    ]  # fmt: skip
    assert hits[0].source == hits[0].chunk.document_id == "s3://bucket/badges.pdf"
    assert hits[0].metadata == {"team": "desk"}
    assert aws.requests[0].parameters == {
        "knowledgeBaseId": ID,
        "retrievalQuery": {"text": QUERY.question},
        "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 5}},
    }


def test_a_missing_score_leaves_the_order(aws: AwsServer) -> None:
    """Some vector stores give no score; then the order is all that is known."""
    aws.answer(RETRIEVE, _answer(_result("First.", None), _result("Second.", 0.9)))
    hits = _base(aws).search(QUERY)
    assert [(hit.chunk.text, hit.score) for hit in hits] == [("First.", 1.0), ("Second.", 0.5)]


def test_what_bedrock_knows_of_a_chunk_is_used(aws: AwsServer) -> None:
    """Document, chunk and page are read from Bedrock's own metadata."""
    metadata = {
        "x-amz-bedrock-kb-source-uri": "s3://bucket/other.pdf",
        "x-amz-bedrock-kb-document-page-number": 4.0,
        "x-amz-bedrock-kb-chunk-id": "c-1",
        "title": "Badges",
    }
    bare = {"content": {"text": "Same."}, "score": 0.5}
    other = {**metadata, "x-amz-bedrock-kb-chunk-id": "c-2"}
    aws.answer(
        RETRIEVE,
        _answer({**bare, "metadata": metadata}, {**bare, "metadata": other}),
        _answer(_result("X.", documentId="doc-7")),
    )
    base = _base(aws)
    first, second = base.search(QUERY)
    assert first.chunk.document_id == first.source == "s3://bucket/other.pdf"
    assert first.chunk.location() == Location(page=4)
    assert first.title == "Badges"
    assert first.chunk.id != second.chunk.id
    assert base.search(QUERY)[0].chunk.document_id == "doc-7"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ({"type": "S3", "s3Location": {"uri": "s3://b/k"}}, "s3://b/k"),
        ({"type": "WEB", "webLocation": {"url": "https://e.org"}}, "https://e.org"),
        ({"type": "CONFLUENCE", "confluenceLocation": {"url": "https://c"}}, "https://c"),
        ({"type": "SALESFORCE", "salesforceLocation": {"url": "https://f"}}, "https://f"),
        ({"type": "SHAREPOINT", "sharePointLocation": {"url": "https://s"}}, "https://s"),
        ({"type": "ONEDRIVE", "oneDriveLocation": {"url": "https://o"}}, "https://o"),
        ({"type": "GOOGLEDRIVE", "googleDriveLocation": {"url": "https://g"}}, "https://g"),
        ({"type": "KENDRA", "kendraDocumentLocation": {"uri": "https://k"}}, "https://k"),
        ({"type": "CUSTOM", "customDocumentLocation": {"id": "doc-1"}}, "doc-1"),
        ({"type": "SQL", "sqlLocation": {"query": "SELECT 1"}}, "SELECT 1"),
    ],
)
def test_each_kind_of_location_gives_a_source(
    aws: AwsServer, location: Mapping[str, object], expected: str
) -> None:
    """Wherever a knowledge base reads from, the hit says where it comes from."""
    aws.answer(RETRIEVE, _answer(_result("X.", location=location)))
    assert _base(aws).search(QUERY)[0].source == expected


def test_a_result_without_any_address_still_has_a_document(aws: AwsServer) -> None:
    """A citation needs something to name."""
    aws.answer(RETRIEVE, _answer({"content": {"text": "X."}}))
    hit = _base(aws).search(QUERY)[0]
    assert (hit.source, hit.chunk.document_id) == ("", f"bedrock-kb:{ID}")


def test_results_that_are_no_text_are_rendered_or_left_out(aws: AwsServer) -> None:
    """Rows, sound and film have words; a picture has none."""
    contents: Sequence[Mapping[str, object]] = [
        {"type": "IMAGE", "byteContent": "data:image/png;base64,AAAA"},
        {"type": "ROW", "row": [
            {"columnName": "floor", "columnValue": "1", "type": "LONG"},
            {"columnName": "desk", "columnValue": "front", "type": "STRING"},
        ]},
        {"type": "AUDIO", "audio": {"s3Uri": "s3://b/a.mp3", "transcription": "Spoken."}},
        {"type": "VIDEO", "video": {"s3Uri": "s3://b/v.mp4", "summary": "Seen."}},
        {"text": "No type."},
    ]  # fmt: skip
    aws.answer(RETRIEVE, _answer(*({"content": content} for content in contents)))
    hits = _base(aws).search(QUERY)
    assert [(hit.chunk.text, hit.metadata.get("bedrock-kb:type")) for hit in hits] == [
        ("floor: 1\ndesk: front", "ROW"), ("Spoken.", "AUDIO"), ("Seen.", "VIDEO"),
        ("No type.", None),
    ]  # fmt: skip


def test_k_bounds_the_hits(aws: AwsServer) -> None:
    """No more than `k` come back, even where Bedrock sends more."""
    aws.answer(RETRIEVE, _answer(*(_result(f"{i}.") for i in range(9))))
    assert len(_base(aws).search(replace(QUERY, k=3))) == 3


def test_pages_are_read_until_there_is_enough(aws: AwsServer) -> None:
    """A token asks for the next page; a page that is not needed is not asked for."""
    pages = [
        _answer(*(_result(f"{page}-{i}.") for i in range(2)), nextToken=f"t{page}")
        for page in range(3)
    ]
    aws.answer(RETRIEVE, *pages, _answer())
    assert len(_base(aws).search(QUERY)) == 5
    assert [request.parameters.get("nextToken") for request in aws.requests] == [None, "t0", "t1"]
    aws.answer(RETRIEVE, _answer(_result("Only."), nextToken="t"), _answer())
    assert len(_base(aws).search(QUERY)) == 1


def test_pages_without_end_are_given_up(aws: AwsServer) -> None:
    """A service that always promises more does not keep the caller."""
    aws.answer(RETRIEVE, _answer(_result("Same."), nextToken="t"))
    assert len(_base(aws).search(replace(QUERY, k=100))) == 1
    assert len(aws.requests) < 50


def test_nothing_found_is_no_error(aws: AwsServer) -> None:
    """An empty answer gives no hits."""
    aws.answer(RETRIEVE, _answer())
    assert list(_base(aws).search(QUERY)) == []


def test_a_blank_question_asks_nothing(aws: AwsServer) -> None:
    """Nothing is asked where there is nothing to ask."""
    assert list(_base(aws).search(replace(QUERY, question=" "))) == []
    assert aws.requests == []


@pytest.mark.parametrize(
    ("mode", "expected"), [("dense", "SEMANTIC"), ("hybrid", "HYBRID"), (None, None)]
)
def test_the_mode_is_sent_only_when_asked_for(
    aws: AwsServer, mode: str | None, expected: str | None
) -> None:
    """Without a mode Bedrock chooses, since not every vector store can do both."""
    aws.answer(RETRIEVE, _answer())
    _base(aws).search(replace(QUERY, mode=mode))  # type: ignore[arg-type]
    assert _search(aws).get("overrideSearchType") == expected


def test_a_managed_knowledge_base_is_asked_as_such(aws: AwsServer) -> None:
    """Managed search has a configuration of its own, without a mode."""
    aws.answer(RETRIEVE, _answer())
    base = _base(aws, managed=True, reranker_arn=RERANKER)
    base.search(replace(QUERY, filters={"a": 1}))
    configuration = aws.requests[0].parameters["retrievalConfiguration"]
    assert cast("Mapping[str, Mapping[str, object]]", configuration).keys() == {
        "managedSearchConfiguration"
    }
    assert _search(aws)["rerankingModelType"] == "CUSTOM"
    assert _search(aws)["filter"] == {"equals": {"key": "a", "value": 1}}
    with pytest.raises(ConfigError, match="managed"):
        base.search(replace(QUERY, mode="hybrid"))


def test_a_reranker_chooses_from_more_candidates(aws: AwsServer) -> None:
    """More results are retrieved than are kept after reranking."""
    aws.answer(RETRIEVE, _answer())
    _base(aws, reranker_arn=RERANKER, candidates=40).search(QUERY)
    _base(aws, reranker_arn=RERANKER).search(QUERY)
    first, second = _search(aws, 0), _search(aws, 1)
    assert (first["numberOfResults"], second["numberOfResults"]) == (40, 5)
    assert first["rerankingConfiguration"] == {
        "type": "BEDROCK_RERANKING_MODEL",
        "bedrockRerankingConfiguration": {
            "modelConfiguration": {"modelArn": RERANKER},
            "numberOfRerankedResults": 5,
        },
    }


def test_user_and_guardrail_are_sent(aws: AwsServer) -> None:
    """What is configured once goes with each request."""
    aws.answer(RETRIEVE, _answer())
    _base(aws, user_id="ann", guardrail_id="gr1", guardrail_version="3").search(QUERY)
    asked = aws.requests[0].parameters
    assert asked["userContext"] == {"userId": "ann"}
    assert asked["guardrailConfiguration"] == {"guardrailId": "gr1", "guardrailVersion": "3"}


@pytest.mark.parametrize("question", ["How do I reset my badge?", "What does code E-417 mean?"])
def test_what_a_guardrail_blocks_is_not_called_nothing(aws: AwsServer, question: str) -> None:
    """A refusal says that the guardrail intervened, where it left nothing; else there are hits."""
    aws.answer(RETRIEVE, _answer(guardrailAction="INTERVENED"))
    with RAG(_base(aws, guardrail_id="gr1"), generator="extractive", ledger="off") as rag:
        answer = rag.ask(question)
        assert not rag.search(question)
        assert (answer.refused, answer.reason, answer.receipt.llm_calls) == (True, "guardrail", 0)
        assert answer.to_dict()["reason"] == "guardrail"
        aws.answer(RETRIEVE, _answer(_result("The badge."), guardrailAction="INTERVENED"))
        assert rag.search(question)
        aws.answer(RETRIEVE, _answer(guardrailAction="NONE"))
        assert rag.ask(question).reason == "no_hits"


# --- filters and readers ---------------------------------------------------------------------


def _test(operator: str, key: str, value: object) -> Mapping[str, object]:
    return {operator: {"key": key, "value": value}}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"team": "desk"}, _test("equals", "team", "desk")),
        ({"open": False}, _test("equals", "open", False)),
        ({"year": {"$ne": 2025}}, _test("notEquals", "year", 2025)),
        ({"year": {"$in": [2025, 2026]}}, _test("in", "year", [2025, 2026])),
        (
            {"year": {"$nin": [1, 2]}},
            {"andAll": [_test("notEquals", "year", 1), _test("notEquals", "year", 2)]},
        ),
        ({"year": {"$nin": [1]}}, _test("notEquals", "year", 1)),
        (
            {"year": {"$gt": 1, "$gte": 2, "$lt": 3, "$lte": 4}},
            {
                "andAll": [
                    _test("greaterThan", "year", 1),
                    _test("greaterThanOrEquals", "year", 2),
                    _test("lessThan", "year", 3),
                    _test("lessThanOrEquals", "year", 4),
                ]
            },
        ),
        ({"tags": "a"}, _test("listContains", "tags", "a")),
        ({"tags": {"$in": ["a"]}}, _test("listContains", "tags", "a")),
        (
            {"tags": {"$in": ["a", "b"]}, "team": "desk"},
            {
                "andAll": [
                    {"orAll": [_test("listContains", "tags", tag) for tag in "ab"]},
                    _test("equals", "team", "desk"),
                ]
            },
        ),
    ],
)
def test_a_filter_keeps_its_meaning(
    aws: AwsServer, filters: Mapping[str, Json], expected: Mapping[str, object]
) -> None:
    """Each operator becomes Bedrock's own; one condition alone must not be wrapped."""
    aws.answer(RETRIEVE, _answer())
    _base(aws, list_fields=["tags"]).search(replace(QUERY, filters=filters))
    assert _search(aws)["filter"] == expected


@pytest.mark.parametrize("filters", [None, {}, {"team": {"$nin": []}}])
def test_a_filter_that_all_pass_is_not_sent(
    aws: AwsServer, filters: Mapping[str, Json] | None
) -> None:
    """An empty filter is no filter."""
    aws.answer(RETRIEVE, _answer())
    _base(aws).search(replace(QUERY, filters=filters))
    assert "filter" not in _search(aws)


def test_a_filter_that_none_pass_finds_nothing(aws: AwsServer) -> None:
    """No value is in an empty list, so nothing is asked."""
    assert list(_base(aws).search(replace(QUERY, filters={"team": {"$in": []}}))) == []
    assert aws.requests == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"a": {"$exists": True}}, r"no \$exists here; it has \$eq \$in"),
        ({"a": {"$like": "x"}}, "unknown operator"),
        ({"a": {"$gt": "x"}}, r"no \$gt here"),
        ({"a": None}, "no null"),
        ({"a": {"$in": [None]}}, "no null"),
        ({"tags": {"$ne": "x"}}, r"no \$ne here"),
        ({"tags": {"$gt": 1}}, r"no \$gt here"),
        ({"x" * 101: 1}, "names of 1 to 100"),
        ({"": 1}, "names of 1 to 100"),
    ],
)
def test_what_a_knowledge_base_cannot_filter_by_is_refused(
    aws: AwsServer, filters: Mapping[str, Json], expected: str
) -> None:
    """Nothing is sent, and the error says what there is instead."""
    with pytest.raises(ConfigError, match=expected):
        _base(aws, list_fields=["tags"]).search(replace(QUERY, filters=filters))
    assert aws.requests == []


def test_groups_are_a_filter_on_the_field_that_lists_them(aws: AwsServer) -> None:
    """A reader sees what any of their groups may see, within the filter that was given."""
    aws.answer(RETRIEVE, _answer())
    base = _base(aws, groups_field="groups")
    base.search(replace(QUERY, groups=("staff",)))
    base.search(replace(QUERY, groups=("a", "b"), filters={"team": "desk"}))
    assert _search(aws, 0)["filter"] == _test("listContains", "groups", "staff")
    assert _search(aws, 1)["filter"] == {
        "andAll": [
            {"orAll": [_test("listContains", "groups", group) for group in "ab"]},
            _test("equals", "team", "desk"),
        ]
    }


def test_groups_are_never_ignored(aws: AwsServer) -> None:
    """A protected base wants groups, an unprotected one cannot honour them, none see nothing."""
    with pytest.raises(ConfigError, match="groups_field"):
        _base(aws).search(replace(QUERY, groups=("staff",)))
    with pytest.raises(ConfigError, match="protected"):
        _base(aws, groups_field="groups").search(QUERY)
    assert list(_base(aws, groups_field="groups").search(replace(QUERY, groups=()))) == []
    assert aws.requests == []


# --- limits and failures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (replace(QUERY, k=101), "k 101; allowed with a knowledge base: 1 to 100"),
        (replace(QUERY, k=0), "k 0; allowed"),
        (replace(QUERY, mode="lexical"), "mode 'lexical'; allowed.*dense hybrid"),
        (replace(QUERY, question="x" * 20_001), "20,001 characters"),
    ],
)
def test_a_query_beyond_the_limits_is_refused(aws: AwsServer, query: Query, expected: str) -> None:
    """The client library would let these pass."""
    with pytest.raises(ConfigError, match=expected):
        _base(aws).search(query)
    assert aws.requests == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"guardrail_id": "GR_1"}, "guardrail_id 'GR_1'"),
        ({"guardrail_version": "latest"}, "guardrail_version 'latest'"),
        ({"reranker_arn": "amazon.rerank-v1:0"}, "reranker_arn 'amazon.rerank-v1:0'; allowed: arn"),
        ({"reranker_arn": RERANKER, "candidates": 101}, "candidates 101; allowed: 1 to 100"),
        ({"candidates": 10}, "without reranker_arn"),
        ({"timeout_seconds": 0.0}, "timeout"),
        ({"retry_seconds": -1.0}, "retry_seconds"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    aws: AwsServer, settings: Mapping[str, object], expected: str
) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ConfigError, match=expected):
        _base(aws, **settings)


def test_an_id_or_an_arn_opens_a_knowledge_base(aws: AwsServer) -> None:
    """Both are known; anything else is refused before it is sent."""
    arn = f"arn:aws:bedrock:eu-west-1:123456789012:knowledge-base/{ID}"
    aws.answer(RETRIEVE, _answer())
    KnowledgeBaseRetriever(arn, base_url=aws.url).search(QUERY)
    assert aws.requests[0].parameters["knowledgeBaseId"] == arn
    with pytest.raises(ConfigError, match="bedrock-kb:ID"):
        KnowledgeBaseRetriever("my-base")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDeniedException", AccessDeniedError),
        ("ResourceNotFoundException", RemoteError),
        ("ValidationException", RemoteError),
        ("ServiceQuotaExceededException", RemoteError),
        ("DependencyFailedException", RemoteError),
        ("BadGatewayException", RemoteError),
        ("ConflictException", RemoteError),
        ("InternalServerException", RemoteError),
    ],
)
def test_a_failure_is_a_typed_error(aws: AwsServer, code: str, kind: type[RemoteError]) -> None:
    """Failures of the service and of its vector store are told by name."""
    aws.answer(RETRIEVE, AwsFault(code, message="the vector store says no"))
    with pytest.raises(kind, match=code):
        _base(aws, retry_seconds=0.2).search(QUERY)


def test_an_overloaded_service_is_asked_again(aws: AwsServer) -> None:
    """Throttling is waited out, within the time that was given."""
    aws.answer(RETRIEVE, AwsFault("ThrottlingException"), _answer(_result("X.")))
    assert len(_base(aws).search(QUERY)) == 1
    aws.answer(RETRIEVE, AwsFault("ThrottlingException"))
    with pytest.raises(RateLimitedError):
        _base(aws, retry_seconds=0.2).search(QUERY)


def test_a_server_that_is_down_is_a_remote_error(aws: AwsServer) -> None:
    """An address where nothing listens gives the error that callers know."""
    url = unused_url()
    with pytest.raises(RemoteError):
        _base(aws, base_url=url, retry_seconds=0.2).search(QUERY)


def test_a_slow_knowledge_base_is_a_timeout(aws: AwsServer) -> None:
    """The time that was given is kept."""
    aws.answer(RETRIEVE, Slow(_answer(), delay_seconds=5.0))
    with pytest.raises(RemoteTimeoutError):
        _base(aws, timeout_seconds=0.3, retry_seconds=0.0).search(QUERY)


class TestContract(RetrieverContract):
    """A knowledge base keeps the contract of retrievers."""

    @pytest.fixture(autouse=True)
    def _server(self, aws: AwsServer) -> None:  # pyright: ignore[reportUnusedFunction]
        self.aws = aws

    def make(self) -> KnowledgeBaseRetriever:
        """Return a retriever that finds three passages."""
        texts = ("A badge is reset here.", "A badge opens doors.", "A lost badge costs money.")
        results = [_result(text, 0.9 - i / 10) for i, text in enumerate(texts)]
        self.aws.answer(RETRIEVE, _answer(*results))
        return _base(self.aws)

    def make_empty(self) -> KnowledgeBaseRetriever:
        """Return a retriever that finds nothing."""
        self.aws.answer(RETRIEVE, _answer())
        return _base(self.aws)

    def make_unreachable(self) -> KnowledgeBaseRetriever:
        """Return a retriever at a port where nothing listens."""
        return KnowledgeBaseRetriever(ID, base_url="http://127.0.0.1:1", retry_seconds=0.2)


def test_what_bedrock_embeds_and_reranks_for_a_question_is_unknown(aws: AwsServer) -> None:
    """It tells neither; without a reranker there is known to be none."""
    for settings, units in (({}, 0), ({"reranker_arn": RERANKER}, None)):
        aws.answer("bedrock-agent-runtime.Retrieve", _answer(_result("The badge.")))
        counting = Meter()
        with counting.active():
            _base(aws, **settings).search(QUERY)
        assert counting.embed_tokens is None
        assert counting.embeds_remotely
        assert counting.rerank_units == units
        assert counting.bytes_received > 0
