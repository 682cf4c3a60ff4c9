"""Readers who may not write the store's folder, beside writers who come and go."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings

WORDS_ONLY = Settings(embedder="none")

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user"
    ),
    pytest.mark.slow,  # Each test runs processes of its own.
]

READER = """
import json, os, sys, tempfile, warnings
from ragkit import RAG, Document
from ragkit.errors import RagkitError
warm = RAG(tempfile.mkdtemp() + "/kb", embedder="none")  # loads all modules while they are readable
warm.ingest(Document(id="a", text="warm"))
warm.search("warm"), list(warm.list()), warm.doctor(), warm.close()
os.setgroups([]), os.setgid(65534), os.setuid(65534)
rag = None
for line in sys.stdin:
    try:
        rag = rag or RAG(sys.argv[1], ledger="off")
        hits = sorted({h.chunk.document_id for h in rag.search("salary", k=1000, groups=["staff"])})
        listed = [row.document_id for row in rag.list(groups=["staff"])]
        assert hits == listed, (hits, listed)
        found = [listed, [finding.detail for finding in rag.doctor()], rag.describe()["read_only"]]
    except RagkitError as error:
        found = f"{type(error).__name__}: {error}"
    print(json.dumps(found), flush=True)
"""


@pytest.fixture
def place() -> Generator[Path]:
    """Give a folder that every user may enter, and none but root may write."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder / "kb"
    shutil.rmtree(folder)


class Reader:
    """Another user's process, which looks when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def look(self) -> object:
        """Return the documents found and listed, what the doctor says, and whether it may read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def sees(self, *ids: str) -> bool:
        """Whether exactly these are found, and nothing is called damaged."""
        return self.look() == [list(ids), [], True]


@contextmanager
def reader(place: Path) -> Generator[Reader]:
    """Start another user's process."""
    command = [sys.executable, "-c", READER, str(place)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Reader(process)
        assert process.stdin is not None
        process.stdin.close()


def salary(name: str, group: str = "staff") -> Document:
    """Return a document of one group."""
    return Document(id=name, text=f"The salary of {name} was agreed.", groups=(group,))


def let_others_read(place: Path) -> None:
    """Do what an operator does."""
    for path in place.iterdir():
        path.chmod(0o644)


def test_each_acknowledged_write_is_seen_by_the_next_search(place: Path) -> None:
    """Revoked, removed and added, by a writer that stays and by writers that come and go."""
    with RAG(place, config=WORDS_ONLY, ledger="off") as writer:
        writer.ingest(salary("pay"))
        let_others_read(place)
        with reader(place) as other:
            assert other.sees("pay")
            writer.ingest(salary("pay", "board"))
            assert other.sees()
            writer.ingest(salary("new"))
            assert other.sees("new")
            writer.rm("new")
            assert other.sees()
            writer.close()
            assert other.sees()
            for n in range(4):
                with RAG(place, ledger="off") as another:
                    another.ingest(salary(f"n{n}"))
                assert other.sees(*(f"n{i}" for i in range(n + 1)))
    with reader(place) as other:
        assert other.sees("n0", "n1", "n2", "n3")


KILLED = """
import os, sys
from ragkit import RAG, Document
class Killed:
    roots = ()
    def documents(self):
        for i in range(640):
            yield Document(id=f"d{i:03}", text=f"The salary {i} was agreed.", groups=("staff",))
        os.kill(os.getpid(), 9)
rag = RAG(sys.argv[1], embedder="none", ledger="off")
rag.ingest(Killed(), on_progress=lambda done: print(done.document_id, flush=True))
"""


def killed(place: Path) -> list[str]:
    """Leave a log behind, and return what was acknowledged."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(place)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL
    acknowledged = ended.stdout.split()
    assert len(acknowledged) > 300
    assert (place / "store.sqlite-wal").stat().st_size > 0
    let_others_read(place)
    return acknowledged


def test_a_log_that_was_left_is_read_or_named(place: Path) -> None:
    """After a kill the log holds what was acknowledged; where it cannot be read, that is said."""
    acknowledged = killed(place)
    with reader(place) as other:
        assert other.sees(*acknowledged)
        for name in ("store.sqlite-wal", "store.sqlite-shm", "store.sqlite"):
            (place / name).chmod(0o600)
            refused = str(other.look())
            assert refused.startswith("StoreError: ")
            assert f"permission denied for {name}" in refused
            (place / name).chmod(0o644)
        assert other.sees(*acknowledged)
        place.chmod(0o700)
        assert "Permission denied" in str(other.look())
        place.chmod(0o755)
        assert other.sees(*acknowledged)
        (place / "store.sqlite-shm").unlink()  # a copy that lacks it
        refused = str(other.look())
        assert refused.startswith("StoreError: ")
        assert "permission to write" in refused


MIDDLE = """
import os, sys
from pathlib import Path
import ragkit.storage.sealing, ragkit.storage.snapshot, ragkit.storage.visible
from ragkit.storage import LocalStore
from ragkit.types import Query
os.setgroups([]), os.setgid(65534), os.setuid(65534)
store = LocalStore(Path(sys.argv[1]))
n = 0
def read(snapshot):
    global n
    n += 1
    before = len(snapshot.search(Query(question="salary", groups=("staff",))))
    if n == 1:
        print("inside", flush=True)
        sys.stdin.readline()
    return before, len(snapshot.search(Query(question="agreed", groups=("staff",))))
print(store.in_one_state(read), n, flush=True)
"""


def test_what_was_read_while_the_file_changed_is_read_again(place: Path) -> None:
    """Without a log nothing holds the file as it is: a snapshot notices a writer meanwhile."""
    with RAG(place, config=WORDS_ONLY, ledger="off") as writer:
        writer.ingest(salary("a"))
    let_others_read(place)
    with subprocess.Popen(
        [sys.executable, "-c", MIDDLE, str(place)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        with RAG(place, ledger="off") as writer:
            writer.ingest(salary("b"))
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "(2, 2) 2\n"


@pytest.mark.skipif(shutil.which("mount") is None, reason="nothing can be mounted here")
def test_a_log_on_a_read_only_file_system_is_read(place: Path) -> None:
    """A left-over log beside its index on an image: its documents are there."""
    acknowledged = killed(place)
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        with RAG(place) as rag:
            assert rag.describe()["read_only"] is True
            assert [row.document_id for row in rag.list(groups=["staff"])] == acknowledged
            assert rag.doctor() == []
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
