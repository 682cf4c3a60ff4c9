"""The LlamaIndex adapter with LlamaIndex itself."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import ConfigError

from .framework_passages import ANSWER, FERRY, MUSEUM, QUESTION, UNKNOWN, harbour

pytest.importorskip("llama_index", reason="llama-index-core is not installed: test-adapters")
pytestmark = pytest.mark.filterwarnings("ignore")

schema: Any = importlib.import_module("llama_index.core.schema")
ours: Any = importlib.import_module("ragkit_connectors.llama_index")


def found() -> list[Any]:
    """Return nodes as a splitter makes them, and one of an image."""
    document = schema.Document(text=f"Notice. {FERRY}", id_="notices", metadata={"file_name": "n"})
    parsers = importlib.import_module("llama_index.core.node_parser")
    nodes = parsers.SentenceSplitter(chunk_size=200).get_nodes_from_documents([document])
    nodes.append(schema.TextNode(text=MUSEUM, id_="m"))
    nodes.append(schema.ImageNode(image_path="a.png", id_="image"))
    return [schema.NodeWithScore(node=n, score=1.0 / i) for i, n in enumerate(nodes, 1)]


def test_pieces_are_nodes_that_can_be_cited() -> None:
    """Ids, scores, metadata and sources pass through; models are not shown what was added."""
    given = found()
    kept = ours.RagkitPostprocessor(policy="tight").postprocess_nodes(given, query_str=QUESTION)
    node = kept[0].node
    assert ANSWER in node.get_content()
    assert (node.node_id, kept[0].score) == (given[0].node.node_id, given[0].score)
    assert (node.ref_doc_id, node.metadata["document_id"]) == ("notices", "notices")
    text = f"Notice. {FERRY}"
    assert text[node.metadata["start"] : node.metadata["end"]] == node.get_content()
    assert (node.start_char_idx, node.end_char_idx) == (
        node.metadata["start"],
        node.metadata["end"],
    )
    shown = node.get_content(metadata_mode=schema.MetadataMode.LLM)
    assert "file_name: n" in shown
    assert "trim" not in shown
    assert kept[-1].node.node_id == "image"
    assert set(given[0].node.metadata) == {"file_name"}


def test_it_needs_a_question_and_may_refuse() -> None:
    """Without one the error says what is missing; a refusal may leave nothing."""
    trimmer = ours.RagkitPostprocessor(drop_refused=True)
    with pytest.raises(ConfigError, match="query_str"):
        trimmer.postprocess_nodes(found())
    texts = found()[:-1]
    assert trimmer.postprocess_nodes(texts, query_str=UNKNOWN) == []
    same = asyncio.run(trimmer.apostprocess_nodes(texts, query_str=QUESTION))
    assert [n.text for n in same] == [
        n.text for n in trimmer.postprocess_nodes(texts, query_str=QUESTION)
    ]


def test_the_retriever_searches_a_store(tmp_path: Path) -> None:
    """Hits as nodes in a query engine that trims them; trimmed, what `ask` would send."""
    with harbour(tmp_path) as rag:
        retriever = ours.RagkitRetriever(rag, k=2)
        nodes = retriever.retrieve(QUESTION)
        assert nodes[0].text == FERRY
        assert nodes[0].node.ref_doc_id == "ferry"
        assert "start" not in nodes[0].node.get_content(metadata_mode=schema.MetadataMode.LLM)
        engines = importlib.import_module("llama_index.core.query_engine")
        llms = importlib.import_module("llama_index.core.llms")
        engine = engines.RetrieverQueryEngine.from_args(
            retriever, llm=llms.MockLLM(),
            node_postprocessors=[ours.RagkitPostprocessor(policy="tight")],
        )  # fmt: skip
        answer = engine.query(QUESTION)
        assert ANSWER in answer.source_nodes[0].text
        assert answer.source_nodes[0].node.metadata["document_id"] == "ferry"
        trimmed = ours.RagkitRetriever(rag, trimmed=True)
        assert asyncio.run(trimmed.aretrieve(UNKNOWN)) == []
        sent = [item.text for item in rag.ask(QUESTION, dry_run=True).context]
        assert [node.text for node in trimmed.retrieve(QUESTION)] == sent
