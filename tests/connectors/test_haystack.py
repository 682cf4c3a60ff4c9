"""The Haystack adapter with Haystack itself."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import pytest

from .framework_passages import ANSWER, FERRY, MUSEUM, QUESTION, UNKNOWN, harbour

pytest.importorskip("haystack", reason="haystack-ai is not installed: test-adapters")
pytestmark = pytest.mark.filterwarnings("ignore")

haystack: Any = importlib.import_module("haystack")
ours: Any = importlib.import_module("ragkit_connectors.haystack")


def found() -> list[Any]:
    """Return documents as a splitter and a retriever leave them, and one of an image."""
    return [
        haystack.Document(
            content=FERRY, score=0.9, embedding=[0.1, 0.2],
            meta={"source_id": "harbour", "split_idx_start": 8, "file_path": "harbour.txt"},
        ),
        haystack.Document(content=MUSEUM, score=0.5),
        haystack.Document(content=None, meta={"image": "a.png"}),
    ]  # fmt: skip


def test_pieces_are_documents_that_can_be_cited() -> None:
    """Ids, scores and meta pass through, and the place is that of the text."""
    given = found()
    kept = ours.ContextTrimmer(policy="tight").run(query=QUESTION, documents=given)["documents"]
    first = kept[0]
    assert ANSWER in first.content
    assert (first.id, first.score) == (given[0].id, 0.9)
    assert first.embedding is None
    assert (first.meta["document_id"], first.meta["source"]) == ("harbour", "harbour.txt")
    assert FERRY[first.meta["start"] - 8 : first.meta["end"] - 8] == first.content
    assert kept[-1].meta == {"image": "a.png"}
    assert given[0].content == FERRY
    only = ours.ContextTrimmer(drop_refused=True).run(query=UNKNOWN, documents=given[:2])
    assert only == {"documents": []}


def test_pipelines_are_saved_and_read(tmp_path: Path) -> None:
    """A pipeline of both components does the same after a round trip through YAML, and async."""
    serialization = importlib.import_module("haystack.core.serialization")
    serialization.allow_deserialization_module("ragkit_connectors")
    with harbour(tmp_path):
        pass
    pipeline = haystack.Pipeline()
    pipeline.add_component(
        "search", ours.RagkitRetriever(str(tmp_path / "kb"), top_k=2, mode="hybrid")
    )
    pipeline.add_component("trim", ours.ContextTrimmer("tight", max_tokens=50))
    pipeline.connect("search.documents", "trim.documents")
    read = haystack.Pipeline.loads(pipeline.dumps())
    assert read.to_dict() == pipeline.to_dict()
    inputs = {"search": {"query": QUESTION}, "trim": {"query": QUESTION}}
    kept = read.run(inputs)["trim"]["documents"]
    assert kept[0].content == ANSWER
    assert kept[0].meta["document_id"] == "ferry"
    trimmer, search = read.get_component("trim"), read.get_component("search")
    documents = search.run(query=QUESTION)["documents"]
    assert asyncio.run(search.run_async(query=QUESTION))["documents"] == documents
    asynchronous = asyncio.run(trimmer.run_async(query=QUESTION, documents=documents))
    assert asynchronous["documents"] == kept
    search.close()


def test_the_retriever_filters_and_refuses(tmp_path: Path) -> None:
    """A call's filters and number replace the component's; trimmed, it may find nothing."""
    with harbour(tmp_path):
        pass
    search = ours.RagkitRetriever(str(tmp_path / "kb"))
    search.warm_up()
    assert len(search.run(query=QUESTION)["documents"]) == 2
    assert len(search.run(query=QUESTION, top_k=1)["documents"]) == 1
    assert len(search.run(query="museum", filters={"kind": "timetable"})["documents"]) == 1
    search.close()
    trimmed = ours.RagkitRetriever(str(tmp_path / "kb"), trimmed=True)
    assert trimmed.run(query=UNKNOWN) == {"documents": []}
    assert ANSWER in trimmed.run(query=QUESTION)["documents"][0].content
    trimmed.close()
