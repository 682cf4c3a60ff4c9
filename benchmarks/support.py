"""Fit the support score: how well a pool of chunks supports an answer to a question.

    pip install 'ragkit-lean[local]' ragkit-eval
    python benchmarks/support.py --limit 600 FOLDER:SPLIT:STORE FOLDER:SPLIT:STORE …

Each argument names a folder of labelled questions, one of its splits, and a store of its documents
with sentence vectors. All questions are asked of all stores: a set's own answerable questions are
answered there (1), its unanswerable ones are not (0, weight 1/2), nor are those of other sets (0).
A set of which only questions are wanted, or only a store, lacks the other: `FOLDER:SPLIT:` or
`::STORE`.

The score is a logistic regression of the largest share of the question's term weight, and of the
largest cosine, of a sentence with its neighbours. Printed are its constants, and which share of the
questions lies below the bundled refusal threshold, with today's constants and with the fitted ones.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vector_kinds import spread

from ragkit import RAG
from ragkit.trimming import BUILTIN_POLICY, measure, support_score
from ragkit_eval.data.datasets import load_dataset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNANSWERABLE_WEIGHT = 0.5
"""They are written to resemble what the documents do answer, so no threshold refuses many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question asked of a store."""

    group: str
    answered: bool
    weight: float
    coverage: float
    cosine: float
    support: float


def asked(questions: Sequence[tuple[str, bool]], label: str, rag: RAG, own: bool) -> list[Example]:
    """Ask questions, each with whether its own documents answer it, of a store."""
    found: list[Example] = []
    for text, answerable in questions:
        terms, pool = rag.pool(text, k=BUILTIN_POLICY.pool, mode="hybrid")
        columns = measure(terms, pool).columns
        if "window_cosine" not in columns:
            # Chunks of one sentence each, in a store of before sentences had rows of their own.
            continue
        kind = "" if answerable else ", unanswerable"
        found.append(
            Example(
                group=f"{label}{kind}",
                answered=own and answerable,
                weight=UNANSWERABLE_WEIGHT if own and not answerable else 1.0,
                coverage=max(columns["window_covered"]),
                cosine=max(columns["window_cosine"]),
                support=support_score(terms, pool) or 0.0,
            )
        )
    return found


def questions_of(folder: Path, split: str, limit: int) -> list[tuple[str, bool]]:
    """Return questions at even distances, each with whether it is answerable."""
    path = folder / "questions.jsonl"
    if path.exists():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [r for r in rows if r["split"] == split and not r.get("history")]
        return spread([(r["text"], bool(r["needs"])) for r in rows], limit)
    questions = load_dataset(folder, split=split).questions
    return spread([(q.text, not q.unanswerable) for q in questions], limit)


def fitted(examples: Sequence[Example]) -> tuple[float, float, float]:
    """Return the weights of coverage and cosine, and the offset, by Newton's method."""
    import numpy as np

    x = np.array([[e.coverage, e.cosine, 1.0] for e in examples])
    y = np.array([float(e.answered) for e in examples])
    w = np.array([e.weight for e in examples])
    beta: NDArray[np.float64] = np.zeros(3)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        curvature = x.T @ (x * (w * p * (1.0 - p))[:, None]) + 1e-6 * np.eye(3)
        step = np.linalg.solve(curvature, x.T @ (w * (y - p)))
        beta += step
        if float(np.abs(step).max()) < 1e-9:
            break
    coverage, cosine, offset = beta.tolist()
    return coverage, cosine, offset


def supported(constants: Sequence[float], example: Example) -> float:
    """Return the support that constants give to an example."""
    coverage, cosine, offset = constants
    return 1.0 / (1.0 + math.exp(-(coverage * example.coverage + cosine * example.cosine + offset)))


def print_shares(examples: Sequence[Example], score: Callable[[Example], float]) -> None:
    """Print which share of each group of questions is refused."""
    limit = BUILTIN_POLICY.refuse_below
    for group in dict.fromkeys(e.group for e in examples):
        of_group = [score(e) for e in examples if e.group == group]
        share = sum(s < limit for s in of_group) / len(of_group)
        print(f"  {group:50}{len(of_group):6}{share:8.3f}")
    for label, answered in (("all answered", True), ("all others, weighted", False)):
        of_kind = [e for e in examples if e.answered is answered]
        weight = sum(e.weight for e in of_kind) or 1.0
        share = sum(e.weight for e in of_kind if score(e) < limit) / weight
        print(f"  {label:50}{len(of_kind):6}{share:8.3f}")


def main() -> None:
    """Run the fit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", metavar="FOLDER:SPLIT:STORE")
    parser.add_argument("--limit", type=int, default=600, help="questions of each set (600)")
    parser.add_argument("--constants", help="coverage,cosine,offset to print the shares of, too")
    options = parser.parse_args()
    sets = [given.split(":") for given in options.sets]
    questions = {f: questions_of(Path(f), split, options.limit) for f, split, _ in sets if f}
    examples: list[Example] = []
    for folder, _, store in (given for given in sets if given[2]):
        with RAG(store, ledger="off") as rag:
            for of, texts in questions.items():
                label = f"{Path(of).name} of {Path(store).name}"
                examples += asked(texts, label, rag, of == folder)
    print("refused with today's constants:")
    print_shares(examples, lambda e: e.support)
    given = [tuple(map(float, options.constants.split(",")))] if options.constants else []
    for constants in [fitted(examples), *given]:
        a, b, c = constants
        print(f"refused with coverage {a:.2f}, cosine {b:.2f}, offset {c:.2f}:")
        print_shares(examples, functools.partial(supported, constants))


if __name__ == "__main__":
    main()
