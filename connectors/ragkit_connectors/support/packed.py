"""Content that comes packed with gzip, unpacked as it comes and no further than is allowed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ragkit.errors import LoadError
from ragkit.loading.processes import BLOCK_BYTES
from ragkit_connectors.support.sockets import READ_BYTES

GZIP = b"\x1f\x8b"
"""What each member begins with."""

_MAX_GZIP_MEMBERS = 10_000


def limited(blocks: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield blocks; raises `LoadError` as soon as they are more than is allowed."""
    left = most_bytes
    for block in blocks:
        left -= len(block)
        if left < 0:
            raise LoadError("limit", f"more than {most_bytes:,} bytes")
        yield block


def unpacked_gzip(blocks: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield what gzip has packed; raises `LoadError` where that is too much, or broken."""
    try:
        yield from limited(_members(blocks), most_bytes)
    except zlib.error as error:
        raise LoadError("broken", f"it cannot be unpacked: {error}") from error


def _members(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what the members of gzip hold, one after the other (RFC 1952, section 2.2)."""
    reader, n_members, between = zlib.decompressobj(31), 1, b""
    for block in _small(blocks):
        left = between + block
        while left:
            if reader.eof:
                # Zero bytes that fill a block, or anything else, may follow the last member.
                if not left.startswith(GZIP[: len(left)]):
                    return
                if len(left) < len(GZIP):
                    break
                n_members += 1
                if n_members > _MAX_GZIP_MEMBERS:
                    raise LoadError("limit", f"packed in more than {_MAX_GZIP_MEMBERS:,} pieces")
                reader = zlib.decompressobj(31)
            yield reader.decompress(left, BLOCK_BYTES)
            left = reader.unused_data if reader.eof else reader.unconsumed_tail
        between = left
    if not reader.eof:
        yield reader.flush()
    if not reader.eof:
        raise LoadError("unreadable", "the packed content broke off before its end")


def _small(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield small blocks: what follows a member is copied for each member."""
    for block in blocks:
        yield from (block[at : at + READ_BYTES] for at in range(0, len(block), READ_BYTES))
