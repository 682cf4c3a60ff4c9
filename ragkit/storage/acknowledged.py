"""How many writes a store has acknowledged, kept beside it: tells when its log has lost some.

SQLite reads its log (WAL) up to the first frame whose checksum is wrong and drops the rest without
a word: a frame that a crash left half-written and one that was damaged later look alike (SQLite
documentation, "WAL-mode File Format", section 2.3.1). So the number of writes is noted here after
each commit, before anybody is told of it. It may lag behind the store, never lead: a larger number
than the store's own means that acknowledged writes are gone.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

FILE_NAME = "acknowledged"
_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_LENGTH = 30


def note_acknowledged(folder: Path, revision: int) -> None:
    """Make the number of a store's writes durable, in place.

    Where that fails the older number stays, which raises no false alarm.
    """
    number = f"{revision:020d}"
    line = f"{number} {zlib.crc32(number.encode()):08x}\n".encode()
    with suppress(OSError):
        descriptor = os.open(folder / FILE_NAME, _FLAGS, 0o600)
        try:
            os.write(descriptor, line)
            getattr(os, "fdatasync", os.fsync)(descriptor)
        finally:
            os.close(descriptor)


def forget_acknowledged(folder: Path) -> None:
    """Drop the number: the folder gets a new store."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def read_acknowledged(folder: Path) -> int | None:
    """Return the number that was noted last; None where that is not known."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            number, _, check = file.read(_LENGTH).strip().partition(b" ")
    except OSError:
        return None
    if not number.isdigit() or check != f"{zlib.crc32(number):08x}".encode():
        return None
    return int(number)
