"""`ragkit ingest` and the process that parses for it: reported, interrupted, killed, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..processes import status_of
from .command import RAGKIT, run, valid

SLOW = "<ul><li>x" * 1_000_000
"""A page that takes long."""

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and not yet reaped."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        fields = status_of(child := int(status.parent.name))
        if fields and int(fields[1]) == pid:
            found.append(child)
    return found


def wait_for(condition: Callable[[], object]) -> bool:
    """Return whether something comes true within a minute."""
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.1)
    return False


def interrupted(folder: Path, store: Path, number: signal.Signals) -> tuple[int, list[int]]:
    """Ingest files, the last of which takes long; end it then. Return its code and its children."""
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text(f"words of {name}", encoding="utf-8")
    command = [RAGKIT, "ingest", str(folder), "--store", str(store), "--embedder", "none"]
    run(*command[1:])
    (folder / "c.html").write_text(SLOW, encoding="utf-8")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert wait_for(lambda: any(map(_works, children(process.pid))))
        started = children(process.pid)
        # What a terminal does: all processes of the group get it.
        os.killpg(process.pid, number)
        return process.wait(60), started


def _works(pid: int) -> bool:
    fields = status_of(pid)
    return fields is not None and int(fields[11]) > 80


def test_ctrl_c(tmp_path: Path) -> None:
    """It ends the run at once, in the middle of a file; nothing is lost, and nothing left."""
    code, started = interrupted(tmp_path / "files", tmp_path / "kb", signal.SIGINT)
    assert code == 130
    assert started
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    listed = run("list", "--store", str(tmp_path / "kb"), "--json").stdout.splitlines()
    assert [json.loads(line)["document_id"] for line in listed] == ["a.txt", "b.txt"]


def test_a_killed_parent(tmp_path: Path) -> None:
    """A process that nobody listens to ends by itself, when it has read its file."""
    code, started = interrupted(tmp_path / "files", tmp_path / "kb", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert started
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_the_report_says_whether(tmp_path: Path) -> None:
    """`isolated` tells; a run without it gives the same documents."""
    path = tmp_path / "a.md"
    path.write_text("# Ferries\n\n- leave at nine\n- return late\n", encoding="utf-8")
    shown: list[object] = []
    for name, options in (("kb1", []), ("kb2", ["--no-isolate"])):
        common = ["--store", str(tmp_path / name), "--json"]
        result = run("ingest", str(path), *common, "--embedder", "none", *options)
        assert valid(result.stdout, "ingest")["isolated"] == (not options)
        shown.append(json.loads(run("show", "a.md", *common).stdout))
    assert shown[0] == shown[1]


def test_standard_input(tmp_path: Path) -> None:
    """What comes through a pipe is parsed there, too."""
    store = ["--store", str(tmp_path / "kb"), "--json"]
    run("ingest", "-", *store, "--embedder", "none", stdin="Ferries leave at nine.\n")
    assert json.loads(run("show", "stdin", *store).stdout)["text"] == "Ferries leave at nine.\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_where_no_process_starts(tmp_path: Path) -> None:
    """The error names the way out, exit code 2; the store stays as it is."""
    path = tmp_path / "a.txt"
    path.write_text("words", encoding="utf-8")
    program = (
        "import sys; from ragkit.cli import main; sys.executable = '/nowhere/python';"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["ingest", str(path), "--store", str(tmp_path / "kb"), "--embedder", "none"]
    for options, code in (([], 2), (["--no-isolate"], 0)):
        result = subprocess.run(
            [sys.executable, "-c", program, *arguments, *options],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert result.returncode == code, result.stderr
        assert ("--no-isolate" in result.stderr) == (not options)
