"""Damage that SQLite does not tell: in the log of a killed writer, and in the words index."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import StoreDamagedError
from ragkit.storage import LocalStore

WORDS_ONLY = Settings(embedder="none")
N = 200


def documents() -> list[Document]:
    """Return documents that take several commits."""
    return [Document(id=f"{i:03}", text=f"Ferry {i} leaves at {i % 24}. " * 9) for i in range(N)]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return a copy of a store, made between the last acknowledgement and the end of the call."""
    place, copy, n_done = tmp_path / "live", tmp_path / "kb", 0

    def count(_: object) -> None:
        nonlocal n_done
        n_done += 1
        if n_done == N:
            shutil.copytree(place, copy)

    with RAG(place, config=WORDS_ONLY) as rag:
        rag.ingest(*documents(), on_progress=count)
    assert (copy / "store.sqlite-wal").stat().st_size > 100_000
    return copy


def flip(path: Path, at: int) -> None:
    """Flip one bit."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 4
    path.write_bytes(raw)


def test_a_killed_writers_log_is_no_false_alarm(killed: Path) -> None:
    """A sound log, and a store without its note, with an older or with a torn one, are sound."""
    note = killed / "acknowledged"
    raw = note.read_bytes()
    for content in (raw, b"%020d 00000000\n" % 10**9, b"\xff" * 30, b"", None):
        note.unlink()
        if content is not None:
            note.write_bytes(content)
        with RAG(killed, config=WORDS_ONLY) as rag:
            assert rag.doctor() == []
            assert len(list(rag.list())) == N
        note.write_bytes(raw)


def test_a_flipped_bit_in_a_log_is_found(killed: Path) -> None:
    """Writes that it swallows are named to readers and by the doctor, and writing is refused."""
    flip(killed / "store.sqlite-wal", 32 + 4120 * 20)
    notices: list[str] = []
    with RAG(killed, config=WORDS_ONLY, notify=notices.append) as rag:
        n_left = len(list(rag.list()))
        assert n_left < N
        assert [("acknowledged writes are missing" in n, "\n" in n) for n in notices] == [
            (True, False)]  # fmt: skip
        (finding,) = rag.doctor()
        assert (finding.check, finding.repairable) == ("acknowledged", True)
        with pytest.raises(StoreDamagedError, match="ragkit doctor --repair"):
            rag.ingest(Document(id="new", text="More."))
        assert len(list(rag.list())) == n_left
        assert [f.repaired for f in rag.doctor(repair=True)] == [True]
        assert rag.ingest(*documents()).documents["added"] == N - n_left
        assert rag.doctor() == []


def test_a_dropped_log_is_found(killed: Path) -> None:
    """A copy of the file without its log lacks what was acknowledged, and says so."""
    (killed / "store.sqlite-wal").unlink()
    (killed / "store.sqlite-shm").unlink()
    with RAG(killed, config=WORDS_ONLY, notify=list[str]().append) as rag:
        assert [f.check for f in rag.doctor()] == ["acknowledged"]


def test_a_new_store_where_one_was_is_no_false_alarm(tmp_path: Path) -> None:
    """The note of a store that was deleted by hand is not taken for that of the next one."""
    for n in (5, 1):
        with RAG(tmp_path, config=WORDS_ONLY) as rag:
            for i in range(n):
                assert rag.ingest(Document(id=f"{i}", text="Ferry.")).documents["added"] == 1
            assert rag.doctor() == []
        (tmp_path / "store.sqlite").unlink()


def test_the_note_follows_no_link(tmp_path: Path) -> None:
    """A store of a stranger cannot make a write change a file elsewhere."""
    other = tmp_path / "other"
    other.write_text("mine" * 20)
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        rag.ingest(Document(id="a", text="Ferry."))
        (tmp_path / "kb" / "acknowledged").unlink()
        (tmp_path / "kb" / "acknowledged").symlink_to(other)
        rag.ingest(Document(id="b", text="Ferry."))
    assert other.read_text() == "mine" * 20


def searched(place: Path, *, groups: Sequence[str] | None = None) -> list[list[tuple[str, float]]]:
    """Return what a fresh reader finds."""
    with RAG(place, config=WORDS_ONLY) as rag:
        questions = ("ferry 7 leaves", "leaves at 3", "ferry", "150")
        return [
            [(h.chunk.id, h.score) for h in rag.search(q, k=20, groups=groups)] for q in questions
        ]


@pytest.mark.parametrize("groups", [(), ("crew",)])
def test_a_flipped_bit_in_the_words_index_is_an_error(
    tmp_path: Path, groups: tuple[str, ...]
) -> None:
    """One bit of what the index keeps is flipped: a search is an error, the doctor finds it."""
    place, rng = tmp_path / "kb", random.Random(3)
    with RAG(place, config=WORDS_ONLY) as rag:
        rag.ingest(*(replace(document, groups=groups) for document in documents()))
    assert any(searched(place, groups=groups or None))
    raw = (place / "store.sqlite").read_bytes()
    for i in range(20):
        table, column = (("words_data", "block"), ("words_docsize", "sz"))[i % 2]
        with closing(sqlite3.connect(place / "store.sqlite")) as connection:
            rows = f"SELECT id, {column} FROM {table} WHERE length({column}) > 0"  # noqa: S608
            row, block = rng.choice(connection.execute(rows).fetchall())
            at = rng.randrange(len(block))
            block = block[:at] + bytes([block[at] ^ 1 << rng.randrange(8)]) + block[at + 1 :]
            change = f"UPDATE {table} SET {column} = ? WHERE id = ?"  # noqa: S608
            connection.execute(change, (block, row))
            connection.commit()
        with LocalStore(place) as store:
            assert [f.check for f in store.examine()] in (["words"], ["file"])
        with pytest.raises(StoreDamagedError, match="ragkit doctor"):
            searched(place, groups=groups or None)
        (place / "store.sqlite").write_bytes(raw)


def test_a_damaged_words_index_is_made_again(tmp_path: Path) -> None:
    """The doctor's advice mends it, and afterwards it is sealed again."""
    place = tmp_path / "kb"
    with RAG(place, config=WORDS_ONLY) as rag:
        rag.ingest(*documents())
    before = searched(place)
    for _ in range(2):
        with closing(sqlite3.connect(place / "store.sqlite")) as connection:
            connection.execute("UPDATE words_docsize SET sz = x'01' WHERE id = 7")
            connection.commit()
        with pytest.raises(StoreDamagedError, match="ragkit doctor --repair"):
            searched(place)
        with RAG(place, config=WORDS_ONLY) as rag:
            assert [(f.check, f.repaired) for f in rag.doctor(repair=True)] == [("words", True)]
        assert searched(place) == before


def test_a_damaged_document_of_others_is_not_named(tmp_path: Path) -> None:
    """In a store with groups the error for a damaged document names none; the doctor does."""
    place = tmp_path / "kb"
    with RAG(place, config=WORDS_ONLY) as rag:
        rag.ingest(
            Document(id="open", text="Ferry.", groups=("all",)),
            Document(id="merger-with-acme", text="Ferry.", groups=("board",)),
        )
    with closing(sqlite3.connect(place / "store.sqlite")) as connection:
        connection.execute("UPDATE document SET title = 'x' WHERE id LIKE 'merger%'")
        connection.commit()
    with RAG(place, config=WORDS_ONLY) as rag:
        for read in (
            lambda: rag.search("ferry", groups=["all"]),
            lambda: list(rag.list(groups=["all"])),
            lambda: rag.show("open", groups=["all"]),
        ):
            with pytest.raises(StoreDamagedError, match="ragkit doctor") as caught:
                read()
            assert "merger" not in f"{caught.value} {caught.value.__cause__}"
            assert caught.value.__suppress_context__
        assert "merger-with-acme" in rag.doctor()[0].detail
