"""A store that is made, shared, closed and forked by several threads and processes at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import (
    RagkitError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreMissingError,
)
from ragkit.storage import LocalStore
from ragkit.storage.connections import MOST_CONNECTIONS
from ragkit.storage.database import Database
from ragkit.types import Query

WORDS_ONLY = Settings(embedder="none")


def filled(place: Path, *texts: str) -> None:
    """Make a store of these texts, called 0, 1 and so on."""
    with RAG(place, config=WORDS_ONLY, ledger="off") as rag:
        rag.ingest(*(Document(id=str(i), text=text) for i, text in enumerate(texts)))


def together(n: int, work: Callable[[int], None]) -> None:
    """Run a function in some threads that begin at once."""
    barrier = threading.Barrier(n)

    def run(number: int) -> None:
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True
    )


class Slow:
    """A source that stops before its last document until it may go on."""

    roots: Sequence[str] = ()

    def __init__(self) -> None:
        self.is_inside = threading.Event()
        self.may_go_on = threading.Event()

    def documents(self) -> Iterator[Document]:
        """Yield one document."""
        self.is_inside.set()
        self.may_go_on.wait()
        yield Document(id="slow", text="The quay closes late.")


# --- first creation ------------------------------------------------------------------------------


def test_threads_that_make_one_store_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each with a RAG of its own: what is acknowledged is there, and a loser is busy."""
    for trial in range(8):
        acknowledged: list[str] = []
        place = tmp_path / str(trial)

        def ingest(number: int, place: Path = place, done: list[str] = acknowledged) -> None:
            with RAG(place, config=WORDS_ONLY, ledger="off") as rag:
                for _ in range(200):
                    try:
                        rag.ingest(Document(id=str(number), text="The ferry leaves."))
                    except StoreBusyError:
                        time.sleep(0.005)
                    else:
                        done.append(str(number))
                        return

        together(3, ingest)
        with RAG(place) as rag:
            assert sorted(row.document_id for row in rag.list()) == sorted(acknowledged)
            assert sorted(acknowledged) == ["0", "1", "2"]
        assert not list(place.glob("*.new*"))


def test_processes_that_make_one_store_at_once_lose_nothing(tmp_path: Path) -> None:
    """Plain commands: those that succeed have stored, the others are busy, one succeeds."""
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"The {name} quay.")
    command = (sys.executable, "-m", "ragkit.cli", "ingest", "--embedder", "none", "--store")
    processes = {
        name: subprocess.Popen(
            [*command, str(tmp_path / "kb"), str(tmp_path / f"{name}.txt")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for name in "abc"
    }  # fmt: skip
    codes = {f"{name}.txt": process.wait() for name, process in processes.items()}
    assert set(codes.values()) <= {0, 6}
    assert 0 in codes.values()
    with RAG(tmp_path / "kb") as rag:
        assert {row.document_id for row in rag.list()} == {n for n, c in codes.items() if not c}
        assert rag.doctor() == []


def test_a_store_is_never_put_in_the_place_of_another(tmp_path: Path) -> None:
    """Whoever opens with `create` at once gets the same file; a killed creation leaves nothing."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / ".store.sqlite.0a.new").touch()
    for trial in range(8):
        place, stores = tmp_path / str(trial), list[LocalStore]()

        def make(_: int, place: Path = place, stores: list[LocalStore] = stores) -> None:
            stores.append(LocalStore(place, create=True))

        together(4, make)
        for number, store in enumerate(stores):
            with store.transaction():
                assert store.revision == number
            assert all(other.revision == number + 1 for other in stores)
        for store in stores:
            store.close()
        assert not list(place.glob(".store.sqlite*"))


# --- closing -------------------------------------------------------------------------------------

CLOSING = """
import asyncio, sys, threading, time
from ragkit import RAG
from ragkit.errors import RagkitError, StoreClosedError
def spin(rag, errors):
    while not errors:
        try:
            rag.search("ferry quay", k=50); list(rag.list()); rag.show("7")
        except RagkitError as error:
            errors.append(type(error).__name__)
        except BaseException as error:
            errors.append(f"untyped: {error!r}")
for _ in range(15):
    rag, errors = RAG(sys.argv[1]), [[], [], [], []]
    threads = [threading.Thread(target=spin, args=(rag, each)) for each in errors]
    for thread in threads: thread.start()
    time.sleep(0.02)
    rag.close()
    for thread in threads: thread.join()
    assert errors == 4 * [["StoreClosedError"]], errors
async def cancelled():
    with RAG(sys.argv[1]) as rag:
        calls = [rag.asearch("ferry quay leaves", k=50) for _ in range(4)]
        await asyncio.gather(*(asyncio.wait_for(call, 0.002) for call in calls))
for _ in range(5):
    try:
        asyncio.run(cancelled())
    except TimeoutError:
        pass
print("end")
"""


def test_closing_beside_searches_ends_them_by_a_typed_error(tmp_path: Path) -> None:
    """Threads and cancelled asynchronous calls: never a signal, never false damage."""
    filled(tmp_path / "kb", *(f"The ferry {i} leaves the quay at nine." for i in range(300)))
    ended = run_python(CLOSING, str(tmp_path / "kb"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "end\n", "")


def test_nothing_answers_after_close(tmp_path: Path) -> None:
    """Every method raises; a second close does nothing; no file stays open."""
    filled(tmp_path / "kb", "The quay is closed.")
    rag = RAG(tmp_path / "kb", ledger="off")
    stream = rag.stream("Is the quay closed?")
    asked: list[Callable[[], object]] = [
        lambda: rag.search("quay"), lambda: rag.ask("Is the quay closed?"), rag.list, rag.describe,
        lambda: rag.ingest(Document(id="b", text="x")), lambda: rag.rm("0"), rag.doctor,
        lambda: rag.show("0"), lambda: rag.stream("quay"), lambda: rag.pool("quay", k=1),
        lambda: asyncio.run(rag.asearch("quay")), rag.rebuild, rag.compact, rag.configuration,
        lambda: next(stream), lambda: rag.counter, rag.corpus_sketch, rag.copies,
        lambda: rag.backup(tmp_path / "copy"), lambda: rag.restore(tmp_path / "copy"),
    ]  # fmt: skip
    rag.close()
    for ask in asked:
        with pytest.raises(StoreClosedError):
            ask()
    rag.close()
    store = LocalStore(tmp_path / "kb")
    store.close()
    store.close()
    with pytest.raises(StoreClosedError):
        store.search(Query(question="quay"))
    unopened = RAG(tmp_path / "kb")
    unopened.close()
    with pytest.raises(StoreClosedError):
        unopened.search("quay")


def test_closing_waits_for_calls_in_flight(tmp_path: Path) -> None:
    """An ingest that is under way ends as if nothing had been, and is waited for."""
    rag, source = RAG(tmp_path / "kb", config=WORDS_ONLY, ledger="off"), Slow()
    reports: list[object] = []
    ingest = threading.Thread(target=lambda: reports.append(rag.ingest(source).documents["added"]))
    seen: list[int] = []

    def close() -> None:
        rag.close(seconds=60)
        seen.append(len(reports))

    closing = threading.Thread(target=close)
    ingest.start()
    source.is_inside.wait()
    closing.start()
    while True:  # until the close has begun
        try:
            rag.describe()
        except StoreClosedError:
            break
    assert seen == []
    source.may_go_on.set()
    closing.join()
    ingest.join()
    assert (reports, seen) == ([1], [1])


def test_closing_interrupts_what_does_not_end(tmp_path: Path) -> None:
    """A statement without end, and a block that goes on: both end by a typed error."""
    filled(tmp_path / "kb", "The quay.")
    database = Database(tmp_path / "kb")
    is_inside, errors = threading.Event(), list[str]()

    def count() -> None:
        try:
            with database.reading() as connection:
                is_inside.set()
                connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                                   " SELECT count(*) FROM n").fetchone()  # fmt: skip
        except RagkitError as error:
            errors.append(type(error).__name__)

    thread = threading.Thread(target=count)
    thread.start()
    is_inside.wait()
    database.close(seconds=0.05)
    thread.join()
    assert errors == ["StoreClosedError"]
    store, may_go_on = LocalStore(tmp_path / "kb"), threading.Event()
    settings = store.manifest().settings
    assert settings is not None
    is_inside.clear()

    def write() -> None:
        try:
            with store.transaction():
                store.configure(replace(settings, chunk_tokens=7))
                is_inside.set()
                may_go_on.wait()
                store.manifest()
        except RagkitError as error:
            errors.append(type(error).__name__)

    thread = threading.Thread(target=write)
    thread.start()
    is_inside.wait()
    store.close(seconds=0)
    may_go_on.set()
    thread.join()
    assert errors == 2 * ["StoreClosedError"]
    with LocalStore(tmp_path / "kb") as again:
        assert again.manifest().settings == settings


# --- connections ---------------------------------------------------------------------------------


def n_open(place: Path) -> int:
    """Return how many times this process has a store's file open."""
    paths: list[str] = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return paths.count(str(place / "store.sqlite"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be counted")
def test_connections_do_not_grow_with_threads(tmp_path: Path) -> None:
    """A thread a request, one after the other and many at once; closing gives all back."""
    filled(tmp_path / "kb", *(f"The ferry {i} leaves." for i in range(50)))
    store = LocalStore(tmp_path / "kb")

    def search(_: int) -> None:
        assert store.search(Query(question="ferry"))

    for _ in range(40):
        together(1, search)
    assert n_open(tmp_path / "kb") == 1
    most: list[int] = []

    def search_and_look(number: int) -> None:
        for _ in range(5):
            search(number)
            most.append(n_open(tmp_path / "kb"))

    together(60, search_and_look)
    assert max(most) <= MOST_CONNECTIONS
    store.close()
    assert n_open(tmp_path / "kb") == 0


# --- what is kept in memory ----------------------------------------------------------------------


def test_what_is_not_committed_is_not_kept(tmp_path: Path) -> None:
    """What a transaction read before it was rolled back is not served afterwards."""
    filled(tmp_path / "kb", "The quay is closed on Sunday and the boat does not leave.")
    with LocalStore(tmp_path / "kb") as store:
        with suppress(ZeroDivisionError), store.transaction():
            store.delete(["0"])
            assert store.language() is None
            raise ZeroDivisionError
        assert store.language() == "en"
        assert store.count()["documents"] == 1


@pytest.mark.parametrize("mode", ["lexical", "dense"])
def test_a_file_that_takes_the_stores_place_is_read(tmp_path: Path, mode: str) -> None:
    """As many writes, other content: what was kept of the old file is not served."""
    pytest.importorskip("numpy")
    for name in ("old", "new"):
        with RAG(tmp_path / name, ledger="off") as rag:
            rag.ingest(Document(id=name, text=f"The {name} ferry leaves.", groups=(name,)))
    with RAG(tmp_path / "old", ledger="off") as rag:

        def found(group: str) -> list[str]:
            hits = rag.search("ferry", groups=[group], mode=mode)  # type: ignore[arg-type]
            return [hit.chunk.document_id for hit in hits]

        assert found("old") == ["old"]
        (tmp_path / "new" / "store.sqlite").replace(tmp_path / "old" / "store.sqlite")
        assert (found("old"), found("new")) == ([], ["new"])
        (tmp_path / "old" / "store.sqlite").unlink()
        with pytest.raises(StoreMissingError):
            found("new")


# --- forks ---------------------------------------------------------------------------------------

FORKING = """
import os, sys, threading
from ragkit import RAG, Document
rag = RAG(sys.argv[1], embedder="none", ledger="off")
rag.ingest(*(Document(id=str(i), text=f"The ferry {i} leaves.") for i in range(50)))
stop = threading.Event()
def spin():
    while not stop.is_set():
        rag.search("ferry")
threads = [threading.Thread(target=spin) for _ in range(3)]
for thread in threads: thread.start()
for n in range(8):
    pid = os.fork()
    if pid == 0:
        try:
            mine = {os.readlink(f"/proc/self/fd/{f}") for f in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{f}")}
            shared = [name for name in mine if name.endswith("store.sqlite")]
            found = len(rag.search("ferry", k=50))
            rag.ingest(Document(id=f"child {n}", text="The boat."))
            os._exit(0 if found == 50 and not shared else 3)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(4)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
assert len(list(rag.list())) == 58 and not rag.doctor()
print("end")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts open files by /proc")
def test_a_child_has_connections_of_its_own(tmp_path: Path) -> None:
    """Forked beside busy threads, a child shares no connection, does not hang, and may write."""
    ended = run_python(FORKING, str(tmp_path / "kb"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "end\n", "")


HOLDING = """
import os, sys
from ragkit import RAG, Document
class Forks:
    roots = ()
    def documents(self):
        pid = os.fork()
        if pid == 0:
            sys.stdin.read()
            os._exit(0)
        yield Document(id="a", text="The quay.")
        if len(sys.argv) > 2:
            os.kill(os.getpid(), 9)
rag = RAG(sys.argv[1], embedder="none", ledger="off")
rag.ingest(Forks())
rag.ingest(Document(id="b", text="The boat."))
print("end", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
@pytest.mark.parametrize("killed", [[], ["killed"]])
def test_the_writers_lock_stays_with_the_writer(tmp_path: Path, killed: list[str]) -> None:
    """A child forked in the middle of an ingest has no part in it, even when its parent dies."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "kb"), *killed],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        if killed:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            assert process.stdout.readline() == "end\n"
        with RAG(tmp_path / "kb", config=WORDS_ONLY, ledger="off") as rag:
            assert rag.ingest(Document(id="c", text="The ferry.")).documents["added"] == 1
        process.stdin.close()
    assert process.returncode == (-signal.SIGKILL if killed else 0)


# --- who may lock --------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes here")
@pytest.mark.parametrize(("store_mode", "lock_mode"), [(0o600, 0o600), (0o644, 0o600),
                                                       (0o664, 0o660)])  # fmt: skip
def test_only_those_who_may_write_can_open_the_lock(
    tmp_path: Path, store_mode: int, lock_mode: int
) -> None:
    """Whatever the mask, and after an operator has let others read everything."""
    old_mask = os.umask(0)
    try:
        filled(tmp_path / "kb", "The quay.")
        lock = tmp_path / "kb" / "writer.lock"
        assert lock.stat().st_mode & 0o777 == 0o600
        (tmp_path / "kb" / "store.sqlite").chmod(store_mode)
        lock.chmod(0o666)
        filled(tmp_path / "kb", "The quay.", "The boat.")
        assert lock.stat().st_mode & 0o777 == lock_mode
    finally:
        os.umask(old_mask)


def test_a_vanished_file_is_not_made_again_empty(tmp_path: Path) -> None:
    """Opening never leaves an empty file behind that is no store for good."""
    filled(tmp_path / "kb", "The quay.")
    with LocalStore(tmp_path / "kb") as store:
        (tmp_path / "kb" / "store.sqlite").unlink()
        with pytest.raises(StoreMissingError):
            store.count()
    with pytest.raises(StoreMissingError):
        LocalStore(tmp_path / "kb")
    (tmp_path / "kb" / "store.sqlite").touch()
    with pytest.raises(StoreError):
        LocalStore(tmp_path / "kb")
