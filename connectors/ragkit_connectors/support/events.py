"""Streams of lines and of server-sent events, read from chunks of bytes that are cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


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
    """Yield lines without their ends; only whole lines are decoded, so no character is cut."""
    pending = b""
    first = True
    for chunk in chunks:
        *whole, pending = _LINE_END.split(pending + chunk)
        for line in whole:
            text = line.decode("utf-8", "replace")
            yield text.removeprefix("\ufeff") if first else text
            first = False
    if pending:
        yield pending.rstrip(b"\r").decode("utf-8", "replace")
