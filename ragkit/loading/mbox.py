"""Mailboxes (mbox): many mails in one file, each a document of its own."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from ragkit.errors import LoadError
from ragkit.loading.joining import joined
from ragkit.loading.loaded import LoadedText
from ragkit.loading.mail import load_message
from ragkit.types import Location

MAX_MESSAGE_BYTES = 64 * 2**20
_BEGINS = re.compile(rb"From [^\r\n]{0,300}?\d\d?:\d\d[^\r\n]{0,60}\d{4}[^\r\n]{0,60}\r?\n?$")
"""The line above a message: who sent it, and when."""


def messages(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield the messages of a mailbox, one at a time; None for one that exceeds the limit.

    Raises:
        LoadError: `broken` when it does not begin with a message.
    """
    lines, n_bytes, has_begun, after_blank = list[bytes](), 0, False, True
    while line := stream.readline(MAX_MESSAGE_BYTES + 1):
        if after_blank and line.startswith(b"From ") and _BEGINS.match(line):
            if has_begun:
                yield b"".join(lines) if n_bytes <= MAX_MESSAGE_BYTES else None
            lines, n_bytes, has_begun = [], 0, True
        elif not has_begun:
            if line.strip():
                raise LoadError("broken", "not a mailbox: it does not begin with `From `")
        else:
            n_bytes += len(line)
            if n_bytes <= MAX_MESSAGE_BYTES:
                lines.append(line)
            else:
                lines.clear()
        after_blank = not line.strip()
    if has_begun:
        yield b"".join(lines) if n_bytes <= MAX_MESSAGE_BYTES else None


def load_mbox(data: bytes) -> LoadedText:
    """Load a mailbox as one text; messages without text are left out.

    Raises:
        LoadError: `broken` when it is none.
    """

    def texts() -> Iterator[tuple[LoadedText, Location]]:
        for number, message in enumerate(messages(io.BytesIO(data)), start=1):
            try:
                loaded = load_message(message or b"")
            except LoadError:
                continue
            yield loaded, Location(message=number, heading=(loaded.title,) if loaded.title else ())

    return joined(texts(), metadata={})
