"""What needs no trimming: the first k chunks whole, which compete with every certified cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ragkit.trimming import TrimPolicy, select
from ragkit_eval.data.datasets import Question
from ragkit_eval.measuring.contexts import Sent
from ragkit_eval.measuring.quality import Quality
from ragkit_eval.measuring.subjects import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What each question is sent by a policy without limits on the first k chunks.

    `support` is as in `Needs`; here it is that of k chunks.
    """

    k: int
    tokens: tuple[int, ...]
    quality: tuple[float, ...]
    support: tuple[float | None, ...]

    @property
    def mean_tokens(self) -> float:
        """The mean of all questions."""
        return sum(self.tokens) / len(self.tokens)


def measure_whole(
    subject: Subject,
    questions: Sequence[Question],
    depths: Sequence[int],
    *,
    quality: Quality,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Whole]:
    """Return what policies that keep the whole of so many chunks send, the most chunks first."""
    policies = [TrimPolicy(name="whole", pool=k) for k in sorted(depths, reverse=True)]
    if not policies:
        return []
    rows: list[list[tuple[int, float, float | None]]] = [[] for _ in policies]
    for i, question in enumerate(questions):
        found = subject.retrieve(question, k=1, pools=depths)
        noting = subject.noting(question, found)
        for policy, row in zip(policies, rows, strict=True):
            ranking = found.ranked(policy.pool, policy)
            kept = select(ranking, policy=policy, counter=subject.counter).context
            context = Sent(kept, subject.counter, noting)[1]
            value = quality(question, context.passages) or 0.0
            row.append((context.n_tokens, value, ranking.support))
        if on_progress is not None:
            on_progress(i + 1, len(questions))
    return [
        Whole(
            k=policy.pool,
            tokens=tuple(n_tokens for n_tokens, _, _ in row),
            quality=tuple(value for _, value, _ in row),
            support=tuple(support for _, _, support in row),
        )
        for policy, row in zip(policies, rows, strict=True)
    ]
