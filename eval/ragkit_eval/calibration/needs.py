"""What each question needs of its pool: the number that a cut of the ranking is certified by."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ragkit.errors import ConfigError
from ragkit.pipeline import RAG
from ragkit.trimming import BASELINE_HITS, TrimPolicy
from ragkit.types import Json
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.measuring.contexts import Cuts, WholeHits
from ragkit_eval.measuring.quality import Quality, quality_measure
from ragkit_eval.measuring.subjects import StoreSubject, Subject
from ragkit_eval.stats.inference import quantile

CUTS = tuple(-14.0 + 0.25 * i for i in range(81))
"""Cuts that are tested one after the other, safest first: relative scores of -14 up to 6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one question needs of one pool.

    `kept_tokens` and `quality` are those of the contexts of each cut of `CUTS`. `lowest` is the
    score of the last unit that is needed: minus infinity where the pool does not hold all evidence,
    infinity where the best unit, which every cut keeps, is enough. `full` is the quality of the
    untrimmed top 5 and `whole_tokens` the size of its first 1, 2, … chunks; `support` tells how
    well the pool supports an answer, and `lexical` that no vector took part.
    """

    question: Question
    cluster: str
    kept_tokens: tuple[int, ...]
    quality: tuple[float, ...]
    lowest: float
    full: float
    whole_tokens: tuple[int, ...]
    support: float | None
    lexical: bool

    @property
    def full_tokens(self) -> int:
        """The tokens of the untrimmed top 5."""
        return self.whole_tokens[-1]

    def tokens(self, cut: float) -> int:
        """Return the tokens that a cut keeps: those of the next lower one of `CUTS`."""
        return self.kept_tokens[max(0, bisect_right(CUTS, cut) - 1)]

    def quality_at(self, cut: float) -> float:
        """Return the quality that a cut keeps: at least that of the next higher one of `CUTS`."""
        if self.lowest >= cut:
            return 1.0
        return max((q for c, q in zip(CUTS, self.quality, strict=True) if c >= cut), default=0.0)


def measurable(dataset: Dataset, measure: str) -> list[Question]:
    """Return the answerable questions that a measure says something about; raises `ConfigError`."""
    measure, quality = quality_measure(measure)
    questions = [q for q in dataset.questions if not q.unanswerable and quality(q, ()) is not None]
    if not questions:
        raise ConfigError(f"no question of {dataset.name} has what {measure} needs")
    return questions


def measure_needs(
    subject: Subject | RAG,
    questions: Sequence[Question],
    *,
    quality: Quality,
    policy: TrimPolicy,
    cluster: str = "document",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Needs]:
    """Return what each question needs of a policy's pool, whatever its limits."""
    subject, pool = StoreSubject(subject) if isinstance(subject, RAG) else subject, policy.pool
    needs: list[Needs] = []
    for i, question in enumerate(questions):
        found = subject.retrieve(question, k=BASELINE_HITS, pools=(pool,))
        noting = subject.noting(question, found)
        untrimmed = WholeHits(found.hits, noting)
        full = untrimmed[len(untrimmed)]
        ranking = found.ranked(pool, policy)
        cuts = Cuts(ranking, subject.counter, noting)
        known = _quality_of(question, cuts, quality)
        kept = [cuts.n_above(cut) for cut in CUTS]
        needs.append(
            Needs(
                question=question,
                cluster=question.cluster(cluster),
                kept_tokens=tuple(cuts[n].n_tokens for n in kept),
                quality=tuple(map(known, kept)),
                lowest=_lowest(cuts, known),
                full=quality(question, full.passages) or 0.0,
                whole_tokens=_sizes(untrimmed),
                support=ranking.support,
                lexical=all(chunk.cosines is None for chunk in found.pools[pool]),
            )
        )
        if on_progress is not None:
            on_progress(i + 1, len(questions))
    return needs


def _quality_of(question: Question, cuts: Cuts, quality: Quality) -> Callable[[int], float]:
    """Return what gives the quality of the best n atoms, and measures none twice."""

    def measured(n: int) -> float:
        return quality(question, cuts[n].passages) or 0.0

    return cache(measured)


def _sizes(untrimmed: WholeHits) -> tuple[int, ...]:
    """Return the tokens of the first chunk, the first two, …; a store may hold fewer chunks."""
    return tuple(untrimmed[min(k, len(untrimmed))].n_tokens for k in range(1, BASELINE_HITS + 1))


def _lowest(cuts: Cuts, quality: Callable[[int], float]) -> float:
    """Return the score of the last atom that is needed; see `Needs`."""
    if not cuts or quality(len(cuts)) < 1.0:
        return -math.inf
    n = 1 + bisect_left(range(1, len(cuts) + 1), True, key=lambda n: quality(n) == 1.0)
    return cuts.scores[n - 1] if n > 1 else math.inf


def mean_tokens(needs: Sequence[Needs], cut: float) -> float:
    """Return the mean tokens that a cut keeps."""
    return sum(need.tokens(cut) for need in needs) / len(needs)


def estimated_tokens(needs: Sequence[Needs], retain: float) -> float:
    """Return the mean tokens that would keep the share on these very questions."""
    answered = [need for need in needs if need.full == 1.0]
    if not answered:
        return math.inf
    cut = quantile([need.lowest for need in answered], 1.0 - retain)
    return math.inf if cut == -math.inf else mean_tokens(needs, cut)


def curve(needs: Sequence[Needs]) -> tuple[Mapping[str, Json], ...]:
    """Return tokens and quality of every cut, fewest tokens first."""
    full = sum(need.full for need in needs)
    return tuple(
        {
            "keep_above": cut,
            "tokens": mean_tokens(needs, cut),
            "quality": sum(need.quality[i] for need in needs) / len(needs),
            "retained": sum(need.quality[i] for need in needs) / full if full else None,
        }
        for i, cut in reversed(list(enumerate(CUTS)))
    )
