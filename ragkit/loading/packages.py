"""Office documents: ZIP archives of XML parts, opened under limits.

Only the parts that are needed are opened, none is written to disk, and each is parsed as a stream
while it is unpacked, under limits that hold whatever the archive declares. A document type
declaration, which no such part has, is refused, so there are no entities.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree import ElementTree

from ragkit.errors import LoadError
from ragkit.loading.loaded import MAX_NAME_CHARACTERS, clean
from ragkit.loading.xml_parts import MAX_PART_BYTES, XmlPart

MAX_MEMBERS = 10_000
MAX_UNPACKED_BYTES = 2**28
"""Of all parts that are read."""

_BLOCK_BYTES = 2**22
"""The parser reads a long attribute from its start again with each block."""

_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


@dataclass(frozen=True, slots=True)
class Relation:
    """What a part refers to: the kind of a part, and its name."""

    kind: str
    target: str


class Package:
    """An open archive; names of parts are found in any case, as the format has it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = {name.lower(): name for name in archive.namelist()}
        self._n_left = MAX_UNPACKED_BYTES

    def __contains__(self, name: str) -> bool:
        """Whether there is a part of this name."""
        return name.lower() in self._names

    def n_bytes(self, name: str) -> int:
        """Return the size that is declared for a part; raises `KeyError` if there is none."""
        return self._archive.getinfo(self._names[name.lower()]).file_size

    def blocks(self, name: str, *, most_bytes: int = MAX_PART_BYTES) -> Iterator[bytes]:
        """Yield a part's bytes.

        Raises:
            KeyError: there is no such part.
            LoadError: `limit` when it, or all that is read, unpacks to too much.
        """
        n_bytes = 0
        with self._archive.open(self._names[name.lower()]) as part:
            while block := part.read(_BLOCK_BYTES):
                n_bytes += len(block)
                self._n_left -= len(block)
                if n_bytes > most_bytes:
                    raise LoadError("limit", f"{name} unpacks to over {most_bytes >> 20} MiB")
                if self._n_left < 0:
                    raise LoadError("limit", f"it unpacks to over {MAX_UNPACKED_BYTES >> 20} MiB")
                yield block

    def parse(self, name: str, target: XmlPart, *, most_bytes: int = MAX_PART_BYTES) -> None:
        """Pass the elements of a part to the target; errors as for `blocks`, and `broken`."""
        parser = ElementTree.XMLParser(target=target)  # noqa: S314 (doctype is refused)
        try:
            for block in self.blocks(name, most_bytes=most_bytes):
                parser.feed(block)
            parser.close()
        except ElementTree.ParseError as error:
            raise LoadError("broken", f"{name}: {error}") from error

    def relations(self, name: str) -> dict[str, Relation]:
        """Return what a part refers to inside the package, by id."""
        folder, _, file = name.rpartition("/")
        rels = f"{folder}/_rels/{file}.rels".lstrip("/")
        relations = _Relations(folder)
        if rels in self:
            self.parse(rels, relations)
        return relations.found

    def part(self, kind: str, usual: str, of: str = "") -> str:
        """Return the name of a part of some kind that another one, or the package, refers to.

        Args:
            kind: The kind of the part.
            usual: Its name where nothing refers to it.
            of: What refers to it; empty for the package.
        """
        for relation in self.relations(of).values():
            if relation.kind == kind and relation.target in self:
                return relation.target
        return usual

    def main(self, usual: str) -> str:
        """Return the name of the part that is the document; programs differ in it."""
        return self.part("officeDocument", usual)

    def title(self, name: str = "") -> str:
        """Return the title in the part with the properties of the document."""
        properties = _Title()
        name = name or self.part("core-properties", "docProps/core.xml")
        if name in self:
            self.parse(name, properties)
        return " ".join(clean("".join(properties.pieces)).split())[:MAX_NAME_CHARACTERS]


@contextmanager
def opened(data: bytes, *, kind: str, old: str) -> Generator[Package]:
    """Open a package.

    Args:
        data: The file.
        kind: What it has to be, for messages: "a Word document".
        old: What to say of a file in the format before 2007.

    Raises:
        LoadError: `password` when it is encrypted, `unsupported` for the format before 2007,
            `limit` when it unpacks to too much, `broken` when it is malformed.
    """
    if data.startswith(_OLE_SIGNATURE):
        if _OLE_ENCRYPTED in data:
            raise LoadError("password", "encrypted; save it without a password to ingest it")
        raise LoadError("unsupported", old)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > MAX_MEMBERS:
                raise LoadError("limit", f"more than {MAX_MEMBERS:,} members")
            yield Package(archive)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise LoadError("broken", f"not {kind}: {error}") from error
    except RuntimeError as error:  # what zipfile raises for an encrypted member
        if isinstance(error, RecursionError):
            raise
        raise LoadError("password", "a part of the document is encrypted") from error


class _Relations(XmlPart):
    def __init__(self, folder: str) -> None:
        super().__init__()
        self.found: dict[str, Relation] = {}
        self._folder = folder

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes.get("Target", "").replace("\\", "/")
            path = target if target.startswith("/") else f"{self._folder}/{target}"
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.found[attributes.get("Id", "")] = Relation(
                kind, posixpath.normpath(path).lstrip("/")
            )


class _Title(XmlPart):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._inside = False

    def enter(self, name: str, attributes: dict[str, str]) -> None:  # noqa: ARG002 (one signature)
        self._inside = name == "title"

    def leave(self, name: str) -> None:  # noqa: ARG002 (one signature)
        self._inside = False

    def data(self, text: str) -> None:
        if self._inside:
            self.pieces.append(text)
