"""What writing to a store uses of other machines, and its line in the ledger, even if it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from ragkit.costs.metering import Meter
from ragkit.pipeline.receipts import is_own
from ragkit.types import Json

if TYPE_CHECKING:
    from ragkit.pipeline.parts import Parts
    from ragkit.pipeline.report import EmbedReport, IngestReport


class Spending:
    """Counts what is used in the body of the `with` statement.

    If the body fails after something was embedded or sent, the ledger has a line that says so.

    Args:
        parts: Of the pipeline.
        rebuild: Whether the store is rebuilt.
    """

    def __init__(self, parts: Parts, *, rebuild: bool = False) -> None:
        self._parts = parts
        self._more: dict[str, Json] = {"rebuild": True} if rebuild else {}
        self._meter = Meter()
        self._active = self._meter.active()
        self._report: Callable[[], IngestReport | EmbedReport] | None = None

    def __enter__(self) -> Spending:
        self._active.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._active.__exit__(kind, error, trace)
        if error is None or self._report is None:
            return
        report = self._report()
        if self._meter.bytes_sent or report.embedded:
            outcome = "failed" if isinstance(error, Exception) else "abandoned"
            self._parts.record(report.to_record({**self.used(), "outcome": outcome}))

    def expect(self, report: Callable[[], IngestReport | EmbedReport]) -> None:
        """Tell what gives the report of the work so far, which is recorded if it fails."""
        self._report = report

    def record(self, report: IngestReport | EmbedReport) -> None:
        """Write what has been done to the ledger."""
        self._parts.record(report.to_record(self.used()))

    def used(self) -> Mapping[str, Json]:
        """Return tokens and bytes; unknown where a part of the user's own may have sent some."""
        meter = self._meter
        counts = is_own(self._parts.opened_store) and is_own(self._parts.opened_embedder)
        return {
            **self._more,
            "embed_tokens": meter.embed_tokens,
            "bytes_sent": meter.bytes_sent if counts else None,
            "bytes_received": meter.bytes_received if counts else None,
        }
