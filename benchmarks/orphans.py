"""Count the parts of contexts that cannot be read alone, by the markup of the sources.

    pip install docutils markdown-it-py
    ragkit ask --questions Q.jsonl --dry-run --json > contexts.jsonl
    python benchmarks/orphans.py DOCS contexts.jsonl [--verbose]

DOCS is the folder that was ingested: a document's id is its path there. Nothing of ragkit takes
part: reStructuredText (also in `.txt`), Markdown and HTML are parsed by docutils, markdown-it-py
and `html.parser`, and texts are compared by their letters and digits alone, since a context shows a
source's markup and the text of HTML differs from its source.

Counted are, by format and kind, the parts that contexts hold (`kept`) and those without what they
need (`orphans`):

    code            a block without the last sentence of the paragraph before it, if that ends with
                    a colon
    code_in_part    a block of which lines are missing
    item            an item of a list without such a sentence before the list
    nested          what stands below an item's first paragraph, without its first sentence
    definition      what a term, an option or a field stands for, without that
    row             a row of a table without its header, its caption or such a sentence
    procedure       a numbered list of which steps are missing
    heading         a passage that is nothing but headings
    lead_in         such a sentence without anything of what it introduces

A part counts as kept if a passage holds a line or sentence of it that occurs once in the document.
Parts that have none are left out. Items such as `GET` occur often; after a `lead_in` they count if
a line behind it, in its passage or the next one, begins with them. A passage that was only borrowed
for another (`role`) is never a part of its own. Passages between which nothing is left out
(`gap_before`) are read as one.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markup import FORMATS, Node, tree_of

KINDS = (
    "code", "code_in_part", "item", "nested", "definition", "row", "procedure", "heading",
    "lead_in",
)  # fmt: skip
LEAST_LETTERS = 8
"""Fewer letters and digits do not tell a line from others."""

_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))\s+(?=[A-Z\"'`(*:_])|(?<=:)\s*\n")


def plain(text: str) -> str:
    """Return the letters and digits of a text, without case."""
    return "".join(filter(str.isalnum, text.casefold()))


@dataclass
class Part:
    """A part that a context may hold: the pieces that tell it, and the texts that it needs."""

    kind: str
    pieces: list[str]
    needs: list[str]
    steps: list[list[str]] = field(default_factory=list["list[str]"])
    follows: Sequence[str] = ()
    shown: str = ""


def texts_in(node: Node) -> Iterator[str]:
    """Yield the texts of a node and of all that stands in it."""
    if node.text.strip():
        yield node.text
    for child in node.children:
        yield from texts_in(child)


def sentences(text: str) -> list[str]:
    """Return the sentences of a paragraph."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def _pieces(texts: Iterable[str]) -> list[str]:
    return [plain(sentence) for text in texts for sentence in sentences(text)]


def _own_texts(item: Node) -> list[str]:
    """Return the texts of an item without those of what is nested in it."""
    own: list[str] = [item.text] if item.text.strip() else []
    for child in item.children:
        if child.kind == "paragraph":
            own.append(child.text)
        elif child.kind in {"group", "scope"}:
            own += _own_texts(child)
    return own


class Reader:
    """Collects the parts of a document in reading order."""

    def __init__(self, root: Node) -> None:
        self.parts: list[Part] = []
        self.headings: set[str] = set()
        self._before: Node | None = None
        self._scope(root)

    def _scope(self, node: Node) -> None:
        self._before = None
        self._children(node)
        self._before = None

    def _children(self, node: Node) -> None:
        term: list[str] = []
        for child in node.children:
            if child.kind == "group":
                self._children(child)
                continue
            lead_in = self._lead_in()
            if child.kind == "code":
                self._code(child, lead_in)
            elif child.kind in {"list", "ordered"}:
                self._list(child, lead_in)
            elif child.kind == "table":
                self._table(child, lead_in)
            elif child.kind == "heading":
                self.headings.add(plain(child.text))
            elif child.kind == "term":
                term = [" ".join(texts_in(child))]
            elif child.kind == "meaning":
                self._add("definition", _lines(texts_in(child)), term, " ".join(term))
                self._scope(child)
            elif child.kind != "paragraph":
                self._scope(child)
            self._before = child

    def _lead_in(self) -> list[str]:
        before = self._before
        if before is None or before.kind != "paragraph":
            return []
        said = sentences(before.text)
        return said[-1:] if said and said[-1].rstrip().endswith(":") else []

    def _add(self, kind: str, pieces: Iterable[str], needs: Iterable[str], shown: str) -> Part:
        wanted = [need for need in map(plain, needs) if need]
        part = Part(kind, list(pieces), wanted, shown=" ".join(shown.split())[:100])
        self.parts.append(part)
        return part

    def _code(self, node: Node, lead_in: list[str]) -> None:
        lines = [plain(line) for line in node.text.splitlines()]
        self._add("code", lines, lead_in, node.text)
        self._add("code_in_part", lines, lines, node.text)
        self._introduced(lead_in, lines)

    def _list(self, node: Node, lead_in: list[str]) -> None:
        items = [item for item in node.children if item.kind == "item"]
        own = [_own_texts(item) for item in items]
        for texts in own:
            self._add("item", _pieces(texts), lead_in, " ".join(texts))
        for item in items:
            texts = list(texts_in(item))
            if own_texts := _own_texts(item):
                first = sentences(own_texts[0])[:1] if own_texts[0] == texts[0] else []
                self._add("nested", _lines(texts[1:]), first, " / ".join(texts[:2]))
        self._introduced(lead_in, [piece for texts in own for piece in _pieces(texts)])
        if node.kind == "ordered" and len(items) > 1:
            steps = [_pieces(texts) for texts in own]
            all_pieces = [piece for step in steps for piece in step]
            shown = " / ".join(texts[0] for texts in own if texts)
            self._add("procedure", all_pieces, [], shown).steps = steps
        for item in items:
            self._scope(item)

    def _introduced(self, lead_in: Sequence[str], pieces: list[str]) -> None:
        for text in lead_in:
            part = self._add("lead_in", [plain(text)], [], text)
            part.steps, part.follows = [pieces], pieces

    def _table(self, node: Node, lead_in: Sequence[str]) -> None:
        rows = list(_rows(node))
        captions = [child.text for child in node.children if child.kind == "caption"]
        headers = [text for row in rows if _is_header(row) for text in texts_in(row)]
        headers += [*captions, *lead_in]
        for row in rows:
            if not _is_header(row):
                texts = list(texts_in(row))
                lines = [plain(line) for text in texts for line in text.splitlines()]
                needs = [line for text in headers for line in text.splitlines()]
                self._add("row", [plain(" ".join(texts)), *lines], needs, " | ".join(texts))


def _lines(texts: Iterable[str]) -> list[str]:
    return [plain(line) for text in texts for line in text.splitlines()]


def _is_header(row: Node) -> bool:
    return row.kind == "header" or {cell.kind for cell in row.children} == {"th"}


def _rows(node: Node) -> Iterator[Node]:
    """Yield the rows of a table."""
    for child in node.children:
        if child.kind in {"row", "header"}:
            yield child
        elif child.kind in {"group", "scope"}:
            yield from _rows(child)


class Document:
    """The parts of a document, and what tells each of them from the rest of it."""

    def __init__(self, path: Path) -> None:
        self.format = FORMATS[path.suffix]
        root = tree_of(path)
        reader = Reader(root)
        source = path.read_text(encoding="utf-8")
        whole = plain(" ".join(texts_in(root)) if self.format == "html" else source)
        items = {plain(part.shown) for part in reader.parts if part.kind == "item"}
        self.headings = reader.headings - items
        self.parts = reader.parts
        for part in self.parts:
            part.pieces = [piece for piece in part.pieces if _tells(piece, whole)]
            part.steps = [[p for p in step if _tells(p, whole)] for step in part.steps]


def _tells(piece: str, whole: str) -> bool:
    return _is_long(piece) and whole.count(piece) == 1


def _is_long(piece: str) -> bool:
    return len(piece) >= LEAST_LETTERS


@dataclass(frozen=True)
class Passage:
    """An item of a context; `goes_on` if it follows the one before without a gap."""

    text: str
    role: str = "unit"
    goes_on: bool = False


def look(document: Document, passages: Sequence[Passage]) -> list[tuple[Part, bool]]:
    """Return the kept parts of a document, and which are orphans."""
    runs: list[Passage] = []
    for passage in passages:
        if passage.goes_on and runs:
            before = runs.pop()
            role = "unit" if "unit" in {before.role, passage.role} else before.role
            passage = Passage(f"{before.text}\n{passage.text}", role)  # noqa: PLW2901
        runs.append(passage)
    texts = [run.text for run in runs]
    held = [plain(text) for text in texts]
    kept = [plain(passage.text) for passage in passages if passage.role == "unit"]
    found = [
        (part, _is_orphan(part, held) and not _is_followed(part, texts))
        for part in document.parts
        if any(piece in text for piece in part.pieces for text in kept)
    ]
    for run in runs:
        if run.role == "unit" and run.text.strip():
            lines = {plain(line) for line in run.text.splitlines()} - {""}
            shown = Part("heading", [], [], shown=" ".join(run.text.split())[:100])
            found.append((shown, bool(lines) and lines <= document.headings))
    return found


def _is_orphan(part: Part, held: Sequence[str]) -> bool:
    def is_there(piece: str) -> bool:
        return any(piece in text for text in held)

    steps = [step for step in part.steps if step]
    if part.kind == "lead_in":
        return any(part.follows) and not any(is_there(p) for step in steps for p in step)
    if part.kind == "procedure":
        return not all(any(map(is_there, step)) for step in steps)
    return not all(map(is_there, part.needs))


def _is_followed(part: Part, texts: Sequence[str]) -> bool:
    """Whether a line after a lead-in, in its passage or the next one, is what it introduces."""
    if part.kind != "lead_in":
        return False
    (said,) = part.pieces
    for text, following in zip(texts, [*texts[1:], ""], strict=True):
        if said in plain(text):
            lines = [plain(line) for line in f"{text}\n{following}".splitlines()]
            last = next(k for k in range(len(lines)) if said in "".join(lines[: k + 1]))
            behind = [line.lstrip("0123456789") or line for line in lines[last + 1 :] if line]
            pieces = [piece.lstrip("0123456789") or piece for piece in part.follows if piece]
            pairs = [(line, piece) for line in behind for piece in pieces]
            return any(
                line.startswith(piece) or (_is_long(line) and piece.startswith(line))
                for line, piece in pairs
            )
    return False


def count(folder: Path, contexts: Iterable[Mapping[str, Any]], *, verbose: bool) -> dict[str, Any]:
    """Return the counts by format and kind."""
    documents: dict[str, Document | None] = {}
    kept: dict[str, Counter[str]] = defaultdict(Counter)
    orphans: dict[str, Counter[str]] = defaultdict(Counter)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in contexts:
        passages: dict[str, list[Passage]] = defaultdict(list)
        for item in answer.get("context", ()):
            of_document = passages[item["document_id"]]
            goes_on = bool(of_document) and item.get("gap_before") is False
            of_document.append(Passage(item["text"], item.get("role", "unit"), goes_on))
        with_orphans: dict[str, set[str]] = defaultdict(set)
        for document_id, texts in passages.items():
            if document_id not in documents:
                path = folder / document_id
                readable = path.suffix in FORMATS and path.is_file()
                documents[document_id] = Document(path) if readable else None
            document = documents[document_id]
            if document is None:
                continue
            with_orphans[document.format] |= set()
            for part, is_orphan in look(document, texts):
                kept[document.format][part.kind] += 1
                if is_orphan:
                    orphans[document.format][part.kind] += 1
                    with_orphans[document.format].add(part.kind)
                    if verbose:
                        print(f"{answer.get('id')}\t{document_id}\t{part.kind}\t{part.shown}")
        for name, kinds in with_orphans.items():
            seen[name]["contexts"] += 1
            seen[name]["contexts_with_orphans"] += bool(kinds)
    return {
        name: {
            **{key: seen[name][key] for key in ("contexts", "contexts_with_orphans")},
            "kinds": {
                kind: {"kept": kept[name][kind], "orphans": orphans[name][kind]} for kind in KINDS
            },
        }
        for name in sorted(seen)
    }


def main() -> None:
    """Read the arguments, and print the counts as JSON."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("documents", type=Path, help="folder that was ingested")
    parser.add_argument("contexts", type=Path, help="output of ragkit ask --questions --json")
    parser.add_argument("--verbose", action="store_true", help="also list every orphan")
    options = parser.parse_args()
    with options.contexts.open(encoding="utf-8") as lines:
        contexts = [json.loads(line) for line in lines if line.strip()]
    print(json.dumps(count(options.documents, contexts, verbose=options.verbose), indent=2))


if __name__ == "__main__":
    main()
