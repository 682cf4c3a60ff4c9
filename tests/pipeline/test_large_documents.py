"""Documents of many parts are chunked while they are written: as others are, and all or nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ragkit import RAG, Settings
from ragkit.chunking import SpanChunker
from ragkit.loading import load_bytes
from ragkit.storage import LocalStore
from ragkit.text.wordpiece import load_wordpiece
from ragkit.types import Chunk, Document

ROWS = 30_000
CSV = "name,number\n" + "".join(f"ferry {i},{i * 7}\n" for i in range(ROWS))
WORDS_ONLY = Settings(embedder="none", ledger="off")


def ingest(folder: Path, *, jobs: int = 1) -> Path:
    """Return a store of two large files and a small one."""
    files = folder / "files"
    files.mkdir(exist_ok=True)
    (files / "a.csv").write_text(CSV, encoding="utf-8")
    (files / "b.md").write_text("# Quay\n\n- a berth\n- a crane\n\n" * 12_000, encoding="utf-8")
    (files / "c.txt").write_text("The ferry leaves at nine.", encoding="utf-8")
    store = folder / f"kb{jobs}"
    with RAG(store, config=WORDS_ONLY, n_jobs=jobs) as rag:
        assert rag.ingest(files).documents["added"] == 3
    return store


def test_all_of_it_is_stored(tmp_path: Path) -> None:
    """Text, places and structure are what the loader gave, and the chunks hold all of the text."""
    loaded = load_bytes(CSV.encode(), name="a.csv")
    with LocalStore(ingest(tmp_path)) as store:
        found = store.document("a.csv")
        assert found is not None
        document, _, chunks = found
        hits = {chunk.text for chunk in chunks if "ferry 29999" in chunk.text}
    assert document.text == loaded.text
    assert document.marks == loaded.marks
    assert document.parts == loaded.parts
    assert len(hits) == 1
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(loaded.text.split())
    units = [unit for chunk in chunks for unit in chunk.units]
    assert sum(unit.kind == "row" for unit in units) == ROWS


def test_jobs_make_the_same_store(tmp_path: Path) -> None:
    """One process that parses, or four."""
    with LocalStore(ingest(tmp_path)) as one, LocalStore(ingest(tmp_path, jobs=4)) as four:
        assert one.chunks_sha256() == four.chunks_sha256()
        assert one.count() == four.count()


def test_it_replaces_the_one_before(tmp_path: Path) -> None:
    """Nothing is left of a large document that has changed."""
    store = ingest(tmp_path)
    (tmp_path / "files" / "a.csv").write_text("name,number\nbarge,1\n", encoding="utf-8")
    with RAG(store, config=WORDS_ONLY) as rag:
        report = rag.ingest(tmp_path / "files")
        assert report.documents["changed"] == 1
        assert report.chunks == 1
        assert [hit.chunk.text for hit in rag.search("ferry", k=3)] == ["The ferry leaves at nine."]


class Failing:
    """A chunker that stops working in the middle of a large document."""

    def __init__(self) -> None:
        self._chunker = SpanChunker(name="recursive", counter=load_wordpiece())
        self.fingerprint = self._chunker.fingerprint

    def split(self, document: Document) -> Sequence[Chunk]:
        """Return the chunks of a small document."""
        return self._chunker.split(document)

    def stream(self, document: Document) -> Iterator[Chunk]:
        """Yield some chunks of a large one."""
        for n, chunk in enumerate(self._chunker.stream(document)):
            if n == 100:
                raise RuntimeError("no more")
            yield chunk


def test_half_of_it_is_not_stored(tmp_path: Path) -> None:
    """What fails on the way leaves nothing behind."""
    (tmp_path / "a.csv").write_text(CSV, encoding="utf-8")
    with RAG(tmp_path / "kb", config=WORDS_ONLY, chunker=Failing()) as rag:
        with pytest.raises(RuntimeError, match="no more"):
            rag.ingest(tmp_path / "a.csv")
        assert list(rag.documents()) == []
        assert rag.search("ferry", k=3) == []


def test_what_it_takes_does_not_grow_with_it(tmp_path: Path) -> None:
    """Beside text, marks and parts, which take some fifty bytes a row, few chunks are held."""
    (tmp_path / "a.csv").write_text(CSV[:1000], encoding="utf-8")
    (tmp_path / "b.csv").write_text("a,b\n" + "1,2\n" * 60_000, encoding="utf-8")
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        rag.ingest(tmp_path / "a.csv")  # loads modules
        tracemalloc.start()
        rag.ingest(tmp_path / "b.csv")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 20 * 2**20
