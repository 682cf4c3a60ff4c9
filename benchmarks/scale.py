"""Measure a store of 100,000 to 1,000,000 chunks: ingest, disk, memory, opening, queries.

    pip install 'ragkit-lean[local,fast]'
    python benchmarks/scale.py DATA --work FOLDER [--sizes 100000,300000,1000000] [--json FILE]

DATA is a folder of data sets as `ragkit eval` reads them: squad11, scifact, hotpotqa_100.
Each record is five of their sentences, drawn by chance; its vector is the sum of theirs, so a
million records need the embeddings of some ten thousand sentences. The rate of an ingest that
embeds is in `embedding.py`. Every measurement of a store runs in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragkit import RAG, Document, Settings
from ragkit.embedding.builtin import BuiltinEmbedder
from ragkit.storage import LocalStore
from ragkit.text.sentences import sentence_spans
from ragkit.types import Mode, Query

if TYPE_CHECKING:
    from ragkit.types import Vector, Vectors

SETS = ("squad11", "scifact", "hotpotqa_100")
SENTENCES = 5
N_QUESTIONS = 200


def sentences_of(data: Path) -> list[str]:
    """Return the distinct sentences of the sets."""
    found: dict[str, None] = {}
    for name in SETS:
        for line in (data / name / "corpus.jsonl").open(encoding="utf-8"):
            text = json.loads(line)["text"]
            for a, b in sentence_spans(text):
                if len(text[a:b].split()) > 3 and "\n" not in text[a:b]:
                    found[text[a:b]] = None
    return list(found)


def questions_of(data: Path) -> list[str]:
    """Return some questions."""
    lines = (data / "squad11" / "queries.jsonl").open(encoding="utf-8")
    questions = [json.loads(line)["text"] for line in lines]
    return random.Random(1).sample(questions, N_QUESTIONS)


def embedded(texts: Sequence[str], place: Path) -> Vectors:
    """Return the texts' vectors, kept in a file."""
    if not place.exists():
        np.save(place, BuiltinEmbedder(runtime="onnxruntime").embed_documents(texts))
    vectors: Vectors = np.load(place, mmap_mode="r")
    return vectors


class Recombined:
    """An embedder that knows the vectors of the sentences that its texts are made of."""

    dim = 384
    fingerprint = "recombined sentences"
    name = "recombined"

    def __init__(self, data: Path, work: Path) -> None:
        texts = sentences_of(data)
        self._vectors = embedded(texts, work / "sentences.npy")
        self._row = {text: i for i, text in enumerate(texts)}
        self._others: dict[str, Vectors] = {}
        self.texts = texts
        self._asked = BuiltinEmbedder(runtime="onnxruntime")

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text: a sentence's own, or the sum of its sentences'."""
        rows = np.empty((len(texts), self.dim), dtype=np.float32)
        for i, text in enumerate(texts):
            rows[i] = sum(map(self._vector, text.split("\n")))
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def _vector(self, text: str) -> Vectors:
        row = self._row.get(text)
        if row is not None:
            known: Vector = self._vectors[row]
            return known
        # A few sentences end elsewhere when they stand alone.
        if text not in self._others:
            self._others[text] = self._asked.embed_query(text)
        return self._others[text]

    def embed_query(self, text: str) -> Vectors:
        """Return a question's vector, embedded when it is asked."""
        vector: Vector = self._asked.embed_query(text)
        return vector


class Records:
    """A source of records made of known sentences, which remembers what each tenth cost."""

    roots: tuple[str, ...] = ()

    def __init__(self, texts: Sequence[str], n: int) -> None:
        self._texts, self._n = texts, n
        self.tenths: list[dict[str, float]] = []

    def documents(self) -> Iterator[Document]:
        """Yield the records."""
        rng = random.Random(self._n)
        for i in range(self._n):
            if i % (self._n // 10) == 0:
                self.tenths.append(now())
            yield Document(id=f"r{i}", text="\n".join(rng.choices(self._texts, k=SENTENCES)))
        self.tenths.append(now())


def status(name: str) -> float:
    """Return a line of this process's status in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(f"{name}:")) / 1024


def now() -> dict[str, float]:
    """Return the clock and the memory in use."""
    return {
        "seconds": time.perf_counter(),
        "cpu_seconds": time.process_time(),
        "rss_mb": status("VmRSS"),
        "anonymous_mb": status("RssAnon"),
    }


def ingest(data: Path, work: Path, n: int) -> dict[str, object]:
    """Make a store of n chunks."""
    embedder = Recombined(data, work)
    records = Records(embedder.texts, n)
    with RAG(work / f"kb{n}", embedder=embedder, config=Settings(chunker="whole")) as rag:
        began = time.perf_counter()
        report = rag.ingest(records)
        seconds = time.perf_counter() - began
        described = rag.describe()
    steps = [
        {
            "seconds": b["seconds"] - a["seconds"],
            "rss_mb": b["rss_mb"],
            "anonymous_mb": b["anonymous_mb"],
        }
        for a, b in pairwise(records.tenths)
    ]
    return {
        "chunks": report.chunks,
        "seconds": seconds,
        "chunks_per_second": report.chunks / seconds,
        "tenths": steps,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "file_mb": int(str(described["file_bytes"])) / 1e6,
        "derived_mb": int(str(described["derived_bytes"])) / 1e6,
        "stages": [stage.to_dict() for stage in report.stages],
    }


def milliseconds(action: Callable[[Any], object], inputs: Iterable[Any]) -> dict[str, float]:
    """Return the median and the 99th percentile of some calls, after a tenth of them."""
    inputs = list(inputs)
    for value in inputs[: len(inputs) // 10]:
        action(value)
    times: list[float] = []
    for value in inputs:
        began = time.perf_counter()
        action(value)
        times.append((time.perf_counter() - began) * 1e3)
    return {"p50": float(np.percentile(times, 50)), "p99": float(np.percentile(times, 99))}


def opened(data: Path, work: Path, n: int) -> dict[str, object]:
    """Measure what opening takes, and the memory of a process that searches vectors only."""
    vectors = embedded(questions_of(data), work / "questions.npy")[:20]
    before = status("RssAnon")
    began = time.perf_counter()
    with LocalStore(work / f"kb{n}") as store:
        opening = time.perf_counter() - began
        found = dense(store, vectors[0])
        first = time.perf_counter() - began
        times = milliseconds(lambda vector: dense(store, vector), vectors)
    return {
        "open_seconds": opening,
        "first_hits_seconds": first,
        "hits": len(found),
        "dense_ms": times,
        "anonymous_mb": status("RssAnon"),
        "anonymous_before_mb": before,
    }


def dense(store: LocalStore, vector: Vector) -> list[str]:
    """Return the ids of the ten nearest chunks."""
    query = Query(question="", vector=np.array(vector), k=10, mode="dense")
    return [hit.chunk.id for hit in store.search(query)]


def searched(data: Path, work: Path, n: int) -> dict[str, object]:
    """Measure each mode of search, the question's embedding included."""
    questions = questions_of(data)
    times: dict[str, object] = {}
    with RAG(work / f"kb{n}", embedder=Recombined(data, work)) as rag:
        modes: tuple[Mode, ...] = ("lexical", "dense", "hybrid")
        for mode in modes:
            times[f"{mode}_ms"] = milliseconds(partial(rag.search, k=10, mode=mode), questions)
        times["ask_ms"] = milliseconds(partial(rag.ask, dry_run=True), questions)
    return times


def against_flat(data: Path, work: Path, n: int) -> dict[str, object]:
    """Compare the ten nearest, and the time to find them, with FAISS's exact flat index."""
    library: Any = importlib.import_module("faiss")
    library.omp_set_num_threads(1)
    vectors = embedded(questions_of(data), work / "questions.npy")
    index = library.IndexFlatIP(Recombined.dim)
    ids: list[str] = []
    with closing(sqlite3.connect(work / f"kb{n}" / "store.sqlite")) as connection:
        rows = connection.execute(
            "SELECT chunk.id, vector.vector FROM chunk JOIN vector ON vector.row = chunk.vector"
        )
        while some := rows.fetchmany(10_000):
            ids += [row[0] for row in some]
            raw = b"".join(row[1][:-4] for row in some)
            index.add(np.frombuffer(raw, np.float16).astype(np.float32).reshape(len(some), -1))

    def flat(vector: Vector) -> list[str]:
        return [ids[i] for i in index.search(np.array(vector)[None, :], 10)[1][0]]

    with LocalStore(work / f"kb{n}") as store:
        dense(store, vectors[0])
        shared = [len(set(flat(v)) & set(dense(store, v))) for v in vectors]
        theirs: list[float] = []
        ours: list[float] = []
        for _ in range(3):
            theirs.append(milliseconds(flat, vectors[:50])["p50"])
            ours.append(milliseconds(lambda v: dense(store, v), vectors[:50])["p50"])
    return {
        "recall_at_10": sum(shared) / (10 * len(shared)),
        "flat_ms": sorted(theirs)[1],
        "ragkit_dense_ms": sorted(ours)[1],
        "ratio": sorted(ours)[1] / sorted(theirs)[1],
    }


STEPS: dict[str, Callable[[Path, Path, int], dict[str, object]]] = {
    "ingest": ingest,
    "opened": opened,
    "searched": searched,
    "against_flat": against_flat,
}


def main() -> None:
    """Run all sizes and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sizes", default="100000,300000,1000000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", choices=sorted(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(exist_ok=True)
    sizes = [int(size) for size in options.sizes.split(",")]
    if options.step:
        print(json.dumps(STEPS[options.step](options.data, options.work, sizes[0])))
        return
    results: dict[int, dict[str, object]] = {}
    for size in sizes:
        results[size] = {}
        for step in STEPS:
            arguments = [str(options.data), "--work", str(options.work), "--sizes", str(size)]
            command = [sys.executable, __file__, *arguments, "--step", step]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[size][step] = json.loads(done.stdout)
            print(f"{size:>9,} {step}: {done.stdout.strip()}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
