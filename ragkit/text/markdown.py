"""The structure of Markdown: the blocks of CommonMark, and GitHub's tables and alerts.

One line after the other, in time linear in the length of the text. A line first goes on with the
containers that are open (quotes, lists, items), then may open others; what is left of it belongs to
a leaf: a paragraph, code, a table, raw HTML. Known besides are definition lists (`: text` below a
term), footnotes, admonitions (`!!! note`, `:::note`) and the tags of templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ragkit.text.columns import PartColumns
from ragkit.text.markdown_paragraphs import (
    bar_lines,
    is_inner_link,
    is_option_item,
    is_option_term,
    link_definitions,
    n_cells,
    paragraph_spans,
)
from ragkit.text.raw_html import raw_html_spans, raw_html_start
from ragkit.types import PartKind, Span

MOST_NESTED = 50
"""Containers inside one another, lists and their items apart; what stands deeper is text."""

_ContainerKind: TypeAlias = PartKind | Literal["quote", "footnote"]
_LeafKind: TypeAlias = Literal["paragraph", "fence", "code", "html", "table"]
_LISTS = frozenset({"list", "procedure"})
_WITH_OWN_TEXT = frozenset({"item", "step", "definition", "option"})

_SPACES = re.compile(r"[ \t]*+")
_RULE = re.compile(r"(?:\*[ \t]*+){3,}+|(?:-[ \t]*+){3,}+|(?:_[ \t]*+){3,}+")
_MARKER = re.compile(r"(?:[-+*]|([0-9]{1,9})([.)]))(?=[ \t]|$)")
_FOOTNOTE = re.compile(r"\[\^[^\s\]]++\]:")
_ALERT = re.compile(r"\[!\w++\]$")
_ADMONITION = re.compile(r"(?:!!!|\?\?\?\+?+)[ \t]++\w")
_DEFINED = re.compile(r":(?=[ \t])")
_HEADING = re.compile(r"#{1,6}+(?=[ \t]|$)")
_FENCE = re.compile(r"`{3,}+(?=[^`]*+$)|~{3,}+")
_DIRECTIVE = re.compile(r":{3,}+[^:]*+$|\{%[^%]*+%\}$|\{\{[<%][^>%]*+[%>]\}\}$")
_UNDERLINE = re.compile(r"(?:=++|-++)$")
_DELIMITERS = re.compile(r"[-:|][-:| \t]++")
_DELIMITER = re.compile(r"[ \t]*+:?+-++:?+[ \t]*+")


def markdown_parts(text: str, start: int = 0) -> PartColumns:
    """Return the parts of a Markdown text whose front matter ends at `start`.

    Each character but white space lies in a part. What quotes hold stands where the quote does;
    the first part on a line of a quote begins with its `>`. An item that explains a setting in
    code (``- `port`: text``) or a flag is an `option` of its list.
    """
    parser = _Parser(text)
    parser.emit(0, start, "markup")
    position = start
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        parser.read(_Line(text, position, end))
        position = end + 1
    parser.close(0)
    return parser.parts


@dataclass(slots=True)
class _Container:
    """A block that is open: `part` is the index of its part, else of the part around it.

    What stands in it is indented by `width` columns, or follows a `>` if that is 0. Items of one
    list share a `sign`: their bullet, or what follows their number.
    """

    kind: _ContainerKind
    part: int | None
    width: int = 0
    sign: str = ""
    is_empty: bool = True


@dataclass(slots=True)
class _Leaf:
    """A block of lines that is open; its last line begins at `last`, its words there at `words`.

    The `fence`, or the pattern that ends raw HTML, closes it; `part` is that of a table.
    """

    kind: _LeafKind
    start: int
    end: int
    last: int
    words: int
    is_own: bool = False
    fence: str = ""
    closing: re.Pattern[str] | None = None
    part: int = 0


class _Line:
    """A line that is read from left to right; `column` is where the block that is open begins.

    `at` is the next character that is no white space, at `at_column`; what lies from `lead` on
    belongs to the next part.
    """

    __slots__ = ("at", "at_column", "column", "end", "lead", "text")

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.at, self.end = start, start + len(text[start:end].rstrip())
        self.column = self.at_column = 0
        self.skip(0)
        self.lead = self.at

    @property
    def indent(self) -> int:
        return self.at_column - self.column

    @property
    def is_blank(self) -> bool:
        return self.at >= self.end

    @property
    def rest(self) -> tuple[str, int, int]:
        """What patterns are matched with."""
        return self.text, self.at, self.end

    @property
    def is_rule(self) -> bool:
        return _RULE.fullmatch(*self.rest) is not None

    def skip(self, n_characters: int) -> None:
        """Take characters, and the white space behind them."""
        self.at += n_characters
        self.column = self.at_column = self.at_column + n_characters
        space = _SPACES.match(self.text, self.at, self.end)
        for character in space[0] if space else "":
            self.at_column += 4 - self.at_column % 4 if character == "\t" else 1
            self.at += 1

    def skips_quote(self) -> bool:
        """Take the sign of a quote, if there is one."""
        if self.indent > 3 or not self.text.startswith(">", self.at, self.end):
            return False
        self.skip(1)
        self.column += min(self.indent, 1)
        return True

    def skip_all(self) -> None:
        self.at = self.lead = self.end


class _Parser:
    """Keeps the containers and the leaf that are open."""

    def __init__(self, text: str) -> None:
        self.parts = PartColumns()
        self._text = text
        self._open: list[_Container] = []
        self._leaf: _Leaf | None = None
        self._end = 0
        """Where the last line that is not blank ends, and so whatever closes after it."""
        self._is_top = True
        """Whether there are no lists, tables or code yet: what they say, contents cannot."""

    def read(self, line: _Line) -> None:
        """Read the next line."""
        first = line.lead
        n = self._n_continued(line)
        if not (n == len(self._open) and self._continues_leaf(line)):
            self._read_blocks(line, n)
        if first < line.end:
            self._end = line.end

    def _read_blocks(self, line: _Line, n: int) -> None:
        """Read what is left of a line that goes on with the first `n` containers."""
        if line.is_blank:
            self.close(n)
        else:
            while self._opens_container(line, n):
                n = len(self._open)
        if line.is_blank:
            self.emit(line.lead, line.at, "markup")
        elif not self._begins_leaf(line, n):
            self._add_words(line, n)

    def _n_continued(self, line: _Line) -> int:
        """Return how many containers a line goes on with. Lists end when what follows is known."""
        for n, container in enumerate(self._open):
            if container.kind in _LISTS:
                continue
            if not container.width:
                if not line.skips_quote():
                    return n
            elif line.is_blank:
                if container.is_empty:
                    return n
            elif line.indent < container.width:
                return n
            else:
                line.column += container.width
        return len(self._open)

    def _continues_leaf(self, line: _Line) -> bool:
        """Take a line into the code or raw HTML that is open; whether it belongs there."""
        leaf = self._leaf
        if leaf is None or leaf.kind in {"paragraph", "table"}:
            return False
        if leaf.kind == "code" and line.indent < 4 and not line.is_blank:
            return False
        if leaf.kind == "html" and leaf.closing is None and line.is_blank:
            return False
        if line.lead < line.end:
            leaf.end = line.end
        if (leaf.fence and line.indent < 4 and _closes(line, leaf.fence)) or (
            leaf.closing and leaf.closing.search(*line.rest)
        ):
            self._close_leaf()
        return True

    # Containers

    def _opens_container(self, line: _Line, n: int) -> bool:
        if line.is_blank or line.indent > 3 or n >= MOST_NESTED:
            return False
        sign = self._text[line.at]
        if sign == ">":
            return self._opens_quote(line, n)
        if sign == ":":
            return _DEFINED.match(*line.rest) is not None and self._opens_definition(line, n)
        if sign in "!?" and _ADMONITION.match(*line.rest):
            self._enter(n)
            self._push("note", line.lead, width=4)
            self.emit(line.lead, line.end, "markup")
            line.skip_all()
            return True
        if footnote := _FOOTNOTE.match(*line.rest) if sign == "[" else None:
            self._enter(n)
            self._open.append(_Container("footnote", self._parent, width=4))
            line.skip(len(footnote[0]))
            line.column = line.at_column
            return True
        marker = _MARKER.match(*line.rest)
        return marker is not None and not line.is_rule and self._opens_item(line, n, marker)

    def _opens_quote(self, line: _Line, n: int) -> bool:
        self._enter(n)
        line.skips_quote()
        if _ALERT.match(*line.rest):
            self._push("note", line.lead)
            self.emit(line.lead, line.end, "markup")
            line.skip_all()
        else:
            self._set_filled()
            self._open.append(_Container("quote", self._parent))
        return True

    def _opens_item(self, line: _Line, n: int, marker: re.Match[str]) -> bool:
        is_last = marker.end() == line.end
        # In the middle of a paragraph, 14. may be what a sentence ends with.
        if self._is_paragraph(n) and (is_last or int(marker[1] or 1) != 1):
            return False
        sign = marker[2] or marker[0]
        self._enter(n, sign)
        if not (self._open and self._open[-1].sign == sign and self._open[-1].kind in _LISTS):
            self._push("procedure" if marker[1] else "list", line.lead, sign=sign)
        indent = line.indent
        self._push("step" if marker[1] else "item", line.lead)
        line.skip(len(marker[0]))
        line.lead = line.at
        gap = 1 if is_last or line.indent > 4 else line.indent
        line.column += gap
        self._open[-1].width = indent + len(marker[0]) + gap
        return True

    def _opens_definition(self, line: _Line, n: int) -> bool:
        """Make the paragraph of one line above, or else nothing, a term that is explained here."""
        if n < len(self._open) and self._open[n].kind in {"definition", "option"}:
            self.close(n + 1)
        elif (start := self._taken_term(n)) is not None:
            is_option = is_option_term(self._text, start, self._end)
            self._push("option" if is_option else "definition", start)
        else:
            return False
        indent = line.indent
        line.skip(1)
        gap = line.indent if line.indent < 5 else 1
        line.column += gap
        self._open[-1].width = indent + 1 + gap
        return True

    def _taken_term(self, n: int) -> int | None:
        """Take the paragraph above away if it is one line of its own, and return its start."""
        leaf = self._leaf
        if leaf and (not self._is_paragraph(n) or leaf.is_own or leaf.last > leaf.start):
            return None
        self._enter(n)
        last = self.parts[-1] if self.parts else None
        if last is None or last.kind != "paragraph" or last.parent != self._parent:
            return None
        if last.end != self._end or "\n" in self._text[last.start : last.end]:
            return None
        self.parts.cut(len(self.parts) - 1)
        return last.start

    def _enter(self, n: int, sign: str = "") -> None:
        """Close what a new block does not stand in: also a list, unless an item has its sign."""
        self.close(n)
        if self._open and self._open[-1].kind in _LISTS and self._open[-1].sign != sign:
            self.close(len(self._open) - 1)

    def _push(self, kind: PartKind, start: int, *, width: int = 0, sign: str = "") -> None:
        self._set_filled()
        index = self.parts.append(start, start, kind, self._parent)
        self._open.append(_Container(kind, index, width, sign))

    def _set_filled(self) -> None:
        if self._open:
            self._open[-1].is_empty = False

    @property
    def _parent(self) -> int | None:
        return self._open[-1].part if self._open else None

    def close(self, n: int) -> None:
        """Close the leaf, and all containers but the first `n`."""
        self._close_leaf()
        while len(self._open) > n:
            container = self._open.pop()
            index = container.part
            if index is None or container.kind in {"quote", "footnote"}:
                continue
            self.parts.change(index, end=self._end)
            if container.kind in _LISTS and self.parts[index].parent is None:
                self._is_top = self._is_top and self._is_contents(index)
                if self._is_top:
                    self.parts.change(index, kind="nav")
                    self.parts.cut(index + 1)

    def _is_contents(self, index: int) -> bool:
        """Whether each item of a list is a link to a place in the same document."""
        inside = self.parts[index + 1 :]
        for i, part in enumerate(inside):
            end = min(part.end, inside[i + 1].start) if i + 1 < len(inside) else part.end
            if part.kind in {"item", "step"}:
                if not is_inner_link(self._text, part.start, end):
                    return False
            elif part.kind not in _LISTS:
                return False
        return True

    # Leaves

    def _is_paragraph(self, n: int) -> bool:
        """Whether a line that goes on with `n` containers goes on with a paragraph."""
        return self._leaf is not None and self._leaf.kind == "paragraph" and n == len(self._open)

    def _begins_leaf(self, line: _Line, n: int) -> bool:
        if line.indent > 3:
            if self._leaf and self._leaf.kind == "paragraph":
                return False
            self._start("code", line, n)
            return True
        if self._is_paragraph(n) and (self._underlines(line) or self._delimits(line)):
            return True
        if fence := _FENCE.match(*line.rest):
            self._start("fence", line, n).fence = fence[0]
        elif raw := raw_html_start(*line.rest):
            if raw.is_any_tag and self._leaf and self._leaf.kind in {"paragraph", "table"}:
                return False
            self._start("html", line, n).closing = raw.closing
            self._continues_leaf(line)
        elif _HEADING.match(*line.rest):
            self._enter(n)
            self.emit(line.lead, line.end, "heading")
        elif line.is_rule or _DIRECTIVE.match(*line.rest):
            self._enter(n)
            self.emit(line.lead, line.end, "markup")
        else:
            return False
        return True

    def _add_words(self, line: _Line, n: int) -> None:
        """Go on with a paragraph, also where its containers do not, or with a table, or begin."""
        leaf = self._leaf
        if leaf and leaf.kind == "paragraph":
            leaf.end, leaf.last, leaf.words = line.end, line.lead, line.at
        elif leaf and leaf.kind == "table" and n == len(self._open):
            self.emit(line.lead, line.end, "row", parent=leaf.part)
            self.parts.change(leaf.part, end=line.end)
        else:
            self._start("paragraph", line, n)

    def _start(self, kind: _LeafKind, line: _Line, n: int) -> _Leaf:
        self._enter(n)
        around = self._open[-1] if self._open else None
        is_own = around is not None and around.kind in _WITH_OWN_TEXT and around.is_empty
        self._set_filled()
        self._leaf = _Leaf(kind, line.lead, line.end, line.lead, line.at, is_own)
        return self._leaf

    def _underlines(self, line: _Line) -> bool:
        """Make the paragraph that is open a heading, if this line underlines it."""
        leaf = self._leaf
        if leaf is None or not _UNDERLINE.match(*line.rest):
            return False
        self._emit_link_definitions(leaf)
        self._leaf = None
        if leaf.start >= leaf.end:
            return False
        self.emit(leaf.start, leaf.end, "heading")
        self.emit(line.lead, line.end, "markup")
        return True

    def _delimits(self, line: _Line) -> bool:
        """Make the end of the paragraph header rows, if this line delimits their columns."""
        leaf = self._leaf
        if leaf is None or not _DELIMITERS.fullmatch(*line.rest):
            return False
        header = self._text[leaf.words : leaf.end]
        cells = self._text[line.at : line.end].removeprefix("|").removesuffix("|").split("|")
        if n_cells(header) != len(cells) or not all(map(_DELIMITER.fullmatch, cells)):
            return False
        rows = bar_lines(self._text, leaf.start, leaf.end) or [(leaf.last, leaf.end)]
        leaf.end = start = rows[0][0]
        self._close_leaf()
        table = self.emit(start, line.end, "table")
        for row in rows:
            self.emit(*row, "header_row", parent=table)
        self.emit(line.lead, line.end, "markup", parent=table)
        self._leaf = _Leaf("table", start, line.end, line.lead, line.at, part=table)
        return True

    def _close_leaf(self) -> None:
        leaf, self._leaf = self._leaf, None
        if leaf is None or leaf.kind == "table":
            return
        if leaf.kind == "html":
            self._emit_all(raw_html_spans(self._text, leaf.start, leaf.end))
        elif leaf.kind in {"fence", "code"}:
            self.emit(leaf.start, leaf.end, "code")
        elif leaf.is_own:
            index = self._open[-1].part or 0
            item = self.parts[index]
            if item.kind == "item" and is_option_item(self._text, item.start, leaf.end):
                self.parts.change(index, kind="option")
        else:
            self._emit_link_definitions(leaf)
            self._emit_all(paragraph_spans(self._text, leaf.start, leaf.end))

    def _emit_link_definitions(self, leaf: _Leaf) -> None:
        """Take the definitions of links off the head of a paragraph."""
        for start, end in link_definitions(self._text, leaf.start, leaf.end):
            self.emit(start, end, "markup")
            leaf.start = end

    def _emit_all(self, spans: Iterable[tuple[Span, PartKind]]) -> None:
        """Add parts; what follows a table stands in it."""
        table: int | None = None
        for (start, end), kind in spans:
            index = self.emit(start, end, kind, parent=table)
            table = index if kind == "table" else table

    def emit(self, start: int, end: int, kind: PartKind, *, parent: int | None = None) -> int:
        """Add a part without the white space at its ends, unless it is empty; return its index."""
        words = self._text[start:end].lstrip()
        if words:
            if parent is None:
                self._set_filled()
                parent = self._parent
            stripped = words.rstrip()
            start = end - len(words)
            self.parts.append(start, start + len(stripped), kind, parent)
            self._is_top = self._is_top and kind not in {"code", "table"}
        return len(self.parts) - 1


def _closes(line: _Line, fence: str) -> bool:
    rest = line.text[line.at : line.end]
    return len(rest) >= len(fence) and not rest.strip(fence[0])
