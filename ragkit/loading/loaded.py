"""What a loader returns, and what loaders share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ragkit.loading.encodings import decode_text
from ragkit.loading.payloads import without_payloads
from ragkit.loading.unseen import without_unseen
from ragkit.text.columns import MarkColumns, PartColumns
from ragkit.types import Dropped, Json, Location, Mark, MarkKind, Metadata, Part, PartKind


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedText:
    """The text of a file, its title, the location of each part in the file, and its structure.

    `dropped` counts the characters of the file that the text leaves out, by why.
    """

    text: str
    title: str = ""
    marks: Sequence[Mark] = ()
    parts: Sequence[Part] = ()
    metadata: Metadata = field(default_factory=dict[str, Json])
    dropped: Mapping[Dropped, int] = field(default_factory=dict[Dropped, int])


MAX_NAME_CHARACTERS = 500
"""Of a heading, a column's name or a path: they are repeated for everything below them, so longer
ones would turn a small file into a huge text."""


MAX_REPEATED_CHARACTERS = 200
"""Of a cell that spans others: a longer text stands only in the first of them."""


class Allowance:
    """How many characters spanned cells may still repeat: spans can be any number."""

    def __init__(self, n_characters: int) -> None:
        self._n_characters = n_characters

    def take(self, text: str) -> bool:
        """Take a cell of this text, or return False."""
        self._n_characters -= len(text) + 3
        return self._n_characters >= 0


class Headings:
    """The path of headings above a text."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str, str | None]] = []

    def enter(self, level: int, title: str, anchor: str | None = None) -> Location:
        """Note a heading and return its location, itself the last of its headings.

        One without an `anchor` is reached by that of the nearest heading above it.
        """
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        title, _ = without_unseen(title)
        anchor = anchor or (self._open[-1][2] if self._open else None)
        self._open.append((level, " ".join(title.split())[:MAX_NAME_CHARACTERS], anchor))
        return self.location

    @property
    def location(self) -> Location:
        """The headings above what follows, and the anchor that is nearest."""
        path = tuple(title for _, title, _ in self._open)
        return Location(heading=path, anchor=self._open[-1][2] if self._open else None)


MAX_OPEN_PARTS = 100
"""Parts inside one another; what is nested deeper belongs to the innermost of these."""

_PIECES = 4_096
"""So many pieces of a text are joined at a time: each takes more than its characters."""

_HAS_OWN_TEXT = frozenset({"item", "step", "definition", "option"})


@dataclass(slots=True, eq=False)
class OpenPart:
    """A part while its text is added; `kind` may change until the text is built.

    `index` is its place among the parts, None before its first text. While `takes_paragraph`, a
    paragraph is its own text and no part of its own.
    """

    kind: PartKind
    parent: OpenPart | None = None
    index: int | None = None
    end: int = 0
    takes_paragraph: bool = False
    is_open: bool = True


class TextBuilder:
    """Joins pieces of text, adds a mark for each, and notes the parts that they stand in."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._n_joined = 0
        self._marks = MarkColumns()
        self._length = 0
        self._parts = PartColumns()
        self._begun: list[OpenPart] = []
        self._open: list[OpenPart] = []
        self._n_begun = 0
        self._n_unseen = 0

    @property
    def innermost(self) -> OpenPart | None:
        """The innermost open part."""
        return self._open[-1] if self._open else None

    def open(self, kind: PartKind) -> OpenPart:
        """Open a part inside those that are open; without text until it is closed, it is none."""
        part = OpenPart(kind, self.innermost, takes_paragraph=kind in _HAS_OWN_TEXT)
        part.is_open = len(self._open) < MAX_OPEN_PARTS
        if part.is_open:
            self._open.append(part)
        return part

    def close(self, part: OpenPart | None) -> None:
        """Close a part and those inside it, unless it is closed already."""
        while part is not None and part.is_open:
            closed = self._open.pop()
            closed.is_open, closed.end = False, self._length
        self._n_begun = min(self._n_begun, len(self._open))

    def add(
        self,
        text: str,
        *,
        location: Location | None = None,
        kind: MarkKind = "text",
        separator: str = "\n\n",
        part: PartKind | None = None,
        row: int = 0,
    ) -> None:
        """Append a piece, stripped of white space at its ends, unless it is empty.

        Args:
            text: The piece.
            location: Where it stands in the file.
            kind: The kind of its mark.
            separator: What stands before it, unless it is the first piece.
            part: The kind of the part that the piece is, None for text of the innermost open part.
                The first paragraph of an item, a step or a definition is such text, too.
            row: The number that `ROW` stands for in the location's cells.
        """
        text, n_unseen = without_unseen(text)
        self._n_unseen += n_unseen
        text = text.strip()
        if not text:
            return
        if self._length:
            self._pieces.append(separator)
            self._length += len(separator)
        self._marks.append(self._length, kind, location or Location(), row)
        self._pieces.append(text)
        if len(self._pieces) - self._n_joined > _PIECES:
            self._pieces[self._n_joined :] = ["".join(self._pieces[self._n_joined :])]
            self._n_joined += 1
        self._begin_parts()
        outer, start = self.innermost, self._length
        self._length += len(text)
        if part is not None and not (outer and outer.takes_paragraph and part == "paragraph"):
            self._parts.append(start, self._length, part, outer.index if outer else None)
        if outer and part is not None:
            outer.takes_paragraph = False

    def _begin_parts(self) -> None:
        """Let the open parts that have no text yet start here."""
        for part in self._open[self._n_begun :]:
            inside = part.parent.index if part.parent else None
            part.index = self._parts.append(self._length, self._length, part.kind, inside)
            self._begun.append(part)
            if part.parent:
                part.parent.takes_paragraph = False
        self._n_begun = len(self._open)

    def build(
        self,
        *,
        title: str = "",
        metadata: Metadata | None = None,
        dropped: Mapping[Dropped, int] | None = None,
    ) -> LoadedText:
        """Close what is open and return the loaded text."""
        self.close(self._open[0] if self._open else None)
        for part in self._begun:
            if part.index is not None:
                self._parts.change(part.index, end=part.end, kind=part.kind)
        n_hidden = (dropped or {}).get("hidden", 0) + self._n_unseen
        return LoadedText(
            text="".join(self._pieces),
            title=without_unseen(title)[0],
            marks=self._marks,
            parts=self._parts,
            metadata=metadata or {},
            dropped={**(dropped or {}), "hidden": n_hidden} if n_hidden else dropped or {},
        )


_UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")


def clean(text: str) -> str:
    """Return text with line feeds as line ends and nothing that a text column cannot hold.

    Form feeds and next-line characters are line ends too; control characters and lone surrogates
    are removed.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNWANTED.sub("", text.replace("\x0c", "\n").replace("\x85", "\n"))


def whole_characters(text: str) -> str:
    """Return text in which two halves of a character of UTF-16 are one; a lone one is U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def decoded(data: bytes) -> tuple[str, dict[str, Json], dict[Dropped, int]]:
    """Return a text file's characters, as metadata its encoding if guessed, and what is left out.

    Raises:
        LoadError: `encoding` for data that is not text.
    """
    text, guessed = decode_text(data)
    text, n_payload = without_payloads(clean(text))
    text, n_unseen = without_unseen(text)
    metadata: dict[str, Json] = {} if guessed is None else {"encoding": guessed}
    counts: dict[Dropped, int] = {"payload": n_payload, "hidden": n_unseen}
    return text, metadata, {why: n for why, n in counts.items() if n}
