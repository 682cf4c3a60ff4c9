"""The files derived from a store: equal answers, five traps of FAISS, and every kind of damage."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import StoreDamagedError
from ragkit.storage import DerivedSizes, LocalStore
from ragkit.storage.rows import segment_infos
from ragkit.storage.segments import Segment
from ragkit.types import Hit

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

SMALL = DerivedSizes(first=60, more=40, file=50)
NEVER = DerivedSizes(first=10**9)
WORDS = [f"w{i}" for i in range(300)]


class Hashed:
    """An embedder whose vectors are drawn by chance from the text, with many ties."""

    dim = 24
    fingerprint = "hashed/24"
    name = "hashed"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; texts of the same first word share theirs."""
        rows = [np.random.default_rng(list(t.split()[0].encode())).normal(size=24) for t in texts]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, 24)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a question."""
        vector: Vector = self.embed_documents([text])[0]
        return vector


def documents(n: int, *, seed: int = 0) -> Iterator[Document]:
    """Yield documents of a few words each."""
    rng = random.Random(seed)
    for i in range(n):
        text = " ".join(rng.choices(WORDS, k=rng.randrange(3, 30)))
        yield Document(id=f"{seed}-{i}", text=text, metadata={"third": i % 3 == 0})


def opened(place: Path, sizes: DerivedSizes, notify: Callable[[str], None] | None = None) -> RAG:
    """Open a pipeline over a store with files of these sizes."""
    store = LocalStore(place, create=True, sizes=sizes)
    config = Settings(sentence_vectors=False)
    return RAG(store, embedder=Hashed(), config=config, notify=notify)


def found(rag: RAG, question: str, **options: object) -> list[tuple[str, float]]:
    """Return what a search finds."""
    hits: Sequence[Hit] = rag.search(question, **options)  # type: ignore[arg-type]
    return [(hit.chunk.id, round(hit.score, 6)) for hit in hits]


def files(place: Path) -> list[Path]:
    """Return the derived files."""
    return sorted((place / "derived").glob("*"))


@pytest.fixture
def derived(tmp_path: Path) -> Path:
    """Return the folder of a store with several derived files."""
    with opened(tmp_path / "kb", SMALL) as rag:
        rag.ingest(*documents(230))
    return tmp_path / "kb"


def test_derived_files_change_no_answer(tmp_path: Path) -> None:
    """Searches find the same with and without derived files, whatever was done to the store."""
    questions = [" ".join(random.Random(i).choices(WORDS, k=4)) for i in range(15)]
    with opened(tmp_path / "a", SMALL) as with_files, opened(tmp_path / "b", NEVER) as without:

        def compare() -> None:
            for i, question in enumerate(questions):
                for mode in ("lexical", "dense", "hybrid"):
                    options: dict[str, object] = {"mode": mode, "k": 1 + 7 * i}
                    if i % 3 == 0:
                        options["filters"] = {"third": True}
                    assert found(with_files, question, **options) == found(
                        without, question, **options
                    )

        for rag in (with_files, without):
            rag.ingest(*documents(230))
        assert len(files(tmp_path / "a")) == 4
        compare()
        for rag in (with_files, without):
            rag.rm(*(f"0-{i}" for i in range(0, 60, 5)))
            rag.ingest(*documents(20, seed=1), Document(id="0-100", text="w7 changed"))
        compare()
        for rag in (with_files, without):
            rag.rm(*(f"0-{i}" for i in range(60, 150)))
            rag.ingest(*documents(90, seed=2))
        compare()
        with_files.compact()
        compare()
        assert with_files.doctor() == []
    assert not files(tmp_path / "b")


def test_the_nearest_of_many_are_found(tmp_path: Path) -> None:
    """Where candidates are few of many, the 8-bit codes still name the nearest ones."""
    rng = random.Random(4)
    texts = ["".join(rng.choices("abcdefghij", k=12)) for _ in range(3000)]
    sizes = DerivedSizes(first=1000, more=500, file=1500)
    with opened(tmp_path / "kb", sizes) as rag:
        rag.ingest(*(Document(id=text, text=text) for text in texts))
        assert len(files(tmp_path / "kb")) == 2
        vectors = Hashed().embed_documents(texts).astype(np.float16).astype(np.float32)
        for _ in range(40):
            question = "".join(rng.choices("abcdefghij", k=12))
            cosines = vectors @ Hashed().embed_query(question)
            order: list[int] = np.argsort(-cosines).tolist()
            nearest = [texts[i] for i in order[:10]]
            hits = rag.search(question, k=10, mode="dense")
            assert [hit.chunk.document_id for hit in hits] == nearest


def test_equal_scores_are_cut_off_by_chunk_id(tmp_path: Path) -> None:
    """Where more chunks are equally near than candidates are asked for, all of them compete."""
    with opened(tmp_path / "kb", SMALL) as rag:
        rag.ingest(*(Document(id=f"d{i}", text=f"w1 in place {i}") for i in range(230)))
        chunks = sorted(str(hit.chunk.id) for hit in rag.search("w1", k=300, mode="lexical"))
        assert len(chunks) == 230
        assert [name for name, _ in found(rag, "w1", k=7, mode="dense")] == chunks[:7]


def test_a_reader_keeps_up_with_a_writer(derived: Path) -> None:
    """A reader that was open before sees additions and removals, in memory and in files."""
    with opened(derived, SMALL) as writer, opened(derived, SMALL) as reader:
        for step in range(12):
            writer.ingest(*documents(9, seed=10 + step))
            writer.rm(f"{10 + step}-0", f"0-{step}")
            with opened(derived, SMALL) as fresh:
                for mode in ("lexical", "dense"):
                    assert found(reader, "w1 w2 w3", mode=mode, k=400) == found(
                        fresh, "w1 w2 w3", mode=mode, k=400
                    )


def test_a_mapped_index_stays_on_disk(tmp_path: Path) -> None:
    """FAISS's IO_FLAG_MMAP reads a flat index into memory; ours is mapped (anonymous memory)."""
    rng = np.random.default_rng(0)
    library: Any = faiss  # its own types are incomplete
    index = library.IndexScalarQuantizer(
        512, library.ScalarQuantizer.QT_8bit, library.METRIC_INNER_PRODUCT
    )
    vectors = rng.normal(size=(60_000, 512)).astype(np.float32)
    index.train(vectors[:100])
    index.add(vectors)
    library.write_index(index, str(tmp_path / "x"))
    script = (
        "import faiss, sys\n"
        "def anonymous():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(x.split()[1]) for x in lines if x.startswith('RssAnon')) / 1024\n"
        "before = anonymous()\n"
        "index = faiss.read_index(sys.argv[1], getattr(faiss, sys.argv[2]))\n"
        "print(anonymous() - before)\n"
    )
    grown = {}
    for flag in ("IO_FLAG_MMAP", "IO_FLAG_MMAP_IFC"):
        command = [sys.executable, "-c", script, str(tmp_path / "x"), flag]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        grown[flag] = float(result.stdout)
    assert grown["IO_FLAG_MMAP"] > 25
    assert grown["IO_FLAG_MMAP_IFC"] < 5


def test_changing_a_mapped_index_ends_the_process_so_nothing_does(derived: Path) -> None:
    """FAISS aborts on adding to a mapped index; a pipeline that has mapped some still writes."""
    add = (
        "import faiss, numpy, sys\n"
        "index = faiss.read_index(sys.argv[1], faiss.IO_FLAG_MMAP_IFC)\n"
        "index.add(numpy.ones((1, index.d), dtype='float32'))\n"
    )
    command = [sys.executable, "-c", add, str(files(derived)[0])]
    assert subprocess.run(command, check=False, capture_output=True).returncode < 0
    with opened(derived, SMALL) as rag:
        for seed in (5, 6):
            assert found(rag, "w5 w6", mode="dense")
            rag.ingest(*documents(100, seed=seed))
            rag.rm(*(f"{seed}-{i}" for i in range(50)))
            rag.compact()
        assert found(rag, "w5 w6", mode="dense")


def test_a_search_never_returns_a_chunk_twice(derived: Path) -> None:
    """FAISS takes the same id twice without a word; a changed document is found once."""
    with opened(derived, SMALL) as rag:
        for text in ("w1 once", "w1 twice", "w1 thrice"):
            rag.ingest(Document(id="0-7", text=text))
            for mode in ("dense", "hybrid", "lexical"):
                names = [name for name, _ in found(rag, "w1", mode=mode, k=300)]
                assert len(names) == len(set(names))
                assert [h.chunk.text for h in rag.search("w1", k=300, mode=mode)].count(text) == 1


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs posix_fadvise")
def test_the_first_search_of_a_file_waits_for_no_page(tmp_path: Path) -> None:
    """Opening brings a file into memory whole: after it the first search has no major fault."""
    for name in ("a", "b"):
        with opened(tmp_path / name, SMALL) as rag:
            rag.ingest(*documents(230))
    script = (
        "import os, resource, sys, numpy\nfrom pathlib import Path\n"
        "from ragkit.storage import LocalStore\nfrom ragkit.types import Query\n"
        "vector = numpy.ones(24, dtype='float32')\n"
        "def faults(place):\n"
        "    store = LocalStore(place)\n"
        "    for path in Path(place, 'derived').iterdir():\n"
        "        descriptor = os.open(path, os.O_RDONLY)\n"
        "        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)\n"
        "    store.search(Query(question='w1 w2', k=3))\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt\n"
        "    store.search(Query(question='w1', vector=vector, k=3, mode='dense'))\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before\n"
        "faults(sys.argv[1])\n"  # brings FAISS itself into memory
        "print(faults(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a"), str(tmp_path / "b")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "0\n"


def _flip(raw: bytes, share: float) -> bytes:
    at = int(share * (len(raw) - 1))
    return raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "one byte short": lambda raw: raw[:-1],
    "half": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: raw[:0],
    "zeroed": lambda raw: bytes(len(raw)),
    "longer": lambda raw: raw + b"x",
    **{f"flipped at {s}": partial(_flip, share=s) for s in (0, 0.01, 0.2, 0.4, 0.6, 0.8, 0.99, 1)},
}


@pytest.mark.parametrize("damage", [*DAMAGE, "missing"])
def test_a_damaged_derived_file_is_not_used(derived: Path, damage: str) -> None:
    """Whatever has become of a file, searches find the same, and the doctor names and mends it."""
    questions = ["w1 w2", "w30 w40 w50", "w299"]
    with opened(derived, SMALL) as rag:
        before = [found(rag, q, mode=mode) for q in questions for mode in ("dense", "lexical")]
    victim = files(derived)[1]
    raw = victim.read_bytes()
    victim.unlink()
    if damage != "missing":
        victim.write_bytes(DAMAGE[damage](raw))
    notices: list[str] = []
    with opened(derived, SMALL, notices.append) as rag:
        after = [found(rag, q, mode=mode) for q in questions for mode in ("dense", "lexical")]
        assert after == before
        assert len(notices) == 1
        assert "ragkit doctor --repair" in notices[0]
        (finding,) = rag.doctor()
        assert (finding.check, finding.repairable) == ("derived", True)
        assert victim.name in finding.detail
        assert [f.repaired for f in rag.doctor(repair=True)] == [True]
        assert rag.doctor() == []
        assert [
            found(rag, q, mode=mode) for q in questions for mode in ("dense", "lexical")
        ] == before


def test_a_segment_of_another_content_is_refused(derived: Path) -> None:
    """A sound file under another one's name is damage too."""
    one, other = files(derived)[:2]
    one.write_bytes(other.read_bytes())
    with closing(sqlite3.connect(derived / "store.sqlite")) as connection:
        infos = {info.name: info for info in segment_infos(connection)}
    with pytest.raises(StoreDamagedError, match="damaged"):
        Segment(one, infos[one.name])


def test_a_leftover_file_is_swept(derived: Path) -> None:
    """What a killed writer left behind is named by the doctor and removed."""
    stranger = derived / "derived" / ".000000000000-000000000050-9.segment.1.new"
    stranger.write_bytes(b"half a file")
    with opened(derived, SMALL) as rag:
        assert "belong to nothing" in rag.doctor()[0].detail
        rag.doctor(repair=True)
        assert rag.doctor() == []
    assert not stranger.exists()


def test_compacting_folds_the_dead_in(derived: Path) -> None:
    """After `--compact` the files hold all live chunks and only these."""

    def counted() -> tuple[int, int]:
        with closing(sqlite3.connect(derived / "store.sqlite")) as connection:
            dead = connection.execute("SELECT count(*) FROM tombstone").fetchone()[0]
            return sum(info.n for info in segment_infos(connection)), dead

    large = replace(SMALL, rewritten=10)
    with opened(derived, large, list[str]().append) as rag:
        assert counted() == (192, 0)
        rag.rm(*(f"0-{i}" for i in range(0, 40, 5)))
        assert counted() == (192, 8)
        assert rag.compact() > 0
        assert counted() == (222, 0)


def test_where_no_derived_file_can_be_written_searches_go_on(tmp_path: Path) -> None:
    """The documents are stored, one notice says what is slower, and a later ingest mends it."""
    place, notices = tmp_path / "kb", list[str]()
    with LocalStore(place, create=True, sizes=SMALL) as store:
        (place / "derived").write_text("in the way")
        rag = RAG(
            store,
            embedder=Hashed(),
            config=Settings(sentence_vectors=False),
            notify=notices.append,
        )
        assert rag.ingest(*documents(230)).documents["added"] == 230
        assert len(notices) == 1
        assert "could not be written" in notices[0]
        before = [found(rag, "w1 w2", mode=mode) for mode in ("lexical", "dense", "hybrid")]
        assert all(before)
        (place / "derived").unlink()
        rag.ingest(Document(id="one more", text="w299"))
        assert len(files(place)) == 5
        assert [found(rag, "w7 w8", mode=mode)[0] for mode in ("lexical", "dense")]
        assert rag.doctor() == []


@pytest.mark.parametrize("absent", ["faiss", "numpy"])
def test_without_faiss_or_numpy_the_same_is_found(derived: Path, absent: str) -> None:
    """Derived files of a machine that had more installed do no harm on one that has less."""
    script = (
        "import json, sys\nsys.modules[sys.argv[2]] = None\n"
        "from ragkit.storage import LocalStore\nfrom ragkit.types import Query\n"
        "store, vector = LocalStore(sys.argv[1]), None\n"
        "if sys.argv[3] == 'dense':\n"
        "    import numpy\n"
        "    vector = numpy.array(json.loads(sys.argv[4]), dtype='float32')\n"
        "query = Query(question='w5 w6', vector=vector, k=30, mode=sys.argv[3])\n"
        "print(json.dumps([[h.chunk.id, round(h.score, 6)] for h in store.search(query)]))\n"
    )
    question = json.dumps(Hashed().embed_query("w5 w6").tolist())
    for mode in ("lexical", "dense")[: 2 if absent == "faiss" else 1]:
        command = [sys.executable, "-c", script, str(derived), absent, mode, question]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        with opened(derived, SMALL) as rag:
            expected = found(rag, "w5 w6", mode=mode, k=30)
        assert [(name, score) for name, score in json.loads(result.stdout)] == expected
