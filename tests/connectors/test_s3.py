"""Documents of an S3 bucket."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ragkit import RAG
from ragkit.errors import ConfigError, LoadError
from ragkit.loading.isolation import InProcess
from ragkit.loading.remote import Reading
from ragkit.loading.walking import Selection
from ragkit.pipeline.options import IngestOptions
from ragkit.pipeline.report import IngestReport
from ragkit.types import PendingDocument
from ragkit_connectors import open_source
from ragkit_connectors.s3 import S3Source

from ..cli.command import run
from .aws_server import environment
from .reading import read
from .s3_server import Bucket, S3Server, Stored

pytest.importorskip("boto3")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Return a running fake S3 with an empty bucket `docs`, and an identity for it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with S3Server() as server:
        for name, value in environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        server.buckets["docs"] = Bucket()
        yield server


def put(s3: S3Server, **texts: str) -> None:
    """Store texts under keys with `__` for a slash, and `.txt` behind them."""
    for key, text in texts.items():
        s3.buckets["docs"].objects[f"{key.replace('__', '/')}.txt"] = Stored(text.encode())


def ingest(store: Path, *, prune: bool = False) -> IngestReport:
    """Return the report of an ingest without vectors."""
    options: IngestOptions = {"isolate": False, "prune": prune}
    with RAG(store, embedder="none") as rag:
        return rag.ingest("s3://docs/", **options)


def test_objects_that_are_stored_packed(s3: S3Server) -> None:
    """They are unpacked, as browsers do with pages of a bucket."""
    packed = gzip.compress(b"<p>Tides.")
    s3.buckets["docs"].objects["a.html"] = Stored(packed, encoding="gzip")
    s3.buckets["docs"].objects["b.html"] = Stored(b"<p>Bay.", encoding="gzip")
    documents, failures = read("s3://docs/")
    assert [document.text for document in documents.values()] == ["Tides.", "Bay."]
    assert not failures


def test_the_objects_below_a_prefix(s3: S3Server) -> None:
    """They are listed page by page; what only begins with the same letters is another folder."""
    put(s3, a__1="One.", a__2="Two.", a__b__3="Three.", ab__4="Four.")
    s3.buckets["docs"].page = 2
    documents, failures = read("s3://docs/a/")
    assert not failures
    assert list(documents) == ["s3://docs/a/1.txt", "s3://docs/a/2.txt", "s3://docs/a/b/3.txt"]
    assert documents["s3://docs/a/b/3.txt"].text == "Three."
    assert list(read("s3://docs/a")[0]) == list(documents)
    assert len(read("s3://docs")[0]) == 4


def test_one_object(s3: S3Server) -> None:
    """A key is a name of its own, also beside a folder of that name."""
    put(s3, a="One.")
    s3.buckets["docs"].objects |= {"a.txt/b.md": Stored(b"Two."), "a.txt2": Stored(b"Three.")}
    assert list(read("s3://docs/a.txt")[0]) == ["s3://docs/a.txt", "s3://docs/a.txt/b.md"]
    _, (failure,) = read("s3://docs/none.txt")
    assert "there is no object" in failure.detail
    s3.buckets["docs"].objects["a.png"] = Stored(b"x")
    _, (failure,) = read("s3://docs/a.png")
    assert (failure.code, failure.skipped) == ("unsupported", False)


def test_odd_keys(s3: S3Server) -> None:
    """They are names, whatever they look like; marks of folders and hidden ones are left out."""
    odd = ["../up.txt", "a//b.txt", "a/b.txt", "/root.txt", "ü & <x>?#%20+.txt", "c\n.txt", "~.txt"]
    for key in [*odd, "folder/", "x_$folder$", "folder/.git/config.txt", ".hidden/a.txt"]:
        s3.buckets["docs"].objects[key] = Stored(f"Text of {key!r}.".encode())
    documents, failures = read("s3://docs")
    assert not failures
    assert sorted(documents) == sorted(f"s3://docs/{key}" for key in odd)
    assert documents["s3://docs/a//b.txt"].text == "Text of 'a//b.txt'."
    assert documents["s3://docs/../up.txt"].text == "Text of '../up.txt'."
    told = Selection(tells=True, exclude=("a/",))
    assert len(read("s3://docs", selection=told)[1]) == 4


def test_what_has_changed_is_fetched(s3: S3Server, tmp_path: Path) -> None:
    """ETag, size and time tell; nothing else is asked for again."""
    put(s3, a="One.", b="Two.")
    assert ingest(tmp_path / "kb").documents["added"] == 2
    s3.asked.clear()
    assert ingest(tmp_path / "kb").documents["unchanged"] == 2
    assert [name for name, _ in s3.asked] == ["ListObjectsV2"]
    s3.buckets["docs"].objects["a.txt"] = Stored(b"One.", datetime(2026, 4, 1, tzinfo=UTC))
    put(s3, b="Changed.")
    assert ingest(tmp_path / "kb").documents["changed"] == 2
    assert [p["Key"] for name, p in s3.asked if name == "GetObject"] == ["a.txt", "b.txt"]


def test_prune_by_listing(s3: S3Server, tmp_path: Path) -> None:
    """What is no longer listed goes, on request; while the list cannot be read, nothing does."""
    put(s3, a="One.", b="Two.", c="Three.")
    ingest(tmp_path / "kb")
    del s3.buckets["docs"].objects["c.txt"]
    assert ingest(tmp_path / "kb").documents["removed"] == 0
    s3.faults["ListObjectsV2"] = ["AccessDenied"]
    report = ingest(tmp_path / "kb", prune=True)
    assert (report.documents["failed"], report.documents["removed"]) == (1, 0)
    assert "s3:ListBucket" in report.failures[0].detail
    assert ingest(tmp_path / "kb", prune=True).documents["removed"] == 1
    s3.buckets["docs"].objects = {"new.txt": Stored(b"New.")}
    with pytest.raises(ConfigError, match="prune would remove 2"):
        ingest(tmp_path / "kb", prune=True)


def test_versions_are_metadata(s3: S3Server) -> None:
    """The version that was read is named, where the bucket keeps versions."""
    s3.buckets["docs"].objects["a.txt"] = Stored(b"One.", version="3sL4kqtJ")
    put(s3, b="Two.")
    documents, _ = read("s3://docs")
    assert documents["s3://docs/a.txt"].metadata == {"version_id": "3sL4kqtJ"}
    assert documents["s3://docs/b.txt"].metadata == {}


def test_what_goes_wrong_with_an_object(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large, changed meanwhile, gone, not allowed, broken off: a failure of that one alone."""
    put(s3, a="One.", b="Two.")
    reading = Reading(parser=InProcess())
    items = list(S3Source("//docs", reading=reading, retry_seconds=0).documents())
    first, second = (item for item in items if isinstance(item, PendingDocument))
    put(s3, a="Changed.")
    with pytest.raises(LoadError, match="It has changed while it was read"):
        first.load()
    s3.faults["GetObject"] = ["AccessDenied"]
    with pytest.raises(LoadError, match="s3:GetObject"):
        second.load()
    s3.cut = True
    with pytest.raises(LoadError, match="unreadable"):
        second.load()
    s3.cut, s3.longer = False, 1_000
    monkeypatch.setattr("ragkit_connectors.s3.MAX_FILE_BYTES", 100)
    with pytest.raises(LoadError, match="limit: more than 100 bytes"):
        second.load()
    del s3.buckets["docs"].objects["b.txt"]
    with pytest.raises(LoadError, match="NoSuchKey"):
        second.load()
    s3.buckets["docs"].objects["c.txt"] = Stored(bytes(101))
    s3.asked.clear()
    _, failures = read("s3://docs/c.txt")
    assert [failure.code for failure in failures] == ["limit"]
    assert "GetObject" not in [name for name, _ in s3.asked]


def test_lists_that_go_wrong(s3: S3Server) -> None:
    """A service that is busy is asked again; one that lists the same for ever is not."""
    put(s3, a="One.", b="Two.")
    s3.faults["ListObjectsV2"] = ["SlowDown"]
    assert len(read("s3://docs")[0]) == 2
    s3.buckets["docs"].page, s3.repeats = 1, True
    documents, failures = read("s3://docs")
    assert list(documents) == ["s3://docs/a.txt"]
    assert "does not go on" in failures[-1].detail
    _, (failure,) = read("s3://nowhere")
    assert "NoSuchBucket" in failure.detail


def test_what_is_attached_to_a_mail(s3: S3Server) -> None:
    """It is a document, as in a folder."""
    mail = (
        b"Subject: Offer\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nSee the prices.\n"
        b"--x\nContent-Disposition: attachment; filename=prices.csv\n\nitem,price\nrope,4\n--x--\n"
    )
    s3.buckets["docs"].objects["offer.eml"] = Stored(mail)
    documents, _ = read("s3://docs")
    assert list(documents) == ["s3://docs/offer.eml", "s3://docs/offer.eml#prices.csv"]


def test_names_that_are_none() -> None:
    """They are errors before anything is asked."""
    for name in ("s3:docs", "s3://", "s3:///a", "s3://a b/c"):
        with pytest.raises(ConfigError):
            open_source(name, reading=Reading(parser=InProcess()))


def test_the_command(s3: S3Server, tmp_path: Path) -> None:
    """Buckets are read by name, under the usual settings of AWS; it says where they lack."""
    put(s3, a="The crane lifts nine tonnes.")
    store = ["--store", str(tmp_path / "kb"), "--embedder", "none"]
    env = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    run("ingest", "s3://docs", *store, env=env)
    assert "nine tonnes" in run("show", "s3://docs/a.txt", *store[:2]).stdout
    del env["AWS_SECRET_ACCESS_KEY"]
    nobody = run("ingest", "s3://docs", *store, env={**env, "AWS_ACCESS_KEY_ID": ""}, code=2)
    assert "there are no AWS credentials" in nobody.stderr
