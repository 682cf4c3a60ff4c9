"""The LangChain adapter with LangChain itself."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import pytest

from ragkit import TrimPolicy

from .framework_passages import ANSWER, FERRY, MUSEUM, QUESTION, UNKNOWN, harbour

pytest.importorskip("langchain_core", reason="langchain-core is not installed: test-adapters")
pytestmark = pytest.mark.filterwarnings("ignore")

documents: Any = importlib.import_module("langchain_core.documents")
ours: Any = importlib.import_module("ragkit_connectors.langchain")

FOUND = [
    documents.Document(page_content=FERRY, id="f", metadata={"source": "ferry.txt", "score": 0.9}),
    documents.Document(page_content=MUSEUM, id="m", metadata={"start_index": 40, "lang": "en"}),
]


def test_pieces_are_documents_that_can_be_cited() -> None:
    """Id and metadata pass through, and the place is that of the text."""
    first = ours.trim_documents(QUESTION, FOUND, policy="tight")[0]
    assert ANSWER in first.page_content
    assert (first.id, first.metadata["score"]) == ("f", 0.9)
    assert FERRY[first.metadata["start"] : first.metadata["end"]] == first.page_content
    assert (first.metadata["document_id"], first.metadata["source"]) == ("ferry.txt", "ferry.txt")
    assert first.metadata["trim"]["refused"] is False
    assert FOUND[0].metadata == {"source": "ferry.txt", "score": 0.9}


def test_offsets_count_in_the_document_where_a_splitter_says_where() -> None:
    """LangChain's splitters name the start; a second trim counts on from the first."""
    kept = ours.trim_documents("When does the museum open?", FOUND[1:], policy="off")
    assert kept[0].metadata["start"] == 40
    assert kept[0].metadata["document_id"] == "m"
    again = ours.trim_documents("What does entry cost?", kept, policy="tight")
    for piece in again:
        start, end = piece.metadata["start"] - 40, piece.metadata["end"] - 40
        assert MUSEUM[start:end] == piece.page_content


def test_a_refusal_may_leave_nothing() -> None:
    """Pieces are there all the same, unless nothing is wanted then."""
    assert ours.trim_documents(UNKNOWN, FOUND)[0].metadata["trim"]["refused"]
    assert ours.trim_documents(UNKNOWN, FOUND, drop_refused=True) == []


@pytest.mark.parametrize("policy", ["tight", TrimPolicy(name="own", budget_tokens=12)],
                         ids=["name", "object"])  # fmt: skip
def test_the_compressor_is_what_langchain_expects(policy: object) -> None:
    """It compresses by itself and behind a retriever, and asynchronously the same."""
    vectors = importlib.import_module("langchain_core.vectorstores")
    fake = importlib.import_module("langchain_core.embeddings")
    store = vectors.InMemoryVectorStore(fake.DeterministicFakeEmbedding(size=8))
    store.add_documents(FOUND)
    compressor = ours.RagkitCompressor(policy=policy, max_tokens=60)
    direct = compressor.compress_documents(FOUND, QUESTION)
    assert direct == asyncio.run(compressor.acompress_documents(FOUND, QUESTION))
    assert direct == ours.trim_documents(QUESTION, FOUND, policy=policy, max_tokens=60)
    runnables = importlib.import_module("langchain_core.runnables")

    def trimmed(found: list[object]) -> object:
        return ours.trim_documents(QUESTION, found, policy=policy)

    chain = store.as_retriever() | runnables.RunnableLambda(trimmed)
    assert any(ANSWER in document.page_content for document in chain.invoke(QUESTION))
    classic: Any = pytest.importorskip("langchain_classic.retrievers")
    behind = classic.ContextualCompressionRetriever(
        base_compressor=compressor, base_retriever=store.as_retriever()
    )
    assert any(ANSWER in document.page_content for document in behind.invoke(QUESTION))


def test_the_retriever_searches_a_store(tmp_path: Path) -> None:
    """Hits as documents; trimmed, what `ask` would send, and nothing where it refuses."""
    with harbour(tmp_path) as rag:
        found = ours.RagkitRetriever(rag=rag, k=1).invoke(QUESTION)
        assert [document.page_content for document in found] == [FERRY]
        assert found[0].metadata["kind"] == "timetable"
        assert found[0].metadata["source"]
        trimmed = ours.RagkitRetriever(rag=rag, trimmed=True)
        sent = [(i.text, i.start, i.end) for i in rag.ask(QUESTION, dry_run=True).context]
        assert sent == [
            (d.page_content, d.metadata["start"], d.metadata["end"])
            for d in asyncio.run(trimmed.ainvoke(QUESTION))
        ]
        assert trimmed.invoke(UNKNOWN) == []
        only = ours.RagkitRetriever(rag=rag, filters={"kind": "timetable"})
        assert len(only.invoke("museum")) == 1
