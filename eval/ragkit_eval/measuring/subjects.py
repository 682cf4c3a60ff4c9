"""What is measured question by question: a store's pipeline, or somebody else's retriever."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, cast

from ragkit.chunking import SpanChunker
from ragkit.errors import ConfigError
from ragkit.pipeline import RAG
from ragkit.pipeline.anywhere import are_compared, passage_scope
from ragkit.pipeline.opening import open_counter
from ragkit.pipeline.passage_pools import Passage as AnyPassage
from ragkit.pipeline.passage_pools import pools_of, texts_of
from ragkit.trimming import PoolChunk, Ranking, TrimPolicy, rank
from ragkit.trimming.merging import merged
from ragkit.types import Chunk, Document, Json, TokenCounter
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.data.locating import Locator, read_documents
from ragkit_eval.data.rows import Passage
from ragkit_eval.measuring.contexts import Noting
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.pools import Retrieved, retrieve

Search = Callable[[str], Sequence[AnyPassage]]

_BY_PLACE = frozenset({"EvidenceFound", "EvidenceRecall", "DocumentRecall"})
"""Measures that ask where a passage stands; others read its text."""


class Subject(Protocol):
    """What finds passages for questions, and knows where the evidence is."""

    @property
    def counter(self) -> TokenCounter:
        """What counts tokens."""
        ...

    def retrieve(self, question: Question, *, k: int, pools: Collection[int]) -> Retrieved:
        """Return the first k hits of a question, and its pools of these sizes."""
        ...

    def noting(self, question: Question, found: Retrieved) -> Noting:
        """Return what notes which evidence passages of what was found hold."""
        ...


class StoreSubject:
    """A pipeline over a store."""

    def __init__(self, rag: RAG) -> None:
        self.rag = rag
        self._gold = Gold(rag)

    @property
    def counter(self) -> TokenCounter:
        """The pipeline's counter."""
        return self.rag.counter

    def stored(
        self, document_id: str, *, groups: Sequence[str] | None = None
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a stored document."""
        return self.rag.stored(document_id, groups=groups)

    def retrieve(self, question: Question, *, k: int, pools: Collection[int]) -> Retrieved:
        """Return what the pipeline finds."""
        return retrieve(self.rag, question.searched, k=k, pools=pools)

    def noting(self, question: Question, found: Retrieved) -> Noting:
        """Return what notes repeats of the evidence."""
        del found
        return partial(self._gold.with_repeats, question)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassages(Retrieved):
    """What another retriever finds: `passages` as they came, and each question of the message."""

    passages: Sequence[str]
    asked: Mapping[int, Sequence[tuple[Sequence[str], Sequence[PoolChunk]]]]

    def ranked(self, size: int, policy: TrimPolicy) -> Ranking:
        """Return the ranking that `ragkit.trim` makes."""
        return merged([rank(terms, pool, policy) for terms, pool in self.asked[size]])


class PassageSubject:
    """Somebody else's retriever, and the documents of the dataset.

    Args:
        retriever: A function from a question to passages, best first, or an object of LangChain,
            LlamaIndex or Haystack that retrieves.
        dataset: Its documents say where passages stand, where the measure asks for it.
        measure: The measure's name.
        vectors: As in `ragkit.trim`.
    """

    def __init__(
        self, retriever: object, dataset: Dataset, measure: str, *, vectors: bool | None
    ) -> None:
        self._search = search_of(retriever)
        self._vectors = are_compared(vectors)
        self.counter = open_counter()
        by_place = measure in _BY_PLACE
        self._locator = Locator(read_documents(dataset)) if by_place else None
        self._gold = Gold(self)
        self._passages: dict[str, Sequence[AnyPassage]] = {}

    def retrieve(self, question: Question, *, k: int, pools: Collection[int]) -> FoundPassages:
        """Return what the retriever finds; it is asked once a question."""
        searched = question.searched
        if searched not in self._passages:
            self._passages[searched] = list(self._search(searched))
        passages = self._passages[searched]
        counter, vectors = self.counter, self._vectors
        asked = {
            size: pools_of(searched, passages[:size], counter=counter, vectors=vectors)
            for size in {*pools, max(k, *pools)}
        }
        terms, largest = asked[max(k, *pools)][0]
        return FoundPassages(
            terms=terms,
            hits=[chunk.hit for chunk in largest if int(chunk.hit.chunk.document_id) < k],
            pools={size: asked[size][0][1] for size in pools},
            passages=texts_of(passages),
            asked=asked,
        )

    def noting(self, question: Question, found: Retrieved) -> Noting:
        """Return what puts passages where they stand in the documents, and notes repeats."""
        texts, locator = cast("FoundPassages", found).passages, self._locator
        if locator is None:
            return tuple
        named = {span.document_id for spans in question.evidence for span in spans}
        named |= {name for name, grade in question.relevance.items() if grade > 0}

        def noted(passages: Sequence[Passage]) -> Sequence[Passage]:
            placed = [_placed(one, locator.places(texts[_number(one)]), named) for one in passages]
            return self._gold.with_repeats(question, placed)

        return noted

    def stored(
        self, document_id: str, *, groups: Sequence[str] | None = None
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a document of the dataset, as one chunk."""
        del groups
        document = None if self._locator is None else self._locator.documents.get(document_id)
        if document is None:
            return None
        return document, "", SpanChunker(name="whole", counter=self.counter).split(document)

    def located(self) -> dict[str, Json] | None:
        """Return how many passages were found in the documents; None where it did not matter."""
        return None if self._locator is None else dict(self._locator.counts())

    def fingerprints(
        self, policy: TrimPolicy, questions: Sequence[Question], retriever: str
    ) -> dict[str, Json]:
        """Return what a certificate of these questions depends on."""
        n_found = [
            min(policy.pool, len(self._passages[question.searched])) for question in questions
        ]
        return {
            **passage_scope(
                policy, fingerprint=retriever, counter=self.counter, vectors=self._vectors
            ),
            "fewest passages": min(n_found),
            "most passages": max(n_found),
        }


def _number(passage: Passage) -> int:
    return int(passage.document_id)


def _placed(passage: Passage, places: Sequence[tuple[str, int]], named: Collection[str]) -> Passage:
    """Return a passage at its place; where it has several, in a document that labels name.

    Without a place it is in no document, so that it holds no evidence.
    """
    own = (place for place in places if place[0] in named)
    place = next(own, None) or next(iter(places), None)
    if place is None:
        return replace(passage, document_id="")
    name, at = place
    return replace(passage, document_id=name, start=at + passage.start, end=at + passage.end)


def search_of(retriever: object) -> Search:
    """Return what searches: a function, or the method by which a framework's retriever is asked.

    Raises:
        ConfigError: it cannot be asked.
    """
    for name in ("invoke", "retrieve"):  # LangChain, LlamaIndex
        method = getattr(retriever, name, None)
        if callable(method):
            return cast("Search", method)
    run = getattr(retriever, "run", None)
    if callable(run):  # Haystack
        return lambda question: cast("dict[str, list[object]]", run(query=question))["documents"]
    if not callable(retriever):
        raise ConfigError(
            f"retriever {type(retriever).__name__}; allowed: a function from a question to "
            "passages, or a retriever of LangChain, LlamaIndex or Haystack"
        )
    return cast("Search", retriever)
