"""What Linux tells of other processes."""

from __future__ import annotations

from pathlib import Path


def status_of(pid: int) -> list[str] | None:
    """Return what stands behind the name in `/proc/PID/stat`: the state first; None without it."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return status.rpartition(")")[2].split()


def cpu_ticks(pid: int) -> int:
    """Return the processor time of a process, in ticks; 0 of one that has ended."""
    fields = status_of(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0
