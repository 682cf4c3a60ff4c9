"""A mean from few human labels and many scores of a judge (prediction-powered inference).

The judge's mean over all questions is corrected by what it gets wrong where there are labels:
mean(label) + weight x (mean(score, unlabelled) - mean(score, labelled)). Whatever the judge is,
that is unbiased, if the labelled questions are a random draw (Angelopoulos et al. 2023,
"Prediction-powered inference"); the weight makes the error smallest, and 0 leaves the labels alone
(PPI++, Angelopoulos, Duchi and Zrnic 2023).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist

from ragkit.errors import ConfigError
from ragkit.types import Json
from ragkit_eval.stats.certificates import t_quantile
from ragkit_eval.stats.inference import Interval, clopper_pearson, interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PoweredMean:
    """A mean with its interval, from labels and scores.

    `judge_weight` is 0 where the judge makes the interval no narrower: it is then `labels_alone`,
    that of the labels. `worth` is about how many labels alone would have one as narrow.
    `judge_bias` is the mean of score less label where there are both.
    """

    mean: float
    low: float
    high: float
    confidence: float
    judge_weight: float
    worth: float
    n_labels: int
    n_scored: int
    n_documents: int
    n_documents_labelled: int
    judge_mean: float
    judge_bias: float
    labels_alone: Interval

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON form of `ragkit eval ppi`."""
        return {"schema": 1, **asdict(self)}


def powered_mean(
    labels: Mapping[str, float],
    scores: Mapping[str, float],
    clusters: Mapping[str, Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> PoweredMean:
    """Return the mean label of all scored questions, with an interval.

    Args:
        labels: What people say of some questions, 0 to 1; a random draw from those with a score.
        scores: What the judge says of all of them, on any scale.
        clusters: The document of each question with a score; without any they count as
            independent.
        confidence: Of the interval.

    Raises:
        ConfigError: labels of fewer than two documents, out of range, or without a score.
    """
    unscored = sorted(labels.keys() - scores.keys())
    if unscored:
        raise ConfigError(
            f"{len(unscored)} labelled questions have no score, first {unscored[0]!r}; those that "
            "the judge could not do are no random draw"
        )
    wrong = [name for name, label in labels.items() if not 0.0 <= label <= 1.0]
    if wrong:
        raise ConfigError(f"label of {wrong[0]!r}: {labels[wrong[0]]:g}; allowed: 0 to 1")
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence {confidence}; allowed: more than 0, less than 1")
    of = {name: clusters[name] if clusters else name for name in scores}
    n_documents_labelled = len({of[name] for name in labels})
    if n_documents_labelled < 2:
        raise ConfigError(f"labels of {n_documents_labelled} documents; needed: 2 or more")
    names = list(labels)
    alone = interval(
        [labels[name] for name in names], [of[name] for name in names], confidence=confidence
    )
    mean = math.fsum(labels.values()) / len(labels)
    weight, corrected, variance = _weighed(labels, scores, of)
    low, high = _known(alone)
    powered = _bounds(
        corrected, variance, n_documents_labelled, confidence,
        is_share=all(label in {0.0, 1.0} for label in labels.values()),
    )  # fmt: skip
    used = weight > 0.0 and powered is not None and powered[1] - powered[0] < high - low
    worth = float(len(labels))
    if used and powered is not None:
        worth *= ((high - low) / (powered[1] - powered[0])) ** 2
        low, high = powered
    return PoweredMean(
        mean=corrected if used else mean,
        low=low,
        high=high,
        confidence=confidence,
        judge_weight=weight if used else 0.0,
        worth=worth,
        n_labels=len(labels),
        n_scored=len(scores),
        n_documents=len(set(of.values())),
        n_documents_labelled=n_documents_labelled,
        judge_mean=math.fsum(scores.values()) / len(scores),
        judge_bias=math.fsum(scores[name] - labels[name] for name in names) / len(labels),
        labels_alone=alone,
    )


def _known(found: Interval) -> tuple[float, float]:
    return (
        0.0 if found.low is None else found.low,
        1.0 if found.high is None else found.high,
    )


def _weighed(
    labels: Mapping[str, float], scores: Mapping[str, float], of: Mapping[str, Hashable]
) -> tuple[float, float, float]:
    """Return the weight, the corrected mean, and its variance.

    The sums of each document, linearised: its labels' part of the mean, and its part of the
    correction. The weight is that of the least variance of their difference, 0 or more.
    """
    n, n_more = len(labels), len(scores) - len(labels)
    mean = math.fsum(labels.values()) / n
    labelled = math.fsum(scores[name] for name in labels) / n
    more = math.fsum(score for name, score in scores.items() if name not in labels)
    own: dict[Hashable, float] = {}
    correction: dict[Hashable, float] = {}
    for name, score in scores.items():
        cluster = of[name]
        if name in labels:
            own[cluster] = own.get(cluster, 0.0) + (labels[name] - mean) / n
            part = (score - labelled) / n
        else:
            part = -(score - more / n_more) / n_more
        correction[cluster] = correction.get(cluster, 0.0) + part
    k = len(own)
    square = math.fsum(value * value for value in correction.values())
    if not n_more or not square:
        return 0.0, mean, math.inf
    both = math.fsum(own.get(cluster, 0.0) * part for cluster, part in correction.items())
    weight = max(0.0, both / square)
    left = (own.get(cluster, 0.0) - weight * part for cluster, part in correction.items())
    # Few labels may meet none of a good judge's errors: as if one more did (the idea of Agresti and
    # Coull 1998).
    variance = k / (k - 1) * (math.fsum(value * value for value in left) + 1.0 / n**2)
    return weight, mean + weight * (more / n_more - labelled), variance


def _bounds(
    mean: float, variance: float, n_documents: int, confidence: float, *, is_share: bool
) -> tuple[float, float] | None:
    """Return the interval; None where a share's mean lies outside of what can be.

    Student's t takes one degree of freedom for the mean and one for the weight. A share has the
    exact interval of as many questions as have this variance.
    """
    upper = (1.0 + confidence) / 2.0
    t = t_quantile(upper, max(1, n_documents - 2))
    if not math.isfinite(variance):
        return None
    if not is_share:
        width = t * math.sqrt(variance)
        return mean - width, mean + width
    if not 0.0 < mean < 1.0:
        return None
    wider = (t / NormalDist().inv_cdf(upper)) ** 2
    n_effective = mean * (1.0 - mean) / (variance * wider)
    return clopper_pearson(mean * n_effective, n_effective, confidence=confidence)
