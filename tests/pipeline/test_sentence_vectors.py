"""A sentence is embedded once while it is stored, whatever it stands in."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings
from ragkit.embedding import BuiltinEmbedder
from ragkit.errors import StoreDamagedError
from ragkit_connectors.testing.stores import WordEmbedder

if TYPE_CHECKING:
    from ragkit.types import Embedder, Vector, Vectors

FIXTURE = Path(__file__).parents[1] / "fixtures" / "store_schema_2" / "store.sqlite"
LINES = [
    f"The {what} of harbour {where} opens at {hour}."
    for what in ("gate", "office", "crane")
    for where in ("north", "south")
    for hour in ("six", "seven", "eight")
]


class Counting:
    """An embedder that notes the texts of documents.

    Args:
        embedder: What embeds.
        refuses: A text at which it fails.
    """

    def __init__(self, embedder: Embedder | None = None, *, refuses: str = "") -> None:
        self._embedder = embedder or WordEmbedder()
        self._refuses = refuses
        self.dim = self._embedder.dim
        self.fingerprint = self._embedder.fingerprint
        self.name = "builtin" if embedder else "words"
        self.texts: Counter[str] = Counter()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return what the embedder does."""
        if self._refuses in texts:
            raise MemoryError("no room")
        self.texts.update(texts)
        return self._embedder.embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        """Return what the embedder does."""
        return self._embedder.embed_query(text)


def text_of(*numbers: int) -> str:
    """Return a text of some of the lines."""
    return " ".join(LINES[i] for i in numbers)


def rows(place: Path, query: str) -> list[tuple[object, ...]]:
    """Return what a query finds in a store's file."""
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        return connection.execute(query).fetchall()


def n_sentences(place: Path) -> int:
    """Return the number of sentences whose vectors are stored."""
    return len(rows(place, "SELECT row FROM sentence"))


def distinct_sentences(rag: RAG) -> set[str]:
    """Return the texts of all sentences in a store."""
    found: set[str] = set()
    for row in rag.documents():
        stored = rag.stored(row.document_id)
        assert stored is not None
        document, _, chunks = stored
        found |= {document.text[slice(*span)] for chunk in chunks for span in chunk.sentences}
    return found


def chunk_texts(rag: RAG) -> set[str]:
    """Return the texts of all chunks in a store."""
    found = [rag.stored(row.document_id) for row in rag.documents()]
    return {chunk.text for stored in found if stored is not None for chunk in stored[2]}


def test_a_text_is_embedded_once(tmp_path: Path) -> None:
    """Over documents, batches in flight, calls, editions, rebuilds: no text comes twice."""
    embedder, place = Counting(), tmp_path / "kb"
    with RAG(place, embedder=embedder, config=Settings(chunk_tokens=20)) as rag:
        report = rag.ingest(
            *(
                Document(id=f"d{i}", text=text_of(*((i * k + k) % 18 for k in (1, 5, 7, 11))))
                for i in range(300)
            )
        )
        assert report.to_dict()["sentence_vectors"] == {
            "seconds": report.sentence_seconds,
            "bytes": 18 * embedder.dim,
            "embedded": 18,
            "reused": 1200 - 18,
        }
        rag.ingest(Document(id="e", text=text_of(0, 9)), Document(id="d0", text=text_of(3, 12)))
        assert n_sentences(place) == 18
    for config in (Settings(chunker="whole"), Settings(embed_title=True)):
        n_before = len(embedder.texts)
        with RAG(place, embedder=embedder, config=config) as rag:
            rag.rebuild()
            assert rag.doctor() == []
        assert len(embedder.texts) > n_before
    assert set(embedder.texts) >= set(LINES)
    assert max(embedder.texts.values()) == 1


@pytest.mark.parametrize("embed_title", [False, True])
def test_a_chunk_of_one_sentence_shares_its_vector(tmp_path: Path, embed_title: bool) -> None:
    """One text is embedded, or two if the chunk's begins with the title."""
    embedder = Counting()
    with RAG(tmp_path / "kb", embedder=embedder, config=Settings(embed_title=embed_title)) as rag:
        rag.ingest(Document(id="a", text=LINES[0], title="Gates"))
        assert embedder.texts == Counter(
            [f"Gates {LINES[0]}", LINES[0]] if embed_title else [LINES[0]]
        )
        # A chunk's vector serves a sentence elsewhere, too.
        rag.ingest(Document(id="b", text=text_of(0, 1), title="Gates"))
        assert embedder.texts[LINES[0]] == 1
        assert n_sentences(tmp_path / "kb") == 2
        assert rag.doctor() == []


def test_sentences_take_the_vectors_of_chunks_that_are_there(tmp_path: Path) -> None:
    """Where only chunks had vectors, those of one sentence are not embedded again."""
    embedder = Counting()
    with RAG(tmp_path / "kb", embedder=embedder, config=Settings(sentence_vectors=False)) as rag:
        rag.ingest(Document(id="a", text=LINES[0]), Document(id="b", text=text_of(0, 1)))
    with RAG(tmp_path / "kb", embedder=embedder, config=Settings(sentence_vectors=True)) as rag:
        rag.rebuild()
        assert embedder.texts == Counter([LINES[0], text_of(0, 1), LINES[1]])
        assert rag.doctor() == []
        assert rag.ask("When does the gate of harbour north open?").text
    with RAG(tmp_path / "kb", embedder=embedder, config=Settings(sentence_vectors=False)) as rag:
        rag.rebuild()
        assert n_sentences(tmp_path / "kb") == 0
        assert rag.doctor() == []
    assert max(embedder.texts.values()) == 1


def test_an_edited_document_embeds_only_what_is_new(tmp_path: Path) -> None:
    """A new sentence and the chunk around it; vectors that nothing uses any more are gone."""
    embedder = Counting()
    with RAG(tmp_path / "kb", embedder=embedder) as rag:
        rag.ingest(Document(id="a", text=text_of(0, 1, 2)), Document(id="b", text=text_of(2, 3)))
        embedder.texts.clear()
        report = rag.ingest(Document(id="a", text=text_of(0, 4)))
        assert embedder.texts == Counter([LINES[4], text_of(0, 4)])
        assert (report.embedded, report.sentences_embedded, report.sentences) == (1, 1, 2)
        assert n_sentences(tmp_path / "kb") == 4
        rag.rm("b")
        assert n_sentences(tmp_path / "kb") == 2
        rag.rm("a")
        for table in ("sentence", "sentence_use", "vector"):
            assert rows(tmp_path / "kb", f"SELECT 1 FROM {table}") == []  # noqa: S608


def test_an_interrupted_ingest_keeps_the_sentences_of_what_it_committed(tmp_path: Path) -> None:
    """The next call embeds the others only; an interrupted rebuild changes nothing."""
    documents = [Document(id=f"d{i}", text=f"Boat {i} sails. It is boat {i}.") for i in range(320)]
    failing = Counting(refuses="Boat 300 sails.")
    with RAG(tmp_path / "kb", embedder=failing) as rag:
        with pytest.raises(MemoryError):
            rag.ingest(*documents)
        kept = distinct_sentences(rag)
        assert 0 < len(kept) < 600
    embedder = Counting()
    with RAG(tmp_path / "kb", embedder=embedder) as rag:
        rag.ingest(*documents)
        assert not kept & set(embedder.texts)
        assert max(embedder.texts.values()) == 1
        assert len(distinct_sentences(rag)) == n_sentences(tmp_path / "kb") == 640
    before = rows(tmp_path / "kb", "SELECT * FROM sentence_use ORDER BY sentence, chunk")
    failing = Counting(refuses="Boat 300 sails.")
    with RAG(tmp_path / "kb", embedder=failing, config=Settings(chunk_tokens=8)) as rag:
        with pytest.raises(MemoryError):
            rag.rebuild()
        assert rag.doctor() == []
    assert rows(tmp_path / "kb", "SELECT * FROM sentence_use ORDER BY sentence, chunk") == before


STEPS = st.one_of(
    st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 5), min_size=1, max_size=5)),
    st.tuples(st.sampled_from("abc"), st.none()),
    st.tuples(st.sampled_from([12, 30, 400]), st.none()),
)


@settings(max_examples=12)
@given(steps=st.lists(STEPS, min_size=1, max_size=6))
def test_what_is_stored_is_what_is_used(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str | int, list[int] | None]],
) -> None:
    """After any ingests, removals and rebuilds, and nothing that was stored is embedded again."""
    place = tmp_path_factory.mktemp("any") / "kb"
    config = Settings(chunk_tokens=30)
    with RAG(place, embedder=WordEmbedder(), config=config) as rag:
        rag.ingest(Document(id="first", text=text_of(0, 1)))
    for name, numbers in steps:
        config = Settings(chunk_tokens=name) if isinstance(name, int) else config
        embedder = Counting()
        with RAG(place, embedder=embedder, config=config) as rag:
            before = distinct_sentences(rag)
            if isinstance(name, int):
                rag.rebuild()
            elif numbers is None:
                rag.rm(name)
            else:
                rag.ingest(Document(id=name, text=text_of(*numbers)))
            assert rag.doctor() == []
            assert len(distinct_sentences(rag)) == n_sentences(place)
            assert all(text in embedder.texts for text in distinct_sentences(rag) - before)
            chunks = {str(text) for text in embedder.texts if text.count(".") > 1}
            # A sentence that becomes a chunk needs a vector of its own precision.
            again = (before & set(embedder.texts)) - chunks - chunk_texts(rag)
            assert not again or isinstance(name, int)
            assert max(embedder.texts.values(), default=0) <= 1


def test_a_damaged_sentence_vector_is_named_and_made_again(tmp_path: Path) -> None:
    """The error names the chunk and the remedy; repair and rebuild embed this sentence alone."""
    question, embedder = "When does the gate of harbour north open?", Counting()
    with RAG(tmp_path / "kb", embedder=embedder) as rag:
        rag.ingest(Document(id="a", text=text_of(0, 1, 2)), Document(id="b", text=text_of(3, 4)))
        before = rag.ask(question).to_dict()["context"]
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        (raw,) = connection.execute("SELECT vector FROM sentence WHERE row = 2").fetchone()
        connection.execute("UPDATE sentence SET vector = ? WHERE row = 2", (raw[:-1] + b"?",))
    connection.close()
    embedder.texts.clear()
    with RAG(tmp_path / "kb", embedder=embedder) as rag:
        chunk = next(hit.chunk.id for hit in rag.search("gate") if hit.chunk.document_id == "a")
        with pytest.raises(StoreDamagedError, match=f"{chunk}.*doctor --repair; ragkit rebuild"):
            rag.ask(question)
        assert [finding.check for finding in rag.doctor()] == ["vectors"]
        assert [(f.check, f.repaired) for f in rag.doctor(repair=True)] == [
            ("vectors", True),
            ("missing_vectors", None),
        ]
        assert rag.ask(question).text
        rag.rebuild()
        assert embedder.texts == Counter([LINES[1]])
        assert rag.doctor() == []
        assert rag.ask(question).to_dict()["context"] == before


@pytest.mark.parametrize(
    ("damage", "checks"),
    [
        ("DELETE FROM sentence_use WHERE sentence = 1", ["sentence_uses", "vectors"]),
        ("INSERT INTO sentence_use VALUES (1, 77)", ["sentence_uses"]),
        ("INSERT INTO sentence(key, vector) VALUES (x'01', x'0000000000')", ["vectors"]),
    ],
)
def test_the_doctor_mends_the_uses_of_sentences(
    tmp_path: Path, damage: str, checks: list[str]
) -> None:
    """A use that is not noted, one of no chunk, and a vector that nothing uses."""
    with RAG(tmp_path / "kb", embedder=WordEmbedder()) as rag:
        rag.ingest(Document(id="a", text=text_of(0, 1)), Document(id="b", text=text_of(1, 2)))
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        connection.execute(damage)
    connection.close()
    with RAG(tmp_path / "kb", embedder=WordEmbedder()) as rag:
        assert [finding.check for finding in rag.doctor()] == checks
        assert all(finding.repaired for finding in rag.doctor(repair=True))
        assert rag.doctor() == []
        rag.rm("a")
        assert n_sentences(tmp_path / "kb") == 2


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Return a copy of a store of schema 2."""
    (tmp_path / "kb").mkdir()
    shutil.copy(FIXTURE, tmp_path / "kb")
    return tmp_path / "kb"


def test_reading_does_not_change_an_older_store(older: Path) -> None:
    """Nothing but a write migrates."""
    with RAG(older) as rag:
        question = "When does the museum open?"
        rag.search(question)
        rag.ask(question)
        rag.describe()
        assert rag.doctor() == []
        for row in rag.documents():
            rag.show(row.document_id)
    assert (older / "store.sqlite").read_bytes() == FIXTURE.read_bytes()


@pytest.mark.filterwarnings("ignore:the store keeps no lists")  # the store is of before
def test_a_reader_goes_on_while_another_process_migrates(older: Path) -> None:
    """One that opened the store before answers alike after, and sees what is new."""
    question = "When does the museum open?"
    with RAG(older) as reader:
        before = reader.ask(question).to_dict()["context"]
        with RAG(older) as writer:
            writer.ingest(Document(id="new", text="Zebras graze in the harbour."))
        assert reader.ask(question).to_dict()["context"] == before
        assert reader.search("zebras", mode="lexical")[0].chunk.document_id == "new"
        assert reader.doctor() == []


@pytest.mark.filterwarnings("ignore:documents stored without")  # the store is of before
def test_a_migration_keeps_the_vectors(older: Path) -> None:
    """Nothing is embedded again: not by a rebuild, and of smaller chunks only the chunks."""
    embedder = Counting(BuiltinEmbedder())
    (embedder.fingerprint,) = BuiltinEmbedder.compatible_fingerprints
    with RAG(older, embedder=embedder) as rag:
        before = rag.ask("When does the museum open?").to_dict()["context"]
        assert rag.rebuild().sentences > 50
        assert not embedder.texts
        assert rag.ask("When does the museum open?").to_dict()["context"] == before
        assert rag.doctor() == []
    with RAG(older, embedder=embedder, config=Settings(chunk_tokens=60)) as rag:
        report = rag.rebuild()
        assert report.embedded == len(embedder.texts) > 0
        assert report.sentences_embedded == 0
        assert rag.doctor() == []
