"""The Kendra retriever against a server that speaks as Kendra does."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ragkit.errors import (
    AccessDeniedError,
    ConfigError,
    RateLimitedError,
    RemoteError,
    RemoteTimeoutError,
)
from ragkit.types import Json, Location, Query
from ragkit_connectors import open_store
from ragkit_connectors.kendra import KendraRetriever
from ragkit_connectors.testing import RetrieverContract
from ragkit_connectors.testing.serving import unused_url

from .aws_server import AwsFault, AwsServer, Slow

INDEX = "0123abcd-0000-4000-8000-0123456789ab"
QUERY = Query(question="Where is the badge reset?", k=5)
RETRIEVE = "kendra.Retrieve"

Item = Mapping[str, object]


def _kendra(server: AwsServer, **settings: object) -> KendraRetriever:
    given = {"base_url": server.url, "queries_per_second": 1000.0, "retry_seconds": 2.0}
    opened = open_store(f"kendra:{INDEX}", **{**given, **settings})
    assert isinstance(opened, KendraRetriever)
    return opened


def _item(text: str, document: str = "d1", score: str = "HIGH", **more: object) -> Item:
    return {
        "Id": f"{abs(hash(text)) % 1000}-{document}",
        "DocumentId": document,
        "DocumentTitle": f"Title of {document}",
        "DocumentURI": f"https://example.org/{document}",
        "Content": text,
        "ScoreAttributes": {"ScoreConfidence": score},
        **more,
    }


def _answer(*items: Item) -> Mapping[str, object]:
    return {"QueryId": "q", "ResultItems": list(items)}


def _attributes(**values: object) -> Sequence[Mapping[str, object]]:
    kinds: Mapping[type, str] = {
        str: "StringValue", int: "LongValue", list: "StringListValue", datetime: "DateValue"
    }  # fmt: skip
    return [{"Key": key, "Value": {kinds[type(v)]: v}} for key, v in values.items()]


def _asked(server: AwsServer, number: int = -1) -> Mapping[str, object]:
    return server.requests[number].parameters


def test_passages_come_in_kendras_order_with_its_bins(aws: AwsServer) -> None:
    """Rank and bin are kept; the score falls with the rank and claims nothing more."""
    aws.answer(RETRIEVE, _answer(_item("One.", score="LOW"), _item("Two.", "d2", "VERY_HIGH")))
    hits = _kendra(aws).search(QUERY)
    assert [(hit.rank, hit.score, hit.chunk.text) for hit in hits] == [
        (1, 1.0, "One."), (2, 0.5, "Two."),
    ]  # fmt: skip
    assert [hit.metadata["kendra:score"] for hit in hits] == ["LOW", "VERY_HIGH"]
    assert hits[1].chunk.document_id == "d2"
    assert (hits[1].title, hits[1].source) == ("Title of d2", "https://example.org/d2")
    assert _asked(aws) == {"IndexId": INDEX, "QueryText": QUERY.question, "PageSize": 5}


def test_a_passage_is_the_same_chunk_whatever_kendra_calls_it(aws: AwsServer) -> None:
    """Kendra renames passages with every request; the chunk's id stays."""
    aws.answer(
        RETRIEVE,
        _answer(_item("One.", Id="1")),
        _answer(_item("Zero."), _item("One.", Id="2")),
    )
    kendra = _kendra(aws)
    assert kendra.search(QUERY)[0].chunk.id == kendra.search(QUERY)[1].chunk.id


def test_attributes_become_metadata_and_the_page_the_place(aws: AwsServer) -> None:
    """Values keep their kind, dates become ISO 8601 text."""
    moment = datetime(2026, 3, 25, 12, 30, tzinfo=UTC)
    attributes = _attributes(
        team="desk", year=2026, _authors=["A", "B"], _created_at=moment, _excerpt_page_number=7
    )
    aws.answer(RETRIEVE, _answer(_item("One.", DocumentAttributes=attributes)))
    kendra = _kendra(aws, attributes=["team", "year"])
    hit = kendra.search(QUERY)[0]
    assert hit.metadata["team"] == "desk"
    assert hit.metadata["year"] == 2026
    assert hit.metadata["_authors"] == ["A", "B"]
    assert datetime.fromisoformat(str(hit.metadata["_created_at"])) == moment
    assert hit.chunk.location() == Location(page=7)
    assert _asked(aws)["RequestedDocumentAttributes"] == ["team", "year"]


def test_k_bounds_the_hits_and_is_asked_for(aws: AwsServer) -> None:
    """No more than `k` come back, even where Kendra sends more."""
    aws.answer(RETRIEVE, _answer(*(_item(f"Passage {i}.") for i in range(9))))
    assert len(_kendra(aws).search(replace(QUERY, k=3))) == 3
    assert _asked(aws)["PageSize"] == 3


def test_nothing_found_is_no_error_and_no_second_request(aws: AwsServer) -> None:
    """An empty answer gives no hits; capacity is not spent on another search unasked."""
    aws.answer(RETRIEVE, _answer())
    assert list(_kendra(aws).search(QUERY)) == []
    assert [request.operation for request in aws.requests] == ["Retrieve"]


@pytest.mark.parametrize("question", ["", " \n"])
def test_a_blank_question_costs_no_capacity(aws: AwsServer, question: str) -> None:
    """Nothing is asked where there is nothing to ask."""
    assert list(_kendra(aws).search(replace(QUERY, question=question))) == []
    assert aws.requests == []


FAQ: Item = {
    "Id": "f", "Type": "QUESTION_ANSWER", "DocumentId": "faq",
    "DocumentTitle": {"Text": "FAQ"},
    "AdditionalAttributes": [
        {"Key": name, "ValueType": "TEXT_WITH_HIGHLIGHTS_VALUE",
         "Value": {"TextWithHighlightsValue": {"Text": text}}}
        for name, text in (("QuestionText", "Where?"), ("AnswerText", "At the desk."))
    ],
}  # fmt: skip


def _result(kind: str, text: str) -> Item:
    return {
        "Id": kind, "Type": kind, "DocumentId": f"d-{kind}",
        "DocumentTitle": {"Text": "T"}, "DocumentExcerpt": {"Text": text},
    }  # fmt: skip


def test_answers_and_faq_entries_are_read_where_their_text_stands(aws: AwsServer) -> None:
    """An FAQ entry has no excerpt: its question and answer are read from its extra attributes."""
    table: Item = {
        "Id": "t", "Type": "ANSWER", "Format": "TABLE", "DocumentId": "t",
        "TableExcerpt": {"Rows": [
            {"Cells": [{"Value": "floor"}, {"Value": "desk"}]},
            {"Cells": [{"Value": "1"}, {"Value": "front"}]},
        ], "TotalNumberOfRows": 2},
    }  # fmt: skip
    aws.answer("Query", _answer(FAQ, _result("DOCUMENT", "An excerpt."), table))
    hits = _kendra(aws, operation="query").search(QUERY)
    assert [(hit.chunk.text, hit.metadata["kendra:type"]) for hit in hits] == [
        ("Where?\nAt the desk.", "QUESTION_ANSWER"),
        ("An excerpt.", "DOCUMENT"),
        ("floor | desk\n1 | front", "ANSWER"),
    ]


def test_the_answer_text_wins_over_the_short_excerpt(aws: AwsServer) -> None:
    """The whole suggested answer is taken, not the excerpt."""
    answer = {**_result("ANSWER", "desk"), "AdditionalAttributes": FAQ["AdditionalAttributes"]}
    aws.answer("Query", _answer(answer))
    assert _kendra(aws, operation="query").search(QUERY)[0].chunk.text == "At the desk."


def test_query_and_retrieve_are_chosen_and_never_mixed(aws: AwsServer) -> None:
    """The operation is the caller's choice, since the two find different things."""
    aws.answer(RETRIEVE, _answer(_item("From retrieve.")))
    aws.answer("Query", _answer(_result("DOCUMENT", "From query.")))
    assert _kendra(aws).search(QUERY)[0].chunk.text == "From retrieve."
    assert _kendra(aws, operation="query").search(QUERY)[0].chunk.text == "From query."
    assert [request.operation for request in aws.requests] == ["Retrieve", "Query"]


def test_the_fall_back_finds_faq_entries_when_asked_for(aws: AwsServer) -> None:
    """With the option an empty `retrieve` is followed by `query`, with the same filter."""
    aws.answer(RETRIEVE, _answer())
    aws.answer("Query", _answer(FAQ))
    query = replace(QUERY, filters={"team": "desk"}, groups=("staff",))
    hits = _kendra(aws, fall_back_to_query=True).search(query)
    assert [hit.chunk.text for hit in hits] == ["Where?\nAt the desk."]
    first, second = (request.parameters for request in aws.requests)
    assert first == second


# --- readers ---------------------------------------------------------------------------------


def test_groups_become_the_user_context(aws: AwsServer) -> None:
    """The reader's groups, and the user if one is set, restrict what Kendra shows."""
    aws.answer(RETRIEVE, _answer())
    _kendra(aws).search(replace(QUERY, groups=("staff", "desk")))
    _kendra(aws, user_id="ann").search(replace(QUERY, groups=("staff",)))
    _kendra(aws, user_id="ann").search(replace(QUERY, groups=()))
    _kendra(aws, user_token="ey.J.x").search(QUERY)  # noqa: S106 - opens nothing
    assert [request.parameters["UserContext"] for request in aws.requests] == [
        {"Groups": ["staff", "desk"]},
        {"UserId": "ann", "Groups": ["staff"]},
        {"UserId": "ann"},
        {"Token": "ey.J.x"},
    ]


def test_a_reader_without_groups_is_not_shown_everything(aws: AwsServer) -> None:
    """Kendra shows all documents to a query without user context, so none is sent without one."""
    with pytest.raises(ConfigError, match=r"groups is empty.*user_id"):
        _kendra(aws).search(replace(QUERY, groups=()))
    with pytest.raises(ConfigError, match="groups, user_id or user_token"):
        _kendra(aws, require_user_context=True).search(QUERY)
    with pytest.raises(ConfigError, match="groups and user_token"):
        _kendra(aws, user_token="t").search(replace(QUERY, groups=("a",)))  # noqa: S106
    assert aws.requests == []


def test_a_required_user_context_may_come_from_groups_or_user(aws: AwsServer) -> None:
    """What names a reader is enough."""
    aws.answer(RETRIEVE, _answer())
    _kendra(aws, require_user_context=True).search(replace(QUERY, groups=("staff",)))
    _kendra(aws, require_user_context=True, user_id="ann").search(QUERY)
    assert all("UserContext" in request.parameters for request in aws.requests)


# --- filters ---------------------------------------------------------------------------------


def _equals(key: str, **value: object) -> Mapping[str, object]:
    return {"EqualsTo": {"Key": key, "Value": value}}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"team": "desk"}, _equals("team", StringValue="desk")),
        ({"year": 2026.0}, _equals("year", LongValue=2026)),
        ({"team": {"$ne": "desk"}}, {"NotFilter": _equals("team", StringValue="desk")}),
        (
            {"year": {"$gt": 2020, "$lte": 2026}},
            {
                "AndAllFilters": [
                    {"GreaterThan": {"Key": "year", "Value": {"LongValue": 2020}}},
                    {"LessThanOrEquals": {"Key": "year", "Value": {"LongValue": 2026}}},
                ]
            },
        ),
        (
            {"team": {"$in": ["a", "b"]}},
            {"OrAllFilters": [_equals("team", StringValue=t) for t in "ab"]},
        ),
        ({"team": {"$in": ["a"]}}, _equals("team", StringValue="a")),
        (
            {"team": {"$nin": ["a", "b"]}},
            {"AndAllFilters": [{"NotFilter": _equals("team", StringValue=t)} for t in "ab"]},
        ),
        (
            {"_authors": "Ann"},
            {"ContainsAny": {"Key": "_authors", "Value": {"StringListValue": ["Ann"]}}},
        ),
        (
            {"_authors": {"$in": ["Ann", "Ben"]}},
            {"ContainsAny": {"Key": "_authors", "Value": {"StringListValue": ["Ann", "Ben"]}}},
        ),
        (
            {"_created_at": {"$gte": "2026-03-25T12:30:00+01:00"}},
            {
                "GreaterThanOrEquals": {
                    "Key": "_created_at",
                    "Value": {"DateValue": datetime(2026, 3, 25, 11, 30, tzinfo=UTC).timestamp()},
                }
            },
        ),
    ],
)
def test_a_filter_keeps_its_meaning(
    aws: AwsServer, filters: Mapping[str, Json], expected: Mapping[str, object]
) -> None:
    """Each operator becomes Kendra's own, by the attribute's type; one alone is not wrapped."""
    aws.answer(RETRIEVE, _answer())
    _kendra(aws).search(replace(QUERY, filters=filters))
    assert _asked(aws)["AttributeFilter"] == expected


@pytest.mark.parametrize("filters", [None, {}, {"team": {"$nin": []}}])
def test_a_filter_that_all_pass_is_not_sent(
    aws: AwsServer, filters: Mapping[str, Json] | None
) -> None:
    """An empty filter is no filter."""
    aws.answer(RETRIEVE, _answer())
    _kendra(aws).search(replace(QUERY, filters=filters))
    assert "AttributeFilter" not in _asked(aws)


def test_a_filter_that_none_pass_finds_nothing(aws: AwsServer) -> None:
    """No value is in an empty list, so nothing is asked."""
    assert list(_kendra(aws).search(replace(QUERY, filters={"team": {"$in": []}}))) == []
    assert aws.requests == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"a": {"$exists": True}}, r"Kendra has no \$exists.*\$eq \$ne \$in"),
        ({"a": {"$like": "x"}}, "unknown operator"),
        ({"a": {"$gt": "x"}}, "integers and dates only"),
        ({"a": {"$gt": True}}, "cannot order"),
        ({"a": 1.5}, "no integer"),
        ({"a": 2**63}, "no integer"),
        ({"a": True}, "not True"),
        ({"a": None}, "not None"),
        ({"a": ""}, "1 to 2048"),
        ({"a": "x" * 2049}, "1 to 2048"),
        ({"a.b": "x"}, "'a.b'"),
        ({"a": {"$in": [str(i) for i in range(11)]}}, "11 values"),
        ({"_authors": {"$in": [str(i) for i in range(11)]}}, "11 texts"),
        ({f"a{i}": "x" for i in range(11)}, "11 conditions"),
        ({"_created_at": "yesterday"}, "no date"),
        ({"_created_at": "2026-03-25T12:30:00"}, "no date"),
        ({"_created_at": 5}, "no date"),
    ],
)
def test_what_kendra_cannot_filter_by_is_refused(
    aws: AwsServer, filters: Mapping[str, Json], expected: str
) -> None:
    """Nothing is sent, and the error says what there is instead."""
    with pytest.raises(ConfigError, match=expected):
        _kendra(aws).search(replace(QUERY, filters=filters))
    assert aws.requests == []


def test_the_language_is_a_filter_unless_one_is_given(aws: AwsServer) -> None:
    """Kendra searches English unless an attribute says otherwise."""
    aws.answer(RETRIEVE, _answer())
    _kendra(aws, language="de").search(QUERY)
    _kendra(aws, language="de").search(replace(QUERY, filters={"_language_code": "fr"}))
    filters = [request.parameters["AttributeFilter"] for request in aws.requests]
    assert filters == [_equals("_language_code", StringValue=code) for code in ("de", "fr")]


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (replace(QUERY, k=101), "k 101; allowed with Kendra: 1 to 100"),
        (replace(QUERY, k=0), "k 0; allowed"),
        (replace(QUERY, mode="dense"), "mode 'dense'; Kendra decides"),
        (replace(QUERY, mode="lexical"), "mode 'lexical'; Kendra decides"),
        (replace(QUERY, groups=("g" * 201,)), "201 characters"),
        (replace(QUERY, groups=tuple(map(str, range(2049)))), "2049 groups"),
    ],
)
def test_a_query_beyond_kendras_limits_is_refused(
    aws: AwsServer, query: Query, expected: str
) -> None:
    """The client library would let most of these pass."""
    with pytest.raises(ConfigError, match=expected):
        _kendra(aws).search(query)
    assert aws.requests == []


def test_hybrid_is_what_kendra_does(aws: AwsServer) -> None:
    """A pipeline that asks for hybrid search gets Kendra's own."""
    aws.answer(RETRIEVE, _answer(_item("One.")))
    assert len(_kendra(aws).search(replace(QUERY, mode="hybrid"))) == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"operation": "search"}, "operation 'search'; allowed: retrieve query"),
        ({"queries_per_second": 0.0}, "queries_per_second 0.0; allowed: more than 0"),
        ({"burst": 0}, "burst 0; allowed: 1"),
        ({"cache_seconds": -1.0}, "cache_seconds -1.0; allowed: 0"),
        ({"user_id": "a", "user_token": "b"}, "one of them"),
        ({"user_id": ""}, "user_id of 0"),
        ({"attributes": ["a b"]}, "'a b'"),
        ({"attributes": [f"a{i}" for i in range(101)]}, "101 attributes"),
        ({"timeout_seconds": 0.0}, "timeout"),
        ({"retry_seconds": -1.0}, "retry_seconds"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    aws: AwsServer, settings: Mapping[str, object], expected: str
) -> None:
    """The error names the value and what is allowed."""
    with pytest.raises(ConfigError, match=expected):
        _kendra(aws, **settings)


def test_an_index_id_that_cannot_be_one_is_refused() -> None:
    """An index has an id of 36 characters."""
    with pytest.raises(ConfigError, match="kendra:INDEX-ID"):
        KendraRetriever("my-index")


def test_a_question_that_kendra_would_cut_is_told(aws: AwsServer) -> None:
    """Thirty words to search for are read; stop words and punctuation do not count."""
    kendra = _kendra(aws)
    words = [f"word{i}" for i in range(31)]
    assert kendra.question_is_long(" ".join(words))
    assert not kendra.question_is_long(" ".join(words[:30]))
    assert not kendra.question_is_long(" the ".join(words[:30]) + " of the ? !")


# --- capacity --------------------------------------------------------------------------------


def test_queries_wait_for_capacity_here(aws: AwsServer) -> None:
    """After the burst, the next query waits as long as the index's capacity asks for."""
    aws.answer(RETRIEVE, _answer())
    waits: list[float] = []
    kendra = _kendra(aws, queries_per_second=4.0, burst=2, clock=lambda: 0.0, sleep=waits.append)
    for _ in range(4):
        kendra.search(QUERY)
    assert waits == [0.0, 0.0, 0.25, 0.5]


def test_a_wait_beyond_patience_is_a_rate_limit(aws: AwsServer) -> None:
    """Nothing is asked where capacity would come too late; the error says what to change."""
    aws.answer(RETRIEVE, _answer())
    kendra = _kendra(aws, queries_per_second=0.1, burst=1, retry_seconds=1.0)
    kendra.search(QUERY)
    with pytest.raises(RateLimitedError, match="queries_per_second"):
        kendra.search(QUERY)
    assert len(aws.requests) == 1


def test_the_fall_back_takes_capacity_too(aws: AwsServer) -> None:
    """Both operations draw on the index's one capacity."""
    aws.answer(RETRIEVE, _answer())
    kendra = _kendra(
        aws, queries_per_second=0.1, burst=1, retry_seconds=1.0, fall_back_to_query=True
    )
    with pytest.raises(RateLimitedError):
        kendra.search(QUERY)


def test_a_throttled_query_is_asked_again(aws: AwsServer) -> None:
    """Other callers use the capacity too, so a refusal is waited out."""
    aws.answer(RETRIEVE, AwsFault("ThrottlingException"), _answer(_item("One.")))
    assert len(_kendra(aws, retry_seconds=10.0).search(QUERY)) == 1
    assert len(aws.requests) == 2


def test_an_equal_query_is_answered_from_memory_when_asked_for(aws: AwsServer) -> None:
    """The cache tells readers and filters apart, forgets, and is off unless asked for."""
    aws.answer(RETRIEVE, _answer(_item("One.")))
    cached = _kendra(aws, cache_seconds=60.0)
    assert cached.search(QUERY) == cached.search(QUERY)
    assert len(aws.requests) == 1
    cached.search(replace(QUERY, groups=("staff",)))
    cached.search(replace(QUERY, filters={"team": "desk"}))
    assert len(aws.requests) == 3
    short = _kendra(aws, cache_seconds=0.01)
    short.search(QUERY)
    time.sleep(0.02)
    short.search(QUERY)
    assert len(aws.requests) == 5
    plain = _kendra(aws)
    plain.search(QUERY)
    plain.search(QUERY)
    assert len(aws.requests) == 7


# --- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (AwsFault("AccessDeniedException"), AccessDeniedError),
        (AwsFault("ResourceNotFoundException"), RemoteError),
        (AwsFault("ValidationException", message="no such attribute"), RemoteError),
        (AwsFault("ServiceQuotaExceededException"), RemoteError),
    ],
)
def test_a_refusal_is_a_typed_error(
    aws: AwsServer, fault: AwsFault, kind: type[RemoteError]
) -> None:
    """What a retry cannot repair is not retried."""
    aws.answer(RETRIEVE, fault)
    with pytest.raises(kind):
        _kendra(aws).search(QUERY)
    assert len(aws.requests) == 1


def test_a_server_that_is_down_is_a_remote_error(aws: AwsServer) -> None:
    """An address where nothing listens gives the error that callers know."""
    url = unused_url()
    with pytest.raises(RemoteError):
        _kendra(aws, base_url=url, retry_seconds=0.2).search(QUERY)


def test_a_slow_index_is_a_timeout(aws: AwsServer) -> None:
    """The time that was given is kept."""
    aws.answer(RETRIEVE, Slow(_answer(), delay_seconds=5.0))
    with pytest.raises(RemoteTimeoutError):
        _kendra(aws, timeout_seconds=0.3, retry_seconds=0.0).search(QUERY)


def test_the_token_is_not_shown(aws: AwsServer) -> None:
    """The representation names the index and nothing secret."""
    shown = repr(_kendra(aws, user_token="ey.J.secret"))  # noqa: S106 - opens nothing
    assert INDEX in shown
    assert "secret" not in shown


class TestContract(RetrieverContract):
    """Kendra keeps the contract of retrievers."""

    @pytest.fixture(autouse=True)
    def _server(self, aws: AwsServer) -> None:  # pyright: ignore[reportUnusedFunction]
        self.aws = aws

    def make(self) -> KendraRetriever:
        """Return a retriever that finds three passages."""
        texts = ("A badge is reset here.", "A badge opens doors.", "A lost badge costs money.")
        self.aws.answer(RETRIEVE, _answer(*(_item(t, f"d{i}") for i, t in enumerate(texts))))
        return _kendra(self.aws)

    def make_empty(self) -> KendraRetriever:
        """Return a retriever that finds nothing."""
        self.aws.answer(RETRIEVE, _answer())
        return _kendra(self.aws)

    def make_unreachable(self) -> KendraRetriever:
        """Return a retriever at a port where nothing listens."""
        return KendraRetriever(INDEX, base_url="http://127.0.0.1:1", retry_seconds=0.2)
