"""Text of a PDF that nobody sees.

Most white or invisible text of real files is there for good reason: white headings stand on a bar
of colour, and the invisible words of a scan are those that its image shows. So text counts as
hidden only if it is painted in no colour and no image lies under it, or if it is white and the page
as it is rendered has a single colour there.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ragkit.loading.pdf_page import Box, Paint, TextPage

_Matrix: TypeAlias = tuple[float, float, float, float, float, float]

_WHITE = 240
"""Of 255: the least of each colour in white."""
_TRANSPARENT = 8
"""Of 255: the most opacity of what is not seen."""
_SAME = 12
"""Of 255: how far colours may differ that look like one."""
_MOST_PIXELS = 4_000_000
_LETTER_PIXELS = 10.0
"""In a word of this size something would be seen."""
_LARGEST_SCALE = 8.0
"""Pixels a point."""
_MOST_OBJECTS = 100_000
_MOST_NESTED = 8


def hidden_characters(page: TextPage) -> set[int]:
    """Return the indices of the characters that nobody sees."""
    invisible, white = list[int](), list[int]()
    paints = page.paints()
    seen = {x for x in paints if not (_is_white(x) or _is_invisible(page.raw, x))}
    if seen != paints:
        for i, character in enumerate(page.text):
            if character.isspace() or (paint := page.paint(i)) in seen:
                continue
            if _is_invisible(page.raw, paint):
                invisible.append(i)
            elif _is_white(paint):
                white.append(i)
    return {*_not_over(page, invisible), *_unseen(page, white)}


def has_images(page: TextPage) -> bool:
    """Whether there is an image on a page."""
    return next(_images(page), None) is not None


def _is_invisible(raw: Any, paint: Paint) -> bool:  # noqa: ANN401 - PDFium has no types
    return paint.mode in {raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP}


def _is_white(paint: Paint) -> bool:
    is_white = min(paint.red, paint.green, paint.blue) >= _WHITE
    return is_white or paint.alpha <= _TRANSPARENT


def _not_over(page: TextPage, indices: Sequence[int]) -> Iterator[int]:
    """Yield those of the characters under which there is no image."""
    images = list(_images(page)) if indices else []
    for i in indices:
        left, bottom, right, top = page.box(i, i)
        x, y = (left + right) / 2, (bottom + top) / 2
        if not any(a <= x <= c and b <= y <= d for a, b, c, d in images):
            yield i


def _images(page: TextPage) -> Iterator[Box]:
    """Yield where the images of a page are, those in forms included."""
    raw = page.raw
    n_left = _MOST_OBJECTS
    n, identity = raw.FPDFPage_CountObjects(page.page), (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    waiting: list[tuple[Any, _Matrix, int]] = [
        (raw.FPDFPage_GetObject(page.page, i), identity, 0) for i in range(min(n_left, n))
    ]
    while waiting and n_left:
        item, outer, depth = waiting.pop()
        n_left -= 1
        kind = raw.FPDFPageObj_GetType(item)
        if kind not in {raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM}:
            continue
        own = raw.FS_MATRIX()
        raw.FPDFPageObj_GetMatrix(item, own)
        matrix = _product((own.a, own.b, own.c, own.d, own.e, own.f), outer)
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            yield _unit_square(matrix)
        elif depth < _MOST_NESTED:
            n = min(n_left, raw.FPDFFormObj_CountObjects(item))
            waiting += [(raw.FPDFFormObj_GetObject(item, i), matrix, depth + 1) for i in range(n)]


def _product(inner: _Matrix, outer: _Matrix) -> _Matrix:
    a, b, c, d, e, f = inner
    p, q, r, s, t, u = outer
    return (
        a * p + b * r,
        a * q + b * s,
        c * p + d * r,
        c * q + d * s,
        e * p + f * r + t,
        e * q + f * s + u,
    )


def _unit_square(matrix: _Matrix) -> Box:
    """Return the box around what a matrix makes of the unit square."""
    a, b, c, d, e, f = matrix
    xs, ys = (e, e + a, e + c, e + a + c), (f, f + b, f + d, f + b + d)
    return min(xs), min(ys), max(xs), max(ys)


def _unseen(page: TextPage, indices: Sequence[int]) -> Iterator[int]:
    """Yield those of the characters at which the rendered page has one colour, by words."""
    if not indices:
        return
    runs = list(_runs(indices))
    to_pixels = _to_pixels(page)
    boxes = [_pixel_box(page.box(first, last), to_pixels) for first, last in runs]
    picture = _render(page, boxes)
    if picture is None:
        return
    n_left = _MOST_PIXELS
    for (first, last), box in zip(runs, boxes, strict=True):
        rows, columns = picture.place(box)
        n_left -= len(rows) * len(columns)
        if n_left > 0 and picture.is_plain(rows, columns):
            yield from range(first, last + 1)


def _pixel_box(box: Box, to_pixels: _Matrix) -> Box:
    left, bottom, right, top = box
    inner = (right - left, 0.0, 0.0, top - bottom, left, bottom)
    return _unit_square(_product(inner, to_pixels))


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of each run of consecutive numbers."""
    for _, run in itertools.groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        yield numbers[0], numbers[-1]


@dataclass(frozen=True, slots=True)
class _Picture:
    """A part of a rendered page that begins at `left` and `top`, `scale` pixels a point.

    Four bytes are a pixel.
    """

    pixels: bytes
    left: int
    top: int
    scale: float
    width: int
    height: int

    def place(self, box: Box) -> tuple[range, range]:
        """Return the rows and the columns of a box."""
        left, right = (round((x - self.left) * self.scale) for x in (box[0], box[2]))
        top, bottom = (round((y - self.top) * self.scale) for y in (box[1], box[3]))
        rows = range(max(0, top), min(self.height, bottom + 1))
        return rows, range(max(0, left), min(self.width, right + 1))

    def is_plain(self, rows: range, columns: range) -> bool:
        """Whether there is no more than one colour."""
        if not rows or not columns:
            return True  # It stands beside the page.
        lows, highs = [255] * 3, [0] * 3
        for row in rows:
            start = 4 * (row * self.width + columns.start)
            pixels = self.pixels[start : start + 4 * len(columns)]
            for channel in range(3):
                lows[channel] = min(lows[channel], *pixels[channel::4])
                highs[channel] = max(highs[channel], *pixels[channel::4])
                if highs[channel] - lows[channel] > _SAME:
                    return False
        return True


def _render(page: TextPage, boxes: Sequence[Box]) -> _Picture | None:
    """Render the part of a page that holds the boxes, large enough for the smallest of them.

    Returns None where that takes too many pixels.
    """
    raw = page.raw
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    left, top = max(0, int(min(lefts))), max(0, int(min(tops)))
    width = min(int(raw.FPDF_GetPageWidthF(page.page)), int(max(rights)) + 2) - left
    height = min(int(raw.FPDF_GetPageHeightF(page.page)), int(max(bottoms)) + 2) - top
    smallest = min(
        max(b - a, d - c) for a, b, c, d in zip(lefts, rights, tops, bottoms, strict=True)
    )
    scale = _LETTER_PIXELS / max(_LETTER_PIXELS / _LARGEST_SCALE, min(smallest, _LETTER_PIXELS))
    n_columns, n_rows = max(1, int(width * scale)), max(1, int(height * scale))
    if n_columns * n_rows > _MOST_PIXELS:
        return None
    bitmap = raw.FPDFBitmap_Create(n_columns, n_rows, 0)
    if not bitmap:
        return None
    try:
        raw.FPDFBitmap_FillRect(bitmap, 0, 0, n_columns, n_rows, 0xFFFFFFFF)
        shift = raw.FS_MATRIX(scale, 0, 0, scale, -left * scale, -top * scale)
        clip = raw.FS_RECTF(0, 0, n_columns, n_rows)
        flags = raw.FPDF_ANNOT | raw.FPDF_RENDER_NO_SMOOTHPATH
        raw.FPDF_RenderPageBitmapWithMatrix(bitmap, page.page, shift, clip, flags)
        size = raw.FPDFBitmap_GetStride(bitmap) * n_rows
        pixels = ctypes.string_at(raw.FPDFBitmap_GetBuffer(bitmap), size)
    finally:
        raw.FPDFBitmap_Destroy(bitmap)
    return _Picture(pixels, left, top, scale, n_columns, n_rows)


def _to_pixels(page: TextPage) -> _Matrix:
    """Return the matrix from points to pixels, which knows how the page is turned and cropped."""
    raw, x, y = page.raw, ctypes.c_int(), ctypes.c_int()
    size = int(raw.FPDF_GetPageWidthF(page.page)), int(raw.FPDF_GetPageHeightF(page.page))
    found: list[tuple[int, int]] = []
    for across, up in ((0.0, 0.0), (1000.0, 0.0), (0.0, 1000.0)):
        raw.FPDF_PageToDevice(page.page, 0, 0, *size, 0, across, up, x, y)
        found.append((x.value, y.value))
    (e, f), (x1, y1), (x2, y2) = found
    return (x1 - e) / 1000, (y1 - f) / 1000, (x2 - e) / 1000, (y2 - f) / 1000, float(e), float(f)
