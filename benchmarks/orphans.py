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
    row             a row of a table without its header
    procedure       a numbered list of which steps are missing
    heading         a passage that is nothing but headings
    lead_in         such a sentence without anything of what it introduces

A part counts as kept if a passage holds a line or sentence of it that occurs once in the document.
Parts that have none are left out. A passage that was only borrowed for another (`role`) is never a
part of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

FORMATS: Mapping[str, str] = {
    ".rst": "rst", ".txt": "txt-rst", ".md": "md", ".html": "html", ".htm": "html",
}  # fmt: skip
KINDS = ("code", "code_in_part", "item", "row", "procedure", "heading", "lead_in")
LEAST_LETTERS = 8
"""Fewer letters and digits do not tell a line from others."""

_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))\s+(?=[A-Z\"'`(*:])")


@dataclass
class Node:
    """A part of a document.

    `kind` is `paragraph`, `heading`, `code`, `list`, `ordered`, `item`, `table`, `header` or `row`;
    `scope` for what stands on its own, such as a note; `group` for what only wraps its children.
    """

    kind: str
    text: str = ""
    children: list[Node] = field(default_factory=list["Node"])


def plain(text: str) -> str:
    """Return the letters and digits of a text, without case."""
    return "".join(filter(str.isalnum, text.casefold()))


# --- reStructuredText --------------------------------------------------------------------------

_CODE_DIRECTIVES = {"code", "code-block", "sourcecode", "console", "snippet", "parsed-literal"}
_SILENT_DIRECTIVES = {
    "contents", "currentmodule", "highlight", "image", "figure", "include", "index",
    "literalinclude", "module", "py:currentmodule", "py:module", "raw", "toctree",
}  # fmt: skip
_DIRECTIVE = re.compile(r"^\s*\.\. +([\w:+.-]+)::", re.MULTILINE)
_ROLE = re.compile(r":([\w:+.-]+):`")
_OF_DOCUTILS: Mapping[str, str] = {
    "paragraph": "paragraph", "title": "heading", "rubric": "heading", "literal_block": "code",
    "doctest_block": "code", "bullet_list": "list", "enumerated_list": "ordered",
    "list_item": "item", "table": "table", "row": "row", "definition": "scope", "note": "scope",
    "entry": "scope", "field_body": "scope", "admonition": "scope", "description": "scope",
}  # fmt: skip
_UNREAD = {"comment", "target", "substitution_definition", "system_message", "pending", "image"}
_WITH_TEXT = {"paragraph", "heading", "code"}


def rst_tree(text: str) -> Node:
    """Return the parts of reStructuredText; directives and roles of Sphinx are let through."""
    core = importlib.import_module("docutils.core")
    rst = importlib.import_module("docutils.parsers.rst")
    nodes = importlib.import_module("docutils.nodes")
    roles = importlib.import_module("docutils.parsers.rst.roles")
    for name in set(_DIRECTIVE.findall(text)):
        rst.directives.register_directive(name, _directive(name, rst, nodes))
    for name in set(_ROLE.findall(text)):
        roles.register_generic_role(name, nodes.literal)
    settings = {
        "report_level": 5, "halt_level": 5, "file_insertion_enabled": False, "raw_enabled": False,
        "syntax_highlight": "none", "doctitle_xform": False, "docinfo_xform": False,
    }  # fmt: skip
    tree = core.publish_doctree(text, settings_overrides=settings)
    return Node("scope", children=list(_of_docutils(tree)))


class _DocutilsNode(Protocol):
    """What is used of docutils' nodes."""

    children: Sequence[_DocutilsNode]
    rawsource: str

    def astext(self) -> str:
        """Return the text of all that stands in it."""
        ...


class _Directive(Protocol):
    """What is used of docutils' directives."""

    content: Sequence[str]
    content_offset: int
    state: Any


def _directive(name: str, rst: ModuleType, nodes: ModuleType) -> type:
    options: defaultdict[str, Any] = defaultdict(lambda: rst.directives.unchanged)
    options["class"] = rst.directives.unchanged

    def run(self: _Directive) -> list[_DocutilsNode]:
        if name in _SILENT_DIRECTIVES or not self.content:
            return []
        content = "\n".join(self.content)
        if name in _CODE_DIRECTIVES:
            return [nodes.literal_block(content, content)]
        scope = nodes.admonition(content)
        self.state.nested_parse(self.content, self.content_offset, scope)
        return [scope]

    members = {
        "has_content": True, "optional_arguments": 1, "final_argument_whitespace": True,
        "option_spec": options, "run": run,
    }  # fmt: skip
    return type("AnyDirective", (rst.Directive,), members)


def _of_docutils(node: _DocutilsNode) -> Iterator[Node]:
    for child in node.children:
        name = type(child).__name__
        if name in _UNREAD or not hasattr(child, "children"):
            continue
        kind = _OF_DOCUTILS.get(name, "group")
        if kind in _WITH_TEXT:
            # The text as it stands in the file, roles and all: that is what contexts show.
            yield Node(kind, str(child.rawsource or child.astext()))
        elif name == "thead":
            yield from (Node("header", children=row.children) for row in _of_docutils(child))
        elif name != "Text":
            yield Node(kind, children=list(_of_docutils(child)))


# --- Markdown ----------------------------------------------------------------------------------

_OF_MARKDOWN: Mapping[str, str] = {
    "paragraph": "paragraph", "heading": "heading", "bullet_list": "list", "list_item": "item",
    "ordered_list": "ordered", "table": "table", "tr": "row", "th": "scope", "td": "scope",
}  # fmt: skip


def markdown_tree(text: str) -> Node:
    """Return the parts of Markdown with pipe tables."""
    parser: Any = importlib.import_module("markdown_it").MarkdownIt("commonmark").enable("table")
    root = Node("scope")
    stack, in_head = [root], False
    for token in parser.parse(text):
        name = str(token.type).removesuffix("_open").removesuffix("_close")
        if name == "thead":
            in_head = token.nesting == 1
        if token.nesting == -1:
            stack.pop()
            continue
        kind = _OF_MARKDOWN.get(name, "group")
        node = Node("header" if kind == "row" and in_head else kind)
        if name in {"fence", "code_block"}:
            node = Node("code", str(token.content))
        elif name == "inline":
            holder = stack[-1]
            if holder.kind in _WITH_TEXT:
                holder.text += str(token.content)
                continue
            node = Node("paragraph", str(token.content))
        stack[-1].children.append(node)
        if token.nesting == 1:
            stack.append(node)
    return root


# --- HTML --------------------------------------------------------------------------------------

_OF_HTML: Mapping[str, str] = {
    "p": "paragraph", "pre": "code", "ul": "list", "ol": "ordered", "li": "item", "table": "table",
    "tr": "row", "td": "scope", "th": "th", "dd": "scope", "dt": "scope", "blockquote": "scope",
    **{f"h{i}": "heading" for i in range(1, 7)},
    **dict.fromkeys(("body", "div", "dl", "main", "section", "article", "thead", "tbody"), "group"),
}  # fmt: skip
_HIDDEN = {"script", "style", "head", "nav", "header", "footer"}


class _Tree(HTMLParser):
    """Builds the parts of HTML; text outside a paragraph is one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("scope")
        self._open: list[tuple[str, Node]] = [("", self.root)]
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        navigation = re.search(r"\bnav\w*|\btoc\b", dict(attrs).get("class") or "")
        if tag in _HIDDEN or self._hidden or (tag == "div" and navigation):
            self._hidden += tag not in {"br", "hr", "img", "meta", "link", "input", "col"}
        elif tag in _OF_HTML:
            if self._open[-1][1].kind == "paragraph":
                self._open.pop()
            node = Node(_OF_HTML[tag])
            self._open[-1][1].children.append(node)
            self._open.append((tag, node))
        elif tag == "br":
            self.handle_data("\n")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden -= 1
        elif tag in {name for name, _ in self._open}:
            while len(self._open) > 1 and self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        holder = self._open[-1][1]
        if holder.kind in _WITH_TEXT:
            holder.text += data
        elif data.strip():
            node = Node("paragraph", data)
            holder.children.append(node)
            self._open.append(("", node))


def tree_of(path: Path) -> Node:
    """Return the parts of a document."""
    text = path.read_text(encoding="utf-8")
    if FORMATS[path.suffix] == "html":
        parser = _Tree()
        parser.feed(text)
        parser.close()
        return parser.root
    return markdown_tree(text) if FORMATS[path.suffix] == "md" else rst_tree(text)


# --- what is kept, and what it needs -----------------------------------------------------------


@dataclass
class Part:
    """A part that a context may hold: the pieces that tell it, and the texts that it needs."""

    kind: str
    pieces: list[str]
    needs: list[str]
    steps: list[list[str]] = field(default_factory=list["list[str]"])
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
        if lead_in:
            part = self._add("lead_in", [plain(lead_in[0])], [], lead_in[0])
            part.steps = [lines]

    def _list(self, node: Node, lead_in: list[str]) -> None:
        items = [item for item in node.children if item.kind == "item"]
        own = [_own_texts(item) for item in items]
        for texts in own:
            self._add("item", _pieces(texts), lead_in, " ".join(texts))
        if lead_in:
            part = self._add("lead_in", [plain(lead_in[0])], [], lead_in[0])
            part.steps = [[piece for texts in own for piece in _pieces(texts)]]
        if node.kind == "ordered" and len(items) > 1:
            steps = [_pieces(texts) for texts in own]
            all_pieces = [piece for step in steps for piece in step]
            shown = " / ".join(texts[0] for texts in own if texts)
            self._add("procedure", all_pieces, [], shown).steps = steps
        for item in items:
            self._scope(item)

    def _table(self, node: Node, _lead_in: list[str]) -> None:
        rows = list(_rows(node))
        headers = [text for row in rows if _is_header(row) for text in texts_in(row)]
        for row in rows:
            if not _is_header(row):
                texts = list(texts_in(row))
                lines = [plain(line) for text in texts for line in text.splitlines()]
                needs = [line for text in headers for line in text.splitlines()]
                self._add("row", [plain(" ".join(texts)), *lines], needs, " | ".join(texts))


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
    return len(piece) >= LEAST_LETTERS and whole.count(piece) == 1


def look(document: Document, passages: Sequence[tuple[str, str]]) -> list[tuple[Part, bool]]:
    """Return the kept parts of a document, and which are orphans; passages are (text, role)."""
    held = [plain(text) for text, _ in passages]
    kept = [plain(text) for text, role in passages if role == "unit"]
    found = [
        (part, _is_orphan(part, held))
        for part in document.parts
        if any(piece in text for piece in part.pieces for text in kept)
    ]
    for text, role in passages:
        if role == "unit" and text.strip():
            lines = {plain(line) for line in text.splitlines()} - {""}
            shown = Part("heading", [], [], shown=" ".join(text.split())[:100])
            found.append((shown, bool(lines) and lines <= document.headings))
    return found


def _is_orphan(part: Part, held: Sequence[str]) -> bool:
    def is_there(piece: str) -> bool:
        return any(piece in text for text in held)

    steps = [step for step in part.steps if step]
    if part.kind == "lead_in":
        return bool(steps) and not any(is_there(piece) for step in steps for piece in step)
    if part.kind == "procedure":
        return not all(any(map(is_there, step)) for step in steps)
    return not all(map(is_there, part.needs))


def count(folder: Path, contexts: Iterable[Mapping[str, Any]], *, verbose: bool) -> dict[str, Any]:
    """Return the counts by format and kind."""
    documents: dict[str, Document | None] = {}
    kept: dict[str, Counter[str]] = defaultdict(Counter)
    orphans: dict[str, Counter[str]] = defaultdict(Counter)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in contexts:
        passages: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for item in answer.get("context", ()):
            passages[item["document_id"]].append((item["text"], item.get("role", "unit")))
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
