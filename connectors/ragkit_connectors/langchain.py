# pyright: basic, reportMissingImports=false
"""LangChain: a retriever over a store, and trimming behind any other retriever.

compressor = RagkitCompressor(policy="tight")
chain = RunnableLambda(lambda x: trim_documents(x["question"], x["documents"]))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from ragkit import RAG
from ragkit.errors import MissingExtraError
from ragkit.types import Mode
from ragkit_connectors.support.pieces import Given, Kept, akept_of, found_by, kept_of, trim_options

try:
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever
except ImportError as error:
    raise MissingExtraError("langchain-core", extra="langchain") from error

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks

    from ragkit.pipeline.options import TrimOptions


def trim_documents(
    question: str,
    documents: Sequence[Document],
    *,
    drop_refused: bool = False,
    **options: Unpack[TrimOptions],
) -> list[Document]:
    """Keep of documents what a question needs, a document for each piece.

    A piece has its document's id and metadata, and there also `document_id`, `start`, `end` and
    `source`, by which it is cited, and `trim` with the evidence score and what is certified.

    Args:
        question: Data, whatever characters it holds.
        documents: Best first.
        drop_refused: Return nothing where the evidence is too weak for an answer.
        options: See `TrimOptions`.

    Raises:
        ConfigError: a value is not allowed.
    """
    kept = kept_of(question, _given(documents), drop_refused=drop_refused, **options)
    return _documents(kept, documents)


async def atrim_documents(
    question: str,
    documents: Sequence[Document],
    *,
    drop_refused: bool = False,
    **options: Unpack[TrimOptions],
) -> list[Document]:
    """Run `trim_documents` in a thread; the arguments and errors are the same.

    Args:
        question: Data, whatever characters it holds.
        documents: Best first.
        drop_refused: Return nothing where the evidence is too weak for an answer.
        options: See `TrimOptions`.
    """
    kept = await akept_of(question, _given(documents), drop_refused=drop_refused, **options)
    return _documents(kept, documents)


def _given(documents: Sequence[Document]) -> list[Given]:
    return [
        Given(text=doc.page_content, id=doc.id, metadata=doc.metadata, score=_score(doc.metadata))
        for doc in documents
    ]


def _score(metadata: Mapping[str, Any]) -> float | None:
    score = metadata.get("relevance_score", metadata.get("score"))
    return float(score) if isinstance(score, int | float) else None


def _documents(kept: Sequence[Kept], documents: Sequence[Document]) -> list[Document]:
    return [
        Document(page_content=piece.text, id=documents[piece.passage].id, metadata=piece.metadata)
        for piece in kept
    ]


class RagkitCompressor(BaseDocumentCompressor):
    """Trims what a retriever has found, in a `ContextualCompressionRetriever` or by itself.

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

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return what `trim_documents` keeps."""
        del callbacks
        return trim_documents(
            query, documents, drop_refused=self.drop_refused, **trim_options(self)
        )

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Run `compress_documents` in a thread."""
        del callbacks
        return await atrim_documents(
            query, documents, drop_refused=self.drop_refused, **trim_options(self)
        )


class RagkitRetriever(BaseRetriever):
    """Retrieves from a ragkit store.

    Attributes:
        rag: An open pipeline; its owner closes it.
        k: Number of hits; None for 10, or where `trimmed` is true for the policy's pool.
        mode: `dense`, `lexical` or `hybrid`; None for what the store allows.
        filters: Conditions on metadata.
        groups: Groups that the reader belongs to; required in a protected store.
        trimmed: Return what `rag.ask` would send to a model, and nothing where it refuses.
    """

    rag: RAG
    k: int | None = None
    mode: Mode | None = None
    filters: dict[str, Any] | None = None
    groups: list[str] | None = None
    trimmed: bool = False

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        del run_manager
        found = found_by(
            self.rag,
            query,
            trimmed=self.trimmed,
            k=self.k,
            mode=self.mode,
            filters=self.filters,
            groups=self.groups,
        )
        return [
            Document(page_content=one.text, id=one.id, metadata=dict(one.metadata)) for one in found
        ]
