"""Trim what LangChain's FAISS retriever finds, under a certificate made for it, beside its rivals.

    pip install 'ragkit-lean[local,langchain,llama-index]' langchain-community \
        langchain-text-splitters llmslim trimwise
    python benchmarks/other_retrievers.py DATASET [--n 60] [--retain 0.95] [--only-named]
    python benchmarks/other_retrievers.py DATASET --populations 1000

Documents are cut by LangChain's splitter and indexed by the built-in embedder. The calibration
split certifies; questions of the test split are read. A sentence counts as kept when it stands word
for word in what was sent. What is not installed is left out, and said.

With --populations, the questions of all documents are measured once through the retriever, and
populations are drawn in which a document's questions fare alike. A population is violated when the
policy that its labels certify loses more than the allowed share of all questions.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import math
import os
import pickle
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from ragkit.embedding.builtin import BuiltinEmbedder
from ragkit.text.sentences import sentence_spans
from ragkit.text.wordpiece import load_wordpiece
from ragkit.trimming import TrimPolicy
from ragkit_eval import Dataset, Question, calibrate, load_dataset, write_policy
from ragkit_eval.calibration.certify import Cut, Goal
from ragkit_eval.calibration.choice import Choice
from ragkit_eval.calibration.needs import Needs, measurable, measure_needs
from ragkit_eval.calibration.untrimmed import Whole, measure_whole
from ragkit_eval.data.locating import read_documents
from ragkit_eval.data.rows import Passage
from ragkit_eval.measuring.quality import default_quality, quality_measure
from ragkit_eval.measuring.subjects import PassageSubject
from ragkit_eval.stats.certificates import kept_questions

POOL = 10
CHUNK_TOKENS = 400
FINGERPRINT = f"langchain FAISS, builtin embedder, chunks of {CHUNK_TOKENS}, k={POOL}"
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6)
CUTS = (0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0)
COSINES = (0.2, 0.3, 0.4, 0.5, 0.6)

SHAPES = ((24, 25, 0.02), (24, 25, 0.1), (48, 10, 0.1), (100, 4, 0.3), (300, 1, 0.0))
"""Documents, questions of each, and how alike (latent correlation) questions of one fare."""

count = load_wordpiece().count
Sent = list[tuple[str, int]]
"""Texts that are sent, each with the number of the passage that it is from."""

Trimming = Callable[[str, Sequence[Any]], Sent]


def built_embeddings(folder: Path) -> Any:  # noqa: ANN401 - LangChain's class
    """Return the built-in embedder as LangChain knows embedders; documents are embedded once."""
    base: Any = importlib.import_module("langchain_core.embeddings").Embeddings
    embedder = BuiltinEmbedder()

    class Built(base):  # type: ignore[misc] # not installed where types are checked
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
            path = folder / f"vectors-{digest}.npy"
            if not path.exists():
                np.save(path, embedder.embed_documents(texts))
            found: list[list[float]] = np.load(path).tolist()
            _VECTORS.update(zip(texts, found, strict=True))
            return found

        def embed_query(self, text: str) -> list[float]:
            return [float(x) for x in embedder.embed_query(text)]

    return Built()


def faiss_retriever(dataset: Dataset, named: set[str] | None, folder: Path) -> Any:  # noqa: ANN401
    """Return LangChain's FAISS retriever over a dataset's documents, or over those named."""
    splitters: Any = importlib.import_module("langchain_text_splitters")
    schema: Any = importlib.import_module("langchain_core.documents")
    stores: Any = importlib.import_module("langchain_community.vectorstores")
    given = [
        schema.Document(page_content=one.text, metadata={"document_id": one.id})
        for one in read_documents(dataset)
        if named is None or one.id in named
    ]
    splitter = splitters.RecursiveCharacterTextSplitter(
        chunk_size=CHUNK_TOKENS, chunk_overlap=0, length_function=count, add_start_index=True
    )
    chunks = splitter.split_documents(given)
    print(f"{len(given)} documents, {len(chunks)} passages")
    store = stores.FAISS.from_documents(chunks, built_embeddings(folder))
    return store.as_retriever(search_kwargs={"k": POOL})


@dataclass
class Line:
    """What one way of trimming sends and holds, question by question."""

    name: str
    trim: Trimming
    tokens: list[int] = field(default_factory=list[int])
    held: list[float] = field(default_factory=list[float])


def first(k: int) -> Trimming:
    """Return the first k passages, whole."""
    return lambda _question, found: [(one.page_content, i) for i, one in enumerate(found[:k])]


def ours(policy: str | TrimPolicy, **names: str) -> Trimming:
    """Return the adapter's trimming."""
    adapter: Any = importlib.import_module("ragkit_connectors.langchain")
    compressor = adapter.RagkitCompressor(policy=policy, **names)

    def trimming(question: str, found: Sequence[Any]) -> Sent:
        number = {one.id: i for i, one in enumerate(found)}
        kept = compressor.compress_documents(found, question)
        if names:
            assert all(piece.metadata["trim"]["certified"] for piece in kept)
        return [(piece.page_content, number[piece.id]) for piece in kept]

    return trimming


def llmslim(share: float) -> Trimming:
    """Return llmslim's trimming with the question as its query."""
    compress: Any = importlib.import_module("llmslim").compress_documents

    def trimming(question: str, found: Sequence[Any]) -> Sent:
        texts = [one.page_content for one in found]
        results = compress(texts, query=question, target_ratio=share)
        return [(result.compressed_text, i) for i, result in enumerate(results)]

    return trimming


@cache
def _embedder() -> BuiltinEmbedder:
    return BuiltinEmbedder()


_VECTORS: dict[str, list[float]] = {}
"""Of the index's passages, and of questions."""


def vector_of(text: str) -> list[float]:
    """Return the built-in embedder's vector of a question or a passage."""
    if text not in _VECTORS:
        _VECTORS[text] = [float(x) for x in _embedder().embed_documents([text])[0]]
    return _VECTORS[text]


@cache
def sentence_vector_of(text: str) -> list[float]:
    """Return the vector by which ragkit itself compares a sentence."""
    return [float(x) for x in _embedder().embed_sentences([text])[0]]


def trimwise(share: float) -> Trimming:
    """Return trimwise's trimming of all passages under one budget, by words."""
    library: Any = importlib.import_module("trimwise")
    # Its default is downloaded; this one comes with llama-index-core.
    shipped = Path(str(importlib.import_module("llama_index.core").__file__)).parent
    os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(shipped / "_static" / "tiktoken_cache"))
    encoding = {"token_encoding": "cl100k_base"}
    trimmer = library.Trimmer(library.TrimConfig(**encoding))

    def trimming(question: str, found: Sequence[Any]) -> Sent:
        texts = [one.page_content for one in found]
        limit = max(1, round(share * sum(map(count, texts))))
        result = trimmer.trim_context(
            texts, limit, strategy="lexical", query=question, token_counter=count
        )
        return [(source.text, i) for i, source in enumerate(result.sources)]

    return trimming


def _always(split: list[str]) -> Callable[[str], list[str]]:
    return lambda _: split


def llama_sentences(share: float) -> Trimming:
    """Return LlamaIndex's `SentenceEmbeddingOptimizer`, without neighbours."""
    base: Any = importlib.import_module("llama_index.core.base.embeddings.base").BaseEmbedding
    filters: Any = importlib.import_module("llama_index.core.postprocessor")
    schema: Any = importlib.import_module("llama_index.core.schema")

    class Built(base):  # type: ignore[misc] # not installed where types are checked
        def _get_query_embedding(self, query: str) -> list[float]:
            return vector_of(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return vector_of(query)

        def _get_text_embedding(self, text: str) -> list[float]:
            return sentence_vector_of(text)

    model = Built()

    def trimming(question: str, found: Sequence[Any]) -> Sent:
        sent: Sent = []
        for i, one in enumerate(found):
            text = one.page_content
            split = [text[start:end] for start, end in sentence_spans(text)]
            optimizer = filters.SentenceEmbeddingOptimizer(
                embed_model=model,
                # Below one sentence a passage the filter fails.
                percentile_cutoff=max(share, 1.01 / len(split)),
                tokenizer_fn=_always(split),
                context_before=0,
                context_after=0,
            )
            node = schema.NodeWithScore(node=schema.TextNode(text=text), score=1.0)
            kept = optimizer.postprocess_nodes([node], query_bundle=schema.QueryBundle(question))
            sent.append((kept[0].node.get_content(), i))
        return sent

    return trimming


def llama_cutoff(cutoff: float) -> Trimming:
    """Return LlamaIndex's `SimilarityPostprocessor`: whole passages above a cosine."""
    filters: Any = importlib.import_module("llama_index.core.postprocessor")
    schema: Any = importlib.import_module("llama_index.core.schema")
    cut = filters.SimilarityPostprocessor(similarity_cutoff=cutoff)

    def trimming(question: str, found: Sequence[Any]) -> Sent:
        asked = vector_of(question)
        nodes = [
            schema.NodeWithScore(
                node=schema.TextNode(text=one.page_content, id_=str(i)),
                score=sum(a * b for a, b in zip(asked, vector_of(one.page_content), strict=True)),
            )
            for i, one in enumerate(found)
        ]
        return [(n.node.get_content(), int(n.node.node_id)) for n in cut.postprocess_nodes(nodes)]

    return trimming


def lines_of(policy: str, version: str) -> list[Line]:
    """Return all ways of trimming that are installed."""
    lines = [Line(f"untrimmed, the first {k}", first(k)) for k in (1, 2, 3, 5, 10)]
    lines.append(
        Line("ragkit, certified", ours(policy, fingerprint=FINGERPRINT, corpus_version=version))
    )
    lines += [Line(f"ragkit, `{name}`, uncertified", ours(name)) for name in ("bundled", "tight")]
    lines += [
        Line(f"ragkit, cut {cut:g}, uncertified", ours(TrimPolicy(name="cut", keep_above=cut)))
        for cut in CUTS
    ]
    rivals: list[tuple[str, str, Sequence[float], Callable[[float], Trimming]]] = [
        ("llmslim", "llmslim {}, {:.0%} of the tokens", SHARES, llmslim),
        ("trimwise", "trimwise {} by words, {:.0%} of the tokens", SHARES, trimwise),
        ("llama-index-core", "LlamaIndex {} sentences, {:.0%}", SHARES, llama_sentences),
        ("llama-index-core", "LlamaIndex {} passages, cosine {}", COSINES, llama_cutoff),
    ]
    for package, label, settings, make in rivals:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{package} is not installed: left out")
            continue
        lines += [Line(label.format(version, setting), make(setting)) for setting in settings]
    return lines


def plain(text: str) -> str:
    """Return a text as it is compared: words and single spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def kept_passages(sent: Sent, found: Sequence[Any]) -> list[Passage]:
    """Return the sentences of the passages that stand in what was sent, and what was sent."""
    kept: list[Passage] = []
    for text, i in sent:
        held, given = f" {plain(text)} ", found[i].page_content
        name, at = found[i].metadata["document_id"], found[i].metadata["start_index"]
        # What is sent is read for needs; its sentences, for where the evidence stands.
        kept.append(Passage(document_id=name, start=at, end=at, text=text))
        kept += [
            Passage(document_id=name, start=at + start, end=at + end)
            for start, end in sentence_spans(given)
            if f" {plain(given[start:end])} " in held
        ]
    return kept


def some_of_each(questions: Sequence[Question], n: int | None) -> list[Question]:
    """Return at most n questions about each document, drawn repeatably."""
    if n is None:
        return list(questions)
    by_document: dict[str, list[Question]] = {}
    for question in random.Random(0).sample(list(questions), len(questions)):
        by_document.setdefault(question.cluster(), []).append(question)
    return [question for of_one in by_document.values() for question in of_one[:n]]


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Certify on one split, and print the table of the other."""
    test = load_dataset(options.dataset, split="test")
    labelled = load_dataset(options.dataset, split="calibration")
    metric = default_quality(test.questions)
    _, quality = quality_measure(metric)
    named = named_documents(test) | named_documents(labelled) if options.only_named else None
    retriever = faiss_retriever(test, named, folder)
    path = options.policy or folder / f"{test.name}.json"
    if not options.policy and not certify(retriever, labelled, metric, options, path):
        return
    questions = random.Random(1).sample(measurable(test, metric), options.n)
    lines = lines_of(str(path), test.name)
    for question in questions:
        passages = retriever.invoke(question.searched)
        for line in lines:
            sent = line.trim(question.searched, passages)
            line.tokens.append(sum(count(text) for text, _ in sent if text))
            line.held.append(quality(question, kept_passages(sent, passages)) or 0.0)
    print(f"{test.name}, {len(questions)} questions of the test split, {metric}")
    print("| | mean tokens | evidence held |\n|---|---|---|")
    n = len(questions)
    for line in lines:
        print(f"| {line.name} | {sum(line.tokens) / n:,.0f} | {sum(line.held) / n:.3f} |")


def certify(
    retriever: object, labelled: Dataset, metric: str, options: argparse.Namespace, path: Path
) -> bool:
    """Write the policy that labels certify for a retriever; False where they certify none."""
    asked = some_of_each(measurable(labelled, metric), options.per_document)
    found = calibrate(
        retriever, replace(labelled, questions=tuple(asked)), retain=options.retain,
        fingerprint=FINGERPRINT, corpus_version=labelled.name,
    )  # fmt: skip
    print(f"{metric}, {options.retain:.0%} kept: {found.reason or 'certified'}; n {found.n}, "
          f"located {found.located}")  # fmt: skip
    for cell in found.grid:
        print("  ", cell)
    if found.policy is None or found.policy.certificate is None:
        return False
    certificate = found.policy.certificate
    print(f"n_effective {certificate.n_effective}, {certificate.documents} documents, "
          f"{certificate.failures} lost, {certificate.expected_tokens} tokens instead of "
          f"{certificate.untrimmed_tokens}, cut {found.policy.keep_above}, "
          f"untrimmed k {found.untrimmed_k}", flush=True)  # fmt: skip
    path.write_text(write_policy(found))
    return True


def named_documents(dataset: Dataset) -> set[str]:
    """Return the documents that labels name."""
    names = {name for question in dataset.questions for name in question.relevance}
    return names | {
        span.document_id for q in dataset.questions for spans in q.evidence for span in spans
    }


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What questions need of a retriever's passages, from those that need least to most."""

    needs: Sequence[Needs]
    wholes: Sequence[Whole]


def measured(options: argparse.Namespace, folder: Path) -> Measured:
    """Measure some questions of each document through the retriever, once."""
    path = folder / f"{options.dataset.name}-needs.pickle"
    if not path.exists():
        dataset = load_dataset(options.dataset, split="all")
        metric = default_quality(dataset.questions)
        _, quality = quality_measure(metric)
        retriever = faiss_retriever(dataset, None, folder)
        subject = PassageSubject(retriever, dataset, metric, vectors=None)
        asked = some_of_each(measurable(dataset, metric), options.per_document)
        needs = measure_needs(
            subject, asked, quality=quality, policy=TrimPolicy(name="asked", pool=POOL)
        )
        needs.sort(key=lambda need: -need.lowest)
        wholes = measure_whole(
            subject, [need.question for need in needs], range(1, 6), quality=quality
        )
        path.write_bytes(pickle.dumps(Measured(needs=needs, wholes=wholes)))
    found: Measured = pickle.loads(path.read_bytes())  # noqa: S301 - its own file
    return found


def simulate(options: argparse.Namespace, folder: Path) -> None:
    """Print how often the policy of a population's labels loses more than it may of all."""
    all_of = measured(options, folder)
    n_served = sum(need.full == 1.0 for need in all_of.needs)
    print(f"{len(all_of.needs)} questions measured, the untrimmed top 5 serves {n_served}")
    goal = Goal(metric="EvidenceFound", mode="strict", retain=options.retain, confidence=0.95,
                refuse_target=None)  # fmt: skip
    print("| documents x questions | correlation | violated | refused | tokens | whole |")
    for shape in SHAPES:
        rng = random.Random(0)
        violated = refused = n_whole = 0
        tokens: list[float] = []
        for seed in range(options.populations):
            lost, kept_tokens, is_whole = one_population(all_of, goal, shape, rng=rng, seed=seed)
            refused += lost is None
            violated += lost is not None and lost > 1.0 - options.retain
            n_whole += is_whole
            tokens += [kept_tokens] if lost is not None else []
        n = options.populations
        mean = sum(tokens) / len(tokens) if tokens else math.nan
        n_documents, n_each, correlation = shape
        print(f"| {n_documents} x {n_each} | {correlation} | {violated / n:.1%} "
              f"| {refused / n:.1%} | {mean:.0f} | {n_whole / n:.1%} |", flush=True)  # fmt: skip


def one_population(
    all_of: Measured,
    goal: Goal,
    shape: tuple[int, int, float],
    *,
    rng: random.Random,
    seed: int,
) -> tuple[float | None, float, bool]:
    """Return the share of all served questions that its policy loses, or None, and its tokens.

    A document's questions are drawn by a Gaussian copula from all, in order of what they need.
    """
    n_documents, n_each, correlation = shape
    served = [i for i, need in enumerate(all_of.needs) if need.full == 1.0]
    normal = NormalDist()
    drawn: list[int] = []
    clusters: list[str] = []
    for document in range(n_documents):
        common = rng.gauss(0.0, 1.0)
        for _ in range(n_each):
            own = rng.gauss(0.0, 1.0)
            rank = normal.cdf(correlation**0.5 * common + (1.0 - correlation) ** 0.5 * own)
            drawn.append(min(len(all_of.needs) - 1, int(rank * len(all_of.needs))))
            clusters.append(str(document))
    at = kept_questions(clusters, seed)
    picked = [drawn[i] for i in at]
    needs = [replace(all_of.needs[drawn[i]], cluster=clusters[i]) for i in at]

    def wholes(depths: Sequence[int]) -> list[Whole]:
        return [
            Whole(
                k=whole.k,
                tokens=tuple(whole.tokens[i] for i in picked),
                quality=tuple(whole.quality[i] for i in picked),
                support=tuple(whole.support[i] for i in picked),
            )
            for whole in all_of.wholes
            if whole.k in depths
        ]

    found = Choice(needs, wholes, seed=seed).cheapest(goal)
    if isinstance(found, Cut):
        return None, math.nan, False
    if found.above is not None:
        lost = sum(all_of.needs[i].lowest < found.above for i in served)
    else:
        whole = next(whole for whole in all_of.wholes if whole.k == found.k)
        lost = sum(whole.quality[i] < 1.0 for i in served)
    return lost / len(served), found.mean_tokens, found.k is not None


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--n", type=int, default=60, help="questions of the test split")
    parser.add_argument("--retain", type=float, default=0.95)
    parser.add_argument("--per-document", type=int, help="labelled questions of each document")
    parser.add_argument("--policy", type=Path, help="that an earlier run has certified")
    parser.add_argument("--only-named", action="store_true", help="documents that labels name")
    parser.add_argument("--populations", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".ragkit-eval"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    run = simulate if options.populations else compare
    run(options, options.cache)


if __name__ == "__main__":
    main()
