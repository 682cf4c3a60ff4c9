"""The number of acknowledged writes, kept beside a store to detect a log that lost some.

SQLite reads its log (WAL) up to the first frame whose checksum is wrong and silently drops the
rest: a frame that a crash left half-written looks like one that was damaged later (SQLite
documentation, "WAL-mode File Format", section 2.3.1). So the number of writes is recorded here
after each commit, before the write is acknowledged. It may lag behind the store but never lead: a
number larger than the store's own means that acknowledged writes are gone.
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
    """Record the number of a store's writes durably, in place.

    If that fails the older number stays, which raises no false alarm.
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
    """Delete the number: the folder gets a new store."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def read_acknowledged(folder: Path) -> int | None:
    """Return the number that was recorded last; None if it is unknown."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            number, _, check = file.read(_LENGTH).strip().partition(b" ")
    except OSError:
        return None
    if not number.isdigit() or check != f"{zlib.crc32(number):08x}".encode():
        return None
    return int(number)
