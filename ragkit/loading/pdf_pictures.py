"""Pages of a PDF that hold images but no text, as pictures."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from typing import Any

from ragkit.errors import LoadError
from ragkit.loading.members import Member
from ragkit.loading.pdf import open_document, read_page

MOST_AT_ONCE = 4
"""Pages of a request: each is megabytes, and the file comes again with each request."""

_SCALE = 300 / 72
"""Pixels a point: what readers of pictures are trained for."""

_MOST_PIXELS = 10_000_000
"""A larger page is rendered smaller; A4 takes 8.7 million."""


def page_pictures(data: bytes, *, first: int, password: str | None = None) -> Iterator[Member]:
    """Yield the next pages that have no text, but images: portable graymaps, named by numbers.

    Args:
        data: The whole file.
        first: Number of the first page to look at, from 1.
        password: Opens an encrypted file.

    Raises:
        LoadError: the file cannot be opened.
    """
    with open_document(data, password) as (raw, document):
        n_pages, n_found = raw.FPDF_GetPageCount(document), 0
        for number in range(first, n_pages + 1):
            page = read_page(raw, document, number)
            if page is None or page.lines or not page.has_images:
                continue
            yield Member(f"{number}.pgm", _graymap(raw, document, number))
            n_found += 1
            if n_found == MOST_AT_ONCE:
                return


def _graymap(raw: Any, document: Any, number: int) -> bytes:  # noqa: ANN401 - PDFium has no types
    page = raw.FPDF_LoadPage(document, number - 1)
    try:
        width, height = raw.FPDF_GetPageWidthF(page), raw.FPDF_GetPageHeightF(page)
        area = width * height
        scale = min(_SCALE, math.sqrt(_MOST_PIXELS / area)) if area > 0 else 0.0
        n_columns, n_rows = max(1, int(width * scale)), max(1, int(height * scale))
        if n_columns * n_rows > _MOST_PIXELS:  # as wide as no page is
            raise LoadError("limit", f"page {number} is {width:,.0f} by {height:,.0f} points")
        bitmap = raw.FPDFBitmap_CreateEx(n_columns, n_rows, raw.FPDFBitmap_Gray, None, 0)
        if not bitmap:
            raise MemoryError
        try:
            raw.FPDFBitmap_FillRect(bitmap, 0, 0, n_columns, n_rows, 0xFFFFFFFF)
            flags = raw.FPDF_ANNOT | raw.FPDF_GRAYSCALE
            raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, n_columns, n_rows, 0, flags)
            stride = raw.FPDFBitmap_GetStride(bitmap)
            pixels = ctypes.string_at(raw.FPDFBitmap_GetBuffer(bitmap), stride * n_rows)
        finally:
            raw.FPDFBitmap_Destroy(bitmap)
    finally:
        raw.FPDF_ClosePage(page)
    rows = (pixels[at : at + n_columns] for at in range(0, len(pixels), stride))
    return b"P5\n%d %d\n255\n" % (n_columns, n_rows) + b"".join(rows)
