"""Word documents (.docx), read with the standard library.

A document is a ZIP archive of XML parts (ECMA-376, both its transitional and strict namespaces).
Only the parts that are needed are opened, none is written to disk, and each is parsed as a stream
while it is unpacked, under limits that hold whatever the archive declares. A document type
declaration, which no such part has, is refused, so there are no entities.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ragkit.errors import LoadError
from ragkit.loading.loaded import Headings, LoadedText, TextBuilder, clean
from ragkit.types import Location

MAX_PART_BYTES = 64 * 2**20
MAX_MEMBERS = 10_000
MAX_DEPTH = 2_000
"""Depth of nested elements; Word itself writes a few dozen."""

_BLOCK_BYTES = 65_536
_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_HEADING_STYLE = re.compile(r"heading ([1-9])$", re.IGNORECASE)
_HEADING_ID = re.compile(r"heading([1-9])$", re.IGNORECASE)
_NOT_SHOWN = frozenset({"del", "moveFrom", "Fallback", "instrText", "delText"})
_OFF = frozenset({"0", "false", "off"})
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def load_docx(data: bytes) -> LoadedText:
    """Load a Word document: paragraphs, headings, table rows, foot- and endnotes, its title.

    Deleted, moved and hidden runs are left out, as are headers, footers and comments.

    Raises:
        LoadError: `password` when it is encrypted, `unsupported` for the format before 2007,
            `limit` when it unpacks to too much, `broken` when it is malformed.
    """
    if data.startswith(_OLE_SIGNATURE):
        if _OLE_ENCRYPTED in data:
            raise LoadError("password", "encrypted; save it without a password to ingest it")
        raise LoadError("unsupported", "Word's format before 2007; save it as .docx")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > MAX_MEMBERS:
                raise LoadError("limit", f"more than {MAX_MEMBERS:,} members")
            return _read(archive)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise LoadError("broken", f"not a Word document: {error}") from error
    except RuntimeError as error:  # what zipfile raises for an encrypted member
        raise LoadError("password", "a part of the document is encrypted") from error


def _read(archive: zipfile.ZipFile) -> LoadedText:
    names = set(archive.namelist())
    styles = _Styles()
    if "word/styles.xml" in names:
        _parse(archive, "word/styles.xml", styles)
    builder = TextBuilder()
    body = _Body(builder, styles.heading_level)
    _parse(archive, "word/document.xml", body)
    for notes in ("word/footnotes.xml", "word/endnotes.xml"):
        if notes in names:
            _parse(archive, notes, _Body(builder, styles.heading_level))
    properties = _Title()
    if "docProps/core.xml" in names:
        _parse(archive, "docProps/core.xml", properties)
    return builder.build(title=" ".join(clean(properties.title).split()) or body.title)


class _Part:
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


def _parse(archive: zipfile.ZipFile, name: str, target: _Part) -> None:
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


class _Title(_Part):
    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self._inside = False

    def enter(self, name: str, attributes: dict[str, str]) -> None:  # noqa: ARG002 (one signature)
        self._inside = name == "title"

    def leave(self, name: str) -> None:  # noqa: ARG002 (one signature)
        self._inside = False

    def data(self, text: str) -> None:
        if self._inside:
            self.title += text


class _Styles(_Part):
    """Which styles are headings: by name, by outline level, or by the style they extend."""

    def __init__(self) -> None:
        super().__init__()
        self._levels: dict[str, int] = {}
        self._extends: dict[str, str] = {}
        self._style = ""

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        value = attributes.get("val", "")
        if name == "style":
            self._style = attributes.get("styleId", "")
        elif name == "basedOn":
            self._extends[self._style] = value
        elif name == "outlineLvl" and value.isdecimal() and int(value) < 9:
            self._levels[self._style] = int(value) + 1
        elif name == "name":
            match = _HEADING_STYLE.match(value)
            if match:
                self._levels[self._style] = int(match[1])
            elif value.lower() == "title":
                self._levels[self._style] = 0

    def heading_level(self, style: str) -> int | None:
        """Return a style's heading level, 0 for the document's title, None for body text."""
        match = _HEADING_ID.match(style)
        for _ in range(20):
            if style in self._levels:
                return self._levels[style]
            style = self._extends.get(style, "")
        return int(match[1]) if match else None


@dataclass(slots=True)
class _Paragraph:
    pieces: list[str] = field(default_factory=list[str])
    style: str = ""
    outline_level: int | None = None
    listed: bool = False
    hidden: bool = False


class _Body(_Part):
    """Adds paragraphs and table rows to the builder in the order in which they end."""

    def __init__(self, builder: TextBuilder, heading_level: Callable[[str], int | None]) -> None:
        super().__init__()
        self.title = ""
        self._builder = builder
        self._heading_level = heading_level
        self._headings = Headings()
        self._paragraphs: list[_Paragraph] = []
        self._rows: list[list[list[str]]] = []
        self._n_not_shown = 0
        self._in_text = False

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        if name in _NOT_SHOWN:
            self._n_not_shown += 1
        elif name == "p":
            self._paragraphs.append(_Paragraph())
        elif name == "tr":
            self._rows.append([])
        elif name == "tc" and self._rows:
            self._rows[-1].append([])
        elif name == "t":
            self._in_text = True
        elif name == "r" and self._paragraphs:
            # A paragraph's mark may be hidden while its runs are not.
            self._paragraphs[-1].hidden = False
        elif self._paragraphs:
            self._take_property(self._paragraphs[-1], name, attributes.get("val", ""))

    def leave(self, name: str) -> None:
        if name in _NOT_SHOWN:
            self._n_not_shown -= 1
        elif name == "t":
            self._in_text = False
        elif name == "p" and self._paragraphs:
            self._end_paragraph(self._paragraphs.pop())
        elif name == "tr" and self._rows:
            self._end_row(self._rows.pop())

    def data(self, text: str) -> None:
        if self._in_text and self._paragraphs and not self._n_not_shown:
            paragraph = self._paragraphs[-1]
            if not paragraph.hidden:
                paragraph.pieces.append(text)

    def _take_property(self, paragraph: _Paragraph, name: str, value: str) -> None:
        if name in _CHARACTERS:
            # Tab stops are `tab` elements with a value, too.
            if not value and not self._n_not_shown:
                paragraph.pieces.append(_CHARACTERS[name])
        elif name == "vanish":
            paragraph.hidden = value.lower() not in _OFF
        elif name == "pStyle":
            paragraph.style = value
        elif name == "outlineLvl" and value.isdecimal() and int(value) < 9:
            paragraph.outline_level = int(value) + 1
        elif name == "numId":
            paragraph.listed = value != "0"

    def _end_paragraph(self, paragraph: _Paragraph) -> None:
        text = clean("".join(paragraph.pieces)).strip()
        if not text:
            return
        level = paragraph.outline_level
        if level is None and paragraph.style:
            level = self._heading_level(paragraph.style)
        if self._rows:
            if self._rows[-1]:
                self._rows[-1][-1].append(text)
        elif level is not None:
            self.title = self.title or text
            self._headings.enter(level, text)
            location = Location(heading=self._headings.path)
            self._builder.add(text, location=location, kind="heading")
        else:
            self._builder.add(
                f"- {text}" if paragraph.listed else text,
                location=Location(heading=self._headings.path),
                separator="\n" if paragraph.listed else "\n\n",
            )

    def _end_row(self, cells: list[list[str]]) -> None:
        shown = [" ".join(" ".join(cell).split()) for cell in cells]
        line = " | ".join(cell for cell in shown if cell)
        if self._rows:
            # A table inside a cell becomes part of the cell.
            if self._rows[-1] and line:
                self._rows[-1][-1].append(line)
            return
        location = Location(heading=self._headings.path)
        self._builder.add(line, location=location, kind="row", separator="\n")
