"""What a set of passages is worth to a question: the measures by which contexts are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ragkit.errors import ConfigError
from ragkit.types import Hit
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
        row = Row(id=question.id, status="ok", context=tuple(passages))
        return measure.value(question, row)

    return quality


def _document_recall(question: Question, passages: Sequence[Passage]) -> float | None:
    relevant = {name for name, grade in question.relevance.items() if grade > 0}
    if not relevant:
        return None
    return len(relevant & {passage.document_id for passage in passages}) / len(relevant)


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
