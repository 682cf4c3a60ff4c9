"""Fit the support score, by which questions are refused: the numbers of `support.json`.

    python tools/fit_support.py OUT --set FOLDER:STORE … [--words FOLDER:STORE …] [--limit 200]

Each FOLDER holds labelled questions, each STORE their documents, ingested with default settings.
The calibration questions are asked of their store (answered), and asked again with all documents
left out that hold their answers (not answered); so are, of each `--set`, questions of the others.
`--set` is for English with sentence vectors; `--words`, of any language, is searched by keyword.

The offset of each model, language and kind of documents is moved so that few answerable questions
lie below the bundled threshold: `--refuse` in running text, `--refuse-words` without vectors,
`--refuse-structured` in documents of code, lists and tables. Printed are these shares, those of the
unanswered questions, and the same on the test questions by a fit without their set, moved by all
others.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkit import RAG
from ragkit.trimming import PoolChunk, measure
from ragkit.trimming.policy import REFUSE_BELOW
from ragkit.trimming.support import kind_of, pool_language, support_features
from ragkit.types import Mode
from ragkit_eval.data.datasets import Question, load_dataset

COSINE_SCALE = 0.5
"""About the largest cosine of an answerable question with a sentence and its neighbours."""

SIZES = {"fall": 0.25, "structured": 3800, "en": 1000, "other": 240}
"""Chunks of the stores by which thresholds are set, and how far log odds fall in smaller ones: a
third of what those of unrelated questions did in random parts of SQuAD and the manuals."""

PENALTY = 3.0
N_HITS = 10
DEEP = 40
"""Hits among which ten are left when the question's own documents are taken out."""

WEIGHED = {"with_vectors": ("agreeing", "words"), "by_words": ("unit", "first")}


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question asked of a store, and what was measured."""

    of: str
    kind: str
    split: str
    key: str
    measured: Mapping[str, float]

    @property
    def answered(self) -> bool:
        """Whether the documents answer it."""
        return self.kind == "answerable"


def asked(rag: RAG, question: Question, *, of: str, split: str, words: bool) -> list[Example]:
    """Ask a question of a store, and again without the documents that answer it."""
    mode: Mode | None = "lexical" if words else None
    terms, found = rag.pool(question.searched, k=DEEP, drops_repeats=False, mode=mode)
    own = {key_of(d) for d in question.relevance} | {
        key_of(span.document_id) for spans in question.evidence for span in spans
    }
    others = [c for c in found if key_of(c.hit.chunk.document_id) not in own]
    pools = {"unanswerable" if question.unanswerable else "answerable": found[:N_HITS]}
    if own and len(others) >= N_HITS // 2:
        pools["left out"] = others[:N_HITS]
    made = [example(terms, pool, of=of, kind=k, split=split) for k, pool in pools.items()]
    return [one for one in made if one is not None]


def key_of(document_id: str) -> str:
    """Return the name that the paragraphs of one article have in common."""
    return document_id.partition("#")[0]


def example(
    terms: Sequence[str], pool: Sequence[PoolChunk], *, of: str, kind: str, split: str
) -> Example | None:
    """Return what is measured; None where nothing is found."""
    signals = measure(terms, pool)
    if not signals.sentences:
        return None
    language = pool_language(pool)
    key = kind_of(pool, language)
    measured = support_features(terms, pool, signals)
    return Example(of=of, kind=kind, split=split, key=key, measured=measured)


def examples_of(
    sets: Sequence[tuple[Path, str]], *, words: bool, limit: int, n_foreign: int
) -> list[Example]:
    """Ask all questions of the stores."""
    questions = {
        (folder, split): spread(load_dataset(folder, split=split).questions, limit)
        for folder, _ in sets
        for split in ("calibration", "test")
    }
    found: list[Example] = []
    for folder, store in sets:
        with RAG(store, ledger="off") as rag:
            for (of, split), some in questions.items():
                if of == folder:
                    for q in some:
                        found += asked(rag, q, of=folder.name, split=split, words=words)
                elif n_foreign:
                    for q in spread([q for q in some if not q.unanswerable], n_foreign):
                        terms, pool = rag.pool(q.searched, k=N_HITS)
                        one = example(terms, pool, of=folder.name, kind="foreign", split=split)
                        found += [] if one is None else [one]
        print(f"{folder.name}: {len(found)} examples", flush=True)
    return found


def spread(questions: Sequence[Question], limit: int) -> list[Question]:
    """Return the unanswerable questions and as many others, each at even distances."""
    kinds = [[q for q in questions if q.unanswerable is kind and not q.history]
             for kind in (False, True)]  # fmt: skip
    return [
        some[i * len(some) // min(limit, len(some))]
        for some in kinds
        for i in range(min(limit, len(some)))
    ]


def fit(examples: Sequence[Example], names: Sequence[str]) -> dict[str, float]:
    """Return the weights and the offset, by Newton's method; sets and kinds count alike.

    Unanswerable questions are left out: they are written to resemble what documents do answer.
    """
    some = [e for e in examples if e.kind != "unanswerable"]
    x = np.array([[e.measured[name] for name in names] for e in some])
    y = np.array([float(e.answered) for e in some])
    groups = [(e.of, e.kind) for e in some]
    w = np.array([len(some) / len(set(groups)) / groups.count(group) for group in groups])
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    z = np.hstack([(x - mean) / deviation, np.ones((len(x), 1))])
    penalty = np.diag([PENALTY] * len(names) + [0.0])
    beta = np.zeros(len(names) + 1)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-z @ beta))
        hessian = (z * (w * p * (1 - p))[:, None]).T @ z + penalty
        step = np.linalg.solve(hessian, z.T @ (w * (y - p)) - penalty @ beta)
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    raw = beta[:-1] / deviation
    offset = float(beta[-1] - raw @ mean)
    return {"offset": offset, **{n: float(b) for n, b in zip(names, raw, strict=True)}}


def log_odds(weights: Mapping[str, float], example: Example) -> float:
    """Return the log odds of an example before they are moved."""
    own = (weight * example.measured[n] for n, weight in weights.items() if n != "offset")
    return weights["offset"] + sum(own)


def moved(
    weights: Mapping[str, float], examples: Iterable[Example], shares: tuple[float, float]
) -> dict[str, float]:
    """Return how far each key's log odds are moved; `other` is the mean over the languages."""
    at = math.log(REFUSE_BELOW / (1.0 - REFUSE_BELOW))
    by_key: dict[str, dict[str, list[float]]] = {}
    for e in examples:
        if e.answered:
            by_key.setdefault(e.key, {}).setdefault(e.of, []).append(log_odds(weights, e))
    moves: dict[str, float] = {}
    for key, sets in sorted(by_key.items()):
        scores = [s for some in sets.values() for s in some]
        if len(scores) < 40:
            continue
        # Sets count alike, whatever their size.
        n = [1.0 / len(some) for some in sets.values() for _ in some]
        order = np.argsort(scores)
        below = np.cumsum(np.array(n)[order]) / len(sets)
        share = shares[1] if key == "structured" else shares[0]
        moves[key] = at - scores[int(order[int(np.searchsorted(below, share))])]
    others = [move for key, move in moves.items() if key != "structured"]
    return {"other": math.fsum(others) / max(1, len(others)), **moves}


def print_shares(
    weights: Mapping[str, float], moves: Mapping[str, float], examples: Sequence[Example]
) -> None:
    """Print which share of each group is refused."""
    at = math.log(REFUSE_BELOW / (1.0 - REFUSE_BELOW))
    groups: dict[tuple[str, str, str], list[bool]] = {}
    for e in examples:
        score = log_odds(weights, e) + moves.get(e.key, moves["other"])
        groups.setdefault((e.of, e.split, e.kind), []).append(score < at)
    for (of, split, kind), low in sorted(groups.items()):
        print(f"  {of:20}{split:14}{kind:14}{len(low):6}{sum(low) / len(low):8.3f}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="FOLDER:STORE")
    parser.add_argument("--words", action="append", default=[], metavar="FOLDER:STORE")
    parser.add_argument("--limit", type=int, default=200, help="questions of each set and half")
    parser.add_argument("--foreign", type=int, default=30, help="of each other set and half")
    parser.add_argument("--refuse", type=float, default=0.03)
    parser.add_argument("--refuse-words", type=float, default=0.02)
    parser.add_argument("--refuse-structured", type=float, default=0.04)
    args = parser.parse_args()
    numbers: dict[str, Any] = {"cosine_scale": COSINE_SCALE, "weights": {}, "moves": {}}
    numbers["sizes"] = SIZES
    for model, given in (("with_vectors", args.set), ("by_words", args.words)):
        sets = [(Path(f), s) for f, _, s in (one.partition(":") for one in given)]
        n_foreign = args.foreign if model == "with_vectors" else 0
        words = model == "by_words"
        shares = (args.refuse_words if words else args.refuse, args.refuse_structured)
        examples = examples_of(sets, words=words, limit=args.limit, n_foreign=n_foreign)
        learned = [e for e in examples if e.split == "calibration"]
        weights = fit(learned, WEIGHED[model])
        moves = moved(weights, learned, shares)
        print(f"{model}:")
        print_shares(weights, moves, examples)
        print(f"{model}, each set left out:")
        for of in sorted({e.of for e in examples}):
            others = [e for e in learned if e.of != of]
            of_others = fit(others or learned, WEIGHED[model])
            tested = [e for e in examples if e.of == of and e.split == "test"]
            # A language of its own has no threshold but its own.
            own = {e.key for e in tested} - {e.key for e in others if e.answered}
            level = learned if own else others
            print_shares(of_others, moved(of_others, level, shares), tested)
        numbers["weights"][model] = {n: round(v, 5) for n, v in weights.items()}
        numbers["moves"][model] = {n: round(v, 5) for n, v in moves.items()}
    args.out.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
