"""Two runs of one dataset, question by question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_eval.running.finished import Run, Score
from ragkit_eval.stats.inference import bootstrap, detectable_and_needed, holm, known, sign_flip


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The questions for which both runs have a value; `missing` have it in one of them only."""

    base: tuple[float, ...]
    new: tuple[float, ...]
    clusters: tuple[str, ...]
    missing: int

    @property
    def differences(self) -> list[float]:
        """New minus base."""
        return [b - a for a, b in zip(self.base, self.new, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a measure changed, new minus base, with a paired 95 % interval.

    `p` is the two-sided p-value of a sign-flip test, and `p_holm` is adjusted for the number of
    measures. With n questions, a true difference of `minimum_detectable` is detected with 80 %
    power; to detect a difference of `margin`, `n_needed` questions are required. None means
    unknown.
    """

    measure: str
    direction: str
    base: float | None
    new: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    minimum_detectable: float | None
    margin: float | None
    n_needed: int | None
    n: int
    missing: int

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `–` if not significant (5 % level, after Holm)."""
        if self.p_holm is None or self.difference is None or self.p_holm > 0.05:
            return "–"
        return "better" if (self.difference > 0) == (self.direction == "higher") else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All measures of two runs."""

    base: Run
    new: Run
    differences: tuple[Difference, ...]
    n_clusters: int

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval compare`."""
        return {
            "schema": 1,
            "base": str(self.base.folder),
            "new": str(self.new.folder),
            "dataset": self.new.summary["dataset"],
            "split": self.new.summary["split"],
            "n": len(self.new.scores),
            "clusters": self.n_clusters,
            "measures": {
                difference.measure: {
                    **{key: value for key, value in asdict(difference).items() if key != "measure"},
                    "verdict": difference.verdict,
                }
                for difference in self.differences
            },
        }


def check_comparable(base: Run, new: Run, *, force: bool = False) -> None:
    """Raise `ConfigError` unless both runs asked the same questions with the same labels."""
    if base.dataset_sha256 != new.dataset_sha256 and not force:
        raise ConfigError(
            f"runs {base.name} and {new.name} are of different datasets, or of one that changed: "
            "their questions or labels differ; run both again (or compare with --force)"
        )


def pair(base: Run, new: Run, measure: str, *, only: Sequence[str] | None = None) -> Pairs:
    """Return the paired values of a measure, of these questions or of all.

    Raises:
        ConfigError: a value is not finite.
    """
    wanted = None if only is None else set(only)
    old = {score.id: score for score in base.scores}
    found: list[float] = []
    olds: list[float] = []
    clusters: list[str] = []
    missing = 0
    for score in new.scores:
        if wanted is not None and score.id not in wanted:
            continue
        other = old.get(score.id)
        a = None if other is None else finite(other, measure)
        b = finite(score, measure)
        if a is not None and b is not None:
            olds.append(a)
            found.append(b)
            clusters.append(score.cluster)
        elif (a is None) != (b is None):
            missing += 1
    return Pairs(base=tuple(olds), new=tuple(found), clusters=tuple(clusters), missing=missing)


def finite(score: Score, measure: str) -> float | None:
    """Return a question's value; raises `ConfigError` for one that is not a finite number."""
    value = score.values.get(measure)
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"question {score.id!r}: {measure} is {value}, not a finite number")
    return value


def compare(
    base: Run,
    new: Run,
    *,
    measures: Sequence[str] | None = None,
    margin: float | None = None,
    force: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare two runs.

    Args:
        base: The baseline run.
        new: The new run.
        measures: Measures to compare; None means those that both runs have.
        margin: The difference that matters to you, from which `n_needed` is computed. None means 2
            percentage points for a share, and 5 % for anything else.
        force: Compare runs of different datasets, by the questions' ids.
        seed: Of resampling.

    Raises:
        ConfigError: the datasets differ, or a run lacks a measure.
    """
    check_comparable(base, new, force=force)
    known = base.measures
    shared = [name for name in new.measures if name in known]
    if not shared and measures is None:
        raise ConfigError(f"runs {base.name} and {new.name} share no measure")
    found = [_difference(base, new, name, margin, seed) for name in measures or shared]
    adjusted = holm({d.measure: d.p for d in found if d.p is not None})
    return Comparison(
        base=base,
        new=new,
        differences=tuple(replace(d, p_holm=adjusted.get(d.measure)) for d in found),
        n_clusters=len({score.cluster for score in new.scores}),
    )


def _difference(base: Run, new: Run, measure: str, margin: float | None, seed: int) -> Difference:
    base.measure(measure)
    described = new.measure(measure)
    direction = str(described["direction"])
    pairs = pair(base, new, measure)
    n = len(pairs.new)
    empty = Difference(
        measure=measure, direction=direction, base=None, new=None, difference=None, low=None,
        high=None, p=None, p_holm=None, minimum_detectable=None, margin=None, n_needed=None, n=n,
        missing=pairs.missing,
    )  # fmt: skip
    if not n:
        return empty
    differences = pairs.differences
    mean = math.fsum(pairs.base) / n
    low, high = bootstrap(differences, pairs.clusters, seed=seed)
    detectable, margin, needed = detectable_and_needed(
        differences, pairs.clusters, bounded="p95" not in described, mean=mean, margin=margin
    )
    return Difference(
        measure=measure,
        direction=direction,
        base=mean,
        new=math.fsum(pairs.new) / n,
        difference=math.fsum(differences) / n,
        low=known(low),
        high=known(high),
        p=sign_flip(differences, pairs.clusters, seed=seed),
        p_holm=None,
        minimum_detectable=detectable,
        margin=margin,
        n_needed=needed,
        n=n,
        missing=pairs.missing,
    )
