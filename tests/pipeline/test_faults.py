"""What a store does when the machine misbehaves: a typed error, and nothing wrong served."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ragkit import RAG, Document, Settings
from ragkit.errors import OutdatedStoreError, RagkitError, StoreDamagedError, StoreError
from ragkit.storage import LocalStore
from ragkit.storage.vectors import unpack_rows
from ragkit.types import Query

WORDS_ONLY = Settings(embedder="none")
TEXTS = {
    f"d{i}": f"Boat {i} sails at {i} o'clock. It carries {7 * i} people. Its name is Gannet{i}."
    for i in range(30)
}


def make(place: Path, *, config: Settings = WORDS_ONLY) -> None:
    """Make a small store."""
    with RAG(place, config=config) as rag:
        rag.ingest(*(Document(id=k, text=v, title=f"T{k}") for k, v in TEXTS.items()))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "ragkit.cli", *arguments],
        check=False, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip


@contextmanager
def mounted(place: Path, size: str) -> Generator[None]:
    """Make a file system of a few megabytes; skip where that is not allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def answers(place: Path) -> tuple[object, object]:
    """Return what a few questions find and what a few documents hold."""
    with RAG(place) as rag:
        hits = [rag.search(f"Gannet{i} boat", k=5) for i in (0, 11, 29)]
        for hit in (hit for some in hits for hit in some):
            assert TEXTS[hit.chunk.document_id] == hit.chunk.text
            assert hit.title == f"T{hit.chunk.document_id}"
        shown = [rag.show(f"d{i}") for i in (0, 11, 29)]
        assert all(s is None or s["text"] == TEXTS[str(s["document_id"])] for s in shown)
        return [[hit.to_dict() for hit in some] for some in hits], shown


def test_a_flipped_byte_is_never_served(tmp_path: Path) -> None:
    """Flip a bit anywhere: nothing changed is served, and what is lost the doctor names."""
    make(tmp_path / "kb")
    with RAG(tmp_path / "kb") as rag:
        rag.compact()
    expected = answers(tmp_path / "kb")
    sound = (tmp_path / "kb" / "store.sqlite").read_bytes()
    rng = random.Random(3)
    n_same = n_different = n_refused = 0
    for _ in range(400):
        raw = bytearray(sound)
        raw[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        place = tmp_path / "flipped"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "store.sqlite").write_bytes(raw)
        try:
            same = answers(place) == expected
            n_same, n_different = n_same + same, n_different + (not same)
        except RagkitError:
            same = False
            n_refused += 1
        if not same:
            try:
                with RAG(place) as rag:
                    assert rag.doctor()
            except StoreError:
                pass
    assert min(n_same, n_different + n_refused) > 10


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_never_served(tmp_path: Path, share: float) -> None:
    """A store cut short is a typed error, or serves what is whole of it."""
    make(tmp_path / "kb")
    file = tmp_path / "kb" / "store.sqlite"
    raw = file.read_bytes()
    file.write_bytes(raw[: int(share * len(raw))])
    try:
        rag = RAG(tmp_path / "kb")
        findings = rag.doctor()
    except StoreError:
        return
    assert findings
    with rag, pytest.raises(StoreError):
        [rag.show(key) for key in TEXTS]


def test_a_damaged_document_is_named_and_can_be_replaced(tmp_path: Path) -> None:
    """A text changed behind the store's back is not served; the doctor's own advice mends it."""
    make(tmp_path / "kb")
    place = str(tmp_path / "kb")
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        connection.execute("UPDATE document SET text = replace(text, 'Boat 3', 'Boat 4') "
                           "WHERE id = 'd3'")  # fmt: skip
    connection.close()
    for command in (("show", "d3"), ("search", "Gannet3")):
        result = run(*command, "--store", place)
        assert (result.returncode, result.stdout) == (6, "")
    report = run("doctor", "--store", place)
    assert report.returncode == 6
    assert "d3" in report.stdout
    assert run("rm", "d3", "--store", place).returncode == 0
    with RAG(place) as rag:
        rag.ingest(Document(id="d3", text=TEXTS["d3"]))
    assert run("doctor", "--store", place).returncode == 0


def test_damaged_vectors_are_made_again(tmp_path: Path) -> None:
    """A vector that does not match its checksum is an error; repair and rebuild bring it back."""
    make(tmp_path / "kb", config=Settings())
    with RAG(tmp_path / "kb") as rag:
        before = [(h.chunk.id, h.score) for h in rag.search("people on boat 9", mode="dense")]
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        raw = connection.execute("SELECT vector FROM vector WHERE row = 5").fetchone()[0]
        changed = bytes([raw[0] ^ 1]) + raw[1:]
        connection.execute("UPDATE vector SET vector = ? WHERE row = 5", (changed,))
    connection.close()
    with RAG(tmp_path / "kb") as rag:
        with pytest.raises(StoreDamagedError):
            rag.search("people on boat 9", mode="dense")
        assert [f.check for f in rag.doctor()] == ["vectors"]
        left = rag.doctor(repair=True)
        assert [(f.check, f.repaired) for f in left] == [
            ("vectors", True), ("missing_vectors", None)]  # fmt: skip
        rag.rebuild()
        assert rag.doctor() == []
        after = [(h.chunk.id, h.score) for h in rag.search("people on boat 9", mode="dense")]
    assert after == before


def long_corpus(place: Path) -> Path:
    """Write a corpus of some megabytes."""
    text = "The quick heron of harbour {i} eats {i} fish. " * 20
    lines = [{"_id": f"r{i}", "text": text.replace("{i}", str(i))} for i in range(4000)]
    place.write_text("\n".join(map(json.dumps, lines)))
    return place


def check_what_stayed(stderr: str, store: str) -> None:
    """What was acknowledged before the disk refused is there, and nothing else."""
    progress = (json.loads(line) for line in stderr.splitlines() if line[:1] == "{")
    acknowledged = {line["document_id"] for line in progress if line.get("status") == "added"}
    assert len(acknowledged) > 50
    listed = run("list", "--store", store, "--json")
    kept = {json.loads(line)["document_id"] for line in listed.stdout.splitlines()}
    assert acknowledged == kept
    assert run("search", "heron", "--store", store, "--mode", "lexical").returncode == 0


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Too small a disk: a typed error, all that was acknowledged stays, and room ends it."""
    source, place = long_corpus(tmp_path / "corpus.jsonl"), tmp_path / "small"
    with mounted(place, "4m"):
        store = str(place / "kb")
        command = ("ingest", str(source), "--store", store, "--embedder", "none",
                   "--progress", "json")  # fmt: skip
        result = run(*command)
        assert result.returncode == 6
        assert "the disk is full" in result.stderr
        check_what_stayed(result.stderr, store)
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        assert run(*command).returncode == 0
        assert run("doctor", "--store", store).returncode == 0
        assert len(run("list", "--store", store, "--json").stdout.splitlines()) == 4000


@pytest.mark.slow
def test_a_quota_loses_nothing(tmp_path: Path) -> None:
    """A write that the system refuses in the middle of an ingest is a typed error."""
    source, store = long_corpus(tmp_path / "corpus.jsonl"), str(tmp_path / "kb")
    command = ("ingest", str(source), "--store", store, "--embedder", "none", "--progress", "json")
    limited = (
        "import resource, sys\nfrom ragkit.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", limited, *command], check=False, capture_output=True, text=True
    )
    assert result.returncode == 6
    assert "the disk refuses" in result.stderr
    check_what_stayed(result.stderr, store)
    assert run(*command).returncode == 0
    assert run("doctor", "--store", store).returncode == 0
    assert len(run("list", "--store", store, "--json").stdout.splitlines()) == 4000


def test_a_read_only_file_system_is_read(tmp_path: Path) -> None:
    """On a read-only file system a store is searched, and a write is a typed error."""
    place = tmp_path / "fixed"
    with mounted(place, "8m"):
        make(place / "kb")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        found = run("search", "Gannet7", "--store", str(place / "kb"), "--json")
        assert json.loads(found.stdout)["hits"][0]["document_id"] == "d7"
        assert run("doctor", "--store", str(place / "kb")).returncode == 0
        refused = run("rm", "d7", "--store", str(place / "kb"))
        assert (refused.returncode, refused.stdout) == (6, "")
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_what_is_acknowledged_or_named_is_durable_first(tmp_path: Path) -> None:
    """Loss of power between any two system calls loses nothing that somebody relies on.

    Seen in the calls themselves: a file is synchronised before it gets its name, its folder
    before the store names it, and the log before a document is acknowledged.
    """
    script = (
        "import sys\nfrom ragkit import RAG, Document, Settings\n"
        "from ragkit.pipeline.committing import BATCH_CHUNKS_WITHOUT_VECTORS\n"
        "from ragkit.storage import DerivedSizes, LocalStore\n"
        "n = 2 * BATCH_CHUNKS_WITHOUT_VECTORS + 2\n"
        "store = LocalStore(sys.argv[1], create=True, sizes=DerivedSizes(n, 5, 2 * n))\n"
        "with RAG(store, config=Settings(embedder='none')) as rag:\n"
        "    rag.ingest(*(Document(id=f'd{i}', text=f'Text {i}.') for i in range(n)),\n"
        "               on_progress=lambda done: print('acknowledged', flush=True))\n"
    )
    log, place = tmp_path / "log", tmp_path / "kb"
    calls = "trace=fsync,fdatasync,rename,/^link,write"
    command = ["strace", "-f", "-y", "-e", calls, "-o", str(log)]
    traced = subprocess.run(
        [*command, sys.executable, "-c", script, str(place)], check=False, capture_output=True
    )
    if traced.returncode:
        pytest.skip("nothing can be traced here")
    names = {
        "sync new": r"f\w*sync\(.*\.store\.sqlite\.\w+\.new>",
        "name store": r'link\w*\(.*/store\.sqlite"',
        "sync folder": rf"fsync\(\d+<{place}>",
        "sync log": r"f\w*sync\(.*store\.sqlite-wal>",
        "acknowledge": r'write\(1<.*"acknowledged',
        "sync segment": r"fsync\(.*\.segment\.\d+\.new>",
        "rename segment": r'rename\(.*\.segment"\)',
        "sync derived": r"fsync\(.*/derived>",
    }
    seen: list[str] = []
    for line in log.read_text().splitlines():
        name = next((name for name, call in names.items() if re.search(call, line)), None)
        if name is not None and seen[-1:] != [name]:
            seen.append(name)
    assert seen == [
        "sync new", "name store", "sync folder", *3 * ["sync log", "acknowledge"],
        "sync segment", "rename segment", "sync derived", "sync log",
    ]  # fmt: skip


def test_no_temporary_folder_is_needed(tmp_path: Path) -> None:
    """Ingest, search, compact and repair work where no temporary folder can be written."""
    make(tmp_path / "kb")
    nowhere = dict.fromkeys(("TMPDIR", "TEMP", "TMP", "SQLITE_TMPDIR"), "/proc/nowhere")
    for command in (("search", "boat"), ("doctor", "--repair"), ("doctor", "--compact"),
                    ("rm", "d1")):  # fmt: skip
        result = run(*command, "--store", str(tmp_path / "kb"), **nowhere)
        assert result.returncode == 0, result.stderr


def test_a_clock_that_goes_backwards_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is decided by the time of day: changes are seen whatever the clock says."""
    now = iter(range(2_000_000_000, 0, -86_400))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    file = tmp_path / "a.txt"
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        for year in (2030, 2020, 2010):
            file.write_text(f"It is {year} now.")
            os.utime(file, (year, year))
            report = rag.ingest(file)
            assert report.documents["added"] + report.documents["changed"] == 1
            (hit,) = rag.search("now")
            assert hit.chunk.text == f"It is {year} now."
            assert rag.ask("Which year is it now?").receipt.seconds >= 0
        assert rag.doctor() == []


OLD_SCHEMA = """
CREATE TABLE manifest(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE document(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
  title TEXT NOT NULL, text BLOB NOT NULL, metadata TEXT NOT NULL, groups TEXT NOT NULL,
  sha256 TEXT NOT NULL, fingerprint TEXT NOT NULL, language TEXT, marks TEXT NOT NULL);
CREATE TABLE chunk(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
  document INTEGER NOT NULL REFERENCES document(row), start INTEGER NOT NULL,
  end INTEGER NOT NULL, first_byte INTEGER NOT NULL, n_bytes INTEGER NOT NULL,
  n_tokens INTEGER NOT NULL, sentences TEXT NOT NULL, marks TEXT NOT NULL, tokens TEXT NOT NULL,
  vector_key BLOB);
CREATE INDEX chunk_by_document ON chunk(document, start);
CREATE INDEX chunk_by_vector ON chunk(vector_key) WHERE vector_key IS NOT NULL;
CREATE TABLE vector(key BLOB PRIMARY KEY, vector BLOB NOT NULL, sentences BLOB) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(tokens, content='chunk', content_rowid='row',
  tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* Co'");
"""


def bare(raw: bytes | None) -> bytes | None:
    """Take the checksum off."""
    return None if raw is None else raw[:-4]


def as_schema_1(file: Path) -> None:
    """Rewrite a store of today as the first schema had it."""
    old = file.with_name("old.sqlite")
    connection = sqlite3.connect(old)
    connection.executescript(OLD_SCHEMA)
    connection.execute("ATTACH ? AS new", (str(file),))
    connection.create_function("bare", 1, bare)
    connection.executescript(
        "INSERT INTO manifest SELECT key, value FROM new.manifest;"
        "INSERT INTO document SELECT row, id, source, title, text, metadata, groups, sha256,"
        "  fingerprint, language, marks FROM new.document;"
        "INSERT INTO vector SELECT key, bare(vector), NULL FROM new.vector;"
        "INSERT INTO chunk SELECT c.row, c.id, document, start, end, first_byte, n_bytes, n_tokens,"
        "  c.sentences, marks, tokens, v.key FROM new.chunk c LEFT JOIN new.vector v"
        "  ON v.row = c.vector;"
        "INSERT INTO words(words) VALUES ('rebuild');"
        "PRAGMA application_id = 1918986091; PRAGMA user_version = 1;"
    )
    stored = dict(connection.execute("SELECT row, bare(vector) FROM new.sentence"))
    for key, rows in connection.execute(
        "SELECT v.key, c.sentence_rows FROM new.chunk c JOIN new.vector v ON v.row = c.vector"
    ).fetchall():
        sentences = b"".join(stored[row] for row in unpack_rows(rows))
        connection.execute("UPDATE main.vector SET sentences = ? WHERE key = ?", (sentences, key))
    connection.commit()
    connection.close()
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    old.rename(file)


@pytest.mark.parametrize("embedder", ["none", "builtin"])
def test_an_older_store_is_refused_with_the_command_that_helps(
    tmp_path: Path, embedder: str
) -> None:
    """A store of schema 1 names `ragkit doctor --repair`, which brings it to today's, whole."""
    make(tmp_path / "kb", config=Settings(embedder=embedder))
    with RAG(tmp_path / "kb") as rag:
        before = [rag.show(key) for key in TEXTS]
        hits = [(h.chunk.id, round(h.score, 6)) for h in rag.search("people on boat 9", k=20)]
    as_schema_1(tmp_path / "kb" / "store.sqlite")
    with pytest.raises(OutdatedStoreError, match="ragkit doctor --repair"):
        LocalStore(tmp_path / "kb")
    place = str(tmp_path / "kb")
    assert run("search", "boat", "--store", place).returncode == 6
    assert run("doctor", "--store", place).returncode == 6
    assert run("doctor", "--repair", "--store", place).returncode == 0
    assert run("doctor", "--store", place).returncode == 0
    with RAG(tmp_path / "kb") as rag:
        assert [rag.show(key) for key in TEXTS] == before
        assert [
            (h.chunk.id, round(h.score, 6)) for h in rag.search("people on boat 9", k=20)
        ] == hits
        report = rag.ingest(Document(id="new", text="A new boat."))
        assert report.documents["added"] == 1


@pytest.mark.parametrize("embed_title", [False, True])
def test_the_first_schema_keeps_its_vectors(tmp_path: Path, embed_title: bool) -> None:
    """Brought up to date, a store embeds nothing again, and ranks sentences as before."""
    texts = [*TEXTS.values(), "One sentence. A second one.", "A second one. A third."]
    config = Settings(embed_title=embed_title, sentence_vector_kind="full")
    with RAG(tmp_path / "kb", config=config) as rag:
        rag.ingest(*(Document(id=f"d{i}", text=t, title="Log") for i, t in enumerate(texts)))
        before = rag.ask("How many people are on boat 9?").to_dict()["context"]
    as_schema_1(tmp_path / "kb" / "store.sqlite")
    with RAG(tmp_path / "kb") as rag:
        assert all(finding.repaired for finding in rag.doctor(repair=True))
        assert rag.ask("How many people are on boat 9?").to_dict()["context"] == before
        report = rag.rebuild()
        assert (report.embedded, report.sentences_embedded) == (0, 0)
        assert report.sentences >= len(texts)
        assert rag.doctor() == []


@pytest.mark.slow
def test_a_killed_ingest_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Killed at chance moments, an ingest keeps what it acknowledged and ends as if undisturbed.

    `benchmarks/kills.py` does it 200 times, with vectors, derived files and removals.
    """
    source = tmp_path / "corpus.jsonl"
    source.write_text("\n".join(
        json.dumps({"_id": f"r{i}", "text": f"Record {i} of the log. " * 30}) for i in range(1500)
    ))  # fmt: skip
    rng = random.Random(5)
    command = [sys.executable, "-m", "ragkit.cli", "ingest", str(source), "--embedder", "none",
               "--progress", "json", "--store"]  # fmt: skip
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    acknowledged: set[str] = set()
    for _ in range(6):
        with subprocess.Popen(
            [*command, str(tmp_path / "kb")], stderr=subprocess.PIPE, text=True
        ) as process:
            time.sleep(rng.uniform(0.15, 0.5))
            process.send_signal(signal.SIGKILL)
            assert process.stderr is not None
            for line in process.stderr.read().splitlines():
                if line.startswith('{"document_id"') and line.endswith("}"):
                    acknowledged.add(json.loads(line)["document_id"])
        if (tmp_path / "kb" / "store.sqlite").exists():
            store = LocalStore(tmp_path / "kb")
            assert acknowledged <= {row.document_id for row in store.documents()}
            assert store.examine() == []
            store.close()
    subprocess.run([*command, str(tmp_path / "kb")], check=True, capture_output=True)
    stores = [LocalStore(tmp_path / name) for name in ("kb", "whole")]
    assert stores[0].chunks_sha256() == stores[1].chunks_sha256()
    query = Query(question="record 77 of the log", k=30)
    assert [h.chunk.id for h in stores[0].search(query)] == [
        h.chunk.id for h in stores[1].search(query)
    ]
