"""TREC runs against judgements, as a drop-in for trec_eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_eval.measuring import ranking
from ragkit_eval.measuring.measures import Measure, OrderValue
from ragkit_eval.stats.inference import interval

RESAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Values by measure and query. All judged queries count; a missing one is 0."""

    values: Mapping[str, Mapping[str, float]]
    missing: tuple[str, ...]
    unjudged: tuple[str, ...]

    def to_dict(self, *, per_query: bool = False) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval score`."""
        measures: dict[str, Json] = {}
        n = 0
        for name, by_query in self.values.items():
            found = interval(list(by_query.values()), resamples=RESAMPLES)
            n = max(n, found.n)
            measures[name] = {
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "n": found.n,
            }
        data: dict[str, Json] = {
            "schema": 1,
            "n": n,
            "missing": len(self.missing),
            "unjudged": len(self.unjudged),
            "measures": measures,
        }
        if per_query:
            data["queries"] = {name: dict(by_query) for name, by_query in self.values.items()}
        return data


def score(
    run: Mapping[str, ranking.Scores],
    judged: Mapping[str, ranking.Judgements],
    measures: Sequence[Measure],
    *,
    single_precision: bool = False,
) -> Scores:
    """Score a run.

    Args:
        run: Scores of documents by query.
        judged: Relevance of documents by query.
        measures: Rank measures, for example `parse_measure("nDCG@10")`.
        single_precision: Compare scores as float32, as trec_eval 9 does.

    Raises:
        ConfigError: a measure needs more than a ranking, no query is judged, or a score is not
            finite.
    """
    wanted: dict[str, OrderValue] = {}
    for measure in measures:
        if measure.of_order is None:
            raise ConfigError(f"measure {measure} needs more than a ranking; use ragkit eval run")
        wanted[str(measure)] = measure.of_order
    relevant = {query: grades for query, grades in judged.items() if max(grades.values()) > 0}
    if not relevant:
        raise ConfigError("no query has a relevant document")
    values: dict[str, dict[str, float]] = {measure: {} for measure in wanted}
    for query, relevance in relevant.items():
        order = ranking.ranked(run.get(query, {}), single_precision=single_precision)
        for name, value in wanted.items():
            values[name][query] = value(order, relevance) or 0.0
    return Scores(
        values=values,
        missing=tuple(query for query in relevant if query not in run),
        unjudged=tuple(query for query in run if query not in judged),
    )
