"""HTML: the text that a reader would see."""

from __future__ import annotations

import re

from ragkit.loading.encodings import decode_text
from ragkit.loading.loaded import Headings, LoadedText, TextBuilder, clean
from ragkit.loading.markup import EndTag, StartTag, tokens
from ragkit.types import Json, Location, MarkKind

_HIDDEN_TAGS = frozenset(
    "script style template noscript head svg math iframe object select datalist".split()
)
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr legend li main nav ol p pre section "
    "summary table tbody tfoot thead tr ul".split()
)
_CLOSED_BY_ITS_LIKE = {
    "p": frozenset({"p"}),
    "li": frozenset({"li"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
    "td": frozenset({"td", "th"}),
    "th": frozenset({"td", "th"}),
    "tr": frozenset({"tr", "td", "th"}),
}
"""Elements whose end tag may be omitted, and which open ones (innermost first) they close."""
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden"
    r"|(?:font-size|opacity)\s*:\s*0(?:\.0+)?[a-z%\s]*+(?:;|!|$)"
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)
_MAX_LOOK_UP = 50
"""How many open elements an end tag may close: one further out is noise, not structure."""


def load_html(data: bytes) -> LoadedText:
    """Load HTML: visible text by blocks, headings and table rows marked.

    Left out: scripts, comments, and what is hidden by an attribute or a style. A table's row with
    more than one filled cell is a line `a | b | c`; other rows are layout and give paragraphs.
    """
    declared = _CHARSET.search(data[:4096])
    text, encoding = decode_text(data, declared=declared[1].decode() if declared else None)
    reader = _Reader()
    for token in tokens(clean(text)):
        if isinstance(token, StartTag):
            reader.start(token)
        elif isinstance(token, EndTag):
            reader.end(token.name)
        else:
            reader.add(token)
    guessed = encoding is not None and (
        declared is None or declared[1].decode().lower() != encoding
    )
    return reader.finish({"encoding": encoding} if guessed else {})


class _Reader:
    """Tracks the open elements, and the open table rows from the outermost inwards."""

    def __init__(self) -> None:
        self._builder = TextBuilder()
        self._headings = Headings()
        self._open: list[tuple[str, bool]] = []
        self._hidden = 0
        self._pieces: list[str] = []
        self._rows: list[list[str]] = []
        self._preformatted = 0
        self._title: list[str] = []
        self._in_title = False

    def start(self, token: StartTag) -> None:
        """Take the start of an element."""
        tag = token.name
        if tag == "title":
            self._in_title = not self._title
        if tag == "body":
            # A page whose head was never closed still shows its body.
            self._unhide_head()
        if tag in _VOID:
            self._add_void(tag)
            return
        if tag in _CLOSED_BY_ITS_LIKE:
            self._close_alike(_CLOSED_BY_ITS_LIKE[tag])
        hides = tag in _HIDDEN_TAGS or _is_hidden(token.attributes)
        self._open.append((tag, hides))
        self._hidden += hides
        if not self._hidden:
            self._start_block(tag)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if tag == "title":
            self._in_title = False
        for depth in range(1, min(len(self._open), _MAX_LOOK_UP) + 1):
            if self._open[-depth][0] == tag:
                self._close(depth)
                return

    def add(self, text: str) -> None:
        """Take characters."""
        if self._in_title:
            self._title.append(text)
        elif not self._hidden:
            self._pieces.append(text if self._preformatted else re.sub(r"\s+", " ", text))

    def finish(self, metadata: dict[str, Json]) -> LoadedText:
        """Return what was read."""
        while self._rows:
            self._end_row()
        self._flush()
        return self._builder.build(
            title=" ".join(clean("".join(self._title)).split()), metadata=metadata
        )

    def _add_void(self, tag: str) -> None:
        if self._hidden:
            return
        if tag == "br":
            self._pieces.append("\n")
        elif tag in _BLOCKS:
            self._flush()

    def _unhide_head(self) -> None:
        if ("head", True) in self._open[:_MAX_LOOK_UP]:
            self._open = [(tag, hides and tag != "head") for tag, hides in self._open]
            self._hidden = sum(hides for _, hides in self._open)

    def _close_alike(self, tags: frozenset[str]) -> None:
        while self._open and self._open[-1][0] in tags:
            self._close(1)

    def _close(self, depth: int) -> None:
        """Close the innermost `depth` open elements."""
        for _ in range(depth):
            tag, hides = self._open.pop()
            if not self._hidden:
                self._end_block(tag)
            self._hidden -= hides

    def _start_block(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._end_cell()
            return
        if tag in {"table", "tr"} and self._rows:
            self._end_cell()
            self._emit_outer()
        elif tag in _BLOCKS:
            self._flush()
        if tag == "tr":
            self._rows.append([])
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "li":
            self._pieces.append("- ")

    def _end_block(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag == "pre":
            self._flush("code")
            self._preformatted = max(0, self._preformatted - 1)
        elif tag in _HEADINGS:
            self._flush("heading", level=_HEADINGS[tag])
        elif tag in _BLOCKS:
            self._flush()

    def _end_cell(self) -> None:
        text = self._taken()
        if self._rows and text:
            self._rows[-1].append(text)
        elif text:
            self._builder.add(text, location=self._location())

    def _end_row(self) -> None:
        self._end_cell()
        if self._rows:
            self._emit_row(self._rows.pop())

    def _emit_outer(self) -> None:
        """Emit what a row holds before a table or heading inside it, so that it comes first."""
        if self._rows:
            self._emit_row(self._rows[-1])
            self._rows[-1] = []

    def _emit_row(self, cells: list[str]) -> None:
        if len(cells) == 1:
            self._builder.add(cells[0], location=self._location())
        elif cells:
            line = " | ".join(" ".join(cell.split()) for cell in cells)
            self._builder.add(line, location=self._location(), kind="row", separator="\n")

    def _flush(self, kind: MarkKind = "text", level: int = 0) -> None:
        if self._rows and kind != "heading":
            # A block inside a table cell is part of the cell.
            self._pieces.append("\n")
            return
        text = self._taken()
        if not text:
            return
        if level:
            self._emit_outer()
            self._headings.enter(level, text)
        separator = "\n" if text.startswith("- ") else "\n\n"
        self._builder.add(text, location=self._location(), kind=kind, separator=separator)

    def _taken(self) -> str:
        text = clean("".join(self._pieces))
        self._pieces.clear()
        if not self._preformatted:
            lines = (" ".join(line.split()) for line in text.split("\n"))
            text = "\n".join(line for line in lines if line)
        return "" if text.strip() in {"", "-"} else text.strip("\n")

    def _location(self) -> Location:
        return Location(heading=self._headings.path)


def _is_hidden(attributes: dict[str, str]) -> bool:
    return "hidden" in attributes or bool(_HIDDEN_STYLE.search(attributes.get("style", "").lower()))
