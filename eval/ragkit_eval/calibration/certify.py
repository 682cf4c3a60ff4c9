"""What is to be guaranteed, and the least that the labels show to keep it: a cut, or k chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ragkit.errors import ConfigError
from ragkit.trimming import BASELINE_HITS
from ragkit.types import Json
from ragkit_eval.calibration.needs import CUTS, Needs
from ragkit_eval.calibration.untrimmed import Whole
from ragkit_eval.stats.certificates import (
    LEAST_DOCUMENTS,
    OrderStatistic,
    binomial_tail,
    certify_limit,
    document_means,
    fixed_sequence,
    marginal_limit,
    mean_is_below,
)

CalibrationMode: TypeAlias = Literal["strict", "ratio", "absolute", "conformal"]
MODES: tuple[CalibrationMode, ...] = ("strict", "ratio", "absolute", "conformal")

UNTRIMMED_RISK = 0.05
"""Share of the permitted risk that goes to untrimmed chunks, so that the cheaper may be chosen."""

MOST_REPEATED = 64
"""Labels that more of their kind would not make enough within this factor are not called few."""

_ROUNDING = 1e-9
"""Products are as exact as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The guarantee that is asked for; the fields are those of `calibrate`."""

    metric: str
    mode: CalibrationMode
    retain: float
    confidence: float
    refuse_target: float | None

    def __post_init__(self) -> None:
        """Check the ranges; raises `ConfigError`."""
        for what, value in (("retain", self.retain), ("confidence", self.confidence)):
            if not 0.0 < value < 1.0:
                raise ConfigError(f"{what} {value}; allowed: more than 0, less than 1")
        target = self.refuse_target
        if target is not None and not 0.0 < target < 1.0:
            raise ConfigError(f"refuse-target {target}; allowed: more than 0, less than 1")
        if self.mode not in MODES:
            raise ConfigError(f"mode {self.mode!r}; allowed: {' '.join(MODES)}")
        if self.is_marginal and target is not None:
            raise ConfigError("refuse-target needs a confidence, which mode conformal has not")

    @property
    def is_marginal(self) -> bool:
        """Whether it is to hold on average over sets of labels only, without a confidence."""
        return self.mode == "conformal"

    @property
    def risk_of_each(self) -> float:
        """The risk of each guarantee: context and refusals share it where there are two."""
        risk = 1.0 - self.confidence
        return risk if self.refuse_target is None else risk / 2.0

    def confidences(self, n: int) -> tuple[float, float | None]:
        """Return the confidences of the cut and of untrimmed chunks, for n labelled questions.

        The cut takes all of the risk, and fewer than the baseline's chunks do not compete, where n
        would suffice for the one only.
        """
        risk, share = self.risk_of_each, 1.0 - self.retain
        of_cut = (1.0 - UNTRIMMED_RISK) * risk
        if binomial_tail(0, n, share) > of_cut:
            return 1.0 - risk, None
        return 1.0 - of_cut, 1.0 - UNTRIMMED_RISK * risk

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "metric": self.metric,
            "mode": self.mode,
            "retain": self.retain,
            "confidence": None if self.is_marginal else self.confidence,
            "refuse_target": self.refuse_target,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The highest certified threshold, `above`; None where none is, for this `reason`.

    `failures` of `n` questions lose something by it; `n_effective` counts questions of one document
    for less than one each. `n_needed` labelled questions of this kind would do, with those that the
    goal is not about; None where no number does.
    """

    above: float | None
    n: int
    n_effective: float
    n_documents: int
    failures: int
    n_needed: int | None = None
    reason: str | None = None


def highest_cut(
    lowest: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    share: float,
    confidence: float | Callable[[int], float],
) -> Cut:
    """Return the highest threshold that takes something from at most `share` of new questions.

    Args:
        lowest: The highest threshold that leaves each question all it needs: infinity where any
            does, minus infinity where none does.
        clusters: The document of each question.
        share: In (0, 1).
        confidence: In (0, 1), or that which so many questions are asked for.
    """
    # The order statistic is of limits from above; a threshold from below is one on negated values.
    return _as_cut(
        certify_limit([-value for value in lowest], clusters, share=share, confidence=confidence)
    )


def marginal_cut(needs: Sequence[Needs], goal: Goal) -> Cut:
    """Return the highest cut that keeps the share of the questions on average, uncertified."""
    asked = [needs[i] for i in asked_about(needs, goal)]
    found = marginal_limit(
        [-need.lowest for need in asked],
        [need.cluster for need in asked],
        share=1.0 - goal.retain,
    )
    return _of_labels(_as_cut(found), len(needs))


def _of_labels(cut: Cut, n_labels: int) -> Cut:
    """Return a cut that says how many labels are needed, of which the goal is about a part."""
    if cut.n_needed is None or not cut.n:
        return cut
    return replace(cut, n_needed=math.ceil(cut.n_needed * n_labels / cut.n - _ROUNDING))


def _as_cut(found: OrderStatistic) -> Cut:
    return Cut(
        above=None if found.limit is None else -found.limit,
        n=found.n,
        n_effective=found.n_effective,
        n_documents=found.n_documents,
        failures=found.failures,
        n_needed=found.n_needed,
        reason=found.reason,
    )


def asked_about(needs: Sequence[Needs], goal: Goal) -> list[int]:
    """Return the positions of the questions that the goal is about."""
    strict = goal.mode in {"strict", "conformal"}
    return [i for i, need in enumerate(needs) if need.full == 1.0 or not strict]


def certified_cut(needs: Sequence[Needs], goal: Goal, *, seed: int) -> Cut:
    """Return the highest cut of the ranking that keeps what the goal asks for.

    Where each question is served or not the certificate is an order statistic of what they need.
    Where quality is a share, cuts are tested one after the other from the safest on.
    """
    asked = [needs[i] for i in asked_about(needs, goal)]
    confidence, _ = goal.confidences(len(asked))
    if _is_order_statistic(needs, goal):
        found = highest_cut(
            [need.lowest for need in asked],
            [need.cluster for need in asked],
            share=1.0 - goal.retain,
            confidence=lambda n: goal.confidences(n)[0],
        )
        return _of_labels(found, len(needs))
    levels = [[need.quality[i] for need in asked] for i in range(len(CUTS))]
    found = _by_betting(asked, levels, goal, confidence, seed=seed)
    return found if found.above is None else replace(found, above=CUTS[int(found.above)])


def certified_depth(
    needs: Sequence[Needs], wholes: Sequence[Whole], goal: Goal, *, seed: int
) -> tuple[Whole, Cut] | None:
    """Return the fewest whole chunks that are shown to keep what the goal asks for; None: none.

    The baseline needs no proof where the goal is a share of what it holds.

    Args:
        needs: What the questions need.
        wholes: The same questions with whole chunks, the most first.
        goal: What to keep.
        seed: Of the order of bets.
    """
    at = asked_about(needs, goal)
    asked = [needs[i] for i in at]
    if _are_too_few(asked, goal):
        return None
    _, confidence = goal.confidences(len(asked))
    baseline = wholes[:1] if goal.mode != "absolute" else ()
    given = next((whole for whole in baseline if whole.k == BASELINE_HITS), None)
    tested = [whole for whole in wholes if whole is not given]
    if tested and confidence is not None:
        levels = [[whole.quality[i] for i in at] for whole in tested]
        if _is_order_statistic(needs, goal):
            found = highest_cut(
                _levels_kept(levels),
                [need.cluster for need in asked],
                share=1.0 - goal.retain,
                confidence=confidence,
            )
        else:
            found = _by_betting(asked, levels, goal, confidence, seed=seed)
        if found.above is not None:
            return tested[int(min(found.above, len(tested) - 1.0))], found
    if given is None:
        return None
    failures = sum(given.quality[i] < need.full for i, need in zip(at, asked, strict=True))
    return given, replace(_facts(asked), failures=failures)


def certified_refusal(
    clusters: Sequence[Hashable], support: Sequence[float | None], goal: Goal, *, share: float
) -> Cut:
    """Return the highest support threshold below which at most `share` of the questions lie."""
    return highest_cut(
        [-math.inf if value is None else value for value in support],
        clusters,
        share=share,
        confidence=1.0 - goal.risk_of_each,
    )


def _is_order_statistic(needs: Sequence[Needs], goal: Goal) -> bool:
    all_or_nothing = all(need.full in {0.0, 1.0} for need in needs)
    return goal.mode == "strict" or (goal.mode == "absolute" and all_or_nothing)


def _are_too_few(asked: Sequence[Needs], goal: Goal) -> bool:
    """Whether such labels show nothing, whatever they hold."""
    n_documents = len({need.cluster for need in asked})
    crowded = n_documents < LEAST_DOCUMENTS and n_documents < len(asked)
    return crowded or binomial_tail(0, len(asked), 1.0 - goal.retain) > goal.risk_of_each


def _levels_kept(levels: Sequence[Sequence[float]]) -> list[float]:
    """Return the last level that serves each question: infinity for all, minus infinity: none."""
    kept: list[float] = []
    for values in zip(*levels, strict=True):
        n = next((i for i, value in enumerate(values) if value < 1.0), None)
        kept.append(math.inf if n is None else n - 1.0 if n else -math.inf)
    return kept


def _facts(asked: Sequence[Needs]) -> Cut:
    n_documents = len({need.cluster for need in asked})
    return Cut(
        above=None, n=len(asked), n_effective=float(n_documents), n_documents=n_documents,
        failures=0,
    )  # fmt: skip


def _by_betting(
    asked: Sequence[Needs],
    levels: Sequence[Sequence[float]],
    goal: Goal,
    confidence: float,
    *,
    seed: int,
) -> Cut:
    """Test levels of quality, the safest first; `above` is the number of the last that passes."""
    clusters = [need.cluster for need in asked]
    retain = goal.retain
    full = [need.full for need in asked]

    def shows(quality: Sequence[float], times: int = 1) -> bool:
        if goal.mode == "ratio":
            # Z = retain x full - kept in [-1, retain]; its mean must not be above 0.
            losses = [
                (retain * f - q + 1.0) / (1.0 + retain) for f, q in zip(full, quality, strict=True)
            ]
            bound = 1.0 / (1.0 + retain)
        else:
            losses = [1.0 - q for q in quality]
            bound = 1.0 - retain
        means = document_means(losses, clusters) * times
        return mean_is_below(means, bound, confidence=confidence, seed=seed)

    last = fixed_sequence(lambda i: shows(levels[i]), len(levels))
    found = _facts(asked)
    if last is not None:
        failures = sum(q < retain * f for q, f in zip(levels[last], full, strict=True))
        return replace(found, above=float(last), failures=failures)
    # Labels are too few where not even all that the untrimmed top 5 holds is shown to be enough.
    times = 1
    while times <= MOST_REPEATED and not shows(full, times):
        times *= 2
    return replace(
        found,
        n_needed=times * found.n if 1 < times <= MOST_REPEATED else None,
        reason=f"even all but the worst sentences (cut at {CUTS[0]:g}) are not shown to keep the "
        f"target on {found.n} questions of {found.n_documents} documents",
    )
