"""The cheapest context that the labels certify: sentences above a cut, or the first k chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from ragkit.trimming import TrimPolicy
from ragkit.types import Json
from ragkit_eval.calibration.certify import (
    Cut,
    Goal,
    certified_cut,
    certified_depth,
    certified_refusal,
    marginal_cut,
)
from ragkit_eval.calibration.needs import CUTS, Needs, mean_tokens
from ragkit_eval.calibration.untrimmed import Whole

GRID = (0.80, 0.90, 0.95)
"""Shares and confidences whose price is told beside the one that was asked for."""

_MAY_WIN = 1.2
"""Whole chunks of more than so many times a cut's tokens are not tried: repeats among them, which
a policy leaves out, do not make up for it."""

Measuring = Callable[[Sequence[int]], Sequence[Whole]]
"""Measures so many whole chunks, the most first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a certified policy keeps of each question: `above` a cut, or `k` whole chunks.

    `cut` is what the labels show of it. `refusal` is None where nothing was asked of refusals.
    """

    above: float | None
    k: int | None
    cut: Cut
    tokens: Sequence[int]
    quality: Sequence[float]
    support: Sequence[float | None]
    refusal: Cut | None = None

    @property
    def mean_tokens(self) -> float:
        """The mean of all questions."""
        return sum(self.tokens) / len(self.tokens)

    @property
    def refuse_below(self) -> float:
        """The refusal threshold; 0 where there is none."""
        above = None if self.refusal is None else self.refusal.above
        return 0.0 if above is None else max(0.0, above)

    def policy(self, base: TrimPolicy) -> TrimPolicy:
        """Return the policy that keeps this, not yet certified."""
        if self.k is None:
            return replace(base, keep_above=self.above, refuse_below=self.refuse_below)
        return TrimPolicy(name=base.name, pool=self.k, refuse_below=self.refuse_below)


class Choice:
    """Chooses for one goal after the other; whole chunks are measured once, and only if needed.

    Args:
        needs: What the questions need.
        measure: Measures whole chunks.
        seed: Of the order of bets.
        n_labels: Of how many labels these are what is left to certify by; None: of as many.
    """

    def __init__(
        self,
        needs: Sequence[Needs],
        measure: Measuring,
        *,
        seed: int,
        n_labels: int | None = None,
    ) -> None:
        self._needs = needs
        self._n_labels = n_labels
        self._measure = measure
        self._seed = seed
        self._wholes: dict[int, Whole] = {}

    def cheapest(self, goal: Goal) -> Kept | Cut:
        """Return what keeps the goal with the fewest tokens, or why the labels show nothing.

        Where the goal is marginal, whole chunks do not compete: to choose is to lose its promise.
        """
        found = self._cheapest(goal)
        if isinstance(found, Kept) or found.n_needed is None or self._n_labels is None:
            return found
        times = self._n_labels / len(self._needs)
        return replace(found, n_needed=math.ceil(found.n_needed * times))

    def _cheapest(self, goal: Goal) -> Kept | Cut:
        if goal.is_marginal:
            cut = marginal_cut(self._needs, goal)
            return cut if cut.above is None else self._above(cut.above, cut)
        cut = certified_cut(self._needs, goal, seed=self._seed)
        if cut.above is None and cut.n_needed is not None:
            return cut
        kept = [] if cut.above is None else [self._above(cut.above, cut)]
        most = kept[0].mean_tokens if kept else math.inf
        found = certified_depth(self._needs, self._may_win(most), goal, seed=self._seed)
        if found is not None:
            whole, shown = found
            kept.append(
                Kept(
                    above=None, k=whole.k, cut=shown, tokens=whole.tokens, quality=whole.quality,
                    support=whole.support,
                )
            )  # fmt: skip
        if not kept:
            return cut
        return self._with_refusal(min(kept, key=lambda one: one.mean_tokens), goal)

    def grid(self, goal: Goal) -> list[dict[str, Json]]:
        """Return what other shares and confidences cost, or how many labels they need.

        Nothing where there is no confidence.
        """
        if goal.is_marginal:
            return []
        cells: list[dict[str, Json]] = []
        for retain, confidence in product(GRID, GRID):
            found = self.cheapest(replace(goal, retain=retain, confidence=confidence))
            cell: dict[str, Json] = {"retain": retain, "confidence": confidence}
            if isinstance(found, Kept):
                cell |= {"tokens": found.mean_tokens, "untrimmed_k": found.k, "n_needed": None}
            else:
                cell |= {"tokens": None, "untrimmed_k": None, "n_needed": found.n_needed}
            cells.append(cell)
        return cells

    def _above(self, above: float, cut: Cut) -> Kept:
        # Rounded down: a lower cut keeps more. Where the best unit always suffices any cut does.
        rounded = math.floor(min(above, CUTS[-1]) * 1e4) / 1e4
        return Kept(
            above=rounded,
            k=None,
            cut=cut,
            tokens=[need.tokens(rounded) for need in self._needs],
            quality=[need.quality_at(rounded) for need in self._needs],
            support=[need.support for need in self._needs],
        )

    def _may_win(self, most: float) -> list[Whole]:
        sizes = zip(*(need.whole_tokens for need in self._needs), strict=True)
        means = (sum(tokens) / len(self._needs) for tokens in sizes)
        depths = [k for k, mean in enumerate(means, start=1) if mean < _MAY_WIN * most]
        missing = [k for k in depths if k not in self._wholes]
        self._wholes |= {whole.k: whole for whole in self._measure(missing)} if missing else {}
        return [self._wholes[k] for k in sorted(depths, reverse=True)]

    def _with_refusal(self, kept: Kept, goal: Goal) -> Kept | Cut:
        if goal.refuse_target is None:
            return kept
        clusters = [need.cluster for need in self._needs]
        refusal = certified_refusal(clusters, kept.support, goal, share=goal.refuse_target)
        if refusal.above is None:
            return replace(refusal, reason=f"refusal threshold: {refusal.reason}")
        return replace(kept, refusal=refusal)


def chain(needs: Sequence[Needs], kept: Kept) -> list[Json]:
    """Return the safer cuts with their tokens; none beside whole chunks."""
    safer: Iterable[float] = () if kept.above is None else (c for c in CUTS if c < kept.above)
    return [{"keep_above": c, "expected_tokens": mean_tokens(needs, c)} for c in safer]
