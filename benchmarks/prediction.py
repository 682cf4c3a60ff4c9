"""How often the interval of `ragkit eval ppi` holds the truth, and what a judge is worth.

    python benchmarks/prediction.py --times 300

500 questions of 100 documents, whose rates of right answers have a beta distribution; a random 25,
50 or 100 of them have labels. The judge says the same as people with a chance of its accuracy
(.50: it tosses a coin), or is right and lenient: it calls a third of the wrong answers right.
"""

from __future__ import annotations

import argparse
import random
from statistics import fmean

from ragkit_eval.stats.prediction import powered_mean

N_DOCUMENTS, N_QUESTIONS = 100, 5
JUDGES = ("0.50", "0.70", "0.90", "0.97", "lenient")
LABELS = (25, 50, 100)


def judged(judge: str, right: float, rng: random.Random) -> float:
    """Return what a judge says of an answer."""
    if judge == "lenient":
        return 1.0 if right or rng.random() < 1 / 3 else 0.0
    return right if rng.random() < float(judge) else 1.0 - right


def simulate(
    judge: str, n_labels: int, share: float, correlation: float, times: int
) -> tuple[float, float, float, float]:
    """Return coverage with and without the judge, the ratio of widths, and the labels' worth."""
    rng = random.Random(1)
    size = 1.0 / correlation - 1.0
    held: list[bool] = []
    alone: list[bool] = []
    widths: list[float] = []
    worth: list[float] = []
    for _ in range(times):
        truth: dict[str, float] = {}
        documents: dict[str, int] = {}
        for document in range(N_DOCUMENTS):
            rate = rng.betavariate(share * size, (1.0 - share) * size)
            for i in range(N_QUESTIONS):
                truth[f"{document} {i}"] = float(rng.random() < rate)
                documents[f"{document} {i}"] = document
        scores = {name: judged(judge, right, rng) for name, right in truth.items()}
        labels = {name: truth[name] for name in rng.sample(list(truth), n_labels)}
        found = powered_mean(labels, scores, documents)
        held.append(found.low <= share <= found.high)
        low, high = found.labels_alone.low, found.labels_alone.high
        if low is not None and high is not None:
            alone.append(low <= share <= high)
            widths.append((found.high - found.low) / (high - low))
        worth.append(found.worth)
    return fmean(held), fmean(alone), fmean(widths), fmean(worth)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1000)
    options = parser.parse_args()
    for share, correlation in ((0.8, 0.1), (0.95, 0.1)):
        print(f"\ntrue share {share}, correlation {correlation}: coverage, that of labels alone,")
        print("width beside labels alone, worth in labels")
        for judge in JUDGES:
            for n_labels in LABELS:
                of = simulate(judge, n_labels, share, correlation, options.times)
                figures = f"{of[0]:.3f} {of[1]:.3f} {of[2]:.2f} {of[3]:.0f}"
                print(f"{judge:8} {n_labels:4} labels: {figures}")


if __name__ == "__main__":
    main()
