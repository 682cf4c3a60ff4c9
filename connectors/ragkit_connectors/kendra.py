"""Retriever over an Amazon Kendra index: `kendra:INDEX-ID`.

Kendra takes no new customers since 2026-07-30; AWS names Bedrock Knowledge Bases instead, which
`bedrock-kb:ID` opens. Limits and names of fields: Amazon Kendra API reference (2019-02-03) and
"Quotas" and "Adjusting capacity" in the Amazon Kendra developer guide.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from ragkit.errors import ConfigError
from ragkit.text.words import query_terms
from ragkit.types import Hit, Json, Query
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.conditions import NothingPassesError, conditions, operands
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.json_values import Record, json_value, record, records, text
from ragkit_connectors.support.pacing import Cache, Capacity
from ragkit_connectors.support.passages import FoundPassage, to_hits

MAX_HITS = 100
"""Results of one search at most (Retrieve and Query, PageSize)."""

MAX_QUESTION_WORDS = 30
"""Words of a question that Kendra reads, without stop words and punctuation (Retrieve, QueryText);
the rest is cut off silently."""

_MAX_FILTERS = 10
"""Filters in one AndAllFilters or OrAllFilters (AttributeFilter)."""

_MAX_LIST = 10
"""Strings in a StringListValue, unless the quota was raised (DocumentAttributeValue)."""

_MAX_GROUPS = 2048
_MAX_NAME = 200
_MAX_STRING = 2048
_LONGS = range(-(2**63), 2**63)
_INDEX_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{35}")
_KEY = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,199}")
_BUILTIN_DATES = ("_created_at", "_last_updated_at")
_BUILTIN_LISTS = ("_authors",)
_ORDERS = {
    "$gt": "GreaterThan",
    "$gte": "GreaterThanOrEquals",
    "$lt": "LessThan",
    "$lte": "LessThanOrEquals",
}

SearchOperation: TypeAlias = Literal["retrieve", "query"]


class KendraRetriever:
    """An Amazon Kendra index; safe to share between threads.

    Kendra returns passages in order and, for English only, puts each into one of a few confidence
    bins. The bin is kept as `metadata["kendra:score"]`; `Hit.score` is 1 / rank and gives the order
    alone, so a threshold on it means nothing. `metadata["kendra:type"]` says whether a result of
    `query` is an ANSWER, a QUESTION_ANSWER or a DOCUMENT.

    Kendra reads the first 30 words of a question that are not stop words. A longer one is sent
    as it is, since only Kendra knows which words it counts; `question_is_long` gives an estimate.

    Kendra shows all documents to a query without a user or groups. `Query.groups` become the
    groups of the user context. With `require_user_context` a query that names neither is refused.

    Args:
        index_id: Id of the index, 36 characters.
        operation: `retrieve` finds passages of up to 200 words; `query` finds excerpts of up to 100
            words, answers and FAQ entries too. They give different results.
        region: AWS region; None takes that of the environment.
        base_url: Address of the service; None takes AWS's own.
        timeout_seconds: Longest wait for one answer; more than 0.
        retry_seconds: Longest time spent waiting for capacity and on retries; 0 or more.
        require_user_context: Refuse a query without groups, user or token.
        user_id: User on whose behalf all queries are made.
        user_token: JSON Web Token of that user, instead of `user_id` and groups.
        queries_per_second: Capacity of the index, which `retrieve` and `query` share; 0.1 for each
            query capacity unit. Queries wait for it in this process, so Kendra need not refuse
            them.
        burst: Queries that may be made at once after a pause; 1 or more.
        attributes: Document attributes to return; empty: all.
        list_attributes: Attributes whose type in the index is a list of strings.
        date_attributes: Attributes whose type is a date: filters on them take ISO 8601 text with a
            time zone.
        language: Code of the documents' language, for example `de`; None means English to Kendra.
        fall_back_to_query: Ask `query` where `retrieve` finds nothing, at twice the capacity.
        cache_seconds: How long the answer to an equal query is kept; 0 keeps none.

    Raises:
        ConfigError: a value cannot be used as given.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(
        self,
        index_id: str,
        *,
        operation: SearchOperation = "retrieve",
        region: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 30.0,
        retry_seconds: float = 60.0,
        require_user_context: bool = False,
        user_id: str | None = None,
        user_token: str | None = None,
        queries_per_second: float = 0.1,
        burst: int = 10,
        attributes: Sequence[str] = (),
        list_attributes: Sequence[str] = _BUILTIN_LISTS,
        date_attributes: Sequence[str] = _BUILTIN_DATES,
        language: str | None = None,
        fall_back_to_query: bool = False,
        cache_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not _INDEX_ID.fullmatch(index_id):
            raise ConfigError(f"store 'kendra:{index_id}'; allowed: kendra:INDEX-ID, 36 characters")
        _check(operation, queries_per_second, burst, cache_seconds)
        self.name = f"kendra:{index_id}"
        self._index_id = index_id
        self._operation: SearchOperation = operation
        self._require_user_context = require_user_context
        self._user_id = _user(user_id, user_token)
        self._user_token = user_token
        self._attributes = _keys(attributes)
        self._filters = _Filters(lists=frozenset(list_attributes), dates=frozenset(date_attributes))
        self._language = language
        self._fall_back_to_query = fall_back_to_query
        self._bucket = Capacity(queries_per_second, burst, clock, sleep)
        self._cache: Cache[list[FoundPassage]] = Cache(cache_seconds)
        self._retry_seconds = retry_seconds
        self._client = AwsClient(
            "kendra",
            region=region,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
        )
        self.fingerprint = fingerprint(
            self.name,
            operation=operation,
            region=self._client.region,
            base_url=base_url,
            require_user_context=require_user_context,
            user_id=user_id,
            user_token=user_token is not None,
            attributes=self._attributes or None,
            list_attributes=sorted(list_attributes),
            date_attributes=sorted(date_attributes),
            language=language,
            fall_back_to_query=fall_back_to_query,
        )

    def __repr__(self) -> str:
        """Name the index; a token is not shown."""
        return f"KendraRetriever({self._index_id!r}, operation={self._operation!r})"

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits in Kendra's order.

        Args:
            query: `k` from 1 to 100; `mode` None or `hybrid`, for Kendra decides itself how to
                search; `vector` is not used.

        Raises:
            ConfigError: a mode, `k`, filter or group that Kendra does not have, or no user context
                where one is required.
            RateLimitedError: there was no capacity within `retry_seconds`.
            AccessDeniedError: the caller may not query this index.
            RemoteError: the service failed, was too slow or cannot be reached.
        """
        if not 1 <= query.k <= MAX_HITS:
            raise ConfigError(f"k {query.k}; allowed with Kendra: 1 to {MAX_HITS}")
        if query.mode not in {None, "hybrid"}:
            raise ConfigError(
                f"mode {query.mode!r}; Kendra decides itself how to search: leave mode out"
            )
        context = self._user_context(query.groups)
        try:
            attribute_filter = self._filters.compile(query.filters or {}, language=self._language)
        except NothingPassesError:
            return []
        if not query.question.strip():
            return []
        request: dict[str, object] = {
            "QueryText": query.question,
            "PageSize": query.k,
        }
        given = {
            "AttributeFilter": attribute_filter,
            "UserContext": context,
            "RequestedDocumentAttributes": self._attributes,
        }
        request.update({name: value for name, value in given.items() if value})
        passages = self._ask(self._operation, request)
        if not passages and self._operation == "retrieve" and self._fall_back_to_query:
            passages = self._ask("query", request)
        return to_hits(passages, k=query.k)

    def question_is_long(self, question: str) -> bool:
        """Whether Kendra will probably cut a question: it has more than 30 words to search for.

        An estimate, since Kendra has its own list of stop words. A question asked together with
        earlier turns of a conversation is soon too long.
        """
        return len(query_terms(question, language=self._language)) > MAX_QUESTION_WORDS

    def _ask(self, operation: str, request: Mapping[str, object]) -> list[FoundPassage]:
        key = repr((operation, request))
        found = self._cache.get(key)
        if found is None:
            self._bucket.take(self._retry_seconds)
            answer = self._send(operation, request, texts=(str(request["QueryText"]),))
            read = _retrieved if operation == "retrieve" else _queried
            found = [read(item) for item in records(answer.get("ResultItems"))]
            self._cache.put(key, found)
        return found

    def _send(
        self, method: str, request: Mapping[str, object], *, texts: Sequence[str] = ()
    ) -> Record:
        action = "".join(word.capitalize() for word in method.split("_"))
        call = AwsCall(
            method=method,
            action=f"kendra:{action}",
            about=f"Kendra index {self._index_id}",
            texts=texts,
        )
        return self._client.call(call, {"IndexId": self._index_id, **request})

    def _user_context(self, groups: Sequence[str] | None) -> dict[str, object]:
        if self._user_token is not None:
            if groups is not None:
                raise ConfigError("groups and user_token are given; Kendra takes one of them")
            return {"Token": self._user_token}
        context: dict[str, object] = {}
        if self._user_id is not None:
            context["UserId"] = self._user_id
        if groups:
            if len(groups) > _MAX_GROUPS:
                raise ConfigError(f"{len(groups)} groups; allowed with Kendra: {_MAX_GROUPS}")
            context["Groups"] = [_name("group", group) for group in groups]
        if context:
            return context
        if groups is not None:
            raise ConfigError(
                "groups is empty, and Kendra shows all documents to a query without groups or "
                "user: give user_id, or name a group"
            )
        if self._require_user_context:
            raise ConfigError("this index is asked with groups, user_id or user_token only")
        return context


def _user(user_id: str | None, user_token: str | None) -> str | None:
    if user_id is not None and user_token is not None:
        raise ConfigError("user_id and user_token are given; Kendra takes one of them")
    return None if user_id is None else _name("user_id", user_id)


def _check(operation: str, queries_per_second: float, burst: int, cache_seconds: float) -> None:
    if operation not in get_args(SearchOperation):
        raise ConfigError(f"operation {operation!r}; allowed: retrieve query")
    if not 0.0 < queries_per_second < float("inf"):
        raise ConfigError(f"queries_per_second {queries_per_second}; allowed: more than 0")
    if burst < 1:
        raise ConfigError(f"burst {burst}; allowed: 1 or more")
    if not 0.0 <= cache_seconds < float("inf"):
        raise ConfigError(f"cache_seconds {cache_seconds}; allowed: 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filters:
    """Turns ragkit's filters into Kendra's, which have types."""

    lists: frozenset[str]
    dates: frozenset[str]

    def compile(self, filters: Mapping[str, Json], *, language: str | None) -> dict[str, object]:
        """Return an AttributeFilter, empty for none."""
        found: list[dict[str, object]] = []
        if language is not None and "_language_code" not in filters:
            found.append(self._equal("_language_code", language))
        for field, operator, operand in conditions(filters):
            found += self._condition(_key(field), operator, operand)
        if len(found) > _MAX_FILTERS:
            raise ConfigError(f"{len(found)} conditions; Kendra takes {_MAX_FILTERS} in one filter")
        return {"AndAllFilters": found} if len(found) > 1 else (found[0] if found else {})

    def _condition(self, field: str, operator: str, operand: Json) -> list[dict[str, object]]:
        if operator in {"$eq", "$ne"}:
            equal = self._equal(field, operand)
            return [equal] if operator == "$eq" else [{"NotFilter": equal}]
        if operator in {"$in", "$nin"}:
            values = operands(operand)
            return self._any(field, values) if operator == "$in" else self._none(field, values)
        if operator in _ORDERS:
            return [{_ORDERS[operator]: {"Key": field, "Value": self._ordered(field, operand)}}]
        raise ConfigError(
            f"filter on {field!r}: Kendra has no {operator}; it has $eq $ne $in $nin, and $gt $gte "
            "$lt $lte for integers and dates"
        )

    def _equal(self, field: str, operand: Json) -> dict[str, object]:
        if field in self.lists:
            return {"ContainsAny": {"Key": field, "Value": self.attribute(field, [operand])}}
        return {"EqualsTo": {"Key": field, "Value": self.attribute(field, operand)}}

    def _any(self, field: str, values: Sequence[Json]) -> list[dict[str, object]]:
        if not values:
            raise NothingPassesError
        if field in self.lists:
            return [{"ContainsAny": {"Key": field, "Value": self.attribute(field, values)}}]
        if len(values) > _MAX_FILTERS:
            raise ConfigError(
                f"filter on {field!r}: {len(values)} values; Kendra takes {_MAX_FILTERS} of them"
            )
        tests = [self._equal(field, value) for value in values]
        return tests if len(tests) == 1 else [{"OrAllFilters": tests}]

    def _none(self, field: str, values: Sequence[Json]) -> list[dict[str, object]]:
        # One negation per value: Kendra refuses filters that are nested more than two deep.
        return [{"NotFilter": self._equal(field, value)} for value in values]

    def _ordered(self, field: str, operand: Json) -> dict[str, object]:
        value = self.attribute(field, operand)
        if not {"LongValue", "DateValue"} & value.keys():
            raise ConfigError(
                f"filter on {field!r}: Kendra orders integers and dates only; name a date among "
                "date_attributes"
            )
        return value

    def attribute(self, field: str, value: Json) -> dict[str, object]:
        """Return a value as Kendra's, by its type; raises `ConfigError`."""
        if field in self.dates:
            return {"DateValue": _date(field, value)}
        if isinstance(value, str):
            return {"StringValue": _string(field, value)}
        if isinstance(value, int | float) and not isinstance(value, bool):
            if value != int(value) or int(value) not in _LONGS:
                raise ConfigError(f"{field!r}: {value!r} is no integer of 64 bits, as Kendra needs")
            return {"LongValue": int(value)}
        if isinstance(value, Sequence):
            if not 1 <= len(value) <= _MAX_LIST:
                raise ConfigError(f"{field!r}: {len(value)} texts; Kendra takes 1 to {_MAX_LIST}")
            return {"StringListValue": [_string(field, text) for text in value]}
        raise ConfigError(
            f"{field!r}: Kendra knows texts, lists of texts, integers and dates, not {value!r}"
        )


def _retrieved(item: Record) -> FoundPassage:
    return _passage(item, content=text(item.get("Content")), title=text(item.get("DocumentTitle")))


def _queried(item: Record) -> FoundPassage:
    kind = text(item.get("Type"))
    extra = {
        text(attribute.get("Key")): text(
            record(record(attribute.get("Value")).get("TextWithHighlightsValue")).get("Text")
        )
        for attribute in records(item.get("AdditionalAttributes"))
    }
    excerpt = text(record(item.get("DocumentExcerpt")).get("Text"))
    answer = extra.get("AnswerText") or excerpt or _table(record(item.get("TableExcerpt")))
    # The text of an answer and of an FAQ entry is outside the excerpt, which may be empty.
    content = excerpt if kind == "DOCUMENT" else answer
    if kind == "QUESTION_ANSWER" and extra.get("QuestionText"):
        content = f"{extra['QuestionText']}\n{answer}"
    title = text(record(item.get("DocumentTitle")).get("Text"))
    return _passage(item, content=content, title=title, type_=kind)


def _table(table: Record) -> str:
    rows = [records(row.get("Cells")) for row in records(table.get("Rows"))]
    return "\n".join(" | ".join(text(cell.get("Value")) for cell in row) for row in rows)


def _passage(item: Record, *, content: str, title: str, type_: str = "") -> FoundPassage:
    metadata: dict[str, Json] = {
        text(attribute.get("Key")): _plain(record(attribute.get("Value")))
        for attribute in records(item.get("DocumentAttributes"))
    }
    bucket = text(record(item.get("ScoreAttributes")).get("ScoreConfidence"))
    given = {"kendra:score": bucket, "kendra:type": type_}
    page = metadata.get("_excerpt_page_number")
    source = item.get("DocumentURI") or metadata.get("_source_uri")
    return FoundPassage(
        text=content,
        document_id=text(item.get("DocumentId")),
        title=title,
        source=text(source),
        metadata={**metadata, **{name: value for name, value in given.items() if value}},
        page=page if isinstance(page, int) and page >= 1 else None,
    )


def _plain(value: Record) -> Json:
    """Return an attribute's value, whatever its type; a date as ISO 8601 text."""
    found = next(iter(value.values()), None)
    return found.isoformat() if isinstance(found, datetime) else json_value(found)


def _key(name: str) -> str:
    if not _KEY.fullmatch(name):
        raise ConfigError(
            f"attribute {name!r}; allowed with Kendra: up to 200 letters, digits, _ and -"
        )
    return name


def _keys(names: Sequence[str]) -> list[str]:
    if len(names) > 100:
        raise ConfigError(f"{len(names)} attributes; allowed: up to 100")
    return [_key(name) for name in names]


def _name(what: str, name: str) -> str:
    if not 1 <= len(name) <= _MAX_NAME:
        raise ConfigError(f"{what} of {len(name)} characters; allowed: 1 to {_MAX_NAME}")
    return name


def _string(field: str, value: Json) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_STRING:
        raise ConfigError(f"{field!r}: Kendra takes text of 1 to {_MAX_STRING} characters")
    return value


def _date(field: str, value: Json) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(
            f"{field!r}: {value!r} is no date; give one like 2026-03-25T12:30:10+01:00"
        )
    return moment
