"""The way of a question, once through: nothing is read or computed twice."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.pipeline.options import AskOptions
from ragkit.storage import LocalStore
from ragkit.types import Chunk, Hit, Query
from ragkit_connectors.testing.stores import WordEmbedder
from tests.counting import counted

QUESTION = "When does the ferry to the island leave?"
# At the end of each read transaction the store looks whether its file has changed.
ONCE = ("_has_changed", "read_manifest", "detect_language", "search_terms", "measure")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with vectors of sentences."""
    with RAG(tmp_path / "kb", embedder=WordEmbedder(), ledger="off") as rag:
        rag.ingest(
            *(
                Document(id=f"d{i}", text=f"Ferry {i} goes to the island. It leaves at noon.")
                for i in range(12)
            )
        )
    return tmp_path / "kb"


@pytest.mark.parametrize("trim", [None, "off"])
@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_an_answer_reads_and_computes_each_thing_once(
    store: Path, mode: str, trim: str | None
) -> None:
    """One read transaction, the manifest, the question's language, its terms, one scoring."""
    options: AskOptions = {"mode": "lexical" if mode == "lexical" else "hybrid"}
    with RAG(store, embedder=WordEmbedder(), trim=trim, ledger="off") as rag:
        rag.ask(QUESTION, **options)  # The first opens things, and learns that a vector is needed.
        with counted(*ONCE, "embed_query") as counts:
            answer = rag.ask(QUESTION, **options)
    assert answer.context
    assert counts == dict.fromkeys(ONCE, 1) | ({"embed_query": 1} if mode == "hybrid" else {})


def test_an_answer_sees_one_state(store: Path) -> None:
    """What another process writes while a question is answered does not mix two states."""

    class Writes:
        """A reranker during whose work a document is removed."""

        def rerank(self, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
            del question
            with LocalStore(store) as other:
                other.delete([hits[0].chunk.document_id])
            return hits

    with RAG(store, embedder=WordEmbedder(), reranker=Writes(), ledger="off") as rag:
        terms, pool = rag.pool(QUESTION, k=3)
        found = LocalStore(store).search(Query(question=QUESTION, mode="lexical", k=100))
    assert terms
    assert pool[0].cosines is not None
    assert pool[0].hit.chunk.document_id not in {hit.chunk.document_id for hit in found}


def test_a_restored_store_of_another_embedder_is_asked(tmp_path: Path) -> None:
    """What the last question needed is forgotten when another store takes the place of one."""
    with RAG(tmp_path / "words", config=Settings(embedder="none"), ledger="off") as other:
        other.ingest(Document(id="boat", text="The boat leaves the island at six."))
        other.backup(tmp_path / "copy")
    with RAG(tmp_path / "kb2", ledger="off") as rag:
        rag.ingest(Document(id="ferry", text="The ferry leaves the island at noon."))
        assert [hit.chunk.document_id for hit in rag.search(QUESTION)] == ["ferry"]
        rag.restore(tmp_path / "copy")
        assert [hit.chunk.document_id for hit in rag.search(QUESTION)] == ["boat"]


def test_a_reranker_may_return_a_chunk_of_its_own(store: Path) -> None:
    """It is trimmed by its text, whether or not the store knows it."""

    class Shortens:
        """A reranker that hands on the first sentence of each hit as a chunk of its own."""

        def rerank(self, question: str, hits: Sequence[Hit]) -> Sequence[Hit]:
            del question
            return [replace(hit, chunk=_shortened(hit.chunk)) for hit in hits]

    with RAG(store, embedder=WordEmbedder(), reranker=Shortens(), ledger="off") as rag:
        _, pool = rag.pool(QUESTION, k=3)
        answer = rag.ask(QUESTION)
    assert [len(chunk.terms) for chunk in pool] == [1, 1, 1]
    assert all(item.text.endswith("goes to the island.") for item in answer.context)


def _shortened(chunk: Chunk) -> Chunk:
    start, end = chunk.sentences[0]
    text = chunk.text[: end - chunk.start]
    return replace(
        chunk, id=f"short {chunk.id}", start=start, end=end, text=text, sentences=((start, end),)
    )
