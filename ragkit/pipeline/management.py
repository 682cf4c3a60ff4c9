"""The methods of `RAG` that manage its store."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ragkit.groups import readers_of

if TYPE_CHECKING:
    from ragkit.pipeline.parts import Parts
    from ragkit.pipeline.report import EmbedProgress, EmbedReport, IngestReport, Progress
    from ragkit.storage import DocumentRow, Finding
    from ragkit.storage.backup import BackupReport
    from ragkit.storage.calls import Calls
    from ragkit.types import Chunk, Document, Json, TokenCounter

_P = ParamSpec("_P")
_S = TypeVar("_S", bound="StoreMethods")
_R = TypeVar("_R")


def counted(
    method: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Make `close` wait for calls of a method, and make later calls raise an error."""

    @functools.wraps(method)
    def run(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._calls.one():  # pyright: ignore[reportPrivateUsage] (its own decorator)
            return method(self, *args, **kwargs)

    return run


class StoreMethods:
    """The methods of `RAG` that manage its store, except for ingesting."""

    _parts: Parts
    _calls: Calls

    @counted
    def rebuild(self, *, on_progress: Callable[[Progress], None] | None = None) -> IngestReport:
        """Re-chunk and re-embed all stored documents with this pipeline's settings, atomically.

        Readers see the old content until the last document is done.
        """
        from ragkit.pipeline.upkeep import rebuild

        return rebuild(self._parts, on_progress)

    @counted
    def embed(
        self,
        *,
        max_seconds: float | None = None,
        on_progress: Callable[[EmbedProgress], None] | None = None,
    ) -> EmbedReport:
        """Make the vectors of chunks that were stored without, the newest first.

        Others may search meanwhile, and find more as it goes on, but not write. What is committed
        stays if this is interrupted; the next call makes the rest.

        Args:
            max_seconds: Start no further batch of chunks after this time. None makes all vectors.
            on_progress: Called after each commit.

        Raises:
            ConfigError: the store is not a folder, it has no embedder, or another one is given.
            StoreBusyError: another process is writing.
        """
        from ragkit.pipeline.late_vectors import embed

        return embed(self._parts, max_seconds=max_seconds, on_progress=on_progress)

    @counted
    def vector_share(self, *, groups: Sequence[str] | None = None) -> float | None:
        """Return the share of the chunks that have a vector, 0 to 1.

        None without an embedder, or if the store does not tell.

        Args:
            groups: Count only the chunks that these groups may see.
        """
        from ragkit.pipeline.upkeep import vector_share

        return vector_share(self._parts.store(), groups)

    @counted
    def delete(self, *ids: str, secure: bool = False) -> Sequence[str]:
        """Remove documents permanently, and return the ids of those that existed.

        Args:
            ids: Ids of documents.
            secure: At the end, rewrite everything that still contains words of removed text, even
            if the store is very large.
        """
        from ragkit.pipeline.upkeep import delete

        return delete(self._parts, ids, secure=secure)

    @counted
    def documents(self, *, groups: Sequence[str] | None = None) -> Iterator[DocumentRow]:
        """Yield the stored documents that these groups may see."""
        return self._parts.writable().documents(groups=readers_of(groups))

    @counted
    def document(
        self, document_id: str, *, groups: Sequence[str] | None = None
    ) -> dict[str, Json] | None:
        """Return a document with its chunks as `ragkit show ID --json` prints it, or None."""
        from ragkit.pipeline.showing import as_shown

        found = self.stored(document_id, groups=groups)
        return None if found is None else as_shown(*found)

    @counted
    def stored(
        self, document_id: str, *, groups: Sequence[str] | None = None
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a document, the SHA-256 of its text, and its chunks; None if it does not exist."""
        from ragkit.pipeline.upkeep import stored

        return stored(self._parts, document_id, groups)

    rm, list, show = delete, documents, document

    @counted
    def describe(self) -> dict[str, Json]:
        """Return counts, sizes, fingerprints and configuration as `ragkit show` prints them."""
        from ragkit.pipeline.upkeep import describe

        return describe(self._parts)

    @counted
    def configuration(self) -> dict[str, Json]:
        """Return everything that decides answers: the store's content, settings and parts.

        Two pipelines with the same configuration produce the same contexts and, with a
        deterministic generator, the same answers. If a part has no fingerprint, its `…_fingerprint`
        is None: only its name is known, not its settings. The configuration contains no times, and
        no machine names except the server of a model. This call reads the ids of all chunks.
        """
        from ragkit.pipeline.certification import configuration

        return configuration(self._parts)

    @counted
    def corpus_sketch(self) -> dict[str, Json]:
        """Return the number of chunks and their smallest ids, to detect changes later."""
        from ragkit.pipeline.certification import corpus_sketch

        return corpus_sketch(self._parts)

    @property
    @counted
    def counter(self) -> TokenCounter:
        """Counts tokens as the generator does where possible, else by the built-in vocabulary."""
        return self._parts.counter

    @counted
    def doctor(self, *, repair: bool = False) -> Sequence[Finding]:
        """Check the store; with `repair`, rebuild derived data and upgrade an older store."""
        from ragkit.pipeline.upkeep import doctor

        return doctor(self._parts, repair=repair)

    @counted
    def compact(self) -> int:
        """Apply deletions, give free space back, and return the number of bytes saved."""
        store = self._parts.maintained()
        with self._parts.writable().exclusive():
            return store.compact()

    @counted
    def backup(self, destination: str | Path, *, replace: bool = False) -> BackupReport:
        """Copy the store, as it is at one moment, to a folder; others may read and write meanwhile.

        Args:
            destination: A folder that does not exist yet.
            replace: Replace a store that already exists there.

        Raises:
            ConfigError: the destination already exists, or the store is not a folder.
            StoreDamagedError: the store is not sound; nothing is left at the destination.
        """
        from ragkit.storage.backup import back_up

        return back_up(self._parts.maintained(), Path(destination), replace=replace)

    @counted
    def restore(self, source: str | Path) -> BackupReport:
        """Replace the store with a backup, or create it from one.

        Readers see either the old content or the new content, never a mixture.

        Raises:
            StoreMissingError: there is no such backup.
            StoreDamagedError: the backup is damaged; nothing was changed.
            StoreBusyError: another process is writing.
        """
        from ragkit.storage.backup import restore

        report = restore(self._parts.folder(), Path(source))
        self._parts.forget_embedder()
        return report

    @counted
    def copies(self) -> Sequence[str]:
        """Return the known places of copies of documents, which `rm` does not remove."""
        from ragkit.storage.backup import copies

        return copies(self._parts.folder()) if self._parts.is_local else ()
