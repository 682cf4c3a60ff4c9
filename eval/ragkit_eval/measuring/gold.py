"""Where a store holds the evidence of questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ragkit.types import Chunk, Document, Span, TokenCounter, Unit
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.rows import Passage
from ragkit_eval.data.spans import GoldSpan, Place


@dataclass(frozen=True, slots=True)
class _GoldDocument:
    """A stored document: its chunks, sentences and units, its text, and equal sentences."""

    chunks: list[Passage]
    sentences: list[Span]
    units: list[Unit]
    text: str
    equal: dict[str, list[Span]]


class Corpus(Protocol):
    """What holds the documents: a store's pipeline, or a dataset."""

    @property
    def counter(self) -> TokenCounter:
        """What counts tokens."""
        ...

    def stored(
        self, document_id: str, *, groups: Sequence[str] | None = None
    ) -> tuple[Document, str, Sequence[Chunk]] | None:
        """Return a document, the SHA-256 of its text, and its chunks; None if it is not there."""
        ...


class Gold:
    """Where a store holds a question's evidence: the chunks, and the sentences that it needs."""

    def __init__(self, rag: Corpus, groups: Sequence[str] | None = None) -> None:
        self._rag = rag
        self._groups = groups
        self._known: dict[str, _GoldDocument] = {}
        self._found: dict[str, list[tuple[Place, Span]]] = {}

    def chunks(self, question: Question) -> tuple[Passage, ...] | None:
        """Return the chunks that touch the evidence; None without evidence."""
        gold = {span for spans in question.evidence for span in spans}
        if not gold:
            return None
        touching = {
            chunk: None
            for span in sorted(gold, key=lambda s: (s.document_id, s.start, s.end))
            for chunk in self._document(span.document_id).chunks
            if chunk.start < span.end and span.start < chunk.end
        }
        return tuple(touching)

    def oracle_tokens(self, question: Question) -> int | None:
        """Return the tokens of the sentences that the cheapest alternative needs."""
        sizes = [self._needed_tokens(spans) for spans in question.evidence]
        return min((size for size in sizes if size), default=None)

    def with_repeats(self, question: Question, passages: Sequence[Passage]) -> tuple[Passage, ...]:
        """Return the passages, each noting the evidence that it holds as a repeat of its sentences.

        A document may say the same twice, and labels name one place only. A sentence of the same
        document that equals one of the evidence's (but for case and white space) is a repeat.
        """
        copies = self._copies(question)
        if not copies:
            return tuple(passages)
        return tuple(
            replace(
                passage,
                repeats=tuple(
                    original
                    for original, (start, end) in copies
                    if original[0] == passage.document_id
                    and passage.start <= start
                    and end <= passage.end
                ),
            )
            for passage in passages
        )

    def units(self, document_id: str) -> tuple[str, Sequence[Unit]]:
        """Return a document's text and its units; none where its structure is unknown."""
        document = self._document(document_id)
        return document.text, document.units

    def _copies(self, question: Question) -> list[tuple[Place, Span]]:
        """Return each place of a sentence of the evidence with the span of each repeat of it."""
        if question.id not in self._found:
            found: dict[tuple[Place, Span], None] = {}
            for span in {span for spans in question.evidence for span in spans}:
                document = self._document(span.document_id)
                for start, end in document.sentences:
                    if start < span.end and span.start < end:
                        for other in document.equal[_plain(document.text[start:end])]:
                            if other != (start, end):
                                found[(span.document_id, start, end), other] = None
            self._found[question.id] = sorted(found)
        return self._found[question.id]

    def _needed_tokens(self, spans: Sequence[GoldSpan]) -> int:
        count = self._rag.counter.count
        needed: dict[Place, None] = {}
        n_tokens = 0
        for span in spans:
            document = self._document(span.document_id)
            for start, end in document.sentences:
                place = (span.document_id, start, end)
                if start < span.end and span.start < end and place not in needed:
                    needed[place] = None
                    n_tokens += count(document.text[start:end])
        return n_tokens

    def _document(self, document_id: str) -> _GoldDocument:
        if document_id not in self._known:
            found = self._rag.stored(document_id, groups=self._groups)
            # A document that the labels name may be missing, or hidden from these groups.
            text, chunks = ("", ()) if found is None else (found[0].text, found[2])
            sentences = [span for chunk in chunks for span in chunk.sentences]
            equal: dict[str, list[Span]] = {}
            for start, end in sentences:
                equal.setdefault(_plain(text[start:end]), []).append((start, end))
            passages = [
                Passage(
                    document_id=document_id,
                    start=chunk.start,
                    end=chunk.end,
                    n_tokens=chunk.n_tokens,
                )
                for chunk in chunks
            ]
            units = [unit for chunk in chunks for unit in chunk.units]
            self._known[document_id] = _GoldDocument(passages, sentences, units, text, equal)
        return self._known[document_id]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
