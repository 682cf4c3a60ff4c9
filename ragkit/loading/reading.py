"""Reading files: never blocked by one, never more of it in memory than a parser needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial

from ragkit.errors import LoadError
from ragkit.loading.content import Content
from ragkit.loading.formats import MAX_FILE_BYTES
from ragkit.loading.processes import BLOCK_BYTES
from ragkit.loading.records import Labels, digest
from ragkit.types import Json

KEPT_BYTES = 2**18
"""Smaller files are kept from their fingerprint to their parsing, larger ones are read again."""


def read_content(path: str, kind: Sequence[Json], labels: Labels) -> tuple[str, Content]:
    """Return a file's fingerprint (see `digest`) and its bytes.

    Raises:
        LoadError: `limit` when it is too large, `unreadable` when it is no regular file.
        OSError: the file system refuses.
    """
    found, n_bytes, kept = digest(kind, labels), 0, list[bytes]()
    for block in _blocks(path):
        found.update(block)
        n_bytes += len(block)
        if n_bytes <= KEPT_BYTES:
            kept.append(block)
    fingerprint = found.hexdigest()
    if n_bytes <= KEPT_BYTES:
        return fingerprint, Content.of(b"".join(kept))
    again = partial(_unchanged, path, n_bytes, fingerprint, kind, labels)
    return fingerprint, Content(n_bytes, again)


def _unchanged(
    path: str, n_bytes: int, fingerprint: str, kind: Sequence[Json], labels: Labels
) -> Iterator[bytes]:
    """Yield a file again; what is stored under a fingerprint must be what has it."""
    found, left = digest(kind, labels), n_bytes
    for block in _blocks(path):
        found.update(block)
        left -= len(block)
        if left < 0:
            break
        yield block
    if left or found.hexdigest() != fingerprint:
        raise LoadError("unreadable", "it has changed while it was read; ingest it again")


def _blocks(path: str) -> Iterator[bytes]:
    """Yield a file's bytes; never blocks on a pipe or a device."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise LoadError("unreadable", "not a regular file")
        n_bytes = status.st_size
        # It may change meanwhile, or be of a file system that tells no sizes.
        while n_bytes <= MAX_FILE_BYTES and (block := file.read(min(n_bytes + 1, BLOCK_BYTES))):
            yield block
            n_bytes = max(n_bytes, file.tell())
    if n_bytes > MAX_FILE_BYTES:
        raise LoadError("limit", f"{n_bytes:,} bytes; allowed: {MAX_FILE_BYTES:,}")
