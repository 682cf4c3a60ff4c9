"""What an ingest reports: progress, and the final counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from ragkit.costs.energy import local_joules
from ragkit.types import Failure, Json

if TYPE_CHECKING:
    from ragkit.costs.stopwatch import StageCost
    from ragkit.ingest_rules import RuledFile
    from ragkit.pipeline.estimating import Forecast

Status: TypeAlias = Literal["added", "changed", "unchanged", "removed", "skipped", "failed"]
STATUSES: tuple[Status, ...] = (
    "added",
    "changed",
    "unchanged",
    "removed",
    "skipped",
    "failed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One document is done. For a document that was written, this is the acknowledgement.

    `forecast` says what is left of an ingest of files; None for other work.
    """

    document_id: str
    status: Status
    forecast: Forecast | None = None


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What an ingest did.

    `moved` counts documents whose file has been moved or renamed. Each of them is also counted as
    added or changed. None means that this was not checked.
    """

    documents: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    moved: int | None = 0
    chunks: int = 0
    embedded: int = 0
    truncated: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    stages: tuple[StageCost, ...] = ()
    sentence_seconds: float = 0.0
    sentence_bytes: int = 0
    failures: list[Failure] = field(default_factory=list[Failure])
    skips: list[Failure] = field(default_factory=list[Failure])
    languages: dict[str, int] = field(default_factory=dict[str, int])
    rules: Sequence[RuledFile] = ()

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ingest`."""
        return {
            "schema": 1,
            "documents": {str(status): n for status, n in self.documents.items()},
            "moved": self.moved,
            "chunks": self.chunks,
            "embedded": self.embedded,
            "truncated": self.truncated,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "stages": [stage.to_dict() for stage in self.stages],
            "sentence_vectors": {"seconds": self.sentence_seconds, "bytes": self.sentence_bytes},
            "failures": [failure.to_dict() for failure in self.failures],
            "skipped": [failure.to_dict() for failure in self.skips],
            "languages": dict(self.languages),
            "rules": [file.to_dict() for file in self.rules],
        }

    def to_record(self) -> dict[str, Json]:
        """Return what the ledger keeps: counts and costs, no names."""
        data = self.to_dict()
        kept = {key: data[key] for key in data if key not in _NAMES}
        return {"kind": "ingest", **kept, "joules": local_joules(self.cpu_seconds).to_dict()}


_NAMES = {"schema", "failures", "skipped", "rules"}
