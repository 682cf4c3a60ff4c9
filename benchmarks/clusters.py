"""Simulate how often a certificate is wrong at the boundary, by documents that differ.

    python benchmarks/clusters.py [--documents 24] [--questions 190] [--correlation 0.02]
        [--shape beta|normal] [--unequal] [--times 1000]

Each population loses exactly 5 % of its questions at a limit, so that certifying it is a violation;
at a confidence of 95 % at most 5 % of the populations may be. Documents' own rates are drawn from a
beta distribution, or by a Gaussian copula, with the correlation of two questions of one document
that is asked for.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from statistics import NormalDist

from ragkit_eval.stats.certificates import certify_limit, kept_questions

SHARE, CONFIDENCE = 0.05, 0.95
_STEPS = 2001


def beta_rates(correlation: float, rng: random.Random) -> Callable[[], float]:
    """Return what draws a document's rate from a beta distribution."""
    size = 1.0 / correlation - 1.0
    return lambda: rng.betavariate(SHARE * size, (1.0 - SHARE) * size)


def normal_rates(correlation: float, rng: random.Random) -> Callable[[], float]:
    """Return what draws a document's rate by a Gaussian copula."""
    normal = NormalDist()
    threshold = normal.inv_cdf(SHARE)
    grid = [normal.inv_cdf((i + 0.5) / _STEPS) for i in range(_STEPS)]

    def rate(latent: float, z: float) -> float:
        return normal.cdf((threshold - latent**0.5 * z) / (1.0 - latent) ** 0.5)

    low, high, latent = 0.0, 0.99, 0.5
    for _ in range(30):
        latent = (low + high) / 2.0
        spread = sum((rate(latent, z) - SHARE) ** 2 for z in grid) / _STEPS
        low, high = (latent, high) if spread < correlation * SHARE * (1 - SHARE) else (low, latent)
    return lambda: rate(latent, rng.gauss(0.0, 1.0))


SHAPES = {"beta": beta_rates, "normal": normal_rates}


def main() -> None:
    """Run the simulation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--questions", type=int, default=190, help="of each document")
    parser.add_argument("--correlation", type=float, default=0.02)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="beta")
    parser.add_argument("--unequal", action="store_true", help="sizes by Pareto's law")
    parser.add_argument("--times", type=int, default=1000)
    options = parser.parse_args()
    rng = random.Random(0)
    rate = SHAPES[options.shape](options.correlation, rng)
    violated = 0
    for seed in range(options.times):
        needs: list[float] = []
        names: list[int] = []
        for document in range(options.documents):
            n, lost = options.questions, rate()
            if options.unequal:
                n = min(20 * n, max(1, round(n * rng.paretovariate(1.2) / 6.0)))
            needs += [2.0 if rng.random() < lost else 1.0 for _ in range(n)]
            names += [document] * n
        kept = kept_questions(names, seed)
        found = certify_limit(
            [needs[i] for i in kept], [names[i] for i in kept], share=SHARE, confidence=CONFIDENCE
        )
        violated += found.limit == 1.0
    print(f"violated in {violated / options.times:.1%} of {options.times:,} populations")


if __name__ == "__main__":
    main()
