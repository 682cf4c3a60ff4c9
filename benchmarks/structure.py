"""How many tokens hold what how-to questions need: trimmed units beside plain top k.

    PYTHONPATH=tools python benchmarks/structure.py DATASET STORE [--split test]
        [--rival NAME=STORE ...] [--left-out] [--followups]

DATASET is a folder of questions with `needs`, STORE its documents, ingested with default settings.
A rival store holds the same documents in other chunks (`ragkit rebuild --chunk-tokens 160`, or
`--chunker markdown`), of which the first k are read. Beside these stand whole neighbourhoods
(`neighbours` 3, a cut of -1) and, where they are installed, llmslim and LlamaIndex's filter of
sentences. Tokens are those that a prompt would hold, with the marks between passages. With
`--left-out` the scorer of units is fitted without the calibration questions about each folder of
documents in turn, and read on the questions of `--split` about that folder.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

from fit_unit_scorer import Example, example, fit
from rivals import SHARES, Rival, kept_passages, llama_index, llmslim

from ragkit import RAG
from ragkit.trimming import BASELINE_HITS, BUILTIN_POLICY, TrimPolicy, rank, select, unit_scorer
from ragkit_eval.calibration.curves import tokens_at
from ragkit_eval.data.datasets import Question, load_dataset
from ragkit_eval.data.rows import Passage
from ragkit_eval.measuring.contexts import Context, Cuts, Sent, WholeHits
from ragkit_eval.measuring.pools import Retrieved, retrieve
from ragkit_eval.measuring.quality import quality_measure

TARGETS = (0.65, 0.70, 0.75, 0.80, 0.83)
CUTS = tuple(3.0 - 0.25 * i for i in range(61))
_, NEEDS_HELD = quality_measure("NeedsHeld")


@dataclass
class Curve:
    """Tokens and needs held of each question at each setting, in the order of the settings."""

    name: str
    trimmed: bool = False
    tokens: dict[float, list[int]] = field(default_factory=dict[float, list[int]])
    held: dict[float, list[float]] = field(default_factory=dict[float, list[float]])

    def add(self, setting: float, question: Question, context: Context) -> None:
        """Add a question."""
        self.tokens.setdefault(setting, []).append(context.n_tokens)
        self.held.setdefault(setting, []).append(NEEDS_HELD(question, context.passages) or 0.0)

    def points(self) -> list[tuple[float, float]]:
        """Return mean tokens and needs held, fewest tokens first."""
        return sorted((mean(self.tokens[s]), mean(self.held[s])) for s in self.tokens)

    def needed(self, target: float) -> float | None:
        """Return the tokens at a target, between points; None where it is not reached."""
        return tokens_at(self.points(), target)


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


Weights = Mapping[str, Mapping[str, float]]


def using(weights: Weights | None) -> AbstractContextManager[object]:
    """Score units by these weights instead of the bundled ones."""
    if weights is None:
        return ExitStack()
    return mock.patch.object(unit_scorer, "_weights", return_value=weights)


def trimmed(
    rag: RAG, questions: Sequence[Question], found: Sequence[Retrieved],
    weights: Callable[[Question], Weights | None],
) -> tuple[Curve, Curve]:  # fmt: skip
    """Return the curve over the cut, and the bundled policy's point."""
    curve, bundled = Curve("ragkit, over the cut", trimmed=True), Curve("bundled", trimmed=True)
    for question, retrieved in zip(questions, found, strict=True):
        with using(weights(question)):
            ranking = rank(retrieved.terms, retrieved.pools[BUILTIN_POLICY.pool], BUILTIN_POLICY)
        cuts = Cuts(ranking, rag.counter, list)
        for cut in CUTS:
            curve.add(cut, question, cuts[cuts.n_above(cut)])
        sent = select(ranking, policy=BUILTIN_POLICY, counter=rag.counter).context
        bundled.add(0, question, Sent(sent, rag.counter, list)[1])
    return curve, bundled


def untrimmed(name: str, rag: RAG, questions: Sequence[Question], most: int) -> Curve:
    """Return the curve over k of a store."""
    curve = Curve(f"untrimmed, {name}")
    for question in questions:
        hits = WholeHits(rag.search(question.searched, k=most), list)
        for k in range(1, most + 1):
            curve.add(k, question, hits[min(k, len(hits))])
    return curve


def neighbourhoods(rag: RAG, questions: Sequence[Question], found: Sequence[Retrieved]) -> Curve:
    """Return the point of sentences with three neighbours on either side."""
    policy = TrimPolicy(name="around", neighbours=3, keep_above=-1.0, units=False, chunk_weight=1.0)
    curve = Curve("neighbours 3, cut -1", trimmed=True)
    for question, retrieved in zip(questions, found, strict=True):
        ranking = rank(retrieved.terms, retrieved.pools[policy.pool], policy)
        sent = select(ranking, policy=policy, counter=rag.counter).context
        curve.add(0, question, Sent(sent, rag.counter, list)[1])
    return curve


def filters(rag: RAG, questions: Sequence[Question], found: Sequence[Retrieved]) -> list[Curve]:
    """Return the curves of other packages over the same pools."""
    made: dict[str, Rival] = {}
    if importlib.util.find_spec("llmslim"):
        made["llmslim"] = llmslim()
    if importlib.util.find_spec("llama_index"):
        made["LlamaIndex, 1 around"] = llama_index(around=1)
    for name in sorted({"llmslim", "LlamaIndex, 1 around"} - set(made)):
        print(f"{name}: not installed, left out")
    curves: list[Curve] = []
    for name, rival in made.items():
        curve = Curve(name, trimmed=True)
        for question, retrieved in zip(questions, found, strict=True):
            pool = retrieved.pools[BUILTIN_POLICY.pool]
            for share in SHARES:
                sent = rival(question.text, retrieved.terms, pool, share, SHARES)
                texts = [
                    Passage(document_id=pool[i].hit.chunk.document_id, start=0, end=0, text=text)
                    for text, i in sent
                ]
                n_tokens = sum(rag.counter.count(text) for text, _ in sent if text)
                # Its own texts hold a need that it left as it was, the sentences one it joined.
                curve.add(share, question, Context([*texts, *kept_passages(sent, pool)], n_tokens))
        curves.append(curve)
    return curves


def folder_of(question: Question) -> str:
    """Return the folder of the documents that a question is about."""
    return min(question.relevance).split("/")[0]


def left_out(rag: RAG, questions: Sequence[Question]) -> dict[str, Weights]:
    """Return for each folder the weights that all other folders' questions give."""
    examples: dict[str, list[Example]] = {"with_vectors": [], "by_words": []}
    for question in questions:
        terms, pool = rag.pool(question.searched, k=BUILTIN_POLICY.pool)
        for name, some in examples.items():
            some.append(example(question, terms, pool, words=name == "by_words"))
    return {
        folder: {
            name: fit([e for e in some if folder_of(e.question) != folder], list(some[0].columns))
            for name, some in examples.items()
        }
        for folder in sorted({folder_of(question) for question in questions})
    }


def table(curve: Curve, rivals: Sequence[Curve]) -> None:
    """Print the tokens at each target beside the cheapest untrimmed rival's and trimmed one's."""
    untrimmed_ones = [rival for rival in rivals if not rival.trimmed]
    trimmed_ones = [rival for rival in rivals if rival.trimmed]
    print(
        f"\n| needs held | {curve.name} | cheapest untrimmed | tokens | ratio "
        "| cheapest trimmed | tokens | ratio |\n" + 8 * "|---" + "|"
    )
    for target in TARGETS:
        needed = curve.needed(target)
        cells = ["not reached" if needed is None else f"{needed:.0f}"]
        for some in (untrimmed_ones, trimmed_ones):
            others = [(t, rival.name) for rival in some if (t := rival.needed(target)) is not None]
            best, name = min(others, default=(None, "none"))
            ratio = "" if needed is None or best is None else f"{needed / best:.2f}"
            cells += [name, "" if best is None else f"{best:.0f}", ratio]
        print(f"| {target:.2f} | {' | '.join(cells)} |")


def by_kind(bundled: Curve, rivals: Sequence[Curve], questions: Sequence[Question]) -> None:
    """Print the bundled policy's needs held and tokens by the questions' kind, beside top 3, 5."""
    plain = rivals[0]
    print("\n| kind | n | bundled: held | tokens | top 3: held | tokens | top 5: held | tokens |")
    print("|---|---|---|---|---|---|---|---|")
    kinds = [str(question.metadata.get("kind")) for question in questions]
    for kind in [*sorted(set(kinds)), "all"]:
        at = [i for i, k in enumerate(kinds) if kind in {k, "all"}]
        cells = [
            f"{mean([curve.held[s][i] for i in at]):.3f} | "
            f"{mean([curve.tokens[s][i] for i in at]):.0f}"
            for curve, s in ((bundled, 0), (plain, 3), (plain, 5))
        ]
        print(f"| {kind} | {len(at)} | {' | '.join(cells)} |")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--rival", action="append", default=[], metavar="NAME=STORE")
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--followups", action="store_true")
    options = parser.parse_args()

    def of(split: str) -> list[Question]:
        questions = load_dataset(options.dataset, split=split).questions
        return [q for q in questions if q.needs and (options.followups or not q.history)]

    questions = of(options.split)
    rivals: list[Curve] = []
    with RAG(options.store, ledger="off") as rag:
        size = BUILTIN_POLICY.pool
        find = partial(retrieve, rag, k=BASELINE_HITS, pools=(size,))
        found = [find(question.searched) for question in questions]
        curve, bundled = trimmed(rag, questions, found, lambda _: None)
        rivals.append(untrimmed("default chunks", rag, questions, BASELINE_HITS))
        rivals.append(neighbourhoods(rag, questions, found))
        rivals += filters(rag, questions, found)
        ours = [curve, bundled]
        if options.left_out:
            weights = left_out(rag, of("calibration"))
            kept, _ = trimmed(rag, questions, found, lambda q: weights.get(folder_of(q)))
            kept.name = "ragkit, each folder left out of the fit"
            ours.append(kept)
    for given in options.rival:
        name, _, store = given.partition("=")
        with RAG(store, ledger="off") as rag:
            rivals.append(untrimmed(name, rag, questions, 40))
    print(f"{len(questions)} questions, split {options.split}, "
          f"{'with' if options.followups else 'without'} follow-ups")  # fmt: skip
    for some in (*ours, *rivals):
        points = " · ".join(
            f"{t:.0f} {q:.3f}" for t, q in some.points()[:: 4 if some in ours else 1]
        )
        print(f"- {some.name}: {points}")
    for some in ours:
        if some is not bundled:
            table(some, rivals)
    by_kind(bundled, rivals, questions)


if __name__ == "__main__":
    main()
