"""Files are parsed in another process: what comes back, and what a hostile file costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragkit import RAG, Settings
from ragkit.errors import IsolationError, LoadError
from ragkit.loading import LOADERS, FileSource, LoadedText, load_bytes
from ragkit.loading.content import Content
from ragkit.loading.encodings import LEGACY
from ragkit.loading.formats import find_loader
from ragkit.loading.isolation import Limits, Worker
from ragkit.types import PendingDocument

from ..fuzz.test_loaders import SEEDS
from ..processes import cpu_ticks, status_of
from .test_formats import ENCRYPTED

ROOT = Path(__file__).parents[2]
WORDS_ONLY = Settings(embedder="none")
SLOW = b"<ul><li>x" * 100_000
"""A page that takes seconds."""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Give a worker that all tests may use; it is ended after the last.

    It is not replaced for the number of its files, which depends on the order of the tests.
    """
    worker = Worker(Limits(files=100_000))
    yield worker
    worker.close()


def load(worker: Worker, data: bytes, name: str = "a.txt") -> LoadedText:
    """Load bytes as a file of this name."""
    return worker.load(Content.of(data), name=name, loader=find_loader(name))


def outcome(read: Callable[[], LoadedText]) -> LoadedText | tuple[str, str]:
    """Return what is loaded, or code and detail of the error."""
    try:
        return read()
    except LoadError as error:
        return error.code, error.detail


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    status = status_of(pid)
    return status is not None and status[0] != "Z"


def gone(pid: int) -> bool:
    """Wait until a process has ended."""
    for _ in range(600):
        if not is_running(pid):
            return True
        time.sleep(0.1)
    return False


def samples() -> list[tuple[str, bytes]]:
    """Return files of all formats: those of the examples and the seeds of the fuzz lane."""
    found = [
        (path.name, path.read_bytes())
        for folder in ("examples", "docs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in LOADERS
    ]
    return found + [(f"seed{suffix}", seed) for suffix, seeds in SEEDS.items() for seed in seeds]


def test_a_file_gives_what_it_gives_in_this_process(worker: Worker) -> None:
    """Text, title, marks, parts and metadata, or the same error, whatever the format."""
    load(worker, b"words")
    n_started = worker.n_started
    for name, data in samples():
        expected = outcome(lambda: load_bytes(data, name=name))  # noqa: B023
        assert outcome(lambda: load(worker, data, name)) == expected, name  # noqa: B023
    assert worker.n_started == n_started


def begin(worker: Worker, content: Content, name: str) -> None:
    """Send a file ahead."""
    worker.begin(content, name=name, loader=find_loader(name))


def test_files_that_are_sent_ahead_give_the_same(worker: Worker) -> None:
    """Each in its turn, or after one that was passed over, in one process."""
    load(worker, b"words")
    n_started, pid = worker.n_started, worker.pid
    files = [(name, Content.of(data)) for name, data in samples()]
    for (name, content), following in zip(files, [*files[1:], files[0]], strict=True):
        data = b"".join(content.blocks())
        expected = outcome(lambda: load_bytes(data, name=name))  # noqa: B023
        loaded = outcome(lambda: worker.load(content, name=name, loader=find_loader(name)))  # noqa: B023
        assert loaded == expected, name
        begin(worker, following[1], following[0])
    for _ in range(3):
        begin(worker, Content.of(b"{broken"), "passed_over.json")
        assert load(worker, b"one\n\ntwo").text == "one\n\ntwo"
    assert (worker.n_started, worker.pid) == (n_started, pid)


@pytest.mark.parametrize(
    ("number", "is_passed_over"),
    [(signal.SIGKILL, True), (signal.SIGKILL, False), (signal.SIGSTOP, True),
     (signal.SIGSTOP, False)],
)  # fmt: skip
def test_what_befalls_a_file_that_was_sent_ahead(
    number: signal.Signals, is_passed_over: bool
) -> None:
    """It costs no other file, and itself only if it may be the cause."""
    worker = Worker(Limits(seconds=1.0))
    begin(worker, Content.of(b"early"), "a.txt")  # no process yet: nothing is sent
    load(worker, b"words")
    ahead, pid = Content.of(b"ahead"), worker.pid
    assert pid is not None
    if number == signal.SIGSTOP:
        os.kill(pid, number)
    begin(worker, ahead, "a.txt")
    begin(worker, Content.of(b"a second one waits"), "b.txt")
    if number != signal.SIGSTOP:
        os.kill(pid, number)
    content = Content.of(b"another") if is_passed_over else ahead
    found = outcome(lambda: worker.load(content, name="a.txt", loader=find_loader("a.txt")))
    if number == signal.SIGSTOP and not is_passed_over:
        assert found == ("limit", "it takes more than 1 s")
    else:
        assert isinstance(found, LoadedText)
        assert found.text == ("another" if is_passed_over else "ahead")
    assert load(worker, b"later").text == "later"
    worker.close()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "iso2022_jp", "cp500", *LEGACY])
def test_every_encoding_is_at_hand(worker: Worker, encoding: str) -> None:
    """The process can open nothing, so that all it may need is loaded before."""
    texts = ("Größe, naïve café", "Добрый день, паром отходит", "Το πλοίο φεύγει νωρίς",
             "السفينة تغادر", "האנייה יוצאת", "船は九時に出ます。", "渡轮九点开。",
             "배는 아홉 시에 떠난다")  # fmt: skip
    for text in texts:
        data = (text * 9).encode(encoding, "ignore")
        page = f"<meta charset={encoding}><p>".encode() + data
        for name, content in (("a.txt", data), ("a.html", page)):
            expected = outcome(lambda: load_bytes(content, name=name))  # noqa: B023
            assert outcome(lambda: load(worker, content, name)) == expected  # noqa: B023


def test_a_file_with_a_password(worker: Worker) -> None:
    """The password goes with the file."""
    pytest.importorskip("pypdfium2")
    data = (ENCRYPTED / "aes256.pdf").read_bytes()
    content, loader = Content.of(data), find_loader("a.pdf")
    for password, code in ((None, "password"), ("wrong", "password")):
        with pytest.raises(LoadError, match=code):
            worker.load(content, name="a.pdf", loader=loader, password=password)
    opened = worker.load(content, name="a.pdf", loader=loader, password="open sesame")  # noqa: S106
    assert opened == load_bytes(data, name="a.pdf", password="open sesame")  # noqa: S106


def test_cpu_time_is_limited() -> None:
    """What runs out is named; the next file is read by another process."""
    worker = Worker(Limits(cpu_seconds=1))
    with pytest.raises(LoadError, match="limit: it takes more than 1 CPU seconds"):
        load(worker, SLOW * 4, "a.html")
    assert load(worker, b"words").text == "words"
    worker.close()
    assert worker.n_started == 2
    assert worker.cpu_seconds > 1


def test_time_is_limited() -> None:
    """A process that does nothing is ended, too."""
    worker = Worker(Limits(seconds=1.0))
    load(worker, b"words")
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(LoadError, match="limit: it takes more than 1 s"):
        load(worker, b"more words")
    assert gone(pid)
    assert load(worker, b"words").text == "words"
    worker.close()


def test_memory_is_limited() -> None:
    """A file that needs too much is an error, however often, and others are read."""
    worker = Worker(Limits(memory_bytes=2**27))
    big = json.dumps({str(i): {"name": i} for i in range(300_000)}).encode()
    for _ in range(2):
        with pytest.raises(LoadError, match="limit: it needs more than 128 MiB of memory"):
            load(worker, big, "a.json")
        assert load(worker, b"words").text == "words"
    worker.close()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_costs_one_file(number: signal.Signals) -> None:
    """A file that ends the process is an error with a code; what comes next is read."""
    worker = Worker()
    load(worker, b"words")
    codes: list[object] = []
    thread = threading.Thread(
        target=lambda: codes.append(outcome(lambda: load(worker, SLOW * 5, "a.html")))
    )
    thread.start()
    # Each process that reads it is ended, so that no other can be at fault.
    ended = set[int]()
    while thread.is_alive():
        pid = worker.pid
        if pid is not None and pid not in ended and cpu_ticks(pid) > 40:
            os.kill(pid, number)
            ended.add(pid)
        time.sleep(0.05)
    code = "broken" if number == signal.SIGSEGV else "limit"
    assert [found[0] for found in codes if isinstance(found, tuple)] == [code]
    assert 1 <= len(ended) <= 2
    assert load(worker, b"words").text == "words"
    worker.close()


def test_what_an_earlier_file_has_done_costs_no_later_one() -> None:
    """A process that has ended between two files is replaced, and the file is read."""
    worker = Worker()
    load(worker, b"words")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSEGV)
    assert load(worker, b"more words").text == "more words"
    assert worker.n_started == 2
    worker.close()


def test_a_process_is_replaced_after_many_files() -> None:
    """Nothing that files leave behind adds up."""
    worker = Worker(Limits(files=3))
    pids = list[int | None]()
    for name in (*["a.html"] * 7, *["a.txt"] * 30):
        load(worker, b"words", name)
        pids.append(worker.pid)
    worker.close()
    # Plain text counts for a twentieth.
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 31]


def test_it_ends_with_what_holds_it() -> None:
    """Closed or forgotten, nothing of it is left."""
    closed, forgotten = Worker(), Worker()
    load(closed, b"words")
    load(forgotten, b"words")
    pids = [pid for pid in (closed.pid, forgotten.pid) if pid is not None]
    closed.close()
    del forgotten
    assert [Path(f"/proc/{pid}").exists() for pid in pids] == [False, False]
    assert load(closed, b"words").text == "words"
    closed.close()


def test_threads_take_turns(worker: Worker) -> None:
    """Each gets the text of its own file."""
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        texts = [f"text {number} of thread {number}: {i} " * (i + 1) for i in range(40)]
        found[number] = [text for text in texts if load(worker, text.encode()).text != text]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: [], 1: [], 2: [], 3: []}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_has_its_own(worker: Worker) -> None:
    """Two processes do not talk to one worker, and neither ends the other's."""
    load(worker, b"words")
    mine = worker.pid
    child = os.fork()
    if child == 0:
        text = load(worker, b"words of the child").text
        is_right = text == "words of the child" and worker.pid != mine
        worker.close()
        os._exit(0 if is_right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert load(worker, b"words").text == "words"
    assert worker.pid == mine


def test_nothing_can_be_opened(tmp_path: Path) -> None:
    """Traced: once it is ready, it opens no file, no socket, starts nothing and changes nothing."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    program = (
        "from tests.loading.test_isolation import load, outcome, samples\n"
        "from ragkit.loading.isolation import Worker\n"
        "worker = Worker()\n"
        "for name, data in samples():\n"
        "    outcome(lambda: load(worker, data, name))\n"
        "assert worker.n_started == 1\n"
        "worker.close()\n"
    )
    log = tmp_path / "trace"
    traced = subprocess.run(
        [strace, "-f", "-ff", "-o", str(log),
         "-e", "trace=%file,%network,%process,read,write,prlimit64",
         "-s", "40", sys.executable, "-c", program],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if "ptrace" in traced.stderr:
        pytest.skip("no process may be traced here")
    assert traced.returncode == 0, traced.stderr
    limited = [
        text.partition("RLIMIT_NOFILE, {rlim_cur=0")[2].splitlines()[1:]
        for text in (path.read_text(errors="replace") for path in tmp_path.glob("trace.*"))
        if "RLIMIT_NOFILE, {rlim_cur=0" in text
    ]
    (lines,) = limited
    assert len(lines) > 100
    talk = ("read(0,", "write(", "prlimit64(0, RLIMIT_CPU", "+++ killed", "+++ exited")
    refused = "(Too many open files)"
    assert [
        line for line in lines if not line.startswith(talk) and not line.endswith(refused)
    ] == []


ESCAPES = """
import ctypes, os, signal, socket, subprocess, sys
from ragkit.loading.worker import give_up
held = give_up(2**30)
escapes = {
    "read": lambda: open("file").read(),
    "write": lambda: open("file", "a"),
    "connect": lambda: socket.socket(),
    "pipe": os.pipe,
    "start": lambda: subprocess.run(["true"]),
    "listing": lambda: os.listdir("."),
}
if "landlock" in held:
    escapes |= {
        "delete": lambda: os.unlink("file"),
        "rename": lambda: os.rename("file", "other"),
        "make": lambda: os.mkdir("folder"),
        "link": lambda: os.symlink("file", "link"),
        "empty": lambda: os.truncate("file", 0),
        "become": lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"]),
    }
done = []
for name, escape in escapes.items():
    try:
        escape()
        done.append(name)
    except OSError:
        pass
print(done, "RLIMIT_NOFILE" in held)
"""


def test_what_a_taken_process_can_do(tmp_path: Path) -> None:
    """Whatever runs in it, it opens, starts, changes and removes nothing."""
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    # Standard output is a pipe that stays open.
    result = subprocess.run(
        [sys.executable, "-c", ESCAPES], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert result.stdout == "[] True\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "kept"


def test_an_unchanged_ingest_starts_none(tmp_path: Path) -> None:
    """The first file that is new, or has changed, starts a process; the next ones share it."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.txt").write_text(f"words {number}", encoding="utf-8")
    worker = Worker()
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        source = FileSource([folder], parser=worker)
        assert rag.ingest(source).documents["added"] == 5
        assert worker.n_started == 1
        assert rag.ingest(source).documents["unchanged"] == 5
    worker.close()
    assert worker.n_started == 1


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    """What is stored is what has its fingerprint, even of a file too large to be kept."""
    path = tmp_path / "a.txt"
    path.write_text("words " * 100_000, encoding="utf-8")
    source = FileSource([path])
    (item,) = source.documents()
    assert isinstance(item, PendingDocument)
    assert item.load().text == "words " * 100_000
    for changed in ("other " * 100_000, "words " * 90_000, "words " * 110_000):
        path.write_text(changed, encoding="utf-8")
        with pytest.raises(LoadError, match="unreadable: it has changed while it was read"):
            item.load()
    path.unlink()
    with pytest.raises(LoadError, match="unreadable: No such file"):
        item.load()


def test_it_says_how_to_go_on_where_no_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is parsed here unless that is asked for."""
    path = tmp_path / "a.txt"
    path.write_text("words", encoding="utf-8")
    broken = tmp_path / "python-broken"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n", encoding="utf-8")
    broken.chmod(stat.S_IRWXU)
    reasons = {
        "": "this program brings its own interpreter",
        str(tmp_path / "server"): "this program brings its own interpreter",
        str(tmp_path / "python"): "No such file",
        str(broken): "out of order",
    }
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        for executable, reason in reasons.items():
            monkeypatch.setattr(sys, "executable", executable)
            with pytest.raises(IsolationError, match=rf"{reason}.*isolate=False \(--no-isolate\)"):
                rag.ingest(path)
        report = rag.ingest(path, isolate=False)
        assert (report.documents["added"], report.isolated) == (1, False)
