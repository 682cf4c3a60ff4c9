"""Reading, embedding and writing overlap: in order, bounded, and stopped by an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ragkit import RAG, Document, Settings
from ragkit.pipeline.committing import BATCH_CHUNKS, BATCHES_WAITING
from ragkit.pipeline.report import Progress
from tests.vectors import told_apart

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

CONFIG = Settings(sentence_vectors=False)


class Watched:
    """An embedder that calls back before it embeds."""

    dim = 8
    fingerprint = "watched"
    name = "watched"

    def __init__(self, before: Callable[[Sequence[str]], None]) -> None:
        self._before = before
        self.n_texts = 0

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors that tell texts apart."""
        self._before(texts)
        self.n_texts += len(texts)
        return told_apart(texts)

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a question."""
        vector: Vector = self.embed_documents([text])[0]
        return vector


def numbered(n: int) -> Iterator[Document]:
    """Yield documents of one chunk each."""
    for i in range(n):
        yield Document(id=f"d{i}", text=f"Text number {i}.")


class Source:
    """Documents, and how many have been asked for."""

    roots: tuple[str, ...] = ()

    def __init__(self, n: int) -> None:
        self._n = n
        self.n_read = 0

    def documents(self) -> Iterator[Document]:
        """Yield the documents."""
        for document in numbered(self._n):
            self.n_read += 1
            yield document


def test_what_waits_is_bounded_and_kept_in_order(tmp_path: Path) -> None:
    """While embedding is slow, reading goes ahead by some batches and no further."""
    source, ahead, done = Source(20 * BATCH_CHUNKS), list[int](), list[str]()

    def slow(_: Sequence[str]) -> None:
        time.sleep(0.02)
        ahead.append(source.n_read - len(done))

    def on_progress(progress: Progress) -> None:
        assert threading.current_thread() is threading.main_thread()
        done.append(progress.document_id)

    with RAG(tmp_path / "kb", embedder=Watched(slow), config=CONFIG) as rag:
        report = rag.ingest(source, on_progress=on_progress)
    assert done == [f"d{i}" for i in range(20 * BATCH_CHUNKS)]
    assert report.embedded == 20 * BATCH_CHUNKS
    assert BATCH_CHUNKS < max(ahead) <= (BATCHES_WAITING + 2) * BATCH_CHUNKS


def test_an_error_of_the_embedder_stops_the_ingest(tmp_path: Path) -> None:
    """What was committed before stays; the error arrives; the next call goes on."""

    def fail(texts: Sequence[str]) -> None:
        if any("number 300." in text for text in texts):
            raise MemoryError("no room")

    acknowledged: list[str] = []
    with RAG(tmp_path / "kb", embedder=Watched(fail), config=CONFIG) as rag:
        with pytest.raises(MemoryError, match="no room"):
            rag.ingest(Source(640), on_progress=lambda done: acknowledged.append(done.document_id))
        kept = [row.document_id for row in rag.list()]
        assert sorted(acknowledged) == kept
        assert 0 < len(kept) <= 300
    with RAG(tmp_path / "kb", embedder=Watched(lambda _: None), config=CONFIG) as rag:
        report = rag.ingest(Source(640))
        assert report.documents["unchanged"] == len(kept)
        assert rag.describe()["documents"] == 640
        assert rag.doctor() == []


def test_a_vector_that_goes_away_meanwhile_is_made_again(tmp_path: Path) -> None:
    """One batch drops the last use of a vector that the next one was told is stored."""
    text, marker, embedded = "The text that moves.", "A text beside it.", threading.Event()

    def before(texts: Sequence[str]) -> None:
        if marker in texts:
            embedded.set()

    def on_progress(_: Progress) -> None:
        # The first batch's acknowledgement holds the others back until all are embedded.
        assert embedded.wait(timeout=120)

    filler = list(numbered(2 * BATCH_CHUNKS - 1))
    with RAG(tmp_path / "kb", embedder=Watched(before), config=CONFIG) as rag:
        rag.ingest(Document(id="old", text=text))
        rag.ingest(
            *filler[:BATCH_CHUNKS],
            Document(id="old", text="It is elsewhere now."),
            *filler[BATCH_CHUNKS:],
            Document(id="new", text=text),
            Document(id="beside", text=marker),
            *(Document(id=f"x{i}", text=f"More {i}.") for i in range(BATCH_CHUNKS - 2)),
            on_progress=on_progress,
        )
        assert rag.doctor() == []
        assert rag.search(text, mode="dense", k=1)[0].chunk.document_id == "new"


def test_the_same_text_is_embedded_once(tmp_path: Path) -> None:
    """Texts that come again, in the same batch or the next ones, share a vector."""
    embedder = Watched(lambda _: time.sleep(0.01))
    with RAG(tmp_path / "kb", embedder=embedder, config=CONFIG) as rag:
        rag.ingest(*(Document(id=f"d{i}", text=f"One of {i % 3}.") for i in range(300)))
        assert embedder.n_texts == 3
        assert rag.doctor() == []
