"""What a loader returns, and what loaders share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ragkit.loading.encodings import decode_text
from ragkit.types import Json, Location, Mark, MarkKind, Metadata, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedText:
    """The text of a file, its title, the location of each part in the file, and its structure."""

    text: str
    title: str = ""
    marks: tuple[Mark, ...] = ()
    parts: tuple[Part, ...] = ()
    metadata: Metadata = field(default_factory=dict[str, Json])


MAX_NAME_CHARACTERS = 500
"""Of a heading, a column's name or a path: they are repeated for everything below them, so longer
ones would turn a small file into a huge text."""


class Headings:
    """The path of headings above a text."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """Note a heading and return its path, itself last."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(title.split())[:MAX_NAME_CHARACTERS]))
        return self.path

    @property
    def path(self) -> tuple[str, ...]:
        """The headings above what follows."""
        return tuple(title for _, title in self._open)


class TextBuilder:
    """Joins pieces of text and adds a mark for each."""

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
        """Append a piece, stripped of white space at its ends, unless it is empty."""
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
        """Return the loaded text."""
        return LoadedText(
            text="".join(self._pieces),
            title=title,
            marks=tuple(self._marks),
            metadata=metadata or {},
        )


_UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")


def clean(text: str) -> str:
    """Return text with line feeds as line ends and nothing that a text column cannot hold.

    Form feeds and next-line characters are line ends too; control characters and lone surrogates
    are removed.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", text.replace("\x0c", "\n").replace("\x85", "\n"))


def decoded(data: bytes) -> tuple[str, dict[str, Json]]:
    """Return a text file's characters, and as metadata its encoding if that is a guess.

    Raises:
        LoadError: `encoding` for data that is not text.
    """
    text, guessed = decode_text(data)
    return clean(text), {} if guessed is None else {"encoding": guessed}
