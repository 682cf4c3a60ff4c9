"""From a `RAG` and a question to a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

from ragkit.costs.energy import local_joules
from ragkit.errors import ConfigError, RagkitError
from ragkit.pipeline import RAG, Answer
from ragkit.types import MOST_HITS, Hit, Json
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.rows import Passage, Row
from ragkit_eval.data.texts import holds_answer
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.measures import Measure
from ragkit_eval.measuring.orphans import count_orphans
from ragkit_eval.running.cache import CachingEmbedder, CachingGenerator

Pipeline: TypeAlias = Callable[[Question], Row]
"""Anything that turns a question into a row; errors that it raises become rows of their own."""

LEAST_HITS = 10
_CHUNKS_PER_DOCUMENT = 10


class RagPipeline:
    """A pipeline that asks a `RAG` and records what the measures need.

    Args:
        rag: The pipeline whose answers are measured.
        measures: The measures. They determine how many chunks are retrieved in addition to the
            answer's own.
        groups: The reader's groups.
        caches: Caching wrappers that the pipeline uses; the cost that they saved is added to
            seconds and joules.
    """

    def __init__(
        self,
        rag: RAG,
        measures: Sequence[Measure],
        *,
        groups: Sequence[str] | None = None,
        caches: Mapping[str, CachingEmbedder | CachingGenerator] | None = None,
    ) -> None:
        self.rag = rag
        self._groups = groups
        self._caches = caches or {}
        ranked = [m.k or 0 for m in measures if m.needs == "judgements"]
        self._documents = max(ranked, default=0)
        self._hits = max(
            [LEAST_HITS, *(m.k or 0 for m in measures if m.needs in {"evidence", "answers"})]
        )
        self._gold = Gold(rag, groups)

    def configuration(self) -> dict[str, Json]:
        """Return what decides the answers."""
        return {**self.rag.configuration(), "retrieved_documents": self._documents}

    def __call__(self, question: Question) -> Row:
        """Ask, then search deeper for the rank measures.

        The answer's own retrieval is not made deeper instead: the row's seconds and joules would
        include what only the measures need, and a reranker would see more hits than in production.
        """
        for cache in self._caches.values():
            cache.forget_saved()
        answer = self.ask(question)
        row = self._add_caches(_answered(question, answer))
        hits = self.rag.search(
            question.searched,
            k=min(MOST_HITS, max(self._documents * _CHUNKS_PER_DOCUMENT, self._hits)),
            mode=None,
            groups=self._groups,
        )
        return replace(
            row,
            context=self._gold.with_repeats(question, row.context),
            ranking=_ranking(hits, self._documents),
            hits=self._gold.with_repeats(question, [_hit(hit) for hit in hits[: self._hits]]),
            answer_rank=_answer_rank(question, hits[: self._hits]),
            gold_chunks=self._gold.chunks(question),
            oracle_tokens=self._gold.oracle_tokens(question),
            orphans=count_orphans(answer.context, self._gold),
        )

    def ask(self, question: Question) -> Answer:
        """Return the pipeline's answer to a question."""
        return self.rag.ask(
            question.text, id=question.id, groups=self._groups, history=question.history
        )

    def _add_caches(self, row: Row) -> Row:
        saved = {name: cache.saved for name, cache in self._caches.items() if cache.saved.seconds}
        if not saved:
            return row
        seconds = sum(spent.seconds for spent in saved.values())
        cpu_seconds = sum(spent.cpu_seconds for spent in saved.values())
        joules = row.joules
        if joules is not None:
            more = local_joules(cpu_seconds)
            joules = (joules[0] + more.low, joules[1] + more.mid, joules[2] + more.high)
        return replace(
            row,
            seconds=(row.seconds or 0.0) + seconds,
            cpu_seconds=(row.cpu_seconds or 0.0) + cpu_seconds,
            joules=joules,
            from_cache=tuple(saved),
        )


def _answered(question: Question, answer: Answer) -> Row:
    receipt, usage = answer.receipt, answer.usage
    joules = receipt.joules
    return Row(
        id=question.id,
        status="refused" if answer.refused else "ok",
        reason=answer.reason,
        stop_reason=answer.stop_reason,
        text=answer.text,
        context=tuple(
            Passage(
                document_id=item.hit.chunk.document_id,
                start=item.start,
                end=item.end,
                n_tokens=item.n_tokens,
                text=item.text,
            )
            for item in answer.context
        ),
        citations=tuple(
            Passage(document_id=c.hit.chunk.document_id, start=c.start, end=c.end)
            for c in answer.citations
        ),
        evidence_score=answer.evidence.score,
        baseline_tokens=receipt.baseline_tokens,
        context_tokens=receipt.context_tokens,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        llm_calls=receipt.llm_calls,
        seconds=receipt.seconds,
        cpu_seconds=receipt.cpu_seconds,
        joules=None if joules is None else (joules.low, joules.mid, joules.high),
    )


def _hit(hit: Hit) -> Passage:
    chunk = hit.chunk
    return Passage(
        document_id=chunk.document_id, start=chunk.start, end=chunk.end, n_tokens=chunk.n_tokens
    )


def _ranking(hits: Sequence[Hit], n: int) -> dict[str, float] | None:
    """Return the score of each document's best chunk, best first.

    Where the order is not that of the scores (a reranker's, for example) the order counts.
    """
    if n == 0:
        return None
    scores = [hit.score for hit in hits]
    in_order = all(a >= b for a, b in pairwise(scores))
    found: dict[str, float] = {}
    for position, hit in enumerate(hits):
        if len(found) == n and hit.chunk.document_id not in found:
            break
        found.setdefault(hit.chunk.document_id, hit.score if in_order else float(-position))
    return found


def _answer_rank(question: Question, hits: Sequence[Hit]) -> int | None:
    if not question.answers:
        return None
    ranks = (r for r, hit in enumerate(hits, 1) if holds_answer(hit.chunk.text, question.answers))
    return next(ranks, 0)


def run_question(pipeline: Pipeline, question: Question) -> Row:
    """Return the row of a question; an expected failure (a server that is down) is a row too."""
    try:
        return pipeline(question)
    except ConfigError:
        raise
    except RagkitError as error:
        return Row(id=question.id, status="error", reason=f"{type(error).__name__}: {error}")
