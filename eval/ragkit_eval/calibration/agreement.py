"""Certificates from questions alone: the user's own generator is asked with and without trimming.

Agreement is the token F1 of the answer from the trimmed context against the answer from the
untrimmed top 5 (SQuAD's `compute_f1`): 1 where both say the same, or both refuse. It says how alike
the answers are, not how right. Cuts are tested from the safest on, and none after the first that
fails, so that few generations are paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.errors import ConfigError
from ragkit.generation import ExtractiveGenerator
from ragkit.pipeline import RAG, Answer
from ragkit.trimming import Certificate, Scorer, open_scorer
from ragkit.trimming.certificate import fingerprints
from ragkit.types import Json
from ragkit_eval.calibration.task import Calibration, Task
from ragkit_eval.data.datasets import Question
from ragkit_eval.data.texts import token_f1
from ragkit_eval.stats.certificates import document_means, fixed_sequence, mean_is_below

METRIC = "Agreement"
CUTS = (-14.0, -10.0, -7.0, -5.0, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5)
"""Relative scores that are cut at, safest first."""

_UNLIKE = 0.5
"""Below this agreement an answer counts as a failure, for people: the test is on the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One cut: the agreement and the context tokens of each question."""

    cut: float
    agreement: tuple[float, ...]
    tokens: tuple[int, ...]

    @property
    def mean_agreement(self) -> float:
        """The mean of all questions."""
        return sum(self.agreement) / len(self.agreement)

    @property
    def mean_tokens(self) -> float:
        """The mean of all questions."""
        return sum(self.tokens) / len(self.tokens)

    def point(self) -> dict[str, Json]:
        """Return the point of the curve."""
        return {
            "keep_above": self.cut,
            "tokens": self.mean_tokens,
            "quality": self.mean_agreement,
            "retained": self.mean_agreement,
        }


def agreement(trimmed: Answer, full: Answer) -> float:
    """Return how alike two answers are, in [0, 1]."""
    if trimmed.text is None or full.text is None:
        return float(trimmed.text is full.text)
    return token_f1(trimmed.text, [full.text])


def by_agreement(task: Task) -> Calibration:
    """Find the smallest context whose answers agree with those from the untrimmed top 5.

    No labels are needed, but generations are: one per question, and one more for each cut that is
    tried. What is guaranteed is a mean agreement of at least `retain`.

    Raises:
        ConfigError: a value is not allowed, there is no question, or no model that answers.
        RemoteError: the generator failed; where generations are cached the next call goes on.
    """
    scorer = _checked_scorer(task)
    questions = [q for q in task.dataset.questions if not q.unanswerable]
    if not questions:
        raise ConfigError(f"{task.dataset.name} holds no question to ask")
    full = _answers(task, task.rag.trimmed_by(None), questions)
    clusters = [question.cluster(task.cluster) for question in questions]
    tried, last = _try_cuts(task, scorer, questions, clusters, full)
    curve = tuple(one.point() for one in reversed(tried))
    n, retain = len(questions), task.goal.retain
    reason = policy = None
    if last is None:
        first = tried[0]
        reason = (
            f"even the context cut at {first.cut} is not shown to give a mean agreement "
            f"of {retain}: it was {first.mean_agreement:.3f} on {n} questions"
        )
    else:
        untrimmed = [answer.receipt.context_tokens or 0 for answer in full]
        policy = replace(task.policies(scorer)[0], keep_above=last.cut)
        policy = task.certified(
            policy,
            _shown(tried, last, clusters, untrimmed),
            fingerprints(task.rag.configuration(), policy, answers=True),
            task.rag.corpus_sketch(),
        )
    return Calibration(
        policy=policy, reason=reason, n=n, n_needed=None, curve=curve, target=task.goal.to_dict()
    )


def _checked_scorer(task: Task) -> Scorer | None:
    if task.goal.mode != "absolute" or task.goal.refuse_target is not None or task.has_choices:
        raise ConfigError(
            f"metric {METRIC} guarantees a mean, of one policy, and no refusals: "
            "use --mode absolute, no --refuse-target, and one value of --pool, --scorer, "
            "--neighbours, --headings and --units"
        )
    scorer = task.scorers[0]
    if scorer == "fit":
        raise ConfigError("scorer fit learns from labelled evidence; allowed here: none FILE")
    if task.rag.configuration()["generator"] == ExtractiveGenerator.name:
        raise ConfigError(
            f"metric {METRIC} compares a model's answers; the extractive generator answers with "
            "the best sentence, which every cut keeps: name a model with --generator"
        )
    return scorer if isinstance(scorer, Scorer) else open_scorer(scorer)


def _answers(task: Task, rag: RAG, questions: Sequence[Question]) -> list[Answer]:
    answers: list[Answer] = []
    for question in questions:
        answers.append(rag.ask(question.text, id=question.id, history=question.history))
        if task.on_progress is not None:
            task.on_progress(len(answers), len(questions))
    return answers


def _try_cuts(
    task: Task,
    scorer: Scorer | None,
    questions: Sequence[Question],
    clusters: Sequence[str],
    full: Sequence[Answer],
) -> tuple[list[Tried], Tried | None]:
    """Return the cuts that were tried, and the last whose answers agree; None where none does."""
    tried: list[Tried] = []
    goal = task.goal

    def agrees(i: int) -> bool:
        policy = replace(task.policies(scorer)[0], keep_above=CUTS[i])
        answers = _answers(task, task.rag.trimmed_by(policy), questions)
        found = Tried(
            cut=CUTS[i],
            agreement=tuple(map(agreement, answers, full)),
            tokens=tuple(answer.receipt.context_tokens or 0 for answer in answers),
        )
        tried.append(found)
        losses = document_means([1.0 - a for a in found.agreement], clusters)
        return mean_is_below(losses, 1.0 - goal.retain, confidence=goal.confidence, seed=task.seed)

    last = fixed_sequence(agrees, len(CUTS))
    return tried, None if last is None else tried[last]


def _shown(
    tried: Sequence[Tried], last: Tried, clusters: Sequence[str], untrimmed_tokens: Sequence[int]
) -> Certificate:
    n_clusters = len(set(clusters))
    return Certificate(
        n=len(clusters),
        n_effective=float(n_clusters),
        documents=n_clusters,
        failures=sum(a < _UNLIKE for a in last.agreement),
        achieved=last.mean_agreement,
        expected_tokens=last.mean_tokens,
        largest_tokens=max(last.tokens),
        untrimmed_tokens=sum(untrimmed_tokens) / len(untrimmed_tokens),
        chain=[
            {"keep_above": one.cut, "expected_tokens": one.mean_tokens}
            for one in reversed(tried)
            if one.cut < last.cut
        ],
        n_tuning=0,
        n_fitted_on=0,
        n_left_out=0,
    )
