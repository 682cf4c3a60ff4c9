"""The parts of documents by their markup, read by docutils, markdown-it-py and `html.parser`.

Nothing of ragkit takes part, so that `orphans.py` judges independently of how ragkit reads a file.
"""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

FORMATS: Mapping[str, str] = {
    ".rst": "rst", ".txt": "txt-rst", ".md": "md", ".html": "html", ".htm": "html",
}  # fmt: skip


@dataclass
class Node:
    """A part of a document.

    `kind` is `paragraph`, `heading`, `code`, `list`, `ordered`, `item`, `table`, `caption`,
    `header`, `row`, `term` or `meaning` (what a term, an option or a field stands for); `scope` for
    what stands on its own, such as a note; `group` for what only wraps its children.
    """

    kind: str
    text: str = ""
    children: list[Node] = field(default_factory=list["Node"])


# --- reStructuredText --------------------------------------------------------------------------

_CODE_DIRECTIVES = {"code", "code-block", "sourcecode", "console", "snippet", "parsed-literal"}
_SILENT_DIRECTIVES = {
    "contents", "currentmodule", "highlight", "image", "figure", "include", "index",
    "literalinclude", "module", "py:currentmodule", "py:module", "raw", "toctree",
}  # fmt: skip
_DIRECTIVE = re.compile(r"^\s*\.\. +([\w:+.-]+)::", re.MULTILINE)
_OBJECTS = {
    "attribute", "class", "confval", "data", "describe", "envvar", "exception", "function",
    "method", "object", "option", "setting",
}  # fmt: skip
"""Directives of Sphinx whose argument is the term that their content explains."""
_ROLE = re.compile(r":([\w:+.-]+):`")
_OF_DOCUTILS: Mapping[str, str] = {
    "paragraph": "paragraph", "title": "heading", "rubric": "heading", "literal_block": "code",
    "doctest_block": "code", "bullet_list": "list", "enumerated_list": "ordered",
    "list_item": "item", "table": "table", "row": "row", "note": "scope", "entry": "scope",
    "admonition": "scope", "term": "term", "option_group": "term", "field_name": "term",
    "definition": "meaning", "description": "meaning", "field_body": "meaning",
}  # fmt: skip
_UNREAD = {"comment", "target", "substitution_definition", "system_message", "pending", "image"}
_WITH_TEXT = {"paragraph", "heading", "code", "caption", "term"}


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

    arguments: Sequence[str]
    content: Sequence[str]
    content_offset: int
    state: Any


def _directive(name: str, rst: ModuleType, nodes: ModuleType) -> type:
    options: defaultdict[str, Any] = defaultdict(lambda: rst.directives.unchanged)
    options["class"] = rst.directives.unchanged

    def run(self: _Directive) -> list[_DocutilsNode]:
        is_term = name.removeprefix("py:") in _OBJECTS and self.arguments
        if name in _SILENT_DIRECTIVES or not (self.content or is_term):
            return []
        content = "\n".join(self.content)
        if name in _CODE_DIRECTIVES:
            return [nodes.literal_block(content, content)]
        scope = (nodes.definition if is_term else nodes.admonition)(content)
        self.state.nested_parse(self.content, self.content_offset, scope)
        if not is_term:
            return [scope]
        term = nodes.term(self.arguments[0], self.arguments[0])
        return [nodes.definition_list_item(content, term, scope)]

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
        if name == "title" and type(node).__name__ == "table":
            kind = "caption"
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
    "tr": "row", "td": "scope", "th": "th", "dd": "meaning", "dt": "term", "blockquote": "scope",
    "caption": "caption",
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
            is_quote = tag == "table" and "blockquote" in (dict(attrs).get("class") or "")
            node = Node("scope" if is_quote else _OF_HTML[tag])
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
