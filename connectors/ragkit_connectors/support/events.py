"""Streams of lines and of server-sent events, read from chunks of bytes that are cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each server-sent event (WHATWG HTML, section 9.2.6)."""
    data: list[str] = []
    for line in lines(chunks):
        if not line:
            if data:
                yield "\n".join(data)
            data = []
            continue
        # A line that starts with a colon is a comment, sent to keep the connection alive.
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
    if data:
        # The standard drops an event without a blank line after it; some servers end like that.
        yield "\n".join(data)


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield lines without their ends; only whole lines are decoded, so no character is cut.

    Each byte is looked at once: a long line in small chunks takes time that grows with its length.
    """
    pending = bytearray()
    held = b""
    first = True
    for chunk in chunks:
        # Whether a carriage return is a line end of its own only the next byte tells.
        data = held + chunk
        held = b"\r" if data.endswith(b"\r") else b""
        *ends, rest = _LINE_END.split(data.removesuffix(b"\r"))
        for end in ends:
            text = (pending + end).decode("utf-8", "replace")
            pending.clear()
            yield text.removeprefix("\ufeff") if first else text
            first = False
        pending += rest
    if pending:
        yield pending.decode("utf-8", "replace")
