"""What `calibrate --mode conformal` keeps, on average and in the worst sets of labels.

    python benchmarks/marginal.py --times 2000

What a question needs is uniform in (0, 1), correlated within documents by a Gaussian copula, so
that a limit keeps exactly its own value of the questions to come.
"""

from __future__ import annotations

import argparse
import random
from statistics import NormalDist, fmean

from ragkit_eval.stats.certificates import marginal_limit

RETAIN = 0.9
SETTINGS = ((20, 1), (40, 1), (60, 1), (20, 3), (40, 3))
CORRELATIONS = (0.0, 0.1, 0.3)


def labels(
    n_documents: int, n_questions: int, correlation: float, rng: random.Random
) -> tuple[list[float], list[int]]:
    """Return what the questions need, and their documents."""
    normal = NormalDist()
    needs: list[float] = []
    names: list[int] = []
    for document in range(n_documents):
        own = rng.gauss(0.0, correlation**0.5)
        for _ in range(n_questions):
            needs.append(normal.cdf(own + rng.gauss(0.0, (1.0 - correlation) ** 0.5)))
            names.append(document)
    return needs, names


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000)
    options = parser.parse_args()
    rng = random.Random(0)
    print(f"Promised: {RETAIN} on average. Documents x questions, correlation: mean kept, what 5 %")
    print(
        "of the sets of labels keep less than, and the share of sets that keep less than promised"
    )
    for n_documents, n_questions in SETTINGS:
        for correlation in CORRELATIONS if n_questions > 1 else CORRELATIONS[:1]:
            kept: list[float] = []
            for _ in range(options.times):
                needs, names = labels(n_documents, n_questions, correlation, rng)
                found = marginal_limit(needs, names, share=1.0 - RETAIN).limit
                kept.append(1.0 if found is None else found)
            low = sorted(kept)[len(kept) // 20]
            below = sum(value < RETAIN for value in kept) / len(kept)
            setting = f"{n_documents:3} x {n_questions}, {correlation:.1f}"
            print(f"{setting}: {fmean(kept):.3f}, {low:.3f}, {below:.0%}")


if __name__ == "__main__":
    main()
