"""A large document is committed whole or not at all, and an interruption loses no vector."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import StoreDamagedError
from ragkit.pipeline.committing import BATCH_CHUNKS
from ragkit.pipeline.estimating import Forecast
from ragkit.storage import LocalStore, Maintained, Store
from ragkit.storage.schema import checksum
from tests.vectors import told_apart

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

CONFIG = Settings(chunk_tokens=20, chunker="sentence")
N = 5 * BATCH_CHUNKS
"""Chunks of the large document."""


class Interrupted:
    """An embedder that is interrupted after some texts."""

    dim = 8
    fingerprint = "interrupted"
    name = "interrupted"

    def __init__(self, after: int = 10**9) -> None:
        self._after = after
        self.texts: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors that tell texts apart."""
        if len(self.texts) >= self._after:
            raise KeyboardInterrupt
        self.texts += texts
        return told_apart(texts)

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a question."""
        vector: Vector = self.embed_documents([text])[0]
        return vector


def write(folder: Path, first: int = 0) -> Path:
    """Write a small file and a large one into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("A small file comes first.")
    lines = [f"Sentence {i} of the large file tells of {i} herons and {7 * i} fish." for i in
             range(first, first + N)]  # fmt: skip
    (folder / "large.txt").write_text("\n\n".join(lines))
    return folder


def interrupt(place: Path, folder: Path, after: int) -> Interrupted:
    """Ingest a folder, interrupted after some texts."""
    embedder = Interrupted(after)
    with RAG(place, embedder=embedder, config=CONFIG) as rag, pytest.raises(KeyboardInterrupt):
        rag.ingest(folder)
    return embedder


def rows(place: Path, query: str) -> list[tuple[object, ...]]:
    """Read a store's file."""
    with sqlite3.connect(place / "store.sqlite") as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def vectors(place: Path) -> list[list[tuple[object, ...]]]:
    """Return all vectors by key."""
    tables = ("vector", "sentence")
    return [rows(place, f"SELECT key, vector FROM {t} ORDER BY key") for t in tables]  # noqa: S608


def change(folder: Path) -> None:
    """Change the large file."""
    write(folder, first=10**6)


def delete(folder: Path) -> None:
    """Delete the large file."""
    (folder / "large.txt").unlink()


@pytest.mark.parametrize("what", [change, delete])
def test_vectors_that_nothing_came_to_use_go(tmp_path: Path, what: Callable[[Path], None]) -> None:
    """The next ingest of the folder that ends drops what it did not need."""
    folder, kb = write(tmp_path / "docs"), tmp_path / "kb"
    interrupt(kb, folder, after=3 * BATCH_CHUNKS)
    assert len(rows(kb, "SELECT row FROM vector")) > BATCH_CHUNKS
    what(folder)
    for place in (kb, tmp_path / "fresh"):
        with RAG(place, embedder=Interrupted(), config=CONFIG) as rag:
            rag.ingest(folder)
            assert rag.doctor() == []
    assert vectors(kb) == vectors(tmp_path / "fresh")


def test_they_wait_while_other_folders_are_ingested(tmp_path: Path) -> None:
    """And while a store is examined, repaired or copied; a removal or `--compact` ends that."""
    folder, other, kb = write(tmp_path / "docs"), tmp_path / "other", tmp_path / "kb"
    interrupt(kb, folder, after=3 * BATCH_CHUNKS)
    kept = len(rows(kb, "SELECT row FROM vector"))
    other.mkdir()
    (other / "b.txt").write_text("Another folder.")
    with RAG(kb, embedder=Interrupted(), config=CONFIG) as rag:
        rag.ingest(other)
        assert rag.doctor(repair=True) == []
        rag.backup(tmp_path / "copy")
        assert len(rows(kb, "SELECT row FROM vector")) == kept + 1
        rag.rm("b.txt")
        assert len(rows(kb, "SELECT row FROM vector")) == 1
        assert rag.doctor() == []
    with RAG(tmp_path / "copy", embedder=Interrupted(), config=CONFIG) as rag:
        assert rag.doctor() == []
        assert rag.compact() > 0
        assert len(rows(tmp_path / "copy", "SELECT row FROM vector")) == 2
        rag.ingest(folder)
        assert rag.doctor() == []


def test_the_doctor_still_finds_what_is_left_over(tmp_path: Path) -> None:
    """Vectors of before that no chunk uses are not taken for those committed ahead."""
    folder, kb = write(tmp_path / "docs"), tmp_path / "kb"
    with RAG(kb, embedder=Interrupted(), config=CONFIG) as rag:
        rag.ingest(Document(id="d", text="A first one."))
    with sqlite3.connect(kb / "store.sqlite") as connection:
        connection.execute("INSERT INTO vector(key, vector) VALUES (x'00', x'0000000000')")
    connection.close()
    interrupt(kb, folder, after=3 * BATCH_CHUNKS)
    kept = len(rows(kb, "SELECT row FROM vector"))
    with RAG(kb, embedder=Interrupted(), config=CONFIG) as rag:
        (finding,) = rag.doctor()
        assert "1 vectors belong to no chunk" in finding.detail
        rag.doctor(repair=True)
        assert rag.doctor() == []
    assert len(rows(kb, "SELECT row FROM vector")) == kept - 1


@pytest.mark.parametrize("value", ["[", "{}", '{"vector": [], "sentence": 0, "sources": []}'])
def test_nonsense_about_them_is_a_typed_error(tmp_path: Path, value: str) -> None:
    """The checksum of an entry says nothing of who wrote it."""
    with RAG(tmp_path / "kb", embedder=Interrupted(), config=CONFIG) as rag:
        rag.ingest(Document(id="d", text="A first one."))
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        connection.execute("INSERT INTO manifest VALUES ('ahead', ?, ?)",
                           (value, checksum("ahead", value)))  # fmt: skip
    connection.close()
    with RAG(tmp_path / "kb", embedder=Interrupted(), config=CONFIG) as rag:
        assert [finding.check for finding in rag.doctor()] == ["file"]
        with pytest.raises(StoreDamagedError):
            rag.ingest(Document(id="e", text="A second one."))


def test_a_large_file_tells_how_far_it_is(tmp_path: Path) -> None:
    """Its share grows while its vectors are made, and bytes with it."""
    folder, seen = write(tmp_path / "docs"), list[Forecast]()
    (folder / "z.txt").write_text("A small file comes last.")
    with RAG(tmp_path / "kb", embedder=Interrupted(), config=CONFIG) as rag:
        rag.ingest(folder, on_step=seen.append)
    inside = [step for step in seen if step.share > 0]
    assert [step.share for step in inside] == sorted(step.share for step in inside)
    assert len(inside) >= N // BATCH_CHUNKS - 1
    assert all(step.current == str(folder / "large.txt") for step in inside)
    done = [step.bytes_done for step in seen]
    assert done == sorted(done)
    assert (seen[0].files_done, seen[0].files_total, seen[0].current) == (0, 3, None)
    assert seen[-1].bytes_done == seen[-1].bytes_total


class Elsewhere:
    """A store that is no folder of this machine: it offers what every store must, no more."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        if name.startswith("_") or not hasattr(Store, name):
            raise AttributeError(name)
        return getattr(self._store, name)


def test_a_store_elsewhere_gets_a_document_with_all_its_vectors(tmp_path: Path) -> None:
    """Nothing is committed ahead, and failures are not remembered: each ingest reports them."""
    folder = write(tmp_path / "docs")
    (folder / "bad.json").write_text("{")

    def opened(after: int = 10**9) -> RAG:
        store: object = Elsewhere(LocalStore(tmp_path / "kb", create=True))
        assert isinstance(store, Store)
        assert not isinstance(store, Maintained)
        return RAG(store, embedder=Interrupted(after), config=CONFIG, ledger="off")

    with opened(3 * BATCH_CHUNKS) as rag, pytest.raises(KeyboardInterrupt):
        rag.ingest(folder)
    assert len(rows(tmp_path / "kb", "SELECT row FROM vector")) <= 1
    with opened() as rag:
        for _ in range(2):
            report = rag.ingest(folder)
            assert (report.documents["failed"], report.known_failures) == (1, 0)
        assert rag.doctor() == []
    with RAG(tmp_path / "fresh", embedder=Interrupted(), config=CONFIG) as rag:
        rag.ingest(folder)
    # It holds no vectors of sentences.
    assert vectors(tmp_path / "kb")[0] == vectors(tmp_path / "fresh")[0]
