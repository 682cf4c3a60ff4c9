"""Notebooks (Jupyter, .ipynb): what people wrote, the code, and what it printed as text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ragkit.errors import LoadError
from ragkit.loading.anchors import Slugs
from ragkit.loading.encodings import decode_text
from ragkit.loading.joining import joined
from ragkit.loading.loaded import Headings, LoadedText, decoded
from ragkit.loading.plain import markdown_marks
from ragkit.narrowing import is_array, is_object
from ragkit.text.columns import MarkColumns, PartColumns
from ragkit.text.markdown import markdown_parts
from ragkit.text.sentences import trimmed
from ragkit.types import Dropped, Json, Location

_TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""What colours a terminal."""


def load_notebook(data: bytes) -> LoadedText:
    """Load a notebook: text, code and printed text in the order of the cells, which are located.

    Pictures, pages and widgets that the code has made are left out and counted; so are errors, but
    for their last line.

    Raises:
        LoadError: `broken` when it is no notebook.
    """
    text, guessed = decode_text(data)
    metadata: dict[str, Json] = {} if guessed is None else {"encoding": guessed}
    try:
        notebook: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LoadError("broken", f"not a notebook: {error}") from error
    cells = list(_cells(notebook))
    if not cells:
        raise LoadError("broken", "not a notebook: it has no cells")
    headings, slugs, left_out = Headings(), Slugs(), Counter[Dropped]()

    def pieces() -> Iterator[tuple[LoadedText, Location]]:
        for number, cell in enumerate(cells, start=1):
            above = replace(headings.location, cell=number)
            for piece in _pieces(cell, headings, slugs, left_out):
                yield piece, above

    loaded = joined(pieces(), metadata=metadata)
    title = next((m.location.heading[-1] for m in loaded.marks if m.kind == "heading"), "")
    dropped = Counter(loaded.dropped) + left_out
    return LoadedText(
        text=loaded.text, title=title, marks=loaded.marks, parts=loaded.parts,
        metadata=metadata, dropped=dict(dropped),
    )  # fmt: skip


def _cells(notebook: object) -> Iterator[dict[str, Json]]:
    """Yield the cells; before version 4, they stand in worksheets."""
    if not is_object(notebook):
        return
    sheets = notebook.get("worksheets")
    for holder in [notebook, *(sheets if is_array(sheets) else [])]:
        cells = holder.get("cells") if is_object(holder) else None
        yield from (cell for cell in (cells if is_array(cells) else []) if is_object(cell))


def _pieces(
    cell: dict[str, Json], headings: Headings, slugs: Slugs, left_out: Counter[Dropped]
) -> Iterator[LoadedText]:
    kind = cell.get("cell_type")
    source = _text(cell.get("source", cell.get("input")))
    if kind == "code":
        yield _code(source)
        outputs = cell.get("outputs")
        for output in outputs if is_array(outputs) else []:
            if is_object(output):
                yield _output(output, left_out)
    elif kind == "heading":
        level = cell.get("level")
        depth = level if isinstance(level, int) else 1
        yield _markdown(f"{'#' * max(1, min(6, depth))} {source}", headings, slugs)
    elif kind == "markdown":
        yield _markdown(source, headings, slugs)
    else:
        yield _code(source)


def _text(value: object) -> str:
    """Return a text, which may be written as a list of its lines."""
    if is_array(value):
        return "\n".join(line.removesuffix("\n") for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _markdown(source: str, headings: Headings, slugs: Slugs) -> LoadedText:
    text, _, dropped = decoded(source.encode("utf-8", "replace"))
    parts = markdown_parts(text, 0)
    marks = markdown_marks(text, parts, 0, headings, slugs)
    return LoadedText(text=text, marks=marks, parts=parts, dropped=dropped)


def _code(source: str) -> LoadedText:
    text, _, dropped = decoded(source.encode("utf-8", "replace"))
    text, marks, parts = text.strip("\n"), MarkColumns(), PartColumns()
    start, end = trimmed(text, 0, len(text))
    if start < end:
        marks.append(start, "code", Location())
        parts.append(start, end, "code", None)
    return LoadedText(text=text, marks=marks, parts=parts, dropped=dropped)


def _output(output: dict[str, Json], left_out: Counter[Dropped]) -> LoadedText:
    """Return what code has printed, as text."""
    kind = output.get("output_type")
    if kind in {"error", "pyerr"}:
        return _code(f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}")
    forms = output.get("data")
    forms = forms if is_object(forms) else output
    for name, value in forms.items():
        if name not in {"text", "text/plain"} and len(_text(value)) > 100:
            left_out["payload"] += len(_text(value))
    said = _text(forms.get("text/plain", forms.get("text")))
    return _code(_TERMINAL.sub("", said))
