"""Make, close and read stores where processes, threads and users meet, and count what is wrong.

    pip install 'ragkit-lean[local]'
    python benchmarks/edges.py [create-processes] [create-threads] [close] [reader] [options]

- `create-processes`: some processes make one new store at the same moment and ingest into it, and
  try again where it is busy; over and over. Acknowledged documents must be there, each store sound.
- `create-threads`: the same by threads of one process, each with a RAG of its own.
- `close`: a RAG is closed while threads search it by words and by vectors, list and show, with
  derived files mapped. No process may end by a signal; calls end or raise `StoreClosedError`.
- `reader` (root only): another user, who may not write, searches beside a writer that adds,
  changes, revokes and removes, and that now and then closes, or is killed and leaves its log. The
  search after an acknowledged write must show it, and none may fail; a second reader searches
  without pause.

Without a name all are run. The figures come as text and as one JSON object; the exit code is 1 when
anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from kills import Digested

from ragkit import RAG, Document, Settings
from ragkit.errors import RagkitError, StoreBusyError, StoreClosedError
from ragkit.storage import DerivedSizes, LocalStore

NOBODY = 65534
SIZES = DerivedSizes(first=100, more=64, file=200)


def ingest_until_done(place: Path, name: str) -> str | None:
    """Ingest one document, again while the store is busy, and return what else went wrong."""
    for _ in range(2000):
        try:
            with RAG(place, embedder="none", ledger="off") as rag:
                rag.ingest(Document(id=name, text=f"The {name} lives in town."))
        except StoreBusyError:
            time.sleep(0.005)
        except Exception as error:
            return f"{type(error).__name__}: {error}".replace(str(place), "STORE")
        else:
            return None
    return "busy for good"


def look_at(place: Path, acknowledged: set[str], wrong: Counter[str]) -> None:
    """Count what a new store lacks."""
    try:
        with RAG(place, ledger="off") as rag:
            lost = acknowledged - {row.document_id for row in rag.list()}
            wrong["acknowledged documents lost"] += len(lost)
            wrong["stores not sound"] += bool(rag.doctor())
    except RagkitError:
        wrong["stores that cannot be used"] += 1


def make_when_told(commands: Connection) -> None:
    """Ingest into each store that is named, once the word is given."""
    while (told := commands.recv()) is not None:
        place, name, moment = told
        while time.time() < moment:
            pass
        commands.send(ingest_until_done(place, name))


def create_by_processes(folder: Path, n: int, n_together: int) -> Counter[str]:
    """Make stores by several processes at the same moment."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(n_together)]
    workers = [context.Process(target=make_when_told, args=(theirs,)) for _, theirs in pipes]
    for worker in workers:
        worker.start()
    wrong = Counter[str]()
    for trial in range(n):
        place = folder / str(trial)
        moment = time.time() + (5 if trial == 0 else 0.02)
        for number, (ours, _) in enumerate(pipes):
            ours.send((place, f"d{number}", moment))
        failures = [ours.recv() for ours, _ in pipes]
        wrong.update(failure for failure in failures if failure is not None)
        look_at(place, {f"d{i}" for i, failure in enumerate(failures) if failure is None}, wrong)
        shutil.rmtree(place)
    for ours, _ in pipes:
        ours.send(None)
    for worker in workers:
        worker.join()
    return wrong


def create_by_threads(folder: Path, n: int, n_together: int) -> Counter[str]:
    """Make stores by several threads at the same moment."""
    wrong = Counter[str]()
    for trial in range(n):
        place, barrier = folder / str(trial), threading.Barrier(n_together)
        failures: dict[str, str | None] = {}

        def make(
            name: str,
            place: Path = place,
            barrier: threading.Barrier = barrier,
            failures: dict[str, str | None] = failures,
        ) -> None:
            barrier.wait()
            failures[name] = ingest_until_done(place, name)

        threads = [threading.Thread(target=make, args=(f"d{i}",)) for i in range(n_together)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wrong.update(failure for failure in failures.values() if failure is not None)
        look_at(place, {name for name, failure in failures.items() if failure is None}, wrong)
        shutil.rmtree(place)
    return wrong


def opened(place: Path) -> RAG:
    """Open a pipeline with small derived files."""
    store = LocalStore(place, create=True, sizes=SIZES)
    return RAG(store, embedder=Digested(), config=Settings(chunk_tokens=200), ledger="off")


def search_until_closed(rag: RAG, seed: int, seen: Counter[str]) -> None:
    """Search until the RAG is closed, and count what happens."""
    rng = random.Random(seed)
    while True:
        mode = rng.choice(["lexical", "dense", "hybrid"])
        try:
            rag.search(f"buoy {rng.randrange(97)} and wind", k=50, mode=mode)  # type: ignore[arg-type]
            rag.show(f"d{rng.randrange(400)}")
            sum(1 for _ in rag.list())
            seen["rounds"] += 1
        except StoreClosedError:
            seen["closed"] += 1
            return
        except BaseException as error:
            seen[f"{type(error).__name__}: {error}"] += 1
            return


def close_under_load(place: Path, n: int) -> None:
    """Close some times beside four threads, and print what they saw."""
    seen = Counter[str]()
    rng = random.Random()
    for _ in range(n):
        rag = opened(place)
        threads = [
            threading.Thread(target=search_until_closed, args=(rag, seed, seen))
            for seed in range(4)
        ]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.0, 0.3))
        rag.close()
        for thread in threads:
            thread.join()
    print(json.dumps(seen))


def close(folder: Path, n: int) -> Counter[str]:
    """Close under load in processes of their own, so that the end of each is seen."""
    place = folder / "kb"
    with opened(place) as rag:
        rag.ingest(*(
            Document(id=f"d{i}", text=" ".join(
                f"Entry {j} of log {i} names buoy {i * j % 97} and wind {j % 9}." for j in range(20)
            ))
            for i in range(400)
        ))  # fmt: skip
    seen, wrong = Counter[str](), Counter[str]()
    done = 0
    while done < n:
        some = min(10, n - done)
        command = [sys.executable, __file__, "--closes-in-process", str(some), "--work", str(place)]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        if ended.returncode < 0:
            wrong[f"ended by {signal.Signals(-ended.returncode).name}"] += 1
        elif ended.returncode:
            last = ended.stderr.strip().splitlines()[-1:]
            wrong[f"exit code {ended.returncode}: {' '.join(last)}"] += 1
        else:
            seen.update(json.loads(ended.stdout))
        done += some
    for what, times in seen.items():
        if what not in {"rounds", "closed"}:
            wrong[what] += times
    print(
        f"  {seen['rounds']} rounds beside the closes, {seen['closed']} ended by StoreClosedError"
    )
    return wrong


# --- another user --------------------------------------------------------------------------------


def look(rag: RAG) -> tuple[dict[str, str], list[str]]:
    """Return the version of each document found, and the ids that are listed."""
    hits = rag.search("salary", k=200, mode="lexical", groups=["staff"])
    found = {hit.chunk.document_id: hit.chunk.text for hit in hits}
    return found, [row.document_id for row in rag.list(groups=["staff"])]


def read_as_other(place: Path, commands: Connection) -> None:
    """Become another user, and answer each question with what the next search shows."""
    # Loads all modules while they are readable.
    with (
        tempfile.TemporaryDirectory() as folder,
        RAG(Path(folder) / "kb", embedder="none", ledger="off") as warm,
    ):
        warm.ingest(Document(id="a", text="The salary.", groups=("staff",)))
        look(warm)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    rag = RAG(place, ledger="off")
    n, wrong = 0, Counter[str]()
    while True:
        told = commands.recv() if commands.poll(0 if n else None) else "go on"
        if told is None:
            break
        try:
            n += 1
            if n % 50 == 0:
                rag.close()
                rag = RAG(place, ledger="off")
            answer: object = look(rag)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}".replace(str(place), "STORE")
            wrong[str(answer)] += 1
        if told == "look":
            commands.send(answer)
    commands.send((n, dict(wrong)))


class Writer:
    """A process of its own that writes when it is told to, and can be killed."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._ours, theirs = self._context.Pipe()
        self._process = self._context.Process(target=write_when_told, args=(self._place, theirs))
        self._process.start()

    def write(self, what: str, name: str, version: int) -> None:
        """Have one document written; returns once it is acknowledged."""
        self._ours.send((what, name, version))
        self._ours.recv()

    def again(self, *, kill: bool) -> None:
        """End the process, or kill it, and start another."""
        if kill:
            self._process.kill()
        else:
            self._ours.send(None)
        self._process.join()
        self._start()

    def end(self) -> None:
        """End the process."""
        self._ours.send(None)
        self._process.join()


def write_when_told(place: Path, commands: Connection) -> None:
    """Write what is asked for, and acknowledge it; the log is not emptied in between."""
    rag = RAG(place, embedder="none", ledger="off")
    while (told := commands.recv()) is not None:
        what, name, version = told
        if what == "rm":
            rag.rm(name)
        else:
            text = f"The salary of {name} is {version} now."
            rag.ingest(Document(id=name, text=text, groups=(what,)))
        commands.send(True)
    rag.close()


def reader(folder: Path, seconds: float) -> Counter[str]:
    """Let another user read beside a writer, and compare with what was acknowledged."""
    if os.name != "posix" or os.geteuid():
        print("  left out: only root can become another user")
        return Counter()
    folder.chmod(0o755)
    place = folder / "kb"
    with RAG(place, embedder="none", ledger="off") as rag:
        rag.ingest(Document(id="n0", text="The salary of n0 is 0 now.", groups=("staff",)))
    for path in place.iterdir():
        path.chmod(0o644)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    others = [context.Process(target=read_as_other, args=(place, theirs)) for _, theirs in pipes]
    for other in others:
        other.start()
    wrong, expected, rng = Counter[str](), {"n0": 0}, random.Random(1)
    writer, n_writes, n_ends, n_kills = Writer(place), 0, 0, 0
    for ours, _ in pipes:
        ours.send("look")
        ours.recv()
    end = time.monotonic() + seconds
    asked = pipes[0][0]
    while time.monotonic() < end:
        n_writes += 1
        name, what = f"n{rng.randrange(60)}", rng.choice(["staff", "staff", "staff", "board", "rm"])
        writer.write(what, name, n_writes)
        expected.pop(name, None)
        if what == "staff":
            expected[name] = n_writes
        if n_writes % 40 == 0:
            kill = n_writes % 80 == 0
            n_kills, n_ends = n_kills + kill, n_ends + (not kill)
            writer.again(kill=kill)
        asked.send("look")
        answer = asked.recv()
        if isinstance(answer, str):
            continue  # counted by the reader
        found, listed = answer
        texts = {name: f"The salary of {name} is {n} now." for name, n in expected.items()}
        wrong["searches that miss an acknowledged write"] += found != texts
        wrong["lists that miss an acknowledged write"] += listed != sorted(texts)
    writer.end()
    n_searches = 0
    for (ours, _), other in zip(pipes, others, strict=True):
        ours.send(None)
        n, errors = ours.recv()
        n_searches += n
        wrong.update(errors)
        other.join()
    print(f"  {n_writes} writes, {n_searches} searches; the writer ended {n_ends} times and was "
          f"killed {n_kills} times")  # fmt: skip
    return wrong


def main() -> None:
    """Run what is asked for and print what was wrong; the exit code is 1 when anything was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = ("create-processes", "create-threads", "close", "reader")
    parser.add_argument("what", nargs="*", help=f"of {' '.join(names)}; all when none is named")
    parser.add_argument("--process-creations", type=int, default=500)
    parser.add_argument("--thread-creations", type=int, default=200)
    parser.add_argument("--together", type=int, default=4)
    parser.add_argument("--closes", type=int, default=200)
    parser.add_argument("--reader-minutes", type=float, default=5.0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--closes-in-process", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.closes_in_process:
        close_under_load(options.work, options.closes_in_process)
        return
    if unknown := set(options.what) - set(names):
        parser.error(f"{' '.join(sorted(unknown))}; allowed: {' '.join(names)}")
    n_together = options.together
    runs: dict[str, tuple[str, Callable[[Path], Counter[str]]]] = {
        "create-processes": (
            f"{options.process_creations} creations by {n_together} processes",
            lambda place: create_by_processes(place, options.process_creations, n_together),
        ),
        "create-threads": (
            f"{options.thread_creations} creations by {n_together} threads",
            lambda place: create_by_threads(place, options.thread_creations, n_together),
        ),
        "close": (
            f"{options.closes} closes beside 4 threads",
            lambda place: close(place, options.closes),
        ),
        "reader": (
            f"another user reads for {options.reader_minutes:g} minutes",
            lambda place: reader(place, 60 * options.reader_minutes),
        ),
    }
    summary: dict[str, object] = {}
    is_wrong = False
    for name, (title, run) in runs.items():
        if options.what and name not in options.what:
            continue
        folder = Path(tempfile.mkdtemp(dir=str(options.work) if options.work else None))
        print(f"{title} …", flush=True)
        began = time.monotonic()
        wrong = {what: times for what, times in run(folder).items() if times}
        seconds = round(time.monotonic() - began)
        print(f"  {seconds} s, wrong: {wrong or 'nothing'}", flush=True)
        is_wrong = is_wrong or bool(wrong)
        summary[name] = {"what": title, "seconds": seconds, "wrong": wrong}
        shutil.rmtree(folder)
    print(json.dumps(summary, indent=1))
    sys.exit(is_wrong)


if __name__ == "__main__":
    main()
