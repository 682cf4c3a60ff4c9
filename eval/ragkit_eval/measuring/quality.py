"""What a set of passages is worth to a question: the measures by which contexts are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ragkit.errors import ConfigError
from ragkit.trimming import Ranking
from ragkit.trimming.ranking import text_of
from ragkit.types import Chunk, Hit, TokenCounter
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.rows import Passage, Row
from ragkit_eval.measuring.measures import Measure, parse_measure

MEASURES = ("NeedsHeld", "EvidenceFound", "EvidenceRecall", "AnswerInContext", "DocumentRecall")

Quality: TypeAlias = Callable[[Question, Sequence[Passage]], float | None]
"""What passages are worth to a question, 0 to 1; None where its labels say nothing about it."""


def default_quality(questions: Sequence[Question]) -> str:
    """Return the measure that the questions' labels allow, of a sweep and a calibration alike."""
    if any(question.needs for question in questions):
        return "NeedsHeld"
    if any(question.evidence for question in questions):
        return "EvidenceFound"
    if any(question.answers for question in questions):
        return "AnswerInContext"
    return "DocumentRecall"


def quality_measure(name: str) -> tuple[str, Quality]:
    """Return a measure of passages, by its name in any case; raises `ConfigError`."""
    known = {measure.lower(): measure for measure in MEASURES}
    if name.lower() not in known:
        raise ConfigError(f"measure {name!r}; allowed in a sweep: {' '.join(MEASURES)}")
    name = known[name.lower()]
    if name == "DocumentRecall":
        return name, _document_recall
    return name, _as_quality(parse_measure(name))


def _as_quality(measure: Measure) -> Quality:
    def quality(question: Question, passages: Sequence[Passage]) -> float | None:
        row = Row(id=question.id, status="ok", context=_as_context(passages))
        return measure.value(question, row)

    return quality


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPassage(Passage):
    """A kept span of a chunk: with the spans next to it that are kept too it makes one run."""

    chunk: Chunk


def _as_context(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Return passages as a context holds them: kept spans that stand next to each other joined."""
    context = [passage for passage in passages if not isinstance(passage, RankedPassage)]
    kept = [passage for passage in passages if isinstance(passage, RankedPassage)]
    last: RankedPassage | None = None
    for passage in sorted(kept, key=lambda p: (p.document_id, p.chunk.id, p.start)):
        joined = None if last is None else _joined(last, passage)
        if joined is not None:
            context.pop()
        last = joined or passage
        context.append(last)
    return tuple(context)


def _joined(first: RankedPassage, second: RankedPassage) -> RankedPassage | None:
    """Return the run of two spans of one chunk; None where more than white space parts them."""
    chunk = first.chunk
    if chunk.id != second.chunk.id or text_of(chunk, (first.end, second.start)).strip():
        return None
    end = max(first.end, second.end)
    return replace(
        first,
        end=end,
        text=text_of(chunk, (first.start, end)),
        n_tokens=None,
        repeats=(*first.repeats, *second.repeats),
    )


def _document_recall(question: Question, passages: Sequence[Passage]) -> float | None:
    relevant = {name for name, grade in question.relevance.items() if grade > 0}
    if not relevant:
        return None
    return len(relevant & {passage.document_id for passage in passages}) / len(relevant)


def whole_chunks(hits: Sequence[Hit]) -> list[Passage]:
    """Return the chunks of hits as passages."""
    chunks = [(hit, hit.chunk) for hit in hits]
    return [passage_of(hit, chunk.start, chunk.end, chunk.n_tokens) for hit, chunk in chunks]


def ranked_passages(ranking: Ranking, counter: TokenCounter) -> list[Passage]:
    """Return ranked sentences as passages, which join to the runs that a context would hold."""
    return [
        RankedPassage(
            document_id=s.hit.chunk.document_id,
            start=s.place.span[0],
            end=s.place.span[1],
            n_tokens=counter.count(s.text),
            text=s.text,
            chunk=s.hit.chunk,
        )
        for s in ranking.sentences
    ]


def passage_of(hit: Hit, start: int, end: int, n_tokens: int) -> Passage:
    """Return a span of a hit's chunk as a passage."""
    chunk = hit.chunk
    return Passage(
        document_id=chunk.document_id,
        start=start,
        end=end,
        n_tokens=n_tokens,
        text=chunk.text[start - chunk.start : end - chunk.start],
    )
