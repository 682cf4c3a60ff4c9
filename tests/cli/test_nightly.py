"""What an ingest that runs every night prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from ragkit.cli.ingest_output import ingest_text
from ragkit.pipeline import IngestReport
from ragkit.pipeline.report import STATUSES
from ragkit.types import Failure

from .command import RAGKIT, run, valid


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Make a folder that has something of everything."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(30):
        (folder / f"page{i}.txt").write_text(f"Page {i} tells of {i} boats.")
        (folder / f"picture{i}.png").write_bytes(b"png")
        (folder / f"broken{i}.json").write_text("{" * (i + 1))
    return folder


def test_known_failures_are_one_line_and_no_error(tmp_path: Path, docs: Path) -> None:
    """The first night fails, the next ones are quiet, until something changes."""
    command = ("ingest", str(docs), "--store", str(tmp_path / "kb"), "--embedder", "none",
               "--prune")  # fmt: skip
    first = run(*command, code=1).stdout
    assert len(first.splitlines()) <= 20
    assert "30 added, 30 skipped, 30 failed" in first
    assert "failed  25 more: --json lists all" in first
    assert "skipped 30 files: no loader reads .png" in first
    quiet = run(*command).stdout.splitlines()
    assert quiet[0] == "30 unchanged, 60 skipped"
    assert quiet[-1] == (
        "30 failed before and have not changed: skipped, unless --retry-failed is given"
    )
    assert len(quiet) == 4
    (docs / "page1.txt").unlink()
    (docs / "page2.txt").rename(docs / "renamed.txt")
    (docs / "page3.txt").write_text("Page 3 is new.")
    (docs / "broken3.json").write_text("[")
    night = run(*command, code=1).stdout.splitlines()
    assert night[0] == (
        "1 added, 1 changed, 27 unchanged, 2 removed, 59 skipped, 1 failed (1 of them moved)"
    )
    assert night[1:4] == [
        "added   renamed.txt", "changed page3.txt", "removed page1.txt, page2.txt",
    ]  # fmt: skip
    assert f"failed  {docs / 'broken3.json'}: broken: " in "\n".join(night)
    assert len(night) <= 20
    report = valid(run(*command, "--json").stdout, "ingest")
    assert (report["known_failures"], report["failures"]) == (30, [])
    assert sum(skip["known"] for skip in report["skipped"]) == 30
    retried = valid(run(*command, "--retry-failed", "--json", code=1).stdout, "ingest")
    assert (retried["known_failures"], len(retried["failures"])) == (0, 30)


def test_what_is_left_out_of_texts_is_counted(tmp_path: Path) -> None:
    """Characters that nobody sees, by why, in one line; spaces are none."""
    (tmp_path / "page.html").write_text("<p>Seen.</p><p style='display:none'>Hidden words</p>")
    command = ("ingest", str(tmp_path / "page.html"), "--embedder", "none", "--store")
    dropped = valid(run(*command, str(tmp_path / "a"), "--json").stdout, "ingest")["dropped"]
    assert dropped == {"payload": 0, "hidden": 11, "furniture": 0, "nav": 0}
    assert "characters left out of texts: 11 hidden" in run(*command, str(tmp_path / "b")).stdout


def test_no_report_is_longer_than_a_screen() -> None:
    """Whatever happened, all at once."""
    report = IngestReport()
    for status in STATUSES[:4]:
        for i in range(300):
            report.note(f"{'folder/' * 30}{status}{i}.txt", status)
    for i in range(200):
        report.failures.append(Failure(source=f"/f{i}", code="broken", detail="it is"))
        skip = Failure(source=f"/s{i}", code="unsupported", detail=f"no {i % 7}", skipped=True)
        report.skips.append(skip)
    report.skips.append(Failure(source="/k", code="limit", detail="", skipped=True, known=True))
    report.truncated, report.sentence_bytes = 3, 1000
    report.dropped["hidden"] = 7
    lines = ingest_text(report.to_dict()).splitlines()
    assert len(lines) <= 20
    assert lines[2].endswith("changed0.txt and 299 more")
    assert lines[-2] == "skipped 84 more: --json lists all"


def test_progress_goes_on_while_a_file_is_in_work(tmp_path: Path) -> None:
    """Each second an event, from the first second on, though the source says nothing."""
    command = [RAGKIT, "ingest", "-", "--store", str(tmp_path / "kb"), "--embedder", "none",
               "--progress", "json"]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        silence = threading.Timer(60, process.kill)
        silence.start()
        events = [valid(process.stderr.readline(), "progress") for _ in range(2)]
        process.stdin.write("Some words.")
        process.stdin.close()
        rest = process.stderr.read().splitlines()
        silence.cancel()
    assert process.returncode == 0
    for event in events:
        assert event["event"] == "progress"
        assert event["files_total"] is event["seconds_left"] is event["current"] is None
    assert [json.loads(line)["status"] for line in rest if "document_id" in line] == ["added"]


def test_records_count_by_their_bytes(tmp_path: Path) -> None:
    """A file of records is one file, of which bytes are done with each record."""
    file = tmp_path / "corpus.jsonl"
    records = [json.dumps({"_id": f"r{i}", "text": f"Record {i}."}) for i in range(2000)]
    file.write_text("\n".join(records) + "\n")
    result = run("ingest", str(file), "--store", str(tmp_path / "kb"), "--embedder", "none",
                 "--progress", "json")  # fmt: skip
    lines = [json.loads(line) for line in result.stderr.splitlines() if line[:1] == "{"]
    events = [line for line in lines if "event" in line]
    size = file.stat().st_size
    assert (events[0]["files_total"], events[0]["bytes_total"]) == (1, size)
    assert (events[-1]["files_done"], events[-1]["bytes_done"]) == (1, size)
    done = [event["bytes_done"] for event in events]
    assert done == sorted(done)
    assert sum("document_id" in line for line in lines) == 2000


def on_a_terminal(*command: str, columns: int = 60, answer: bytes = b"") -> list[str]:
    """Run the command on a terminal of its own, answer the first question, return what is drawn."""
    import pty

    parent, child = pty.openpty()
    with subprocess.Popen([RAGKIT, *command], stderr=child, stdin=child, stdout=subprocess.DEVNULL,
                          env={**os.environ, "COLUMNS": str(columns)}) as process:  # fmt: skip
        os.close(child)
        shown = b""
        while True:
            try:
                shown += os.read(parent, 4096)
            except OSError:
                break
            if answer and b"[y/N]" in shown:
                os.write(parent, answer)
                answer = b""
        process.wait(timeout=60)
    os.close(parent)
    return [line for line in shown.decode().split("\r\x1b[K") if line]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_question_is_not_drawn_over(tmp_path: Path, docs: Path) -> None:
    """While somebody is asked, the line of progress waits, and what they answer counts."""
    command = ("ingest", str(docs), "--store", str(tmp_path / "kb"), "--embedder", "none")
    run(*command, code=1)
    for path in docs.glob("page*"):
        path.unlink()
    for answer, n_left in ((b"n\n", 30), (b"y\n", 0)):
        drawn = on_a_terminal(*command, "--prune", answer=answer)
        asked = [line for line in drawn if "Go on? [y/N]" in line]
        assert len(asked) == 1
        assert asked[0].startswith("ragkit: prune would remove 30 of the 30 documents")
        listed = run("list", "--store", str(tmp_path / "kb"), "--json").stdout.splitlines()
        assert len(listed) == n_left


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_line_on_a_terminal_fits_and_names_the_file(tmp_path: Path) -> None:
    """It is redrawn in place, cut to the width, and shows no control character of a name."""
    folder = tmp_path / "docs"
    folder.mkdir()
    name = "\x1b[31m" + "long" * 40 + ".txt"
    (folder / name).write_text("A text. " * 200)
    drawn = on_a_terminal(
        "ingest", str(folder), "--store", str(tmp_path / "kb"), "--embedder", "none"
    )
    drawn = [line.removesuffix("\r\n") for line in drawn]
    assert all(len(line) < 60 for line in drawn)
    assert drawn[-1].startswith("1/1 files  2 kB of 2 kB")
    assert "\x1b[31m" not in "".join(drawn)
