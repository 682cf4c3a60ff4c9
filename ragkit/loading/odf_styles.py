"""What the styles of an OpenDocument file say about its paragraphs, runs, lists and slides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ragkit.loading.numbering import Numerals
from ragkit.loading.scripts import LOWERED, RAISED
from ragkit.loading.xml_parts import XmlPart

_NUMERALS: Mapping[str, Numerals] = {"1": "1", "a": "a", "A": "A", "i": "i", "I": "I"}
_MAX_EXTENDED = 20
"""How many styles one may extend, each the next."""
_CODE = ("preformatted", "source", "code")
_CAPTIONS = frozenset({"caption", "table", "illustration", "drawing", "figure"})


@dataclass(slots=True)
class Style:
    """A style: the one that it extends, and what it says of its own.

    None where it says nothing. `sign` is that of raised or lowered text.
    """

    parent: str = ""
    shown_name: str = ""
    list_style: str = ""
    sign: str | None = None
    is_struck: bool | None = None
    is_hidden: bool | None = None


@dataclass(frozen=True, slots=True)
class ListLevel:
    """How the items of a level are marked; `numerals` is None for bullets."""

    numerals: Numerals | None = None
    before: str = ""
    behind: str = ""
    start: int = 1
    n_shown: int = 1


@dataclass(frozen=True, slots=True)
class Look:
    """How text looks: raised or lowered by `sign`, struck out, or hidden."""

    sign: str = ""
    is_struck: bool = False
    is_hidden: bool = False


class Styles(XmlPart):
    """The styles of a file, in one namespace for each family."""

    def __init__(self) -> None:
        super().__init__()
        self._styles: dict[tuple[str, str], Style] = {}
        self._levels: dict[tuple[str, int], ListLevel] = {}
        self._style: Style | None = None
        self._list = ""

    def enter(self, name: str, attributes: dict[str, str]) -> None:
        """Take an element's start."""
        if name == "style":
            key = attributes.get("family", ""), attributes.get("name", "")
            self._style = self._styles[key] = Style(
                parent=attributes.get("parent-style-name", ""),
                shown_name=attributes.get("display-name", key[1]).lower(),
                list_style=attributes.get("list-style-name", ""),
            )
        elif name.endswith("-properties") and self._style:
            _take_properties(self._style, attributes)
        elif name in {"list-style", "outline-style"}:
            self._list = attributes.get("name", "")
        elif name in {"list-level-style-number", "outline-level-style"}:
            self._add_level(_number_level(attributes), attributes)
        elif name in {"list-level-style-bullet", "list-level-style-image"}:
            self._add_level(ListLevel(), attributes)

    def leave(self, name: str) -> None:
        """Take an element's end."""
        if name == "style":
            self._style = None

    def _add_level(self, level: ListLevel, attributes: Mapping[str, str]) -> None:
        at = attributes.get("level", "")
        if at.isascii() and at.isdecimal() and len(at) < 3:
            self._levels[self._list, int(at) - 1] = level

    def chain(self, family: str, name: str) -> list[Style]:
        """Return a style and those that it extends, the nearest first."""
        found: list[Style] = []
        while len(found) < _MAX_EXTENDED and (style := self._styles.get((family, name))):
            found.append(style)
            name = style.parent
        return found

    def level(self, list_style: str, at: int) -> ListLevel:
        """Return how a list of a style marks its items, from level 0."""
        return self._levels.get((list_style, at), ListLevel())

    def is_hidden(self, family: str, name: str) -> bool:
        """Whether a style hides what has it: a run, a sheet, a slide."""
        said = (style.is_hidden for style in self.chain(family, name))
        return next((value for value in said if value is not None), False)

    def list_style(self, paragraph: str) -> str:
        """Return the style of the list that a paragraph's style belongs to."""
        return next((s.list_style for s in self.chain("paragraph", paragraph) if s.list_style), "")

    def is_code(self, paragraph: str) -> bool:
        """Whether a style is for code."""
        names = [style.shown_name for style in self.chain("paragraph", paragraph)]
        return any(word in name for name in names for word in _CODE)

    def is_caption(self, paragraph: str) -> bool:
        """Whether a style is for captions."""
        return any(s.shown_name in _CAPTIONS for s in self.chain("paragraph", paragraph))

    def is_title(self, paragraph: str) -> bool:
        """Whether a style is for the title of a document."""
        return any(style.shown_name == "title" for style in self.chain("paragraph", paragraph))


class Looks:
    """The looks of the open elements, each resolved within the one around it."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._open: list[Look] = []
        self._known: dict[tuple[str, str, Look], Look] = {}

    @property
    def current(self) -> Look:
        """The look of text right here."""
        return self._open[-1] if self._open else Look()

    def enter(self, family: str, name: str) -> None:
        """Begin an element of a style."""
        outer = self.current
        key = family, name, outer
        if key not in self._known:
            chain = self._styles.chain(family, name)
            sign = (style.sign for style in chain if style.sign is not None)
            struck = (style.is_struck for style in chain if style.is_struck is not None)
            hidden = (style.is_hidden for style in chain if style.is_hidden is not None)
            self._known[key] = Look(
                next(sign, outer.sign),
                next(struck, outer.is_struck),
                next(hidden, outer.is_hidden),
            )
        self._open.append(self._known[key])

    def leave(self) -> None:
        """End the innermost element."""
        if self._open:
            self._open.pop()


def _take_properties(style: Style, attributes: Mapping[str, str]) -> None:
    position = attributes.get("text-position", "").split(" ")[0]
    if position:
        raised = position == "super" or (position[:1].isdigit() and position.strip("0%") != "")
        lowered = position == "sub" or position.startswith("-")
        style.sign = RAISED if raised else LOWERED if lowered else ""
    line = attributes.get("text-line-through-style", attributes.get("text-line-through-type", ""))
    if line:
        style.is_struck = line != "none"
    hidden = attributes.get("display", "") in {"none", "false"}
    if hidden or attributes.get("visibility", "") == "hidden":
        style.is_hidden = True
    elif "display" in attributes or "visibility" in attributes:
        style.is_hidden = False


def _number_level(attributes: Mapping[str, str]) -> ListLevel:
    start, n_shown = attributes.get("start-value", ""), attributes.get("display-levels", "")
    form = attributes.get("num-format", "")
    return ListLevel(
        numerals=_NUMERALS.get(form) if form else None,
        before=attributes.get("num-prefix", "")[:20],
        behind=attributes.get("num-suffix", "")[:20],
        start=int(start) if start.isascii() and start.isdecimal() and len(start) < 9 else 1,
        n_shown=int(n_shown) if n_shown in set("123456789") else 1,
    )


def folded(text: str) -> str:
    """Return text with runs of white space as one space, which is what they mean."""
    words = " ".join(text.split())
    before = " " if text[:1].isspace() else ""
    return before + words + (" " if text[-1:].isspace() and words else "")
