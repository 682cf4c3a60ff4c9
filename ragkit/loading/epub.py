"""Electronic books (EPUB): the pages that the book's own list names, in its order.

A book is a ZIP archive of pages in HTML. Each is read as that; nothing is written to disk.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from ragkit.errors import LoadError
from ragkit.loading.html import load_html
from ragkit.loading.joining import joined
from ragkit.loading.loaded import LoadedText
from ragkit.loading.xml_events import decoded_xml, parse_xml
from ragkit.types import Json, Location

MAX_MEMBERS = 10_000
MAX_BYTES = 64 * 2**20
"""Of all pages, unpacked."""

_CONTAINER = "META-INF/container.xml"
_PAGES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})


def load_epub(data: bytes) -> LoadedText:
    """Load an electronic book: its pages joined, its title, creator and language.

    Raises:
        LoadError: `password` when its pages are encrypted, `limit` when it unpacks to too much,
            `broken` when it is malformed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > MAX_MEMBERS:
                raise LoadError("limit", f"more than {MAX_MEMBERS:,} members")
            return _read(_Book(archive))
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise LoadError("broken", f"not an electronic book: {error}") from error
    except RuntimeError as error:  # what zipfile raises for an encrypted member
        raise LoadError("password", "a part of the book is encrypted") from error


class _Book:
    """The archive, read up to a limit that holds whatever its members declare."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = frozenset(archive.namelist())
        self._n_left = MAX_BYTES

    def read(self, name: str) -> bytes:
        with self._archive.open(name) as member:
            data = member.read(self._n_left + 1)
        self._n_left -= len(data)
        if self._n_left < 0:
            raise LoadError("limit", f"its pages unpack to over {MAX_BYTES >> 20} MiB")
        return data


def _read(book: _Book) -> LoadedText:
    container = _elements(book.read(_CONTAINER), "rootfile")
    packages = [attributes.get("full-path", "") for _, attributes in container]
    if not packages:
        raise LoadError("broken", "not an electronic book: it names no package")
    package = _Package()
    parse_xml(decoded_xml(book.read(packages[0]))[0], package)
    encrypted = _encrypted(book)

    def pages() -> Iterator[tuple[LoadedText, Location]]:
        for name in package.pages(posixpath.dirname(packages[0])):
            if name in encrypted:
                raise LoadError("password", "its pages are encrypted")
            if name in book.names:
                yield load_html(book.read(name)), Location()

    metadata: dict[str, Json] = {
        name: " ".join(value.split())
        for name, value in package.described.items()
        if name != "title" and value.strip()
    }
    title = " ".join(package.described.get("title", "").split())
    return joined(pages(), title=title, metadata=metadata)


def _encrypted(book: _Book) -> frozenset[str]:
    """Return the names of encrypted members; often only fonts are."""
    name = "META-INF/encryption.xml"
    if name not in book.names:
        return frozenset()
    found = _elements(book.read(name), "CipherReference")
    return frozenset(unquote(attributes.get("URI", "")) for _, attributes in found)


@dataclass
class _Elements:
    """Collects the elements of some names."""

    wanted: frozenset[str]
    found: list[tuple[str, dict[str, str]]] = field(
        default_factory=list[tuple[str, dict[str, str]]]
    )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in self.wanted:
            self.found.append((name, attributes))

    def data(self, text: str) -> None:
        """Take characters."""

    def end(self, name: str) -> None:
        """Take an element's end."""


def _elements(data: bytes, *names: str) -> list[tuple[str, dict[str, str]]]:
    target = _Elements(frozenset(names))
    parse_xml(decoded_xml(data)[0], target)
    return target.found


class _Package(_Elements):
    """A book's package: what it says of the book, its files, and the order of its pages."""

    def __init__(self) -> None:
        super().__init__(frozenset({"item", "itemref"}))
        self.described: dict[str, str] = {}
        self._inside: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        super().start(name, attributes)
        is_new = name in {"title", "creator", "language"} and name not in self.described
        self._inside = name if is_new else None

    def data(self, text: str) -> None:
        if self._inside is not None and len(text) < 1_000:
            self.described[self._inside] = self.described.get(self._inside, "") + text

    def end(self, name: str) -> None:  # noqa: ARG002 (one signature)
        self._inside = None

    def pages(self, folder: str) -> list[str]:
        """Return the names of the pages in their order, each once."""
        files = {
            attributes.get("id", ""): posixpath.normpath(
                posixpath.join(folder, unquote(attributes.get("href", "")))
            )
            for name, attributes in self.found
            if name == "item" and attributes.get("media-type") in _PAGES
        }
        order = (
            attributes.get("idref", "") for name, attributes in self.found if name == "itemref"
        )
        return list(dict.fromkeys(files[page] for page in order if page in files))
