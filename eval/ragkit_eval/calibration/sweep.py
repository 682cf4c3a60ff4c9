"""Quality against tokens over a grid of settings, always with the rivals that need no trimming.

For each ingest setting and mode one retrieval per question gives the whole curve: the first k
chunks for every k, and the trimmed pool for every budget, since both are nested. The setting that
is marked is the cheapest that reaches the target on these questions: a choice, not a certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from ragkit.config import Settings
from ragkit.errors import ConfigError
from ragkit.pipeline import RAG, Progress
from ragkit.trimming import (
    BASELINE_HITS,
    PoolChunk,
    Ranking,
    TrimPolicy,
    open_policy,
    open_scorer,
    rank,
    trim,
)
from ragkit.types import Json, Mode
from ragkit_eval.calibration.curves import Curve, Point, Series, Sweep
from ragkit_eval.data.datasets import Dataset, Question
from ragkit_eval.measuring.contexts import Cuts, Sent, WholeHits
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.pools import retrieve
from ragkit_eval.measuring.quality import (
    Quality,
    default_quality,
    quality_measure,
)
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.stores import OpenedRag, missing_documents
from ragkit_eval.stats.inference import minimum_detectable, standard_error

BASELINE_CHUNK_TOKENS = 400
CHUNK_TOKENS = (40, 80, 160, 400)
DEPTHS = tuple(range(1, 41))
KEEP_ABOVE = tuple(3.0 - 0.25 * i for i in range(61))
"""Relative scores down to which sentences are kept: from about one sentence to about all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a sweep tries: each combination of ingest settings and mode with all other settings.

    `policies` are trim policies as for `--trim`: `bundled`, files, or none at all. Each of the
    `scorers` (`none` for the one without training, or a file) ranks the sentences of each pool.
    These are then trimmed in turn by each cut of `keep_above` and by each of the `budgets`, in
    tokens. `second_hop` is as in `TrimPolicy`.
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
        dataset: The dataset. Questions for which the measure has no value are left out and not
            counted.
        settings: All settings that the grid does not vary.
        cache: The cache. One store per combination of ingest settings is created next to it and
            kept.
        grid: The settings to try.
        measure: One of `MEASURES`; None takes what the labels allow (`default_quality`).
        retain: The target, as a share of the baseline's quality.
        target: The target as a value of the measure; it takes precedence over `retain`.
        cluster: Which questions to treat as correlated, for the intervals: `document`, a metadata
            field, or `none`.
        on_progress: Called with a curve's name, the number of questions done, and the number of
            all.
        on_ingest: Called once per ingested document.
        notify: Called with each message that is meant for people.

    Raises:
        ConfigError: no question can be measured, or a value is not allowed.
    """
    name, quality = quality_measure(measure or default_quality(dataset.questions))
    questions = [q for q in dataset.questions if quality(q, ()) is not None]
    if not questions:
        raise ConfigError(f"no question of {dataset.name} has what {name} needs")
    if not 0.0 < retain <= 1.0:
        raise ConfigError(f"retain {retain}; allowed: more than 0, up to 1")
    measuring = _Measuring(grid, questions, quality, on_progress)
    for embedder, chunk_tokens in product(grid.embedders, sorted(grid.chunk_tokens)):
        asked = replace(
            settings,
            embedder=embedder or settings.embedder,
            chunk_tokens=chunk_tokens,
            sentence_vectors=chunk_tokens == max(grid.chunk_tokens),
        )
        with OpenedRag(dataset, asked, cache, notify=notify, on_progress=on_ingest) as opened:
            missing_documents(opened.rag, dataset)
            measuring.add_store(opened, embedder, chunk_tokens)
    clusters = [question.cluster(cluster) for question in questions]
    return measuring.result(dataset, name, clusters, retain=retain, target=target)


class _Measuring:
    """Measures one store after the other; the curves of all are the result."""

    def __init__(
        self,
        grid: Grid,
        questions: Sequence[Question],
        quality: Quality,
        on_progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._grid = grid
        self._questions = questions
        self._quality = quality
        self._on_progress = on_progress
        self._policies = [_policy(given) for given in grid.policies]
        self._curves: list[Curve] = []
        self._oracle: list[int | None] = []

    def add_store(self, opened: OpenedRag, embedder: str | None, chunk_tokens: int) -> None:
        """Measure the questions in every mode."""
        gold = Gold(opened.rag)
        largest = chunk_tokens == max(self._grid.chunk_tokens)
        if largest:
            self._oracle = [gold.oracle_tokens(question) for question in self._questions]
        # Without vectors the default is keyword search, which is not the baseline of claims.
        default: Mode | None = None if "embed" in opened.caches else "lexical"
        for mode in self._grid.modes:
            way = _Way(embedder, mode or default, chunk_tokens)
            self._measure(opened.rag, gold, way, self._policies if largest else [])

    def _measure(self, rag: RAG, gold: Gold, way: _Way, policies: Sequence[TrimPolicy]) -> None:
        grid, quality = self._grid, self._quality
        depths = sorted(grid.depths)
        untrimmed = Curve(
            way.named(f"untrimmed, chunks of at most {way.chunk_tokens}"),
            [way.setting(trim="off", k=k) for k in depths],
            trimmed=False,
        )
        ranked = [_RankedCurves(grid, way, scorer, pool) for scorer in grid.scorers
                  for pool in grid.pools if policies]  # fmt: skip
        fixed = [
            Curve(
                way.named(f"trim policy {policy.name}"),
                [way.setting(trim=policy.name, pool=policy.pool)],
                trimmed=True,
            )
            for policy in policies
        ]
        sizes = {curves.pool for curves in ranked} | {policy.pool for policy in policies}
        for i, question in enumerate(self._questions):
            found = retrieve(rag, question.searched, k=max(depths), pools=sizes, mode=way.mode)
            terms = found.terms
            noting = partial(gold.with_repeats, question)
            untrimmed.add(question, WholeHits(found.hits, noting), depths, quality)
            for curves in ranked:
                ranking = curves.ranking(terms, found.pools[curves.pool])
                curves.add(question, Cuts(ranking, rag.counter, noting), quality)
            for policy, curve in zip(policies, fixed, strict=True):
                pool = found.pools[policy.pool]
                context = trim(terms, pool, policy=policy, counter=rag.counter)
                curve.add(question, Sent(context.context, rag.counter, noting), [1], quality)
            if self._on_progress is not None:
                self._on_progress(untrimmed.name, i + 1, len(self._questions))
        self._curves += [untrimmed, *(c for curves in ranked for c in curves.curves()), *fixed]

    def result(
        self,
        dataset: Dataset,
        measure: str,
        clusters: Sequence[str],
        *,
        retain: float,
        target: float | None,
    ) -> Sweep:
        """Return the curves with the baseline and the target."""
        series = tuple(curve.series(clusters) for curve in self._curves)
        baseline, values = self._baseline(series)
        if target is not None:
            wanted, text = target, f"{measure} {target:.3f}"
        elif baseline is not None:
            wanted, text = retain * baseline.quality, f"{retain:.0%} of the baseline's {measure}"
        else:
            raise ConfigError(
                f"the grid holds no baseline (k {BASELINE_HITS}); add it, or give a --target"
            )
        oracle = [n_tokens for n_tokens in self._oracle if n_tokens is not None]
        return Sweep(
            dataset=dataset.name,
            split=dataset.split,
            measure=measure,
            n=len(self._questions),
            target=wanted,
            target_text=text,
            baseline=baseline,
            baseline_comparable=baseline is not None
            and baseline.setting["chunk_tokens"] == BASELINE_CHUNK_TOKENS
            and baseline.setting["mode"] in {None, "hybrid"},
            series=series,
            minimum_detectable=minimum_detectable(standard_error(values, clusters))
            if values
            else None,
            oracle_tokens=sum(oracle) / len(oracle) if oracle else None,
        )

    def _baseline(self, all_series: Sequence[Series]) -> tuple[Point | None, Sequence[float]]:
        """Return the untrimmed top 5 of the largest chunks, hybrid where that was tried."""
        largest = max(self._grid.chunk_tokens)
        candidates = [
            (curve, i, point)
            for curve, series in zip(self._curves, all_series, strict=True)
            if not series.trimmed
            for i, point in enumerate(series.points)
            if point.setting["chunk_tokens"] == largest and point.setting["k"] == BASELINE_HITS
        ]
        candidates.sort(key=lambda entry: entry[2].setting["mode"] not in {"hybrid", None})
        if not candidates:
            return None, []
        curve, i, point = candidates[0]
        return point, curve.values(i)


@dataclass(frozen=True, slots=True)
class _Way:
    """A way of retrieving."""

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


class _RankedCurves:
    """The curves of one scorer over one depth of pool: by score, and by budget where asked."""

    def __init__(self, grid: Grid, way: _Way, scorer: str, pool: int) -> None:
        used = open_scorer(scorer)
        self._policy = TrimPolicy(name="swept", pool=pool, scorer=used, second_hop=grid.second_hop)
        self.pool = pool
        self._above = sorted(grid.keep_above, reverse=True)
        self._budgets = sorted(grid.budgets)
        name = "trimmed" if used is None else f"trimmed by {used.name}"
        common = {"trim": "rank", "scorer": None if used is None else used.name, "pool": pool}
        self._by_score = Curve(
            way.named(f"{name}, pool of {pool}"),
            [way.setting(**common, keep_above=above) for above in self._above],
            trimmed=True,
        )
        self._by_budget = Curve(
            way.named(f"{name}, pool of {pool}, by budget"),
            [way.setting(**common, budget_tokens=budget) for budget in self._budgets],
            trimmed=True,
        )

    def ranking(self, terms: Sequence[str], pool: Sequence[PoolChunk]) -> Ranking:
        """Return a pool in the order of keeping."""
        return rank(terms, pool, self._policy)

    def add(self, question: Question, cuts: Cuts, quality: Quality) -> None:
        """Add a question with the cuts of its ranked pool."""
        self._by_score.add(question, cuts, [cuts.n_above(above) for above in self._above], quality)
        if self._budgets:
            kept = [cuts.n_within(budget) for budget in self._budgets]
            self._by_budget.add(question, cuts, kept, quality)

    def curves(self) -> list[Curve]:
        """Return the curves that were asked for."""
        return [self._by_score] * bool(self._above) + [self._by_budget] * bool(self._budgets)


def _policy(given: str) -> TrimPolicy:
    policy, _ = open_policy(given)
    if policy is None:
        raise ConfigError("trim off; allowed in a sweep: bundled tight FILE")
    return policy
