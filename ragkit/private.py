"""Files and folders for their owner alone.

What holds documents, questions or answers is made so from the first moment, whatever the umask;
what is there already keeps its mode.
"""

from __future__ import annotations

import os
from pathlib import Path


def opener(path: str, flags: int) -> int:
    """Open a file, for its owner alone where it is made now: `open(path, "w", opener=opener)`."""
    return os.open(path, flags, 0o600)


def make_file(path: Path) -> None:
    """Make an empty file where there is none."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and those above it that are missing, with a mode that the umask narrows."""
    for place in (*reversed(folder.absolute().parents), folder.absolute()):
        # Only the last folder gets the mode that `mkdir` is given.
        if not place.is_dir():
            place.mkdir(mode=mode, exist_ok=True)


def replace_file(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a file, whole or not at all, durably; one that is there is replaced."""
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
