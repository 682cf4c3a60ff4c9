# pyright: basic, reportMissingImports=false
"""Haystack: a retriever over a store, and a component that trims the documents of any other.

A pipeline that is read from YAML names its modules first:
`haystack.core.serialization.allow_deserialization_module("ragkit_connectors")`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ragkit import RAG
from ragkit.errors import MissingExtraError
from ragkit.types import Mode
from ragkit_connectors.support.pieces import Given, Kept, akept_of, found_by, kept_of, parted

try:
    from haystack.core.component import component
    from haystack.core.serialization import default_from_dict, default_to_dict
    from haystack.dataclasses import Document
except ImportError as error:
    raise MissingExtraError("haystack-ai", extra="haystack") from error

if TYPE_CHECKING:
    from ragkit.pipeline.options import TrimOptions


@component
class ContextTrimmer:
    """Trims documents: a document for each piece, with its document's id and score.

    A piece's `meta` also has `document_id`, `start`, `end` and `source`, by which it is cited, and
    `trim` with the evidence score and what is certified. Documents without text pass as they are,
    after the pieces.

    Args:
        policy: `bundled`, `tight`, `off`, or a trim policy file.
        max_tokens: Hard limit on the tokens of what is kept.
        vectors: Whether sentences are compared by vectors, too; None where numpy is installed.
        fingerprint: Names the retriever and its settings, as the policy's certificate does.
        corpus_version: Names the state of the documents, as the policy's certificate does.
        drop_refused: Return nothing where the evidence is too weak for an answer.
    """

    def __init__(
        self,
        policy: str = "bundled",
        *,
        max_tokens: int | None = None,
        vectors: bool | None = None,
        fingerprint: str | None = None,
        corpus_version: str | None = None,
        drop_refused: bool = False,
    ) -> None:
        self.drop_refused = drop_refused
        self._options: TrimOptions = {
            "policy": policy,
            "max_tokens": max_tokens,
            "vectors": vectors,
            "fingerprint": fingerprint,
            "corpus_version": corpus_version,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return default_to_dict(self, **self._options, drop_refused=self.drop_refused)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ContextTrimmer:
        """Read the JSON form.

        Args:
            data: As `to_dict` returns it.
        """
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        """Return what is kept.

        Args:
            query: The question.
            documents: Best first.
        """
        with_text, others = parted(documents, _text)
        kept = kept_of(query, _given(with_text), drop_refused=self.drop_refused, **self._options)
        return {"documents": _documents(kept, with_text) + others}

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, documents: list[Document]) -> dict[str, list[Document]]:
        """Run `run` in a thread.

        Args:
            query: The question.
            documents: Best first.
        """
        with_text, others = parted(documents, _text)
        kept = await akept_of(
            query, _given(with_text), drop_refused=self.drop_refused, **self._options
        )
        return {"documents": _documents(kept, with_text) + others}


def _text(document: Document) -> str:
    return document.content or ""


def _given(documents: Sequence[Document]) -> list[Given]:
    return [
        Given(text=_text(one), id=one.id, metadata=one.meta, score=one.score) for one in documents
    ]


def _documents(kept: Sequence[Kept], documents: Sequence[Document]) -> list[Document]:
    return [
        # Vectors of the whole passage are not those of a piece.
        replace(
            documents[piece.passage],
            content=piece.text,
            meta=piece.metadata,
            embedding=None,
            sparse_embedding=None,
        )
        for piece in kept
    ]


@component
class RagkitRetriever:
    """Retrieves from a ragkit store, which is opened by the first question.

    Args:
        store: A folder, or the name of a remote store.
        top_k: Number of hits; None for 10, or where `trimmed` is true for the policy's pool.
        mode: `dense`, `lexical` or `hybrid`; None for what the store allows.
        filters: Conditions on metadata, as in ragkit's own `filters`.
        groups: Groups that the reader belongs to; required in a protected store.
        trimmed: Return what `RAG.ask` would send to a model, and nothing where it refuses.
    """

    def __init__(
        self,
        store: str = "./kb",
        *,
        top_k: int | None = None,
        mode: Mode | None = None,
        filters: dict[str, Any] | None = None,
        groups: list[str] | None = None,
        trimmed: bool = False,
    ) -> None:
        self.store = str(store)
        self.top_k, self.filters = top_k, filters
        self.mode: Mode | None = mode
        self.groups, self.trimmed = groups, trimmed
        self._rag: RAG | None = None
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Open the store and load what the first question needs."""
        self._opened().warm()

    def close(self) -> None:
        """Close the store; another question opens it again."""
        with self._lock:
            rag, self._rag = self._rag, None
        if rag is not None:
            rag.close()

    def _opened(self) -> RAG:
        with self._lock:
            if self._rag is None:
                self._rag = RAG(self.store, ledger="off")
            return self._rag

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return default_to_dict(
            self,
            store=self.store,
            top_k=self.top_k,
            mode=self.mode,
            filters=self.filters,
            groups=self.groups,
            trimmed=self.trimmed,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RagkitRetriever:
        """Read the JSON form.

        Args:
            data: As `to_dict` returns it.
        """
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Return what is found.

        Args:
            query: The question.
            filters: Conditions on metadata; None for the component's.
            top_k: Number of hits; None for the component's.
        """
        found = found_by(
            self._opened(),
            query,
            trimmed=self.trimmed,
            k=self.top_k if top_k is None else top_k,
            mode=self.mode,
            filters=self.filters if filters is None else filters,
            groups=self.groups,
        )
        return {
            "documents": [
                Document(
                    id=one.id or "", content=one.text, meta=dict(one.metadata), score=one.score
                )
                for one in found
            ]
        }

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Run `run` in a thread.

        Args:
            query: The question.
            filters: Conditions on metadata; None for the component's.
            top_k: Number of hits; None for the component's.
        """
        return await asyncio.to_thread(self.run, query, filters, top_k)
