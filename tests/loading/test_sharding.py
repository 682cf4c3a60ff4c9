"""Shares of the documents: each document in one of them, on every machine in the same one."""

from __future__ import annotations

import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit import RAG, Document, Settings
from ragkit.errors import ConfigError
from ragkit.loading import open_source
from ragkit.loading.sharding import Shard

WORDS = Settings(embedder="none")


@given(name=st.text(), n=st.integers(1, 50))
def test_each_document_is_in_one_share(name: str, n: int) -> None:
    """Counted from 0 or from 1."""
    assert sum(Shard(i, n).owns(name) for i in range(n)) == 1
    assert Shard(0, n).owns(name) == Shard(n, n).owns(name)


def test_shares_never_change() -> None:
    """Machines with different versions agree: these were computed once."""
    names = ["a.md", "docs/ferry.md", "größe.txt", "mail.eml#bill.pdf"]
    assert [next(i for i in range(7) if Shard(i, 7).owns(name)) for name in names] == [4, 4, 0, 5]


def test_shares_are_about_equal() -> None:
    """The hash is even."""
    sizes = Counter(i for k in range(8_000) for i in range(8) if Shard(i, 8).owns(f"d{k}.md"))
    assert len(sizes) == 8
    assert all(850 < n < 1_150 for n in sizes.values())


@pytest.mark.parametrize("text", ["", "1", "1/0", "3/2", "-1/2", "1/2/3", "a/b", "1/1000001"])
def test_what_names_no_share_is_refused(text: str) -> None:
    """The message says what is allowed."""
    with pytest.raises(ConfigError, match="allowed: I/N"):
        Shard.of(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return files of one document and of several, and some that fail."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(20):
        (folder / f"{n}.md").write_text(f"# Note {n}\n\nThe ferry {n} sails at nine.\n")
    (folder / "corpus.jsonl").write_text(
        "".join(f'{{"_id": "r{n}", "text": "Record {n}."}}\n' for n in range(20)) + "no record\n"
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    (folder / "empty.txt").write_text("")
    (folder / "picture.xyz").write_bytes(zlib.compress(b"x"))
    return folder


def test_shares_make_up_the_whole(folder: Path, tmp_path: Path) -> None:
    """Documents and failures are those of one ingest, each met once."""
    with RAG(tmp_path / "one", config=WORDS) as rag:
        whole = rag.ingest(folder)
        expected = {row.document_id for row in rag.list()}
    told = Counter(str(f.to_dict()) for f in [*whole.failures, *whole.skips])
    assert len(told) >= 3
    ids, found = Counter[str](), Counter[str]()
    with RAG(tmp_path / "shares", config=WORDS) as rag:
        for i in range(3):
            before = {row.document_id for row in rag.list()} if i else set[str]()
            report = rag.ingest(folder, shard=(i, 3))
            assert report.shard == (i, 3)
            ids.update({row.document_id for row in rag.list()} - before)
            found.update(str(f.to_dict()) for f in [*report.failures, *report.skips])
        assert rag.ingest(folder).documents["added"] == 0
    assert ids == Counter(expected)
    assert found == told


def test_files_of_other_shares_are_not_opened(folder: Path) -> None:
    """A file that holds one document is opened by the share that it belongs to."""
    (folder / "corpus.jsonl").unlink()
    opened = set[str]()

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            opened.add(Path(str(arguments[0])).name)

    sys.addaudithook(note)  # It cannot be taken away again, and does nothing for other tests.
    list(open_source([folder], shard=Shard(1, 2)).documents())
    names = {path.name for path in folder.iterdir()} - {"picture.xyz"}  # that nothing reads
    assert opened & names == {name for name in names if Shard(1, 2).owns(name)}


def test_prune_keeps_to_the_share(folder: Path, tmp_path: Path) -> None:
    """What has vanished is removed by the share that it belongs to, and by no other."""
    with RAG(tmp_path / "kb", config=WORDS) as rag:
        rag.ingest(folder)
        gone = [f"{n}.md" for n in range(0, 20, 5)]
        for name in gone:
            (folder / name).unlink()
        for i in range(2):
            report = rag.ingest(folder, shard=f"{i}/2", prune=True)
            removed = {name for name, status in report.changes if status == "removed"}
            assert removed == {name for name in gone if Shard(i, 2).owns(name)}
        assert not {row.document_id for row in rag.list()} & set(gone)


def test_prune_asks_by_share(folder: Path, tmp_path: Path) -> None:
    """A share that would lose more than half is not removed, however much the others keep."""
    with RAG(tmp_path / "kb", config=WORDS) as rag:
        rag.ingest(folder)
        for path in folder.iterdir():
            if Shard(1, 2).owns(path.name) or path.suffix == ".jsonl":
                path.unlink()
        with pytest.raises(ConfigError, match="prune would remove"):
            rag.ingest(folder, shard=(1, 2), prune=True)


def test_documents_given_directly_are_shared_out(tmp_path: Path) -> None:
    """As those of files are."""
    documents = [Document(id=f"d{n}", text=f"Text {n}.") for n in range(30)]
    with RAG(tmp_path / "kb", config=WORDS) as rag:
        n_added = [rag.ingest(*documents, shard=(i, 4)).documents["added"] for i in range(4)]
    assert sum(n_added) == 30
    assert min(n_added) > 0
