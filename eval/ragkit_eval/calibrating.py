"""The smallest trim policy that labelled questions certify.

For one pool the sentences are kept from the best down, so each question has one number: the
fewest tokens at which it still succeeds. The certified budget is an order statistic of these
numbers (`ragkit_eval.certificates`); where quality is a share, budgets are tested one after the
other from the safest on.
"""

from __future__ import annotations

import hashlib
import json
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, TypeAlias, cast

from ragkit import __version__
from ragkit.errors import ConfigError
from ragkit.pipeline import RAG
from ragkit.pipeline.certified import fingerprints
from ragkit.pipeline.components import BUILTIN_POLICY
from ragkit.trimming import BASELINE_HITS, TrimPolicy, rank_sentences, trim
from ragkit.types import Json
from ragkit_eval.certificates import (
    OrderStatistic,
    certify_limit,
    document_means,
    fixed_sequence,
    kept_questions,
    mean_is_below,
)
from ragkit_eval.datasets import Dataset, Question
from ragkit_eval.inference import quantile
from ragkit_eval.pipelines import Gold
from ragkit_eval.rows import Passage
from ragkit_eval.sweep import Quality, passage_of, quality_measure

CalibrationMode: TypeAlias = Literal["strict", "ratio", "absolute"]
MODES: tuple[CalibrationMode, ...] = ("strict", "ratio", "absolute")
TUNED_SHARE = 3
"""One document in so many chooses among pools; the others certify."""

BUDGETS = tuple(round(4000 / 1.12**i) for i in range(48))
"""Budgets of the fixed sequence, safest first: 4,000 tokens down to 20, in steps of 12 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one question needs of one pool.

    `totals` are the tokens of the best sentence, the best two, and so on; `quality` is that of
    each budget of `BUDGETS`; `fewest` the tokens at which all evidence is held, infinite where the
    pool does not hold it. `full` is the quality of the untrimmed top 5 and `full_tokens` its size.
    """

    question: Question
    cluster: str
    totals: tuple[int, ...]
    quality: tuple[float, ...]
    fewest: float
    full: float
    full_tokens: int
    evidence: float | None
    by_words: bool

    def tokens(self, budget: float) -> int:
        """Return the tokens that a budget keeps."""
        return self.totals[max(1, bisect_right(self.totals, budget)) - 1] if self.totals else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A policy with its certificate, or why there is none.

    `to_dict` is the JSON of `ragkit calibrate`; `policy_file` the content of the trim policy file.
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
    cluster: str = "document",
    name: str = "certified",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Find the smallest budget that the labels certify.

    Args:
        rag: The pipeline that the policy is for; its chunker, embedder, template and token counter
            become part of the certificate.
        dataset: Labelled questions like those of production.
        retain: The promise: the share of questions that keep what the untrimmed top 5 gives them
            (`strict`), the share of its mean quality (`ratio`), or the quality itself (`absolute`).
        confidence: Of the promise.
        mode: What is promised.
        metric: A measure of `ragkit_eval.sweep.MEASURES`; None takes `EvidenceFound` where there
            is evidence, else what the labels allow.
        refuse_target: The share of answerable questions that may be refused; half of the risk goes
            to this promise then. None sets no refusal threshold.
        pools: Depths that are tried; of several one is chosen on a third of the documents, and the
            others certify.
        cluster: What questions depend on together.
        name: Of the policy.
        seed: Of the draws that are stored in the certificate.
        on_progress: Called with questions done and their number.

    Raises:
        ConfigError: a value is not allowed, or no question can be measured.
    """
    _check(retain, confidence, mode, refuse_target=refuse_target, pools=pools)
    measure, _ = quality_measure(metric or _default_metric(dataset))
    measured = measure_needs(
        rag, dataset, metric=metric, pools=pools, cluster=cluster, on_progress=on_progress
    )
    tuning, certifying = _split(measured[pools[0]], pools, seed)
    pool = pools[0]
    if len(pools) > 1:
        chosen = {p: [measured[p][i] for i in tuning] for p in pools}
        pool = min(pools, key=lambda p: (_estimated_tokens(chosen[p], retain), p))
    needs = [measured[pool][i] for i in certifying]
    kept = kept_questions([need.cluster for need in needs], seed)
    needs = [needs[i] for i in kept]
    goal = _Goal(
        retain=retain,
        confidence=confidence if refuse_target is None else 1.0 - (1.0 - confidence) / 2.0,
        mode=mode,
        seed=seed,
    )
    found = _budget(needs, goal)
    target: dict[str, Json] = {
        "metric": measure,
        "mode": mode,
        "retain": retain,
        "confidence": confidence,
        "refuse_target": refuse_target,
    }
    curve = _curve(needs)
    if found.limit is None:
        return Calibration(
            policy=None, reason=found.reason, n=found.n, n_needed=found.n_needed, curve=curve,
            target=target,
        )  # fmt: skip
    refusal = None
    if refuse_target is not None:
        refusal = _refusal(needs, refuse_target, goal)
        if refusal.limit is None:
            reason = f"refusal threshold: {refusal.reason}"
            return Calibration(
                policy=None, reason=reason, n=refusal.n, n_needed=refusal.n_needed, curve=curve,
                target=target,
            )  # fmt: skip
    budget = max(1, round(found.limit))
    policy = replace(
        BUILTIN_POLICY,
        name=name,
        pool=pool,
        budget_tokens=budget,
        budget_share=None,
        refuse_below=0.0 if refusal is None else max(0.0, -cast("float", refusal.limit)),
    )
    configuration = _as_retrieved(rag, needs)
    certificate = {
        **target,
        **_achieved(needs, budget, found, goal),
        "refusal": _refusal_facts(refusal, rag, dataset, policy),
        "dataset": {"name": dataset.name, "split": dataset.split, "sha256": dataset.sha256},
        "n_tuning": len(tuning) if len(pools) > 1 else 0,
        "n_left_out": len(certifying) - len(kept),
        "cluster": cluster,
        "seed": seed,
        "fingerprints": fingerprints(configuration, policy),
        "corpus": rag.corpus_sketch(),
        "ragkit": __version__,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return Calibration(
        policy=replace(policy, certificate=certificate),
        reason=None,
        n=found.n,
        n_needed=None,
        curve=curve,
        target=target,
        advice=_advice(rag, configuration, needs, budget),
    )


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
    rag: RAG, configuration: Mapping[str, Json], needs: Sequence[Needs], budget: int
) -> dict[str, Json]:
    """Return the window that suffices, in tokens of the certificate's counter.

    Advice only: nothing is capped by it. Answers are as long as the references, which a talkative
    model's are not; without references the window is unknown.
    """
    count = rag.counter.count
    answers = [count(text) for need in needs for text in need.question.answers]
    template = cast("int", configuration["template_tokens"])
    context = max(need.tokens(budget) for need in needs)
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


def measure_needs(
    rag: RAG,
    dataset: Dataset,
    *,
    metric: str | None,
    pools: Sequence[int],
    cluster: str = "document",
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[int, list[Needs]]:
    """Return what each answerable question needs of each pool; arguments as in `calibrate`."""
    measure, quality = quality_measure(metric or _default_metric(dataset))
    questions = [q for q in dataset.questions if not q.unanswerable and quality(q, ()) is not None]
    if not questions:
        raise ConfigError(f"no question of {dataset.name} has what {measure} needs")
    found: dict[int, list[Needs]] = {pool: [] for pool in pools}
    gold = Gold(rag)
    for i, question in enumerate(questions):
        words, pool = rag.pool(question.text, k=max(*pools, BASELINE_HITS))
        whole = [
            passage_of(e.hit, e.hit.chunk.start, e.hit.chunk.end, e.hit.chunk.n_tokens)
            for e in pool[:BASELINE_HITS]
        ]
        full = quality(question, gold.with_repeats(question, whole)) or 0.0
        for depth in pools:
            policy = replace(BUILTIN_POLICY, pool=depth)
            ranked = rank_sentences(words, pool[:depth], policy=policy, counter=rag.counter)
            passages = gold.with_repeats(
                question, [passage_of(hit, s.start, s.end, s.n_tokens) for hit, s in ranked]
            )
            least = trim(words, pool[:depth], policy=policy, counter=rag.counter, level=0.0)
            found[depth].append(
                _needs(
                    question,
                    passages,
                    quality,
                    cluster=question.cluster(cluster),
                    full=full,
                    full_tokens=sum(p.n_tokens or 0 for p in whole),
                    evidence=least.evidence,
                    by_words=all(chunk.cosines is None for chunk in pool),
                )
            )
        if on_progress is not None:
            on_progress(i + 1, len(questions))
    return found


def _needs(
    question: Question,
    passages: Sequence[Passage],
    quality: Quality,
    *,
    cluster: str,
    full: float,
    full_tokens: int,
    evidence: float | None,
    by_words: bool,
) -> Needs:
    totals = tuple(accumulate(passage.n_tokens or 0 for passage in passages))
    known: dict[int, float] = {}

    def at(n: int) -> float:
        if n not in known:
            known[n] = quality(question, passages[:n]) or 0.0
        return known[n]

    fewest = float("inf")
    if passages and at(len(passages)) == 1.0:
        n = 1 + bisect_left(range(1, len(passages) + 1), True, key=lambda n: at(n) == 1.0)
        # The best sentence is kept under any budget, so it needs none.
        fewest = float(totals[n - 1]) if n > 1 else 1.0
    sizes = [max(1, bisect_right(totals, budget)) if totals else 0 for budget in BUDGETS]
    return Needs(
        question=question,
        cluster=cluster,
        totals=totals,
        quality=tuple(at(n) for n in sizes),
        fewest=fewest,
        full=full,
        full_tokens=full_tokens,
        evidence=evidence,
        by_words=by_words,
    )


def _split(needs: Sequence[Needs], pools: Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Return the questions that tune and those that certify: no document does both."""
    everything = list(range(len(needs)))
    if len(pools) == 1:
        return [], everything
    tuning = [i for i in everything if _hash(needs[i].cluster, seed) % TUNED_SHARE == 0]
    chosen = set(tuning)
    return tuning, [i for i in everything if i not in chosen]


def _hash(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:8], "big")


def _estimated_tokens(needs: Sequence[Needs], retain: float) -> float:
    """Return the mean tokens that would keep the share on these very questions."""
    answered = [need for need in needs if need.full == 1.0]
    if not answered:
        return float("inf")
    limit = quantile([need.fewest for need in answered], retain)
    if limit == float("inf"):
        return limit
    return sum(need.tokens(limit) for need in needs) / len(needs)


def _budget(needs: Sequence[Needs], goal: _Goal) -> OrderStatistic:
    """Return the smallest certified budget."""
    all_or_nothing = all(need.full in {0.0, 1.0} for need in needs)
    if goal.mode == "strict":
        needs = [need for need in needs if need.full == 1.0]
    if goal.mode == "strict" or (goal.mode == "absolute" and all_or_nothing):
        return certify_limit(
            [need.fewest for need in needs],
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

    last = fixed_sequence(passes, len(BUDGETS))
    n_documents = len(set(clusters))
    reason = None
    if last is None:
        reason = (
            f"even {BUDGETS[0]} tokens are not shown to keep the target on {len(needs)} questions "
            f"of {n_documents} documents"
        )
    return OrderStatistic(
        limit=None if last is None else float(BUDGETS[last]),
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
        evidence = trim(words, pool, policy=policy, counter=rag.counter, level=0.0).evidence
        refused += evidence is None or evidence < policy.refuse_below
    return {
        "threshold": policy.refuse_below,
        "n_answerable": refusal.n,
        "answerable_refused": refusal.failures,
        "n_unanswerable": len(unanswerable),
        "unanswerable_refused": refused,
    }


def _achieved(
    needs: Sequence[Needs], budget: int, found: OrderStatistic, goal: _Goal
) -> dict[str, Json]:
    answered = [need for need in needs if need.full == 1.0] if goal.mode == "strict" else needs
    kept = [_quality_at(need, budget) for need in answered]
    full = sum(need.full for need in answered)
    share = sum(kept) / (len(kept) if goal.mode == "absolute" else full) if full else None
    return {
        "n": found.n,
        "n_effective": found.n_effective,
        "documents": found.n_documents,
        "failures": found.failures,
        "achieved": share,
        "expected_tokens": sum(need.tokens(budget) for need in needs) / len(needs),
        "largest_tokens": max(need.tokens(budget) for need in needs),
        "untrimmed_tokens": sum(need.full_tokens for need in needs) / len(needs),
        "chain": [
            {
                "budget_tokens": b,
                "expected_tokens": sum(need.tokens(b) for need in needs) / len(needs),
            }
            for b in BUDGETS
            if b > budget
        ],
    }


def _quality_at(need: Needs, budget: float) -> float:
    if need.fewest <= budget:
        return 1.0
    smaller = [q for b, q in zip(BUDGETS, need.quality, strict=True) if b <= budget]
    return smaller[0] if smaller else need.quality[-1]


def _curve(needs: Sequence[Needs]) -> tuple[Mapping[str, Json], ...]:
    full = sum(need.full for need in needs)
    return tuple(
        {
            "budget_tokens": budget,
            "tokens": sum(need.tokens(budget) for need in needs) / len(needs),
            "quality": sum(need.quality[i] for need in needs) / len(needs),
            "retained": sum(need.quality[i] for need in needs) / full if full else None,
        }
        for i, budget in reversed(list(enumerate(BUDGETS)))
    )


def write_policy(calibration: Calibration) -> str:
    """Return the content of the trim policy file.

    Raises:
        ConfigError: nothing was certified.
    """
    if calibration.policy is None:
        raise ConfigError(f"there is no policy to write: {calibration.reason}")
    return json.dumps(calibration.policy.to_dict(), indent=2, ensure_ascii=False) + "\n"
