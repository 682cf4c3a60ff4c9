"""Writing many records: every one is acknowledged, or reported with the reason.

The client library's own helpers retry less than they seem to: a record that is throttled (HTTP 429)
raises at once, or is given up after the first round.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ragkit import private
from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_connectors.opensearch.connecting import (
    TRANSIENT_STATUSES,
    Connection,
    RemoteFault,
)
from ragkit_connectors.support.json_values import Record, record, records
from ragkit_connectors.support.retrying import Backoff

MAX_REQUEST_BYTES = 5 * 1024 * 1024
"""Half of what the smallest instances of Amazon OpenSearch Service take (Developer Guide, "Network
quotas")."""

_MAX_ITEMS = 500
_FAILURES_THAT_OPEN = 3
_GROWTH = 1.5
_BUSY_TYPES = ("rejected_execution", "circuit_breaking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One record to write, or to remove where `source` is None; `key` tells it from the others.

    `target` is the server's own id where it makes ids itself; None then for a new record.
    """

    key: str
    target: str | None
    source: Mapping[str, Json] | None = None

    def encoded(self) -> bytes:
        """Return the lines of a bulk request."""
        action = "delete" if self.source is None else "index"
        head = {action: {} if self.target is None else {"_id": self.target}}
        parts = [head] if self.source is None else [head, self.source]
        return "".join(f"{json.dumps(p, separators=(',', ':'))}\n" for p in parts).encode()


@dataclass(slots=True)
class BulkReport:
    """The outcome of the operations: each key is in exactly one of `acknowledged` and `failed`.

    `n_sent` counts operations each time that they are sent, `n_throttled` each time that the server
    throttled them (HTTP 429) and did nothing.
    """

    acknowledged: set[str] = field(default_factory=set[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    n_sent: int = 0
    n_throttled: int = 0
    n_requests: int = 0

    def add(self, other: BulkReport) -> None:
        """Add what another report counted."""
        self.acknowledged |= other.acknowledged
        self.failed |= other.failed
        self.n_sent += other.n_sent
        self.n_throttled += other.n_throttled
        self.n_requests += other.n_requests


class BulkWriter:
    """Sends operations in requests whose size adapts to what the server takes.

    After a request or a record that was throttled (HTTP 429) the next request is half as large,
    after a success half as large again as the last. A request that is too large (413) halves the
    byte limit. When several requests in a row fail, single records probe whether the server is
    back. Waits grow with jitter; writing ends when the connection's `retry_seconds` have passed
    without a single acknowledgement.

    Args:
        connection: Where to.
        dead_letters: File that records which the server refuses for good are appended to, as JSON
            Lines; None: they are only reported.
    """

    def __init__(self, connection: Connection, *, dead_letters: Path | None = None) -> None:
        self._connection = connection
        self._dead_letters = dead_letters
        self._max_bytes = MAX_REQUEST_BYTES
        self._n_items = _MAX_ITEMS
        self.total = BulkReport()

    def write(self, index: str, operations: Sequence[Operation]) -> BulkReport:
        """Write all operations; order is kept only among those of one key.

        Raises:
            RemoteError: the server refuses the caller.
        """
        report = BulkReport()
        waiting = list(operations)
        backoff = self._backoff()
        n_failures = 0
        while waiting:
            n_items = 1 if n_failures >= _FAILURES_THAT_OPEN else self._n_items
            batch, body = self._cut(waiting, n_items)
            n_done = len(report.acknowledged)
            try:
                answer = self._send(index, body, backoff)
            except RemoteFault as fault:
                report.n_sent += len(batch)
                report.n_requests += 1
                if fault.status == 413:
                    self._too_large(waiting, batch, len(body), report)
                    continue
                if not fault.is_transient:
                    raise fault.error() from fault
                report.n_throttled += len(batch) if fault.is_throttled else 0
                n_failures += 1
                self._slow_down(fault.is_throttled)
                if not backoff.wait():
                    self._give_up(waiting, str(fault.error(backoff.n_waits)), report)
                continue
            report.n_sent += len(batch)
            report.n_requests += 1
            again = self._read(batch, answer, report)
            waiting = waiting[len(batch) :] + again
            if len(report.acknowledged) > n_done:
                backoff, n_failures = self._backoff(), 0
            if not again:
                self._n_items = min(
                    _MAX_ITEMS, max(self._n_items + 1, int(self._n_items * _GROWTH))
                )
                continue
            self._slow_down(is_busy=True)
            if not backoff.wait():
                reason = f"the server was too busy for {self._connection.retry_seconds:g} seconds"
                self._give_up(waiting, reason, report)
        self._keep_dead_letters(operations, report)
        self.total.add(BulkReport(n_sent=report.n_sent, n_throttled=report.n_throttled,
                                  n_requests=report.n_requests))  # fmt: skip
        return report

    def _backoff(self) -> Backoff:
        return Backoff(time.monotonic() + self._connection.retry_seconds)

    def _send(self, index: str, body: bytes, backoff: Backoff) -> Record:
        seconds = min(self._connection.timeout_seconds, max(0.05, backoff.seconds_left))
        # The name is checked and needs no encoding; the answer is cut to what is read of it.
        return self._connection.once(
            "POST",
            f"/{index}/_bulk",
            body,
            params={"filter_path": "errors,items.*._id,items.*.status,items.*.error"},
            seconds=seconds,
        )

    def _cut(self, waiting: Sequence[Operation], n_items: int) -> tuple[list[Operation], bytes]:
        """Return the first operations that fit into a request, at least one."""
        batch: list[Operation] = []
        parts: list[bytes] = []
        n_bytes = 0
        for operation in waiting[:n_items]:
            encoded = operation.encoded()
            if batch and n_bytes + len(encoded) > self._max_bytes:
                break
            batch.append(operation)
            parts.append(encoded)
            n_bytes += len(encoded)
        return batch, b"".join(parts)

    def _read(
        self, batch: Sequence[Operation], answer: Record, report: BulkReport
    ) -> list[Operation]:
        """Note what became of each operation and return those to send again."""
        items = records(answer.get("items"))
        again: list[Operation] = []
        for i, operation in enumerate(batch):
            item = _first_value(items[i] if i < len(items) else {})
            said = item.get("status")
            status = said if isinstance(said, int) else None
            error = record(item.get("error"))
            kind = str(error.get("type", ""))
            is_gone = operation.source is None and status == 404
            if is_gone or (status is not None and 200 <= status < 300):
                report.acknowledged.add(operation.key)
            elif status in TRANSIENT_STATUSES or any(busy in kind for busy in _BUSY_TYPES):
                report.n_throttled += status == 429
                again.append(operation)
            elif status is None:
                # An answer that says nothing of a record is no acknowledgement.
                again.append(operation)
            else:
                report.failed[operation.key] = _reason(kind, error)
        return again

    def _slow_down(self, is_busy: bool) -> None:
        if is_busy:
            self._n_items = max(1, self._n_items // 2)

    def _too_large(
        self, waiting: list[Operation], batch: Sequence[Operation], size: int, report: BulkReport
    ) -> None:
        if len(batch) > 1:
            self._max_bytes = max(1, size // 2)
            return
        report.failed[batch[0].key] = f"a record of {size:,} bytes is too large for the server"
        del waiting[0]

    def _give_up(self, waiting: list[Operation], reason: str, report: BulkReport) -> None:
        report.failed.update({operation.key: reason for operation in waiting})
        waiting.clear()

    def _keep_dead_letters(self, operations: Sequence[Operation], report: BulkReport) -> None:
        if self._dead_letters is None or not report.failed:
            return
        try:
            with open(self._dead_letters, "a", encoding="utf-8", opener=private.opener) as file:
                for operation in operations:
                    if operation.key in report.failed and operation.source is not None:
                        reason = report.failed[operation.key]
                        line = {"key": operation.key, "reason": reason, "record": operation.source}
                        file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise ConfigError(f"dead_letters {self._dead_letters}: {error.strerror}") from error


def _first_value(item: Record) -> Record:
    """Return what an item says of its operation, whatever the operation is called."""
    return record(next(iter(item.values()), None))


def _reason(kind: str, error: Record) -> str:
    cause = record(error.get("caused_by"))
    detail = str(cause.get("reason") or error.get("reason") or "no reason given")
    hint = ""
    if "dimension" in detail.lower():
        hint = ": the index was made for vectors of another length; ragkit rebuild changes it"
    return f"{kind}: {detail[:200]}{hint}"
