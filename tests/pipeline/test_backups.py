"""Backups and restores: sound, whole, atomic, and never a state that was not there."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError, StoreBusyError, StoreDamagedError, StoreMissingError
from ragkit.storage import LocalStore
from ragkit.types import Query

WORDS_ONLY = Settings(embedder="none")


def make(place: Path, version: str, n: int = 40) -> None:
    """Make or change a store so that every document holds the version."""
    with RAG(place, config=WORDS_ONLY) as rag:
        rag.ingest(*(Document(id=f"d{i}", text=f"Boat {i} of {version}.") for i in range(n)))


def versions(store: LocalStore) -> set[str]:
    """Return the versions that one search sees."""
    return {hit.chunk.text.split()[-1] for hit in store.search(Query(question="boat", k=100))}


def opened_versions(place: Path) -> set[str]:
    """Return the versions that a fresh reader sees in a store that must be sound."""
    with LocalStore(place) as store:
        assert store.examine() == []
        return versions(store)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Return a store of version `new` and a backup of when it was `old`."""
    place, backup = tmp_path / "kb", tmp_path / "backup"
    make(place, "old")
    with RAG(place) as rag:
        rag.backup(backup)
    make(place, "new", n=60)
    return place, backup


def test_a_backup_is_a_store(tmp_path: Path) -> None:
    """It is made beside an open store, is private, sound and complete, and can be written to."""
    place, backup = tmp_path / "kb", tmp_path / "deep" / "backup"
    make(place, "one")
    with RAG(place) as rag:
        report = rag.backup(backup)
        assert report.to_dict() == {
            "schema": 1, "bytes": (backup / "store.sqlite").stat().st_size,
            "documents": 40, "verified": True,
        }  # fmt: skip
        assert rag.copies() == [str(backup)]
        assert rag.doctor() == []
    assert opened_versions(backup) == {"one."}
    assert [p.name for p in backup.parent.iterdir()] == ["backup"]
    assert {p.stat().st_mode & 0o077 for p in backup.iterdir() if p.suffix == ".sqlite"} == {0}
    make(backup, "two")
    assert opened_versions(backup) == {"two."}
    assert opened_versions(place) == {"one."}


def test_a_backup_replaces_nothing_unasked(two: tuple[Path, Path], tmp_path: Path) -> None:
    """A store, a folder with files, a file, and the store itself are refused; a store by force."""
    place, backup = two
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    with RAG(place) as rag:
        for there in (backup, full, full / "letter.txt", place):
            with pytest.raises(ConfigError):
                rag.backup(there)
        assert (full / "letter.txt").read_text() == "mine"
        assert opened_versions(backup) == {"old."}
        reader = LocalStore(backup)
        assert versions(reader) == {"old."}
        assert rag.backup(backup, replace=True).documents == 60
        assert versions(reader) == {"new."}
        reader.close()
        assert rag.backup(tmp_path / "empty").documents == 60
    assert opened_versions(backup) == {"new."}


def damage(place: Path) -> None:
    """Change a document behind the store's back."""
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        connection.execute("UPDATE document SET title = 'x' WHERE id = 'd3'")
        connection.commit()


def test_an_unsound_store_makes_no_backup(two: tuple[Path, Path], tmp_path: Path) -> None:
    """What the doctor would find ends it; neither a new nor an older backup is touched."""
    place, backup = two
    damage(place)
    with RAG(place) as rag:
        for destination, replace in ((tmp_path / "other", False), (backup, True)):
            with pytest.raises(StoreDamagedError, match="not sound"):
                rag.backup(destination, replace=replace)
    assert not (tmp_path / "other").exists()
    assert opened_versions(backup) == {"old."}
    assert {p.name for p in tmp_path.iterdir()} == {"kb", "backup"}


@pytest.mark.parametrize("what", ["a document", "a page", "half", "no store", "nothing"])
def test_an_unsound_backup_is_not_restored(two: tuple[Path, Path], what: str) -> None:
    """The store stays as it is, to the byte."""
    place, backup = two
    file = backup / "store.sqlite"
    raw = file.read_bytes()
    if what == "a document":
        damage(backup)
    elif what == "nothing":
        shutil.rmtree(backup)
    else:
        page = raw[: 4096 * 5] + bytes(4096) + raw[4096 * 6 :]
        file.write_bytes({"a page": page, "half": raw[: len(raw) // 2]}.get(what, b"text" * 999))
    before = (place / "store.sqlite").read_bytes()
    with RAG(place) as rag:
        with pytest.raises(StoreMissingError if what == "nothing" else StoreDamagedError):
            rag.restore(backup)
        assert (place / "store.sqlite").read_bytes() == before
        assert rag.doctor() == []
    assert not (place / ".restore.new").exists()


def test_a_restored_store_is_of_a_new_generation(two: tuple[Path, Path]) -> None:
    """Whatever is cached by generation is made anew; no number ever comes back."""
    place, backup = two
    with RAG(place) as rag:
        seen = [rag.describe()["generation"]]
        for source in (backup, backup / "store.sqlite"):
            assert rag.restore(source).documents == 40
            assert rag.doctor() == []
            assert len(list(rag.list())) == 40
            seen.append(rag.describe()["generation"])
        make(place, "newer")
        seen.append(rag.describe()["generation"])
        assert seen == sorted(set(map(int, map(str, seen))))
        assert str(backup) in rag.copies()


def test_a_restore_where_there_is_no_store_or_a_broken_one(two: tuple[Path, Path]) -> None:
    """It makes a store; junk and a torn file are replaced, log and all."""
    place, backup = two
    with RAG(place.with_name("fresh")) as rag:
        assert rag.restore(backup).documents == 40
    assert opened_versions(place.with_name("fresh")) == {"old."}
    for raw in (b"junk" * 5000, (place / "store.sqlite").read_bytes()[:5000], b""):
        (place / "store.sqlite").write_bytes(raw)
        (place / "store.sqlite-wal").write_bytes(b"junk" * 2000)
        with RAG(place) as rag:
            rag.restore(backup)
        assert opened_versions(place) == {"old."}


def test_a_reader_does_not_take_new_rows_for_old_ones(tmp_path: Path) -> None:
    """What a reader has loaded of rows is dropped when a restore gives their numbers away."""
    place, backup = tmp_path / "kb", tmp_path / "backup"
    with RAG(place) as writer, RAG(place) as reader:
        writer.ingest(Document(id="a", text="The heron sleeps."))
        writer.backup(backup)
        writer.ingest(Document(id="b", text="A whale sings in the bay."))
        assert reader.search("whale song", mode="dense")[0].chunk.document_id == "b"
        writer.restore(backup)
        writer.ingest(Document(id="c", text="The train to the mountains is late."))
        found = reader.search("Which train is late?", mode="dense")
        assert [(h.chunk.document_id, h.score) for h in found] == [
            (h.chunk.document_id, h.score) for h in writer.search("Which train is late?",
                                                                  mode="dense")]  # fmt: skip
        assert found[0].chunk.document_id == "c"


def test_readers_see_one_state_or_the_other(two: tuple[Path, Path]) -> None:
    """While two backups take turns, no search of another connection sees some of each."""
    place, backup = two
    with RAG(place) as rag:
        other = place.with_name("other")
        rag.backup(other)
        seen: list[set[str]] = []
        stop = threading.Event()

        def read() -> None:
            with LocalStore(place) as store:
                while not stop.is_set():
                    seen.append(versions(store))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for source in (backup, other) * 4:
            rag.restore(source)
        stop.set()
        for reader in readers:
            reader.join()
        assert {frozenset(one) for one in seen} == {frozenset({"old."}), frozenset({"new."})}
        assert rag.doctor() == []


def test_a_restore_waits_for_no_writer(two: tuple[Path, Path]) -> None:
    """While somebody writes, it fails at once with a typed error."""
    place, backup = two
    with LocalStore(place) as store, store.exclusive(), RAG(place) as rag:
        with pytest.raises(StoreBusyError):
            rag.restore(backup)
    assert opened_versions(place) == {"new."}


KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from ragkit import RAG
from ragkit.storage import LocalStore
from ragkit.types import Query
place, backup, command = sys.argv[1:]
target = place if command == "restore" else backup
n_events = kill_at = 0
def audit(event, arguments):
    global n_events
    if any(".sqlite" in str(a) or ".new" in str(a) for a in arguments):
        n_events += 1
        if n_events == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(audit)
def act():
    with RAG(place) as rag:
        rag.restore(backup) if command == "restore" else rag.backup(backup, replace=True)
def look():
    with LocalStore(target) as store, store.exclusive():
        sound = all(finding.repaired for finding in store.examine(repair=True))
        hits = store.search(Query(question="boat", k=100))
        return sound, sorted({hit.chunk.text.split()[-1] for hit in hits})
shutil.copytree(target, "before")
for step in range(1, 200, int(sys.argv[3] == "backup") + 1):
    shutil.rmtree(target)
    shutil.copytree("before", target)
    child = os.fork()
    if not child:
        n_events, kill_at = 0, step
        act()
        os._exit(0)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    found = look()
    act()
    left = [name for name in os.listdir(target) if name.endswith(".new")]
    print(json.dumps([killed, found, look(), left]), flush=True)
    if not killed:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("command", ["restore", "backup"])
def test_killed_at_any_step_it_leaves_old_or_new(
    two: tuple[Path, Path], tmp_path: Path, command: str
) -> None:
    """Killed whenever it touches a file: one state or the other, sound, and done when rerun."""
    before, after = ("new.", "old.") if command == "restore" else ("old.", "new.")
    result = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, two), command],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [killed for killed, *_ in lines] == [True] * (len(lines) - 1) + [False]
    found = [found for _, (sound, found), *_ in lines if sound]
    assert len(found) == len(lines) > 8
    assert found == sorted(found, reverse=before > after)
    assert {tuple(one) for one in found} == {(before,), (after,)}
    assert all(again == [[True, [after]], []] for _, _, *again in lines)
