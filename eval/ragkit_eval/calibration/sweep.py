"""Quality against tokens over a grid of settings, always with the rivals that need no trimming.

For each ingest setting and mode one retrieval a question gives the whole curve: the first k chunks
for every k, and the trimmed pool for every budget, since both are nested. The setting that is
marked is the cheapest that reaches the target on these questions: a choice, not a certificate.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import cast

from ragkit.config import Settings
from ragkit.errors import ConfigError
from ragkit.pipeline import RAG, Progress
from ragkit.trimming import (
    BASELINE_HITS,
    BUILTIN_POLICY,
    PoolChunk,
    TrimPolicy,
    load_policy,
    open_scorer,
    rank,
    trim,
)
from ragkit.types import Json, Mode
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.data.rows import Passage
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.quality import (
    Quality,
    default_quality,
    passage_of,
    quality_measure,
    ranked_passages,
    whole_chunks,
)
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.stores import OpenedRag, missing_documents
from ragkit_eval.stats.inference import interval, minimum_detectable, quantile, standard_error

BASELINE_CHUNK_TOKENS = 400
CHUNK_TOKENS = (40, 80, 160, 400)
DEPTHS = tuple(range(1, 41))
KEEP_ABOVE = tuple(3.0 - 0.25 * i for i in range(61))
"""Ranks down to which sentences are kept: from about one sentence to about all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is tried; every combination of ingest setting and mode, each with all of the rest.

    `policies` are trim policies as `--trim` takes them: `bundled`, files, or none at all. Each of
    the `scorers` (`none` without training, or a file) ranks each pool, of which is kept what
    reaches each rank of `keep_above`, and what stays within each of the `budgets`, in tokens;
    `second_hop` as in `TrimPolicy`.
    """

    chunk_tokens: tuple[int, ...] = CHUNK_TOKENS
    embedders: tuple[str | None, ...] = (None,)
    modes: tuple[Mode | None, ...] = (None,)
    depths: tuple[int, ...] = DEPTHS
    pools: tuple[int, ...] = (10, 20)
    scorers: tuple[str, ...] = ("none",)
    second_hop: float = 0.0
    keep_above: tuple[float, ...] = KEEP_ABOVE
    budgets: tuple[int, ...] = ()
    policies: tuple[str, ...] = ("bundled",)

    def __post_init__(self) -> None:
        """Check the ranges; raises `ConfigError`."""
        for name in ("chunk_tokens", "depths", "pools", "budgets"):
            for value in getattr(self, name):
                if value < 1:
                    raise ConfigError(f"{name} {value}; allowed: 1 or more")
        if not self.chunk_tokens or not self.depths:
            raise ConfigError("a sweep needs at least one chunk size and one k")


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
    one a question that reaches it; `n` is the number of questions.
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
        if self.points[0].quality >= target:
            return self.points[0].tokens
        for a, b in pairwise(self.points):
            if a.quality < target <= b.quality:
                share = (target - a.quality) / (b.quality - a.quality)
                return a.tokens + share * (b.tokens - a.tokens)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All curves with the baseline and the target; `to_dict` is the JSON of `ragkit eval sweep`.

    `oracle_tokens` are the mean tokens of the sentences that hold a question's evidence, None
    where there is no evidence: no trimming of whole sentences can send fewer.
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
        """Return the Pareto front: no other point has as much quality for as few tokens."""
        kept: list[Point] = []
        for point in sorted(self.points(), key=lambda p: (p.tokens, -p.quality)):
            if not kept or point.quality > kept[-1].quality:
                kept.append(point)
        return kept

    def chosen(self) -> Point | None:
        """Return the cheapest point that reaches the target, None where none does."""
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


class _Curve:
    """Sums up tokens and quality of nested settings, question by question."""

    def __init__(self, name: str, settings: Sequence[Mapping[str, Json]], *, trimmed: bool) -> None:
        self.name = name
        self.trimmed = trimmed
        self._settings = settings
        self._tokens: list[list[float]] = [[] for _ in settings]
        self._quality: list[list[float]] = [[] for _ in settings]
        self._minimum: list[int] = []

    def add(
        self,
        question: Question,
        passages: Sequence[Passage],
        sizes: Sequence[int],
        quality: Quality,
    ) -> None:
        """Add a question.

        `passages` are in the order in which they are kept, `sizes` how many each setting keeps;
        sizes grow, and quality never falls with them.
        """
        totals = [0, *accumulate(passage.n_tokens or 0 for passage in passages)]
        seen, value = -1, 0.0
        for i, size in enumerate(sizes):
            n = min(size, len(passages))
            if n != seen and value < 1.0:
                value = max(value, quality(question, passages[:n]) or 0.0)
            seen = n
            self._tokens[i].append(totals[n])
            self._quality[i].append(value)
        if quality(question, passages) == 1.0:
            fewest = bisect_left(
                range(len(passages)), True, key=lambda n: quality(question, passages[:n]) == 1.0
            )
            self._minimum.append(totals[fewest])

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
                    quality=cast("float", found.mean),
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


def sweep(
    dataset: Dataset,
    settings: Settings,
    cache: Cache,
    grid: Grid,
    *,
    measure: str | None = None,
    retain: float = 0.95,
    target: float | None = None,
    cluster: str = "document",
    on_progress: Callable[[str, int, int], None] | None = None,
    on_ingest: Callable[[Progress], None] | None = None,
    notify: Callable[[str], None] | None = None,
) -> Sweep:
    """Measure a grid.

    Args:
        dataset: Questions that say nothing under the measure are left out and not counted.
        settings: What the grid does not vary.
        cache: Stores are made once an ingest setting and kept beside it.
        grid: What is tried.
        measure: One of `MEASURES`; None takes what the labels allow.
        retain: The target, as a share of the baseline's quality.
        target: The target itself; wins over `retain`.
        cluster: What questions depend on together, for the intervals.
        on_progress: Called with a curve's name, questions done and their number.
        on_ingest: Called once an ingested document.
        notify: Called with each notice for people.

    Raises:
        ConfigError: no question can be measured, or a value is not allowed.
    """
    name, quality = quality_measure(measure or default_quality(dataset.questions))
    questions = [q for q in dataset.questions if quality(q, ()) is not None]
    if not questions:
        raise ConfigError(f"no question of {dataset.name} has what {name} needs")
    if not 0.0 < retain <= 1.0:
        raise ConfigError(f"retain {retain}; allowed: more than 0, up to 1")
    policies = [_policy(given) for given in grid.policies]
    curves: list[_Curve] = []
    oracle: list[int | None] = []
    for embedder in grid.embedders:
        for chunk_tokens in sorted(grid.chunk_tokens):
            largest = chunk_tokens == max(grid.chunk_tokens)
            asked = replace(
                settings,
                embedder=embedder or settings.embedder,
                chunk_tokens=chunk_tokens,
                sentence_vectors=largest,
            )
            with OpenedRag(dataset, asked, cache, notify=notify, on_progress=on_ingest) as opened:
                missing_documents(opened.rag, dataset)
                gold = Gold(opened.rag)
                if largest:
                    oracle = [gold.oracle_tokens(question) for question in questions]
                # Without vectors the default is words, which is not the baseline of claims.
                default: Mode | None = None if "embed" in opened.caches else "lexical"
                for mode in grid.modes:
                    curves += _measure(
                        opened.rag,
                        gold,
                        questions,
                        quality,
                        grid=grid,
                        label=_Label(embedder, mode or default, chunk_tokens),
                        policies=policies if largest else [],
                        on_progress=on_progress,
                    )
    clusters = [question.cluster(cluster) for question in questions]
    found = [(curve, curve.series(clusters)) for curve in curves]
    baseline, values = _baseline(found, grid)
    if target is None and baseline is None:
        raise ConfigError(
            f"the grid holds no baseline (k {BASELINE_HITS}); add it, or give a --target"
        )
    wanted = target if target is not None else retain * cast("Point", baseline).quality
    return Sweep(
        dataset=dataset.name,
        split=dataset.split,
        measure=name,
        n=len(questions),
        target=wanted,
        target_text=f"{name} {wanted:.3f}"
        if target is not None
        else f"{retain:.0%} of the baseline's {name}",
        baseline=baseline,
        baseline_comparable=baseline is not None
        and baseline.setting["chunk_tokens"] == BASELINE_CHUNK_TOKENS
        and baseline.setting["mode"] in {None, "hybrid"},
        series=tuple(series for _, series in found),
        minimum_detectable=minimum_detectable(standard_error(values, clusters)) if values else None,
        oracle_tokens=_mean([tokens for tokens in oracle if tokens is not None]),
    )


def _mean(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True, slots=True)
class _Label:
    embedder: str | None
    mode: Mode | None
    chunk_tokens: int

    def named(self, text: str) -> str:
        parts = [text, *(str(part) for part in (self.embedder, self.mode) if part is not None)]
        return ", ".join(parts)

    def setting(self, **values: Json) -> dict[str, Json]:
        return {
            "embedder": self.embedder,
            "mode": self.mode,
            "chunk_tokens": self.chunk_tokens,
            **values,
        }


def _measure(
    rag: RAG,
    gold: Gold,
    questions: Sequence[Question],
    quality: Quality,
    *,
    grid: Grid,
    label: _Label,
    policies: Sequence[TrimPolicy],
    on_progress: Callable[[str, int, int], None] | None,
) -> list[_Curve]:
    depths = sorted(grid.depths)
    untrimmed = _Curve(
        label.named(f"untrimmed, chunks of at most {label.chunk_tokens}"),
        [label.setting(trim="off", k=k) for k in depths],
        trimmed=False,
    )
    trimmed = [_Ranking(grid, label, scorer, pool) for scorer in grid.scorers for pool in grid.pools
               if policies]  # fmt: skip
    fixed = [
        _Curve(
            label.named(f"trim policy {policy.name}"),
            [label.setting(trim=policy.name, pool=policy.pool)],
            trimmed=True,
        )
        for policy in policies
    ]
    deepest = max([max(depths)] + [max(grid.pools)] * bool(trimmed) + [p.pool for p in policies])
    for i, question in enumerate(questions):
        words, pool = rag.pool(question.text, k=deepest, mode=label.mode)
        chunks = whole_chunks(pool)
        untrimmed.add(question, gold.with_repeats(question, chunks), depths, quality)
        for ranking in trimmed:
            ranking.add(rag, gold, question, words=words, pool=pool, quality=quality)
        for policy, curve in zip(policies, fixed, strict=True):
            context = trim(words, pool[: policy.pool], policy=policy, counter=rag.counter).context
            passages = [
                passage_of(item.hit, item.start, item.end, item.n_tokens) for item in context
            ]
            curve.add(question, gold.with_repeats(question, passages), [len(passages)], quality)
        if on_progress is not None:
            on_progress(untrimmed.name, i + 1, len(questions))
    return [untrimmed, *(curve for ranking in trimmed for curve in ranking.curves()), *fixed]


class _Ranking:
    """The curves of one scorer over one depth of pool: by rank, and by budget where asked."""

    def __init__(self, grid: Grid, label: _Label, scorer: str, pool: int) -> None:
        used = open_scorer(scorer)
        self._policy = TrimPolicy(name="swept", pool=pool, scorer=used, second_hop=grid.second_hop)
        self._above = sorted(grid.keep_above, reverse=True)
        self._budgets = sorted(grid.budgets)
        name = "trimmed" if used is None else f"trimmed by {used.name}"
        common = {"trim": "rank", "scorer": None if used is None else used.name, "pool": pool}
        self._by_rank = _Curve(
            label.named(f"{name}, pool of {pool}"),
            [label.setting(**common, keep_above=above) for above in self._above],
            trimmed=True,
        )
        self._by_budget = _Curve(
            label.named(f"{name}, pool of {pool}, by budget"),
            [label.setting(**common, budget_tokens=budget) for budget in self._budgets],
            trimmed=True,
        )

    def add(
        self,
        rag: RAG,
        gold: Gold,
        question: Question,
        *,
        words: Sequence[str],
        pool: Sequence[PoolChunk],
        quality: Quality,
    ) -> None:
        """Add a question; `pool` is at least as deep as the ranking's."""
        ranking = rank(words, pool[: self._policy.pool], self._policy)
        ranked = ranked_passages(ranking, rag.counter)
        passages = gold.with_repeats(question, ranked)
        ranks = [-sentence.relative_score for sentence in ranking.sentences]
        kept = [max(1, bisect_right(ranks, -above)) for above in self._above]
        self._by_rank.add(question, passages, kept, quality)
        if self._budgets:
            totals = list(accumulate(passage.n_tokens or 0 for passage in ranked))
            kept = [max(1, bisect_right(totals, budget)) for budget in self._budgets]
            self._by_budget.add(question, passages, kept, quality)

    def curves(self) -> list[_Curve]:
        """Return the curves that were asked for."""
        return [self._by_rank] * bool(self._above) + [self._by_budget] * bool(self._budgets)


def _baseline(
    found: Sequence[tuple[_Curve, Series]], grid: Grid
) -> tuple[Point | None, list[float]]:
    """Return the untrimmed top 5 of the largest chunks, hybrid where that was tried."""
    largest = max(grid.chunk_tokens)
    candidates = [
        (curve, i, point)
        for curve, series in found
        if not series.trimmed
        for i, point in enumerate(series.points)
        if point.setting["chunk_tokens"] == largest and point.setting["k"] == BASELINE_HITS
    ]
    candidates.sort(key=lambda entry: entry[2].setting["mode"] not in {"hybrid", None})
    if not candidates:
        return None, []
    curve, i, point = candidates[0]
    return point, curve.values(i)


def _policy(given: str) -> TrimPolicy:
    return BUILTIN_POLICY if given == "bundled" else load_policy(given)[0]
