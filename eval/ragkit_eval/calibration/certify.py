"""Certified cuts: what is to be guaranteed, and the highest cut that the labels show to keep it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_eval.calibration.needs import CUTS, Needs
from ragkit_eval.stats.certificates import (
    certify_limit,
    document_means,
    fixed_sequence,
    mean_is_below,
)

CalibrationMode: TypeAlias = Literal["strict", "ratio", "absolute"]
MODES: tuple[CalibrationMode, ...] = ("strict", "ratio", "absolute")


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

    @property
    def confidence_of_each(self) -> float:
        """The confidence of each guarantee: cut and refusals share the risk where there are two."""
        if self.refuse_target is None:
            return self.confidence
        return 1.0 - (1.0 - self.confidence) / 2.0

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "metric": self.metric,
            "mode": self.mode,
            "retain": self.retain,
            "confidence": self.confidence,
            "refuse_target": self.refuse_target,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The highest certified threshold, `above`; None where none is, for this `reason`.

    `failures` of `n` questions lose something by it; `n_effective` counts questions of one document
    for less than one each. `n_needed` questions of this kind would do, None where no number does.
    """

    above: float | None
    n: int
    n_effective: float
    n_documents: int
    failures: int
    n_needed: int | None = None
    reason: str | None = None


def highest_cut(
    lowest: Sequence[float], clusters: Sequence[Hashable], *, share: float, confidence: float
) -> Cut:
    """Return the highest threshold that takes something from at most `share` of new questions.

    Args:
        lowest: The highest threshold that leaves each question all it needs: infinity where any
            does, minus infinity where none does.
        clusters: The document of each question.
        share: In (0, 1).
        confidence: In (0, 1).
    """
    # The order statistic is of limits from above; a threshold from below is one on negated values.
    found = certify_limit(
        [-value for value in lowest], clusters, share=share, confidence=confidence
    )
    return Cut(
        above=None if found.limit is None else -found.limit,
        n=found.n,
        n_effective=found.n_effective,
        n_documents=found.n_documents,
        failures=found.failures,
        n_needed=found.n_needed,
        reason=found.reason,
    )


def certified_cut(needs: Sequence[Needs], goal: Goal, *, seed: int) -> Cut:
    """Return the highest cut of the ranking that keeps what the goal asks for.

    Where each question is served or not the certificate is an order statistic of what they need.
    Where quality is a share, cuts are tested one after the other from the safest on.
    """
    all_or_nothing = all(need.full in {0.0, 1.0} for need in needs)
    if goal.mode == "strict":
        needs = [need for need in needs if need.full == 1.0]
    if goal.mode == "strict" or (goal.mode == "absolute" and all_or_nothing):
        return highest_cut(
            [need.lowest for need in needs],
            [need.cluster for need in needs],
            share=1.0 - goal.retain,
            confidence=goal.confidence_of_each,
        )
    return _by_betting(needs, goal, seed=seed)


def certified_refusal(needs: Sequence[Needs], goal: Goal, *, share: float) -> Cut:
    """Return the highest support threshold below which at most `share` of the questions lie."""
    return highest_cut(
        [-math.inf if need.support is None else need.support for need in needs],
        [need.cluster for need in needs],
        share=share,
        confidence=goal.confidence_of_each,
    )


def _by_betting(needs: Sequence[Needs], goal: Goal, *, seed: int) -> Cut:
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
            document_means(losses, clusters), bound, confidence=goal.confidence_of_each, seed=seed
        )

    last = fixed_sequence(passes, len(CUTS))
    n_documents = len(set(clusters))
    reason = None
    failures = 0
    if last is None:
        reason = (
            f"even all but the worst sentences (cut at {CUTS[0]:g}) are not shown to keep the "
            f"target on {len(needs)} questions of {n_documents} documents"
        )
    else:
        failures = sum(need.quality[last] < goal.retain * need.full for need in needs)
    return Cut(
        above=None if last is None else CUTS[last],
        n=len(needs),
        n_effective=float(n_documents),
        n_documents=n_documents,
        failures=failures,
        reason=reason,
    )
