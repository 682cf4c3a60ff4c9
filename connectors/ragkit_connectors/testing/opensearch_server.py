"""A server in this process that speaks as much of OpenSearch as ragkit's connector uses.

For tests without Java. It is kept honest by passing the same contract as a real node does; where
it cannot say what a real one would, it answers 400. What is written is found after a refresh, as on
a real one.
"""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TypeAlias, cast
from urllib.parse import parse_qs, unquote, urlsplit

from ragkit.types import Json

Record: TypeAlias = dict[str, object]

_UNJOINED = -9_549_511_920.0
"""What a real server gives for a hybrid query without a pipeline."""

_K1, _B = 1.2, 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: method, path, parameters and body."""

    method: str
    path: str
    parameters: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the server does instead of answering.

    Attributes:
        status: Of the answer; None closes the connection without one.
        body: Of the answer, instead of an error.
        kind: Type of the error.
        reason: Its reason.
        items: For a bulk request: answer it, but push back (429) this share of its records.
        after_doing: Do what was asked before the trouble, as a time-out after the work.
        seconds: Wait before it.
        drip_seconds: Send the answer a byte at a time, with this pause.
    """

    status: int | None = 503
    body: Mapping[str, object] | None = None
    kind: str = "unavailable"
    reason: str = "scripted"
    items: float = 0.0
    after_doing: bool = False
    seconds: float = 0.0
    drip_seconds: float = 0.0


class _Refused(Exception):
    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.body: Record = {
            "error": {"type": kind, "reason": reason, "root_cause": [{"reason": reason}]},
            "status": status,
        }


@dataclass(slots=True)
class _Stored:
    """Records by id, with those that searches see."""

    name: str
    mappings: Record
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    seen: dict[str, Record] = field(default_factory=dict[str, Record])

    def field(self, name: str) -> Record:
        return cast("dict[str, Record]", self.mappings.get("properties", {})).get(name, {})


class OpenSearchServer:
    """A server on this machine that answers as OpenSearch does; empty at first.

    Args:
        version: What it says it is.
        serverless: Behave like a vector collection of OpenSearch Serverless: no ids in bulk
            requests, no refresh; what is written is found `visible_after` searches later.
        joins: Whether it has the plugin for hybrid queries.
        trouble: Called with each request; what it returns happens instead of the answer.
        visible_after: Of a serverless one.
        authorization: The `Authorization` header that it asks for; None: none.

        with OpenSearchServer() as server:
            RAG(f"opensearch:{server.url}/kb")
    """

    def __init__(
        self,
        *,
        version: str = "2.19.1",
        serverless: bool = False,
        joins: bool = True,
        trouble: Callable[[Asked], Trouble | None] | None = None,
        visible_after: int = 0,
        authorization: str | None = None,
    ) -> None:
        self.requests: list[Asked] = []
        self.n_connections = 0
        self.trouble = trouble
        self.stopping = threading.Event()
        self.authorization = authorization
        self._version = version
        self._serverless = serverless
        self._joins = joins
        self._visible_after = visible_after
        self._countdown = 0
        self._lock = threading.Lock()
        self._indices: dict[str, _Stored] = {}
        self._aliases: dict[str, str] = {}
        self._pits: dict[str, tuple[_Stored, dict[str, Record]]] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True
        )

    @property
    def url(self) -> str:
        """Address to give to a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def n_open_points_in_time(self) -> int:
        """Points in time that nobody has deleted."""
        return len(self._pits)

    def indices(self) -> list[str]:
        """Return the names of all indices."""
        return sorted(self._indices)

    def records(self, index: str) -> Mapping[str, Mapping[str, object]]:
        """Return what is stored in an index, by id."""
        return self._find(index).records

    def __enter__(self) -> OpenSearchServer:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop to listen."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, asked: Asked, push_back: float = 0.0) -> tuple[int, Record]:
        """Return status and body for a request."""
        with self._lock:
            try:
                return 200, self._route(asked, push_back)
            except _Refused as refused:
                return refused.status, refused.body

    # --- routes ------------------------------------------------------------------------------

    def _route(self, asked: Asked, push_back: float) -> Record:
        parts = [unquote(part) for part in asked.path.strip("/").split("/")]
        parsed: object = {}
        if asked.body and not asked.path.endswith("/_bulk"):
            parsed = json.loads(asked.body)
        body = cast("Record", parsed)
        if parts == [""]:
            return {"version": {"number": self._version, "distribution": "opensearch"}}
        if parts == ["_aliases"]:
            return self._move(cast("list[Record]", body["actions"]))
        if parts == ["_search"]:
            pit = cast("Record", body["pit"])
            index, seen = self._pits[str(pit["id"])]
            return self._search(index, seen, body)
        if parts == ["_search", "point_in_time"]:
            for name in cast("list[str]", body["pit_id"]):
                del self._pits[name]
            return {}
        return self._on_index(asked, parts, body, push_back)

    def _on_index(
        self, asked: Asked, parts: Sequence[str], body: Record, push_back: float
    ) -> Record:
        name, what = parts[0], "/".join(parts[1:])
        if what == "":
            return self._create(name, body) if asked.method == "PUT" else self._delete(name)
        index = self._find(name)
        if what == "_refresh" and self._serverless:
            raise _Refused(404, "not_found", "no handler for _refresh")
        answers: dict[str, Callable[[], Record]] = {
            "_mapping": lambda: self._mapping(index, asked.method, body),
            "_bulk": lambda: self._bulk(index, asked.body, push_back),
            "_search": lambda: self._search(index, self._visible(index), body),
            "_count": lambda: {"count": len(_matching(index, self._visible(index), body["query"]))},
            "_refresh": lambda: self._refresh(index),
            "_mget": lambda: self._mget(index, cast("list[str]", body["ids"])),
            "_search/point_in_time": lambda: self._open_pit(index),
        }
        if what not in answers:
            raise _Refused(400, "illegal_argument_exception", f"no handler for {asked.path}")
        return answers[what]()

    def _find(self, name: str) -> _Stored:
        concrete = self._aliases.get(name, name)
        if concrete not in self._indices:
            raise _Refused(404, "index_not_found_exception", f"no such index [{name}]")
        return self._indices[concrete]

    def _create(self, name: str, body: Record) -> Record:
        if name in self._indices:
            raise _Refused(400, "resource_already_exists_exception", f"index [{name}] exists")
        self._indices[name] = _Stored(name, cast("Record", body.get("mappings", {})))
        for alias in cast("Record", body.get("aliases", {})):
            self._aliases[alias] = name
        return {"acknowledged": True}

    def _delete(self, name: str) -> Record:
        if name in self._aliases:
            raise _Refused(400, "illegal_argument_exception", f"[{name}] is an alias")
        self._find(name)
        del self._indices[name]
        return {"acknowledged": True}

    def _move(self, actions: Sequence[Record]) -> Record:
        for action in actions:
            for verb, target in cast("dict[str, dict[str, str]]", action).items():
                if verb == "add":
                    self._aliases[target["alias"]] = target["index"]
        return {"acknowledged": True}

    def _mapping(self, index: _Stored, method: str, body: Record) -> Record:
        if method == "PUT":
            index.mappings.update(body)
        return {index.name: {"mappings": index.mappings}}

    def _refresh(self, index: _Stored) -> Record:
        index.seen = dict(index.records)
        return {}

    def _visible(self, index: _Stored) -> dict[str, Record]:
        if self._serverless and index.seen != index.records:
            self._countdown -= 1
            if self._countdown < 0:
                self._refresh(index)
        return index.seen

    def _mget(self, index: _Stored, ids: Sequence[str]) -> Record:
        docs = [
            {"_id": name, "found": name in index.records, "_source": index.records.get(name, {})}
            for name in ids
        ]
        return {"docs": docs}

    def _open_pit(self, index: _Stored) -> Record:
        name = uuid.uuid4().hex
        self._pits[name] = index, dict(self._visible(index))
        return {"pit_id": name}

    # --- writing -----------------------------------------------------------------------------

    def _bulk(self, index: _Stored, body: bytes, push_back: float) -> Record:
        lines = iter(body.decode().splitlines())
        items: list[Record] = []
        for number, line in enumerate(lines):
            ((verb, head),) = cast("dict[str, Record]", json.loads(line)).items()
            source = None if verb == "delete" else cast("Record", json.loads(next(lines)))
            busy = int((number + 1) * push_back) > int(number * push_back)
            outcome = _BUSY if busy else self._write(index, head.get("_id"), source)
            items.append({verb: outcome})
        self._countdown = self._visible_after
        return {"errors": True, "items": items}

    def _write(self, index: _Stored, name: object, source: Record | None) -> Record:
        if source is None:
            there = index.records.pop(str(name), None)
            return {"_id": name, "status": 404 if there is None else 200}
        if self._serverless:
            if name is not None:
                reason = "Document ID is not supported in create/index operation request"
                return _failed(400, "illegal_argument_exception", reason)
            name = uuid.uuid4().hex
        strict = index.mappings.get("dynamic") == "strict"
        for key, value in source.items():
            told = index.field(key)
            if not told and strict:
                return _failed(400, "strict_dynamic_mapping_exception", f"no field {key}")
            dim = told.get("dimension")
            if told.get("type") == "knn_vector" and len(cast("list[float]", value)) != dim:
                reason = f"Vector dimension mismatch. Expected: {dim}"
                return _failed(400, "mapper_parsing_exception", reason)
        index.records[str(name)] = source
        return {"_id": name, "status": 201}

    # --- searching ---------------------------------------------------------------------------

    def _search(self, index: _Stored, seen: Mapping[str, Record], body: Record) -> Record:
        scores = self._scores(index, seen, body)
        order = [_order(one) for one in cast("list[object]", body.get("sort", ["_score"]))]
        keyed = [
            ([_sort_value(seen[name], score, by) for by, _ in order], name, score)
            for name, score in scores.items()
        ]
        for position, (_, downwards) in reversed(list(enumerate(order))):
            keyed.sort(key=_key_at(position), reverse=downwards)
        after = cast("list[object] | None", body.get("search_after"))
        if after is not None:
            keyed = [row for row in keyed if [_comparable(v) for v in row[0]] > [
                _comparable(v) for v in after]]  # fmt: skip
        wanted = cast("list[str] | None", body.get("_source"))
        hits = [
            {
                "_id": name,
                "_score": score,
                "sort": values,
                "_source": _part(seen[name], wanted),
            }
            for values, name, score in keyed[: cast("int", body.get("size", 10))]
        ]
        rows = [seen[name] for name in scores]
        aggregations = cast("Record", body.get("aggs", {}))
        return {
            "hits": {"hits": hits, "total": {"value": len(scores)}},
            "aggregations": {
                n: _aggregated(rows, cast("Record", a)) for n, a in aggregations.items()
            },
            "_shards": {"failed": 0},
        }

    def _scores(self, index: _Stored, seen: Mapping[str, Record], body: Record) -> dict[str, float]:
        query = cast("Record", body.get("query", {"match_all": {}}))
        if "hybrid" not in query:
            return _matching(index, seen, query)
        if not self._joins:
            raise _Refused(400, "parsing_exception", "unknown query [hybrid]")
        queries = cast("list[Record]", cast("Record", query["hybrid"])["queries"])
        depth = cast("int", body.get("size", 10))
        rankings = [_top(_matching(index, seen, one), depth) for one in queries]
        if "search_pipeline" not in body:
            return {name: _UNJOINED for ranking in rankings for name in ranking}
        pipeline = cast("Record", body["search_pipeline"])
        (processor,) = cast("list[Record]", pipeline["phase_results_processors"])
        if "score-ranker-processor" in processor:
            return _by_rank(rankings)
        return _by_score(rankings)


# --- queries ---------------------------------------------------------------------------------


def _matching(index: _Stored, seen: Mapping[str, Record], query: object) -> dict[str, float]:
    """Return the scores of the records that match a query."""
    ((kind, told),) = cast("dict[str, Record]", query).items()
    if kind == "bool":
        return _bool(index, seen, told)
    if kind == "knn":
        return _nearest(index, seen, told)
    if kind == "match":
        return _by_words(seen, told)
    test = _tests().get(kind)
    if test is None:
        raise _Refused(400, "parsing_exception", f"unknown query [{kind}]")
    return {name: 1.0 for name, record in seen.items() if test(record, told)}


def _tests() -> Mapping[str, Callable[[Record, Record], bool]]:
    return {
        "match_all": lambda _record, _told: True,
        "term": lambda record, told: _has(record, *next(iter(told.items()))),
        "terms": lambda record, told: _has_any(record, *next(iter(told.items()))),
        "range": lambda record, told: _in_range(record, *next(iter(told.items()))),
        "exists": lambda record, told: bool(_values(record, str(told["field"]))),
    }


def _bool(index: _Stored, seen: Mapping[str, Record], told: Record) -> dict[str, float]:
    scores = dict.fromkeys(seen, 0.0)
    added: dict[str, float]
    for part in ("must", "filter"):
        for clause in cast("list[Record]", told.get(part, [])):
            found = _matching(index, {name: seen[name] for name in scores}, clause)
            added = found if part == "must" else dict.fromkeys(found, 0.0)
            scores = {name: scores[name] + score for name, score in added.items()}
    for clause in cast("list[Record]", told.get("must_not", [])):
        found = _matching(index, seen, clause)
        scores = {name: score for name, score in scores.items() if name not in found}
    should = cast("list[Record]", told.get("should", []))
    if should:
        added = {}
        for clause in should:
            for name, score in _matching(index, seen, clause).items():
                added[name] = added.get(name, 0.0) + score
        scores = {name: score + added[name] for name, score in scores.items() if name in added}
    return scores


def _nearest(index: _Stored, seen: Mapping[str, Record], told: Record) -> dict[str, float]:
    ((name, how),) = cast("dict[str, Record]", told).items()
    vector = cast("list[float]", how["vector"])
    if index.field(name).get("type") != "knn_vector":
        raise _Refused(400, "query_shard_exception", f"Field '{name}' is not knn_vector type.")
    dim = index.field(name).get("dimension")
    if dim is not None and len(vector) != dim:
        reason = f"Query vector has invalid dimension: {len(vector)}. Dimension should be: {dim}"
        raise _Refused(400, "query_shard_exception", reason)
    allowed = _matching(index, seen, how["filter"]) if "filter" in how else dict.fromkeys(seen, 0.0)
    scores = {
        record: (1.0 + _cosine(vector, cast("list[float]", seen[record][name]))) / 2.0
        for record in allowed
        if name in seen[record]
    }
    return _top(scores, cast("int", how["k"]))


def _by_words(seen: Mapping[str, Record], told: Record) -> dict[str, float]:
    """Score by BM25 as Lucene does (LUCENE-8563: without the constant factor)."""
    ((name, how),) = cast("dict[str, Record]", told).items()
    words = {key: str(r[name]).lower().split() for key, r in seen.items() if name in r}
    mean = sum(map(len, words.values())) / max(1, len(words))
    scores: dict[str, float] = {}
    for term in str(how["query"]).lower().split():
        counts = {key: n for key, of in words.items() if (n := of.count(term))}
        idf = math.log(1.0 + (len(words) - len(counts) + 0.5) / (len(counts) + 0.5))
        for key, n in counts.items():
            length = 1.0 - _B + _B * len(words[key]) / mean
            scores[key] = scores.get(key, 0.0) + idf * n / (n + _K1 * length)
    return scores


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


def _values(record: Record, name: str) -> list[object]:
    value = record.get(name)
    return (
        cast("list[object]", value) if isinstance(value, list) else [] if value is None else [value]
    )


def _has(record: Record, name: str, value: object) -> bool:
    return value in _values(record, name)


def _has_any(record: Record, name: str, values: object) -> bool:
    found = _values(record, name)
    return any(value in found for value in cast("list[object]", values))


def _in_range(record: Record, name: str, bounds: object) -> bool:
    tests: Mapping[str, Callable[[str, str], bool]] = {
        "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "lte": lambda a, b: a <= b,
    }
    limits = cast("dict[str, str]", bounds)
    return any(
        all(tests[how](str(value), limit) for how, limit in limits.items())
        for value in _values(record, name)
    )


# --- answers ---------------------------------------------------------------------------------

_BUSY: Record = {
    "status": 429,
    "error": {"type": "rejected_execution_exception", "reason": "rejected execution of bulk"},
}


def _failed(status: int, kind: str, reason: str) -> Record:
    return {"status": status, "error": {"type": kind, "reason": reason}}


def _order(one: object) -> tuple[str, bool]:
    """Return what is sorted by and whether the largest comes first."""
    if isinstance(one, str):
        return one, one == "_score"
    ((name, how),) = cast("dict[str, str]", one).items()
    return name, how == "desc"


def _sort_value(record: Record, score: float, by: str) -> object:
    return score if by == "_score" else record.get(by)


def _key_at(position: int) -> Callable[[tuple[list[object], str, float]], tuple[int, float, str]]:
    return lambda row: _comparable(row[0][position])


def _comparable(value: object) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    return (1, 0.0, value) if isinstance(value, str) else (0, float(cast("float", value)), "")


def _part(record: Record, names: Sequence[str] | None) -> Record:
    return dict(record) if names is None else {n: record[n] for n in names if n in record}


def _aggregated(rows: Sequence[Record], told: Record) -> Record:
    kind = next(k for k in ("sum", "max", "terms", "composite", "filter") if k in told)
    how = cast("Record", told[kind])
    if kind == "filter":
        return {
            "doc_count": sum(_tests()["term"](row, cast("Record", how["term"])) for row in rows)
        }
    if kind in {"sum", "max"}:
        values = [float(cast("float", v)) for row in rows for v in _values(row, str(how["field"]))]
        return {"value": sum(values) if kind == "sum" else max(values, default=None)}
    if kind == "terms":
        return {"buckets": list(_buckets(rows, how))}
    return _composite(rows, how, cast("Record", told.get("aggs", {})))


def _buckets(rows: Sequence[Record], how: Record) -> Iterator[Record]:
    counts = Counter(v for row in rows for v in _values(row, str(how["field"])))
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    for key, n in ordered[: cast("int", how["size"])]:
        if n >= cast("int", how.get("min_doc_count", 1)):
            yield {"key": key, "doc_count": n}


def _composite(rows: Sequence[Record], how: Record, parts: Record) -> Record:
    (source,) = cast("list[dict[str, Record]]", how["sources"])
    ((name, told),) = source.items()
    by = str(cast("Record", told["terms"])["field"])
    keys = sorted({str(row[by]) for row in rows if by in row})
    after = cast("dict[str, str] | None", how.get("after"))
    keys = [key for key in keys if after is None or key > after[name]]
    keys = keys[: cast("int", how["size"])]
    buckets = [
        {
            "key": {name: key},
            **{
                part: _aggregated([row for row in rows if row.get(by) == key], cast("Record", a))
                for part, a in parts.items()
            },
        }
        for key in keys
    ]
    return {"buckets": buckets, **({"after_key": {name: keys[-1]}} if keys else {})}


# --- the wire --------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: OpenSearchServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Note that a client has connected."""
        super().setup()
        cast("_Server", self.server).owner.n_connections += 1

    def do_GET(self) -> None:
        """Answer."""
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (name of http.server)
        """Be quiet."""

    def _serve(self) -> None:
        owner = cast("_Server", self.server).owner
        url = urlsplit(self.path)
        asked = Asked(
            method=str(self.command),
            path=url.path,
            parameters={name: values[0] for name, values in parse_qs(url.query).items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        owner.requests.append(asked)
        wanted = owner.authorization
        if wanted is not None and self.headers.get("Authorization") != wanted:
            self._reply(401, {"error": {"type": "security_exception", "reason": "who are you?"}})
            return
        trouble = owner.trouble(asked) if owner.trouble is not None else None
        if trouble is None:
            self._reply(*owner.answer(asked))
        else:
            self._be_trouble(asked, trouble, owner)

    def _be_trouble(self, asked: Asked, trouble: Trouble, owner: OpenSearchServer) -> None:
        if owner.stopping.wait(trouble.seconds):
            return
        if trouble.items or trouble.drip_seconds:
            self._reply(*owner.answer(asked, trouble.items), drip_seconds=trouble.drip_seconds)
            return
        if trouble.after_doing:
            owner.answer(asked)
        if trouble.status is None:
            self.close_connection = True
            return
        error: Json = {"type": trouble.kind, "reason": trouble.reason}
        body = trouble.body or {"error": error, "status": trouble.status}
        self._reply(trouble.status, dict(body))

    def _reply(self, status: int, body: Record, *, drip_seconds: float = 0.0) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for piece in _pieces(data, drip_seconds):
            try:
                self.wfile.write(piece)
            except OSError:
                return
            if drip_seconds and cast("_Server", self.server).owner.stopping.wait(drip_seconds):
                return


def _pieces(data: bytes, drip_seconds: float) -> Iterable[bytes]:
    return [data[i : i + 1] for i in range(len(data))] if drip_seconds else [data]
