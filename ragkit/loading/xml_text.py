"""XML: articles (JATS, DocBook, TEI), feeds (RSS, Atom) and data, read as the HTML they amount to.

What the elements of the known kinds are in HTML, the reader of HTML makes of it. Elements that are
not known are data: one without others inside is a line `name: value`, and those of one record
follow each other; inside a paragraph they are part of it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ragkit.loading.html import load_html
from ragkit.loading.loaded import MAX_NAME_CHARACTERS, LoadedText
from ragkit.loading.mathml import MATHML
from ragkit.loading.xml_events import decoded_xml, parse_xml
from ragkit.types import Json

_INLINE = frozenset(
    "a abbr acronym annotation application b big bold citetitle classname command computeroutput "
    "constant em email emph emphasis envar ext-link filename firstterm function guibutton guilabel "
    "guimenu guimenuitem hi i inline-formula inline-graphic italic keycap link literal monospace "
    "named-content option overline parameter phrase productname prompt quote replaceable roman "
    "sans-serif sc small span strong styled-content systemitem tt type u ulink underline uri "
    "userinput varname xref".split()
)
_SECTIONS = frozenset(
    "abstract ack app appendix article bibliography book boxed-text chapter channel div entry feed "
    "fn-group glossary item part preface ref-list reference refsect1 refsect2 refsect3 sec sect1 "
    "sect2 sect3 sect4 sect5 section simplesect".split()
)
_TITLES = frozenset("title head article-title book-title".split())
_TITLED = _SECTIONS | frozenset(
    "articleinfo bookinfo chapterinfo info rss sectioninfo title-group".split()
)
_HTML: Mapping[str, str] = {
    "p": "p", "para": "p", "simpara": "p", "formalpara": "div", "contrib": "p", "ref": "p",
    "bibliomixed": "p",
    "mixed-citation": "", "element-citation": "", "title-group": "", "label": "",
    "sup": "sup", "superscript": "sup", "sub": "sub", "subscript": "sub", "break": "br", "br": "br",
    "programlisting": "pre", "screen": "pre", "preformat": "pre", "literallayout": "pre",
    "list": "ul", "itemizedlist": "ul", "orderedlist": "ol", "list-item": "li", "listitem": "li",
    "ul": "ul", "ol": "ol", "li": "li", "dl": "dl", "dt": "dt", "dd": "dd",
    "def-list": "dl", "variablelist": "dl", "term": "dt", "def": "dd",
    "table": "table", "informaltable": "table", "thead": "thead", "tbody": "tbody",
    "tfoot": "tfoot", "tr": "tr", "row": "tr", "td": "td", "th": "th",
    "note": "div", "tip": "div", "warning": "div", "caution": "div", "important": "div",
}  # fmt: skip
"""What known elements are in HTML; empty for those that are nothing by themselves."""

_SPACED = frozenset("ref contrib aff name string-name person-group".split())
"""Elements that set what stands in them apart by nothing but tags."""

_OF_FEEDS = frozenset("description summary content encoded".split())
_NOT_TEXT = frozenset(
    "journal-meta article-id article-categories history permissions counts custom-meta-group "
    "pub-date volume issue fpage lpage elocation-id related-article contrib-id object-id "
    "tex-math graphic media processing-meta role".split()
)
_KEPT_IN = frozenset({"ref", "mixed-citation", "element-citation", "citation"})
_NOT_TEXT_OF_FEEDS = frozenset("guid generator docs ttl cloud id link skipHours skipDays".split())
_FEEDS = frozenset({"rss", "feed", "RDF"})
_MAX_VALUE_CHARACTERS = 2_000
_ESCAPED_TAG = re.compile(r"</?[A-Za-z]|&[a-z#]")
_SPANS = frozenset({"rowspan", "colspan"})


def load_xml(data: bytes) -> LoadedText:
    """Load XML: text by blocks, headings and rows marked; attributes only where there is no text.

    Raises:
        LoadError: `broken` when it is not XML, `limit` when it is nested too deeply or its entities
            stand for long texts.
    """
    text, encoding = decoded_xml(data)
    writer = _Writer()
    parse_xml(text, writer)
    metadata: dict[str, Json] = {} if encoding is None else {"encoding": encoding}
    if writer.root == "html":
        return load_html(data)
    pieces = writer.pieces
    if not writer.has_text:
        attributes = _Attributes()
        parse_xml(text, attributes)
        pieces = attributes.pieces
    loaded = load_html("".join(pieces).encode("utf-8"))
    title = " ".join(writer.title.split())[:MAX_NAME_CHARACTERS]
    return replace(loaded, title=title, metadata=metadata)


@dataclass(slots=True)
class _Open:
    """An open element: `tag` is what it is in HTML, None while that is to be decided at its end."""

    name: str
    tag: str | None
    first: int
    is_title: bool = False
    has_elements: bool = False


class _Writer:
    """Writes HTML."""

    def __init__(self) -> None:
        self.root = ""
        self.title = ""
        self.has_text = False
        self.pieces: list[str] = []
        self._open: list[_Open] = []
        self._level = 0
        self._n_in_text = 0
        self._n_spaced = 0
        self._n_dropped = 0
        self._number = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        parent = self._open[-1] if self._open else None
        if parent is None:
            self.root = name
        else:
            parent.has_elements = True
        self._n_dropped += self._is_dropped(name, parent)
        element = _Open(name, self._tag(name, attributes, parent), len(self.pieces))
        element.is_title = element.tag is not None and element.tag[:1] == "h"
        self._open.append(element)
        self._n_in_text += _is_text(element)
        self._n_spaced += name in _SPACED
        if name in _SECTIONS and element.tag == "section":
            self._level += 1
        spans = "".join(f' {key}="{value}"' for key, value in attributes.items()
                        if key in _SPANS and value.isdecimal())  # fmt: skip
        self.pieces.append(f"<{element.tag}{spans}>" if element.tag else "")
        if element.is_title:
            self.pieces.append(self._number)
            self._number = ""

    def data(self, text: str) -> None:
        """Take characters."""
        if self._n_dropped or not self._open:
            return
        if any(element.is_title for element in self._open[-4:]) and self._level <= 1:
            self.title += text if len(self.title) < MAX_NAME_CHARACTERS else ""
        self.has_text = self.has_text or not text.isspace()
        self.pieces.append(html.escape(text, quote=False))

    def end(self, name: str) -> None:
        """Take an element's end."""
        element = self._open.pop()
        self._n_in_text -= _is_text(element)
        self._n_spaced -= name in _SPACED
        if name in _SECTIONS and element.tag == "section":
            self._level -= 1
        if name == "label" and self._open and self._open[-1].tag == "section":
            self._number = "".join(self.pieces[element.first :]) + " "  # of the title that follows
            del self.pieces[element.first :]
        elif element.tag is None:
            self._end_unknown(element)
        elif element.tag and element.tag != "br":
            self.pieces.append(f"</{element.tag}>")
        elif name == "label" or self._n_spaced:
            self.pieces.append(" ")
        parent = self._open[-1] if self._open else None
        self._n_dropped -= self._is_dropped(name, parent)
        if element.is_title and self._level <= 1 and self.title.strip():
            self.title += " "

    def _is_dropped(self, name: str, parent: _Open | None) -> bool:
        if self.root in _FEEDS and name in _NOT_TEXT_OF_FEEDS:
            return True
        is_known = self.root in {"article", "sub-article", "pmc-articleset", "OAI-PMH"}
        return is_known and name in _NOT_TEXT and not (parent and parent.name in _KEPT_IN)

    def _tag(self, name: str, attributes: dict[str, str], parent: _Open | None) -> str | None:
        """Return what an element is in HTML; empty for nothing, None if its end decides."""
        above = parent.name if parent else ""
        if name == "math" or (above in MATHML and name in MATHML):
            return name
        if name in _TITLES and (above in _TITLED or parent is None):
            return f"h{min(6, max(1, self._level))}"
        if self._n_spaced and name not in _SPACED:
            return name if name in {"sup", "sub"} else ""
        by_parent = self._tag_by_parent(name, above, attributes)
        if by_parent is not None:
            return by_parent
        if name in _INLINE or (self._n_in_text and name not in _HTML):
            return ""
        return _HTML.get(name)

    def _tag_by_parent(self, name: str, above: str, attributes: dict[str, str]) -> str | None:
        """Return what an element is in HTML because of where it stands, or of its attributes."""
        found: str | None = None
        if name == "caption" or (name == "title" and not self._n_in_text):
            found = "caption" if above == "table" else "p"
        elif name in {"item", "entry"} and above in {"list", "row"}:
            found = "li" if above == "list" else "td"
        elif name == "list" and "order" in attributes.get("list-type", attributes.get("type", "")):
            found = "ol"
        elif name == "listitem" and above == "varlistentry":
            found = "dd"
        elif name in _SECTIONS:
            found = "section"
        return found

    def _end_unknown(self, element: _Open) -> None:
        """End an element of data, or of a kind that is not known: a record, or its line."""
        at = element.first
        if element.has_elements:
            self.pieces[at] = "<div>"
            self.pieces.append("</div>")
            return
        text = html.unescape("".join(self.pieces[at + 1 :]))
        del self.pieces[at + 1 :]
        if element.name in _OF_FEEDS and _ESCAPED_TAG.search(text):
            text = load_html(text.encode("utf-8")).text
        escaped = html.escape(text, quote=False)
        if not escaped.strip():
            return
        if element.name in _OF_FEEDS or len(text) > _MAX_VALUE_CHARACTERS or not self._open:
            paragraphs = escaped.strip().replace("\n\n", "</p><p>").replace("\n", "<br>")
            self.pieces.append(f"<p>{paragraphs}</p>")
        else:
            self.pieces.append(f"{html.escape(element.name)}: {escaped}<br>")


def _is_text(element: _Open) -> bool:
    return element.tag is not None and element.tag in {
        "p",
        "pre",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
    }


class _Attributes:
    """Writes a line for each element that has attributes, for files that have nothing else."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        shown = "; ".join(
            f"{key}: {value}" for key, value in attributes.items() if not key.startswith("xmlns")
        )
        if shown:
            self.pieces.append(html.escape(f"{name}: {shown}", quote=False) + "<br>")

    def data(self, text: str) -> None:
        """Take characters."""

    def end(self, name: str) -> None:
        """Take an element's end."""
