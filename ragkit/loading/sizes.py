"""What there is to read, known before any of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileSize:
    """A file that is to be read: the source of its documents, its path and its bytes."""

    source: str
    path: Path
    n_bytes: int
    holds_records: bool
