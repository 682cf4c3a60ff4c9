"""Measure whether certificates hold on real questions: re-split a dataset by document.

    python benchmarks/certificates.py DATASET [--store STORE] [--split all] [--times 400]
        [--retain 0.95] [--scorer none|FILE]

STORE holds the dataset's documents; without one they are ingested.

Half of the documents certify, the other half is read, again and again. A violation is a half whose
own loss exceeds the target: it holds that half's noise too. The price of the certificate is what
its cuts send there, over what cuts would send that lose just the allowed share of that half. Beside
the violations stands the share that noise alone would give, were the certified cut's true loss that
of all questions.
"""

from __future__ import annotations

import argparse
import random
from contextlib import ExitStack
from pathlib import Path

from ragkit import RAG, Settings
from ragkit.trimming import TrimPolicy, open_scorer
from ragkit_eval.calibration.certify import highest_cut
from ragkit_eval.calibration.needs import (
    Needs,
    estimated_tokens,
    mean_tokens,
    measurable,
    measure_needs,
)
from ragkit_eval.data.datasets import load_dataset
from ragkit_eval.measuring.quality import default_quality, quality_measure
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.stores import OpenedRag
from ragkit_eval.stats.certificates import kept_questions


def loss(needs: list[Needs], cut: float) -> float:
    """Return the share of questions that a cut takes something from."""
    return sum(need.lowest < cut for need in needs) / len(needs)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="all")
    parser.add_argument("--times", type=int, default=400)
    parser.add_argument("--retain", type=float, default=0.95)
    parser.add_argument("--cluster", default="document")
    parser.add_argument("--pool", type=int, default=10)
    parser.add_argument("--scorer", default="none")
    parser.add_argument("--cache", type=Path, default=Path(".ragkit-eval"))
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    dataset = load_dataset(options.dataset, split=options.split)
    with ExitStack() as stack:
        if options.store is None:
            cache = stack.enter_context(Cache(options.cache))
            rag = stack.enter_context(OpenedRag(dataset, Settings(), cache)).rag
        else:
            rag = stack.enter_context(RAG(options.store, ledger="off"))
        measure, quality = quality_measure(default_quality(dataset.questions))
        everything = measure_needs(
            rag, measurable(dataset, measure), quality=quality, cluster=options.cluster,
            policy=TrimPolicy(
                name="asked", pool=options.pool, scorer=open_scorer(options.scorer)
            ),
        )  # fmt: skip
    needs = [need for need in everything if need.full == 1.0]
    documents = sorted({need.cluster for need in needs})
    share = 1.0 - options.retain
    rng = random.Random(0)
    broken = by_noise = refused = 0
    tokens: list[float] = []
    uncertified: list[float] = []
    for seed in range(options.times):
        half = set(rng.sample(documents, len(documents) // 2))
        certifying = [need for need in needs if need.cluster in half]
        read = [need for need in needs if need.cluster not in half]
        kept = [certifying[i] for i in kept_questions([n.cluster for n in certifying], seed)]
        found = highest_cut(
            [need.lowest for need in kept], [need.cluster for need in kept], share=share,
            confidence=0.95,
        )  # fmt: skip
        if found.above is None:
            refused += 1
            continue
        tokens.append(mean_tokens(read, found.above))
        uncertified.append(estimated_tokens(read, options.retain))
        broken += loss(read, found.above) > share
        other = set(rng.sample(documents, len(documents) - len(half)))
        by_noise += loss([n for n in needs if n.cluster in other], found.above) > share
    n = options.times - refused
    print(f"{dataset.name}: {len(needs)} questions that the untrimmed top 5 serves, "
          f"{len(documents)} documents, {options.times} re-splits, {refused} refused")  # fmt: skip
    if n:
        certified, chosen = sum(tokens) / n, sum(uncertified) / n
        print(f"certified cuts keep {certified:.0f} tokens on average; uncertified cuts, read off "
              f"the other half, {chosen:.0f}: a factor of {certified / chosen:.2f}")  # fmt: skip
        print(f"violations {broken / n:.3f}; a random half at the same cuts {by_noise / n:.3f}")


if __name__ == "__main__":
    main()
