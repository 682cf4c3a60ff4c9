"""Certificates from questions alone: the user's own generator is asked with and without trimming.

Agreement is the token F1 of the answer from the trimmed context against the answer from the
untrimmed top 5 (SQuAD's `compute_f1`): 1 where both say the same, or both refuse. It says how alike
the answers are, not how right. Cuts are tested from the safest on and the first that fails is the
last that is asked about, so that few generations are paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ragkit.errors import ConfigError
from ragkit.pipeline import RAG, Answer
from ragkit.trimming import Scorer, TrimPolicy
from ragkit.types import Json
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.data.texts import token_f1
from ragkit_eval.stats.certificates import document_means, fixed_sequence, mean_is_below

METRIC = "Agreement"
CUTS = (-14.0, -10.0, -7.0, -5.0, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5)
"""Ranks that are cut at, safest first."""

_UNLIKE = 0.5
"""Below this agreement an answer counts as a failure, for people: the test is on the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One cut: the agreement and the context tokens of each question."""

    cut: float
    agreement: tuple[float, ...]
    tokens: tuple[int, ...]

    def point(self) -> dict[str, Json]:
        """Return the point of the curve."""
        mean = sum(self.agreement) / len(self.agreement)
        return {
            "keep_above": self.cut,
            "tokens": sum(self.tokens) / len(self.tokens),
            "quality": mean,
            "retained": mean,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreements:
    """What was found: the lowest context that agrees, None where not even the safest cut does."""

    questions: tuple[Question, ...]
    clusters: tuple[str, ...]
    full_tokens: tuple[int, ...]
    tried: tuple[Tried, ...]
    last: Tried | None


def compare_answers(
    rag: RAG,
    dataset: Dataset,
    *,
    retain: float,
    confidence: float,
    scorer: Scorer | None,
    pool: int,
    second_hop: float = 0.0,
    cluster: str = "document",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Agreements:
    """Ask each question untrimmed, then at one cut after the other while their answers agree.

    Args:
        rag: Whose generator is asked: once a question, and once more for each cut that is tried.
        dataset: Its questions; labels are not looked at.
        retain: The mean agreement that is promised.
        confidence: Of the promise.
        scorer: As in `TrimPolicy`.
        pool: As in `TrimPolicy`.
        second_hop: As in `TrimPolicy`.
        cluster: What questions depend on together.
        seed: Of the order in which the test bets.
        on_progress: Called with questions asked and their number, for each cut anew.

    Raises:
        ConfigError: there are no questions.
        RemoteError: the generator failed; where generations are cached the next call goes on.
    """
    questions = tuple(q for q in dataset.questions if not q.unanswerable)
    if not questions:
        raise ConfigError(f"{dataset.name} holds no question to ask")
    clusters = tuple(q.cluster(cluster) for q in questions)

    def ask(view: RAG) -> list[Answer]:
        answers: list[Answer] = []
        for question in questions:
            answers.append(view.ask(question.text, id=question.id))
            if on_progress is not None:
                on_progress(len(answers), len(questions))
        return answers

    full = ask(rag.trimmed_by(None))
    tried: list[Tried] = []

    def agrees(i: int) -> bool:
        policy = TrimPolicy(
            name="tried", pool=pool, keep_above=CUTS[i], scorer=scorer, second_hop=second_hop
        )
        answers = ask(rag.trimmed_by(policy))
        found = Tried(
            cut=CUTS[i],
            agreement=tuple(map(agreement, answers, full)),
            tokens=tuple(answer.receipt.context_tokens or 0 for answer in answers),
        )
        tried.append(found)
        losses = document_means([1.0 - a for a in found.agreement], clusters)
        return mean_is_below(losses, 1.0 - retain, confidence=confidence, seed=seed)

    last = fixed_sequence(agrees, len(CUTS))
    return Agreements(
        questions=questions,
        clusters=clusters,
        full_tokens=tuple(answer.receipt.context_tokens or 0 for answer in full),
        tried=tuple(tried),
        last=None if last is None else tried[last],
    )


def agreement(trimmed: Answer, full: Answer) -> float:
    """Return how alike two answers are, in [0, 1]."""
    if trimmed.text is None or full.text is None:
        return float(trimmed.text is full.text)
    return token_f1(trimmed.text, [full.text])


def achieved(found: Agreements, last: Tried) -> dict[str, Json]:
    """Return what a certificate says about its questions."""
    n = len(found.questions)
    return {
        "n": n,
        "n_effective": float(len(set(found.clusters))),
        "documents": len(set(found.clusters)),
        "failures": sum(a < _UNLIKE for a in last.agreement),
        "achieved": sum(last.agreement) / n,
        "expected_tokens": sum(last.tokens) / n,
        "largest_tokens": max(last.tokens),
        "untrimmed_tokens": sum(found.full_tokens) / n,
        "chain": [
            {"keep_above": t.cut, "expected_tokens": sum(t.tokens) / n}
            for t in reversed(found.tried)
            if t.cut < last.cut
        ],
    }
