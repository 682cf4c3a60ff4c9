"""`ragkit ingest`: what it leaves out, what it says of that, and watching."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from .command import RAGKIT, run, valid


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Return a folder with some files."""
    folder = tmp_path / "docs"
    (folder / "drafts").mkdir(parents=True)
    (folder / "a.md").write_text("The crane is red.")
    (folder / "drafts" / "b.md").write_text("The quay is blue.")
    (folder / "c.txt").write_text("The boat is green.")
    (folder / "package-lock.json").write_text("{}")
    (folder / ".ragkitignore").write_text("c.txt\n")
    return folder


def options(tmp_path: Path) -> list[str]:
    """Return the options of a store without vectors."""
    return ["--store", str(tmp_path / "kb"), "--embedder", "none", "--ledger", "off"]


def test_a_dry_run_says_why(docs: Path, tmp_path: Path) -> None:
    """Each file is listed, with the reason if it would not be read; nothing is stored."""
    arguments = ["ingest", str(docs), *options(tmp_path), "--exclude", "drafts", "--dry-run"]
    report = valid(run(*arguments, "--json").stdout, "ingest")
    files = {
        Path(file["source"]).name: (file["status"], file["detail"]) for file in report["files"]
    }
    assert files["a.md"] == ("added", "")
    assert files["drafts"] == ("skipped", "ignored: --exclude leaves it out")
    assert files["c.txt"] == ("skipped", "ignored: .ragkitignore leaves it out")
    assert files["package-lock.json"][1].startswith("payload: a lock file")
    shown = run(*arguments).stdout
    assert "added     a.md" in shown
    assert f"skipped   {docs / 'drafts'}: ignored: --exclude leaves it out" in shown
    assert not (tmp_path / "kb").exists()


def test_a_plain_run_is_quiet_about_what_rules_leave_out(docs: Path, tmp_path: Path) -> None:
    """What is skipped without a rule of the user is counted; the rest is not mentioned."""
    arguments = [
        "ingest",
        str(docs),
        *options(tmp_path),
        "--include",
        "*.md",
        "--include",
        "*.json",
    ]
    report = valid(run(*arguments, "--json").stdout, "ingest")
    assert report["documents"]["added"] == 2
    assert [skip["code"] for skip in report["skipped"]] == ["payload"]
    assert report["files"] == []


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the lines that a process prints, each within a minute."""
    queue: Queue[str] = Queue()

    def read() -> None:
        for line in process.stdout or ():
            queue.put(line)

    Thread(target=read, daemon=True).start()
    while True:
        yield queue.get(timeout=60)


def test_watching(docs: Path, tmp_path: Path) -> None:
    """A change is ingested, and Ctrl-C is the way out."""
    command = [
        RAGKIT,
        "ingest",
        str(docs),
        *options(tmp_path),
        "--watch",
        "--json",
        "--progress",
        "off",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            reports = map(json.loads, lines_of(process))
            assert next(reports)["documents"]["added"] == 2
            (docs / "d.md").write_text("The pier is white.")
            assert next(reports)["documents"]["added"] == 1
            (docs / "picture.png").write_bytes(b"PNG")  # of which there is nothing to tell
            (docs / "a.md").write_text("The crane is yellow.")
            assert next(reports)["documents"]["changed"] == 1
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


def test_what_cannot_be_watched(tmp_path: Path) -> None:
    """Standard input ends, and a dry run stores nothing."""
    run("ingest", "-", *options(tmp_path), "--watch", code=2, stdin="")
    run("ingest", str(tmp_path), *options(tmp_path), "--watch", "--dry-run", code=2)
