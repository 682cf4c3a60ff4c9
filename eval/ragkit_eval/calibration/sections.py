"""Which section of its document a question is about, for collections of a few long handbooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.types import Chunk
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.measuring.gold import Corpus

SECTION = "section"
"""The value of `cluster`, and the metadata field that it goes by."""


def with_sections(rag: Corpus, dataset: Dataset) -> Dataset:
    """Return a dataset whose questions name their section; one that names it itself, as it is.

    A section is all below a heading of the top level of a document: the first level at which the
    document has more than one heading. A question whose place in the document is unknown counts to
    the document as a whole.
    """
    if any(SECTION in question.metadata for question in dataset.questions):
        return dataset
    known: dict[str, _Handbook] = {}
    questions: list[Question] = []
    for question in dataset.questions:
        documents = [span.document_id for spans in question.evidence for span in spans]
        documents += [name for name, grade in question.relevance.items() if grade > 0]
        if not documents:
            questions.append(question)
            continue
        name = documents[0]
        if name not in known:
            known[name] = _opened(rag, name)
        section = " > ".join((name, *known[name].section(question, name)))
        questions.append(replace(question, metadata={**question.metadata, SECTION: section}))
    return replace(dataset, questions=tuple(questions))


@dataclass(frozen=True, slots=True)
class _Handbook:
    """A document, and how many headings of a path name a section."""

    text: str
    chunks: Sequence[Chunk]
    n_headings: int

    def section(self, question: Question, name: str) -> tuple[str, ...]:
        """Return the headings of the section that a question is about."""
        place = self._place(question, name)
        at = (c for c in self.chunks if place is not None and c.start <= place < c.end)
        chunk = next(at, None)
        if chunk is None:
            return ()
        return tuple(chunk.location(place, place).heading[: self.n_headings])

    def _place(self, question: Question, name: str) -> int | None:
        """Return where the evidence begins, or the longest need or answer that stands there."""
        spans = [span for group in question.evidence for span in group]
        starts = [span.start for span in spans if span.document_id == name]
        if starts:
            return starts[0]
        # A short one, such as a name, may stand in many places.
        wanted = [text for need in question.needs for text in need] or question.answers
        places = (self.text.find(text) for text in sorted(wanted, key=len, reverse=True))
        return next((place for place in places if place >= 0), None)


def _opened(rag: Corpus, name: str) -> _Handbook:
    found = rag.stored(name)
    if found is None:
        return _Handbook("", (), 0)
    document, _, chunks = found
    paths = {tuple(mark.location.heading) for chunk in chunks for mark in chunk.marks}
    deepest = max(map(len, paths), default=0)
    levels = range(1, deepest + 1)
    top = next((n for n in levels if len({path[:n] for path in paths if len(path) >= n}) > 1), 0)
    return _Handbook(document.text, chunks, top)
