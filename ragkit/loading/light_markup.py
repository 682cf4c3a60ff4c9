"""AsciiDoc, Org and LaTeX: the text unchanged, its headings, code and tables marked by pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ragkit.loading.loaded import Headings, LoadedText, decoded
from ragkit.text.columns import MarkColumns, PartColumns
from ragkit.text.lines import raw_lines
from ragkit.text.plain_lists import plain_list_parts
from ragkit.text.sentences import trimmed
from ragkit.types import MarkKind, PartKind


@dataclass(frozen=True, slots=True)
class _Markup:
    """How a markup writes what is known of it; levels are lengths of signs, or places in a list."""

    heading: re.Pattern[str]
    code: re.Pattern[str]
    ends: re.Pattern[str]
    only_for_programs: re.Pattern[str]
    row: re.Pattern[str]
    title: re.Pattern[str] | None = None
    levels: tuple[str, ...] = ()
    body: str = ""


_NEVER = re.compile(r"(?!)")
_ASCIIDOC = _Markup(
    heading=re.compile(r"(={1,6})[ \t]+(\S.*)"),
    code=re.compile(r"(-{4,}|\.{4,}|```)[\w-]*[ \t]*$"),
    ends=re.compile(r"(-{4,}|\.{4,}|```)[ \t]*$"),
    only_for_programs=re.compile(
        r"//(?!/)|:!?[\w-]+!?:|\[[\w.,#%\"= -]*\][ \t]*$|[|,:!]===|={4,}$"
    ),
    row=re.compile(r"\|(?!={3})"),
)
_ORG = _Markup(
    heading=re.compile(r"(\*+)[ \t]+(?:(?:TODO|DONE)[ \t]+)?(\S.*)"),
    code=re.compile(r"[ \t]*#\+begin_(?:src|example)\b", re.IGNORECASE),
    ends=re.compile(r"[ \t]*#\+end_(?:src|example)\b", re.IGNORECASE),
    only_for_programs=re.compile(
        r"[ \t]*(?:#\+\w+:|#\+(?:begin|end)_|#[ \t]|:[A-Z_]+:)", re.IGNORECASE
    ),
    row=re.compile(r"[ \t]*\|(?!-)"),
    title=re.compile(r"#\+title:[ \t]*(\S.*)", re.IGNORECASE),
)
_LATEX = _Markup(
    heading=re.compile(
        r"[ \t]*\\(part|chapter|section|subsection|subsubsection|paragraph)\*?"
        r"(?:\[[^\]\n]{0,300}\])?\{((?:[^{}\n]|\{[^{}\n]*\}){1,500})\}"
    ),
    code=re.compile(r"[ \t]*\\begin\{(?:verbatim|lstlisting|minted|alltt)\*?\}"),
    ends=re.compile(r"[ \t]*\\end\{(?:verbatim|lstlisting|minted|alltt)\*?\}"),
    only_for_programs=re.compile(
        r"[ \t]*(?:%|\\(?:documentclass|usepackage|begin|end|maketitle|label|newcommand|"
        r"bibliographystyle|pagestyle|tableofcontents|clearpage|newpage)\b[^\n]{0,300}$)"
    ),
    row=_NEVER,
    title=re.compile(r"[ \t]*\\title\{((?:[^{}\n]|\{[^{}\n]*\}){1,500})\}"),
    levels=("part", "chapter", "section", "subsection", "subsubsection", "paragraph"),
    body="\\begin{document}",
)


def load_asciidoc(data: bytes) -> LoadedText:
    """Load AsciiDoc."""
    return _load(data, _ASCIIDOC)


def load_org(data: bytes) -> LoadedText:
    """Load an Org file."""
    return _load(data, _ORG)


def load_latex(data: bytes) -> LoadedText:
    """Load LaTeX; what stands above its body is for programs only."""
    return _load(data, _LATEX)


def _load(data: bytes, markup: _Markup) -> LoadedText:
    text, metadata, dropped = decoded(data)
    reader = _Reader(text, markup)
    body = text.find(markup.body)
    if body > 0:
        reader.take(0, body, "markup")
    for position, line in raw_lines(text):
        if position >= body:
            reader.read(position, line)
        reader.look_for_title(line)
    reader.end(len(text))
    return LoadedText(
        text=text, title=reader.title, marks=reader.marks, parts=reader.parts,
        metadata=metadata, dropped=dropped,
    )  # fmt: skip


@dataclass
class _Reader:
    text: str
    markup: _Markup
    title: str = ""
    marks: MarkColumns = field(default_factory=MarkColumns)
    parts: PartColumns = field(default_factory=PartColumns)
    _headings: Headings = field(default_factory=Headings)
    _done: int = 0
    _code_from: int | None = None
    _table: int | None = None
    _last_kind: MarkKind = "text"

    def look_for_title(self, line: str) -> None:
        found = self.markup.title.match(line) if self.markup.title and not self.title else None
        if found:
            self.title = found[1].strip()

    def read(self, position: int, line: str) -> None:
        """Take a line."""
        end = position + len(line.rstrip())
        if self._code_from is not None:
            if self.markup.ends.match(line):
                self.take(self._code_from, position, "code")
                self._code_from = None
                self.take(position, end, "markup")
        elif not line.strip():
            self._table = None
        elif self.markup.code.match(line):
            self.take(position, end, "markup")
            self._code_from = min(end + 1, len(self.text))
        elif heading := self.markup.heading.match(line):
            self._enter(position, end, heading)
        elif self.markup.row.match(line):
            self._take_row(position, end)
        elif self.markup.only_for_programs.match(line):
            self._table = None
            self.take(position, end, "markup")
        else:
            self._table = None

    def _enter(self, position: int, end: int, heading: re.Match[str]) -> None:
        levels = self.markup.levels
        level = levels.index(heading[1]) + 1 if levels else len(heading[1])
        title = heading[2].strip()
        self.take(position, end, "heading")
        self._headings.enter(level, title)
        self.title = self.title or title
        self._mark(position, "heading")

    def _take_row(self, position: int, end: int) -> None:
        self._rest(position)
        start, end = trimmed(self.text, position, end)
        if self._table is None:
            self._table = self.parts.append(start, end, "table", None)
        self.parts.change(self._table, end=end, kind="table")
        self.parts.append(start, end, "row", self._table)
        self._mark(start, "row")
        self._done = end

    def take(self, start: int, end: int, kind: PartKind) -> None:
        """Take a span as a part on the outermost level."""
        self._rest(start)
        self._table = None
        first, last = trimmed(self.text, start, end)
        if first < last:
            self.parts.append(first, last, kind, None)
            if kind == "code":
                self._mark(first, "code")
        self._done = end

    def _mark(self, start: int, kind: MarkKind) -> None:
        self._last_kind = kind
        self.marks.append(start, kind, self._headings.location)

    def _rest(self, until: int) -> None:
        """Note the lists in the running text before a part, and where it resumes."""
        start = self._done
        resumes, stop = trimmed(self.text, start, until)
        if resumes >= stop:
            return
        if self._last_kind in {"code", "row"}:
            self._mark(resumes, "text")
        first = len(self.parts)
        for part in plain_list_parts(self.text[start:until]):
            parent = None if part.parent is None else first + part.parent
            self.parts.append(start + part.start, start + part.end, part.kind, parent)

    def end(self, n_characters: int) -> None:
        """Take what is left; code that never ends is running text."""
        self._rest(n_characters)
