"""NVIDIA GPUs: by NVML where `nvidia-ml-py` is installed, else by `nvidia-smi`, or from its CSV.

A GPU's counters are of the whole device: another process on it is counted, too.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ragkit_connectors.monitors.rows import Sample, absent, share_of

QUERY = (
    "timestamp", "index", "uuid", "name", "pstate", "utilization.gpu", "utilization.memory",
    "memory.used", "memory.total", "power.draw",
)  # fmt: skip
"""Columns that are asked for, and that a file without a header is taken to have."""

_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,9})?")
_MEBIBYTE = 2**20
_TIMEOUT_SECONDS = 20.0


def sample() -> list[Sample]:
    """Return one row for each GPU of this machine, or one that says what is absent."""
    if importlib.util.find_spec("pynvml") is not None:
        rows = _by_nvml()
        if rows:
            return rows
    command = shutil.which("nvidia-smi")
    if command is None:
        return absent("nvidia", "neither nvidia-smi nor NVML is there")
    arguments = [command, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        # A fixed command without a shell.
        done = subprocess.run(  # noqa: S603
            arguments, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return absent("nvidia", f"nvidia-smi failed: {type(error).__name__}")
    if done.returncode != 0:
        return absent("nvidia", f"nvidia-smi ended with exit code {done.returncode}")
    return list(read_csv(done.stdout.splitlines()))


def read_csv(lines: Iterable[str]) -> Iterator[Sample]:
    """Yield a row for each line of `nvidia-smi --query-gpu=… --format=csv`.

    With a header, any columns in any order; units may follow the numbers. Without one, the columns
    are those of `QUERY`. Times are the machine's local time, as nvidia-smi prints them.
    """
    names: Sequence[str] = QUERY
    for cells in _cells(lines):
        heads = [re.sub(r" \[[^\]]{0,20}\]$", "", cell.strip()) for cell in cells]
        if "index" in heads or "utilization.gpu" in heads:
            names = heads
        elif any(heads):
            yield _row(dict(zip(names, (cell.strip() for cell in cells), strict=False)))


def _cells(lines: Iterable[str]) -> Iterator[list[str]]:
    rows = csv.reader(lines, skipinitialspace=True)
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error:  # a cell without end
            yield ["[unreadable]"]


def _row(cells: Mapping[str, str]) -> Sample:
    used, total = (_number(cells.get(f"memory.{name}")) for name in ("used", "total"))
    joules = next((_number(v) for k, v in cells.items() if k.startswith("total_energy")), None)
    is_known = any(name in cells and _is_known(cells[name]) for name in ("index", "name", "uuid"))
    return Sample(
        source="nvidia",
        time=_time(cells.get("timestamp", "")),
        device=_text(cells.get("index")) or _text(cells.get("uuid")),
        name=_text(cells.get("name")),
        utilization=share_of(_number(cells.get("utilization.gpu"))),
        memory_utilization=share_of(_number(cells.get("utilization.memory"))),
        memory_bytes=None if used is None else round(used * _MEBIBYTE),
        memory_total_bytes=None if total is None else round(total * _MEBIBYTE),
        watts=_number(cells.get("power.draw.instant", cells.get("power.draw"))),
        joules=None if joules is None else joules / 1_000.0,
        performance_state=_text(cells.get("pstate")),
        error=None if is_known else "a line that is none of nvidia-smi's",
    )


def _is_known(text: str) -> bool:
    return bool(text) and not text.startswith(("[", "N/A"))


def _text(text: str | None) -> str | None:
    return text if text is not None and _is_known(text) else None


def _number(text: str | None) -> float | None:
    match = _NUMBER.match(text or "")
    return None if match is None else float(match[0])


def _time(text: str) -> datetime | None:
    for form in ("%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form).astimezone()
        except (ValueError, OverflowError):
            continue
    return None


def _by_nvml() -> list[Sample]:
    """Ask NVML; nothing where it cannot be asked, for example without a driver."""
    nvml: Any = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        return [_device(nvml, i) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []
    finally:
        nvml.nvmlShutdown()


def _device(nvml: Any, index: int) -> Sample:  # noqa: ANN401 - a module without types
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def ask(name: str) -> Any:  # noqa: ANN401 - each function has a type of its own
        try:
            return getattr(nvml, name)(handle)
        except nvml.NVMLError:
            return None

    busy, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
    milliwatts, millijoules = (
        ask("nvmlDeviceGetPowerUsage"), ask("nvmlDeviceGetTotalEnergyConsumption")
    )  # fmt: skip
    state = ask("nvmlDeviceGetPerformanceState")
    name = ask("nvmlDeviceGetName")
    return Sample(
        source="nvidia",
        time=datetime.now(UTC),
        device=str(index),
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else name,
        utilization=None if busy is None else busy.gpu / 100.0,
        memory_utilization=None if busy is None else busy.memory / 100.0,
        memory_bytes=None if memory is None else int(memory.used),
        memory_total_bytes=None if memory is None else int(memory.total),
        watts=None if milliwatts is None else milliwatts / 1_000.0,
        joules=None if millijoules is None else millijoules / 1_000.0,
        performance_state=None if state is None else f"P{state}",
    )
