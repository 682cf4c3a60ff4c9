"""Files and folders that are private to their owner.

Files with documents, questions or answers are private from the moment of creation, whatever the
umask; existing ones keep their mode.
"""

from __future__ import annotations

import os
from pathlib import Path


def opener(path: str, flags: int) -> int:
    """Open a file, private if it is created by this: `open(path, "w", opener=opener)`."""
    return os.open(path, flags, 0o600)


def make_file(path: Path) -> None:
    """Create an empty file if there is none."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Create a folder and its missing parents, with a mode that the umask narrows."""
    for place in (*reversed(folder.absolute().parents), folder.absolute()):
        # `mkdir` applies the mode to the last folder only.
        if not place.is_dir():
            place.mkdir(mode=mode, exist_ok=True)


def replace_file(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a file atomically and durably, replacing any that is there."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o600 if private else 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
