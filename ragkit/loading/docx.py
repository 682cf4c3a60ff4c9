"""Word documents (.docx), read with the standard library.

A document is a ZIP archive of XML parts (ECMA-376). Only the parts that are needed are opened,
each under a limit that holds while it is read, whatever the archive declares; a document type
declaration, which no such part has, is refused.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from ragkit.errors import LoadError
from ragkit.loading.loaded import Headings, LoadedText, TextBuilder, clean
from ragkit.types import Location, MarkKind

MAX_PART_BYTES = 64 * 2**20
MAX_MEMBERS = 10_000

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_HEADING_STYLE = re.compile(r"(?:heading|title|berschrift|titre|titolo)\s*([1-9])?$", re.IGNORECASE)


def load_docx(data: bytes) -> LoadedText:
    """Load a Word document: paragraphs, headings, table rows, foot- and endnotes, its title."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise LoadError("password", "the document is encrypted, or of the old .doc format")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.namelist()) > MAX_MEMBERS:
                raise LoadError("limit", f"more than {MAX_MEMBERS:,} members")
            return _read(archive)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise LoadError("broken", f"not a Word document: {error}") from error
    except RuntimeError as error:  # what zipfile raises for an encrypted member
        raise LoadError("password", str(error)) from error


def _read(archive: zipfile.ZipFile) -> LoadedText:
    names = set(archive.namelist())
    body = _part(archive, "word/document.xml").find(f"{_W}body")
    if body is None:
        raise LoadError("broken", "the document has no body")
    styles = _style_names(archive) if "word/styles.xml" in names else {}
    builder, headings = TextBuilder(), Headings()
    for element in _blocks(body):
        if element.tag == f"{_W}tbl":
            _add_table(builder, element, headings)
        else:
            _add_paragraph(builder, element, headings, styles)
    for notes in ("footnotes", "endnotes"):
        if f"word/{notes}.xml" in names:
            for element in _part(archive, f"word/{notes}.xml").iter(f"{_W}p"):
                builder.add(_text(element))
    title = ""
    if "docProps/core.xml" in names:
        title = (_part(archive, "docProps/core.xml").findtext(_TITLE) or "").strip()
    return builder.build(title=title)


def _part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    with archive.open(name) as file:
        raw = file.read(MAX_PART_BYTES + 1)
    if len(raw) > MAX_PART_BYTES:
        raise LoadError("limit", f"{name} is larger than {MAX_PART_BYTES >> 20} MiB")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise LoadError("broken", f"{name} declares a document type")
    try:
        return ElementTree.fromstring(raw)  # noqa: S314 (no declaration, so no entities)
    except (ElementTree.ParseError, ValueError) as error:
        raise LoadError("broken", f"{name}: {error}") from error


def _style_names(archive: zipfile.ZipFile) -> dict[str, str]:
    names: dict[str, str] = {}
    for style in _part(archive, "word/styles.xml").iter(f"{_W}style"):
        name = style.find(f"{_W}name")
        if name is not None:
            names[style.get(f"{_W}styleId", "")] = name.get(f"{_W}val", "")
    return names


def _blocks(body: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """Yield paragraphs and tables, also those inside content controls."""
    waiting = list(body)[::-1]
    while waiting:
        element = waiting.pop()
        if element.tag in {f"{_W}p", f"{_W}tbl"}:
            yield element
        elif element.tag != _COMPATIBILITY:
            waiting.extend(list(element)[::-1])


def _add_paragraph(
    builder: TextBuilder,
    element: ElementTree.Element,
    headings: Headings,
    styles: dict[str, str],
) -> None:
    text = _text(element)
    style = element.find(f"{_W}pPr/{_W}pStyle")
    style_id = "" if style is None else style.get(f"{_W}val", "")
    level = _HEADING_STYLE.search(styles.get(style_id, style_id))
    kind: MarkKind = "text"
    if level and text.strip():
        headings.enter(int(level[1] or 1), text)
        kind = "heading"
    listed = element.find(f"{_W}pPr/{_W}numPr") is not None
    builder.add(
        f"- {text}" if listed and text.strip() and kind == "text" else text,
        location=Location(heading=headings.path),
        kind=kind,
        separator="\n" if listed else "\n\n",
    )


def _add_table(builder: TextBuilder, table: ElementTree.Element, headings: Headings) -> None:
    for row in table.iter(f"{_W}tr"):
        cells = [
            " ".join(" ".join(_text(p) for p in cell.iter(f"{_W}p")).split())
            for cell in row.iter(f"{_W}tc")
        ]
        builder.add(
            " | ".join(cell for cell in cells if cell),
            location=Location(heading=headings.path),
            kind="row",
            separator="\n",
        )


def _text(paragraph: ElementTree.Element) -> str:
    """Return a paragraph's visible text: neither deleted nor hidden runs."""
    pieces: list[str] = []
    waiting = [paragraph]
    while waiting:
        element = waiting.pop()
        if element.tag in {f"{_W}del", _COMPATIBILITY} or _is_hidden(element):
            continue
        if element.tag == f"{_W}t":
            pieces.append(element.text or "")
        elif element.tag == f"{_W}tab":
            pieces.append("\t")
        elif element.tag in {f"{_W}br", f"{_W}cr"}:
            pieces.append("\n")
        if element.tag != f"{_W}pPr":
            waiting.extend(list(element)[::-1])
    return clean("".join(pieces))


def _is_hidden(element: ElementTree.Element) -> bool:
    vanish = element.find(f"{_W}rPr/{_W}vanish") if element.tag == f"{_W}r" else None
    return vanish is not None and vanish.get(f"{_W}val") not in {"0", "false"}
