"""The XML parts of a Word document, each parsed as a stream while it is unpacked, under limits."""

from __future__ import annotations

import zipfile
from xml.etree import ElementTree

from ragkit.errors import LoadError

MAX_PART_BYTES = 64 * 2**20
MAX_DEPTH = 2_000
"""Depth of nested elements; Word itself writes a few dozen."""

_BLOCK_BYTES = 2**22
"""The parser reads a long attribute from its start again with each block."""


class XmlPart:
    """Receives a part's elements by local name; the namespaces vary, the names do not clash."""

    def __init__(self) -> None:
        self._depth = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type declaration."""
        raise LoadError("broken", f"it declares a document type: {name!r} {pubid!r} {system!r}")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Pass an element's start on."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LoadError("limit", f"elements nested deeper than {MAX_DEPTH:,}")
        self.enter(
            tag.rpartition("}")[2],
            {name.rpartition("}")[2]: value for name, value in attributes.items()},
        )

    def end(self, tag: str) -> None:
        """Pass an element's end on."""
        self._depth -= 1
        self.leave(tag.rpartition("}")[2])

    def data(self, text: str) -> None:
        """Take characters."""

    def close(self) -> None:
        """End the part."""

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""

    def leave(self, name: str) -> None:
        """Take an element's end."""


def parse(archive: zipfile.ZipFile, name: str, target: XmlPart) -> None:
    """Pass the elements of a part to the target; raises `LoadError`: `broken` or `limit`."""
    parser = ElementTree.XMLParser(target=target)  # noqa: S314 (doctype is refused: no entities)
    n_bytes = 0
    try:
        with archive.open(name) as part:
            while block := part.read(_BLOCK_BYTES):
                n_bytes += len(block)
                if n_bytes > MAX_PART_BYTES:
                    raise LoadError("limit", f"{name} unpacks to over {MAX_PART_BYTES >> 20} MiB")
                parser.feed(block)
        parser.close()
    except ElementTree.ParseError as error:
        raise LoadError("broken", f"{name}: {error}") from error
