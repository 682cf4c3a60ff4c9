"""PDFium's characters of a page: where they stand and how they are painted."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from ragkit.loading.loaded import clean, whole_characters

_WORD = re.compile(r"\S+")
_BOLD = re.compile(rb"bold|black|heavy|cmbx|-medi|demi", re.IGNORECASE)

_LIGATURES = dict(zip(range(0xFB00, 0xFB07), "ff fi fl ffi ffl st st".split(), strict=True))
_LEAST_SIZE, _MOST_SIZE = 0.1, 1000.0
"""In points: letters of other heights are not to be believed."""

Box: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right and top, in points."""


class Paint(NamedTuple):
    """The render mode of a character, and the colour and opacity of it, 0 to 255."""

    mode: int
    red: int
    green: int
    blue: int
    alpha: int


_FILLED, _STROKED = 0, frozenset({1, 5})
"""Modes: the first, and those in which letters have the colour of strokes (ISO 32000-1, 9.3.6)."""
_BLACK = bytes((ctypes.c_uint * 4)(0, 0, 0, 255))


class _Direct(NamedTuple):
    """Functions of PDFium that take pages, objects and where to write as addresses."""

    n_objects: Any
    object_at: Any
    kind: Any
    of_character: Any
    mode: Any
    fill: Any
    stroke: Any
    box: Any


@lru_cache(maxsize=1)
def _direct(raw: Any) -> _Direct:  # noqa: ANN401 - PDFium has no types
    """Return the functions that are called for every word.

    With typed pointers, as everything else has them, each call takes twice as long.
    """
    address, number = ctypes.c_void_p, ctypes.c_int

    def function(name: str, result: Any, *arguments: Any) -> Any:  # noqa: ANN401
        typed = ctypes.cast(getattr(raw, name), address)
        return ctypes.CFUNCTYPE(result, *arguments)(typed.value or 0)

    return _Direct(
        n_objects=function("FPDFPage_CountObjects", number, address),
        object_at=function("FPDFPage_GetObject", address, address, number),
        kind=function("FPDFPageObj_GetType", number, address),
        of_character=function("FPDFText_GetTextObject", address, address, number),
        mode=function("FPDFTextObj_GetTextRenderMode", number, address),
        fill=function("FPDFPageObj_GetFillColor", number, *[address] * 5),
        stroke=function("FPDFPageObj_GetStrokeColor", number, *[address] * 5),
        box=function("FPDFText_GetLooseCharBox", number, address, number, address),
    )


@dataclass(slots=True, eq=False)
class TextPage:
    """PDFium's text of an open page: a character for each of its indices; `close` frees it."""

    raw: Any
    page: Any
    text: str = ""
    _text_page: Any = None
    _rect: Any = None
    _matrix: Any = None
    _x: Any = None
    _y: Any = None
    _name: Any = None
    _flags: Any = None
    _direct: Any = None
    _addresses: tuple[int | None, int | None] = (None, None)
    _colors: Any = None
    _paints: dict[int | None, Paint] = field(default_factory=dict[int | None, Paint])

    def __post_init__(self) -> None:
        """Load the text."""
        self._text_page = self.raw.FPDFText_LoadPage(self.page)
        self._rect = self.raw.FS_RECTF()
        self._matrix = self.raw.FS_MATRIX()
        self._x, self._y = ctypes.c_double(), ctypes.c_double()
        self._name, self._flags = ctypes.create_string_buffer(80), ctypes.c_int()
        self._direct, self._colors = _direct(self.raw), (ctypes.c_uint * 4)()
        page, text_page = (ctypes.cast(x, ctypes.c_void_p) for x in (self.page, self._text_page))
        self._addresses = page.value, text_page.value
        self.text = self._loaded() if self._text_page else ""

    def close(self) -> None:
        """Free the text."""
        if self._text_page:
            self.raw.FPDFText_ClosePage(self._text_page)

    def _loaded(self) -> str:
        n = max(0, self.raw.FPDFText_CountChars(self._text_page))
        units = (ctypes.c_ushort * (n + 1))()
        if self.raw.FPDFText_GetText(self._text_page, 0, n, units) == n + 1:
            text = bytes(units)[: 2 * n].decode("utf-16-le", "surrogatepass")
            if len(text) == n:
                return text
        # Characters outside the first plane, or without a code: one by one.
        codes = (self.raw.FPDFText_GetUnicode(self._text_page, i) for i in range(n))
        return "".join(chr(code) if code <= 0x10FFFF else "\x00" for code in codes)

    def box(self, first: int, last: int, turn: int = 0) -> Box:
        """Return the box around two characters, in points of the page as it is turned."""
        look, text_page, rect = self._direct.box, self._addresses[1], self._rect
        look(text_page, first, ctypes.addressof(rect))
        left, bottom, right, top = rect.left, rect.bottom, rect.right, rect.top
        if last > first:
            look(text_page, last, ctypes.addressof(rect))
            left, right = min(left, rect.left), max(right, rect.right)
            bottom, top = min(bottom, rect.bottom), max(top, rect.top)
        return _turned(left, bottom, right, top, turn) if turn else (left, bottom, right, top)

    def shown(self, start: int, end: int, hidden: Collection[int]) -> str:
        """Return the characters of a span that are not hidden."""
        text = self.text[start:end]
        if hidden:
            text = "".join(c for i, c in enumerate(text, start) if i not in hidden)
        if text.isascii() and text.isprintable():
            return text
        text = clean(whole_characters(text))
        return text.translate(_LIGATURES)

    def paints(self) -> set[Paint]:
        """Return how the words are painted: by the objects of the page, where these are fewer."""
        raw, direct, (page, text_page) = self.raw, self._direct, self._addresses
        n = direct.n_objects(page)
        if n < self.text.count(" "):
            items = [direct.object_at(page, i) for i in range(n)]
            kinds = [direct.kind(item) for item in items]
            if raw.FPDF_PAGEOBJ_FORM not in kinds:
                texts = zip(items, kinds, strict=True)
                return self._paints_of(x for x, kind in texts if kind == raw.FPDF_PAGEOBJ_TEXT)
        words = _WORD.finditer(self.text)
        return self._paints_of({direct.of_character(text_page, word.start()) for word in words})

    def stand(self, first: int, middle: int) -> tuple[int, float, float]:
        """Return how a line stands: its turn in quarters, the height of its letters, its base.

        It is told by the larger one of two of its characters, since one may be raised.
        """
        raw, text_page, matrix = self.raw, self._text_page, self._matrix
        raw.FPDFText_GetMatrix(text_page, first, matrix)
        turn = round(math.atan2(matrix.b, matrix.a) / (math.pi / 2)) % 4
        size = raw.FPDFText_GetFontSize(text_page, first)
        if (other := raw.FPDFText_GetFontSize(text_page, middle)) >= size:
            first, size = middle, other
        raw.FPDFText_GetCharOrigin(text_page, first, self._x, self._y)
        x, y = self._x.value, self._y.value
        height = abs(size) * math.hypot(matrix.c, matrix.d)
        if not _LEAST_SIZE < height < _MOST_SIZE:
            _, bottom, _, top = self.box(first, first, turn)
            height = max(top - bottom, _LEAST_SIZE)
        return turn, height, (y, -x, -y, x)[turn]

    def paint(self, index: int) -> Paint:
        """Return how a character is painted; characters of one text object are painted alike."""
        item: int | None = self._direct.of_character(self._addresses[1], index)
        if item not in self._paints:
            (self._paints[item],) = self._paints_of([item])
        return self._paints[item]

    def _paints_of(self, items: Iterable[int | None]) -> set[Paint]:
        """Return how the objects at these addresses are painted; without one, a text is black."""
        direct, colors, found = self._direct, self._colors, set[tuple[int, bytes]]()
        places = [ctypes.addressof(colors) + 4 * i for i in range(4)]
        for item in items:
            mode = direct.mode(item) if item else _FILLED
            look = direct.stroke if mode in _STROKED else direct.fill
            is_known = item and look(item, *places)
            found.add((mode, bytes(colors) if is_known else _BLACK))
        return {Paint(mode, *memoryview(x).cast("I")) for mode, x in found}

    def is_bold(self, index: int) -> bool:
        """Whether the name of a character's font says that it is bold."""
        self.raw.FPDFText_GetFontInfo(self._text_page, index, self._name, 79, self._flags)
        return _BOLD.search(self._name.value) is not None


def _turned(left: float, bottom: float, right: float, top: float, turn: int) -> Box:
    """Return a box as seen when the page is turned so that its text reads from left to right."""
    if turn == 1:
        return bottom, -right, top, -left
    if turn == 2:
        return -right, -top, -left, -bottom
    return -top, left, -bottom, right
