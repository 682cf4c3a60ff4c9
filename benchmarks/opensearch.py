"""Measure the OpenSearch store on a real server: what it finds, and what a storm does to it.

    pip install 'ragkit-lean[local,fast,opensearch]'
    python benchmarks/opensearch.py recall URL DATASET [--split test] [--questions N]
    python benchmarks/opensearch.py trim URL DATASET [--split test] [--questions N]
    python benchmarks/opensearch.py storm URL [--chunks 20000] [--share 0.3]

`recall` ingests a dataset into an index and into a folder, and asks all questions of both, by
vector, by words, and by both together, joined by the server and by the client. `trim` compares the
contexts that both keep for questions with evidence, in an index without vectors of sentences too:
their tokens, and how many hold all the evidence. `storm` writes through a proxy that answers a
share of the bulk requests with 429, 502 or 503, or loses the answer after the server has done the
work; every chunk must be countable once.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from ragkit import RAG, Document, Settings
from ragkit.types import Fusion, Mode
from ragkit_connectors.opensearch import OpenSearchStore, open_opensearch
from ragkit_connectors.opensearch.searching import Hybrid
from ragkit_eval import Question, load_dataset
from ragkit_eval.data.spans import evidence_found

sys.path.insert(0, str(Path(__file__).parents[1]))

DEPTHS = (1, 5, 10)
WAYS: tuple[tuple[str, Mode, Hybrid, Fusion], ...] = (
    ("dense", "dense", "auto", "convex"),
    ("lexical", "lexical", "auto", "convex"),
    ("hybrid by the server, min-max", "hybrid", "server", "convex"),
    ("hybrid by the client, min-max", "hybrid", "client", "convex"),
    ("hybrid by the server, RRF", "hybrid", "server", "rrf"),
    ("hybrid by the client, RRF", "hybrid", "client", "rrf"),
)


def store(address: str, hybrid: Hybrid = "auto") -> OpenSearchStore:
    """Open a store of ragkit's own."""
    opened = open_opensearch(address, hybrid=hybrid)
    assert isinstance(opened, OpenSearchStore)
    return opened


def recalls(rag: RAG, questions: Sequence[Question], mode: Mode) -> dict[str, float]:
    """Return the share of questions whose document is among the best 1, 5 and 10."""
    found = dict.fromkeys(DEPTHS, 0)
    began = time.perf_counter()
    for question in questions:
        hits = rag.search(question.text, k=max(DEPTHS), mode=mode, unit="document")
        names = [hit.chunk.document_id for hit in hits]
        relevant = {name for name, grade in question.relevance.items() if grade > 0}
        for depth in DEPTHS:
            found[depth] += bool(relevant & set(names[:depth]))
    seconds = (time.perf_counter() - began) / len(questions)
    shares = {f"R@{depth}": found[depth] / len(questions) for depth in DEPTHS}
    return {**shares, "milliseconds": 1000 * seconds}


def drawn(questions: Sequence[Question], n: int | None) -> Sequence[Question]:
    """Return n of the questions, or all."""
    return questions if n is None else random.Random(1).sample(questions, n)


def trim(url: str, dataset: Path, split: str, n_questions: int | None) -> dict[str, object]:
    """Compare trimmed contexts of an index, with and without vectors of sentences, and a folder."""
    loaded = load_dataset(dataset, split=split)
    questions = drawn([q for q in loaded.questions if q.evidence], n_questions)
    address, rows = f"{url}/bench{uuid.uuid4().hex[:8]}", dict[str, object]()
    with tempfile.TemporaryDirectory() as folder:
        places: tuple[tuple[str, Path | OpenSearchStore, bool], ...] = (
            ("local", Path(folder) / "kb", True),
            ("opensearch", store(address), True),
            ("opensearch without vectors of sentences", store(f"{address}-words"), False),
        )
        for name, place, with_sentences in places:
            settings = Settings(ledger="off", refuse_below="off", sentence_vectors=with_sentences)
            with RAG(place, embedder="builtin", config=settings) as rag:
                rag.ingest(dataset / "corpus.jsonl")
                rows[name] = contexts(rag, questions)
    return {"questions": len(questions), "rows": rows}


def contexts(rag: RAG, questions: Sequence[Question]) -> dict[str, float]:
    """Return the mean tokens of contexts, and the share that hold all the evidence."""
    n_tokens, n_found = 0, 0.0
    for question in questions:
        answer = rag.ask(question.text, dry_run=True)
        places = [(item.hit.chunk.document_id, item.start, item.end) for item in answer.context]
        n_tokens += answer.receipt.context_tokens or 0
        n_found += evidence_found(question.evidence, places) or 0.0
    return {"tokens": n_tokens / len(questions), "with evidence": n_found / len(questions)}


def recall(url: str, dataset: Path, split: str, n_questions: int | None) -> dict[str, object]:
    """Compare an index with a folder."""
    loaded = load_dataset(dataset, split=split)
    questions = drawn([q for q in loaded.questions if q.relevance], n_questions)
    address = f"{url}/bench{uuid.uuid4().hex[:8]}"
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "kb"
        for name, place in (("local", local), ("opensearch", store(address))):
            with RAG(place, embedder="builtin", ledger="off") as rag:
                began = time.perf_counter()
                report = rag.ingest(dataset / "corpus.jsonl")
                rows[f"{name} ingest"] = {
                    "documents": report.documents["added"],
                    "chunks": report.chunks,
                    "seconds": time.perf_counter() - began,
                }
        for label, mode, hybrid, fusion in WAYS:
            settings = Settings(fusion=fusion, ledger="off")
            if hybrid != "client":
                with RAG(local, config=settings) as rag:
                    rows[f"local {label.replace(' by the server', '')}"] = recalls(
                        rag, questions, mode
                    )
            with RAG(store(address, hybrid), config=settings) as rag:
                rows[f"opensearch {label}"] = recalls(rag, questions, mode)
    return {"questions": len(questions), "rows": rows}


def storm(url: str, n_chunks: int, share: float) -> dict[str, object]:
    """Write through a proxy that fails a share of the bulk requests."""
    from tests.opensearch.proxy import Proxy

    documents = [
        Document(id=f"n{i:06d}", text=f"Number n{i:06d} swims with {i % 97} others.")
        for i in range(n_chunks)
    ]
    with Proxy(url, share=share) as proxy:
        opened = store(f"{proxy.url}/storm{uuid.uuid4().hex[:8]}")
        with RAG(opened, config=Settings(embedder="none", ledger="off")) as rag:
            began = time.perf_counter()
            report = rag.ingest(*documents)
            seconds = time.perf_counter() - began
            described = rag.describe()
            findings = [finding.to_dict() for finding in rag.doctor()]
        n_needed = 2 * n_chunks
        return {
            "chunks": n_chunks,
            "seconds": seconds,
            "added": report.documents["added"],
            "failed": report.documents["failed"],
            "countable": described["chunks"],
            "lost": n_chunks - cast("int", described["chunks"]),
            "findings": findings,
            "troubles": proxy.n_troubles,
            "requests": opened.written.n_requests,
            "records_needed": n_needed,
            "records_sent": proxy.n_records_sent,
            "sent_per_record": proxy.n_records_sent / n_needed,
            "sent_per_record_without_push_back": (
                (proxy.n_records_sent - proxy.n_records_throttled) / n_needed
            ),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one measurement and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("recall", "trim"):
        one = actions.add_parser(name)
        one.add_argument("url")
        one.add_argument("dataset", type=Path)
        one.add_argument("--split", default="test")
        one.add_argument("--questions", type=int)
    other = actions.add_parser("storm")
    other.add_argument("url")
    other.add_argument("--chunks", type=int, default=20_000)
    other.add_argument("--share", type=float, default=0.3)
    options = parser.parse_args(arguments)
    result: Mapping[str, object]
    if options.action == "storm":
        result = storm(options.url, options.chunks, options.share)
    else:
        compare = recall if options.action == "recall" else trim
        result = compare(options.url, options.dataset, options.split, options.questions)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
