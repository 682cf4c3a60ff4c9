"""The smallest trim policy that labelled questions certify.

For one pool the sentences are kept from the best down, so each question has one number: the
highest relative score to cut at that still leaves it all it needs. The certified cut is an order
statistic of these numbers (`stats.certificates`); where quality is a share, cuts are tested one
after the other from the safest on.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ragkit.errors import ConfigError
from ragkit.pipeline import RAG
from ragkit.text.jsontext import as_whole
from ragkit.trimming import Certificate, Scorer, TrimPolicy, open_scorer, support_score
from ragkit.types import Json
from ragkit_eval.calibration.agreement import METRIC as AGREEMENT
from ragkit_eval.calibration.agreement import by_agreement
from ragkit_eval.calibration.certify import (
    CalibrationMode,
    Cut,
    Goal,
    certified_cut,
    certified_refusal,
)
from ragkit_eval.calibration.fit import (
    MOST_PER_DOCUMENT,
    collect,
    digests_of,
    document_digests,
    fit_scorer,
)
from ragkit_eval.calibration.needs import (
    CUTS,
    Needs,
    curve,
    estimated_tokens,
    mean_tokens,
    measurable,
    measure_needs,
)
from ragkit_eval.calibration.task import Calibration, Task
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.measuring.quality import Quality, default_quality, quality_measure
from ragkit_eval.stats.certificates import kept_questions

TUNED_SHARE = 3
"""One document in so many selects among pools and scorers; the others certify."""

SCORER_SUFFIX = ".scorer.json"

FIT_QUESTIONS = 300
"""Questions that `fit` learns from: more gain little (benchmarks), and each is lost to certifying.
"""


def calibrate(
    rag: RAG,
    dataset: Dataset,
    *,
    retain: float = 0.95,
    confidence: float = 0.95,
    mode: CalibrationMode = "strict",
    metric: str | None = None,
    refuse_target: float | None = None,
    pools: Sequence[int] = (10,),
    scorers: Sequence[str | Scorer] = ("none",),
    second_hop: float = 0.0,
    cluster: str = "document",
    name: str = "certified",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Find the smallest context that the labels certify for a pipeline.

    Args:
        rag: The pipeline. Its chunker, embedder, template and token counter become part of the
            certificate.
        dataset: Labelled questions, similar to those that users ask.
        retain: What to guarantee. By `mode`, it is the share of questions that keep what the
            untrimmed top 5 gives them (`strict`), the share of the mean quality of the untrimmed
            top 5 (`ratio`), or the mean quality itself (`absolute`).
        confidence: Confidence of the guarantee.
        mode: What `retain` refers to.
        metric: A measure of `MEASURES`, or `Agreement`, which needs no labels; None takes what the
            labels allow (`default_quality`).
        refuse_target: Largest share of answerable questions that may be refused. Each of the two
            guarantees then gets half of the permitted risk. None sets no refusal threshold.
        pools: Numbers of chunks in the pool. If you pass several numbers or scorers, one is
            selected on a third of the documents (the tuning split).
        scorers: `none` (without training), a scorer, the path of a scorer file, or `fit`, which
            trains a scorer on some of the documents (at least 300 questions, at most half of all).
            Documents that are used for fitting or tuning are not used to certify.
        second_hop: As in `TrimPolicy`.
        cluster: Which questions to treat as correlated: `document`, a metadata field, or `none`.
        name: Name of the policy.
        seed: Seed of the random draws; it is stored in the certificate.
        on_progress: Called with the number of questions measured and the number of all. The count
            starts again at 1 in each step.

    Raises:
        ConfigError: a value is not allowed, or no question can be measured.
        MissingExtraError: `fit` needs scikit-learn.
    """
    by_answers = metric is not None and metric.lower() == AGREEMENT.lower()
    measure = AGREEMENT if by_answers else _measure(metric, dataset)
    task = Task(
        rag=rag, dataset=dataset, pools=pools, scorers=scorers, second_hop=second_hop,
        cluster=cluster, name=name, seed=seed, on_progress=on_progress,
        goal=Goal(metric=measure, mode=mode, retain=retain, confidence=confidence,
                  refuse_target=refuse_target),
    )  # fmt: skip
    return by_agreement(task) if by_answers else _by_labels(task)


def _measure(metric: str | None, dataset: Dataset) -> str:
    return quality_measure(metric or default_quality(dataset.questions))[0]


def _by_labels(task: Task) -> Calibration:
    goal = task.goal
    _, quality = quality_measure(goal.metric)
    tuning, certifying = _split(task, measurable(task.dataset, goal.metric))
    scorers = [_opened(task, given, tuning, quality) for given in task.scorers]
    unseen = _unseen(task, certifying, [s for s in scorers if s is not None])
    scorer, pool = _selected(task, scorers, tuning, quality)
    needs = _measured(task, unseen, quality, scorer, pool)
    needs = [needs[i] for i in kept_questions([need.cluster for need in needs], task.seed)]
    points = curve(needs)

    def refused(found: Cut, reason: str | None) -> Calibration:
        return Calibration(
            policy=None, reason=reason, n=found.n, n_needed=found.n_needed, curve=points,
            target=goal.to_dict(),
        )  # fmt: skip

    found = certified_cut(needs, goal, seed=task.seed)
    if found.above is None:
        return refused(found, found.reason)
    refusal, refuse_below = None, 0.0
    if goal.refuse_target is not None:
        refusal = certified_refusal(needs, goal, share=goal.refuse_target)
        if refusal.above is None:
            return refused(refusal, f"refusal threshold: {refusal.reason}")
        refuse_below = max(0.0, refusal.above)
    # Rounded down: a lower cut keeps more. Where the best sentence always suffices any cut does.
    cut = math.floor(min(found.above, CUTS[-1]) * 1e4) / 1e4
    policy = task.policy(cut=cut, pool=pool, scorer=scorer, refuse_below=refuse_below)
    configuration = _as_retrieved(task.rag, needs)
    shown = replace(
        _shown(needs, cut, found, goal),
        refusal=None if refusal is None else _refusal_facts(task, refusal, policy),
        n_tuning=len(tuning),
        n_fitted_on=len(certifying) - len(unseen),
        n_left_out=len(unseen) - len(needs),
    )
    return Calibration(
        policy=task.certified(policy, shown, configuration),
        reason=None,
        n=found.n,
        n_needed=None,
        curve=points,
        target=goal.to_dict(),
        advice=_advice(task.rag, configuration, needs, cut),
    )


def _split(task: Task, questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Return the questions that tune and those that certify: no document does both."""
    fit = "fit" in task.scorers
    if not fit and not task.has_choices:
        return [], list(questions)
    clusters = [question.cluster(task.cluster) for question in questions]
    sizes = Counter(clusters)
    order = sorted(sizes, key=lambda name: _hash(name, task.seed))
    chosen: set[str] = set()
    if fit:
        wanted = min(FIT_QUESTIONS, len(questions) // 2)
        for name in order:
            if sum(min(sizes[c], MOST_PER_DOCUMENT) for c in chosen) >= wanted:
                break
            chosen.add(name)
    if task.has_choices:
        chosen |= {name for name in order if _hash(name, task.seed) % TUNED_SHARE == 0}
    tuning = [q for q, c in zip(questions, clusters, strict=True) if c in chosen]
    return tuning, [q for q, c in zip(questions, clusters, strict=True) if c not in chosen]


def _hash(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:8], "big")


def _opened(
    task: Task, given: str | Scorer, tuning: Sequence[Question], quality: Quality
) -> Scorer | None:
    if given != "fit":
        return given if isinstance(given, Scorer) else open_scorer(given)
    examples = collect(
        task.rag, tuning, quality, cluster=task.cluster, seed=task.seed,
        on_progress=task.on_progress,
    )  # fmt: skip
    return fit_scorer({"labels": examples}, name=f"{task.name}{SCORER_SUFFIX}", seed=task.seed)


def _unseen(task: Task, questions: Sequence[Question], scorers: Sequence[Scorer]) -> list[Question]:
    """Return the questions that no scorer was fitted on, nor on their documents.

    Where questions are not clustered by document only the questions themselves count.
    """
    known = frozenset(digest for scorer in scorers for digest in scorer.fitted_on)
    documents = document_digests(task.rag) if known else {}
    unseen: list[Question] = []
    for question in questions:
        text, about = digests_of(question, documents)
        if text not in known and not (task.cluster == "document" and about & known):
            unseen.append(question)
    if not unseen:
        raise ConfigError(
            f"the scorer was fitted on the documents of all {len(questions)} questions, so they "
            "cannot certify it; use other labels, or --scorer none or fit"
        )
    return unseen


def _selected(
    task: Task, scorers: Sequence[Scorer | None], tuning: Sequence[Question], quality: Quality
) -> tuple[Scorer | None, int]:
    """Return the scorer and pool that would keep the share with the fewest tokens."""
    candidates = [(scorer, pool) for scorer in scorers for pool in task.pools]
    if not task.has_choices:
        return candidates[0]
    return min(
        candidates,
        key=lambda c: estimated_tokens(_measured(task, tuning, quality, *c), task.goal.retain),
    )


def _measured(
    task: Task, questions: Sequence[Question], quality: Quality, scorer: Scorer | None, pool: int
) -> list[Needs]:
    return measure_needs(
        task.rag, questions, quality=quality, scorer=scorer, pool=pool, second_hop=task.second_hop,
        cluster=task.cluster, on_progress=task.on_progress,
    )  # fmt: skip


def _shown(needs: Sequence[Needs], cut: float, found: Cut, goal: Goal) -> Certificate:
    answered = [need for need in needs if need.full == 1.0] if goal.mode == "strict" else needs
    kept = [need.quality_at(cut) for need in answered]
    full = sum(need.full for need in answered)
    share = sum(kept) / (len(kept) if goal.mode == "absolute" else full) if full else None
    return Certificate(
        n=found.n,
        n_effective=found.n_effective,
        documents=found.n_documents,
        failures=found.failures,
        achieved=share,
        expected_tokens=mean_tokens(needs, cut),
        largest_tokens=max(need.tokens(cut) for need in needs),
        untrimmed_tokens=sum(need.full_tokens for need in needs) / len(needs),
        chain=[
            {"keep_above": c, "expected_tokens": mean_tokens(needs, c)} for c in CUTS if c < cut
        ],
    )


def _refusal_facts(task: Task, refusal: Cut, policy: TrimPolicy) -> dict[str, Json]:
    unanswerable = [q for q in task.dataset.questions if q.unanswerable]
    refused = 0
    for question in unanswerable:
        terms, pool = task.rag.pool(question.searched, k=policy.pool)
        support = support_score(terms, pool, policy)
        refused += support is None or support < policy.refuse_below
    return {
        "threshold": policy.refuse_below,
        "n_answerable": refusal.n,
        "answerable_refused": refusal.failures,
        "n_unanswerable": len(unanswerable),
        "unanswerable_refused": refused,
    }


def _as_retrieved(rag: RAG, needs: Sequence[Needs]) -> dict[str, Json]:
    """Return the configuration with the mode that most questions were retrieved by.

    Left to itself a pipeline uses keyword search alone for questions in languages that its embedder
    does not read.
    """
    configuration = rag.configuration()
    mostly_lexical = 2 * sum(need.lexical for need in needs) > len(needs)
    if configuration["mode"] is None and mostly_lexical:
        configuration["mode"] = "lexical"
    return configuration


def _advice(
    rag: RAG, configuration: Mapping[str, Json], needs: Sequence[Needs], cut: float
) -> dict[str, Json]:
    """Return the window that suffices, in tokens of the certificate's counter.

    Advice only: nothing is capped by it. Answers are taken to be as long as the references, which a
    talkative model's are not; without references the window is unknown.
    """
    count = rag.counter.count
    answers = [count(text) for need in needs for text in need.question.answers]
    template = as_whole(configuration["template_tokens"])
    context = max(need.tokens(cut) for need in needs)
    question = max(count(need.question.text) for need in needs)
    history = rag.settings.max_history_tokens
    longest = max(answers, default=None)
    return {
        "template_tokens": template,
        "largest_context_tokens": context,
        "largest_question_tokens": question,
        "history_tokens": history,
        "max_tokens": longest,
        "n_ctx": None if longest is None else template + context + question + history + longest,
    }
