"""Files for programs that people read too: Python by its definitions, settings by their sections.

The text is the file's own; each piece of it is code that knows what it is in.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ragkit.loading.loaded import MAX_NAME_CHARACTERS, LoadedText, decoded
from ragkit.text.columns import MarkColumns, PartColumns
from ragkit.text.lines import raw_lines
from ragkit.text.sentences import trimmed
from ragkit.types import Location

MAX_PARSED_CHARACTERS = 2**20
"""Of a program; the tree of a longer one takes more memory than it is worth."""

_SECTION = re.compile(r"\[{1,2}([^\[\]\n]{1,200})\]{1,2}[ \t]*(?:#.*)?$")
_KEY = re.compile(
    r"""["']?([^\s"':#,{}\[\]&*!|>%@`-][^"':#\n]{0,200})["']?:(?:[ \t]++[|>&!][^\n]*+|[ \t]*+)$"""
)

_Piece = tuple[int, tuple[str, ...]]
"""Where a piece of code begins, and the names of what it is in."""


def load_python(data: bytes) -> LoadedText:
    """Load a Python program: its text, each function and method a piece of its own.

    Its title is the first line of its docstring. A program that this Python cannot read is one
    piece.
    """
    text, metadata, dropped = decoded(data)
    title, pieces = "", list[_Piece]()
    if len(text) <= MAX_PARSED_CHARACTERS:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = None
        if tree is not None:
            first, _, _ = (ast.get_docstring(tree) or "").partition("\n")
            title = first[:MAX_NAME_CHARACTERS]
            pieces = list(_definitions(text, tree.body))
    marks, parts = _structure(text, pieces)
    return LoadedText(
        text=text, title=title, marks=marks, parts=parts, metadata=metadata, dropped=dropped
    )


def _definitions(text: str, body: Sequence[ast.stmt]) -> Iterator[_Piece]:
    """Yield where each definition begins, with the comments above it, and where one ends."""
    starts = [0, *(position for position, _ in raw_lines(text))]
    after = 1
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield starts[min(after, len(starts) - 1)], (node.name,)
            inner = node.body[0].lineno
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    yield starts[inner], (node.name, member.name)
                inner = (member.end_lineno or member.lineno) + 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield starts[min(after, len(starts) - 1)], (node.name,)
        elif after > 1:
            yield starts[min(after, len(starts) - 1)], ()
        after = (node.end_lineno or node.lineno) + 1


def load_settings(data: bytes) -> LoadedText:
    """Load a file of settings (TOML, YAML, INI): its text, cut at sections and outermost keys."""
    text, metadata, dropped = decoded(data)
    marks, parts = _structure(text, list(_sections(text)))
    return LoadedText(text=text, marks=marks, parts=parts, metadata=metadata, dropped=dropped)


def _sections(text: str) -> Iterator[_Piece]:
    for position, line in raw_lines(text):
        found = _SECTION.match(line) or _KEY.match(line)
        if found:
            yield position, (found[1].strip(),)
        elif line[:3] == "---":
            yield position, ()


def _structure(text: str, pieces: Sequence[_Piece]) -> tuple[MarkColumns, PartColumns]:
    """Return marks and parts of code; neighbours that are in the same are one."""
    marks, parts = MarkColumns(), PartColumns()
    if not pieces or pieces[0][0] > 0:
        pieces = [(0, ()), *pieces]
    joined = [pieces[0]]
    for piece in pieces[1:]:
        if piece[1] != joined[-1][1] and piece[0] > joined[-1][0]:
            joined.append(piece)
    for (start, names), (end, _) in pairwise([*joined, (len(text), ())]):
        span = trimmed(text, start, end)
        if span[0] >= span[1]:
            continue
        first, last = span
        marks.append(first, "code", Location(heading=names))
        parts.append(first, last, "code", None)
    return marks, parts
