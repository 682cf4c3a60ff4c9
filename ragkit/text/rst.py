"""The structure of reStructuredText, read line by line.

A reader of what authors write, not a validator: where the markup is wrong it takes the reading that
keeps a reader's unit together. Indentation alone decides what stands in what; block quotes and
directives that only arrange their content (tabs, containers, unknown ones) are no parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import punctuation

from ragkit.text.lines import MAX_DEPTH, Line, OpenPart, PartBuilder, lines_of
from ragkit.text.rst_numbers import number
from ragkit.text.rst_tables import Row, csv_rows, drawn_rows, list_rows, table_end
from ragkit.types import Part, PartKind

_BULLET = re.compile(r"[-+*•‣⁃](?=\s|$)")
_FIELD = re.compile(r":(?![: ])(?:[^:\\]|\\.|:(?![ `]|$))++(?<! ):(?=\s|$)")
_ARGUMENT = r"(?:[A-Za-z][\w-]*+|<[^<>]++>)"
_FLAG = rf"(?:[-+]\w(?: ?{_ARGUMENT})?|(?:--|/)\w[\w-]*+(?:[ =]{_ARGUMENT})?)"
_OPTION = re.compile(rf"{_FLAG}(?:, {_FLAG})*+(?=  |$)")
_EXPLICIT = re.compile(r"\.\.(?=\s|$)")
_DIRECTIVE = re.compile(r"\.\. +(\w[\w.+:-]*?) ?::(?=\s|$)")
_TARGET = re.compile(r"\.\. +(?:_|\|)|__(?=\s|$)")
_FOOTNOTE = re.compile(r"\.\. +(?=\[[^\[\]]++\](?=\s|$))")
_TABLE_HEADERS = re.compile(r":header-rows: *(\d{1,4})$|:header:(?= *\S)")
_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1+")
_OPTION_TERM = re.compile(r"`{0,2}(?:--?|/)[\w?]|[\w.`]++ \((?:integer|boolean|string|enum|float)")

_CODE = frozenset(
    "code code-block sourcecode console parsed-literal doctest testcode testoutput prompt ipython "
    "productionlist math graphviz digraph graph mermaid plantuml".split()
)
_CODE_IN_ARGUMENT = frozenset("parsed-literal math productionlist".split())
_MARKUP = frozenset(
    "image include toctree contents index highlight module currentmodule literalinclude raw "
    "sectionauthor codeauthor moduleauthor meta default-role role title header footer sectnum "
    "target-notes tabularcolumns replace unicode date program rubric default-domain".split()
)
_TITLED_NOTES = frozenset("admonition topic sidebar".split())
_NOTES = _TITLED_NOTES | frozenset(
    "attention caution danger error hint important note tip warning seealso todo".split()
)
_TABLES = frozenset("table list-table csv-table".split())
_VERSIONS = frozenset("versionadded versionchanged deprecated versionremoved".split())
_OBJECTS = frozenset(
    "function method classmethod staticmethod class attribute property data exception decorator "
    "decoratormethod setting django-admin django-admin-option templatetag templatefilter "
    "fieldlookup envvar describe object confval macro type var member enum enumerator struct "
    "option cmdoption".split()
)
_SETTINGS = frozenset("setting confval envvar option cmdoption django-admin-option".split())
"""Of the objects, those that are options."""
_BIBLIOGRAPHY = frozenset({"heading", "markup"})
"""What may stand above the fields that describe the document itself."""


def rst_parts(text: str) -> tuple[Part, ...]:
    """Return the parts of a reStructuredText document, in time linear in its length."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = list(lines_of(text))
        self._at = 0
        self._parts = PartBuilder()
        self._after_marker = False
        """Whether the line is what stands right of a marker, whose text it is."""
        self._code_right_of: int | None = None
        """The column that a literal block lies right of, if the last paragraph announced one."""

    def read(self) -> tuple[Part, ...]:
        """Return the parts."""
        listed = (self._literal, self._too_deep, self._item, self._step)
        others = (
            self._field, self._option, self._doctest, self._table, self._directive, self._explicit,
            self._overlined, self._run, self._title, self._term,
        )  # fmt: skip
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.is_blank:
                self._at += 1
                continue
            self._parts.leave(line.column)
            if any(block(line) for block in listed):
                continue
            self._leave_list()
            if not any(block(line) for block in others):
                self._paragraph(line)
        return self._parts.build()

    # What the blocks below share.

    def _line(self, at: int) -> Line:
        """Return a line; past the last one they are blank."""
        return self._lines[at] if at < len(self._lines) else Line(0, 0, 0)

    def _body(self, at: int, column: int) -> int:
        """Return the index after the last filled line right of a column, from a line on."""
        end = at
        for i in range(at, len(self._lines)):
            if self._lines[i].is_blank:
                continue
            if self._lines[i].column <= column:
                break
            end = i + 1
        return end

    def _block(self, at: int) -> int:
        """Return the index of the next blank line."""
        while at < len(self._lines) and not self._lines[at].is_blank:
            at += 1
        return at

    def _add(self, start: int, end_at: int, kind: PartKind) -> None:
        """Add a part from a position to the end of the line before `end_at`; read on there."""
        self._parts.add(start, self._lines[end_at - 1].end, kind)
        self._at = max(end_at, self._at + 1)
        self._after_marker = False

    def _read_rest(self, line: Line, position: int, opened: OpenPart | None) -> None:
        """Go on right of a marker that ends at `position`, in the part that it opened."""
        text, end = self._text, line.end
        self._parts.reach(min(position, end))
        if opened is not None:
            opened.awaits_text = True
        rest = text[position:end].lstrip()
        if not rest:
            self._at += 1
            return
        start = end - len(rest)
        column = line.column + len(text[line.start : start].expandtabs())
        self._lines[self._at] = Line(start, end, column)
        self._after_marker = True

    # Blocks. Each returns whether the line starts one, and then has read it.

    def _literal(self, line: Line) -> bool:
        column, self._code_right_of = self._code_right_of, None
        if column is None or self._after_marker:
            return False
        if line.column > column:
            self._add(line.start, self._body(self._at, column), "code")
            return True
        quote = self._text[line.start]
        is_list = _BULLET.match(self._text, line.start, line.end)
        if line.column < column or quote not in punctuation or is_list:
            return False
        end = self._at
        while self._text.startswith(quote, self._line(end).start, self._line(end).end):
            end += 1
        if not self._line(end).is_blank or _EXPLICIT.match(self._text, line.start, line.end):
            return False
        self._add(line.start, end, "code")
        return True

    def _too_deep(self, line: Line) -> bool:
        if len(self._parts.open) < MAX_DEPTH:
            return False
        self._paragraph(line)
        return True

    def _item(self, line: Line) -> bool:
        bullet = _BULLET.match(self._text, line.start, line.end)
        if bullet is None:
            return False
        innermost = self._list_at(line, "list")
        if innermost is None or innermost.style != bullet[0]:
            self._leave_list()
            self._parts.enter(line.start, "list", line.column, bullet[0])
        self._define(line, line.start, bullet.end(), "item")
        return True

    def _step(self, line: Line) -> bool:
        found = number(self._text, line)
        if found is None:
            return False
        sequence, ordinal = found.readings[0]
        procedure = self._list_at(line, "procedure")
        if procedure is not None and found.follows(procedure.style, procedure.ordinal):
            sequence = procedure.style[2:]
            ordinal = procedure.ordinal + 1
            if not found.is_automatic:
                ordinal = dict(found.readings)[sequence]
        else:
            procedure = None
        style, following = found.style + sequence, self._line(self._at + 1)
        if not following.is_blank and following.column == line.column:
            second = number(self._text, following)
            if second is None or not second.follows(style, ordinal):
                return False
        if procedure is None:
            self._leave_list()
            procedure = self._parts.enter(line.start, "procedure", line.column, style)
        procedure.ordinal = ordinal
        self._define(line, line.start, found.end, "step")
        return True

    def _list_at(self, line: Line, kind: PartKind) -> OpenPart | None:
        """Return the open list whose markers stand in the column of a line."""
        innermost = self._parts.innermost
        is_at = innermost is not None and (innermost.kind, innermost.column) == (kind, line.column)
        return innermost if is_at else None

    def _leave_list(self) -> None:
        """Close the list that a line stands at the column of, without being an item of it."""
        innermost = self._parts.innermost
        if innermost is not None and innermost.kind in {"list", "procedure"}:
            self._parts.leave_innermost()

    def _field(self, line: Line) -> bool:
        field = _FIELD.match(self._text, line.start, line.end)
        if field is None:
            return False
        if not self._parts.open and self._parts.kinds <= _BIBLIOGRAPHY:
            self._add(line.start, self._body(self._at + 1, line.column), "markup")
            return True
        self._define(line, line.start, field.end(), "definition")
        return True

    def _define(self, line: Line, start: int, end: int, kind: PartKind) -> None:
        self._read_rest(line, end, self._parts.enter(start, kind, line.column + 1))

    def _option(self, line: Line) -> bool:
        option = _OPTION.match(self._text, line.start, line.end)
        if option is None:
            return False
        following = self._line(self._at + 1)
        if option.end() == line.end and (following.is_blank or following.column <= line.column):
            return False
        self._define(line, line.start, option.end(), "option")
        return True

    def _doctest(self, line: Line) -> bool:
        if not self._text.startswith(">>>", line.start, line.end):
            return False
        self._add(line.start, self._block(self._at), "code")
        return True

    def _table(self, line: Line) -> bool:
        end = table_end(self._text, self._lines, self._at)
        if end == self._at:
            return False
        innermost = self._parts.innermost
        is_open = innermost is not None and innermost.kind == "table"
        if not is_open:
            self._parts.enter(line.start, "table", line.column + 1)
        self._rows(drawn_rows(self._text, self._lines[self._at : end]), end)
        if not is_open:
            self._parts.leave_innermost()
        return True

    def _rows(self, rows: Iterator[Row], end: int) -> None:
        for row in rows:
            self._parts.add(*row)
        self._at, self._after_marker = end, False

    def _directive(self, line: Line) -> bool:
        found = _DIRECTIVE.match(self._text, line.start, line.end)
        if found is None:
            return False
        domain, _, name = found[1].lower().rpartition(":")
        head = Line(found.start(1), found.end(), line.column)
        has_argument = found.end() < line.end
        if name in _MARKUP:
            self._add(line.start, self._body(self._at + 1, line.column), "markup")
        elif name in _CODE:
            self._code(line, head, is_argument_code=has_argument and name in _CODE_IN_ARGUMENT)
        elif name in _NOTES:
            self._note(line, head, is_titled=has_argument and name in _TITLED_NOTES)
        elif name in _VERSIONS:
            self._version(line, head)
        elif name in _TABLES:
            self._table_directive(line, head, name)
        elif self._is_described(line, head, name if not domain else "object"):
            self._object(line, head, "option" if name in _SETTINGS else "definition")
        else:
            self._add(line.start, self._options_end(self._at + 1, line), "markup")
        return True

    def _is_described(self, line: Line, head: Line, name: str) -> bool:
        """Whether a directive describes an object; without a text it only names a place for links.

        A signature says something even then.
        """
        argument = self._text[head.end : line.end]
        if name not in _OBJECTS or not argument:
            return False
        return "(" in argument or self._body(self._at + 1, line.column) > self._at + 1

    def _argument(self, line: Line, head: Line) -> Line:
        """Return what stands right of a directive's colons."""
        rest = self._text[head.end : line.end].lstrip()
        return Line(line.end - len(rest), line.end, line.column)

    def _options_end(self, at: int, line: Line) -> int:
        """Return the index after the options of a directive, which start at a line if at all."""
        column = self._line(at).column
        first = at
        while not self._line(at).is_blank and self._line(at).column > line.column:
            option = self._line(at)
            is_option = _FIELD.match(self._text, option.start, option.end)
            if not is_option and not (at > first and option.column > column):
                break
            at += 1
        return at

    def _code(self, line: Line, head: Line, *, is_argument_code: bool) -> None:
        if is_argument_code:
            self._parts.add(line.start, head.end, "markup")
            end = self._body(self._at + 1, line.column)
            self._add(self._argument(line, head).start, end, "code")
            return
        self._add(line.start, self._options_end(self._at + 1, line), "markup")
        end = self._body(self._at, line.column)
        while self._line(self._at).is_blank and self._at < end:
            self._at += 1
        if self._at < end:
            self._add(self._line(self._at).start, end, "code")

    def _note(self, line: Line, head: Line, *, is_titled: bool) -> None:
        self._parts.enter(line.start, "note", line.column + 1)
        self._parts.add(line.start, head.end, "markup")
        if head.end < line.end and not is_titled:
            self._read_rest(line, head.end, None)
            return
        if is_titled:
            self._parts.add(self._argument(line, head).start, line.end, "caption")
        self._read_options(line)

    def _read_options(self, line: Line, at: int | None = None) -> None:
        """Add a directive's options, which are markup, and read on below them."""
        at = self._at + 1 if at is None else at
        self._at, self._after_marker = self._options_end(at, line), False
        for option in self._lines[at : self._at]:
            self._parts.add(option.start, option.end, "markup")

    def _version(self, line: Line, head: Line) -> None:
        """Read what changed in a version: one definition, because one explains the other."""
        end = self._body(self._at + 1, line.column)
        if end == self._at + 1 and " " not in self._text[head.end : line.end].strip():
            self._add(line.start, end, "markup")
            return
        self._parts.enter(line.start, "note", line.column + 1)
        self._parts.add(line.start, line.start + 2, "markup")
        self._describe(line, head.start, "definition")

    def _object(self, line: Line, head: Line, kind: PartKind) -> None:
        """Read the description of a function, a setting and the like; its signature is the term."""
        self._parts.add(line.start, head.end, "markup")
        self._describe(line, self._argument(line, head).start, kind)

    def _describe(self, line: Line, start: int, kind: PartKind) -> None:
        """Open a definition whose term reaches down to the next blank line."""
        opened = self._parts.enter(start, kind, line.column + 1)
        opened.awaits_text = True
        self._at += 1
        while not self._line(self._at).is_blank and self._line(self._at).column > line.column:
            self._at += 1
        self._parts.reach(self._lines[self._at - 1].end)
        self._after_marker = False

    def _table_directive(self, line: Line, head: Line, name: str) -> None:
        self._parts.enter(line.start, "table", line.column + 1)
        self._parts.add(line.start, head.end, "markup")
        if head.end < line.end:
            self._parts.add(self._argument(line, head).start, line.end, "caption")
        first = self._at + 1
        self._at, self._after_marker = self._options_end(first, line), False
        n_headers = 0
        for option in self._lines[first : self._at]:
            found = _TABLE_HEADERS.match(self._text, option.start, option.end)
            n_headers = int(found[1]) if found and found[1] else n_headers
            self._parts.add(option.start, found.end() if found else option.end, "markup")
            if found and found.end() < option.end:
                start = self._argument(option, Line(option.start, found.end(), 0)).start
                self._parts.add(start, option.end, "header_row")
        if name != "table":
            end = self._body(self._at, line.column)
            rows = list_rows if name == "list-table" else csv_rows
            self._rows(rows(self._text, self._lines[self._at : end], n_headers), end)
            self._parts.leave_innermost()

    def _explicit(self, line: Line) -> bool:
        text = self._text
        footnote = _FOOTNOTE.match(text, line.start, line.end)
        if footnote:
            self._parts.add(line.start, line.start + 2, "markup")
            self._define(line, footnote.end(), text.index("]", footnote.end()) + 1, "definition")
        elif _TARGET.match(text, line.start, line.end):
            end = self._at + 1
            while not self._line(end).is_blank and self._line(end).column > line.column:
                end += 1
            self._add(line.start, end, "markup")
        elif _EXPLICIT.match(text, line.start, line.end):
            end = self._at + 1
            if line.end - line.start > 2 or not self._line(end).is_blank:
                end = self._body(end, line.column)
            self._add(line.start, end, "markup")
        else:
            return False
        return True

    def _run(self, line: Line) -> bool:
        """Read a transition, or a line under or over nothing."""
        if line.end - line.start < 4 or not _UNDERLINE.fullmatch(self._text, line.start, line.end):
            return False
        self._add(line.start, self._at + 1, "markup")
        return True

    def _overlined(self, line: Line) -> bool:
        if self._is_inside or not self._underlines(self._at, 3):
            return False
        title = self._line(self._at + 1)
        if title.is_blank or _UNDERLINE.fullmatch(self._text, title.start, title.end):
            return False
        under, character = self._line(self._at + 2), self._text[line.start]
        if not (self._underlines(self._at + 2, 3) and self._text[under.start] == character):
            return False
        self._add(line.start, self._at + 1, "markup")
        self._add_title(title)
        return True

    def _title(self, line: Line) -> bool:
        if self._is_inside or line.column > 0:
            return False
        if not self._underlines(self._at + 1, min(4, max(2, line.end - line.start))):
            return False
        self._add_title(line)
        return True

    @property
    def _is_inside(self) -> bool:
        """Whether no title can stand here."""
        return bool(self._parts.open) or self._after_marker

    def _underlines(self, at: int, n_characters: int) -> bool:
        line = self._line(at)
        if line.column > 0 or line.end - line.start < n_characters:
            return False
        run = _UNDERLINE.fullmatch(self._text, line.start, line.end)
        return run is not None and run[0] not in {"::", ".."}

    def _add_title(self, line: Line) -> None:
        self._add(line.start, self._at + 1, "heading")
        self._add(self._line(self._at).start, self._at + 1, "markup")

    def _term(self, line: Line) -> bool:
        """Read a definition's term: a single line above an indented one."""
        following = self._line(self._at + 1)
        if self._after_marker or following.is_blank or following.column <= line.column:
            return False
        if self._text.endswith("::", line.start, line.end):
            return False
        is_option = _OPTION_TERM.match(self._text, line.start, line.end)
        self._define(line, line.start, line.end, "option" if is_option else "definition")
        return True

    def _paragraph(self, line: Line) -> None:
        innermost = self._parts.innermost
        after_marker, self._after_marker = self._after_marker, False
        end = self._at + 1
        if after_marker and innermost is not None:
            while self._goes_on(self._line(end), innermost.column, line.column):
                end += 1
        else:
            while not self._line(end).is_blank and self._line(end).column == line.column:
                end += 1
        last = self._lines[end - 1]
        if self._text.endswith("::", line.start, last.end):
            self._code_right_of = line.column
            if after_marker and innermost is not None and innermost.kind not in {"item", "step"}:
                self._code_right_of = innermost.column
        if innermost is not None and innermost.awaits_text:
            innermost.awaits_text = False
            self._parts.reach(last.end)
            self._at = end
        else:
            is_only_colons = last.end - line.start == 2 and self._code_right_of is not None
            self._add(line.start, end, "markup" if is_only_colons else "paragraph")

    def _goes_on(self, line: Line, least_column: int, column: int) -> bool:
        """Whether a line goes on with the paragraph that stands right of a marker at `column`.

        It may be indented carelessly, unless it starts a list then.
        """
        if line.is_blank or line.column < least_column:
            return False
        is_list = _BULLET.match(self._text, line.start, line.end) or number(self._text, line)
        return line.column == column or not is_list
