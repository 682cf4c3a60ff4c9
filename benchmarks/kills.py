"""Kill a writer with SIGKILL at chance moments and check what is left.

    pip install 'ragkit-lean[local]'
    python benchmarks/kills.py [--ingests 200] [--others 50] [--work FOLDER]

A worker process ingests, removes, or compacts, with vectors and small derived files, and prints
what is acknowledged. After each kill a fresh process of mind opens the store: every acknowledged
document must be there, whole, once; what was acknowledged as removed must be gone; the doctor may
find leftover files, and nothing else. At the end the store must hold what an undisturbed one does,
and answer alike.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragkit import RAG, Document, Settings
from ragkit.storage import DerivedSizes, LocalStore
from ragkit.types import Query

if TYPE_CHECKING:
    from ragkit.types import Vectors

N_DOCUMENTS = 1500
SIZES = DerivedSizes(first=100, more=64, file=200)
LEFTOVERS = "derived files belong to nothing"


class Digested:
    """An embedder that takes a vector from the text's digest: quick, and always the same."""

    dim = 64
    fingerprint = "digested"
    name = "digested"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text."""
        raw = b"".join(hashlib.sha512(text.encode()).digest() for text in texts)
        rows = np.frombuffer(raw, np.uint8).astype(np.float32).reshape(-1, self.dim) - 127.5
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def embed_query(self, text: str) -> Vectors:
        """Return a question's vector."""
        vector: Vectors = self.embed_documents([text])[0]
        return vector


def documents() -> Iterator[Document]:
    """Yield the documents: of one to six chunks, in sentences of their own."""
    for i in range(N_DOCUMENTS):
        lines = [
            f"Entry {j} of log {i} names buoy {i * j % 97} and wind {j % 9}." for j in range(60)
        ]
        yield Document(id=f"d{i}", text=" ".join(lines[: 5 + i % 55]))


def opened(place: Path) -> RAG:
    """Open a pipeline over the store."""
    store = LocalStore(place, create=True, sizes=SIZES)
    return RAG(store, embedder=Digested(), config=Settings(chunk_tokens=200), ledger="off")


def to_remove(seed: int) -> list[str]:
    """Return the ids that a removal is about."""
    return [f"d{i}" for i in random.Random(seed).sample(range(N_DOCUMENTS), 200)]


def work(task: str, place: Path, seed: int) -> None:
    """Do a task and print what is acknowledged."""
    with opened(place) as rag:
        if task == "ingest":
            rag.ingest(
                *documents(),
                on_progress=lambda done: print(done.document_id, done.status, flush=True),
            )
        elif task == "rm":
            ids = to_remove(seed)
            for first in range(0, len(ids), 20):
                for name in rag.rm(*ids[first : first + 20]):
                    print(name, "removed", flush=True)
        else:
            rag.compact()


class Checker:
    """Keeps what was acknowledged, and counts what is wrong."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.present: set[str] = set()
        self.removed: set[str] = set()
        self.texts = {document.id: document.text for document in documents()}
        self.wrong: Counter[str] = Counter()
        self.leftovers = 0

    def killed(self, task: str, seed: int, seconds: float) -> bool:
        """Run a task, kill it, and return whether it was still at work."""
        command = [sys.executable, __file__, "--task", task, "--seed", str(seed),
                   "--work", str(self.place)]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline() if task != "compact" else ""
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
            lines = [first, *process.stdout.read().splitlines()]
        for line in lines:
            name, _, status = line.strip().partition(" ")
            if status in {"added", "changed", "unchanged"}:
                self.present.add(name)
            elif status == "removed":
                self.present.discard(name)
                self.removed.add(name)
        return process.returncode != 0

    def check(self, asked_to_go: Sequence[str] = ()) -> None:
        """Look at everything the store holds; some documents may have been removed."""
        try:
            rag = opened(self.place)
        except Exception as error:
            self.wrong[f"does not open: {error}"] += 1
            return
        with rag:
            listed = Counter(row.document_id for row in rag.list())
            self.wrong["lost"] += len(self.present - listed.keys() - set(asked_to_go))
            self.wrong["removed and there"] += len(self.removed & listed.keys())
            self.wrong["twice"] += sum(n > 1 for n in listed.values())
            chunks = Counter[str]()
            for name in listed:
                shown: Any = rag.show(name)
                self.wrong["partial"] += shown["text"] != self.texts[name]
                covered = [(c["start"], c["end"]) for c in shown["chunks"]]
                gaps = [a for (_, b), (a, _) in pairwise(covered) if a > b + 1]
                whole = covered and not gaps and covered[-1][1] == len(shown["text"])
                self.wrong["partial"] += not whole
                chunks.update(c["chunk_id"] for c in shown["chunks"])
            self.wrong["duplicate chunks"] += sum(n > 1 for n in chunks.values())
            for finding in rag.doctor():
                if finding.check == "derived" and LEFTOVERS in finding.detail:
                    self.leftovers += 1
                else:
                    self.wrong[f"doctor: {finding.detail}"] += 1
            self.present, self.removed = set(listed), set()


def content(place: Path) -> tuple[str, object]:
    """Return the digest of all chunks, and what some questions find."""
    with LocalStore(place, sizes=SIZES) as store:
        found: list[object] = []
        for i in range(40):
            question = f"Entry {i} of log {7 * i} buoy"
            query = Query(question=question, vector=Digested().embed_query(question), k=20)
            found.append([(hit.chunk.id, round(hit.score, 6)) for hit in store.search(query)])
        return store.chunks_sha256(), found


def finished(task: str, place: Path, seed: int = 0) -> None:
    """Run a task to its end."""
    command = [sys.executable, __file__, "--task", task, "--seed", str(seed), "--work", str(place)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Kill, check, and print what was seen; the exit code is 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ingests", type=int, default=200)
    parser.add_argument("--others", type=int, default=50)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--task", choices=("ingest", "rm", "compact"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        work(options.task, options.work, options.seed)
        return
    folder = Path(tempfile.mkdtemp(dir=str(options.work) if options.work else None))
    rng = random.Random(int(options.seed))
    finished("ingest", folder / "whole")
    expected = content(folder / "whole")
    checker = Checker(folder / "kb")
    at_work: Counter[str] = Counter()
    for i in range(options.ingests):
        if i % 8 == 0:
            shutil.rmtree(checker.place, ignore_errors=True)
            checker.present = set()
        at_work["ingest"] += checker.killed("ingest", i, rng.uniform(0, 0.7))
        checker.check()
    finished("ingest", checker.place)
    same = content(checker.place) == expected
    for i in range(options.others):
        task = ("rm", "compact")[i % 2]
        if task == "rm":
            finished("ingest", checker.place)
            checker.check()
        at_work[task] += checker.killed(task, i, rng.uniform(0, 0.5))
        checker.check(to_remove(i) if task == "rm" else ())
    finished("ingest", checker.place)
    finished("compact", checker.place)
    same = same and content(checker.place) == expected
    wrong = {name: n for name, n in checker.wrong.items() if n}
    print(json.dumps({
        "kills": options.ingests + options.others,
        "killed_at_work": dict(at_work),
        "wrong": wrong,
        "times_with_leftover_files": checker.leftovers,
        "ends_as_undisturbed": same,
    }, indent=1))  # fmt: skip
    shutil.rmtree(folder)
    sys.exit(bool(wrong) or not same)


if __name__ == "__main__":
    main()
