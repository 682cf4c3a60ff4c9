"""Archives: on request their files are documents, within bounds."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import pytest

from ragkit import RAG
from ragkit.loading import FileSource
from ragkit.loading.isolation import Worker
from ragkit.types import Failure, PendingDocument


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """Return a process that parses."""
    worker = Worker()
    yield worker
    worker.close()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(
    files: Mapping[str, bytes], mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w:gz"
) -> bytes:
    """Return a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def outcome(
    path: Path, data: bytes, worker: Worker, *, archives: bool = True
) -> tuple[dict[str, str], list[str]]:
    """Return the texts by id, and the codes of failures."""
    path.write_bytes(data)
    items = list(FileSource([path.parent], parser=worker, archives=archives).documents())
    documents = [item.load() for item in items if isinstance(item, PendingDocument)]
    codes = [item.code for item in items if isinstance(item, Failure)]
    return {document.id: document.text for document in documents}, codes


FILES = {
    "docs/a.md": b"# Bay",
    "docs/b.csv": b"a,b\n1,2\n",
    "../../etc/c.txt": b"outside",
    "d.png": b"PNG",
    "docs/.git/e.md": b"no",
    "__MACOSX/f.txt": b"no",
    "package-lock.json": b"{}",
    "more/in.zip": zipped({"g.txt": b"inner"}),
}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a.tar.gz"])
def test_files_in_archives_are_documents(tmp_path: Path, worker: Worker, name: str) -> None:
    """They have their path in the archive as part of the id; none leads out of it."""
    data = zipped(FILES) if name == "a.zip" else tarred(FILES, "w" if name == "a.tar" else "w:gz")
    texts, codes = outcome(tmp_path / name, data, worker)
    assert texts == {
        f"{name}#docs/a.md": "# Bay",
        f"{name}#docs/b.csv": "a: 1; b: 2",
        f"{name}#etc/c.txt": "outside",
        f"{name}#more/in.zip#g.txt": "inner",
    }
    assert sorted(codes) == ["payload", "unsupported"]
    source = FileSource([tmp_path], parser=worker, archives=True)
    assert source.listed()[0] == set(texts)


def test_archives_are_not_read_unless_asked_for(tmp_path: Path, worker: Worker) -> None:
    """Without the option they are skipped, with a word on it."""
    path = tmp_path / "a.zip"
    assert outcome(path, zipped(FILES), worker, archives=False) == ({}, ["unsupported"])
    (failure,) = list(FileSource([path]).documents())
    assert isinstance(failure, Failure)
    assert "--archives" in failure.detail


def nested(depth: int) -> bytes:
    """Return archives in each other."""
    return zipped({"a.txt": b"x", "a.zip": nested(depth - 1)} if depth else {"a.txt": b"end"})


@pytest.mark.parametrize(
    ("name", "data", "codes"),
    [
        ("a.zip", b"PK\x03\x04 no", ["broken"]),
        ("a.tar", b"no", ["broken"]),
        ("a.tgz", tarred({"a.txt": b"x" * 900})[:60], ["broken"]),
        ("a.zip", zipped({"a.txt": b"\0" * (8 * 2**20)}), ["limit"]),
        ("a.tgz", tarred({"a.txt": b"\0" * (8 * 2**20)}), ["limit"]),
        ("a.zip", zipped({f"{n}.txt": b"x" for n in range(1_001)}), ["limit"]),
    ],
    # Named here, because gzip writes the time into its bytes: each process has others.
    ids=["no zip", "no tar", "half a tgz", "zip of zeros", "tgz of zeros", "many files"],
)
def test_archives_that_are_not_read(
    tmp_path: Path, worker: Worker, name: str, data: bytes, codes: list[str]
) -> None:
    """What is broken, unpacks to far too much, or holds too many."""
    assert outcome(tmp_path / name, data, worker) == ({}, codes)


def test_names_in_utf_8_that_do_not_say_so(tmp_path: Path, worker: Worker) -> None:
    """Some programs write them; names in another encoding stay what they are."""
    data = zipped({"Gr__e.txt": b"Wide.", "H__.txt": b"High."})
    data = data.replace(b"Gr__e", "Grüe".encode()).replace(b"H__", b"H\x94h")
    documents, _ = outcome(tmp_path / "a.zip", data, worker)
    assert list(documents) == ["a.zip#Grüe.txt", "a.zip#Höh.txt"]


def test_what_cannot_be_read_in_an_archive_is_named(tmp_path: Path) -> None:
    """The file around it would not do."""
    (tmp_path / "a.zip").write_bytes(zipped({"b/c.txt": b"", "e.txt": b"Tides."}))
    with RAG(tmp_path / "kb", embedder="none") as rag:
        report = rag.ingest(tmp_path / "a.zip", archives=True, isolate=False)
    (failure,) = report.failures
    assert failure.detail == "in it, b/c.txt: there is no text in it"


def test_archives_in_archives_end(tmp_path: Path, worker: Worker) -> None:
    """Only so many levels are opened."""
    texts, _ = outcome(tmp_path / "a.zip", nested(9), worker)
    assert max(name.count("#") for name in texts) == 3
