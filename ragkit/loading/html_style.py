"""What style sheets and attributes say about elements, as far as it hides or strikes out text.

Known are the page's own `<style>` sheets outside of `@` rules, by selectors of one element (`p`,
`.a`, `#b`, `p.a.b`), and `style` attributes. Linked sheets are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

_PROPERTIES = frozenset(
    "display visibility opacity font-size color background background-color background-image "
    "position left top right bottom text-indent clip clip-path height max-height width max-width "
    "overflow overflow-x overflow-y transform text-decoration text-decoration-line".split()
)
_MOST_RULES = 5_000
_MOST_COMPOUND = 5
"""Rules of a sheet for one class that ask for more than that class."""
_MOST_CLASSES = 20
"""Of an element."""
_MOST_KNOWN = 10_000
"""Kinds of elements whose style is kept."""
_COMMENT = re.compile(r"/\*(?:[^*]++|\*(?!/))*+(?:\*/)?")
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)
_SELECTOR = re.compile(r"(?:\*|[a-z][a-z0-9-]*+)?(?:[.#][\w-]++)*+", re.IGNORECASE)
_BRACE = re.compile(r"[{}]")
_PART = re.compile(r"[.#]?[^.#]+")

_Rank: TypeAlias = tuple[bool, int, int]
"""Importance, specificity and order of a declaration: the highest counts."""
_Ranked: TypeAlias = dict[str, tuple[_Rank, str]]
_Declared: TypeAlias = dict[str, tuple[str, bool]]
"""Values by property, and whether they are important."""


@dataclass(slots=True)
class StyleSheet:
    """Rules by the first class, the id or the tag of their selector."""

    simple: dict[str, _Ranked] = field(default_factory=dict[str, _Ranked])
    compound: dict[str, list[tuple[frozenset[str], _Ranked]]] = field(
        default_factory=dict[str, list[tuple[frozenset[str], _Ranked]]]
    )
    n_rules: int = 0
    _found: dict[tuple[str, str, str], _Ranked] = field(
        default_factory=dict[tuple[str, str, str], _Ranked]
    )

    def add(self, css: str) -> None:
        """Add the rules of a sheet."""
        for selectors, body in _rules(_plain(css)):
            declared = _declarations(body)
            n_left = _MOST_RULES - self.n_rules if declared else 0
            for selector in selectors.split(",", n_left)[:n_left]:
                self.n_rules += 1
                self._add(selector.strip().lower(), declared)

    def _add(self, selector: str, declared: _Declared) -> None:
        if not selector or not _SELECTOR.fullmatch(selector):
            return
        parts = frozenset(_PART.findall(selector)) - {"*"}
        weight = sum({"#": 100, ".": 10}.get(part[0], 1) for part in parts)
        ranked: _Ranked = {
            name: ((is_important, weight, self.n_rules), value)
            for name, (value, is_important) in declared.items()
        }
        key = min(parts, key=lambda part: (part[0] not in ".#", part), default="*")
        if len(parts) <= 1:
            known = self.simple.setdefault(key, {})
            for name, item in ranked.items():
                _take(known, name, item)
        elif len(self.compound.setdefault(key, [])) < _MOST_COMPOUND:
            self.compound[key].append((parts, ranked))

    def style(self, tag: str, attributes: Mapping[str, str]) -> dict[str, str]:
        """Return the declarations that count for an element."""
        inline = attributes.get("style", "")
        if not self.n_rules and not inline:
            return {}
        found = dict(self._matching(tag, attributes)) if self.n_rules else {}
        for name, (value, is_important) in _declarations(_plain(inline)).items():
            _take(found, name, ((is_important, 1000, 0), value))
        return {name: value for name, (_, value) in found.items()}

    def _matching(self, tag: str, attributes: Mapping[str, str]) -> _Ranked:
        key = tag, attributes.get("class", ""), attributes.get("id", "")
        known = self._found.get(key)
        if known is not None:
            return known
        found: _Ranked = {}
        classes = key[1].lower().split()[:_MOST_CLASSES]
        names = {"*", tag, f"#{key[2].strip().lower()}", *(f".{name}" for name in classes)}
        for own in names:
            for name, item in self.simple.get(own, {}).items():
                _take(found, name, item)
            for parts, ranked in self.compound.get(own, ()):
                for name, item in ranked.items() if parts <= names else ():
                    _take(found, name, item)
        if len(self._found) < _MOST_KNOWN:
            self._found[key] = found
        return found


def _take(known: _Ranked, name: str, item: tuple[_Rank, str]) -> None:
    if name not in known or known[name][0] <= item[0]:
        known[name] = item


def _plain(css: str) -> str:
    """Return a sheet without comments, its escapes resolved."""
    css = _COMMENT.sub("", css) if "/*" in css else css
    return _ESCAPE.sub(_character, css) if "\\" in css else css


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1], 16) if escape[1] else 0
    return (escape[2] or "") if not escape[1] else chr(code) if 0 < code <= 0x10FFFF else ""


def _rules(css: str) -> Iterator[tuple[str, str]]:
    """Yield selectors and bodies; what an `@` rule holds is left out."""
    position = 0
    while (opened := css.find("{", position)) >= 0:
        selectors = css[position:opened].rpartition(";")[2].rpartition("-->")[2].strip()
        selectors = selectors.removeprefix("<!--").strip()
        if selectors.startswith("@"):
            position = _after_block(css, opened)
            continue
        closed = css.find("}", opened)
        closed = len(css) if closed < 0 else closed
        yield selectors, css[opened + 1 : closed]
        position = closed + 1


def _after_block(css: str, opened: int) -> int:
    depth = 0
    for brace in _BRACE.finditer(css, opened):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.end()
    return len(css)


def _declarations(body: str) -> _Declared:
    """Return the declarations of the properties that can hide."""
    declared: _Declared = {}
    for declaration in body.split(";"):
        name, colon, value = declaration.partition(":")
        name = name.strip().lower()
        if colon and name in _PROPERTIES:
            value, mark, importance = value.lower().partition("!")
            is_important = bool(mark) and importance.strip() == "important"
            if is_important or not declared.get(name, ("", False))[1]:
                declared[name] = " ".join(value.split()), is_important
    return declared
