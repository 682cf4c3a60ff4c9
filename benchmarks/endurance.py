"""Search from threads and processes while a writer changes the store, and count what is wrong.

    pip install 'ragkit-lean[local]'
    python benchmarks/endurance.py [--minutes 10] [--threads 8] [--processes 4] [--work FOLDER]

Every document is one version of one name: all its chunks carry the same version number, so a
reader that meets two versions in one answer has seen a document half written. The writer replaces,
removes and adds documents without pause; derived files are small, so they change too. Then the
throughput of one reader alone is measured against two processes, without a writer.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from kills import Digested

from ragkit import RAG, Document, Settings
from ragkit.errors import StoreBusyError
from ragkit.storage import DerivedSizes, LocalStore

N_NAMES = 400
SIZES = DerivedSizes(first=200, more=100, file=300)
VERSION = re.compile(r"buoy(\d+) version(\d+)")


def document(name: int, version: int) -> Document:
    """Return one version of a document: of several chunks, each of which tells it."""
    lines = [
        f"Line {i}: buoy{name} version{version} rings {i * name % 89} times." for i in range(40)
    ]
    return Document(id=f"buoy{name}", text=" ".join(lines))


def opened(place: Path) -> RAG:
    """Open a pipeline over the store."""
    store = LocalStore(place, create=True, sizes=SIZES)
    return RAG(store, embedder=Digested(), config=Settings(chunk_tokens=200), ledger="off")


def write(place: Path, stop: Event, n_written: list[int]) -> None:
    """Change documents until told to stop."""
    rng = random.Random(0)
    version = 1
    with opened(place) as rag:
        while not stop.is_set():
            version += 1
            names = rng.sample(range(N_NAMES), 30)
            rag.ingest(*(document(name, version) for name in names))
            rag.rm(*(f"buoy{name}" for name in rng.sample(range(N_NAMES), 5)))
            n_written[0] += 35
            if version % 40 == 0:
                rag.compact()


def read(rag: RAG, seed: int, stop: Event | threading.Event, counts: Counter[str]) -> None:
    """Search until told to stop, and count answers and what is wrong with them."""
    rng = random.Random(seed)
    while not stop.is_set():
        name, mode = rng.randrange(N_NAMES), rng.choice(["lexical", "dense", "hybrid"])
        try:
            hits = rag.search(f"buoy{name} rings", k=30, mode=mode)  # type: ignore[arg-type]
        except StoreBusyError:
            counts["busy"] += 1
            continue
        except Exception as error:
            counts[f"error: {type(error).__name__}: {error}"] += 1
            continue
        counts["searches"] += 1
        versions: dict[str, set[str]] = {}
        for hit in hits:
            for whose, version in VERSION.findall(hit.chunk.text):
                versions.setdefault(whose, set()).add(version)
            if any(whose != hit.chunk.document_id[4:] for whose, _ in
                   VERSION.findall(hit.chunk.text)):  # fmt: skip
                counts["text of another document"] += 1
        counts["half-written documents"] += sum(len(found) > 1 for found in versions.values())


def read_in_process(
    place: Path,
    seed: int,
    stop: Event,
    results: multiprocessing.Queue[tuple[dict[str, int], float]],
) -> None:
    """Search in a process of its own."""
    counts = Counter[str]()
    with opened(place) as rag:
        rag.search("buoy1 rings", mode="hybrid")
        began = time.perf_counter()
        read(rag, seed, stop, counts)
        seconds = time.perf_counter() - began
    results.put((dict(counts), counts["searches"] / seconds))


def throughput(place: Path, n_processes: int, seconds: float) -> float:
    """Return the searches a second of some processes together, nobody writing."""
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    readers = [
        context.Process(target=read_in_process, args=(place, i, stop, results))
        for i in range(n_processes)
    ]
    for reader in readers:
        reader.start()
    time.sleep(seconds)
    stop.set()
    total: float = sum(results.get()[1] for _ in readers)
    for reader in readers:
        reader.join()
    return total


def main() -> None:
    """Read and write for some minutes; the exit code is 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=str(options.work) if options.work else None))
    place = folder / "kb"
    with opened(place) as rag:
        rag.ingest(*(document(name, 1) for name in range(N_NAMES)))
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    total, n_written = Counter[str](), [0]
    processes = [
        context.Process(target=read_in_process, args=(place, i, stop, results))
        for i in range(int(options.processes))
    ]
    with opened(place) as shared:
        threads = [
            threading.Thread(target=read, args=(shared, 100 + i, stop, total))
            for i in range(int(options.threads))
        ]
        writer = threading.Thread(target=write, args=(place, stop, n_written))
        workers: list[threading.Thread | SpawnProcess] = [*processes, *threads, writer]
        for worker in workers:
            worker.start()
        time.sleep(60 * float(options.minutes))
        stop.set()
        for _ in processes:
            total.update(results.get()[0])
        for worker in workers:
            worker.join()
    with opened(place) as rag:
        findings = [finding.to_dict() for finding in rag.doctor()]
    one, two = (throughput(place, n, 15) for n in (1, 2))
    wrong = {k: n for k, n in total.items() if n and k not in {"searches"}}
    print(json.dumps({
        "minutes": options.minutes,
        "searches": total["searches"],
        "documents_written_or_removed": n_written[0],
        "wrong": wrong,
        "doctor": findings,
        "searches_per_second_1_process": one,
        "searches_per_second_2_processes": two,
    }, indent=1))  # fmt: skip
    shutil.rmtree(folder)
    sys.exit(bool(wrong) or bool(findings))


if __name__ == "__main__":
    main()
