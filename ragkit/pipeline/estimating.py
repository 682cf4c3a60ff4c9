"""What an ingest will cost: said before it starts, corrected while it runs.

Bytes and files are known from the file system alone. A rate is measured on a few of these very
files, with these settings on this machine, where the work is long enough to pay for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import LoadError
from ragkit.pipeline.chunk_vectors import sentence_texts

if TYPE_CHECKING:
    from ragkit.pipeline.report import Status
    from ragkit.types import Chunk, Document, Embedder

LEAST_BYTES_EMBEDDED = 200_000
"""An ingest of fewer bytes that embeds takes some 20 seconds at most: nothing is measured."""

LEAST_BYTES = 20_000_000
"""As before, for an ingest that embeds nothing."""

PROBED_FILES = 8
PROBED_BYTES = 256 * 1024
"""Of a larger file, only a beginning of this size is probed, if it can be read alone."""

_READ_IN_PART = {".txt", ".text", ".log", ".md", ".markdown", ".rst", ".csv", ".tsv", ".tab"}

PROBE_SECONDS = 1.0
"""After this long no further file is probed."""

WRITING = 0.4
"""What finding files and writing the store take, as a share of preparing documents, which is what a
probe measures: .2 to .5 on collections of plain text, .1 where the files are PDFs."""


LONG_SECONDS = 5.0
"""After this long, what was done so far foretells the rest, however small a part it is."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one byte costs: a share of a chunk, and wall seconds."""

    chunks: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How far an ingest of files is, and what is left; before it starts, all of it.

    Attributes:
        files_done: Of `files_total`.
        files_total: Files to read.
        bytes_done: Of `bytes_total`.
        bytes_total: Bytes of all files.
        chunks: Expected chunks of all of them, at most, as unchanged files give none; or None.
        seconds_left: Expected wall seconds, at most; None where that is not known.
        bytes_per_second: Bytes done so far, by wall second; None before any is done.
        current: Source of the file in work; None if there is none.
        share: How much of that file is done, 0 to 1.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    chunks: int | None
    seconds_left: float | None
    bytes_per_second: float | None = None
    current: str | None = None
    share: float = 0.0


@dataclass(slots=True)
class _Large:
    """A large file in work: its bytes, and how much was done when its first part was."""

    source: str
    n_bytes: int
    since: float
    share_then: float
    share: float = 0.0

    @property
    def n_since(self) -> float:
        return (self.share - self.share_then) * self.n_bytes


class Forecaster:
    """Follows an ingest.

    Args:
        sizes: Bytes of each file, by its source.
        rate: As measured before the start; None if it was not.
        clock: Returns wall seconds.
        of_records: Those of the files that hold many documents.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        rate: Rate | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        of_records: Collection[str] = (),
    ) -> None:
        self._left = dict(sizes)
        self._of_records = frozenset(of_records)
        self._n_files, self._n_bytes = len(sizes), sum(sizes.values())
        self._rate = rate
        self._clock = clock
        self._began = clock()
        self._bytes_done = self._bytes_worked = 0
        self._current: str | None = None
        self._large: _Large | None = None

    def begin(self, source: str) -> None:
        """Record that a file, or a document of it, is in work."""
        self._current = source

    def advance(self, source: str, share: float) -> None:
        """Record that this share of a large file's work is done; others may be begun meanwhile."""
        if self._large is None or self._large.source != source:
            # Of a file of records, it is the share of one of them.
            size = 0 if source in self._of_records else self._left.get(source, 0)
            self._large = _Large(source, size, since=self._clock(), share_then=share)
        self._large.share = share
        self._current = source

    def note(self, source: str, status: Status, n_bytes: int | None = None) -> None:
        """Record that a file is done, or a document of this many bytes in a file of records."""
        if source not in self._left:
            return
        left = self._left[source]
        if source in self._of_records:
            done = min(left, n_bytes or 0)
            self._left[source] = left - done
        else:
            done = left
        if done == left:
            del self._left[source]
        if self._large is not None and self._large.source == source:
            self._large = None
        self._bytes_done += done
        if status in {"added", "changed"}:
            self._bytes_worked += done

    def finish(self) -> None:
        """Record that all files are done."""
        self._bytes_done, self._current, self._large = self._n_bytes, None, None
        self._left.clear()

    def forecast(self) -> Forecast:
        """Return what is known now."""
        large = self._large
        in_work = 0 if large is None else round(large.share * large.n_bytes)
        n_done, n_worked = self._bytes_done + in_work, self._bytes_worked + in_work
        rate, n_left, now = self._rate, self._n_bytes - n_done, self._clock()
        seconds, elapsed = None if rate is None else n_left * rate.seconds, now - self._began
        if n_worked:
            by_now = n_left * elapsed / n_worked
            if large is not None and in_work > self._bytes_worked and large.n_since:
                # Mostly one large file: reading it is over, so that it goes on as since then.
                by_now = n_left * (now - large.since) / large.n_since
            # The first files tell little of the others; a tenth of all tells as much as it can.
            weight = min(1.0, 10 * n_worked / self._n_bytes)
            if seconds is not None:
                seconds += weight * (by_now - seconds)
            elif weight >= 1.0 or elapsed >= LONG_SECONDS:
                seconds = by_now
        return Forecast(
            files_done=self._n_files - len(self._left),
            files_total=self._n_files,
            bytes_done=n_done,
            bytes_total=self._n_bytes,
            chunks=None if rate is None else round(self._n_bytes * rate.chunks),
            seconds_left=seconds,
            bytes_per_second=n_done / elapsed if n_done and elapsed > 0 else None,
            current=self._current,
            share=large.share if large is not None and large.source == self._current else 0.0,
        )


def beginning(path: Path) -> bytes:
    """Return a file, or of a large one the lines at its beginning."""
    with path.open("rb") as file:
        data = file.read(PROBED_BYTES + 1)
    return data if len(data) <= PROBED_BYTES else data[: data.rfind(b"\n") + 1] or data


def sample(files: Sequence[tuple[Path, int]], n: int) -> list[Path]:
    """Return up to n of some files with their sizes: those in which evenly spaced bytes lie.

    Files of one kind are neighbours, so that each kind is met as often as it has bytes.
    """
    ordered = sorted(files, key=lambda file: (file[0].suffix, file[0]))
    total = sum(size for _, size in ordered)
    wanted = [total * (i + 0.5) / n for i in range(n)]
    found: dict[Path, None] = {}
    position = 0
    for path, size in ordered:
        position += size
        while wanted and wanted[0] < position:
            wanted.pop(0)
            if size <= PROBED_BYTES or path.suffix.lower() in _READ_IN_PART:
                found[path] = None
    paths = list(found)
    # From both ends and the middle: time may be up before the last.
    return paths[::3] + paths[1::3] + paths[2::3]


def measure_rate(
    files: Sequence[tuple[Path, int]],
    *,
    load: Callable[[Path], Document],
    split: Callable[[Document], Sequence[Chunk]],
    embed: Callable[[Sequence[str]], object] | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Rate | None:
    """Return what a byte costs, measured on a few files; None if none of them can be read.

    Args:
        files: All files, with their sizes.
        load: Reads the beginning of one of them; may raise `LoadError` or `OSError`.
        split: Does all that is done with a document before its vectors are made.
        embed: Embeds texts; None if nothing is embedded.
        clock: Returns wall seconds.
    """
    if embed is not None:
        embed(["warm"])  # opens the model, which the ingest then need not do
    sizes = {path: min(size, PROBED_BYTES) for path, size in files}
    began = clock()
    n_bytes = n_chunks = n_tokens = n_embedded = 0
    prepared = embedded = 0.0
    for path in sample(files, PROBED_FILES):
        started = clock()
        try:
            chunks = split(load(path))
        except (LoadError, OSError):
            n_bytes += sizes[path]  # costs little, and gives nothing
            continue
        prepared += clock() - started
        n_bytes += sizes[path]
        n_chunks += len(chunks)
        n_tokens += sum(chunk.n_tokens for chunk in chunks)
        if embed is not None:
            chunk = chunks[len(chunks) // 2]
            started = clock()
            embed([chunk.text, *sentence_texts(chunk)])
            embedded += clock() - started
            n_embedded += chunk.n_tokens
        if clock() - began > PROBE_SECONDS:
            break
    if not n_chunks:
        return None
    embedding = embedded * n_tokens / n_embedded if n_embedded else 0.0
    seconds = prepared * (1 + WRITING) + embedding
    return Rate(chunks=n_chunks / n_bytes, seconds=seconds / n_bytes)


def pays(n_bytes: int, embedder: Embedder | None) -> bool:
    """Whether an ingest is so long that measuring a rate first is worth its second."""
    return n_bytes >= (LEAST_BYTES if embedder is None else LEAST_BYTES_EMBEDDED)
