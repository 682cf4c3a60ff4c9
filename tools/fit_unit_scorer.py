"""Fit the scorer of units in documents with structure: the numbers of `unit_scorer.json`.

    python tools/fit_unit_scorer.py DATASET STORE OUT [--split calibration]

DATASET is a folder of questions with `needs` (strings that an answer needs), STORE its documents,
ingested with default settings. A logistic regression (standardised features, L2) learns which units
hold a need; units of questions with many count less.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkit import RAG
from ragkit.trimming import BUILTIN_POLICY, PoolChunk, measure
from ragkit.trimming.atoms import Atoms
from ragkit.trimming.unit_scorer import unit_features
from ragkit_eval.data.datasets import Question, load_dataset

PENALTY = 20.0
"""Of the squared weights: chosen by leaving out each folder of the calibration questions."""


@dataclass(frozen=True)
class Example:
    """A question's pool: one row of features per unit, and whether the unit holds a need."""

    question: Question
    columns: Mapping[str, Sequence[float]]
    holds: np.ndarray[Any, Any]

    def matrix(self, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return the columns of these names side by side."""
        return np.array([self.columns[name] for name in names]).T


def example(
    question: Question, terms: Sequence[str], pool: Sequence[PoolChunk], *, words: bool
) -> Example:
    """Return what is learned from one question; with `words` as if there were no vectors."""
    signals = measure(terms, pool)
    if words:
        signals = signals.without_vectors()
    columns = unit_features(terms, pool, signals, Atoms(pool, BUILTIN_POLICY))
    wanted = [squeezed(text) for need in question.needs for text in need]
    texts = [
        squeezed(chunk.text[s.span[0] - chunk.start : s.span[1] - chunk.start])
        for s in signals.sentences
        for chunk in [pool[s.chunk].hit.chunk]
    ]
    return Example(question, columns, np.array([any(w in text for w in wanted) for text in texts]))


def squeezed(text: str) -> str:
    """Return text with runs of white space and column bars as one space."""
    return re.sub(r"[\s|\u200b]+", " ", text).strip()


def fit(examples: Iterable[Example], names: Sequence[str]) -> dict[str, float]:
    """Return the weights of the raw features, and the offset, by Newton's method."""
    some = list(examples)
    x = np.concatenate([e.matrix(names) for e in some])
    y = np.concatenate([e.holds for e in some]).astype(float)
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    z = np.hstack([(x - mean) / deviation, np.ones((len(x), 1))])
    weight = np.concatenate([np.where(e.holds, max(1, e.holds.sum()) ** -0.5, 1.0) for e in some])
    penalty = np.diag([PENALTY] * len(names) + [0.0])
    beta = np.zeros(len(names) + 1)
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-z @ beta))
        gradient = z.T @ (weight * (y - p)) - penalty @ beta
        hessian = (z * (weight * p * (1 - p))[:, None]).T @ z + penalty
        step = np.linalg.solve(hessian, gradient)
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    raw = beta[:-1] / deviation
    offset = float(beta[-1] - raw @ mean)
    return {
        "offset": round(offset, 6),
        **{n: round(float(w), 6) for n, w in zip(names, raw, strict=True)},
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", default="calibration")
    args = parser.parse_args()
    dataset = load_dataset(args.dataset, split=args.split)
    questions = [q for q in dataset.questions if q.needs and not q.history]
    found: dict[str, list[Example]] = {"with_vectors": [], "by_words": []}
    with RAG(args.store, ledger="off") as rag:
        for question in questions:
            terms, pool = rag.pool(question.text, k=10)
            for name, examples in found.items():
                examples.append(example(question, terms, pool, words=name == "by_words"))
    weights = {name: fit(some, list(some[0].columns)) for name, some in found.items()}
    args.out.write_text(json.dumps(weights, indent=2) + "\n", encoding="utf-8")
    print(f"{len(questions)} questions")


if __name__ == "__main__":
    main()
