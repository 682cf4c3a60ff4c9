"""What the OpenSearch server for tests finds: queries, scores, order and aggregations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ragkit_connectors.support.json_values import (
    Record,
    count,
    first_record,
    is_list,
    is_record,
    items,
    number,
    record,
    records,
    text,
)

Records: TypeAlias = Mapping[str, Record]
"""Records by id."""

_NOT_FUSED = -9_549_511_920.0
"""What a real server gives for a hybrid query without a pipeline."""

_K1, _B = 1.2, 0.75


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body: Record = {
            "error": {"type": kind, "reason": reason, "root_cause": [{"reason": reason}]},
            "status": status,
        }


@dataclass(slots=True)
class StoredIndex:
    """Records by id, with those that searches see."""

    name: str
    mappings: dict[str, object]
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    seen: dict[str, Record] = field(default_factory=dict[str, Record])

    def field(self, name: str) -> Record:
        """Return the mapping of a field, empty where there is none."""
        return record(record(self.mappings.get("properties")).get(name))


def search(index: StoredIndex, seen: Records, body: Record, *, fuses: bool) -> Record:
    """Return the answer to a search among the records that are seen.

    Raises:
        Refused: the query is none, or a hybrid one and the server does not fuse.
    """
    scores = _scores(index, seen, body, fuses=fuses)
    order = [_order(one) for one in items(body.get("sort", ["_score"]))]
    keyed = [
        ([_sort_value(seen[name], score, by) for by, _ in order], name, score)
        for name, score in scores.items()
    ]
    for position, (_, downwards) in reversed(list(enumerate(order))):
        keyed.sort(key=_key_at(position), reverse=downwards)
    if "search_after" in body:
        after = [_comparable(value) for value in items(body["search_after"])]
        keyed = [row for row in keyed if [_comparable(value) for value in row[0]] > after]
    wanted = [str(name) for name in items(body["_source"])] if "_source" in body else None
    hits = [
        {"_id": name, "_score": score, "sort": values, "_source": _part(seen[name], wanted)}
        for values, name, score in keyed[: _size(body)]
    ]
    rows = [seen[name] for name in scores]
    return {
        "hits": {"hits": hits, "total": {"value": len(scores)}},
        "aggregations": {
            name: _aggregated(rows, record(one)) for name, one in record(body.get("aggs")).items()
        },
        "_shards": {"failed": 0},
    }


def _scores(index: StoredIndex, seen: Records, body: Record, *, fuses: bool) -> dict[str, float]:
    query = record(body.get("query", {"match_all": {}}))
    if "hybrid" not in query:
        return matching(index, seen, query)
    if not fuses:
        raise Refused(400, "parsing_exception", "unknown query [hybrid]")
    queries = records(record(query["hybrid"]).get("queries"))
    rankings = [_top(matching(index, seen, one), _size(body)) for one in queries]
    if "search_pipeline" not in body:
        return {name: _NOT_FUSED for ranking in rankings for name in ranking}
    pipeline = record(body["search_pipeline"])
    processor = first_record(pipeline.get("phase_results_processors"))
    return _by_rank(rankings) if "score-ranker-processor" in processor else _by_score(rankings)


def _size(body: Record) -> int:
    size = count(body.get("size"))
    return 10 if size is None else size


def matching(index: StoredIndex, seen: Records, query: object) -> dict[str, float]:
    """Return the scores of the records that match a query."""
    ((kind, value),) = record(query).items()
    told = record(value)
    if kind == "bool":
        return _bool(index, seen, told)
    if kind == "knn":
        return _nearest(index, seen, told)
    if kind == "match":
        return _bm25(seen, told)
    if kind not in _TESTS:
        raise Refused(400, "parsing_exception", f"unknown query [{kind}]")
    return {name: 1.0 for name, fields in seen.items() if _TESTS[kind](fields, told)}


def _bool(index: StoredIndex, seen: Records, told: Record) -> dict[str, float]:
    scores = dict.fromkeys(seen, 0.0)
    added: dict[str, float]
    for part in ("must", "filter"):
        for clause in records(told.get(part)):
            found = matching(index, {name: seen[name] for name in scores}, clause)
            added = found if part == "must" else dict.fromkeys(found, 0.0)
            scores = {name: scores[name] + score for name, score in added.items()}
    for clause in records(told.get("must_not")):
        found = matching(index, seen, clause)
        scores = {name: score for name, score in scores.items() if name not in found}
    should = records(told.get("should"))
    if should:
        added = {}
        for clause in should:
            for name, score in matching(index, seen, clause).items():
                added[name] = added.get(name, 0.0) + score
        scores = {name: score + added[name] for name, score in scores.items() if name in added}
    return scores


def _nearest(index: StoredIndex, seen: Records, told: Record) -> dict[str, float]:
    ((name, value),) = told.items()
    how = record(value)
    vector = _numbers(how["vector"])
    if index.field(name).get("type") != "knn_vector":
        raise Refused(400, "query_shard_exception", f"Field '{name}' is not knn_vector type.")
    dim = index.field(name).get("dimension")
    if dim is not None and len(vector) != dim:
        reason = f"Query vector has invalid dimension: {len(vector)}. Dimension should be: {dim}"
        raise Refused(400, "query_shard_exception", reason)
    allowed = matching(index, seen, how["filter"]) if "filter" in how else dict.fromkeys(seen, 0.0)
    scores = {
        id_: (1.0 + _cosine(vector, _numbers(seen[id_][name]))) / 2.0
        for id_ in allowed
        if name in seen[id_]
    }
    return _top(scores, count(how["k"]) or 0)


def _bm25(seen: Records, told: Record) -> dict[str, float]:
    """Score by BM25 as Lucene does (LUCENE-8563: without the constant factor)."""
    ((name, how),) = told.items()
    words = {
        key: str(fields[name]).lower().split() for key, fields in seen.items() if name in fields
    }
    mean = sum(map(len, words.values())) / max(1, len(words))
    scores: dict[str, float] = {}
    for term in str(record(how)["query"]).lower().split():
        counts = {key: n for key, of in words.items() if (n := of.count(term))}
        idf = math.log(1.0 + (len(words) - len(counts) + 0.5) / (len(counts) + 0.5))
        for key, n in counts.items():
            length = 1.0 - _B + _B * len(words[key]) / mean
            scores[key] = scores.get(key, 0.0) + idf * n / (n + _K1 * length)
    return scores


def _numbers(value: object) -> list[float]:
    return [number(item) or 0.0 for item in items(value)]


def _top(scores: Mapping[str, float], k: int) -> dict[str, float]:
    best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    return dict(best)


def _by_score(rankings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for ranking in rankings:
        low, high = min(ranking.values(), default=0.0), max(ranking.values(), default=0.0)
        for name, score in ranking.items():
            scaled = 1.0 if high == low else (score - low) / (high - low)
            total[name] = total.get(name, 0.0) + (scaled or 0.001) / len(rankings)
    return total


def _by_rank(rankings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            total[name] = total.get(name, 0.0) + 1.0 / (60 + rank)
    return total


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


def _values(fields: Record, name: str) -> Sequence[object]:
    value = fields.get(name)
    return value if is_list(value) else [] if value is None else [value]


def _has(fields: Record, told: Record) -> bool:
    ((name, value),) = told.items()
    return value in _values(fields, name)


def _has_any(fields: Record, told: Record) -> bool:
    ((name, values),) = told.items()
    found = _values(fields, name)
    return any(value in found for value in items(values))


def _in_range(fields: Record, told: Record) -> bool:
    ((name, bounds),) = told.items()
    tests: Mapping[str, Callable[[str, str], bool]] = {
        "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "lte": lambda a, b: a <= b,
    }
    return any(
        all(tests[how](str(value), text(limit)) for how, limit in record(bounds).items())
        for value in _values(fields, name)
    )


_TESTS: Mapping[str, Callable[[Record, Record], bool]] = {
    "match_all": lambda _fields, _told: True,
    "term": _has,
    "terms": _has_any,
    "range": _in_range,
    "exists": lambda fields, told: bool(_values(fields, str(told["field"]))),
}


# --- order and aggregations ------------------------------------------------------------------


def _order(one: object) -> tuple[str, bool]:
    """Return what is sorted by and whether the largest comes first."""
    if not is_record(one):
        return text(one), one == "_score"
    ((name, how),) = one.items()
    return name, how == "desc"


def _sort_value(fields: Record, score: float, by: str) -> object:
    return score if by == "_score" else fields.get(by)


def _key_at(position: int) -> Callable[[tuple[list[object], str, float]], tuple[int, float, str]]:
    return lambda row: _comparable(row[0][position])


def _comparable(value: object) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    return (1, 0.0, value) if isinstance(value, str) else (0, number(value) or 0.0, "")


def _part(fields: Record, names: Sequence[str] | None) -> Record:
    return dict(fields) if names is None else {n: fields[n] for n in names if n in fields}


def _aggregated(rows: Sequence[Record], told: Record) -> Record:
    kind = next(k for k in ("sum", "max", "terms", "composite", "filter") if k in told)
    how = record(told[kind])
    if kind == "filter":
        return {"doc_count": sum(_has(row, record(how["term"])) for row in rows)}
    if kind in {"sum", "max"}:
        values = [number(v) or 0.0 for row in rows for v in _values(row, str(how["field"]))]
        return {"value": sum(values) if kind == "sum" else max(values, default=None)}
    if kind == "terms":
        return {"buckets": list(_buckets(rows, how))}
    return _composite(rows, how, record(told.get("aggs")))


def _buckets(rows: Sequence[Record], how: Record) -> Iterator[Record]:
    counts = Counter(v for row in rows for v in _values(row, str(how["field"])))
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    for key, n in ordered[: _size(how)]:
        if n >= (count(how.get("min_doc_count")) or 1):
            yield {"key": key, "doc_count": n}


def _composite(rows: Sequence[Record], how: Record, parts: Record) -> Record:
    ((name, told),) = first_record(how["sources"]).items()
    by = str(record(record(told)["terms"])["field"])
    keys = sorted({str(row[by]) for row in rows if by in row})
    if "after" in how:
        after = text(record(how["after"]).get(name))
        keys = [key for key in keys if key > after]
    keys = keys[: _size(how)]
    buckets = [
        {
            "key": {name: key},
            **{
                part: _aggregated([row for row in rows if row.get(by) == key], record(one))
                for part, one in parts.items()
            },
        }
        for key in keys
    ]
    return {"buckets": buckets, **({"after_key": {name: keys[-1]}} if keys else {})}
