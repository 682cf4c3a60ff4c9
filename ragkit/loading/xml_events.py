"""Elements and texts of any XML file, in one pass, without what a hostile one makes of entities.

A file may declare entities of its own. One is replaced where it stands in a text, if it is short
and holds no other; a reference to any other that the file declares is refused, so that a few bytes
never become a long text. What stands outside the file is not read.
"""

from __future__ import annotations

import html
import re
from typing import Protocol

from ragkit.errors import LoadError
from ragkit.loading.encodings import decode_text
from ragkit.loading.loaded import clean

MAX_DEPTH = 2_000
"""Depth of nested elements."""

_MAX_ENTITY_CHARACTERS = 40
_DECLARED = re.compile(rb"<\?xml[^>]{0,100}encoding\s*=\s*[\"']([A-Za-z0-9._-]+)")


class Target(Protocol):
    """Receives elements by their local names, and texts."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""

    def data(self, text: str) -> None:
        """Take characters."""

    def end(self, name: str) -> None:
        """Take an element's end."""


def decoded_xml(data: bytes) -> tuple[str, str | None]:
    """Return the characters of an XML file, and its encoding if it had to be guessed."""
    declared = _DECLARED.search(data[:256])
    name = declared[1].decode() if declared else None
    text, guessed = decode_text(data, declared=name)
    is_declared = guessed is not None and name is not None and name.lower() == guessed
    return clean(text).lstrip(), None if is_declared else guessed


def parse_xml(text: str, target: Target) -> None:
    """Pass the elements and texts of an XML file on.

    Raises:
        LoadError: `broken` when it is not XML, `limit` when it is nested too deeply or refers to an
            entity of its own that is not short.
    """
    import pyexpat

    parser = pyexpat.ParserCreate("utf-8")
    parser.buffer_text = True
    # Names such as &nbsp; are declared outside, if at all; without this they end the parsing.
    parser.UseForeignDTD(True)
    events = _Events(target)
    parser.StartElementHandler = events.start
    parser.EndElementHandler = events.end
    parser.CharacterDataHandler = target.data
    parser.EntityDeclHandler = events.declare
    parser.SkippedEntityHandler = events.refer
    # That there is one keeps expat from replacing entities by itself.
    parser.DefaultHandler = _ignore
    try:
        parser.Parse(text.encode("utf-8"), True)
    except pyexpat.ExpatError as error:
        raise LoadError("broken", f"not XML: {error}") from error


def _ignore(text: str) -> None:
    pass


class _Events:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._entities: dict[str, str | None] = {}
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LoadError("limit", f"elements nested deeper than {MAX_DEPTH:,}")
        self._target.start(name.rpartition(":")[2], attributes)

    def end(self, name: str) -> None:
        self._depth -= 1
        self._target.end(name.rpartition(":")[2])

    def declare(self, name: str, is_parameter: bool, value: str | None, *_: object) -> None:
        if not is_parameter:
            is_short = value is not None and len(value) <= _MAX_ENTITY_CHARACTERS
            self._entities.setdefault(name, value if is_short else None)

    def refer(self, name: str, is_parameter: bool) -> None:
        if is_parameter:
            return
        if name not in self._entities:
            named = html.unescape(f"&{name};")
            self._target.data("" if named.startswith("&") else named)
            return
        value = self._entities[name]
        if value is None or "&" in value or "<" in value:
            raise LoadError("limit", f"its entity {name[:80]!r} stands for more than a few words")
        self._target.data(value)
