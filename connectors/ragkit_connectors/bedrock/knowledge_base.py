"""Retriever over a knowledge base of Amazon Bedrock: `bedrock-kb:ID`.

Limits and names of fields: Agents for Amazon Bedrock Runtime API reference, "Retrieve" and
"RetrievalFilter".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from ragkit.costs.metering import meter
from ragkit.errors import ConfigError
from ragkit.types import Blocked, Hit, Json, Query
from ragkit_connectors.support.aws import AwsCall, AwsClient
from ragkit_connectors.support.conditions import NothingPassesError, conditions, operands
from ragkit_connectors.support.fingerprints import fingerprint
from ragkit_connectors.support.json_values import (
    Record,
    json_record,
    number,
    record,
    records,
    text,
)
from ragkit_connectors.support.passages import FoundPassage, to_hits

MAX_HITS = 100
"""Results of one search at most (Retrieve, numberOfResults)."""

MAX_QUESTION_CHARACTERS = 20_000
"""Characters of a question (Retrieve, retrievalQuery.text)."""

_MAX_KEY = 100
_MAX_PAGES = 20
_ID = re.compile(
    r"[0-9a-zA-Z]{10}"
    r"|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:knowledge-base/[0-9a-zA-Z]{10}"
)
_RERANKER = re.compile(r"arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}::foundation-model/.+")
_GUARDRAIL = re.compile(r"[a-z0-9]{1,64}")
_VERSION = re.compile(r"[1-9][0-9]{0,4}|DRAFT")
_SEARCH_TYPES = {"dense": "SEMANTIC", "hybrid": "HYBRID"}
_ORDERS = {
    "$gt": "greaterThan",
    "$gte": "greaterThanOrEquals",
    "$lt": "lessThan",
    "$lte": "lessThanOrEquals",
}
_OWN = "x-amz-bedrock-kb-"
"""What the names of metadata begin with that Bedrock itself adds."""

_Filter: TypeAlias = dict[str, object]


class KnowledgeBaseRetriever:
    """A knowledge base of Amazon Bedrock; safe to share between threads.

    Text, table rows and transcripts of audio and video are returned; pictures, which have no text,
    are left out. `metadata["bedrock-kb:type"]` says what a result is that is not text.
    There may be fewer than `k` hits: nested chunks are merged after Bedrock has counted them.

    Args:
        knowledge_base_id: Id of the knowledge base, 10 characters, or its ARN.
        region: AWS region; None takes that of the environment.
        base_url: Address of the service; None takes AWS's own.
        timeout_seconds: Longest wait for one answer; more than 0.
        retry_seconds: Longest time spent on trying again; 0 or more.
        managed: Whether Bedrock manages the vector store (managed search): it then chooses how to
            search, and a mode is refused.
        list_fields: Metadata fields that hold lists of texts.
        groups_field: Metadata field that lists the groups that may see a document. With it the
            store is protected: a query must name its groups, and documents without the field are
            seen by nobody. Without it a query with groups is refused.
        user_id: User on whose behalf the knowledge base is asked, for access lists of its own.
        guardrail_id: Guardrail to apply to the question and to what is found. Where it blocks all
            of it, an answer is refused for `guardrail`.
        guardrail_version: Its version, a number or `DRAFT`.
        reranker_arn: ARN of a foundation model that reorders what is found; it is billed by query.
        candidates: Results that the reranker chooses from, `k` to 100; None gives it `k`.

    Raises:
        ConfigError: a value cannot be used as given.
        MissingExtraError: boto3 is not installed.
    """

    def __init__(
        self,
        knowledge_base_id: str,
        *,
        region: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float = 30.0,
        retry_seconds: float = 20.0,
        managed: bool = False,
        list_fields: Sequence[str] = (),
        groups_field: str | None = None,
        user_id: str | None = None,
        guardrail_id: str | None = None,
        guardrail_version: str = "DRAFT",
        reranker_arn: str | None = None,
        candidates: int | None = None,
    ) -> None:
        _check_id(knowledge_base_id)
        _check_guardrail(guardrail_id, guardrail_version)
        _check_reranker(reranker_arn, candidates)
        self.name = f"bedrock-kb:{knowledge_base_id}"
        self._id = knowledge_base_id
        self._managed = managed
        self._list_fields = frozenset(list_fields)
        self._groups_field = groups_field
        self._reranker_arn = reranker_arn
        self._candidates = candidates
        self._request: dict[str, object] = {"knowledgeBaseId": knowledge_base_id}
        if user_id is not None:
            self._request["userContext"] = {"userId": user_id}
        if guardrail_id is not None:
            self._request["guardrailConfiguration"] = {
                "guardrailId": guardrail_id,
                "guardrailVersion": guardrail_version,
            }
        self._client = AwsClient(
            "bedrock-agent-runtime",
            region=region,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            retry_seconds=retry_seconds,
        )
        self.fingerprint = fingerprint(
            self.name,
            region=self._client.region,
            base_url=base_url,
            managed=managed,
            list_fields=sorted(self._list_fields) or None,
            groups_field=groups_field,
            user_id=user_id,
            guardrail=None if guardrail_id is None else [guardrail_id, guardrail_version],
            reranker_arn=reranker_arn,
            candidates=candidates,
        )

    def __repr__(self) -> str:
        """Name the knowledge base."""
        return f"KnowledgeBaseRetriever({self._id!r})"

    def search(self, query: Query) -> Sequence[Hit]:
        """Return at most `query.k` hits, best first.

        `Hit.score` is Bedrock's relevance, on a scale of the vector store's or the reranker's own;
        where Bedrock gives none it is 1 / rank, an order and nothing more.

        Args:
            query: `k` from 1 to 100; `mode` `dense` (semantic), `hybrid`, which only some vector
                stores have, or None for what Bedrock chooses; `vector` is not used.

        Raises:
            ConfigError: a mode, `k`, filter or group that the knowledge base does not have.
            AccessDeniedError: the caller may not ask this knowledge base.
            RateLimitedError: the service was overloaded for as long as `retry_seconds`.
            RemoteError: the service or its vector store failed, was too slow or cannot be reached.
        """
        if not 1 <= query.k <= MAX_HITS:
            raise ConfigError(f"k {query.k}; allowed with a knowledge base: 1 to {MAX_HITS}")
        if len(query.question) > MAX_QUESTION_CHARACTERS:
            raise ConfigError(
                f"question of {len(query.question):,} characters; allowed: "
                f"{MAX_QUESTION_CHARACTERS:,}"
            )
        try:
            search = self._search_configuration(query)
        except NothingPassesError:
            return []
        if not query.question.strip():
            return []
        kind = "managedSearchConfiguration" if self._managed else "vectorSearchConfiguration"
        request: dict[str, object] = {
            **self._request,
            "retrievalQuery": {"text": query.question},
            "retrievalConfiguration": {kind: search},
        }
        passages, is_blocked = self._passages(request, query.k)
        hits = to_hits(passages, k=query.k)
        return Blocked() if is_blocked and not hits else hits

    def _passages(self, request: dict[str, object], k: int) -> tuple[list[FoundPassage], bool]:
        """Read pages until there are enough passages or no more; say if a guardrail intervened."""
        found: list[FoundPassage] = []
        is_blocked = False
        call = AwsCall(
            method="retrieve",
            action="bedrock:Retrieve",
            about=f"knowledge base {self._id}",
            texts=(text(record(request["retrievalQuery"]).get("text")),),
        )
        for _ in range(_MAX_PAGES):
            # Bedrock embeds the question, and may rerank, and tells of neither.
            with meter().embedding(), self._reranking():
                answer = self._client.call(call, request)
            is_blocked |= answer.get("guardrailAction") == "INTERVENED"
            found += [self._passage(result) for result in records(answer.get("retrievalResults"))]
            token = answer.get("nextToken")
            if not token or sum(bool(passage.text.strip()) for passage in found) >= k:
                break
            request["nextToken"] = token
        return found, is_blocked

    def _reranking(self) -> AbstractContextManager[None]:
        return nullcontext() if self._reranker_arn is None else meter().reranking(None)

    def _search_configuration(self, query: Query) -> dict[str, object]:
        search: dict[str, object] = {"numberOfResults": max(query.k, self._candidates or 0)}
        if query.mode is not None:
            if self._managed or query.mode not in _SEARCH_TYPES:
                raise ConfigError(
                    f"mode {query.mode!r}; allowed with a knowledge base: none where it is "
                    "managed, else dense hybrid"
                )
            search["overrideSearchType"] = _SEARCH_TYPES[query.mode]
        tests = [*self._groups(query.groups), *self._conditions(query.filters)]
        if tests:
            search["filter"] = _joined("andAll", tests)
        if self._reranker_arn is not None:
            search["rerankingConfiguration"] = {
                "type": "BEDROCK_RERANKING_MODEL",
                "bedrockRerankingConfiguration": {
                    "modelConfiguration": {"modelArn": self._reranker_arn},
                    "numberOfRerankedResults": query.k,
                },
            }
            if self._managed:
                search["rerankingModelType"] = "CUSTOM"
        return search

    def _groups(self, groups: Sequence[str] | None) -> list[_Filter]:
        if self._groups_field is None:
            if groups is None:
                return []
            raise ConfigError(
                "a knowledge base has no groups of its own: name the metadata field that lists "
                "them as groups_field"
            )
        if groups is None:
            raise ConfigError("this knowledge base is protected: name the groups of the reader")
        if not groups:
            raise NothingPassesError
        return [_joined("orAll", [_test("listContains", self._groups_field, g) for g in groups])]

    def _conditions(self, filters: Mapping[str, Json] | None) -> list[_Filter]:
        """Return ragkit's filter as conditions that must all hold; raises `ConfigError`."""
        found: list[_Filter] = []
        for field, operator, operand in conditions(filters):
            if not 1 <= len(field) <= _MAX_KEY:
                raise ConfigError(f"filter on {field!r}; allowed: names of 1 to {_MAX_KEY}")
            found += self._condition(field, operator, operand)
        return found

    def _condition(self, field: str, operator: str, operand: Json) -> list[_Filter]:
        is_list = field in self._list_fields
        if operator == "$eq":
            return [self._equal(field, operand)]
        if operator == "$in":
            values = operands(operand)
            if not values:
                raise NothingPassesError
            if not is_list:
                return [_test("in", field, [_value(field, value) for value in values])]
            return [_joined("orAll", [self._equal(field, value) for value in values])]
        # `notIn` is not said to hold where the field is missing, as $nin does; `notEquals` is.
        if operator in {"$ne", "$nin"} and not is_list:
            values = [operand] if operator == "$ne" else operands(operand)
            return [_test("notEquals", field, _value(field, value)) for value in values]
        if operator in _ORDERS and not is_list and not isinstance(operand, str):
            return [_test(_ORDERS[operator], field, operand)]
        raise ConfigError(
            f"filter on {field!r}: a knowledge base has no {operator} here; it has $eq $in for all "
            "fields, $ne $nin where they hold no list, and $gt $gte $lt $lte for numbers"
        )

    def _equal(self, field: str, value: Json) -> _Filter:
        operator = "listContains" if field in self._list_fields else "equals"
        return _test(operator, field, _value(field, value))

    def _passage(self, result: Record) -> FoundPassage:
        content = record(result.get("content"))
        metadata = json_record(result.get("metadata"))
        source = _uri(record(result.get("location"))) or text(metadata.get(f"{_OWN}source-uri"))
        kind = text(content.get("type")) or "TEXT"
        if kind != "TEXT":
            metadata["bedrock-kb:type"] = kind
        score = result.get("score")
        return FoundPassage(
            text=_content(content),
            document_id=text(result.get("documentId")) or source or self.name,
            id=text(metadata.get(f"{_OWN}chunk-id")),
            title=text(metadata.get("title")),
            source=source,
            metadata=metadata,
            score=score if isinstance(score, float) else None,
            page=_page(metadata.get(f"{_OWN}document-page-number")),
        )


def _check_id(knowledge_base_id: str) -> None:
    if not _ID.fullmatch(knowledge_base_id):
        raise ConfigError(
            f"store 'bedrock-kb:{knowledge_base_id}'; allowed: bedrock-kb:ID, 10 letters and "
            "digits, or bedrock-kb:ARN"
        )


def _check_guardrail(guardrail_id: str | None, guardrail_version: str) -> None:
    if guardrail_id is not None and not _GUARDRAIL.fullmatch(guardrail_id):
        raise ConfigError(f"guardrail_id {guardrail_id!r}; allowed: small letters and digits")
    if not _VERSION.fullmatch(guardrail_version):
        raise ConfigError(f"guardrail_version {guardrail_version!r}; allowed: a number, DRAFT")


def _check_reranker(reranker_arn: str | None, candidates: int | None) -> None:
    if reranker_arn is not None and not _RERANKER.fullmatch(reranker_arn):
        raise ConfigError(
            f"reranker_arn {reranker_arn!r}; allowed: arn:aws:bedrock:REGION::"
            "foundation-model/MODEL"
        )
    if candidates is not None and not 1 <= candidates <= MAX_HITS:
        raise ConfigError(f"candidates {candidates}; allowed: 1 to {MAX_HITS}")
    if candidates is not None and reranker_arn is None:
        raise ConfigError("candidates is given without reranker_arn, which chooses from them")


def _joined(operator: str, tests: list[_Filter]) -> _Filter:
    """Join conditions; one alone must not be wrapped."""
    return tests[0] if len(tests) == 1 else {operator: tests}


def _test(operator: str, field: str, value: Json) -> _Filter:
    return {operator: {"key": field, "value": value}}


def _value(field: str, value: Json) -> Json:
    if value is None:
        raise ConfigError(f"filter on {field!r}: a knowledge base holds no null to compare with")
    return value


def _content(content: Record) -> str:
    """Return the text of a result, empty where it has none."""
    rows = records(content.get("row"))
    cells = "\n".join(f"{text(c.get('columnName'))}: {text(c.get('columnValue'))}" for c in rows)
    return (
        text(content.get("text"))
        or cells
        or text(record(content.get("audio")).get("transcription"))
        or text(record(content.get("video")).get("summary"))
    )


def _uri(location: Record) -> str:
    """Return the address in whatever kind of location: each has one, by a name of its own."""
    for place in location.values():
        for name in ("uri", "url", "id", "query"):
            found = text(record(place).get(name))
            if found:
                return found
    return ""


def _page(value: object) -> int | None:
    # JSON numbers come as floats from some vector stores.
    page = number(value)
    return int(page) if page is not None and page >= 1 and page == int(page) else None
