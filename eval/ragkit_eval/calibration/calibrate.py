"""The smallest trim policy that labelled questions certify.

For one pool the sentences are kept from the best down, so each question has one number: the
highest rank to cut at that still leaves it all it needs. The certified cut is an order statistic of
these numbers (`stats.certificates`); where quality is a share, cuts are tested one after
the other from the safest on.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import neg
from typing import Literal, TypeAlias, cast

from ragkit import __version__
from ragkit.errors import ConfigError
from ragkit.generation import ExtractiveGenerator
from ragkit.pipeline import RAG
from ragkit.trimming import (
    BASELINE_HITS,
    Certificate,
    Scorer,
    TrimPolicy,
    open_scorer,
    rank,
    support_score,
)
from ragkit.trimming.certificate import fingerprints
from ragkit.types import Json
from ragkit_eval.calibration.agreement import METRIC as AGREEMENT
from ragkit_eval.calibration.agreement import achieved, compare_answers
from ragkit_eval.calibration.fit import (
    MOST_PER_DOCUMENT,
    collect,
    digests_of,
    document_digests,
    fit_scorer,
)
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.data.rows import Passage
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.quality import Quality, quality_measure, ranked_passages, whole_chunks
from ragkit_eval.stats.certificates import (
    OrderStatistic,
    certify_limit,
    document_means,
    fixed_sequence,
    kept_questions,
    mean_is_below,
)
from ragkit_eval.stats.inference import quantile

CalibrationMode: TypeAlias = Literal["strict", "ratio", "absolute"]
MODES: tuple[CalibrationMode, ...] = ("strict", "ratio", "absolute")
TUNED_SHARE = 3
"""One document in so many chooses among pools and scorers; the others certify."""

SCORER_SUFFIX = ".scorer.json"

FIT_QUESTIONS = 300
"""Questions that `fit` learns from: more gain little (benchmarks), and each is lost to certifying.
"""

CUTS = tuple(-14.0 + 0.25 * i for i in range(81))
"""Ranks that the fixed sequence cuts at, safest first: -14 up to 6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one question needs of one pool.

    `ranks` are the ranks of the pool's sentences, best first, `totals` the tokens of the best
    sentence, the best two, and so on; `quality` is that of each cut of `CUTS`. `lowest` is the rank
    of the last sentence that is needed: minus infinity where the pool does not hold all evidence,
    infinity where the best sentence, which every cut keeps, is enough. `full` is the quality of the
    untrimmed top 5 and `full_tokens` its size.
    """

    question: Question
    cluster: str
    ranks: tuple[float, ...]
    totals: tuple[int, ...]
    quality: tuple[float, ...]
    lowest: float
    full: float
    full_tokens: int
    evidence: float | None
    by_words: bool

    def n_kept(self, cut: float) -> int:
        """Return how many sentences a cut keeps."""
        return max(1, bisect_right(self.ranks, -cut, key=neg)) if self.ranks else 0

    def tokens(self, cut: float) -> int:
        """Return the tokens that a cut keeps."""
        return self.totals[self.n_kept(cut) - 1] if self.totals else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A policy with its certificate, or why there is none.

    `to_dict` is the JSON of `ragkit calibrate`.
    """

    policy: TrimPolicy | None
    reason: str | None
    n: int
    n_needed: int | None
    curve: tuple[Mapping[str, Json], ...]
    target: Mapping[str, Json]
    advice: Mapping[str, Json] | None = None

    @property
    def certified(self) -> bool:
        """Whether there is a certificate."""
        return self.policy is not None

    @property
    def scorer(self) -> Scorer | None:
        """The policy's scorer, None where there is none.

        Its file (`ragkit_eval.calibration.fit.write_scorer`), by its name, stands beside the
        policy's.
        """
        return None if self.policy is None else self.policy.scorer

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit calibrate`."""
        return {
            "schema": 1,
            "certified": self.certified,
            "reason": self.reason,
            "n": self.n,
            "n_needed": self.n_needed,
            "target": dict(self.target),
            "policy": None if self.policy is None else self.policy.to_dict(),
            "curve": [dict(point) for point in self.curve],
            "advice": None if self.advice is None else dict(self.advice),
        }


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
    """Find the smallest context that the labels certify.

    Args:
        rag: The pipeline that the policy is for; its chunker, embedder, template and token counter
            become part of the certificate.
        dataset: Labelled questions like those of production.
        retain: The promise: the share of questions that keep what the untrimmed top 5 gives them
            (`strict`), the share of its mean quality (`ratio`), or the quality itself (`absolute`).
        confidence: Of the promise.
        mode: What is promised.
        metric: A measure of `MEASURES`, or `Agreement` (`calibrate_agreement`);
            None takes `EvidenceFound` where there is evidence, else what the labels allow.
        refuse_target: The share of answerable questions that may be refused; half of the risk goes
            to this promise then. None sets no refusal threshold.
        pools: Depths that are tried.
        scorers: What scores sentences: `none` (without training), a scorer, the path of one, or
            `fit`: grown on some of the documents (300 questions, at most half of all). Of several
            scorers or pools one is chosen on a third of the documents; the documents that fit or
            choose do not certify, nor do those that a scorer was fitted on.
        second_hop: As in `TrimPolicy`.
        cluster: What questions depend on together.
        name: Of the policy.
        seed: Of the draws that are stored in the certificate.
        on_progress: Called with questions measured and their number, for each step anew.

    Raises:
        ConfigError: a value is not allowed, or no question can be measured.
        MissingExtraError: `fit` needs scikit-learn.
    """
    if metric is not None and metric.lower() == AGREEMENT.lower():
        if mode != "absolute" or refuse_target is not None or len(pools) * len(scorers) > 1:
            raise ConfigError(
                f"metric {AGREEMENT} promises a mean, of one pool and one scorer, and no refusals: "
                "use --mode absolute, and neither --refuse-target nor several of --pool or --scorer"
            )
        return calibrate_agreement(
            rag,
            dataset,
            retain=retain,
            confidence=confidence,
            pool=pools[0],
            scorer=scorers[0],
            second_hop=second_hop,
            cluster=cluster,
            name=name,
            seed=seed,
            on_progress=on_progress,
        )
    _check(retain, confidence, mode, refuse_target=refuse_target, pools=pools)
    measure, quality = quality_measure(metric or _default_metric(dataset))
    questions = measurable(dataset, measure)
    several = len(pools) * len(scorers) > 1
    tuning, certifying = _split(questions, cluster, seed, fit="fit" in scorers, several=several)

    def opened(given: str | Scorer) -> Scorer | None:
        if given != "fit":
            return given if isinstance(given, Scorer) else open_scorer(given)
        examples = collect(
            rag, tuning, quality, cluster=cluster, seed=seed, on_progress=on_progress
        )
        return fit_scorer({"labels": examples}, name=f"{name}{SCORER_SUFFIX}", seed=seed)

    used = [opened(given) for given in scorers]
    unseen = _unseen(rag, certifying, [s for s in used if s is not None], cluster)
    measured = functools.partial(
        measure_needs,
        rag,
        quality=quality,
        second_hop=second_hop,
        cluster=cluster,
        on_progress=on_progress,
    )
    candidates = [(scorer, pool) for scorer in used for pool in pools]
    scorer, pool = candidates[0]
    if several:
        scorer, pool = min(
            candidates,
            key=lambda c: _estimated_tokens(measured(tuning, scorer=c[0], pool=c[1]), retain),
        )
    needs = measured(unseen, scorer=scorer, pool=pool)
    kept = kept_questions([need.cluster for need in needs], seed)
    needs = [needs[i] for i in kept]
    goal = _Goal(
        retain=retain,
        confidence=confidence if refuse_target is None else 1.0 - (1.0 - confidence) / 2.0,
        mode=mode,
        seed=seed,
    )
    found = _cut(needs, goal)
    target: dict[str, Json] = {
        "metric": measure,
        "mode": mode,
        "retain": retain,
        "confidence": confidence,
        "refuse_target": refuse_target,
    }
    curve = _curve(needs)
    if found.limit is None:
        return _not_certified(found, found.reason, curve, target)
    refusal = None
    if refuse_target is not None:
        refusal = _refusal(needs, refuse_target, goal)
        if refusal.limit is None:
            return _not_certified(refusal, f"refusal threshold: {refusal.reason}", curve, target)
    # Rounded down: a lower cut keeps more. Where the best sentence always suffices any cut does.
    cut = math.floor(min(-found.limit, CUTS[-1]) * 1e4) / 1e4
    policy = TrimPolicy(
        name=name,
        pool=pool,
        keep_above=cut,
        second_hop=second_hop,
        scorer=scorer,
        refuse_below=0.0 if refusal is None else max(0.0, -cast("float", refusal.limit)),
    )
    configuration = _as_retrieved(rag, needs)
    certificate = {
        **target,
        **_achieved(needs, cut, found, goal),
        "refusal": _refusal_facts(refusal, rag, dataset, policy),
        "n_tuning": len(tuning),
        "n_fitted_on": len(certifying) - len(unseen),
        "n_left_out": len(unseen) - len(kept),
        "cluster": cluster,
        "seed": seed,
        "fingerprints": fingerprints(configuration, policy),
        **_made(rag, dataset),
    }
    return Calibration(
        policy=replace(policy, certificate=Certificate.from_dict(certificate)),
        reason=None,
        n=found.n,
        n_needed=None,
        curve=curve,
        target=target,
        advice=_advice(rag, configuration, needs, cut),
    )


def _not_certified(
    found: OrderStatistic,
    reason: str | None,
    curve: tuple[Mapping[str, Json], ...],
    target: Mapping[str, Json],
) -> Calibration:
    return Calibration(
        policy=None, reason=reason, n=found.n, n_needed=found.n_needed, curve=curve, target=target
    )


def _made(rag: RAG, dataset: Dataset) -> dict[str, Json]:
    return {
        "dataset": {"name": dataset.name, "split": dataset.split, "sha256": dataset.sha256},
        "corpus": rag.corpus_sketch(),
        "ragkit": __version__,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def calibrate_agreement(
    rag: RAG,
    dataset: Dataset,
    *,
    retain: float = 0.95,
    confidence: float = 0.95,
    pool: int = 10,
    scorer: str | Scorer = "none",
    second_hop: float = 0.0,
    cluster: str = "document",
    name: str = "certified",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Find the smallest context whose answers agree with those from the untrimmed top 5.

    No labels are needed, but generations are: one a question, and one more for each cut that is
    tried (`agreement.py`). The promise is a mean agreement of at least `retain`.

    Raises:
        ConfigError: a value is not allowed, there is no question, or no model that answers.
        RemoteError: the generator failed.
    """
    _check(retain, confidence, "absolute", refuse_target=None, pools=(pool,))
    if scorer == "fit":
        raise ConfigError("scorer fit learns from labelled evidence; allowed here: none FILE")
    if rag.configuration()["generator"] == ExtractiveGenerator.name:
        raise ConfigError(
            f"metric {AGREEMENT} compares a model's answers; the extractive generator answers with "
            "the best sentence, which every cut keeps: name a model with --generator"
        )
    used = scorer if isinstance(scorer, Scorer) else open_scorer(scorer)
    found = compare_answers(
        rag,
        dataset,
        retain=retain,
        confidence=confidence,
        scorer=used,
        pool=pool,
        second_hop=second_hop,
        cluster=cluster,
        seed=seed,
        on_progress=on_progress,
    )
    target: dict[str, Json] = {
        "metric": AGREEMENT,
        "mode": "absolute",
        "retain": retain,
        "confidence": confidence,
        "refuse_target": None,
    }
    curve = tuple(tried.point() for tried in reversed(found.tried))
    n = len(found.questions)
    last = found.last
    if last is None:
        first = curve[-1]
        reason = (
            f"even the context cut at {first['keep_above']} is not shown to give a mean agreement "
            f"of {retain}: it was {first['quality']:.3f} on {n} questions"
        )
        return Calibration(
            policy=None, reason=reason, n=n, n_needed=None, curve=curve, target=target
        )
    policy = TrimPolicy(
        name=name,
        pool=pool,
        keep_above=last.cut,
        second_hop=second_hop,
        scorer=used,
        refuse_below=0.0,
    )
    certificate = {
        **target,
        **achieved(found, last),
        "refusal": None,
        "n_tuning": 0,
        "n_fitted_on": 0,
        "n_left_out": 0,
        "cluster": cluster,
        "seed": seed,
        "fingerprints": fingerprints(rag.configuration(), policy, answers=True),
        **_made(rag, dataset),
    }
    return Calibration(
        policy=replace(policy, certificate=Certificate.from_dict(certificate)),
        reason=None, n=n, n_needed=None, curve=curve, target=target,
    )  # fmt: skip


def _as_retrieved(rag: RAG, needs: Sequence[Needs]) -> dict[str, Json]:
    """Return the configuration with the mode that most questions were retrieved by.

    Left to itself a pipeline finds questions in languages that its embedder does not read by words.
    """
    configuration = rag.configuration()
    by_words = 2 * sum(need.by_words for need in needs) > len(needs)
    if configuration["mode"] is None and by_words:
        configuration["mode"] = "lexical"
    return configuration


def _advice(
    rag: RAG, configuration: Mapping[str, Json], needs: Sequence[Needs], cut: float
) -> dict[str, Json]:
    """Return the window that suffices, in tokens of the certificate's counter.

    Advice only: nothing is capped by it. Answers are as long as the references, which a talkative
    model's are not; without references the window is unknown.
    """
    count = rag.counter.count
    answers = [count(text) for need in needs for text in need.question.answers]
    template = cast("int", configuration["template_tokens"])
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


def _check(
    retain: float,
    confidence: float,
    mode: str,
    *,
    refuse_target: float | None,
    pools: Sequence[int],
) -> None:
    for what, value in (("retain", retain), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ConfigError(f"{what} {value}; allowed: more than 0, less than 1")
    if refuse_target is not None and not 0.0 < refuse_target < 1.0:
        raise ConfigError(f"refuse-target {refuse_target}; allowed: more than 0, less than 1")
    if mode not in MODES:
        raise ConfigError(f"mode {mode!r}; allowed: {' '.join(MODES)}")
    if not pools or min(pools) < 1:
        raise ConfigError(f"pool {pools}; allowed: 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    retain: float
    confidence: float
    mode: CalibrationMode
    seed: int


def _default_metric(dataset: Dataset) -> str:
    if any(question.evidence for question in dataset.questions):
        return "EvidenceFound"
    if any(question.answers for question in dataset.questions):
        return "AnswerInContext"
    return "DocumentRecall"


def _unseen(
    rag: RAG, questions: Sequence[Question], scorers: Sequence[Scorer], cluster: str
) -> list[Question]:
    """Return the questions that no scorer was fitted on, nor on their documents.

    Where questions do not stand for their documents only the questions themselves count.
    """
    known = frozenset(digest for scorer in scorers for digest in scorer.fitted_on)
    documents = document_digests(rag) if known else {}
    unseen: list[Question] = []
    for question in questions:
        text, about = digests_of(question, documents)
        if text not in known and not (cluster == "document" and about & known):
            unseen.append(question)
    if not unseen:
        raise ConfigError(
            f"the scorer was fitted on the documents of all {len(questions)} questions, so they "
            "cannot certify it; use other labels, or --scorer none or fit"
        )
    return unseen


def measurable(dataset: Dataset, measure: str) -> list[Question]:
    """Return the answerable questions that a measure says something about; raises `ConfigError`."""
    measure, quality = quality_measure(measure)
    questions = [q for q in dataset.questions if not q.unanswerable and quality(q, ()) is not None]
    if not questions:
        raise ConfigError(f"no question of {dataset.name} has what {measure} needs")
    return questions


def measure_needs(
    rag: RAG,
    questions: Sequence[Question],
    *,
    quality: Quality,
    scorer: Scorer | None,
    pool: int,
    second_hop: float = 0.0,
    cluster: str = "document",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Needs]:
    """Return what each question needs of a pool; arguments as in `calibrate`."""
    policy = TrimPolicy(name="asked", pool=pool, scorer=scorer, second_hop=second_hop)
    gold = Gold(rag)
    found: list[Needs] = []
    for i, question in enumerate(questions):
        words, chunks = rag.pool(question.text, k=max(pool, BASELINE_HITS))
        whole = whole_chunks(chunks[:BASELINE_HITS])
        ranking = rank(words, chunks[:pool], policy)
        passages = ranked_passages(ranking, rag.counter)
        need = Needs(
            question=question,
            cluster=question.cluster(cluster),
            ranks=tuple(sentence.relative_score for sentence in ranking.sentences),
            totals=tuple(accumulate(passage.n_tokens or 0 for passage in passages)),
            quality=(),
            lowest=float("-inf"),
            full=quality(question, gold.with_repeats(question, whole)) or 0.0,
            full_tokens=sum(p.n_tokens or 0 for p in whole),
            evidence=ranking.support,
            by_words=all(chunk.cosines is None for chunk in chunks),
        )
        found.append(_with_quality(need, gold.with_repeats(question, passages), quality))
        if on_progress is not None:
            on_progress(i + 1, len(questions))
    return found


def _with_quality(need: Needs, passages: Sequence[Passage], quality: Quality) -> Needs:
    known: dict[int, float] = {}

    def at(n: int) -> float:
        if n not in known:
            known[n] = quality(need.question, passages[:n]) or 0.0
        return known[n]

    lowest = float("-inf")
    if passages and at(len(passages)) == 1.0:
        n = 1 + bisect_left(range(1, len(passages) + 1), True, key=lambda n: at(n) == 1.0)
        lowest = need.ranks[n - 1] if n > 1 else float("inf")
    return replace(need, lowest=lowest, quality=tuple(at(need.n_kept(cut)) for cut in CUTS))


def _split(
    questions: Sequence[Question], cluster: str, seed: int, *, fit: bool, several: bool
) -> tuple[list[Question], list[Question]]:
    """Return the questions that tune and those that certify: no document does both."""
    if not fit and not several:
        return [], list(questions)
    sizes = Counter(question.cluster(cluster) for question in questions)
    order = sorted(sizes, key=lambda name: _hash(name, seed))
    chosen: set[str] = set()
    if fit:
        wanted = min(FIT_QUESTIONS, len(questions) // 2)
        for name in order:
            if sum(min(sizes[c], MOST_PER_DOCUMENT) for c in chosen) >= wanted:
                break
            chosen.add(name)
    if several:
        chosen |= {name for name in order if _hash(name, seed) % TUNED_SHARE == 0}
    tuning = [q for q in questions if q.cluster(cluster) in chosen]
    return tuning, [q for q in questions if q.cluster(cluster) not in chosen]


def _hash(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:8], "big")


def _estimated_tokens(needs: Sequence[Needs], retain: float) -> float:
    """Return the mean tokens that would keep the share on these very questions."""
    answered = [need for need in needs if need.full == 1.0]
    if not answered:
        return float("inf")
    cut = quantile([need.lowest for need in answered], 1.0 - retain)
    if cut == float("-inf"):
        return float("inf")
    return _mean_tokens(needs, cut)


def _cut(needs: Sequence[Needs], goal: _Goal) -> OrderStatistic:
    """Return the highest certified cut, negated."""
    all_or_nothing = all(need.full in {0.0, 1.0} for need in needs)
    if goal.mode == "strict":
        needs = [need for need in needs if need.full == 1.0]
    if goal.mode == "strict" or (goal.mode == "absolute" and all_or_nothing):
        return certify_limit(
            [-need.lowest for need in needs],
            [need.cluster for need in needs],
            share=1.0 - goal.retain,
            confidence=goal.confidence,
        )
    return _by_betting(needs, goal)


def _by_betting(needs: Sequence[Needs], goal: _Goal) -> OrderStatistic:
    clusters = [need.cluster for need in needs]

    def passes(i: int) -> bool:
        if goal.mode == "ratio":
            # Z = retain x full - kept in [-1, retain]; its mean must not be above 0.
            losses = [
                (goal.retain * need.full - need.quality[i] + 1.0) / (1.0 + goal.retain)
                for need in needs
            ]
            bound = 1.0 / (1.0 + goal.retain)
        else:
            losses = [1.0 - need.quality[i] for need in needs]
            bound = 1.0 - goal.retain
        return mean_is_below(
            document_means(losses, clusters), bound, confidence=goal.confidence, seed=goal.seed
        )

    last = fixed_sequence(passes, len(CUTS))
    n_documents = len(set(clusters))
    reason = None
    if last is None:
        reason = (
            f"even all but the worst sentences (cut at {CUTS[0]:g}) are not shown to keep the "
            f"target on {len(needs)} questions of {n_documents} documents"
        )
    return OrderStatistic(
        limit=None if last is None else -CUTS[last],
        n=len(needs),
        n_effective=float(n_documents),
        n_documents=n_documents,
        failures=0 if last is None else sum(
            need.quality[last] < goal.retain * need.full for need in needs
        ),
        n_needed=None,
        reason=reason,
    )  # fmt: skip


def _refusal(needs: Sequence[Needs], share: float, goal: _Goal) -> OrderStatistic:
    """Return the refusal threshold, negated: at most `share` of the questions have less."""
    return certify_limit(
        [float("inf") if need.evidence is None else -need.evidence for need in needs],
        [need.cluster for need in needs],
        share=share,
        confidence=goal.confidence,
    )


def _refusal_facts(
    refusal: OrderStatistic | None, rag: RAG, dataset: Dataset, policy: TrimPolicy
) -> Json:
    if refusal is None:
        return None
    unanswerable = [q for q in dataset.questions if q.unanswerable]
    refused = 0
    for question in unanswerable:
        words, pool = rag.pool(question.text, k=policy.pool)
        evidence = support_score(words, pool)
        refused += evidence is None or evidence < policy.refuse_below
    return {
        "threshold": policy.refuse_below,
        "n_answerable": refusal.n,
        "answerable_refused": refusal.failures,
        "n_unanswerable": len(unanswerable),
        "unanswerable_refused": refused,
    }


def _achieved(
    needs: Sequence[Needs], cut: float, found: OrderStatistic, goal: _Goal
) -> dict[str, Json]:
    answered = [need for need in needs if need.full == 1.0] if goal.mode == "strict" else needs
    kept = [_quality_at(need, cut) for need in answered]
    full = sum(need.full for need in answered)
    share = sum(kept) / (len(kept) if goal.mode == "absolute" else full) if full else None
    return {
        "n": found.n,
        "n_effective": found.n_effective,
        "documents": found.n_documents,
        "failures": found.failures,
        "achieved": share,
        "expected_tokens": _mean_tokens(needs, cut),
        "largest_tokens": max(need.tokens(cut) for need in needs),
        "untrimmed_tokens": sum(need.full_tokens for need in needs) / len(needs),
        "chain": [
            {"keep_above": c, "expected_tokens": _mean_tokens(needs, c)} for c in CUTS if c < cut
        ],
    }


def _mean_tokens(needs: Sequence[Needs], cut: float) -> float:
    return sum(need.tokens(cut) for need in needs) / len(needs)


def _quality_at(need: Needs, cut: float) -> float:
    if need.lowest >= cut:
        return 1.0
    return max((q for c, q in zip(CUTS, need.quality, strict=True) if c >= cut), default=0.0)


def _curve(needs: Sequence[Needs]) -> tuple[Mapping[str, Json], ...]:
    full = sum(need.full for need in needs)
    return tuple(
        {
            "keep_above": cut,
            "tokens": _mean_tokens(needs, cut),
            "quality": sum(need.quality[i] for need in needs) / len(needs),
            "retained": sum(need.quality[i] for need in needs) / full if full else None,
        }
        for i, cut in reversed(list(enumerate(CUTS)))
    )


def write_policy(calibration: Calibration) -> str:
    """Return the content of the trim policy file.

    Raises:
        ConfigError: nothing was certified.
    """
    if calibration.policy is None:
        raise ConfigError(f"there is no policy to write: {calibration.reason}")
    return json.dumps(calibration.policy.to_dict(), indent=2, ensure_ascii=False) + "\n"
