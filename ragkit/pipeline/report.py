"""What an ingest reports, and what embedding later does: progress, and the final counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ragkit.brief import counted
from ragkit.costs.energy import local_joules
from ragkit.types import Dropped, Failure, Json

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
MOST_CHANGES = 100
"""Documents that a report names of those added, of those changed and of those removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One document is done. For a document that was written, this is the acknowledgement.

    `forecast` says what is left of an ingest of files; None for other work.
    """

    document_id: str
    status: Status
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """What a dry run found: a document, or a file or folder without one, and what it would do.

    `detail` says why, where it would read nothing.
    """

    document_id: str
    source: str
    status: Status
    detail: str = ""

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "document_id": self.document_id,
            "source": self.source,
            "status": self.status,
            "detail": self.detail,
        }


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What an ingest did.

    `moved` counts documents whose file has been moved or renamed. Each of them is also counted as
    added or changed. None means that this was not checked.

    `changes` names the first documents that were added, changed or removed. `known_failures` counts
    those of the `skips` that failed in an earlier ingest and have not changed. `dropped` counts the
    characters of files that their texts leave out, by why.

    `chunks_without_vectors` counts all chunks of the store that wait for `ragkit embed`. None means
    that there is no embedder, or that the store does not tell.

    `files` is what a dry run found, one entry for each document and for what would not be read.

    `jobs` is the number of threads and processes that each stage may use. `shard` is the share of
    the documents that was ingested, its number and how many there are; None for all.

    `isolated` says whether files are parsed in a process of their own. None means that no files
    are read.
    """

    isolated: bool | None = None
    jobs: int = 1
    shard: tuple[int, int] | None = None
    documents: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    moved: int | None = 0
    changes: list[tuple[str, Status]] = field(default_factory=list[tuple[str, Status]])
    dropped: dict[Dropped, int] = field(default_factory=lambda: dict.fromkeys(_DROPPED, 0))
    chunks: int = 0
    chunks_without_vectors: int | None = None
    embedded: int = 0
    truncated: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    stages: tuple[StageCost, ...] = ()
    sentences: int = 0
    sentences_embedded: int = 0
    sentence_seconds: float = 0.0
    sentence_bytes: int = 0
    failures: list[Failure] = field(default_factory=list[Failure])
    skips: list[Failure] = field(default_factory=list[Failure])
    languages: dict[str, int] = field(default_factory=dict[str, int])
    rules: Sequence[RuledFile] = ()
    files: list[FoundFile] = field(default_factory=list[FoundFile])

    def __repr__(self) -> str:
        """Return the report in short."""
        done = ", ".join(f"{n:,} {status}" for status, n in self.documents.items() if n)
        return (
            f"<IngestReport {done or 'nothing to do'}, {counted(self.chunks, 'chunk')}, "
            f"{self.seconds:.1f} s>"
        )

    def note(self, document_id: str, status: Status) -> None:
        """Count a document that is done.

        Args:
            document_id: Its id.
            status: What became of it.
        """
        self.documents[status] += 1
        if status in _CHANGES and self.documents[status] <= MOST_CHANGES:
            self.changes.append((document_id, status))

    @property
    def known_failures(self) -> int:
        """Inputs that failed in an earlier ingest, have not changed, and were skipped."""
        return sum(failure.known for failure in self.skips)

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit ingest`."""
        return {
            "schema": 1,
            "documents": {str(status): n for status, n in self.documents.items()},
            "moved": self.moved,
            "changes": [{"document_id": name, "status": status} for name, status in self.changes],
            "dropped": {str(why): n for why, n in self.dropped.items()},
            "isolated": self.isolated,
            "jobs": self.jobs,
            "shard": None if self.shard is None else list(self.shard),
            "chunks": self.chunks,
            "chunks_without_vectors": self.chunks_without_vectors,
            "embedded": self.embedded,
            "truncated": self.truncated,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "stages": [stage.to_dict() for stage in self.stages],
            "sentence_vectors": {
                "seconds": self.sentence_seconds,
                "bytes": self.sentence_bytes,
                "embedded": self.sentences_embedded,
                "reused": self.sentences - self.sentences_embedded,
            },
            "failures": [failure.to_dict() for failure in self.failures],
            "known_failures": self.known_failures,
            "skipped": [{**failure.to_dict(), "known": failure.known} for failure in self.skips],
            "languages": dict(self.languages),
            "rules": [file.to_dict() for file in self.rules],
            "files": [file.to_dict() for file in self.files],
        }

    def to_record(self, used: Mapping[str, Json]) -> dict[str, Json]:
        """Return what the ledger keeps: counts and costs, no names.

        Args:
            used: What was used of other machines, and what else is to be said of it.
        """
        data = self.to_dict()
        kept = {key: data[key] for key in data if key not in _NAMES}
        joules = local_joules(self.cpu_seconds).to_dict()
        return {"kind": "ingest", **kept, **used, "joules": joules}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedProgress:
    """Chunks that have just got their vectors, after the commit, and those that still wait."""

    chunks: int
    remaining: int

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of a line of `ragkit embed --progress json`."""
        return {"chunks": self.chunks, "remaining": self.remaining}


@dataclass(slots=True, kw_only=True)
class EmbedReport:
    """What `RAG.embed` did.

    `chunks` counts those that got their vectors, `embedded` those of them whose text had to be
    embedded, and `remaining` those that still wait.
    """

    chunks: int = 0
    embedded: int = 0
    truncated: int = 0
    remaining: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit embed`."""
        return {"schema": 1, **asdict(self)}

    def to_record(self, used: Mapping[str, Json]) -> dict[str, Json]:
        """Return what the ledger keeps; `used` as of an ingest."""
        return {
            "kind": "embed",
            **asdict(self),
            **used,
            "joules": local_joules(self.cpu_seconds).to_dict(),
        }


_NAMES = {"schema", "changes", "failures", "skipped", "rules", "files"}
_CHANGES = {"added", "changed", "removed"}
_DROPPED: tuple[Dropped, ...] = get_args(Dropped)
