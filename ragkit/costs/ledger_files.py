"""The files of a ledger: one that is appended to, and full parts of it that are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ragkit import private

PART_BYTES = 2**26
"""Size beyond which a ledger goes on in a new file by default: 64 MiB, as in the settings."""


def append(path: Path, line: bytes, part_bytes: int) -> None:
    """Append in a single write, so that writes of several processes do not interleave."""
    descriptor = private.opener(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if part_bytes and size and size + len(line) > part_bytes and _rotate(path, descriptor):
            os.close(descriptor)
            descriptor = private.opener(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
            size = os.lseek(descriptor, 0, os.SEEK_END)
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            # A crash or a full disk may have left half a line; do not append to it.
            line = line if os.read(descriptor, 1) == b"\n" else b"\n" + line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _rotate(path: Path, descriptor: int) -> bool:
    """Rename a full ledger to its next part; False if that cannot be done, which loses nothing.

    Whoever still has the file open appends to the part. The lock keeps two processes from choosing
    the same name; it is released when the descriptor is closed.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not os.path.samestat(os.fstat(descriptor), path.lstat()):
            return True  # another process has just done it
        number = max((number for number, _ in _parts(path)), default=0) + 1
        path.rename(path.with_name(f"{path.name}.{number}"))
    except (ImportError, OSError):  # the former on Windows, where an open file keeps its name
        return False
    return True


def _parts(path: Path) -> list[tuple[int, Path]]:
    """Return the full parts of a ledger with their numbers, oldest first."""
    found: list[tuple[int, Path]] = []
    for place in path.parent.iterdir():
        name, _, number = place.name.removesuffix(".gz").rpartition(".")
        if name == path.name and number.isascii() and number.isdecimal():
            found.append((int(number), place))
    return sorted(found)


def has_ledger(path: Path) -> bool:
    """Whether there is a ledger at a path, or a full part of one."""
    return path.exists() or (path.parent.is_dir() and bool(_parts(path)))


def without_repeats(paths: Sequence[Path]) -> list[Path]:
    """Return the ledgers whose files no other one holds, so that each file is read once.

    The same ledger may be named twice, and `ledger.jsonl*` names the parts beside their ledger.
    """
    held = [_files(path) for path in paths]
    return [
        path
        for i, path in enumerate(paths)
        if not any(held[i] < other for other in held) and held[i] not in held[:i]
    ]


def _files(path: Path) -> frozenset[Path]:
    parts = [part for _, part in _parts(path)] if path.parent.is_dir() else []
    return frozenset(file.resolve() for file in (path, *parts) if file.exists())


def ledger_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a ledger, those of its full parts first.

    Raises:
        FileNotFoundError: there is neither a ledger nor a part.
    """
    parts = _parts(path) if path.parent.is_dir() else []
    with ExitStack() as opened:
        # Opened before the parts are read: it may become one of them meanwhile.
        live = opened.enter_context(path.open("rb")) if path.exists() or not parts else None
        for _, part in parts:
            if live is None or not os.path.samestat(part.stat(), os.fstat(live.fileno())):
                yield from _lines(part)
        if live is not None:
            yield from live if path.suffix != ".gz" else _lines(path)


def _lines(part: Path) -> Iterator[bytes]:
    if part.suffix != ".gz":
        with part.open("rb") as lines:
            yield from lines
        return
    import gzip
    import zlib

    try:
        with gzip.open(part, "rb") as lines:
            yield from lines
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield b"broken"  # whatever follows; counted as a line that cannot be read
