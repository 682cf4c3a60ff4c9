"""Sentence vectors are short or full; weights of before go on serving the stores made with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ragkit import RAG, Document, Settings
from ragkit.embedding import BuiltinEmbedder
from ragkit.errors import ConfigError, StoreDamagedError
from ragkit.storage import LocalStore
from ragkit_connectors.testing.stores import WordEmbedder

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

np = pytest.importorskip("numpy", reason="vectors need numpy")

TEXT = (
    "The harbour office opens at six. Boats are let by the hour. The crane lifts twelve tonnes. "
    "Dogs stay on the quay. The lighthouse was built of granite in 1874."
)
SENTENCES = [f"{part.strip()}." for part in TEXT.split(".") if part.strip()]
QUESTION = "How many tonnes does the crane lift?"


class Older(BuiltinEmbedder):
    """The built-in embedder as it called itself before its weights were rounded anew."""

    fingerprint = BuiltinEmbedder.compatible_fingerprints[0]
    compatible_fingerprints = ()
    name = "builtin"

    def __init__(self) -> None:
        super().__init__()
        self.embedded: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Note what is embedded."""
        self.embedded += texts
        return super().embed_documents(texts)


class OnlyFull:
    """The built-in embedder without its vectors of sentences."""

    name = "builtin"
    dim = BuiltinEmbedder.dim
    fingerprint = BuiltinEmbedder.fingerprint

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return what the embedder does."""
        return BuiltinEmbedder().embed_documents(texts)

    def embed_query(self, text: str) -> Vector:
        """Return what the embedder does."""
        return BuiltinEmbedder().embed_query(text)


def kind(place: Path) -> object:
    """Return what a store says of its sentence vectors."""
    with RAG(place) as rag:
        return rag.describe()["sentence_vector_kind"]


def cosines(place: Path) -> list[float]:
    """Return the cosines of the store's sentences and the question."""
    with RAG(place) as rag:
        (hit,) = rag.search(QUESTION, k=1, mode="lexical")
    with LocalStore(place) as store, store.snapshot() as snapshot:
        (chunk,) = snapshot.pool([hit], BuiltinEmbedder().embed_query(QUESTION))
    assert chunk.cosines is not None
    return list(chunk.cosines)


def test_the_built_in_embedder_makes_short_vectors_unless_asked(tmp_path: Path) -> None:
    """Each kind is recorded, kept by later calls, and changed by a rebuild only."""
    short, full = tmp_path / "short", tmp_path / "full"
    with RAG(short) as rag:
        rag.ingest(Document(id="a", text=TEXT))
    with RAG(full, config=Settings(sentence_vector_kind="full")) as rag:
        rag.ingest(Document(id="a", text=TEXT))
    assert (kind(short), kind(full)) == ("short", "full")
    with RAG(full) as rag:
        rag.ingest(Document(id="b", text="Ferries leave at noon."))
    assert kind(full) == "full"
    with (
        RAG(full, config=Settings(sentence_vector_kind="short")) as rag,
        pytest.raises(ConfigError, match=r"sentence_vector_kind 'full'.*'short'.*ragkit rebuild"),
    ):
        rag.ingest(Document(id="c", text=TEXT))
    with RAG(full, config=Settings(sentence_vector_kind="short")) as rag:
        rag.rebuild()
    assert kind(full) == "short"


@pytest.mark.parametrize("chosen", ["short", "full"])
def test_a_sentences_vector_is_read_with_half_of_its_chunks(tmp_path: Path, chosen: str) -> None:
    """It is the sum of the two that is compared with the question."""
    with RAG(tmp_path / "kb", config=Settings(sentence_vector_kind=chosen)) as rag:
        rag.ingest(Document(id="a", text=TEXT))
    embedder = BuiltinEmbedder()
    embed = embedder.embed_sentences if chosen == "short" else embedder.embed_documents
    both = embed(SENTENCES) + 0.5 * embedder.embed_query(TEXT)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    found = cosines(tmp_path / "kb")
    np.testing.assert_allclose(found, both @ embedder.embed_query(QUESTION), atol=0.01)
    assert int(np.argmax(found)) == 2


def test_an_older_store_keeps_the_vectors_that_it_was_certified_with(tmp_path: Path) -> None:
    """It names no kind: its sentences stand alone, also those added now; a rebuild modernises."""
    place = tmp_path / "kb"
    with RAG(place, config=Settings(sentence_vector_kind="full")) as rag:
        rag.ingest(Document(id="a", text=TEXT))
    with LocalStore(place) as store:
        settings = store.manifest().settings
        assert settings is not None
        store.configure(replace(settings, sentence_vector_kind=None))
    embedder = BuiltinEmbedder()
    alone = embedder.embed_documents(SENTENCES) @ embedder.embed_query(QUESTION)
    np.testing.assert_allclose(cosines(place), alone, atol=0.01)
    assert kind(place) == "full"
    with RAG(place) as rag:
        rag.ingest(Document(id="b", text="Ferries leave at noon."))
        np.testing.assert_allclose(cosines(place), alone, atol=0.01)
        rag.rebuild()
    assert kind(place) == "short"


def test_an_embedder_without_short_vectors_makes_full_ones(tmp_path: Path) -> None:
    """Which is said where short ones are asked for."""
    with RAG(tmp_path / "kb", embedder=WordEmbedder()) as rag:
        rag.ingest(Document(id="a", text=TEXT))
        assert rag.describe()["sentence_vector_kind"] == "full"
    with RAG(tmp_path / "none", embedder="none") as rag:
        rag.ingest(Document(id="a", text=TEXT))
        assert rag.describe()["sentence_vector_kind"] is None
    config = Settings(sentence_vector_kind="short")
    with (
        RAG(tmp_path / "new", embedder=WordEmbedder(), config=config) as rag,
        pytest.raises(ConfigError, match=r"'short'; embedder .* makes only full ones"),
    ):
        rag.ingest(Document(id="a", text=TEXT))
    config = Settings(sentence_vector_kind="long")
    with (
        RAG(tmp_path / "new", config=config) as rag,
        pytest.raises(ConfigError, match="'long'; allowed: short full"),
    ):
        rag.ingest(Document(id="a", text=TEXT))


def test_a_store_of_older_weights_goes_on(tmp_path: Path) -> None:
    """It is asked and added to as it is, under its own name; a rebuild gives it the new weights."""
    place, older = tmp_path / "kb", Older()
    config = Settings(sentence_vector_kind="full")
    with RAG(place, embedder=older, config=config) as rag:
        rag.ingest(Document(id="a", text=TEXT))
    assert older.embedded
    with RAG(place, config=Settings(refuse_below="off")) as rag:
        answer = rag.ask(QUESTION)
        assert "twelve tonnes" in (answer.text or "")
        report = rag.ingest(Document(id="b", text=f"{TEXT} A new line is added here."))
        # The sentences that it holds are not embedded again.
        assert (report.embedded, report.sentences_embedded) == (1, 1)
        settings = rag.describe()["settings"]
        assert isinstance(settings, dict)
        assert settings["embedder_fingerprint"] == Older.fingerprint
        rag.rebuild()
        settings = rag.describe()["settings"]
        assert isinstance(settings, dict)
        assert settings["embedder_fingerprint"] == BuiltinEmbedder.fingerprint
    with (
        RAG(place, embedder=Older(), config=config) as rag,
        pytest.raises(ConfigError, match="ragkit rebuild"),
    ):
        rag.ask(QUESTION)


def test_a_certificate_of_older_weights_is_void(tmp_path: Path) -> None:
    """What was certified with other weights is not claimed with these, though they answer."""
    with RAG(tmp_path / "kb", embedder=Older()) as rag:
        rag.ingest(Document(id="a", text=TEXT))
        before = rag.configuration()["store"]
    with RAG(tmp_path / "kb") as rag:
        now = rag.configuration()["store"]
    assert isinstance(before, dict)
    assert isinstance(now, dict)
    assert before["embedder_fingerprint"] == Older.fingerprint
    assert now["embedder_fingerprint"] == BuiltinEmbedder.fingerprint


def test_vectors_that_come_later_are_of_the_stores_kind(tmp_path: Path) -> None:
    """An embedder of the same name that makes none of that kind is refused, before it starts."""
    with RAG(tmp_path / "kb") as rag:
        rag.ingest(Document(id="a", text=TEXT), vectors="later")
    with (
        RAG(tmp_path / "kb", embedder=OnlyFull()) as rag,
        pytest.raises(ConfigError, match="sentence_vector_kind 'short', this call asks for 'full'"),
    ):
        rag.embed()
    with RAG(tmp_path / "kb") as rag:
        assert rag.embed().remaining == 0
    made_at_once = tmp_path / "at once"
    with RAG(made_at_once) as rag:
        rag.ingest(Document(id="a", text=TEXT))
    assert cosines(tmp_path / "kb") == cosines(made_at_once)


def test_a_damaged_vector_of_a_chunk_is_named(tmp_path: Path) -> None:
    """Trimming reads it too; keyword search, which does not, goes on."""
    with RAG(tmp_path / "kb") as rag:
        rag.ingest(Document(id="a", text=TEXT))
    with closing(sqlite3.connect(tmp_path / "kb" / "store.sqlite")) as connection:
        (raw,) = connection.execute("SELECT vector FROM vector").fetchone()
        connection.execute("UPDATE vector SET vector = ?", (bytes([raw[0] ^ 1]) + raw[1:],))
        connection.commit()
    with RAG(tmp_path / "kb") as rag:
        with pytest.raises(StoreDamagedError, match=r"chunk .* is damaged.*ragkit rebuild"):
            cosines(tmp_path / "kb")
        assert rag.ask(QUESTION, mode="lexical").question == QUESTION
