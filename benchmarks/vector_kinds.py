"""Measure what cheaper sentence vectors cost: context tokens at equal evidence.

    pip install 'ragkit-lean[local]' ragkit-eval
    python benchmarks/vector_kinds.py --texts texts.json --set FOLDER:SPLIT:STORE …
    python benchmarks/vector_kinds.py VARIANT.npz … --set FOLDER:SPLIT:STORE … [--limit 400]

Each `--set` names a folder of labelled questions, one of its splits, and a store of its documents
with the built-in embedder's vectors. The folder is in BEIR's layout with spans, or holds a
`questions.jsonl` whose lines have `text`, `split`, `docs` and `needs`: strings that must all be in
the context, each a list of alternatives.

A variant is an `.npz` file with `texts` and their `vectors`, of sentences and, if the questions'
vectors change too, of questions. A sentence that it lacks keeps the stored vector. `--texts` writes
the sentences, chunks and questions that the pools of the sets hold, to be embedded.

Pools are retrieved once, with the stored chunk vectors, so only the trimming differs. Its cut is
swept, the bundled policy's other limits stay. The target is a share of the evidence that the
bundled policy finds with the stored vectors; both kinds of vectors are read at the tokens where
they reach it. Questions about one document (or of one article) are drawn together in the bootstrap;
sets count alike when pooled. Bounds are those of the central 95 % interval, and the one-sided one.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ragkit import RAG
from ragkit.embedding.builtin import BuiltinEmbedder
from ragkit.storage.vectors import pack_sentences
from ragkit.trimming import (
    BASELINE_HITS,
    BUILTIN_POLICY,
    PoolChunk,
    Ranking,
    TrimPolicy,
    rank,
    select,
)
from ragkit.types import Chunk
from ragkit_eval.calibration.needs import measurable
from ragkit_eval.data.datasets import Question, load_dataset
from ragkit_eval.measuring.contexts import Cuts
from ragkit_eval.measuring.gold import Gold
from ragkit_eval.measuring.quality import quality_measure
from ragkit_eval.stats.inference import percentile_bounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

CUTS = tuple(6.0 - 0.1 * i for i in range(201))
"""Relative scores down to which sentences are kept, from one sentence to whole pools."""

SHARES = (0.90, 0.95, 0.98)
RESAMPLES = 2000

Vector = Callable[[str], "Vectors | None"]
"""The variant's vector of a text; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question with the pool that it found, and how its evidence is looked for.

    `n_needed` takes the ranking of the pool's sentences and returns how many of the best hold all
    evidence, None if not even all do.
    """

    text: str
    cluster: str
    terms: Sequence[str]
    pool: Sequence[PoolChunk]
    vector: Vectors
    n_needed: Callable[[Ranking], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What each of `CUTS` keeps of a question's pool: its tokens, and whether all evidence."""

    cluster: str
    tokens: Sequence[float]
    found: Sequence[float]


def sentences_of(chunk: Chunk) -> list[str]:
    """Return the texts of a chunk's sentences."""
    return [chunk.text[a - chunk.start : b - chunk.start] for a, b in chunk.sentences]


def first_enough(n: int, enough: Callable[[int], bool]) -> int | None:
    """Return the smallest number from 1 to n that is enough, where more never is less."""
    if not n or not enough(n):
        return None
    return 1 + bisect_left(range(1, n + 1), True, key=enough)


def curve(ranking: Ranking, n_needed: int | None, count: Callable[[str], int]) -> Sequence[Any]:
    """Return tokens and evidence at each of `CUTS`, within the bundled policy's share of tokens."""
    totals = list(accumulate(count(s.text) for s in ranking.sentences))
    scores = [-s.relative_score for s in ranking.sentences]
    first = ranking.pool[:BASELINE_HITS]
    limit = (BUILTIN_POLICY.budget_share or math.inf) * sum(c.hit.chunk.n_tokens for c in first)
    most = bisect_right(totals, limit)
    kept = [max(1, min(most, bisect_right(scores, -cut))) for cut in CUTS]
    tokens = [float(totals[n - 1]) for n in kept]
    return tokens, [float(n_needed is not None and n >= n_needed) for n in kept]


def curves(asked: Sequence[Asked], count: Callable[[str], int], vector: Vector) -> list[Curve]:
    """Rank each pool with a variant's vectors and return its curve."""
    found: list[Curve] = []
    for question in asked:
        given = vector(question.text)
        own = question.vector if given is None else given
        pool = [revectored(chunk, own, vector, given is None) for chunk in question.pool]
        ranking = rank(question.terms, pool, BUILTIN_POLICY)
        if ranking.sentences:
            tokens, kept = curve(ranking, question.n_needed(ranking), count)
            found.append(Curve(cluster=question.cluster, tokens=tokens, found=kept))
    return found


def revectored(chunk: PoolChunk, question: Vectors, vector: Vector, may_keep: bool) -> PoolChunk:
    """Return a pool's chunk with the cosines of a variant's vectors, rounded as stores do."""
    import numpy as np

    given = [vector(text) for text in sentences_of(chunk.hit.chunk)]
    stored = chunk.cosines
    if all(row is None for row in given) and may_keep:
        return chunk
    if any(row is None for row in given) or stored is None:
        raise SystemExit("a variant must have vectors of all sentences of a chunk, or of none")
    packed = pack_sentences(np.array(given, dtype=np.float32))
    rows = np.frombuffer(packed, dtype=np.int8).reshape(len(given), -1).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    near = rows.copy()
    near[1:] += rows[:-1]
    near[:-1] += rows[1:]
    near /= np.maximum(np.linalg.norm(near, axis=1, keepdims=True), 1e-9)
    own, windows = (rows @ question).tolist(), (near @ question).tolist()
    return replace(chunk, cosines=own, window_cosines=windows)


class Sums:
    """The curves of one set, base and variant, added up by cluster for resampling."""

    def __init__(self, base: Sequence[Curve], variant: Sequence[Curve]) -> None:
        import numpy as np

        place = {name: i for i, name in enumerate(sorted({c.cluster for c in base}))}
        self.n_questions, self.n_clusters = len(base), len(place)
        self._sums = np.zeros((len(place), 4 * len(CUTS) + 1))
        for old, new in zip(base, variant, strict=True):
            row = [*old.tokens, *old.found, *new.tokens, *new.found, 1.0]
            self._sums[place[old.cluster]] += row

    def ratios(self, share: float, *, resamples: int = 0, seed: int = 0) -> list[Needed]:
        """Return what is needed at a share of the base's evidence: of all, then of resamples."""
        import numpy as np

        n = self.n_clusters
        draws = np.random.default_rng(seed).multinomial(n, [1.0 / n] * n, size=resamples)
        weights = np.concatenate([np.ones((1, n)), draws])
        totals = weights @ self._sums
        means = (totals[:, :-1] / totals[:, -1:]).reshape(len(weights), 4, len(CUTS))
        return [_needed(share, *curves) for curves in means.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Mean tokens of base and variant at equal evidence."""

    base: float
    variant: float


def _needed(
    share: float,
    base_tokens: Sequence[float],
    base_found: Sequence[float],
    tokens: Sequence[float],
    found: Sequence[float],
) -> Needed:
    cut = BUILTIN_POLICY.keep_above or -math.inf
    today = min(range(len(CUTS)), key=lambda i: abs(CUTS[i] - cut))
    target = share * base_found[today]
    return Needed(
        base=tokens_at(target, base_tokens, base_found), variant=tokens_at(target, tokens, found)
    )


def tokens_at(target: float, tokens: Sequence[float], found: Sequence[float]) -> float:
    """Return the tokens where a curve reaches a target, between its points; infinity if never."""
    i = bisect_left(found, target)
    if i == len(found):
        return math.inf
    if i == 0:
        return tokens[0]
    part = (target - found[i - 1]) / (found[i] - found[i - 1])
    return tokens[i - 1] + part * (tokens[i] - tokens[i - 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Tokens of the variant over those of the base at equal evidence, minus 1, with bounds.

    `low` and `high` are the central 95 % of resamples; 95 % of them are below `one_sided`.
    """

    change: float
    low: float
    high: float
    one_sided: float


def pooled_change(sets: Sequence[Sums], share: float, *, seed: int = 0) -> Change:
    """Return the change that the geometric mean of the sets' ratios states."""
    columns = [
        s.ratios(share, resamples=RESAMPLES, seed=seed + i) for i, s in enumerate(sets)
    ]  # fmt: skip
    logs = [sum(math.log(n.variant / n.base) for n in row) for row in zip(*columns, strict=True)]
    observed, *resampled = [math.exp(total / len(sets)) - 1.0 for total in logs]
    low, high = percentile_bounds(resampled, 0.95)
    _, one_sided = percentile_bounds(resampled, 0.90)
    return Change(change=observed, low=low, high=high, one_sided=one_sided)


def ask(folder: Path, split: str, rag: RAG, limit: int) -> list[Asked]:
    """Retrieve the pools of a set's questions."""
    embedder = BuiltinEmbedder()
    found: list[Asked] = []
    for text, cluster, n_needed in _questions(folder, split, rag, limit):
        terms, pool = rag.pool(text, k=BUILTIN_POLICY.pool, mode="hybrid")
        vector = embedder.embed_query(text)
        found.append(
            Asked(text=text, cluster=cluster, terms=terms, pool=pool, vector=vector,
                  n_needed=n_needed)
        )  # fmt: skip
    return found


_Labelled = tuple[str, str, Callable[[Ranking], "int | None"]]


def _questions(folder: Path, split: str, rag: RAG, limit: int) -> list[_Labelled]:
    if (folder / "questions.jsonl").exists():
        lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        rows = [r for r in rows if r["split"] == split and r["needs"] and not r.get("history")]
        picked = spread(rows, limit)
        return [(r["text"], r["docs"][0], held_needs(r["needs"], rag)) for r in picked]
    measure, quality = quality_measure("EvidenceFound")
    gold = Gold(rag)

    def held_spans(question: Question) -> Callable[[Ranking], int | None]:
        def n_needed(ranking: Ranking) -> int | None:
            cuts = Cuts(ranking, rag.counter, partial(gold.with_repeats, question))
            n = first_enough(len(cuts), lambda n: quality(question, cuts[n].passages) == 1.0)
            return None if n is None else cuts.n_pieces(n)

        return n_needed

    questions = measurable(load_dataset(folder, split=split), measure)
    by_article = any("article" in q.metadata for q in questions)
    # Of few long documents nothing would be known: their questions are drawn one by one.
    few = len({q.cluster() for q in questions}) < 20
    by = "article" if by_article else "none" if few else "document"
    return [(q.text, q.cluster(by), held_spans(q)) for q in spread(questions, limit)]


_T = TypeVar("_T")


def spread(items: Sequence[_T], limit: int) -> list[_T]:
    """Return at most `limit` items at even distances, so that no document is preferred."""
    step = max(1.0, len(items) / limit)
    return [items[int(i * step)] for i in range(min(limit, len(items)))]


def held_needs(needs: Sequence[Sequence[str]], rag: RAG) -> Callable[[Ranking], int | None]:
    """Return what finds how many of the best sentences hold every need in their joined text."""
    wanted = [[squeezed(text) for text in alternatives] for alternatives in needs]
    everything = TrimPolicy(name="all")

    def n_needed(ranking: Ranking) -> int | None:
        def enough(n: int) -> bool:
            part = replace(ranking, sentences=ranking.sentences[:n])
            items = select(part, policy=everything, counter=rag.counter).context
            text = squeezed("\n".join(item.text for item in items))
            return all(any(a in text for a in alternatives) for alternatives in wanted)

        return first_enough(len(ranking.sentences), enough)

    return n_needed


def squeezed(text: str) -> str:
    """Return a text with each run of white space and column bars as one space."""
    visible = re.sub("[\u200b\u200c\u200d\u2060\ufeff\u00ad]", "", text)
    return " ".join(visible.replace("|", " ").split())


def no_vector(text: str) -> None:
    """Keep the stored vector of a text."""
    del text


def load_variant(path: Path) -> Vector:
    """Read an `.npz` of texts and vectors."""
    import numpy as np

    with np.load(path) as data:
        rows: Mapping[str, Any] = dict(zip(data["texts"].tolist(), data["vectors"], strict=True))
    return rows.get


def print_change(name: str, sets: Mapping[str, Sums]) -> None:
    """Print a variant's line: each set's tokens at 95 %, then the pooled change at each share."""
    print(f"\n{name}")
    for label, sums in sets.items():
        own = [(share, pooled_change([sums], share)) for share in SHARES]
        tokens = sums.ratios(0.95)[0]
        print(f"  {label:16} {tokens.base:6.1f} -> {tokens.variant:6.1f} tokens at 95 %, "
              f"{sums.n_questions} questions, {sums.n_clusters} clusters;",
              *(f"{s:.0%}: {c.change:+.1%} (<= {c.high:+.1%})" for s, c in own))  # fmt: skip
    for share in SHARES:
        c = pooled_change(list(sets.values()), share)
        print(f"  pooled at {share:.0%}: {c.change:+.2%}, {c.low:+.2%} to {c.high:+.2%}; "
              f"one-sided <= {c.one_sided:+.2%}")  # fmt: skip


def write_texts(path: Path, sets: Sequence[Sequence[Asked]]) -> None:
    """Write the distinct texts of all pools as JSON."""
    chunks = [c.hit.chunk for asked in sets for question in asked for c in question.pool]
    texts = {
        "sentences": [text for chunk in chunks for text in sentences_of(chunk)],
        "chunks": [chunk.text for chunk in chunks],
        "questions": [question.text for asked in sets for question in asked],
    }
    distinct = {kind: list(dict.fromkeys(found)) for kind, found in texts.items()}
    path.write_text(json.dumps(distinct), encoding="utf-8")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", type=Path, metavar="VARIANT.npz")
    parser.add_argument("--set", action="append", required=True, metavar="FOLDER:SPLIT:STORE")
    parser.add_argument("--limit", type=int, default=400, help="questions of each set (400)")
    parser.add_argument("--texts", type=Path, help="write the texts of all pools here")
    options = parser.parse_args()
    with ExitStack() as stack:
        asked: dict[str, list[Asked]] = {}
        base: dict[str, list[Curve]] = {}
        counts: dict[str, Callable[[str], int]] = {}
        for folder, split, store in (given.split(":") for given in options.set):
            rag = stack.enter_context(RAG(store, ledger="off"))
            name = Path(folder).name
            asked[name] = ask(Path(folder), split, rag, options.limit)
            counts[name] = functools.cache(rag.counter.count)
            base[name] = curves(asked[name], counts[name], no_vector)
        if options.texts:
            write_texts(options.texts, list(asked.values()))
        for path in options.variants:
            variant = load_variant(path)
            found = {n: Sums(base[n], curves(asked[n], counts[n], variant)) for n in asked}
            print_change(path.name, found)


if __name__ == "__main__":
    main()
