"""What instance types draw when idle and at full load, as ranges, or unknown."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ragkit.errors import ConfigError

_FILE = Path(__file__).parents[1] / "data" / "instances.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watts:
    """Power of an instance without its data centre's overhead: (low, high), or None if unknown."""

    idle: tuple[float, float] | None
    full: tuple[float, float] | None
    source: str


def instance_names() -> list[str]:
    """Return the names of all instance types in the table."""
    return [f"{name}.{size}" for name, family in _families().items() for size in family["sizes"]]


def instance_watts(name: str) -> Watts:
    """Return the watts of an instance type.

    The whole is unknown where a part is: processors, memory and accelerators add up.

    Raises:
        ConfigError: it is not in the table; close names are offered.
    """
    if name not in instance_names():
        close = difflib.get_close_matches(name, instance_names(), 3)
        offer = f"did you mean {' or '.join(close)}? " if close else ""
        raise ConfigError(
            f"instance {name[:40]!r}; {offer}families in the table: {' '.join(_families())}; or "
            "give its watts: --watts IDLE,FULL"
        )
    family, _, size = name.partition(".")
    return Watts(
        idle=_sum(family, size, "idle"), full=_sum(family, size, "full"), source=_table()["source"]
    )


def _sum(family: str, size: str, state: str) -> tuple[float, float] | None:
    made, table = _families()[family], _table()
    n_cpus, n_accelerators = table["vcpus"][size], made["sizes"][size]
    memory = n_cpus * made["gib_per_vcpu"] * table["watts_per_gib"]
    low, high = table["processors"][made["processor"]][state]
    parts = [(n_cpus * low + memory, n_cpus * high + memory)]
    if n_accelerators:
        watts = table["accelerators"][made["accelerator"]][state]
        if watts is None:
            return None
        parts.append((n_accelerators * watts[0], n_accelerators * watts[1]))
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def _families() -> dict[str, Any]:
    families: dict[str, Any] = _table()["families"]
    return families


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found
