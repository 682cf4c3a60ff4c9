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
from functools import partial

from ragkit.errors import ConfigError
from ragkit.pipeline import RAG
from ragkit.text.jsontext import as_whole
from ragkit.trimming import Certificate, Scorer, TrimPolicy, open_scorer
from ragkit.trimming.certificate import fingerprints
from ragkit.types import Json
from ragkit_eval.calibration.agreement import METRIC as AGREEMENT
from ragkit_eval.calibration.agreement import by_agreement
from ragkit_eval.calibration.certify import CalibrationMode, Cut, Goal, asked_about
from ragkit_eval.calibration.choice import Choice, Kept, chain
from ragkit_eval.calibration.fit import (
    MOST_PER_DOCUMENT,
    collect,
    digests_of,
    document_digests,
    fit_scorer,
)
from ragkit_eval.calibration.losses import losses
from ragkit_eval.calibration.needs import (
    Needs,
    curve,
    estimated_tokens,
    measurable,
    measure_needs,
)
from ragkit_eval.calibration.sections import SECTION, with_sections
from ragkit_eval.calibration.task import Calibration, Task
from ragkit_eval.calibration.untrimmed import measure_whole
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.measuring.quality import Quality, default_quality, quality_measure
from ragkit_eval.measuring.subjects import PassageSubject, StoreSubject
from ragkit_eval.stats.certificates import LEAST_DOCUMENTS, kept_questions
from ragkit_eval.stats.inference import interval

TUNED_SHARE = 3
"""One document in so many selects among policies; the others certify."""

SCORER_SUFFIX = ".scorer.json"

_UNNAMED = (
    "the retriever and the state of its documents were not both named (fingerprint, "
    "corpus_version), so that no certificate could end when they change"
)

FIT_QUESTIONS = 300
"""Questions that `fit` learns from: more gain little (benchmarks), and each is lost to certifying.
"""


def calibrate(
    rag: object,
    dataset: Dataset,
    *,
    retain: float = 0.95,
    confidence: float = 0.95,
    mode: CalibrationMode = "strict",
    metric: str | None = None,
    refuse_target: float | None = None,
    pools: Sequence[int] = (10,),
    scorers: Sequence[str | Scorer] = ("none",),
    neighbours: Sequence[int] = (0,),
    headings: Sequence[bool] = (False,),
    units: Sequence[bool] = (True,),
    second_hop: float = 0.0,
    cluster: str = "document",
    name: str | None = None,
    seed: int = 0,
    with_losses: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    fingerprint: str | None = None,
    corpus_version: str | None = None,
    vectors: bool | None = None,
) -> Calibration:
    """Find the smallest context that the labels certify for a pipeline.

    It is made of the units above a certified cut, or of the first chunks, untrimmed, where these
    are cheaper.

    Args:
        rag: A `RAG`: its chunker, embedder, template and token counter become part of the
            certificate. Or any other retriever, whose passages `ragkit.trim` is to trim: a function
            from a question to passages, best first, or a retriever of LangChain, LlamaIndex or
            Haystack.
        dataset: Labelled questions, similar to those that users ask.
        retain: What to guarantee. By `mode`, it is the share of questions that keep what the
            untrimmed top 5 gives them (`strict`), the share of the mean quality of the untrimmed
            top 5 (`ratio`), or the mean quality itself (`absolute`). `conformal` is about the same
            questions as `strict`, but holds on average over sets of labels only, without a
            confidence for this one: for 20 to 60 questions, and not a certificate.
        confidence: Confidence of the guarantee; not used by `conformal`.
        mode: What `retain` refers to.
        metric: A measure of `MEASURES`, or `Agreement`, which needs no labels; None takes what the
            labels allow (`default_quality`).
        refuse_target: Largest share of answerable questions that may be refused. Each of the two
            guarantees then gets half of the permitted risk. None sets no refusal threshold.
        pools: Numbers of chunks in the pool. If you pass several values of this or of one of the
            next four, one policy is selected on a third of the documents (the tuning split).
        scorers: `none` (without training), a scorer, the path of a scorer file, or `fit`, which
            trains a scorer on some of the documents (at least 300 questions, at most half of all).
            Documents that are used for fitting or tuning are not used to certify.
        neighbours: As in `TrimPolicy`.
        headings: As in `TrimPolicy`.
        units: As in `TrimPolicy`.
        second_hop: As in `TrimPolicy`.
        cluster: Which questions to treat as correlated: those of one `document`, of one value of a
            metadata field, `none`, or of one `section`: the part of a document below a heading of
            its top level. Sections of one document are more alike than documents, so that this is
            the weaker assumption; it is for collections of a few handbooks.
        name: Name of the policy; None takes `certified`, or `marginal` by mode `conformal`.
        seed: Seed of the random draws; it is stored in the certificate.
        with_losses: Also find what is lost, question by question, and what whole chunks would keep.
        on_progress: Called with the number of questions measured and the number of all. The count
            starts again at 1 in each step.
        fingerprint: Of a retriever that is not a `RAG`: a name of your own for it and all of its
            settings. It becomes part of the certificate; `trim` is to be given the same.
        corpus_version: The same for the state of the documents. Without both names there is a
            policy, but no certificate.
        vectors: Of a retriever that is not a `RAG`: as in `trim`.

    Raises:
        ConfigError: a value is not allowed, or no question can be measured.
        MissingExtraError: `fit` needs scikit-learn.
    """
    by_answers = metric is not None and metric.lower() == AGREEMENT.lower()
    measure = AGREEMENT if by_answers else _measure(metric, dataset)
    subject = (
        StoreSubject(rag)
        if isinstance(rag, RAG)
        else PassageSubject(rag, dataset, measure, vectors=vectors)
    )
    dataset = with_sections(subject, dataset) if cluster == SECTION else dataset
    task = Task(
        subject=subject, dataset=dataset, pools=pools, scorers=scorers, neighbours=neighbours,
        headings=headings, units=units, second_hop=second_hop, cluster=cluster,
        name=name or ("marginal" if mode == "conformal" else "certified"),
        seed=seed, on_progress=on_progress, with_losses=with_losses,
        fingerprint=fingerprint, corpus_version=corpus_version,
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
    base = _selected(task, scorers, tuning, quality)
    needs = _measured(task, unseen, quality, base)
    needs = [needs[i] for i in kept_questions([need.cluster for need in needs], task.seed)]
    questions = [need.question for need in needs]
    measure = partial(
        measure_whole, task.subject, questions, quality=quality, on_progress=task.on_progress
    )
    n_choosing = len(tuning) + len(certifying) - len(unseen)
    labels = _labels(task, n_choosing, unseen, needs)
    choice = Choice(needs, measure, seed=task.seed, n_labels=len(tuning) + len(certifying))
    found, points = choice.cheapest(goal), curve(needs)
    grid = tuple(choice.grid(goal))
    kept = None if isinstance(found, Cut) else found
    lost = (
        losses(
            task.subject, needs, goal, kept=kept, base=base, cluster=task.cluster, measure=measure
        )
        if task.with_losses
        else None
    )
    if isinstance(found, Cut):
        return Calibration(
            policy=None, reason=_reason(found, task), n=found.n, n_needed=found.n_needed,
            curve=points, target=goal.to_dict(), evidence=_evidence(needs, None), grid=grid,
            located=_located(task), losses=lost, labels=labels,
        )  # fmt: skip
    policy = found.policy(base)
    scope = _scope(task, policy, needs)
    shown = replace(
        _shown(needs, found, goal),
        refusal=None if found.refusal is None else _refusal_facts(task, found.refusal, policy),
        n_tuning=len(tuning),
        n_fitted_on=len(certifying) - len(unseen),
        n_left_out=len(unseen) - len(needs),
    )
    return Calibration(
        policy=policy if scope is None else task.certified(policy, shown, *scope),
        reason=_UNNAMED if scope is None else None,
        n=found.cut.n,
        n_needed=None,
        curve=points,
        target=goal.to_dict(),
        advice=_advice(task.subject, needs, max(found.tokens)),
        evidence=_evidence(needs, found),
        grid=grid,
        untrimmed_k=found.k,
        uncertified_tokens=_uncertified(needs, goal),
        located=_located(task),
        losses=lost,
        labels=labels,
    )


def _scope(
    task: Task, policy: TrimPolicy, needs: Sequence[Needs]
) -> tuple[Mapping[str, Json], Mapping[str, Json]] | None:
    """Return what a certificate depends on, and the state of the documents; None: not named."""
    subject = task.subject
    if isinstance(subject, StoreSubject):
        known = fingerprints(_as_retrieved(subject.rag, needs), policy)
        return known, subject.rag.corpus_sketch()
    if task.fingerprint is None or task.corpus_version is None:
        return None
    questions = [need.question for need in needs]
    known = subject.fingerprints(policy, questions, task.fingerprint)
    return known, {"version": task.corpus_version}


def _located(task: Task) -> Mapping[str, Json] | None:
    subject = task.subject
    return subject.located() if isinstance(subject, PassageSubject) else None


def _labels(
    task: Task, n_choosing: int, unseen: Sequence[Question], needs: Sequence[Needs]
) -> dict[str, Json]:
    """Return what became of the labelled questions."""
    given = task.dataset.questions
    unanswerable = sum(question.unanswerable for question in given)
    return {
        "given": len(given),
        "unanswerable": unanswerable,
        "unmeasurable": len(given) - unanswerable - n_choosing - len(unseen),
        "choosing": n_choosing,
        "left_out": len(unseen) - len(needs),
        "measured": len(needs),
        "served": sum(need.full == 1.0 for need in needs),
    }


def _uncertified(needs: Sequence[Needs], goal: Goal) -> float | None:
    """Return the tokens of a cut that just keeps the share; known for strict guarantees only."""
    tokens = estimated_tokens(needs, goal.retain) if goal.mode == "strict" else math.inf
    return tokens if math.isfinite(tokens) else None


def _reason(refused: Cut, task: Task) -> str | None:
    few = task.cluster == "document" and refused.n_documents < LEAST_DOCUMENTS < refused.n
    hint = "; for one handbook: --cluster section, a weaker assumption" if few else ""
    return None if refused.reason is None else refused.reason + hint


def _evidence(needs: Sequence[Needs], kept: Kept | None) -> dict[str, Json]:
    """Return the mean quality of all labelled questions with its interval, documents together."""
    clusters = [need.cluster for need in needs]

    def share(values: Sequence[float]) -> dict[str, Json]:
        found = interval(values, clusters)
        return {"mean": found.mean, "low": found.low, "high": found.high}

    return {
        "n": len(needs),
        "untrimmed": share([need.full for need in needs]),
        "certified": None if kept is None else share(kept.quality),
    }


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
) -> TrimPolicy:
    """Return the policy, without limits, that would keep the share with the fewest tokens."""
    candidates = [policy for scorer in scorers for policy in task.policies(scorer)]
    if not task.has_choices:
        return candidates[0]
    return min(
        candidates,
        key=lambda c: estimated_tokens(_measured(task, tuning, quality, c), task.goal.retain),
    )


def _measured(
    task: Task, questions: Sequence[Question], quality: Quality, policy: TrimPolicy
) -> list[Needs]:
    return measure_needs(
        task.subject, questions, quality=quality, policy=policy, cluster=task.cluster,
        on_progress=task.on_progress,
    )  # fmt: skip


def _shown(needs: Sequence[Needs], kept: Kept, goal: Goal) -> Certificate:
    at = asked_about(needs, goal)
    quality = sum(kept.quality[i] for i in at)
    full = sum(needs[i].full for i in at)
    share = quality / (len(at) if goal.mode == "absolute" else full) if full else None
    found = kept.cut
    return Certificate(
        n=found.n,
        n_effective=found.n_effective,
        documents=found.n_documents,
        failures=found.failures,
        achieved=share,
        expected_tokens=kept.mean_tokens,
        largest_tokens=max(kept.tokens),
        untrimmed_tokens=sum(need.full_tokens for need in needs) / len(needs),
        chain=chain(needs, kept),
    )


def _refusal_facts(task: Task, refusal: Cut, policy: TrimPolicy) -> dict[str, Json]:
    unanswerable = [q for q in task.dataset.questions if q.unanswerable]
    refused = 0
    for question in unanswerable:
        found = task.subject.retrieve(question, k=1, pools=(policy.pool,))
        support = found.ranked(policy.pool, policy).support
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
    subject: StoreSubject | PassageSubject, needs: Sequence[Needs], context: int
) -> dict[str, Json] | None:
    """Return the window that suffices, in tokens of the certificate's counter.

    None where the prompt is somebody else's.
    Advice only: nothing is capped by it. Answers are taken to be as long as the references, which a
    talkative model's are not; without references the window is unknown.
    """
    if not isinstance(subject, StoreSubject):
        return None
    rag = subject.rag
    count = rag.counter.count
    answers = [count(text) for need in needs for text in need.question.answers]
    template = as_whole(rag.configuration()["template_tokens"])
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
