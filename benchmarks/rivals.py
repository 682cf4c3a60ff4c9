"""Compare trimming with what else trims, on the same retrieved chunks and the same questions.

    pip install 'ragkit-lean[local]' llama-index-core llmslim
    python benchmarks/rivals.py DATASET [--split test] [--n 300]

Each rival gets the chunks that hybrid retrieval found and is run at several of its own settings;
tokens are read off its curve where the evidence is 95 % of the untrimmed top 5's. A sentence counts
as kept when it stands word for word in what the rival returns. LlamaIndex's filter embeds each
sentence when asked; it gets the built-in embedder. What is not installed is left out, and said.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ragkit import Settings
from ragkit.embedding.builtin import BuiltinEmbedder
from ragkit.trimming import BASELINE_HITS, PoolChunk, TrimPolicy, trim
from ragkit.types import TokenCounter
from ragkit_eval.calibration.curves import tokens_at
from ragkit_eval.data.datasets import Question, load_dataset
from ragkit_eval.data.rows import Passage
from ragkit_eval.measuring.contexts import WholeHits
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.pools import retrieve
from ragkit_eval.measuring.quality import (
    Quality,
    default_quality,
    passage_of,
    quality_measure,
)
from ragkit_eval.running.cache import Cache
from ragkit_eval.running.stores import OpenedRag

Sent = list[tuple[str, int]]
"""Texts that a rival sends, each with the number of the chunk that it is from."""

Rival = Callable[[str, Sequence[str], Sequence[PoolChunk], float, Sequence[float]], Sent]
SHARES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)


def llama_index(*, around: int) -> Rival:
    """Return LlamaIndex's `SentenceEmbeddingOptimizer`; `around` is 1 by its default."""
    base: Any = importlib.import_module("llama_index.core.base.embeddings.base").BaseEmbedding
    filters: Any = importlib.import_module("llama_index.core.postprocessor")
    schema: Any = importlib.import_module("llama_index.core.schema")
    embedder = BuiltinEmbedder()
    known: dict[str, list[float]] = {}

    def of_question(_: object, question: str) -> list[float]:
        return [float(x) for x in embedder.embed_query(question)]

    def of_texts(_: object, texts: list[str]) -> list[list[float]]:
        new = [text for text in texts if text not in known]
        for text, row in zip(new, embedder.embed_documents(new), strict=True):
            known[text] = [float(x) for x in row]
        return [known[text] for text in texts]

    def of_text(model: object, text: str) -> list[float]:
        return of_texts(model, [text])[0]

    methods: dict[str, Any] = {
        "_get_query_embedding": of_question,
        "_aget_query_embedding": of_question,
        "_get_text_embedding": of_text,
        "_get_text_embeddings": of_texts,
    }
    model = type("Built", (base,), {"__module__": __name__, **methods})()

    def rival(question: str, words: Sequence[str], pool: Sequence[PoolChunk], share: float,
              sizes: Sequence[float]) -> Sent:  # fmt: skip
        del words
        if share == sizes[0]:
            known.clear()  # so that its CPU time is that of one question and one setting
        sent: Sent = []
        for i, chunk in enumerate(pool):
            split = [chunk.hit.chunk.text[a - chunk.hit.chunk.start : b - chunk.hit.chunk.start]
                     for a, b in chunk.hit.chunk.sentences]  # fmt: skip
            # Below one sentence a chunk the filter fails; one is the least it can keep.
            optimizer = filters.SentenceEmbeddingOptimizer(
                embed_model=model,
                percentile_cutoff=max(share, 1.01 / len(split)),
                tokenizer_fn=_always(split),
                context_before=around,
                context_after=around,
            )
            text = schema.TextNode(text=chunk.hit.chunk.text)
            node = schema.NodeWithScore(node=text, score=chunk.hit.score)
            kept = optimizer.postprocess_nodes([node], query_bundle=schema.QueryBundle(question))
            sent.append((kept[0].node.get_content(), i))
        return sent

    return rival


def _always(split: list[str]) -> Callable[[str], list[str]]:
    return lambda _: split


def llmslim() -> Rival:
    """Return llmslim's `compress_documents` with the question as its query."""
    compress: Any = importlib.import_module("llmslim").compress_documents

    def rival(question: str, words: Sequence[str], pool: Sequence[PoolChunk], share: float,
              sizes: Sequence[float]) -> Sent:  # fmt: skip
        del words, sizes
        texts = [chunk.hit.chunk.text for chunk in pool]
        results = compress(texts, query=question, target_ratio=share)
        return [(result.compressed_text, i) for i, result in enumerate(results)]

    return rival


def ours(counter: TokenCounter) -> Rival:
    """Return our trimming; the share picks the cut."""
    high, low = 2.0, -6.0

    def rival(question: str, words: Sequence[str], pool: Sequence[PoolChunk], share: float,
              sizes: Sequence[float]) -> Sent:  # fmt: skip
        del question
        place = sizes.index(share) / (len(sizes) - 1)
        cut = TrimPolicy(name="cut", keep_above=high + place * (low - high))
        context = trim(words, pool, policy=cut, counter=counter).context
        number = {chunk.hit.chunk.id: i for i, chunk in enumerate(pool)}
        return [(item.text, number[item.hit.chunk.id]) for item in context]

    return rival


@dataclass
class Curve:
    """Mean tokens, quality and CPU-seconds of a rival at each of its settings."""

    name: str
    dist: str
    pool: int
    rival: Rival
    tokens: dict[float, list[float]] = field(default_factory=dict[float, list[float]])
    quality: dict[float, list[float]] = field(default_factory=dict[float, list[float]])
    cpu: list[float] = field(default_factory=list[float])

    def needed(self, target: float) -> float | None:
        """Return the tokens at a target, between settings; the settings are in order of tokens."""
        points = sorted((mean(self.tokens[s]), mean(self.quality[s])) for s in self.tokens)
        return tokens_at(points, target)


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def plain(text: str) -> str:
    """Return a text as it is compared: words and single spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def kept_passages(sent: Sent, pool: Sequence[PoolChunk]) -> list[Passage]:
    """Return the sentences of the pool that stand in what was sent."""
    passages: list[Passage] = []
    for text, i in sent:
        chunk, whole = pool[i].hit.chunk, f" {plain(text)} "
        for a, b in chunk.sentences:
            if f" {plain(chunk.text[a - chunk.start : b - chunk.start])} " in whole:
                passages.append(passage_of(pool[i].hit, a, b, 0))
    return passages


def installed_mib(names: Iterable[str]) -> float:
    """Return the size of distributions and of all that they require, without extras."""
    todo, seen, size = list(names), set[str](), 0
    while todo:
        name = re.split(r"[ ;<>=!~\[(]", todo.pop())[0].lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        files = [Path(str(found.locate_file(f))) for f in found.files or ()]
        size += sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")
        todo += [r for r in found.requires or () if "extra ==" not in r]
    return size / 2**20


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split", default=None)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--pools", default="5,10")
    parser.add_argument("--cache", type=Path, default=Path(".ragkit-eval"))
    options = parser.parse_args()
    dataset = load_dataset(options.dataset, split=options.split)
    name, quality = quality_measure(default_quality(dataset.questions))
    questions = [q for q in dataset.questions if quality(q, ()) is not None]
    rng = random.Random(0)
    questions = rng.sample(questions, min(options.n, len(questions)))
    pools = [int(k) for k in options.pools.split(",")]
    with Cache(options.cache) as cache, OpenedRag(dataset, Settings(), cache) as opened:
        curves = _curves(opened, pools)
        target, tokens = _measure(opened, questions, curves, quality)
    print(f"{dataset.name}, {len(questions)} questions, {name}: untrimmed top {BASELINE_HITS} "
          f"{target:.3f} at {tokens:.0f} tokens; target {0.95 * target:.3f}")  # fmt: skip
    print("| | pool | tokens | CPU ms a question | installed MiB |\n|---|---|---|---|---|")
    for curve in curves:
        needed = curve.needed(0.95 * target)
        size = installed_mib(curve.dist.split())
        reached = "not reached" if needed is None else f"{needed:.0f}"
        print(f"| {curve.name} | {curve.pool} | {reached} | {1000 * mean(curve.cpu):.1f} "
              f"| {size:.0f} |")  # fmt: skip


def _curves(opened: OpenedRag, pools: Sequence[int]) -> list[Curve]:
    made: list[tuple[str, str, Rival]] = []
    counter = opened.rag.counter
    made.append(("ragkit", "ragkit-lean numpy", ours(counter)))
    if importlib.util.find_spec("llmslim"):
        version = importlib.metadata.version("llmslim")
        made.append((f"llmslim {version}", "llmslim", llmslim()))
    else:
        print("llmslim is not installed: left out")
    if importlib.util.find_spec("llama_index"):
        version = importlib.metadata.version("llama-index-core")
        for around in (0, 1):
            label = f"LlamaIndex {version} sentence filter, {around} around"
            made.append((label, "llama-index-core", llama_index(around=around)))
    else:
        print("llama-index-core is not installed: left out")
    return [Curve(name, dist, k, rival) for name, dist, rival in made for k in pools]


def _measure(
    opened: OpenedRag, questions: Sequence[Question], curves: Sequence[Curve], quality: Quality
) -> tuple[float, float]:
    rag, gold = opened.rag, Gold(opened.rag)
    baseline: list[float] = []
    tokens: list[float] = []
    sizes = {curve.pool for curve in curves}
    first = retrieve(rag, questions[0].searched, k=BASELINE_HITS, pools=sizes)
    for curve in curves:  # first calls import and load
        chunks = first.pools[curve.pool]
        curve.rival(questions[0].text, first.terms, chunks, SHARES[0], SHARES)
    for question in questions:
        found = retrieve(rag, question.searched, k=BASELINE_HITS, pools=sizes)
        words = found.terms
        untrimmed = WholeHits(found.hits, partial(gold.with_repeats, question))
        full = untrimmed[len(untrimmed)]
        baseline.append(quality(question, full.passages) or 0.0)
        tokens.append(full.n_tokens)
        for curve in curves:
            chunks = found.pools[curve.pool]
            started = time.process_time()
            for share in SHARES:
                sent = curve.rival(question.text, words, chunks, share, SHARES)
                if share == SHARES[0]:
                    curve.cpu.append(time.process_time() - started)
                passages = gold.with_repeats(question, kept_passages(sent, chunks))
                count = sum(rag.counter.count(text) for text, _ in sent if text)
                curve.tokens.setdefault(share, []).append(count)
                curve.quality.setdefault(share, []).append(quality(question, passages) or 0.0)
    return mean(baseline), mean(tokens)


if __name__ == "__main__":
    main()
