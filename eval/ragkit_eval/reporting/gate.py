"""May this run replace that one? A three-valued verdict that fails closed.

    [policy]
    alpha = 0.05                # chance of failing a run that is no worse, over all checks
    inconclusive = "report"     # exit 5; "fail": exit 4; "pass": exit 0
    max_error_rate = 0.0        # share of questions that may have failed
    min_questions = 1

    [measure.EvidenceRecall]
    margin = 0.02               # a loss up to this is accepted (needs a baseline)
    floor = 0.75

    [measure.ContextTokens]
    margin = "5%"               # of the baseline's mean
    ceiling = 1200
    statistic = "p95"           # of ceiling and floor: mean (default), p50 or p95

    most = 4096                 # largest value it can have; for `--sequential` only

    [slice."type=bridge".measure.EvidenceRecall]
    floor = 0.6                 # of questions whose metadata says so

A margin passes when the one-sided paired interval of the loss stays inside it (non-inferiority),
and fails when the loss is larger than the margin and chance does not explain that there is one
(sign-flip test, Holm over all margins). Everything in between is inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from ragkit.errors import ConfigError, ExitCode
from ragkit.text.jsontext import as_object, read_toml
from ragkit.types import Json
from ragkit_eval.reporting.comparison import check_comparable, finite, pair
from ragkit_eval.running.finished import Run, Score
from ragkit_eval.stats.inference import (
    FLIPS,
    RESAMPLES,
    bootstrap,
    bootstrap_quantile,
    holm,
    interval,
    known,
    minimum_detectable,
    quantile,
    sign_flip,
    standard_error,
)

Verdict: TypeAlias = Literal["pass", "fail", "inconclusive"]
WhenInconclusive: TypeAlias = Literal["report", "fail", "pass"]
Statistic: TypeAlias = Literal["mean", "p50", "p95"]
_WHEN_INCONCLUSIVE: Mapping[str, WhenInconclusive] = {
    "report": "report",
    "fail": "fail",
    "pass": "pass",
}
STATISTICS: Mapping[Statistic, float | None] = {"mean": None, "p50": 0.5, "p95": 0.95}
_NAMEDSTATISTICS: Mapping[str, Statistic] = {"mean": "mean", "p50": "p50", "p95": "p95"}
_EXITS: Mapping[Verdict, ExitCode] = {
    "pass": ExitCode.DONE,
    "fail": ExitCode.GATE_FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is asked of one measure, of all questions or of a slice (`field=value`)."""

    measure: str
    slice: str | None = None
    margin: float | None = None
    margin_is_share: bool = False
    floor: float | None = None
    ceiling: float | None = None
    statistic: Statistic = "mean"
    most: float | None = None

    @property
    def name(self) -> str:
        """Measure and slice."""
        return self.measure if self.slice is None else f"{self.measure} [{self.slice}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One verdict: what was asked, what was seen, and why."""

    name: str
    kind: str
    verdict: Verdict
    detail: str
    limit: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    minimum_detectable: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """How far a sequential gate read: `n_used` of `n` questions, in an order that `seed` fixes."""

    scope: str
    seed: int
    n: int
    n_used: int
    n_documents: int
    n_documents_used: int
    stopped_early: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The verdict over all checks, and the exit code that says it.

    `sequential` is None where all questions were read at once.
    """

    verdict: Verdict
    exit_code: int
    checks: tuple[Check, ...]
    run: str
    baseline: str | None
    sequential: Sequential | None = None

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval gate`."""
        return {
            "schema": 1,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "run": self.run,
            "baseline": self.baseline,
            "checks": [asdict(check) for check in self.checks],
            **({} if self.sequential is None else asdict(self.sequential)),
        }

    def raise_for_verdict(self) -> None:
        """Raise `AssertionError` with the checks that did not pass, unless the exit code is 0."""
        if self.exit_code:
            lines = [
                f"{check.verdict}: {check.name} {check.kind}: {check.detail}"
                for check in self.checks
                if check.verdict != "pass"
            ]
            raise AssertionError("\n".join([f"gate: {self.verdict}", *lines]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The rules of a gate, and how strictly they are applied."""

    rules: tuple[Rule, ...]
    alpha: float = 0.05
    inconclusive: WhenInconclusive = "report"
    max_error_rate: float = 0.0
    min_questions: int = 1
    seed: int = 0
    resamples: int = RESAMPLES
    flips: int = FLIPS

    @classmethod
    def load(cls, path: str | Path) -> Gate:
        """Read a gate file; raises `ConfigError` for unknown keys and values."""
        try:
            data = read_toml(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"gate {path} cannot be read: {error}") from error
        return _gate(str(path), data)

    def check(self, run: Run, *, baseline: Run | None = None) -> GateResult:
        """Return the verdict on a run.

        Args:
            run: The candidate.
            baseline: The run with which margins compare.

        Raises:
            ConfigError: a rule has a margin and there is no baseline.
        """
        self.check_baseline(baseline)
        checks = self.sound(run, baseline)
        if not checks:
            for rule in self.rules:
                checks += self._limits(rule, run)
            if baseline is not None:
                checks += self._margins(run, baseline)
        return self.result(run, baseline, checks)

    def check_baseline(self, baseline: Run | None) -> None:
        """Raise `ConfigError` where a margin has no `baseline` to compare with."""
        needing = [rule.name for rule in self.rules if rule.margin is not None]
        if baseline is None and needing:
            raise ConfigError(f"a margin on {needing[0]} needs a baseline: --baseline RUN")

    def result(
        self,
        run: Run,
        baseline: Run | None,
        checks: Sequence[Check],
        *,
        sequential: Sequential | None = None,
    ) -> GateResult:
        """Return the verdict over `checks` of a `run` and `baseline`, `sequential` or of all."""
        found: set[Verdict] = {check.verdict for check in checks}
        verdict: Verdict = "pass"
        if "fail" in found or not checks:
            verdict = "fail"
        elif "inconclusive" in found:
            verdict = "inconclusive"
        exit_code = _EXITS[verdict]
        if verdict == "inconclusive" and self.inconclusive != "report":
            exit_code = _EXITS[self.inconclusive]
        return GateResult(
            verdict=verdict,
            exit_code=exit_code,
            checks=tuple(checks),
            run=str(run.folder),
            baseline=None if baseline is None else str(baseline.folder),
            sequential=sequential,
        )

    def sound(self, run: Run, baseline: Run | None) -> list[Check]:
        """Return what makes any verdict on a `run` and its `baseline` but "fail" impossible."""
        checks: list[Check] = []

        def fail(kind: str, detail: str) -> None:
            checks.append(Check(name="run", kind=kind, verdict="fail", detail=detail))

        if len(run.scores) < max(1, self.min_questions):
            fail("questions", f"{len(run.scores)} questions; needed: {max(1, self.min_questions)}")
        for checked in (run, baseline):
            if checked is None or not checked.scores:
                continue
            errors = sum(score.status == "error" for score in checked.scores)
            rate = errors / len(checked.scores)
            if rate > self.max_error_rate:
                fail(
                    "errors",
                    f"{errors} of {len(checked.scores)} questions of {checked.name} failed; "
                    f"allowed: {self.max_error_rate:.1%}",
                )
        if baseline is not None:
            try:
                check_comparable(baseline, run)
            except ConfigError as error:
                fail("dataset", str(error))
        for rule in self.rules:
            detail = _unusable(rule, run, baseline)
            if detail is not None:
                fail("measure", detail)
        return checks

    def _limits(self, rule: Rule, run: Run) -> list[Check]:
        chosen = [
            (value, score.cluster)
            for score in _slice(run, rule.slice)
            if (value := score.values.get(rule.measure)) is not None
        ]
        values, clusters = [value for value, _ in chosen], [cluster for _, cluster in chosen]
        checks: list[Check] = []
        for kind, limit in (("floor", rule.floor), ("ceiling", rule.ceiling)):
            if limit is None:
                continue
            value, low, high = self._statistic(values, clusters, rule.statistic)
            inside, outside = (low >= limit, high < limit)
            if kind == "ceiling":
                inside, outside = (high <= limit, low > limit)
            verdict: Verdict = "pass" if inside else "fail" if outside else "inconclusive"
            checks.append(
                Check(
                    name=rule.name,
                    kind=kind,
                    verdict=verdict,
                    detail=f"{rule.statistic} {value:.4g} [{low:.4g}, {high:.4g}], "
                    f"{kind} {limit:.4g}, n {len(values)}",
                    limit=limit,
                    value=value,
                    low=known(low),
                    high=known(high),
                    n=len(values),
                )
            )
        return checks

    def _statistic(
        self, values: Sequence[float], clusters: Sequence[str], statistic: Statistic
    ) -> tuple[float, float, float]:
        confidence = 1.0 - 2.0 * self.alpha
        share = STATISTICS[statistic]
        if share is None:
            found = interval(
                values, clusters, confidence=confidence, resamples=self.resamples, seed=self.seed
            )
            low = -math.inf if found.low is None else found.low
            high = math.inf if found.high is None else found.high
            return math.nan if found.mean is None else found.mean, low, high
        low, high = bootstrap_quantile(
            values, clusters, share, confidence=confidence, seed=self.seed
        )
        return quantile(values, share), low, high

    def _margins(self, run: Run, baseline: Run) -> list[Check]:
        asked = [(rule, rule.margin) for rule in self.rules if rule.margin is not None]
        checks = [self._margin(rule, margin, run, baseline) for rule, margin in asked]
        adjusted = holm({str(i): p for i, (_, _, p) in enumerate(checks)})
        return [
            self._decided(check, is_lost=is_lost, p=adjusted[str(i)])
            for i, (check, is_lost, _) in enumerate(checks)
        ]

    def _margin(
        self, rule: Rule, margin: float, run: Run, baseline: Run
    ) -> tuple[Check, bool, float]:
        """Return the check but for its failure, whether more was lost, and the loss's p-value."""
        chosen = [score.id for score in _slice(run, rule.slice)]
        pairs = pair(baseline, run, rule.measure, only=chosen)
        sign = 1.0 if run.measure(rule.measure)["direction"] == "higher" else -1.0
        gains = [sign * difference for difference in pairs.differences]
        n = len(gains)
        if rule.margin_is_share:
            margin *= abs(math.fsum(pairs.base) / n)
        mean = math.fsum(gains) / n
        low, high = bootstrap(
            gains,
            pairs.clusters,
            confidence=1.0 - 2.0 * self.alpha,
            resamples=self.resamples,
            seed=self.seed,
        )
        detectable = minimum_detectable(standard_error(gains, pairs.clusters), alpha=2 * self.alpha)
        # Where nothing differs, nothing is known of how much would.
        is_known = 0.0 < detectable < math.inf
        finds = f"{detectable:.4g}" if is_known else "unknown size"
        p = sign_flip(gains, pairs.clusters, flips=self.flips, seed=self.seed, one_sided=True)
        inside = low > -margin or not any(gains)
        check = Check(
            name=rule.name,
            kind="margin",
            verdict="pass" if inside else "inconclusive",
            detail=f"{'gain' if mean >= 0 else 'loss'} {abs(mean):.4g}, gain in "
            f"[{low:.4g}, {high:.4g}], loss allowed {margin:.4g}, n {n}, "
            f"finds a change of {finds}",
            limit=margin,
            value=mean,
            low=known(low),
            high=known(high),
            minimum_detectable=detectable if is_known else None,
            n=n,
        )
        return check, -mean > margin, p

    def _decided(self, check: Check, *, is_lost: bool, p: float) -> Check:
        detail = f"{check.detail}, p {p:.3g}"
        if check.verdict != "pass" and is_lost and p <= self.alpha:
            return replace(check, verdict="fail", detail=detail)
        return replace(check, detail=detail)


def _unusable(rule: Rule, run: Run, baseline: Run | None) -> str | None:
    """Return why a rule cannot be checked."""
    try:
        values = [finite(score, rule.measure) for score in _slice(run, rule.slice)]
        run.measure(rule.measure)
        if all(value is None for value in values):
            return f"no question has a value of {rule.name}"
        if rule.margin is not None and baseline is not None:
            baseline.measure(rule.measure)
            only = [score.id for score in _slice(run, rule.slice)]
            pairs = pair(baseline, run, rule.measure, only=only)
            if not pairs.new:
                return f"no question has {rule.name} in both runs"
            if pairs.missing:
                return f"{pairs.missing} questions have {rule.name} in one of the two runs only"
    except ConfigError as error:
        return str(error)
    return None


def _slice(run: Run, name: str | None) -> list[Score]:
    """Return the questions of a slice: `answerable`, `unanswerable` or `field=value`."""
    return [score for score in run.scores if in_slice(score, name)]


def in_slice(score: Score, name: str | None) -> bool:
    """Whether a question belongs to a slice; None is all of them."""
    if name is None:
        return True
    if name in {"answerable", "unanswerable"}:
        return score.unanswerable == (name == "unanswerable")
    key, _, value = name.partition("=")
    return str(score.metadata.get(key)) == value


def _gate(path: str, data: Mapping[str, object]) -> Gate:
    _known(path, data, {"policy", "measure", "slice"})
    policy = _table(path, "policy", data.get("policy", {}))
    _known(
        path,
        policy,
        {"alpha", "inconclusive", "max_error_rate", "min_questions", "seed", "resamples"},
    )
    rules = _rules(path, data.get("measure", {}), None)
    for name, table in _table(path, "slice", data.get("slice", {})).items():
        inside = _table(path, f"slice.{name}", table)
        _known(path, inside, {"measure"})
        if "=" not in name and name not in {"answerable", "unanswerable"}:
            raise ConfigError(f"{path}: slice {name!r}; allowed: field=value (un)answerable")
        rules += _rules(path, inside.get("measure", {}), name)
    if not rules:
        raise ConfigError(f"{path} asks for nothing; it needs a table such as [measure.F1]")
    alpha = _number(path, "alpha", policy.get("alpha", 0.05))
    if not 0.0 < alpha < 0.5:
        raise ConfigError(f"{path}: alpha {alpha}; allowed: more than 0, less than 0.5")
    inconclusive = policy.get("inconclusive", "report")
    chosen = _WHEN_INCONCLUSIVE.get(str(inconclusive))
    if chosen is None:
        raise ConfigError(f"{path}: inconclusive {inconclusive!r}; allowed: report fail pass")
    return Gate(
        rules=tuple(rules),
        alpha=alpha,
        inconclusive=chosen,
        max_error_rate=_number(path, "max_error_rate", policy.get("max_error_rate", 0.0)),
        min_questions=int(_number(path, "min_questions", policy.get("min_questions", 1))),
        seed=int(_number(path, "seed", policy.get("seed", 0))),
        resamples=int(_number(path, "resamples", policy.get("resamples", RESAMPLES))),
    )


def _rules(path: str, given: object, name: str | None) -> list[Rule]:
    rules: list[Rule] = []
    for measure, entry in _table(path, "measure", given).items():
        table = _table(path, f"measure.{measure}", entry)
        _known(path, table, {"margin", "floor", "ceiling", "statistic", "most"})
        margin, is_share = table.get("margin"), False
        if isinstance(margin, str) and margin.endswith("%"):
            is_share = True
            try:
                margin = float(margin[:-1]) / 100.0
            except ValueError:
                raise ConfigError(f"{path}: margin {margin!r}; allowed: a number, or 5%") from None
        named = table.get("statistic", "mean")
        statistic = _NAMEDSTATISTICS.get(str(named))
        if statistic is None:
            raise ConfigError(f"{path}: statistic {named!r}; allowed: {' '.join(STATISTICS)}")
        numbers = {
            key: None if value is None else _number(path, key, value)
            for key, value in {
                "margin": margin,
                "floor": table.get("floor"),
                "ceiling": table.get("ceiling"),
                "most": table.get("most"),
            }.items()
        }
        if all(numbers[key] is None for key in ("margin", "floor", "ceiling")):
            raise ConfigError(f"{path}: {measure} needs margin, floor or ceiling")
        if numbers["margin"] is not None and numbers["margin"] < 0.0:
            raise ConfigError(f"{path}: margin {numbers['margin']}; allowed: 0 or more")
        if numbers["most"] is not None and numbers["most"] <= 0.0:
            raise ConfigError(f"{path}: most {numbers['most']}; allowed: more than 0")
        rules.append(
            Rule(
                measure=measure,
                slice=name,
                margin_is_share=is_share,
                statistic=statistic,
                **numbers,
            )
        )
    return rules


def _table(path: str, name: str, value: object) -> Mapping[str, object]:
    try:
        return as_object(value)
    except ValueError:
        raise ConfigError(f"{path}: {name} must be a table") from None


def _known(path: str, table: Mapping[str, object], allowed: set[str]) -> None:
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise ConfigError(
            f"{path}: unknown key {unknown[0]!r}; allowed: {' '.join(sorted(allowed))}"
        )


def _number(path: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{path}: {name} {value!r}; allowed: a number")
    return float(value)
