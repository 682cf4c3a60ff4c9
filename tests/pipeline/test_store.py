"""The local store through its public face."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.costs.stopwatch import Stopwatch
from ragkit.embedding import BuiltinEmbedder
from ragkit.errors import (
    ConfigError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreMissingError,
)
from ragkit.storage import LocalStore
from ragkit.types import Query

WORDS_ONLY = Settings(embedder="none")


def words_store(place: Path, *documents: Document) -> LocalStore:
    """Make a store without vectors; what groups hide is meant to be hidden."""
    with RAG(place, config=WORDS_ONLY, notify=lambda _: None) as rag:
        rag.ingest(*documents)
    return LocalStore(place)


def ids(store: LocalStore, question: str, **options: object) -> list[str]:
    """Return the documents found, best first."""
    query = Query(question=question, **options)  # type: ignore[arg-type]
    return [hit.chunk.document_id for hit in store.search(query)]


def test_what_is_stored_comes_back_exactly(tmp_path: Path) -> None:
    """Text, title, metadata and groups survive, whatever characters they hold."""
    text = "Null \0 byte, lone \ud800 surrogate, \U0001f600 and\r\nline ends. שלום. "
    document = Document(
        id="a/ü.txt", text=text, title="T\u2028", metadata={"n": [1, {"x": None}]}, groups=("g",)
    )
    store = words_store(tmp_path / "kb", document)
    found = store.document("a/ü.txt", groups=("g",))
    assert found is not None
    kept, _, chunks = found
    assert (kept.text, kept.title, kept.metadata, kept.groups) == (
        text, document.title, document.metadata, ("g",))  # fmt: skip
    assert all(text[c.start : c.end] == c.text for c in chunks)
    hits = store.search(Query(question="surrogate", groups=("g",)))
    assert hits[0].chunk.text == chunks[0].text


def test_a_title_is_found_but_is_not_text(tmp_path: Path) -> None:
    """Words of the title find every chunk of the document, whose text and offsets stay its own."""
    text = "Alpha one. " * 60
    document = Document(id="a", text=text, title="Zebra crossing")
    with RAG(tmp_path / "kb", config=Settings(embedder="none", chunk_tokens=50)) as rag:
        rag.ingest(document, Document(id="b", text="Alpha two."))
        hits = rag.search("zebra", k=50)
        assert len(hits) > 3
        assert all(hit.chunk.document_id == "a" for hit in hits)
        assert all(text[hit.chunk.start : hit.chunk.end] == hit.chunk.text for hit in hits)
        assert "Zebra" not in (rag.ask("alpha").prompt or "")


def test_a_changed_document_replaces_its_chunks(tmp_path: Path) -> None:
    """Words of the old version are no longer found, those of the new one are."""
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        rag.ingest(Document(id="a", text="The walrus sleeps."))
        report = rag.ingest(Document(id="a", text="The heron sleeps."))
        assert report.documents["changed"] == 1
        assert [h.chunk.text for h in rag.search("walrus")] == []
        assert [h.chunk.text for h in rag.search("heron")] == ["The heron sleeps."]


def test_removed_words_leave_the_file(tmp_path: Path) -> None:
    """After `rm` the document's text and words stand in no file of the store."""
    with RAG(tmp_path / "kb") as rag:
        rag.ingest(
            Document(id="secret", text="The xylophonist hides quicksilver. " * 30),
            Document(id="other", text="Plain words remain."),
        )
        assert rag.rm("secret", "absent") == ["secret"]
        assert rag.doctor() == []
    raw = b"".join(p.read_bytes() for p in (tmp_path / "kb").iterdir())
    assert b"xylophonist" not in raw
    assert b"quicksilv" not in raw
    assert b"Plain words" in raw
    assert LocalStore(tmp_path / "kb").count()["chunks_with_vectors"] == 1


def test_equal_scores_are_ordered_by_chunk_id(tmp_path: Path) -> None:
    """Documents that differ only in their id come in the order of their chunks' ids."""
    documents = [Document(id=str(i), text="The same words here.") for i in range(30)]
    store = words_store(tmp_path / "kb", *documents)
    hits = store.search(Query(question="same words", k=10))
    chunk_ids = [hit.chunk.id for hit in hits]
    everything = sorted(hit.chunk.id for hit in store.search(Query(question="same words", k=30)))
    assert chunk_ids == everything[:10]


HOSTILE = [
    '"', "NEAR(a b)", "a AND", "OR", "NOT x", "col:x", "x*", "^x", "(((", "-", "\0", "'; --", "{a}",
    "a\0b", "\ud800", "\U0001f4a5", "\u0661\u0662", "\uff46\uff55", "%", "_", "\\", 'a"b',
    "", " \n\t",
]  # fmt: skip


@pytest.mark.slow
def test_no_question_breaks_the_words_index(tmp_path: Path) -> None:
    """10,000 hostile and random questions are answered without an error."""
    store = words_store(tmp_path / "kb", Document(id="a", text="Alpha beta. 東京 สวัสดี a b c"))
    rng = random.Random(3)
    pieces = [*HOSTILE, "alpha", "東京", "สวัสดี", "a", " "]
    for _ in range(10_000):
        question = "".join(rng.choices(pieces, k=rng.randrange(6)))
        question += "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(4)))
        for hit in store.search(Query(question=question)):
            assert hit.chunk.document_id == "a"
    assert ids(store, 'NEAR("alpha"') == ["a"]


@pytest.mark.slow
def test_groups_and_filters_never_leak(tmp_path: Path) -> None:
    """Over 2,000 random triples a hit always shares a group and passes the filter."""
    rng = random.Random(5)
    names = ["red", "green", "blue"]
    documents = [
        Document(
            id=str(i),
            text=f"Common words about item {i}.",
            metadata={"year": 2000 + i % 5},
            groups=tuple(rng.sample(names, rng.randrange(4))),
        )
        for i in range(60)
    ]
    by_id = {document.id: document for document in documents}
    store = words_store(tmp_path / "kb", *documents)
    n_found = 0
    for _ in range(2_000):
        groups = tuple(rng.sample(names, rng.randrange(4)))
        year = 2000 + rng.randrange(6)
        query = Query(
            question="common item", k=rng.randrange(1, 9), groups=groups,
            filters={"year": {"$gte": year}},
        )  # fmt: skip
        allowed = {
            d.id
            for d in documents
            if set(d.groups) & set(groups) and int(str(d.metadata["year"])) >= year
        }
        found = {hit.chunk.document_id for hit in store.search(query)}
        assert found <= allowed
        assert len(found) == min(query.k, len(allowed))
        n_found += len(found)
    assert n_found > 2_000
    assert all(by_id[row.document_id].groups for row in store.documents(groups=tuple(names)))


def test_a_protected_store_wants_to_know_who_asks(tmp_path: Path) -> None:
    """Once a document carries groups, a question, list and show without groups are refused."""
    store = words_store(
        tmp_path / "kb",
        Document(id="open", text="Common words."),
        Document(id="closed", text="Common words too.", groups=("staff",)),
    )
    for ask in (
        lambda: store.search(Query(question="common")),
        lambda: list(store.documents()),
        lambda: store.document("closed"),
    ):
        with pytest.raises(ConfigError, match="--groups"):
            ask()
    assert ids(store, "common", groups=("staff",)) == ["closed"]
    assert ids(store, "common", groups=()) == []
    assert store.document("open", groups=("staff",)) is None


def test_a_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    """Opening what is not there names the command that makes it, and makes nothing."""
    with pytest.raises(StoreMissingError, match="ragkit ingest"):
        LocalStore(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("raw", [b"", b"not a database", b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_store_is_not_served(tmp_path: Path, raw: bytes) -> None:
    """A file that is no store raises one typed error."""
    (tmp_path / "store.sqlite").write_bytes(raw)
    with pytest.raises(StoreDamagedError):
        LocalStore(tmp_path)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A store of a later schema is not touched."""
    words_store(tmp_path / "kb", Document(id="a", text="Words.")).close()
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer ragkit"):
        LocalStore(tmp_path / "kb")


def test_the_doctor_finds_and_mends_what_is_derived(tmp_path: Path) -> None:
    """A words index that contradicts the chunks, and orphan vectors, are found and rebuilt."""
    with RAG(tmp_path / "kb") as rag:
        rag.ingest(Document(id="a", text="The heron sleeps."))
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        connection.execute("INSERT INTO words(words) VALUES ('delete-all')")
        connection.execute("INSERT INTO vector VALUES (NULL, x'00', x'0000000000')")
    connection.close()
    with RAG(tmp_path / "kb") as rag:
        assert {f.check for f in rag.doctor()} == {"words", "vectors"}
        assert all(f.repaired for f in rag.doctor(repair=True))
        assert rag.doctor() == []
        assert rag.search("heron", mode="lexical")


def test_a_second_writer_is_told_to_wait(tmp_path: Path) -> None:
    """While one process writes, another one's ingest fails at once with a typed error."""
    store = words_store(tmp_path / "kb", Document(id="a", text="Words."))
    script = (
        "import sys\nfrom ragkit import RAG, Document\nfrom ragkit.errors import StoreBusyError\n"
        "try:\n    RAG(sys.argv[1]).ingest(Document(id='b', text='More.'))\n"
        "except StoreBusyError as error:\n    print('busy', error.exit_code)\n"
    )
    with store.exclusive():
        result = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "kb")],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        with pytest.raises(StoreBusyError), LocalStore(tmp_path / "kb").exclusive():
            pass
    assert result.stdout == "busy 6\n"
    assert store.count()["documents"] == 1


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """Where the lock file cannot be opened, a write is a typed error and reading goes on."""
    store = words_store(tmp_path / "kb", Document(id="a", text="Words."))
    (tmp_path / "kb" / "writer.lock").unlink()
    (tmp_path / "kb" / "writer.lock").mkdir()
    with pytest.raises(StoreError, match="cannot be written"), store.exclusive():
        pass
    assert ids(store, "words") == ["a"]


def test_readers_in_threads_see_whole_documents_while_one_writes(tmp_path: Path) -> None:
    """While a document is replaced again and again, no reader sees half of it."""
    place = tmp_path / "kb"
    config = Settings(embedder="none", chunk_tokens=20)
    # On a busy machine a reader may hold the log back for longer than a writer waits.
    with RAG(place, config=config, notify=list[str]().append) as writer:
        writer.ingest(Document(id="a", text="version 0 begins. " * 40 + "version 0 ends."))
        store = LocalStore(place)
        wrong: list[str] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                hits = store.search(Query(question="version", k=50))
                numbers = {hit.chunk.text.split()[1] for hit in hits}
                if len(numbers) != 1 or len(hits) < 5:
                    wrong.append(f"{numbers} in {len(hits)} hits")

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for i in range(1, 25):
            text = f"version {i} begins. " * 40 + f"version {i} ends."
            writer.ingest(Document(id="a", text=text))
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []


@pytest.mark.slow
def test_a_search_sees_one_state_of_the_store(tmp_path: Path) -> None:
    """A document replaced in the middle of a search is found as it was when the search began."""
    place, notices = tmp_path / "kb", list[str]()
    with RAG(place, notify=notices.append) as writer:
        writer.ingest(Document(id="a", text="The heron sleeps."))

        class Meddling(Stopwatch):
            """Replaces the document between ranking and reading."""

            @contextmanager
            def stage(self, name: str) -> Generator[None]:
                """Write, then measure."""
                writer.ingest(Document(id="a", text="The walrus wakes and sings."))
                with super().stage(name):
                    yield

        vector = BuiltinEmbedder().embed_query("Which bird sleeps?")
        query = Query(question="heron", vector=vector)
        hits = LocalStore(place).search(query, watch=Meddling())
        assert [hit.chunk.text for hit in hits] == ["The heron sleeps."]
        assert [hit.chunk.text for hit in writer.search("walrus")] == [
            "The walrus wakes and sings."
        ]
    assert [notice for notice in notices if "a reader holds back" in notice] == notices != []


def test_listing_is_ordered_and_sized(tmp_path: Path) -> None:
    """`list` gives documents by id with the size of their text in bytes."""
    store = words_store(
        tmp_path / "kb", Document(id="b", text="Zwölf."), Document(id="a", text="One. Two.")
    )
    rows = [row.to_dict() for row in store.documents()]
    assert [(row["document_id"], row["bytes"], row["chunks"]) for row in rows] == [
        ("a", 9, 1), ("b", 7, 1)]  # fmt: skip
    assert json.dumps(rows)
