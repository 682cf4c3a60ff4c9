# pyright: basic, reportMissingImports=false
"""LlamaIndex: a retriever over a store, and trimming of the nodes of any other retriever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ragkit import RAG
from ragkit.errors import ConfigError, MissingExtraError
from ragkit.types import Mode
from ragkit_connectors.support.pieces import (
    PLACE,
    Given,
    Kept,
    akept_of,
    found_by,
    kept_of,
    parted,
    trim_options,
)

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
except ImportError as error:
    raise MissingExtraError("llama-index-core", extra="llama-index") from error

if TYPE_CHECKING:
    from llama_index.core.schema import QueryBundle


class RagkitPostprocessor(BaseNodePostprocessor):
    """Trims the nodes of a retriever: a node for each piece, with its node's id and score.

    A piece's metadata also has `document_id`, `start`, `end` and `source`, by which it is cited,
    and `trim` with the evidence score and what is certified; language models are not shown these.
    Nodes without text pass as they are, after the pieces.

    Attributes:
        policy: A name, a file or a `TrimPolicy`, as in `TrimOptions`; the same for the next four.
        max_tokens: Hard limit on the tokens of what is kept.
        vectors: Whether sentences are compared by vectors, too.
        fingerprint: Names the retriever and its settings.
        corpus_version: Names the state of the documents.
        drop_refused: Return nothing where the evidence is too weak for an answer.
    """

    policy: Any = "bundled"  # pydantic cannot describe a TrimPolicy
    max_tokens: int | None = None
    vectors: bool | None = None
    fingerprint: str | None = None
    corpus_version: str | None = None
    drop_refused: bool = False

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows it by."""
        return "RagkitPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with_text, others = parted(nodes, _text)
        kept = kept_of(
            _question(query_bundle),
            _given(with_text),
            drop_refused=self.drop_refused,
            **trim_options(self),
        )
        return _nodes(kept, with_text) + others

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with_text, others = parted(nodes, _text)
        kept = await akept_of(
            _question(query_bundle),
            _given(with_text),
            drop_refused=self.drop_refused,
            **trim_options(self),
        )
        return _nodes(kept, with_text) + others


def _question(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise ConfigError("trimming needs the question: pass query_bundle or query_str")
    return query_bundle.query_str


def _text(found: NodeWithScore) -> str:
    return found.node.get_content()


def _given(nodes: Sequence[NodeWithScore]) -> list[Given]:
    return [
        Given(
            text=_text(found),
            id=found.node.node_id,
            document_id=found.node.ref_doc_id,
            start=getattr(found.node, "start_char_idx", None),
            metadata=found.node.metadata,
            score=found.score,
        )
        for found in nodes
    ]


def _nodes(kept: Sequence[Kept], nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    found: list[NodeWithScore] = []
    for piece in kept:
        given = nodes[piece.passage]
        new = set(PLACE) - set(given.node.metadata)
        node = TextNode(
            id_=given.node.node_id,
            text=piece.text,
            metadata=piece.metadata,
            start_char_idx=piece.metadata["start"],
            end_char_idx=piece.metadata["end"],
            relationships=given.node.relationships,
            excluded_llm_metadata_keys=sorted({*given.node.excluded_llm_metadata_keys, *new}),
            excluded_embed_metadata_keys=sorted({*given.node.excluded_embed_metadata_keys, *new}),
        )
        found.append(NodeWithScore(node=node, score=given.score))
    return found


class RagkitRetriever(BaseRetriever):
    """Retrieves from a ragkit store.

    Args:
        rag: An open pipeline; its owner closes it.
        k: Number of hits; None for 10, or where `trimmed` is true for the policy's pool.
        mode: `dense`, `lexical` or `hybrid`; None for what the store allows.
        filters: Conditions on metadata.
        groups: Groups that the reader belongs to; required in a protected store.
        trimmed: Return what `rag.ask` would send to a model, and nothing where it refuses.
        settings: Of LlamaIndex's own `BaseRetriever`, such as `callback_manager`.
    """

    def __init__(
        self,
        rag: RAG,
        *,
        k: int | None = None,
        mode: Mode | None = None,
        filters: dict[str, Any] | None = None,
        groups: Sequence[str] | None = None,
        trimmed: bool = False,
        **settings: Any,  # noqa: ANN401 - LlamaIndex's own
    ) -> None:
        super().__init__(**settings)
        self._rag = rag
        self._trimmed = trimmed
        self._k, self._filters, self._groups = k, filters, groups
        self._mode: Mode | None = mode

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = found_by(
            self._rag,
            query_bundle.query_str,
            trimmed=self._trimmed,
            k=self._k,
            mode=self._mode,
            filters=self._filters,
            groups=self._groups,
        )
        return [_node(one) for one in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(one: Given) -> NodeWithScore:
    own = [name for name in one.metadata if name != "title"]
    node = TextNode(
        id_=one.id,
        text=one.text,
        metadata=dict(one.metadata),
        start_char_idx=one.start,
        end_char_idx=one.metadata["end"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=one.document_id or "")},
        excluded_llm_metadata_keys=own,
        excluded_embed_metadata_keys=own,
    )
    return NodeWithScore(node=node, score=one.score)
