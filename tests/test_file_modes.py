"""What holds documents, questions or answers is for its owner alone, whatever the umask."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings, private
from ragkit.storage import DerivedSizes, LocalStore

from .cli.command import run
from .eval.made import make_dataset

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="modes are POSIX"),
    pytest.mark.slow,  # Each test runs commands in processes of their own.
]


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Generator[int, None, None]:
    """Set a umask that would let others read, and write in one case."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def open_to_others(*folders: Path) -> dict[str, str]:
    """Return what others may do, of all in these folders and of themselves."""
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in found}
    return {path: oct(mode) for path, mode in modes.items() if mode & 0o077}


@pytest.mark.usefixtures("umask")
def test_a_store_and_all_in_it(tmp_path: Path) -> None:
    """The SQLite file, its log, the lock, the ledger and what is derived; folders may be read.

    Who lets others read the files need not open the folder too, and nobody else may write there.
    """
    folder = tmp_path / "made" / "kb"
    sizes = DerivedSizes(first=2, more=1, file=8)
    store = LocalStore(folder, create=True, sizes=sizes)
    with RAG(store, config=Settings(), ledger=folder / "ledger.jsonl") as rag:
        rag.ingest(*[Document(id=str(i), text=f"Ferry {i} leaves.") for i in range(6)])
        rag.ask("When does the ferry leave?")
        names = {path.name for path in folder.rglob("*")}
        assert {"store.sqlite", "writer.lock", ".ragkitignore", "ledger.jsonl"} <= names
        assert any(name.endswith(".segment") for name in names)
        assert set(open_to_others(folder.parent).values()) <= {"0o755"}
        assert not any(Path(path).is_file() for path in open_to_others(folder.parent))


@pytest.mark.usefixtures("umask")
def test_evaluations(tmp_path: Path) -> None:
    """Cache, the store in it, manifest, rows, scores, summary and reports."""
    dataset = make_dataset(tmp_path / "set")
    run("eval", "run", str(dataset), "--out", str(tmp_path / "runs" / "a"),
        "--cache", str(tmp_path / "cache" / "deep"), "--embedder", "none")  # fmt: skip
    page = tmp_path / "pages" / "report.html"
    run("eval", "report", str(tmp_path / "runs" / "a"), "--html", str(page))
    rows = tmp_path / "runs" / "a" / "rows.jsonl"
    assert rows.exists()
    assert (tmp_path / "cache" / "deep" / "cache.sqlite").exists()
    opened = open_to_others(*(tmp_path / name for name in ("runs", "cache", "pages")))
    # The store of a data set, whose folder lies in the private one of the cache.
    deep = tmp_path / "cache" / "deep"
    assert [path for path in opened if not Path(path).is_relative_to(deep / "stores")] == []
    assert not any(Path(path).is_file() for path in opened)
    assert not deep.stat().st_mode & 0o077


@pytest.mark.usefixtures("umask")
def test_a_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    """Nobody sees it with another mode meanwhile, and one that is there keeps its mode."""
    place, seen = tmp_path / "f", set[int]()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for path in tmp_path.iterdir():
                try:
                    seen.add(stat.S_IMODE(path.stat().st_mode))
                except FileNotFoundError:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    for i in range(50):
        private.replace_file(place, b"x" * i)
        private.make_file(tmp_path / str(i))
    stop.set()
    thread.join()
    assert seen == {0o600}
    (tmp_path / "old").touch(mode=0o644)
    os.chmod(tmp_path / "old", 0o644)
    with open(tmp_path / "old", "ab", opener=private.opener) as file:
        file.write(b"x")
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o644


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """The old file stays, and no half of a new one beside it."""
    (tmp_path / "dir").mkdir()
    with pytest.raises(OSError, match="irectory"):
        private.replace_file(tmp_path / "dir", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["dir"]
