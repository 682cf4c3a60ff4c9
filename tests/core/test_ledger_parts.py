"""A ledger that grows: parts of a bounded size, of which no line is lost."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ragkit.config import Settings
from ragkit.costs.ledger import Ledger, read_ledger
from ragkit.errors import ConfigError


def fill(path: Path, n: int, *, part_bytes: int) -> None:
    """Write numbered lines."""
    ledger = Ledger(path, part_bytes=part_bytes)
    for i in range(n):
        ledger.write({"kind": "ask", "i": i})
    assert ledger.disabled_reason is None


def numbers(path: Path) -> list[object]:
    """Return the numbers of all lines, in order."""
    return [record.get("i") for record in read_ledger(path)]


def test_parts_are_bounded_and_read_in_order(tmp_path: Path) -> None:
    """No file grows beyond its size, and readers see every line once, oldest first."""
    path = tmp_path / "ledger.jsonl"
    fill(path, 200, part_bytes=1_000)
    parts = sorted(tmp_path.iterdir())
    assert len(parts) > 10
    assert max(part.stat().st_size for part in parts) <= 1_000
    assert {part.stat().st_mode & 0o777 for part in parts} == {0o600}
    assert numbers(path) == list(range(200))


def test_without_a_bound_there_is_one_file(tmp_path: Path) -> None:
    """0 is no limit."""
    path = tmp_path / "ledger.jsonl"
    fill(path, 50, part_bytes=0)
    assert [part.name for part in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_a_line_larger_than_a_part_is_written(tmp_path: Path) -> None:
    """A part holds at least one line, however long."""
    path = tmp_path / "ledger.jsonl"
    fill(path, 3, part_bytes=10)
    assert numbers(path) == [0, 1, 2]


def test_compressed_and_broken_parts_are_read(tmp_path: Path) -> None:
    """Parts may be compressed; what is broken is counted as a line that cannot be read."""
    path = tmp_path / "ledger.jsonl"
    fill(path, 30, part_bytes=1_000)
    first, second = (tmp_path / f"ledger.jsonl.{i}" for i in (1, 2))
    for part in (first, second):
        part.with_name(f"{part.name}.gz").write_bytes(gzip.compress(part.read_bytes()))
        part.unlink()
    assert numbers(path) == list(range(30))
    torn = tmp_path / "ledger.jsonl.2.gz"
    torn.write_bytes(torn.read_bytes()[:-12])
    assert numbers(path).count(None) == 1
    path.unlink()
    assert numbers(path)[0] == 0


def test_no_line_is_lost_between_processes(tmp_path: Path) -> None:
    """Processes that write and rename at the same time lose and repeat nothing."""
    path = tmp_path / "ledger.jsonl"
    code = (
        "import sys; from pathlib import Path; from ragkit.costs.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]), part_bytes=2_000)\n"
        "for i in range(300): ledger.write({'kind': 'ask', 'i': int(sys.argv[2]) * 1000 + i})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), str(i)]) for i in range(4)]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    expected = sorted(p * 1000 + i for p in range(4) for i in range(300))
    assert sorted(int(str(number)) for number in numbers(path)) == expected
    assert len(list(tmp_path.iterdir())) > 20


def test_small_parts_are_refused_as_a_setting() -> None:
    """A file per line would be a folder that nobody can list."""
    with pytest.raises(ConfigError, match="ledger_part_bytes"):
        Settings(ledger_part_bytes=100)
    assert Settings(ledger_part_bytes=0).ledger_part_bytes == 0


def test_a_missing_ledger_is_an_error(tmp_path: Path) -> None:
    """Neither file nor part: nothing to read."""
    with pytest.raises(FileNotFoundError):
        list(read_ledger(tmp_path / "ledger.jsonl"))
    (tmp_path / "ledger.jsonl.1").write_text(json.dumps({"i": 1}))
    assert numbers(tmp_path / "ledger.jsonl") == [1]
