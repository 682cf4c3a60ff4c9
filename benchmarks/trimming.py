"""Measure trimming: tokens of context against the evidence that they hold.

    python benchmarks/trimming.py DATASET [--split test] [--metric span|recall]
        [--pools 10 20] [--sizes 40 80 160 400]

Prints, for one retrieval (hybrid), the baseline (top 5 chunks of at most 400 tokens, untrimmed),
the untrimmed rivals (top k of smaller chunks) and the trimmed context, each as mean tokens against
evidence; then the tokens that each needs for 95 % of the baseline's evidence. The setting is read
off the same questions for every row alike. `span`: one whole gold span stands in the context.
`recall`: the share of the gold spans' characters that does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from ragkit import RAG, Settings, TrimPolicy
from ragkit.pipeline.components import open_counter, open_embedder
from ragkit.storage import LocalStore
from ragkit.text.words import query_tokens
from ragkit.trimming import PoolChunk, score_sentences
from ragkit.types import Query

BUDGETS = (20, 30, 40, 55, 70, 90, 110, 130, 160, 190, 220, 250, 300, 350, 400, 450, 500, 600,
           700, 800, 1000, 1200, 1400, 1600, 2000)  # fmt: skip
SHARE = 0.95

Span = tuple[str, int, int]


@dataclass(frozen=True)
class Question:
    """A question with its gold spans."""

    text: str
    spans: Sequence[Span]


def read_questions(dataset: Path, split: str) -> list[Question]:
    """Return the split's questions that have gold spans."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for line in (dataset / "spans.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        spans[row["query-id"]].append((row["corpus-id"], row["start"], row["end"]))
    judged = {
        line.split("\t")[0]
        for line in (dataset / "qrels" / f"{split}.tsv").read_text("utf-8").splitlines()[1:]
    }
    rows = map(json.loads, (dataset / "queries.jsonl").read_text("utf-8").splitlines())
    return [
        Question(row["text"], spans[row["_id"]])
        for row in rows
        if row["_id"] in judged and row["_id"] in spans
    ]


def whole_span(kept: Sequence[Span], gold: Sequence[Span]) -> float:
    """Return 1 when one kept piece holds a whole gold span."""
    return float(
        any(d == e and a <= start and end <= b for d, a, b in kept for e, start, end in gold)
    )


def character_recall(kept: Sequence[Span], gold: Sequence[Span]) -> float:
    """Return the share of the gold spans' characters that the kept pieces hold."""
    wanted = {(d, i) for d, start, end in gold for i in range(start, end)}
    held = {(d, i) for d, start, end in kept for i in range(start, end)}
    return len(wanted & held) / len(wanted)


Metric = Callable[[Sequence[Span], Sequence[Span]], float]
METRICS: dict[str, Metric] = {"span": whole_span, "recall": character_recall}
Curve = list[tuple[float, float]]


def make_store(dataset: Path, folder: Path, size: int, *, sentences: bool) -> LocalStore:
    """Ingest the corpus in chunks of at most `size` tokens."""
    place = folder / f"kb{size}"
    if not place.exists():
        settings = Settings(chunk_tokens=size, sentence_vectors=sentences)
        with RAG(place, config=settings) as rag:
            report = rag.ingest(dataset / "corpus.jsonl")
        print(f"  chunks of at most {size}: {report.chunks}, {report.seconds:.0f} s", flush=True)
    return LocalStore(place)


def needed(curve: Curve, target: float) -> float | None:
    """Return the mean tokens at which a curve reaches a target, between its points."""
    for (t0, q0), (t1, q1) in pairwise(curve):
        if q0 < target <= q1:
            return t0 + (t1 - t0) * (target - q0) / (q1 - q0)
    return curve[0][0] if curve and curve[0][1] >= target else None


def untrimmed_curve(
    store: LocalStore, questions: Sequence[Question], vectors: Sequence[object], metric: Metric
) -> Curve:
    """Return (mean tokens, mean evidence) of the top k chunks, k from 1."""
    depth = 40
    tokens, quality = [0.0] * depth, [0.0] * depth
    for question, vector in zip(questions, vectors, strict=True):
        hits = store.search(Query(question=question.text, vector=vector, k=depth))  # type: ignore[arg-type]
        kept: list[Span] = []
        n_tokens, value = 0, 0.0
        for k in range(depth):
            if k < len(hits):
                chunk = hits[k].chunk
                kept.append((chunk.document_id, chunk.start, chunk.end))
                n_tokens += chunk.n_tokens
                value = value if value == 1.0 else metric(kept, question.spans)
            tokens[k] += n_tokens
            quality[k] += value
    n = len(questions)
    return [(t / n, q / n) for t, q in zip(tokens, quality, strict=True)]


def trimmed_curve(
    store: LocalStore,
    questions: Sequence[Question],
    vectors: Sequence[object],
    metric: Metric,
    policy: TrimPolicy,
    *,
    with_vectors: bool = True,
) -> Curve:
    """Return (mean tokens, mean evidence) of the trimmed pool, by budget."""
    counter = open_counter()
    language = store.language()
    tokens, quality = [0.0] * len(BUDGETS), [0.0] * len(BUDGETS)
    for question, vector in zip(questions, vectors, strict=True):
        hits = store.search(Query(question=question.text, vector=vector, k=policy.pool))  # type: ignore[arg-type]
        pool = store.pool(hits, vector if with_vectors else None)  # type: ignore[arg-type]
        words = query_tokens(question.text, language=language)
        ranked = _ranked(words, pool, policy)
        sizes = [counter.count(text) for _, text in ranked]
        totals = list(accumulate(sizes))
        known: dict[int, float] = {}
        for i, budget in enumerate(BUDGETS):
            n_kept = max(1, bisect_right(totals, budget))
            if n_kept not in known:
                best = max(known.values(), default=0.0)
                kept = [span for span, _ in ranked[:n_kept]]
                known[n_kept] = best if best == 1.0 else metric(kept, question.spans)
            tokens[i] += totals[n_kept - 1]
            quality[i] += known[n_kept]
    n = len(questions)
    return [(t / n, q / n) for t, q in zip(tokens, quality, strict=True)]


def _ranked(
    words: Sequence[str], pool: Sequence[PoolChunk], policy: TrimPolicy
) -> list[tuple[Span, str]]:
    scores = score_sentences(words, pool, policy=policy)
    found = [
        (-scores[i][j], i, j)
        for i, chunk in enumerate(pool)
        for j in range(len(chunk.hit.chunk.sentences))
    ]
    ranked: list[tuple[Span, str]] = []
    for _, i, j in sorted(found):
        chunk = pool[i].hit.chunk
        a, b = chunk.sentences[j]
        ranked.append(((chunk.document_id, a, b), chunk.text[a - chunk.start : b - chunk.start]))
    return ranked


def _line(name: str, curve: Curve, target: float) -> None:
    at = needed(curve, target)
    shown = "not reached" if at is None else f"{at:,.0f}"
    points = " ".join(f"{t:.0f}={q:.3f}" for t, q in curve[:: max(1, len(curve) // 9)])
    print(f"{name:<34} {shown:>11}   {points}", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--metric", choices=METRICS, default="span")
    parser.add_argument("--pools", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--sizes", type=int, nargs="+", default=[40, 80, 160, 400])
    parser.add_argument("--stores", type=Path, help="keep the stores here, and use them again")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    metric = METRICS[options.metric]
    questions = read_questions(options.dataset, options.split)[: options.limit]
    embedder = open_embedder("builtin")
    assert embedder is not None
    vectors = list(embedder.embed_documents([question.text for question in questions]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.stores or Path(temporary)
        main_store = make_store(options.dataset, folder, 400, sentences=True)
        whole = untrimmed_curve(main_store, questions, vectors, metric)
        tokens, quality = whole[4]
        target = SHARE * quality
        print(
            f"{options.dataset.name} {options.split}, {len(questions)} questions, "
            f"{options.metric}: "
            f"baseline {quality:.3f} at {tokens:,.0f} tokens; target {target:.3f}"
        )
        print(f"{'':34} {'tokens for':>11}   tokens=evidence\n{'':34} {'target':>11}")
        for size in options.sizes:
            store = main_store if size == 400 else make_store(
                options.dataset, folder, size, sentences=False
            )  # fmt: skip
            curve = whole if size == 400 else untrimmed_curve(store, questions, vectors, metric)
            _line(f"untrimmed, chunks of at most {size}", curve, target)
        for pool in options.pools:
            policy = TrimPolicy(name="bench", pool=pool)
            for name, flag in (("trimmed", True), ("trimmed by words alone", False)):
                curve = trimmed_curve(
                    main_store, questions, vectors, metric, policy, with_vectors=flag
                )
                _line(f"{name}, pool of {pool}", curve, target)


if __name__ == "__main__":
    main()
