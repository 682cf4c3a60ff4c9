"""What a loader gives, and what loaders share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ragkit.errors import LoadError
from ragkit.types import Json, Location, Mark, MarkKind, Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedText:
    """The text of a file, its title, and where in the file each part stands."""

    text: str
    title: str = ""
    marks: tuple[Mark, ...] = ()
    metadata: Metadata = field(default_factory=dict[str, Json])


class Headings:
    """The path of headings above a text."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """Note a heading and return its path, itself last."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(title.split())))
        return self.path

    @property
    def path(self) -> tuple[str, ...]:
        """The headings above what follows."""
        return tuple(title for _, title in self._open)


class TextBuilder:
    """Joins pieces of text and notes a mark at each."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._marks: list[Mark] = []
        self._length = 0

    def add(
        self,
        text: str,
        *,
        location: Location | None = None,
        kind: MarkKind = "text",
        separator: str = "\n\n",
    ) -> None:
        """Append a piece; white space at its ends and an empty piece are dropped."""
        text = text.strip()
        if not text:
            return
        if self._pieces:
            self._pieces.append(separator)
            self._length += len(separator)
        self._marks.append(Mark(start=self._length, location=location or Location(), kind=kind))
        self._pieces.append(text)
        self._length += len(text)

    def build(self, *, title: str = "", metadata: Metadata | None = None) -> LoadedText:
        """Return the whole."""
        return LoadedText(
            text="".join(self._pieces),
            title=title,
            marks=tuple(self._marks),
            metadata=metadata or {},
        )


_CONTROL = re.compile("[\0-\x08\x0b\x0e-\x1f]")


def clean(text: str) -> str:
    """Return text with line feeds as line ends and without control characters."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n"))


def decoded(data: bytes) -> str:
    """Decode a text file.

    A byte order mark decides; then UTF-8; then, for text without control characters, Windows-1252.

    Raises:
        LoadError: `broken` for data that is not text.
    """
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return clean(data.decode(encoding, "replace"))
    if b"\0" in data:
        return clean(_wide(data))
    try:
        return clean(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    n_control = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in data[:4096])
    if n_control * 100 > len(data[:4096]):
        raise LoadError("broken", "this is not text")
    return clean(data.decode("cp1252", "replace"))


def _wide(data: bytes) -> str:
    """Decode UTF-16 without a byte order mark: every second byte of Latin text is zero."""
    half = len(data) // 2
    for encoding, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        if half and zeros.count(0) > 0.4 * half:
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                break
    if data.count(0) * 50 > len(data):
        raise LoadError("broken", "this is not text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise LoadError("broken", "this is not text") from None
