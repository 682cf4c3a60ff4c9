"""Files that cannot be read are remembered by content and left alone until they change."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from ragkit import RAG, Settings
from ragkit.loading import formats
from ragkit.pipeline import IngestReport

WORDS_ONLY = Settings(embedder="none")
ENCRYPTED = Path(__file__).parents[1] / "fixtures" / "encrypted_pdf" / "aes256.pdf"


def ingest(tmp_path: Path, **options: bool) -> IngestReport:
    """Ingest the folder `docs`."""
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        report = rag.ingest(
            tmp_path / "docs",
            prune=options.get("prune", False),
            retry_failed=options.get("retry_failed", False),
            dry_run=options.get("dry_run", False),
            confirm=lambda _: True,
        )
        assert rag.doctor() == []
    return report


def counts(report: IngestReport) -> tuple[int, int]:
    """Return the new failures and the known ones."""
    assert report.documents["failed"] == len(report.failures)
    assert report.documents["skipped"] == len(report.skips) >= report.known_failures
    return len(report.failures), report.known_failures


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Make a folder with a good file and a broken one."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "good.txt").write_text("Good words.")
    (folder / "bad.json").write_text("{")
    return folder


def test_a_known_failure_is_not_tried_again(tmp_path: Path, docs: Path) -> None:
    """New once, then known; a changed file is tried, and a mended one forgotten."""
    assert counts(ingest(tmp_path)) == (1, 0)
    before = (tmp_path / "kb" / "store.sqlite").read_bytes()
    report = ingest(tmp_path)
    assert counts(report) == (0, 1)
    (skip,) = report.skips
    assert (skip.code, skip.known, skip.source) == ("broken", True, str(docs / "bad.json"))
    assert (tmp_path / "kb" / "store.sqlite").read_bytes() == before
    (docs / "bad.json").write_text("[")
    assert counts(ingest(tmp_path)) == (1, 0)
    assert counts(ingest(tmp_path)) == (0, 1)
    (docs / "bad.json").write_text('{"mended": "by now"}')
    assert ingest(tmp_path).documents["added"] == 1
    (docs / "bad.json").write_text("[")
    assert counts(ingest(tmp_path)) == (1, 0)


def test_it_is_tried_when_asked_to(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`retry_failed` reads it again; what is asked for and fails again is a failure."""
    del docs
    ingest(tmp_path)
    assert counts(ingest(tmp_path, retry_failed=True)) == (1, 0)
    assert counts(ingest(tmp_path)) == (0, 1)
    # A loader that reads more than before is another version, which tries by itself.
    monkeypatch.setattr("ragkit.loading.sources.LOADERS_VERSION", formats.LOADERS_VERSION + 1)
    assert counts(ingest(tmp_path)) == (1, 0)


def test_what_is_stored_of_a_file_stays(tmp_path: Path, docs: Path) -> None:
    """A file that became unreadable keeps its document, also while that is known."""
    ingest(tmp_path)
    (docs / "good.txt").write_bytes(b"")
    for expected in ((1, 1), (0, 2), (0, 2)):
        report = ingest(tmp_path, prune=True)
        assert counts(report) == expected
        assert report.documents["removed"] == 0
    with RAG(tmp_path / "kb") as rag:
        assert [row.document_id for row in rag.list()] == ["good.txt"]


def test_vanished_files_are_forgotten_by_prune(tmp_path: Path, docs: Path) -> None:
    """Not by an ingest that met an empty folder, as of a disk that is not mounted."""
    ingest(tmp_path)
    docs.rename(tmp_path / "away")
    docs.mkdir()
    assert counts(ingest(tmp_path)) == (0, 0)
    docs.rmdir()
    (tmp_path / "away").rename(docs)
    assert counts(ingest(tmp_path)) == (0, 1)
    (docs / "bad.json").unlink()
    ingest(tmp_path, prune=True)
    (docs / "bad.json").write_text("{")
    assert counts(ingest(tmp_path)) == (1, 0)


def test_a_moved_file_is_known_by_its_content(tmp_path: Path, docs: Path) -> None:
    """The same broken file in another folder is no news."""
    ingest(tmp_path)
    (docs / "inner").mkdir()
    shutil.move(docs / "bad.json", docs / "inner" / "bad.json")
    report = ingest(tmp_path, prune=True)
    assert counts(report) == (0, 1)
    assert report.skips[0].source == str(docs / "inner" / "bad.json")
    assert counts(ingest(tmp_path, prune=True)) == (0, 1)


def test_a_password_opens_what_was_locked(tmp_path: Path) -> None:
    """An encrypted file is tried with every password; still locked, it is known."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ENCRYPTED, tmp_path / "docs" / "locked.pdf")
    assert counts(ingest(tmp_path)) == (1, 0)
    assert counts(ingest(tmp_path)) == (0, 1)
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        wrong, right = "wrong", "open sesame"
        assert counts(rag.ingest(tmp_path / "docs", password=wrong)) == (0, 1)
        assert rag.ingest(tmp_path / "docs", password=right).documents["added"] == 1
    assert counts(ingest(tmp_path)) == (0, 0)


def test_what_may_pass_is_not_remembered(tmp_path: Path, docs: Path) -> None:
    """A path that is not there, or an id that is taken, says nothing of a content."""
    with RAG(tmp_path / "kb", config=WORDS_ONLY) as rag:
        rag.ingest(docs)
        for _ in range(2):
            report = rag.ingest(docs / "good.txt", tmp_path / "nothing.txt")
            assert counts(report) == (1, 0)
        (tmp_path / "good.txt").write_text("Other words.")
        for _ in range(2):
            assert counts(rag.ingest(tmp_path / "good.txt")) == (1, 0)
            assert counts(rag.ingest(docs, require_groups=True)) == (1, 1)


def test_lines_of_records_are_remembered(tmp_path: Path) -> None:
    """A line that is no record is known wherever it stands in the file."""
    (tmp_path / "docs").mkdir()
    file = tmp_path / "docs" / "corpus.jsonl"
    good = '{"_id": "a", "text": "A text."}\n'
    file.write_text(good + "nonsense\n" + '{"_id": "empty", "text": " "}\n')
    assert counts(ingest(tmp_path)) == (2, 0)
    file.write_text("nonsense\n" + good + '{"_id": "empty", "text": " "}\n')
    assert counts(ingest(tmp_path)) == (0, 2)
    file.write_text("nonsense\n" + good + '{"_id": "empty", "text": "No more."}\n')
    report = ingest(tmp_path)
    assert (counts(report), report.documents["added"]) == ((0, 1), 1)
    file.write_text(good)
    ingest(tmp_path)
    file.write_text(good + "nonsense\n")
    assert counts(ingest(tmp_path)) == (1, 0)


def test_a_file_that_is_too_large_is_known(
    tmp_path: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not read to find out; another size is news."""
    monkeypatch.setattr("ragkit.loading.reading.MAX_FILE_BYTES", 8)
    assert counts(ingest(tmp_path)) == (2, 0)
    assert counts(ingest(tmp_path)) == (0, 2)
    (docs / "good.txt").write_text("Better words.")
    assert counts(ingest(tmp_path)) == (1, 1)


def test_a_dry_run_knows_and_remembers_nothing(tmp_path: Path, docs: Path) -> None:
    """It reports as the ingest would, and leaves the store as it is."""
    ingest(tmp_path)
    assert counts(ingest(tmp_path, dry_run=True)) == (0, 1)
    (docs / "worse.json").write_text("{{")
    assert counts(ingest(tmp_path, dry_run=True)) == (1, 1)
    assert counts(ingest(tmp_path)) == (1, 1)


def test_a_damaged_entry_is_tried_again(tmp_path: Path, docs: Path) -> None:
    """What is remembered can always be found out again."""
    del docs
    ingest(tmp_path)
    with sqlite3.connect(tmp_path / "kb" / "store.sqlite") as connection:
        connection.execute("UPDATE failure SET code = 'limit'")
    connection.close()
    report = ingest(tmp_path)
    assert (counts(report), report.failures[0].code) == ((1, 0), "broken")
    assert counts(ingest(tmp_path)) == (0, 1)
