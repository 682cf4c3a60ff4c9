"""A server in this process with the part of OpenSearch's API that ragkit's connector uses.

For tests without Java. The same contract tests run against it and against a real node; where it
cannot tell what a real one would answer, it answers 400. Writes are found after a refresh, as on a
real one.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from ragkit_connectors.support.json_values import Record, items, record, records, text
from ragkit_connectors.testing.opensearch_queries import (
    Records,
    Refused,
    StoredIndex,
    matching,
    search,
)
from ragkit_connectors.testing.serving import Answering, LoopbackServer, Request


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
        items: For a bulk request: answer it, but throttle (429) this share of its records.
        after_doing: Do what was asked before the trouble, as a time-out after the work.
        seconds: Wait before it.
        drip_seconds: Send the answer byte by byte, with this pause.
    """

    status: int | None = 503
    body: Mapping[str, object] | None = None
    kind: str = "unavailable"
    reason: str = "scripted"
    items: float = 0.0
    after_doing: bool = False
    seconds: float = 0.0
    drip_seconds: float = 0.0


class OpenSearchServer(LoopbackServer):
    """A server on this machine that answers as OpenSearch does; empty at first.

    Args:
        version: What it says it is.
        serverless: Behave like a vector collection of OpenSearch Serverless: no ids in bulk
            requests, no refresh; what is written is found `visible_after` searches later.
        fuses: Whether it has the plugin for hybrid queries.
        trouble: Called with each request; what it returns happens instead of the answer.
        visible_after: Of a serverless one.
        authorization: The `Authorization` header that it requires; None: none.

        with OpenSearchServer() as server:
            RAG(f"opensearch:{server.url}/kb")
    """

    protocol_version = "HTTP/1.1"

    def __init__(
        self,
        *,
        version: str = "2.19.1",
        serverless: bool = False,
        fuses: bool = True,
        trouble: Callable[[Asked], Trouble | None] | None = None,
        visible_after: int = 0,
        authorization: str | None = None,
    ) -> None:
        super().__init__()
        self.requests: list[Asked] = []
        self.trouble = trouble
        self.authorization = authorization
        self._version = version
        self._serverless = serverless
        self._fuses = fuses
        self._visible_after = visible_after
        self._countdown = 0
        self._lock = threading.Lock()
        self._indices: dict[str, StoredIndex] = {}
        self._aliases: dict[str, str] = {}
        self._pits: dict[str, tuple[StoredIndex, Records]] = {}

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

    def respond(self, request: Request, answer: Answering) -> None:
        """Answer as OpenSearch does, or as `trouble` says."""
        url = urlsplit(request.path)
        asked = Asked(
            method=request.method,
            path=url.path,
            parameters={name: values[0] for name, values in parse_qs(url.query).items()},
            body=request.data,
        )
        self.requests.append(asked)
        wanted = self.authorization
        if wanted is not None and request.headers.get("authorization") != wanted:
            answer.json(401, {"error": {"type": "security_exception", "reason": "who are you?"}})
            return
        trouble = None if self.trouble is None else self.trouble(asked)
        if trouble is None:
            answer.json(*self._answer(asked))
        else:
            self._be_trouble(asked, trouble, answer)

    def _be_trouble(self, asked: Asked, trouble: Trouble, answer: Answering) -> None:
        if answer.pause(trouble.seconds):
            return
        if trouble.items or trouble.drip_seconds:
            status, body = self._answer(asked, trouble.items)
            data, pause = json.dumps(body).encode(), trouble.drip_seconds
            answer.whole(status, "application/json", data, seconds_per_byte=pause)
            return
        if trouble.after_doing:
            self._answer(asked)
        if trouble.status is None:
            answer.close()
            return
        error = {"type": trouble.kind, "reason": trouble.reason}
        answer.json(trouble.status, trouble.body or {"error": error, "status": trouble.status})

    def _answer(self, asked: Asked, throttled: float = 0.0) -> tuple[int, Record]:
        with self._lock:
            try:
                return 200, self._route(asked, throttled)
            except Refused as refused:
                return refused.status, refused.body

    # --- routes ------------------------------------------------------------------------------

    def _route(self, asked: Asked, throttled: float) -> Record:
        parts = [unquote(part) for part in asked.path.strip("/").split("/")]
        has_json = asked.body and not asked.path.endswith("/_bulk")
        body = record(json.loads(asked.body) if has_json else None)
        if parts == [""]:
            return {"version": {"number": self._version, "distribution": "opensearch"}}
        if parts == ["_aliases"]:
            return self._move(records(body["actions"]))
        if parts == ["_search"]:
            index, seen = self._pits[str(record(body["pit"])["id"])]
            return search(index, seen, body, fuses=self._fuses)
        if parts == ["_search", "point_in_time"]:
            for name in items(body["pit_id"]):
                del self._pits[text(name)]
            return {}
        return self._on_index(asked, parts, body, throttled)

    def _on_index(
        self, asked: Asked, parts: Sequence[str], body: Record, throttled: float
    ) -> Record:
        name, what = parts[0], "/".join(parts[1:])
        if what == "":
            return self._create(name, body) if asked.method == "PUT" else self._delete(name)
        index = self._find(name)
        if what == "_refresh" and self._serverless:
            raise Refused(404, "not_found", "no handler for _refresh")
        answers: dict[str, Callable[[], Record]] = {
            "_mapping": lambda: self._mapping(index, asked.method, body),
            "_bulk": lambda: self._bulk(index, asked.body, throttled),
            "_search": lambda: search(index, self._visible(index), body, fuses=self._fuses),
            "_count": lambda: {"count": len(matching(index, self._visible(index), body["query"]))},
            "_refresh": lambda: self._refresh(index),
            "_mget": lambda: self._mget(index, [text(name) for name in items(body["ids"])]),
            "_search/point_in_time": lambda: self._open_pit(index),
        }
        if what not in answers:
            raise Refused(400, "illegal_argument_exception", f"no handler for {asked.path}")
        return answers[what]()

    def _find(self, name: str) -> StoredIndex:
        concrete = self._aliases.get(name, name)
        if concrete not in self._indices:
            raise Refused(404, "index_not_found_exception", f"no such index [{name}]")
        return self._indices[concrete]

    def _create(self, name: str, body: Record) -> Record:
        if name in self._indices:
            raise Refused(400, "resource_already_exists_exception", f"index [{name}] exists")
        self._indices[name] = StoredIndex(name, dict(record(body.get("mappings"))))
        for alias in record(body.get("aliases")):
            self._aliases[alias] = name
        return {"acknowledged": True}

    def _delete(self, name: str) -> Record:
        if name in self._aliases:
            raise Refused(400, "illegal_argument_exception", f"[{name}] is an alias")
        self._find(name)
        del self._indices[name]
        return {"acknowledged": True}

    def _move(self, actions: Sequence[Record]) -> Record:
        for action in actions:
            if "add" in action:
                target = record(action["add"])
                self._aliases[text(target.get("alias"))] = text(target.get("index"))
        return {"acknowledged": True}

    def _mapping(self, index: StoredIndex, method: str, body: Record) -> Record:
        if method == "PUT":
            index.mappings.update(body)
        return {index.name: {"mappings": index.mappings}}

    def _refresh(self, index: StoredIndex) -> Record:
        index.seen = dict(index.records)
        return {}

    def _visible(self, index: StoredIndex) -> Records:
        if self._serverless and index.seen != index.records:
            self._countdown -= 1
            if self._countdown < 0:
                self._refresh(index)
        return index.seen

    def _mget(self, index: StoredIndex, ids: Sequence[str]) -> Record:
        docs = [
            {"_id": name, "found": name in index.records, "_source": index.records.get(name, {})}
            for name in ids
        ]
        return {"docs": docs}

    def _open_pit(self, index: StoredIndex) -> Record:
        name = uuid.uuid4().hex
        self._pits[name] = index, dict(self._visible(index))
        return {"pit_id": name}

    # --- writing -----------------------------------------------------------------------------

    def _bulk(self, index: StoredIndex, body: bytes, throttled: float) -> Record:
        lines = iter(body.decode().splitlines())
        items: list[Record] = []
        for number, line in enumerate(lines):
            ((verb, head),) = record(json.loads(line)).items()
            source = None if verb == "delete" else record(json.loads(next(lines)))
            busy = int((number + 1) * throttled) > int(number * throttled)
            outcome = _BUSY if busy else self._write(index, record(head).get("_id"), source)
            items.append({verb: outcome})
        self._countdown = self._visible_after
        return {"errors": True, "items": items}

    def _write(self, index: StoredIndex, name: object, source: Record | None) -> Record:
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
            if told.get("type") == "knn_vector" and len(items(value)) != dim:
                reason = f"Vector dimension mismatch. Expected: {dim}"
                return _failed(400, "mapper_parsing_exception", reason)
        index.records[str(name)] = source
        return {"_id": name, "status": 201}


_BUSY: Record = {
    "status": 429,
    "error": {"type": "rejected_execution_exception", "reason": "rejected execution of bulk"},
}


def _failed(status: int, kind: str, reason: str) -> Record:
    return {"status": status, "error": {"type": kind, "reason": reason}}
