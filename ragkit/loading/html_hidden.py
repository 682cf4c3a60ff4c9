"""Text of a page that nobody sees, told by its resolved style."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ragkit.loading.html_style import StyleSheet
from ragkit.loading.markup import EndTag, StartTag, tokens

_FORMULAS = frozenset({"katex-html", "mjx-math", "mathjax", "mathjax_display"})
"""Classes of formulas as they are seen; the aria-hidden attribute is for readers of MathML.

Where a page has MathML, that is read and these are not: nothing in them tells 10² from 102.
"""
_SHEETS = re.compile("<style|<link", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:e[-+]?\d{1,2})?")
_LENGTH = re.compile(rf"({_NUMBER.pattern})\s?(px|pt|pc|em|rem|ex|ch|vw|vh|%|cm|mm|in|q)?")
_PIXELS = {"px": 1, "": 1, "pt": 4 / 3, "pc": 16, "in": 96, "cm": 37.8, "mm": 3.78, "q": 0.94}
_TINY_PIXELS = 2.0
"""Of a font: nobody reads it."""
_FAR_PIXELS = -900.0
"""A place that no screen shows, to the left of it or above."""
_FAINT = 0.05
_NEAR = 0.05
"""Of 1: how far colours may differ that look like one."""
_COLOURS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}
_HEX = re.compile(r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})")
_RGB = re.compile(r"rgba?\(([^()]{1,80})\)")
_CLIPPED = re.compile(
    r"rect\((?:0|1)(?:px)?(?:[ ,]+(?:0|1)(?:px)?){3}\)|inset\((?:50|100)%[^()]{0,40}\)|circle\(0"
)
_SCALED = re.compile(r"scale(?:x|y|3d)?\(\s*+0?(?:\.0*+)?\s*+[,)]")
_STRUCK, _LINE_THROUGH = frozenset({"s", "strike", "del"}), "line-through"
_PRINT_ONLY = frozenset({"print", "speech", "aural", "braille"})

Colour = tuple[float, float, float] | None
"""None is transparent."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the text of an element looks. `gone` and `is_struck` hold for all inside it.

    The others are inherited. `colour` and `background` are "" where they are not known.
    """

    gone: bool = False
    is_struck: bool = False
    visible: bool = True
    font_pixels: float = 16.0
    colour: Colour | str = (0.0, 0.0, 0.0)
    background: Colour | str = ""

    @property
    def is_seen(self) -> bool:
        """Whether text right inside the element is seen."""
        if self.gone or not self.visible or self.font_pixels < _TINY_PIXELS:
            return False
        if self.colour is None:
            return False
        colour, background = self.colour, self.background
        if isinstance(colour, str) or isinstance(background, str) or background is None:
            return True
        return any(abs(a - b) > _NEAR for a, b in zip(colour, background, strict=True))


class Looks:
    """Resolves the looks of the elements of a page."""

    def __init__(self, page: str, *, knows_aria: bool = True) -> None:
        """Read the style sheets of a page, wherever they stand."""
        self._sheet = StyleSheet()
        self._knows_aria = knows_aria
        self._has_mathml = "<math" in page
        is_linked, in_style = False, False
        has_sheets = _SHEETS.search(page) is not None
        for token in tokens(page) if has_sheets else ():
            if isinstance(token, StartTag):
                in_style = token.name == "style" and not _is_print(token.attributes)
                is_linked |= token.name == "link" and "stylesheet" in token.attributes.get(
                    "rel", ""
                )
            elif isinstance(token, EndTag):
                in_style = False
            elif in_style:
                self._sheet.add(token)
        # Without a sheet of others, a page is white.
        self.first = Look(background="" if is_linked else (1.0, 1.0, 1.0))

    def shows(self, token: StartTag) -> bool:
        """Whether an element hides nothing by what is said of it alone."""
        return self.of(token.name, token.attributes, self.first).is_seen

    def of(self, tag: str, attributes: Mapping[str, str], outer: Look) -> Look:
        """Return the look of an element inside another one."""
        style = self._sheet.style(tag, attributes)
        is_hidden = attributes.get("hidden", "until-found").lower() != "until-found"
        if self._knows_aria and attributes.get("aria-hidden", "").lower() == "true":
            classes = attributes.get("class", "").lower().split()
            is_hidden |= self._has_mathml or _FORMULAS.isdisjoint(classes)
        if outer.gone or is_hidden or (style and _is_gone(style)):
            return outer if outer.gone else replace(outer, gone=True)
        look = _inherited(style, outer) if style else outer
        if not look.is_struck and (tag in _STRUCK or _LINE_THROUGH in _decoration(style)):
            look = replace(look, is_struck=True)
        return look


def _decoration(style: Mapping[str, str] | None) -> str:
    names = ("text-decoration", "text-decoration-line")
    return " ".join(style.get(name, "") for name in names) if style else ""


def _is_print(attributes: Mapping[str, str]) -> bool:
    media = attributes.get("media", "").lower().replace(",", " ").split()
    return bool(media) and _PRINT_ONLY.issuperset(media)


def _is_gone(style: Mapping[str, str]) -> bool:
    """Whether an element is not shown, whatever stands in it."""
    if style.get("display") == "none" or _scaled_to_nothing(style):
        return True
    opacity = _number(style.get("opacity", ""))
    if opacity is not None and opacity <= _FAINT:
        return True
    if (_pixels(style.get("text-indent", "")) or 0) <= _FAR_PIXELS:
        return True
    if style.get("position") in {"absolute", "fixed"} and _is_out_of_sight(style):
        return True
    overflows = {style.get(name, "") for name in ("overflow", "overflow-x", "overflow-y")}
    sizes = (style.get(name, "") for name in ("height", "max-height", "width", "max-width"))
    return bool(overflows & {"hidden", "clip"}) and any(_pixels(size) == 0 for size in sizes)


def _scaled_to_nothing(style: Mapping[str, str]) -> bool:
    return _SCALED.search(style.get("transform", "")) is not None


def _is_out_of_sight(style: Mapping[str, str]) -> bool:
    places = (_pixels(style.get(name, "")) or 0 for name in ("left", "top", "right", "bottom"))
    clips = style.get("clip", ""), style.get("clip-path", "")
    return min(places) <= _FAR_PIXELS or any(_CLIPPED.match(clip) for clip in clips)


def _inherited(style: Mapping[str, str], outer: Look) -> Look:
    visibility = style.get("visibility", "")
    visible = outer.visible
    if visibility in {"hidden", "collapse", "visible"}:
        visible = visibility == "visible"
    font = _pixels(style.get("font-size", ""), of=outer.font_pixels)
    colour = _colour(style["color"]) if "color" in style else outer.colour
    return Look(
        is_struck=outer.is_struck,
        visible=visible,
        font_pixels=outer.font_pixels if font is None else font,
        colour=outer.colour if colour == "inherit" else colour,
        background=_background(style, outer.background),
    )


def _background(style: Mapping[str, str], outer: Colour | str) -> Colour | str:
    """Return the colour behind a text; an image is not known."""
    if style.get("background-image", "none") != "none":
        return ""
    value = style.get("background-color", style.get("background", ""))
    if not value or value in {"none", "inherit", "initial", "transparent"}:
        return outer
    colour = _colour(value)
    return outer if colour is None else colour


def _colour(value: str) -> Colour | str:
    """Return a colour, "inherit", or "" for one that is not known."""
    if value in {"transparent", "inherit"}:
        return None if value == "transparent" else value
    if value in _COLOURS:
        return _COLOURS[value]
    if match := _HEX.fullmatch(value):
        digits = match[1] if len(match[1]) > 4 else "".join(2 * digit for digit in match[1])
        parts = [int(digits[i : i + 2], 16) / 255 for i in range(0, len(digits), 2)]
        return _opaque(parts)
    if match := _RGB.fullmatch(value):
        numbers = map(_number, re.split(r"[\s,/]+", match[1].strip()))
        known = [number for number in numbers if number is not None]
        scaled = [part / (1.0 if "%" in match[1] else 255) for part in known[:3]]
        return _opaque([*scaled, *known[3:4]])
    return ""


def _opaque(parts: Sequence[float]) -> Colour | str:
    if len(parts) > 3 and parts[3] <= _FAINT:
        return None
    return (parts[0], parts[1], parts[2]) if len(parts) > 2 else ""


def _number(value: str) -> float | None:
    """Return the number that a value begins with; of a share its hundredth."""
    match = _NUMBER.match(value)
    if match is None:
        return None
    return float(match[0]) / (100 if value.startswith("%", match.end()) else 1)


def _pixels(value: str, *, of: float = 16.0) -> float | None:
    """Return a length in pixels; None for what is none. `of` is the font of the element around."""
    match = _LENGTH.fullmatch(value)
    if match is None:
        return None
    number, unit = float(match[1]), match[2] or ""
    if unit in _PIXELS:
        return number * _PIXELS[unit]
    if unit in {"em", "%", "ex", "ch"}:
        return number * of * {"em": 1.0, "%": 0.01}.get(unit, 0.5)
    return number * 16.0
