"""HTML: the text that a reader would see."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from ragkit.errors import LoadError
from ragkit.loading.loaded import Headings, LoadedText, TextBuilder, decoded
from ragkit.types import Location, MarkKind

MAX_DEPTH = 5_000
"""Open elements; deeper nesting is an attack or a mistake."""

_HIDDEN_TAGS = frozenset(
    "script style template noscript head svg math iframe object select datalist".split()
)
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr legend li main nav ol p pre section "
    "summary table tbody tfoot thead tr ul".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])|opacity\s*:\s*0(?![.\d])"
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_-]+)", re.IGNORECASE)


def load_html(data: bytes) -> LoadedText:
    """Load HTML: visible text by blocks, headings and table rows marked, hidden text left out."""
    parser = _Reader()
    parser.feed(_decode(data))
    parser.close()
    return parser.finish()


def _decode(data: bytes) -> str:
    declared = _CHARSET.search(data[:4096])
    if declared and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode(declared[1].decode("ascii")).replace("\0", "")
        except (LookupError, UnicodeDecodeError):
            pass
    return decoded(data)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._builder = TextBuilder()
        self._headings = Headings()
        self._open: list[tuple[str, bool]] = []
        self._hidden = 0
        self._pieces: list[str] = []
        self._cells: list[str] | None = None
        self._heading: int | None = None
        self._preformatted = 0
        self._title: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = not self._title
        if tag == "body":
            # A page whose head was never closed still shows its body.
            self._unhide_head()
        if tag in _VOID:
            if tag == "br":
                self._pieces.append("\n")
            elif tag in _BLOCKS:
                self._flush()
            return
        hides = tag in _HIDDEN_TAGS or _is_hidden(dict(attrs))
        self._open.append((tag, hides))
        if len(self._open) > MAX_DEPTH:
            raise LoadError("limit", f"more than {MAX_DEPTH:,} open elements")
        self._hidden += hides
        if not self._hidden:
            self._start_block(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        # Look a few elements up only: unclosed elements are common, distant ones are noise.
        for depth in range(1, min(len(self._open), 50) + 1):
            if self._open[-depth][0] == tag:
                break
        else:
            return
        if not self._hidden:
            self._end_block(tag)
        for _, hides in self._open[-depth:]:
            self._hidden -= hides
        del self._open[-depth:]

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self._title.append(data)
        elif not self._hidden:
            self._pieces.append(data if self._preformatted else re.sub(r"\s+", " ", data))

    def finish(self) -> LoadedText:
        """Return what was read."""
        self._flush()
        return self._builder.build(title=" ".join("".join(self._title).split()))

    def _unhide_head(self) -> None:
        if any(tag == "head" for tag, _ in self._open):
            self._open = [(tag, hides and tag != "head") for tag, hides in self._open]
            self._hidden = sum(hides for _, hides in self._open)

    def _start_block(self, tag: str) -> None:
        if tag in {"td", "th"}:
            if self._cells is not None:
                self._end_cell()
            return
        if tag in _BLOCKS:
            self._flush()
        if tag == "tr":
            self._cells = []
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "li":
            self._pieces.append("- ")
        self._heading = _HEADINGS.get(tag, self._heading if tag not in _BLOCKS else None)

    def _end_block(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._end_cell()
            return
        if tag == "pre":
            self._flush("code")
            self._preformatted = max(0, self._preformatted - 1)
        elif tag == "tr":
            self._end_row()
        elif tag in _BLOCKS:
            self._flush()
        if tag in _HEADINGS:
            self._heading = None

    def _end_cell(self) -> None:
        if self._cells is not None:
            text = " ".join("".join(self._pieces).split())
            self._pieces.clear()
            if text:
                self._cells.append(text)

    def _end_row(self) -> None:
        self._end_cell()
        cells, self._cells = self._cells or [], None
        self._builder.add(" | ".join(cells), location=self._location(), kind="row", separator="\n")

    def _flush(self, kind: MarkKind = "text") -> None:
        if self._cells is not None:
            # A block inside a table cell is part of the cell.
            self._pieces.append(" ")
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        if not self._preformatted:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
        if text.strip() in {"", "-"}:
            return
        if self._heading is not None:
            self._headings.enter(self._heading, text)
            kind = "heading"
        separator = "\n" if text.startswith("- ") else "\n\n"
        self._builder.add(text, location=self._location(), kind=kind, separator=separator)

    def _location(self) -> Location:
        return Location(heading=self._headings.path)


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    return bool(_HIDDEN_STYLE.search((attributes.get("style") or "").lower()))
