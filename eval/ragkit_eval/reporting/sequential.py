"""The gate read document by document, in a random order, until its verdict is known.

Each check is turned into a surplus of every question, whose mean is 0 at the limit: the value less
the floor, or the gain plus the loss that is allowed. One wager (`stats.betting`) is staked on its
mean's being above 0, another on its being below; the document is the step, since questions about
one document are correlated. By Ville's inequality each is wrong with a chance of at most alpha,
however often one looks. All checks must have passed for the gate to pass, which needs no
correction; for any of them to fail it, each has its share of alpha (Bonferroni).

That is about `new` questions. Where only this `run` is asked about, what reading all of it would
say, its questions are a finite list: drawn from it at random each of them is a step, whatever
document it is about, and what is left must make up for what was seen.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from ragkit.errors import ConfigError
from ragkit_eval.reporting.comparison import finite
from ragkit_eval.reporting.gate import (
    STATISTICS,
    Check,
    Gate,
    GateResult,
    Rule,
    Sequential,
    Verdict,
    in_slice,
)
from ragkit_eval.running.finished import Run, Score
from ragkit_eval.stats.betting import STAKE, Wager
from ragkit_eval.stats.certificates import kept_questions

Scope: TypeAlias = Literal["new", "run"]
"""What a verdict is about: questions to come, or those of the run alone."""

Surplus = Callable[[Score], float | None]
"""By how much a question is inside the limit; None where the measure says nothing of it."""

_ROUNDING = 1e-9
"""Sums are as exact as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One check: what is inside its limit, and the bounds of a question's surplus.

    `reach` is the surplus of documents with which one would be content: all is right, or nothing
    has changed.
    """

    rule: Rule
    kind: str
    limit: float
    surplus: Surplus
    least: float
    most: float
    reach: float


class _Watch:
    """One check as documents come in, or where it is about a list of `size`, questions."""

    def __init__(
        self,
        asked: _Asked,
        *,
        largest: int,
        alpha: float,
        n_checks: int,
        size: int | None = None,
    ) -> None:
        self.asked = asked
        self._largest = largest
        self._alpha = alpha
        self._fail_alpha = alpha / n_checks
        self._size = size
        self._inside = Wager(asked.least, size=size)
        self._outside = Wager(-asked.most, size=size)
        self._n, self._total = 0, 0.0
        self.verdict: Verdict = "inconclusive"

    def add(self, scores: Sequence[Score]) -> None:
        """Take in a document's questions."""
        values = [
            value
            for score in scores
            if in_slice(score, self.asked.rule.slice)
            and (value := self.asked.surplus(score)) is not None
        ]
        self._n += len(values)
        self._total += math.fsum(values)
        if self.verdict != "inconclusive" or not values:
            return
        # A document counts by its questions; over the largest one, so that the bounds hold.
        step = math.fsum(values) / self._largest
        self._inside.add(step)
        self._outside.add(-step)
        if self._inside.has_won(self._alpha):
            self.verdict = "pass"
        elif self._outside.has_won(self._fail_alpha):
            self.verdict = "fail"
        elif self._n == self._size:
            self.verdict = "pass" if self._total >= -_ROUNDING * self._n else "fail"

    def check(self) -> Check:
        """Return what was seen."""
        asked = self.asked
        mean = self._total / self._n if self._n else None
        shown = "unknown" if mean is None else f"{mean:+.4g}"
        detail = (
            f"{asked.kind} {asked.limit:.4g}: mean distance inside it {shown}, n {self._n}, "
            f"p {self._inside.p_value:.3g} for inside, {self._outside.p_value:.3g} for outside"
        )
        if self.verdict == "inconclusive":
            needed = fewest_documents(asked.least, asked.reach, self._alpha)
            ideal = "nothing changed" if asked.kind == "margin" else "all values were ideal"
            shown = "no number of documents" if needed is None else f"{needed:,} documents"
            detail += f"; it would take {shown} to pass if {ideal}"
        return Check(
            name=asked.rule.name, kind=asked.kind, verdict=self.verdict, detail=detail,
            limit=asked.limit, value=mean, n=self._n,
        )  # fmt: skip


def fewest_documents(least: float, reach: float, alpha: float) -> int | None:
    """Return how many documents with a surplus of `reach` show a mean above 0; None: none do."""
    if reach <= 0.0:
        return None
    return math.ceil(-math.log(alpha) / math.log1p(STAKE * reach / -least))


def document_order(names: Sequence[str], seed: int) -> list[str]:
    """Return the documents in the order that a seed gives, however they come."""
    order = sorted(set(names))
    random.Random(seed).shuffle(order)  # noqa: S311 (a documented, repeatable draw)
    return order


def judge_sequentially(
    gate: Gate, run: Run, *, baseline: Run | None = None, scope: Scope = "new"
) -> GateResult:
    """Return the verdict of a gate that stops at the first document after which it is known.

    The documents come in an order that the gate's seed fixes.

    Args:
        gate: The rules. A measure that is no share needs `most` for its mean.
        run: The candidate.
        baseline: The run with which margins compare.
        scope: What the verdict is about: `new` questions like these, or what reading all of this
            `run` would say. Then the questions come one by one, far fewer of them are read, and
            where all are, the verdict is known.

    Raises:
        ConfigError: a rule has a margin and there is no baseline, or a measure no upper bound.
    """
    gate.check_baseline(baseline)
    checks = gate.sound(run, baseline)
    seed = gate.seed
    if checks or not run.scores:
        facts = _facts(run, seed, scope, used=())
        return gate.result(run, baseline, checks, sequential=facts)
    kept: Sequence[Score] = run.scores
    if scope == "new":
        kept = [kept[i] for i in kept_questions([s.cluster for s in kept], seed)]
    watches = watch(gate, run, baseline, kept, scope=scope)
    steps: dict[str, list[Score]] = {}
    for score in kept:
        steps.setdefault(score.cluster if scope == "new" else score.id, []).append(score)
    used: list[Score] = []
    for name in document_order(list(steps), seed):
        used += steps[name]
        for one in watches:
            one.add(steps[name])
        if is_decided(watches):
            break
    facts = _facts(run, seed, scope, used=used, n_kept=len(kept))
    return gate.result(run, baseline, [one.check() for one in watches], sequential=facts)


def is_decided(watches: Sequence[_Watch]) -> bool:
    """Whether the gate's verdict is known."""
    verdicts = {one.verdict for one in watches}
    return "fail" in verdicts or verdicts == {"pass"}


def watch(
    gate: Gate, run: Run, baseline: Run | None, kept: Sequence[Score], *, scope: Scope = "new"
) -> list[_Watch]:
    """Return the checks of a gate, ready for documents, or for the questions of the run."""
    asked = [one for rule in gate.rules for one in _asked(rule, run, baseline)]
    watches: list[_Watch] = []
    for one in asked:
        chosen = [s for s in kept if in_slice(s, one.rule.slice)]
        sizes = Counter(s.cluster for s in chosen)
        is_list = scope == "run"
        watches.append(
            _Watch(
                one,
                largest=1 if is_list else max(sizes.values(), default=1),
                alpha=gate.alpha,
                n_checks=len(asked),
                size=sum(one.surplus(s) is not None for s in chosen) if is_list else None,
            )
        )
    return watches


def _facts(
    run: Run, seed: int, scope: Scope, *, used: Sequence[Score], n_kept: int = 0
) -> Sequential:
    return Sequential(
        scope=scope,
        seed=seed,
        n=len(run.scores),
        n_used=len(used),
        n_documents=len({score.cluster for score in run.scores}),
        n_documents_used=len({score.cluster for score in used}),
        stopped_early=len(used) < n_kept,
    )


def limits(rule: Rule, run: Run, baseline: Run | None) -> list[tuple[str, float, Surplus]]:
    """Return kind, limit and surplus of each check of a rule."""
    found: list[tuple[str, float, Surplus]] = []
    for kind, limit in (("floor", rule.floor), ("ceiling", rule.ceiling)):
        if limit is not None:
            share = STATISTICS[rule.statistic]
            surplus = _of_mean if share is None else partial(_of_quantile, share=share)
            found.append((kind, limit, partial(surplus, rule=rule, kind=kind, limit=limit)))
    if rule.margin is not None and baseline is not None:
        old = {score.id: score for score in baseline.scores}
        sign = _sign(rule, run)
        found.append(("margin", rule.margin, partial(_of_margin, rule=rule, old=old, sign=sign)))
    return found


def _sign(rule: Rule, run: Run) -> float:
    return 1.0 if run.measure(rule.measure)["direction"] == "higher" else -1.0


def _of_mean(score: Score, *, rule: Rule, kind: str, limit: float) -> float | None:
    value = finite(score, rule.measure)
    if value is None:
        return None
    return value - limit if kind == "floor" else limit - value


def _of_quantile(
    score: Score, *, rule: Rule, kind: str, limit: float, share: float
) -> float | None:
    """A quantile is inside its limit where enough of the questions are."""
    value = finite(score, rule.measure)
    if value is None:
        return None
    return float(value <= limit if kind == "ceiling" else value >= limit) - _wanted(kind, share)


def _wanted(kind: str, share: float) -> float:
    return share if kind == "ceiling" else 1.0 - share


def _of_margin(score: Score, *, rule: Rule, old: Mapping[str, Score], sign: float) -> float | None:
    value = finite(score, rule.measure)
    before = finite(old[score.id], rule.measure) if score.id in old else None
    if value is None or before is None or rule.margin is None:
        return None
    return sign * (value - before) + rule.margin * (before if rule.margin_is_share else 1.0)


def _asked(rule: Rule, run: Run, baseline: Run | None) -> list[_Asked]:
    asked: list[_Asked] = []
    for kind, limit, surplus in limits(rule, run, baseline):
        least, most, reach = _bounds(rule, kind, limit, run, baseline)
        asked.append(
            _Asked(
                rule=rule, kind=kind, limit=limit, surplus=surplus, least=least, most=most,
                reach=reach,
            )
        )  # fmt: skip
    return asked


def _bounds(
    rule: Rule, kind: str, limit: float, run: Run, baseline: Run | None
) -> tuple[float, float, float]:
    """Return the smallest and the largest surplus, and the one to be content with."""
    share = STATISTICS[rule.statistic]
    if kind != "margin" and share is not None:
        wanted = _wanted(kind, share)
        return -wanted, 1.0 - wanted, 1.0 - wanted
    most = _largest(rule, run, baseline)
    if kind == "margin":
        return _margin_bounds(rule, limit, most, run, baseline)
    if not 0.0 < limit < most:
        raise ConfigError(
            f"{rule.name}: {kind} {limit:g}; betting allows more than 0, less than {most:g}"
        )
    return (-limit, most - limit, most - limit) if kind == "floor" else (limit - most, limit, limit)


def _margin_bounds(
    rule: Rule, margin: float, most: float, run: Run, baseline: Run | None
) -> tuple[float, float, float]:
    """Return the bounds of a gain between -most and most, and what is allowed to be lost."""
    least, largest, allowed = margin - most, margin + most, margin
    if rule.margin_is_share:
        before = [] if baseline is None else _values(rule, baseline)
        allowed = margin * math.fsum(before) / len(before) if before else margin
        is_gain = _sign(rule, run) > 0.0
        least = -most * (1.0 - margin) if is_gain else -most
        largest = most if is_gain else most * (1.0 + margin)
    if not least < 0.0:
        raise ConfigError(f"{rule.name}: a margin of {margin:g} allows everything")
    return least, largest, allowed


def _largest(rule: Rule, run: Run, baseline: Run | None) -> float:
    """Return the largest value that a measure can have; raises `ConfigError` for larger ones."""
    most = rule.most
    if most is None:
        if "p95" in run.measure(rule.measure):
            raise ConfigError(
                f"{rule.measure} is no share: betting on its mean needs the largest value that it "
                'can have, most = NUMBER in its table (or a limit with statistic = "p95")'
            )
        most = 1.0
    for checked in (run, baseline):
        for value in () if checked is None else _values(rule, checked):
            if not 0.0 <= value <= most:
                raise ConfigError(f"{rule.name} is {value:g}; most allows 0 to {most:g}")
    return most


def _values(rule: Rule, run: Run) -> list[float]:
    found = (finite(score, rule.measure) for score in run.scores if in_slice(score, rule.slice))
    return [value for value in found if value is not None]
