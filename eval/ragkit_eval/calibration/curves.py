"""Curves of quality against tokens, and what is read from them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from ragkit.types import Json
from ragkit_eval.data.datasets import Question
from ragkit_eval.measuring.contexts import Contexts
from ragkit_eval.measuring.quality import Quality
from ragkit_eval.stats.inference import interval, quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One setting: mean tokens sent and mean quality with its 95 % interval."""

    setting: Mapping[str, Json]
    tokens: float
    quality: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {
            "setting": dict(self.setting),
            "tokens": self.tokens,
            "quality": self.quality,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A curve: one way of retrieving, with more and more kept. `trimmed` tells the two kinds.

    `minimum_tokens` are the fewest tokens of this ranking that hold all of a question's evidence,
    one per question that reaches it; `n` is the number of questions.
    """

    name: str
    trimmed: bool
    points: tuple[Point, ...]
    minimum_tokens: tuple[int, ...] = ()
    n: int = 0

    def minimum(self) -> dict[str, Json]:
        """Return the fewest tokens that suffice: their quantiles, and the share that reaches it."""
        found = self.minimum_tokens
        if not found:
            return {"reached": 0.0 if self.n else None, "mean": None, "p50": None, "p95": None}
        return {
            "reached": len(found) / self.n,
            "mean": sum(found) / len(found),
            "p50": quantile(found, 0.5),
            "p95": quantile(found, 0.95),
        }

    def needed(self, target: float) -> float | None:
        """Return the mean tokens at which the curve reaches a target, between its points."""
        return tokens_at([(p.tokens, p.quality) for p in self.points], target)


def tokens_at(points: Sequence[tuple[float, float]], target: float) -> float | None:
    """Return the tokens at which a curve reaches a quality, between its points; None: it does not.

    Points are tokens and quality, in order of tokens.
    """
    if points[0][1] >= target:
        return points[0][0]
    for (t0, q0), (t1, q1) in pairwise(points):
        if q0 < target <= q1:
            return t0 + (target - q0) / (q1 - q0) * (t1 - t0)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All curves with the baseline and the target; `to_dict` is the JSON of `ragkit eval sweep`.

    `oracle_tokens` is the mean number of tokens of the sentences that contain a question's
    evidence; no trimming of whole sentences can send fewer. It is None if there is no evidence.
    """

    dataset: str
    split: str
    measure: str
    n: int
    target: float
    target_text: str
    baseline: Point | None
    baseline_comparable: bool
    series: tuple[Series, ...]
    minimum_detectable: float | None
    oracle_tokens: float | None

    def points(self) -> list[Point]:
        """Return the points of all curves."""
        return [point for series in self.series for point in series.points]

    def front(self) -> list[Point]:
        """Return the Pareto front: the points with the best quality for their number of tokens."""
        kept: list[Point] = []
        for point in sorted(self.points(), key=lambda p: (p.tokens, -p.quality)):
            if not kept or point.quality > kept[-1].quality:
                kept.append(point)
        return kept

    def chosen(self) -> Point | None:
        """Return the cheapest point that reaches the target, or None if none does."""
        passing = [point for point in self.points() if point.quality >= self.target]
        return min(passing, key=lambda p: (p.tokens, -p.quality), default=None)

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form."""
        chosen = self.chosen()
        rivals = [s.needed(self.target) for s in self.series if not s.trimmed]
        ours = [s.needed(self.target) for s in self.series if s.trimmed]
        return {
            "schema": 1,
            "dataset": self.dataset,
            "split": self.split,
            "measure": self.measure,
            "n": self.n,
            "target": self.target,
            "target_text": self.target_text,
            "certified": False,
            "baseline": None
            if self.baseline is None
            else {**self.baseline.to_dict(), "comparable": self.baseline_comparable},
            "chosen": None if chosen is None else chosen.to_dict(),
            "front": [point.to_dict() for point in self.front()],
            "best_untrimmed_tokens": min((t for t in rivals if t is not None), default=None),
            "best_trimmed_tokens": min((t for t in ours if t is not None), default=None),
            "minimum_detectable": self.minimum_detectable,
            "oracle_tokens": self.oracle_tokens,
            "series": [
                {
                    "name": series.name,
                    "trimmed": series.trimmed,
                    "tokens_at_target": series.needed(self.target),
                    "minimum_tokens": series.minimum(),
                    "points": [point.to_dict() for point in series.points],
                }
                for series in self.series
            ],
        }


class Curve:
    """Sums up tokens and quality of nested settings, question by question."""

    def __init__(self, name: str, settings: Sequence[Mapping[str, Json]], *, trimmed: bool) -> None:
        self.name = name
        self.trimmed = trimmed
        self._settings = settings
        self._tokens: list[list[float]] = [[] for _ in settings]
        self._quality: list[list[float]] = [[] for _ in settings]
        self._minimum: list[int] = []

    def add(
        self, question: Question, contexts: Contexts, sizes: Sequence[int], quality: Quality
    ) -> None:
        """Add a question; `sizes` are the numbers of the contexts of the settings, and grow."""

        def measured(n: int) -> float:
            return quality(question, contexts[n].passages) or 0.0

        known = cache(measured)
        most = len(contexts)
        value = 0.0
        for i, size in enumerate(sizes):
            n = min(size, most)
            # More never holds less, so that nothing is left to learn about it.
            value = value if value == 1.0 else max(value, known(n))
            self._tokens[i].append(contexts[n].n_tokens)
            self._quality[i].append(value)
        if known(most) == 1.0:
            fewest = bisect_left(range(most), True, key=lambda n: known(n) == 1.0)
            self._minimum.append(contexts[fewest].n_tokens)

    def values(self, i: int) -> list[float]:
        """Return the quality of each question at a setting."""
        return self._quality[i]

    def series(self, clusters: Sequence[str]) -> Series:
        """Return the curve, in order of tokens."""
        points: list[Point] = []
        for setting, tokens, quality in zip(
            self._settings, self._tokens, self._quality, strict=True
        ):
            found = interval(quality, clusters, resamples=200)
            points.append(
                Point(
                    setting=setting,
                    tokens=sum(tokens) / len(tokens),
                    quality=found.mean or 0.0,
                    low=found.low,
                    high=found.high,
                )
            )
        return Series(
            name=self.name,
            trimmed=self.trimmed,
            points=tuple(points),
            minimum_tokens=tuple(self._minimum),
            n=len(self._quality[0]),
        )
