"""How often a gate's verdict would differ between two runs of the same thing (an A/A test)."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Literal, TypeAlias

from ragkit.errors import ConfigError, ExitCode
from ragkit.types import Json
from ragkit_eval.reporting.comparison import check_comparable
from ragkit_eval.reporting.gate import Gate, Verdict, in_slice
from ragkit_eval.reporting.sequential import limits
from ragkit_eval.running.finished import Run, Score
from ragkit_eval.stats.inference import clopper_pearson, standard_error

Steadiness: TypeAlias = Literal["steady", "flaky", "unknown"]

TOLERATED = 0.05
"""Share of flipped verdicts up to which a gate is called steady."""

PAIRS = 200
_RESAMPLES, _FLIPS = 200, 500
"""The gate's own resampling within each of the many verdicts."""

_GROWTH = tuple(math.pow(2.0, i / 4.0) for i in range(1, 49))
"""So many times the questions are tried, up to 4,096."""

_EXITS: Mapping[Steadiness, ExitCode] = {
    "steady": ExitCode.DONE,
    "flaky": ExitCode.GATE_FAILED,
    "unknown": ExitCode.INCONCLUSIVE,
}

Means: TypeAlias = Sequence[tuple[float, float]]
"""Mean surplus and standard error of every check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipRate:
    """The share of pairs of identical runs in which the gate's two verdicts differ.

    `source` says what the runs of a pair share: `runs`: the questions, of which each has its
    outcome of the one run or of the other; `questions`: the pipeline, on documents drawn anew.
    `low` and `high` are the exact 95 % interval over `n_pairs` simulated pairs. `verdict` is
    "steady" where the rate is shown to be at most 5 %, "flaky" where it is shown to be more.
    `n_needed` is about how many questions would bring it below 5 %; None where no number does.
    """

    source: str
    n: int
    n_documents: int
    n_pairs: int
    flips: int
    rate: float
    low: float
    high: float
    verdict: Steadiness
    verdicts: Mapping[str, float]
    n_needed: int | None
    seed: int

    @property
    def exit_code(self) -> ExitCode:
        """0 for steady, 4 for flaky, 5 for unknown."""
        return _EXITS[self.verdict]

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval aa`."""
        return {"schema": 1, **asdict(self), "exit_code": self.exit_code}


def flip_rate(
    gate: Gate,
    run: Run,
    again: Run | None = None,
    *,
    baseline: Run | None = None,
    n_pairs: int = PAIRS,
) -> FlipRate:
    """Return how often two identical runs would get different verdicts.

    Args:
        gate: The rules.
        run: A finished run.
        again: A second run of the same thing. Each pair then gives every question its outcome of
            the one run to the one side, that of the other to the other, by a coin. Without it the
            documents of `run` are drawn with replacement, twice for each pair.
        baseline: The run with which margins compare; where it is None and there is a second run,
            the sides of a pair are compared with each other, both ways.
        n_pairs: Simulated pairs.

    Raises:
        ConfigError: the runs differ in their questions, a margin has nothing to compare with, or
            the gate fails whatever the questions.
    """
    if n_pairs < 1:
        raise ConfigError(f"pairs {n_pairs}; allowed: 1 or more")
    if again is not None:
        check_comparable(run, again)
    compared = baseline if baseline is not None or again is None else again
    gate.check_baseline(compared)
    for checked in (run, run if again is None else again):
        unsound = gate.sound(checked, compared)
        if unsound:
            raise ConfigError(f"the gate fails whatever the questions: {unsound[0].detail}")
    light = replace(gate, resamples=min(gate.resamples, _RESAMPLES), flips=_FLIPS)
    rng = random.Random(gate.seed)  # noqa: S311 (a documented, repeatable draw)
    verdicts: list[tuple[Verdict, Verdict]] = []
    means: list[Means] = []
    for _ in range(n_pairs):
        sides = list(_pair(rng, run, again, baseline))
        results = [light.check(side, baseline=base).verdict for side, base in sides]
        verdicts.append((results[0], results[1]))
        means += [_means(gate, side, base) for side, base in sides]
    flips = sum(one != other for one, other in verdicts)
    low, high = clopper_pearson(flips, n_pairs)
    found = Counter(verdict for pair in verdicts for verdict in pair)
    return FlipRate(
        source="questions" if again is None else "runs",
        n=len(run.scores),
        n_documents=len({score.cluster for score in run.scores}),
        n_pairs=n_pairs,
        flips=flips,
        rate=flips / n_pairs,
        low=low,
        high=high,
        verdict="steady" if high <= TOLERATED else "flaky" if low > TOLERATED else "unknown",
        verdicts={v: found[v] / (2 * n_pairs) for v in ("pass", "fail", "inconclusive")},
        n_needed=_needed(len(run.scores), flips / n_pairs, means, gate.alpha),
        seed=gate.seed,
    )


def _pair(
    rng: random.Random, run: Run, again: Run | None, baseline: Run | None
) -> Iterator[tuple[Run, Run | None]]:
    """Yield two identical runs, each with what it is compared with."""
    if again is None:
        for _ in range(2):
            yield _drawn(rng, run, baseline)
        return
    others = {score.id: score for score in again.scores}
    both = [(score, others[score.id]) for score in run.scores if score.id in others]
    swapped = [pair if rng.random() < 0.5 else pair[::-1] for pair in both]
    one, other = (replace(run, scores=tuple(side)) for side in zip(*swapped, strict=True))
    yield one, other if baseline is None else baseline
    yield other, one if baseline is None else baseline


def _drawn(rng: random.Random, run: Run, baseline: Run | None) -> tuple[Run, Run | None]:
    """Return a run of documents drawn with replacement, and the baseline's same questions."""
    of_document: dict[str, list[Score]] = {}
    for score in run.scores:
        of_document.setdefault(score.cluster, []).append(score)
    old = {} if baseline is None else {score.id: score for score in baseline.scores}
    new: list[Score] = []
    base: list[Score] = []
    for i, name in enumerate(rng.choices(sorted(of_document), k=len(of_document))):
        for score in of_document[name]:
            key, cluster = f"{i} {score.id}", f"{i} {name}"
            new.append(replace(score, id=key, cluster=cluster))
            if score.id in old:
                base.append(replace(old[score.id], id=key, cluster=cluster))
    resampled = None if baseline is None else replace(baseline, scores=tuple(base))
    return replace(run, scores=tuple(new)), resampled


def _means(gate: Gate, run: Run, baseline: Run | None) -> Means:
    found: list[tuple[float, float]] = []
    for rule in gate.rules:
        scores = [score for score in run.scores if in_slice(score, rule.slice)]
        for _, _, surplus in limits(rule, run, baseline):
            known = [(v, s.cluster) for s in scores if (v := surplus(s)) is not None]
            if not known:
                found.append((0.0, math.inf))
                continue
            values, clusters = [v for v, _ in known], [c for _, c in known]
            found.append((math.fsum(values) / len(values), standard_error(values, clusters)))
    return found


def _needed(n: int, rate: float, means: Sequence[Means], alpha: float) -> int | None:
    """Return about how many questions bring the rate below the tolerated one; None: none do.

    By the normal approximation: with r times the questions, the means of every check lie closer to
    their middle by the root of r, and their errors are smaller by it.
    """
    if rate <= TOLERATED:
        return n
    middles = [math.fsum(m for m, _ in check) / len(check) for check in zip(*means, strict=True)]
    z = NormalDist().inv_cdf(1.0 - alpha)

    def verdict(side: Means, root: float) -> Verdict:
        scaled = [
            (middle + (mean - middle) / root, z * error / root)
            for (mean, error), middle in zip(side, middles, strict=True)
        ]
        if any(mean + width < 0.0 for mean, width in scaled):
            return "fail"
        return "pass" if all(mean >= width for mean, width in scaled) else "inconclusive"

    for growth in _GROWTH:
        root = math.sqrt(growth)
        found = [verdict(side, root) for side in means]
        flips = sum(one != other for one, other in zip(found[::2], found[1::2], strict=True))
        if flips <= TOLERATED * len(means) / 2:
            return math.ceil(growth * n)
    return None
